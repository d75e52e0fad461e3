// SPDX-License-Identifier: Apache-2.0
/* test_tcp_end.c: which FIN is given the last byte of its connection, and which byte that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/inet_checksum.h"
#include "base/tcp_end.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 0x10

#define ETHERNET   14u
#define FRAME_SIZE 1600u

static struct tcp_ends ends;

struct frame {
	uint8_t bytes[FRAME_SIZE];
	size_t length, ip_size;
};

static void put_u16(uint8_t *place, size_t value)
{
	place[0] = (uint8_t)(value >> 8);
	place[1] = (uint8_t)value;
}

/* A segment of a connection, with options of TCP (12 bytes) and data that end so. */
static struct frame make(
	bool is_ipv6, uint8_t port, uint8_t flags, uint32_t sequence, const char *data)
{
	struct frame frame = {.ip_size = is_ipv6 ? 40 : 20};
	uint8_t *ip = frame.bytes + ETHERNET, *tcp = ip + frame.ip_size;
	size_t tcp_size = 32 + strlen(data);

	frame.length = ETHERNET + frame.ip_size + tcp_size;
	memcpy(frame.bytes + 12, is_ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	if (is_ipv6) {
		ip[0] = 0x60;
		put_u16(ip + 4, tcp_size);
		ip[6] = 6;
		ip[8] = 0xfd;
		ip[39] = 9;
	} else {
		ip[0] = 0x45;
		put_u16(ip + 2, frame.ip_size + tcp_size);
		ip[9] = 6;
		memcpy(ip + 12, "\x0a\x00\x02\x0f\xc0\x00\x02\x01", 8);
	}
	tcp[1] = port;
	tcp[3] = 80;
	put_u16(tcp + 4, sequence >> 16);
	put_u16(tcp + 6, sequence & 0xffff);
	tcp[12] = 8 << 4;
	tcp[13] = flags;
	memset(tcp + 20, 1, 12);
	memcpy(tcp + 32, data, strlen(data));
	return frame;
}

static size_t carry(struct frame *frame)
{
	return tcp_end_carry(&ends, frame->bytes, frame->length, sizeof(frame->bytes));
}

static void assert_unchanged(const struct frame *frame)
{
	struct frame copy = *frame;

	assert_int_equal(carry(&copy), frame->length);
	assert_memory_equal(copy.bytes, frame->bytes, sizeof(copy.bytes));
}

/* The frame is the FIN that it was, one byte longer and earlier, and its checksums are right. */
static void assert_carries(struct frame *frame, uint32_t sequence, char byte)
{
	const struct frame before = *frame;
	const uint8_t *ip = frame->bytes + ETHERNET, *tcp = ip + frame->ip_size;
	bool is_ipv6 = frame->ip_size == 40;
	size_t length = carry(frame), tcp_size = length - ETHERNET - frame->ip_size;

	assert_int_equal(length, before.length + 1);
	assert_int_equal(frame->bytes[length - 1], byte);
	assert_int_equal((uint32_t)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7], sequence);
	assert_memory_equal(tcp + 8, before.bytes + ETHERNET + frame->ip_size + 8, 8);
	assert_memory_equal(tcp + 20, before.bytes + ETHERNET + frame->ip_size + 20, 12);
	assert_int_equal(is_ipv6 ? ip[4] << 8 | ip[5] : (ip[2] << 8 | ip[3]) - (int)frame->ip_size,
		tcp_size);
	if (!is_ipv6)
		assert_int_equal(inet_checksum_fold(inet_checksum_add(0, ip, 20)), 0xffff);
	assert_int_equal(
		inet_checksum_fold(inet_checksum_add(
			inet_checksum_add(6 + tcp_size, ip + (is_ipv6 ? 8 : 12), is_ipv6 ? 32 : 8),
			tcp, tcp_size)),
		0xffff);
}

static int forget(void **state)
{
	(void)state;
	memset(&ends, 0, sizeof(ends));
	return 0;
}

static void fin_alone_carries_the_last_byte_of_its_connection(void **state)
{
	(void)state;
	for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
		struct frame first = make(is_ipv6, 1, ACK, 0xfffffffe, "abc");
		struct frame other = make(is_ipv6, 2, ACK, 500, "xyz");
		struct frame fin = make(is_ipv6, 1, FIN | ACK, 1, "");
		struct frame again = fin;

		assert_unchanged(&first);
		assert_unchanged(&other);
		assert_carries(&fin, 0, 'c');
		/* The guest's kernel sends it again, from the start. */
		assert_carries(&again, 0, 'c');
		fin = make(is_ipv6, 2, FIN | ACK, 503, "");
		assert_carries(&fin, 502, 'z');
	}
}

/* A segment of the other end that acknowledges up to there, of the connection that make() makes. */
static void hear(bool is_ipv6, uint8_t port, uint8_t flags, uint32_t acknowledged)
{
	struct frame frame = make(is_ipv6, port, flags, 7, "");
	size_t size = is_ipv6 ? 16 : 4;
	uint8_t *ip = frame.bytes + ETHERNET, *tcp = ip + frame.ip_size, source[16];

	memcpy(source, ip + (is_ipv6 ? 8 : 12), size);
	memcpy(ip + (is_ipv6 ? 8 : 12), ip + (is_ipv6 ? 24 : 16), size);
	memcpy(ip + (is_ipv6 ? 24 : 16), source, size);
	tcp[1] = 80;
	tcp[3] = port;
	put_u16(tcp + 8, acknowledged >> 16);
	put_u16(tcp + 10, acknowledged & 0xffff);
	tcp_end_hear(&ends, frame.bytes, frame.length);
}

