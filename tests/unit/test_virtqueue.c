// SPDX-License-Identifier: Apache-2.0
/* test_virtqueue.c: chains of honest drivers come out whole, those of malicious ones not at all. */
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x40000ull
#define RING        0x1000ull
#define TABLE       0x8000ull /* an indirect table */
#define BUFFER      0x20000ull
#define SIZE        8

struct queue_fixture {
	struct guest_memory memory;
	struct driver_ring ring;
	struct virtqueue queue;
	struct virtqueue_chain chain;
};

static int set_up_size(void **state, uint16_t size)
{
	struct queue_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	fixture->ring = driver_ring_at(&fixture->memory, RING, size);
	driver_queue_init(&fixture->queue, &fixture->memory, &fixture->ring);
	fixture->queue.indirect = true;
	assert_int_equal(virtqueue_start(&fixture->queue), 0);
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_size(state, SIZE);
}

static int set_up_largest(void **state)
{
	return set_up_size(state, VIRTQUEUE_SIZE_MAX);
}

static int tear_down(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static uint8_t *buffer(struct queue_fixture *fixture, uint64_t address)
{
	return fixture->memory.regions[0].host + address;
}

static int pop(struct queue_fixture *fixture)
{
	return virtqueue_pop(&fixture->queue, &fixture->chain);
}

/* The chain at head 0 is refused, and refused again: the queue does not move past it. */
static void assert_refused(struct queue_fixture *fixture)
{
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), -EBADMSG);
	assert_int_equal(pop(fixture), -EBADMSG);
}

/* ---- honest drivers */

static void empty_ring_gives_nothing(void **state)
{
	struct queue_fixture *fixture = *state;

	assert_int_equal(virtqueue_pending(&fixture->queue), 0);
	assert_int_equal(pop(fixture), 0);
}

static void direct_chain_is_split_into_readable_and_writable(void **state)
{
	struct queue_fixture *fixture = *state;
	char text[16] = {0};

	driver_describe(&fixture->ring, 5, BUFFER, 3, DRIVER_NEXT, 2);
	driver_describe(&fixture->ring, 2, BUFFER + 0x100, 4, DRIVER_NEXT, 7);
	driver_describe(&fixture->ring, 7, BUFFER + 0x200, 5, DRIVER_NEXT | DRIVER_WRITE, 0);
	driver_describe(&fixture->ring, 0, BUFFER + 0x300, 6, DRIVER_WRITE, 0);
	memcpy(buffer(fixture, BUFFER), "abc", 3);
	memcpy(buffer(fixture, BUFFER + 0x100), "defg", 4);
	driver_offer(&fixture->ring, 5);

	assert_int_equal(virtqueue_pending(&fixture->queue), 1);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.head, 5);
	assert_int_equal(fixture->chain.readable_count, 2);
	assert_int_equal(fixture->chain.writable_count, 2);
	assert_int_equal(fixture->chain.readable_bytes, 7);
	assert_int_equal(fixture->chain.writable_bytes, 11);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 0, text, sizeof(text)), 7);
	assert_string_equal(text, "abcdefg");
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 2, text, 3), 3);
	assert_memory_equal(text, "cde", 3);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 7, text, 3), 0);
	assert_int_equal(virtqueue_chain_write(&fixture->chain, 3, "0123456789", 10), 8);
	assert_memory_equal(buffer(fixture, BUFFER + 0x200),
		"\0\0\0"
		"01",
		5);
	assert_memory_equal(buffer(fixture, BUFFER + 0x300), "234567\0", 7);
	assert_int_equal(virtqueue_chain_write(&fixture->chain, 11, "x", 1), 0);
	assert_int_equal(pop(fixture), 0);
}

