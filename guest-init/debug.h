/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The debug shell: an ssh server for one connection, in a mount namespace that no app sees.
 *
 * It is root of the pod, without a filter of its system calls and with all capabilities that PID 1 has. Its root
 * is the debug tree (pod/debug_tree.h), read-only, with /apps/NAME/rootfs and /volumes of the pod's tree, a /root and
 * a /tmp in memory, and the same /proc, /sys and /dev as an app's; in a VM nothing of them is hidden.
 */
#ifndef APPC_GUEST_INIT_DEBUG_H
#define APPC_GUEST_INIT_DEBUG_H

#include "guest-init/session_request.h"
#include "guest-init/guest.h"
#include "guest-init/rootfs.h"

/* Its namespace, made for the first connection. */
struct guest_debug {
	char *tree; /* which tree it is of; NULL: there is none yet */
	struct guest_rootfs rootfs;
	int keys_fd; /* the directory of the server's keys */
};
#define GUEST_DEBUG_NONE ((struct guest_debug){.rootfs = GUEST_ROOTFS_NONE, .keys_fd = -1})

/* Makes ready for a connection: the namespace and the keys. 0 or -errno with a message. */
int guest_debug_prepare(struct guest *guest, struct guest_debug *debug,
	const struct guest_ssh_config *config, struct error *err);

/*
 * After that: starts the server for the connection socket_fd, which it gets a copy of. Our child; its end is the
 * caller's to hear of. 0 or -errno with a message.
 */
int guest_debug_serve(const struct guest *guest, const struct guest_debug *debug, int socket_fd,
	pid_t *ret_pid, struct error *err);

#endif
