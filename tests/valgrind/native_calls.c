// SPDX-License-Identifier: Apache-2.0
/*
 * native_calls.c: a library to be preloaded that carries system calls past a valgrind which does not know them.
 *
 * Theory of operation. Debian 12's valgrind is older than some calls that the program cannot do without,
 * openat2(2) first, and answers ENOSYS to them. The program makes these by syscall(2), which this library
 * replaces: memory that such a call reads is checked as valgrind would, and the call itself is made by a function that
 * runs on the CPU instead of in the simulator (VALGRIND_NON_SIMD_CALL). None of them writes memory of the
 * program, so there is nothing to tell valgrind of afterwards. All other calls are made in the simulator.
 *
 * Two calls cannot be made so. A process that begins inside of such a function would have no simulator: what the
 * program asks of clone3(2) is asked of clone(2) instead, which valgrind knows, and a cgroup is joined by the child
 * itself. close_range(2) would close what valgrind has open: fds are closed one by one, below the limit that it shows.
 * That limit is valgrind's own doing, since it has fds of its own above: a call that is made past it is held to it here.
 * A lock that is waited for (F_OFD_SETLKW) is no call that waits to valgrind, so no signal would end it: it is asked for again and
 * again. And seccomp(2) is not made at all, as if it had been: a filter would stop the calls that valgrind makes for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

#define ARGUMENTS 6

struct call {
	long number, arguments[ARGUMENTS];
};

static long make(const struct call *call)
{
	long result = call->number;

	__asm__ volatile("mov %[fourth], %%r10; mov %[fifth], %%r8; mov %[sixth], %%r9; syscall"
			 : "+a"(result)
			 : "D"(call->arguments[0]), "S"(call->arguments[1]),
			 "d"(call->arguments[2]), [fourth] "m"(call->arguments[3]),
			 [fifth] "m"(call->arguments[4]), [sixth] "m"(call->arguments[5])
			 : "rcx", "r8", "r9", "r10", "r11", "memory");
	return result;
}

/* Not simulated: nothing of libc may be called here. */
static long make_natively(unsigned int thread, const struct call *call)
{
	/* For the program that is executed no signal is blocked; here valgrind has all of them. */
	static const uint64_t none;
	const struct call unblock = {.number = SYS_rt_sigprocmask,
		.arguments = {SIG_SETMASK, (long)&none, 0, sizeof(none)}};

	(void)thread;
	if (call->number == SYS_execveat)
		make(&unblock);
	return make(call);
}

static void check_text(long address)
{
	/* What the program passed as a pointer. NOLINTNEXTLINE(performance-no-int-to-ptr) */
	const char *text = (const char *)address;

	if (text)
		(void)VALGRIND_CHECK_MEM_IS_DEFINED(text, strlen(text) + 1);
}

static void check_bytes(long address, long length)
{
	if (address)
		(void)VALGRIND_CHECK_MEM_IS_DEFINED(address, length);
}

/* Whether it is one that valgrind does not know; what it reads was checked then. */
static bool is_unknown(const struct call *call)
{
	const long *arguments = call->arguments;

	switch (call->number) {
	case SYS_openat2:
		check_text(arguments[1]);
		check_bytes(arguments[2], arguments[3]);
		return true;
	case SYS_open_tree:
	case SYS_fsopen:
		check_text(arguments[call->number == SYS_open_tree]);
		return true;
	case SYS_move_mount:
		check_text(arguments[1]);
		check_text(arguments[3]);
		return true;
	case SYS_fsconfig:
		check_text(arguments[2]);
		return true;
	case SYS_fsmount:
	case SYS_pidfd_open:
	case SYS_pidfd_send_signal: /* without a siginfo */
	case SYS_execveat: /* by an fd: valgrind looks for a path, which the new root has not */
		return true;
	case SYS_mount_setattr:
		check_text(arguments[1]);
		check_bytes(arguments[3], arguments[4]);
		return true;
	case SYS_landlock_create_ruleset:
		check_bytes(arguments[0], arguments[1]);
		return true;
	case SYS_landlock_add_rule:
	case SYS_landlock_restrict_self:
		return true;
	default:
		return false;
	}
}

/*
 * The program's processes are copies, in namespaces of their own and perhaps in a cgroup: anything else stays as
 * unknown as it is to valgrind. A child that cannot join its cgroup ends.
 */
static long fork_by_clone(const struct call *call)
{
	/* What the program passed as a pointer. NOLINTNEXTLINE(performance-no-int-to-ptr) */
	const struct clone_args *asked = (const struct clone_args *)call->arguments[0];
	struct call clone = {.number = SYS_clone};
	long pid;
	int fd;

	check_bytes(call->arguments[0], call->arguments[1]);
	if (asked->stack || asked->set_tid || asked->flags & (CLONE_VM | CLONE_FILES))
		return -ENOSYS;
	clone.arguments[0] = (long)((asked->flags & ~CLONE_INTO_CGROUP) | asked->exit_signal);
	pid = make(&clone);
	if (pid != 0 || !(asked->flags & CLONE_INTO_CGROUP))
		return pid;
	fd = openat((int)asked->cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(1);
	close(fd);
	return 0;
}

/* As the C library returns it. */
static long answer(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

/* A signal ends the pause. Who misses it has it sent again (pod/pod_wait.c). */
int fcntl(int fd, int command, ...)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct call call = {.number = SYS_fcntl, .arguments = {fd, command}};
	va_list list;
	long result;

	va_start(list, command);
	call.arguments[2] = va_arg(list, long);
	va_end(list);
	if (command == F_OFD_SETLKW)
		call.arguments[1] = F_OFD_SETLK;
	while ((result = make(&call)) == -EAGAIN && command == F_OFD_SETLKW)
		if (nanosleep(&pause, NULL) < 0)
			return -1;
	return (int)answer(result);
}

int close_range(unsigned int first, unsigned int last, int flags)
{
	struct rlimit limit;

	if (flags) {
		errno = ENOSYS;
		return -1;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	for (unsigned int fd = first; fd <= last && fd < limit.rlim_cur; fd++)
		close((int)fd);
	return 0;
}

static bool makes_fd(long number)
{
	return number == SYS_openat2 || number == SYS_open_tree || number == SYS_fsopen ||
		number == SYS_fsmount || number == SYS_pidfd_open;
}

/* What the kernel answered, or would have under the limit on open files that the process sees. */
static long within_limit(const struct call *call, long result)
{
	struct rlimit limit;

	if (result < 0 || !makes_fd(call->number) || getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
		(rlim_t)result < limit.rlim_cur)
		return result;
	close((int)result);
	return -EMFILE;
}

long syscall(long number, ...)
{
	struct call call = {.number = number};
	va_list list;
	long result;

	/* As many as there can be: of those that were not given the kernel takes no notice. */
	va_start(list, number);
	for (int i = 0; i < ARGUMENTS; i++)
		call.arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_seccomp)
		result = 0;
	else if (number == SYS_clone3)
		result = fork_by_clone(&call);
	else if (is_unknown(&call))
		result = within_limit(&call, (long)VALGRIND_NON_SIMD_CALL1(make_natively, &call));
	else
		result = make(&call);
	return answer(result);
}
