// SPDX-License-Identifier: Apache-2.0
/* input.c: see input.h. */
#include "pod/input.h"

#include <endian.h>
#include <sys/socket.h>
#include <unistd.h>

bool pod_input_can_read(const struct pod_input *input)
{
	return input->is_open && input->length == 0;
}

bool pod_input_can_send(const struct pod_input *input)
{
	return input->is_open && input->length > 0;
}

static void frame_begin(struct pod_input *input, size_t size)
{
	/* A header of zeros tells the end. */
	input->frame.header = (struct wire_stream_header){
		.length = htole32((uint32_t)size),
		.stream = size > 0 ? WIRE_STREAM_STDIN : 0,
	};
	input->length = sizeof(input->frame.header) + size;
	input->sent = 0;
}

void pod_input_put(struct pod_input *input, size_t size)
{
	frame_begin(input, size);
}

void pod_input_read(struct pod_input *input, int fd)
{
	ssize_t n = read(fd, input->frame.payload, sizeof(input->frame.payload));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* What cannot be read has ended. */
	input->is_last = n <= 0;
	frame_begin(input, n > 0 ? (size_t)n : 0);
}

void pod_input_send(struct pod_input *input, int stream_fd)
{
	ssize_t n = send(stream_fd, (const char *)&input->frame + input->sent,
		input->length - input->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0) {
		/* That the other end is gone shows when we read. */
		input->is_open = errno == EINTR || errno == EAGAIN;
		return;
	}
	input->sent += (size_t)n;
	if (input->sent < input->length)
		return;
	input->length = 0;
	input->is_open = !input->is_last;
}