static void slice_gives_the_spans_of_a_range(void **state)
{
	struct queue_fixture *fixture = *state;
	struct iovec spans[VIRTQUEUE_SPANS_MAX];

	driver_describe(&fixture->ring, 0, BUFFER, 4, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, BUFFER + 0x100, 4, DRIVER_NEXT | DRIVER_WRITE, 2);
	driver_describe(&fixture->ring, 2, BUFFER + 0x200, 0, DRIVER_NEXT | DRIVER_WRITE, 3);
	driver_describe(&fixture->ring, 3, BUFFER + 0x300, 4, DRIVER_WRITE, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(virtqueue_chain_slice(&fixture->chain, true, 3, 3, spans), 2);
	assert_ptr_equal(spans[0].iov_base, buffer(fixture, BUFFER + 0x103));
	assert_int_equal(spans[0].iov_len, 1);
	assert_ptr_equal(spans[1].iov_base, buffer(fixture, BUFFER + 0x300));
	assert_int_equal(spans[1].iov_len, 2);
	assert_int_equal(virtqueue_chain_slice(&fixture->chain, true, 8, 1, spans), 0);
	assert_int_equal(virtqueue_chain_slice(&fixture->chain, false, 1, 100, spans), 1);
	assert_int_equal(spans[0].iov_len, 3);
}

static void indirect_table_takes_the_place_of_a_descriptor(void **state)
{
	struct queue_fixture *fixture = *state;
	char text[8] = {0};

	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 4, DRIVER_NEXT, 2);
	driver_table_set(&fixture->ring, TABLE, 2, BUFFER + 0x100, 9, DRIVER_WRITE, 0);
	memcpy(buffer(fixture, BUFFER), "work", 4);
	driver_offer_buffer(&fixture->ring, 6, TABLE, 3 * 16, DRIVER_INDIRECT);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.head, 6);
	assert_int_equal(fixture->chain.readable_bytes, 4);
	assert_int_equal(fixture->chain.writable_bytes, 9);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 0, text, sizeof(text)), 4);
	assert_string_equal(text, "work");
}

static void indirect_table_may_end_a_direct_chain(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 4, DRIVER_WRITE, 0);
	driver_describe(&fixture->ring, 0, BUFFER, 3, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, TABLE, 16, DRIVER_INDIRECT, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_bytes, 3);
	assert_int_equal(fixture->chain.writable_bytes, 4);
}

/* Linux does this: the table is bounded by the spans, not by the size of the queue. */
static void indirect_table_may_be_longer_than_the_queue(void **state)
{
	struct queue_fixture *fixture = *state;

	for (uint16_t i = 0; i < VIRTQUEUE_SPANS_MAX; i++)
		driver_table_set(&fixture->ring, TABLE, i, BUFFER, 1,
			i + 1 < VIRTQUEUE_SPANS_MAX ? DRIVER_NEXT : 0, (uint16_t)(i + 1));
	driver_offer_buffer(&fixture->ring, 0, TABLE, VIRTQUEUE_SPANS_MAX * 16, DRIVER_INDIRECT);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_count, VIRTQUEUE_SPANS_MAX);
}

/* Section 2.7.5.3 asks for no alignment of indirect tables. */
static void indirect_table_at_an_odd_address_is_read(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_table_set(&fixture->ring, TABLE + 3, 0, BUFFER, 4, DRIVER_NEXT, 1);
	driver_table_set(&fixture->ring, TABLE + 3, 1, BUFFER, 5, 0, 0);
	driver_offer_buffer(&fixture->ring, 0, TABLE + 3, 32, DRIVER_INDIRECT);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_bytes, 9);
}

static void chain_as_long_as_the_queue_is_taken(void **state)
{
	struct queue_fixture *fixture = *state;

	for (uint16_t i = 0; i < SIZE; i++)
		driver_describe(&fixture->ring, i, BUFFER, 1, i + 1 < SIZE ? DRIVER_NEXT : 0,
			(uint16_t)(i + 1));
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_count, SIZE);
}

static void buffer_may_end_where_ram_ends(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_offer_buffer(&fixture->ring, 0, MEMORY_SIZE - 16, 16, DRIVER_WRITE);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(virtqueue_chain_write(&fixture->chain, 0, "0123456789abcdef", 16), 16);
}

