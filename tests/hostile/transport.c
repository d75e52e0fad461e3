// SPDX-License-Identifier: Apache-2.0
/* transport.c: groups 1 and 2, registers of the virtio-mmio transport. */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

#define FOR_EACH_DEVICE(slot)                                   \
	for (unsigned int slot = 0; slot < GUEST_SLOTS; slot++) \
		if (device_id(slot) != 0)

#define REGISTERS_END 0x100u
#define CONFIG        0x100u
#define DEVICE_SIZE   0x1000u

static void expect_refused(const struct ring *ring, const char *what, uint64_t value)
{
	device_negotiate(ring->slot, FEATURE_VERSION_1);
	expect(!queue_set_up(ring), what, value);
	/* The device runs without it, and a notification finds nothing. */
	device_set(ring->slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
	ring_notify(ring);
	expect(!device_is_broken(ring->slot), "a queue that is not ready is served", value);
	device_reset(ring->slot);
}

void case_queue_size_bad(void)
{
	static const uint32_t sizes[] = {
		0, 3, 7, 255, 257, 512, 0x8000, 0xffff, 0x10000, 0x10008, 0x80000000, 0xffffffff};

	FOR_EACH_DEVICE(slot)
	{
		for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
			const struct ring ring = ring_place(slot, 0, RING_SIZE);

			device_negotiate(slot, FEATURE_VERSION_1);
			expect(queue_set_up(&ring), "a good queue is refused", slot);
			device_negotiate(slot, FEATURE_VERSION_1);
			device_set(slot, VIRTIO_MMIO_QUEUE_SEL, 0);
			device_set(slot, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring.descriptors);
			device_set(slot, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring.available);
			device_set(slot, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring.used);
			device_set(slot, VIRTIO_MMIO_QUEUE_NUM, sizes[i]);
			device_set(slot, VIRTIO_MMIO_QUEUE_READY, 1);
			expect(device_register(slot, VIRTIO_MMIO_QUEUE_READY) == 0,
				"a queue of a bad size is ready", sizes[i]);
		}
	}
}

void case_queue_unaligned(void)
{
	FOR_EACH_DEVICE(slot)
	{
		struct ring ring = ring_place(slot, 0, RING_SIZE);

		ring.descriptors += 8;
		expect_refused(&ring, "misplaced descriptors", slot);
		ring = ring_place(slot, 0, RING_SIZE);
		ring.available += 1;
		expect_refused(&ring, "a misplaced available ring", slot);
		ring = ring_place(slot, 0, RING_SIZE);
		ring.used += 2;
		expect_refused(&ring, "a misplaced used ring", slot);
	}
}

void case_queue_outside_memory(void)
{
	const uint64_t places[] = {
		guest_memory_end(),
		guest_memory_end() - 16, /* the beginning is inside */
		0xc0000000,              /* the hole */
		GUEST_DEVICES,
		GUEST_DEVICES - 0x1000, /* the generation: memory, but not RAM */
		0xfee00000,
		0xfffffff0,
		1ull << 40,
		1ull << 52,
		1ull << 63,
		0xfffffffffffffff0ull,
	};

	FOR_EACH_DEVICE(slot)
	{
		for (unsigned int i = 0; i < ARRAY_COUNT(places); i++) {
			struct ring ring = ring_place(slot, 0, RING_SIZE);

			ring.descriptors = places[i];
			expect_refused(&ring, "descriptors outside of RAM", places[i]);
			ring = ring_place(slot, 0, RING_SIZE);
			ring.available = places[i];
			expect_refused(&ring, "an available ring outside of RAM", places[i]);
			ring = ring_place(slot, 0, RING_SIZE);
			ring.used = places[i];
			expect_refused(&ring, "a used ring outside of RAM", places[i]);
		}
	}
}

