// SPDX-License-Identifier: Apache-2.0
/*
 * cgroup.c: cgroups of the host, of both versions.
 *
 * Theory of operation: hierarchies are reached by mounts of our own, which are attached nowhere, wherever and
 * whether the host has mounted them; the paths of /proc/self/cgroup hold for them. A process is never moved: of
 * version 2 it is born in its cgroup (CLONE_INTO_CGROUP), of version 1 it moves itself as long as it has one thread,
 * which needs no lock. To move another one can wait for all CPUs.
 */
#include "pod/cgroup.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/log.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define OWN_CGROUP_MAX 65536
#define EVENTS_MAX     4096
#define NAME_PREFIX    "appc-"

/* A container's: of the pod, with the pod's limits where it has any, and of an app. */
#define CONTAINER_LEVELS 3

/* Children in version 2. */
#define VMM_NAME     "vmm"
#define NETWORK_NAME "network"

#define CPU_PERIOD_US 100000

/* Of version 1; version 2 calls the last one io. */
static const char *const wanted[] = {"memory", "cpu", "pids", "blkio"};

/* ---- a container's */

int pod_cgroup_path(const char *uuid, char *path, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	int n, r;

	r = file_read(AT_FDCWD, "/proc/self/cgroup", OWN_CGROUP_MAX, &text, NULL);
	if (r < 0)
		return r;
	/* cgroups(7): the line of version 2 is "0::PATH". */
	line = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/') + 1;
	n = snprintf(path, size, "%.*s/" NAME_PREFIX "%s", (int)strcspn(line, "\n"), line, uuid);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The root of a hierarchy: of version 1 with these controllers, "": of version 2. */
static int open_hierarchy(const char *controllers)
{
	_cleanup_close_ int context =
		(int)syscall(SYS_fsopen, *controllers ? "cgroup" : "cgroup2", FSOPEN_CLOEXEC);
	_cleanup_free_ char *copy = strdup(controllers);
	char *rest = copy;
	int fd;

	if (!copy)
		return -ENOMEM;
	if (context < 0)
		return -errno;
	for (char *name; *controllers && (name = strsep(&rest, ","));)
		if (syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, name, NULL, 0) < 0)
			return -errno;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* With what is below it, on so many levels with it. */
static void remove_levels(int parent, const char *path, unsigned int levels)
{
	_cleanup_close_ int fd = -1;
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;

	if (levels == 0)
		return;
	fd = file_open_beneath(parent, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	directory = fdopendir(fd);
	if (!directory)
		return;
	TAKE_FD(fd); /* the stream closes it */
	while ((entry = readdir(directory)))
		if (entry->d_type == DT_DIR && file_name_is_safe(entry->d_name))
			remove_levels(dirfd(directory), entry->d_name, levels - 1);
	unlinkat(parent, path, AT_REMOVEDIR);
}

void pod_cgroup_remove(const char *path)
{
	_cleanup_close_ int root = open_hierarchy("");

	while (*path == '/')
		path++;
	if (root < 0)
		return;
	remove_levels(root, path, CONTAINER_LEVELS);
}

/* ---- what is used */

static bool has_controller(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += length)
		if ((at == list || strchr(", ", at[-1])) &&
			(at[length] == '\0' || strchr(", \n", at[length])))
			return true;
	return false;
}

static void read_number(int fd, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	const char *at;

	if (file_read(fd, name, EVENTS_MAX, &text, NULL) < 0)
		return;
	at = text;
	counter_take(&at, ret);
}

/* Of version 2. */
static void read_unified_cpu(int fd, struct wire_usage *usage)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(fd, "cpu.stat", EVENTS_MAX, &text, NULL) == 0)
		wire_usage_parse_cpu(text, usage);
}

static void read_unified_memory(int fd, struct wire_usage *usage)
{
	read_number(fd, "memory.current", &usage->values[WIRE_USAGE_MEMORY]);
	read_number(fd, "memory.peak", &usage->values[WIRE_USAGE_MEMORY_PEAK]);
	read_number(fd, "memory.max", &usage->values[WIRE_USAGE_MEMORY_LIMIT]);
	read_number(fd, "pids.current", &usage->values[WIRE_USAGE_TASKS]);
}

