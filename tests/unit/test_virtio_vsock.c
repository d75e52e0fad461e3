// SPDX-License-Identifier: Apache-2.0
/*
 * test_virtio_vsock.c: packets, credit, both ways to end, limits and malformed packets, with the test as the
 * guest's driver and as the programs of the host.
 */
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

static int watch(void *context, unsigned int slot, int fd)
{
	struct fixture *fixture = context;

	assert_in_range(slot, 0, VSOCK_CONNECTIONS_MAX - 1);
	assert_int_equal(fixture->fds[slot], -1);
	fixture->fds[slot] = fd;
	fixture->watched++;
	return 0;
}

static void arm(void *context, unsigned int slot, uint32_t events)
{
	struct fixture *fixture = context;

	assert_true(fixture->fds[slot] >= 0);
	fixture->armed[slot] = events;
	fixture->is_armed[slot] = true;
}

static void unwatch(void *context, unsigned int slot, int fd)
{
	struct fixture *fixture = context;

	assert_int_equal(fixture->fds[slot], fd);
	fixture->fds[slot] = -1;
	fixture->is_armed[slot] = false;
	fixture->watched--;
}

static int ask(void *context, uint64_t id, uint32_t port)
{
	struct fixture *fixture = context;

	fixture->asked_id = id;
	fixture->asked_port = port;
	fixture->asked++;
	return fixture->connect_error;
}

static void again(void *context)
{
	((struct fixture *)context)->again++;
}

static void raise_line(void *context)
{
	(void)context;
}

/* The owner's loop: fires whatever is armed and ready, until nothing is. Returns how often it fired. */
static unsigned int run_loop(struct fixture *fixture)
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

static void start_driver(struct fixture *fixture)
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

static uint64_t buffer_address(unsigned int queue, uint16_t index)
{
	return BUFFERS + (queue * QUEUE_SIZE + index) * 2 * BUFFER_SIZE;
}

static uint8_t *buffer(struct fixture *fixture, unsigned int queue, uint16_t index)
{
	return fixture->memory.regions[0].host + buffer_address(queue, index);
}

static void offer(struct fixture *fixture, unsigned int queue, uint32_t length, uint16_t flags)
{
	uint16_t index = fixture->next_descriptor[queue]++ % QUEUE_SIZE;

	driver_offer_buffer(
		&fixture->rings[queue], index, buffer_address(queue, index), length, flags);
}

static void give_room(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		offer(fixture, RECEIVE, BUFFER_SIZE, DRIVER_WRITE);
	driver_notify(&fixture->mmio, RECEIVE);
}

/* Takes a packet for the guest; its buffer goes back at once. False: there is none. */
static bool take(struct fixture *fixture, struct packet *ret)
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

static void expect(struct fixture *fixture, uint16_t operation, struct packet *ret)
{
	assert_true(take(fixture, ret));
	assert_int_equal(ret->header.op, operation);
}

static void expect_nothing(struct fixture *fixture)
{
	struct packet packet;

	assert_false(take(fixture, &packet));
}

static void send_raw(struct fixture *fixture, const struct virtio_vsock_hdr *header,
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

static struct virtio_vsock_hdr header_of(
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

static void send_packet(struct fixture *fixture, uint32_t guest_port, uint32_t host_port,
	uint16_t operation, uint32_t flags)
{
	struct virtio_vsock_hdr header = header_of(fixture, guest_port, host_port, operation);

	header.flags = flags;
	send_raw(fixture, &header, NULL, 0);
}

static void send_data(struct fixture *fixture, uint32_t guest_port, uint32_t host_port,
	const void *data, uint32_t length)
{
	struct virtio_vsock_hdr header =
		header_of(fixture, guest_port, host_port, VIRTIO_VSOCK_OP_RW);

	header.len = length;
	send_raw(fixture, &header, data, length);
}

/* ---- the host's programs */

static int connect_client(struct fixture *fixture)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&fixture->address, fixture->address_length), 0);
	virtio_vsock_accept(fixture->vsock);
	return fd;
}

