// SPDX-License-Identifier: Apache-2.0
/*
 * vsock_host.c: the host's side of the vsock device: clients that come, sockets that have something, sockets that the
 * guest asked for.
 *
 * #syscalls:loop accept4(_, _, _, SOCK_CLOEXEC | SOCK_NONBLOCK) read poll(_, 1, 0)
 * #syscalls:vcpu,loop close
 */
#include "virtio/vsock_parts.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PORT_ANY    UINT32_MAX
#define ACCEPTS_MAX 64u /* at one call */

/* The port that a client wants; false: that is no greeting. */
static bool greeting_parse(const char *greeting, uint32_t *ret)
{
	uint64_t port;

	if (strncmp(greeting, VSOCK_GREETING, strlen(VSOCK_GREETING)) != 0 ||
		!checked_parse_u64(greeting + strlen(VSOCK_GREETING), PORT_ANY - 1, &port))
		return false;
	*ret = (uint32_t)port;
	return true;
}

/* A port of ours that no connection to this one of the guest has. */
static uint32_t host_port_choose(struct virtio_vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	do {
		if (vsock->next_host_port < VSOCK_FIRST_HOST_PORT ||
			vsock->next_host_port == PORT_ANY)
			vsock->next_host_port = VSOCK_FIRST_HOST_PORT;
		port = vsock->next_host_port++;
	} while (vsock_connection_find(vsock, guest_port, port));
	return port;
}

/* Reads up to the end of the line and no further: what follows is the guest's. */
static void connection_greet(struct virtio_vsock *vsock, struct vsock_connection *connection)
{
	char *end = connection->greeting + connection->greeting_length;
	uint32_t port;
	ssize_t n;

	while ((n = read(connection->fd, end, 1)) == 1 && *end != '\n') {
		connection->greeting_length++;
		end++;
		if (connection->greeting_length == VSOCK_GREETING_MAX) {
			n = -1;
			errno = EBADMSG;
			break;
		}
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		vsock_connection_arm(vsock, connection);
		return;
	}
	*end = '\0';
	if (n <= 0 || !greeting_parse(connection->greeting, &port) || !vsock->device.running) {
		vsock_connection_free(vsock, connection);
		return;
	}
	vsock->greeting_count--;
	connection->state = CONNECTION_REQUESTED;
	connection->guest_port = port;
	connection->host_port = host_port_choose(vsock, port);
	connection->send_request = true;
	vsock_connection_make_known(vsock, connection);
	vsock_connection_pend(vsock, connection);
	vsock_connection_arm(vsock, connection);
}

static void client_add(struct virtio_vsock *vsock, int fd)
{
	struct vsock_connection *connection = NULL;

	if (vsock->device.running && vsock->greeting_count < VSOCK_GREETINGS_MAX)
		connection = vsock_connection_new(vsock, CONNECTION_GREETING);
	if (!connection) {
		close(fd);
		return;
	}
	if (vsock_connection_set_fd(vsock, connection, fd) < 0)
		vsock_connection_free(vsock, connection);
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

/* An event of who had the slot before may come to its next user: one that ends a connection is asked for again. */
static bool has_hung_up(const struct vsock_connection *connection)
{
	struct pollfd status = {.fd = connection->fd};

	return poll(&status, 1, 0) == 1;
}

static void connection_ready(
	struct virtio_vsock *vsock, struct vsock_connection *connection, uint32_t events)
{
	uint32_t generation = connection->generation;
	unsigned int slot = connection->slot;
	bool hung_up = events & (POLLHUP | POLLERR) && has_hung_up(connection);

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
			vsock_connection_free(vsock, connection);
		else
			vsock_connection_reset(vsock, connection);
		return;
	case CONNECTION_OPEN:
	case CONNECTION_LINGERING:
		if (connection->buffer.length > 0)
			vsock_connection_flush(vsock, connection);
		break;
	}
	connection = vsock->slots[slot];
	if (!connection || connection->generation != generation)
		return;
	if (connection->state == CONNECTION_OPEN) {
		if (hung_up && (connection->host_ended || connection->heard & SHUTDOWN_RCV))
			vsock_connection_end_writing(vsock, connection);
		if (events & (POLLIN | POLLHUP | POLLERR) && !connection->asked_credit)
			vsock_connection_pend(vsock, connection);
	}
	vsock_connection_arm(vsock, connection);
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
	struct vsock_connection *connection;

	pthread_mutex_lock(&vsock->device.lock);
	connection = slot < VSOCK_CONNECTIONS_MAX ? vsock->slots[slot] : NULL;
	if (!connection || connection->generation != generation ||
		connection->state != CONNECTION_ASKED) {
		/* The guest did not wait. */
		if (fd >= 0)
			close(fd);
	} else if (fd < 0 || vsock_connection_set_fd(vsock, connection, fd) < 0) {
		vsock_connection_reset(vsock, connection);
	} else {
		connection->state = CONNECTION_OPEN;
		connection->send_response = true;
		vsock_connection_pend(vsock, connection);
	}
	vsock_receive(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}
