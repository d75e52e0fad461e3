// SPDX-License-Identifier: Apache-2.0
/* test_wire.c: frames of the control stream and hexadecimal digits. */
#include "wire/wire.h"

#include "base/hex.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define FRAME_MAX 4096

static char *frame_make(const char *text, size_t *ret_length)
{
	size_t length = strlen(text);
	char *frame = malloc(4 + length);

	assert_non_null(frame);
	for (int i = 0; i < 4; i++)
		frame[i] = (char)(length >> (8 * i));
	for (size_t i = 0; i < length; i++)
		frame[4 + i] = text[i];
	*ret_length = 4 + length;
	return frame;
}

static void frame_arrives_whole_when_split_at_every_byte(void **state)
{
	size_t first_length, second_length, length;
	_cleanup_free_ char *first =
		frame_make("{\"type\":\"hello\",\"version\":1}", &first_length);
	_cleanup_free_ char *second = frame_make("{\"type\":\"ended\"}", &second_length);
	_cleanup_free_ char *both = NULL;

	(void)state;
	length = first_length + second_length;
	both = malloc(length);
	assert_non_null(both);
	memcpy(both, first, first_length);
	memcpy(both + first_length, second, second_length);
	for (size_t split = 0; split <= length; split++) {
		struct wire_reader reader;
		struct error err;
		unsigned int count = 0;

		wire_reader_init(&reader, FRAME_MAX);
		for (int part = 0; part < 2; part++) {
			json_t *message;
			int r;

			r = part == 0 ? wire_reader_add(&reader, both, split)
				      : wire_reader_add(&reader, both + split, length - split);
			assert_int_equal(r, 0);
			while ((r = wire_reader_next(&reader, &message, &err)) > 0) {
				assert_string_equal(
					wire_type(message), count == 0 ? "hello" : "ended");
				count++;
				json_decref(message);
			}
			assert_int_equal(r, 0);
			if (part == 0)
				assert_int_equal(
					count, (split >= first_length) + (split >= length));
		}
		assert_int_equal(count, 2);
		assert_int_equal(reader.length, 0);
		wire_reader_done(&reader);
	}
}

static void frame_arrives_byte_by_byte(void **state)
{
	size_t length;
	_cleanup_free_ char *frame = frame_make("{\"type\":\"stop\"}", &length);
	struct wire_reader reader;
	json_t *message;

	(void)state;
	wire_reader_init(&reader, FRAME_MAX);
	for (size_t i = 0; i < length; i++) {
		assert_int_equal(wire_reader_next(&reader, &message, NULL), 0);
		assert_int_equal(wire_reader_add(&reader, frame + i, 1), 0);
	}
	assert_int_equal(wire_reader_next(&reader, &message, NULL), 1);
	assert_string_equal(wire_type(message), "stop");
	json_decref(message);
	wire_reader_done(&reader);
}

static int first_frame(const void *data, size_t length, uint32_t frame_max, struct error *err)
{
	struct wire_reader reader;
	json_t *message;
	int r;

	wire_reader_init(&reader, frame_max);
	assert_int_equal(wire_reader_add(&reader, data, length), 0);
	r = wire_reader_next(&reader, &message, err);
	if (r > 0)
		json_decref(message);
	wire_reader_done(&reader);
	return r;
}

static void announced_length_outside_the_limits_is_refused(void **state)
{
	static const uint8_t too_short[] = {1, 0, 0, 0}, empty[] = {0, 0, 0, 0},
			     too_long[] = {0x01, 0x10, 0, 0}, longest[] = {0x00, 0x10, 0, 0},
			     huge[] = {0xff, 0xff, 0xff, 0xff};
	struct error err;

	(void)state;
	assert_int_equal(first_frame(too_short, 4, FRAME_MAX, &err), -EBADMSG);
	assert_int_equal(first_frame(empty, 4, FRAME_MAX, &err), -EBADMSG);
	assert_int_equal(first_frame(too_long, 4, FRAME_MAX, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "4097"));
	assert_int_equal(first_frame(huge, 4, FRAME_MAX, &err), -EBADMSG);
	assert_int_equal(first_frame(longest, 4, FRAME_MAX, &err), 0);
}

static void frame_that_is_not_a_message_is_refused(void **state)
{
	static const char *const bad[] = {"[]", "{}", "{\"type\":1}", "nonsense", "{\"type\":\"x\"",
		"{\"type\":\"x\",\"type\":\"y\"}", "{\"type\":\"x\"} x", "\"type\"",
		"{\"type\":\"a\\u0000b\"}", "{\"type\":\"\xff\"}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t length;
		_cleanup_free_ char *frame = frame_make(bad[i], &length);
		struct error err = {0};

		assert_int_equal(first_frame(frame, length, FRAME_MAX, &err), -EBADMSG);
		assert_true(err.message[0] != '\0');
	}
}

