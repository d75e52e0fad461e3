// SPDX-License-Identifier: Apache-2.0
/* test_virtio_console.c: the ports' handshake and streams, with the test as the guest's driver. */
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "virtio/console.h"

#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x100000ull
#define RINGS       0x1000ull
#define BUFFERS     0x40000ull
#define BUFFER_SIZE 0x1000ull /* of each descriptor of each queue */
#define QUEUE_SIZE  8
#define QUEUES      8

/* Section 5.3.2; queues 0 and 1 are those of port 0, which we do not offer. */
#define CONTROL_RECEIVE  2
#define CONTROL_TRANSMIT 3
#define RECEIVE(port)    (2 * (port) + 2)
#define TRANSMIT(port)   (2 * (port) + 3)

struct console_fixture {
	struct guest_memory memory;
	struct virtio_console *console;
	struct virtio_mmio mmio;
	struct driver_ring rings[QUEUES];
	uint16_t next_descriptor[QUEUES];
	int ours[CONSOLE_PORTS];       /* the far ends of the sockets */
	uint32_t armed[CONSOLE_PORTS]; /* events asked for and not yet delivered */
	unsigned int first_outputs[CONSOLE_PORTS];
	unsigned int raised;
};

static void raise_line(void *context)
{
	((struct console_fixture *)context)->raised++;
}

static void arm(void *context, unsigned int port, uint32_t events)
{
	((struct console_fixture *)context)->armed[port] = events;
}

static void first_output(void *context, unsigned int port)
{
	((struct console_fixture *)context)->first_outputs[port]++;
}

static void start_driver(struct console_fixture *fixture)
{
	assert_true(driver_negotiate(&fixture->mmio,
		VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT)));
	memset(fixture->memory.regions[0].host + RINGS, 0, QUEUES * DRIVER_RING_SPACE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		fixture->rings[i] =
			driver_ring_at(&fixture->memory, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
		fixture->next_descriptor[i] = 0;
		assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	}
	driver_run(&fixture->mmio);
}