static void zero_length_buffers_hold_nothing(void **state)
{
	struct queue_fixture *fixture = *state;
	char byte;

	driver_offer_buffer(&fixture->ring, 0, BUFFER, 0, 0);
	driver_offer_buffer(&fixture->ring, 1, BUFFER, 0, DRIVER_WRITE);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_bytes, 0);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 0, &byte, 1), 0);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(virtqueue_chain_write(&fixture->chain, 0, "x", 1), 0);
}

/* In and out buffers that overlap, or overlap the rings, harm the driver alone. */
static void overlapping_buffers_are_the_drivers_affair(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, RING, 64, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, RING, 64, DRIVER_WRITE, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), 1);
	virtqueue_chain_write(&fixture->chain, 0, (uint8_t[64]){0}, 64);
	virtqueue_push(&fixture->queue, fixture->chain.head, 64);
	assert_int_equal(pop(fixture), 0);
}

static void used_ring_tells_head_and_length_over_the_wrap(void **state)
{
	struct queue_fixture *fixture = *state;
	uint32_t id, length;

	/* More than 2^16 chains: both indexes wrap, in the ring and as 16-bit numbers. */
	for (uint32_t i = 0; i < 70000; i++) {
		uint16_t head = (uint16_t)(i % 7);

		driver_offer_buffer(&fixture->ring, head, BUFFER, 8, DRIVER_WRITE);
		assert_int_equal(pop(fixture), 1);
		assert_int_equal(fixture->chain.head, head);
		virtqueue_push(&fixture->queue, fixture->chain.head, i);
		assert_true(driver_take_used(&fixture->ring, &id, &length));
		assert_int_equal(id, head);
		assert_int_equal(length, i);
		assert_false(driver_take_used(&fixture->ring, &id, &length));
	}
	assert_int_equal(pop(fixture), 0);
}

static void the_same_head_twice_is_two_chains(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_offer_buffer(&fixture->ring, 0, BUFFER, 8, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(virtqueue_pending(&fixture->queue), 2);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(pop(fixture), 0);
}

static void reset_forgets_all_but_the_memory(void **state)
{
	struct queue_fixture *fixture = *state;
	const struct virtqueue fresh = {.memory = &fixture->memory};

	driver_offer_buffer(&fixture->ring, 0, BUFFER, 8, 0);
	assert_int_equal(pop(fixture), 1);
	virtqueue_push(&fixture->queue, 0, 0);
	virtqueue_reset(&fixture->queue);
	assert_memory_equal(&fixture->queue, &fresh, sizeof(fresh));
}

/* ---- interrupts and notifications */

static void push_one(struct queue_fixture *fixture)
{
	driver_offer_buffer(&fixture->ring, 0, BUFFER, 8, 0);
	assert_int_equal(pop(fixture), 1);
	virtqueue_push(&fixture->queue, fixture->chain.head, 0);
}

static void interrupt_flag_decides_without_the_event_index(void **state)
{
	struct queue_fixture *fixture = *state;

	assert_false(virtqueue_needs_interrupt(&fixture->queue));
	push_one(fixture);
	assert_true(virtqueue_needs_interrupt(&fixture->queue));
	assert_false(virtqueue_needs_interrupt(&fixture->queue));
	driver_word_set(
		&fixture->ring, fixture->ring.available, 1); /* VRING_AVAIL_F_NO_INTERRUPT */
	push_one(fixture);
	assert_false(virtqueue_needs_interrupt(&fixture->queue));
}

/* What the driver wants to hear of is written in 16 bits without context; try all around the wrap.
 */
static void event_index_interrupts_exactly_when_passed(void **state)
{
	struct queue_fixture *fixture = *state;

	fixture->queue.event_index = true;
	for (uint32_t start = 0; start < 0x10000; start += start == 4 ? 0xfff8 - 4 : 1) {
		for (uint32_t batch = 1; batch <= SIZE; batch++) {
			for (int delta = -3; delta < (int)batch + 3; delta++) {
				uint16_t event = (uint16_t)((int)start + delta);
				bool passed = delta >= 0 && delta < (int)batch;

				fixture->queue.next_used = (uint16_t)(start + batch);
				fixture->queue.signalled_used = (uint16_t)start;
				driver_set_used_event(&fixture->ring, event);
				assert_int_equal(
					virtqueue_needs_interrupt(&fixture->queue), passed);
				assert_false(virtqueue_needs_interrupt(&fixture->queue));
			}
		}
	}
}

static void event_index_interrupts_over_a_real_wrap(void **state)
{
	struct queue_fixture *fixture = *state;

	fixture->queue.event_index = true;
	for (uint32_t i = 0; i < 0x10010; i++) {
		/* Every fourth one is wanted. */
		driver_set_used_event(&fixture->ring, (uint16_t)(i / 4 * 4 + 3));
		push_one(fixture);
		assert_int_equal(virtqueue_needs_interrupt(&fixture->queue), i % 4 == 3);
	}
}

static void notification_is_asked_for_at_the_next_entry(void **state)
{
	struct queue_fixture *fixture = *state;

	push_one(fixture);
	virtqueue_enable_notification(&fixture->queue);
	assert_int_equal(driver_available_event(&fixture->ring), 0); /* not negotiated: untouched */
	fixture->queue.event_index = true;
	virtqueue_enable_notification(&fixture->queue);
	assert_int_equal(driver_available_event(&fixture->ring), 1);
}

/* ---- malicious drivers: rings */

static void assert_not_started(
	struct queue_fixture *fixture, struct driver_ring ring, uint32_t size)
{
	driver_queue_init(&fixture->queue, &fixture->memory, &ring);
	fixture->queue.size = size;
	assert_int_equal(virtqueue_start(&fixture->queue), -EINVAL);
	assert_false(fixture->queue.ready);
}

static void queue_sizes_that_are_no_power_of_two_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	static const uint32_t sizes[] = {
		0, 3, 6, 255, 257, 512, 0x8000, 0x10000, 0x80000000, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_not_started(fixture, fixture->ring, sizes[i]);
}

static void unaligned_rings_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	struct driver_ring ring = fixture->ring;

	ring.descriptors += 8;
	assert_not_started(fixture, ring, SIZE);
	ring = fixture->ring;
	ring.available += 1;
	assert_not_started(fixture, ring, SIZE);
	ring = fixture->ring;
	ring.used += 2;
	assert_not_started(fixture, ring, SIZE);
}

