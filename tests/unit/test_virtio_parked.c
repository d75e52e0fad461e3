// SPDX-License-Identifier: Apache-2.0
/*
 * test_virtio_parked.c: a device that was saved in the middle of its work goes on as another one, over the
 * same guest memory, and the driver does not notice. Damaged state is refused.
 */
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#include <linux/virtio_console.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x40000ull
#define RINGS       0x1000ull
#define BUFFERS     0x20000ull
#define BUFFER_SIZE 0x400ull
#define QUEUE_SIZE  8
#define QUEUES      8

#define CONTROL_RECEIVE  2
#define CONTROL_TRANSMIT 3
#define RECEIVE(port)    (2 * (port) + 2)
#define TRANSMIT(port)   (2 * (port) + 3)

/* One life of the machine's devices. */
struct instance {
	struct virtio_console *console;
	struct virtio_rng rng;
	struct virtio_mmio console_mmio, rng_mmio;
	int ours[CONSOLE_PORTS];
	uint32_t armed[CONSOLE_PORTS];
	unsigned int raised;
};

struct fixture {
	struct guest_memory memory;
	struct instance first, second;
	struct driver_ring rings[QUEUES], rng_ring;
	struct state_writer writer;
};

static void raise_line(void *context)
{
	((struct instance *)context)->raised++;
}

static void arm(void *context, unsigned int port, uint32_t events)
{
	((struct instance *)context)->armed[port] |= events;
}

static void instance_create(struct fixture *fixture, struct instance *instance)
{
	struct virtio_console_options options = {.fds = {-1}, .arm = arm, .context = instance};

	instance->ours[0] = -1;
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		options.fds[i] = pair[0];
		instance->ours[i] = pair[1];
	}
	assert_int_equal(virtio_console_create(&fixture->memory, &options, &instance->console), 0);
	virtio_mmio_attach(&instance->console_mmio, virtio_console_device(instance->console),
		raise_line, instance);
	virtio_rng_init(&instance->rng, &fixture->memory);
	virtio_mmio_attach(&instance->rng_mmio, &instance->rng.device, raise_line, instance);
}

