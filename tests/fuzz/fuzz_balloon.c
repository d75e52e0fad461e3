// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_balloon.c: a guest that gives up memory as it likes, also memory that it does not have. What lies
 * around RAM must stay as it is, and a saved device must come back as it was.
 *
 * The input is a sequence of operations, each a byte that says which, and operands:
 *   0 write the configuration space    offset and width (2 bits), a byte each; value, 8 bytes
 *   1 read the configuration space     offset and width, a byte each
 *   2 write memory                     address, 2 bytes; length, a byte; the bytes
 *   3 start over: negotiate            features, a byte
 *   4 set up a queue                   index, size, place, a byte each
 *   5 set DRIVER_OK
 *   6 notify a queue                   index, a byte
 *   7 the owner sets a target          pages, 4 bytes
 *   8 save, and restore into a new device
 *   9 restore from the input           length, a byte; the bytes
 *  10 offer a descriptor               queue, index, flags, next, a byte each; address, 5 bytes; length, 4
 *  11 offer page numbers               queue, index, count, a byte each; first, 4 bytes; step, a byte
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#include "base/log.h"
#include "virtio/balloon.h"

#include <sys/mman.h>

#define PAGE           VIRTIO_BALLOON_PAGE_SIZE
#define LOW_SIZE       0x10000ull
#define HIGH_START     0x100000000ull
#define HIGH_SIZE      0x4000ull
#define OUTSIDE        ((uint64_t)PAGE)
#define OUTSIDE_BYTE   0x6f
#define ALL_SIZE       (LOW_SIZE + HIGH_SIZE + 3 * OUTSIDE)
#define OPERATIONS_MAX 256
#define STATE_TAG_FUZZ STATE_TAG('f', 'u', 'z', 'z')

struct guest {
	uint8_t *all; /* outside, low RAM, outside, high RAM, outside */
	struct guest_memory memory;
	struct virtio_balloon balloon;
	struct virtio_mmio mmio;
	struct driver_ring rings[VIRTIO_QUEUES_MAX];
};

static void raise_line(void *context)
{
	(void)context;
}

