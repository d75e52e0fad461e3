/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device of a test that is the guest's driver, the owner's loop and the programs of the host. Failures end
 * the test.
 */
#ifndef APPC_TESTS_UNIT_VSOCK_DRIVER_H
#define APPC_TESTS_UNIT_VSOCK_DRIVER_H

#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "virtio/vsock.h"

#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x400000ull
#define RINGS       0x1000ull
#define BUFFERS     0x100000ull
#define BUFFER_SIZE 0x1000ull
#define QUEUE_SIZE  64
#define PEER_ROOM   (256u << 10) /* what the guest promises unless a test says otherwise */
#define HEADER      sizeof(struct virtio_vsock_hdr)
#define SOME_PORT   1024u

enum { RECEIVE, TRANSMIT, EVENT, QUEUES };

struct fixture {
	struct guest_memory memory;
	struct virtio_vsock *vsock;
	struct virtio_mmio mmio;
	struct driver_ring rings[QUEUES];
	uint16_t next_descriptor[QUEUES];
	struct sockaddr_un address;
	socklen_t address_length;
	int fds[VSOCK_CONNECTIONS_MAX]; /* watched; -1: none */
	uint32_t armed[VSOCK_CONNECTIONS_MAX];
	bool is_armed[VSOCK_CONNECTIONS_MAX];
	unsigned int watched, again;
	uint64_t asked_id;
	uint32_t asked_port;
	unsigned int asked;
	int connect_error;
	uint32_t received_bytes; /* of the guest, told as fwd_cnt */
};

struct packet {
	struct virtio_vsock_hdr header;
	uint8_t data[BUFFER_SIZE];
};

/* ---- the owner */

static inline int watch(void *context, unsigned int slot, int fd)
{
	struct fixture *fixture = context;

	assert_in_range(slot, 0, VSOCK_CONNECTIONS_MAX - 1);
	assert_int_equal(fixture->fds[slot], -1);
	fixture->fds[slot] = fd;
	fixture->watched++;
	return 0;
}

static inline void arm(void *context, unsigned int slot, uint32_t events)
{
	struct fixture *fixture = context;

	assert_true(fixture->fds[slot] >= 0);
	fixture->armed[slot] = events;
	fixture->is_armed[slot] = true;
}

static inline void unwatch(void *context, unsigned int slot, int fd)
{
	struct fixture *fixture = context;

	assert_int_equal(fixture->fds[slot], fd);
	fixture->fds[slot] = -1;
	fixture->is_armed[slot] = false;
	fixture->watched--;
}

static inline int ask(void *context, uint64_t id, uint32_t port)
{
	struct fixture *fixture = context;

	fixture->asked_id = id;
	fixture->asked_port = port;
	fixture->asked++;
	return fixture->connect_error;
}

static inline void again(void *context)
{
	((struct fixture *)context)->again++;
}

static inline void raise_line(void *context)
{
	(void)context;
}

/* The owner's loop: fires whatever is armed and ready, until nothing is. Returns how often it fired. */
static inline unsigned int run_loop(struct fixture *fixture)
{
	unsigned int fired = 0;
	bool more;

	do {
		more = fixture->again > 0;
		fixture->again = 0;
		if (more)
			virtio_vsock_continue(fixture->vsock);
		for (unsigned int slot = 0; slot < VSOCK_CONNECTIONS_MAX; slot++) {
			struct pollfd fd = {
				.fd = fixture->fds[slot], .events = (short)fixture->armed[slot]};

			if (fd.fd < 0 || !fixture->is_armed[slot] || poll(&fd, 1, 0) != 1)
				continue;
			fixture->is_armed[slot] = false;
			virtio_vsock_ready(fixture->vsock, slot, (uint32_t)fd.revents);
			more = true;
			/* A loop that spins would fire for ever. */
			assert_in_range(++fired, 0, 200000);
		}
	} while (more);
	return fired;
}

/* ---- the driver */

