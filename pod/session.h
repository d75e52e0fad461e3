/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a session with guest-init (wire/session.h): the connection, the lines that open it, and the
 * frames that come from the guest, which is believed nothing.
 *
 * A connection without an answer in time is for the caller to give up. Nothing here waits. One thread.
 */
#ifndef APPC_POD_SESSION_H
#define APPC_POD_SESSION_H

#include "pod/pod.h"
#include "wire/session.h"

struct pod_session {
	int fd; /* -1: none */
	char uuid[POD_UUID_SIZE];
	size_t answered; /* bytes of the line that answers the greeting; SIZE_MAX: all */
	char answer[32];
	struct wire_session_reader reader;
};

#define POD_SESSION_NONE ((struct pod_session){.fd = -1, .reader = {.sender = WIRE_SESSION_GUEST}})

/*
 * Begins with the connection, which it takes: of pod_vsock_connect(), or what that returned instead. Nothing is said yet:
 * WIRE_SESSION_GREETING comes first. -ESRCH: the pod lets nobody in; with a message.
 */
int pod_session_open(const struct pod *pod, int fd, struct pod_session *ret, struct error *err);
void pod_session_close(struct pod_session *session);

/* The connection has something: takes it. 0, or -errno with a message: it has ended, or broke the rules. */
int pod_session_fill(struct pod_session *session, struct error *err);

/* The next whole frame of the guest: 1; 0: there is none yet; -EBADMSG with a message. */
int pod_session_next(
	struct pod_session *session, struct wire_session_frame *ret, struct error *err);

/* What is said of a guest that broke the rules: -EBADMSG with a message. */
int pod_session_broken(struct error *err);

#endif