static int set_up(void **state)
{
	struct console_fixture *fixture = calloc(1, sizeof(*fixture));
	struct virtio_console_options options = {
		.fds = {-1},
		.arm = arm,
		.first_output = first_output,
		.context = fixture,
	};

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	fixture->ours[0] = -1;
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		options.fds[i] = pair[0];
		fixture->ours[i] = pair[1];
	}
	assert_int_equal(virtio_console_create(&fixture->memory, &options, &fixture->console), 0);
	virtio_mmio_attach(
		&fixture->mmio, virtio_console_device(fixture->console), raise_line, fixture);
	start_driver(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct console_fixture *fixture = *state;

	virtio_console_free(fixture->console);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		cleanup_close(&fixture->ours[i]);
	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static uint64_t buffer_address(unsigned int queue, uint16_t index)
{
	return BUFFERS + (queue * QUEUE_SIZE + index) * BUFFER_SIZE;
}

static uint8_t *buffer(struct console_fixture *fixture, unsigned int queue, uint32_t index)
{
	assert_in_range(index, 0, QUEUE_SIZE - 1);
	return fixture->memory.regions[0].host + buffer_address(queue, (uint16_t)index);
}

/* Adds a buffer without a notification; its head. */
static uint16_t add(
	struct console_fixture *fixture, unsigned int queue, const void *data, uint32_t length)
{
	uint16_t index = fixture->next_descriptor[queue]++ % QUEUE_SIZE;

	if (data)
		memcpy(buffer(fixture, queue, index), data, length);
	driver_offer_buffer(&fixture->rings[queue], index, buffer_address(queue, index), length,
		data ? 0 : DRIVER_WRITE);
	return index;
}

static void give(
	struct console_fixture *fixture, unsigned int queue, const void *data, uint32_t length)
{
	add(fixture, queue, data, length);
	driver_notify(&fixture->mmio, queue);
}

static void send_control(
	struct console_fixture *fixture, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control message = {.id = id, .event = event, .value = value};
	uint32_t head, length;

	give(fixture, CONTROL_TRANSMIT, &message, sizeof(message));
	assert_true(driver_take_used(&fixture->rings[CONTROL_TRANSMIT], &head, &length));
	assert_int_equal(length, 0);
}

/* Takes a control message that came; false: there is none. */
static bool take_control(struct console_fixture *fixture, struct virtio_console_control *ret)
{
	uint32_t head, length;

	if (!driver_take_used(&fixture->rings[CONTROL_RECEIVE], &head, &length))
		return false;
	assert_int_equal(length, sizeof(*ret));
	memcpy(ret, buffer(fixture, CONTROL_RECEIVE, head), sizeof(*ret));
	return true;
}

static void assert_control(struct console_fixture *fixture, uint32_t id, uint16_t event)
{
	struct virtio_console_control message;

	assert_true(take_control(fixture, &message));
	assert_int_equal(message.id, id);
	assert_int_equal(message.event, event);
	assert_int_equal(message.value, 1);
}

static void assert_no_control(struct console_fixture *fixture)
{
	struct virtio_console_control message;

	assert_false(take_control(fixture, &message));
}

static void give_control_buffers(struct console_fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		add(fixture, CONTROL_RECEIVE, NULL, 64);
	driver_notify(&fixture->mmio, CONTROL_RECEIVE);
}

/* The far end has exactly these bytes, and no more. */
static void assert_arrived(struct console_fixture *fixture, unsigned int port, const char *expected)
{
	char data[256];
	ssize_t n = recv(fixture->ours[port], data, sizeof(data), MSG_DONTWAIT);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(data, expected, (size_t)n);
}

static void assert_used(
	struct console_fixture *fixture, unsigned int queue, uint32_t head, uint32_t length)
{
	uint32_t used_head, used_length;

	assert_true(driver_take_used(&fixture->rings[queue], &used_head, &used_length));
	assert_int_equal(used_head, head);
	assert_int_equal(used_length, length);
}

static void assert_nothing_used(struct console_fixture *fixture, unsigned int queue)
{
	uint32_t head, length;

	assert_false(driver_take_used(&fixture->rings[queue], &head, &length));
}

static bool needs_reset(struct console_fixture *fixture)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- handshake */

static void configuration_tells_the_number_of_ports(void **state)
{
	struct console_fixture *fixture = *state;
	struct virtio_console_config config = {0};

	for (size_t i = 0; i < sizeof(config); i++)
		virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_CONFIG + i, (uint8_t *)&config + i, 1);
	assert_int_equal(config.max_nr_ports, CONSOLE_PORTS);
}

