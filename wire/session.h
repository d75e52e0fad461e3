/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: connections from a client on the host to guest-init, one for each thing that somebody wants of a
 * running pod.
 *
 * A client connects to the socket "vsock" in the pod's directory and says WIRE_SESSION_GREETING; the answer is a
 * line that begins with "OK ". In a VM the vsock device takes these lines (virtio/vsock.h) and leads on to port
 * WIRE_SESSION_PORT of the guest; in a container guest-init has the socket itself. What follows is the same:
 * frames, each a struct wire_session_header and its payload. The first is the client's REQUEST, a JSON object whose
 * "type" says what it wants and so what the rest of the session is. Both ends treat the other as hostile: a frame
 * of unknown kind, of a kind that is not the sender's, or of a wrong length ends the session.
 *
 * "enter": a process beside those of an app, and like them.
 *   app          string, its name; it must be running
 *   exec         array of strings; empty: the shell of the user in the image's /etc/passwd, or /bin/sh
 *   user, group  strings as an app's (wire.h); absent: the app's. A user without a group has that of
 *                /etc/passwd, or else the app's
 *   terminal     {"type": string for TERM, "rows", "columns": 0-65535}; absent: three pipes
 * Then, from the client: INPUT, RESIZE, SIGNAL in any order. From the guest: OUTPUT, ERRORS, CREDIT; last, and once,
 * RESULT: {"status": 0-255} as in wire.h's "exited", or {"message": why there is no process, or no status}.
 * INPUT of length 0 ends the input. The client sends at most WIRE_SESSION_INPUT_MAX bytes of INPUT more than it got
 * CREDIT for, so that SIGNAL never waits behind input which nobody reads.
 * A client that goes ends its process.
 *
 * "usage": what the pod and its apps have used. There is no more to say; the guest's one frame is USAGE, as in
 * wire/usage.h.
 *
 * "ssh": a connection to an ssh server of its own, in the debug tree (pod/debug_tree.h).
 *   tree             string: name of the tree, a directory of WIRE_TREE/WIRE_DEBUG
 *   host_key         string: the server's private key, as the server keeps it, in base 64
 *   authorized_keys  string: who may log in, as the file of that name
 * The answer is RESULT with a message, or STREAM. From there on the connection is the server's: bytes without frames, in both
 * directions, until one end closes it. The client says nothing before STREAM.
 */
#ifndef APPC_WIRE_SESSION_H
#define APPC_WIRE_SESSION_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_SESSION_PORT     1
#define WIRE_SESSION_GREETING "CONNECT 1\n"
#define WIRE_SESSION_ANSWER   "OK "

/* Sessions of a pod at once; more are closed without an answer. */
#define WIRE_SESSIONS_MAX 256

/* Bytes of payloads. */
#define WIRE_SESSION_REQUEST_MAX (128u << 10)
#define WIRE_SESSION_DATA_MAX    (16u << 10)
#define WIRE_SESSION_RESULT_MAX  (4u << 10)
#define WIRE_SESSION_USAGE_MAX   (64u << 10)

/* Bytes of the keys in an "ssh" request. */
#define WIRE_SESSION_HOST_KEY_MAX   1024
#define WIRE_SESSION_AUTHORIZED_MAX 4096

/* Bytes of input that may be on their way. */
#define WIRE_SESSION_INPUT_MAX (32u << 10)

enum wire_session_kind {
	/* from the client */
	WIRE_SESSION_REQUEST = 1, /* JSON */
	WIRE_SESSION_INPUT,
	WIRE_SESSION_RESIZE, /* struct wire_session_size */
	WIRE_SESSION_SIGNAL, /* one byte: its number, for the process group */
	/* from the guest */
	WIRE_SESSION_OUTPUT,
	WIRE_SESSION_ERRORS, /* standard error */
	WIRE_SESSION_CREDIT, /* 4 bytes, little-endian: so many bytes of input more */
	WIRE_SESSION_RESULT, /* JSON */
	WIRE_SESSION_USAGE,  /* JSON */
	WIRE_SESSION_STREAM, /* no payload: what follows is no frame */
	WIRE_SESSION_KINDS,
};

struct wire_session_header {
	uint32_t length; /* little-endian */
	uint8_t kind;
	uint8_t reserved[3]; /* 0 */
};

struct wire_session_size {
	uint16_t rows, columns; /* little-endian */
};

/* The header of a frame. */
struct wire_session_header wire_session_header(enum wire_session_kind kind, size_t length);

enum wire_session_sender { WIRE_SESSION_CLIENT, WIRE_SESSION_GUEST };

/* A read that gives less has taken all that there was. */
#define WIRE_SESSION_READ_MIN (4u << 10)

/* Frames of one sender, out of bytes as they come. Memory grows with the bytes received only. */
struct wire_session_reader {
	enum wire_session_sender sender;
	char *buffer;
	size_t start, length, room; /* of what has come and was not taken */
};

struct wire_session_frame {
	enum wire_session_kind kind;
	const char *data; /* in the reader, until it is used again */
	size_t length;
};

void wire_session_reader_init(struct wire_session_reader *reader, enum wire_session_sender sender);
void wire_session_reader_done(struct wire_session_reader *reader);

/*
 * Reads what fd has, once. The number of bytes, 0 at its end, -errno (-EAGAIN: nothing now). Call
 * wire_session_reader_next() until it returns 0 after each.
 */
ssize_t wire_session_reader_fill(struct wire_session_reader *reader, int fd);

/* The next whole frame: 1; 0 when it is not there yet; -EBADMSG: the sender broke the rules. */
int wire_session_reader_next(struct wire_session_reader *reader, struct wire_session_frame *ret);

/* Bytes that have come behind the last frame. *ret is in the reader, until it is used again. */
size_t wire_session_reader_rest(const struct wire_session_reader *reader, const char **ret);

#endif
