/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other processes ask of the one that runs a pod: a socket in the pod's directory, named "requests".
 *
 * Nobody needs to know a process id: a socket that nobody listens at any more refuses. Each connection
 * (SOCK_SEQPACKET) carries one message, a JSON object with a "type" as in wire/wire.h, and its answer, another; each
 * at most POD_REQUEST_MAX bytes:
 *   stop    end the apps as with SIGTERM to the process; once it is stopping this does no more
 *   kill    end the pod at once
 *   app     something is wanted of an app of a mutable pod (pod/app_request.h)
 *   attach  the connection stays and carries the apps' streams (pod/attach.h), which has its own answers
 *   usage   what the host spends on the pod: "host" of an answer of the same type is that (pod/usage.h)
 *   pause, resume   the pod is to stand still, or to go on (pod/pause.h): answered when it does
 *   checkpoint      the connection stays until the pod's state is saved (pod/pause.h)
 * Answers
 *   ok       it will be done
 *   refused  "message": why not
 * The directory is its owner's alone, and so is the socket.
 *
 * Functions return 0 or -errno. A struct pod_requests belongs to one thread.
 */
#ifndef APPC_POD_REQUEST_H
#define APPC_POD_REQUEST_H

#include "pod/pod.h"

/* Bytes of a message, or of its answer. */
#define POD_REQUEST_MAX (64u << 10)

enum pod_request {
	POD_REQUEST_STOP,
	POD_REQUEST_KILL,
	POD_REQUEST_ATTACH,
	POD_REQUEST_USAGE,
	POD_REQUEST_PAUSE,
	POD_REQUEST_RESUME,
	POD_REQUEST_CHECKPOINT,
	POD_REQUEST_APP,
};

/* ---- the end of the process that runs the pod */

/* Connected at the same time, without having said yet what they want; for one more one must go. */
#define POD_REQUEST_CLIENTS 16

/* Non-blocking fds to be polled for input; those that are -1 are not there. */
struct pod_requests {
	int fds[1 + POD_REQUEST_CLIENTS]; /* the listening socket, then who connected */
	size_t next; /* of the latter: whose place is taken next, when all are */
};

/* Nothing is open. */
void pod_requests_init(struct pod_requests *requests);

/* Takes over from whoever listened before: the pod is locked by us. */
int pod_requests_open(const struct pod *pod, struct pod_requests *ret);
void pod_requests_close(struct pod_requests *requests);

/* stop and kill are answered already. With all others message and fd are the caller's, to answer; else NULL and -1. */
struct pod_request_taken {
	enum pod_request request;
	json_t *message;
	int fd;
};

/* Takes the next request: 1 and the request; 0: none is there now. */
int pod_requests_take(struct pod_requests *requests, struct pod_request_taken *ret);

/*
 * The request that length bytes are: without an fd, and with a message where that is the caller's. -EBADMSG: they are
 * none; -ENOMEM.
 */
int pod_request_parse(const char *text, size_t length, struct pod_request_taken *ret);

/* Answers, without waiting: one who does not listen has gone. The fd stays open. */
void pod_request_answer(int fd, json_t *answer);
void pod_request_refuse(int fd, const char *message);

/* ---- the other end */

/*
 * Asks for the end of a running pod and returns when the request has been taken, or with force when the
 * pod has ended: its process is killed when it does not answer. -ESRCH: the pod does not run; -ETIMEDOUT: no answer.
 */
int pod_stop(struct pod *pod, bool force, struct error *err);

/*
 * Asks a running pod: the answer, which is not "refused", and the connection. Waits for timeout_ms at most.
 * -ESRCH: the pod does not run; -ENOTCONN: refused, with what was said; -ETIMEDOUT and others: it does not answer.
 */
int pod_request_ask(const struct pod *pod, json_t *message, int timeout_ms, json_t **ret_answer,
	struct error *err);

#endif