static void ports_are_added_then_opened_the_first_one_last(void **state)
{
	struct console_fixture *fixture = *state;

	give_control_buffers(fixture, QUEUE_SIZE);
	assert_no_control(fixture);
	send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_control(fixture, 1, VIRTIO_CONSOLE_PORT_ADD);
	assert_control(fixture, 2, VIRTIO_CONSOLE_PORT_ADD);
	assert_no_control(fixture);
	send_control(fixture, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_no_control(fixture); /* until all are ready */
	send_control(fixture, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_control(fixture, 2, VIRTIO_CONSOLE_PORT_OPEN);
	assert_control(fixture, 1, VIRTIO_CONSOLE_PORT_OPEN);
	assert_no_control(fixture);
	assert_true(fixture->raised > 0);
}

static void control_messages_wait_for_buffers_in_order(void **state)
{
	struct console_fixture *fixture = *state;

	send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_no_control(fixture);
	give_control_buffers(fixture, 1);
	assert_control(fixture, 1, VIRTIO_CONSOLE_PORT_ADD);
	assert_no_control(fixture);
	give_control_buffers(fixture, 2);
	assert_control(fixture, 2, VIRTIO_CONSOLE_PORT_ADD);
	assert_no_control(fixture);
}

static void device_not_ready_gets_no_ports(void **state)
{
	struct console_fixture *fixture = *state;

	give_control_buffers(fixture, QUEUE_SIZE);
	send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 0);
	assert_no_control(fixture);
}

static void malformed_control_messages_are_ignored(void **state)
{
	static const uint32_t ports[] = {
		0, CONSOLE_PORTS, CONSOLE_PORTS + 1, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct console_fixture *fixture = *state;
	uint8_t bytes[64];

	give_control_buffers(fixture, QUEUE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		send_control(fixture, ports[i], VIRTIO_CONSOLE_PORT_READY, 1);
		send_control(fixture, ports[i], VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	send_control(fixture, 1, VIRTIO_CONSOLE_PORT_READY, 0);
	send_control(fixture, 2, VIRTIO_CONSOLE_PORT_READY, 0);
	for (uint32_t event = 0; event < 0x10000; event += event < 16 ? 1 : 0x0fff)
		if (event != VIRTIO_CONSOLE_DEVICE_READY && event != VIRTIO_CONSOLE_PORT_READY)
			send_control(fixture, 1, (uint16_t)event, 1);
	/* Too short for a message; too long is one with something behind it. */
	memset(bytes, 0, sizeof(bytes));
	for (uint32_t length = 0; length < sizeof(struct virtio_console_control); length++) {
		give(fixture, CONTROL_TRANSMIT, bytes, length);
		assert_nothing_used(fixture, CONTROL_RECEIVE);
	}
	assert_no_control(fixture);
	assert_false(needs_reset(fixture));
	((struct virtio_console_control *)bytes)->value = 1; /* DEVICE_READY is event 0 */
	give(fixture, CONTROL_TRANSMIT, bytes, sizeof(bytes));
	assert_control(fixture, 1, VIRTIO_CONSOLE_PORT_ADD);
}

/* A driver that asks for ever and never reads costs a fixed amount of memory. */
static void flood_of_control_messages_is_bounded(void **state)
{
	struct console_fixture *fixture = *state;
	struct virtio_console_control message;
	unsigned int count = 0;

	for (unsigned int i = 0; i < 10000; i++)
		send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned int round = 0; round < 100; round++) {
		give_control_buffers(fixture, 1);
		while (take_control(fixture, &message))
			count++;
	}
	assert_in_range(count, 2, 64);
}

static void control_buffer_too_small_for_a_message_gets_a_part(void **state)
{
	struct console_fixture *fixture = *state;

	add(fixture, CONTROL_RECEIVE, NULL, 3);
	send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_used(fixture, CONTROL_RECEIVE, 0, 3);
	assert_int_equal(buffer(fixture, CONTROL_RECEIVE, 0)[0], 1);
	assert_int_equal(buffer(fixture, CONTROL_RECEIVE, 0)[3], 0);
}

/* ---- streams */

static void output_leaves_on_its_own_port(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(fixture->first_outputs[1], 0);
	give(fixture, TRANSMIT(1), "one", 3);
	give(fixture, TRANSMIT(2), "two", 3);
	give(fixture, TRANSMIT(1), "more", 4);
	assert_arrived(fixture, 1, "onemore");
	assert_arrived(fixture, 2, "two");
	assert_used(fixture, TRANSMIT(1), 0, 0);
	assert_used(fixture, TRANSMIT(1), 1, 0);
	assert_used(fixture, TRANSMIT(2), 0, 0);
	assert_int_equal(fixture->first_outputs[1], 1);
	assert_int_equal(fixture->first_outputs[2], 1);
}

static void scattered_output_leaves_in_order(void **state)
{
	struct console_fixture *fixture = *state;
	struct driver_ring *ring = &fixture->rings[TRANSMIT(1)];

	memcpy(buffer(fixture, TRANSMIT(1), 0), "abcdef", 6);
	driver_describe(ring, 0, buffer_address(TRANSMIT(1), 0), 2, DRIVER_NEXT, 4);
	driver_describe(ring, 4, buffer_address(TRANSMIT(1), 0) + 2, 0, DRIVER_NEXT, 2);
	driver_describe(ring, 2, buffer_address(TRANSMIT(1), 0) + 2, 4, 0, 0);
	driver_offer(ring, 0);
	driver_notify(&fixture->mmio, TRANSMIT(1));
	assert_arrived(fixture, 1, "abcdef");
}

static void empty_output_is_given_back(void **state)
{
	struct console_fixture *fixture = *state;

	give(fixture, TRANSMIT(1), "", 0);
	assert_used(fixture, TRANSMIT(1), 0, 0);
	assert_int_equal(fixture->first_outputs[1], 0);
	give(fixture, TRANSMIT(1), "x", 1);
	assert_arrived(fixture, 1, "x");
}

static void input_that_waits_is_read_when_the_guest_asks(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(send(fixture->ours[1], "hello", 5, 0), 5);
	add(fixture, RECEIVE(1), NULL, 3);
	add(fixture, RECEIVE(1), NULL, 100);
	driver_notify(&fixture->mmio, RECEIVE(1));
	assert_used(fixture, RECEIVE(1), 0, 3);
	assert_memory_equal(buffer(fixture, RECEIVE(1), 0), "hel", 3);
	assert_used(fixture, RECEIVE(1), 1, 2);
	assert_memory_equal(buffer(fixture, RECEIVE(1), 1), "lo", 2);
}

static void guest_that_waits_for_input_arms_the_socket(void **state)
{
	struct console_fixture *fixture = *state;

	give(fixture, RECEIVE(2), NULL, 64);
	assert_nothing_used(fixture, RECEIVE(2));
	assert_int_equal(fixture->armed[2], POLLIN);
	assert_int_equal(fixture->armed[1], 0);
	fixture->armed[2] = 0;
	assert_int_equal(send(fixture->ours[2], "input", 5, 0), 5);
	assert_int_equal(virtio_console_ready(fixture->console, 2, POLLIN), 0);
	assert_used(fixture, RECEIVE(2), 0, 5);
	assert_memory_equal(buffer(fixture, RECEIVE(2), 0), "input", 5);
	assert_int_equal(fixture->armed[2], 0); /* no buffer is left to fill */
}

static void input_without_a_buffer_stays_in_the_socket(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(send(fixture->ours[1], "later", 5, 0), 5);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN), 0);
	give(fixture, RECEIVE(1), NULL, 64);
	assert_used(fixture, RECEIVE(1), 0, 5);
}

static void receive_buffer_without_room_is_given_back(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(send(fixture->ours[1], "x", 1, 0), 1);
	add(fixture, RECEIVE(1), NULL, 0);
	add(fixture, RECEIVE(1), "not writable", 12);
	add(fixture, RECEIVE(1), NULL, 8);
	driver_notify(&fixture->mmio, RECEIVE(1));
	assert_used(fixture, RECEIVE(1), 0, 0);
	assert_used(fixture, RECEIVE(1), 1, 0);
	assert_used(fixture, RECEIVE(1), 2, 1);
}

/* Fills the socket of port 1 and leaves a chain held. Returns the number of bytes in the socket. */
static size_t fill_socket(struct console_fixture *fixture)
{
	static const char block[BUFFER_SIZE] = "block";
	int size = 4096;
	uint32_t head, length;
	size_t sent = 0;

	/* Small, so that a few chains fill it. The kernel rounds it up. */
	for (unsigned int i = 0; i < 2; i++)
		setsockopt(fixture->ours[1], SOL_SOCKET, i ? SO_RCVBUF : SO_SNDBUF, &size,
			sizeof(size));
	do {
		give(fixture, TRANSMIT(1), block, sizeof(block));
		sent += sizeof(block);
		assert_in_range(sent, 0, 16u << 20);
	} while (driver_take_used(&fixture->rings[TRANSMIT(1)], &head, &length));
	assert_int_equal(fixture->armed[1] & POLLOUT, POLLOUT);
	fixture->armed[1] = 0;
	return sent;
}

/* Reads what is there. */
static size_t drain_socket(struct console_fixture *fixture)
{
	static char data[1u << 16];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fixture->ours[1], data, sizeof(data), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

static void full_socket_holds_the_chain_until_there_is_room(void **state)
{
	struct console_fixture *fixture = *state;
	size_t sent = fill_socket(fixture), arrived;

	give(fixture, TRANSMIT(1), "tail", 4); /* behind the one that is held */
	assert_nothing_used(fixture, TRANSMIT(1));
	arrived = drain_socket(fixture);
	assert_true(arrived < sent);
	fixture->armed[1] = 0;
	while (arrived < sent + 4) {
		size_t before = arrived;

		assert_int_equal(virtio_console_ready(fixture->console, 1, POLLOUT), 0);
		arrived += drain_socket(fixture);
		assert_true(arrived > before);
	}
	assert_int_equal(arrived, sent + 4);
	assert_true(driver_take_used(&fixture->rings[TRANSMIT(1)], &(uint32_t){0}, &(uint32_t){0}));
	assert_true(driver_take_used(&fixture->rings[TRANSMIT(1)], &(uint32_t){0}, &(uint32_t){0}));
	assert_nothing_used(fixture, TRANSMIT(1));
}

/* The owner watches for what it was asked for last. */
static void input_is_waited_for_while_output_waits_too(void **state)
{
	struct console_fixture *fixture = *state;

	give(fixture, RECEIVE(1), NULL, 64);
	fill_socket(fixture);
	give(fixture, TRANSMIT(1), "tail", 4);
	assert_int_equal(fixture->armed[1], POLLIN | POLLOUT);
	/* Input first: output goes on waiting. */
	fixture->armed[1] = 0;
	assert_int_equal(send(fixture->ours[1], "input", 5, 0), 5);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN), 0);
	assert_used(fixture, RECEIVE(1), 0, 5);
	assert_int_equal(fixture->armed[1], POLLOUT);
	/* And the other way round. */
	give(fixture, RECEIVE(1), NULL, 64);
	assert_int_equal(fixture->armed[1], POLLIN | POLLOUT);
	drain_socket(fixture);
	fixture->armed[1] = 0;
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLOUT), 0);
	assert_int_equal(fixture->armed[1] & POLLIN, POLLIN);
}

