// SPDX-License-Identifier: Apache-2.0
/* input.c: see input.h. */
#include "guest-init/input.h"

#include "guest-init/pty.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

/* #syscalls: pipe2 */
int guest_input_open(struct guest_input *input, const struct guest *guest)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r = fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (r == 0)
		r = guest_watch(guest, fds[1], EPOLLOUT | EPOLLET, GUEST_EVENT_INPUT, 0);
	if (r < 0) {
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	input->pipe_fd = fds[1];
	input->is_open = input->is_readable = input->is_writable = true;
	return fds[0];
}

int guest_input_open_terminal(struct guest_input *input, const struct guest *guest, int master)
{
	int r = guest_watch(guest, master, EPOLLOUT | EPOLLET, GUEST_EVENT_INPUT, 0);

	if (r < 0)
		return r;
	input->pipe_fd = master;
	input->is_open = input->is_readable = input->is_writable = input->is_terminal = true;
	return 0;
}

void guest_input_close(struct guest_input *input)
{
	cleanup_close(&input->pipe_fd);
	input->pipe_fd = -1;
}

void guest_input_port_ready(struct guest_input *input)
{
	input->is_readable = true;
}

void guest_input_pipe_ready(struct guest_input *input)
{
	input->is_writable = true;
}

static uint32_t frame_length(const struct guest_input *input)
{
	return le32toh(input->header.length);
}

/* A terminal has no end; its user types one. */
static void terminal_end(const struct guest_input *input)
{
	int character = guest_pty_end_character(input->pipe_fd);
	char end = (char)character;

	if (character >= 0 && write(input->pipe_fd, &end, 1) < 0)
		errno = 0;
}

static bool is_window(const struct guest_input *input)
{
	return input->is_terminal && input->header.stream == WIRE_STREAM_WINDOW;
}

static int header_check(struct guest_input *input)
{
	/* A frame of length 0 ends the input. */
	if (frame_length(input) == 0) {
		input->has_ended = true;
		if (input->is_terminal && input->pipe_fd >= 0)
			terminal_end(input);
		guest_input_close(input);
		return 0;
	}
	if (is_window(input))
		return frame_length(input) == sizeof(struct wire_window) ? 0 : -EBADMSG;
	return frame_length(input) > WIRE_STREAM_MAX || input->header.stream != WIRE_STREAM_STDIN
		? -EBADMSG
		: 0;
}

static void frame_done(struct guest_input *input)
{
	input->header_length = input->length = input->written = 0;
}

/* The frame is whole. */
static void window_set(struct guest_input *input)
{
	struct wire_window window;

	memcpy(&window, input->payload, sizeof(window));
	if (input->pipe_fd >= 0)
		guest_pty_resize(input->pipe_fd,
			(struct guest_pty_size){le16toh(window.rows), le16toh(window.columns)});
	frame_done(input);
}

/* Reads once into the header or the payload. */
static int port_read(struct guest_input *input, int port_fd)
{
	bool in_header = input->header_length < sizeof(input->header);
	char *to = in_header ? (char *)&input->header + input->header_length
			     : input->payload + input->length;
	size_t want = in_header ? sizeof(input->header) - input->header_length
				: frame_length(input) - input->length;
	ssize_t n = read(port_fd, to, want);

	if (n <= 0) {
		/* That the host is gone shows on the control stream. */
		input->is_readable = n < 0 && errno == EINTR;
		return 0;
	}
	if (!in_header) {
		input->length += (size_t)n;
		return 0;
	}
	input->header_length += (size_t)n;
	return input->header_length == sizeof(input->header) ? header_check(input) : 0;
}

static void pipe_write(struct guest_input *input)
{
	size_t left = input->length - input->written;
	ssize_t n = input->pipe_fd < 0
		? (ssize_t)left
		: write(input->pipe_fd, input->payload + input->written, left);

	if (n < 0 && errno == EAGAIN)
		input->is_writable = false;
	else if (n < 0 && errno != EINTR)
		guest_input_close(input); /* nobody reads it any more */
	if (n > 0)
		input->written += (size_t)n;
	if (input->written == frame_length(input))
		frame_done(input);
}

int guest_input_pump(struct guest_input *input, int port_fd)
{
	while (input->is_open && !input->has_ended) {
		int r;

		if (is_window(input) && input->length == sizeof(struct wire_window)) {
			window_set(input);
			continue;
		}
		/* A frame is passed on as it comes, and before more of it is read. */
		if (!is_window(input) && input->written < input->length) {
			if (!input->is_writable && input->pipe_fd >= 0)
				return 0;
			pipe_write(input);
			continue;
		}
		if (!input->is_readable)
			return 0;
		r = port_read(input, port_fd);
		if (r < 0)
			return r;
	}
	return 0;
}