static int greet(struct fixture *fixture, const char *greeting)
{
	int fd = connect_client(fixture);

	assert_int_equal(send(fd, greeting, strlen(greeting), 0), strlen(greeting));
	run_loop(fixture);
	return fd;
}

static void assert_closed(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

static void assert_says(int fd, const char *expected)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(text, expected, strlen(expected));
}

/* A client that the guest has accepted at SOME_PORT. */
static int open_from_host(struct fixture *fixture, uint32_t *ret_host_port)
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
static int open_from_guest(struct fixture *fixture)
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

static int set_up(void **state)
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

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	virtio_vsock_free(fixture->vsock);
	assert_int_equal(fixture->watched, 0);
	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static bool needs_reset(struct fixture *fixture)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- connecting */

static void configuration_tells_the_cid(void **state)
{
	struct fixture *fixture = *state;
	uint64_t cid = 0;

	virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_CONFIG, &cid, sizeof(cid));
	assert_int_equal(cid, VSOCK_CID_GUEST);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_DEVICE_ID), 19);
}

static void client_of_the_host_reaches_a_port_of_the_guest(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	assert_int_equal(send(fd, "question", 8, 0), 8);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.src_port, port);
	assert_int_equal(packet.header.dst_port, SOME_PORT);
	assert_int_equal(packet.header.len, 8);
	assert_memory_equal(packet.data, "question", 8);
	send_data(fixture, SOME_PORT, port, "answer", 6);
	assert_says(fd, "answer");
	expect_nothing(fixture);
	close(fd);
}

static void greeting_may_come_in_pieces_and_with_data_behind_it(void **state)
{
	struct fixture *fixture = *state;
	int fd = connect_client(fixture);
	struct packet packet;
	const char *pieces[] = {"C", "ONNECT", " 10", "24", "\ndata", NULL};

	for (const char **piece = pieces; *piece; piece++) {
		expect_nothing(fixture);
		assert_int_equal(send(fd, *piece, strlen(*piece), 0), strlen(*piece));
		run_loop(fixture);
	}
	expect(fixture, VIRTIO_VSOCK_OP_REQUEST, &packet);
	expect_nothing(fixture);
	send_packet(fixture, SOME_PORT, packet.header.src_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.len, 4);
	assert_memory_equal(packet.data, "data", 4);
	close(fd);
}

static void ill_formed_greetings_are_closed(void **state)
{
	static const char *const greetings[] = {"\n", "connect 1\n", "CONNECT \n", "CONNECT -1\n",
		"CONNECT 1 \n", "CONNECT 4294967295\n", "CONNECT 4294967296\n",
		"CONNECT 00000000000000000001\n", "GET / HTTP/1.1 and no end of the line"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(greetings); i++) {
		int fd = greet(fixture, greetings[i]);
		char byte;

		assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
		close(fd);
	}
	expect_nothing(fixture);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
}

static void client_of_a_port_where_nobody_listens_is_closed(void **state)
{
	struct fixture *fixture = *state;
	int fd = greet(fixture, "CONNECT 7\n");
	struct packet packet;

	expect(fixture, VIRTIO_VSOCK_OP_REQUEST, &packet);
	send_packet(fixture, 7, packet.header.src_port, VIRTIO_VSOCK_OP_RST, 0);
	assert_closed(fd);
	expect_nothing(fixture);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	close(fd);
}

static void client_that_does_not_wait_is_taken_back(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;

	close(greet(fixture, "CONNECT 7\n"));
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_REQUEST, &packet);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
}

static void clients_are_closed_while_no_driver_runs(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	fd = connect_client(fixture);
	assert_closed(fd);
	close(fd);
}

static void guest_reaches_a_port_of_the_host(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	int fd = open_from_guest(fixture);

	assert_int_equal(fixture->asked_port, 80);
	send_data(fixture, 5000, 80, "GET", 3);
	assert_says(fd, "GET");
	assert_int_equal(send(fd, "200", 3, 0), 3);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.src_port, 80);
	assert_int_equal(packet.header.dst_port, 5000);
	close(fd);
}