static void full_socket_does_not_hold_up_the_other_port(void **state)
{
	struct console_fixture *fixture = *state;

	fill_socket(fixture);
	give(fixture, TRANSMIT(2), "through", 7);
	assert_arrived(fixture, 2, "through");
}

static void output_to_a_closed_peer_is_dropped(void **state)
{
	struct console_fixture *fixture = *state;

	close(TAKE_FD(fixture->ours[2]));
	for (unsigned int i = 0; i < 20; i++) {
		give(fixture, TRANSMIT(2), "nobody reads this", 17);
		assert_used(fixture, TRANSMIT(2), i % QUEUE_SIZE, 0);
	}
	assert_false(needs_reset(fixture));
}

static void peer_that_closes_while_the_socket_is_full_frees_the_guest(void **state)
{
	struct console_fixture *fixture = *state;
	uint32_t head, length;

	fill_socket(fixture);
	close(TAKE_FD(fixture->ours[1]));
	virtio_console_ready(fixture->console, 1, POLLOUT | POLLHUP);
	assert_true(driver_take_used(&fixture->rings[TRANSMIT(1)], &head, &length));
}

/* Bytes that come without a queue. */
static size_t transmit(struct console_fixture *fixture, unsigned int port, const char *text)
{
	const struct iovec spans[] = {
		{.iov_base = (char *)text, .iov_len = 1},
		{.iov_base = (char *)text + 1, .iov_len = strlen(text + 1)},
	};

	return virtio_console_transmit(fixture->console, port, spans, ARRAY_SIZE(spans));
}

