// SPDX-License-Identifier: Apache-2.0
/*
 * vsock.c: the vsock device.
 *
 * Theory of operation: a connection is known by its two ports (the CIDs are always the same) and lives in a
 * slot of a table; the owner's loop knows the slot and nothing else, so an event that comes too late finds a
 * slot that is empty, or an fd from which there is nothing to read, and does no harm.
 *
 * What is to be said to the guest is not composed in advance. A connection that has something to say - a
 * flag is set, or its socket may have data - stands in a queue ("pending"); as long as the guest has
 * buffers, the first of them fills one and stands behind the others again. Resets that belong to no connection
 * are kept as they are.
 *
 * Each direction ends alone. host_ended: the host's program will send no more; write_ended: it takes no more.
 * The guest hears both as flags of one SHUTDOWN, and answers the last with RST, which frees the
 * connection. When the guest says that both its directions have ended, what it sent before still goes to the
 * host's program, and the RST is ours.
 *
 * #syscalls:loop accept4 read
 * #syscalls:vcpu,loop readv recvmsg sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL) shutdown close poll(_, 1, 0)
 */
#include "virtio/vsock.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "virtio/vsock_buffer.h"

#include <endian.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* Section 5.10.2. */
enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUE_EVENT, QUEUES };

#define HEADER_SIZE     sizeof(struct virtio_vsock_hdr)
#define SHUTDOWN_RCV    1u
#define SHUTDOWN_SEND   2u
#define SHUTDOWN_BOTH   (SHUTDOWN_RCV | SHUTDOWN_SEND)
#define PACKET_DATA_MAX (64u << 10) /* what Linux takes at once */

/* Host ports of connections that the host begins: above those that anybody listens at. */
#define FIRST_HOST_PORT (1u << 30)
#define PORT_ANY        UINT32_MAX

/* A driver fills the receive queue with buffers at its start, which costs an emulated kernel time. */
#define QUEUE_SIZE   32u
#define BUCKETS      1024u
#define ACCEPTS_MAX  64u /* at one call */
#define GREETING     "CONNECT "
#define GREETING_MAX (sizeof(GREETING "4294967295\n") - 1)
#define TURNS_MAX    VIRTQUEUE_SIZE_MAX /* packets, before others have their turn */

enum connection_state {
	CONNECTION_GREETING,  /* the client has not said which port it wants */
	CONNECTION_REQUESTED, /* the guest has not answered it */
	CONNECTION_ASKED,     /* the owner has not answered the guest */
	CONNECTION_OPEN,
	CONNECTION_LINGERING, /* the guest has forgotten it; what it sent before is on its way */
};

struct connection {
	enum connection_state state;
	unsigned int slot;
	uint32_t generation; /* tells this one from others of the same slot */
	int fd;              /* -1: not there yet, or not needed any more */
	LIST_ENTRY(connection)
	bucket; /* where it is found by its ports, while the guest knows it */
	bool is_known;
	TAILQ_ENTRY(connection) pending;
	bool is_pending;
	uint32_t guest_port, host_port;
	char greeting[GREETING_MAX + 1];
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

LIST_HEAD(bucket, connection);
TAILQ_HEAD(pending, connection);

struct reset {
	uint64_t source_cid;
	uint32_t source_port, destination_port;
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_device device;
	struct virtio_vsock_options options;
	struct connection *slots[VSOCK_CONNECTIONS_MAX];
	uint16_t free_slots[VSOCK_CONNECTIONS_MAX];
	unsigned int free_count, large_count, greeting_count;
	uint32_t next_generation, next_host_port;
	struct bucket buckets[BUCKETS];
	struct pending pending;
	struct reset resets[VSOCK_RESETS_MAX]; /* ring */
	unsigned int reset_start, reset_count;
	bool was_reset;               /* the guest is to be told that its connections are gone */
	struct virtqueue_chain chain; /* scratch */
};

static struct virtio_vsock *vsock_of(struct virtio_device *device)
{
	return (struct virtio_vsock *)device; /* the device is the first member */
}

/* ---- the table */

static struct bucket *bucket_of(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	return &vsock->buckets[(guest_port * 31 + host_port) % BUCKETS];
}

static struct connection *connection_find(
	struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct connection *connection;

	LIST_FOREACH(connection, bucket_of(vsock, guest_port, host_port), bucket)
	if (connection->guest_port == guest_port && connection->host_port == host_port)
		return connection;
	return NULL;
}

/* From now on the guest's packets reach it. */
static void connection_make_known(struct virtio_vsock *vsock, struct connection *connection)
{
	LIST_INSERT_HEAD(bucket_of(vsock, connection->guest_port, connection->host_port),
		connection, bucket);
	connection->is_known = true;
}

static void connection_pend(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->is_pending)
		return;
	TAILQ_INSERT_TAIL(&vsock->pending, connection, pending);
	connection->is_pending = true;
}

