// SPDX-License-Identifier: Apache-2.0
/*
 * boot.c: the pod's own mounts, devices and kernel settings.
 *
 * Theory of operation: an app's mount namespace is a copy of ours (rootfs.c). So what every app
 * gets alike - proc and sysfs with their protections, devpts, shm, mqueue - is mounted here once,
 * and the copy is only moved to its place below the app's root. What the apps shall not get
 * (cgroup2, devtmpfs, an unprotected proc) is never attached to the tree: an fd is enough for us.
 *
 * The root file system of a VM is a tmpfs on top of the initramfs, because pivot_root() refuses to
 * work from an initramfs.
 */
#include "guest-init/boot.h"

#include "base/file.h"
#include "guest-init/port.h"
#include "guest-init/seccomp.h"

#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define PORT_WAIT_MS 10000
#define FILES_MAX    524288

/* What is mapped of a file for /etc. */
#define ETC_PAGE_SIZE 4096u

#define HIDDEN_DIRECTORY GUEST_STAGING "/hidden/directory"
#define HIDDEN_FILE      GUEST_STAGING "/hidden/file"

/*
 * A kernel that found no console starts us without standard fds. Numbers 0 to 2 must be taken: a
 * child's dup3() of its standard fds would otherwise meet an fd that it still needs.
 */
