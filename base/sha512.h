/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-512 (FIPS 180-4), for image ids and tree hashes. Plain memory: nothing to free, any thread.
 * It takes no care to clear memory: what hashes secrets clears its struct (hmac.h).
 */
#ifndef APPC_BASE_SHA512_H
#define APPC_BASE_SHA512_H

#include <stddef.h>
#include <stdint.h>

#define SHA512_SIZE      64
#define SHA512_BLOCK     128
#define SHA512_TEXT_SIZE (2 * SHA512_SIZE + 1)

struct sha512 {
	uint64_t state[8];
	uint64_t length; /* bytes so far; 2^61 bytes are more than any input here */
	uint8_t block[SHA512_BLOCK];
};

void sha512_init(struct sha512 *sha);
void sha512_update(struct sha512 *sha, const void *data, size_t length);
/* Ends the computation; sha must be initialised again before its next use. */
void sha512_final(struct sha512 *sha, uint8_t ret_digest[SHA512_SIZE]);
/* The same as text: 128 lower-case hexadecimal digits and a NUL. */
void sha512_final_text(struct sha512 *sha, char ret_text[SHA512_TEXT_SIZE]);

#endif
