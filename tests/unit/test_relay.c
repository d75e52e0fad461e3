// SPDX-License-Identifier: Apache-2.0
/* test_relay.c: frames between a tap, which a socket of packets plays, and a stream. */
#include "pod/relay.h"

#include "base/cleanup.h"

#include <endian.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define FRAME_SIZE 1000

struct relay_fixture {
	int tap, stream; /* the far ends */
	int own_tap, own_stream;
	pthread_t thread;
};

static void *run(void *context)
{
	struct relay_fixture *fixture = context;

	relay_run(fixture->own_tap, fixture->own_stream);
	close(fixture->own_tap);
	close(fixture->own_stream);
	return NULL;
}

static int set_up(void **state)
{
	struct relay_fixture *fixture = calloc(1, sizeof(*fixture));
	int taps[2], streams[2];

	assert_non_null(fixture);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, taps), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams), 0);
	*fixture = (struct relay_fixture){
		.tap = taps[0], .own_tap = taps[1], .stream = streams[0], .own_stream = streams[1]};
	assert_int_equal(pthread_create(&fixture->thread, NULL, run, fixture), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct relay_fixture *fixture = *state;

	/* Its end is the stream's. */
	cleanup_close(&fixture->stream);
	assert_int_equal(pthread_join(fixture->thread, NULL), 0);
	cleanup_close(&fixture->tap);
	free(fixture);
	return 0;
}

static void frame_of_the_tap_goes_out_behind_its_length(void **state)
{
	struct relay_fixture *fixture = *state;
	uint8_t frame[FRAME_SIZE], got[sizeof(uint32_t) + FRAME_SIZE];
	uint32_t prefix = htobe32(FRAME_SIZE);

	memset(frame, 7, sizeof(frame));
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(send(fixture->tap, frame, sizeof(frame), 0), sizeof(frame));
		assert_int_equal(recv(fixture->stream, got, sizeof(got), MSG_WAITALL), sizeof(got));
		assert_memory_equal(got, &prefix, sizeof(prefix));
		assert_memory_equal(got + sizeof(prefix), frame, sizeof(frame));
	}
}

/* A connection's data, one byte, and its end (base/tcp_end.h). */
static void end_of_a_connection_goes_out_with_its_last_byte(void **state)
{
	struct relay_fixture *fixture = *state;
	uint8_t data[55] = {[12] = 8,
		[14] = 0x45,
		[17] = 41,
		[23] = 6,
		[37] = 80,
		[41] = 1,
		[46] = 0x50,
		[47] = 0x10,
		[54] = 'x'};
	uint8_t fin[54], got[sizeof(uint32_t) + sizeof(data)];
	uint32_t prefix = htobe32(sizeof(data));

	memcpy(fin, data, sizeof(fin));
	fin[17] = 40;
	fin[41] = 2;
	fin[47] = 0x11;
	assert_int_equal(send(fixture->tap, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(recv(fixture->stream, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(got + sizeof(prefix), data, sizeof(data));
	assert_int_equal(send(fixture->tap, fin, sizeof(fin), 0), sizeof(fin));
	assert_int_equal(recv(fixture->stream, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(got, &prefix, sizeof(prefix));
	assert_int_equal(got[sizeof(prefix) + 41], 1);
	assert_int_equal(got[sizeof(prefix) + 47], 0x11);
	assert_int_equal(got[sizeof(prefix) + 54], 'x');
}

static void frames_of_the_stream_come_out_one_by_one_however_they_are_cut(void **state)
{
	struct relay_fixture *fixture = *state;
	uint8_t bytes[2 * (sizeof(uint32_t) + FRAME_SIZE)], got[2 * FRAME_SIZE];
	uint32_t prefix = htobe32(FRAME_SIZE);

	memset(bytes, 9, sizeof(bytes));
	memcpy(bytes, &prefix, sizeof(prefix));
	memcpy(bytes + sizeof(bytes) / 2, &prefix, sizeof(prefix));
	for (size_t cut = 1; cut < sizeof(bytes); cut++) {
		assert_int_equal(send(fixture->stream, bytes, cut, 0), cut);
		assert_int_equal(send(fixture->stream, bytes + cut, sizeof(bytes) - cut, 0),
			sizeof(bytes) - cut);
		for (unsigned int j = 0; j < 2; j++) {
			assert_int_equal(recv(fixture->tap, got, sizeof(got), 0), FRAME_SIZE);
			assert_memory_equal(got, bytes + sizeof(prefix), FRAME_SIZE);
		}
	}
}

static void length_without_a_frame_is_skipped(void **state)
{
	struct relay_fixture *fixture = *state;
	const uint32_t lost[] = {htobe32(60), htobe32(RELAY_FRAME_MAX)};
	uint8_t bytes[sizeof(lost) + sizeof(uint32_t) + FRAME_SIZE], got[2 * FRAME_SIZE];
	uint32_t prefix = htobe32(FRAME_SIZE);

	memset(bytes, 9, sizeof(bytes));
	memcpy(bytes, lost, sizeof(lost));
	memcpy(bytes + sizeof(lost), &prefix, sizeof(prefix));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(send(fixture->stream, bytes, sizeof(bytes), 0), sizeof(bytes));
		assert_int_equal(recv(fixture->tap, got, sizeof(got), 0), FRAME_SIZE);
		assert_memory_equal(got, bytes + sizeof(bytes) - FRAME_SIZE, FRAME_SIZE);
	}
}

static void what_is_no_frame_ends_it(void **state)
{
	struct relay_fixture *fixture = *state;
	uint32_t prefix = htobe32(RELAY_FRAME_MAX + 1);
	uint8_t byte;

	assert_int_equal(send(fixture->stream, &prefix, sizeof(prefix), 0), sizeof(prefix));
	assert_int_equal(recv(fixture->tap, &byte, 1, 0), 0);
}

#define RELAY_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RELAY_TEST(frame_of_the_tap_goes_out_behind_its_length),
		RELAY_TEST(end_of_a_connection_goes_out_with_its_last_byte),
		RELAY_TEST(frames_of_the_stream_come_out_one_by_one_however_they_are_cut),
		RELAY_TEST(length_without_a_frame_is_skipped),
		RELAY_TEST(what_is_no_frame_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
