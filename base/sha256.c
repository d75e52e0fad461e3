// SPDX-License-Identifier: Apache-2.0
/*
 * sha256.c: SHA-256 as FIPS 180-4 section 6.2 describes it, and with the processor's instructions for it
 * where there are some (Intel SDM, SHA256RNDS2 and its kin).
 */
#include "base/sha256.h"

#include "base/hash_blocks.h"
#include "base/hex.h"

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* Section 4.2.2. */
static const uint32_t sha256_k[64] = {
	0x428a2f98,
	0x71374491,
	0xb5c0fbcf,
	0xe9b5dba5,
	0x3956c25b,
	0x59f111f1,
	0x923f82a4,
	0xab1c5ed5,
	0xd807aa98,
	0x12835b01,
	0x243185be,
	0x550c7dc3,
	0x72be5d74,
	0x80deb1fe,
	0x9bdc06a7,
	0xc19bf174,
	0xe49b69c1,
	0xefbe4786,
	0x0fc19dc6,
	0x240ca1cc,
	0x2de92c6f,
	0x4a7484aa,
	0x5cb0a9dc,
	0x76f988da,
	0x983e5152,
	0xa831c66d,
	0xb00327c8,
	0xbf597fc7,
	0xc6e00bf3,
	0xd5a79147,
	0x06ca6351,
	0x14292967,
	0x27b70a85,
	0x2e1b2138,
	0x4d2c6dfc,
	0x53380d13,
	0x650a7354,
	0x766a0abb,
	0x81c2c92e,
	0x92722c85,
	0xa2bfe8a1,
	0xa81a664b,
	0xc24b8b70,
	0xc76c51a3,
	0xd192e819,
	0xd6990624,
	0xf40e3585,
	0x106aa070,
	0x19a4c116,
	0x1e376c08,
	0x2748774c,
	0x34b0bcb5,
	0x391c0cb3,
	0x4ed8aa4a,
	0x5b9cca4f,
	0x682e6ff3,
	0x748f82ee,
	0x78a5636f,
	0x84c87814,
	0x8cc70208,
	0x90befffa,
	0xa4506ceb,
	0xbef9a3f7,
	0xc67178f2,
};

static inline uint32_t rotate_right(uint32_t x, unsigned int n)
{
	return x >> n | x << (32 - n);
}

static inline uint32_t load_be32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap32(value);
}

static inline void store_be32(uint8_t *bytes, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(bytes, &value, sizeof(value));
}

/* Section 6.2.2, step 1: the next sixteen words of the message schedule, in place of the last. */
#define SCHEDULE_WORD(w, t)                                                                       \
	((w)[t] += (rotate_right((w)[((t) + 14) & 15], 17) ^                                      \
			   rotate_right((w)[((t) + 14) & 15], 19) ^ (w)[((t) + 14) & 15] >> 10) + \
			(w)[((t) + 9) & 15] +                                                     \
			(rotate_right((w)[((t) + 1) & 15], 7) ^                                   \
				rotate_right((w)[((t) + 1) & 15], 18) ^ (w)[((t) + 1) & 15] >> 3))

/* One round; the caller rotates the names instead of the values. */
#define SHA256_ROUND(a, b, c, d, e, f, g, h, k, word)                                     \
	do {                                                                              \
		uint32_t t1 = (h) + (k) + (word) + ((g) ^ ((e) & ((f) ^ (g)))) +          \
			(rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)); \
		uint32_t t2 = (((a) & (b)) | ((c) & ((a) | (b)))) +                       \
			(rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)); \
		(d) += t1;                                                                \
		(h) = t1 + t2;                                                            \
	} while (0)

#define SHA256_EIGHT_ROUNDS(k, word, w, n)                                            \
	do {                                                                          \
		SHA256_ROUND(a, b, c, d, e, f, g, h, (k)[(n) + 0], word(w, (n) + 0)); \
		SHA256_ROUND(h, a, b, c, d, e, f, g, (k)[(n) + 1], word(w, (n) + 1)); \
		SHA256_ROUND(g, h, a, b, c, d, e, f, (k)[(n) + 2], word(w, (n) + 2)); \
		SHA256_ROUND(f, g, h, a, b, c, d, e, (k)[(n) + 3], word(w, (n) + 3)); \
		SHA256_ROUND(e, f, g, h, a, b, c, d, (k)[(n) + 4], word(w, (n) + 4)); \
		SHA256_ROUND(d, e, f, g, h, a, b, c, (k)[(n) + 5], word(w, (n) + 5)); \
		SHA256_ROUND(c, d, e, f, g, h, a, b, (k)[(n) + 6], word(w, (n) + 6)); \
		SHA256_ROUND(b, c, d, e, f, g, h, a, (k)[(n) + 7], word(w, (n) + 7)); \
	} while (0)

