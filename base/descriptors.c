// SPDX-License-Identifier: Apache-2.0
/* descriptors.c: SCM_RIGHTS, sent and taken. */
#include "base/descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

int descriptors_send(
	int socket_fd, const void *data, size_t size, const int *fds, size_t count, int flags)
{
	union control control = {0};
	struct iovec span = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};

	if (count > DESCRIPTORS_MAX)
		return -EINVAL;
	if (count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	return sendmsg(socket_fd, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t descriptors_receive(int socket_fd, void *data, size_t size, int *fds, size_t count)
{
	union control control;
	struct iovec span = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1, .msg_control = &control};
	const struct cmsghdr *header;
	ssize_t n;

	for (size_t i = 0; i < count; i++)
		fds[i] = -1;
	if (count > DESCRIPTORS_MAX)
		return -EINVAL;
	/* No padding, which the kernel would put one more into. */
	message.msg_controllen = CMSG_LEN(count * sizeof(int));
	n = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len <= CMSG_LEN(count * sizeof(int)))
		memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return n;
}
