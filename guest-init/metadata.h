/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service (specification, "App Container Metadata Service"): HTTP for the apps of this pod, on
 * the loopback address of its network namespace.
 *
 * guest-init speaks HTTP, knows the token and answers what it knows itself; for all else it asks the host
 * over the control stream (wire/wire.h, "metadata"), one request after the other. All belongs to the one
 * thread of PID 1; nothing waits but for the control stream to take a message.
 */
#ifndef APPC_GUEST_INIT_METADATA_H
#define APPC_GUEST_INIT_METADATA_H

#include "guest-init/control.h"
#include "guest-init/guest.h"
#include "base/http.h"

#define GUEST_METADATA_TOKEN_SIZE  16 /* bytes; hexadecimal digits are twice as many */
#define GUEST_METADATA_CONNECTIONS 16

/* How long a request may take to arrive or an answer to be taken, and a connection may be idle. */
#define GUEST_METADATA_REQUEST_MS 10000
#define GUEST_METADATA_IDLE_MS    60000

enum guest_metadata_state {
	GUEST_METADATA_FREE,
	GUEST_METADATA_READING, /* a request is awaited or being read */
	GUEST_METADATA_QUEUED,  /* it is to be asked of the host */
	GUEST_METADATA_ASKED,   /* the host was asked */
	GUEST_METADATA_WRITING, /* its answer is being written */
};

enum guest_metadata_endpoint {
	GUEST_METADATA_GET, /* what the host has */
	GUEST_METADATA_UUID,
	GUEST_METADATA_SIGN,
	GUEST_METADATA_VERIFY,
};

struct guest_metadata_connection {
	enum guest_metadata_state state;
	int fd;
	bool is_readable; /* may have data: set by its event, cleared when read empty */
	bool is_ended;    /* the client sends no more */
	bool is_watched, is_watched_for_room;
	bool is_pending;    /* goes on without an event */
	bool was_continued; /* told to send the body */
	bool closes;        /* after the answer */
	char *input;
	size_t length, room;
	struct http_request request; /* whole, unless READING */
	enum guest_metadata_endpoint endpoint;
	char *output;
	size_t output_length, written;
	uint64_t deadline_ms; /* of reading or writing */
	uint64_t order;       /* by age of what it waits for */
};

struct guest_metadata {
	struct guest *guest;
	int listen_fd;
	char uuid[64];
	char token[2 * GUEST_METADATA_TOKEN_SIZE + 1]; /* empty: nobody is let in */
	char variable[96]; /* AC_METADATA_URL=..., for the apps' environment */
	struct guest_metadata_connection connections[GUEST_METADATA_CONNECTIONS];
	size_t connection_count;
	bool is_asked;                           /* the host has a request to answer */
	struct guest_metadata_connection *asked; /* NULL: it has gone meanwhile */
	size_t held;                             /* bytes of answers that wait to be taken */
	uint64_t last_order;
	uint64_t now_ms;          /* at the last event; the clock may cost a system call */
	char path[HTTP_HEAD_MAX]; /* of the request in hand: the stack would take page faults */
};

/*
 * Listens. Before the pod is configured, so that no pod pays for it; with guest->epoll_fd and the loopback
 * interface in place. 0 or -errno.
 */
int guest_metadata_open(struct guest_metadata *metadata, struct guest *guest);
void guest_metadata_close(struct guest_metadata *metadata);

/* Takes on the identity of the pod: its UUID and a token that no other has. Sets variable. */
void guest_metadata_identify(
	struct guest_metadata *metadata, const struct guest_instance *instance);

/* Another UUID; the token stays, which the apps' environment has. */
void guest_metadata_rename(struct guest_metadata *metadata, const char *uuid);

/* The event GUEST_EVENT_METADATA. A request to the host that comes of it is sent with the outbox. */
void guest_metadata_ready(struct guest_metadata *metadata, uint32_t index, uint32_t events);

/* The host's answer. 0, or -EBADMSG with a message. */
int guest_metadata_answered(struct guest_metadata *metadata, json_t *message, struct error *err);

/* Ends connections whose time is over. */
void guest_metadata_proceed(struct guest_metadata *metadata);

/* Milliseconds until guest_metadata_proceed(), which was called just now, is due without an event; -1: never. */
int guest_metadata_timeout_ms(const struct guest_metadata *metadata);

#endif
