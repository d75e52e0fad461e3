/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console with several ports (virtio 1.2, section 5.3): byte streams between the guest's
 * /dev/vport0pN and stream sockets of ours. None of them is a terminal.
 *
 * What the guest writes goes out on the vCPU thread that notified. A socket that is full holds the
 * guest's buffer until it can take more; nothing is copied aside, so the guest feels the pressure.
 */
#ifndef APPC_VIRTIO_CONSOLE_H
#define APPC_VIRTIO_CONSOLE_H

#include "virtio/device.h"

/* Ports 0 to CONSOLE_PORTS - 1; port 0 exists in the queue layout only and is never announced. */
#define CONSOLE_PORTS 3

struct virtio_console_options {
	/* Sockets of ports 1 and up (index 0 is unused), non-blocking; the console takes them. */
	int fds[CONSOLE_PORTS];
	/*
	 * Asks the owner to call virtio_console_ready() once when the port's fd has one of the poll events, instead
	 * of those of an earlier call. Called under the device's lock, on any thread.
	 */
	void (*arm)(void *context, unsigned int port, uint32_t events);
	/* The first bytes of the guest are about to leave on that port. On the vCPU thread. May be NULL. */
	void (*first_output)(void *context, unsigned int port);
	void *context;
};

struct virtio_console;

/* 0, -ENOMEM. */
int virtio_console_create(const struct guest_memory *memory,
	const struct virtio_console_options *options, struct virtio_console **ret);
void virtio_console_free(struct virtio_console *console);
struct virtio_device *virtio_console_device(struct virtio_console *console);

/*
 * Bytes of the guest for a port that came by another way than its queue: those that the socket has room for
 * are sent, unless output waits in the queue, which goes first. Returns how many were taken.
 * Any thread.
 */
size_t virtio_console_transmit(
	struct virtio_console *console, unsigned int port, const struct iovec *spans, size_t count);

/*
 * The port's fd has these poll events. Returns 0, or -EPIPE when the other end of a port that the guest
 * reads from has closed it.
 */
int virtio_console_ready(struct virtio_console *console, unsigned int port, uint32_t events);

#endif
