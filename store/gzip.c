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

void gzip_check_input(struct gzip_check *check, const void *data, size_t length)
{
	const uint8_t *bytes = data;
	size_t kept;

	if (length >= sizeof(check->tail)) {
		memcpy(check->tail, bytes + length - sizeof(check->tail), sizeof(check->tail));
		check->tail_length = sizeof(check->tail);
		return;
	}
	kept = sizeof(check->tail) - length;
	if (kept > check->tail_length)
		kept = check->tail_length;
	memmove(check->tail, check->tail + check->tail_length - kept, kept);
	memcpy(check->tail + kept, bytes, length);
	check->tail_length = kept + length;
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

int gzip_check_end(const struct gzip_check *check, int output_fd)
{
	uint32_t crc = load_le32(check->tail), length = load_le32(check->tail + 4);
	_cleanup_free_ uint8_t *buffer = NULL;
	const size_t size = 1 << 20;
	uint64_t offset;
	uint32_t sum = 0;

	if (check->tail_length < sizeof(check->tail))
		return -EBADMSG;
	if (crc == check->crc && length == (uint32_t)check->output_length)
		return 0;
	/* Several members: the last one made the last bytes of the output. */
	if (length >= check->output_length)
		return -EBADMSG;
	buffer = malloc(size);
	if (!buffer)
		return -ENOMEM;
	offset = check->output_length - length;
	while (offset < check->output_length) {
		uint64_t left = check->output_length - offset;
		ssize_t n = pread(output_fd, buffer, left < size ? left : size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		sum = crc_update(sum, buffer, (size_t)n);
		offset += (uint64_t)n;
	}
	return sum == crc ? 0 : -EBADMSG;
}
