// SPDX-License-Identifier: Apache-2.0
/*
 * vsock_connection.c: the connections of the vsock device: where they are found, when they speak, how they end.
 *
 * #syscalls:vcpu,loop shutdown(_, SHUT_WR) close
 */
#include "virtio/vsock_parts.h"

#include "base/cleanup.h"

#include <poll.h>
#include <sys/socket.h>

/* ---- the table */

static struct vsock_bucket *bucket_of(
	struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	return &vsock->buckets[(guest_port * 31 + host_port) % VSOCK_BUCKETS];
}

struct vsock_connection *vsock_connection_find(
	struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_connection *connection;

	LIST_FOREACH(connection, bucket_of(vsock, guest_port, host_port), bucket)
	if (connection->guest_port == guest_port && connection->host_port == host_port)
		return connection;
	return NULL;
}

void vsock_connection_make_known(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	LIST_INSERT_HEAD(bucket_of(vsock, connection->guest_port, connection->host_port),
		connection, bucket);
	connection->is_known = true;
}

void vsock_connection_pend(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->is_pending)
		return;
	TAILQ_INSERT_TAIL(&vsock->pending, connection, pending);
	connection->is_pending = true;
}

void vsock_connection_unpend(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->is_pending)
		TAILQ_REMOVE(&vsock->pending, connection, pending);
	connection->is_pending = false;
}

void vsock_connection_forget(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->is_known)
		LIST_REMOVE(connection, bucket);
	connection->is_known = false;
	vsock_connection_unpend(vsock, connection);
}

void vsock_connection_close_fd(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->fd < 0)
		return;
	vsock->options.unwatch(vsock->options.context, connection->slot, connection->fd);
	close(TAKE_FD(connection->fd));
}

void vsock_connection_free(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	vsock_connection_forget(vsock, connection);
	vsock_connection_close_fd(vsock, connection);
	vsock_buffer_clear(&connection->buffer);
	if (connection->state == CONNECTION_GREETING)
		vsock->greeting_count--;
	if (connection->is_large)
		vsock->large_count--;
	vsock->slots[connection->slot] = NULL;
	vsock->free_slots[vsock->free_count++] = (uint16_t)connection->slot;
	free(connection);
}

int vsock_connection_set_fd(struct virtio_vsock *vsock, struct vsock_connection *connection, int fd)
{
	int r = vsock->options.watch(vsock->options.context, connection->slot, fd);

	if (r < 0)
		close(fd);
	else
		connection->fd = fd;
	return r;
}

struct vsock_connection *vsock_connection_new(
	struct virtio_vsock *vsock, enum vsock_connection_state state)
{
	struct vsock_connection *connection;

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

void vsock_connections_free(struct virtio_vsock *vsock)
{
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		if (vsock->slots[i])
			vsock_connection_free(vsock, vsock->slots[i]);
	vsock->reset_count = 0;
}

void vsock_connection_arm(struct virtio_vsock *vsock, const struct vsock_connection *connection)
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

void vsock_queue_reset(struct virtio_vsock *vsock, uint64_t source_cid, uint32_t source_port,
	uint32_t destination_port, uint16_t type)
{
	unsigned int index = (vsock->reset_start + vsock->reset_count) % VSOCK_RESETS_MAX;

	if (vsock->reset_count == VSOCK_RESETS_MAX)
		return;
	vsock->resets[index] = (struct vsock_reset){
		.source_cid = source_cid,
		.source_port = source_port,
		.destination_port = destination_port,
		.type = type,
	};
	vsock->reset_count++;
}

void vsock_connection_reset(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	vsock_queue_reset(vsock, VSOCK_CID_HOST, connection->host_port, connection->guest_port,
		VIRTIO_VSOCK_TYPE_STREAM);
	vsock_connection_free(vsock, connection);
}

/* ---- what the guest sent goes to the host */

void vsock_connection_forwarded(
	struct virtio_vsock *vsock, struct vsock_connection *connection, size_t length)
{
	connection->forwarded += (uint32_t)length;
	if (connection->forwarded - connection->told_forwarded < connection->buffer.size / 2)
		return;
	connection->send_credit = true;
	vsock_connection_pend(vsock, connection);
}

void vsock_connection_end_writing(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->write_ended)
		return;
	connection->write_ended = true;
	connection->forwarded += (uint32_t)connection->buffer.length;
	vsock_buffer_clear(&connection->buffer);
	/* Who has hung up sends nothing more than is there, and of that the guest wants to hear. */
	if (connection->heard & SHUTDOWN_RCV)
		connection->host_ended = true;
	vsock_connection_pend(vsock, connection);
}

void vsock_connection_settle(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	if (connection->buffer.length > 0)
		return;
	if (connection->state == CONNECTION_LINGERING) {
		vsock_connection_free(vsock, connection);
		return;
	}
	if (connection->heard == SHUTDOWN_BOTH) {
		vsock_connection_reset(vsock, connection);
		return;
	}
	if (connection->heard & SHUTDOWN_SEND && connection->fd >= 0)
		shutdown(connection->fd, SHUT_WR);
}

void vsock_connection_flush(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	ssize_t n = vsock_buffer_send(&connection->buffer, connection->fd);

	if (n == -EAGAIN)
		return;
	if (connection->state == CONNECTION_LINGERING && n < 0)
		vsock_buffer_clear(&connection->buffer);
	else if (n < 0)
		vsock_connection_end_writing(vsock, connection);
	else if (connection->state == CONNECTION_OPEN)
		vsock_connection_forwarded(vsock, connection, (size_t)n);
	vsock_connection_settle(vsock, connection);
}
