/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM in the hands of its guest would try: one table. It is run in the jail by a unit test, and in a build of
 * the whole program by tests/functional/jail.bats (hook.c), never by the shipped one.
 *
 * An attempt that succeeds does no harm. It is made by the thread that calls, and leaves the process
 * usable.
 */
#ifndef APPC_TESTS_ATTACK_ATTEMPTS_H
#define APPC_TESTS_ATTACK_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

struct io_uring_params;

/* An open file of at least so many bytes is taken for the one that a machine's memory is mapped from. */
#define ATTACK_MEMORY_SIZE (32 << 20)

/* Things of the host that attempts are after; strings and numbers that the test has made. -1, NULL: none. */
struct attack_targets {
	const char *secret;   /* absolute path of a file */
	const char *abstract; /* name of an abstract unix socket that listens */
	int tcp_port;         /* that listens on 127.0.0.1 */
	int process;          /* a process id */
	int shared_memory;    /* id of a System V segment */
	const char *host_name;
	/* A directory in the tree that is on a read-only mount, with a regular file named "file". */
	const char *read_only;
	const struct io_uring_params
		*ring; /* shape of the file server's ring, when nobody else uses it */
	unsigned int ring_operations; /* attack_ring_operations() */
};

/* How many operations the kernel knows. It is asked by a ring that is not restricted yet. */
unsigned int attack_ring_operations(int ring_fd);

struct attempt {
	const char *name;
	const char *tries;
	const char *
		wall; /* that stops it, beside the system call filter; "filter": nothing else does */
	/* 0: it got what it wanted. -errno: how it was stopped. 1: there was nothing to try it on. */
	int (*run)(const struct attack_targets *targets);
};

extern const struct attempt attempts[];
extern const size_t attempt_count;

#endif
