/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host cgroup of a container: guest-init makes "appc-UUID" with one child per app below the cgroup
 * that it finds itself in, and removes it at its end. When it is killed, this module does.
 */
#ifndef APPC_POD_CGROUP_H
#define APPC_POD_CGROUP_H

#include <stddef.h>

/*
 * The path, in the version 2 hierarchy, of the cgroup that guest-init will make when this process starts
 * it. 0, or -ENOENT where there is no such hierarchy.
 */
int pod_cgroup_path(const char *uuid, char *path, size_t size);

/* Removes that cgroup and its children. They must be empty; one that is not, or is gone, stays so. */
void pod_cgroup_remove(const char *path);

#endif