static void instance_free(struct instance *instance)
{
	virtio_console_free(instance->console);
	pthread_mutex_destroy(&instance->rng.device.lock);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		cleanup_close(&instance->ours[i]);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	instance_create(fixture, &fixture->first);
	instance_create(fixture, &fixture->second);
	assert_true(driver_negotiate(&fixture->first.console_mmio,
		features | VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT)));
	for (unsigned int i = 0; i < QUEUES; i++) {
		fixture->rings[i] =
			driver_ring_at(&fixture->memory, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
		assert_true(
			driver_set_up_queue(&fixture->first.console_mmio, i, &fixture->rings[i]));
	}
	driver_run(&fixture->first.console_mmio);
	assert_true(driver_negotiate(&fixture->first.rng_mmio, features));
	fixture->rng_ring =
		driver_ring_at(&fixture->memory, RINGS + QUEUES * DRIVER_RING_SPACE, QUEUE_SIZE);
	assert_true(driver_set_up_queue(&fixture->first.rng_mmio, 0, &fixture->rng_ring));
	driver_run(&fixture->first.rng_mmio);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	state_writer_done(&fixture->writer);
	instance_free(&fixture->first);
	instance_free(&fixture->second);
	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static int restore(struct virtio_mmio *mmio, const void *state, size_t size)
{
	struct state_reader reader;
	struct error err = {0};
	int r;

	state_reader_init(&reader, state, size);
	r = virtio_mmio_restore(mmio, &reader, &err);
	if (r < 0)
		assert_true(err.message[0] != '\0');
	else
		assert_int_equal(reader.next, reader.length);
	return r;
}

/* Parks one device of the first instance; it is the second's from here on. */
static void move(struct fixture *fixture, struct virtio_mmio *from, struct virtio_mmio *to)
{
	struct error err;

	assert_int_equal(virtio_mmio_save(from, &fixture->writer, &err), 0);
	assert_int_equal(fixture->writer.error, 0);
	assert_int_equal(restore(to, fixture->writer.data, fixture->writer.length), 0);
}

static void move_console(struct fixture *fixture)
{
	move(fixture, &fixture->first.console_mmio, &fixture->second.console_mmio);
}

static uint64_t buffer_address(unsigned int queue, uint16_t index)
{
	return BUFFERS + (queue * QUEUE_SIZE + index) * BUFFER_SIZE;
}

static void give(struct fixture *fixture, struct instance *instance, unsigned int queue,
	uint16_t index, const void *data, uint32_t length)
{
	uint64_t address = buffer_address(queue, index);

	if (data)
		memcpy(fixture->memory.regions[0].host + address, data, length);
	driver_offer_buffer(
		&fixture->rings[queue], index, address, length, data ? 0 : DRIVER_WRITE);
	driver_notify(&instance->console_mmio, queue);
}

static void assert_used(
	struct fixture *fixture, unsigned int queue, const void *expected, uint32_t length)
{
	uint32_t head, used;

	assert_true(driver_take_used(&fixture->rings[queue], &head, &used));
	assert_int_equal(used, length);
	if (length > 0)
		assert_memory_equal(
			fixture->memory.regions[0].host + buffer_address(queue, (uint16_t)head),
			expected, length);
}

static void assert_nothing_used(struct fixture *fixture, unsigned int queue)
{
	uint32_t head, length;

	assert_false(driver_take_used(&fixture->rings[queue], &head, &length));
}

/* ---- going on */

static void registers_are_as_they_were(void **state)
{
	static const uint64_t registers[] = {VIRTIO_MMIO_STATUS, VIRTIO_MMIO_INTERRUPT_STATUS,
		VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_QUEUE_READY};
	struct fixture *fixture = *state;

	driver_offer_buffer(&fixture->rng_ring, 0, BUFFERS, 16, DRIVER_WRITE);
	driver_notify(&fixture->first.rng_mmio, 0); /* its interrupt is not acknowledged yet */
	move(fixture, &fixture->first.rng_mmio, &fixture->second.rng_mmio);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		assert_int_equal(driver_read(&fixture->second.rng_mmio, registers[i]),
			driver_read(&fixture->first.rng_mmio, registers[i]));
	assert_int_equal(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	driver_write(&fixture->second.rng_mmio, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	assert_int_equal(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void entropy_goes_on_where_it_was_parked(void **state)
{
	struct fixture *fixture = *state;
	uint32_t id, length;

	for (uint16_t i = 0; i < 3 * QUEUE_SIZE; i++) { /* wraps the rings */
		driver_offer_buffer(&fixture->rng_ring, i % QUEUE_SIZE, BUFFERS, 16, DRIVER_WRITE);
		driver_notify(&fixture->first.rng_mmio, 0);
		assert_true(driver_take_used(&fixture->rng_ring, &id, &length));
	}
	move(fixture, &fixture->first.rng_mmio, &fixture->second.rng_mmio);
	for (uint16_t i = 0; i < 2 * QUEUE_SIZE; i++) {
		driver_set_used_event(&fixture->rng_ring, fixture->rng_ring.next_used);
		driver_offer_buffer(&fixture->rng_ring, i % QUEUE_SIZE, BUFFERS, 32, DRIVER_WRITE);
		driver_notify(&fixture->second.rng_mmio, 0);
		assert_true(driver_take_used(&fixture->rng_ring, &id, &length));
		assert_int_equal(id, i % QUEUE_SIZE);
		assert_int_equal(length, 32);
		/* The event index is in force still: one interrupt each, asked for. */
		assert_int_equal(fixture->second.raised, i + 1);
		assert_int_equal(driver_available_event(&fixture->rng_ring),
			fixture->rng_ring.next_available);
	}
	assert_int_equal(
		driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS), DRIVER_STATUS_RUNNING);
}

static void device_without_a_driver_waits_for_one(void **state)
{
	struct fixture *fixture = *state;
	uint32_t id, length;

	driver_write(&fixture->first.rng_mmio, VIRTIO_MMIO_STATUS, 0);
	move(fixture, &fixture->first.rng_mmio, &fixture->second.rng_mmio);
	assert_true(
		driver_negotiate(&fixture->second.rng_mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
	memset(fixture->memory.regions[0].host + fixture->rng_ring.descriptors, 0,
		DRIVER_RING_SPACE);
	assert_true(driver_set_up_queue(&fixture->second.rng_mmio, 0, &fixture->rng_ring));
	driver_run(&fixture->second.rng_mmio);
	driver_offer_buffer(&fixture->rng_ring, 0, BUFFERS, 8, DRIVER_WRITE);
	driver_notify(&fixture->second.rng_mmio, 0);
	assert_true(driver_take_used(&fixture->rng_ring, &id, &length));
}

static void broken_device_still_waits_for_its_reset(void **state)
{
	struct fixture *fixture = *state;

	driver_offer(&fixture->rng_ring, QUEUE_SIZE); /* no such descriptor */
	driver_notify(&fixture->first.rng_mmio, 0);
	move(fixture, &fixture->first.rng_mmio, &fixture->second.rng_mmio);
	assert_true(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS) &
		VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_notify(&fixture->second.rng_mmio, 0);
	assert_int_equal(fixture->second.raised, 0);
	driver_write(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS), 0);
}

/* The driver gave the buffer before it was parked and will not notify again. */
static void buffer_that_waited_for_input_gets_it_after_the_restore(void **state)
{
	struct fixture *fixture = *state;

	give(fixture, &fixture->first, RECEIVE(1), 0, NULL, 64);
	assert_int_equal(fixture->first.armed[1], POLLIN); /* it is held now */
	move_console(fixture);
	assert_int_equal(fixture->second.armed[1] & POLLIN, POLLIN);
	assert_int_equal(write(fixture->second.ours[1], "stop", 4), 4);
	assert_int_equal(virtio_console_ready(fixture->second.console, 1, POLLIN), 0);
	assert_used(fixture, RECEIVE(1), "stop", 4);
	assert_true(fixture->second.raised > 0);
	/* And the queue goes on behind it. */
	give(fixture, &fixture->second, RECEIVE(1), 1, NULL, 64);
	assert_int_equal(write(fixture->second.ours[1], "more", 4), 4);
	assert_int_equal(virtio_console_ready(fixture->second.console, 1, POLLIN), 0);
	assert_used(fixture, RECEIVE(1), "more", 4);
	assert_nothing_used(fixture, RECEIVE(1));
}

/* Saving is no end: the first device is as it was. */
static void device_that_was_saved_can_go_on_itself(void **state)
{
	struct fixture *fixture = *state;
	struct error err;

	give(fixture, &fixture->first, RECEIVE(1), 0, NULL, 64);
	assert_int_equal(virtio_mmio_save(&fixture->first.console_mmio, &fixture->writer, &err), 0);
	assert_int_equal(write(fixture->first.ours[1], "stop", 4), 4);
	assert_int_equal(virtio_console_ready(fixture->first.console, 1, POLLIN), 0);
	assert_used(fixture, RECEIVE(1), "stop", 4);
	assert_nothing_used(fixture, RECEIVE(1));
}

static void output_goes_to_the_new_socket(void **state)
{
	struct fixture *fixture = *state;
	char text[8] = "";

	give(fixture, &fixture->first, TRANSMIT(2), 0, "old", 3);
	assert_used(fixture, TRANSMIT(2), NULL, 0);
	move_console(fixture);
	give(fixture, &fixture->second, TRANSMIT(2), 1, "new", 3);
	assert_used(fixture, TRANSMIT(2), NULL, 0);
	assert_int_equal(recv(fixture->second.ours[2], text, sizeof(text), MSG_DONTWAIT), 3);
	assert_string_equal(text, "new");
	assert_int_equal(recv(fixture->first.ours[2], text, sizeof(text), MSG_DONTWAIT), 3);
	assert_string_equal(text, "old");
}

static void handshake_goes_on_where_it_was_parked(void **state)
{
	struct virtio_console_control message = {
		.id = UINT32_MAX, .event = VIRTIO_CONSOLE_DEVICE_READY, .value = 1};
	struct virtio_console_control expected = {
		.id = 1, .event = VIRTIO_CONSOLE_PORT_ADD, .value = 1};
	struct fixture *fixture = *state;

	/* Two messages wait for buffers, and port 1 is ready. */
	give(fixture, &fixture->first, CONTROL_TRANSMIT, 0, &message, sizeof(message));
	message = (struct virtio_console_control){
		.id = 1, .event = VIRTIO_CONSOLE_PORT_READY, .value = 1};
	give(fixture, &fixture->first, CONTROL_TRANSMIT, 1, &message, sizeof(message));
	move_console(fixture);
	for (uint16_t i = 0; i < 4; i++)
		give(fixture, &fixture->second, CONTROL_RECEIVE, i, NULL, 64);
	assert_used(fixture, CONTROL_RECEIVE, &expected, sizeof(expected));
	expected.id = 2;
	assert_used(fixture, CONTROL_RECEIVE, &expected, sizeof(expected));
	assert_nothing_used(fixture, CONTROL_RECEIVE);
	message.id = 2; /* the last one that was missing */
	give(fixture, &fixture->second, CONTROL_TRANSMIT, 2, &message, sizeof(message));
	expected.event = VIRTIO_CONSOLE_PORT_OPEN;
	assert_used(fixture, CONTROL_RECEIVE, &expected, sizeof(expected));
	expected.id = 1;
	assert_used(fixture, CONTROL_RECEIVE, &expected, sizeof(expected));
}

static void output_that_waits_for_room_cannot_be_parked(void **state)
{
	static char bytes[BUFFER_SIZE];
	struct fixture *fixture = *state;
	struct error err = {0};
	uint32_t head, length;

	for (unsigned int i = 0; i < 100000; i++) {
		give(fixture, &fixture->first, TRANSMIT(2), 0, bytes, sizeof(bytes));
		if (!driver_take_used(&fixture->rings[TRANSMIT(2)], &head, &length))
			break;
	}
	assert_int_equal(
		virtio_mmio_save(&fixture->first.console_mmio, &fixture->writer, &err), -EBUSY);
	assert_non_null(strstr(err.message, "port 2"));
}

/* ---- damage */

static void state_of_another_device_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct error err;

	assert_int_equal(virtio_mmio_save(&fixture->first.rng_mmio, &fixture->writer, &err), 0);
	assert_int_equal(restore(&fixture->second.console_mmio, fixture->writer.data,
				 fixture->writer.length),
		-EBADMSG);
	assert_int_equal(driver_read(&fixture->second.console_mmio, VIRTIO_MMIO_STATUS), 0);
}

static void state_cut_anywhere_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct error err;

	assert_int_equal(virtio_mmio_save(&fixture->first.console_mmio, &fixture->writer, &err), 0);
	for (size_t length = 0; length < fixture->writer.length; length++) {
		uint8_t *copy = malloc(length ? length : 1);
		uint64_t section;

		assert_non_null(copy);
		memcpy(copy, fixture->writer.data, length);
		assert_int_equal(restore(&fixture->second.console_mmio, copy, length), -EBADMSG);
		if (length >= 16) { /* with a section that says so, too */
			section = length - 16;
			memcpy(copy + 8, &section, sizeof(section));
			assert_int_equal(
				restore(&fixture->second.console_mmio, copy, length), -EBADMSG);
		}
		free(copy);
	}
}

/* Offsets in the section, after its header of 16 bytes: virtio/mmio.c. */
enum { STATUS = 24, INTERRUPT_STATUS = 28, FEATURES = 52, QUEUE = 60, QUEUE_SAVED_SIZE = 44 };

static void registers_that_no_driver_can_reach_are_refused(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
		size_t size;
	} damages[] = {
		{STATUS, 0x10f, 4},
		{STATUS, DRIVER_STATUS_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK, 4},
		{STATUS, DRIVER_STATUS_DRIVER, 4}, /* and a queue is ready */
		{STATUS, 0, 4},
		{INTERRUPT_STATUS, 4, 4},
		{FEATURES, 0, 8},
		{FEATURES, UINT64_MAX, 8},
		{FEATURES, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | 1ull << 63, 8},
		{QUEUE, 8, 8},                  /* descriptors: misaligned */
		{QUEUE, MEMORY_SIZE, 8},        /* outside of RAM */
		{QUEUE, MEMORY_SIZE - 16, 8},   /* ends outside of RAM */
		{QUEUE + 8, UINT64_MAX - 1, 8}, /* available */
		{QUEUE + 16, MEMORY_SIZE, 8},   /* used */
		{QUEUE + 24, 0, 4},             /* size */
		{QUEUE + 24, 3, 4},
		{QUEUE + 24, 2 * VIRTQUEUE_SIZE_MAX, 4},
		{QUEUE + 28, 2, 4},       /* ready */
		{QUEUE + 32, 0x10000, 4}, /* indexes */
		{QUEUE + 36, UINT32_MAX, 4},
		{QUEUE + 40, 0x10000, 4},
	};
	struct fixture *fixture = *state;
	struct error err;

	assert_int_equal(virtio_mmio_save(&fixture->first.rng_mmio, &fixture->writer, &err), 0);
	assert_int_equal(fixture->writer.length, QUEUE + QUEUE_SAVED_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		uint8_t copy[QUEUE + QUEUE_SAVED_SIZE];

		memcpy(copy, fixture->writer.data, sizeof(copy));
		memcpy(copy + damages[i].offset, &damages[i].value, damages[i].size);
		if (restore(&fixture->second.rng_mmio, copy, sizeof(copy)) != -EBADMSG)
			fail_msg("damage %zu was taken", i);
		/* Refused, it is as good as new. */
		assert_int_equal(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS), 0);
		assert_int_equal(
			driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_QUEUE_READY), 0);
	}
	assert_int_equal(
		restore(&fixture->second.rng_mmio, fixture->writer.data, fixture->writer.length),
		0);
}

