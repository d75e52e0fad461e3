// SPDX-License-Identifier: Apache-2.0
/*
 * filter.c: system call filters of the VMM's threads.
 *
 * Theory of operation: a call outside of the filter is a SIGSYS (SECCOMP_RET_TRAP), whose handler tells what it
 * was and ends the process. A thread that was taken over may have changed whatever the handler uses, but not
 * what counts: the call was not made, and none of the filters allows one that changes a handler, a mask for
 * SIGSYS that would help (the kernel then ends the process itself), or the filter.
 *
 * The kernel knows which calls a filter always allows, and does not run it for them; it runs it for those
 * whose arguments are compared. Each program is a binary search of the call's number.
 *
 * Beside what the tags elsewhere say, the C library needs, in every thread, for locks, memory and the clock where the
 * kernel's own page cannot tell the time:
 *
 * #syscalls:vcpu,loop futex(_, FUTEX_WAIT_PRIVATE) futex(_, FUTEX_WAKE_PRIVATE)
 * #syscalls:vcpu,loop clock_gettime(CLOCK_MONOTONIC)
 * #syscalls:vcpu,loop futex(_, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME)
 * #syscalls:vcpu,loop brk mmap(_, _, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
 *
 * a thread that is told to stop, and ends:
 *
 * #syscalls:vcpu rt_sigreturn rt_sigprocmask(SIG_BLOCK) madvise(_, _, MADV_DONTNEED) exit
 *
 * and the one that waits for its end:
 *
 * #syscalls:loop futex(_, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME) munmap
 */
#include "vmm/filter.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct filter_program {
	const struct sock_filter *instructions;
	size_t count;
	const uint16_t
		*self_places; /* instructions that compare with the process's id; 0 ends them */
};

#include "filter_programs.h"

_Static_assert(ARRAY_SIZE(programs) == FILTER_THREADS, "threads as in filter_generate.py");

/* Instructions of the longest program. */
#define PROGRAM_MAX 512

static void (*tell)(const struct filter_violation *violation);
static _Thread_local enum filter_thread current_thread = FILTER_THREADS;

const char *filter_thread_name(enum filter_thread thread)
{
	static const char *const names[] = {
		[FILTER_VCPU] = "vCPU",
		[FILTER_LOOP] = "event loop",
		[FILTER_PARK] = "event loop",
	};

	return (unsigned int)thread < ARRAY_SIZE(names) ? names[thread] : "unknown";
}

/* #syscalls:vcpu,loop exit_group */
static void handle_violation(int signal, siginfo_t *info, void *context)
{
	const struct filter_violation violation = {
		.thread = current_thread,
		.architecture = info->si_arch,
		.number = info->si_syscall,
	};

	(void)signal;
	(void)context;
	tell(&violation);
	_exit(1);
}

void filter_prepare(void (*violated)(const struct filter_violation *violation))
{
	const struct sigaction action = {
		.sa_sigaction = handle_violation,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	tell = violated;
	sigaction(SIGSYS, &action, NULL);
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
}

int filter_enter(enum filter_thread thread)
{
	const struct filter_program *source = &programs[thread];
	struct sock_filter instructions[PROGRAM_MAX];
	const struct sock_fprog program = {
		.len = (unsigned short)source->count,
		.filter = instructions,
	};

	if (source->count > PROGRAM_MAX)
		return -E2BIG;
	memcpy(instructions, source->instructions, source->count * sizeof(instructions[0]));
	for (const uint16_t *place = source->self_places; *place; place++)
		instructions[*place].k = (uint32_t)getpid();
	current_thread = thread;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