/* What comes of it depends on what the device writes; it must be able to begin anew. */
static void serve_anything(struct ring *ring)
{
	device_negotiate(ring->slot, FEATURE_VERSION_1 | FEATURE_INDIRECT | FEATURE_EVENT_INDEX);
	expect(queue_set_up(ring), "a queue in RAM is refused", ring->descriptors);
	device_set(ring->slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
	ring_offer(ring, 0);
	ring_notify(ring);
	ring_notify(ring);
	device_reset(ring->slot);
	expect(device_register(ring->slot, VIRTIO_MMIO_STATUS) == 0, "no reset", ring->slot);
}

void case_queue_rings_overlap(void)
{
	static const uint8_t zeros[0x1000];

	FOR_EACH_DEVICE(slot)
	{
		unsigned int count = device_queues(slot);

		for (unsigned int queue = 0; queue < count; queue++) {
			struct ring ring = ring_place(slot, queue, RING_SIZE);

			/* Of zeros: what a balloon gets otherwise may be the guest's own code. */
			guest_store(DATA, zeros, sizeof(zeros));
			ring.descriptors = ring.available = ring.used = DATA;
			serve_anything(&ring);
			ring.available = ring.descriptors + 16;
			ring.used = ring.available + 4;
			serve_anything(&ring);
			ring.size = 256;
			ring.used = ring.descriptors;
			serve_anything(&ring);
		}
	}
}

void case_queue_at_zero(void)
{
	FOR_EACH_DEVICE(slot)
	{
		device_negotiate(slot, FEATURE_VERSION_1);
		device_set(slot, VIRTIO_MMIO_QUEUE_SEL, 0);
		device_set(slot, VIRTIO_MMIO_QUEUE_NUM, RING_SIZE);
		device_set(slot, VIRTIO_MMIO_QUEUE_READY, 1);
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
		device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		device_reset(slot);
		expect(device_register(slot, VIRTIO_MMIO_QUEUE_READY) == 0, "ready after a reset",
			slot);
	}
}

/* ---- group 2 */

void case_registers_late(void)
{
	static const uint32_t offsets[] = {VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_DRIVER_FEATURES};
	static const uint32_t values[] = {0, 1, 0x8000, 0x7ffffff0, 0xffffffff};
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring;

	if (slot == GUEST_SLOTS)
		return;
	device_start(slot, 0);
	ring = ring_of(slot, 0);
	for (unsigned int i = 0; i < ARRAY_COUNT(offsets); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(values); j++) {
			device_set(slot, VIRTIO_MMIO_QUEUE_SEL, 0);
			device_set(slot, offsets[i], values[j]);
			ring_describe(ring, 0, DATA, 8, WRITE, 0);
			ring_offer(ring, 0);
			ring_notify(ring);
			expect(ring_used(ring) == ring->next_available,
				"a register that was written late took a queue away", offsets[i]);
		}
	}
	expect_running(slot, "registers written late broke the device", slot);
}

void case_registers_early(void)
{
	FOR_EACH_DEVICE(slot)
	{
		const struct ring ring = ring_place(slot, 0, RING_SIZE);

		device_reset(slot);
		expect(!queue_set_up(&ring), "a queue before ACKNOWLEDGE", slot);
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
		expect(!queue_set_up(&ring), "a queue before FEATURES_OK", slot);
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
		device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		expect(!device_is_broken(slot), "a notification without queues", slot);
	}
}

void case_status_order(void)
{
	FOR_EACH_DEVICE(slot)
	{
		uint32_t status;

		device_reset(slot);
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_RUNNING);
		expect(!(device_register(slot, VIRTIO_MMIO_STATUS) & STATUS_RUNNING),
			"DRIVER_OK without FEATURES_OK", slot);
		device_start(slot, 0);
		for (uint32_t bit = 1; bit < STATUS_ALL; bit <<= 1) {
			device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL & ~bit);
			expect_running(slot, "a status bit was cleared without a reset", bit);
		}
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
		expect_running(slot, "DRIVER_OK twice", slot);
		/* The bits that are the device's, and those that do not exist. */
		device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL | STATUS_NEEDS_RESET);
		expect_running(slot, "DEVICE_NEEDS_RESET from the driver", slot);
		device_set(slot, VIRTIO_MMIO_STATUS, 0xffffffff);
		status = device_register(slot, VIRTIO_MMIO_STATUS);
		expect(status <= 0xff && !(status & STATUS_NEEDS_RESET), "status", status);
		device_reset(slot);
		expect(device_register(slot, VIRTIO_MMIO_STATUS) == 0, "no reset", slot);
	}
}

