// SPDX-License-Identifier: Apache-2.0
/*
 * test_balloon.c: what the guest gives up goes back to the host, and nothing else does.
 *
 * RAM is two private mappings of files, as that of a pod from a template, in the middle of memory that is
 * not RAM: each byte of a file says FILE_BYTE, what the guest wrote GUEST_BYTE, what lies around
 * OUTSIDE_BYTE. Dropping a page of RAM makes it say FILE_BYTE again, dropping any other makes it zero.
 */
#include "tests/unit/virtio_driver.h"

#include "virtio/balloon.h"

#include <linux/virtio_balloon.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE         4096ull
#define LOW_PAGES    64u
#define HIGH_PAGES   16u
#define OUTSIDE      (16 * PAGE) /* on each side of each region */
#define HIGH_START   0x100000000ull
#define RING(queue)  (0x1000ull + (uint64_t)(queue)*DRIVER_RING_SPACE)
#define PFN_BUFFER   0xb000ull
#define QUEUE_SIZE   32
#define QUEUES       5
#define FILE_BYTE    0x5f
#define GUEST_BYTE   0x67
#define OUTSIDE_BYTE 0x6f
#define FIRST_FREE   16u /* the first page that is neither ring nor buffer */

enum { INFLATE, DEFLATE, REPORTING_BY_LINUX, HINTS, REPORTING_BY_THE_SPECIFICATION };

struct balloon_fixture {
	struct guest_memory memory;
	uint8_t *around[2];
	size_t around_size[2];
	struct virtio_balloon balloon;
	struct virtio_mmio mmio;
	struct driver_ring rings[QUEUES];
	unsigned int raised;
};

static void raise_line(void *context)
{
	((struct balloon_fixture *)context)->raised++;
}

static void map_region(struct balloon_fixture *fixture, size_t i, uint64_t start, uint64_t size)
{
	uint8_t bytes[PAGE];
	uint8_t *around, *ram;
	int fd;

	memset(bytes, FILE_BYTE, sizeof(bytes));
	fd = memfd_create("template", MFD_CLOEXEC);
	assert_true(fd >= 0);
	for (uint64_t at = 0; at < size; at += PAGE)
		assert_int_equal(pwrite(fd, bytes, PAGE, (off_t)at), PAGE);
	around = mmap(NULL, size + 2 * OUTSIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);
	assert_true(around != MAP_FAILED);
	memset(around, OUTSIDE_BYTE, size + 2 * OUTSIDE);
	ram = mmap(around + OUTSIDE, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
	assert_true(ram == around + OUTSIDE);
	close(fd);
	fixture->around[i] = around;
	fixture->around_size[i] = size + 2 * OUTSIDE;
	fixture->memory.regions[i] = (struct guest_region){start, size, ram};
	fixture->memory.count = i + 1;
}

/* The guest writes to all of its memory, and sets up its driver. */
static void start_driver(struct balloon_fixture *fixture, uint64_t features, unsigned int queues)
{
	for (size_t i = 0; i < fixture->memory.count; i++)
		memset(fixture->memory.regions[i].host, GUEST_BYTE,
			fixture->memory.regions[i].size);
	assert_true(
		driver_negotiate(&fixture->mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | features));
	for (uint32_t i = 0; i < QUEUES; i++) {
		fixture->rings[i] = driver_ring_at(&fixture->memory, RING(i), QUEUE_SIZE);
		memset(fixture->memory.regions[0].host + RING(i), 0, DRIVER_RING_SPACE);
		if (queues & (1u << i))
			assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	}
	driver_run(&fixture->mmio);
}

#define BALLOON_FEATURES                              \
	(VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING) | \
		VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM))
#define QUEUES_OF_LINUX (1u << INFLATE | 1u << DEFLATE | 1u << REPORTING_BY_LINUX)

static int set_up(void **state)
{
	struct balloon_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	map_region(fixture, 0, 0, LOW_PAGES * PAGE);
	map_region(fixture, 1, HIGH_START, HIGH_PAGES * PAGE);
	virtio_balloon_init(&fixture->balloon, &fixture->memory);
	virtio_mmio_attach(&fixture->mmio, &fixture->balloon.device, raise_line, fixture);
	start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	*state = fixture;
	return 0;
}

