// SPDX-License-Identifier: Apache-2.0
/*
 * console.c: virtio-console ports over sockets.
 *
 * Theory of operation: each port has a receive and a transmit queue and one socket. At most one chain
 * of each queue is "held": popped, and waiting for the socket to have bytes (receive) or room
 * (transmit). While a chain is held the owner's event loop watches the socket for us; when a queue is
 * empty it does not, and the guest's next notification starts again. So there is no buffer between
 * guest and socket and no state but the held chains.
 *
 * #syscalls:vcpu,loop readv sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL)
 * #syscalls:loop close
 */
#include "virtio/console.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <linux/virtio_console.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Queue numbers, section 5.3.2. */
#define QUEUE_CONTROL_RECEIVE  2
#define QUEUE_CONTROL_TRANSMIT 3
#define QUEUE_RECEIVE(port)    ((port) == 0 ? 0u : 2u * (port) + 2u)
#define QUEUE_TRANSMIT(port)   (QUEUE_RECEIVE(port) + 1u)

/* More control messages than these wait only when the driver never reads: then they are dropped. */
#define CONTROL_PENDING_MAX ((size_t)4 * CONSOLE_PORTS)

struct held_chain {
	bool held;
	size_t offset; /* bytes of it done */
	struct virtqueue_chain chain;
};

struct port {
	int fd;
	bool ready;       /* the driver knows the port */
	bool wrote;       /* something left on it */
	bool peer_closed; /* our side of the socket is gone: output is dropped */
	uint32_t wanted;  /* poll events that the owner is to tell of */
	struct held_chain receive, transmit;
};

struct virtio_console {
	struct virtio_device device;
	struct virtio_console_options options;
	struct port ports[CONSOLE_PORTS];
	struct virtio_console_control pending[CONTROL_PENDING_MAX]; /* for the driver, in order */
	size_t pending_count;
};

static struct virtio_console *console_of(struct virtio_device *device)
{
	return (struct virtio_console *)device; /* the device is the first member */
}

/* The owner tells once, of the events that it was asked for last: both directions ask for theirs together. */
static void port_want(struct virtio_console *console, unsigned int index, uint32_t events)
{
	struct port *port = &console->ports[index];

	port->wanted |= events;
	if (port->wanted)
		console->options.arm(console->options.context, index, port->wanted);
}

/* Pops into the holder unless it is taken. 1: a chain is held. */
static int hold_chain(struct virtio_console *console, unsigned int queue, struct held_chain *holder)
{
	struct virtqueue *virtqueue = &console->device.queues[queue];
	int r;

	if (holder->held)
		return 1;
	if (!virtqueue->ready)
		return 0;
	r = virtqueue_pop(virtqueue, &holder->chain);
	if (r == 0) {
		/* Ask for a notification, then look again: the driver may have added one meanwhile. */
		virtqueue_enable_notification(virtqueue);
		r = virtqueue_pop(virtqueue, &holder->chain);
	}
	if (r < 0)
		virtio_device_break(&console->device, "malformed console queue");
	holder->held = r > 0;
	holder->offset = 0;
	return r;
}

static void release_chain(struct virtio_console *console, unsigned int queue,
	struct held_chain *holder, uint32_t written)
{
	virtqueue_push(&console->device.queues[queue], holder->chain.head, written);
	holder->held = false;
}

/* Delivers control messages while the driver has buffers for them. */
static void control_flush(struct virtio_console *console)
{
	struct virtqueue *queue = &console->device.queues[QUEUE_CONTROL_RECEIVE];
	size_t sent = 0;

	while (sent < console->pending_count && queue->ready) {
		struct held_chain holder = {0};
		size_t n;

		if (hold_chain(console, QUEUE_CONTROL_RECEIVE, &holder) <= 0)
			break;
		n = virtqueue_chain_write(
			&holder.chain, 0, &console->pending[sent], sizeof(console->pending[sent]));
		release_chain(console, QUEUE_CONTROL_RECEIVE, &holder, (uint32_t)n);
		sent++;
	}
	console->pending_count -= sent;
	memmove(console->pending, console->pending + sent,
		console->pending_count * sizeof(console->pending[0]));
	if (sent > 0)
		virtio_device_signal(&console->device, QUEUE_CONTROL_RECEIVE);
}

static void control_send(
	struct virtio_console *console, unsigned int port, uint16_t event, uint16_t value)
{
	if (console->pending_count == CONTROL_PENDING_MAX)
		return;
	console->pending[console->pending_count++] = (struct virtio_console_control){
		.id = port,
		.event = event,
		.value = value,
	};
}

static void control_receive(
	struct virtio_console *console, const struct virtio_console_control *message)
{
	switch (message->event) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (unsigned int i = 1; message->value == 1 && i < CONSOLE_PORTS; i++)
			control_send(console, i, VIRTIO_CONSOLE_PORT_ADD, 1);
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (message->id == 0 || message->id >= CONSOLE_PORTS || message->value != 1)
			break;
		console->ports[message->id].ready = true;
		for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
			if (!console->ports[i].ready)
				return;
		/*
		 * All open at once, the first port last: a guest that could write to the control port
		 * knows that the others are open too.
		 */
		for (unsigned int i = CONSOLE_PORTS - 1; i > 0; i--)
			control_send(console, i, VIRTIO_CONSOLE_PORT_OPEN, 1);
		break;
	default: /* PORT_OPEN tells that a process has the port open; nothing depends on it */
		break;
	}
}

