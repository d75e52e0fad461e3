// SPDX-License-Identifier: Apache-2.0
/* test_session.c: frames of sessions, and requests to enter an app. */
#include "base/json.h"
#include "guest-init/session_request.h"
#include "wire/session.h"

#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct stream {
	int fds[2];
	struct wire_session_reader reader;
};

static int set_up(void **state)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	assert_non_null(stream);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream->fds), 0);
	wire_session_reader_init(&stream->reader, WIRE_SESSION_CLIENT);
	*state = stream;
	return 0;
}

static int tear_down(void **state)
{
	struct stream *stream = *state;

	wire_session_reader_done(&stream->reader);
	close(stream->fds[0]);
	close(stream->fds[1]);
	free(stream);
	return 0;
}

static void put(struct stream *stream, const void *data, size_t length)
{
	assert_int_equal(send(stream->fds[0], data, length, 0), length);
}

static void put_frame(
	struct stream *stream, enum wire_session_kind kind, const void *data, size_t length)
{
	const struct wire_session_header header = wire_session_header(kind, length);

	put(stream, &header, sizeof(header));
	if (length > 0)
		put(stream, data, length);
}

static void fill(struct stream *stream)
{
	while (wire_session_reader_fill(&stream->reader, stream->fds[1]) > 0)
		;
}

static void expect_frame(
	struct stream *stream, enum wire_session_kind kind, const void *data, size_t length)
{
	struct wire_session_frame frame;

	assert_int_equal(wire_session_reader_next(&stream->reader, &frame), 1);
	assert_int_equal(frame.kind, kind);
	assert_int_equal(frame.length, length);
	assert_memory_equal(frame.data, data, length);
}

static void frames_come_out_as_they_went_in(void **state)
{
	struct stream *stream = *state;
	struct wire_session_frame frame;
	static char large[WIRE_SESSION_DATA_MAX];

	memset(large, 'x', sizeof(large));
	put_frame(stream, WIRE_SESSION_REQUEST, "{}", 2);
	put_frame(stream, WIRE_SESSION_INPUT, large, sizeof(large));
	put_frame(stream, WIRE_SESSION_INPUT, NULL, 0);
	put_frame(stream, WIRE_SESSION_SIGNAL, "\x0f", 1);
	fill(stream);
	expect_frame(stream, WIRE_SESSION_REQUEST, "{}", 2);
	expect_frame(stream, WIRE_SESSION_INPUT, large, sizeof(large));
	expect_frame(stream, WIRE_SESSION_INPUT, "", 0);
	expect_frame(stream, WIRE_SESSION_SIGNAL, "\x0f", 1);
	assert_int_equal(wire_session_reader_next(&stream->reader, &frame), 0);
}

static void frames_may_come_byte_by_byte(void **state)
{
	const struct wire_session_header header = wire_session_header(WIRE_SESSION_INPUT, 5);
	struct stream *stream = *state;
	struct wire_session_frame frame;
	char bytes[sizeof(header) + 5];

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), "bytes", 5);
	for (unsigned int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			assert_int_equal(wire_session_reader_next(&stream->reader, &frame), 0);
			put(stream, &bytes[i], 1);
			fill(stream);
		}
		expect_frame(stream, WIRE_SESSION_INPUT, "bytes", 5);
	}
}

static void what_follows_a_frame_can_be_had_as_it_came(void **state)
{
	struct stream *stream = *state;
	const char *rest;

	wire_session_reader_init(&stream->reader, WIRE_SESSION_GUEST);
	assert_int_equal(wire_session_reader_rest(&stream->reader, &rest), 0);
	put_frame(stream, WIRE_SESSION_STREAM, NULL, 0);
	put(stream, "SSH-2.0", 7);
	fill(stream);
	expect_frame(stream, WIRE_SESSION_STREAM, "", 0);
	assert_int_equal(wire_session_reader_rest(&stream->reader, &rest), 7);
	assert_memory_equal(rest, "SSH-2.0", 7);
}

static void the_end_of_the_stream_is_told(void **state)
{
	struct stream *stream = *state;

	assert_int_equal(wire_session_reader_fill(&stream->reader, stream->fds[1]), -EAGAIN);
	shutdown(stream->fds[0], SHUT_WR);
	assert_int_equal(wire_session_reader_fill(&stream->reader, stream->fds[1]), 0);
}

static void memory_does_not_grow_with_what_is_announced(void **state)
{
	const struct wire_session_header header =
		wire_session_header(WIRE_SESSION_REQUEST, WIRE_SESSION_REQUEST_MAX);
	struct stream *stream = *state;
	struct wire_session_frame frame;

	put(stream, &header, sizeof(header));
	fill(stream);
	assert_int_equal(wire_session_reader_next(&stream->reader, &frame), 0);
	assert_in_range(stream->reader.room, 1, 2 * WIRE_SESSION_READ_MIN);
}

