/* SPDX-License-Identifier: Apache-2.0 */
/* The mount namespace of an app. */
#ifndef APPC_GUEST_INIT_ROOTFS_H
#define APPC_GUEST_INIT_ROOTFS_H

#include "guest-init/control.h"
#include "guest-init/guest.h"

/*
 * Makes the app's mount namespace: its root filesystem, /proc, /sys, /dev, volumes, files in /etc.
 * Returns the namespace's fd for setns() and an O_PATH fd of the root directory in it; both are the
 * caller's. The calling process is in its own namespace before and after; where it cannot come back
 * the process ends.
 * 0 or -errno with a message.
 */
int guest_rootfs_make(struct guest *guest, const struct guest_app_config *app,
	int *ret_namespace_fd, int *ret_root_fd, struct error *err);

/*
 * Opens (O_PATH) the mount point path of the root filesystem root_fd; links are followed as a
 * process chrooted there would. What is missing is made: directories with mode 0755, and as last
 * component a directory or an empty file. Returns the fd or -errno.
 */
int guest_mount_point_open(int root_fd, const char *path, bool is_directory);

#endif