void case_features_refused(void)
{
	FOR_EACH_DEVICE(slot)
	{
		expect(!device_negotiate(slot, 0), "no VERSION_1", slot);
		for (unsigned int bit = 0; bit < 64; bit++) {
			uint32_t offered;

			device_set(slot, VIRTIO_MMIO_DEVICE_FEATURES_SEL, bit / 32);
			offered = device_register(slot, VIRTIO_MMIO_DEVICE_FEATURES);
			if (!(offered >> bit % 32 & 1))
				expect(!device_negotiate(slot, FEATURE_VERSION_1 | 1ull << bit),
					"a feature that was not offered", bit);
		}
		for (uint32_t half = 2; half != 0; half <<= 3) {
			device_reset(slot);
			device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
			device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
			device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES, 1);
			device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
			device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES, 0x80000000);
			device_set(slot, VIRTIO_MMIO_STATUS,
				STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES);
			expect(!(device_register(slot, VIRTIO_MMIO_STATUS) & STATUS_FEATURES),
				"features of a word that is not there", half);
		}
	}
}

void case_queue_select_bad(void)
{
	static const uint32_t queues[] = {QUEUES_MAX, 9, 64, 255, 256, 0x7fff, 0xffff, 0x10000,
		0x7fffffff, 0x80000000, 0xffffffff};

	FOR_EACH_DEVICE(slot)
	{
		device_negotiate(slot, FEATURE_VERSION_1);
		for (unsigned int i = 0; i < ARRAY_COUNT(queues); i++) {
			struct ring ring = ring_place(slot, 0, RING_SIZE);

			ring.queue = queues[i];
			expect(!queue_set_up(&ring), "a queue that is not there", queues[i]);
			expect(device_register(slot, VIRTIO_MMIO_QUEUE_NUM_MAX) == 0,
				"a queue that is not there has a size", queues[i]);
			device_set(slot, VIRTIO_MMIO_SHM_SEL, queues[i]);
			expect(device_register(slot, VIRTIO_MMIO_SHM_LEN_LOW) == UINT32_MAX,
				"a region that is not there has a length", queues[i]);
			expect(device_register(slot, VIRTIO_MMIO_SHM_BASE_HIGH) == UINT32_MAX,
				"a region that is not there has a base", queues[i]);
		}
	}
}

void case_notify_bad(void)
{
	static const uint32_t queues[] = {
		QUEUES_MAX, 9, 255, 256, 0xffff, 0x10000, 0x10001, 0x80000000, 0xffffffff};

	FOR_EACH_DEVICE(slot)
	{
		device_reset(slot);
		for (uint32_t queue = 0; queue < QUEUES_MAX; queue++)
			device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
		device_negotiate(slot, FEATURE_VERSION_1);
		for (uint32_t queue = 0; queue < QUEUES_MAX; queue++)
			device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
		device_start(slot, 0);
		for (unsigned int i = 0; i < ARRAY_COUNT(queues); i++)
			device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, queues[i]);
		expect_running(slot, "a notification of no queue", slot);
	}
}

void case_register_widths(void)
{
	static const unsigned int widths[] = {1, 2, 8};

	FOR_EACH_DEVICE(slot)
	{
		device_start(slot, 0);
		for (unsigned int i = 0; i < ARRAY_COUNT(widths); i++) {
			for (uint64_t offset = 0; offset < REGISTERS_END; offset += widths[i]) {
				guest_register_write(slot, offset, widths[i], 0);
				expect(guest_register_read(slot, offset, widths[i]) == 0,
					"a register of an odd width", offset);
			}
		}
		for (uint64_t offset = 1; offset < REGISTERS_END - 4; offset += 2) {
			guest_register_write(slot, offset, 4, 0);
			expect(guest_register_read(slot, offset, 4) == 0, "between registers",
				offset);
		}
		expect_running(slot, "an odd access changed the device", slot);
	}
}

