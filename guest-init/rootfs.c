// SPDX-License-Identifier: Apache-2.0
/*
 * rootfs.c: what an app sees of the world.
 *
 * Theory of operation: an app's mount namespace is a copy of PID 1's, without the pod's tree. In it
 * stand, ready to be moved, the mounts that boot.c made for all - proc, sysfs - and a /dev of the
 * app's own. The app's root filesystem is taken from the tree by PID 1 as a mount that is attached
 * nowhere, and mounted on the copy's "/"; then the others move to their places below it. Whoever
 * enters the namespace with setns() finds himself on top of that stack, and there is no way down: what
 * is below the root is nothing but an empty tmpfs. So no old root has to be thrown away, which would
 * cost an RCU grace period for each app.
 *
 * The root filesystem is hostile: each path in it is resolved by openat2() with RESOLVE_IN_ROOT,
 * and what is mounted is mounted on the fd that this gave.
 */
#include "guest-init/rootfs.h"

#include "base/file.h"
#include "guest-init/boot.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define LINK_DEPTH_MAX 8

/* An app's /dev, until it is moved. */
#define DEV_STAGING GUEST_STAGING "/dev"

static int mount_point_walk(int root_fd, const char *path, bool is_directory, unsigned int depth);

/*
 * Where mkdir said that a missing name exists, it is a link to something missing: goes on at the
 * link's target, with the rest of the path behind it.
 */
static int mount_point_follow(int root_fd, int parent_fd, const char *path, size_t parent_length,
	const char *name, const char *rest, bool is_directory, unsigned int depth)
{
	char target[PATH_MAX], next[PATH_MAX];
	ssize_t n = readlinkat(parent_fd, name, target, sizeof(target) - 1);
	int length;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (target[0] == '/')
		length = snprintf(next, sizeof(next), "%s/%s", target, rest);
	else
		length = snprintf(
			next, sizeof(next), "%.*s/%s/%s", (int)parent_length, path, target, rest);
	if (length < 0 || (size_t)length >= sizeof(next))
		return -ENAMETOOLONG;
	return mount_point_walk(root_fd, next, is_directory, depth + 1);
}

static int mount_point_walk(int root_fd, const char *path, bool is_directory, unsigned int depth)
{
	_cleanup_close_ int parent_fd = file_open_in_root(root_fd, "/", O_PATH | O_DIRECTORY, 0);
	char prefix[PATH_MAX], name[NAME_MAX + 1];
	const char *component = path;

	if (parent_fd < 0)
		return parent_fd;
	if (depth > LINK_DEPTH_MAX)
		return -ELOOP;
	for (;;) {
		size_t length, end, parent_length;
		const char *rest;
		int fd;

		component += strspn(component, "/");
		if (!*component)
			return TAKE_FD(parent_fd);
		parent_length = (size_t)(component - path);
		length = strcspn(component, "/");
		end = parent_length + length;
		if (length > NAME_MAX || end >= sizeof(prefix))
			return -ENAMETOOLONG;
		memcpy(prefix, path, end);
		prefix[end] = '\0';
		memcpy(name, component, length);
		name[length] = '\0';
		rest = path + end;
		rest += strspn(rest, "/");

		fd = file_open_in_root(root_fd, prefix, O_PATH, 0);
		if (fd == -ENOENT) {
			int r = *rest || is_directory ? mkdirat(parent_fd, name, 0755)
						      : mknodat(parent_fd, name, S_IFREG | 0644, 0);

			if (r < 0 && errno == EEXIST)
				return mount_point_follow(root_fd, parent_fd, path, parent_length,
					name, rest, is_directory, depth);
			if (r < 0)
				return -errno;
			fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
			if (fd < 0)
				return -errno;
		}
		if (fd < 0)
			return fd;
		close(parent_fd);
		parent_fd = fd;
		component = path + end;
	}
}

int guest_mount_point_open(int root_fd, const char *path, bool is_directory)
{
	int fd = file_open_in_root(root_fd, path, O_PATH, 0);

	return fd == -ENOENT ? mount_point_walk(root_fd, path, is_directory, 0) : fd;
}

/* #syscalls: statx */
static bool is_same_mounted_directory(int a_fd, int b_fd)
{
	struct statx a, b;
	const unsigned int mask = STATX_INO | STATX_MNT_ID;

	return statx(a_fd, "", AT_EMPTY_PATH, mask, &a) == 0 &&
		statx(b_fd, "", AT_EMPTY_PATH, mask, &b) == 0 && a.stx_ino == b.stx_ino &&
		a.stx_mnt_id == b.stx_mnt_id;
}

