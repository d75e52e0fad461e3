// SPDX-License-Identifier: Apache-2.0
/* notify.c: datagrams to a service manager. */
#include "base/notify.h"

#include "base/cleanup.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define SEND_SECONDS 5

/* #syscalls: socket setsockopt sendto */
int notify_manager(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	const struct timeval timeout = {.tv_sec = SEND_SECONDS};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	size_t length;

	if (!name || !*name)
		return 0;
	length = strlen(name);
	/* A path, or a name that begins with a NUL, which is written as "@". */
	if (name[0] != '/' && name[0] != '@')
		return -EAFNOSUPPORT;
	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
		sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		return -errno;
	return 0;
}
