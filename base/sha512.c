// SPDX-License-Identifier: Apache-2.0
/* sha512.c: SHA-512 as FIPS 180-4 section 6.4 describes it. */
#include "base/sha512.h"

#include "base/hash_blocks.h"
#include "base/hex.h"

#include <string.h>

/* Section 4.2.3. */
static const uint64_t sha512_k[80] = {
	0x428a2f98d728ae22,
	0x7137449123ef65cd,
	0xb5c0fbcfec4d3b2f,
	0xe9b5dba58189dbbc,
	0x3956c25bf348b538,
	0x59f111f1b605d019,
	0x923f82a4af194f9b,
	0xab1c5ed5da6d8118,
	0xd807aa98a3030242,
	0x12835b0145706fbe,
	0x243185be4ee4b28c,
	0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f,
	0x80deb1fe3b1696b1,
	0x9bdc06a725c71235,
	0xc19bf174cf692694,
	0xe49b69c19ef14ad2,
	0xefbe4786384f25e3,
	0x0fc19dc68b8cd5b5,
	0x240ca1cc77ac9c65,
	0x2de92c6f592b0275,
	0x4a7484aa6ea6e483,
	0x5cb0a9dcbd41fbd4,
	0x76f988da831153b5,
	0x983e5152ee66dfab,
	0xa831c66d2db43210,
	0xb00327c898fb213f,
	0xbf597fc7beef0ee4,
	0xc6e00bf33da88fc2,
	0xd5a79147930aa725,
	0x06ca6351e003826f,
	0x142929670a0e6e70,
	0x27b70a8546d22ffc,
	0x2e1b21385c26c926,
	0x4d2c6dfc5ac42aed,
	0x53380d139d95b3df,
	0x650a73548baf63de,
	0x766a0abb3c77b2a8,
	0x81c2c92e47edaee6,
	0x92722c851482353b,
	0xa2bfe8a14cf10364,
	0xa81a664bbc423001,
	0xc24b8b70d0f89791,
	0xc76c51a30654be30,
	0xd192e819d6ef5218,
	0xd69906245565a910,
	0xf40e35855771202a,
	0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8,
	0x1e376c085141ab53,
	0x2748774cdf8eeb99,
	0x34b0bcb5e19b48a8,
	0x391c0cb3c5c95a63,
	0x4ed8aa4ae3418acb,
	0x5b9cca4f7763e373,
	0x682e6ff3d6b2b8a3,
	0x748f82ee5defb2fc,
	0x78a5636f43172f60,
	0x84c87814a1f0ab72,
	0x8cc702081a6439ec,
	0x90befffa23631e28,
	0xa4506cebde82bde9,
	0xbef9a3f7b2c67915,
	0xc67178f2e372532b,
	0xca273eceea26619c,
	0xd186b8c721c0c207,
	0xeada7dd6cde0eb1e,
	0xf57d4f7fee6ed178,
	0x06f067aa72176fba,
	0x0a637dc5a2c898a6,
	0x113f9804bef90dae,
	0x1b710b35131c471b,
	0x28db77f523047d84,
	0x32caab7b40c72493,
	0x3c9ebe0a15c9bebc,
	0x431d67c49c100d4c,
	0x4cc5d4becb3e42b6,
	0x597f299cfc657e2a,
	0x5fcb6fab3ad6faec,
	0x6c44198c4a475817,
};

static inline uint64_t rotate_right(uint64_t x, unsigned int n)
{
	return x >> n | x << (64 - n);
}

static inline uint64_t load_be64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap64(value);
}

static inline void store_be64(uint8_t *bytes, uint64_t value)
{
	value = __builtin_bswap64(value);
	memcpy(bytes, &value, sizeof(value));
}

/* Section 6.4.2, step 1: the next sixteen words of the message schedule, in place of the last. */
#define SCHEDULE_WORD(w, t)                                                                      \
	((w)[t] += (rotate_right((w)[((t) + 14) & 15], 19) ^                                     \
			   rotate_right((w)[((t) + 14) & 15], 61) ^ (w)[((t) + 14) & 15] >> 6) + \
			(w)[((t) + 9) & 15] +                                                    \
			(rotate_right((w)[((t) + 1) & 15], 1) ^                                  \
				rotate_right((w)[((t) + 1) & 15], 8) ^ (w)[((t) + 1) & 15] >> 7))

