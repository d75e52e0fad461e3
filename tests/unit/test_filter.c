// SPDX-License-Identifier: Apache-2.0
/*
 * test_filter.c: the system call filters of the VMM's threads, each in a child of its own. What is allowed is read
 * from the list that is made with them.
 */
#include "base/cleanup.h"
#include "vmm/filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS_FILE "build/generated/filter_calls.txt"
/* Beyond the last system call there is. */
#define NUMBERS 600

#define CALLS_MAX 64

static bool allowed[FILTER_THREADS][NUMBERS];

static int read_list(void **state)
{
	static const char *const names[] = {"vcpu", "loop", "park"};
	FILE *file = fopen(CALLS_FILE, "re");
	char line[512];

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		/* "THREAD NUMBER CALL SOURCE:LINE" */
		char *rest = line;
		const char *thread = strsep(&rest, " ");

		for (size_t i = 0; rest && i < ARRAY_SIZE(names); i++)
			if (!strcmp(thread, names[i]))
				allowed[i][strtoul(rest, NULL, 10)] = true;
	}
	fclose(file);
	return 0;
}

/* ---- children */

#define EXIT_VIOLATED 3
#define EXIT_OTHER    4

static int violation_fd;

/* The sanitizers make system calls of their own before whatever does not return: here nothing is known to do so. */
static void end_child(int status)
{
	syscall(SYS_exit_group, status);
}

static void tell_parent(const struct filter_violation *violation)
{
	end_child(write(violation_fd, violation, sizeof(*violation)) == sizeof(*violation)
			? EXIT_VIOLATED
			: EXIT_OTHER);
}

static void shut_in(enum filter_thread thread, void (*violated)(const struct filter_violation *))
{
	filter_prepare(violated);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_enter(thread) < 0)
		end_child(EXIT_OTHER);
}

struct call {
	enum filter_thread thread;
	long number, arguments[6];
};

/* Makes the call in a filtered child. Whether it was allowed; if not, what was told of it. */
static bool is_allowed(const struct call *call, struct filter_violation *ret)
{
	const long *a = call->arguments;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		violation_fd = fds[1];
		shut_in(call->thread, tell_parent);
		syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		end_child(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == EXIT_VIOLATED)
		assert_int_equal(read(fds[0], ret, sizeof(*ret)), sizeof(*ret));
	else
		assert_int_equal(WEXITSTATUS(status), 0);
	close(fds[0]);
	return WEXITSTATUS(status) == 0;
}

static void expect(const struct call *calls, size_t count, bool expected)
{
	for (size_t i = 0; i < count; i++) {
		struct filter_violation violation = {0};

		if (is_allowed(&calls[i], &violation) != expected)
			fail_msg("case %zu: system call %ld", i, calls[i].number);
		if (expected)
			continue;
		assert_int_equal(violation.thread, calls[i].thread);
		assert_int_equal(violation.number, calls[i].number);
		assert_int_equal(violation.architecture, AUDIT_ARCH_X86_64);
	}
}

/* ---- tests */

static void what_a_thread_needs_is_allowed(void **state)
{
	static const struct call calls[] = {
		{FILTER_VCPU, SYS_ioctl, {-1, KVM_RUN}},
		{FILTER_VCPU, SYS_ioctl, {-1, KVM_TRANSLATE}},
		{FILTER_VCPU, SYS_openat2, {-1}},
		{FILTER_VCPU, SYS_futex, {0, FUTEX_WAKE_PRIVATE, 1}},
		{FILTER_VCPU, SYS_epoll_ctl, {-1, EPOLL_CTL_MOD}},
		{FILTER_VCPU, SYS_openat, {-1, 0, O_RDWR | O_DIRECTORY | O_CLOEXEC}},
		{FILTER_VCPU, SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, -1}},
		{FILTER_LOOP, SYS_epoll_wait, {-1}},
		{FILTER_LOOP, SYS_sendmsg, {-1, 0, MSG_DONTWAIT | MSG_NOSIGNAL}},
		{FILTER_PARK, SYS_ioctl, {-1, KVM_GET_IRQCHIP}},
		{FILTER_PARK, SYS_pwrite64, {-1}},
		{FILTER_PARK, SYS_epoll_wait, {-1}},
	};

	(void)state;
	expect(calls, ARRAY_SIZE(calls), true);
}

static void what_a_thread_does_not_need_is_named_and_ends_the_process(void **state)
{
	static const struct call calls[] = {
		{FILTER_VCPU, SYS_ptrace, {0}},
		{FILTER_VCPU, SYS_execve, {0}},
		{FILTER_VCPU, SYS_socket, {AF_INET, SOCK_STREAM}},
		{FILTER_VCPU, SYS_clone3, {0}},
		{FILTER_VCPU, SYS_io_uring_setup, {0}},
		{FILTER_VCPU, SYS_io_uring_register, {-1}},
		{FILTER_VCPU, SYS_rt_sigaction, {SIGSYS}},
		{FILTER_VCPU, SYS_seccomp, {0}},
		{FILTER_VCPU, SYS_epoll_wait, {-1}},
		{FILTER_LOOP, SYS_openat2, {-1}},
		{FILTER_LOOP, SYS_setfsuid, {0}},
		{FILTER_LOOP, SYS_pwrite64, {-1}},
		{FILTER_LOOP, SYS_ioctl, {-1, KVM_RUN}},
		{FILTER_PARK, SYS_ioctl, {-1, KVM_RUN}},
		{FILTER_PARK, SYS_mount, {0}},
	};

	(void)state;
	expect(calls, ARRAY_SIZE(calls), false);
}