static void guest_create(struct guest *guest)
{
	uint8_t *all =
		mmap(NULL, ALL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *low = all + OUTSIDE, *high = low + LOW_SIZE + OUTSIDE;

	if (all == MAP_FAILED)
		abort();
	memset(all, OUTSIDE_BYTE, OUTSIDE);
	memset(low + LOW_SIZE, OUTSIDE_BYTE, OUTSIDE);
	memset(high + HIGH_SIZE, OUTSIDE_BYTE, OUTSIDE);
	guest->all = all;
	guest->memory = (struct guest_memory){
		.regions = {{0, LOW_SIZE, low}, {HIGH_START, HIGH_SIZE, high}},
		.count = 2,
	};
	virtio_balloon_init(&guest->balloon, &guest->memory);
	virtio_mmio_attach(&guest->mmio, &guest->balloon.device, raise_line, NULL);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		guest->rings[i] = driver_ring_at(&guest->memory, 0, 8);
}

static void check_outside(const uint8_t *bytes)
{
	for (size_t i = 0; i < OUTSIDE; i++)
		check(bytes[i] == OUTSIDE_BYTE);
}

static void guest_free(struct guest *guest)
{
	check_outside(guest->all);
	check_outside(guest->all + OUTSIDE + LOW_SIZE);
	check_outside(guest->all + 2 * OUTSIDE + LOW_SIZE + HIGH_SIZE);
	pthread_mutex_destroy(&guest->balloon.device.lock);
	munmap(guest->all, ALL_SIZE);
}

static void access_configuration(struct virtio_mmio *mmio, struct input *input, bool write)
{
	uint64_t offset = VIRTIO_MMIO_CONFIG + take(input, 1);
	size_t width = 1u << (take(input, 1) & 3);
	uint64_t value = write ? take(input, 8) : UINT64_MAX;

	if (write)
		virtio_mmio_write(mmio, offset, &value, width);
	else
		virtio_mmio_read(mmio, offset, &value, width);
}

static void set_up_queue(struct guest *guest, struct input *input)
{
	unsigned int index = take(input, 1) % VIRTIO_QUEUES_MAX;
	uint16_t size = (uint16_t)(1u << take(input, 1) % 9);
	uint64_t base = take(input, 1) % (LOW_SIZE / DRIVER_RING_SPACE) * DRIVER_RING_SPACE;

	guest->rings[index] = driver_ring_at(&guest->memory, base, size);
	driver_set_up_queue(&guest->mmio, index, &guest->rings[index]);
}

static void offer_descriptor(struct guest *guest, struct input *input)
{
	struct driver_ring *ring = &guest->rings[take(input, 1) % VIRTIO_QUEUES_MAX];
	uint16_t index = (uint16_t)(take(input, 1) % ring->size), flags = (uint16_t)take(input, 1);
	uint16_t next = (uint16_t)take(input, 1);
	uint64_t address = take(input, 5);
	uint32_t length = (uint32_t)take(input, 4);

	driver_describe(ring, index, address, length, flags, next);
	if (!(flags & 0x80)) /* else: one that another may name as its next */
		driver_offer(ring, index);
}

/* At the end of low RAM, where no ring lies unless the input put one there. */
static void offer_pfns(struct guest *guest, struct input *input)
{
	struct driver_ring *ring = &guest->rings[take(input, 1) % VIRTIO_QUEUES_MAX];
	uint16_t index = (uint16_t)(take(input, 1) % ring->size);
	uint32_t count = (uint32_t)take(input, 1), pfn = (uint32_t)take(input, 4);
	int8_t step = (int8_t)take(input, 1);
	uint64_t buffer = LOW_SIZE - 0x400;

	for (uint32_t i = 0; i < count; i++, pfn += (uint32_t)step)
		guest_memory_write(&guest->memory, buffer + 4ull * i, &pfn, sizeof(pfn));
	driver_offer_buffer(ring, index, buffer, 4 * count, 0);
}

static int restore(
	struct virtio_balloon *balloon, const uint8_t *data, size_t length, struct error *err)
{
	struct state_reader reader;
	int r;

	state_reader_init(&reader, data, length);
	r = state_open(&reader, STATE_TAG_FUZZ, 1, err);
	if (r == 0)
		r = balloon->device.operations->restore(&balloon->device, &reader, err);
	return r < 0 ? r : state_close(&reader, err);
}

static void save_and_restore(struct guest *guest)
{
	struct state_writer writer = {0};
	struct virtio_balloon other;
	struct error err;

	state_begin(&writer, STATE_TAG_FUZZ, 1);
	check(guest->balloon.device.operations->save(&guest->balloon.device, &writer, &err) == 0);
	state_end(&writer);
	check(writer.error == 0);
	virtio_balloon_init(&other, &guest->memory);
	check(restore(&other, writer.data, writer.length, &err) == 0);
	check(other.target == guest->balloon.target && other.actual == guest->balloon.actual);
	pthread_mutex_destroy(&other.device.lock);
	state_writer_done(&writer);
}

static void restore_from_input(struct guest *guest, struct input *input)
{
	struct state_writer writer = {0};
	struct virtio_balloon other;
	const uint8_t *bytes;
	size_t length = take_bytes(input, &bytes);
	struct error err;
	int r;

	state_begin(&writer, STATE_TAG_FUZZ, 1);
	state_put(&writer, bytes, length);
	state_end(&writer);
	virtio_balloon_init(&other, &guest->memory);
	r = restore(&other, writer.data, writer.length, &err);
	check((length == 8 || r == -EBADMSG) && (r == 0 || err.message[0]));
	check(other.target <= (LOW_SIZE + HIGH_SIZE) / PAGE);
	pthread_mutex_destroy(&other.device.lock);
	state_writer_done(&writer);
}

static void operate(struct guest *guest, struct input *input)
{
	const uint8_t *bytes;
	uint64_t address;
	size_t length;

	switch (take(input, 1)) {
	case 0:
		access_configuration(&guest->mmio, input, true);
		break;
	case 1:
		access_configuration(&guest->mmio, input, false);
		break;
	case 2:
		address = take(input, 2);
		length = take_bytes(input, &bytes);
		guest_memory_write(&guest->memory, address, bytes, length);
		break;
	case 3:
		driver_negotiate(&guest->mmio,
			take(input, 1) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
				VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC));
		break;
	case 4:
		set_up_queue(guest, input);
		break;
	case 5:
		driver_run(&guest->mmio);
		break;
	case 6:
		driver_notify(&guest->mmio, (uint32_t)take(input, 1));
		break;
	case 7:
		virtio_balloon_set_target(&guest->balloon, (uint32_t)take(input, 4));
		break;
	case 8:
		save_and_restore(guest);
		break;
	case 9:
		restore_from_input(guest, input);
		break;
	case 10:
		offer_descriptor(guest, input);
		break;
	case 11:
		offer_pfns(guest, input);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.next = data, .end = data + size};
	struct guest guest;

	log_set_level(LOG_LEVEL_ERROR);
	guest_create(&guest);
	for (int i = 0; i < OPERATIONS_MAX && input.next < input.end; i++) {
		const struct virtio_device *device = &guest.balloon.device;

		operate(&guest, &input);
		check(virtio_balloon_released(&guest.balloon) % PAGE == 0);
		check(!device->running || !(guest.mmio.status & VIRTIO_CONFIG_S_NEEDS_RESET));
	}
	guest_free(&guest);
	return 0;
}
