/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unix sockets in a pod's directory by which programs of the host and of the pod reach each other.
 *
 *   vsock        made by the process that runs the pod, where clients of the host come in: "CONNECT PORT\n" for a port
 *                that something listens at in the machine (virtio/vsock.h), and sessions in either flavour
 *                (wire/session.h)
 *   vsock_PORT   made by a program of the host, who wants to be reached from the machine at that port of CID 2
 *
 * The directory is its owner's alone, and so is "vsock". The machine itself can open no path: it is given the
 * first, listening, and asks for connections to the others (struct machine_vsock_question).
 */
#ifndef APPC_POD_SOCKETS_H
#define APPC_POD_SOCKETS_H

#include "pod/pod.h"

#define POD_VSOCK_NAME "vsock"

/* Makes "vsock", instead of the one of whoever ran the pod before. A listening fd, non-blocking, or -errno. */
int pod_vsock_listen(const struct pod *pod);

/* Answers the questions that have come on connect_fd. 0, or -EPIPE: nobody asks any more. */
int pod_vsock_answer(const struct pod *pod, int connect_fd);

/* A client's connection to "vsock", or -errno (-ECONNREFUSED: the pod does not run; -ETIMEDOUT: it lets nobody in). */
int pod_vsock_connect(const struct pod *pod, int limit_ms);
/* The same without waiting for a pod that is slow to accept: a non-blocking fd, or -EAGAIN. */
int pod_vsock_try_connect(const struct pod *pod);

#endif