/* A newer passt would take the byte for a keep-alive. */
static void fin_behind_what_is_acknowledged_is_as_it_was(void **state)
{
	(void)state;
	for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
		struct frame first = make(is_ipv6, 1, ACK, 0xfffffffe, "abc");
		struct frame more = make(is_ipv6, 1, ACK, 1, "d");
		struct frame fin = make(is_ipv6, 1, FIN | ACK, 1, ""), copy = fin;

		carry(&first);
		/* Not all of it; another connection; no acknowledgement; the wrong way. */
		hear(is_ipv6, 1, ACK, 0);
		hear(is_ipv6, 2, ACK, 1);
		hear(is_ipv6, 1, 0, 1);
		put_u16(copy.bytes + ETHERNET + copy.ip_size + 10, 1);
		tcp_end_hear(&ends, copy.bytes, copy.length);
		copy = fin;
		assert_carries(&copy, 0, 'c');
		hear(is_ipv6, 1, ACK, 1);
		assert_unchanged(&fin);
		/* What is sent again is no news; more of it is. */
		assert_unchanged(&first);
		assert_unchanged(&fin);
		carry(&more);
		fin = make(is_ipv6, 1, FIN | ACK, 2, "");
		assert_carries(&fin, 1, 'd');
	}
}

static void data_that_are_sent_again_are_not_the_last(void **state)
{
	struct frame fin = make(false, 1, FIN | ACK, 106, "");
	struct frame frames[] = {
		make(false, 1, ACK, 100, "abc"),
		make(false, 1, ACK, 103, "def"),
		make(false, 1, ACK, 100, "abc"),
	};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_unchanged(&frames[i]);
	assert_carries(&fin, 105, 'f');
}

static void other_segments_are_as_they_were(void **state)
{
	struct frame data = make(false, 1, ACK, 100, "abc"), frame;

	(void)state;
	/* Of a connection without data, or of one that nobody knows. */
	frame = make(false, 1, FIN | ACK, 103, "");
	assert_unchanged(&frame);
	assert_unchanged(&data);
	/* With data; without FIN; not behind what was the last; of IPv6; of another port. */
	frame = make(false, 1, ACK, 103, "");
	assert_unchanged(&frame);
	frame = make(false, 1, FIN | ACK, 104, "");
	assert_unchanged(&frame);
	frame = make(true, 1, FIN | ACK, 103, "");
	assert_unchanged(&frame);
	frame = make(false, 3, FIN | ACK, 103, "");
	assert_unchanged(&frame);
	/* Fragments, another protocol, another type. */
	frame = make(false, 1, FIN | ACK, 103, "");
	frame.bytes[ETHERNET + 6] = 0x20;
	assert_unchanged(&frame);
	frame.bytes[ETHERNET + 6] = 0;
	frame.bytes[ETHERNET + 9] = 17;
	assert_unchanged(&frame);
	frame.bytes[ETHERNET + 9] = 6;
	frame.bytes[13] = 6;
	assert_unchanged(&frame);
	frame = make(false, 1, FIN | ACK, 100, "abc");
	assert_unchanged(&frame);
	/* A new connection of the same name. */
	frame = make(false, 1, SYN, 102, "");
	assert_unchanged(&frame);
	frame = make(false, 1, FIN | ACK, 103, "");
	assert_unchanged(&frame);
}

static void frames_that_are_cut_or_full_are_as_they_were(void **state)
{
	struct frame data = make(false, 1, ACK, 100, "abc"), data6 = make(true, 1, ACK, 100, "abc");
	struct frame fin = make(false, 1, FIN | ACK, 103, ""), copy;
	struct frame fin6 = make(true, 1, FIN | ACK, 103, "");
	const struct frame *const fins[] = {&fin, &fin6};

	(void)state;
	carry(&data);
	carry(&data6);
	for (size_t i = 0; i < 2; i++) {
		/* In memory of that length, so that sanitizers see. */
		for (size_t length = 0; length <= fins[i]->length; length++) {
			uint8_t *bytes = malloc(length ? length : 1);

			memcpy(bytes, fins[i]->bytes, length);
			assert_int_equal(tcp_end_carry(&ends, bytes, length, length), length);
			assert_memory_equal(bytes, fins[i]->bytes, length);
			tcp_end_hear(&ends, bytes, length);
			free(bytes);
		}
		/* Each byte of the headers says the most and the least. */
		for (size_t at = 0; at < fins[i]->length; at++) {
			for (int value = 0; value < 256; value += 255) {
				copy = *fins[i];
				copy.bytes[at] = (uint8_t)value;
				assert_in_range(carry(&copy), fins[i]->length, fins[i]->length + 1);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(fin_alone_carries_the_last_byte_of_its_connection, forget),
		cmocka_unit_test_setup(fin_behind_what_is_acknowledged_is_as_it_was, forget),
		cmocka_unit_test_setup(data_that_are_sent_again_are_not_the_last, forget),
		cmocka_unit_test_setup(other_segments_are_as_they_were, forget),
		cmocka_unit_test_setup(frames_that_are_cut_or_full_are_as_they_were, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
