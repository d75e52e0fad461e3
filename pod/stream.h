/* SPDX-License-Identifier: Apache-2.0 */
/* A connection on standard input and output, as a ProxyCommand of ssh_config(5) has to be. */
#ifndef APPC_POD_STREAM_H
#define APPC_POD_STREAM_H

#include "base/error.h"

#include <stddef.h>

/*
 * Writes begun, the connection's first length bytes, and all that follows to standard output, and standard input to the
 * connection, whose direction ends with it. 0: the other end has closed the connection, and all it said is written.
 * -EPIPE: nobody reads standard output; another -errno with a message. The process ignores SIGPIPE from then on.
 */
int pod_stream_run(int fd, const char *begun, size_t length, struct error *err);

#endif
