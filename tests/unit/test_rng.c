// SPDX-License-Identifier: Apache-2.0
/* test_rng.c: the entropy device gives random bytes, and no more than its limit. */
#include "tests/unit/virtio_driver.h"

#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x40000ull
#define RING        0x1000ull
#define BUFFER      0x10000ull
#define QUEUE_SIZE  8

struct rng_fixture {
	struct guest_memory memory;
	struct virtio_rng rng;
	struct virtio_mmio mmio;
	struct driver_ring ring;
	unsigned int raised;
};

static void raise_line(void *context)
{
	((struct rng_fixture *)context)->raised++;
}

static void start_driver(struct rng_fixture *fixture, uint64_t features)
{
	fixture->ring = driver_ring_at(&fixture->memory, RING, QUEUE_SIZE);
	memset(fixture->memory.regions[0].host + RING, 0, DRIVER_RING_SPACE);
	assert_true(
		driver_negotiate(&fixture->mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | features));
	assert_true(driver_set_up_queue(&fixture->mmio, 0, &fixture->ring));
	driver_run(&fixture->mmio);
}

static int set_up(void **state)
{
	struct rng_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	virtio_rng_init(&fixture->rng, &fixture->memory);
	virtio_mmio_attach(&fixture->mmio, &fixture->rng.device, raise_line, fixture);
	start_driver(fixture, 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct rng_fixture *fixture = *state;

	driver_memory_free(&fixture->memory);
	pthread_mutex_destroy(&fixture->rng.device.lock);
	free(fixture);
	return 0;
}

/* Notifies and takes the one answer; the number of bytes it says were written. */
static uint32_t request(struct rng_fixture *fixture, uint32_t expected_id)
{
	uint32_t id, length;

	driver_notify(&fixture->mmio, 0);
	assert_true(driver_take_used(&fixture->ring, &id, &length));
	assert_int_equal(id, expected_id);
	return length;
}

static size_t count_changed(const struct rng_fixture *fixture, uint64_t address, size_t length)
{
	const uint8_t *bytes = fixture->memory.regions[0].host + address;
	size_t changed = 0;

	for (size_t i = 0; i < length; i++)
		changed += bytes[i] != 0;
	return changed;
}

static void request_is_filled_with_random_bytes(void **state)
{
	struct rng_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 40, DRIVER_WRITE | DRIVER_NEXT, 3);
	driver_describe(&fixture->ring, 3, BUFFER + 0x1000, 24, DRIVER_WRITE, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(request(fixture, 0), 64);
	/* Fewer than eight bytes of 40 that are not zero: less likely than any failure of the
	 * machine. */
	assert_in_range(count_changed(fixture, BUFFER, 40), 8, 40);
	assert_in_range(count_changed(fixture, BUFFER + 0x1000, 24), 4, 24);
	assert_int_equal(count_changed(fixture, BUFFER + 40, 0x1000 - 40), 0);
	assert_int_equal(fixture->raised, 1);
}

static void huge_request_gets_a_bounded_answer(void **state)
{
	struct rng_fixture *fixture = *state;

	driver_offer_buffer(&fixture->ring, 0, BUFFER, MEMORY_SIZE - BUFFER, DRIVER_WRITE);
	assert_int_equal(request(fixture, 0), VIRTIO_RNG_REQUEST_MAX);
	assert_true(count_changed(fixture, BUFFER, VIRTIO_RNG_REQUEST_MAX) > 0);
	assert_int_equal(count_changed(fixture, BUFFER + VIRTIO_RNG_REQUEST_MAX, 0x10000), 0);
}

static void zero_length_request_gets_nothing(void **state)
{
	struct rng_fixture *fixture = *state;

	driver_offer_buffer(&fixture->ring, 2, BUFFER, 0, DRIVER_WRITE);
	assert_int_equal(request(fixture, 2), 0);
}

static void request_without_room_for_an_answer_gets_nothing(void **state)
{
	struct rng_fixture *fixture = *state;

	driver_offer_buffer(&fixture->ring, 1, BUFFER, 64, 0);
	assert_int_equal(request(fixture, 1), 0);
	assert_int_equal(count_changed(fixture, BUFFER, 64), 0);
}

static void all_waiting_requests_are_answered_by_one_interrupt(void **state)
{
	struct rng_fixture *fixture = *state;
	uint32_t id, length;

	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		driver_offer_buffer(&fixture->ring, i, BUFFER + 0x1000ull * i, 16, DRIVER_WRITE);
	driver_notify(&fixture->mmio, 0);
	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		assert_true(driver_take_used(&fixture->ring, &id, &length));
		assert_int_equal(id, i);
		assert_int_equal(length, 16);
	}
	assert_false(driver_take_used(&fixture->ring, &id, &length));
	assert_int_equal(fixture->raised, 1);
}

/* With the event index a driver notifies only when it was asked to; also after a full ring. */
static void notification_of_the_next_request_is_asked_for(void **state)
{
	struct rng_fixture *fixture = *state;

	start_driver(fixture, VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		driver_offer_buffer(&fixture->ring, i, BUFFER, 16, DRIVER_WRITE);
	driver_notify(&fixture->mmio, 0);
	assert_int_equal(driver_available_event(&fixture->ring), QUEUE_SIZE);
}

static void malformed_request_breaks_the_device_until_a_reset(void **state)
{
	struct rng_fixture *fixture = *state;
	uint32_t id, length;

	driver_offer_buffer(&fixture->ring, 0, BUFFER, 16, DRIVER_WRITE);
	driver_offer_buffer(&fixture->ring, 1, MEMORY_SIZE - 8, 16, DRIVER_WRITE);
	driver_notify(&fixture->mmio, 0);
	assert_true(driver_take_used(&fixture->ring, &id, &length)); /* the one before it */
	assert_false(driver_take_used(&fixture->ring, &id, &length));
	assert_true(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_notify(&fixture->mmio, 0);
	assert_false(driver_take_used(&fixture->ring, &id, &length));
	start_driver(fixture, 0);
	driver_offer_buffer(&fixture->ring, 5, BUFFER, 16, DRIVER_WRITE);
	assert_int_equal(request(fixture, 5), 16);
}

static void there_is_no_configuration_space(void **state)
{
	struct rng_fixture *fixture = *state;
	uint64_t value = UINT64_MAX;

	virtio_mmio_read(&fixture->mmio, VIRTIO_MMIO_CONFIG, &value, sizeof(value));
	assert_int_equal(value, 0);
	virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_CONFIG, &value, sizeof(value));
}

#define RNG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RNG_TEST(request_is_filled_with_random_bytes),
		RNG_TEST(huge_request_gets_a_bounded_answer),
		RNG_TEST(zero_length_request_gets_nothing),
		RNG_TEST(request_without_room_for_an_answer_gets_nothing),
		RNG_TEST(all_waiting_requests_are_answered_by_one_interrupt),
		RNG_TEST(notification_of_the_next_request_is_asked_for),
		RNG_TEST(malformed_request_breaks_the_device_until_a_reset),
		RNG_TEST(there_is_no_configuration_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
