/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes that deal with what comes from strangers: no privileges, no file but those they are
 * given, and an end with their parent.
 *
 * For a process with one thread: the child goes on as after fork().
 */
#ifndef APPC_BASE_CHILD_H
#define APPC_BASE_CHILD_H

#include "base/cleanup.h"

#include <sys/types.h>

#define CHILD_FIRST_FD 3
#define CHILD_FDS_MAX  8

/*
 * As fork(): the child's pid, 0 in the child, or -errno. In the child fds[i] is CHILD_FIRST_FD + i, not
 * close-on-exec; standard input, output and error are /dev/null; every other fd is closed. A child of
 * root is nobody (65534), without groups or capabilities; none can gain privileges by execve(). A child
 * that cannot be made so ends with status 127.
 */
pid_t child_fork_unprivileged(const int *fds, size_t count);

/* The same with one capability (a CAP_* number), which the program that it executes has too. */
pid_t child_fork_with_capability(const int *fds, size_t count, int capability);

/* Of cgroups (cgroups(7)). Borrowed. */
struct child_cgroup {
	int unified_fd; /* of version 2, its directory: a child is born there; -1: none */
	int join_fd; /* of version 1, its file "tasks", in which a child writes itself; -1: none */
};
#define CHILD_CGROUP_NONE ((struct child_cgroup){.unified_fd = -1, .join_fd = -1})

/* The same (capability -1: none) in a cgroup from the first: nobody has to be moved. */
pid_t child_fork_in_cgroup(
	const int *fds, size_t count, int capability, const struct child_cgroup *cgroup);

/*
 * Runs a program of the host's own to its end, as who we are: path, with argv, in the directory dirfd (AT_FDCWD:
 * ours) and with nothing of our environment; standard input is /dev/null. What it says, on standard output and error alike, is
 * in *ret_output, which the caller frees and a NUL ends. Its exit status, 128 + the signal that killed it, -ENOENT: there
 * is no such program; -EFBIG: it said more than max bytes; or another -errno.
 */
int child_run(int dirfd, const char *path, const char *const *argv, size_t max, char **ret_output);

/* Waits for its end. Its exit status, 128 + the signal that killed it, or -errno. */
int child_wait(pid_t pid);

#endif