static void rings_outside_of_ram_are_refused(void **state)
{
	static const uint64_t places[] = {MEMORY_SIZE, MEMORY_SIZE - 16, 0xd0000000, 0x100000000,
		UINT64_MAX - 15, UINT64_MAX - 31, 1ull << 63};
	struct queue_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct driver_ring ring = fixture->ring;

		ring.descriptors = places[i];
		assert_not_started(fixture, ring, SIZE);
		ring = fixture->ring;
		ring.available = places[i];
		assert_not_started(fixture, ring, SIZE);
		ring = fixture->ring;
		ring.used = places[i];
		assert_not_started(fixture, ring, SIZE);
	}
}

/* Including the event index words, which are there whether they are negotiated or not. */
static void rings_must_fit_to_their_last_byte(void **state)
{
	struct queue_fixture *fixture = *state;
	struct driver_ring ring = fixture->ring;

	ring.descriptors = MEMORY_SIZE - 16 * SIZE;
	ring.available = MEMORY_SIZE - (6 + 2 * SIZE);
	ring.used = MEMORY_SIZE - (8 + 8 * SIZE);
	driver_queue_init(&fixture->queue, &fixture->memory, &ring);
	assert_int_equal(virtqueue_start(&fixture->queue), 0);
	ring.available += 2;
	assert_not_started(fixture, ring, SIZE);
	ring.available -= 2;
	ring.used += 4;
	assert_not_started(fixture, ring, SIZE);
	ring.used -= 4;
	ring.descriptors += 16;
	assert_not_started(fixture, ring, SIZE);
}

