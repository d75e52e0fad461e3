// SPDX-License-Identifier: Apache-2.0
/* test_virtio_mmio.c: the register file holds drivers to their order, whatever they write. */
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x20000ull
#define RING        0x1000ull
#define QUEUES      2
#define CONFIG_SIZE 12
#define QUEUE_SIZE  16
#define VERSION_1   VIRTIO_FEATURE(VIRTIO_F_VERSION_1)
#define OWN_FEATURE 5

/* A device that counts what the transport asks of it. */
struct counting_device {
	struct virtio_device device; /* first: the operations cast back */
	unsigned int notifications[QUEUES], starts, resets;
	uint8_t config[CONFIG_SIZE];
};

struct mmio_fixture {
	struct guest_memory memory;
	struct counting_device counting;
	struct virtio_mmio mmio;
	struct driver_ring rings[QUEUES];
	unsigned int raised;
};

static void counting_notify(struct virtio_device *device, unsigned int queue)
{
	struct counting_device *counting = (struct counting_device *)device;

	assert_in_range(queue, 0, QUEUES - 1);
	assert_true(device->running);
	assert_true(device->queues[queue].ready);
	counting->notifications[queue]++;
}

static void counting_start(struct virtio_device *device)
{
	((struct counting_device *)device)->starts++;
}

static void counting_reset(struct virtio_device *device)
{
	((struct counting_device *)device)->resets++;
	assert_false(device->running);
}

static void counting_read_config(
	struct virtio_device *device, size_t offset, void *data, size_t length)
{
	assert_true(offset <= CONFIG_SIZE && length <= CONFIG_SIZE - offset);
	memcpy(data, ((struct counting_device *)device)->config + offset, length);
}

static void counting_write_config(
	struct virtio_device *device, size_t offset, const void *data, size_t length)
{
	assert_true(offset <= CONFIG_SIZE && length <= CONFIG_SIZE - offset);
	memcpy(((struct counting_device *)device)->config + offset, data, length);
}

static const struct virtio_operations counting_operations = {
	.notify = counting_notify,
	.start = counting_start,
	.reset = counting_reset,
	.read_config = counting_read_config,
	.write_config = counting_write_config,
};

static void raise_line(void *context)
{
	((struct mmio_fixture *)context)->raised++;
}

static int set_up(void **state)
{
	struct mmio_fixture *fixture = calloc(1, sizeof(*fixture));
	struct virtio_device *device = &fixture->counting.device;

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	virtio_device_init(device, &fixture->memory);
	device->id = 42;
	device->features = VIRTIO_FEATURE(OWN_FEATURE);
	device->queue_count = QUEUES;
	device->config_size = CONFIG_SIZE;
	device->operations = &counting_operations;
	for (uint8_t i = 0; i < CONFIG_SIZE; i++)
		fixture->counting.config[i] = (uint8_t)(0x10 + i);
	virtio_mmio_attach(&fixture->mmio, device, raise_line, fixture);
	for (unsigned int i = 0; i < QUEUES; i++)
		fixture->rings[i] =
			driver_ring_at(&fixture->memory, RING + i * DRIVER_RING_SPACE, QUEUE_SIZE);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct mmio_fixture *fixture = *state;

	driver_memory_free(&fixture->memory);
	pthread_mutex_destroy(&fixture->counting.device.lock);
	free(fixture);
	return 0;
}

static uint32_t status(struct mmio_fixture *fixture)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS);
}

static void start_driver(struct mmio_fixture *fixture)
{
	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	driver_run(&fixture->mmio);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
	assert_true(fixture->counting.device.running);
}

/* ---- an honest driver */

static void registers_identify_the_device(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_mmio *mmio = &fixture->mmio;

	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_SIZE_MAX);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_DEVICE_FEATURES),
		VIRTIO_FEATURE(OWN_FEATURE) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
			VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
	driver_write(mmio, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_DEVICE_FEATURES), 1); /* VERSION_1 */
	driver_write(mmio, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	/* There are no shared memory regions. */
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
}

static void shared_memory_is_the_region_that_is_selected(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_mmio *mmio = &fixture->mmio;

	fixture->counting.device.shared_start = 0x8765432100000000;
	fixture->counting.device.shared_size = 0x0000000300200000;
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_LEN_LOW), 0x00200000);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_LEN_HIGH), 3);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_BASE_LOW), 0);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_BASE_HIGH), 0x87654321);
	driver_write(mmio, VIRTIO_MMIO_SHM_SEL, 1);
	for (uint64_t i = VIRTIO_MMIO_SHM_LEN_LOW; i <= VIRTIO_MMIO_SHM_BASE_HIGH; i += 4)
		assert_int_equal(driver_read(mmio, i), UINT32_MAX);
	driver_write(mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(driver_read(mmio, VIRTIO_MMIO_SHM_LEN_HIGH), 3);
}