static void encoding_refuses_more_than_the_limit(void **state)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "type", "warning");
	size_t length;
	char *frame;

	(void)state;
	/* {"type":"warning"} has 18 bytes. */
	assert_int_equal(wire_frame_encode(message, 17, &frame, &length), -EMSGSIZE);
	assert_int_equal(wire_frame_encode(message, 18, &frame, &length), 0);
	assert_int_equal(length, 22);
	assert_int_equal(first_frame(frame, length, 18, NULL), 1);
	free(frame);
}

static void written_frames_are_read_back(void **state)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:i}", "type", "ended", "status", 7);
	_cleanup_close_ int reader_fd = -1;
	_cleanup_free_ char *frame = NULL;
	struct wire_reader reader;
	json_t *received;
	size_t length;
	int fds[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	reader_fd = fds[0];
	wire_reader_init(&reader, FRAME_MAX);
	assert_int_equal(wire_reader_fill(&reader, reader_fd), -EAGAIN);
	assert_int_equal(wire_frame_encode(message, FRAME_MAX, &frame, &length), 0);
	assert_int_equal(wire_frames_write(fds[1], frame, length), 0);
	assert_true(wire_reader_fill(&reader, reader_fd) > 0);
	assert_int_equal(wire_reader_next(&reader, &received, NULL), 1);
	assert_true(json_equal(message, received));
	json_decref(received);
	close(fds[1]);
	assert_int_equal(wire_reader_fill(&reader, reader_fd), 0);
	wire_reader_done(&reader);
}

/* wire_reader_fill() and wire_reader_add() may be mixed: a part of a frame by each. */
static void frame_larger_than_one_read_is_put_together(void **state)
{
	enum { SIZE = 100000 };
	_cleanup_free_ char *text = malloc(SIZE + 1);
	_cleanup_json_ json_t *message = NULL;
	_cleanup_close_ int reader_fd = -1;
	struct wire_reader reader;
	json_t *received = NULL;
	char *frame;
	size_t length, sent = 0;
	int fds[2], r;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', SIZE);
	text[SIZE] = '\0';
	message = json_pack("{s:s, s:s}", "type", "configure", "text", text);
	assert_int_equal(wire_frame_encode(message, 2 * SIZE, &frame, &length), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	reader_fd = fds[0];
	wire_reader_init(&reader, 2 * SIZE);
	do {
		size_t part = length - sent < 10000 ? length - sent : 10000;

		assert_int_equal(write(fds[1], frame + sent, part), part);
		sent += part;
		assert_int_equal(wire_reader_fill(&reader, reader_fd), part);
		r = wire_reader_next(&reader, &received, NULL);
		assert_int_equal(r, sent == length);
	} while (sent < length);
	assert_true(json_equal(message, received));
	json_decref(received);
	free(frame);
	close(fds[1]);
	wire_reader_done(&reader);
}

static void hexadecimal_digits_round_trip(void **state)
{
	static const uint8_t bytes[] = {0x00, 0x7f, 0x80, 0xff, 0xa5};
	uint8_t decoded[sizeof(bytes)];
	char text[2 * sizeof(bytes) + 1];

	(void)state;
	hex_write(bytes, sizeof(bytes), text);
	assert_string_equal(text, "007f80ffa5");
	assert_int_equal(hex_read(text, decoded, sizeof(decoded)), 0);
	assert_memory_equal(bytes, decoded, sizeof(bytes));
	hex_write(bytes, 0, text);
	assert_string_equal(text, "");
}

static void wrong_hexadecimal_digits_are_refused(void **state)
{
	static const char *const bad[] = {"", "0", "000", "00000", "0g00", "00 0", "-100", "0x00"};
	uint8_t bytes[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hex_read(bad[i], bytes, sizeof(bytes)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_arrives_whole_when_split_at_every_byte),
		cmocka_unit_test(frame_arrives_byte_by_byte),
		cmocka_unit_test(announced_length_outside_the_limits_is_refused),
		cmocka_unit_test(frame_that_is_not_a_message_is_refused),
		cmocka_unit_test(encoding_refuses_more_than_the_limit),
		cmocka_unit_test(written_frames_are_read_back),
		cmocka_unit_test(frame_larger_than_one_read_is_put_together),
		cmocka_unit_test(hexadecimal_digits_round_trip),
		cmocka_unit_test(wrong_hexadecimal_digits_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