static void available_index_that_jumps_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	static const uint16_t jumps[] = {SIZE + 1, 0x7fff, 0x8000, 0xffff};

	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
		driver_word_set(&fixture->ring, fixture->ring.available + 2, jumps[i]);
		assert_int_equal(virtqueue_pending(&fixture->queue), -EBADMSG);
		assert_int_equal(pop(fixture), -EBADMSG);
	}
	driver_word_set(&fixture->ring, fixture->ring.available + 2, SIZE);
	assert_int_equal(virtqueue_pending(&fixture->queue), SIZE);
}

static void available_index_that_goes_back_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	push_one(fixture);
	push_one(fixture);
	driver_word_set(&fixture->ring, fixture->ring.available + 2, 1);
	assert_int_equal(pop(fixture), -EBADMSG);
}

/* Garbage in used_event decides on interrupts at most, garbage in the used ring on nothing. */
static void garbage_in_the_used_ring_does_not_matter(void **state)
{
	struct queue_fixture *fixture = *state;
	uint32_t id, length;

	fixture->queue.event_index = true;
	memset(buffer(fixture, fixture->ring.used), 0xff, 6 + 8 * SIZE);
	driver_set_used_event(&fixture->ring, 0xffff);
	push_one(fixture);
	assert_false(virtqueue_needs_interrupt(&fixture->queue));
	assert_int_equal(driver_word(&fixture->ring, fixture->ring.used + 2), 1);
	assert_true(driver_take_used(&fixture->ring, &id, &length));
	assert_int_equal(id, 0);
}

/* ---- malicious drivers: chains */

static void head_out_of_range_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	static const uint16_t heads[] = {SIZE, SIZE + 1, 0x7fff, 0xffff};

	driver_offer(&fixture->ring, 0);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		driver_word_set(&fixture->ring, fixture->ring.available + 4, heads[i]);
		assert_int_equal(pop(fixture), -EBADMSG);
	}
}

static void next_out_of_range_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 8, DRIVER_NEXT, SIZE);
	assert_refused(fixture);
}

static void descriptor_that_follows_itself_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 8, DRIVER_NEXT, 0);
	assert_refused(fixture);
}

static void loop_of_two_descriptors_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 8, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, BUFFER, 8, DRIVER_NEXT, 0);
	assert_refused(fixture);
}

static void loop_in_the_largest_queue_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	for (uint16_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++)
		driver_describe(&fixture->ring, i, BUFFER, 0, DRIVER_NEXT,
			(uint16_t)((i + 1) % VIRTQUEUE_SIZE_MAX));
	assert_refused(fixture);
}

static void buffers_outside_of_ram_are_refused(void **state)
{
	static const struct {
		uint64_t address;
		uint32_t length;
	} buffers[] = {
		{MEMORY_SIZE, 1},
		{MEMORY_SIZE - 8, 9},
		{MEMORY_SIZE + 1, 0},
		{0, UINT32_MAX},
		{BUFFER, UINT32_MAX},
		{BUFFER, 0x80000000},
		{UINT64_MAX, 1},
		{UINT64_MAX, 2},
		{UINT64_MAX - 7, 16},
		{UINT64_MAX - 7, 0},
		{0xd0000000, 4},
		{1ull << 63, 8},
	};
	struct queue_fixture *fixture = *state;

	driver_offer(&fixture->ring, 0);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		for (uint16_t flags = 0; flags <= DRIVER_WRITE; flags += DRIVER_WRITE) {
			driver_describe(
				&fixture->ring, 0, buffers[i].address, buffers[i].length, flags, 0);
			assert_int_equal(pop(fixture), -EBADMSG);
		}
	}
}

static void buffer_over_the_end_of_one_region_into_another_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	uint8_t *high = calloc(1, 0x1000);

	assert_non_null(high);
	fixture->memory.regions[1] = (struct guest_region){MEMORY_SIZE, 0x1000, high};
	fixture->memory.count = 2;
	driver_offer_buffer(&fixture->ring, 0, MEMORY_SIZE, 0x1000, DRIVER_WRITE);
	assert_int_equal(pop(fixture), 1);
	assert_ptr_equal(fixture->chain.spans[0].iov_base, high);
	driver_describe(&fixture->ring, 1, MEMORY_SIZE - 1, 2, DRIVER_WRITE, 0);
	driver_offer(&fixture->ring, 1);
	assert_int_equal(pop(fixture), -EBADMSG);
}

