// SPDX-License-Identifier: Apache-2.0
/* input.c: see input.h. */
#include "pod/input.h"

#include "base/error.h"

#include <endian.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool pod_input_can_read(const struct pod_input *input)
{
	return input->is_open && input->length == 0 && !input->has_window;
}

bool pod_input_can_send(const struct pod_input *input)
{
	return input->is_open && (input->length > 0 || input->has_window);
}

void pod_input_set_window(struct pod_input *input, uint16_t rows, uint16_t columns)
{
	input->window = (struct wire_window){.rows = htole16(rows), .columns = htole16(columns)};
	input->has_window = true;
}

static void frame_begin(struct pod_input *input, uint8_t stream, size_t length)
{
	input->frame.header =
		(struct wire_stream_header){.length = htole32((uint32_t)length), .stream = stream};
	input->length = sizeof(input->frame.header) + length;
	input->sent = 0;
}

void pod_input_put(struct pod_input *input, size_t size)
{
	frame_begin(input, WIRE_STREAM_STDIN, size);
}

void pod_input_read(struct pod_input *input, int fd)
{
	ssize_t n = read(fd, input->frame.payload, sizeof(input->frame.payload));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* What cannot be read has ended. A header of zeros says so. */
	input->is_last = n <= 0;
	frame_begin(input, n > 0 ? WIRE_STREAM_STDIN : 0, n > 0 ? (size_t)n : 0);
}

void pod_input_send(struct pod_input *input, int stream_fd)
{
	ssize_t n;

	if (input->length == 0) {
		memcpy(input->frame.payload, &input->window, sizeof(input->window));
		frame_begin(input, WIRE_STREAM_WINDOW, sizeof(input->window));
		input->has_window = false;
	}
	n = send(stream_fd, (const char *)&input->frame + input->sent, input->length - input->sent,
		MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		/* That the other end is gone shows when we read. */
		input->is_open = error_is_of_moment(-errno);
		return;
	}
	input->sent += (size_t)n;
	if (input->sent < input->length)
		return;
	input->length = 0;
	input->is_open = !input->is_last;
}