static void guest_is_reset_where_the_host_does_not_listen(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;

	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_nothing(fixture);
	virtio_vsock_connected(fixture->vsock, fixture->asked_id, -ENOENT);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_int_equal(packet.header.src_port, 80);
	assert_int_equal(packet.header.dst_port, 5000);
	fixture->connect_error = -EAGAIN;
	send_packet(fixture, 5001, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
}

static void answer_that_comes_too_late_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	id = fixture->asked_id;
	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_RST, 0);
	/* The same slot has another owner now. */
	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal((uint32_t)id, (uint32_t)fixture->asked_id);
	virtio_vsock_connected(fixture->vsock, id, pair[0]);
	assert_closed(pair[1]);
	expect_nothing(fixture);
	virtio_vsock_connected(fixture->vsock, UINT64_MAX, -EIO);
	close(pair[1]);
}

/* ---- ending */

static void end_of_the_host_s_input_is_half_a_shutdown(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	assert_int_equal(send(fd, "last", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 2);
	/* The other direction goes on, and ends in an orderly way. */
	send_data(fixture, SOME_PORT, port, "more", 4);
	assert_says(fd, "more");
	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_closed(fd);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	close(fd);
}

static void end_of_the_guest_s_output_is_half_a_shutdown(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	send_data(fixture, SOME_PORT, port, "all", 3);
	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_SHUTDOWN, 2);
	assert_says(fd, "all");
	assert_closed(fd);
	assert_int_equal(send(fd, "still", 5, 0), 5);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	/* Data after that is against the rules. */
	send_data(fixture, SOME_PORT, port, "x", 1);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	close(fd);
}

static void client_that_goes_is_a_whole_shutdown(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;

	close(open_from_host(fixture, &port));
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 3);
	assert_int_equal(fixture->watched, 0);
	/* What the guest still says goes nowhere, and it gets its credit back. */
	send_data(fixture, SOME_PORT, port, "x", 1);
	expect_nothing(fixture);
	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_RST, 0);
	expect_nothing(fixture);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
}

static void client_that_goes_after_its_input_ended_is_the_other_half(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	shutdown(fd, SHUT_WR);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 2);
	close(fd);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 3);
}

static void what_a_client_sent_before_it_went_arrives(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	assert_int_equal(send(fd, "farewell", 8, 0), 8);
	close(fd);
	/* The guest speaks first and finds nobody. */
	send_data(fixture, SOME_PORT, port, "hello?", 6);
	run_loop(fixture);
	do {
		assert_true(take(fixture, &packet));
	} while (packet.header.op != VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(packet.data, "farewell", 8);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 3);
}

static void reset_by_the_guest_closes_the_client(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_RST, 0);
	assert_closed(fd);
	expect_nothing(fixture);
	close(fd);
}

/* ---- credit */

/* Sends until the device has to keep bytes; returns how many were sent. */
static size_t fill(struct fixture *fixture, int fd, uint32_t port)
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

static size_t drain(int fd, size_t from)
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

static void slow_client_keeps_bytes_back_and_gets_them_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port, forwarded = 0;
	int fd = open_from_host(fixture, &port);
	size_t sent = fill(fixture, fd, port), arrived = 0;

	while (arrived < sent) {
		size_t n = drain(fd, arrived);

		arrived += n;
		assert_true(run_loop(fixture) > 0 || n > 0);
	}
	while (take(fixture, &packet)) {
		assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		assert_true(packet.header.fwd_cnt >= forwarded);
		forwarded = packet.header.fwd_cnt;
	}
	/* The guest knows of all but what is not worth a packet. */
	assert_in_range(sent - forwarded, 0, VSOCK_BUFFER_LARGE / 2);
	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	expect(fixture, VIRTIO_VSOCK_OP_CREDIT_UPDATE, &packet);
	assert_int_equal(packet.header.fwd_cnt, sent);
	close(fd);
}

static void slow_client_holds_up_no_other(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port, other_port;
	int fd = open_from_host(fixture, &port), other;

	fill(fixture, fd, port);
	other = open_from_host(fixture, &other_port);
	send_data(fixture, SOME_PORT, other_port, "through", 7);
	assert_says(other, "through");
	close(fd);
	close(other);
}