static void connection_unpend(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->is_pending)
		TAILQ_REMOVE(&vsock->pending, connection, pending);
	connection->is_pending = false;
}

/* The guest knows it no more. */
static void connection_forget(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->is_known)
		LIST_REMOVE(connection, bucket);
	connection->is_known = false;
	connection_unpend(vsock, connection);
}

static void connection_close_fd(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->fd < 0)
		return;
	vsock->options.unwatch(vsock->options.context, connection->slot, connection->fd);
	close(TAKE_FD(connection->fd));
}

static void connection_free(struct virtio_vsock *vsock, struct connection *connection)
{
	connection_forget(vsock, connection);
	connection_close_fd(vsock, connection);
	vsock_buffer_clear(&connection->buffer);
	if (connection->state == CONNECTION_GREETING)
		vsock->greeting_count--;
	if (connection->is_large)
		vsock->large_count--;
	vsock->slots[connection->slot] = NULL;
	vsock->free_slots[vsock->free_count++] = (uint16_t)connection->slot;
	free(connection);
}

/* Joins a socket to a connection. 0, or -errno and the socket is closed. */
static int connection_set_fd(struct virtio_vsock *vsock, struct connection *connection, int fd)
{
	int r = vsock->options.watch(vsock->options.context, connection->slot, fd);

	if (r < 0)
		close(fd);
	else
		connection->fd = fd;
	return r;
}

static struct connection *connection_new(struct virtio_vsock *vsock, enum connection_state state)
{
	struct connection *connection;

	if (vsock->free_count == 0)
		return NULL;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	connection->state = state;
	connection->fd = -1;
	connection->slot = vsock->free_slots[--vsock->free_count];
	connection->generation = vsock->next_generation++;
	connection->is_large = vsock->large_count < VSOCK_LARGE_MAX;
	connection->buffer.size = connection->is_large ? VSOCK_BUFFER_LARGE : VSOCK_BUFFER_SMALL;
	vsock->large_count += connection->is_large;
	vsock->greeting_count += state == CONNECTION_GREETING;
	vsock->slots[connection->slot] = connection;
	return connection;
}

static void connections_free(struct virtio_vsock *vsock)
{
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		if (vsock->slots[i])
			connection_free(vsock, vsock->slots[i]);
	vsock->reset_count = 0;
}

/* Nobody waits for a device that waits for its driver. */
static void vsock_break(struct virtio_vsock *vsock, const char *why)
{
	virtio_device_break(&vsock->device, why);
	connections_free(vsock);
}

static void connection_arm(struct virtio_vsock *vsock, const struct connection *connection)
{
	uint32_t events = 0;

	if (connection->fd < 0)
		return;
	if (connection->buffer.length > 0)
		events |= POLLOUT;
	if (connection->state == CONNECTION_GREETING ||
		(connection->state == CONNECTION_OPEN && !connection->host_ended &&
			!(connection->heard & SHUTDOWN_RCV) && !connection->is_pending &&
			!connection->asked_credit))
		events |= POLLIN;
	/* A hang-up is told again each time; once is enough. */
	if (events || !connection->has_hung_up)
		vsock->options.arm(vsock->options.context, connection->slot, events);
}

/* ---- resets */

/* The answer to a packet of the guest. Where there are too many, it has itself to blame. */
static void reset_queue(struct virtio_vsock *vsock, uint64_t source_cid, uint32_t source_port,
	uint32_t destination_port, uint16_t type)
{
	unsigned int index = (vsock->reset_start + vsock->reset_count) % VSOCK_RESETS_MAX;

	if (vsock->reset_count == VSOCK_RESETS_MAX)
		return;
	vsock->resets[index] = (struct reset){
		.source_cid = source_cid,
		.source_port = source_port,
		.destination_port = destination_port,
		.type = type,
	};
	vsock->reset_count++;
}

/* Ends a connection that the guest knows, and tells it. */
static void connection_reset(struct virtio_vsock *vsock, struct connection *connection)
{
	reset_queue(vsock, VSOCK_CID_HOST, connection->host_port, connection->guest_port,
		VIRTIO_VSOCK_TYPE_STREAM);
	connection_free(vsock, connection);
}

/* ---- from the guest to the host */

