/* SPDX-License-Identifier: Apache-2.0 */
/* From PID 1's first instruction to a configured pod without apps. */
#ifndef APPC_GUEST_INIT_BOOT_H
#define APPC_GUEST_INIT_BOOT_H

#include "guest-init/control.h"
#include "guest-init/guest.h"

/* Where the parts of the apps' /dev and /etc that all of them share are prepared. */
#define GUEST_STAGING "/dev"

/*
 * All that needs no configuration: mounts, device nodes, loopback, and in a VM the console's ports and the
 * pod's tree. Fills in guest's fds. 0 or -errno with a message.
 */
int guest_boot_early(struct guest *guest, struct error *err);

/*
 * Before guest_boot_identify() in a copy of a pod that ran: apps may have shortened the files of /etc, so that their pages
 * are no memory to write to.
 */
void guest_boot_release_files(struct guest *guest);

/* Before guest_boot_identify() in a copy of a pod whose apps have not begun, but for their dynamic linkers: the same, if so. */
void guest_boot_check_files(struct guest *guest);

/*
 * What a message says of this pod or copy of it: time, entropy, names. May be called again for the next
 * copy. 0 or -errno with a message.
 */
int guest_boot_identify(
	struct guest *guest, const struct guest_instance *instance, struct error *err);

/*
 * What the configure message says of the pod as a whole: the same, and kernel parameters.
 * 0 or -errno with a message.
 */
int guest_boot_configure(struct guest *guest, const struct guest_config *config, struct error *err);

/* Sets the clock of a VM by the host's. 0 or -errno with a message. */
int guest_boot_set_clock(const struct guest *guest, struct error *err);

/*
 * Takes what protects parts of /proc and /sys out of the calling process's mount namespace, which is its own and
 * has them where guest_boot_early() mounted them. 0 or -errno.
 */
int guest_boot_unprotect(const struct guest *guest);

#endif
