// SPDX-License-Identifier: Apache-2.0
/*
 * stream.c: see stream.h.
 *
 * Theory of operation: one poll loop over two flows, each with a buffer that is filled when it is empty. Standard streams are
 * others', too, and so stay blocking: they are read and written when poll(2) says so, and written in pieces that a pipe
 * takes without blocking (pipe(7)).
 */
#include "pod/stream.h"

#include "base/cleanup.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK PIPE_BUF

struct flow {
	char data[16 << 10];
	size_t start, length;
	bool has_ended; /* nothing comes any more */
};

struct stream {
	int fd;
	bool is_shut; /* the other end knows that our input has ended */
	struct flow input, output;
};

static void flow_fill(struct flow *flow, int fd)
{
	ssize_t n = read(fd, flow->data, sizeof(flow->data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* What cannot be read has ended. */
	flow->has_ended = n <= 0;
	flow->start = 0;
	flow->length = n > 0 ? (size_t)n : 0;
}

static void flow_take(struct flow *flow, ssize_t n)
{
	if (n < 0)
		return;
	flow->start += (size_t)n;
	flow->length -= (size_t)n;
}

static void stream_send(struct stream *stream)
{
	struct flow *input = &stream->input;
	ssize_t n = send(
		stream->fd, input->data + input->start, input->length, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* Nobody hears it. What was said before shows when we read. */
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		input->length = 0;
		input->has_ended = true;
	}
	flow_take(input, n);
}

static int stream_write(struct stream *stream, struct error *err)
{
	struct flow *output = &stream->output;
	ssize_t n = write(STDOUT_FILENO, output->data + output->start,
		output->length < CHUNK ? output->length : CHUNK);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return error_set_errno(err, -errno, "standard output");
	flow_take(output, n);
	return 0;
}

static int stream_turn(struct stream *stream, struct error *err)
{
	enum { CONNECTION, INPUT, OUTPUT, SOURCES };
	bool sends = stream->input.length > 0, writes = stream->output.length > 0;
	short wanted =
		(short)((writes || stream->output.has_ended ? 0 : POLLIN) | (sends ? POLLOUT : 0));
	struct pollfd fds[SOURCES] = {
		/* A connection that has ended would be told again and again. */
		[CONNECTION] = {.fd = wanted ? stream->fd : -1, .events = wanted},
		[INPUT] = {.fd = sends || stream->input.has_ended ? -1 : STDIN_FILENO,
			.events = POLLIN},
		/* Without an event to wait for: that its reader is gone. */
		[OUTPUT] = {.fd = STDOUT_FILENO, .events = writes ? POLLOUT : 0},
	};

	if (poll(fds, SOURCES, -1) < 0)
		return errno == EINTR ? 0 : error_set_errno(err, -errno, "poll");
	if (fds[CONNECTION].revents && sends)
		stream_send(stream);
	if (fds[CONNECTION].revents & ~POLLOUT && wanted & POLLIN)
		flow_fill(&stream->output, stream->fd);
	if (fds[INPUT].revents)
		flow_fill(&stream->input, STDIN_FILENO);
	if (fds[OUTPUT].revents & POLLOUT)
		return stream_write(stream, err);
	return fds[OUTPUT].revents ? error_set_errno(err, -EPIPE, "standard output") : 0;
}

int pod_stream_run(int fd, const char *begun, size_t length, struct error *err)
{
	struct stream stream = {.fd = fd, .output.length = length};
	int r = 0;

	if (length > sizeof(stream.output.data))
		return error_set_errno(err, -EMSGSIZE, "what the connection begins with");
	if (length > 0)
		memcpy(stream.output.data, begun, length);
	signal(SIGPIPE, SIG_IGN);
	while (r == 0 && (stream.output.length > 0 || !stream.output.has_ended)) {
		if (stream.input.has_ended && stream.input.length == 0 && !stream.is_shut) {
			shutdown(fd, SHUT_WR);
			stream.is_shut = true;
		}
		r = stream_turn(&stream, err);
	}
	return r;
}
