/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An end of a TCP connection that cannot come before its data.
 *
 * passt(1) takes a FIN without data for the end even where data before it are missing: a frame that was lost, or what a
 * socket had no room for. It never takes what is sent again after that, and its peer sees an orderly end too early. With
 * a FIN that comes with data it waits for what is before them. So a FIN without data is given the last byte of its
 * connection once more, which any TCP may do (RFC 9293, section 3.8) and any TCP takes for what it is.
 *
 * Any but newer passt: to it such a segment behind data that it has is a keep-alive, whose FIN it does not look at. So
 * a FIN goes as it is once passt has acknowledged what is before it: at the latest when the pod's kernel sends it again.
 */
#ifndef APPC_BASE_TCP_END_H
#define APPC_BASE_TCP_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Connections whose last byte is known. One that is not, for another one in its place, ends as if this were not there. */
#define TCP_ENDS 512

struct tcp_connection {
	uint8_t addresses[32]; /* as they stand in the header; of IPv4 the first 8 */
	uint8_t ports[4];
	uint8_t version;
};

/* All zeros: nothing is known. */
struct tcp_ends {
	struct tcp_last_byte {
		struct tcp_connection connection;
		uint8_t byte;
		bool is_known;
		bool is_acknowledged;
		uint32_t next; /* the sequence number behind it */
	} items[TCP_ENDS];
};

/*
 * Looks at an Ethernet frame that is about to go to passt; any bytes. Returns its length, which is one more where it
 * ended a connection alone. size: what the frame has room for. Checksums are then whole.
 */
size_t tcp_end_carry(struct tcp_ends *ends, uint8_t *frame, size_t length, size_t size);

/* Looks at an Ethernet frame from passt, any bytes, for what it acknowledges. */
void tcp_end_hear(struct tcp_ends *ends, const uint8_t *frame, size_t length);

#endif