/* One round; the caller rotates the names instead of the values. */
#define SHA512_ROUND(a, b, c, d, e, f, g, h, k, word)                                      \
	do {                                                                               \
		uint64_t t1 = (h) + (k) + (word) + ((g) ^ ((e) & ((f) ^ (g)))) +           \
			(rotate_right(e, 14) ^ rotate_right(e, 18) ^ rotate_right(e, 41)); \
		uint64_t t2 = (((a) & (b)) | ((c) & ((a) | (b)))) +                        \
			(rotate_right(a, 28) ^ rotate_right(a, 34) ^ rotate_right(a, 39)); \
		(d) += t1;                                                                 \
		(h) = t1 + t2;                                                             \
	} while (0)

#define SHA512_EIGHT_ROUNDS(k, word, w, n)                                            \
	do {                                                                          \
		SHA512_ROUND(a, b, c, d, e, f, g, h, (k)[(n) + 0], word(w, (n) + 0)); \
		SHA512_ROUND(h, a, b, c, d, e, f, g, (k)[(n) + 1], word(w, (n) + 1)); \
		SHA512_ROUND(g, h, a, b, c, d, e, f, (k)[(n) + 2], word(w, (n) + 2)); \
		SHA512_ROUND(f, g, h, a, b, c, d, e, (k)[(n) + 3], word(w, (n) + 3)); \
		SHA512_ROUND(e, f, g, h, a, b, c, d, (k)[(n) + 4], word(w, (n) + 4)); \
		SHA512_ROUND(d, e, f, g, h, a, b, c, (k)[(n) + 5], word(w, (n) + 5)); \
		SHA512_ROUND(c, d, e, f, g, h, a, b, (k)[(n) + 6], word(w, (n) + 6)); \
		SHA512_ROUND(b, c, d, e, f, g, h, a, (k)[(n) + 7], word(w, (n) + 7)); \
	} while (0)

#define LOADED_WORD(w, t) ((w)[t])

static void sha512_blocks(void *context, const uint8_t *data, size_t blocks)
{
	uint64_t *state = context;

	for (; blocks > 0; blocks--, data += SHA512_BLOCK) {
		uint64_t a = state[0], b = state[1], c = state[2], d = state[3];
		uint64_t e = state[4], f = state[5], g = state[6], h = state[7];
		uint64_t w[16];

		for (size_t t = 0; t < 16; t++)
			w[t] = load_be64(data + 8 * t);
		SHA512_EIGHT_ROUNDS(sha512_k, LOADED_WORD, w, 0);
		SHA512_EIGHT_ROUNDS(sha512_k, LOADED_WORD, w, 8);
		for (const uint64_t *k = sha512_k + 16; k < sha512_k + 80; k += 16) {
			SHA512_EIGHT_ROUNDS(k, SCHEDULE_WORD, w, 0);
			SHA512_EIGHT_ROUNDS(k, SCHEDULE_WORD, w, 8);
		}
		state[0] += a;
		state[1] += b;
		state[2] += c;
		state[3] += d;
		state[4] += e;
		state[5] += f;
		state[6] += g;
		state[7] += h;
	}
}

void sha512_init(struct sha512 *sha)
{
	/* Section 5.3.5. */
	static const uint64_t initial[8] = {
		0x6a09e667f3bcc908,
		0xbb67ae8584caa73b,
		0x3c6ef372fe94f82b,
		0xa54ff53a5f1d36f1,
		0x510e527fade682d1,
		0x9b05688c2b3e6c1f,
		0x1f83d9abfb41bd6b,
		0x5be0cd19137e2179,
	};

	memcpy(sha->state, initial, sizeof(initial));
	sha->length = 0;
}

static const struct hash_blocks sha512_hash = {
	.block = SHA512_BLOCK,
	.length_bytes = 16,
	.compress = sha512_blocks,
};

void sha512_update(struct sha512 *sha, const void *data, size_t length)
{
	hash_blocks_update(&sha512_hash, sha->state, sha->block, &sha->length, data, length);
}

void sha512_final(struct sha512 *sha, uint8_t ret_digest[SHA512_SIZE])
{
	hash_blocks_end(&sha512_hash, sha->state, sha->block, sha->length);
	for (size_t i = 0; i < 8; i++)
		store_be64(ret_digest + 8 * i, sha->state[i]);
}

void sha512_final_text(struct sha512 *sha, char ret_text[SHA512_TEXT_SIZE])
{
	uint8_t digest[SHA512_SIZE];

	sha512_final(sha, digest);
	hex_write(digest, sizeof(digest), ret_text);
}