/* Pages without access: whoever touches one here ends the test. */
static void window_add(struct queue_fixture *fixture)
{
	void *host = mmap(NULL, 0x2000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(host != MAP_FAILED);
	fixture->memory.window = (struct guest_region){1ull << 32, 0x2000, host};
}

static int tear_down_window(void **state)
{
	struct queue_fixture *fixture = *state;

	munmap(fixture->memory.window.host, fixture->memory.window.size);
	return tear_down(state);
}

static void buffers_in_the_window_are_for_devices_that_take_them(void **state)
{
	struct queue_fixture *fixture = *state;

	window_add(fixture);
	driver_offer_buffer(&fixture->ring, 0, 1ull << 32, 0x2000, DRIVER_WRITE);
	assert_int_equal(pop(fixture), -EBADMSG);
	fixture->queue.window = true;
	assert_int_equal(pop(fixture), 1);
	assert_ptr_equal(fixture->chain.spans[0].iov_base, fixture->memory.window.host);
	driver_describe(&fixture->ring, 1, (1ull << 32) + 1, 0x2000, 0, 0);
	driver_offer(&fixture->ring, 1);
	assert_int_equal(pop(fixture), -EBADMSG);
	virtqueue_reset(&fixture->queue);
	assert_true(fixture->queue.window);
}

static void nothing_here_touches_the_window(void **state)
{
	struct queue_fixture *fixture = *state;
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	uint8_t bytes[16];

	window_add(fixture);
	fixture->queue.window = true;
	driver_describe(&fixture->ring, 0, BUFFER, 4, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, (1ull << 32) + 0x1000, 4, DRIVER_NEXT, 2);
	driver_describe(&fixture->ring, 2, BUFFER, 4, DRIVER_NEXT, 3);
	driver_describe(&fixture->ring, 3, BUFFER, 4, DRIVER_NEXT | DRIVER_WRITE, 4);
	driver_describe(&fixture->ring, 4, 1ull << 32, 4, DRIVER_WRITE, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), 1);
	assert_int_equal(fixture->chain.readable_bytes, 12);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 0, bytes, sizeof(bytes)), 4);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 6, bytes, 2), 0);
	assert_int_equal(virtqueue_chain_read(&fixture->chain, 8, bytes, 4), 4);
	assert_int_equal(virtqueue_chain_write(&fixture->chain, 0, bytes, 8), 4);
	/* The kernel may. */
	assert_int_equal(virtqueue_chain_slice(&fixture->chain, true, 4, 4, spans), 1);
	assert_ptr_equal(spans[0].iov_base, fixture->memory.window.host);
}

static void rings_and_tables_in_the_window_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	window_add(fixture);
	fixture->queue.window = true;
	driver_describe(&fixture->ring, 0, 1ull << 32, 32, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
	virtqueue_reset(&fixture->queue);
	driver_queue_init(&fixture->queue, &fixture->memory, &fixture->ring);
	fixture->queue.used = 1ull << 32;
	assert_int_equal(virtqueue_start(&fixture->queue), -EINVAL);
}

static void readable_after_writable_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 8, DRIVER_NEXT | DRIVER_WRITE, 1);
	driver_describe(&fixture->ring, 1, BUFFER, 8, 0, 0);
	assert_refused(fixture);
}

static void readable_in_a_table_after_writable_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_describe(&fixture->ring, 0, BUFFER, 8, DRIVER_NEXT | DRIVER_WRITE, 1);
	driver_describe(&fixture->ring, 1, TABLE, 16, DRIVER_INDIRECT, 0);
	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 8, 0, 0);
	assert_refused(fixture);
}

