/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames in a stream of bytes, each behind its length (4 bytes, big-endian), as passt(1) speaks it. The stream
 * may be cut anywhere.
 *
 * The passt of early 2023, which Debian 12 has, sends some frames by two calls that do not wait, the length by the
 * first; where there is room for that and none for the frame the length stands alone, and the next one behind it. That
 * can be told from a frame: those for a pod are to its own MAC address, whose first byte is 2, to a group, where it is
 * odd, or, as long as passt has not seen that address, to one of zeros, which is no length.
 */
#ifndef APPC_BASE_FRAME_STREAM_H
#define APPC_BASE_FRAME_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_STREAM_PREFIX_SIZE 4u

/*
 * Looks for the first frame in what came of the stream, size bytes. 1: it is there from *ret_start on with *ret_length
 * bytes, and bytes behind it are the next one's; 0: it is not there wholly; -EBADMSG: its length is over most or none of
 * an Ethernet frame, and nothing can be told of what follows. In any case but the last the first *ret_skip bytes are
 * lengths without a frame.
 */
int frame_stream_next(const uint8_t *data, size_t size, size_t most, size_t *ret_skip,
	size_t *ret_start, size_t *ret_length);

/* Writes a length. */
void frame_stream_put_length(uint8_t place[FRAME_STREAM_PREFIX_SIZE], size_t length);

#endif
