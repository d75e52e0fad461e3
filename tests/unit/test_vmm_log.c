// SPDX-License-Identifier: Apache-2.0
/* test_vmm_log.c: what a VMM says reaches standard error in whole, harmless lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pod/vmm_log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

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

static const char *pass(struct pipes *pipes)
{
	ssize_t n;

	fflush(stderr);
	pipes->old_stderr = dup(STDERR_FILENO);
	dup2(pipes->output_fd, STDERR_FILENO);
	vmm_log_pass(&pipes->log);
	dup2(pipes->old_stderr, STDERR_FILENO);
	close(pipes->old_stderr);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			lines_are_passed_on_when_they_are_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			control_characters_do_not_reach_a_terminal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_line_without_end_is_cut, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
