/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4), for the digests of OCI and Docker images. Plain memory: nothing to free, any
 * thread. Not for secrets: no care is taken to clear memory.
 */
#ifndef APPC_BASE_SHA256_H
#define APPC_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE      32
#define SHA256_BLOCK     64
#define SHA256_TEXT_SIZE (2 * SHA256_SIZE + 1)

struct sha256 {
	uint32_t state[8];
	uint64_t length; /* bytes so far */
	uint8_t block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *data, size_t length);
/* Ends the computation; sha must be initialised again before its next use. */
void sha256_final(struct sha256 *sha, uint8_t ret_digest[SHA256_SIZE]);
/* The same as text: 64 lower-case hexadecimal digits and a NUL. */
void sha256_final_text(struct sha256 *sha, char ret_text[SHA256_TEXT_SIZE]);

#endif
