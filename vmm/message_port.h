/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port through which a guest takes the messages that it was started with (WIRE_MESSAGE_PORT). Any
 * vCPU thread.
 */
#ifndef APPC_VMM_MESSAGE_PORT_H
#define APPC_VMM_MESSAGE_PORT_H

#include "vmm/machine.h"

#include <pthread.h>

struct message_port {
	pthread_mutex_t lock;                   /* protects all below */
	const struct machine_message *messages; /* borrowed */
	size_t count, next;                     /* next: the one whose length is asked for next */
	const uint8_t *rest;                    /* of the message whose length was told */
	size_t rest_size;
};

void message_port_init(
	struct message_port *port, const struct machine_message *messages, size_t count);
void message_port_done(struct message_port *port);

/*
 * One input instruction, or a string of count of them: each reads size bytes into data. Size 4 tells the
 * length of the next message and gives up what is left of the one before, size 1 reads its bytes.
 */
void message_port_read(struct message_port *port, void *data, size_t size, size_t count);

/* Whether the guest has taken all there is, to the last byte. */
bool message_port_is_empty(struct message_port *port);

#endif