static inline void start_driver(struct fixture *fixture)
{
	assert_true(driver_negotiate(&fixture->mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
	memset(fixture->memory.regions[0].host + RINGS, 0, QUEUES * DRIVER_RING_SPACE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		fixture->rings[i] =
			driver_ring_at(&fixture->memory, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
		fixture->next_descriptor[i] = 0;
		assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	}
	driver_run(&fixture->mmio);
}

static inline uint64_t buffer_address(unsigned int queue, uint16_t index)
{
	return BUFFERS + (queue * QUEUE_SIZE + index) * 2 * BUFFER_SIZE;
}

static inline uint8_t *buffer(struct fixture *fixture, unsigned int queue, uint16_t index)
{
	return fixture->memory.regions[0].host + buffer_address(queue, index);
}

static inline void offer(
	struct fixture *fixture, unsigned int queue, uint32_t length, uint16_t flags)
{
	uint16_t index = fixture->next_descriptor[queue]++ % QUEUE_SIZE;

	driver_offer_buffer(
		&fixture->rings[queue], index, buffer_address(queue, index), length, flags);
}

static inline void give_room(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		offer(fixture, RECEIVE, BUFFER_SIZE, DRIVER_WRITE);
	driver_notify(&fixture->mmio, RECEIVE);
}

/* Takes a packet for the guest; its buffer goes back at once. False: there is none. */
static inline bool take(struct fixture *fixture, struct packet *ret)
{
	uint32_t head, length;

	if (!driver_take_used(&fixture->rings[RECEIVE], &head, &length))
		return false;
	assert_in_range(length, HEADER, BUFFER_SIZE);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, buffer(fixture, RECEIVE, (uint16_t)head), length);
	assert_int_equal(ret->header.len, length - HEADER);
	assert_int_equal(ret->header.dst_cid, VSOCK_CID_GUEST);
	give_room(fixture, 1);
	return true;
}

static inline void expect(struct fixture *fixture, uint16_t operation, struct packet *ret)
{
	assert_true(take(fixture, ret));
	assert_int_equal(ret->header.op, operation);
}

static inline void expect_nothing(struct fixture *fixture)
{
	struct packet packet;

	assert_false(take(fixture, &packet));
}

static inline void send_raw(struct fixture *fixture, const struct virtio_vsock_hdr *header,
	const void *data, uint32_t length)
{
	uint16_t index = fixture->next_descriptor[TRANSMIT] % QUEUE_SIZE;
	uint32_t head, written;

	assert_in_range(length, 0, 2 * BUFFER_SIZE - HEADER);
	memcpy(buffer(fixture, TRANSMIT, index), header, HEADER);
	if (length > 0)
		memcpy(buffer(fixture, TRANSMIT, index) + HEADER, data, length);
	offer(fixture, TRANSMIT, (uint32_t)HEADER + length, 0);
	driver_notify(&fixture->mmio, TRANSMIT);
	assert_true(driver_take_used(&fixture->rings[TRANSMIT], &head, &written));
	assert_int_equal(written, 0);
}

static inline struct virtio_vsock_hdr header_of(
	const struct fixture *fixture, uint32_t guest_port, uint32_t host_port, uint16_t operation)
{
	return (struct virtio_vsock_hdr){
		.src_cid = VSOCK_CID_GUEST,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = operation,
		.buf_alloc = PEER_ROOM,
		.fwd_cnt = fixture->received_bytes,
	};
}

static inline void send_packet(struct fixture *fixture, uint32_t guest_port, uint32_t host_port,
	uint16_t operation, uint32_t flags)
{
	struct virtio_vsock_hdr header = header_of(fixture, guest_port, host_port, operation);

	header.flags = flags;
	send_raw(fixture, &header, NULL, 0);
}

static inline void send_data(struct fixture *fixture, uint32_t guest_port, uint32_t host_port,
	const void *data, uint32_t length)
{
	struct virtio_vsock_hdr header =
		header_of(fixture, guest_port, host_port, VIRTIO_VSOCK_OP_RW);

	header.len = length;
	send_raw(fixture, &header, data, length);
}

/* ---- the host's programs */

static inline int connect_client(struct fixture *fixture)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&fixture->address, fixture->address_length), 0);
	virtio_vsock_accept(fixture->vsock);
	return fd;
}

