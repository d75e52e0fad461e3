/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions (wire/session.h): what clients on the host want of the running pod. They enter an app, speak to an
 * ssh server, or ask what the pod uses; a request of another type is the place where another kind of session begins.
 *
 * All belongs to the one thread of PID 1, and nothing waits. Bounded: WIRE_SESSIONS_MAX sessions, and for each of
 * them the input that its client has credit for, one frame of output, and while it is read its request.
 */
#ifndef APPC_GUEST_INIT_SESSION_H
#define APPC_GUEST_INIT_SESSION_H

#include "guest-init/app.h"
#include "guest-init/debug.h"
#include "wire/session.h"

#include <limits.h>

enum guest_session_state {
	GUEST_SESSION_GREETING, /* in a container: the client's first line is awaited */
	GUEST_SESSION_REQUEST,
	GUEST_SESSION_RUNNING, /* its process runs, or its output is not all sent */
	GUEST_SESSION_STREAM,  /* the connection is its process's, which is awaited */
	GUEST_SESSION_ENDING,  /* the result is being sent */
};

struct guest_session {
	enum guest_session_state state;
	uint32_t index;
	int fd; /* -1: of a stream */
	bool is_readable, is_writable,
		is_hung_up; /* the connection: set by events, cleared by use */
	size_t greeted;     /* bytes of the greeting that have come */
	struct wire_session_reader reader;

	const struct guest_app
		*app; /* the place of an app, which has this generation; NULL: none */
	uint32_t app_generation;
	char app_name[NAME_MAX + 1];
	pid_t pid;      /* 0: it has been reaped, or never was */
	bool has_ended; /* pid has, with this status */
	int status;
	bool has_terminal; /* input_fd and outputs[0] are its master, one fd for both */

	int input_fd;
	bool is_input_writable, is_input_watched, has_input_ended;
	char *input; /* WIRE_SESSION_INPUT_MAX bytes */
	size_t input_start, input_length;
	uint32_t consumed; /* bytes of input that the client has no credit for yet */

	struct {
		int fd; /* -1: at its end */
		bool is_readable, is_hung_up;
	} outputs[2];

	char *frame; /* header and up to WIRE_SESSION_DATA_MAX bytes, being written */
	size_t frame_length, frame_written;
};

struct guest_sessions {
	struct guest *guest;
	struct guest_pod *pod;
	struct guest_debug debug;
	int listen_fd;
	bool is_pending; /* there is more to do without an event */
	struct guest_session *sessions[WIRE_SESSIONS_MAX];
	size_t count;
};

/*
 * Begins to listen: at WIRE_SESSION_PORT in a VM, at listen_fd, which is not taken, in a container. 0 or -errno.
 */
int guest_sessions_open(
	struct guest_sessions *sessions, struct guest *guest, struct guest_pod *pod, int listen_fd);

/* The events GUEST_EVENT_SESSIONS and GUEST_EVENT_SESSION. */
void guest_sessions_accept(struct guest_sessions *sessions);
void guest_sessions_ready(struct guest_sessions *sessions, uint32_t index, uint32_t events);

/* A child of PID 1 was reaped. */
void guest_sessions_child_ended(struct guest_sessions *sessions, pid_t pid, int wait_status);

/* After each round of events, and of guest_pod_proceed(): ends the sessions of apps that have ended. */
void guest_sessions_proceed(struct guest_sessions *sessions);

/* Milliseconds until guest_sessions_proceed() is due without an event; -1: never. */
int guest_sessions_timeout_ms(const struct guest_sessions *sessions);

#endif
