/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a vsock connection that its socket had no room for: a ring that takes memory only while it holds
 * something. Under the device's lock.
 */
#ifndef APPC_VIRTIO_VSOCK_BUFFER_H
#define APPC_VIRTIO_VSOCK_BUFFER_H

#include "virtio/queue.h"

struct vsock_buffer {
	uint8_t *data; /* size bytes, or NULL: it is empty */
	size_t size, start, length;
};

/*
 * Adds length bytes of the chain's readable spans, from offset on. -ENOMEM; -ENOSPC: more than there is room for;
 * -EFAULT: they are in the window (virtio/guest_memory.h).
 */
int vsock_buffer_add(struct vsock_buffer *buffer, const struct virtqueue_chain *chain,
	size_t offset, size_t length);

/* Sends what the socket takes. The number of bytes, or -errno (-EAGAIN: none now). */
ssize_t vsock_buffer_send(struct vsock_buffer *buffer, int fd);

void vsock_buffer_clear(struct vsock_buffer *buffer);

#endif
