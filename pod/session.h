/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a session with guest-init (wire/session.h): the connection, the lines that open it, and the
 * frames that come from the guest, which is believed nothing.
 *
 * A connection without an answer in time is for the caller to give up. Nothing here waits but pod_session_await(). One
 * thread.
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

/* The greeting and a request, as they are said. The caller frees *ret. 0, -E2BIG or -ENOMEM. */
int pod_session_compose(const json_t *request, char **ret, size_t *ret_length);

/* Says both on a connection that is new, and has room for them where the request is short. 0 or -errno. */
int pod_session_ask(const struct pod_session *session, const json_t *request);

/* The connection has something: takes it. 0, or -errno with a message: it has ended, or broke the rules. */
int pod_session_fill(struct pod_session *session, struct error *err);

/* The next whole frame of the guest: 1; 0: there is none yet; -EBADMSG with a message. */
int pod_session_next(
	struct pod_session *session, struct wire_session_frame *ret, struct error *err);

/*
 * The same, waited for: 0, or -errno with a message. A guest that has let us in may take its time with the frame; until then
 * it has limit_ms (-ETIMEDOUT).
 */
int pod_session_await(struct pod_session *session, int limit_ms, struct wire_session_frame *ret,
	struct error *err);

/* What a frame RESULT says: 0 and *ret_status (0-255), or -ECHILD with the guest's message, or -EBADMSG. */
int pod_session_result(const struct wire_session_frame *frame, int *ret_status, struct error *err);

/* What is said of a guest that broke the rules, -EBADMSG, and of one that is silent, -ETIMEDOUT. */
int pod_session_broken(struct error *err);
int pod_session_silent(const struct pod_session *session, struct error *err);

#endif
