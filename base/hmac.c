// SPDX-License-Identifier: Apache-2.0
/* hmac.c: a message authentication code from SHA-512. */
#include "base/hmac.h"

#include <string.h>

#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

void hmac_sha512_init(struct hmac_sha512 *hmac, const void *key, size_t length)
{
	uint8_t block[SHA512_BLOCK] = {0};

	sha512_init(&hmac->inner);
	if (length > sizeof(block)) {
		sha512_update(&hmac->inner, key, length);
		sha512_final(&hmac->inner, block);
		sha512_init(&hmac->inner);
	} else if (length > 0) {
		memcpy(block, key, length);
	}
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= INNER_PAD;
	sha512_update(&hmac->inner, block, sizeof(block));
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= INNER_PAD ^ OUTER_PAD;
	sha512_init(&hmac->outer);
	sha512_update(&hmac->outer, block, sizeof(block));
	explicit_bzero(block, sizeof(block));
}

void hmac_sha512_update(struct hmac_sha512 *hmac, const void *data, size_t length)
{
	sha512_update(&hmac->inner, data, length);
}

void hmac_sha512_final(struct hmac_sha512 *hmac, uint8_t ret_code[SHA512_SIZE])
{
	sha512_final(&hmac->inner, ret_code);
	sha512_update(&hmac->outer, ret_code, SHA512_SIZE);
	sha512_final(&hmac->outer, ret_code);
	explicit_bzero(hmac, sizeof(*hmac));
}

bool memory_is_equal(const void *a, const void *b, size_t length)
{
	const volatile uint8_t *left = a, *right = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= left[i] ^ right[i];
	return difference == 0;
}
