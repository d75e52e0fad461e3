// SPDX-License-Identifier: Apache-2.0
/*
 * machine_vsock.c: the machine's vsock device and the host.
 *
 * Theory of operation: the jail leaves the machine no path to open. The socket where the host's clients come
 * in was made before it; and for a connection that the guest begins, the question goes to the caller, who makes
 * the socket and hands it over. Each connection's source of the loop lies in an array, where it stays as long
 * as the machine: an event that was noticed before the connection went finds it.
 *
 * #syscalls:loop recvmsg(_, _, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) read close
 * #syscalls:vcpu,loop sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL) write
 */
#include "base/descriptors.h"
#include "vmm/machine_parts.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* Answers that are taken at once, before others have their turn. */
#define ANSWERS_MAX 16

static void connection_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	virtio_vsock_ready(machine->vsock, (unsigned int)(source - machine->vsock_sources), events);
}

static int vsock_watch(void *context, unsigned int slot, int fd)
{
	struct machine *machine = context;
	struct loop_source *source = &machine->vsock_sources[slot];

	*source = (struct loop_source){.fd = fd, .ready = connection_ready, .context = machine};
	return loop_add(&machine->loop, source, 0);
}

static void vsock_arm(void *context, unsigned int slot, uint32_t events)
{
	struct machine *machine = context;

	loop_arm(&machine->loop, &machine->vsock_sources[slot], events);
}

static void vsock_unwatch(void *context, unsigned int slot, int fd)
{
	struct machine *machine = context;

	(void)fd;
	loop_remove(&machine->loop, &machine->vsock_sources[slot]);
}

static int vsock_connect(void *context, uint64_t id, uint32_t port)
{
	const struct machine *machine = context;
	struct machine_vsock_question question = {.id = id, .port = port};
	struct iovec span = {.iov_base = &question, .iov_len = sizeof(question)};
	const struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};

	if (machine->vsock_connect_fd < 0)
		return -ECONNREFUSED;
	return sendmsg(machine->vsock_connect_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0
		? -errno
		: 0;
}

static void vsock_again(void *context)
{
	const struct machine *machine = context;
	uint64_t one = 1;
	ssize_t n = write(machine->vsock_again_fd, &one, sizeof(one));

	(void)n; /* full means: told already */
}

static void listen_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	(void)events;
	virtio_vsock_accept(machine->vsock);
	loop_arm(&machine->loop, source, EPOLLIN);
}

static void again_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	uint64_t count;
	ssize_t n = read(source->fd, &count, sizeof(count));

	(void)n; /* only clears the eventfd */
	(void)events;
	virtio_vsock_continue(machine->vsock);
	loop_arm(&machine->loop, source, EPOLLIN);
}

/* One answer: 1, 0 when there is none, -errno when there will be none any more. */
static int answer_take(int connect_fd, struct machine_vsock_answer *ret, int *ret_fd)
{
	ssize_t n = descriptors_receive(connect_fd, ret, sizeof(*ret), ret_fd, 1);

	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? 0 : (int)n;
	if (n != sizeof(*ret)) {
		cleanup_close(ret_fd);
		return -EPIPE;
	}
	return 1;
}

static void answers_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	int r = 1;

	(void)events;
	for (unsigned int i = 0; r > 0 && i < ANSWERS_MAX; i++) {
		struct machine_vsock_answer answer;
		int fd = -1;

		r = answer_take(source->fd, &answer, &fd);
		if (r <= 0)
			break;
		if (fd < 0)
			fd = answer.error < 0 ? answer.error : -ECONNREFUSED;
		virtio_vsock_connected(machine->vsock, answer.id, fd);
	}
	if (r >= 0)
		loop_arm(&machine->loop, source, EPOLLIN);
}

int machine_create_vsock(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct virtio_vsock_options vsock = {
		.listen_fd = options->vsock_listen_fd,
		.watch = vsock_watch,
		.arm = vsock_arm,
		.unwatch = vsock_unwatch,
		.connect = vsock_connect,
		.again = vsock_again,
		.context = machine,
	};
	int r;

	machine->vsock_connect_fd = options->vsock_connect_fd;
	machine->vsock_sources = calloc(VSOCK_CONNECTIONS_MAX, sizeof(*machine->vsock_sources));
	r = machine->vsock_sources ? virtio_vsock_create(&machine->memory, &vsock, &machine->vsock)
				   : -ENOMEM;
	if (r < 0)
		return error_set_errno(err, r, "cannot create the vsock device");
	machine->vsock_again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = machine->vsock_again_fd < 0 ? -errno : 0;
	if (r == 0)
		r = machine_watch(machine, &machine->vsock_again_source, machine->vsock_again_fd,
			again_ready);
	if (r == 0)
		r = machine_watch(machine, &machine->vsock_listen_source, options->vsock_listen_fd,
			listen_ready);
	if (r == 0)
		r = machine_watch(machine, &machine->vsock_connect_source,
			machine->vsock_connect_fd, answers_ready);
	if (r < 0)
		return error_set_errno(err, r, "cannot watch the sockets of the vsock device");
	return machine_attach(machine, DEVICE_VSOCK, virtio_vsock_device(machine->vsock), err);
}

void machine_free_vsock(struct machine *machine)
{
	virtio_vsock_free(machine->vsock);
	cleanup_close(&machine->vsock_connect_fd);
	cleanup_close(&machine->vsock_again_fd);
	free(machine->vsock_sources);
}