static void driver_in_order_gets_a_running_device(void **state)
{
	struct mmio_fixture *fixture = *state;

	start_driver(fixture);
	assert_int_equal(fixture->counting.starts, 1);
	assert_int_equal(fixture->counting.device.driver_features, VERSION_1);
	driver_notify(&fixture->mmio, 0);
	driver_notify(&fixture->mmio, 1);
	driver_notify(&fixture->mmio, 1);
	assert_int_equal(fixture->counting.notifications[0], 1);
	assert_int_equal(fixture->counting.notifications[1], 2);
	assert_false(fixture->counting.device.queues[0].event_index);
	assert_false(fixture->counting.device.queues[0].indirect);
}

static void negotiated_features_reach_the_queues(void **state)
{
	struct mmio_fixture *fixture = *state;
	uint64_t features = VERSION_1 | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) |
		VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC);

	assert_true(driver_negotiate(&fixture->mmio, features));
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
	assert_true(fixture->counting.device.queues[0].event_index);
	assert_true(fixture->counting.device.queues[0].indirect);
}

static void interrupt_stays_until_it_is_acknowledged(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_device *device = &fixture->counting.device;

	start_driver(fixture);
	pthread_mutex_lock(&device->lock);
	virtio_device_signal(device, 0);
	pthread_mutex_unlock(&device->lock);
	assert_int_equal(fixture->raised, 0); /* nothing was pushed */
	pthread_mutex_lock(&device->lock);
	virtqueue_push(&device->queues[0], 0, 0);
	virtio_device_signal(device, 0);
	device->interrupt(device, VIRTIO_INTERRUPT_CONFIG);
	pthread_mutex_unlock(&device->lock);
	assert_int_equal(fixture->raised, 2);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	driver_write(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 2);
	driver_write(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
}

static void configuration_change_changes_the_generation(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_device *device = &fixture->counting.device;
	uint32_t before = driver_read(&fixture->mmio, VIRTIO_MMIO_CONFIG_GENERATION);

	start_driver(fixture);
	pthread_mutex_lock(&device->lock);
	device->interrupt(device, VIRTIO_INTERRUPT_CONFIG);
	pthread_mutex_unlock(&device->lock);
	assert_int_not_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_CONFIG_GENERATION), before);
}

/* ---- features */

static void features_never_offered_are_refused(void **state)
{
	static const uint64_t features[] = {
		0,
		VIRTIO_FEATURE(OWN_FEATURE), /* without VERSION_1: a legacy driver */
		VERSION_1 | VIRTIO_FEATURE(OWN_FEATURE + 1),
		VERSION_1 | VIRTIO_FEATURE(63),
		UINT64_MAX,
	};
	struct mmio_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		assert_false(driver_negotiate(&fixture->mmio, features[i]));
		assert_false(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
		driver_run(&fixture->mmio);
		assert_false(status(fixture) & VIRTIO_CONFIG_S_DRIVER_OK);
		assert_false(fixture->counting.device.running);
	}
	assert_int_equal(fixture->counting.starts, 0);
}

static void feature_words_above_64_bits_are_refused(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_mmio *mmio = &fixture->mmio;

	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_DRIVER);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES, 0); /* nothing chosen there: fine */
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_FEATURES);
	assert_int_equal(status(fixture), DRIVER_STATUS_FEATURES);

	driver_write(mmio, VIRTIO_MMIO_STATUS, 0);
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_DRIVER);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, UINT32_MAX);
	driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES, 4);
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_FEATURES);
	assert_int_equal(status(fixture), DRIVER_STATUS_DRIVER);
}

static void features_are_final_after_features_ok(void **state)
{
	struct mmio_fixture *fixture = *state;

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 7);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	assert_int_equal(fixture->counting.device.driver_features, VERSION_1);
	driver_run(&fixture->mmio);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	assert_int_equal(fixture->counting.device.driver_features, VERSION_1);
}

