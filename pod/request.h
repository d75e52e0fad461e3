/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other processes ask of the one that runs a pod: a socket in the pod's directory, named "requests".
 *
 * Nobody needs to know a process id: a socket that nobody listens at any more refuses. Each connection
 * (SOCK_SEQPACKET) carries one message, a JSON object with a "type" as in wire/wire.h, and its answer:
 *   stop    end the apps as with SIGTERM to the process; once it is stopping this does no more
 *   kill    end the pod at once
 *   ok      the answer: it will be done
 * The directory is its owner's alone, and so is the socket.
 *
 * Functions return 0 or -errno. A struct pod_requests belongs to one thread.
 */
#ifndef APPC_POD_REQUEST_H
#define APPC_POD_REQUEST_H

#include "pod/pod.h"

enum pod_request { POD_REQUEST_STOP, POD_REQUEST_KILL };

/* ---- the end of the process that runs the pod */

/* Non-blocking fds to be polled for input; client_fd is -1 most of the time. */
struct pod_requests {
	int listen_fd, client_fd;
};
#define POD_REQUESTS_NONE ((struct pod_requests){.listen_fd = -1, .client_fd = -1})

/* Takes over from whoever listened before: the pod is locked by us. */
int pod_requests_open(const struct pod *pod, struct pod_requests *ret);
void pod_requests_close(struct pod_requests *requests);

/* Takes and answers the next request: 1 and the request; 0: none is there now. */
int pod_requests_take(struct pod_requests *requests, enum pod_request *ret);

/* ---- the other end */

/*
 * Asks for the end of a running pod and returns when the request has been taken, or with force when the
 * pod has ended: its process is killed when it does not answer. -ESRCH: the pod does not run; -ETIMEDOUT: no answer.
 */
int pod_stop(struct pod *pod, bool force, struct error *err);

#endif
