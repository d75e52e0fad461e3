/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that waits for PID 1's orders, and becomes an app's process in the end.
 *
 * It shares PID 1's memory and open files, but not its mount namespace, directory and identity. Only one
 * of the two runs at a time: PID 1 sleeps while an order is carried out, so both may use anything of
 * the program. A waiting launcher costs nothing, and can be made long before it is needed.
 */
#ifndef APPC_GUEST_INIT_LAUNCHER_H
#define APPC_GUEST_INIT_LAUNCHER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GUEST_LAUNCHER_STACK_SIZE (128u << 10)

struct guest_launcher {
	pid_t pid;                 /* 0: none */
	uint32_t has_order, state; /* futexes; see launcher.c */
	int (*order)(void *argument);
	void *argument;
	int result;
};

/*
 * Makes a launcher in the cgroup cgroup_fd (-1: in PID 1's). launcher and stack, which has
 * GUEST_LAUNCHER_STACK_SIZE bytes and is 16-byte aligned, are used until the process has executed a
 * program or ended. 0 or -errno.
 */
int guest_launcher_start(struct guest_launcher *launcher, void *stack, int cgroup_fd);

/*
 * The same, to be called by a launcher in an order: the new one is in its namespaces and cgroup, and PID 1's
 * child as well.
 */
int guest_launcher_start_sibling(struct guest_launcher *launcher, void *stack);

/*
 * Has the launcher call order(argument). 0: *ret_result is what it returned, the launcher waits for the
 * next order. 1: it has executed a program, or has ended, and launcher is free: its pid is the
 * caller's to reap.
 */
int guest_launcher_run(struct guest_launcher *launcher, int (*order)(void *argument),
	void *argument, int *ret_result);

/* Ends a waiting launcher and reaps it. */
void guest_launcher_stop(struct guest_launcher *launcher);

#endif
