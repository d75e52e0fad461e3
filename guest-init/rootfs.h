/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount namespace of an app, made in three steps: what all apps get alike, long before there is an
 * app; its mounts from the pod's tree, in PID 1's namespace; and their places in its own.
 */
#ifndef APPC_GUEST_INIT_ROOTFS_H
#define APPC_GUEST_INIT_ROOTFS_H

#include "guest-init/app_config.h"
#include "guest-init/guest.h"

struct guest_rootfs {
	int namespace_fd;            /* for setns(); -1: not made yet */
	int root_fd;                 /* O_PATH, the app's root directory; -1: not known yet */
	int etc_fds[WIRE_ETC_FILES]; /* mounts of our files, not attached yet; -1: none */
	int *volume_fds;             /* the same of the app's mounts, in their order */
	size_t volume_count;
};
#define GUEST_ROOTFS_NONE       \
	((struct guest_rootfs){ \
		.namespace_fd = -1, .root_fd = -1, .etc_fds = {[0 ... WIRE_ETC_FILES - 1] = -1}})

/*
 * The calling process, a launcher, moves to a mount namespace of its own, where everything is ready that
 * does not depend on the app. 0 or -errno with a message.
 */
int guest_rootfs_prepare(const struct guest *guest, struct guest_rootfs *rootfs, struct error *err);

/* PID 1 takes the app's root filesystem and volumes from the tree. 0 or -errno with a message. */
int guest_rootfs_open(const struct guest *guest, const struct guest_app_config *app,
	struct guest_rootfs *rootfs, struct error *err);

/*
 * The calling process, which prepared the namespace, puts all in place and makes the app's root directory
 * its own. 0 or -errno with a message.
 */
int guest_rootfs_build(struct guest *guest, const struct guest_app_config *app,
	struct guest_rootfs *rootfs, struct error *err);

/* Closes what is open: the namespace lives on with its processes. */
void guest_rootfs_done(struct guest_rootfs *rootfs);

/*
 * Opens (O_PATH) the mount point path of the root filesystem root_fd; links are followed as a
 * process chrooted there would. What is missing is made: directories with mode 0755, and as last
 * component a directory or an empty file. Returns the fd or -errno.
 */
int guest_mount_point_open(int root_fd, const char *path, bool is_directory);

#endif
