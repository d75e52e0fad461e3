// SPDX-License-Identifier: Apache-2.0
/* test_guest_output.c: where frames of the apps' output end, and what happens when the port is
 * full. */
#include "guest-init/output.h"
#include "wire/wire.h"

#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* One app's pipe, the port, and the host's end of the port. */
struct fixture {
	struct guest_output output;
	struct guest_output_pipe pipe;
	int app_fd, port_fd, host_fd;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int pipe_fds[2], port_fds[2];

	assert_non_null(fixture);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, port_fds), 0);
	fixture->app_fd = pipe_fds[1];
	fixture->port_fd = port_fds[0];
	fixture->host_fd = port_fds[1];
	fixture->output.fd = fixture->port_fd;
	assert_int_equal(guest_output_add(&fixture->output, &fixture->pipe, pipe_fds[0], 3,
				 WIRE_STREAM_STDERR),
		0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->pipe.fd >= 0)
		close(fixture->pipe.fd);
	if (fixture->app_fd >= 0)
		close(fixture->app_fd);
	close(fixture->port_fd);
	close(fixture->host_fd);
	free(fixture->pipe.buffer);
	free(fixture->output.pipes);
	free(fixture);
	return 0;
}

static void app_writes(struct fixture *fixture, const char *data, size_t length)
{
	assert_int_equal(write(fixture->app_fd, data, length), length);
	guest_output_pipe_ready(&fixture->pipe, EPOLLIN);
}

static void app_ends(struct fixture *fixture)
{
	close(fixture->app_fd);
	fixture->app_fd = -1;
	guest_output_pipe_ready(&fixture->pipe, EPOLLIN | EPOLLHUP);
}

/* The next frame's payload; its length, or 0 when there is no frame. */
static size_t host_reads(struct fixture *fixture, char *payload)
{
	struct wire_stream_header header;
	ssize_t n = recv(fixture->host_fd, &header, sizeof(header), 0);
	size_t length;

	if (n < 0)
		return 0;
	assert_int_equal(n, sizeof(header));
	length = le32toh(header.length);
	assert_in_range(length, 1, WIRE_STREAM_MAX);
	assert_int_equal(le16toh(header.app), 3);
	assert_int_equal(header.stream, WIRE_STREAM_STDERR);
	assert_int_equal(header.reserved, 0);
	assert_int_equal(recv(fixture->host_fd, payload, length, MSG_WAITALL), length);
	return length;
}

static void expect_frame(struct fixture *fixture, const char *text)
{
	char payload[WIRE_STREAM_MAX];

	assert_int_equal(host_reads(fixture, payload), strlen(text));
	assert_memory_equal(payload, text, strlen(text));
}

static void expect_nothing(struct fixture *fixture)
{
	char payload[WIRE_STREAM_MAX];

	assert_int_equal(host_reads(fixture, payload), 0);
}

static void whole_lines_leave_at_once_and_the_rest_is_held(void **state)
{
	struct fixture *fixture = *state;

	app_writes(fixture, "one\ntwo\nthr", 11);
	guest_output_pump(&fixture->output);
	expect_frame(fixture, "one\ntwo\n");
	assert_true(guest_output_timeout_ms(&fixture->output) >= 0);
	app_writes(fixture, "ee\n", 3);
	guest_output_pump(&fixture->output);
	expect_frame(fixture, "three\n");
	expect_nothing(fixture);
	assert_int_equal(guest_output_timeout_ms(&fixture->output), -1);
}

static void unfinished_line_leaves_when_its_time_is_up(void **state)
{
	struct fixture *fixture = *state;

	app_writes(fixture, "prompt> ", 8);
	guest_output_pump(&fixture->output);
	expect_nothing(fixture);
	assert_true(fixture->pipe.flush_at_ms > 0);
	fixture->pipe.flush_at_ms = 1;
	assert_int_equal(guest_output_timeout_ms(&fixture->output), 0);
	guest_output_pump(&fixture->output);
	expect_frame(fixture, "prompt> ");
	assert_int_equal(guest_output_timeout_ms(&fixture->output), -1);
}