/* An index is only a number until the ring is looked at: then the device breaks, and nothing else. */
static void indexes_that_do_not_fit_the_ring_break_the_device(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = 0x1234;
	struct error err;

	assert_int_equal(virtio_mmio_save(&fixture->first.rng_mmio, &fixture->writer, &err), 0);
	memcpy(fixture->writer.data + QUEUE + 32, &index, sizeof(index));
	assert_int_equal(
		restore(&fixture->second.rng_mmio, fixture->writer.data, fixture->writer.length),
		0);
	driver_notify(&fixture->second.rng_mmio, 0);
	assert_true(driver_read(&fixture->second.rng_mmio, VIRTIO_MMIO_STATUS) &
		VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Each byte of the console's state, each bit of it: refused or taken, never more than that. */
static void flipped_bits_are_refused_or_harmless(void **state)
{
	struct fixture *fixture = *state;
	struct error err;

	give(fixture, &fixture->first, RECEIVE(1), 0, NULL, 64);
	assert_int_equal(virtio_mmio_save(&fixture->first.console_mmio, &fixture->writer, &err), 0);
	for (size_t bit = 0; bit < 8 * fixture->writer.length; bit++) {
		struct virtio_mmio *mmio = &fixture->second.console_mmio;

		fixture->writer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (restore(mmio, fixture->writer.data, fixture->writer.length) == 0) {
			for (uint32_t queue = 0; queue < QUEUES; queue++)
				driver_notify(mmio, queue);
			for (unsigned int port = 1; port < CONSOLE_PORTS; port++)
				virtio_console_ready(fixture->second.console, port, POLLOUT);
		}
		driver_write(mmio, VIRTIO_MMIO_STATUS, 0);
		fixture->writer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(restore(&fixture->second.console_mmio, fixture->writer.data,
				 fixture->writer.length),
		0);
}

#define PARKED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PARKED_TEST(registers_are_as_they_were),
		PARKED_TEST(entropy_goes_on_where_it_was_parked),
		PARKED_TEST(device_without_a_driver_waits_for_one),
		PARKED_TEST(broken_device_still_waits_for_its_reset),
		PARKED_TEST(buffer_that_waited_for_input_gets_it_after_the_restore),
		PARKED_TEST(device_that_was_saved_can_go_on_itself),
		PARKED_TEST(output_goes_to_the_new_socket),
		PARKED_TEST(handshake_goes_on_where_it_was_parked),
		PARKED_TEST(output_that_waits_for_room_cannot_be_parked),
		PARKED_TEST(state_of_another_device_is_refused),
		PARKED_TEST(state_cut_anywhere_is_refused),
		PARKED_TEST(registers_that_no_driver_can_reach_are_refused),
		PARKED_TEST(indexes_that_do_not_fit_the_ring_break_the_device),
		PARKED_TEST(flipped_bits_are_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