static void features_before_the_driver_bit_are_ignored(void **state)
{
	struct mmio_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(&fixture->mmio, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	assert_int_equal(fixture->counting.device.driver_features, 0);
}

/* ---- status */

static void status_bits_cannot_be_cleared(void **state)
{
	struct mmio_fixture *fixture = *state;
	unsigned int resets;

	start_driver(fixture);
	resets = fixture->counting.resets;
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_FEATURES);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
	assert_true(fixture->counting.device.running);
	assert_int_equal(fixture->counting.resets, resets);
}

static void second_driver_ok_does_not_start_twice(void **state)
{
	struct mmio_fixture *fixture = *state;

	start_driver(fixture);
	driver_run(&fixture->mmio);
	driver_run(&fixture->mmio);
	assert_int_equal(fixture->counting.starts, 1);
}

static void driver_ok_without_features_ok_is_ignored(void **state)
{
	struct mmio_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_DRIVER);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS,
		DRIVER_STATUS_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(fixture), DRIVER_STATUS_DRIVER);
	driver_run(&fixture->mmio); /* both at once, and the features do not suit */
	assert_false(status(fixture) & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_false(fixture->counting.device.running);
}

static void driver_cannot_say_that_the_device_needs_a_reset(void **state)
{
	struct mmio_fixture *fixture = *state;

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS,
		DRIVER_STATUS_FEATURES | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(status(fixture), DRIVER_STATUS_FEATURES);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS,
		0xffffff00 | DRIVER_STATUS_RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
}

static void broken_device_serves_nothing_until_a_reset(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_device *device = &fixture->counting.device;

	start_driver(fixture);
	pthread_mutex_lock(&device->lock);
	virtio_device_break(device, "a test");
	virtio_device_break(device, "a test"); /* said once */
	pthread_mutex_unlock(&device->lock);
	assert_int_equal(fixture->raised, 1);
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_notify(&fixture->mmio, 0);
	driver_run(&fixture->mmio);
	driver_notify(&fixture->mmio, 0);
	assert_int_equal(fixture->counting.notifications[0], 0);
	assert_int_equal(fixture->counting.starts, 1);
	start_driver(fixture); /* resets first */
	driver_notify(&fixture->mmio, 0);
	assert_int_equal(fixture->counting.notifications[0], 1);
}

static void reset_brings_everything_back(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct virtio_device *device = &fixture->counting.device;
	unsigned int resets;

	start_driver(fixture);
	resets = fixture->counting.resets;
	pthread_mutex_lock(&device->lock);
	device->interrupt(device, VIRTIO_INTERRUPT_QUEUE);
	pthread_mutex_unlock(&device->lock);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fixture->counting.resets, resets + 1);
	assert_int_equal(status(fixture), 0);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(device->driver_features, 0);
	assert_false(device->running);
	for (uint32_t i = 0; i < QUEUES; i++) {
		driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_SEL, i);
		assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY), 0);
		assert_int_equal(device->queues[i].descriptors, 0);
		assert_int_equal(device->queues[i].size, 0);
		assert_ptr_equal(device->queues[i].memory, &fixture->memory);
	}
	driver_notify(&fixture->mmio, 0);
	assert_int_equal(fixture->counting.notifications[0], 0);
	start_driver(fixture);
}

/* ---- queues */

/* Every register of a queue, with a value that differs from what a driver wrote. */
static void write_all_queue_registers(struct mmio_fixture *fixture, uint32_t value)
{
	static const uint32_t registers[] = {
		VIRTIO_MMIO_QUEUE_NUM,
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
		VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH,
		VIRTIO_MMIO_QUEUE_READY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		driver_write(&fixture->mmio, registers[i], value);
}

static void assert_queues_do_not_change(struct mmio_fixture *fixture)
{
	struct virtqueue before[QUEUES];

	memcpy(before, fixture->counting.device.queues, sizeof(before));
	for (uint32_t i = 0; i < QUEUES; i++) {
		driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_SEL, i);
		write_all_queue_registers(fixture, 0);
		write_all_queue_registers(fixture, 1);
		write_all_queue_registers(fixture, UINT32_MAX);
	}
	assert_memory_equal(before, fixture->counting.device.queues, sizeof(before));
}

static void queue_registers_before_features_ok_are_ignored(void **state)
{
	struct mmio_fixture *fixture = *state;

	assert_queues_do_not_change(fixture);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_DRIVER);
	assert_queues_do_not_change(fixture);
}

