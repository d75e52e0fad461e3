// SPDX-License-Identifier: Apache-2.0
/* gzip.c: CRC-32 of RFC 1952, eight bytes at a time. */
#include "store/gzip.h"

#include "base/cleanup.h"

#include <pthread.h>
#include <string.h>
#include <sys/types.h>

static uint32_t crc_table[8][256];

static void crc_table_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
		crc_table[0][i] = crc;
	}
	for (int slice = 1; slice < 8; slice++)
		for (int i = 0; i < 256; i++) {
			uint32_t before = crc_table[slice - 1][i];

			crc_table[slice][i] = before >> 8 ^ crc_table[0][before & 0xff];
		}
}

static uint32_t crc_update(uint32_t crc, const uint8_t *data, size_t length)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, crc_table_fill);
	crc = ~crc;
	for (; length >= 8; data += 8, length -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		word ^= crc;
		crc = crc_table[7][word & 0xff] ^ crc_table[6][word >> 8 & 0xff] ^
			crc_table[5][word >> 16 & 0xff] ^ crc_table[4][word >> 24 & 0xff] ^
			crc_table[3][word >> 32 & 0xff] ^ crc_table[2][word >> 40 & 0xff] ^
			crc_table[1][word >> 48 & 0xff] ^ crc_table[0][word >> 56];
	}
	for (; length > 0; data++, length--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *data) & 0xff];
	return ~crc;
}

static void tail_append(uint8_t tail[8], size_t *tail_length, const uint8_t *bytes, size_t length)
{
	size_t kept = length < 8 ? 8 - length : 0;

	if (kept > *tail_length)
		kept = *tail_length;
	memmove(tail, tail + *tail_length - kept, kept);
	if (length > 8) {
		bytes += length - 8;
		length = 8;
	}
	memcpy(tail + kept, bytes, length);
	*tail_length = kept + length;
}

void gzip_check_input(struct gzip_check *check, const void *data, size_t length)
{
	static const uint8_t zeros[8];
	const uint8_t *bytes = data;
	size_t end = length;

	while (end > 0 && bytes[end - 1] == 0)
		end--;
	if (end > 0) {
		tail_append(check->tail, &check->tail_length, zeros,
			check->zeros < 8 ? (size_t)check->zeros : 8);
		tail_append(check->tail, &check->tail_length, bytes, end);
		check->zeros = 0;
	}
	check->zeros += length - end;
}

void gzip_check_output(struct gzip_check *check, const void *data, size_t length)
{
	check->crc = crc_update(check->crc, data, length);
	check->output_length += length;
}

static uint32_t load_le32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* The CRC of the last bytes of the output. */
static int crc_of_end(int output_fd, uint64_t output_length, uint32_t length, uint32_t *ret)
{
	const size_t size = 1 << 20;
	_cleanup_free_ uint8_t *buffer = malloc(size);
	uint64_t offset = output_length - length;

	if (!buffer)
		return -ENOMEM;
	*ret = 0;
	while (offset < output_length) {
		uint64_t left = output_length - offset;
		ssize_t n = pread(output_fd, buffer, left < size ? left : size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		*ret = crc_update(*ret, buffer, (size_t)n);
		offset += (uint64_t)n;
	}
	return 0;
}

int gzip_check_end(const struct gzip_check *check, int output_fd)
{
	/* Zeros at the end may be the trailer's own, up to seven of them, or padding. */
	for (unsigned int zeros = 0; zeros < 8 && zeros <= check->zeros; zeros++) {
		static const uint8_t zero[1];
		uint8_t tail[8];
		size_t tail_length = check->tail_length;
		uint32_t crc, length, sum;

		memcpy(tail, check->tail, sizeof(tail));
		for (unsigned int i = 0; i < zeros; i++)
			tail_append(tail, &tail_length, zero, 1);
		if (tail_length < sizeof(tail))
			continue;
		crc = load_le32(tail);
		length = load_le32(tail + 4);
		if (crc == check->crc && length == (uint32_t)check->output_length)
			return 0;
		/* Several members: the last one made the last bytes of the output. */
		if (length > 0 && length < check->output_length) {
			int r = crc_of_end(output_fd, check->output_length, length, &sum);

			if (r < 0)
				return r;
			if (sum == crc)
				return 0;
		}
	}
	return -EBADMSG;
}