static void guest_that_sends_more_than_its_credit_is_reset(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t block[BUFFER_SIZE];
	struct packet packet = {0};
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	fill(fixture, fd, port);
	for (unsigned int i = 0; i <= VSOCK_BUFFER_LARGE / BUFFER_SIZE; i++)
		send_data(fixture, SOME_PORT, port, block, sizeof(block));
	do {
		assert_true(take(fixture, &packet));
	} while (packet.header.op != VIRTIO_VSOCK_OP_RST);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	close(fd);
}

static void bytes_of_a_guest_that_ended_in_order_still_arrive(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;
	int fd = open_from_host(fixture, &port);
	size_t sent = fill(fixture, fd, port), arrived = 0;

	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	/* It does not wait until the client has taken all. */
	send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_RST, 0);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 1);
	while (arrived < sent) {
		size_t n = drain(fd, arrived);

		arrived += n;
		assert_true(run_loop(fixture) > 0 || n > 0);
	}
	assert_closed(fd);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	close(fd);
}

static void client_that_goes_while_bytes_are_kept_frees_them(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet = {0};
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	fill(fixture, fd, port);
	close(fd);
	run_loop(fixture);
	while (packet.header.op != VIRTIO_VSOCK_OP_SHUTDOWN)
		assert_true(take(fixture, &packet));
	assert_int_equal(packet.header.flags, 3);
	assert_int_equal(fixture->watched, 0);
}

static void guest_s_credit_is_kept(void **state)
{
	static const char data[1000] = "data";
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	header = header_of(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	header.buf_alloc = 600;
	send_raw(fixture, &header, NULL, 0);
	assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.len, 600);
	expect(fixture, VIRTIO_VSOCK_OP_CREDIT_REQUEST, &packet);
	run_loop(fixture);
	expect_nothing(fixture);
	header.fwd_cnt = 100;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.len, 100);
	/* A room that shrinks, and one that was never there. */
	header.buf_alloc = 10;
	header.fwd_cnt = 200;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_CREDIT_REQUEST, &packet);
	header.buf_alloc = UINT32_MAX;
	header.fwd_cnt = 701;
	send_raw(fixture, &header, NULL, 0);
	run_loop(fixture);
	expect_nothing(fixture);
	header.fwd_cnt = 700;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	assert_int_equal(packet.header.len, 300);
	close(fd);
}

