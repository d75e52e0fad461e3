/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the SHA family has in common (FIPS 180-4, section 5): input in blocks, and the padding of the last one.
 */
#ifndef APPC_BASE_HASH_BLOCKS_H
#define APPC_BASE_HASH_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BLOCK_MAX 128

struct hash_blocks {
	size_t block;        /* bytes, at most HASH_BLOCK_MAX */
	size_t length_bytes; /* of the message's length behind the padding: 8 or 16 */
	void (*compress)(void *state, const uint8_t *data, size_t blocks);
};

/* Adds size bytes. *length has counted all bytes so far, and the last *length % block of them are in buffer. */
void hash_blocks_update(const struct hash_blocks *hash, void *state, uint8_t *buffer,
	uint64_t *length, const void *data, size_t size);

/* Adds a one bit, zeros and the length in bits. */
void hash_blocks_end(
	const struct hash_blocks *hash, void *state, const uint8_t *buffer, uint64_t length);

#endif