static void arguments_are_compared(void **state)
{
	static const struct call calls[] = {
		{FILTER_VCPU, SYS_ioctl, {-1, KVM_CREATE_VM}},
		{FILTER_VCPU, SYS_ioctl, {0, 0x5412}}, /* TIOCSTI */
		{FILTER_VCPU, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, -1}},
		{FILTER_VCPU, SYS_mmap, {0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
		{FILTER_VCPU, SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}},
		{FILTER_VCPU, SYS_openat, {-1, 0, O_RDWR | O_CREAT}},
		{FILTER_VCPU, SYS_openat, {-1, 0, O_RDWR | O_TMPFILE}},
		{FILTER_VCPU, SYS_epoll_ctl, {-1, EPOLL_CTL_ADD}},
		{FILTER_VCPU, SYS_fcntl, {0, F_SETOWN, 1}},
		{FILTER_VCPU, SYS_futex, {0, FUTEX_CMP_REQUEUE_PI}},
		{FILTER_VCPU, SYS_madvise, {0, 0, MADV_HUGEPAGE}},
		{FILTER_VCPU, SYS_renameat2, {-1, 0, -1, 0, 4 /* RENAME_WHITEOUT */}},
		{FILTER_LOOP, SYS_sendmsg, {-1, 0, 0}},
	};

	(void)state;
	expect(calls, ARRAY_SIZE(calls), false);
}

/* A process cannot know its id before it is made. */
static void only_the_process_itself_can_be_signalled(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		const pid_t self = getpid();

		violation_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		signal(SIGUSR1, SIG_IGN);
		shut_in(FILTER_LOOP, tell_parent);
		if (syscall(SYS_tgkill, self, self, SIGUSR1) != 0)
			end_child(EXIT_OTHER);
		syscall(SYS_tgkill, self + 1, self + 1, SIGUSR1);
		end_child(EXIT_OTHER);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_VIOLATED);
}

/* siglongjmp() is one of these functions. */
static void *after_violation[5];

__attribute__((no_sanitize("address"))) static void go_on(const struct filter_violation *violation)
{
	(void)violation;
	__builtin_longjmp(after_violation, 1);
}

/* Every number, also those of the 32-bit and x32 calls. Exits with 0 when just those of the list were allowed. */
__attribute__((no_sanitize("address"))) static void try_all(enum filter_thread thread)
{
	/* They do not come back; and with such arguments nothing else does anything. */
	static const long without_return[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn};

	shut_in(thread, go_on);
	for (volatile long number = 0; number < NUMBERS; number++) {
		volatile bool is_allowed_here = false;

		/* uretprobe() and uprobe(), which Linux lets pass any filter: only probes that it has set are served. */
		if (number == 335 || number == 336)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(without_return); i++)
			if (number == without_return[i])
				is_allowed_here = allowed[thread][number];
		if (!is_allowed_here && __builtin_setjmp(after_violation) == 0) {
			/* Where arguments are compared, no value may do. */
			syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
			is_allowed_here = true;
		}
		if (is_allowed_here && !allowed[thread][number])
			end_child((int)number % 100 + 100);
	}
	if (__builtin_setjmp(after_violation) == 0) {
		syscall(0x40000000L | SYS_close, -1L);
		end_child(EXIT_OTHER);
	}
	if (__builtin_setjmp(after_violation) == 0) {
		long result;

		/* close() of the 32-bit calls. */
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(6L), "b"(-1L) : "memory");
		/* A kernel without them has no filter to run. */
		end_child(result == -ENOSYS ? 0 : EXIT_OTHER);
	}
	end_child(0);
}

static void no_other_number_is_allowed(void **state)
{
	(void)state;
	for (enum filter_thread thread = 0; thread < FILTER_THREADS; thread++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			try_all(thread);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void all_filters_together_allow_few_calls(void **state)
{
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < NUMBERS; i++)
		count += allowed[FILTER_VCPU][i] || allowed[FILTER_LOOP][i] ||
			allowed[FILTER_PARK][i];
	assert_true(count > 20);
	assert_true(count <= CALLS_MAX);
}

static void threads_have_names(void **state)
{
	(void)state;
	assert_string_equal(filter_thread_name(FILTER_VCPU), "vCPU");
	assert_string_equal(filter_thread_name(FILTER_PARK), "event loop");
	assert_string_equal(filter_thread_name(FILTER_THREADS), "unknown");
	assert_string_equal(filter_thread_name((enum filter_thread) - 1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_thread_needs_is_allowed),
		cmocka_unit_test(what_a_thread_does_not_need_is_named_and_ends_the_process),
		cmocka_unit_test(arguments_are_compared),
		cmocka_unit_test(only_the_process_itself_can_be_signalled),
		cmocka_unit_test(no_other_number_is_allowed),
		cmocka_unit_test(all_filters_together_allow_few_calls),
		cmocka_unit_test(threads_have_names),
	};

	return cmocka_run_group_tests(tests, read_list, NULL);
}
