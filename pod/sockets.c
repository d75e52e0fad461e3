// SPDX-License-Identifier: Apache-2.0
/* sockets.c: see sockets.h. */
#include "pod/sockets.h"

#include "base/descriptors.h"
#include "vmm/machine.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 128
/* Questions that are answered at once: the guest may ask for ever. */
#define QUESTIONS_MAX 16

/* The pod's directory may be anywhere: its path is longer than an address has room for. */
static struct sockaddr_un address_of(const struct pod *pod, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", pod->fd, name);
	return address;
}

int pod_vsock_listen(const struct pod *pod)
{
	const struct sockaddr_un address = address_of(pod, POD_VSOCK_NAME);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (unlinkat(pod->fd, POD_VSOCK_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	/* bind() makes the socket with the mode of the descriptor, and nobody connects before listen(). */
	if (fchmod(fd, 0600) < 0 ||
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int socket_connect(const struct pod *pod, const char *name, int limit_ms, int flags)
{
	const struct sockaddr_un address = address_of(pod, name);
	const struct timeval limit = {
		.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000l};
	const struct timeval none = {0};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN && limit_ms ? -ETIMEDOUT : -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int pod_vsock_connect(const struct pod *pod, int limit_ms)
{
	return socket_connect(pod, POD_VSOCK_NAME, limit_ms, 0);
}

int pod_vsock_try_connect(const struct pod *pod)
{
	return socket_connect(pod, POD_VSOCK_NAME, 0, SOCK_NONBLOCK);
}

/* socket_fd: what was asked for, or -errno. */
static int answer_send(int connect_fd, uint64_t id, int socket_fd)
{
	struct machine_vsock_answer answer = {.id = id, .error = socket_fd < 0 ? socket_fd : 0};
	int r = descriptors_send(
		connect_fd, &answer, sizeof(answer), &socket_fd, socket_fd >= 0, MSG_DONTWAIT);

	/* A machine that does not take its answers does without: its guest's connection waits. */
	return r == -EAGAIN ? 0 : r;
}

int pod_vsock_answer(const struct pod *pod, int connect_fd)
{
	for (unsigned int i = 0; i < QUESTIONS_MAX; i++) {
		struct machine_vsock_question question;
		ssize_t n = recv(connect_fd, &question, sizeof(question), MSG_DONTWAIT | MSG_TRUNC);
		_cleanup_close_ int fd = -1;
		char name[32];

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		/* All that comes from the machine may come from its guest. */
		if (n != sizeof(question))
			return -EPIPE;
		snprintf(name, sizeof(name), POD_VSOCK_NAME "_%" PRIu32, question.port);
		fd = socket_connect(pod, name, 0, SOCK_NONBLOCK);
		if (answer_send(connect_fd, question.id, fd) < 0)
			return -EPIPE;
	}
	return 0;
}