static void bytes_without_a_queue_leave_at_once(void **state)
{
	struct console_fixture *fixture = *state;
	unsigned int raised = fixture->raised;

	assert_int_equal(transmit(fixture, 2, "direct"), 6);
	assert_arrived(fixture, 2, "direct");
	assert_int_equal(fixture->first_outputs[2], 1);
	assert_int_equal(fixture->raised, raised);
	assert_int_equal(transmit(fixture, 2, "again"), 5);
	assert_arrived(fixture, 2, "again");
	assert_int_equal(fixture->first_outputs[2], 1);
}

static void bytes_without_a_queue_never_overtake_it(void **state)
{
	struct console_fixture *fixture = *state;
	struct driver_ring *ring = &fixture->rings[TRANSMIT(2)];

	/* In the queue, but its notification has not come yet. */
	add(fixture, TRANSMIT(2), "first ", 6);
	assert_int_equal(transmit(fixture, 2, "second"), 6);
	assert_arrived(fixture, 2, "first second");
	assert_true(driver_take_used(ring, &(uint32_t){0}, &(uint32_t){0}));
	fill_socket(fixture);
	assert_int_equal(transmit(fixture, 1, "no"), 0);
	drain_socket(fixture);
	/* The chain that waited goes on first, so the socket may be full again. */
	while (transmit(fixture, 1, "tail") == 0)
		drain_socket(fixture);
	assert_true(driver_take_used(&fixture->rings[TRANSMIT(1)], &(uint32_t){0}, &(uint32_t){0}));
}