/* #syscalls: move_mount */
static int mount_move(const char *source, int target_fd)
{
	return move_mount(AT_FDCWD, source, target_fd, "", MOVE_MOUNT_T_EMPTY_PATH) < 0 ? -errno
											: 0;
}

/* Where path is, to be mounted over; it may not be the root directory itself. */
static int mount_point_open_named(int root_fd, const char *path, int *ret_fd, struct error *err)
{
	int fd = guest_mount_point_open(root_fd, path, true);

	if (fd < 0)
		return error_set_errno(err, fd, "mount point \"%s\"", path);
	if (is_same_mounted_directory(fd, root_fd)) {
		close(fd);
		return error_set(err, -EBUSY, "mount point \"%s\" is the root directory", path);
	}
	*ret_fd = fd;
	return 0;
}

static int mount_attach(int mount_fd, int target_fd)
{
	return move_mount(mount_fd, "", target_fd, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		? -errno
		: 0;
}

static int mount_set(int mount_fd, uint64_t attributes, unsigned int flags)
{
	struct mount_attr attr = {.attr_set = attributes};

	return mount_setattr(mount_fd, "", AT_EMPTY_PATH | flags, &attr, sizeof(attr)) < 0 ? -errno
											   : 0;
}

/* Moves a mount of the namespace to path below the root. */
static int system_mount_move(int root_fd, const char *source, const char *path, struct error *err)
{
	_cleanup_close_ int target_fd = -1;
	int r = mount_point_open_named(root_fd, path, &target_fd, err);

	if (r < 0)
		return r;
	r = mount_move(source, target_fd);
	return r < 0 ? error_set_errno(err, r, "mount %s", path) : 0;
}

/* A device that exists at path in our own /dev. */
static int node_bind(int dev_fd, const char *path, const char *name)
{
	_cleanup_close_ int mount_fd = -1, target_fd = -1;

	if (mknodat(dev_fd, name, S_IFREG, 0) < 0)
		return -errno;
	target_fd = openat(dev_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	mount_fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (target_fd < 0 || mount_fd < 0)
		return -errno;
	return mount_attach(mount_fd, target_fd);
}

/*
 * The app's device nodes. In a container they are mounts on a file system that allows no devices,
 * so that an app with CAP_MKNOD cannot make itself the host's disks. A VM has no device that the
 * app may not have.
 */
static int nodes_make(const struct guest *guest, int dev_fd)
{
	/* There is no terminal yet: the console swallows what is written to it. */
	static const struct {
		const char *name, *path;
		unsigned int major, minor;
	} nodes[] = {
		{"null", GUEST_STAGING "/null", 1, 3},
		{"zero", GUEST_STAGING "/zero", 1, 5},
		{"full", GUEST_STAGING "/full", 1, 7},
		{"random", GUEST_STAGING "/random", 1, 8},
		{"urandom", GUEST_STAGING "/urandom", 1, 9},
		{"tty", GUEST_STAGING "/tty", 5, 0},
		{"console", GUEST_STAGING "/null", 1, 3},
	};
	static const struct {
		const char *target, *name;
	} links[] = {
		{"pts/ptmx", "ptmx"},
		{"/proc/self/fd", "fd"},
		{"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		int r;

		if (guest->is_vm)
			r = mknodat(dev_fd, nodes[i].name, S_IFCHR | 0666,
				    makedev(nodes[i].major, nodes[i].minor)) < 0
				? -errno
				: 0;
		else
			r = node_bind(dev_fd, nodes[i].path, nodes[i].name);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i].target, dev_fd, links[i].name) < 0)
			return -errno;
	return 0;
}

static int dev_mount_move(int dev_fd, const char *name, const char *source)
{
	_cleanup_close_ int target_fd = -1;

	if (mkdirat(dev_fd, name, 0755) < 0)
		return -errno;
	target_fd = openat(dev_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target_fd < 0)
		return -errno;
	return mount_move(source, target_fd);
}

static int dev_make(const struct guest *guest, struct error *err)
{
	_cleanup_close_ int dev_fd = -1;
	int r;

	if (mount("dev", DEV_STAGING, "tmpfs",
		    MS_NOSUID | MS_NOEXEC | (guest->is_vm ? 0 : MS_NODEV), "mode=755,size=16m") < 0)
		return error_set_errno(err, -errno, "mount /dev");
	dev_fd = open(DEV_STAGING, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dev_fd < 0 ? -errno : nodes_make(guest, dev_fd);
	if (r < 0)
		return error_set_errno(err, r, "make devices in /dev");
	r = dev_mount_move(dev_fd, "pts", GUEST_STAGING "/pts");
	if (r == 0)
		r = dev_mount_move(dev_fd, "shm", GUEST_STAGING "/shm");
	if (r == 0 && guest->has_mqueue)
		r = dev_mount_move(dev_fd, "mqueue", GUEST_STAGING "/mqueue");
	return r < 0 ? error_set_errno(err, r, "mount what belongs below /dev") : 0;
}

/* For apps that administrate the network, and of use to nobody else. */
static int tun_node_make(void)
{
	return mkdir(DEV_STAGING "/net", 0755) < 0 ||
			mknod(DEV_STAGING "/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0
		? -errno
		: 0;
}

/* #syscalls: unshare openat readlinkat umount2 */
int guest_rootfs_prepare(const struct guest *guest, struct guest_rootfs *rootfs, struct error *err)
{
	char own[64];
	int r;

	if (unshare(CLONE_NEWNS) < 0)
		return error_set_errno(err, -errno, "make a mount namespace");
	rootfs->namespace_fd = openat(guest->proc_fd, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (rootfs->namespace_fd < 0)
		return error_set_errno(err, -errno, "keep the mount namespace");
	/* A static program asks what its name is before anything else: the kernel remembers the way. */
	if (readlinkat(guest->proc_fd, "self/exe", own, sizeof(own)) < 0)
		return error_set_errno(err, -errno, "read a process's name");
	if (umount2(WIRE_TREE, MNT_DETACH) < 0)
		return error_set_errno(err, -errno, "leave the pod's tree");
	r = dev_make(guest, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < WIRE_ETC_FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", GUEST_STAGING, wire_etc_names[i]);
		rootfs->etc_fds[i] = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (rootfs->etc_fds[i] < 0)
			return error_set_errno(err, -errno, "clone %s", path);
	}
	return 0;
}

/* #syscalls: open_tree mount_setattr */
static int volume_open(const struct guest *guest, const struct guest_mount_config *config,
	int *ret_fd, struct error *err)
{
	uint64_t attributes = (config->read_only ? MOUNT_ATTR_RDONLY : 0) |
		(guest->is_vm ? 0 : MOUNT_ATTR_NODEV);
	char source[NAME_MAX + 32];
	int r;

	snprintf(source, sizeof(source), "volumes/%s", config->volume);
	*ret_fd = open_tree(guest->tree_fd, source,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
	if (*ret_fd < 0)
		return error_set_errno(err, -errno, "volume \"%s\"", config->volume);
	r = attributes ? mount_set(*ret_fd, attributes, AT_RECURSIVE) : 0;
	return r < 0 ? error_set_errno(err, r, "volume \"%s\": set mount flags", config->volume)
		     : 0;
}

int guest_rootfs_open(const struct guest *guest, const struct guest_app_config *app,
	struct guest_rootfs *rootfs, struct error *err)
{
	char path[NAME_MAX + 32];
	int r;

	snprintf(path, sizeof(path), "apps/%s/rootfs", app->name);
	rootfs->root_fd = open_tree(
		guest->tree_fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (rootfs->root_fd < 0)
		return error_set_errno(err, -errno, "open the root filesystem");
	r = guest->is_vm ? 0 : mount_set(rootfs->root_fd, MOUNT_ATTR_NODEV, 0);
	if (r < 0)
		return error_set_errno(err, r, "set mount flags of the root filesystem");
	if (app->mount_count == 0)
		return 0;
	rootfs->volume_fds = calloc(app->mount_count, sizeof(*rootfs->volume_fds));
	if (!rootfs->volume_fds)
		return error_set_errno(err, -ENOMEM, "open the volumes");
	while (rootfs->volume_count < app->mount_count) {
		size_t i = rootfs->volume_count++;

		r = volume_open(guest, &app->mounts[i], &rootfs->volume_fds[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int volume_mount(
	const struct guest_mount_config *config, int source_fd, int root_fd, struct error *err)
{
	_cleanup_close_ int target_fd = -1;
	struct stat st, target_st;
	int r;

	if (fstat(source_fd, &st) < 0)
		return error_set_errno(err, -errno, "volume \"%s\"", config->volume);
	target_fd = guest_mount_point_open(root_fd, config->target, S_ISDIR(st.st_mode));
	if (target_fd < 0 || fstat(target_fd, &target_st) < 0)
		return error_set_errno(err, target_fd < 0 ? target_fd : -errno,
			"volume \"%s\": mount point \"%s\"", config->volume, config->target);
	if (S_ISDIR(st.st_mode) != S_ISDIR(target_st.st_mode))
		return error_set(err, -ENOTDIR,
			"volume \"%s\" is a %s, but its mount point \"%s\" is not", config->volume,
			S_ISDIR(st.st_mode) ? "directory" : "file", config->target);
	if (is_same_mounted_directory(target_fd, root_fd))
		return error_set(err, -EBUSY,
			"volume \"%s\": mount point \"%s\" is the root directory", config->volume,
			config->target);
	r = mount_attach(source_fd, target_fd);
	if (r < 0)
		return error_set_errno(
			err, r, "volume \"%s\": mount on \"%s\"", config->volume, config->target);
	return 0;
}

/* Covers files of the app's /etc by the pod's own; the host has seen to it that they are there. */
static int etc_make(const struct guest_rootfs *rootfs, unsigned int files)
{
	_cleanup_close_ int etc_fd = -1;

	if (!files)
		return 0;
	etc_fd = file_open_in_root(rootfs->root_fd, "/etc", O_PATH | O_DIRECTORY, 0);
	if (etc_fd < 0)
		return etc_fd;
	for (size_t i = 0; i < WIRE_ETC_FILES; i++) {
		_cleanup_close_ int target_fd = -1;
		int r;

		if (!(files >> i & 1))
			continue;
		target_fd = openat(etc_fd, wire_etc_names[i], O_PATH | O_NOFOLLOW | O_CLOEXEC);
		r = target_fd < 0 ? -errno : mount_attach(rootfs->etc_fds[i], target_fd);
		if (r < 0)
			return r;
	}
	return 0;
}

/* #syscalls: move_mount chroot */
int guest_rootfs_build(struct guest *guest, const struct guest_app_config *app,
	struct guest_rootfs *rootfs, struct error *err)
{
	const unsigned int cap_net_admin = 12;
	int root_fd = rootfs->root_fd, r = 0;

	if (move_mount(root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_set_errno(err, -errno, "mount the root filesystem");
	if (guest->is_vm && app->capabilities >> cap_net_admin & 1)
		r = tun_node_make();
	if (r < 0)
		return error_set_errno(err, r, "make /dev/net/tun");
	r = app->protect_paths ? 0 : guest_boot_unprotect(guest);
	if (r < 0)
		return error_set_errno(err, r, "uncover /proc and /sys");
	r = system_mount_move(root_fd, "/proc", "/proc", err);
	if (r == 0)
		r = system_mount_move(root_fd, "/sys", "/sys", err);
	if (r == 0)
		r = system_mount_move(root_fd, DEV_STAGING, "/dev", err);
	for (size_t i = 0; r == 0 && i < app->mount_count; i++)
		r = volume_mount(&app->mounts[i], rootfs->volume_fds[i], root_fd, err);
	if (r < 0)
		return r;
	r = etc_make(rootfs, app->etc_files);
	if (r < 0)
		guest_warn(guest, GUEST_WARNING_HOSTS, "app %s: cannot complete /etc: %s",
			app->name, strerror(-r));
	r = app->read_only_rootfs ? mount_set(root_fd, MOUNT_ATTR_RDONLY, 0) : 0;
	if (r < 0)
		return error_set_errno(err, r, "make the root filesystem read-only");
	if (fchdir(root_fd) < 0 || chroot(".") < 0)
		return error_set_errno(err, -errno, "change the root directory");
	return 0;
}

void guest_rootfs_done(struct guest_rootfs *rootfs)
{
	fd_close(&rootfs->namespace_fd);
	fd_close(&rootfs->root_fd);
	for (size_t i = 0; i < WIRE_ETC_FILES; i++)
		fd_close(&rootfs->etc_fds[i]);
	for (size_t i = 0; i < rootfs->volume_count; i++)
		fd_close(&rootfs->volume_fds[i]);
	free(rootfs->volume_fds);
	*rootfs = GUEST_ROOTFS_NONE;
}
