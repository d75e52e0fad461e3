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

/* 1: a length of an Ethernet frame stands here; 0: it cannot be told yet; -EBADMSG: none does. */
static int get_length(const uint8_t *data, size_t size, size_t most, size_t *ret)
{
	uint32_t length;

	if (size < sizeof(length))
		return 0;
	memcpy(&length, data, sizeof(length));
	*ret = be32toh(length);
	return *ret < ETHER_HDR_LEN || *ret > most ? -EBADMSG : 1;
}

int frame_stream_next(const uint8_t *data, size_t size, size_t most, size_t *ret_skip,
	size_t *ret_start, size_t *ret_length)
{
	int r = get_length(data, size, most, ret_length);

	*ret_skip = 0;
	while (r > 0) {
		size_t next;

		*ret_start = *ret_skip + FRAME_STREAM_PREFIX_SIZE;
		if (*ret_start == size)
			return 0;
		/* A frame, or another length? */
		r = data[*ret_start] == 0
			? get_length(data + *ret_start, size - *ret_start, most, &next)
			: -EBADMSG;
		if (r < 0)
			return size - *ret_start >= *ret_length;
		if (r > 0) {
			*ret_skip = *ret_start;
			*ret_length = next;
		}
	}
	return r;
}