/* The lengths of a chain add up to no more than 32 bits can say. */
static void lengths_that_add_up_over_32_bits_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	/* No page of it is ever touched. */
	const uint64_t size = 0xc0000000ull;

	fixture->memory.regions[1] = (struct guest_region){0x100000000ull, size, (uint8_t *)4096};
	fixture->memory.count = 2;
	driver_describe(&fixture->ring, 0, 0x100000000ull, (uint32_t)size, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, 0x100000000ull, (uint32_t)size, 0, 0);
	driver_offer(&fixture->ring, 0);
	assert_int_equal(pop(fixture), -EBADMSG);
	driver_describe(&fixture->ring, 1, 0x100000000ull, (uint32_t)size, DRIVER_WRITE, 0);
	assert_int_equal(pop(fixture), 1);
	fixture->memory.count = 1;
}

static void indirect_without_the_feature_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	fixture->queue.indirect = false;
	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 8, 0, 0);
	driver_describe(&fixture->ring, 0, TABLE, 16, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

static void nested_indirect_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_table_set(&fixture->ring, TABLE, 0, TABLE, 16, DRIVER_INDIRECT, 0);
	driver_describe(&fixture->ring, 0, TABLE, 16, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

static void indirect_with_next_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 8, 0, 0);
	driver_describe(&fixture->ring, 0, TABLE, 16, DRIVER_INDIRECT | DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, BUFFER, 8, 0, 0);
	assert_refused(fixture);
}

static void indirect_tables_of_odd_lengths_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	static const uint32_t lengths[] = {0, 1, 15, 17, 24, UINT32_MAX, UINT32_MAX - 15};

	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 8, 0, 0);
	driver_offer(&fixture->ring, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		driver_describe(&fixture->ring, 0, TABLE, lengths[i], DRIVER_INDIRECT, 0);
		assert_int_equal(pop(fixture), -EBADMSG);
	}
}

static void indirect_tables_outside_of_ram_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;
	static const uint64_t places[] = {
		MEMORY_SIZE, MEMORY_SIZE - 16, UINT64_MAX - 15, 0xd0000000};

	driver_offer(&fixture->ring, 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		driver_describe(&fixture->ring, 0, places[i], 32, DRIVER_INDIRECT, 0);
		assert_int_equal(pop(fixture), -EBADMSG);
	}
}

