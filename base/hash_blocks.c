// SPDX-License-Identifier: Apache-2.0
/* hash_blocks.c: input in blocks, and the padding of the last one. */
#include "base/hash_blocks.h"

#include <string.h>

void hash_blocks_update(const struct hash_blocks *hash, void *state, uint8_t *buffer,
	uint64_t *length, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	size_t used = *length % hash->block;
	size_t blocks;

	if (size == 0)
		return;
	*length += size;
	if (used > 0) {
		size_t part = hash->block - used;

		if (part > size)
			part = size;
		memcpy(buffer + used, bytes, part);
		bytes += part;
		size -= part;
		if (used + part < hash->block)
			return;
		hash->compress(state, buffer, 1);
	}
	blocks = size / hash->block;
	hash->compress(state, bytes, blocks);
	bytes += blocks * hash->block;
	memcpy(buffer, bytes, size % hash->block);
}

void hash_blocks_end(
	const struct hash_blocks *hash, void *state, const uint8_t *buffer, uint64_t length)
{
	uint8_t tail[2 * HASH_BLOCK_MAX] = {0};
	size_t used = length % hash->block;
	size_t padded = used < hash->block - hash->length_bytes ? hash->block : 2 * hash->block;

	memcpy(tail, buffer, used);
	tail[used] = 0x80;
	/* In bits, the highest byte first; the upper three bits are beyond the lower eight bytes. */
	for (size_t i = 0; i < 8; i++)
		tail[padded - 1 - i] = (uint8_t)(length << 3 >> (8 * i));
	if (hash->length_bytes > 8)
		tail[padded - 9] = (uint8_t)(length >> 61);
	hash->compress(state, tail, padded / hash->block);
}
