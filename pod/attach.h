/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching to the standard streams of a running pod's apps, through its socket (pod/request.h).
 *
 * Who attaches asks for it in one message: {"type": "attach", "app": NAME, "streams": ["stdin", "stdout",
 * "stderr"]}, with what he wants of the streams. The answer is {"type": "attached", "terminal": [...]} and the connection stays; or
 * {"type": "refused", "message": TEXT}; or where no stream was asked for {"type": "streams", "streams": [...],
 * "terminal": [...]} with those that are there to be attached to, and those that are the app's terminal. From then on
 * each packet of this SOCK_SEQPACKET connection is a struct wire_stream_header and its payload: to the client output,
 * from it input (WIRE_STREAM_STDIN) and, where one of his streams is the terminal, the size of his window
 * (WIRE_STREAM_WINDOW), which becomes the terminal's. A header without a
 * stream (0) tells how many bytes of output were left out because the client was too slow, as 8 bytes,
 * little-endian. It ends with the pod, or when the client hangs up; neither ends the app's input.
 *
 * Functions return 0 or -errno. One thread at each end.
 */
#ifndef APPC_POD_ATTACH_H
#define APPC_POD_ATTACH_H

#include "pod/pod.h"
#include "pod/resolve.h"

/* At the same time. */
#define ATTACHMENTS_MAX 8

/* ---- the process that runs the pod */

struct attachment {
	int fd; /* -1: none */
	size_t app;
	bool streams[STREAM_MODES];
	bool has_terminal; /* among them */
	bool has_gone;     /* takes nothing any more */
	uint64_t lost;     /* bytes that have not been told of */
};

struct pod_attachments {
	struct attachment items[ATTACHMENTS_MAX];
};

void pod_attachments_init(struct pod_attachments *attachments);
void pod_attachments_close(struct pod_attachments *attachments);

/* Answers a request to attach, and keeps its connection (which it takes) where that is possible. */
void pod_attachments_add(struct pod_attachments *attachments, const struct resolved_pod *resolved,
	json_t *message, int fd);

/* An app is not there any more: ends what was attached to it, and knows the others by their new places. */
void pod_attachments_forget(struct pod_attachments *attachments, size_t app);

/* Passes output on to those who want it and keep up. */
void pod_attachments_write(struct pod_attachments *attachments,
	const struct wire_stream_header *header, const char *payload);

/* Tells of what was lost, where there is room: what a connection with lost > 0 may be polled for. */
void pod_attachment_tell_lost(struct attachment *attachment);

/*
 * A connection has something: WIRE_STREAM_STDIN with so many bytes of input, WIRE_STREAM_WINDOW with a struct
 * wire_window, or 0: nothing, or its end. buffer has room for WIRE_STREAM_MAX bytes.
 */
enum wire_stream pod_attachment_read(
	struct attachment *attachment, char *buffer, size_t *ret_length);

/* ---- the other end */

struct attach_request {
	const char *app; /* NULL: the pod's only one */
	bool streams[STREAM_MODES];
};

/* The connection, and which of the app's streams are its terminal. -errno with a message. */
int pod_attach(const struct pod *pod, const struct attach_request *request,
	bool ret_terminal[STREAM_MODES], struct error *err);

/*
 * Which streams of the app of the request are there to be attached to: into request->streams; and which of its streams
 * are its terminal.
 */
int pod_attach_list(const struct pod *pod, struct attach_request *request,
	bool ret_terminal[STREAM_MODES], struct error *err);

#endif