static bool all_bytes_are(const uint8_t *bytes, size_t length, uint8_t value)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Nothing may ever happen to what is not RAM. */
static int tear_down(void **state)
{
	struct balloon_fixture *fixture = *state;

	for (size_t i = 0; i < 2; i++) {
		size_t size = fixture->around_size[i];

		assert_true(all_bytes_are(fixture->around[i], OUTSIDE, OUTSIDE_BYTE));
		assert_true(
			all_bytes_are(fixture->around[i] + size - OUTSIDE, OUTSIDE, OUTSIDE_BYTE));
		munmap(fixture->around[i], size);
	}
	pthread_mutex_destroy(&fixture->balloon.device.lock);
	free(fixture);
	return 0;
}

static uint8_t *page_of(struct balloon_fixture *fixture, uint64_t pfn)
{
	return guest_memory_span(&fixture->memory, pfn * PAGE, PAGE);
}

/* Of the pages that are neither ring nor buffer: these (from, count) are dropped and the others are not. */
static void assert_dropped(struct balloon_fixture *fixture, uint64_t from, uint64_t count)
{
	for (uint64_t pfn = FIRST_FREE; pfn < LOW_PAGES; pfn++)
		assert_true(all_bytes_are(page_of(fixture, pfn), PAGE,
			pfn >= from && pfn < from + count ? FILE_BYTE : GUEST_BYTE));
	for (uint64_t pfn = HIGH_START / PAGE; pfn < HIGH_START / PAGE + HIGH_PAGES; pfn++)
		assert_true(all_bytes_are(page_of(fixture, pfn), PAGE,
			pfn >= from && pfn < from + count ? FILE_BYTE : GUEST_BYTE));
}

static void offer_pfns(
	struct balloon_fixture *fixture, unsigned int queue, const uint32_t *pfns, uint32_t count)
{
	memcpy(fixture->memory.regions[0].host + PFN_BUFFER, pfns, count * sizeof(*pfns));
	driver_offer_buffer(
		&fixture->rings[queue], 0, PFN_BUFFER, count * (uint32_t)sizeof(*pfns), 0);
	driver_notify(&fixture->mmio, queue);
}