static void bytes_without_a_queue_are_dropped_where_nobody_reads(void **state)
{
	struct console_fixture *fixture = *state;

	close(TAKE_FD(fixture->ours[2]));
	assert_int_equal(transmit(fixture, 2, "nobody"), 6);
	assert_int_equal(transmit(fixture, 2, "at all"), 6);
}

static void bytes_for_ports_that_do_not_exist_are_not_taken(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(transmit(fixture, 0, "x"), 0);
	assert_int_equal(transmit(fixture, CONSOLE_PORTS, "x"), 0);
	assert_int_equal(transmit(fixture, UINT32_MAX, "x"), 0);
	assert_int_equal(virtio_console_transmit(fixture->console, 1, NULL, 0), 0);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(transmit(fixture, 1, "x"), 0);
}

static void end_of_input_is_told_to_the_owner(void **state)
{
	struct console_fixture *fixture = *state;

	assert_int_equal(send(fixture->ours[1], "last", 4, 0), 4);
	close(TAKE_FD(fixture->ours[1]));
	add(fixture, RECEIVE(1), NULL, 64);
	add(fixture, RECEIVE(1), NULL, 64);
	driver_notify(&fixture->mmio, RECEIVE(1));
	assert_used(fixture, RECEIVE(1), 0, 4); /* what came before the end is not lost */
	assert_int_equal(fixture->armed[1], POLLIN);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN | POLLHUP), -EPIPE);
	assert_nothing_used(fixture, RECEIVE(1));
}

static void hang_up_before_the_driver_runs_is_told_to_the_owner(void **state)
{
	struct console_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN), 0);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN | POLLHUP), -EPIPE);
}

/* ---- malicious drivers */

static void malformed_chains_break_the_device_until_a_reset(void **state)
{
	struct console_fixture *fixture = *state;

	for (unsigned int queue = CONTROL_RECEIVE; queue < QUEUES; queue++) {
		struct driver_ring *ring = &fixture->rings[queue];

		/* Control messages are waiting, so that the control queue is looked at. */
		send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
		driver_offer_buffer(ring, 7, MEMORY_SIZE - 1, 2, queue % 2 ? 0 : DRIVER_WRITE);
		driver_notify(&fixture->mmio, queue);
		assert_true(needs_reset(fixture));
		give(fixture, TRANSMIT(1), "unheard", 7);
		assert_int_equal(recv(fixture->ours[1], &(char){0}, 1, MSG_DONTWAIT), -1);
		assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN | POLLOUT), 0);
		start_driver(fixture);
		give(fixture, TRANSMIT(1), "heard", 5);
		assert_arrived(fixture, 1, "heard");
	}
}

static void available_index_that_jumps_breaks_the_device(void **state)
{
	struct console_fixture *fixture = *state;

	driver_word_set(&fixture->rings[TRANSMIT(2)], fixture->rings[TRANSMIT(2)].available + 2,
		QUEUE_SIZE + 1);
	driver_notify(&fixture->mmio, TRANSMIT(2));
	assert_true(needs_reset(fixture));
}

/* Port 0 has queues by the specification; ours leads nowhere, and nothing is taken from it. */
static void queues_of_port_zero_lead_nowhere(void **state)
{
	struct console_fixture *fixture = *state;

	give(fixture, 0, NULL, 64);
	give(fixture, 1, "zero", 4);
	assert_nothing_used(fixture, 0);
	assert_nothing_used(fixture, 1);
	assert_int_equal(fixture->first_outputs[0], 0);
}

