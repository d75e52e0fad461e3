// SPDX-License-Identifier: Apache-2.0
/* test_virtio_vsock.c: connections of the vsock device: how they begin, carry bytes and end. */
#include "tests/unit/vsock_driver.h"

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
