// SPDX-License-Identifier: Apache-2.0
/*
 * output.c: pipes into stream frames.
 *
 * Theory of operation: every pipe has one buffer with room for a frame header before the data, so
 * that a frame goes out with one write() and no copy. Events are edge-triggered and only set flags;
 * all work happens in guest_output_pump(), which stops at the first frame that the port does not
 * take whole. From then on no pipe is read, which costs no system call at all: the pipes fill up
 * and their writers block, until the port's event clears the flag.
 */
#include "guest-init/output.h"

#include "base/error.h"

#include "guest-init/guest.h"
#include "guest-init/port.h"
#include "wire/wire.h"

#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * How long the start of a line waits for its rest. With other apps about it is worth a while: a slow
 * machine must not make their lines mix.
 */
#define HOLD_ALONE_MS 50
#define HOLD_AMONG_MS 1000

int guest_output_add(struct guest_output *output, struct guest_output_pipe *pipe, int fd,
	uint16_t app, uint8_t stream)
{
	struct guest_output_pipe **pipes =
		reallocarray(output->pipes, output->pipe_count + 1, sizeof(*pipes));

	if (!pipes)
		return -ENOMEM;
	output->pipes = pipes;
	*pipe = (struct guest_output_pipe){.fd = -1, .app = app, .stream = stream};
	pipe->buffer = malloc(sizeof(struct wire_stream_header) + WIRE_STREAM_MAX);
	if (!pipe->buffer)
		return -ENOMEM;
	pipe->fd = fd;
	output->pipes[output->pipe_count++] = pipe;
	return 0;
}

void guest_output_remove(struct guest_output *output, struct guest_output_pipe *pipe)
{
	for (size_t i = 0; i < output->pipe_count; i++) {
		if (output->pipes[i] != pipe)
			continue;
		output->pipe_count--;
		memmove(&output->pipes[i], &output->pipes[i + 1],
			(output->pipe_count - i) * sizeof(*output->pipes));
		break;
	}
	free(pipe->buffer);
	*pipe = (struct guest_output_pipe){.fd = -1};
}

void guest_output_set_terminal(struct guest_output_pipe *pipe, int fd)
{
	close(pipe->fd);
	pipe->fd = fd;
	pipe->is_terminal = true;
	pipe->is_hung_up = false;
}

void guest_output_pipe_ready(struct guest_output_pipe *pipe, uint32_t events)
{
	pipe->is_readable = pipe->fd >= 0;
	if (events & (EPOLLHUP | EPOLLERR))
		pipe->is_hung_up = true;
}

void guest_output_port_ready(struct guest_output *output)
{
	output->is_blocked = false;
}

void guest_output_finish(struct guest_output_pipe *pipe)
{
	pipe->is_readable = pipe->fd >= 0;
	pipe->is_last_read = true;
}

bool guest_output_is_finished(const struct guest_output_pipe *pipe)
{
	return pipe->fd < 0 && pipe->length == 0;
}

static char *pipe_data(const struct guest_output_pipe *pipe)
{
	return pipe->buffer + sizeof(struct wire_stream_header);
}

static void pipe_read(const struct guest_output *output, struct guest_output_pipe *pipe)
{
	size_t room = WIRE_STREAM_MAX - pipe->length;
	ssize_t n;

	do
		n = read(pipe->fd, pipe_data(pipe) + pipe->length, room);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		pipe->length += (size_t)n;
		/*
		 * A short read has emptied the pipe and later data makes a new event, but the end
		 * of the pipe may have been announced already. A terminal gives what it has in pieces.
		 */
		if ((size_t)n < room && !pipe->is_hung_up && !pipe->is_last_read &&
			!pipe->is_terminal)
			pipe->is_readable = false;
		return;
	}
	pipe->is_readable = false;
	if (n < 0 && errno == EAGAIN && !pipe->is_last_read)
		return;
	if (!output->is_leaving)
		close(pipe->fd);
	pipe->fd = -1;
}

static uint64_t hold_ms(const struct guest_output *output)
{
	return output->is_shared ? HOLD_AMONG_MS : HOLD_ALONE_MS;
}

/* How many bytes to send now; 0: wait for the rest of the line. */
static size_t pipe_choose_frame(
	const struct guest_output *output, struct guest_output_pipe *pipe, bool was_read)
{
	char *newline;
	uint64_t now;

	if (pipe->length == 0 || pipe->fd < 0) {
		pipe->flush_at_ms = 0;
		return pipe->length;
	}
	newline = memrchr(pipe_data(pipe), '\n', pipe->length);
	if (pipe->is_terminal)
		return pipe->length;
	if (newline || pipe->length == WIRE_STREAM_MAX) {
		pipe->flush_at_ms = 0;
		return newline ? (size_t)(newline + 1 - pipe_data(pipe)) : pipe->length;
	}
	now = guest_now_ms();
	if (was_read || pipe->flush_at_ms == 0)
		pipe->flush_at_ms = now + hold_ms(output);
	if (now < pipe->flush_at_ms)
		return 0;
	pipe->flush_at_ms = 0;
	return pipe->length;
}

