// SPDX-License-Identifier: Apache-2.0
/* test_virtio_vsock_guest.c: a guest that breaks the rules of the vsock device, or wants too much of it; and parking it. */
#include "tests/unit/vsock_driver.h"

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
	unsigned int data = 0, resets = 0;
	struct packet packet;
	char text[32];
	int *fds;

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip();
	fds = calloc(STREAMS, sizeof(*fds));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