#define LOADED_WORD(w, t) ((w)[t])

static void sha256_blocks_portable(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
		uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
		uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
		uint32_t w[16];

		for (size_t t = 0; t < 16; t++)
			w[t] = load_be32(data + 4 * t);
		SHA256_EIGHT_ROUNDS(sha256_k, LOADED_WORD, w, 0);
		SHA256_EIGHT_ROUNDS(sha256_k, LOADED_WORD, w, 8);
		for (const uint32_t *k = sha256_k + 16; k < sha256_k + 64; k += 16) {
			SHA256_EIGHT_ROUNDS(k, SCHEDULE_WORD, w, 0);
			SHA256_EIGHT_ROUNDS(k, SCHEDULE_WORD, w, 8);
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

/* The instructions keep the state as the words ABEF and CDGH, the highest first. */
__attribute__((target("sha,sse4.1"))) static void sha256_blocks_instructions(
	uint32_t state[8], const uint8_t *data, size_t blocks)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
	__m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
	__m128i feba, dchg;

	for (; blocks > 0; blocks--, data += SHA256_BLOCK) {
		__m128i abef_before = abef, cdgh_before = cdgh;
		__m128i w[4]; /* four words each, of the last sixteen */

		for (size_t i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(
				_mm_loadu_si128((const __m128i *)(data + 16 * i)), big_endian);
#pragma GCC unroll 16
		for (size_t t = 0; t < 16; t++) {
			__m128i k = _mm_loadu_si128((const __m128i *)(sha256_k + 4 * t));
			__m128i sum = _mm_add_epi32(w[t % 4], k);

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
			if (t >= 12)
				continue;
			w[t % 4] = _mm_sha256msg2_epu32(
				_mm_add_epi32(_mm_sha256msg1_epu32(w[t % 4], w[(t + 1) % 4]),
					_mm_alignr_epi8(w[(t + 3) % 4], w[(t + 2) % 4], 4)),
				w[(t + 3) % 4]);
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	feba = _mm_shuffle_epi32(abef, 0x1b);
	dchg = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static void (*sha256_chosen)(uint32_t state[8], const uint8_t *data, size_t blocks);

static bool has_instructions(void)
{
	unsigned int a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA;
}

static void sha256_choose(void)
{
	sha256_chosen = has_instructions() ? sha256_blocks_instructions : sha256_blocks_portable;
}

static void sha256_blocks(void *state, const uint8_t *data, size_t blocks)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, sha256_choose);
	sha256_chosen(state, data, blocks);
}

void sha256_init(struct sha256 *sha)
{
	/* Section 5.3.3. */
	static const uint32_t initial[8] = {
		0x6a09e667,
		0xbb67ae85,
		0x3c6ef372,
		0xa54ff53a,
		0x510e527f,
		0x9b05688c,
		0x1f83d9ab,
		0x5be0cd19,
	};

	memcpy(sha->state, initial, sizeof(initial));
	sha->length = 0;
}

static const struct hash_blocks sha256_hash = {
	.block = SHA256_BLOCK,
	.length_bytes = 8,
	.compress = sha256_blocks,
};

void sha256_update(struct sha256 *sha, const void *data, size_t length)
{
	hash_blocks_update(&sha256_hash, sha->state, sha->block, &sha->length, data, length);
}

void sha256_final(struct sha256 *sha, uint8_t ret_digest[SHA256_SIZE])
{
	hash_blocks_end(&sha256_hash, sha->state, sha->block, sha->length);
	for (size_t i = 0; i < 8; i++)
		store_be32(ret_digest + 4 * i, sha->state[i]);
}

void sha256_final_text(struct sha256 *sha, char ret_text[SHA256_TEXT_SIZE])
{
	uint8_t digest[SHA256_SIZE];

	sha256_final(sha, digest);
	hex_write(digest, sizeof(digest), ret_text);
}
