/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors that go with a message over a unix socket (SCM_RIGHTS, unix(7)). */
#ifndef APPC_BASE_DESCRIPTORS_H
#define APPC_BASE_DESCRIPTORS_H

#include <stddef.h>
#include <sys/types.h>

/* Of one message. */
#define DESCRIPTORS_MAX 2

/*
 * Sends one message with copies of count fds, which may be none. flags are sendmsg(2)'s; there is never a SIGPIPE. 0 or
 * -errno. A stream socket may have taken only a part.
 */
int descriptors_send(
	int socket_fd, const void *data, size_t size, const int *fds, size_t count, int flags);

/*
 * Takes one message of at most size bytes, without waiting. What came with it is in fds, the caller's from then on and
 * close-on-exec; -1: not there, and so after an error. More than count are closed. Returns the message's length or -errno.
 */
ssize_t descriptors_receive(int socket_fd, void *data, size_t size, int *fds, size_t count);

#endif
