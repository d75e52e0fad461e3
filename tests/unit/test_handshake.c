// SPDX-License-Identifier: Apache-2.0
/* test_handshake.c: what a peer of TCP answers to SYN and ACK, and that it answers to nothing else. */
#include "base/handshake.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ETHERNET 14
#define TCP_SIZE 20

/* 10.0.2.15 port 22 to 10.0.2.2 port 1025, sequence number 0x010203ff, acknowledging 0x09080706. */
static const uint8_t second4[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0,
	0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, 0, 22, 4, 1, 1, 2, 3, 0xff, 9, 8, 7, 6,
	0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0};

/* The same from fd00::15 to fe80::2. */
static const uint8_t second6[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0,
	20, 6, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0xfe, 0x80, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 22, 4, 1, 1, 2, 3, 0xff, 9, 8, 7, 6, 0x50, 0x12, 0xff, 0xff,
	0, 0, 0, 0};

/* As a receiver verifies it: 0. Of an even number of bytes. */
static uint16_t sum(uint32_t start, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i += 2)
		start += (uint32_t)data[i] << 8 | data[i + 1];
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static void check_segment(const uint8_t *tcp)
{
	static const uint8_t expected[] = {4, 1, 0, 22, 9, 8, 7, 6, 1, 2, 4, 0, 0x50, 0x10};

	assert_memory_equal(tcp, expected, sizeof(expected));
	/* A window, and nothing urgent. */
	assert_int_not_equal(tcp[14] << 8 | tcp[15], 0);
	assert_int_equal(tcp[18] << 8 | tcp[19], 0);
}

static void answer_goes_back_with_right_numbers_and_checksums(void **state)
{
	uint8_t answer[HANDSHAKE_FRAME_MAX];

	(void)state;
	assert_int_equal(handshake_answer(second4, sizeof(second4), answer), sizeof(second4));
	assert_memory_equal(answer, second4 + 6, 6);
	assert_memory_equal(answer + 6, second4, 6);
	assert_memory_equal(answer + ETHERNET + 12, second4 + ETHERNET + 16, 4);
	assert_memory_equal(answer + ETHERNET + 16, second4 + ETHERNET + 12, 4);
	assert_int_equal(sum(0, answer + ETHERNET, 20), 0);
	check_segment(answer + ETHERNET + 20);
	assert_int_equal(sum(6 + TCP_SIZE, answer + ETHERNET + 12, 8 + TCP_SIZE), 0);

	assert_int_equal(handshake_answer(second6, sizeof(second6), answer), sizeof(second6));
	assert_memory_equal(answer + ETHERNET + 8, second6 + ETHERNET + 24, 16);
	assert_memory_equal(answer + ETHERNET + 24, second6 + ETHERNET + 8, 16);
	check_segment(answer + ETHERNET + 40);
	assert_int_equal(sum(6 + TCP_SIZE, answer + ETHERNET + 8, 32 + TCP_SIZE), 0);
}

static void nothing_else_is_answered(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} changes[] = {{12, 9}, {ETHERNET, 0x46}, {ETHERNET, 0x65}, {ETHERNET + 6, 0x20},
		{ETHERNET + 7, 1}, {ETHERNET + 9, 17}, {ETHERNET + 33, 0x02}, {ETHERNET + 33, 0x10},
		{ETHERNET + 33, 0x16}, {ETHERNET + 33, 0x13}};
	uint8_t answer[HANDSHAKE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		uint8_t frame[sizeof(second4)];

		memcpy(frame, second4, sizeof(frame));
		frame[changes[i].at] = changes[i].byte;
		assert_int_equal(handshake_answer(frame, sizeof(frame), answer), 0);
	}
	for (size_t length = 0; length < sizeof(second4); length++)
		assert_int_equal(handshake_answer(second4, length, answer), 0);
	for (size_t length = 0; length < sizeof(second6); length++)
		assert_int_equal(handshake_answer(second6, length, answer), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answer_goes_back_with_right_numbers_and_checksums),
		cmocka_unit_test(nothing_else_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
