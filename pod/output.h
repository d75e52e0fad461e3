/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the apps write, on its way from the stream (wire/wire.h) to where its mode says (pod/stream_mode.h):
 * our standard output and error, the pod's log, those who attach.
 *
 * One frame at a time: while our own output cannot take it, the stream is not to be read, so that
 * the guest's queue fills and the app waits, as it would on a terminal. As with "| head", output that
 * nobody reads any more goes nowhere and the pod goes on. Nothing else makes an app wait: not the log, not a
 * slow reader that is attached. What the stream carries is checked as device input.
 */
#ifndef APPC_POD_OUTPUT_H
#define APPC_POD_OUTPUT_H

#include "base/error.h"
#include "pod/app_log.h"
#include "pod/resolve.h"

struct pod_output {
	const struct pod *pod;               /* borrowed, as is resolved */
	const struct resolved_pod *resolved; /* whose apps write */
	uint64_t log_size;                   /* bytes of each app's log; 0: none is kept */
	struct app_log *logs;                /* of each app, from its first output on */
	/* Told of each frame in a mode that one can attach to, whole. */
	void (*attached)(
		void *context, const struct wire_stream_header *header, const char *payload);
	void *context;
	bool is_at_end;   /* no more will be read */
	int64_t first_at; /* CLOCK_MONOTONIC of the first byte, nanoseconds; 0: none yet */

	/* The frame on its way. */
	struct wire_stream_header header;
	size_t header_length;
	char payload[WIRE_STREAM_MAX];
	size_t payload_length, payload_written;
	bool is_closed[3]; /* by enum wire_stream: nobody reads it any more */
};

/* The first fields are set; 0 or -ENOMEM. Done by pod_output_done(), whichever it was. */
int pod_output_init(struct pod_output *output);
void pod_output_done(struct pod_output *output);

/* An app has been taken out of the resolved pod: those behind it have moved up. What of its output comes yet is lost. */
void pod_output_forget(struct pod_output *output, size_t index);

/* Whether a frame waits for pod_output_fd() to take it; else the stream may be read. */
bool pod_output_waits(const struct pod_output *output);
int pod_output_fd(const struct pod_output *output);

/* That fd can take a piece. */
void pod_output_write(struct pod_output *output);

/*
 * The stream has something: reads up to the end of one frame, without waiting. -EBADMSG with a message:
 * the other end broke the rules.
 */
int pod_output_read(struct pod_output *output, int stream_fd, struct error *err);

#endif
