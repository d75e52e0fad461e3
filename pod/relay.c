// SPDX-License-Identifier: Apache-2.0
/*
 * relay.c: see relay.h.
 *
 * Theory of operation: a buffer for each direction. From the tap comes a frame at a time, and the next is read when
 * that has gone; so what the socket has no room for waits in the tap, which drops what is too much, as any link does.
 * From the socket come bytes, whose whole frames are written to the tap.
 */
#include "pod/relay.h"

#include "base/child.h"
#include "base/error.h"
#include "base/frame_stream.h"
#include "base/handshake.h"
#include "base/tcp_end.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define PREFIX_SIZE FRAME_STREAM_PREFIX_SIZE

/* In the child. */
enum { RELAY_TAP = CHILD_FIRST_FD, RELAY_SOCKET };

struct buffer {
	uint8_t data[PREFIX_SIZE + RELAY_FRAME_MAX];
	size_t start, length;
};

static bool is_for_later(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* False: the socket's other end is gone. */
static bool send_rest(int fd, struct buffer *buffer)
{
	ssize_t n =
		send(fd, buffer->data + buffer->start, buffer->length, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return error_is_of_moment(-errno);
	buffer->start += (size_t)n;
	buffer->length -= (size_t)n;
	return true;
}

/* What passt leaves out, in front of what it says later. */
static void complete_handshake(int tap_fd, const uint8_t *frame, size_t length)
{
	uint8_t answer[HANDSHAKE_FRAME_MAX];
	size_t answer_length = handshake_answer(frame, length, answer);

	while (answer_length > 0 && write(tap_fd, answer, answer_length) < 0 && errno == EINTR)
		;
}

/* False: the tap is gone. */
static bool tap_ready(int tap_fd, int socket_fd, struct buffer *buffer, struct tcp_ends *ends)
{
	uint8_t *frame = buffer->data + PREFIX_SIZE;
	ssize_t n = read(tap_fd, frame, RELAY_FRAME_MAX);
	size_t length;

	if (n <= 0)
		return is_for_later(n);
	length = tcp_end_carry(ends, frame, (size_t)n, RELAY_FRAME_MAX);
	frame_stream_put_length(buffer->data, length);
	buffer->start = 0;
	buffer->length = PREFIX_SIZE + length;
	if (!send_rest(socket_fd, buffer))
		return false;
	complete_handshake(tap_fd, frame, length);
	return true;
}

/* Frames that are whole; one that the tap does not take is lost. False: what comes is no frame. */
static bool write_frames(int tap_fd, struct buffer *buffer, struct tcp_ends *ends)
{
	size_t skip, start, length;
	int r;

	for (;;) {
		const uint8_t *at = buffer->data + buffer->start;

		r = frame_stream_next(at, buffer->length, RELAY_FRAME_MAX, &skip, &start, &length);
		if (r < 0)
			return false;
		if (r > 0) {
			tcp_end_hear(ends, at + start, length);
			while (write(tap_fd, at + start, length) < 0 && errno == EINTR)
				;
		}
		buffer->start += r > 0 ? start + length : skip;
		buffer->length -= r > 0 ? start + length : skip;
		if (r == 0)
			break;
	}
	memmove(buffer->data, buffer->data + buffer->start, buffer->length);
	buffer->start = 0;
	return true;
}

static bool socket_ready(int tap_fd, int socket_fd, struct buffer *buffer, struct tcp_ends *ends)
{
	ssize_t n = recv(socket_fd, buffer->data + buffer->length,
		sizeof(buffer->data) - buffer->length, MSG_DONTWAIT);

	if (n <= 0)
		return is_for_later(n);
	buffer->length += (size_t)n;
	return write_frames(tap_fd, buffer, ends);
}

void relay_run(int tap_fd, int socket_fd)
{
	static struct buffer out, in;
	static struct tcp_ends ends;
	bool goes_on = true;

	out.length = in.length = in.start = 0;
	ends = (struct tcp_ends){0};
	while (goes_on) {
		struct pollfd fds[] = {
			{.fd = out.length ? -1 : tap_fd, .events = POLLIN},
			{.fd = socket_fd,
				.events = (short)(out.length ? POLLIN | POLLOUT : POLLIN)},
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents & POLLOUT)
			goes_on = send_rest(socket_fd, &out);
		if (goes_on && fds[1].revents & ~POLLOUT)
			goes_on = socket_ready(tap_fd, socket_fd, &in, &ends);
		if (goes_on && fds[0].revents)
			goes_on = tap_ready(tap_fd, socket_fd, &out, &ends);
	}
}

int relay_start(int tap_fd, int socket_fd, pid_t *ret, struct error *err)
{
	pid_t pid = child_fork_unprivileged((const int[]){tap_fd, socket_fd}, 2);

	if (pid == 0) {
		relay_run(RELAY_TAP, RELAY_SOCKET);
		_exit(0);
	}
	if (pid < 0)
		return error_set_errno(err, (int)pid, "cannot make a process for the network");
	*ret = pid;
	return 0;
}