/* Bytes have left us: the guest is told when that is worth a packet. */
static void connection_forwarded(
	struct virtio_vsock *vsock, struct connection *connection, size_t length)
{
	connection->forwarded += (uint32_t)length;
	if (connection->forwarded - connection->told_forwarded < connection->buffer.size / 2)
		return;
	connection->send_credit = true;
	connection_pend(vsock, connection);
}

/* The host's program takes no more. */
static void connection_end_writing(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->write_ended)
		return;
	connection->write_ended = true;
	connection->forwarded += (uint32_t)connection->buffer.length;
	vsock_buffer_clear(&connection->buffer);
	/* Who has hung up sends nothing more than is there, and of that the guest wants to hear. */
	if (connection->heard & SHUTDOWN_RCV)
		connection->host_ended = true;
	connection_pend(vsock, connection);
}

/*
 * All that the guest sent has gone to the host: ends what it wanted ended. The connection may be gone then.
 */
static void connection_settle(struct virtio_vsock *vsock, struct connection *connection)
{
	if (connection->buffer.length > 0)
		return;
	if (connection->state == CONNECTION_LINGERING) {
		connection_free(vsock, connection);
		return;
	}
	if (connection->heard == SHUTDOWN_BOTH) {
		connection_reset(vsock, connection);
		return;
	}
	if (connection->heard & SHUTDOWN_SEND && connection->fd >= 0)
		shutdown(connection->fd, SHUT_WR);
}

static void connection_flush(struct virtio_vsock *vsock, struct connection *connection)
{
	ssize_t n = vsock_buffer_send(&connection->buffer, connection->fd);

	if (n == -EAGAIN)
		return;
	if (connection->state == CONNECTION_LINGERING && n < 0)
		vsock_buffer_clear(&connection->buffer);
	else if (n < 0)
		connection_end_writing(vsock, connection);
	else if (connection->state == CONNECTION_OPEN)
		connection_forwarded(vsock, connection, (size_t)n);
	connection_settle(vsock, connection);
}

/* Sends from the guest's memory what the socket takes at once. The number of bytes, or -errno. */
static ssize_t chain_send(const struct virtqueue_chain *chain, size_t length, int fd)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	struct msghdr message = {.msg_iov = spans};
	ssize_t n;

	message.msg_iovlen = virtqueue_chain_slice(chain, false, HEADER_SIZE, length, spans);
	do
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void connection_data(
	struct virtio_vsock *vsock, struct connection *connection, uint32_t length)
{
	uint32_t held = connection->received - connection->forwarded;
	ssize_t n = 0;

	if (connection->heard & SHUTDOWN_SEND || length > connection->buffer.size - held) {
		connection_reset(vsock, connection);
		return;
	}
	connection->received += length;
	if (connection->write_ended) {
		connection_forwarded(vsock, connection, length);
		return;
	}
	if (length > 0 && connection->buffer.length == 0)
		n = chain_send(&vsock->chain, length, connection->fd);
	if (n == -EAGAIN)
		n = 0;
	/* Memory of the guest that has gone, or of ours. */
	if (n == -EFAULT || n == -ENOMEM ||
		(n >= 0 && (uint32_t)n < length &&
			vsock_buffer_add(&connection->buffer, &vsock->chain,
				HEADER_SIZE + (size_t)n, length - (size_t)n) < 0)) {
		connection_reset(vsock, connection);
		return;
	}
	if (n < 0) {
		connection_end_writing(vsock, connection);
		connection_forwarded(vsock, connection, length);
		return;
	}
	connection_forwarded(vsock, connection, (size_t)n);
	if (connection->buffer.length > 0)
		connection_arm(vsock, connection);
}

static void connection_shutdown(
	struct virtio_vsock *vsock, struct connection *connection, uint32_t flags)
{
	connection->heard |= flags & SHUTDOWN_BOTH;
	/* A client that goes on writing hears of it. */
	if (connection->heard & SHUTDOWN_RCV && connection->fd >= 0)
		shutdown(connection->fd, SHUT_RD);
	connection_settle(vsock, connection);
}

/* The guest has accepted a client of the host. */
static void connection_accepted(struct virtio_vsock *vsock, struct connection *connection)
{
	char answer[32];
	int length = snprintf(answer, sizeof(answer), "OK %u\n", connection->host_port);
	struct iovec span = {.iov_base = answer, .iov_len = (size_t)length};
	const struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};

	/* Nothing was written before: there is room, or there is nobody. */
	if (sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != length) {
		connection_reset(vsock, connection);
		return;
	}
	connection->state = CONNECTION_OPEN;
	connection_arm(vsock, connection);
}

