/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that the kernel gave to a process, where it lies in its memory. */
#ifndef APPC_GUEST_INIT_ENVIRONMENT_H
#define APPC_GUEST_INIT_ENVIRONMENT_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Where "NAME=VALUE" of that process begins. name ends with '='. proc_fd: a mounted proc. 0, -ENOENT or another
 * -errno. The process may be hostile: the address is its own claim and leads into its own memory or nowhere.
 */
int guest_environment_find(int proc_fd, pid_t pid, const char *name, uint64_t *ret_address);

#endif