static void end_of_input_needs_no_credit(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	header = header_of(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	header.buf_alloc = 0;
	send_raw(fixture, &header, NULL, 0);
	close(fd);
	run_loop(fixture);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
	assert_int_equal(packet.header.flags, 3);
}

static void client_with_data_and_no_credit_does_not_spin_when_it_goes(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	header = header_of(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	header.buf_alloc = 0;
	send_raw(fixture, &header, NULL, 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	close(fd);
	assert_in_range(run_loop(fixture), 1, 4);
	expect(fixture, VIRTIO_VSOCK_OP_CREDIT_REQUEST, &packet);
	header.buf_alloc = 1;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RW, &packet);
	expect(fixture, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
}

static void bytes_wait_in_the_socket_while_the_guest_gives_no_buffers(void **state)
{
	enum { BLOCKS = QUEUE_SIZE * 5 / 8, BLOCK = 3 * 1024 };
	struct fixture *fixture = *state;
	static const uint8_t data[BLOCK];
	struct packet packet;
	uint32_t port, head, length;
	size_t total = 0;
	int fd = open_from_host(fixture, &port);

	/* Half of the ring was given; none of it comes back. */
	for (unsigned int i = 0; i < BLOCKS; i++) {
		assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
		run_loop(fixture);
	}
	while (driver_take_used(&fixture->rings[RECEIVE], &head, &length))
		total += length - HEADER;
	assert_int_equal(total, QUEUE_SIZE / 2 * BLOCK);
	give_room(fixture, QUEUE_SIZE / 2);
	while (take(fixture, &packet))
		total += packet.header.len;
	assert_int_equal(total, BLOCKS * BLOCK);
	close(fd);
}

/* ---- malformed packets */

static void packets_of_no_connection_are_reset(void **state)
{
	struct fixture *fixture = *state;

	for (uint16_t operation = 0; operation <= 9; operation++) {
		struct packet packet;

		if (operation == VIRTIO_VSOCK_OP_REQUEST || operation == VIRTIO_VSOCK_OP_RST)
			continue;
		send_packet(fixture, 9, 10, operation, 0);
		expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
		assert_int_equal(packet.header.src_port, 10);
		assert_int_equal(packet.header.dst_port, 9);
	}
	send_packet(fixture, 9, 10, VIRTIO_VSOCK_OP_RST, 0);
	expect_nothing(fixture);
}

static void packets_in_a_wrong_state_reset_the_connection(void **state)
{
	static const uint16_t operations[] = {
		0, VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, 8, UINT16_MAX};
	struct fixture *fixture = *state;
	struct packet packet;
	uint32_t port;

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		int fd = open_from_host(fixture, &port);

		send_packet(fixture, SOME_PORT, port, operations[i], 0);
		expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
		assert_closed(fd);
		close(fd);
	}
	/* The owner has not answered yet. */
	for (uint16_t operation = VIRTIO_VSOCK_OP_RESPONSE;
		operation <= VIRTIO_VSOCK_OP_CREDIT_REQUEST; operation++) {
		if (operation == VIRTIO_VSOCK_OP_RST)
			continue;
		send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
		send_packet(fixture, 5000, 80, operation, 3);
		expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	}
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
}

static void answer_to_a_request_that_was_not_sent_is_reset(void **state)
{
	struct fixture *fixture = *state;
	uint32_t head, length;
	int fd;

	/* No buffer is left for the request; its port can be guessed. */
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	start_driver(fixture);
	fd = greet(fixture, "CONNECT 1024\n");
	for (uint32_t port = 1u << 30; port < (1u << 30) + 4; port++)
		send_packet(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	assert_closed(fd);
	assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	close(fd);
}

static void packets_to_others_are_reset_and_from_others_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header = header_of(fixture, 9, 10, VIRTIO_VSOCK_OP_REQUEST);
	static const uint64_t cids[] = {0, 1, VSOCK_CID_GUEST, 77, UINT64_MAX, 1ull << 32 | 2};
	struct packet packet;

	for (size_t i = 0; i < ARRAY_SIZE(cids); i++) {
		header.dst_cid = cids[i];
		send_raw(fixture, &header, NULL, 0);
		expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
		assert_int_equal(packet.header.src_cid, cids[i]);
	}
	header.dst_cid = VSOCK_CID_HOST;
	for (size_t i = 0; i < ARRAY_SIZE(cids); i++) {
		if (cids[i] == VSOCK_CID_GUEST)
			continue;
		header.src_cid = cids[i];
		send_raw(fixture, &header, NULL, 0);
		expect_nothing(fixture);
	}
	assert_int_equal(fixture->asked, 0);
}

static void other_types_are_reset_with_their_type(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header = header_of(fixture, 9, 10, VIRTIO_VSOCK_OP_REQUEST);
	struct packet packet;

	header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_int_equal(packet.header.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	assert_int_equal(fixture->asked, 0);
}

static void lengths_that_are_not_there_are_reset(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header;
	struct packet packet;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	header = header_of(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_RW);
	header.len = 5;
	send_raw(fixture, &header, "four", 4);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_closed(fd);
	close(fd);
	header = header_of(fixture, 9, 10, VIRTIO_VSOCK_OP_REQUEST);
	header.len = UINT32_MAX;
	send_raw(fixture, &header, NULL, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	fd = open_from_host(fixture, &port);
	header = header_of(fixture, SOME_PORT, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	header.len = 4;
	send_raw(fixture, &header, "four", 4);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	close(fd);
}

static void packet_without_a_header_breaks_the_device(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;
	int fd = open_from_host(fixture, &port);

	offer(fixture, TRANSMIT, HEADER - 1, 0);
	driver_notify(&fixture->mmio, TRANSMIT);
	assert_true(needs_reset(fixture));
	assert_closed(fd);
	close(fd);
	start_driver(fixture);
	give_room(fixture, QUEUE_SIZE / 2);
	close(open_from_host(fixture, &port));
}

static void buffers_that_cannot_be_filled_break_the_device(void **state)
{
	struct fixture *fixture = *state;
	static const uint32_t lengths[] = {0, 1, HEADER - 1, HEADER};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		start_driver(fixture);
		offer(fixture, RECEIVE, lengths[i], DRIVER_WRITE);
		send_packet(fixture, 9, 10, VIRTIO_VSOCK_OP_RW, 0);
		assert_true(needs_reset(fixture));
	}
	start_driver(fixture);
	offer(fixture, RECEIVE, BUFFER_SIZE, 0);
	send_packet(fixture, 9, 10, VIRTIO_VSOCK_OP_RW, 0);
	assert_true(needs_reset(fixture));
}

static void malformed_queue_breaks_the_device(void **state)
{
	struct fixture *fixture = *state;

	driver_offer_buffer(&fixture->rings[TRANSMIT], 0, MEMORY_SIZE - 8, 64, 0);
	driver_notify(&fixture->mmio, TRANSMIT);
	assert_true(needs_reset(fixture));
}

/* ---- limits */

static void resets_are_bounded_and_then_the_guest_waits(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_vsock_hdr header = header_of(fixture, 9, 10, VIRTIO_VSOCK_OP_RW);
	struct driver_ring *ring = &fixture->rings[TRANSMIT];
	unsigned int used = 0, resets = 0;
	uint32_t head, length;
	struct packet packet;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	start_driver(fixture); /* no room for answers */
	for (unsigned int i = 0; i < 2 * VSOCK_RESETS_MAX; i++) {
		uint16_t index = fixture->next_descriptor[TRANSMIT] % QUEUE_SIZE;

		if (i - used == QUEUE_SIZE)
			break;
		memcpy(buffer(fixture, TRANSMIT, index), &header, HEADER);
		offer(fixture, TRANSMIT, HEADER, 0);
		driver_notify(&fixture->mmio, TRANSMIT);
		while (driver_take_used(ring, &head, &length))
			used++;
	}
	assert_int_equal(used, VSOCK_RESETS_MAX);
	give_room(fixture, QUEUE_SIZE / 2);
	while (take(fixture, &packet))
		resets++;
	while (driver_take_used(ring, &head, &length))
		used++;
	assert_int_equal(used, VSOCK_RESETS_MAX + QUEUE_SIZE);
	assert_int_equal(resets, used);
}

static void guest_that_asks_for_too_many_connections_is_reset(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;

	for (uint32_t port = 1; port <= VSOCK_CONNECTIONS_MAX; port++)
		send_packet(fixture, port, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_nothing(fixture);
	assert_int_equal(virtio_vsock_count(fixture->vsock), VSOCK_CONNECTIONS_MAX);
	send_packet(fixture, VSOCK_CONNECTIONS_MAX + 1, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
	assert_int_equal(fixture->asked, VSOCK_CONNECTIONS_MAX);
	close(connect_client(fixture));
	send_packet(fixture, 1, 80, VIRTIO_VSOCK_OP_RST, 0);
	send_packet(fixture, 1, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_nothing(fixture);
}

static void clients_that_say_nothing_are_bounded(void **state)
{
	struct fixture *fixture = *state;
	int fds[VSOCK_GREETINGS_MAX + 1];
	uint32_t port;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = connect_client(fixture);
	assert_closed(fds[VSOCK_GREETINGS_MAX]);
	assert_int_equal(virtio_vsock_count(fixture->vsock), VSOCK_GREETINGS_MAX);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	run_loop(fixture);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	close(open_from_host(fixture, &port));
}

static void thousands_of_streams_carry_their_own_bytes(void **state)
{
	enum { STREAMS = 4000 };
	struct rlimit limit = {.rlim_cur = 3 * STREAMS, .rlim_max = 3 * STREAMS};
	struct fixture *fixture = *state;
	int *fds = calloc(STREAMS, sizeof(*fds));
	unsigned int data = 0, resets = 0;
	struct packet packet;
	char text[32];

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip();
	assert_non_null(fds);
	for (uint32_t i = 0; i < STREAMS; i++) {
		int pair[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		send_packet(fixture, 10000 + i, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
		virtio_vsock_connected(fixture->vsock, fixture->asked_id, pair[0]);
		expect(fixture, VIRTIO_VSOCK_OP_RESPONSE, &packet);
		assert_int_equal(packet.header.buf_alloc,
			i < VSOCK_LARGE_MAX ? VSOCK_BUFFER_LARGE : VSOCK_BUFFER_SMALL);
		fds[i] = pair[1];
	}
	assert_int_equal(virtio_vsock_count(fixture->vsock), STREAMS);
	for (uint32_t i = 0; i < STREAMS; i++) {
		int length = snprintf(text, sizeof(text), "to guest %u", i);

		assert_int_equal(send(fds[i], text, (size_t)length, 0), length);
		length = snprintf(text, sizeof(text), "to host %u", i);
		send_data(fixture, 10000 + i, 80, text, (uint32_t)length);
		assert_says(fds[i], text);
	}
	/* All at once are more than the guest has buffers for; each has its turn. */
	run_loop(fixture);
	while (take(fixture, &packet)) {
		if (packet.header.op == VIRTIO_VSOCK_OP_RST) {
			resets++;
			continue;
		}
		assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RW);
		snprintf(text, sizeof(text), "to guest %u", packet.header.dst_port - 10000);
		assert_int_equal(packet.header.len, strlen(text));
		assert_memory_equal(packet.data, text, strlen(text));
		data++;
		send_packet(fixture, packet.header.dst_port, 80, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	}
	assert_int_equal(data, STREAMS);
	assert_int_equal(resets, STREAMS);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	for (uint32_t i = 0; i < STREAMS; i++)
		close(fds[i]);
	free(fds);
}

static void reset_by_the_driver_closes_everything(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;
	int fd = open_from_host(fixture, &port), other = connect_client(fixture);

	fill(fixture, fd, port);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fixture->watched, 0);
	assert_int_equal(virtio_vsock_count(fixture->vsock), 0);
	assert_closed(other);
	close(fd);
	close(other);
}

/* ---- parking */

/* Parks the device and lets another go on, whose driver is the same. */
static void park(struct fixture *fixture)
{
	struct virtio_vsock_options options = {
		.listen_fd = -1,
		.watch = watch,
		.arm = arm,
		.unwatch = unwatch,
		.connect = ask,
		.again = again,
		.context = fixture,
	};
	struct state_writer writer = {0};
	struct state_reader reader;
	struct error err;

	assert_int_equal(virtio_mmio_save(&fixture->mmio, &writer, &err), 0);
	virtio_vsock_free(fixture->vsock);
	assert_int_equal(virtio_vsock_create(&fixture->memory, &options, &fixture->vsock), 0);
	virtio_mmio_attach(
		&fixture->mmio, virtio_vsock_device(fixture->vsock), raise_line, fixture);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(virtio_mmio_restore(&fixture->mmio, &reader, &err), 0);
	state_writer_done(&writer);
}

static bool take_event(struct fixture *fixture)
{
	struct virtio_vsock_event event = {.id = UINT32_MAX};
	uint32_t head, length;

	if (!driver_take_used(&fixture->rings[EVENT], &head, &length))
		return false;
	assert_int_equal(length, sizeof(event));
	memcpy(&event, buffer(fixture, EVENT, (uint16_t)head), sizeof(event));
	assert_int_equal(event.id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	return true;
}

static void guest_without_connections_is_not_disturbed_by_parking(void **state)
{
	struct fixture *fixture = *state;
	struct packet packet;

	offer(fixture, EVENT, 8, DRIVER_WRITE);
	park(fixture);
	assert_false(take_event(fixture));
	expect_nothing(fixture);
	send_packet(fixture, 5000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	virtio_vsock_connected(fixture->vsock, fixture->asked_id, -EIO);
	expect(fixture, VIRTIO_VSOCK_OP_RST, &packet);
}

static void guest_hears_that_its_connections_are_gone(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;

	offer(fixture, EVENT, 8, DRIVER_WRITE);
	close(open_from_host(fixture, &port));
	park(fixture);
	assert_true(take_event(fixture));
	assert_false(take_event(fixture));
}

static void event_waits_for_a_buffer(void **state)
{
	struct fixture *fixture = *state;
	uint32_t port;

	close(open_from_host(fixture, &port));
	park(fixture);
	park(fixture); /* it is part of the state */
	assert_false(take_event(fixture));
	offer(fixture, EVENT, 8, DRIVER_WRITE);
	driver_notify(&fixture->mmio, EVENT);
	assert_true(take_event(fixture));
}

static void damaged_state_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct virtio_device *device = virtio_vsock_device(fixture->vsock);

	for (uint32_t value = 2; value < 0x10000000; value = value * 3 + 1) {
		struct state_writer writer = {0};
		struct state_reader reader;
		struct error err;

		state_begin(&writer, STATE_TAG('t', 'e', 's', 't'), 1);
		state_put_u32(&writer, value);
		state_end(&writer);
		state_reader_init(&reader, writer.data, writer.length);
		assert_int_equal(state_open(&reader, STATE_TAG('t', 'e', 's', 't'), 1, &err), 0);
		assert_int_equal(device->operations->restore(device, &reader, &err), -EBADMSG);
		state_writer_done(&writer);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(configuration_tells_the_cid),
		TEST(client_of_the_host_reaches_a_port_of_the_guest),
		TEST(greeting_may_come_in_pieces_and_with_data_behind_it),
		TEST(ill_formed_greetings_are_closed),
		TEST(client_of_a_port_where_nobody_listens_is_closed),
		TEST(client_that_does_not_wait_is_taken_back),
		TEST(clients_are_closed_while_no_driver_runs),
		TEST(guest_reaches_a_port_of_the_host),
		TEST(guest_is_reset_where_the_host_does_not_listen),
		TEST(answer_that_comes_too_late_is_dropped),
		TEST(end_of_the_host_s_input_is_half_a_shutdown),
		TEST(end_of_the_guest_s_output_is_half_a_shutdown),
		TEST(client_that_goes_is_a_whole_shutdown),
		TEST(client_that_goes_after_its_input_ended_is_the_other_half),
		TEST(what_a_client_sent_before_it_went_arrives),
		TEST(reset_by_the_guest_closes_the_client),
		TEST(slow_client_keeps_bytes_back_and_gets_them_in_order),
		TEST(slow_client_holds_up_no_other),
		TEST(guest_that_sends_more_than_its_credit_is_reset),
		TEST(bytes_of_a_guest_that_ended_in_order_still_arrive),
		TEST(client_that_goes_while_bytes_are_kept_frees_them),
		TEST(guest_s_credit_is_kept),
		TEST(end_of_input_needs_no_credit),
		TEST(client_with_data_and_no_credit_does_not_spin_when_it_goes),
		TEST(bytes_wait_in_the_socket_while_the_guest_gives_no_buffers),
		TEST(packets_of_no_connection_are_reset),
		TEST(packets_in_a_wrong_state_reset_the_connection),
		TEST(answer_to_a_request_that_was_not_sent_is_reset),
		TEST(packets_to_others_are_reset_and_from_others_dropped),
		TEST(other_types_are_reset_with_their_type),
		TEST(lengths_that_are_not_there_are_reset),
		TEST(packet_without_a_header_breaks_the_device),
		TEST(buffers_that_cannot_be_filled_break_the_device),
		TEST(malformed_queue_breaks_the_device),
		TEST(resets_are_bounded_and_then_the_guest_waits),
		TEST(guest_that_asks_for_too_many_connections_is_reset),
		TEST(clients_that_say_nothing_are_bounded),
		TEST(thousands_of_streams_carry_their_own_bytes),
		TEST(reset_by_the_driver_closes_everything),
		TEST(guest_without_connections_is_not_disturbed_by_parking),
		TEST(guest_hears_that_its_connections_are_gone),
		TEST(event_waits_for_a_buffer),
		TEST(damaged_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