static void frames_against_the_rules_are_refused(void **state)
{
	static const struct {
		enum wire_session_sender sender;
		uint32_t length;
		uint8_t kind, reserved;
	} frames[] = {
		{WIRE_SESSION_CLIENT, 2, 0, 0},
		{WIRE_SESSION_CLIENT, 2, WIRE_SESSION_KINDS, 0},
		{WIRE_SESSION_CLIENT, 2, UINT8_MAX, 0},
		{WIRE_SESSION_CLIENT, 1, WIRE_SESSION_REQUEST, 0},
		{WIRE_SESSION_CLIENT, WIRE_SESSION_REQUEST_MAX + 1, WIRE_SESSION_REQUEST, 0},
		{WIRE_SESSION_CLIENT, WIRE_SESSION_DATA_MAX + 1, WIRE_SESSION_INPUT, 0},
		{WIRE_SESSION_CLIENT, UINT32_MAX, WIRE_SESSION_INPUT, 0},
		{WIRE_SESSION_CLIENT, 3, WIRE_SESSION_RESIZE, 0},
		{WIRE_SESSION_CLIENT, 5, WIRE_SESSION_RESIZE, 0},
		{WIRE_SESSION_CLIENT, 0, WIRE_SESSION_SIGNAL, 0},
		{WIRE_SESSION_CLIENT, 2, WIRE_SESSION_SIGNAL, 0},
		{WIRE_SESSION_CLIENT, 4, WIRE_SESSION_RESIZE, 1},
		/* what only the other side sends */
		{WIRE_SESSION_CLIENT, 1, WIRE_SESSION_OUTPUT, 0},
		{WIRE_SESSION_CLIENT, 1, WIRE_SESSION_ERRORS, 0},
		{WIRE_SESSION_CLIENT, 4, WIRE_SESSION_CREDIT, 0},
		{WIRE_SESSION_CLIENT, 2, WIRE_SESSION_RESULT, 0},
		{WIRE_SESSION_CLIENT, 0, WIRE_SESSION_STREAM, 0},
		{WIRE_SESSION_GUEST, 2, WIRE_SESSION_REQUEST, 0},
		{WIRE_SESSION_GUEST, 1, WIRE_SESSION_INPUT, 0},
		{WIRE_SESSION_GUEST, 4, WIRE_SESSION_RESIZE, 0},
		{WIRE_SESSION_GUEST, 1, WIRE_SESSION_SIGNAL, 0},
		{WIRE_SESSION_GUEST, 0, WIRE_SESSION_OUTPUT, 0},
		{WIRE_SESSION_GUEST, WIRE_SESSION_DATA_MAX + 1, WIRE_SESSION_ERRORS, 0},
		{WIRE_SESSION_GUEST, 3, WIRE_SESSION_CREDIT, 0},
		{WIRE_SESSION_GUEST, 1, WIRE_SESSION_STREAM, 0},
		{WIRE_SESSION_GUEST, WIRE_SESSION_RESULT_MAX + 1, WIRE_SESSION_RESULT, 0},
	};
	struct stream *stream = *state;

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		const struct wire_session_header header = {
			.length = htole32(frames[i].length),
			.kind = frames[i].kind,
			.reserved = {0, 0, frames[i].reserved},
		};
		struct wire_session_frame frame;

		wire_session_reader_done(&stream->reader);
		wire_session_reader_init(&stream->reader, frames[i].sender);
		put(stream, &header, sizeof(header));
		fill(stream);
		assert_int_equal(wire_session_reader_next(&stream->reader, &frame), -EBADMSG);
	}
}

static int parse(const char *text, struct guest_enter_config *config, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	int r = wire_message_decode(text, strlen(text), &message, err);

	*config = (struct guest_enter_config){0};
	return r < 0 ? r : guest_enter_parse(message, config, err);
}

static void a_request_says_who_enters_what_and_how(void **state)
{
	struct guest_enter_config config;
	struct error error;

	(void)state;
	assert_int_equal(
		parse("{\"type\":\"enter\",\"app\":\"web\",\"exec\":[\"ls\",\"-l\"],\"user\":\"alice\","
		      "\"group\":\"50\",\"terminal\":{\"type\":\"xterm\",\"rows\":24,\"columns\":80}}",
			&config, &error),
		0);
	assert_string_equal(config.app, "web");
	assert_string_equal(config.exec[0], "ls");
	assert_string_equal(config.exec[1], "-l");
	assert_null(config.exec[2]);
	assert_string_equal(config.user, "alice");
	assert_string_equal(config.group, "50");
	assert_string_equal(config.terminal.type, "xterm");
	assert_int_equal(config.terminal.size.rows, 24);
	assert_int_equal(config.terminal.size.columns, 80);
	guest_enter_done(&config);
	assert_int_equal(
		parse("{\"type\":\"enter\",\"app\":\"web\",\"exec\":[]}", &config, &error), 0);
	assert_null(config.exec[0]);
	assert_null(config.user);
	assert_null(config.group);
	assert_null(config.terminal.type);
	guest_enter_done(&config);
}

