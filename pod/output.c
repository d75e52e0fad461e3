// SPDX-License-Identifier: Apache-2.0
/* output.c: see output.h. */
#include "pod/output.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes written at once: with POLLOUT a pipe takes that many without blocking (pipe(7)). */
#define OUTPUT_CHUNK PIPE_BUF

int pod_output_fd(const struct pod_output *output)
{
	return output->header.stream == WIRE_STREAM_STDERR ? STDERR_FILENO : STDOUT_FILENO;
}

int pod_output_init(struct pod_output *output)
{
	size_t room = resolved_pod_room(output->resolved);

	output->logs = calloc(room, sizeof(output->logs[0]));
	if (!output->logs)
		return -ENOMEM;
	for (size_t i = 0; i < room; i++)
		output->logs[i] = APP_LOG_NONE;
	return 0;
}

void pod_output_forget(struct pod_output *output, size_t index)
{
	size_t last = output->resolved->app_count;

	app_log_close(&output->logs[index]);
	memmove(&output->logs[index], &output->logs[index + 1],
		(last - index) * sizeof(output->logs[0]));
	output->logs[last] = APP_LOG_NONE;
}

/* The app that a frame is of; -1: there is none. */
static ssize_t find_app(const struct pod_output *output)
{
	uint16_t number = le16toh(output->header.app);

	for (size_t i = 0; i < output->resolved->app_count; i++)
		if (output->resolved->apps[i].number == number)
			return (ssize_t)i;
	return -1;
}

void pod_output_done(struct pod_output *output)
{
	for (size_t i = 0; output->logs && i < output->resolved->app_count; i++)
		app_log_close(&output->logs[i]);
	free(output->logs);
}

bool pod_output_waits(const struct pod_output *output)
{
	return output->payload_length > 0 &&
		output->payload_length == le32toh(output->header.length) &&
		output->header_length == sizeof(output->header);
}

static void frame_finish(struct pod_output *output)
{
	output->header_length = output->payload_length = output->payload_written = 0;
}

void pod_output_write(struct pod_output *output)
{
	size_t left = output->payload_length - output->payload_written;
	ssize_t n;

	if (left > OUTPUT_CHUNK)
		left = OUTPUT_CHUNK;
	n = output->is_closed[output->header.stream]
		? (ssize_t)left
		: write(pod_output_fd(output), output->payload + output->payload_written, left);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		/* That nobody reads any more is a reader's right. */
		if (errno != EPIPE)
			log_warning("cannot write standard %s, and what follows is lost: %s",
				output->header.stream == WIRE_STREAM_STDOUT ? "output" : "error",
				strerror(errno));
		output->is_closed[output->header.stream] = true;
		return;
	}
	output->payload_written += (size_t)n;
	if (output->payload_written == output->payload_length)
		frame_finish(output);
}

static int header_check(struct pod_output *output, struct error *err)
{
	const struct wire_stream_header *header = &output->header;

	/* A frame of length 0 ends the stream. */
	if (header->length == 0) {
		output->is_at_end = true;
		return 0;
	}
	if (le32toh(header->length) > WIRE_STREAM_MAX ||
		(find_app(output) < 0 && !output->resolved->is_mutable) ||
		(header->stream != WIRE_STREAM_STDOUT && header->stream != WIRE_STREAM_STDERR))
		return error_set(err, -EBADMSG, "a malformed output frame");
	return 0;
}

static void write_log(struct pod_output *output, size_t index)
{
	const struct resolved_app *app = &output->resolved->apps[index];
	struct app_log *log = &output->logs[index];

	/* An interactive pod is a conversation, and what is said there is nobody else's. */
	if (output->log_size == 0 || output->resolved->interactive || log->is_broken)
		return;
	if (log->fd < 0) {
		int r = app_log_open(output->pod, app->name, output->log_size, log);

		log->is_broken = r < 0;
		if (r < 0)
			log_warning("app %s has no log: %s", app->name, strerror(-r));
	}
	app_log_write(log, output->header.stream, output->payload, output->payload_length);
}

/* A frame is whole: wherever it need not wait it goes now. */
static void frame_deliver(struct pod_output *output)
{
	ssize_t index = find_app(output);
	enum stream_mode mode;

	/* One that has been removed. */
	if (index < 0) {
		frame_finish(output);
		return;
	}
	mode = output->resolved->apps[index].stream_modes[output->header.stream];
	output->header.app = htole16((uint16_t)index);
	if (mode == STREAM_MODE_NONE || mode == STREAM_MODE_LOG)
		write_log(output, (size_t)index);
	if (mode != STREAM_MODE_NULL)
		output->attached(output->context, &output->header, output->payload);
	if (mode != STREAM_MODE_NONE)
		frame_finish(output);
}

static void note_first(struct pod_output *output)
{
	if (!output->first_at)
		output->first_at = clock_monotonic();
}

int pod_output_read(struct pod_output *output, int stream_fd, struct error *err)
{
	for (;;) {
		bool in_header = output->header_length < sizeof(output->header);
		char *to = in_header ? (char *)&output->header + output->header_length
				     : output->payload + output->payload_length;
		size_t want = in_header ? sizeof(output->header) - output->header_length
					: le32toh(output->header.length) - output->payload_length;
		ssize_t n = read(stream_fd, to, want);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			output->is_at_end = true;
			return 0;
		}
		if (!in_header) {
			output->payload_length += (size_t)n;
			note_first(output);
			if (!pod_output_waits(output))
				continue;
			frame_deliver(output);
			return 0;
		}
		output->header_length += (size_t)n;
		if (output->header_length == sizeof(output->header)) {
			r = header_check(output, err);
			if (r < 0 || output->is_at_end)
				return r;
		}
	}
}