static void reset_in_the_middle_forgets_held_chains(void **state)
{
	struct console_fixture *fixture = *state;
	size_t arrived;

	fill_socket(fixture);                /* one is held for room */
	give(fixture, RECEIVE(1), NULL, 64); /* one is held for input */
	send_control(fixture, 0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	/* The buffers belong to someone else now: nothing may be read from or written to them. */
	memset(fixture->memory.regions[0].host + BUFFERS, 0xee, QUEUES * QUEUE_SIZE * BUFFER_SIZE);
	arrived = drain_socket(fixture);
	assert_true(arrived > 0);
	assert_int_equal(send(fixture->ours[1], "input", 5, 0), 5);
	assert_int_equal(virtio_console_ready(fixture->console, 1, POLLIN | POLLOUT), 0);
	assert_int_equal(drain_socket(fixture), 0);
	for (size_t i = 0; i < QUEUES * QUEUE_SIZE * BUFFER_SIZE; i++)
		assert_int_equal(fixture->memory.regions[0].host[BUFFERS + i], 0xee);

	/* The next driver starts from nothing, and finds the input. */
	start_driver(fixture);
	give_control_buffers(fixture, 4);
	assert_no_control(fixture);
	give(fixture, RECEIVE(1), NULL, 64);
	assert_used(fixture, RECEIVE(1), 0, 5);
	give(fixture, TRANSMIT(1), "again", 5);
	assert_arrived(fixture, 1, "again");
}

static void handshake_starts_again_after_a_reset(void **state)
{
	struct console_fixture *fixture = *state;

	send_control(fixture, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	start_driver(fixture);
	give_control_buffers(fixture, QUEUE_SIZE);
	send_control(fixture, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_no_control(fixture); /* port 1 was ready in an earlier life */
	send_control(fixture, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_control(fixture, 2, VIRTIO_CONSOLE_PORT_OPEN);
	assert_control(fixture, 1, VIRTIO_CONSOLE_PORT_OPEN);
}

#define CONSOLE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONSOLE_TEST(configuration_tells_the_number_of_ports),
		CONSOLE_TEST(ports_are_added_then_opened_the_first_one_last),
		CONSOLE_TEST(control_messages_wait_for_buffers_in_order),
		CONSOLE_TEST(device_not_ready_gets_no_ports),
		CONSOLE_TEST(malformed_control_messages_are_ignored),
		CONSOLE_TEST(flood_of_control_messages_is_bounded),
		CONSOLE_TEST(control_buffer_too_small_for_a_message_gets_a_part),
		CONSOLE_TEST(output_leaves_on_its_own_port),
		CONSOLE_TEST(scattered_output_leaves_in_order),
		CONSOLE_TEST(empty_output_is_given_back),
		CONSOLE_TEST(input_that_waits_is_read_when_the_guest_asks),
		CONSOLE_TEST(guest_that_waits_for_input_arms_the_socket),
		CONSOLE_TEST(input_without_a_buffer_stays_in_the_socket),
		CONSOLE_TEST(receive_buffer_without_room_is_given_back),
		CONSOLE_TEST(full_socket_holds_the_chain_until_there_is_room),
		CONSOLE_TEST(input_is_waited_for_while_output_waits_too),
		CONSOLE_TEST(full_socket_does_not_hold_up_the_other_port),
		CONSOLE_TEST(output_to_a_closed_peer_is_dropped),
		CONSOLE_TEST(peer_that_closes_while_the_socket_is_full_frees_the_guest),
		CONSOLE_TEST(bytes_without_a_queue_leave_at_once),
		CONSOLE_TEST(bytes_without_a_queue_never_overtake_it),
		CONSOLE_TEST(bytes_without_a_queue_are_dropped_where_nobody_reads),
		CONSOLE_TEST(bytes_for_ports_that_do_not_exist_are_not_taken),
		CONSOLE_TEST(end_of_input_is_told_to_the_owner),
		CONSOLE_TEST(hang_up_before_the_driver_runs_is_told_to_the_owner),
		CONSOLE_TEST(malformed_chains_break_the_device_until_a_reset),
		CONSOLE_TEST(available_index_that_jumps_breaks_the_device),
		CONSOLE_TEST(queues_of_port_zero_lead_nowhere),
		CONSOLE_TEST(reset_in_the_middle_forgets_held_chains),
		CONSOLE_TEST(handshake_starts_again_after_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