static void queue_registers_after_driver_ok_are_ignored(void **state)
{
	struct mmio_fixture *fixture = *state;

	/* One queue only: the other may not be set up any more either. */
	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
	driver_run(&fixture->mmio);
	assert_queues_do_not_change(fixture);
	assert_false(driver_set_up_queue(&fixture->mmio, 1, &fixture->rings[1]));
	driver_notify(&fixture->mmio, 1);
	assert_int_equal(fixture->counting.notifications[1], 0);
}

static void queue_that_is_ready_is_not_changed(void **state)
{
	struct mmio_fixture *fixture = *state;

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	assert_queues_do_not_change(fixture);
}

static void queue_without_addresses_or_with_bad_ones_is_not_ready(void **state)
{
	struct mmio_fixture *fixture = *state;
	struct driver_ring ring = {.size = 0};

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY, 1); /* nothing was said yet */
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_false(driver_set_up_queue(&fixture->mmio, 0, &ring));
	ring = fixture->rings[0];
	ring.used = UINT64_MAX - 3;
	assert_false(driver_set_up_queue(&fixture->mmio, 0, &ring));
	ring.used = 0xd0000000;
	assert_false(driver_set_up_queue(&fixture->mmio, 0, &ring));
	ring = fixture->rings[0];
	ring.size = VIRTQUEUE_SIZE_MAX + 1;
	assert_false(driver_set_up_queue(&fixture->mmio, 0, &ring));
	ring.size = VIRTQUEUE_SIZE_MAX * 2;
	assert_false(driver_set_up_queue(&fixture->mmio, 0, &ring));
	/* The driver may think again. */
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
}

static void queue_ready_takes_one_only(void **state)
{
	struct mmio_fixture *fixture = *state;

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_SEL, 1);
	driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
	driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY, 2);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void queues_that_do_not_exist_can_be_selected_without_harm(void **state)
{
	static const uint32_t indexes[] = {
		QUEUES, VIRTIO_QUEUES_MAX, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct mmio_fixture *fixture = *state;
	struct virtqueue before[VIRTIO_QUEUES_MAX];

	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	memcpy(before, fixture->counting.device.queues, sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		driver_write(&fixture->mmio, VIRTIO_MMIO_QUEUE_SEL, indexes[i]);
		assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_QUEUE_READY), 0);
		write_all_queue_registers(fixture, 1);
		assert_false(driver_set_up_queue(&fixture->mmio, indexes[i], &fixture->rings[0]));
	}
	assert_memory_equal(before, fixture->counting.device.queues, sizeof(before));
}

static void notifications_of_queues_that_do_not_exist_are_ignored(void **state)
{
	static const uint32_t indexes[] = {
		QUEUES, VIRTIO_QUEUES_MAX, 0x10000, 0x80000000, UINT32_MAX};
	struct mmio_fixture *fixture = *state;

	start_driver(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++)
		driver_notify(&fixture->mmio, indexes[i]);
	assert_int_equal(fixture->counting.notifications[0], 0);
	assert_int_equal(fixture->counting.notifications[1], 0);
}

static void notifications_before_driver_ok_are_ignored(void **state)
{
	struct mmio_fixture *fixture = *state;

	driver_notify(&fixture->mmio, 0);
	assert_true(driver_negotiate(&fixture->mmio, VERSION_1));
	driver_notify(&fixture->mmio, 0);
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->rings[0]));
	driver_notify(&fixture->mmio, 0);
	assert_int_equal(fixture->counting.notifications[0], 0);
}

/* ---- widths and places */

static void registers_are_accessed_in_aligned_words_only(void **state)
{
	static const size_t widths[] = {1, 2, 8};
	struct mmio_fixture *fixture = *state;
	uint64_t value;

	start_driver(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		value = UINT64_MAX;
		virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_MAGIC_VALUE, &value, widths[i]);
		assert_int_equal(value & (UINT64_MAX >> (64 - 8 * widths[i])), 0);
		value = 0; /* a reset, if it were taken */
		virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_STATUS, &value, widths[i]);
		assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
	}
	for (uint64_t offset = 1; offset < 4; offset++) {
		value = UINT64_MAX;
		virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_MAGIC_VALUE + offset, &value, 4);
		assert_int_equal(value & UINT32_MAX, 0);
		virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_STATUS + offset, &value, 4);
		virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_STATUS - offset, &value, 4);
		assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
	}
}