/* The guest says that a connection is no more. */
static void connection_was_reset(struct virtio_vsock *vsock, struct connection *connection)
{
	/* After an orderly end the guest does not wait for ever until all has gone to the host. */
	if (connection->state == CONNECTION_OPEN && connection->heard & SHUTDOWN_SEND &&
		connection->buffer.length > 0) {
		connection->state = CONNECTION_LINGERING;
		connection_forget(vsock, connection);
		connection_arm(vsock, connection);
		return;
	}
	connection_free(vsock, connection);
}

static void guest_connects(struct virtio_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct connection *connection = connection_new(vsock, CONNECTION_ASKED);
	uint32_t guest_port = le32toh(header->src_port), host_port = le32toh(header->dst_port);
	uint64_t id;

	if (!connection) {
		reset_queue(vsock, VSOCK_CID_HOST, host_port, guest_port, VIRTIO_VSOCK_TYPE_STREAM);
		return;
	}
	connection->guest_port = guest_port;
	connection->host_port = host_port;
	connection->peer_room = le32toh(header->buf_alloc);
	connection->peer_forwarded = le32toh(header->fwd_cnt);
	connection_make_known(vsock, connection);
	id = (uint64_t)connection->generation << 32 | connection->slot;
	if (vsock->options.connect(vsock->options.context, id, host_port) < 0)
		connection_reset(vsock, connection);
}

/* Bytes that the guest has room for; it may claim what it likes. */
static uint32_t connection_credit(const struct connection *connection)
{
	uint32_t held = connection->sent - connection->peer_forwarded;

	return held < connection->peer_room ? connection->peer_room - held : 0;
}

static void connection_packet(struct virtio_vsock *vsock, struct connection *connection,
	const struct virtio_vsock_hdr *header)
{
	uint16_t operation = le16toh(header->op);
	uint32_t length = le32toh(header->len);
	bool is_open = connection->state == CONNECTION_OPEN;

	connection->peer_room = le32toh(header->buf_alloc);
	connection->peer_forwarded = le32toh(header->fwd_cnt);
	if (connection->asked_credit && connection_credit(connection) > 0) {
		connection->asked_credit = false;
		connection_pend(vsock, connection);
	}
	if (operation == VIRTIO_VSOCK_OP_RST)
		connection_was_reset(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_RW && is_open)
		connection_data(vsock, connection, length);
	else if (length > 0)
		connection_reset(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_RESPONSE &&
		connection->state == CONNECTION_REQUESTED && !connection->send_request)
		connection_accepted(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_SHUTDOWN && is_open)
		connection_shutdown(vsock, connection, le32toh(header->flags));
	else if (operation == VIRTIO_VSOCK_OP_CREDIT_REQUEST && is_open) {
		connection->send_credit = true;
		connection_pend(vsock, connection);
	} else if (operation != VIRTIO_VSOCK_OP_CREDIT_UPDATE || !is_open) {
		connection_reset(vsock, connection);
	}
}

/* One packet, in vsock->chain. */
static void vsock_packet(struct virtio_vsock *vsock)
{
	struct connection *connection;
	struct virtio_vsock_hdr header;
	uint16_t operation;

	if (vsock->chain.writable_count > 0 ||
		virtqueue_chain_read(&vsock->chain, 0, &header, HEADER_SIZE) != HEADER_SIZE) {
		vsock_break(vsock, "a vsock packet without a header");
		return;
	}
	/* An answer to somebody else than the guest has nowhere to go. */
	if (le64toh(header.src_cid) != VSOCK_CID_GUEST)
		return;
	operation = le16toh(header.op);
	connection = connection_find(vsock, le32toh(header.src_port), le32toh(header.dst_port));
	if (le64toh(header.dst_cid) != VSOCK_CID_HOST ||
		le16toh(header.type) != VIRTIO_VSOCK_TYPE_STREAM ||
		(!connection && operation != VIRTIO_VSOCK_OP_REQUEST)) {
		/* Section 5.10.6.4: but never a reset for a reset. */
		if (operation != VIRTIO_VSOCK_OP_RST)
			reset_queue(vsock, le64toh(header.dst_cid), le32toh(header.dst_port),
				le32toh(header.src_port), le16toh(header.type));
		return;
	}
	if (le32toh(header.len) > vsock->chain.readable_bytes - HEADER_SIZE) {
		if (connection)
			connection_reset(vsock, connection);
		else
			reset_queue(vsock, VSOCK_CID_HOST, le32toh(header.dst_port),
				le32toh(header.src_port), VIRTIO_VSOCK_TYPE_STREAM);
		return;
	}
	if (connection)
		connection_packet(vsock, connection, &header);
	else
		guest_connects(vsock, &header);
}

