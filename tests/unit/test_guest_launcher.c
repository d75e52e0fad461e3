// SPDX-License-Identifier: Apache-2.0
/* test_guest_launcher.c: what a launcher shares with us, what it keeps for itself, and its end. */
#include "guest-init/launcher.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char stack[GUEST_LAUNCHER_STACK_SIZE] __attribute__((aligned(16)));

struct seen {
	pid_t pid;
	mode_t mask;
	int count;
};

static int order_look(void *argument)
{
	struct seen *seen = argument;

	seen->pid = getpid();
	seen->mask = umask(077);
	return ++seen->count;
}

static int order_execute(void *argument)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"exit 9", NULL};

	(void)argument;
	execv("/bin/sh", arguments);
	return -1;
}

static int order_execute_nothing(void *argument)
{
	char *const arguments[] = {(char *)"nothing", NULL};

	(void)argument;
	execv("/nonexistent/nothing", arguments);
	return 5;
}

static int order_die(void *argument)
{
	(void)argument;
	/* Not _exit(): the sanitizer would look for the end of a stack that it does not know. */
	syscall(SYS_exit_group, 3);
	return -1;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void orders_run_in_another_process_with_our_memory(void **state)
{
	struct guest_launcher launcher;
	struct seen seen = {0};
	mode_t mask = umask(022);
	int result;

	(void)state;
	assert_int_equal(guest_launcher_start(&launcher, stack, -1), 0);
	for (int i = 1; i <= 1000; i++) {
		assert_int_equal(guest_launcher_run(&launcher, order_look, &seen, &result), 0);
		assert_int_equal(result, i);
		assert_int_equal(seen.pid, launcher.pid);
		assert_int_equal(seen.mask, i == 1 ? 022 : 077);
	}
	assert_int_not_equal(seen.pid, getpid());
	assert_int_equal(umask(mask), 022);
	guest_launcher_stop(&launcher);
	assert_int_equal(launcher.pid, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void executed_program_keeps_the_pid_and_frees_the_launcher(void **state)
{
	struct guest_launcher launcher;
	int result;
	pid_t pid;

	(void)state;
	assert_int_equal(guest_launcher_start(&launcher, stack, -1), 0);
	pid = launcher.pid;
	assert_int_equal(guest_launcher_run(&launcher, order_execute_nothing, NULL, &result), 0);
	assert_int_equal(result, 5);
	assert_int_equal(guest_launcher_run(&launcher, order_execute, NULL, &result), 1);
	assert_int_equal(launcher.pid, 0);
	assert_int_equal(status_of(pid), 9);
}

struct pair {
	struct guest_launcher second;
	char *stack;
};

static int order_make_sibling(void *argument)
{
	struct pair *pair = argument;

	return guest_launcher_start_sibling(&pair->second, pair->stack);
}

static void sibling_of_a_launcher_is_our_child_too(void **state)
{
	/* Not the other tests' one: the sanitizer remembers frames that execve() left on it. */
	static char first_stack[GUEST_LAUNCHER_STACK_SIZE] __attribute__((aligned(16)));
	static char second_stack[GUEST_LAUNCHER_STACK_SIZE] __attribute__((aligned(16)));
	struct pair pair = {.stack = second_stack};
	struct guest_launcher launcher;
	struct seen seen = {0};
	int result;

	(void)state;
	assert_int_equal(guest_launcher_start(&launcher, first_stack, -1), 0);
	assert_int_equal(guest_launcher_run(&launcher, order_make_sibling, &pair, &result), 0);
	assert_int_equal(result, 0);
	guest_launcher_stop(&launcher);
	assert_int_equal(guest_launcher_run(&pair.second, order_look, &seen, &result), 0);
	assert_int_equal(result, 1);
	assert_int_equal(seen.pid, pair.second.pid);
	guest_launcher_stop(&pair.second);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void end_in_the_middle_of_an_order_is_noticed(void **state)
{
	struct guest_launcher launcher;
	int result;
	pid_t pid;

	(void)state;
	assert_int_equal(guest_launcher_start(&launcher, stack, -1), 0);
	pid = launcher.pid;
	assert_int_equal(guest_launcher_run(&launcher, order_die, NULL, &result), 1);
	assert_int_equal(status_of(pid), 3);
}

static void order_to_a_launcher_that_was_killed_returns(void **state)
{
	struct guest_launcher launcher;
	struct seen seen = {0};
	pid_t pid;
	int result, status;

	(void)state;
	assert_int_equal(guest_launcher_start(&launcher, stack, -1), 0);
	pid = launcher.pid;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(guest_launcher_run(&launcher, order_look, &seen, &result), 1);
	assert_int_equal(seen.count, 0);
	guest_launcher_stop(&launcher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_run_in_another_process_with_our_memory),
		cmocka_unit_test(executed_program_keeps_the_pid_and_frees_the_launcher),
		cmocka_unit_test(sibling_of_a_launcher_is_our_child_too),
		cmocka_unit_test(end_in_the_middle_of_an_order_is_noticed),
		cmocka_unit_test(order_to_a_launcher_that_was_killed_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