void pod_cgroup_read_container(const char *path, struct wire_usage *usage)
{
	_cleanup_close_ int root = open_hierarchy(""), fd = -1, apps = -1;

	while (*path == '/')
		path++;
	if (root >= 0)
		fd = file_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	read_unified_cpu(fd, usage);
	read_unified_memory(fd, usage);
	/* Where guest-init has bound all of the apps together, and not itself. */
	apps = openat(fd, WIRE_CGROUP_APPS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (apps >= 0)
		read_number(apps, "memory.max", &usage->values[WIRE_USAGE_MEMORY_LIMIT]);
}

void pod_cgroup_read(const struct pod_cgroup *cgroup, struct wire_usage *usage)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		const struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];

		if (hierarchy->fd < 0)
			continue;
		if (!*hierarchy->controllers) {
			read_unified_cpu(hierarchy->fd, usage);
			/* All but CPU time is told of the VMM alone, as in version 1. */
			read_unified_memory(cgroup->unified_fd, usage);
		}
		if (!has_controller(hierarchy->controllers, "memory"))
			continue;
		read_number(
			hierarchy->fd, "memory.usage_in_bytes", &usage->values[WIRE_USAGE_MEMORY]);
		read_number(hierarchy->fd, "memory.max_usage_in_bytes",
			&usage->values[WIRE_USAGE_MEMORY_PEAK]);
		read_number(hierarchy->fd, "memory.limit_in_bytes",
			&usage->values[WIRE_USAGE_MEMORY_LIMIT]);
	}
}

/* ---- a VMM's: where */

static void close_children(struct pod_cgroup *cgroup)
{
	cleanup_close(&cgroup->unified_fd);
	cleanup_close(&cgroup->network_fd);
	cgroup->unified_fd = cgroup->network_fd = -1;
}

void pod_cgroup_done(struct pod_cgroup *cgroup)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];

		free(hierarchy->controllers);
		free(hierarchy->path);
		cleanup_close(&hierarchy->fd);
		cleanup_close(&hierarchy->join_fd);
	}
	close_children(cgroup);
	*cgroup = POD_CGROUP_NONE;
}

static bool is_wanted(const char *controllers)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (has_controller(controllers, wanted[i]))
			return true;
	return false;
}

static int plan_add(
	struct pod_cgroup *cgroup, const char *controllers, const char *own, const char *uuid)
{
	struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[cgroup->count];
	/* In version 2 beside our own, in version 1 below it; at the root there is no beside. */
	size_t length = *controllers ? strlen(own) : (size_t)(strrchr(own, '/') - own);

	if (cgroup->count == ARRAY_SIZE(cgroup->hierarchies))
		return -E2BIG;
	while (length > 0 && own[length - 1] == '/')
		length--;
	*hierarchy = (struct pod_cgroup_hierarchy){
		.controllers = strdup(controllers), .fd = -1, .join_fd = -1};
	if (asprintf(&hierarchy->path, "%.*s/" NAME_PREFIX "%s", (int)length, own, uuid) < 0)
		hierarchy->path = NULL;
	cgroup->count++;
	return hierarchy->controllers && hierarchy->path ? 0 : -ENOMEM;
}

/* Of version 2, in an old world (both at once), no controller may be left. */
static bool unified_has_memory(void)
{
	_cleanup_close_ int root = open_hierarchy("");
	_cleanup_free_ char *controllers = NULL;

	return root >= 0 &&
		file_read(root, "cgroup.controllers", EVENTS_MAX, &controllers, NULL) == 0 &&
		has_controller(controllers, "memory");
}

