/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input for the one app of the pod that has it, in frames of the stream (wire/wire.h): our own standard input, or
 * what those send who attach, and the size of its terminal's window. One frame is on its way at a time: while the guest does not take it, nothing
 * more is read.
 */
#ifndef APPC_POD_INPUT_H
#define APPC_POD_INPUT_H

#include "wire/wire.h"

struct pod_input {
	bool is_open;    /* there is input to forward, or the end of it to tell */
	bool is_last;    /* the frame on its way is the last one */
	bool has_window; /* a size to tell, when there is room */
	struct wire_window window;
	struct {
		struct wire_stream_header header;
		char payload[WIRE_STREAM_MAX];
	} frame;
	size_t length, sent; /* of the frame with its header; 0: none is on its way */
};

/* What is to be waited for: input to read, and room in the stream. Never both. */
bool pod_input_can_read(const struct pod_input *input);
bool pod_input_can_send(const struct pod_input *input);

/* size bytes, more than none, have been put into the payload. */
void pod_input_put(struct pod_input *input, size_t size);

/* The window has another size. */
void pod_input_set_window(struct pod_input *input, uint16_t rows, uint16_t columns);

/* fd has input, or its end; stream_fd has room. Neither waits. */
void pod_input_read(struct pod_input *input, int fd);
void pod_input_send(struct pod_input *input, int stream_fd);

#endif
