// SPDX-License-Identifier: Apache-2.0
/* message_port.c: messages through port input, which costs the guest's kernel no instruction. */
#include "vmm/message_port.h"

#include <string.h>

void message_port_init(
	struct message_port *port, const struct machine_message *messages, size_t count)
{
	*port = (struct message_port){.messages = messages, .count = count};
	pthread_mutex_init(&port->lock, NULL);
}

void message_port_done(struct message_port *port)
{
	pthread_mutex_destroy(&port->lock);
}

/* Announces the next message; its length, 0 when there is none. */
static uint32_t message_port_begin(struct message_port *port)
{
	const struct machine_message *message;

	port->rest_size = 0;
	if (port->next == port->count)
		return 0;
	message = &port->messages[port->next++];
	port->rest = message->data;
	port->rest_size = message->size;
	return (uint32_t)message->size;
}

void message_port_read(struct message_port *port, void *data, size_t size, size_t count)
{
	uint8_t *bytes = data;
	size_t n;

	memset(data, 0xff, size * count);
	pthread_mutex_lock(&port->lock);
	if (size == sizeof(uint32_t)) {
		for (size_t i = 0; i < count; i++) {
			uint32_t length = message_port_begin(port);

			memcpy(bytes + i * size, &length, sizeof(length));
		}
	} else if (size == 1) {
		n = count < port->rest_size ? count : port->rest_size;
		if (n > 0) {
			memcpy(bytes, port->rest, n);
			port->rest += n;
			port->rest_size -= n;
		}
	}
	pthread_mutex_unlock(&port->lock);
}

bool message_port_is_empty(struct message_port *port)
{
	bool empty;

	pthread_mutex_lock(&port->lock);
	empty = port->next == port->count && port->rest_size == 0;
	pthread_mutex_unlock(&port->lock);
	return empty;
}
