// SPDX-License-Identifier: Apache-2.0
/* sha1.c: SHA-1, FIPS 180-4 section 6.1 */
#include "base/sha1.h"

#include "base/hash_blocks.h"

static uint32_t rotate(uint32_t word, unsigned int bits)
{
	return word << bits | word >> (32 - bits);
}

static uint32_t load_be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
		bytes[3];
}

static void compress(uint32_t state[5], const uint8_t *block)
{
	uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

	for (size_t t = 0; t < 16; t++)
		w[t] = load_be32(block + 4 * t);
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
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void sha1_init(struct sha1 *sha)
{
	*sha = (struct sha1){
		.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0},
	};
}

static void sha1_blocks(void *state, const uint8_t *data, size_t blocks)
{
	for (; blocks > 0; blocks--, data += SHA1_BLOCK)
		compress(state, data);
}

static const struct hash_blocks sha1_hash = {
	.block = SHA1_BLOCK,
	.length_bytes = 8,
	.compress = sha1_blocks,
};

void sha1_update(struct sha1 *sha, const void *data, size_t length)
{
	hash_blocks_update(&sha1_hash, sha->state, sha->block, &sha->length, data, length);
}

void sha1_final(struct sha1 *sha, uint8_t ret_digest[SHA1_SIZE])
{
	hash_blocks_end(&sha1_hash, sha->state, sha->block, sha->length);
	for (size_t i = 0; i < SHA1_SIZE; i++)
		ret_digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}
