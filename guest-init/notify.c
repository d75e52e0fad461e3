// SPDX-License-Identifier: Apache-2.0
/*
 * notify.c: see notify.h.
 *
 * Theory of operation: the name is an abstract one (unix(7)), since the file systems of an app are its own: it may have
 * none that can be written, or hide any path. It is the kernel's choice, and so nobody else's; copies of a parked machine
 * have the same, each in a network namespace of its own.
 */
#include "guest-init/notify.h"

#include "base/file.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Longest message that is read, systemd's; one that is longer says nothing. */
#define MESSAGE_MAX      4096
#define MESSAGES_AT_ONCE 16

#define READY "READY=1"

/* #syscalls: socket bind getsockname */
int guest_notify_open(char ret_variable[GUEST_NOTIFY_VARIABLE_SIZE])
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(name.sun_family);

	/* An address without a name has the kernel find one. */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&name, length) < 0)
		return -errno;
	length = sizeof(name);
	if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		return -errno;
	/* Its first byte is NUL, in text "@". */
	snprintf(ret_variable, GUEST_NOTIFY_VARIABLE_SIZE, "NOTIFY_SOCKET=@%.*s",
		(int)(length - offsetof(struct sockaddr_un, sun_path) - 1), name.sun_path + 1);
	return TAKE_FD(fd);
}

/* Whether one of its lines is READY. */
static bool message_is_ready(const char *text, size_t length)
{
	while (length > 0) {
		const char *end = memchr(text, '\n', length);
		size_t line = end ? (size_t)(end - text) : length;

		if (line == strlen(READY) && !memcmp(text, READY, line))
			return true;
		text += line + (end ? 1 : 0);
		length -= line + (end ? 1 : 0);
	}
	return false;
}

/* File descriptors that come with a message are closed, which is what sd_notify_barrier(3) waits for. #syscalls: recvfrom */
bool guest_notify_read(int fd)
{
	bool is_ready = false;

	for (unsigned int i = 0; i < MESSAGES_AT_ONCE; i++) {
		char text[MESSAGE_MAX];
		ssize_t n = recv(fd, text, sizeof(text), MSG_TRUNC);

		if (n < 0)
			break;
		if ((size_t)n <= sizeof(text) && message_is_ready(text, (size_t)n))
			is_ready = true;
	}
	return is_ready;
}
