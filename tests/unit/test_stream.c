// SPDX-License-Identifier: Apache-2.0
/* test_stream.c: a session that becomes a stream, and the stream on standard input and output. */
#include "base/cleanup.h"
#include "base/json.h"
#include "pod/session.h"
#include "pod/stream.h"
#include "tests/unit/moved_clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

struct fixture {
	int fds[2];        /* ours, and the guest's */
	int input, output; /* who writes our standard input and reads our output */
	int old_input, old_output;
	char heard[1 << 20], said[1 << 20];       /* by the guest; by us, on standard output */
	size_t heard_length, said_length, to_say; /* bytes of 'x' that the guest has still to say */
	unsigned int turns;
	bool heard_end;
};
static struct fixture fixture;

static void replace(int fd, int with, int *old)
{
	*old = dup(fd);
	assert_true(*old >= 0);
	assert_int_equal(dup2(with, fd), fd);
	close(with);
}

static int set_up(void **state)
{
	int input[2], output[2];

	fixture = (struct fixture){0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fixture.fds), 0);
	assert_int_equal(fcntl(fixture.fds[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	assert_int_equal(pipe2(output, O_CLOEXEC), 0);
	assert_int_equal(fcntl(output[0], F_SETFL, O_NONBLOCK), 0);
	fflush(stdout);
	replace(STDIN_FILENO, input[0], &fixture.old_input);
	replace(STDOUT_FILENO, output[1], &fixture.old_output);
	fixture.input = input[1];
	fixture.output = output[0];
	*state = &fixture;
	return 0;
}

/* From here on words of the test are for who runs it. */
static void give_streams_back(void)
{
	if (fixture.old_input < 0)
		return;
	dup2(fixture.old_input, STDIN_FILENO);
	dup2(fixture.old_output, STDOUT_FILENO);
	close(fixture.old_input);
	close(fixture.old_output);
	fixture.old_input = -1;
}

static int tear_down(void **state)
{
	(void)state;
	elsewhere = NULL;
	give_streams_back();
	cleanup_close(&fixture.fds[0]);
	cleanup_close(&fixture.fds[1]);
	cleanup_close(&fixture.input);
	cleanup_close(&fixture.output);
	return 0;
}

static void hang_up(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

static void read_output(void)
{
	ssize_t n = fixture.output < 0 ? 0
				       : read(fixture.output, fixture.said + fixture.said_length,
						 sizeof(fixture.said) - fixture.said_length);

	fixture.said_length += n > 0 ? (size_t)n : 0;
}

static int run(const char *begun, size_t length, bool (*guest)(void))
{
	struct error err = {0};
	int r;

	elsewhere = guest;
	r = pod_stream_run(fixture.fds[0], begun, length, &err);
	elsewhere = NULL;
	read_output();
	give_streams_back();
	return r;
}

/* ---- both directions */

/* What the guest is said; its end. */
static void guest_hears(void)
{
	ssize_t n = recv(fixture.fds[1], fixture.heard + fixture.heard_length,
		sizeof(fixture.heard) - fixture.heard_length, 0);

	fixture.heard_length += n > 0 ? (size_t)n : 0;
	fixture.heard_end |= n == 0;
}

/* It answers when it has heard all, and closes after that. */
static bool guest_answers(void)
{
	guest_hears();
	read_output();
	if (fixture.heard_end && fixture.turns++ == 0) {
		assert_int_equal(send(fixture.fds[1], "answer", 6, 0), 6);
		hang_up(&fixture.fds[1]);
	}
	return fixture.turns < 3;
}

static void bytes_go_both_ways_and_an_end_of_input_is_no_end(void **state)
{
	(void)state;
	assert_int_equal(write(fixture.input, "que\0stion", 9), 9);
	hang_up(&fixture.input);
	assert_int_equal(run("banner ", 7, guest_answers), 0);
	assert_int_equal(fixture.heard_length, 9);
	assert_memory_equal(fixture.heard, "que\0stion", 9);
	assert_true(fixture.heard_end);
	assert_int_equal(fixture.said_length, 13);
	assert_memory_equal(fixture.said, "banner answer", 13);
}

/* It says much, and is gone before the half of it is read. */
static bool guest_says_much(void)
{
	static const char data[4096] = "";

	while (fixture.to_say > 0) {
		ssize_t n = send(fixture.fds[1], data,
			fixture.to_say < sizeof(data) ? fixture.to_say : sizeof(data),
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
		fixture.to_say -= (size_t)n;
	}
	if (fixture.to_say == 0 && fixture.fds[1] >= 0)
		hang_up(&fixture.fds[1]);
	read_output();
	return fixture.said_length < 500000;
}

static void all_that_was_said_is_written_before_the_end(void **state)
{
	(void)state;
	/* An open input that nobody writes holds nothing up. */
	fixture.to_say = 500000;
	assert_int_equal(run(NULL, 0, guest_says_much), 0);
	assert_int_equal(fixture.said_length, 500000);
	assert_int_equal(fixture.said[0], 0);
}

/* It hangs up when it has heard all. */
static bool guest_hears_all(void)
{
	if (fixture.fds[1] < 0)
		return false;
	guest_hears();
	if (fixture.heard_end)
		hang_up(&fixture.fds[1]);
	return true;
}

static void input_waits_for_a_slow_reader(void **state)
{
	static char data[60000];

	(void)state;
	memset(data, 'y', sizeof(data));
	assert_int_equal(write(fixture.input, data, sizeof(data)), sizeof(data));
	hang_up(&fixture.input);
	assert_int_equal(
		setsockopt(fixture.fds[0], SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int)), 0);
	assert_int_equal(run(NULL, 0, guest_hears_all), 0);
	assert_int_equal(fixture.heard_length, sizeof(data));
	assert_memory_equal(fixture.heard, data, sizeof(data));
}

/* ---- ends */

static bool guest_hangs_up(void)
{
	if (fixture.fds[1] < 0)
		return false;
	hang_up(&fixture.fds[1]);
	return true;
}

static void a_guest_that_hangs_up_ends_it_whatever_input_is_left(void **state)
{
	static char data[60000];

	(void)state;
	assert_int_equal(write(fixture.input, data, sizeof(data)), sizeof(data));
	assert_int_equal(
		setsockopt(fixture.fds[0], SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int)), 0);
	assert_int_equal(run("last", 4, guest_hangs_up), 0);
	assert_int_equal(fixture.said_length, 4);
}

static bool reader_goes(void)
{
	if (fixture.output < 0)
		return false;
	hang_up(&fixture.output);
	return true;
}

static void a_reader_that_goes_ends_it(void **state)
{
	(void)state;
	assert_int_equal(run(NULL, 0, reader_goes), -EPIPE);
	assert_int_equal(set_up(state), 0);
	hang_up(&fixture.output);
	assert_int_equal(run("banner", 6, NULL), -EPIPE);
}

static void what_has_no_room_is_refused(void **state)
{
	static const char data[(16 << 10) + 1] = "";

	(void)state;
	assert_int_equal(run(data, sizeof(data), NULL), -EMSGSIZE);
}

/* ---- the session before it */

static void guest_says(const char *line, enum wire_session_kind kind, const char *text)
{
	const struct wire_session_header header = wire_session_header(kind, strlen(text));

	assert_int_equal(send(fixture.fds[1], line, strlen(line), 0), strlen(line));
	if (kind == 0)
		return;
	assert_int_equal(send(fixture.fds[1], &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(send(fixture.fds[1], text, strlen(text), 0), strlen(text));
}

static struct pod_session session(void)
{
	struct pod_session session = POD_SESSION_NONE;

	give_streams_back();
	session.fd = fixture.fds[0];
	fixture.fds[0] = -1;
	assert_int_equal(fcntl(session.fd, F_SETFL, O_NONBLOCK), 0);
	return session;
}

static void a_request_is_said_with_its_greeting(void **state)
{
	static const char expected[] = "CONNECT 1\n\x10\0\0\0\1\0\0\0{\"type\":\"usage\"}";
	_cleanup_(pod_session_close) struct pod_session ours = session();
	_cleanup_json_ json_t *request = json_pack("{s:s}", "type", "usage");
	_cleanup_free_ char *large = calloc(1, WIRE_SESSION_REQUEST_MAX + 1);

	(void)state;
	assert_int_equal(pod_session_ask(&ours, request), 0);
	guest_hears();
	assert_int_equal(fixture.heard_length, sizeof(expected) - 1);
	assert_memory_equal(fixture.heard, expected, sizeof(expected) - 1);
	assert_non_null(large);
	memset(large, 'a', WIRE_SESSION_REQUEST_MAX);
	json_object_set_new(request, "type", json_string(large));
	assert_int_equal(pod_session_ask(&ours, request), -E2BIG);
}

static void a_frame_is_waited_for_from_a_guest_that_let_us_in(void **state)
{
	_cleanup_(pod_session_close) struct pod_session ours = session();
	struct wire_session_frame frame;
	struct error err = {0};
	const char *rest;
	int64_t start = now;

	(void)state;
	assert_int_equal(pod_session_await(&ours, 30000, &frame, &err), -ETIMEDOUT);
	assert_in_range(now - start, 30 * SECOND, 31 * SECOND);
	assert_non_null(strstr(err.message, "does not answer"));
	guest_says("OK 1\n", WIRE_SESSION_STREAM, "");
	assert_int_equal(send(fixture.fds[1], "SSH-2.0", 7, 0), 7);
	assert_int_equal(pod_session_await(&ours, 30000, &frame, &err), 0);
	assert_int_equal(frame.kind, WIRE_SESSION_STREAM);
	assert_int_equal(wire_session_reader_rest(&ours.reader, &rest), 7);
	assert_memory_equal(rest, "SSH-2.0", 7);
}

static void a_guest_that_breaks_the_rules_or_ends_is_told_of(void **state)
{
	_cleanup_(pod_session_close) struct pod_session ours = session();
	struct wire_session_frame frame;
	struct error err = {0};

	(void)state;
	guest_says("OK 1\n", WIRE_SESSION_INPUT, "x");
	assert_int_equal(pod_session_await(&ours, 30000, &frame, &err), -EBADMSG);
	pod_session_close(&ours);
	hang_up(&fixture.fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fixture.fds), 0);
	ours = session();
	guest_says("OK 1\n", 0, "");
	hang_up(&fixture.fds[1]);
	assert_int_equal(pod_session_await(&ours, 30000, &frame, &err), -ECONNRESET);
	assert_non_null(strstr(err.message, "has ended"));
}

static void a_result_is_a_status_or_a_message(void **state)
{
	static const struct {
		const char *text;
		int r, status;
		const char *message;
	} results[] = {
		{"{\"status\":0}", 0, 0, ""},
		{"{\"status\":255}", 0, 255, ""},
		{"{\"message\":\"no \\u001b[2Jtree\"}", -ECHILD, -1, "no "},
		{"{\"status\":256}", -EBADMSG, -1, "broke the protocol"},
		{"{\"status\":-1}", -EBADMSG, -1, "broke the protocol"},
		{"{}", -EBADMSG, -1, "broke the protocol"},
		{"{", -EBADMSG, -1, "broke the protocol"},
	};

	(void)state;
	give_streams_back();
	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		const struct wire_session_frame frame = {.kind = WIRE_SESSION_RESULT,
			.data = results[i].text,
			.length = strlen(results[i].text)};
		struct error err = {0};
		int status = -1;

		assert_int_equal(pod_session_result(&frame, &status, &err), results[i].r);
		assert_int_equal(status, results[i].status);
		assert_non_null(strstr(err.message, results[i].message));
		assert_null(strchr(err.message, '\033'));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways_and_an_end_of_input_is_no_end),
		TEST(all_that_was_said_is_written_before_the_end),
		TEST(input_waits_for_a_slow_reader),
		TEST(a_guest_that_hangs_up_ends_it_whatever_input_is_left),
		TEST(a_reader_that_goes_ends_it),
		TEST(what_has_no_room_is_refused),
		TEST(a_request_is_said_with_its_greeting),
		TEST(a_frame_is_waited_for_from_a_guest_that_let_us_in),
		TEST(a_guest_that_breaks_the_rules_or_ends_is_told_of),
		TEST(a_result_is_a_status_or_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
