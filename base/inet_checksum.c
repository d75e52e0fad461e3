// SPDX-License-Identifier: Apache-2.0
/* inet_checksum.c: see inet_checksum.h. */
#include "base/inet_checksum.h"

uint64_t inet_checksum_add(uint64_t sum, const uint8_t *bytes, size_t length)
{
	for (; length >= 2; bytes += 2, length -= 2)
		sum += (uint64_t)bytes[0] << 8 | bytes[1];
	return length ? sum + ((uint64_t)bytes[0] << 8) : sum;
}

uint16_t inet_checksum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void inet_checksum_put(uint8_t place[2], uint64_t sum)
{
	uint16_t folded = inet_checksum_fold(sum);

	place[0] = (uint8_t)(~folded >> 8);
	place[1] = (uint8_t)~folded;
}
