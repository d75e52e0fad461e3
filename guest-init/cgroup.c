// SPDX-License-Identifier: Apache-2.0
/*
 * cgroup.c: one cgroup per app.
 *
 * Theory of operation: the hierarchy is mounted without a mount point; an fd of its root is all we
 * need, and apps find no way to it. The apps' cgroups, "app-N", are made before it is known which app
 * that will be. In a VM they are children of the root. In a
 * container they are children of "appc-UUID" below the cgroup that the host put us in. Version 2
 * gives controllers only to children of a cgroup without processes: where that is in the way, we
 * move ourselves down, which helps when nobody else is in our cgroup.
 *
 * Limits of the pod as a whole are those of one more cgroup, "apps", between these and the apps'. Each level costs
 * whatever is accounted for, so it is only made for a pod that has such limits; a VM's apps that were made ready
 * before that was known move into it.
 */
#include "guest-init/cgroup.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* How deep an app may have nested cgroups in its own for all of them to be removed. */
#define LEVELS_MAX 64

/* How long the processes of a cgroup may take to come to where they can be frozen. */
#define FREEZE_MS 1000

#define CPU_PERIOD_US    100000
#define CPU_QUOTA_MIN_US 1000 /* the kernel refuses less */

static int file_put(int dirfd, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* Reads a small file of cgroup or proc whole, with one read. */
static ssize_t file_get(int dirfd, const char *name, char *text, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

/* #syscalls: fsopen fsconfig fsmount */
static int hierarchy_mount(void)
{
	_cleanup_close_ int context = fsopen("cgroup2", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

/* The directory of the cgroup we are in. */
static int own_cgroup_open(const struct guest *guest, int root_fd)
{
	char text[4096], *path, *end;
	int fd;

	if (file_get(guest->proc_fd, "self/cgroup", text, sizeof(text)) < 0)
		return -ENOENT;
	path = strncmp(text, "0::/", 4) ? strstr(text, "\n0::/") : text;
	if (!path)
		return -ENOENT;
	path = strstr(path, "0::/") + 4;
	end = strchr(path, '\n');
	if (!end)
		return -ENAMETOOLONG;
	*end = '\0';
	fd = openat(root_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void pod_cgroup_name(const struct guest_config *config, char *name, size_t size)
{
	snprintf(name, size, "appc-%s", config->instance.uuid);
}

static int directory_make(int dirfd, const char *name)
{
	int fd;

	if (mkdirat(dirfd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int controller_enable(struct guest *guest, int base_fd, const char *controller)
{
	int r = file_put(base_fd, "cgroup.subtree_control", controller);

	if (r == -EBUSY && guest->cgroup_fd != base_fd) {
		if (mkdirat(guest->cgroup_fd, "guest-init", 0755) < 0 && errno != EEXIST)
			return -errno;
		r = file_put(guest->cgroup_fd, "guest-init/cgroup.procs", "0");
		if (r == 0)
			r = file_put(base_fd, "cgroup.subtree_control", controller);
		if (r < 0) {
			file_put(base_fd, "cgroup.procs", "0");
			unlinkat(guest->cgroup_fd, "guest-init", AT_REMOVEDIR);
		}
	}
	if (r == 0 && guest->cgroup_fd != base_fd)
		r = file_put(guest->cgroup_fd, "cgroup.subtree_control", controller);
	return r;
}

/* The last counts an app's processes (usage.h). */
static const char *const all_controllers[] = {"+memory", "+cpu", "+pids"};

static void controllers_enable(struct guest *guest, const struct guest_config *config, int base_fd)
{
	bool memory = config->memory_max != GUEST_UNLIMITED,
	     cpu = config->cpu_max_millis != GUEST_UNLIMITED;
	int r;

	for (size_t i = 0; config->is_mutable && i < ARRAY_SIZE(all_controllers); i++)
		controller_enable(guest, base_fd, all_controllers[i]);
	for (size_t i = 0; i < config->app_count; i++) {
		const struct guest_app_config *app = &config->apps[i];

		memory |= app->memory_max != GUEST_UNLIMITED || app->memory_low != GUEST_UNLIMITED;
		cpu |= app->cpu_max_millis != GUEST_UNLIMITED || app->cpu_weight;
	}
	r = memory ? controller_enable(guest, base_fd, "+memory") : 0;
	if (r < 0)
		guest_warn(guest, GUEST_WARNING_MEMORY,
			"memory isolators are not enforced: no cgroup controller: %s",
			strerror(-r));
	r = cpu ? controller_enable(guest, base_fd, "+cpu") : 0;
	if (r < 0)
		guest_warn(guest, GUEST_WARNING_CPU,
			"CPU isolators are not enforced: no cgroup controller: %s", strerror(-r));
}

static void cgroup_prepare_vm(struct guest *guest)
{
	guest->cgroup_fd = hierarchy_mount();
	for (size_t i = 0; guest->cgroup_fd >= 0 && i < ARRAY_SIZE(all_controllers); i++)
		file_put(guest->cgroup_fd, "cgroup.subtree_control", all_controllers[i]);
}

void guest_cgroup_prepare(struct guest *guest, const struct guest_config *config)
{
	_cleanup_close_ int root_fd = -1, own_fd = -1;
	char name[128];
	int r;

	if (!config) {
		cgroup_prepare_vm(guest);
		return;
	}
	r = root_fd = hierarchy_mount();
	if (r >= 0)
		r = own_fd = own_cgroup_open(guest, root_fd);
	if (r >= 0) {
		pod_cgroup_name(config, name, sizeof(name));
		r = guest->cgroup_fd = directory_make(own_fd, name);
	}
	if (r < 0) {
		guest->cgroup_fd = -1;
		guest_warn(guest, GUEST_WARNING_CGROUP,
			"apps run without cgroups, their limits are not enforced: %s",
			strerror(-r));
		return;
	}
	controllers_enable(guest, config, own_fd);
	guest_cgroup_bound(guest, config);
}

/* app: its name; NULL: all of them together. */
static void limit_put(struct guest *guest, int cgroup_fd, const char *app, enum guest_warning kind,
	const char *file, const char *value)
{
	int r = file_put(cgroup_fd, file, value);

	if (r < 0)
		guest_warn(guest, kind, "%s%s: %s is not enforced: %s", app ? "app " : "the pod",
			app ? app : "", file, strerror(-r));
}

static void limit_put_u64(struct guest *guest, int cgroup_fd, const char *app,
	enum guest_warning kind, const char *file, uint64_t value)
{
	char text[32];

	if (value == GUEST_UNLIMITED)
		return;
	snprintf(text, sizeof(text), "%" PRIu64, value);
	limit_put(guest, cgroup_fd, app, kind, file, text);
}

static void memory_max_put(struct guest *guest, int cgroup_fd, const char *app, uint64_t bytes)
{
	limit_put_u64(guest, cgroup_fd, app, GUEST_WARNING_MEMORY, "memory.max", bytes);
}

static void cpu_max_put(struct guest *guest, int cgroup_fd, const char *app, uint64_t millis)
{
	uint64_t quota;
	char text[64];

	if (millis == GUEST_UNLIMITED)
		return;
	if (__builtin_mul_overflow(millis, (uint64_t)(CPU_PERIOD_US / 1000), &quota))
		quota = INT64_MAX;
	if (quota < CPU_QUOTA_MIN_US)
		quota = CPU_QUOTA_MIN_US;
	snprintf(text, sizeof(text), "%" PRIu64 " %d", quota, CPU_PERIOD_US);
	limit_put(guest, cgroup_fd, app, GUEST_WARNING_CPU, "cpu.max", text);
}

void guest_cgroup_limit(struct guest *guest, int cgroup_fd, const struct guest_app_config *app)
{
	memory_max_put(guest, cgroup_fd, app->name, app->memory_max);
	limit_put_u64(
		guest, cgroup_fd, app->name, GUEST_WARNING_MEMORY, "memory.low", app->memory_low);
	cpu_max_put(guest, cgroup_fd, app->name, app->cpu_max_millis);
	if (app->cpu_weight)
		limit_put_u64(guest, cgroup_fd, app->name, GUEST_WARNING_CPU, "cpu.weight",
			app->cpu_weight);
}

static bool may_protect_memory(const struct guest_config *config)
{
	bool may = config->is_mutable;

	for (size_t i = 0; i < config->app_count; i++)
		may |= config->apps[i].memory_low != GUEST_UNLIMITED;
	return may;
}

void guest_cgroup_bound(struct guest *guest, const struct guest_config *config)
{
	int fd;

	if (guest->cgroup_fd < 0 ||
		(config->memory_max == GUEST_UNLIMITED &&
			config->cpu_max_millis == GUEST_UNLIMITED))
		return;
	fd = directory_make(guest->cgroup_fd, WIRE_CGROUP_APPS);
	if (fd < 0) {
		guest_warn(guest, GUEST_WARNING_CGROUP, "the pod's limits are not enforced: %s",
			strerror(-fd));
		return;
	}
	/* Those that the one above has; what is missing there is told of already. */
	for (size_t i = 0; i < ARRAY_SIZE(all_controllers); i++)
		file_put(fd, "cgroup.subtree_control", all_controllers[i]);
	memory_max_put(guest, fd, NULL, config->memory_max);
	cpu_max_put(guest, fd, NULL, config->cpu_max_millis);
	/*
	 * What the apps' requests protect is protected no more than here. Without any such word the kernel need not count
	 * its own memory (kernel patch 0025).
	 */
	if (may_protect_memory(config))
		file_put(fd, "memory.low", "max");
	close(guest->cgroup_fd);
	guest->cgroup_fd = fd;
	guest->cgroup_is_bound = true;
}

static void app_cgroup_name(uint32_t app_index, char *name, size_t size)
{
	snprintf(name, size, "app-%" PRIu32, app_index);
}

int guest_cgroup_create(struct guest *guest, uint32_t app_index)
{
	char name[32];
	int fd;

	if (guest->cgroup_fd < 0)
		return -1;
	app_cgroup_name(app_index, name, sizeof(name));
	fd = directory_make(guest->cgroup_fd, name);
	if (fd < 0) {
		guest_warn(guest, GUEST_WARNING_CGROUP, "an app runs without a cgroup: %s",
			strerror(-fd));
		return -1;
	}
	/*
	 * The app is the unit that is out of memory: half an app is of no use to anyone. Without the
	 * controller there is no such file.
	 */
	file_put(fd, "memory.oom.group", "1");
	return fd;
}

/* With those below it, which an app that may mount can make: whoever has its place next would be in them. 0 or -errno. */
static int directories_remove(int parent_fd, const char *name, unsigned int levels)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r;

	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno == ENOENT || levels == 0)
		return -errno;
	r = directory_open_stream(parent_fd, name, &directory);
	if (r < 0)
		return r;
	while ((entry = readdir(directory)))
		if (entry->d_type == DT_DIR && file_name_is_safe(entry->d_name))
			directories_remove(dirfd(directory), entry->d_name, levels - 1);
	return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

void guest_cgroup_destroy(struct guest *guest, uint32_t app_index, int cgroup_fd)
{
	_cleanup_close_ int parent_fd = -1;
	char name[32];
	int r;

	if (cgroup_fd < 0)
		return;
	app_cgroup_name(app_index, name, sizeof(name));
	r = parent_fd = openat(cgroup_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = r < 0 ? -errno : directories_remove(parent_fd, name, LEVELS_MAX);
	if (r < 0)
		guest_warn(guest, GUEST_WARNING_ANY, "cannot remove the cgroup of an app: %s",
			strerror(-r));
	close(cgroup_fd);
}

int guest_cgroup_move(int cgroup_fd, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	return file_put(cgroup_fd, "cgroup.procs", text);
}

bool guest_cgroup_is_populated(int events_fd)
{
	char text[256];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "populated 1") != NULL;
}

int guest_cgroup_kill(int cgroup_fd)
{
	return file_put(cgroup_fd, "cgroup.kill", "1");
}

/* #syscalls: poll pread64 */
int guest_cgroup_freeze(int cgroup_fd, int events_fd, bool is_frozen)
{
	const uint64_t deadline_ms = guest_now_ms() + FREEZE_MS;
	int r = file_put(cgroup_fd, "cgroup.freeze", is_frozen ? "1" : "0");

	while (r == 0 && is_frozen) {
		struct pollfd changed = {.fd = events_fd, .events = POLLPRI};
		uint64_t now_ms = guest_now_ms();
		char text[512];
		ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

		if (n < 0)
			return -errno;
		text[n] = '\0';
		if (strstr(text, "frozen 1"))
			break;
		if (now_ms >= deadline_ms)
			return -ETIMEDOUT;
		if (poll(&changed, 1, (int)(deadline_ms - now_ms)) < 0 && errno != EINTR)
			return -errno;
	}
	return r;
}

bool guest_cgroup_had_oom_kill(int cgroup_fd)
{
	char text[512], *count;

	if (file_get(cgroup_fd, "memory.events", text, sizeof(text)) < 0)
		return false;
	count = strstr(text, "oom_kill ");
	return count && count[strlen("oom_kill ")] != '0';
}

void guest_cgroup_remove(struct guest *guest, const struct guest_config *config)
{
	_cleanup_close_ int pod_fd = -1, parent_fd = -1;
	char name[128];

	if (guest->is_vm || guest->cgroup_fd < 0)
		return;
	for (uint32_t i = 0; i < (config->is_mutable ? WIRE_APPS_MAX : config->app_count); i++) {
		app_cgroup_name(i, name, sizeof(name));
		directories_remove(guest->cgroup_fd, name, LEVELS_MAX);
	}
	pod_fd = openat(guest->cgroup_fd, guest->cgroup_is_bound ? ".." : ".",
		O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (pod_fd < 0)
		return;
	if (guest->cgroup_is_bound)
		unlinkat(pod_fd, WIRE_CGROUP_APPS, AT_REMOVEDIR);
	pod_cgroup_name(config, name, sizeof(name));
	parent_fd = openat(pod_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd >= 0)
		unlinkat(parent_fd, name, AT_REMOVEDIR);
}
