// SPDX-License-Identifier: Apache-2.0
/* test_child.c: what a child without privileges has and has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void a_child_has_the_files_it_is_given_and_no_other(void **state)
{
	_cleanup_close_ int other = open("/dev/zero", O_RDONLY), read_end = -1, write_end = -1;
	struct stat null, input;
	char text[8] = "";
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	read_end = fds[0];
	write_end = fds[1];
	/* The same one twice, and in an order that their numbers do not have. */
	pid = child_fork_unprivileged((const int[]){write_end, other, write_end}, 3);
	assert_true(pid >= 0);
	if (pid == 0) {
		bool good = stat("/dev/null", &null) == 0 && fstat(0, &input) == 0 &&
			null.st_rdev == input.st_rdev && fd_is_open(4) && fd_is_open(5);

		for (int fd = 6; fd < 256; fd++)
			good = good && !fd_is_open(fd);
		good = good && write(3, "3", 1) == 1 && write(5, "5", 1) == 1;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(child_wait(pid), 0);
	close(TAKE_FD(write_end));
	assert_int_equal(read(read_end, text, sizeof(text)), 2);
	assert_string_equal(text, "35");
}

static void a_child_has_no_privileges_and_gets_none(void **state)
{
	pid_t pid = child_fork_unprivileged(NULL, 0);

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		int death = 0;
		bool good = getuid() != 0 && geteuid() != 0 && getegid() != 0 && setuid(0) < 0 &&
			prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
			prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0) == 0 && death == SIGKILL;

		_exit(good ? 0 : 1);
	}
	assert_int_equal(child_wait(pid), 0);
}

static void the_end_of_a_child_is_its_status_or_128_and_the_signal(void **state)
{
	pid_t pid = child_fork_unprivileged(NULL, 0);

	(void)state;
	if (pid == 0)
		_exit(7);
	assert_int_equal(child_wait(pid), 7);
	pid = child_fork_unprivileged(NULL, 0);
	if (pid == 0) {
		kill(getpid(), SIGKILL);
		_exit(0);
	}
	assert_int_equal(child_wait(pid), 128 + SIGKILL);
	assert_int_equal(child_wait(pid), -ECHILD);
}

static void a_copy_is_whole_and_bounded(void **state)
{
	static char content[300000], back[sizeof(content) + 1];
	_cleanup_close_ int source = memfd_create("source", MFD_CLOEXEC);
	_cleanup_close_ int target = memfd_create("target", MFD_CLOEXEC);
	int fds[2];
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7 % 251);
	assert_int_equal(file_write_all(source, content, sizeof(content)), 0);
	lseek(source, 100, SEEK_SET);
	assert_int_equal(file_copy(source, target, sizeof(content) - 100), 0);
	assert_int_equal(pread(target, back, sizeof(back), 0), sizeof(content) - 100);
	assert_memory_equal(back, content + 100, sizeof(content) - 100);
	lseek(source, 0, SEEK_SET);
	assert_int_equal(file_copy(source, target, sizeof(content) - 1), -EFBIG);
	/* What cannot be copied in the kernel: a pipe. */
	assert_int_equal(ftruncate(target, 0), 0);
	lseek(target, 0, SEEK_SET);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = child_fork_unprivileged(&fds[1], 1);
	if (pid == 0)
		_exit(file_write_all(3, content, sizeof(content)) < 0 ? 1 : 0);
	close(fds[1]);
	assert_int_equal(file_copy(fds[0], target, UINT64_MAX), 0);
	close(fds[0]);
	assert_int_equal(child_wait(pid), 0);
	assert_int_equal(pread(target, back, sizeof(back), 0), sizeof(content));
	assert_memory_equal(back, content, sizeof(content));
}

static void a_program_runs_in_a_directory_and_what_it_says_is_ours(void **state)
{
	static const char *const words[] = {
		"sh", "-c", "pwd; echo $HOME$LD_PRELOAD. >&2; read x || exit 7", NULL};
	static const char *const killed[] = {"sh", "-c", "kill -9 $$", NULL};
	_cleanup_close_ int directory = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *output = NULL;

	(void)state;
	assert_int_equal(child_run(directory, "/bin/sh", words, 64, &output), 7);
	assert_string_equal(output, "/proc\n.\n");
	free(output);
	assert_int_equal(child_run(AT_FDCWD, "/bin/sh", killed, 64, &output), 128 + SIGKILL);
	assert_string_equal(output, "");
	free(output);
	output = NULL;
	assert_int_equal(child_run(directory, "/bin/sh", words, 4, &output), -EFBIG);
	assert_int_equal(child_run(directory, "/bin/none-such", words, 64, &output), -ENOENT);
	assert_null(output);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_has_the_files_it_is_given_and_no_other),
		cmocka_unit_test(a_child_has_no_privileges_and_gets_none),
		cmocka_unit_test(the_end_of_a_child_is_its_status_or_128_and_the_signal),
		cmocka_unit_test(a_copy_is_whole_and_bounded),
		cmocka_unit_test(a_program_runs_in_a_directory_and_what_it_says_is_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