static void assert_answered(struct balloon_fixture *fixture, unsigned int queue, uint32_t expected)
{
	uint32_t id, length;

	assert_true(driver_take_used(&fixture->rings[queue], &id, &length));
	assert_int_equal(id, expected);
	assert_int_equal(length, 0);
	assert_false(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void assert_broken(struct balloon_fixture *fixture, unsigned int queue)
{
	uint32_t id, length;

	assert_false(driver_take_used(&fixture->rings[queue], &id, &length));
	assert_true(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static uint32_t read_field(struct balloon_fixture *fixture, uint64_t field)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_CONFIG + field);
}

static void inflated_pages_lose_what_the_guest_wrote(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t pfns[] = {20, 21, 22, 23};

	offer_pfns(fixture, INFLATE, pfns, 4);
	assert_answered(fixture, INFLATE, 0);
	assert_dropped(fixture, 20, 4);
	assert_int_equal(virtio_balloon_released(&fixture->balloon), 4 * PAGE);
	assert_int_equal(fixture->raised, 1);
}

/* As Linux lists them, and as nobody does. */
static void page_numbers_may_come_in_any_order(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t down[] = {27, 26, 25, 24}, mixed[] = {20, 22, 21, 23, 21};

	offer_pfns(fixture, INFLATE, down, 4);
	assert_answered(fixture, INFLATE, 0);
	assert_dropped(fixture, 24, 4);
	offer_pfns(fixture, INFLATE, mixed, 5);
	assert_answered(fixture, INFLATE, 0);
	assert_dropped(fixture, 20, 8);
}

static void pages_above_the_hole_are_given_back_too(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t first = HIGH_START / PAGE, last = first + HIGH_PAGES - 1;

	offer_pfns(fixture, INFLATE, &last, 1);
	assert_answered(fixture, INFLATE, 0);
	assert_dropped(fixture, last, 1);
	for (uint32_t pfn = first; pfn < last; pfn++) {
		offer_pfns(fixture, INFLATE, &pfn, 1);
		assert_answered(fixture, INFLATE, 0);
	}
	assert_dropped(fixture, first, HIGH_PAGES);
}

static void given_up_page_is_the_guests_again_when_it_writes(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t pfn = 30;

	offer_pfns(fixture, INFLATE, &pfn, 1);
	assert_answered(fixture, INFLATE, 0);
	offer_pfns(fixture, DEFLATE, &pfn, 1);
	assert_answered(fixture, DEFLATE, 0);
	memset(page_of(fixture, pfn), GUEST_BYTE, PAGE);
	assert_dropped(fixture, 0, 0);
}

/* The host's memory is really free: no page is left behind the mapping. */
static void inflated_anonymous_memory_is_no_longer_resident(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint8_t *low = fixture->memory.regions[0].host, *half;
	uint32_t pfns[32];
	unsigned char resident[32];

	half = mmap(low + 32 * PAGE, 32 * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_true(half == low + 32 * PAGE);
	memset(half, GUEST_BYTE, 32 * PAGE);
	for (uint32_t i = 0; i < 32; i++)
		pfns[i] = 32 + i;
	assert_int_equal(mincore(half, 32 * PAGE, resident), 0);
	for (uint32_t i = 0; i < 32; i++)
		assert_true(resident[i] & 1);
	offer_pfns(fixture, INFLATE, pfns + 8, 16);
	assert_answered(fixture, INFLATE, 0);
	assert_int_equal(mincore(half, 32 * PAGE, resident), 0);
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(resident[i] & 1, i < 8 || i >= 24);
	assert_true(all_bytes_are(half + 8 * PAGE, 16 * PAGE, 0));
}

static void page_number_outside_ram_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t bad[] = {LOW_PAGES, HIGH_START / PAGE - 1, HIGH_START / PAGE + HIGH_PAGES,
		UINT32_MAX, 0x000fffff};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		offer_pfns(fixture, INFLATE, &bad[i], 1);
		assert_broken(fixture, INFLATE);
		start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	}
	assert_int_equal(virtio_balloon_released(&fixture->balloon), 0);
}

/* A run that begins inside and ends outside: as a whole it is no span of RAM. */
static void run_that_leaves_ram_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t up[] = {LOW_PAGES - 1, LOW_PAGES};
	const uint32_t down[] = {HIGH_START / PAGE, HIGH_START / PAGE - 1};

	offer_pfns(fixture, INFLATE, up, 2);
	assert_broken(fixture, INFLATE);
	start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	offer_pfns(fixture, INFLATE, down, 2);
	assert_broken(fixture, INFLATE);
	assert_dropped(fixture, 0, 0);
}

static void request_of_half_a_page_number_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;

	driver_offer_buffer(&fixture->rings[INFLATE], 0, PFN_BUFFER, 6, 0);
	driver_notify(&fixture->mmio, INFLATE);
	assert_broken(fixture, INFLATE);
}

static void longest_request_is_served_and_a_longer_one_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint32_t pfns[VIRTIO_BALLOON_PFNS_MAX + 1];

	for (size_t i = 0; i < VIRTIO_BALLOON_PFNS_MAX + 1; i++)
		pfns[i] = 40 + (uint32_t)(i % 2);
	offer_pfns(fixture, INFLATE, pfns, VIRTIO_BALLOON_PFNS_MAX);
	assert_answered(fixture, INFLATE, 0);
	assert_dropped(fixture, 40, 2);
	offer_pfns(fixture, INFLATE, pfns, VIRTIO_BALLOON_PFNS_MAX + 1);
	assert_broken(fixture, INFLATE);
}

static void empty_request_is_answered(void **state)
{
	struct balloon_fixture *fixture = *state;

	driver_offer_buffer(&fixture->rings[INFLATE], 3, PFN_BUFFER, 0, 0);
	driver_notify(&fixture->mmio, INFLATE);
	assert_answered(fixture, INFLATE, 3);
	assert_dropped(fixture, 0, 0);
}

