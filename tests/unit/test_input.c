// SPDX-License-Identifier: Apache-2.0
/*
 * test_input.c: standard input on its way from the host to the app: both ends of the stream, joined.
 */
#include "guest-init/input.h"
#include "pod/input.h"

#include "base/file.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct path {
	int source[2]; /* a pipe: what a person types */
	int stream[2]; /* host, guest */
	struct pod_input host;
	struct guest guest;
	struct guest_input input;
	int app_fd;
};

static int set_up(void **state)
{
	struct path *path = calloc(1, sizeof(*path));

	assert_non_null(path);
	assert_int_equal(pipe2(path->source, O_CLOEXEC), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, path->stream),
		0);
	path->guest.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(path->guest.epoll_fd >= 0);
	path->host.is_open = true;
	path->input = GUEST_INPUT_NONE;
	path->app_fd = guest_input_open(&path->input, &path->guest);
	assert_true(path->app_fd >= 0);
	assert_int_equal(fcntl(path->app_fd, F_SETFL, O_NONBLOCK), 0);
	*state = path;
	return 0;
}

static int tear_down(void **state)
{
	struct path *path = *state;

	guest_input_close(&path->input);
	for (int i = 0; i < 2; i++) {
		cleanup_close(&path->source[i]);
		cleanup_close(&path->stream[i]);
	}
	cleanup_close(&path->app_fd);
	close(path->guest.epoll_fd);
	free(path);
	return 0;
}

static int pump(struct path *path)
{
	guest_input_port_ready(&path->input);
	guest_input_pipe_ready(&path->input);
	return guest_input_pump(&path->input, path->stream[1]);
}

/* As the supervisor's loop: once round. */
static void host_turn(struct path *path)
{
	struct pollfd source = {.fd = path->source[0], .events = POLLIN};

	if (pod_input_can_read(&path->host) && poll(&source, 1, 0) > 0)
		pod_input_read(&path->host, path->source[0]);
	if (pod_input_can_send(&path->host))
		pod_input_send(&path->host, path->stream[0]);
}

static void what_is_typed_is_read_up_to_its_end(void **state)
{
	struct path *path = *state;
	char text[16] = "";

	assert_int_equal(write(path->source[1], "hello", 5), 5);
	host_turn(path);
	assert_int_equal(pump(path), 0);
	assert_int_equal(read(path->app_fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	/* Silence is not the end. */
	assert_int_equal(read(path->app_fd, text, sizeof(text)), -1);
	assert_int_equal(errno, EAGAIN);
	close(TAKE_FD(path->source[1]));
	host_turn(path);
	assert_false(path->host.is_open);
	assert_int_equal(pump(path), 0);
	assert_int_equal(read(path->app_fd, text, sizeof(text)), 0);
}

static void all_of_much_input_arrives_in_order(void **state)
{
	enum { TOTAL = 1 << 20 };
	struct path *path = *state;
	char chunk[5000];
	size_t typed = 0, got = 0;

	assert_int_equal(fcntl(path->source[1], F_SETFL, O_NONBLOCK), 0);
	while (got < TOTAL) {
		size_t length = sizeof(chunk);
		ssize_t n;

		for (size_t i = 0; i < length; i++)
			chunk[i] = (char)((typed + i) % 251);
		if (length > TOTAL - typed)
			length = TOTAL - typed;
		n = length > 0 ? write(path->source[1], chunk, length) : 0;
		typed += n > 0 ? (size_t)n : 0;
		host_turn(path);
		assert_int_equal(pump(path), 0);
		n = read(path->app_fd, chunk, got % 3 == 0 ? 7 : sizeof(chunk));
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(chunk[i], (char)((got + (size_t)i) % 251));
		got += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(got, TOTAL);
}

/* An app that does not read makes everybody wait, down to who types. */
static void an_app_that_does_not_read_stops_the_host(void **state)
{
	static const char chunk[WIRE_STREAM_MAX];
	struct path *path = *state;
	size_t moved = 0;
	ssize_t n;

	assert_int_equal(fcntl(path->source[1], F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 1000; i++) {
		n = write(path->source[1], chunk, sizeof(chunk));
		moved += n > 0 ? (size_t)n : 0;
		host_turn(path);
		assert_int_equal(guest_input_pump(&path->input, path->stream[1]), 0);
		guest_input_port_ready(&path->input);
	}
	assert_true(path->host.is_open);
	assert_false(pod_input_can_read(&path->host));
	assert_true(moved < 1000 * sizeof(chunk));
	assert_false(path->input.is_writable);
}

static void input_of_an_app_that_is_gone_goes_nowhere(void **state)
{
	struct path *path = *state;

	signal(SIGPIPE, SIG_IGN);
	close(TAKE_FD(path->app_fd));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(path->source[1], "unread", 6), 6);
		host_turn(path);
		assert_int_equal(pump(path), 0);
	}
	assert_int_equal(path->input.pipe_fd, -1);
	assert_true(path->host.is_open);
}

static void a_guest_that_is_gone_ends_the_hosts_part(void **state)
{
	struct path *path = *state;

	close(TAKE_FD(path->stream[1]));
	assert_int_equal(write(path->source[1], "x", 1), 1);
	host_turn(path);
	assert_false(path->host.is_open);
}

static void a_malformed_frame_is_an_error(void **state)
{
	static const struct wire_stream_header headers[] = {
		{.length = 1, .stream = WIRE_STREAM_STDOUT},
		{.length = 1, .stream = 0},
		{.length = WIRE_STREAM_MAX + 1, .stream = WIRE_STREAM_STDIN},
		{.length = UINT32_MAX, .stream = WIRE_STREAM_STDIN},
		/* A pipe has no window. */
		{.length = sizeof(struct wire_window), .stream = WIRE_STREAM_WINDOW},
	};

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct wire_stream_header header = headers[i];
		struct path *path;

		assert_int_equal(set_up(state), 0);
		path = *state;
		header.length = htole32(header.length);
		assert_int_equal(file_write_all(path->stream[0], &header, sizeof(header)), 0);
		assert_int_equal(pump(path), -EBADMSG);
		tear_down(state);
	}
}

/* In place of the pipe a terminal, of which app_fd is the app's side. */
static void use_terminal(struct path *path)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	guest_input_close(&path->input);
	cleanup_close(&path->app_fd);
	path->app_fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_true(path->app_fd >= 0);
	path->input = GUEST_INPUT_NONE;
	assert_int_equal(guest_input_open_terminal(&path->input, &path->guest, master), 0);
}

