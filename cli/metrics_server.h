/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics over HTTP/1.1 on a unix socket: GET /metrics. One request for each connection, one connection after the other:
 * a client that is slow has some seconds, and the socket is its owner's alone.
 */
#ifndef APPC_CLI_METRICS_SERVER_H
#define APPC_CLI_METRICS_SERVER_H

#include "base/error.h"

#include <stddef.h>

/* Writes the metrics into memory that the caller frees. 0 or -errno with a message. */
typedef int (*metrics_source)(
	void *context, char **ret_text, size_t *ret_length, struct error *err);

/*
 * Listens at path, in place of a socket that nobody listens at, and serves until SIGTERM or SIGINT; then the socket is
 * removed. -EADDRINUSE: somebody listens there, or it is something else; with a message.
 */
int metrics_serve(const char *path, metrics_source source, void *context, struct error *err);

/* One connection, which stays open: reads a request, and answers it. */
void metrics_answer(int fd, metrics_source source, void *context);

#endif
