// SPDX-License-Identifier: Apache-2.0
/* frame_stream.c: see frame_stream.h. */
#include "base/frame_stream.h"

#include <endian.h>
#include <errno.h>
#include <net/ethernet.h>
#include <string.h>

void frame_stream_put_length(uint8_t place[FRAME_STREAM_PREFIX_SIZE], size_t length)
{
	uint32_t prefix = htobe32((uint32_t)length);

	memcpy(place, &prefix, sizeof(prefix));
}

int frame_stream_next(const uint8_t *data, size_t size, size_t most, size_t *ret_skip,
	size_t *ret_start, size_t *ret_length)
{
	uint32_t length;

	*ret_skip = 0;
	for (; size - *ret_skip >= FRAME_STREAM_PREFIX_SIZE;
		*ret_skip += FRAME_STREAM_PREFIX_SIZE) {
		memcpy(&length, data + *ret_skip, sizeof(length));
		length = be32toh(length);
		if (length < ETHER_HDR_LEN || length > most)
			return -EBADMSG;
		*ret_start = *ret_skip + FRAME_STREAM_PREFIX_SIZE;
		if (*ret_start == size)
			return 0;
		if (data[*ret_start] == 0)
			continue;
		*ret_length = length;
		return size - *ret_start >= length;
	}
	return 0;
}