int pod_cgroup_plan(const char *uuid, struct pod_cgroup *ret)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	_cleanup_free_ char *text = NULL;
	const char *unified = NULL;
	bool memory_is_elsewhere = false;
	char *rest;
	int r;

	r = file_read(AT_FDCWD, "/proc/self/cgroup", OWN_CGROUP_MAX, &text, NULL);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	rest = text;
	/* cgroups(7): "NUMBER:CONTROLLERS:/PATH". */
	for (char *line; r == 0 && (line = strsep(&rest, "\n"));) {
		char *controllers = strchr(line, ':'), *path;

		path = controllers ? strchr(++controllers, ':') : NULL;
		if (!path || path[1] != '/')
			continue;
		*path++ = '\0';
		if (!*controllers)
			unified = path;
		else if (is_wanted(controllers))
			r = plan_add(&cgroup, controllers, path, uuid);
		memory_is_elsewhere = memory_is_elsewhere || has_controller(controllers, "memory");
	}
	/*
	 * A controller is in one hierarchy. To look at that of version 2 where nobody has mounted it makes and destroys
	 * it, which takes longer than all else that is done for the VMM's cgroup.
	 */
	if (r == 0 && unified && !memory_is_elsewhere && unified_has_memory())
		r = plan_add(&cgroup, "", unified, uuid);
	if (r < 0)
		return r;
	*ret = cgroup;
	cgroup = POD_CGROUP_NONE;
	return 0;
}