static void unknown_registers_read_as_zero(void **state)
{
	static const uint64_t offsets[] = {
		0x28, 0x3c, 0x40, 0x4c, 0x54, 0x58, 0x5c, 0x74, 0xa8, 0xc8, 0xd0, 0xf8};
	struct mmio_fixture *fixture = *state;

	start_driver(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		driver_write(&fixture->mmio, offsets[i], UINT32_MAX);
		assert_int_equal(driver_read(&fixture->mmio, offsets[i]), 0);
	}
	assert_int_equal(status(fixture), DRIVER_STATUS_RUNNING);
}

static void read_only_registers_are_not_written(void **state)
{
	struct mmio_fixture *fixture = *state;

	for (uint64_t offset = 0; offset < 0x14; offset += 4) {
		uint32_t before = driver_read(&fixture->mmio, offset);

		driver_write(&fixture->mmio, offset, ~before);
		assert_int_equal(driver_read(&fixture->mmio, offset), before);
	}
}

static void configuration_is_read_in_any_width_inside_its_size(void **state)
{
	struct mmio_fixture *fixture = *state;
	uint8_t data[8];

	for (uint64_t offset = 0; offset < VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG - 8; offset++) {
		for (size_t width = 1; width <= 8; width *= 2) {
			bool inside = offset + width <= CONFIG_SIZE;

			memset(data, 0xee, sizeof(data));
			virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_CONFIG + offset, data, width);
			for (size_t i = 0; i < sizeof(data); i++)
				assert_int_equal(data[i],
					i >= width       ? 0xee
						: inside ? 0x10 + offset + i
							 : 0);
		}
	}
}

static void configuration_is_not_written_past_its_end(void **state)
{
	struct mmio_fixture *fixture = *state;
	uint64_t value = UINT64_MAX;

	for (size_t width = 1; width <= 8; width *= 2)
		for (uint64_t offset = CONFIG_SIZE - width + 1; offset < 64; offset++)
			virtio_mmio_write(
				&fixture->mmio, VIRTIO_MMIO_CONFIG + offset, &value, width);
	for (uint8_t i = 0; i < CONFIG_SIZE; i++)
		assert_int_equal(fixture->counting.config[i], 0x10 + i);
	virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 4, &value, 8);
	assert_int_equal(fixture->counting.config[3], 0x13);
	assert_int_equal(fixture->counting.config[4], 0xff);
	assert_int_equal(fixture->counting.config[11], 0xff);
}

#define MMIO_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMIO_TEST(registers_identify_the_device),
		MMIO_TEST(shared_memory_is_the_region_that_is_selected),
		MMIO_TEST(driver_in_order_gets_a_running_device),
		MMIO_TEST(negotiated_features_reach_the_queues),
		MMIO_TEST(interrupt_stays_until_it_is_acknowledged),
		MMIO_TEST(configuration_change_changes_the_generation),
		MMIO_TEST(features_never_offered_are_refused),
		MMIO_TEST(feature_words_above_64_bits_are_refused),
		MMIO_TEST(features_are_final_after_features_ok),
		MMIO_TEST(features_before_the_driver_bit_are_ignored),
		MMIO_TEST(status_bits_cannot_be_cleared),
		MMIO_TEST(second_driver_ok_does_not_start_twice),
		MMIO_TEST(driver_ok_without_features_ok_is_ignored),
		MMIO_TEST(driver_cannot_say_that_the_device_needs_a_reset),
		MMIO_TEST(broken_device_serves_nothing_until_a_reset),
		MMIO_TEST(reset_brings_everything_back),
		MMIO_TEST(queue_registers_before_features_ok_are_ignored),
		MMIO_TEST(queue_registers_after_driver_ok_are_ignored),
		MMIO_TEST(queue_that_is_ready_is_not_changed),
		MMIO_TEST(queue_without_addresses_or_with_bad_ones_is_not_ready),
		MMIO_TEST(queue_ready_takes_one_only),
		MMIO_TEST(queues_that_do_not_exist_can_be_selected_without_harm),
		MMIO_TEST(notifications_of_queues_that_do_not_exist_are_ignored),
		MMIO_TEST(notifications_before_driver_ok_are_ignored),
		MMIO_TEST(registers_are_accessed_in_aligned_words_only),
		MMIO_TEST(unknown_registers_read_as_zero),
		MMIO_TEST(read_only_registers_are_not_written),
		MMIO_TEST(configuration_is_read_in_any_width_inside_its_size),
		MMIO_TEST(configuration_is_not_written_past_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
