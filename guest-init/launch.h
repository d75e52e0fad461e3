/* SPDX-License-Identifier: Apache-2.0 */
/* A new process of an app: its main process or one of its event handlers. */
#ifndef APPC_GUEST_INIT_LAUNCH_H
#define APPC_GUEST_INIT_LAUNCH_H

#include "guest-init/guest.h"
#include "guest-init/identity.h"

struct guest_launch {
	const char *const *exec; /* NULL-terminated, at least one */
	const char *const *environment;
	const char *working_directory;
	struct guest_identity identity;
	bool has_oom_score_adj;
	int oom_score_adj;
	int namespace_fd, root_fd; /* of guest_rootfs_make() */
	int cgroup_fd;             /* -1: none */
	int stdout_fd, stderr_fd;
	bool mark_phase; /* this is the first app of the pod */
};

/*
 * Starts the process and waits until its execve() has succeeded or failed. 0 and its pid, or -errno
 * with a message that names what is missing: the directory, the program, its interpreter. A process
 * that failed was reaped already.
 */
int guest_launch(const struct guest *guest, const struct guest_launch *launch, pid_t *ret_pid,
	struct error *err);

/*
 * Why a program that exists cannot be executed, or 0 when nothing is wrong with it: looks for the
 * interpreter that its first line or its ELF header names, below root_fd.
 */
int guest_program_explain(int root_fd, const char *path, struct error *err);

#endif