/*
 * Pops into vsock->chain. 1, or 0 when the driver has no more and will notify, or when it broke the rules and
 * the device with it.
 */
static int vsock_pop(struct virtio_vsock *vsock, unsigned int index)
{
	struct virtqueue *queue = &vsock->device.queues[index];
	int r;

	if (!queue->ready)
		return 0;
	r = virtqueue_pop(queue, &vsock->chain);
	if (r == 0) {
		/* Ask for a notification, then look again: the driver may have added one meanwhile. */
		virtqueue_enable_notification(queue);
		r = virtqueue_pop(queue, &vsock->chain);
	}
	if (r < 0)
		vsock_break(vsock, "malformed vsock queue");
	return r > 0;
}

static void vsock_transmit(struct virtio_vsock *vsock)
{
	unsigned int turns = 0;

	/* Its own packets make the resets: it takes them first. */
	while (vsock->device.running && vsock->reset_count < VSOCK_RESETS_MAX) {
		/* A guest that never stops feeding must not keep the lock for ever. */
		if (turns++ == TURNS_MAX) {
			vsock->options.again(vsock->options.context);
			break;
		}
		if (!vsock_pop(vsock, QUEUE_TRANSMIT))
			break;
		vsock_packet(vsock);
		if (vsock->device.running)
			virtqueue_push(&vsock->device.queues[QUEUE_TRANSMIT], vsock->chain.head, 0);
	}
	if (vsock->device.running)
		virtio_device_signal(&vsock->device, QUEUE_TRANSMIT);
}

/* ---- from the host to the guest */

/* The header goes into vsock->chain. Returns the number of bytes that the chain holds. */
static uint32_t header_write(struct virtio_vsock *vsock, uint64_t source_cid, uint32_t source_port,
	uint32_t destination_port, struct virtio_vsock_hdr *header)
{
	header->src_cid = htole64(source_cid);
	header->dst_cid = htole64(VSOCK_CID_GUEST);
	header->src_port = htole32(source_port);
	header->dst_port = htole32(destination_port);
	virtqueue_chain_write(&vsock->chain, 0, header, HEADER_SIZE);
	return (uint32_t)HEADER_SIZE + le32toh(header->len);
}

static uint32_t reset_write(struct virtio_vsock *vsock)
{
	const struct reset *reset = &vsock->resets[vsock->reset_start];
	struct virtio_vsock_hdr header = {
		.type = htole16(reset->type), .op = htole16(VIRTIO_VSOCK_OP_RST)};

	vsock->reset_start = (vsock->reset_start + 1) % VSOCK_RESETS_MAX;
	vsock->reset_count--;
	return header_write(
		vsock, reset->source_cid, reset->source_port, reset->destination_port, &header);
}

static uint32_t packet_write(struct virtio_vsock *vsock, struct connection *connection,
	uint16_t operation, uint32_t flags, uint32_t length)
{
	struct virtio_vsock_hdr header = {
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(operation),
		.flags = htole32(flags),
		.len = htole32(length),
		.buf_alloc = htole32((uint32_t)connection->buffer.size),
		.fwd_cnt = htole32(connection->forwarded),
	};

	connection->told_forwarded = connection->forwarded;
	connection->send_credit = false;
	return header_write(
		vsock, VSOCK_CID_HOST, connection->host_port, connection->guest_port, &header);
}

/* Nothing more will come from the host's program. */
static void connection_end_reading(struct connection *connection)
{
	struct pollfd fd = {.fd = connection->fd};

	connection->host_ended = true;
	/* A program that has gone takes nothing either; one that has only ended its direction does. */
	if (poll(&fd, 1, 0) == 1 && fd.revents & (POLLHUP | POLLERR))
		connection->write_ended = true;
}

/* Reads into vsock->chain. Returns the number of bytes that it then holds; 0: there are none. */
static uint32_t connection_read(struct virtio_vsock *vsock, struct connection *connection)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	uint32_t room = vsock->chain.writable_bytes - (uint32_t)HEADER_SIZE;
	uint32_t credit = connection_credit(connection);
	uint8_t byte;
	struct iovec one = {.iov_base = &byte, .iov_len = sizeof(byte)};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
	ssize_t n;

	if (credit == 0) {
		n = recvmsg(connection->fd, &message, MSG_PEEK | MSG_DONTWAIT);
		if (n > 0) {
			connection->asked_credit = true;
			return packet_write(
				vsock, connection, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, 0);
		}
	} else {
		if (room > credit)
			room = credit;
		if (room > PACKET_DATA_MAX)
			room = PACKET_DATA_MAX;
		n = readv(connection->fd, spans,
			(int)virtqueue_chain_slice(&vsock->chain, true, HEADER_SIZE, room, spans));
		if (n > 0) {
			connection->sent += (uint32_t)n;
			return packet_write(vsock, connection, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)n);
		}
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		connection_end_reading(connection);
	return 0;
}