static void next_outside_of_an_indirect_table_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	/* There is a fine descriptor behind the table, and it is not looked at. */
	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 8, DRIVER_NEXT, 2);
	driver_table_set(&fixture->ring, TABLE, 2, BUFFER, 8, 0, 0);
	driver_describe(&fixture->ring, 0, TABLE, 32, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

static void loop_in_an_indirect_table_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	driver_table_set(&fixture->ring, TABLE, 0, BUFFER, 0, DRIVER_NEXT, 1);
	driver_table_set(&fixture->ring, TABLE, 1, BUFFER, 0, DRIVER_NEXT, 0);
	driver_describe(&fixture->ring, 0, TABLE, 32, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

static void more_spans_than_fit_are_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	/* One direct descriptor, then as many as a table may have. */
	for (uint16_t i = 0; i < VIRTQUEUE_SPANS_MAX; i++)
		driver_table_set(&fixture->ring, TABLE, i, BUFFER, 1,
			i + 1 < VIRTQUEUE_SPANS_MAX ? DRIVER_NEXT : 0, (uint16_t)(i + 1));
	driver_describe(&fixture->ring, 0, BUFFER, 1, DRIVER_NEXT, 1);
	driver_describe(&fixture->ring, 1, TABLE, VIRTQUEUE_SPANS_MAX * 16, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

static void table_longer_than_the_spans_is_refused(void **state)
{
	struct queue_fixture *fixture = *state;

	for (uint16_t i = 0; i <= VIRTQUEUE_SPANS_MAX; i++)
		driver_table_set(&fixture->ring, TABLE, i, BUFFER, 1,
			i < VIRTQUEUE_SPANS_MAX ? DRIVER_NEXT : 0, (uint16_t)(i + 1));
	driver_describe(
		&fixture->ring, 0, TABLE, (VIRTQUEUE_SPANS_MAX + 1) * 16, DRIVER_INDIRECT, 0);
	assert_refused(fixture);
}

#define QUEUE_TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define QUEUE_TEST_WINDOW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_window)
#define QUEUE_TEST_LARGE(name)  cmocka_unit_test_setup_teardown(name, set_up_largest, tear_down)

static int tear_down_regions(void **state)
{
	struct queue_fixture *fixture = *state;

	/* The test's second region; the first is freed below. */
	if (fixture->memory.count == 2)
		free(fixture->memory.regions[1].host);
	fixture->memory.count = 1;
	return tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		QUEUE_TEST(empty_ring_gives_nothing),
		QUEUE_TEST(direct_chain_is_split_into_readable_and_writable),
		QUEUE_TEST(slice_gives_the_spans_of_a_range),
		QUEUE_TEST(indirect_table_takes_the_place_of_a_descriptor),
		QUEUE_TEST(indirect_table_may_end_a_direct_chain),
		QUEUE_TEST(indirect_table_may_be_longer_than_the_queue),
		QUEUE_TEST(indirect_table_at_an_odd_address_is_read),
		QUEUE_TEST(chain_as_long_as_the_queue_is_taken),
		QUEUE_TEST(buffer_may_end_where_ram_ends),
		QUEUE_TEST(zero_length_buffers_hold_nothing),
		QUEUE_TEST(overlapping_buffers_are_the_drivers_affair),
		QUEUE_TEST(used_ring_tells_head_and_length_over_the_wrap),
		QUEUE_TEST(the_same_head_twice_is_two_chains),
		QUEUE_TEST(reset_forgets_all_but_the_memory),
		QUEUE_TEST(interrupt_flag_decides_without_the_event_index),
		QUEUE_TEST(event_index_interrupts_exactly_when_passed),
		QUEUE_TEST(event_index_interrupts_over_a_real_wrap),
		QUEUE_TEST(notification_is_asked_for_at_the_next_entry),
		QUEUE_TEST(queue_sizes_that_are_no_power_of_two_are_refused),
		QUEUE_TEST(unaligned_rings_are_refused),
		QUEUE_TEST(rings_outside_of_ram_are_refused),
		QUEUE_TEST(rings_must_fit_to_their_last_byte),
		QUEUE_TEST(available_index_that_jumps_is_refused),
		QUEUE_TEST(available_index_that_goes_back_is_refused),
		QUEUE_TEST(garbage_in_the_used_ring_does_not_matter),
		QUEUE_TEST(head_out_of_range_is_refused),
		QUEUE_TEST(next_out_of_range_is_refused),
		QUEUE_TEST(descriptor_that_follows_itself_is_refused),
		QUEUE_TEST(loop_of_two_descriptors_is_refused),
		QUEUE_TEST_LARGE(loop_in_the_largest_queue_is_refused),
		QUEUE_TEST(buffers_outside_of_ram_are_refused),
		cmocka_unit_test_setup_teardown(
			buffer_over_the_end_of_one_region_into_another_is_refused, set_up,
			tear_down_regions),
		QUEUE_TEST_WINDOW(buffers_in_the_window_are_for_devices_that_take_them),
		QUEUE_TEST_WINDOW(nothing_here_touches_the_window),
		QUEUE_TEST_WINDOW(rings_and_tables_in_the_window_are_refused),
		QUEUE_TEST(readable_after_writable_is_refused),
		QUEUE_TEST(readable_in_a_table_after_writable_is_refused),
		QUEUE_TEST(lengths_that_add_up_over_32_bits_are_refused),
		QUEUE_TEST(indirect_without_the_feature_is_refused),
		QUEUE_TEST(nested_indirect_is_refused),
		QUEUE_TEST(indirect_with_next_is_refused),
		QUEUE_TEST(indirect_tables_of_odd_lengths_are_refused),
		QUEUE_TEST(indirect_tables_outside_of_ram_are_refused),
		QUEUE_TEST(next_outside_of_an_indirect_table_is_refused),
		QUEUE_TEST(loop_in_an_indirect_table_is_refused),
		QUEUE_TEST_LARGE(more_spans_than_fit_are_refused),
		QUEUE_TEST(table_longer_than_the_spans_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
