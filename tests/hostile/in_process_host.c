// SPDX-License-Identifier: Apache-2.0
/* in_process_host.c: see in_process_host.h. */
#include "tests/hostile/in_process_host.h"

#include "base/cleanup.h"
#include "tests/hostile/guest.h"
#include "vmm/machine.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define EVENTS_MAX    16
#define QUESTIONS_MAX 16
#define FRAMES_MAX    16 /* in one turn */
#define PREFIX        sizeof(uint32_t)
#define ETHERNET      14u
#define ADDRESSES     20u /* of an ARP packet: the sender's, then the target's */

static const uint8_t guest_mac[VIRTIO_NET_MAC_SIZE] = {2, 0, 0, 0, 0, 1},
		     host_mac[VIRTIO_NET_MAC_SIZE] = {2, 0, 0, 0, 0, 2};

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the devices' owner */

static void connection_ready(struct loop_source *source, uint32_t events)
{
	struct in_process_host *host = source->context;

	virtio_vsock_ready(host->vsock, (unsigned int)(source - host->connections), events);
}

static int watch(void *context, unsigned int slot, int fd)
{
	struct in_process_host *host = context;

	require(slot < VSOCK_CONNECTIONS_MAX);
	host->connections[slot] =
		(struct loop_source){.fd = fd, .ready = connection_ready, .context = host};
	host->watched++;
	return loop_add(&host->loop, &host->connections[slot], 0);
}

static void arm(void *context, unsigned int slot, uint32_t events)
{
	struct in_process_host *host = context;

	loop_arm(&host->loop, &host->connections[slot], events);
}

static void unwatch(void *context, unsigned int slot, int fd)
{
	struct in_process_host *host = context;

	require(host->watched > 0 && host->connections[slot].fd == fd);
	host->watched--;
	loop_remove(&host->loop, &host->connections[slot]);
}

static int guest_asks(void *context, uint64_t id, uint32_t port)
{
	const struct in_process_host *host = context;
	const struct machine_vsock_question question = {.id = id, .port = port};

	return send(host->asked[0], &question, sizeof(question), MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void again(void *context)
{
	(void)context; /* each turn goes on */
}

static void net_ready(struct loop_source *source, uint32_t events)
{
	struct in_process_host *host = source->context;

	virtio_net_ready(host->net, events);
}

static void net_arm(void *context, uint32_t events)
{
	struct in_process_host *host = context;

	loop_arm(&host->loop, &host->net_source, events);
}

static bool turn_loop(struct in_process_host *host)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(host->loop.epoll_fd, events, EVENTS_MAX, 0);

	for (int i = 0; i < n; i++) {
		struct loop_source *source = events[i].data.ptr;

		source->ready(source, events[i].events);
	}
	return n > 0;
}

/* ---- the programs of the host */

/* The other end of a new program's socket, or -errno. */
static int program_start(struct in_process_host *host, bool echoes)
{
	int pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++) {
		if (host->programs[i].fd >= 0)
			continue;
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
			return -errno;
		host->programs[i] = (struct in_process_program){pair[1], echoes};
		return pair[0];
	}
	return -ECONNREFUSED;
}

static bool turn_questions(struct in_process_host *host)
{
	struct machine_vsock_question question;
	unsigned int count = 0;

	while (count < QUESTIONS_MAX &&
		recv(host->asked[1], &question, sizeof(question), MSG_DONTWAIT) ==
			sizeof(question)) {
		int fd = -ECONNREFUSED;

		if (question.port == GUEST_HOST_ECHO || question.port == GUEST_HOST_DEAF)
			fd = program_start(host, question.port == GUEST_HOST_ECHO);
		virtio_vsock_connected(host->vsock, question.id, fd);
		count++;
	}
	return count > 0;
}

static bool turn_programs(struct in_process_host *host)
{
	bool busy = false;

	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++) {
		struct in_process_program *program = &host->programs[i];
		uint8_t bytes[8192];
		ssize_t n;

		if (program->fd < 0)
			continue;
		n = recv(program->fd, bytes, program->echoes ? sizeof(bytes) : 1,
			MSG_DONTWAIT | (program->echoes ? 0 : MSG_PEEK));
		/* What does not fit is lost: it is the guest that does not read. */
		if (n > 0 && program->echoes)
			send(program->fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			close(program->fd);
			program->fd = -1;
		}
		busy |= n >= 0 && (n == 0 || program->echoes);
	}
	return busy;
}

/* ---- the network */

