// SPDX-License-Identifier: Apache-2.0
/* listen.c: the sockets of socket-activated apps. */
#include "guest-init/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int socket_bind(const struct guest_socket_config *config, int family)
{
	const int type = (config->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, on = 1,
		  off = 0;
	_cleanup_close_ int fd = socket(family, type, 0);
	struct sockaddr_in6 any6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(config->port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(config->port)};
	const struct sockaddr *address = family == AF_INET6 ? (struct sockaddr *)&any6
							    : (struct sockaddr *)&any4;
	socklen_t length = family == AF_INET6 ? sizeof(any6) : sizeof(any4);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		(family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
		bind(fd, address, length) < 0 || (!config->is_udp && listen(fd, SOMAXCONN) < 0))
		return -errno;
	return TAKE_FD(fd);
}

/* #syscalls: socket setsockopt bind listen */
int guest_listen(const struct guest_app_config *app, int **ret, struct error *err)
{
	int *fds = calloc(app->socket_count, sizeof(*fds));

	if (!fds)
		return error_set_errno(err, -ENOMEM, "open its sockets");
	for (size_t i = 0; i < app->socket_count; i++) {
		const struct guest_socket_config *config = &app->sockets[i];
		int r;

		fds[i] = socket_bind(config, AF_INET6);
		/* A kernel without IPv6, or one told to have none. */
		if (fds[i] == -EAFNOSUPPORT || fds[i] == -EADDRNOTAVAIL)
			fds[i] = socket_bind(config, AF_INET);
		if (fds[i] >= 0)
			continue;
		r = fds[i];
		guest_listen_close(&fds, i);
		return error_set_errno(err, r, "port \"%s\": listen on %s port %u", config->name,
			config->is_udp ? "udp" : "tcp", config->port);
	}
	*ret = fds;
	return 0;
}

void guest_listen_close(int **fds, size_t count)
{
	for (size_t i = 0; *fds && i < count; i++)
		close((*fds)[i]);
	free(TAKE_PTR(*fds));
}
