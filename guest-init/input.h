/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard input of the pod's one interactive app: frames of the stream port into its pipe, or its terminal.
 *
 * While the app does not read, its pipe is full and the port is left unread, and so is the host's own input.
 * For the one thread of PID 1; nothing here waits.
 */
#ifndef APPC_GUEST_INIT_INPUT_H
#define APPC_GUEST_INIT_INPUT_H

#include "guest-init/guest.h"

struct guest_input {
	int pipe_fd;      /* our end, non-blocking; -1: not open yet, or closed for good */
	bool is_terminal; /* it is a terminal's master */
	bool is_open;     /* it was opened: from then on the port is read */
	bool is_readable; /* the port may have data */
	bool is_writable; /* the pipe may take some */
	struct wire_stream_header header;
	size_t header_length;
	char payload[WIRE_STREAM_MAX];
	size_t length, written; /* of the payload of this frame */
	bool has_ended;
};

#define GUEST_INPUT_NONE ((struct guest_input){.pipe_fd = -1})

/* Makes the pipe and watches our end. Returns the app's end, or -errno. */
int guest_input_open(struct guest_input *input, const struct guest *guest);

/* The same with a terminal's master, non-blocking, which is taken over on success. 0 or -errno. */
int guest_input_open_terminal(struct guest_input *input, const struct guest *guest, int master);

/* The app will not read any more; what still comes goes nowhere. */
void guest_input_close(struct guest_input *input);

/* Events of the port and of the pipe, both watched edge-triggered. */
void guest_input_port_ready(struct guest_input *input);
void guest_input_pipe_ready(struct guest_input *input);

/* Moves what can be moved. 0, or -EBADMSG: what the host sends is no input. */
int guest_input_pump(struct guest_input *input, int port_fd);

#endif