static void control_transmit(struct virtio_console *console)
{
	struct virtio_device *device = &console->device;
	struct virtqueue_chain chain;
	unsigned int served = 0;

	while (virtio_device_next(device, QUEUE_CONTROL_TRANSMIT, &chain, &served)) {
		struct virtio_console_control message;

		if (virtqueue_chain_read(&chain, 0, &message, sizeof(message)) == sizeof(message))
			control_receive(console, &message);
		virtqueue_push(&device->queues[QUEUE_CONTROL_TRANSMIT], chain.head, 0);
	}
	virtio_device_signal(device, QUEUE_CONTROL_TRANSMIT);
	if (device->running)
		control_flush(console);
}

static void port_note_output(struct virtio_console *console, unsigned int index)
{
	struct port *port = &console->ports[index];

	if (!port->wrote && console->options.first_output)
		console->options.first_output(console->options.context, index);
	port->wrote = true;
}

/* Guest to socket. */
static void port_transmit(struct virtio_console *console, unsigned int index)
{
	struct port *port = &console->ports[index];
	unsigned int queue = QUEUE_TRANSMIT(index), turns = 0;

	while (hold_chain(console, queue, &port->transmit) > 0) {
		struct held_chain *holder = &port->transmit;
		struct iovec spans[VIRTQUEUE_SPANS_MAX];
		struct msghdr message = {.msg_iov = spans};
		size_t left = holder->chain.readable_bytes - holder->offset;
		ssize_t n;

		/* A guest that never stops feeding must not keep the lock for ever. */
		if (++turns > VIRTQUEUE_SIZE_MAX) {
			port_want(console, index, POLLOUT);
			break;
		}
		if (left > 0)
			port_note_output(console, index);
		message.msg_iovlen =
			virtqueue_chain_slice(&holder->chain, false, holder->offset, left, spans);
		n = left == 0 || port->peer_closed
			? (ssize_t)left
			: sendmsg(port->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && error_is_of_moment(-errno)) {
			port_want(console, index, POLLOUT);
			break;
		}
		if (n < 0) {
			/* Nobody reads any more: the guest must not stand still for that. */
			port->peer_closed = true;
			continue;
		}
		holder->offset += (size_t)n;
		if (holder->offset == holder->chain.readable_bytes)
			release_chain(console, queue, holder, 0);
	}
	virtio_device_signal(&console->device, queue);
}

/* All or a part of it, at once or not at all. */
static size_t port_send(
	struct virtio_console *console, unsigned int index, const struct iovec *spans, size_t count)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)spans, .msg_iovlen = count};
	struct port *port = &console->ports[index];
	size_t length = 0;
	ssize_t n;

	for (size_t i = 0; i < count; i++)
		length += spans[i].iov_len;
	if (length == 0)
		return 0;
	port_note_output(console, index);
	if (port->peer_closed)
		return length;
	do
		n = sendmsg(port->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && !error_is_of_moment(-errno)) {
		port->peer_closed = true;
		return length;
	}
	return n < 0 ? 0 : (size_t)n;
}

size_t virtio_console_transmit(
	struct virtio_console *console, unsigned int port, const struct iovec *spans, size_t count)
{
	size_t taken = 0;

	if (port == 0 || port >= CONSOLE_PORTS)
		return 0;
	pthread_mutex_lock(&console->device.lock);
	if (console->device.running) {
		port_transmit(console, port);
		if (!console->ports[port].transmit.held)
			taken = port_send(console, port, spans, count);
	}
	pthread_mutex_unlock(&console->device.lock);
	return taken;
}

/* Socket to guest. Returns -EPIPE at the end of the stream. */
static int port_receive(struct virtio_console *console, unsigned int index)
{
	struct port *port = &console->ports[index];
	unsigned int queue = QUEUE_RECEIVE(index), turns = 0;
	int r = 0;

	while (hold_chain(console, queue, &port->receive) > 0) {
		struct held_chain *holder = &port->receive;
		ssize_t n;

		/* Nor may one that gives buffers as fast as the socket fills, or empty ones. */
		if (++turns > VIRTQUEUE_SIZE_MAX) {
			port_want(console, index, POLLIN);
			break;
		}
		if (holder->chain.writable_bytes == 0) {
			release_chain(console, queue, holder, 0);
			continue;
		}
		n = readv(port->fd, holder->chain.spans + holder->chain.readable_count,
			(int)holder->chain.writable_count);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			port_want(console, index, POLLIN);
			break;
		}
		if (n <= 0) {
			r = -EPIPE;
			break;
		}
		release_chain(console, queue, holder, (uint32_t)n);
	}
	virtio_device_signal(&console->device, queue);
	return r;
}

