/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters of the VMM, one for each kind of thread: what the code that the thread runs needs, and no
 * more. They are made when the program is built, from the #syscalls tags beside that code
 * (vmm/filter_generate.py says how tags are written).
 *
 * A thread that makes another call is not told so: the call is not made, and the process ends. Before it
 * does, it tells which call of which thread it was.
 */
#ifndef APPC_VMM_FILTER_H
#define APPC_VMM_FILTER_H

#include <stdint.h>

/* In the order of filter_generate.py. */
enum filter_thread {
	FILTER_VCPU, /* runs a vCPU and serves what it asks for, files included */
	FILTER_LOOP, /* the event loop, and the machine's end */
	FILTER_PARK, /* the same where the machine is to be parked, or can be saved */
	FILTER_THREADS,
};

/* "vCPU", "event loop"; "unknown" for another number. */
const char *filter_thread_name(enum filter_thread thread);

struct filter_violation {
	enum filter_thread thread;
	uint32_t architecture; /* of the call, AUDIT_ARCH_... */
	int number;
};

/*
 * Readies the process, before any thread is filtered. violated is called in the thread that broke its filter, in a
 * signal handler, and must not return; it may call write() and _exit(), which every filter allows, and no other.
 * Memory that is allocated from now on comes from one heap, which costs the threads no other system call
 * than brk().
 *
 * #syscalls: rt_sigaction
 */
void filter_prepare(void (*violated)(const struct filter_violation *violation));

/*
 * Filters the calling thread, for ever; after filter_prepare(). The thread must have no_new_privs, or
 * CAP_SYS_ADMIN. 0 or -errno.
 */
int filter_enter(enum filter_thread thread);

#endif
