// SPDX-License-Identifier: Apache-2.0
/* sha1.c: SHA-1, FIPS 180-4 section 6.1 */
#include "base/sha1.h"

#include <string.h>

#define BLOCK sizeof(((struct sha1 *)NULL)->block)

static uint32_t rotate(uint32_t word, unsigned int bits)
{
	return word << bits | word >> (32 - bits);
}

static uint32_t load_be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
		bytes[3];
}

static void compress(struct sha1 *sha)
{
	uint32_t w[80], a = sha->state[0], b = sha->state[1], c = sha->state[2], d = sha->state[3],
			e = sha->state[4];

	for (size_t t = 0; t < 16; t++)
		w[t] = load_be32(sha->block + 4 * t);
	for (size_t t = 16; t < 80; t++)
		w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	for (size_t t = 0; t < 80; t++) {
		uint32_t f, k, next;

		if (t < 20) {
			f = (b & c) ^ (~b & d);
			k = 0x5a827999;
		} else if (t < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (t < 60) {
			f = (b & c) ^ (b & d) ^ (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		next = rotate(a, 5) + f + e + k + w[t];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	sha->state[0] += a;
	sha->state[1] += b;
	sha->state[2] += c;
	sha->state[3] += d;
	sha->state[4] += e;
}

void sha1_init(struct sha1 *sha)
{
	*sha = (struct sha1){
		.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0},
	};
}

void sha1_update(struct sha1 *sha, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	while (length > 0) {
		size_t used = sha->length % BLOCK;
		size_t piece = BLOCK - used < length ? BLOCK - used : length;

		memcpy(sha->block + used, bytes, piece);
		sha->length += piece;
		bytes += piece;
		length -= piece;
		if (sha->length % BLOCK == 0)
			compress(sha);
	}
}

void sha1_final(struct sha1 *sha, uint8_t ret_digest[SHA1_SIZE])
{
	const uint64_t bits = sha->length * 8;
	const uint8_t one = 0x80, zero = 0;
	uint8_t length[8];

	for (size_t i = 0; i < sizeof(length); i++)
		length[i] = (uint8_t)(bits >> (56 - 8 * i));
	sha1_update(sha, &one, 1);
	while (sha->length % BLOCK != BLOCK - sizeof(length))
		sha1_update(sha, &zero, 1);
	sha1_update(sha, length, sizeof(length));
	for (size_t i = 0; i < SHA1_SIZE; i++)
		ret_digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}
