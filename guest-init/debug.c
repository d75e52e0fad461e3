// SPDX-License-Identifier: Apache-2.0
/*
 * debug.c: the mount namespace of the debug shell, and its server.
 *
 * Theory of operation: to rootfs.c the debug tree is the root filesystem of an app that has the pod's own directories
 * for volumes. A launcher makes the namespace, with the first connection, and is gone again; an fd keeps it. So a pod
 * whom nobody debugs pays for nothing. Each connection has a server of its own, which finds the keys that came with the
 * request in memory: neither the tree nor any disk of the pod has them.
 */
#include "guest-init/debug.h"

#include "base/base64.h"
#include "base/file.h"
#include "guest-init/launch.h"
#include "wire/session.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define KEYS_DIRECTORY  "/root/.ssh"
#define HOST_KEY        "host_key"
#define AUTHORIZED_KEYS "authorized_keys"

/* Bytes that clients may have on their way to the server: more than its default, which has them wait. */
#define RECEIVE_WINDOW "524288"

/* What is mounted in the tree; the names are those of the pod's tree. */
enum { MOUNT_APPS, MOUNT_VOLUMES, MOUNT_HOME, MOUNT_TMP, MOUNTS };
static struct guest_mount_config mounts[MOUNTS] = {
	[MOUNT_APPS] = {.volume = "apps", .target = "/apps"},
	[MOUNT_VOLUMES] = {.volume = "volumes", .target = "/volumes"},
	[MOUNT_HOME] = {.volume = "root", .target = "/root"},
	[MOUNT_TMP] = {.volume = "tmp", .target = "/tmp"},
};

static void debug_done(struct guest_debug *debug)
{
	if (debug->keys_fd >= 0)
		close(debug->keys_fd);
	guest_rootfs_done(&debug->rootfs);
	free(debug->tree);
	*debug = GUEST_DEBUG_NONE;
}