static int standard_fds_occupy(void)
{
	int fd;

	do
		fd = open("/", O_PATH | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int directory_make(const char *path, mode_t mode)
{
	return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int directories_make(const char *const *paths, struct error *err)
{
	for (; *paths; paths++) {
		int r = directory_make(*paths, 0755);

		if (r < 0)
			return error_set_errno(err, r, "mkdir %s", *paths);
	}
	return 0;
}

/* #syscalls: mount chroot */
static int root_mount_vm(struct error *err)
{
	static const char *const directories[] = {
		"/proc", "/sys", GUEST_STAGING, "/run", WIRE_TREE, NULL};

	if (directory_make("/root", 0755) < 0 ||
		mount("tmpfs", "/root", "tmpfs", 0, "mode=755") < 0 || chdir("/root") < 0 ||
		mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		return error_set_errno(err, -errno, "mount tmpfs on /");
	return directories_make(directories, err);
}

static int root_mount_container(struct error *err)
{
	/* What the host mounts in the tree of a mutable pod comes in; nothing goes out. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_set_errno(err, -errno, "detach from the host's mounts");
	if (mount("tmpfs", GUEST_STAGING, "tmpfs", MS_NOSUID, "mode=755") < 0)
		return error_set_errno(err, -errno, "mount tmpfs on %s", GUEST_STAGING);
	return 0;
}

static int mount_set_read_only(const char *path)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	return mount_setattr(AT_FDCWD, path, 0, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* An empty directory and file that cannot be written to: mounts of them inherit the flag. */
static int hidden_prepare(void)
{
	int r;

	if (mkdir(GUEST_STAGING "/hidden", 0755) < 0 || mkdir(HIDDEN_DIRECTORY, 0) < 0 ||
		mknod(HIDDEN_FILE, S_IFREG, 0) < 0 ||
		mount(GUEST_STAGING "/hidden", GUEST_STAGING "/hidden", NULL, MS_BIND, NULL) < 0)
		return -errno;
	r = mount_set_read_only(GUEST_STAGING "/hidden");
	return r;
}

/*
 * What of proc and sysfs apps may only read or not see; /sys itself is read-only besides. In a VM a root
 * app may tune the kernel, but not have it run programs or panic. Parameters of a container's kernel mostly
 * belong to the host.
 */
static const char *const vm_read_only[] = {"/proc/bus", "/proc/sys/kernel/core_pattern",
	"/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger", NULL};
static const char *const container_read_only[] = {
	"/proc/bus", "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/fs", NULL};
static const char *const hidden[] = {
	"/sys/firmware", "/sys/fs", "/sys/hypervisor", "/sys/module", "/sys/power", NULL};
static const char *const hidden_files[] = {"/proc/config.gz", "/proc/kallsyms", "/proc/sched_debug",
	"/proc/kcore", "/proc/kmem", "/proc/mem", NULL};

/* What a kernel lacks is skipped. */
static int system_files_protect(const struct guest *guest, struct error *err)
{
	const char *const *path;
	int r = hidden_prepare();

	if (r < 0)
		return error_set_errno(err, r, "prepare %s", GUEST_STAGING "/hidden");
	for (path = guest->is_vm ? vm_read_only : container_read_only; *path; path++) {
		if (mount(*path, *path, NULL, MS_BIND, NULL) == 0)
			r = mount_set_read_only(*path);
		else
			r = errno == ENOENT ? 0 : -errno;
		if (r < 0)
			return error_set_errno(err, r, "make %s read-only", *path);
	}
	for (path = hidden; *path; path++)
		if (mount(HIDDEN_DIRECTORY, *path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			return error_set_errno(err, -errno, "hide %s", *path);
	for (path = hidden_files; *path; path++)
		if (mount(HIDDEN_FILE, *path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			return error_set_errno(err, -errno, "hide %s", *path);
	return 0;
}

/* #syscalls: umount2 mount_setattr */
int guest_boot_unprotect(const struct guest *guest)
{
	const char *const *const lists[] = {
		guest->is_vm ? vm_read_only : container_read_only, hidden, hidden_files};
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const char *const *path = lists[i]; *path; path++)
			/* Nothing is mounted there, or the kernel has no such file. */
			if (umount2(*path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
				return -errno;
	return mount_setattr(AT_FDCWD, "/sys", 0, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* #syscalls: open_tree mount_setattr */
static int shared_mounts_make(struct guest *guest, struct error *err)
{
	static const char *const directories[] = {GUEST_STAGING "/pts", GUEST_STAGING "/shm",
		GUEST_STAGING "/mqueue", GUEST_STAGING "/dev", NULL};
	const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV;
	int r;

	/* When it was read last concerns nobody, and keeping that costs each program that starts. */
	if (mount("proc", "/proc", "proc", flags | MS_NOATIME, NULL) < 0)
		return error_set_errno(err, -errno, "mount /proc");
	guest->proc_fd = open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (guest->proc_fd < 0)
		return error_set_errno(err, -errno, "clone /proc");
	if (mount("sysfs", "/sys", "sysfs", flags, NULL) < 0)
		return error_set_errno(err, -errno, "mount /sys");
	r = mount_set_read_only("/sys");
	if (r < 0)
		return error_set_errno(err, r, "make /sys read-only");
	r = directories_make(directories, err);
	if (r < 0)
		return r;
	if (mount("devpts", GUEST_STAGING "/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		    "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0)
		return error_set_errno(err, -errno, "mount devpts");
	if (mount("shm", GUEST_STAGING "/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
		return error_set_errno(err, -errno, "mount shm");
	guest->has_mqueue = mount("mqueue", GUEST_STAGING "/mqueue", "mqueue", flags, NULL) == 0;
	return system_files_protect(guest, err);
}

/* #syscalls: fsopen fsconfig fsmount */
static int devices_mount(struct guest *guest)
{
	_cleanup_close_ int context = fsopen("devtmpfs", FSOPEN_CLOEXEC);

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	guest->devices_fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
	return guest->devices_fd < 0 ? -errno : 0;
}

/*
 * Opens a port's device. The driver makes the devices as the host answers it, maybe after we were
 * started: the watch tells of each new one.
 */
static int port_open(struct guest *guest, const char *name)
{
	_cleanup_close_ int inotify_fd = -1;
	char path[64], events[4096];
	int fd;

	fd = openat(guest->devices_fd, name, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	inotify_fd = inotify_init1(IN_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", guest->devices_fd);
	if (inotify_fd < 0 || inotify_add_watch(inotify_fd, path, IN_CREATE | IN_ATTRIB) < 0)
		return -errno;
	for (;;) {
		struct pollfd poll_fd = {.fd = inotify_fd, .events = POLLIN};

		fd = openat(guest->devices_fd, name, O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (fd >= 0 || errno != ENOENT)
			return fd < 0 ? -errno : fd;
		if (poll(&poll_fd, 1, PORT_WAIT_MS) <= 0)
			return -ETIMEDOUT;
		if (read(inotify_fd, events, sizeof(events)) < 0)
			return -errno;
	}
}

static int ports_open(struct guest *guest, struct error *err)
{
	guest->control_fd = port_open(guest, "vport0p1");
	if (guest->control_fd < 0)
		return error_set_errno(err, guest->control_fd, "open control port");
	guest->stream_fd = port_open(guest, "vport0p2");
	if (guest->stream_fd < 0)
		return error_set_errno(err, guest->stream_fd, "open stream port");
	return 0;
}

/* The device nodes that a container's apps get as mounts, see rootfs.c. */
static int nodes_make_container(void)
{
	static const struct {
		const char *path;
		unsigned int major, minor;
	} nodes[] = {
		{GUEST_STAGING "/null", 1, 3},
		{GUEST_STAGING "/zero", 1, 5},
		{GUEST_STAGING "/full", 1, 7},
		{GUEST_STAGING "/random", 1, 8},
		{GUEST_STAGING "/urandom", 1, 9},
		{GUEST_STAGING "/tty", 5, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) <
			0)
			return -errno;
	return 0;
}

/* #syscalls: socket ioctl */
static int loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/*
 * The customary limit on open files; the apps' soft limit is set by launch.c. A container may lack the
 * right to raise the hard one.
 */
static void file_limit_set(struct guest *guest)
{
	struct rlimit limit = {.rlim_cur = FILES_MAX, .rlim_max = FILES_MAX};

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	guest->files_max = limit.rlim_max;
}

/*
 * Overwrites a file in place, since it may be mounted in many places. As long as its length stays the
 * same that needs no system call, but for a long one.
 */
static int etc_file_write(struct guest *guest, size_t index, const char *text)
{
	size_t length = strlen(text);

	if (length == guest->etc_lengths[index] && length <= ETC_PAGE_SIZE &&
		guest->etc_pages[index]) {
		memcpy(guest->etc_pages[index], text, length);
		return 0;
	}
	if (pwrite(guest->etc_fds[index], text, length, 0) != (ssize_t)length)
		return errno ? -errno : -EIO;
	if ((length < guest->etc_lengths[index] || !guest->etc_pages[index]) &&
		ftruncate(guest->etc_fds[index], (off_t)length) < 0)
		return -errno;
	guest->etc_lengths[index] = length;
	return 0;
}

/* #syscalls: sethostname pwrite64 ftruncate */
static int names_set(struct guest *guest, const struct guest_instance *instance, struct error *err)
{
	_cleanup_free_ char *hosts = NULL;
	char text[256];
	int r;

	if (sethostname(instance->hostname, strlen(instance->hostname)) < 0)
		return error_set_errno(err, -errno, "set hostname \"%s\"", instance->hostname);
	r = asprintf(&hosts,
		"127.0.0.1\tlocalhost\n"
		"127.0.1.1\t%s\n"
		"::1\tlocalhost ip6-localhost ip6-loopback\n"
		"%s",
		instance->hostname, guest->hosts_entries ? guest->hosts_entries : "");
	if (r < 0) {
		hosts = NULL;
		return error_set_errno(err, -ENOMEM, "write files for /etc");
	}
	r = etc_file_write(guest, WIRE_ETC_HOSTS, hosts);
	if (r == 0) {
		snprintf(text, sizeof(text), "%s\n", instance->hostname);
		r = etc_file_write(guest, WIRE_ETC_HOSTNAME, text);
	}
	if (r == 0) {
		snprintf(text, sizeof(text), "%s\n", instance->machine_id);
		r = etc_file_write(guest, WIRE_ETC_MACHINE_ID, text);
	}
	return r < 0 ? error_set_errno(err, r, "write files for /etc") : 0;
}

/*
 * The page of each file, which is there after the first write to it. One that cannot be mapped is written to
 * otherwise. #syscalls: mmap
 */
static void etc_files_map(struct guest *guest)
{
	for (size_t i = 0; i < WIRE_ETC_FILES; i++) {
		void *page = mmap(NULL, ETC_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			guest->etc_fds[i], 0);

		guest->etc_pages[i] = page == MAP_FAILED ? NULL : page;
	}
}

void guest_boot_release_files(struct guest *guest)
{
	for (size_t i = 0; i < WIRE_ETC_FILES; i++) {
		if (guest->etc_pages[i])
			munmap(guest->etc_pages[i], ETC_PAGE_SIZE);
		guest->etc_pages[i] = NULL;
	}
}

/* #syscalls: fstat */
void guest_boot_check_files(struct guest *guest)
{
	struct stat st;

	for (size_t i = 0; i < WIRE_ETC_FILES; i++)
		if (fstat(guest->etc_fds[i], &st) < 0 || st.st_size != (off_t)guest->etc_lengths[i])
			guest_boot_release_files(guest);
}

/*
 * Files for the apps' /etc, with names that have the length of the usual ones: to change them takes no
 * memory and no time then.
 */
static int etc_files_make(struct guest *guest, struct error *err)
{
	static const struct guest_instance nobody = {
		.hostname = "appc-00000000-0000-0000-0000-000000000000",
		.machine_id = "00000000000000000000000000000000",
	};
	int r;

	for (size_t i = 0; i < WIRE_ETC_FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", GUEST_STAGING, wire_etc_names[i]);
		guest->etc_fds[i] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (guest->etc_fds[i] < 0)
			return error_set_errno(err, -errno, "make %s", path);
	}
	r = names_set(guest, &nobody, err);
	if (r == 0)
		etc_files_map(guest);
	return r;
}

static int tree_open(struct guest *guest, struct error *err)
{
	if (guest->is_vm && mount(WIRE_SHARE_TAG, WIRE_TREE, "virtiofs", 0, NULL) < 0)
		return error_set_errno(
			err, -errno, "mount the pod's tree from virtio-fs \"%s\"", WIRE_SHARE_TAG);
	guest->tree_fd = open(WIRE_TREE, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return guest->tree_fd < 0 ? error_set_errno(err, -errno, "open the pod's tree") : 0;
}

/*
 * What a small machine need not do while nobody asks: pack its memory in advance, twice a second, and sum up its
 * statistics of memory each second. A kernel without one of these needs no word.
 */
static void chores_put_off(const struct guest *guest)
{
	static const struct {
		const char *path, *value;
	} settings[] = {
		{"sys/vm/compaction_proactiveness", "0"},
		{"sys/vm/stat_interval", "60"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		_cleanup_close_ int fd =
			openat(guest->proc_fd, settings[i].path, O_WRONLY | O_CLOEXEC);

		if (fd >= 0 && write(fd, settings[i].value, strlen(settings[i].value)) < 0)
			errno = 0;
	}
}

int guest_boot_early(struct guest *guest, struct error *err)
{
	int r = standard_fds_occupy();

	if (r < 0)
		return error_set_errno(err, r, "open /");
	umask(0);
	r = guest->is_vm ? root_mount_vm(err) : root_mount_container(err);
	if (r < 0)
		return r;
	r = shared_mounts_make(guest, err);
	if (r < 0)
		return r;
	r = guest->is_vm ? devices_mount(guest) : nodes_make_container();
	if (r < 0)
		return error_set_errno(err, r, "make devices");
	guest->null_fd = guest->is_vm ? openat(guest->devices_fd, "null", O_RDWR | O_CLOEXEC)
				      : open(GUEST_STAGING "/null", O_RDWR | O_CLOEXEC);
	if (guest->null_fd < 0)
		return error_set_errno(err, -errno, "open /dev/null");
	if (guest->is_vm) {
		guest->random_fd = openat(guest->devices_fd, "random", O_RDWR | O_CLOEXEC);
		if (guest->random_fd < 0)
			return error_set_errno(err, -errno, "open /dev/random");
		chores_put_off(guest);
		guest_seccomp_reserve();
	}
	r = loopback_up();
	if (r < 0)
		return error_set_errno(err, r, "bring up the loopback interface");
	r = etc_files_make(guest, err);
	if (r < 0)
		return r;
	file_limit_set(guest);
	r = guest->is_vm ? ports_open(guest, err) : 0;
	return r < 0 ? r : tree_open(guest, err);
}

static int time_set(uint64_t time)
{
	struct timespec now = {
		.tv_sec = (time_t)(time / 1000000000u),
		.tv_nsec = (long)(time % 1000000000u),
	};

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}

/* #syscalls: ioctl */
static int entropy_add(const struct guest *guest, const uint8_t *entropy)
{
	/* struct rand_pool_info, which ends in an array without a size. */
	struct {
		int entropy_count, size;
		uint8_t bytes[WIRE_ENTROPY_SIZE];
	} pool = {.entropy_count = 8 * WIRE_ENTROPY_SIZE, .size = WIRE_ENTROPY_SIZE};

	memcpy(pool.bytes, entropy, WIRE_ENTROPY_SIZE);
	return ioctl(guest->random_fd, RNDADDENTROPY, &pool) < 0 ? -errno : 0;
}

/* Whether a kernel parameter belongs to our namespaces and not to the host. */
static bool sysctl_is_namespaced(const char *path)
{
	static const char *const prefixes[] = {"net/", "fs/mqueue/", "kernel/shm", "kernel/msg",
		"kernel/sem", "kernel/domainname", "kernel/hostname"};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(path, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static int sysctls_set(
	const struct guest *guest, const struct guest_config *config, struct error *err)
{
	for (size_t i = 0; i < config->sysctl_count; i++) {
		const struct guest_sysctl *sysctl = &config->sysctls[i];
		_cleanup_close_ int fd = -1;
		char path[512];

		if (!guest->is_vm && !sysctl_is_namespaced(sysctl->path))
			return error_set(err, -EPERM,
				"sysctl %s: not private to a container, only a VM can set it",
				sysctl->path);
		if ((size_t)snprintf(path, sizeof(path), "sys/%s", sysctl->path) >= sizeof(path))
			return error_set(
				err, -ENAMETOOLONG, "sysctl %.64s...: name too long", sysctl->path);
		fd = openat(guest->proc_fd, path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, sysctl->value, strlen(sysctl->value)) < 0)
			return error_set_errno(err, -errno, "sysctl %s: set to \"%s\"",
				sysctl->path, sysctl->value);
	}
	return 0;
}

/* #syscalls: clock_settime */
int guest_boot_set_clock(const struct guest *guest, struct error *err)
{
	/* The clock of a container is the host's. */
	int r = guest->is_vm ? time_set(guest_port_time()) : 0;

	return r < 0 ? error_set_errno(err, r, "set the clock") : 0;
}

int guest_boot_identify(
	struct guest *guest, const struct guest_instance *instance, struct error *err)
{
	int r = guest_boot_set_clock(guest, err);

	if (r < 0)
		return r;
	/* So is the random generator. */
	if (guest->is_vm) {
		r = entropy_add(guest, instance->entropy);
		if (r < 0)
			return error_set_errno(err, r, "add entropy");
	}
	if (*instance->network.interface) {
		r = guest_network_set(&instance->network, err);
		if (r < 0)
			return r;
	}
	return names_set(guest, instance, err);
}

int guest_boot_configure(struct guest *guest, const struct guest_config *config, struct error *err)
{
	int r;

	guest->hosts_entries = config->hosts_entries;
	r = guest_boot_identify(guest, &config->instance, err);
	if (r < 0)
		return r;
	if (config->resolv_conf)
		r = etc_file_write(guest, WIRE_ETC_RESOLV_CONF, config->resolv_conf);
	if (r < 0)
		return error_set_errno(err, r, "write resolv.conf for /etc");
	return sysctls_set(guest, config, err);
}