json_t *pod_cgroup_json(const struct pod_cgroup *cgroup)
{
	json_t *array = json_array();

	for (size_t i = 0; i < cgroup->count; i++) {
		const struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];

		if (json_array_append_new(array,
			    json_sprintf("%s:%s", hierarchy->controllers, hierarchy->path)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* ---- a VMM's: making it */

/* One write(2), as files of cgroups want it. */
static int write_limit(int fd, const char *name, const char *format, ...) _printf_(3, 4);

static int write_limit(int fd, const char *name, const char *format, ...)
{
	_cleanup_close_ int file = openat(fd, name, O_WRONLY | O_CLOEXEC);
	char text[128];
	va_list arguments;
	int length;

	if (file < 0)
		return -errno;
	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return write(file, text, (size_t)length) < 0 ? -errno : 0;
}

/* A limit that the host does not have; others stand without it. */
static void write_optional(int r, const char *what)
{
	if (r < 0)
		log_debug("the host does not limit the VMM's %s: %s", what, strerror(-r));
}

/* The whole disk that has a file: limits are a disk's, not a partition's. */
static int find_disk(int fd, unsigned int *ret_major, unsigned int *ret_minor)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *colon, *end;
	struct stat st;
	int r;

	*ret_major = *ret_minor = 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_major = major(st.st_dev);
	*ret_minor = minor(st.st_dev);
	/* No disk of its own: tmpfs, btrfs, a network. */
	if (*ret_major == 0)
		return -ENODEV;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", *ret_major, *ret_minor);
	if (access(path, F_OK) < 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", *ret_major, *ret_minor);
	r = file_read(AT_FDCWD, path, EVENTS_MAX, &text, NULL);
	if (r < 0)
		return r;
	*ret_major = (unsigned int)strtoul(text, &colon, 10);
	if (colon == text || *colon != ':')
		return -EBADMSG;
	*ret_minor = (unsigned int)strtoul(colon + 1, &end, 10);
	return end == colon + 1 ? -EBADMSG : 0;
}

static int limit_disk(int fd, bool unified, const struct pod_cgroup_limits *limits)
{
	const struct {
		const char *file, *key;
		uint64_t limit;
	} all[] = {
		{"blkio.throttle.read_bps_device", "rbps", limits->disk_bytes},
		{"blkio.throttle.write_bps_device", "wbps", limits->disk_bytes},
		{"blkio.throttle.read_iops_device", "riops", limits->disk_operations},
		{"blkio.throttle.write_iops_device", "wiops", limits->disk_operations},
	};
	unsigned int major = 0, minor = 0;
	int r;

	if (limits->disk_bytes == 0 && limits->disk_operations == 0)
		return 0;
	r = find_disk(limits->disk_fd, &major, &minor);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++) {
		if (all[i].limit == 0)
			continue;
		if (unified)
			r = write_limit(fd, "io.max", "%u:%u %s=%" PRIu64, major, minor, all[i].key,
				all[i].limit);
		else
			r = write_limit(
				fd, all[i].file, "%u:%u %" PRIu64, major, minor, all[i].limit);
	}
	return r;
}

static unsigned int cpu_quota(const struct pod_cgroup_limits *limits)
{
	return limits->cpu_millis * (CPU_PERIOD_US / 1000);
}

static int limit_unified(int fd, int vmm_fd, const struct pod_cgroup_limits *limits)
{
	write_optional(
		write_limit(fd, "cpu.max", "%u %u", cpu_quota(limits), CPU_PERIOD_US), "CPU time");
	write_optional(write_limit(vmm_fd, "pids.max", "%u", limits->threads), "threads");
	write_optional(limit_disk(fd, true, limits), "disk");
	return write_limit(vmm_fd, "memory.max", "%" PRIu64, limits->memory);
}

/* Of version 1. */
static int limit_hierarchy(
	const struct pod_cgroup_hierarchy *hierarchy, const struct pod_cgroup_limits *limits)
{
	const char *controllers = hierarchy->controllers;
	int fd = hierarchy->fd, r = 0;

	if (has_controller(controllers, "memory"))
		r = write_limit(fd, "memory.limit_in_bytes", "%" PRIu64, limits->memory);
	if (has_controller(controllers, "cpu"))
		write_optional(
			write_limit(fd, "cpu.cfs_quota_us", "%u", cpu_quota(limits)), "CPU time");
	if (has_controller(controllers, "pids"))
		write_optional(write_limit(fd, "pids.max", "%u", limits->threads), "threads");
	if (has_controller(controllers, "blkio"))
		write_optional(limit_disk(fd, false, limits), "disk");
	return r;
}

/* Lets children have controllers, as far as the cgroup itself has them. */
static void enable_controllers(int fd, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		write_limit(fd, "cgroup.subtree_control", "%s", names[i]);
}

/* CPU time and the disk's are shared, which takes no controllers below. */
static int create_children(struct pod_cgroup *cgroup, int fd)
{
	static const char *const names[] = {"+memory", "+pids"};

	enable_controllers(fd, names, ARRAY_SIZE(names));
	if (mkdirat(fd, VMM_NAME, 0755) < 0 || mkdirat(fd, NETWORK_NAME, 0755) < 0)
		return -errno;
	cgroup->unified_fd = directory_open(fd, VMM_NAME);
	if (cgroup->unified_fd < 0)
		return cgroup->unified_fd;
	cgroup->network_fd = directory_open(fd, NETWORK_NAME);
	return cgroup->network_fd < 0 ? cgroup->network_fd : 0;
}

static int create_directory(struct pod_cgroup_hierarchy *hierarchy)
{
	static const char *const names[] = {"+memory", "+cpu", "+pids", "+io"};
	_cleanup_close_ int root = open_hierarchy(hierarchy->controllers), parent = -1;
	char *name = strrchr(hierarchy->path, '/');
	int r = 0;

	if (root < 0)
		return root;
	/* The parent's path, without the slashes around it. */
	*name = '\0';
	parent = name == hierarchy->path
		? fcntl(root, F_DUPFD_CLOEXEC, 0)
		: file_open_beneath(root, hierarchy->path + 1, O_RDONLY | O_DIRECTORY, 0);
	*name++ = '/';
	if (parent < 0)
		return parent;
	/* Most hosts have that so already. */
	if (!*hierarchy->controllers)
		enable_controllers(parent, names, ARRAY_SIZE(names));
	if (mkdirat(parent, name, 0755) < 0)
		return -errno;
	hierarchy->fd = directory_open(parent, name);
	if (hierarchy->fd < 0)
		r = hierarchy->fd;
	if (r == 0 && *hierarchy->controllers) {
		hierarchy->join_fd = openat(hierarchy->fd, "tasks", O_WRONLY | O_CLOEXEC);
		r = hierarchy->join_fd < 0 ? -errno : 0;
	}
	if (r < 0)
		unlinkat(parent, name, AT_REMOVEDIR);
	return r;
}

int pod_cgroup_create(
	struct pod_cgroup *cgroup, const struct pod_cgroup_limits *limits, struct error *err)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];
		int r = create_directory(hierarchy);

		if (r == 0 && !*hierarchy->controllers)
			r = create_children(cgroup, hierarchy->fd);
		if (r == 0)
			r = *hierarchy->controllers
				? limit_hierarchy(hierarchy, limits)
				: limit_unified(hierarchy->fd, cgroup->unified_fd, limits);
		if (r < 0) {
			error_set_errno(
				err, r, "cgroup %s:%s", hierarchy->controllers, hierarchy->path);
			pod_cgroup_destroy(cgroup);
			return r;
		}
	}
	return 0;
}