/* It may: the rings then are what the template had there. */
static void guest_that_gives_up_its_own_rings_harms_only_itself(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint32_t pfns[FIRST_FREE];

	for (uint32_t i = 0; i < FIRST_FREE; i++)
		pfns[i] = i;
	offer_pfns(fixture, INFLATE, pfns, FIRST_FREE);
	/* avail.idx is FILE_BYTE twice now: further ahead than the queue is long. */
	assert_true(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	offer_pfns(fixture, INFLATE, (const uint32_t[]){50}, 1);
	assert_answered(fixture, INFLATE, 0);
}

/* One chain of two blocks, as Linux makes it. */
static void offer_report(struct balloon_fixture *fixture, unsigned int queue, uint64_t first,
	uint64_t second, uint32_t length, uint16_t flags)
{
	struct driver_ring *ring = &fixture->rings[queue];

	driver_describe(ring, 0, first, length, (uint16_t)(flags | DRIVER_NEXT), 1);
	driver_describe(ring, 1, second, length, flags, 0);
	driver_offer(ring, 0);
	driver_notify(&fixture->mmio, queue);
}

static void reported_pages_lose_what_the_guest_wrote(void **state)
{
	struct balloon_fixture *fixture = *state;

	offer_report(fixture, REPORTING_BY_LINUX, 36 * PAGE, 32 * PAGE, 4 * PAGE, DRIVER_WRITE);
	assert_answered(fixture, REPORTING_BY_LINUX, 0);
	assert_dropped(fixture, 32, 8);
	assert_int_equal(virtio_balloon_released(&fixture->balloon), 8 * PAGE);
	assert_int_equal(fixture->raised, 1);
}

static void reporting_queue_may_have_the_number_of_the_specification(void **state)
{
	struct balloon_fixture *fixture = *state;

	start_driver(fixture, BALLOON_FEATURES,
		1u << INFLATE | 1u << DEFLATE | 1u << REPORTING_BY_THE_SPECIFICATION);
	offer_report(
		fixture, REPORTING_BY_THE_SPECIFICATION, 32 * PAGE, 33 * PAGE, PAGE, DRIVER_WRITE);
	assert_answered(fixture, REPORTING_BY_THE_SPECIFICATION, 0);
	assert_dropped(fixture, 32, 2);
}

static void report_of_part_of_a_page_breaks_the_device_and_drops_nothing(void **state)
{
	struct balloon_fixture *fixture = *state;

	offer_report(fixture, REPORTING_BY_LINUX, 32 * PAGE, 34 * PAGE + 512, PAGE, DRIVER_WRITE);
	assert_broken(fixture, REPORTING_BY_LINUX);
	start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	offer_report(fixture, REPORTING_BY_LINUX, 32 * PAGE, 34 * PAGE, (uint32_t)PAGE - 1,
		DRIVER_WRITE);
	assert_broken(fixture, REPORTING_BY_LINUX);
	assert_dropped(fixture, 0, 0);
}

static void report_of_pages_outside_ram_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;

	offer_report(fixture, REPORTING_BY_LINUX, 32 * PAGE, (LOW_PAGES - 1) * PAGE,
		2 * (uint32_t)PAGE, DRIVER_WRITE);
	assert_broken(fixture, REPORTING_BY_LINUX);
	assert_dropped(fixture, 0, 0);
}

static void report_with_buffers_to_read_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;

	offer_report(fixture, REPORTING_BY_LINUX, 32 * PAGE, 33 * PAGE, PAGE, 0);
	assert_broken(fixture, REPORTING_BY_LINUX);
	assert_dropped(fixture, 0, 0);
}

static void all_waiting_requests_are_answered_by_one_interrupt(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint32_t id, length;

	start_driver(
		fixture, BALLOON_FEATURES | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX), QUEUES_OF_LINUX);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		driver_offer_buffer(&fixture->rings[REPORTING_BY_LINUX], i, (32 + i) * PAGE, PAGE,
			DRIVER_WRITE);
	driver_notify(&fixture->mmio, REPORTING_BY_LINUX);
	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		assert_true(driver_take_used(&fixture->rings[REPORTING_BY_LINUX], &id, &length));
		assert_int_equal(id, i);
	}
	assert_dropped(fixture, 32, QUEUE_SIZE);
	assert_int_equal(fixture->raised, 1);
	/* A driver with the event index notifies only when it was asked to. */
	assert_int_equal(driver_available_event(&fixture->rings[REPORTING_BY_LINUX]), QUEUE_SIZE);
}

/*
 * What another CPU of the guest could do all the time: used.idx is avail.idx, and ahead of what was
 * served, so that each answer is a new request.
 */
