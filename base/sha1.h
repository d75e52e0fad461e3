/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-1 (FIPS 180-4), because the fingerprint of an OpenPGP version 4 key is one. It protects nothing
 * by itself: collisions can be made. Pure; any thread.
 */
#ifndef APPC_BASE_SHA1_H
#define APPC_BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE  20
#define SHA1_BLOCK 64

struct sha1 {
	uint32_t state[5];
	uint64_t length; /* bytes so far */
	uint8_t block[SHA1_BLOCK];
};

void sha1_init(struct sha1 *sha);
void sha1_update(struct sha1 *sha, const void *data, size_t length);
/* Ends the computation; sha must be initialised again before its next use. */
void sha1_final(struct sha1 *sha, uint8_t ret_digest[SHA1_SIZE]);

#endif
