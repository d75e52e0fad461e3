/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a session share, and nobody else: session.c has its life from the connection to the result, and
 * session_request.c begins what its client asks for.
 */
#ifndef APPC_GUEST_INIT_SESSION_PARTS_H
#define APPC_GUEST_INIT_SESSION_PARTS_H

#include "guest-init/session.h"

/* What of a session an event is about: the low bits of its index. */
enum session_source {
	SOURCE_CONNECTION,
	SOURCE_INPUT,
	SOURCE_OUTPUT,
	SOURCE_ERRORS,
	SOURCES,
};

/* Has events of fd set the session's flags. 0 or -errno. */
int guest_session_watch(struct guest_sessions *sessions, const struct guest_session *session,
	int fd, uint32_t events, enum session_source source);

/* Where the payload of the first frame goes, of at most size bytes; NULL: there is no memory. */
char *guest_session_reserve(struct guest_session *session, size_t size);

/* The last frame, into payload, of at most max bytes. The session ends when it has been sent. */
void guest_session_finish(struct guest_session *session, enum wire_session_kind kind, char *payload,
	size_t max, json_t *object);

/* The same, of a session that fails: message says why. */
void guest_session_fail(struct guest_session *session, const char *message);

/*
 * Does what the client's request says: the session has a process then, or is about to end. frame is the request as it
 * came.
 */
void guest_session_request(struct guest_sessions *sessions, struct guest_session *session,
	const struct wire_session_frame *frame);

#endif