static void driver_that_never_stops_asking_breaks_the_device(void **state)
{
	struct balloon_fixture *fixture = *state;
	struct driver_ring *ring = &fixture->rings[DEFLATE];

	assert_true(driver_negotiate(
		&fixture->mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | BALLOON_FEATURES));
	memset(ring->memory + RING(DEFLATE), 0, DRIVER_RING_SPACE);
	ring->used = ring->available;
	assert_true(driver_set_up_queue(&fixture->mmio, DEFLATE, ring));
	driver_run(&fixture->mmio);
	fixture->balloon.device.queues[DEFLATE].next_used = 4;
	driver_offer_buffer(ring, 0, PFN_BUFFER, 4, 0);
	driver_notify(&fixture->mmio, DEFLATE);
	assert_true(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(fixture->balloon.device.queues[DEFLATE].next_used, 4 + VIRTIO_CHAINS_MAX);
}

static void target_reaches_a_running_driver_by_a_configuration_interrupt(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint32_t generation = driver_read(&fixture->mmio, VIRTIO_MMIO_CONFIG_GENERATION);

	assert_int_equal(read_field(fixture, 0), 0);
	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, 0x21), 0);
	assert_int_equal(fixture->raised, 1);
	assert_int_equal(
		driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
	assert_int_not_equal(
		driver_read(&fixture->mmio, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(read_field(fixture, 0), 0x21);
	/* The same again is no news. */
	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, 0x21), 0);
	assert_int_equal(fixture->raised, 1);
}

static void target_set_before_the_driver_starts_is_there_when_it_looks(void **state)
{
	struct balloon_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, 7), 0);
	assert_int_equal(fixture->raised, 0);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS), 0);
	start_driver(fixture, BALLOON_FEATURES, QUEUES_OF_LINUX);
	assert_int_equal(read_field(fixture, 0), 7);
}

static void target_larger_than_ram_is_refused(void **state)
{
	struct balloon_fixture *fixture = *state;

	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, LOW_PAGES + HIGH_PAGES), 0);
	assert_int_equal(
		virtio_balloon_set_target(&fixture->balloon, LOW_PAGES + HIGH_PAGES + 1), -ERANGE);
	assert_int_equal(read_field(fixture, 0), LOW_PAGES + HIGH_PAGES);
}

static void driver_may_write_actual_and_nothing_else(void **state)
{
	struct balloon_fixture *fixture = *state;
	uint64_t both = 0x0102030405060708ull;

	driver_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 4, 0x12345678);
	assert_int_equal(read_field(fixture, 4), 0x12345678);
	assert_int_equal(virtio_balloon_actual(&fixture->balloon), 0x12345678);
	driver_write(&fixture->mmio, VIRTIO_MMIO_CONFIG, 0x12345678);
	assert_int_equal(read_field(fixture, 0), 0);
	virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_CONFIG, &both, sizeof(both));
	assert_int_equal(read_field(fixture, 0), 0);
	assert_int_equal(read_field(fixture, 4), 0x01020304);
	virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 7, &both, 1);
	assert_int_equal(read_field(fixture, 4), 0x08020304);
	/* Beyond the two fields there is nothing, and across their end neither. */
	driver_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 8, 1);
	virtio_mmio_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 6, &both, 4);
	assert_int_equal(read_field(fixture, 8), 0);
	assert_int_equal(read_field(fixture, 4), 0x08020304);
}

static void reset_empties_the_balloon_and_keeps_the_target(void **state)
{
	struct balloon_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 4, 3);
	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, 5), 0);
	driver_write(&fixture->mmio, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(read_field(fixture, 0), 5);
	assert_int_equal(read_field(fixture, 4), 0);
}

/* Page poisoning would be a promise about the content of pages that come back. */
static void features_offered_promise_nothing_about_content(void **state)
{
	struct balloon_fixture *fixture = *state;

	driver_write(&fixture->mmio, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_DEVICE_FEATURES) & 0xffffff,
		BALLOON_FEATURES);
	assert_int_equal(driver_read(&fixture->mmio, VIRTIO_MMIO_DEVICE_ID), 5);
}

#define STATE_TAG_TEST STATE_TAG('t', 'e', 's', 't')

static void save(struct virtio_balloon *balloon, struct state_writer *writer)
{
	struct error err;

	state_begin(writer, STATE_TAG_TEST, 1);
	assert_int_equal(balloon->device.operations->save(&balloon->device, writer, &err), 0);
	state_end(writer);
	assert_int_equal(writer->error, 0);
}

