// SPDX-License-Identifier: Apache-2.0
/*
 * native_calls.c: a library to be preloaded that carries system calls past a valgrind which does not know them.
 *
 * Theory of operation. Debian 12's valgrind is older than some calls that the program cannot do without,
 * openat2(2) first, and answers ENOSYS to them. The program makes these by syscall(2), which this library
 * replaces: memory that such a call reads is checked as valgrind would, and the call itself is made by a function that
 * runs on the CPU instead of in the simulator (VALGRIND_NON_SIMD_CALL). None of them writes memory of the
 * program, so there is nothing to tell valgrind of afterwards. All other calls are made in the simulator.
 * clone3(2) stays unknown: a process that begins inside of such a function has no simulator.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
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
	(void)thread;
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
	if (is_unknown(&call))
		result = (long)VALGRIND_NON_SIMD_CALL1(make_natively, &call);
	else
		result = make(&call);
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}
