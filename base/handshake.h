/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The third part of TCP's handshake (RFC 9293, section 3.5), in place of a peer that leaves it out until it has data to
 * send: passt(1) of early 2023, which Debian 12 has. Without it a server that speaks first waits for ever.
 */
#ifndef APPC_BASE_HANDSHAKE_H
#define APPC_BASE_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

/* Ethernet, IPv6, TCP. */
#define HANDSHAKE_FRAME_MAX (14u + 40u + 20u)

/*
 * What a peer answers to this Ethernet frame where it is the second part of a handshake (SYN and ACK, without options
 * of IP): how long the answer is; 0: it is no such frame. Any bytes; checksums are not looked at, since a frame may be
 * without. Whoever had the answer already ignores it.
 */
size_t handshake_answer(
	const uint8_t *frame, size_t length, uint8_t ret_answer[HANDSHAKE_FRAME_MAX]);

#endif
