/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other processes ask of the one that runs a pod: a socket in the pod's directory, named "requests".
 *
 * Nobody needs to know a process id: a socket that nobody listens at any more refuses. Each connection
 * (SOCK_SEQPACKET) carries one message, a JSON object with a "type" as in wire/wire.h, and its answer:
 *   stop    end the apps as with SIGTERM to the process; once it is stopping this does no more
 *   kill    end the pod at once
 *   ok      the answer: it will be done
 *   attach  the connection stays and carries the apps' streams (pod/attach.h), which has its own answers
 * The directory is its owner's alone, and so is the socket.
 *
 * Functions return 0 or -errno. A struct pod_requests belongs to one thread.
 */
#ifndef APPC_POD_REQUEST_H
#define APPC_POD_REQUEST_H

#include "pod/pod.h"

enum pod_request { POD_REQUEST_STOP, POD_REQUEST_KILL, POD_REQUEST_ATTACH };

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

/* One to attach is not answered: message and fd are the caller's then, NULL and -1 with all others. */
struct pod_request_taken {
	enum pod_request request;
	json_t *message;
	int fd;
};

/* Takes and answers the next request: 1 and the request; 0: none is there now. */
int pod_requests_take(struct pod_requests *requests, struct pod_request_taken *ret);

/* ---- the other end */

/*
 * Asks for the end of a running pod and returns when the request has been taken, or with force when the
 * pod has ended: its process is killed when it does not answer. -ESRCH: the pod does not run; -ETIMEDOUT: no answer.
 */
int pod_stop(struct pod *pod, bool force, struct error *err);

/* A connection for a request of whatever kind. -ESRCH: the pod does not run. */
int pod_requests_connect(const struct pod *pod, struct error *err);

#endif
