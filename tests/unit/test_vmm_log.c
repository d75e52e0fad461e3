// SPDX-License-Identifier: Apache-2.0
/* test_vmm_log.c: what a VMM says reaches standard error in whole, harmless lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "pod/vmm_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* A write that has no end is one. */
#define LIMIT_SECONDS 120

struct pipes {
	struct vmm_log log;
	int write_fd, old_stderr, output_fd;
	char output[16384];
};

static int set_up(void **state)
{
	static struct pipes pipes;
	int fds[2];

	pipes = (struct pipes){.log = VMM_LOG_NONE};
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	pipes.log.fd = fds[0];
	pipes.write_fd = fds[1];
	pipes.output_fd = memfd_create("output", MFD_CLOEXEC);
	assert_true(pipes.output_fd >= 0);
	*state = &pipes;
	return 0;
}

static int tear_down(void **state)
{
	struct pipes *pipes = *state;

	vmm_log_done(&pipes->log);
	cleanup_close(&pipes->write_fd);
	close(pipes->output_fd);
	return 0;
}

static void begin_stderr(struct pipes *pipes, int fd)
{
	fflush(stderr);
	pipes->old_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
}

static void end_stderr(struct pipes *pipes)
{
	dup2(pipes->old_stderr, STDERR_FILENO);
	close(pipes->old_stderr);
}

static const char *pass(struct pipes *pipes)
{
	ssize_t n;

	begin_stderr(pipes, pipes->output_fd);
	vmm_log_pass(&pipes->log);
	end_stderr(pipes);
	n = pread(pipes->output_fd, pipes->output, sizeof(pipes->output) - 1, 0);
	assert_true(n >= 0);
	pipes->output[n] = '\0';
	return pipes->output;
}

static void say(struct pipes *pipes, const char *text, size_t length)
{
	assert_int_equal(write(pipes->write_fd, text, length), length);
}

static void lines_are_passed_on_when_they_are_whole(void **state)
{
	struct pipes *pipes = *state;

	say(pipes, "one\ntw", 6);
	assert_string_equal(pass(pipes), "one\n");
	say(pipes, "o\n\nthree", 8);
	assert_string_equal(pass(pipes), "one\ntwo\n");
	assert_true(pipes->log.fd >= 0);
	close(TAKE_FD(pipes->write_fd));
	assert_string_equal(pass(pipes), "one\ntwo\nthree\n");
	assert_int_equal(pipes->log.fd, -1);
	/* Nothing more comes, and nothing is read of a pipe that is closed. */
	assert_string_equal(pass(pipes), "one\ntwo\nthree\n");
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
	struct pipes *pipes = *state;
	static const char text[] = "a\x1b]0;title\x07\rb\x7f\xc2\x9b"
				   "c\0d\n";

	say(pipes, text, sizeof(text) - 1);
	assert_string_equal(pass(pipes), "a?]0;title??b???c\n");
}

static void a_line_without_end_is_cut(void **state)
{
	struct pipes *pipes = *state;
	char text[5000];
	size_t lines = 0;

	memset(text, 'x', sizeof(text));
	say(pipes, text, sizeof(text));
	close(TAKE_FD(pipes->write_fd));
	for (const char *c = pass(pipes); *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, 3);
	assert_int_equal(strlen(pipes->output), sizeof(text) + 3);
}

static void one_that_never_stops_is_cut_off(void **state)
{
	struct pipes *pipes = *state;
	static char text[32 << 10];
	off_t end;

	memset(text, 'x', sizeof(text));
	for (size_t i = 999; i < sizeof(text); i += 1000)
		text[i] = '\n';
	begin_stderr(pipes, pipes->output_fd);
	for (size_t i = 0; i < 2 * VMM_LOG_MAX / sizeof(text); i++) {
		say(pipes, text, sizeof(text));
		vmm_log_pass(&pipes->log);
	}
	end_stderr(pipes);
	/* It is heard all the same, and does not wait. */
	say(pipes, "more\n", 5);
	pass(pipes);
	end = lseek(pipes->output_fd, 0, SEEK_END);
	assert_in_range(end, VMM_LOG_MAX - 2000, VMM_LOG_MAX + 200);
	assert_true(pread(pipes->output_fd, pipes->output, 200, end - 200) == 200);
	pipes->output[200] = '\0';
	assert_string_equal(strchr(pipes->output, '\n'),
		"\nappc-vm: warning: the VMM has said more than 32 MiB; no more of it is shown\n");
}

/* A pipe that takes nothing more: what is written to it waits. *ret_size is what is in it. */
static void make_full_pipe(int fds[2], size_t *ret_size)
{
	char page[4096] = {0};
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	for (*ret_size = 0; (n = write(fds[1], page, sizeof(page))) > 0; *ret_size += (size_t)n)
		;
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
}

static void lines_that_nobody_reads_are_lost_and_counted(void **state)
{
	struct pipes *pipes = *state;
	char byte;
	size_t size;
	int fds[2];
	ssize_t n;

	make_full_pipe(fds, &size);
	alarm(LIMIT_SECONDS);
	begin_stderr(pipes, fds[1]);
	assert_int_equal(log_set_patience(0), -1);
	say(pipes, "one\ntwo\nthree\n", 14);
	vmm_log_pass(&pipes->log);
	log_warning("four");
	while (size-- > 0)
		assert_int_equal(read(fds[0], &byte, 1), 1);
	say(pipes, "five\n", 5);
	vmm_log_pass(&pipes->log);
	log_warning("six");
	assert_int_equal(log_set_patience(-1), 0);
	end_stderr(pipes);
	alarm(0);
	n = read(fds[0], pipes->output, sizeof(pipes->output) - 1);
	assert_true(n > 0);
	pipes->output[n] = '\0';
	assert_string_equal(pipes->output,
		"appc-vm: 4 lines were lost here, since nobody read standard error\n"
		"five\n"
		"appc-vm: warning: six\n");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			lines_are_passed_on_when_they_are_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			control_characters_do_not_reach_a_terminal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_line_without_end_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_never_stops_is_cut_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			lines_that_nobody_reads_are_lost_and_counted, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
