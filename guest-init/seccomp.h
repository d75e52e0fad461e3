/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of an app's process. */
#ifndef APPC_GUEST_INIT_SECCOMP_H
#define APPC_GUEST_INIT_SECCOMP_H

#include <linux/filter.h>
#include <stddef.h>

/*
 * Filters the calling process's system calls from now on, and those of all that come from it. It needs
 * CAP_SYS_ADMIN or no new privileges. Touches nothing but the calling task. 0 or -errno; -EINVAL: the kernel
 * does not take the program.
 */
int guest_seccomp_install(const struct sock_filter *program, size_t count);

/*
 * Has the kernel make room for translated programs, which takes a million instructions, and keep it: for a VM,
 * before it is parked. A kernel that cannot is none the worse.
 */
void guest_seccomp_reserve(void);

#endif
