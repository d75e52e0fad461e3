// SPDX-License-Identifier: Apache-2.0
/*
 * container.c: the container flavour's wall: Linux namespaces instead of a machine.
 *
 * PID 1 of fresh namespaces finds itself in the pod's tree. It builds a root of its own, an empty
 * tmpfs with the tree at WIRE_TREE, moves there, drops everything else, and becomes the same
 * guest-init that runs in a VM.
 */
#include "pod/flavour.h"

#include "wire/wire.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Directories that guest-init mounts on or works in; parents first. */
static const char *const directories[] = {"proc", "sys", "dev", "run", WIRE_TREE};

/* A tmpfs that is mounted nowhere yet. */
static int create_root(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
	return fd < 0 ? -errno : fd;
}

/* Moves to a new root that has the working directory, the tree, at WIRE_TREE. */
static int change_root(void)
{
	_cleanup_close_ int root = -1, tree = -1;

	/* Of the mounts that stay, those in the tree, only a mutable pod's have a master. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	tree = (int)syscall(
		SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0)
		return -errno;
	root = create_root();
	if (root < 0)
		return root;
	if (syscall(SYS_move_mount, root, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		fchdir(root) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		const char *path = directories[i];

		if (mkdirat(root, *path == '/' ? path + 1 : path, 0755) < 0)
			return -errno;
	}
	/* WIRE_TREE is absolute, and we are about to be at its root. */
	if (syscall(SYS_move_mount, tree, "", root, &WIRE_TREE[1], MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
		chdir("/") < 0)
		return -errno;
	return 0;
}

/*
 * Whether the root is the root of the mount namespace. pivot_root() below a chroot leaves the host's
 * there, and guest-init, which goes from one mount namespace to another, would end up in it.
 */
static int check_root(int namespace_fd)
{
	struct stat before, after;

	if (stat("/", &before) < 0 || setns(namespace_fd, CLONE_NEWNS) < 0 || stat("/", &after) < 0)
		return -errno;
	return before.st_dev == after.st_dev && before.st_ino == after.st_ino ? 0 : -EXDEV;
}

int container_enter(int init_fd, int control_fd, int stream_fd, int session_fd)
{
	char control[32], stream[32], session[32];
	char *arguments[] = {(char *)"guest-init", control, stream, session, NULL};
	char *environment[] = {NULL};
	_cleanup_close_ int namespace_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r;

	if (namespace_fd < 0)
		return -errno;
	r = change_root();
	if (r == 0)
		r = check_root(namespace_fd);
	if (r < 0)
		return r;
	snprintf(control, sizeof(control), "--control-fd=%d", control_fd);
	snprintf(stream, sizeof(stream), "--stream-fd=%d", stream_fd);
	snprintf(session, sizeof(session), "--session-fd=%d", session_fd);
	if (fcntl(control_fd, F_SETFD, 0) < 0 || fcntl(stream_fd, F_SETFD, 0) < 0 ||
		fcntl(session_fd, F_SETFD, 0) < 0)
		return -errno;
	syscall(SYS_execveat, init_fd, "", arguments, environment, AT_EMPTY_PATH);
	return -errno;
}
