/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the vsock device share, and nobody else: vsock.c has the device and its queues, vsock_packet.c
 * the packets of both ways, vsock_connection.c the connections, vsock_host.c what comes from the host's sockets.
 *
 * Everything is called under the device's lock.
 */
#ifndef APPC_VIRTIO_VSOCK_PARTS_H
#define APPC_VIRTIO_VSOCK_PARTS_H

#include "virtio/vsock.h"
#include "virtio/vsock_buffer.h"

#include <linux/virtio_vsock.h>
#include <sys/queue.h>

#define VSOCK_HEADER_SIZE sizeof(struct virtio_vsock_hdr)

/* Flags of VIRTIO_VSOCK_OP_SHUTDOWN. */
#define SHUTDOWN_RCV  1u
#define SHUTDOWN_SEND 2u
#define SHUTDOWN_BOTH (SHUTDOWN_RCV | SHUTDOWN_SEND)

/* Host ports of connections that the host begins: above those that anybody listens at. */
#define VSOCK_FIRST_HOST_PORT (1u << 30)

#define VSOCK_GREETING     "CONNECT "
#define VSOCK_GREETING_MAX (sizeof(VSOCK_GREETING "4294967295\n") - 1)
#define VSOCK_BUCKETS      1024u

enum vsock_connection_state {
	CONNECTION_GREETING,  /* the client has not said which port it wants */
	CONNECTION_REQUESTED, /* the guest has not answered it */
	CONNECTION_ASKED,     /* the owner has not answered the guest */
	CONNECTION_OPEN,
	CONNECTION_LINGERING, /* the guest has forgotten it; what it sent before is on its way */
};

struct vsock_connection {
	enum vsock_connection_state state;
	unsigned int slot;
	uint32_t generation; /* tells this one from others of the same slot */
	int fd;              /* -1: not there yet, or not needed any more */
	LIST_ENTRY(vsock_connection)
	bucket; /* where it is found by its ports, while the guest knows it */
	bool is_known;
	TAILQ_ENTRY(vsock_connection) pending;
	bool is_pending;
	uint32_t guest_port, host_port;
	char greeting[VSOCK_GREETING_MAX + 1];
	size_t greeting_length;
	bool send_request, send_response, send_credit;
	bool asked_credit; /* and was not given any since */
	bool host_ended, write_ended, has_hung_up;
	uint32_t heard, told; /* SHUTDOWN flags of the guest, and to it */
	bool is_large;
	/* Credit, section 5.10.6.3: from the guest, and to it. Counters wrap. */
	uint32_t received, forwarded, told_forwarded;
	uint32_t sent, peer_room, peer_forwarded;
	struct vsock_buffer buffer; /* its size is what we promise */
};

LIST_HEAD(vsock_bucket, vsock_connection);
TAILQ_HEAD(vsock_pending, vsock_connection);

struct vsock_reset {
	uint64_t source_cid;
	uint32_t source_port, destination_port;
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_device device;
	struct virtio_vsock_options options;
	struct vsock_connection *slots[VSOCK_CONNECTIONS_MAX];
	uint16_t free_slots[VSOCK_CONNECTIONS_MAX];
	unsigned int free_count, large_count, greeting_count;
	uint32_t next_generation, next_host_port;
	struct vsock_bucket buckets[VSOCK_BUCKETS];
	struct vsock_pending pending;
	struct vsock_reset resets[VSOCK_RESETS_MAX]; /* ring */
	unsigned int reset_start, reset_count;
	bool was_reset;               /* the guest is to be told that its connections are gone */
	struct virtqueue_chain chain; /* scratch */
};

/* ---- vsock.c */

/* The guest broke the rules: the device waits for its driver, and nobody waits for the device. */
void vsock_break(struct virtio_vsock *vsock, const char *why);

/* Fills buffers of the guest with what is to be said to it, as long as it has any. */
void vsock_receive(struct virtio_vsock *vsock);

/* ---- vsock_packet.c */

/* One packet of the guest, in vsock->chain. */
void vsock_packet(struct virtio_vsock *vsock);

/*
 * Fills vsock->chain with what the next has to say; a reset or a pending connection is there. The number of bytes; 0:
 * nothing.
 */
uint32_t vsock_say(struct virtio_vsock *vsock);

/* ---- vsock_connection.c */

/* NULL: there are too many, or memory is out. */
struct vsock_connection *vsock_connection_new(
	struct virtio_vsock *vsock, enum vsock_connection_state state);
void vsock_connection_free(struct virtio_vsock *vsock, struct vsock_connection *connection);
void vsock_connections_free(struct virtio_vsock *vsock);

struct vsock_connection *vsock_connection_find(
	struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port);
/* From now on the guest's packets reach it. */
void vsock_connection_make_known(struct virtio_vsock *vsock, struct vsock_connection *connection);
/* The guest knows it no more. */
void vsock_connection_forget(struct virtio_vsock *vsock, struct vsock_connection *connection);

/* It has something to say, perhaps; and no more. */
void vsock_connection_pend(struct virtio_vsock *vsock, struct vsock_connection *connection);
void vsock_connection_unpend(struct virtio_vsock *vsock, struct vsock_connection *connection);

/* Joins a socket to a connection. 0, or -errno and the socket is closed. */
int vsock_connection_set_fd(
	struct virtio_vsock *vsock, struct vsock_connection *connection, int fd);
void vsock_connection_close_fd(struct virtio_vsock *vsock, struct vsock_connection *connection);
/* Asks the owner's loop for the events that matter to it now. */
void vsock_connection_arm(struct virtio_vsock *vsock, const struct vsock_connection *connection);

/* The answer to a packet of the guest. Where there are too many, it has itself to blame. */
void vsock_queue_reset(struct virtio_vsock *vsock, uint64_t source_cid, uint32_t source_port,
	uint32_t destination_port, uint16_t type);
/* Ends a connection that the guest knows, and tells it. */
void vsock_connection_reset(struct virtio_vsock *vsock, struct vsock_connection *connection);

/* Sends the socket what it had no room for. The connection may be gone then. */
void vsock_connection_flush(struct virtio_vsock *vsock, struct vsock_connection *connection);
/* Bytes have left us: the guest is told when that is worth a packet. */
void vsock_connection_forwarded(
	struct virtio_vsock *vsock, struct vsock_connection *connection, size_t length);
/* The host's program takes no more. */
void vsock_connection_end_writing(struct virtio_vsock *vsock, struct vsock_connection *connection);
/*
 * All that the guest sent has gone to the host: ends what it wanted ended. The connection may be gone then.
 */
void vsock_connection_settle(struct virtio_vsock *vsock, struct vsock_connection *connection);

#endif