static void malformed_requests_are_refused_and_named(void **state)
{
	static const struct {
		const char *text, *expected;
	} requests[] = {
		{"", "control message"},
		{"[]", "control message"},
		{"{\"app\":\"web\",\"exec\":[]}", "type"},
		{"{\"type\":\"leave\",\"app\":\"web\",\"exec\":[]}", "leave"},
		{"{\"type\":\"enter\",\"exec\":[]}", "app"},
		{"{\"type\":\"enter\",\"app\":\"\",\"exec\":[]}", "app"},
		{"{\"type\":\"enter\",\"app\":7,\"exec\":[]}", "app"},
		{"{\"type\":\"enter\",\"app\":\"web\"}", "exec"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":\"ls\"}", "exec"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[1]}", "exec"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],\"user\":1}", "user"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],\"terminal\":true}", "terminal"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],\"terminal\":{\"rows\":1,\"columns\":1}}",
			"type"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],"
		 "\"terminal\":{\"type\":\"a\",\"rows\":65536,\"columns\":1}}",
			"rows"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],"
		 "\"terminal\":{\"type\":\"a\",\"rows\":1,\"columns\":-1}}",
			"columns"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],"
		 "\"terminal\":{\"type\":\"a\",\"rows\":1,\"columns\":1,\"x\":1}}",
			"x"},
		{"{\"type\":\"enter\",\"app\":\"web\",\"exec\":[],\"cwd\":\"/\"}", "cwd"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct guest_enter_config config;
		struct error error = {0};

		assert_int_equal(parse(requests[i].text, &config, &error), -EBADMSG);
		assert_non_null(strstr(error.message, requests[i].expected));
		guest_enter_done(&config);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int parse_ssh(
	const char *text, json_t **message, struct guest_ssh_config *config, struct error *err)
{
	int r = wire_message_decode(text, strlen(text), message, err);

	return r < 0 ? r : guest_ssh_parse(*message, config, err);
}

static void a_request_for_ssh_says_with_which_keys(void **state)
{
	_cleanup_json_ json_t *message = NULL;
	struct guest_ssh_config config;
	struct error error;

	(void)state;
	assert_int_equal(parse_ssh("{\"type\":\"ssh\",\"tree\":\"sha256-0\",\"host_key\":\"QUJD\","
				   "\"authorized_keys\":\"ssh-ed25519 A\\n\"}",
				 &message, &config, &error),
		0);
	assert_string_equal(config.tree, "sha256-0");
	assert_string_equal(config.host_key, "QUJD");
	assert_string_equal(config.authorized_keys, "ssh-ed25519 A\n");
}

static void malformed_requests_for_ssh_are_refused_and_named(void **state)
{
	static const struct {
		const char *text, *expected;
	} requests[] = {
		{"{\"type\":\"ssh\",\"host_key\":\"a\",\"authorized_keys\":\"b\"}", "tree"},
		{"{\"type\":\"ssh\",\"tree\":\"../t\",\"host_key\":\"a\",\"authorized_keys\":\"b\"}",
			"tree"},
		{"{\"type\":\"ssh\",\"tree\":\"..\",\"host_key\":\"a\",\"authorized_keys\":\"b\"}",
			"tree"},
		{"{\"type\":\"ssh\",\"tree\":\"t\",\"authorized_keys\":\"b\"}", "host_key"},
		{"{\"type\":\"ssh\",\"tree\":\"t\",\"host_key\":\"\",\"authorized_keys\":\"b\"}",
			"host_key"},
		{"{\"type\":\"ssh\",\"tree\":\"t\",\"host_key\":\"a\"}", "authorized_keys"},
		{"{\"type\":\"ssh\",\"tree\":\"t\",\"host_key\":\"a\",\"authorized_keys\":\"b\","
		 "\"app\":\"web\"}",
			"app"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		_cleanup_json_ json_t *message = NULL;
		struct guest_ssh_config config;
		struct error error = {0};

		assert_int_equal(parse_ssh(requests[i].text, &message, &config, &error), -EBADMSG);
		assert_non_null(strstr(error.message, requests[i].expected));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_come_out_as_they_went_in),
		TEST(frames_may_come_byte_by_byte),
		TEST(what_follows_a_frame_can_be_had_as_it_came),
		TEST(the_end_of_the_stream_is_told),
		TEST(memory_does_not_grow_with_what_is_announced),
		TEST(frames_against_the_rules_are_refused),
		cmocka_unit_test(a_request_says_who_enters_what_and_how),
		cmocka_unit_test(malformed_requests_are_refused_and_named),
		cmocka_unit_test(a_request_for_ssh_says_with_which_keys),
		cmocka_unit_test(malformed_requests_for_ssh_are_refused_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
