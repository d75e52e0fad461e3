// SPDX-License-Identifier: Apache-2.0
/*
 * vsock_packet.c: packets of the vsock device (section 5.10.6), what the guest says and what is said to it.
 *
 * #syscalls:vcpu,loop readv recvmsg(_, _, MSG_PEEK | MSG_DONTWAIT)
 * #syscalls:vcpu,loop sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL) shutdown(_, SHUT_RD) poll(_, 1, 0)
 */
#include "virtio/vsock_parts.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PACKET_DATA_MAX (64u << 10) /* what Linux takes at once */

/* Bytes that the guest has room for; it may claim what it likes. */
static uint32_t connection_credit(const struct vsock_connection *connection)
{
	uint32_t held = connection->sent - connection->peer_forwarded;

	return held < connection->peer_room ? connection->peer_room - held : 0;
}

/* ---- from the guest to the host */

/* Sends from the guest's memory what the socket takes at once. The number of bytes, or -errno. */
static ssize_t chain_send(const struct virtqueue_chain *chain, size_t length, int fd)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	struct msghdr message = {.msg_iov = spans};
	ssize_t n;

	message.msg_iovlen = virtqueue_chain_slice(chain, false, VSOCK_HEADER_SIZE, length, spans);
	do
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_is_of_moment(-errno) ? -EAGAIN : -errno;
	return n;
}

static void connection_data(
	struct virtio_vsock *vsock, struct vsock_connection *connection, uint32_t length)
{
	uint32_t held = connection->received - connection->forwarded;
	ssize_t n = 0;

	if (connection->heard & SHUTDOWN_SEND || length > connection->buffer.size - held) {
		vsock_connection_reset(vsock, connection);
		return;
	}
	connection->received += length;
	if (connection->write_ended) {
		vsock_connection_forwarded(vsock, connection, length);
		return;
	}
	if (length > 0 && connection->buffer.length == 0)
		n = chain_send(&vsock->chain, length, connection->fd);
	if (n == -EAGAIN)
		n = 0;
	/* Memory of the guest that has gone, or none of ours. */
	if (n == -EFAULT ||
		(n >= 0 && (uint32_t)n < length &&
			vsock_buffer_add(&connection->buffer, &vsock->chain,
				VSOCK_HEADER_SIZE + (size_t)n, length - (size_t)n) < 0)) {
		vsock_connection_reset(vsock, connection);
		return;
	}
	if (n < 0) {
		vsock_connection_end_writing(vsock, connection);
		vsock_connection_forwarded(vsock, connection, length);
		return;
	}
	vsock_connection_forwarded(vsock, connection, (size_t)n);
	if (connection->buffer.length > 0)
		vsock_connection_arm(vsock, connection);
}

static void connection_shutdown(
	struct virtio_vsock *vsock, struct vsock_connection *connection, uint32_t flags)
{
	connection->heard |= flags & SHUTDOWN_BOTH;
	/* A client that goes on writing hears of it. */
	if (connection->heard & SHUTDOWN_RCV && connection->fd >= 0)
		shutdown(connection->fd, SHUT_RD);
	vsock_connection_settle(vsock, connection);
}

/* The guest has accepted a client of the host. */
static void connection_accepted(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	char answer[32];
	int length = snprintf(answer, sizeof(answer), "OK %u\n", connection->host_port);
	struct iovec span = {.iov_base = answer, .iov_len = (size_t)length};
	const struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};

	/* Nothing was written before: there is room, or there is nobody. */
	if (sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != length) {
		vsock_connection_reset(vsock, connection);
		return;
	}
	connection->state = CONNECTION_OPEN;
	vsock_connection_arm(vsock, connection);
}

/* The guest says that a connection is no more. */
static void connection_was_reset(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	/* After an orderly end the guest does not wait for ever until all has gone to the host. */
	if (connection->state == CONNECTION_OPEN && connection->heard & SHUTDOWN_SEND &&
		connection->buffer.length > 0) {
		connection->state = CONNECTION_LINGERING;
		vsock_connection_forget(vsock, connection);
		vsock_connection_arm(vsock, connection);
		return;
	}
	vsock_connection_free(vsock, connection);
}

static void guest_connects(struct virtio_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_connection *connection = vsock_connection_new(vsock, CONNECTION_ASKED);
	uint32_t guest_port = le32toh(header->src_port), host_port = le32toh(header->dst_port);
	uint64_t id;

	if (!connection) {
		vsock_queue_reset(
			vsock, VSOCK_CID_HOST, host_port, guest_port, VIRTIO_VSOCK_TYPE_STREAM);
		return;
	}
	connection->guest_port = guest_port;
	connection->host_port = host_port;
	connection->peer_room = le32toh(header->buf_alloc);
	connection->peer_forwarded = le32toh(header->fwd_cnt);
	vsock_connection_make_known(vsock, connection);
	id = (uint64_t)connection->generation << 32 | connection->slot;
	if (vsock->options.connect(vsock->options.context, id, host_port) < 0)
		vsock_connection_reset(vsock, connection);
}