static inline int greet(struct fixture *fixture, const char *greeting)
{
	int fd = connect_client(fixture);

	assert_int_equal(send(fd, greeting, strlen(greeting), 0), strlen(greeting));
	run_loop(fixture);
	return fd;
}

static inline void assert_closed(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

static inline void assert_says(int fd, const char *expected)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(text, expected, strlen(expected));
}

/* A client that the guest has accepted at SOME_PORT. */
static inline int open_from_host(struct fixture *fixture, uint32_t *ret_host_port)
{
	int fd = greet(fixture, "CONNECT 1024\n");
	struct packet packet;
	char answer[32];

	do /* others may have credit to give */
		assert_true(take(fixture, &packet));
	while (packet.header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(packet.header.src_cid, VSOCK_CID_HOST);
	assert_int_equal(packet.header.dst_port, SOME_PORT);
	assert_int_equal(packet.header.type, VIRTIO_VSOCK_TYPE_STREAM);
	assert_int_equal(packet.header.buf_alloc, VSOCK_BUFFER_LARGE);
	*ret_host_port = packet.header.src_port;
	send_packet(fixture, SOME_PORT, *ret_host_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	snprintf(answer, sizeof(answer), "OK %u\n", *ret_host_port);
	assert_says(fd, answer);
	return fd;
}

/* A connection of the guest's port 5000 to port 80 of the host; the host's end of it. */
static inline int open_from_guest(struct fixture *fixture)
{
	struct packet packet;
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	virtio_vsock_connected(fixture->vsock, fixture->asked_id, pair[0]);
	expect(fixture, VIRTIO_VSOCK_OP_RESPONSE, &packet);
	run_loop(fixture);
	return pair[1];
}

static inline int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct virtio_vsock_options options = {
		.watch = watch,
		.arm = arm,
		.unwatch = unwatch,
		.connect = ask,
		.again = again,
		.context = fixture,
	};

	assert_non_null(fixture);
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		fixture->fds[i] = -1;
	/* An abstract address that the kernel chooses. */
	fixture->address.sun_family = AF_UNIX;
	fixture->address_length = sizeof(fixture->address);
	options.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(
		bind(options.listen_fd, (struct sockaddr *)&fixture->address, sizeof(sa_family_t)),
		0);
	assert_int_equal(listen(options.listen_fd, 512), 0);
	assert_int_equal(getsockname(options.listen_fd, (struct sockaddr *)&fixture->address,
				 &fixture->address_length),
		0);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	assert_int_equal(virtio_vsock_create(&fixture->memory, &options, &fixture->vsock), 0);
	virtio_mmio_attach(
		&fixture->mmio, virtio_vsock_device(fixture->vsock), raise_line, fixture);
	start_driver(fixture);
	give_room(fixture, QUEUE_SIZE / 2);
	*state = fixture;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *fixture = *state;

	virtio_vsock_free(fixture->vsock);
	assert_int_equal(fixture->watched, 0);
	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static inline bool needs_reset(struct fixture *fixture)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* Sends until the device has to keep bytes; returns how many were sent. */
static inline size_t fill(struct fixture *fixture, int fd, uint32_t port)
{
	static uint8_t block[BUFFER_SIZE];
	int size = 4096;
	size_t sent = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	do {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) * 7 >> 3);
		send_data(fixture, SOME_PORT, port, block, sizeof(block));
		sent += sizeof(block);
		assert_in_range(sent, 0, 4u << 20);
	} while (!fixture->is_armed[0] || !(fixture->armed[0] & POLLOUT));
	return sent;
}

static inline size_t drain(int fd, size_t from)
{
	uint8_t data[8192];
	ssize_t n;
	size_t at = from;

	while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], (uint8_t)((at + (size_t)i) * 7 >> 3));
		at += (size_t)n;
	}
	return at - from;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
