/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail: what is between a VMM that its guest has taken over and the host.
 *
 * A process is shut in twice: when it is new, with jail_prepare(), and when it has opened all that it needs
 * and before anybody else's code runs in it, with jail_enter(). In between it opens /dev/kvm and the like. It has
 * one thread all that time, since most walls are a thread's own, and inherited by those it starts later.
 *
 * Each wall has a bit, 1u << enum jail_wall, in sets of walls. docs/security.md says what each is for.
 *
 * Functions return 0 or -errno with a message.
 */
#ifndef APPC_VMM_JAIL_H
#define APPC_VMM_JAIL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum jail_wall {
	JAIL_TREE,       /* no file system but the tree; always there */
	JAIL_NAMESPACES, /* PID, network, IPC, UTS and cgroup namespaces of its own */
	JAIL_USER,       /* a user of its own, and capabilities(7) for files in the tree only */
	JAIL_LIMITS,     /* resource limits */
	JAIL_CGROUP,     /* a cgroup of its own with limits, which the caller made */
	JAIL_LANDLOCK, /* files outside of the tree, TCP, signals: landlock(7), as far as the kernel has it */
	JAIL_SECCOMP, /* a filter of system calls for each thread, which the machine takes on (filter.h) */
	JAIL_WALLS,
};

#define JAIL_ALL ((1u << JAIL_WALLS) - 1)

/* "tree", "namespaces", ... */
const char *jail_wall_name(enum jail_wall wall);

/* Threads and kernel workers of one VMM: RLIMIT_NPROC, and for the limit of its cgroup. */
#define JAIL_THREADS_MAX 128

struct jail_options {
	unsigned int omitted; /* walls that are left out */
	/* The user and group it becomes; jail_user(). */
	uid_t user;
	/* "tasks" files of cgroups that it is to join (version 1; for version 2 see CLONE_INTO_CGROUP). Borrowed. */
	const int *join_fds;
	size_t join_count;
	bool has_cgroup; /* it is, or will be by join_fds, in a cgroup that is its own */
};

/*
 * A user for the VMM of this pod and no other: one of 2^28 from 0x70000000 on, which no system gives to persons,
 * services or containers (systemd's table of users and groups).
 */
uid_t jail_user(const char *uuid);

/* The namespaces to create the process with, beside that of mounts: flags for clone3(2). */
unsigned long jail_namespaces(unsigned int omitted);

/*
 * First step: in the new process, which has mount and PID namespaces of its own and the tree as its working
 * directory. Joins the cgroups, and gives /proc to a procfs that shows this process alone: fds to it lead nowhere.
 * *ret_tree_fd is the tree in this mount namespace.
 */
int jail_prepare(const struct jail_options *options, int *ret_tree_fd, struct error *err);

/*
 * Second step. *ret_walls is the set of walls that stand now: those not omitted, but for what the kernel does not
 * have. A wall that should stand and cannot be built is an error. Credentials change here, which clears
 * PR_SET_PDEATHSIG: the caller sets it again.
 */
int jail_enter(const struct jail_options *options, int tree_fd, unsigned int *ret_walls,
	struct error *err);

/* What the kernel has of landlock: the version of its interface, 0: nothing. */
int jail_landlock_version(void);

#endif