static void a_terminals_window_changes_between_what_is_typed(void **state)
{
	struct path *path = *state;
	struct winsize size = {0};
	char text[16] = "";

	use_terminal(path);
	assert_int_equal(write(path->source[1], "a\n", 2), 2);
	host_turn(path);
	pod_input_set_window(&path->host, 10, 10);
	pod_input_set_window(&path->host, 50, 132);
	assert_false(pod_input_can_read(&path->host));
	host_turn(path);
	assert_int_equal(pump(path), 0);
	assert_int_equal(ioctl(path->app_fd, TIOCGWINSZ, &size), 0);
	assert_int_equal(size.ws_row, 50);
	assert_int_equal(size.ws_col, 132);
	assert_int_equal(write(path->source[1], "b\n", 2), 2);
	host_turn(path);
	assert_int_equal(pump(path), 0);
	assert_int_equal(read(path->app_fd, text, sizeof(text)), 2);
	assert_int_equal(read(path->app_fd, text + 2, sizeof(text) - 2), 2);
	assert_string_equal(text, "a\nb\n");
}

static void the_end_of_input_is_typed_into_a_terminal(void **state)
{
	struct path *path = *state;
	char text[16];

	use_terminal(path);
	close(TAKE_FD(path->source[1]));
	host_turn(path);
	assert_int_equal(pump(path), 0);
	assert_true(path->input.has_ended);
	/* Or the terminal has hung up by now, which is an end as well. */
	assert_true(read(path->app_fd, text, sizeof(text)) <= 0);
}

static void a_window_of_another_length_is_an_error(void **state)
{
	const struct wire_stream_header header = {
		.length = htole32(sizeof(struct wire_window) + 1), .stream = WIRE_STREAM_WINDOW};
	struct path *path = *state;

	use_terminal(path);
	assert_int_equal(file_write_all(path->stream[0], &header, sizeof(header)), 0);
	assert_int_equal(pump(path), -EBADMSG);
}

#define INPUT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INPUT_TEST(what_is_typed_is_read_up_to_its_end),
		INPUT_TEST(all_of_much_input_arrives_in_order),
		INPUT_TEST(an_app_that_does_not_read_stops_the_host),
		INPUT_TEST(input_of_an_app_that_is_gone_goes_nowhere),
		INPUT_TEST(a_guest_that_is_gone_ends_the_hosts_part),
		INPUT_TEST(a_terminals_window_changes_between_what_is_typed),
		INPUT_TEST(the_end_of_input_is_typed_into_a_terminal),
		INPUT_TEST(a_window_of_another_length_is_an_error),
		cmocka_unit_test(a_malformed_frame_is_an_error),
	};

	return cmocka_run_group_tests_name("input", tests, NULL, NULL);
}