int virtio_console_ready(struct virtio_console *console, unsigned int port, uint32_t events)
{
	int r = 0;

	pthread_mutex_lock(&console->device.lock);
	console->ports[port].wanted &= ~events;
	if (console->device.running) {
		if (events & (POLLOUT | POLLERR | POLLHUP))
			port_transmit(console, port);
		if (events & (POLLIN | POLLERR | POLLHUP))
			r = port_receive(console, port);
		port_want(console, port, 0);
	} else if (events & (POLLERR | POLLHUP)) {
		r = -EPIPE;
	}
	pthread_mutex_unlock(&console->device.lock);
	return r;
}

static void console_notify(struct virtio_device *device, unsigned int queue)
{
	struct virtio_console *console = console_of(device);

	if (queue == QUEUE_CONTROL_TRANSMIT) {
		control_transmit(console);
		return;
	}
	if (queue == QUEUE_CONTROL_RECEIVE) {
		control_flush(console);
		return;
	}
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		if (queue == QUEUE_TRANSMIT(i))
			port_transmit(console, i);
		else if (queue == QUEUE_RECEIVE(i) && port_receive(console, i) < 0)
			/* The end of the stream is the owner's to handle, on its own thread. */
			port_want(console, i, POLLIN);
	}
}

static void console_reset(struct virtio_device *device)
{
	struct virtio_console *console = console_of(device);

	console->pending_count = 0;
	for (unsigned int i = 0; i < CONSOLE_PORTS; i++) {
		console->ports[i].ready = false;
		console->ports[i].wanted = 0;
		console->ports[i].receive.held = false;
		console->ports[i].transmit.held = false;
	}
}

/*
 * Parking. A chain that waits for bytes of the socket goes back into its queue, in the restored console;
 * the driver will not notify us of it again, so the socket is watched from the start. Output that the
 * socket had no room for cannot be told: the bytes may have left in part. Whether anything was written
 * to a port is not the guest's state but this machine's.
 */
static int console_save(
	struct virtio_device *device, struct state_writer *writer, struct error *err)
{
	struct virtio_console *console = console_of(device);

	state_put_u32(writer, CONSOLE_PORTS);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		const struct port *port = &console->ports[i];

		if (port->transmit.held)
			return error_set(
				err, -EBUSY, "console port %u: output still waits to be taken", i);
		state_put_u32(writer, port->ready);
		state_put_u32(writer, port->receive.held);
	}
	state_put_bytes(
		writer, console->pending, console->pending_count * sizeof(console->pending[0]));
	return 0;
}

static int console_restore(
	struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_console *console = console_of(device);
	uint32_t ports = state_get_u32(reader);
	const void *pending;
	size_t size;

	for (unsigned int i = 1; ports == CONSOLE_PORTS && i < CONSOLE_PORTS; i++) {
		struct virtqueue *queue = &device->queues[QUEUE_RECEIVE(i)];
		uint32_t ready = state_get_u32(reader), held = state_get_u32(reader);

		if (ready > 1 || held > 1 || (held && !queue->ready))
			return error_set(
				err, -EBADMSG, "saved state: console port %u cannot be so", i);
		console->ports[i].ready = ready;
		if (held)
			virtqueue_unpop(queue);
		if (queue->ready)
			port_want(console, i, POLLIN);
	}
	size = state_get_bytes(reader, sizeof(console->pending), &pending);
	if (reader->error || ports != CONSOLE_PORTS || size % sizeof(console->pending[0]))
		return error_set(err, -EBADMSG, "saved state: the console's is damaged");
	if (size > 0)
		memcpy(console->pending, pending, size);
	console->pending_count = size / sizeof(console->pending[0]);
	return 0;
}

static void console_read_config(
	struct virtio_device *device, size_t offset, void *data, size_t length)
{
	const struct virtio_console_config config = {.max_nr_ports = CONSOLE_PORTS};

	(void)device;
	memcpy(data, (const uint8_t *)&config + offset, length);
}

static const struct virtio_operations console_operations = {
	.notify = console_notify,
	.reset = console_reset,
	.read_config = console_read_config,
	.save = console_save,
	.restore = console_restore,
};

int virtio_console_create(const struct guest_memory *memory,
	const struct virtio_console_options *options, struct virtio_console **ret)
{
	struct virtio_console *console = calloc(1, sizeof(*console));

	if (!console)
		return -ENOMEM;
	virtio_device_init(&console->device, memory);
	console->device.id = VIRTIO_ID_CONSOLE;
	console->device.features = VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT);
	console->device.queue_count = QUEUE_TRANSMIT(CONSOLE_PORTS - 1) + 1;
	console->device.config_size = sizeof(struct virtio_console_config);
	console->device.operations = &console_operations;
	console->options = *options;
	for (unsigned int i = 0; i < CONSOLE_PORTS; i++)
		console->ports[i].fd = i == 0 ? -1 : options->fds[i];
	*ret = console;
	return 0;
}

void virtio_console_free(struct virtio_console *console)
{
	if (!console)
		return;
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		if (console->ports[i].fd >= 0)
			close(console->ports[i].fd);
	pthread_mutex_destroy(&console->device.lock);
	free(console);
}

struct virtio_device *virtio_console_device(struct virtio_console *console)
{
	return &console->device;
}