struct child_cgroup pod_cgroup_of_network(const struct pod_cgroup *cgroup)
{
	struct child_cgroup ret = CHILD_CGROUP_NONE;

	ret.unified_fd = cgroup ? cgroup->network_fd : -1;
	for (size_t i = 0; cgroup && i < cgroup->count; i++)
		if (has_controller(cgroup->hierarchies[i].controllers, "cpu"))
			ret.join_fd = cgroup->hierarchies[i].join_fd;
	return ret;
}

/* ---- a VMM's: its end */

bool pod_cgroup_was_out_of_memory(const struct pod_cgroup *cgroup)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		const struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];
		bool is_unified = !*hierarchy->controllers;
		int fd = is_unified ? cgroup->unified_fd : hierarchy->fd;
		_cleanup_free_ char *text = NULL;
		const char *line;

		if (fd < 0 ||
			file_read(fd, is_unified ? "memory.events" : "memory.oom_control",
				EVENTS_MAX, &text, NULL) < 0)
			continue;
		line = strstr(text, "oom_kill ");
		if (line && strtoul(line + strlen("oom_kill "), NULL, 10) > 0)
			return true;
	}
	return false;
}

static void remove_children(int parent, const char *name)
{
	_cleanup_close_ int fd = directory_open(parent, name);

	if (fd < 0)
		return;
	unlinkat(fd, VMM_NAME, AT_REMOVEDIR);
	unlinkat(fd, NETWORK_NAME, AT_REMOVEDIR);
}

static void remove_path(const char *controllers, const char *path)
{
	_cleanup_close_ int root = open_hierarchy(controllers), parent = -1;
	const char *name = strrchr(path, '/');
	_cleanup_free_ char *parent_path = NULL;

	if (root < 0 || !name || strncmp(name + 1, NAME_PREFIX, strlen(NAME_PREFIX)) != 0 ||
		!file_name_is_safe(name + 1))
		return;
	parent_path = strndup(path, (size_t)(name - path));
	if (!parent_path)
		return;
	parent = *parent_path ? file_open_beneath(root, parent_path + 1, O_RDONLY | O_DIRECTORY, 0)
			      : fcntl(root, F_DUPFD_CLOEXEC, 0);
	if (parent < 0)
		return;
	if (!*controllers)
		remove_children(parent, name + 1);
	unlinkat(parent, name + 1, AT_REMOVEDIR);
}

void pod_cgroup_destroy(struct pod_cgroup *cgroup)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		struct pod_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[i];

		if (hierarchy->fd < 0)
			continue;
		cleanup_close(&hierarchy->fd);
		cleanup_close(&hierarchy->join_fd);
		hierarchy->fd = hierarchy->join_fd = -1;
		remove_path(hierarchy->controllers, hierarchy->path);
	}
	close_children(cgroup);
}

void pod_cgroup_remove_recorded(const json_t *recorded)
{
	json_t *item;
	size_t i;

	json_array_foreach (recorded, i, item) {
		const char *text = json_string_value(item);
		const char *path = text ? strchr(text, ':') : NULL;
		_cleanup_free_ char *controllers = NULL;

		if (!path || path[1] != '/' || i >= POD_CGROUP_HIERARCHIES)
			continue;
		controllers = strndup(text, (size_t)(path - text));
		if (controllers)
			remove_path(controllers, path + 1);
	}
}
