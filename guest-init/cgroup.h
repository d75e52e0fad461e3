/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups (version 2): one for each app, with its limits, and one for those of the pod. */
#ifndef APPC_GUEST_INIT_CGROUP_H
#define APPC_GUEST_INIT_CGROUP_H

#include "guest-init/control.h"
#include "guest-init/guest.h"

/*
 * Opens the directory for the apps' cgroups (guest->cgroup_fd) and enables controllers: in a container
 * those that the apps' limits need and no others, since each one makes every cgroup dearer; in a VM,
 * where config is NULL, and in a mutable pod all, before anybody waits for it. What is missing is warned of, in
 * those when it is missed. In a container the limits of the pod are set, too.
 */
void guest_cgroup_prepare(struct guest *guest, const struct guest_config *config);

/*
 * Where the pod as a whole has limits: from now on the apps' cgroups are made below one that has these. What cannot be
 * set is warned of.
 */
void guest_cgroup_bound(struct guest *guest, const struct guest_config *config);

/* The cgroup of an app. Returns its directory fd, or -1 where there is none. */
int guest_cgroup_create(struct guest *guest, uint32_t app_index);

/*
 * Removes it, when no process is in it, with what its processes have made below it, and closes cgroup_fd, which may be -1.
 */
void guest_cgroup_destroy(struct guest *guest, uint32_t app_index, int cgroup_fd);

/* Has a process be in it. 0 or -errno. */
int guest_cgroup_move(int cgroup_fd, pid_t pid);

/* Sets an app's limits. What cannot be set is warned of. */
void guest_cgroup_limit(struct guest *guest, int cgroup_fd, const struct guest_app_config *app);

/* Whether a process is in it. events_fd is its "cgroup.events" file. */
bool guest_cgroup_is_populated(int events_fd);

/* SIGKILL to every process in it. 0 or -errno. */
int guest_cgroup_kill(int cgroup_fd);

/*
 * Freezes its processes, and returns when they are, or after a second (-ETIMEDOUT: one is in a system call that nothing
 * interrupts); or lets them go on. 0 or -errno. events_fd is its "cgroup.events" file.
 */
int guest_cgroup_freeze(int cgroup_fd, int events_fd, bool is_frozen);

/* Whether its memory limit, or that of the pod, has killed a process in it. */
bool guest_cgroup_had_oom_kill(int cgroup_fd);

/* Removes the empty cgroups of a container's apps from the host. */
void guest_cgroup_remove(struct guest *guest, const struct guest_config *config);

#endif