/* A frame of the guest: nothing else may come out. Who asks for an address is given one. */
static void frame_take(const struct in_process_host *host, const uint8_t *frame, size_t length)
{
	static const uint8_t request[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
	struct {
		uint32_t length;
		uint8_t frame[ETHERNET + 8 + ADDRESSES];
	} reply = {.length = htobe32(sizeof(reply.frame))};
	const size_t half = ADDRESSES / 2, type = ETHERNET - 2;
	uint8_t *addresses = reply.frame + sizeof(reply.frame) - ADDRESSES;

	require(!memcmp(frame + sizeof(guest_mac), guest_mac, sizeof(guest_mac)));
	if (length < sizeof(reply.frame) || memcmp(frame + type, request, sizeof(request)) != 0)
		return;
	memcpy(reply.frame, guest_mac, sizeof(guest_mac));
	memcpy(reply.frame + sizeof(guest_mac), host_mac, sizeof(host_mac));
	memcpy(reply.frame + type, request, sizeof(request));
	reply.frame[type + sizeof(request) - 1] = 2;
	memcpy(addresses, frame + sizeof(reply.frame) - half, half);
	memcpy(addresses, host_mac, sizeof(host_mac));
	memcpy(addresses + half, frame + sizeof(reply.frame) - ADDRESSES, half);
	/* So short a message goes wholly, or there is no room. */
	send(host->net_fd, &reply, PREFIX + sizeof(reply.frame), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool turn_network(struct in_process_host *host)
{
	unsigned int count = 0;

	while (count < FRAMES_MAX) {
		size_t want = PREFIX;
		uint32_t length;
		ssize_t n;

		if (host->frame_length >= PREFIX) {
			memcpy(&length, host->frame, PREFIX);
			length = be32toh(length);
			require(length >= ETHERNET && length <= VIRTIO_NET_FRAME_MAX);
			want += length;
			if (host->frame_length == want) {
				frame_take(host, host->frame + PREFIX, length);
				host->frame_length = 0;
				count++;
				continue;
			}
		}
		n = recv(host->net_fd, host->frame + host->frame_length, want - host->frame_length,
			MSG_DONTWAIT);
		if (n <= 0)
			break;
		host->frame_length += (size_t)n;
	}
	return count > 0;
}

/* ---- all of it */

void in_process_host_create(struct in_process_host *host, const struct guest_memory *memory)
{
	const struct virtio_vsock_options vsock = {
		.listen_fd = -1,
		.watch = watch,
		.arm = arm,
		.unwatch = unwatch,
		.connect = guest_asks,
		.again = again,
		.context = host,
	};
	struct virtio_net_options net = {
		.kind = VIRTIO_NET_STREAM, .arm = net_arm, .context = host};
	int pair[2];

	host->watched = 0;
	host->frame_length = 0;
	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++)
		host->programs[i].fd = -1;
	pthread_mutex_init(&host->lock, NULL);
	require(loop_init(&host->loop) == 0 &&
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, host->asked) == 0 &&
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	memcpy(net.mac, guest_mac, sizeof(guest_mac));
	net.fd = pair[0];
	host->net_fd = pair[1];
	host->net_source = (struct loop_source){.fd = pair[0], .ready = net_ready, .context = host};
	require(loop_add(&host->loop, &host->net_source, 0) == 0 &&
		virtio_vsock_create(memory, &vsock, &host->vsock) == 0 &&
		virtio_net_create(memory, &net, &host->net) == 0);
}

void in_process_host_free(struct in_process_host *host)
{
	virtio_vsock_free(host->vsock);
	virtio_net_free(host->net);
	require(host->watched == 0);
	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++)
		cleanup_close(&host->programs[i].fd);
	close(host->asked[0]);
	close(host->asked[1]);
	close(host->net_fd);
	loop_done(&host->loop);
	pthread_mutex_destroy(&host->lock);
}

bool in_process_host_turn(struct in_process_host *host)
{
	bool busy;

	if (pthread_mutex_trylock(&host->lock) != 0)
		return true;
	virtio_vsock_continue(host->vsock);
	busy = turn_loop(host);
	busy |= turn_questions(host);
	busy |= turn_programs(host);
	busy |= turn_network(host);
	pthread_mutex_unlock(&host->lock);
	return busy;
}

void in_process_host_settle(struct in_process_host *host)
{
	require(virtio_vsock_count(host->vsock) == 0 && host->watched == 0);
	/* The programs hear of it, and what the guest asked or sent before goes nowhere any more. */
	while (in_process_host_turn(host))
		;
	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++)
		require(host->programs[i].fd < 0 || !host->programs[i].echoes);
	for (size_t i = 0; i < ARRAY_SIZE(host->programs); i++) {
		cleanup_close(&host->programs[i].fd);
		host->programs[i].fd = -1;
	}
	require(virtio_vsock_count(host->vsock) == 0 && host->watched == 0);
}
