/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of wire/wire.h to the host. They are collected, because each write costs a lot, until
 * guest_outbox_flush(), which PID 1 calls before it waits for anything. What has no memory to be collected
 * in is lost.
 * Text from an image may hold any byte: it is made printable first.
 */
#ifndef APPC_GUEST_INIT_OUTBOX_H
#define APPC_GUEST_INIT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct guest_outbox {
	int fd;                    /* the control stream, not owned */
	unsigned int console_port; /* the same, see guest_port_transmit() */
	char *frames;
	size_t length, room;
};

void guest_send_started(struct guest_outbox *outbox, const char *app, pid_t pid);
void guest_send_exited(
	struct guest_outbox *outbox, const char *app, int status, bool oom, const char *message);
void guest_send_ready(struct guest_outbox *outbox);
void guest_send_removed(struct guest_outbox *outbox, const char *app);
void guest_send_paused(struct guest_outbox *outbox);
void guest_send_resumed(struct guest_outbox *outbox);
void guest_send_warning(struct guest_outbox *outbox, const char *message);
void guest_send_ended(struct guest_outbox *outbox, int status);
void guest_send_failed(struct guest_outbox *outbox, const char *message);
void guest_send_unparkable(struct guest_outbox *outbox, const char *message);
/* Requests to the metadata service, see wire/wire.h. 0, or -errno: it was not sent. content is any bytes. */
int guest_send_metadata_get(struct guest_outbox *outbox, const char *path);
int guest_send_metadata_sign(struct guest_outbox *outbox, const void *content, size_t length);
int guest_send_metadata_verify(struct guest_outbox *outbox, const void *content, size_t length,
	const char *uuid, const char *signature);

/* Writes what was collected, whole. 0 or -errno; -EPIPE where the host has gone. */
int guest_outbox_flush(struct guest_outbox *outbox);

#endif