static int restore(struct virtio_balloon *balloon, const void *data, size_t length)
{
	struct state_reader reader;
	struct error err = {{0}};
	int r;

	state_reader_init(&reader, data, length);
	assert_int_equal(state_open(&reader, STATE_TAG_TEST, 1, &err), 0);
	r = balloon->device.operations->restore(&balloon->device, &reader, &err);
	if (r < 0) {
		assert_int_equal(r, -EBADMSG);
		assert_true(strlen(err.message) > 0);
		return r;
	}
	return state_close(&reader, &err);
}

static void target_and_actual_survive_parking(void **state)
{
	struct balloon_fixture *fixture = *state;
	struct state_writer writer = {0};
	struct virtio_balloon other;

	assert_int_equal(virtio_balloon_set_target(&fixture->balloon, 9), 0);
	driver_write(&fixture->mmio, VIRTIO_MMIO_CONFIG + 4, 8);
	save(&fixture->balloon, &writer);
	virtio_balloon_init(&other, &fixture->memory);
	assert_int_equal(restore(&other, writer.data, writer.length), 0);
	assert_int_equal(virtio_balloon_actual(&other), 8);
	assert_int_equal(other.target, 9);
	pthread_mutex_destroy(&other.device.lock);
	state_writer_done(&writer);
}

static void saved_state_that_cannot_be_is_refused(void **state)
{
	struct balloon_fixture *fixture = *state;
	const uint32_t targets[] = {LOW_PAGES + HIGH_PAGES + 1, UINT32_MAX};

	for (size_t i = 0; i < 2; i++) {
		struct state_writer writer = {0};

		state_begin(&writer, STATE_TAG_TEST, 1);
		state_put_u32(&writer, targets[i]);
		state_put_u32(&writer, 0);
		state_end(&writer);
		assert_int_equal(restore(&fixture->balloon, writer.data, writer.length), -EBADMSG);
		state_writer_done(&writer);
	}
	for (int length = 0; length < 2; length++) {
		struct state_writer writer = {0};

		state_begin(&writer, STATE_TAG_TEST, 1);
		for (int i = 0; i < length; i++)
			state_put_u32(&writer, 1);
		state_end(&writer);
		assert_int_equal(restore(&fixture->balloon, writer.data, writer.length), -EBADMSG);
		state_writer_done(&writer);
	}
	assert_int_equal(fixture->balloon.target, 0);
}

#define BALLOON_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BALLOON_TEST(inflated_pages_lose_what_the_guest_wrote),
		BALLOON_TEST(page_numbers_may_come_in_any_order),
		BALLOON_TEST(pages_above_the_hole_are_given_back_too),
		BALLOON_TEST(given_up_page_is_the_guests_again_when_it_writes),
		BALLOON_TEST(inflated_anonymous_memory_is_no_longer_resident),
		BALLOON_TEST(page_number_outside_ram_breaks_the_device),
		BALLOON_TEST(run_that_leaves_ram_breaks_the_device),
		BALLOON_TEST(request_of_half_a_page_number_breaks_the_device),
		BALLOON_TEST(longest_request_is_served_and_a_longer_one_breaks_the_device),
		BALLOON_TEST(empty_request_is_answered),
		BALLOON_TEST(guest_that_gives_up_its_own_rings_harms_only_itself),
		BALLOON_TEST(reported_pages_lose_what_the_guest_wrote),
		BALLOON_TEST(reporting_queue_may_have_the_number_of_the_specification),
		BALLOON_TEST(report_of_part_of_a_page_breaks_the_device_and_drops_nothing),
		BALLOON_TEST(report_of_pages_outside_ram_breaks_the_device),
		BALLOON_TEST(report_with_buffers_to_read_breaks_the_device),
		BALLOON_TEST(all_waiting_requests_are_answered_by_one_interrupt),
		BALLOON_TEST(driver_that_never_stops_asking_breaks_the_device),
		BALLOON_TEST(target_reaches_a_running_driver_by_a_configuration_interrupt),
		BALLOON_TEST(target_set_before_the_driver_starts_is_there_when_it_looks),
		BALLOON_TEST(target_larger_than_ram_is_refused),
		BALLOON_TEST(driver_may_write_actual_and_nothing_else),
		BALLOON_TEST(reset_empties_the_balloon_and_keeps_the_target),
		BALLOON_TEST(features_offered_promise_nothing_about_content),
		BALLOON_TEST(target_and_actual_survive_parking),
		BALLOON_TEST(saved_state_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
