// SPDX-License-Identifier: Apache-2.0
/* probe_vsock.c: what the probe does with streams between the guest and the host. */
#include "tests/functional/guest/probe.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS_MAX 1024
#define PIECE       4096

static int vsock_open(unsigned int cid, const char *port, struct sockaddr_vm *ret)
{
	*ret = (struct sockaddr_vm){
		.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = (unsigned int)number(port)};
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* What has come goes back. Whether there may be more. */
static bool echo(int fd)
{
	char piece[PIECE];
	ssize_t n = read(fd, piece, sizeof(piece));

	for (ssize_t sent = 0; sent < n;) {
		ssize_t m = send(fd, piece + sent, (size_t)(n - sent), MSG_NOSIGNAL);

		if (m <= 0)
			return false;
		sent += m;
	}
	return n > 0;
}

/* PORT COUNT: takes so many connections, and then gives each its bytes back, until all have ended. */
static void vsock_echo(char **args)
{
	static struct pollfd fds[STREAMS_MAX];
	int count = number(args[1]), left = count;
	struct sockaddr_vm address;
	int listener = vsock_open(VMADDR_CID_ANY, args[0], &address);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, STREAMS_MAX) < 0) {
		printf("vsock %s: %s\n", args[0], strerrorname_np(errno));
		return;
	}
	printf("vsock %s: listening\n", args[0]);
	for (int i = 0; i < count; i++) {
		fds[i].fd = accept(listener, NULL, NULL);
		fds[i].events = POLLIN;
	}
	close(listener);
	printf("vsock %s: %d connected\n", args[0], count);
	while (left > 0 && poll(fds, (nfds_t)count, -1) > 0)
		for (int i = 0; i < count; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !echo(fds[i].fd)) {
				close(fds[i].fd);
				fds[i].fd = -1;
				left--;
			}
	printf("vsock %s: %d ended\n", args[0], count - left);
}

/* Says its number on a stream, and hears it until the stream's end. */
static bool talk(int fd, int i)
{
	char said[32], heard[32];
	size_t length = (size_t)snprintf(said, sizeof(said), "stream %d", i), got = 0;
	ssize_t n;

	if (send(fd, said, length, MSG_NOSIGNAL) != (ssize_t)length || shutdown(fd, SHUT_WR) < 0)
		return false;
	while (got < sizeof(heard) && (n = read(fd, heard + got, sizeof(heard) - got)) > 0)
		got += (size_t)n;
	return got == length && !memcmp(said, heard, got);
}

/* PORT COUNT: has so many connections to the host at once, and says on each which it is. */
static void vsock_talk(char **args)
{
	static int fds[STREAMS_MAX];
	int count = number(args[1]), right = 0;
	struct sockaddr_vm address;

	for (int i = 0; i < count; i++) {
		fds[i] = vsock_open(VMADDR_CID_HOST, args[0], &address);
		if (fds[i] < 0 ||
			connect(fds[i], (struct sockaddr *)&address, sizeof(address)) < 0) {
			printf("vsock %s: %s\n", args[0], strerrorname_np(errno));
			return;
		}
	}
	for (int i = 0; i < count; i++)
		right += talk(fds[i], i);
	printf("vsock %s: %d of %d right\n", args[0], right, count);
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

const struct command vsock_commands[] = {
	{"vsock-echo", 2, vsock_echo},
	{"vsock-talk", 2, vsock_talk},
	{NULL, 0, NULL},
};
