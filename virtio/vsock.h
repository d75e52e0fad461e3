/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, section 5.10): stream connections between programs of the guest (AF_VSOCK) and
 * unix sockets of the host.
 *
 * From the host: a client connects to the listening socket and says "CONNECT PORT\n"; when a program of the
 * guest listens at that port the answer is "OK HOST_PORT\n", and from then on the connection carries bytes.
 * Where nobody listens it is closed without a word. From the guest: a connection to port P of CID 2
 * asks the owner for a socket. Either side may end its direction alone (shutdown(2)).
 *
 * What the guest can make us hold is bounded: VSOCK_CONNECTIONS_MAX connections, an fd and less than a kilobyte
 * each, and for what a slow host program has not taken yet VSOCK_BUFFER_LARGE bytes for each of the first
 * VSOCK_LARGE_MAX, VSOCK_BUFFER_SMALL for the others: 31 MiB in all. That is the credit that the guest gets
 * (section 5.10.6.3), so a connection that nobody reads holds up no other; who sends more than it has credit for
 * is reset. Towards the guest nothing is buffered: a socket is read when the guest has room.
 *
 * Packets are served on the notifying vCPU thread, sockets on the owner's loop.
 */
#ifndef APPC_VIRTIO_VSOCK_H
#define APPC_VIRTIO_VSOCK_H

#include "virtio/device.h"

#define VSOCK_CID_HOST  2u
#define VSOCK_CID_GUEST 3u /* every machine's: none sees another */

#define VSOCK_CONNECTIONS_MAX 4096u
/* Clients that have not said yet which port they want; more are closed at once. */
#define VSOCK_GREETINGS_MAX 256u
#define VSOCK_BUFFER_LARGE  (64u << 10)
#define VSOCK_BUFFER_SMALL  (4u << 10)
#define VSOCK_LARGE_MAX     256u
/* Resets that wait for a buffer of the guest; it is not listened to while there are so many. */
#define VSOCK_RESETS_MAX 256u

/* All functions are called under the device's lock, on any thread, and must not wait. */
struct virtio_vsock_options {
	int listen_fd; /* of the host's clients: listening, non-blocking; -1: there are none. The device takes it */
	/* A connection's fd joins the owner's loop, not armed; slot is below VSOCK_CONNECTIONS_MAX. 0 or -errno */
	int (*watch)(void *context, unsigned int slot, int fd);
	/* virtio_vsock_ready() is to be called once, when it has one of the poll events, or hung up. */
	void (*arm)(void *context, unsigned int slot, uint32_t events);
	/* The fd is about to be closed. */
	void (*unwatch)(void *context, unsigned int slot, int fd);
	/*
	 * The guest asks for this port of the host. 0: virtio_vsock_connected() is called with this id some
	 * time later. -errno: refused.
	 */
	int (*connect)(void *context, uint64_t id, uint32_t port);
	/* virtio_vsock_continue() is to be called soon, on another thread than this. */
	void (*again)(void *context);
	void *context;
};

struct virtio_vsock;

/* 0, -ENOMEM. */
int virtio_vsock_create(const struct guest_memory *memory,
	const struct virtio_vsock_options *options, struct virtio_vsock **ret);
void virtio_vsock_free(struct virtio_vsock *vsock);
struct virtio_device *virtio_vsock_device(struct virtio_vsock *vsock);

/* The listening socket has clients. */
void virtio_vsock_accept(struct virtio_vsock *vsock);

/* A connection's fd has these poll events. Whether the slot is still in use does not matter. */
void virtio_vsock_ready(struct virtio_vsock *vsock, unsigned int slot, uint32_t events);

/* What the guest asked for: a connected stream socket, non-blocking, which the device takes; or -errno. */
void virtio_vsock_connected(struct virtio_vsock *vsock, uint64_t id, int fd);

/* Goes on where it stopped for the sake of others. */
void virtio_vsock_continue(struct virtio_vsock *vsock);

/* Connections that there are, of every state. Any thread. */
unsigned int virtio_vsock_count(struct virtio_vsock *vsock);

#endif