void case_config_space(void)
{
	static const uint64_t offsets[] = {CONFIG, CONFIG + 1, CONFIG + 30, CONFIG + 33,
		CONFIG + 35, CONFIG + 36, CONFIG + 39, CONFIG + 40, CONFIG + 63, 0x200, 0x7fe,
		DEVICE_SIZE - 8};
	uint32_t generation;

	FOR_EACH_DEVICE(slot)
	{
		device_start(slot, 0);
		for (unsigned int i = 0; i < ARRAY_COUNT(offsets); i++) {
			for (unsigned int width = 1; width <= 8; width *= 2) {
				guest_register_read(slot, offsets[i], width);
				guest_register_write(slot, offsets[i], width, UINT64_MAX);
				guest_register_read(slot, offsets[i], width);
			}
		}
		expect(guest_register_read(slot, DEVICE_SIZE - 8, 8) == 0,
			"something past the configuration space", slot);
		generation = device_register(slot, VIRTIO_MMIO_CONFIG_GENERATION);
		expect(device_register(slot, VIRTIO_MMIO_CONFIG_GENERATION) == generation,
			"the generation changes by itself", slot);
		expect_running(slot, "configuration space broke the device", slot);
	}
}

/* A small generator; the same numbers each time. */
static uint32_t noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 7 ^ *state << 11;
}

void case_register_noise(void)
{
	uint32_t state = 1;

	FOR_EACH_DEVICE(slot)
	{
		for (unsigned int i = 0; i < 400; i++) {
			uint32_t kind = noise(&state), value = noise(&state);

			/* Small numbers mean more to registers than large ones. */
			if (kind & 1)
				value &= 0xf;
			if (kind & 2)
				value += GUEST_SCRATCH;
			if (kind & 0x30)
				device_set(slot, (kind >> 8) % REGISTERS_END & ~3u, value);
			else
				guest_register_read(slot, (kind >> 8) % (DEVICE_SIZE - 8), 4);
		}
		device_reset(slot);
		expect(device_register(slot, VIRTIO_MMIO_STATUS) == 0, "no reset", slot);
	}
}

/* Reads of a file that is there go through the host's queue when there are several. */
void case_reset_in_flight(void)
{
	unsigned int slot = device_find(ID_FS);

	for (unsigned int turn = 0; turn < 8 && fuse_begin(); turn++) {
		uint64_t node = fuse_walk("volumes/rw/file"), handle;
		struct ring *ring = ring_of(slot, FS_REQUESTS);

		if (fuse_open(FUSE_OPEN, node, 2, &handle) != 0)
			handle = 0;
		for (uint16_t i = 0; i < RING_SIZE / 2; i++) {
			const struct {
				struct fuse_in_header header;
				struct fuse_read_in read;
			} in = {
				.header = {.len = sizeof(in), .opcode = FUSE_READ, .nodeid = node},
				.read = {.fh = handle, .size = 4096},
			};
			uint64_t at = DATA + 0x40000 + i * 0x4000ull;

			guest_store(at, &in, sizeof(in));
			ring_describe(ring, (uint16_t)(2 * i), at, sizeof(in), NEXT,
				(uint16_t)(2 * i + 1));
			ring_describe(ring, (uint16_t)(2 * i + 1), at + 0x1000, 0x2000, WRITE, 0);
			ring_offer(ring, (uint16_t)(2 * i));
		}
		ring_notify(ring);
		device_reset(slot);
		expect(device_register(slot, VIRTIO_MMIO_STATUS) == 0, "no reset", slot);
	}
}

void case_reset_storm(void)
{
	for (unsigned int turn = 0; turn < 20; turn++)
		FOR_EACH_DEVICE(slot)
		{
			device_start(slot, turn & 1 ? FEATURE_EVENT_INDEX : 0);
			for (uint32_t queue = 0; queue < QUEUES_MAX; queue++)
				device_set(slot, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
			device_reset(slot);
		}
}