static void connection_packet(struct virtio_vsock *vsock, struct vsock_connection *connection,
	const struct virtio_vsock_hdr *header)
{
	uint16_t operation = le16toh(header->op);
	uint32_t length = le32toh(header->len);
	bool is_open = connection->state == CONNECTION_OPEN;

	connection->peer_room = le32toh(header->buf_alloc);
	connection->peer_forwarded = le32toh(header->fwd_cnt);
	if (connection->asked_credit && connection_credit(connection) > 0) {
		connection->asked_credit = false;
		vsock_connection_pend(vsock, connection);
	}
	if (operation == VIRTIO_VSOCK_OP_RST)
		connection_was_reset(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_RW && is_open)
		connection_data(vsock, connection, length);
	else if (length > 0)
		vsock_connection_reset(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_RESPONSE &&
		connection->state == CONNECTION_REQUESTED && !connection->send_request)
		connection_accepted(vsock, connection);
	else if (operation == VIRTIO_VSOCK_OP_SHUTDOWN && is_open)
		connection_shutdown(vsock, connection, le32toh(header->flags));
	else if (operation == VIRTIO_VSOCK_OP_CREDIT_REQUEST && is_open) {
		connection->send_credit = true;
		vsock_connection_pend(vsock, connection);
	} else if (operation != VIRTIO_VSOCK_OP_CREDIT_UPDATE || !is_open) {
		vsock_connection_reset(vsock, connection);
	}
}

/* One packet, in vsock->chain. */
void vsock_packet(struct virtio_vsock *vsock)
{
	struct vsock_connection *connection;
	struct virtio_vsock_hdr header;
	uint16_t operation;

	if (vsock->chain.writable_count > 0 ||
		virtqueue_chain_read(&vsock->chain, 0, &header, VSOCK_HEADER_SIZE) !=
			VSOCK_HEADER_SIZE) {
		vsock_break(vsock, "a vsock packet without a header");
		return;
	}
	/* An answer to somebody else than the guest has nowhere to go. */
	if (le64toh(header.src_cid) != VSOCK_CID_GUEST)
		return;
	operation = le16toh(header.op);
	connection =
		vsock_connection_find(vsock, le32toh(header.src_port), le32toh(header.dst_port));
	if (le64toh(header.dst_cid) != VSOCK_CID_HOST ||
		le16toh(header.type) != VIRTIO_VSOCK_TYPE_STREAM ||
		(!connection && operation != VIRTIO_VSOCK_OP_REQUEST)) {
		/* Section 5.10.6.4: but never a reset for a reset. */
		if (operation != VIRTIO_VSOCK_OP_RST)
			vsock_queue_reset(vsock, le64toh(header.dst_cid), le32toh(header.dst_port),
				le32toh(header.src_port), le16toh(header.type));
		return;
	}
	if (le32toh(header.len) > vsock->chain.readable_bytes - VSOCK_HEADER_SIZE) {
		if (connection)
			vsock_connection_reset(vsock, connection);
		else
			vsock_queue_reset(vsock, VSOCK_CID_HOST, le32toh(header.dst_port),
				le32toh(header.src_port), VIRTIO_VSOCK_TYPE_STREAM);
		return;
	}
	if (connection)
		connection_packet(vsock, connection, &header);
	else
		guest_connects(vsock, &header);
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
	virtqueue_chain_write(&vsock->chain, 0, header, VSOCK_HEADER_SIZE);
	return (uint32_t)VSOCK_HEADER_SIZE + le32toh(header->len);
}

static uint32_t reset_write(struct virtio_vsock *vsock)
{
	const struct vsock_reset *reset = &vsock->resets[vsock->reset_start];
	struct virtio_vsock_hdr header = {
		.type = htole16(reset->type), .op = htole16(VIRTIO_VSOCK_OP_RST)};

	vsock->reset_start = (vsock->reset_start + 1) % VSOCK_RESETS_MAX;
	vsock->reset_count--;
	return header_write(
		vsock, reset->source_cid, reset->source_port, reset->destination_port, &header);
}

static uint32_t packet_write(struct virtio_vsock *vsock, struct vsock_connection *connection,
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
static void connection_end_reading(struct vsock_connection *connection)
{
	struct pollfd fd = {.fd = connection->fd};

	connection->host_ended = true;
	/* A program that has gone takes nothing either; one that has only ended its direction does. */
	if (poll(&fd, 1, 0) == 1 && fd.revents & (POLLHUP | POLLERR))
		connection->write_ended = true;
}

/* Reads into vsock->chain. Returns the number of bytes that it then holds; 0: there are none. */
static uint32_t connection_read(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	uint32_t room = vsock->chain.writable_bytes - (uint32_t)VSOCK_HEADER_SIZE;
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
			(int)virtqueue_chain_slice(
				&vsock->chain, true, VSOCK_HEADER_SIZE, room, spans));
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
static uint32_t connection_untold(const struct vsock_connection *connection)
{
	uint32_t flags = (connection->host_ended ? SHUTDOWN_SEND : 0) |
		(connection->write_ended ? SHUTDOWN_RCV : 0);

	return flags & ~connection->told;
}

/* Fills vsock->chain with what the connection has to say; 0: nothing. */
static uint32_t connection_say(struct virtio_vsock *vsock, struct vsock_connection *connection)
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
			vsock_connection_close_fd(vsock, connection);
		}
	}
	if (length == 0 && connection->send_credit)
		length = packet_write(vsock, connection, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	return length;
}

/* The next that has something to say. As connection_say(). */
uint32_t vsock_say(struct virtio_vsock *vsock)
{
	struct vsock_connection *connection = TAILQ_FIRST(&vsock->pending);
	uint32_t length;

	if (vsock->reset_count > 0)
		return reset_write(vsock);
	vsock_connection_unpend(vsock, connection);
	length = connection_say(vsock, connection);
	if (length > 0)
		vsock_connection_pend(vsock, connection);
	else
		vsock_connection_arm(vsock, connection);
	return length;
}