static void unfinished_line_leaves_at_the_end_of_the_pipe(void **state)
{
	struct fixture *fixture = *state;

	app_writes(fixture, "no newline", 10);
	app_ends(fixture);
	guest_output_pump(&fixture->output);
	assert_false(guest_output_is_finished(&fixture->pipe));
	guest_output_pump(&fixture->output);
	expect_frame(fixture, "no newline");
	assert_true(guest_output_is_finished(&fixture->pipe));
}

static void line_longer_than_a_frame_is_cut_at_the_limit(void **state)
{
	struct fixture *fixture = *state;
	char line[WIRE_STREAM_MAX + 100], payload[WIRE_STREAM_MAX] = {0};

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	app_writes(fixture, line, sizeof(line));
	guest_output_pump(&fixture->output);
	assert_int_equal(host_reads(fixture, payload), WIRE_STREAM_MAX);
	guest_output_pump(&fixture->output);
	assert_int_equal(host_reads(fixture, payload), 100);
	assert_int_equal(payload[99], '\n');
}

static void finished_pipe_with_living_writers_ends_when_it_is_empty(void **state)
{
	struct fixture *fixture = *state;

	app_writes(fixture, "last", 4);
	guest_output_finish(&fixture->pipe);
	for (int i = 0; i < 3 && !guest_output_is_finished(&fixture->pipe); i++)
		guest_output_pump(&fixture->output);
	assert_true(guest_output_is_finished(&fixture->pipe));
	expect_frame(fixture, "last");
}

static void full_port_loses_nothing_and_stops_reading(void **state)
{
	struct fixture *fixture = *state;
	char line[4000], payload[WIRE_STREAM_MAX];
	size_t written = 0, received = 0, length;

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	/* Until neither the port nor the pipe takes more. */
	for (;;) {
		ssize_t n = write(fixture->app_fd, line, sizeof(line));

		if (n < 0)
			break;
		assert_int_equal(n, sizeof(line));
		written += (size_t)n;
		guest_output_pipe_ready(&fixture->pipe, EPOLLIN);
		guest_output_pump(&fixture->output);
	}
	assert_true(fixture->output.is_blocked);
	assert_int_equal(guest_output_timeout_ms(&fixture->output), -1);
	app_ends(fixture);
	while (!guest_output_is_finished(&fixture->pipe) || received < written) {
		length = host_reads(fixture, payload);
		for (size_t i = 0; i < length; i++)
			assert_int_equal(
				payload[i], (received + i + 1) % sizeof(line) ? 'x' : '\n');
		received += length;
		guest_output_port_ready(&fixture->output);
		guest_output_pump(&fixture->output);
	}
	assert_int_equal(received, written);
	expect_nothing(fixture);
}

static void what_a_terminal_says_leaves_at_once(void **state)
{
	struct fixture *fixture = *state;
	char payload[WIRE_STREAM_MAX];
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	guest_output_set_terminal(&fixture->pipe, fds[0]);
	close(fixture->app_fd);
	fixture->app_fd = fds[1];
	app_writes(fixture, "$ ", 2);
	guest_output_pump(&fixture->output);
	assert_int_equal(host_reads(fixture, payload), 2);
	assert_memory_equal(payload, "$ ", 2);
	/* More may be there than one read gave. */
	assert_int_equal(guest_output_timeout_ms(&fixture->output), 0);
	guest_output_pump(&fixture->output);
	assert_int_equal(guest_output_timeout_ms(&fixture->output), -1);
	app_ends(fixture);
	guest_output_pump(&fixture->output);
	assert_true(guest_output_is_finished(&fixture->pipe));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			whole_lines_leave_at_once_and_the_rest_is_held, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			unfinished_line_leaves_when_its_time_is_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			unfinished_line_leaves_at_the_end_of_the_pipe, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			line_longer_than_a_frame_is_cut_at_the_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			finished_pipe_with_living_writers_ends_when_it_is_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			full_port_loses_nothing_and_stops_reading, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_terminal_says_leaves_at_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