/* A file system in memory that is mounted nowhere yet. #syscalls: fsopen fsconfig fsmount */
static int memory_mount(const char *mode)
{
	_cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "mode", mode, 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

/* The directory of the pod's tree, with all that is mounted below it. #syscalls: open_tree */
static int tree_mount(const struct guest *guest, const char *path, unsigned int flags)
{
	int fd = open_tree(guest->tree_fd, path,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | flags);

	return fd < 0 ? -errno : fd;
}

static int keys_directory_make(struct guest_debug *debug)
{
	const char *name = strrchr(KEYS_DIRECTORY, '/') + 1;
	int home = debug->rootfs.volume_fds[MOUNT_HOME];

	if (mkdirat(home, name, 0700) < 0)
		return -errno;
	debug->keys_fd = directory_open(home, name);
	return debug->keys_fd < 0 ? debug->keys_fd : 0;
}

/* PID 1 takes from the pod's tree what the launcher is going to mount. */
static int debug_open(
	const struct guest *guest, struct guest_debug *debug, const char *tree, struct error *err)
{
	struct guest_rootfs *rootfs = &debug->rootfs;
	char path[sizeof(WIRE_DEBUG) + 1 + NAME_MAX];

	snprintf(path, sizeof(path), WIRE_DEBUG "/%s", tree);
	rootfs->root_fd = tree_mount(guest, path, 0);
	if (rootfs->root_fd < 0)
		return error_set_errno(err, rootfs->root_fd, "the debug tree");
	debug->tree = strdup(tree);
	rootfs->volume_fds = calloc(MOUNTS, sizeof(*rootfs->volume_fds));
	if (!debug->tree || !rootfs->volume_fds)
		return error_set_errno(err, -ENOMEM, "the debug tree");
	while (rootfs->volume_count < MOUNTS) {
		size_t i = rootfs->volume_count++;
		int fd;

		if (i == MOUNT_HOME || i == MOUNT_TMP)
			fd = memory_mount(i == MOUNT_TMP ? "1777" : "0700");
		else
			fd = tree_mount(guest, mounts[i].volume, AT_RECURSIVE);
		rootfs->volume_fds[i] = fd;
		if (fd < 0)
			return error_set_errno(
				err, fd, "mount %s of the debug tree", mounts[i].target);
	}
	return 0;
}

struct order {
	struct guest *guest;
	struct guest_debug *debug;
	struct error *err;
};

static int order_build(void *argument)
{
	struct order *order = argument;
	/* The kernel below a container is not the pod's to uncover. */
	const struct guest_app_config config = {
		.name = "debug",
		.capabilities = UINT64_MAX,
		.protect_paths = !order->guest->is_vm,
		.read_only_rootfs = true,
		.mounts = mounts,
		.mount_count = MOUNTS,
		.etc_files = (1u << WIRE_ETC_FILES) - 1,
	};
	int r = guest_rootfs_prepare(order->guest, &order->debug->rootfs, order->err);

	return r < 0 ? r
		     : guest_rootfs_build(order->guest, &config, &order->debug->rootfs, order->err);
}

/* Of launchers that are there for one order only. */
static char stack[GUEST_LAUNCHER_STACK_SIZE] __attribute__((aligned(16)));

static int launcher_start(struct guest_launcher *launcher, struct error *err)
{
	int r = guest_launcher_start(launcher, stack, -1);

	return r < 0 ? error_set_errno(err, r, "make a process for the debug shell") : 0;
}

static int debug_build(struct guest *guest, struct guest_debug *debug, struct error *err)
{
	struct order order = {.guest = guest, .debug = debug, .err = err};
	struct guest_launcher launcher;
	int r = launcher_start(&launcher, err), result;

	if (r < 0)
		return r;
	if (guest_launcher_run(&launcher, order_build, &order, &result) > 0)
		return error_set(err, -ESRCH, "the process that mounts the debug tree was killed");
	guest_launcher_stop(&launcher);
	return result;
}

/* Another tree than before: programs of the host were replaced meanwhile. Who is in the old one stays there. */
static int tree_prepare(
	struct guest *guest, struct guest_debug *debug, const char *tree, struct error *err)
{
	int r;

	if (debug->tree && !strcmp(debug->tree, tree))
		return 0;
	debug_done(debug);
	r = debug_open(guest, debug, tree, err);
	if (r == 0) {
		r = keys_directory_make(debug);
		if (r < 0)
			error_set_errno(err, r, "make " KEYS_DIRECTORY);
	}
	if (r == 0)
		r = debug_build(guest, debug, err);
	if (r < 0)
		debug_done(debug);
	return r;
}

/* A server that starts meanwhile reads the old key or the new one. #syscalls: renameat */
static int key_write(int directory, const char *name, const void *data, size_t length)
{
	static const char temporary[] = "new";
	_cleanup_close_ int fd =
		openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : file_write_all(fd, data, length);

	if (r == 0 && renameat(directory, temporary, directory, name) < 0)
		r = -errno;
	return r;
}

static int keys_write(
	const struct guest_debug *debug, const struct guest_ssh_config *config, struct error *err)
{
	uint8_t host_key[WIRE_SESSION_HOST_KEY_MAX + 3];
	ptrdiff_t length = base64_decode(config->host_key, strlen(config->host_key), host_key);
	int r;

	if (length < 0)
		return error_set(err, -EBADMSG, "ssh: field \"host_key\": base 64 expected");
	r = key_write(debug->keys_fd, HOST_KEY, host_key, (size_t)length);
	explicit_bzero(host_key, sizeof(host_key));
	if (r == 0)
		r = key_write(debug->keys_fd, AUTHORIZED_KEYS, config->authorized_keys,
			strlen(config->authorized_keys));
	return r < 0 ? error_set_errno(err, r, "write the keys of the debug shell") : 0;
}

int guest_debug_prepare(struct guest *guest, struct guest_debug *debug,
	const struct guest_ssh_config *config, struct error *err)
{
	int r = tree_prepare(guest, debug, config->tree, err);

	return r < 0 ? r : keys_write(debug, config, err);
}

int guest_debug_serve(const struct guest *guest, const struct guest_debug *debug, int socket_fd,
	pid_t *ret_pid, struct error *err)
{
	static const char *const environment[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LD_PRELOAD=/" WIRE_DEBUG_PRELOAD, NULL};
	static const char host_key[] = KEYS_DIRECTORY "/" HOST_KEY;
	/* One connection on standard input; keys, no passwords; no message of the day. */
	static const char *const exec[] = {
		"/bin/dropbear", "-i", "-s", "-m", "-W", RECEIVE_WINDOW, "-r", host_key, NULL};
	const struct guest_launch launch = {
		.exec = exec,
		.environment = environment,
		.namespace_fd = debug->rootfs.namespace_fd,
		.root_fd = debug->rootfs.root_fd,
		.working_directory = "/",
		.identity = {.capabilities = UINT64_MAX, .present = UINT64_MAX},
		.stdin_fd = socket_fd,
		.stdout_fd = guest->null_fd,
		.stderr_fd = guest->null_fd,
		.new_session = true,
	};
	struct guest_launcher launcher;
	int r = launcher_start(&launcher, err);

	return r < 0 ? r : guest_launch(guest, &launch, &launcher, ret_pid, err);
}
