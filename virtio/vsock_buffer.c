// SPDX-License-Identifier: Apache-2.0
/*
 * vsock_buffer.c: see vsock_buffer.h.
 *
 * #syscalls:vcpu,loop sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL)
 */
#include "virtio/vsock_buffer.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int vsock_buffer_add(struct vsock_buffer *buffer, const struct virtqueue_chain *chain,
	size_t offset, size_t length)
{
	size_t end, first;

	if (length > buffer->size - buffer->length)
		return -ENOSPC;
	if (!buffer->data) {
		buffer->data = malloc(buffer->size);
		if (!buffer->data)
			return -ENOMEM;
		buffer->start = 0;
	}
	end = (buffer->start + buffer->length) % buffer->size;
	first = length < buffer->size - end ? length : buffer->size - end;
	if (virtqueue_chain_read(chain, offset, buffer->data + end, first) != first ||
		virtqueue_chain_read(chain, offset + first, buffer->data, length - first) !=
			length - first)
		return -EFAULT;
	buffer->length += length;
	return 0;
}

ssize_t vsock_buffer_send(struct vsock_buffer *buffer, int fd)
{
	size_t first = buffer->size - buffer->start;
	struct iovec spans[2];
	const struct msghdr message = {.msg_iov = spans, .msg_iovlen = 2};
	ssize_t n;

	if (buffer->length == 0)
		return 0;
	if (first > buffer->length)
		first = buffer->length;
	spans[0] = (struct iovec){.iov_base = buffer->data + buffer->start, .iov_len = first};
	spans[1] = (struct iovec){.iov_base = buffer->data, .iov_len = buffer->length - first};
	do
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_is_of_moment(-errno) ? -EAGAIN : -errno;
	buffer->start = (buffer->start + (size_t)n) % buffer->size;
	buffer->length -= (size_t)n;
	if (buffer->length == 0)
		vsock_buffer_clear(buffer);
	return n;
}

void vsock_buffer_clear(struct vsock_buffer *buffer)
{
	free(buffer->data);
	buffer->data = NULL;
	buffer->start = buffer->length = 0;
}
