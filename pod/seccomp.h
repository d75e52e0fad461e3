/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters: the isolators os/linux/seccomp-retain-set and -remove-set (specification,
 * "Isolators") as programs for the kernel's filter machine, made on the host, installed by guest-init.
 *
 * Sets of rkt that may stand in the place of a name:
 *
 *   @appc.io/all                                  retain: no filter. remove: as without an isolator
 *   @appc.io/empty                                as without an isolator
 *   @rkt/default-whitelist, @docker/...           what an app may call that asks for nothing
 *   @rkt/default-blacklist, @docker/...           what concerns the machine, not a program
 *   @systemd/clock, default-whitelist, mount, network-io, obsolete, privileged, process, raw-io
 *
 * An app without an isolator gets @rkt/default-whitelist. What a filter does not allow ends the process with
 * SIGSYS, or fails with the isolator's "errno".
 */
#ifndef APPC_POD_SECCOMP_H
#define APPC_POD_SECCOMP_H

#include "appc/manifest.h"

#include <linux/filter.h>

/* Longest program that the kernel takes. */
#define POD_SECCOMP_MAX BPF_MAXINSNS

struct pod_seccomp {
	struct sock_filter *program; /* NULL: everything is allowed */
	size_t count;
	bool is_default; /* it is wire_default_filter (wire/filter.h) */
	bool is_partial; /* the set has names that mean nothing here, and were left out */
};

/*
 * The filter of an app with these isolators; who names it in warnings. ret needs no initialisation and is
 * to be released with pod_seccomp_done(). -EINVAL with a message, or -ENOMEM.
 */
int pod_seccomp_resolve(const struct appc_isolators *isolators, const char *who,
	struct pod_seccomp *ret, struct error *err);
void pod_seccomp_done(struct pod_seccomp *seccomp);

/* The name of a system call by its number, or the number. */
#define POD_SECCOMP_NAME_SIZE 64
void pod_seccomp_call_name(int number, char ret[static POD_SECCOMP_NAME_SIZE]);

#endif
