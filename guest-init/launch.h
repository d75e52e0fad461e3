/* SPDX-License-Identifier: Apache-2.0 */
/* A new process of an app: its main process or one of its event handlers. */
#ifndef APPC_GUEST_INIT_LAUNCH_H
#define APPC_GUEST_INIT_LAUNCH_H

#include "guest-init/app_config.h"
#include "guest-init/guest.h"
#include "guest-init/identity.h"
#include "guest-init/launcher.h"

struct guest_launch {
	const char *const *exec; /* NULL-terminated, at least one */
	const char *const *environment;
	const char *working_directory;
	struct guest_identity identity;
	/* The last thing before the program. Borrowed; NULL: none. */
	const struct sock_filter *seccomp;
	size_t seccomp_count;
	/* The launcher has the default filter (wire/filter.h) already, and is not at the app's root yet. */
	bool is_filtered;
	/* Open sockets that become fds 3 and following, and their names. Borrowed. */
	const int *socket_fds;
	const struct guest_socket_config *sockets;
	size_t socket_count;
	const char *
		notify_variable; /* one more of the environment, "NAME=VALUE"; borrowed; NULL: none */
	bool has_oom_score_adj;
	int oom_score_adj;
	int namespace_fd; /* the mount namespace to enter; -1: the launcher is in it, at its root */
	int root_fd;
	int stdin_fd; /* not a positive number: empty */
	int stdout_fd, stderr_fd;
	bool new_session;  /* of processes; it leads it */
	bool has_terminal; /* stdin_fd is a terminal, the new session's */
	bool mark_phase;   /* this is the first app of the pod */
	bool trace;        /* to be stopped by guest_park() */
};

/*
 * Has the launcher execute the program. 0 and its pid, or -errno with a message that names what is
 * missing: the directory, the program, its interpreter. The launcher is free then in both cases.
 */
int guest_launch(const struct guest *guest, const struct guest_launch *launch,
	struct guest_launcher *launcher, pid_t *ret_pid, struct error *err);

/*
 * Why a program that exists cannot be executed, or 0 when nothing is wrong with it: looks for the
 * interpreter that its first line or its ELF header names, below root_fd.
 */
int guest_program_explain(int root_fd, const char *path, struct error *err);

#endif