static void pipe_frame_done(const struct guest_output *output, struct guest_output_pipe *pipe)
{
	pipe->length -= pipe->frame;
	memmove(pipe_data(pipe), pipe_data(pipe) + pipe->frame, pipe->length);
	pipe->frame = 0;
	if (pipe->length > 0)
		pipe->flush_at_ms = guest_now_ms() + hold_ms(output);
}

/* As write(). */
static ssize_t port_write(const struct guest_output *output, const void *data, size_t length)
{
	size_t taken = guest_port_transmit(output->console_port, data, length);

	return taken > 0 ? (ssize_t)taken : write(output->fd, data, length);
}

/* Returns whether the current frame is out of the way. */
static bool output_write(struct guest_output *output)
{
	struct guest_output_pipe *pipe = output->current;
	size_t size = sizeof(struct wire_stream_header) + pipe->frame;

	while (!output->is_broken && output->written < size) {
		ssize_t n =
			port_write(output, pipe->buffer + output->written, size - output->written);

		if (n > 0) {
			output->written += (size_t)n;
		} else if (n == 0 || errno == EAGAIN) {
			output->is_blocked = true;
			return false;
		} else if (errno != EINTR && error_is_of_moment(-errno)) {
			/* Of room in the port an event tells, of memory none. */
			poll(NULL, 0, 1);
		} else if (errno != EINTR) {
			/* The host has gone. Apps must not block for ever on what nobody reads. */
			output->is_broken = true;
		}
	}
	pipe_frame_done(output, pipe);
	output->current = NULL;
	return true;
}

static bool output_start_frame(
	struct guest_output *output, struct guest_output_pipe *pipe, size_t length)
{
	struct wire_stream_header header = {
		.length = htole32((uint32_t)length),
		.app = htole16(pipe->app),
		.stream = pipe->stream,
	};

	memcpy(pipe->buffer, &header, sizeof(header));
	pipe->frame = length;
	output->current = pipe;
	output->written = 0;
	return output_write(output);
}

/* One read and its frame. Returns false when the port does not take the frame whole. */
static bool pipe_serve(struct guest_output *output, struct guest_output_pipe *pipe)
{
	bool was_read = pipe->is_readable;
	size_t length;

	if (was_read)
		pipe_read(output, pipe);
	else if (pipe->length == 0)
		return true;
	length = pipe_choose_frame(output, pipe, was_read);
	return length == 0 || output_start_frame(output, pipe, length);
}

void guest_output_pump(struct guest_output *output)
{
	if (output->is_blocked || (output->current && !output_write(output)))
		return;
	for (size_t i = 0; i < output->pipe_count; i++) {
		struct guest_output_pipe *pipe = output->pipes[i];
		bool is_free = pipe_serve(output, pipe);

		/* After what is mostly all of it comes the end: not in another turn of the loop. */
		if (is_free && pipe->is_last_read && pipe->is_readable)
			is_free = pipe_serve(output, pipe);
		if (!is_free) {
			/* The next round starts behind this pipe: none is served twice as often. */
			memmove(&output->pipes[i], &output->pipes[i + 1],
				(output->pipe_count - i - 1) * sizeof(*output->pipes));
			output->pipes[output->pipe_count - 1] = pipe;
			return;
		}
	}
}

void guest_output_end(struct guest_output *output)
{
	const struct wire_stream_header end = {0}; /* on the stack: in memory that is there */
	struct pollfd port = {.fd = output->fd, .events = POLLOUT};
	size_t done = 0;

	while (!output->is_broken && done < sizeof(end)) {
		ssize_t n = port_write(output, (const char *)&end + done, sizeof(end) - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && !error_is_of_moment(-errno))
			output->is_broken = true;
		else if (poll(&port, 1, -1) > 0 && !(port.revents & POLLOUT))
			output->is_broken = true; /* the host has closed its end */
	}
}

int guest_output_timeout_ms(const struct guest_output *output)
{
	uint64_t nearest = UINT64_MAX, now;

	if (output->is_blocked)
		return -1;
	if (output->current)
		return 0;
	for (size_t i = 0; i < output->pipe_count; i++) {
		const struct guest_output_pipe *pipe = output->pipes[i];

		/* The last bytes of a closed pipe do not wait for anything. */
		if (pipe->is_readable || (pipe->fd < 0 && pipe->length > 0))
			return 0;
		if (pipe->flush_at_ms && pipe->flush_at_ms < nearest)
			nearest = pipe->flush_at_ms;
	}
	if (nearest == UINT64_MAX)
		return -1;
	now = guest_now_ms();
	return nearest > now ? (int)(nearest - now) : 0;
}