/* SHUTDOWN flags that the guest has not been told. */
static uint32_t connection_untold(const struct connection *connection)
{
	uint32_t flags = (connection->host_ended ? SHUTDOWN_SEND : 0) |
		(connection->write_ended ? SHUTDOWN_RCV : 0);

	return flags & ~connection->told;
}

/* Fills vsock->chain with what the connection has to say; 0: nothing. */
static uint32_t connection_say(struct virtio_vsock *vsock, struct connection *connection)
{
	uint32_t length = 0;

	if (connection->send_request) {
		connection->send_request = false;
		return packet_write(vsock, connection, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	}
	if (connection->send_response) {
		connection->send_response = false;
		return packet_write(vsock, connection, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	}
	if (connection->state != CONNECTION_OPEN)
		return 0;
	if (!connection->host_ended && !(connection->heard & SHUTDOWN_RCV) &&
		!connection->asked_credit)
		length = connection_read(vsock, connection);
	if (length == 0 && connection_untold(connection)) {
		connection->told |= connection_untold(connection);
		length = packet_write(
			vsock, connection, VIRTIO_VSOCK_OP_SHUTDOWN, connection->told, 0);
		/* What is left is the guest's answer. */
		if (connection->told == SHUTDOWN_BOTH) {
			vsock_buffer_clear(&connection->buffer);
			connection_close_fd(vsock, connection);
		}
	}
	if (length == 0 && connection->send_credit)
		length = packet_write(vsock, connection, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	return length;
}

/* The next that has something to say. As connection_say(). */
static uint32_t vsock_say(struct virtio_vsock *vsock)
{
	struct connection *connection = TAILQ_FIRST(&vsock->pending);
	uint32_t length;

	if (vsock->reset_count > 0)
		return reset_write(vsock);
	connection_unpend(vsock, connection);
	length = connection_say(vsock, connection);
	if (length > 0)
		connection_pend(vsock, connection);
	else
		connection_arm(vsock, connection);
	return length;
}

static void vsock_receive(struct virtio_vsock *vsock)
{
	struct virtqueue *queue = &vsock->device.queues[QUEUE_RECEIVE];
	unsigned int turns = 0;

	while (vsock->device.running && (vsock->reset_count > 0 || !TAILQ_EMPTY(&vsock->pending))) {
		uint32_t length;

		if (turns++ == TURNS_MAX) {
			vsock->options.again(vsock->options.context);
			break;
		}
		if (!vsock_pop(vsock, QUEUE_RECEIVE))
			break;
		if (vsock->chain.readable_count > 0 || vsock->chain.writable_bytes <= HEADER_SIZE) {
			vsock_break(vsock, "a vsock buffer without room");
			return;
		}
		length = vsock_say(vsock);
		if (length > 0)
			virtqueue_push(queue, vsock->chain.head, length);
		else
			virtqueue_unpop(queue);
	}
	if (vsock->device.running)
		virtio_device_signal(&vsock->device, QUEUE_RECEIVE);
}

/* Both directions; resets that were taken make room for more packets. */
static void vsock_serve(struct virtio_vsock *vsock)
{
	bool is_stalled;

	do {
		vsock_transmit(vsock);
		is_stalled = vsock->reset_count == VSOCK_RESETS_MAX;
		vsock_receive(vsock);
	} while (is_stalled && vsock->device.running && vsock->reset_count < VSOCK_RESETS_MAX);
}

/* ---- the host's side */

/* The port that a client wants; false: that is no greeting. */
static bool greeting_parse(const char *greeting, uint32_t *ret)
{
	uint64_t port;

	if (strncmp(greeting, GREETING, strlen(GREETING)) != 0 ||
		!checked_parse_u64(greeting + strlen(GREETING), PORT_ANY - 1, &port))
		return false;
	*ret = (uint32_t)port;
	return true;
}

/* A port of ours that no connection to this one of the guest has. */
static uint32_t host_port_choose(struct virtio_vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	do {
		if (vsock->next_host_port < FIRST_HOST_PORT || vsock->next_host_port == PORT_ANY)
			vsock->next_host_port = FIRST_HOST_PORT;
		port = vsock->next_host_port++;
	} while (connection_find(vsock, guest_port, port));
	return port;
}

/* Reads up to the end of the line and no further: what follows is the guest's. */
static void connection_greet(struct virtio_vsock *vsock, struct connection *connection)
{
	char *end = connection->greeting + connection->greeting_length;
	uint32_t port;
	ssize_t n;

	while ((n = read(connection->fd, end, 1)) == 1 && *end != '\n') {
		connection->greeting_length++;
		end++;
		if (connection->greeting_length == GREETING_MAX) {
			n = -1;
			errno = EBADMSG;
			break;
		}
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		connection_arm(vsock, connection);
		return;
	}
	*end = '\0';
	if (n <= 0 || !greeting_parse(connection->greeting, &port) || !vsock->device.running) {
		connection_free(vsock, connection);
		return;
	}
	vsock->greeting_count--;
	connection->state = CONNECTION_REQUESTED;
	connection->guest_port = port;
	connection->host_port = host_port_choose(vsock, port);
	connection->send_request = true;
	connection_make_known(vsock, connection);
	connection_pend(vsock, connection);
	connection_arm(vsock, connection);
}

static void client_add(struct virtio_vsock *vsock, int fd)
{
	struct connection *connection = NULL;

	if (vsock->device.running && vsock->greeting_count < VSOCK_GREETINGS_MAX)
		connection = connection_new(vsock, CONNECTION_GREETING);
	if (!connection) {
		close(fd);
		return;
	}
	if (connection_set_fd(vsock, connection, fd) < 0)
		connection_free(vsock, connection);
	else
		connection_greet(vsock, connection);
}

void virtio_vsock_accept(struct virtio_vsock *vsock)
{
	pthread_mutex_lock(&vsock->device.lock);
	for (unsigned int i = 0; i < ACCEPTS_MAX; i++) {
		int fd;

		/* cppcheck-suppress nullPointer */
		fd = accept4(vsock->options.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		client_add(vsock, fd);
	}
	vsock_receive(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}

static void connection_ready(
	struct virtio_vsock *vsock, struct connection *connection, uint32_t events)
{
	uint32_t generation = connection->generation;
	unsigned int slot = connection->slot;
	bool hung_up = events & (POLLHUP | POLLERR);

	connection->has_hung_up |= hung_up;
	switch (connection->state) {
	case CONNECTION_GREETING:
		connection_greet(vsock, connection);
		return;
	case CONNECTION_REQUESTED:
	case CONNECTION_ASKED:
		/* The client has not waited for the answer. */
		if (!hung_up)
			break;
		if (connection->send_request)
			connection_free(vsock, connection);
		else
			connection_reset(vsock, connection);
		return;
	case CONNECTION_OPEN:
	case CONNECTION_LINGERING:
		if (connection->buffer.length > 0)
			connection_flush(vsock, connection);
		break;
	}
	connection = vsock->slots[slot];
	if (!connection || connection->generation != generation)
		return;
	if (connection->state == CONNECTION_OPEN) {
		if (hung_up && (connection->host_ended || connection->heard & SHUTDOWN_RCV))
			connection_end_writing(vsock, connection);
		if (events & (POLLIN | POLLHUP | POLLERR) && !connection->asked_credit)
			connection_pend(vsock, connection);
	}
	connection_arm(vsock, connection);
}

void virtio_vsock_ready(struct virtio_vsock *vsock, unsigned int slot, uint32_t events)
{
	pthread_mutex_lock(&vsock->device.lock);
	if (slot < VSOCK_CONNECTIONS_MAX && vsock->slots[slot] && vsock->slots[slot]->fd >= 0)
		connection_ready(vsock, vsock->slots[slot], events);
	vsock_receive(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}

void virtio_vsock_connected(struct virtio_vsock *vsock, uint64_t id, int fd)
{
	uint32_t slot = (uint32_t)id, generation = (uint32_t)(id >> 32);
	struct connection *connection;

	pthread_mutex_lock(&vsock->device.lock);
	connection = slot < VSOCK_CONNECTIONS_MAX ? vsock->slots[slot] : NULL;
	if (!connection || connection->generation != generation ||
		connection->state != CONNECTION_ASKED) {
		/* The guest did not wait. */
		if (fd >= 0)
			close(fd);
	} else if (fd < 0 || connection_set_fd(vsock, connection, fd) < 0) {
		connection_reset(vsock, connection);
	} else {
		connection->state = CONNECTION_OPEN;
		connection->send_response = true;
		connection_pend(vsock, connection);
	}
	vsock_receive(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}

void virtio_vsock_continue(struct virtio_vsock *vsock)
{
	pthread_mutex_lock(&vsock->device.lock);
	vsock_serve(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}

unsigned int virtio_vsock_count(struct virtio_vsock *vsock)
{
	unsigned int count;

	pthread_mutex_lock(&vsock->device.lock);
	count = VSOCK_CONNECTIONS_MAX - vsock->free_count;
	pthread_mutex_unlock(&vsock->device.lock);
	return count;
}

/* ---- operations */

/* Section 5.10.6.7: the guest's connections are gone. */
static void vsock_tell_reset(struct virtio_vsock *vsock)
{
	const struct virtio_vsock_event event = {.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
	size_t n;

	if (!vsock->was_reset || !vsock_pop(vsock, QUEUE_EVENT))
		return;
	n = virtqueue_chain_write(&vsock->chain, 0, &event, sizeof(event));
	virtqueue_push(&vsock->device.queues[QUEUE_EVENT], vsock->chain.head, (uint32_t)n);
	virtio_device_signal(&vsock->device, QUEUE_EVENT);
	vsock->was_reset = false;
}

static void vsock_notify(struct virtio_device *device, unsigned int queue)
{
	struct virtio_vsock *vsock = vsock_of(device);

	if (queue == QUEUE_EVENT)
		vsock_tell_reset(vsock);
	else
		vsock_serve(vsock);
}

static void vsock_reset(struct virtio_device *device)
{
	struct virtio_vsock *vsock = vsock_of(device);

	connections_free(vsock);
	vsock->was_reset = false;
}

/*
 * Parking. The sockets are this machine's and stay behind. A guest that had connections is told at once when it
 * goes on; one that had none, as every template, is not disturbed.
 */
static int vsock_save(struct virtio_device *device, struct state_writer *writer, struct error *err)
{
	struct virtio_vsock *vsock = vsock_of(device);

	(void)err;
	state_put_u32(writer,
		vsock->was_reset || vsock->reset_count > 0 ||
			vsock->free_count < VSOCK_CONNECTIONS_MAX);
	return 0;
}

static int vsock_restore(
	struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_vsock *vsock = vsock_of(device);
	uint32_t was_reset = state_get_u32(reader);

	if (reader->error || was_reset > 1)
		return error_set(err, -EBADMSG, "saved state: the vsock device's is damaged");
	vsock->was_reset = was_reset;
	if (device->running)
		vsock_tell_reset(vsock);
	return 0;
}

static void vsock_read_config(
	struct virtio_device *device, size_t offset, void *data, size_t length)
{
	const struct virtio_vsock_config config = {.guest_cid = htole64(VSOCK_CID_GUEST)};

	(void)device;
	memcpy(data, (const uint8_t *)&config + offset, length);
}

static const struct virtio_operations vsock_operations = {
	.notify = vsock_notify,
	.reset = vsock_reset,
	.read_config = vsock_read_config,
	.save = vsock_save,
	.restore = vsock_restore,
};

int virtio_vsock_create(const struct guest_memory *memory,
	const struct virtio_vsock_options *options, struct virtio_vsock **ret)
{
	struct virtio_vsock *vsock = calloc(1, sizeof(*vsock));

	if (!vsock)
		return -ENOMEM;
	virtio_device_init(&vsock->device, memory);
	vsock->device.id = VIRTIO_ID_VSOCK;
	vsock->device.queue_size = QUEUE_SIZE;
	vsock->device.queue_count = QUEUES;
	vsock->device.config_size = sizeof(struct virtio_vsock_config);
	vsock->device.operations = &vsock_operations;
	/* A program may send a file that it has mapped, without a copy. */
	vsock->device.queues[QUEUE_TRANSMIT].window = true;
	vsock->options = *options;
	TAILQ_INIT(&vsock->pending);
	for (unsigned int i = 0; i < BUCKETS; i++)
		LIST_INIT(&vsock->buckets[i]);
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		vsock->free_slots[i] = (uint16_t)(VSOCK_CONNECTIONS_MAX - 1 - i);
	vsock->free_count = VSOCK_CONNECTIONS_MAX;
	vsock->next_host_port = FIRST_HOST_PORT;
	*ret = vsock;
	return 0;
}

void virtio_vsock_free(struct virtio_vsock *vsock)
{
	if (!vsock)
		return;
	connections_free(vsock);
	cleanup_close(&vsock->options.listen_fd);
	pthread_mutex_destroy(&vsock->device.lock);
	free(vsock);
}

struct virtio_device *virtio_vsock_device(struct virtio_vsock *vsock)
{
	return &vsock->device;
}
