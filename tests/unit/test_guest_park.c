// SPDX-License-Identifier: Apache-2.0
/* test_guest_park.c: programs stopped at their first instruction, renewed and let go. */
#include "guest-init/park.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cmocka.h>

static int output_fd;

/* A traced process that executes /bin/sh; its output goes to output_fd. */
static pid_t program_start(const char *script, const char *environment)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
	char *const variables[] = {(char *)environment, NULL};
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(fds[1], STDOUT_FILENO);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execve("/bin/sh", arguments, variables);
		_exit(99);
	}
	close(fds[1]);
	output_fd = fds[0];
	return pid;
}

static int program_end(pid_t pid, char *output, size_t size)
{
	size_t length = 0;
	ssize_t n;
	int status;

	while ((n = read(output_fd, output + length, size - 1 - length)) > 0)
		length += (size_t)n;
	output[length] = '\0';
	close(output_fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static uint64_t word_of(pid_t pid, uint64_t address)
{
	return (uint64_t)ptrace(PTRACE_PEEKDATA, pid, address, 0);
}

static uint64_t entry_of(pid_t pid)
{
	Elf64_auxv_t entries[64];
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, entries, sizeof(entries));
	close(fd);
	for (size_t i = 0; i < (size_t)n / sizeof(entries[0]); i++)
		if (entries[i].a_type == AT_ENTRY)
			return entries[i].a_un.a_val;
	return 0;
}

static void program_waits_at_its_entry_and_goes_on_from_there(void **state)
{
	uint8_t random[GUEST_PARKED_RANDOM_SIZE];
	struct user_regs_struct registers;
	struct guest_parked parked;
	struct error err = {0};
	char output[64];
	pid_t pid = program_start("echo done $AC_METADATA_URL; exit 4", "AC_METADATA_URL=old");

	(void)state;
	assert_int_equal(guest_park(pid, &parked, &err), 0);
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, 0, &registers), 0);
	assert_int_equal(registers.rip, entry_of(pid));
	assert_int_equal(fcntl(output_fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(output_fd, output, sizeof(output)), -1);
	assert_int_equal(fcntl(output_fd, F_SETFL, 0), 0);

	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)(0xa0 + i);
	assert_int_equal(guest_parked_renew(&parked, random, "AC_METADATA_URL=new"), 0);
	assert_int_equal(word_of(pid, parked.random_address), 0xa7a6a5a4a3a2a1a0);
	assert_int_equal(word_of(pid, parked.random_address + 8), 0xafaeadacabaaa9a8);
	assert_int_not_equal(parked.canary_address, 0);
	assert_int_equal(
		word_of(pid, parked.canary_address), 0xb7b6b5b4b3b2b1b0 & parked.canary_mask);
	assert_int_not_equal(parked.canary_mask, UINT64_MAX);

	assert_int_equal(guest_parked_release(&parked), 0);
	assert_int_equal(program_end(pid, output, sizeof(output)), 4 << 8);
	assert_string_equal(output, "done new\n");
}

static void program_without_the_url_keeps_its_environment(void **state)
{
	const uint8_t random[GUEST_PARKED_RANDOM_SIZE] = {0};
	struct guest_parked parked;
	struct error err = {0};
	char output[64];
	pid_t pid = program_start("echo $A $AC_METADATA_URL", "A=AC_METADATA_URL=1");

	(void)state;
	assert_int_equal(guest_park(pid, &parked, &err), 0);
	assert_int_equal(parked.url_address, 0);
	assert_int_equal(guest_parked_renew(&parked, random, "AC_METADATA_URL=2"), 0);
	assert_int_equal(guest_parked_release(&parked), 0);
	assert_int_equal(program_end(pid, output, sizeof(output)), 0);
	assert_string_equal(output, "AC_METADATA_URL=1\n");
}

static void program_whose_linker_ends_it_cannot_be_parked(void **state)
{
	struct guest_parked parked;
	struct error err = {0};
	char output[4096];
	/* The linker of glibc prints a text and exits. */
	pid_t pid = program_start("echo done", "LD_DEBUG=help");

	(void)state;
	assert_int_equal(guest_park(pid, &parked, &err), -ECHILD);
	assert_non_null(strstr(err.message, "status 0 before its first instruction"));
	while (read(output_fd, output, sizeof(output)) > 0)
		;
	close(output_fd);
}

static void program_that_is_killed_meanwhile_cannot_be_parked(void **state)
{
	struct guest_parked parked;
	struct error err = {0};
	pid_t pid = program_start("echo done", "A=1");

	(void)state;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(guest_park(pid, &parked, &err), -ECHILD);
	assert_non_null(strstr(err.message, "signal 9"));
	close(output_fd);
}

static void program_that_got_a_signal_cannot_be_parked(void **state)
{
	struct guest_parked parked;
	struct error err = {0};
	siginfo_t info;
	pid_t pid = program_start("echo done", "A=1");

	(void)state;
	/* It has stopped at its execve(); the signal is delivered when it goes on. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(guest_park(pid, &parked, &err), -EBUSY);
	assert_non_null(strstr(err.message, "signal 15"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(output_fd);
}

static int group_set_up(void **state)
{
	sigset_t child;

	(void)state;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	return sigprocmask(SIG_BLOCK, &child, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_waits_at_its_entry_and_goes_on_from_there),
		cmocka_unit_test(program_without_the_url_keeps_its_environment),
		cmocka_unit_test(program_whose_linker_ends_it_cannot_be_parked),
		cmocka_unit_test(program_that_is_killed_meanwhile_cannot_be_parked),
		cmocka_unit_test(program_that_got_a_signal_cannot_be_parked),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
