// SPDX-License-Identifier: Apache-2.0
/*
 * launcher.c: processes made before they are needed.
 *
 * Theory of operation: clone3() with CLONE_VM and CLONE_FILES makes a process that is like a thread of
 * ours, but has its own pid, credentials, directory and namespaces. The C library knows nothing of it;
 * to the library the two are one thread, which is right as long as they never run at once. Hence the
 * handing over by futex: PID 1 gives an order and sleeps until the state is another than BUSY - set by
 * the launcher, or by the kernel (CLONE_CHILD_CLEARTID) when the launcher executes a program or dies.
 *
 * Outside an order the launcher may run beside PID 1 (another CPU, the moment after clone3()): what it
 * does there is only system calls by its own hands, that do not even set errno.
 */
#include "guest-init/launcher.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum launcher_state {
	STATE_GONE = 0, /* what the kernel writes */
	STATE_WAITING,
	STATE_BUSY,
};

/* A system call that leaves errno alone. */
static long call_raw(long number, long a, long b, long c, long d)
{
	register long d_register __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d_register)
			 : "rcx", "r11", "memory");
	return result;
}

/* Sleeps while the word has this value. #syscalls: futex */
static void word_wait(uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
		call_raw(SYS_futex, (long)word, FUTEX_WAIT, value, 0);
}

/* Pairs with the acquiring load in word_wait(): what was written before is seen after it. */
static void word_set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	call_raw(SYS_futex, (long)word, FUTEX_WAKE, 1, 0);
}

static void launcher_main(void *argument)
{
	struct guest_launcher *launcher = argument;

	for (;;) {
		word_wait(&launcher->has_order, 0);
		launcher->has_order = 0;
		launcher->result = launcher->order(launcher->argument);
		word_set(&launcher->state, STATE_WAITING);
	}
}

/*
 * clone3() for a child that shares our memory: on its own stack it calls entry(argument), which
 * does not return. Written in assembly because no C function may return in both processes.
 * #syscalls: clone3
 */
static long launcher_clone(struct clone_args *args, void (*entry)(void *), void *argument)
{
	long result;

	/* r12 and r13 survive the system call in both processes; the child has no use for ours. */
	register void *entry_register __asm__("r12") = (void *)entry;
	register void *argument_register __asm__("r13") = argument;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "a"(SYS_clone3), "D"(args), "S"(sizeof(*args)), "r"(entry_register),
			 "r"(argument_register)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

static int launcher_make(struct guest_launcher *launcher, struct clone_args *args, void *stack)
{
	long pid;

	*launcher = (struct guest_launcher){.state = STATE_WAITING};
	args->flags |= CLONE_VM | CLONE_FILES | CLONE_CHILD_CLEARTID | CLONE_CLEAR_SIGHAND;
	args->child_tid = (uintptr_t)&launcher->state;
	args->stack = (uintptr_t)stack;
	args->stack_size = GUEST_LAUNCHER_STACK_SIZE;
	pid = launcher_clone(args, launcher_main, launcher);
	if (pid < 0)
		return (int)pid;
	launcher->pid = (pid_t)pid;
	return 0;
}

int guest_launcher_start(struct guest_launcher *launcher, void *stack, int cgroup_fd)
{
	struct clone_args args = {
		.flags = cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};

	return launcher_make(launcher, &args, stack);
}

int guest_launcher_start_sibling(struct guest_launcher *launcher, void *stack)
{
	/* A sibling's end is told by the same signal as ours. */
	struct clone_args args = {.flags = CLONE_PARENT};

	return launcher_make(launcher, &args, stack);
}

int guest_launcher_run(struct guest_launcher *launcher, int (*order)(void *argument),
	void *argument, int *ret_result)
{
	uint32_t state = STATE_WAITING;

	launcher->order = order;
	launcher->argument = argument;
	/* It may have been killed since the last order. */
	if (__atomic_compare_exchange_n(&launcher->state, &state, STATE_BUSY, false,
		    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		word_set(&launcher->has_order, 1);
		word_wait(&launcher->state, STATE_BUSY);
		state = __atomic_load_n(&launcher->state, __ATOMIC_ACQUIRE);
	}
	if (state == STATE_WAITING) {
		*ret_result = launcher->result;
		return 0;
	}
	launcher->pid = 0;
	return 1;
}

void guest_launcher_stop(struct guest_launcher *launcher)
{
	if (launcher->pid == 0)
		return;
	kill(launcher->pid, SIGKILL);
	while (waitpid(launcher->pid, NULL, 0) < 0 && errno == EINTR)
		;
	launcher->pid = 0;
}
