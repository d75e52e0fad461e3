/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal as the host, or who enters an app, asks for it. pty.h makes it. */
#ifndef APPC_GUEST_INIT_TERMINAL_H
#define APPC_GUEST_INIT_TERMINAL_H

#include "guest-init/field_reader.h"
#include "guest-init/pty.h"
#include "wire/wire.h"

/* A terminal that a process is to have; type is for TERM, NULL: none. */
struct guest_terminal {
	const char *type;
	struct guest_pty_size size;
	bool streams[WIRE_STREAM_STDIN +
		1]; /* by enum wire_stream: an app's that are the terminal */
};

/*
 * Reads the optional field "terminal" of what parent reads; where names it in messages. An app's has some of its
 * streams (has_streams), that of who enters has all. terminal is zeroed memory, and stays so without the field.
 */
void guest_terminal_parse(struct field_reader *parent, const char *where, bool has_streams,
	struct guest_terminal *terminal);

#endif
