// SPDX-License-Identifier: Apache-2.0
/* driver.c: rings, chains and FUSE requests of a hostile guest. */
#include "tests/hostile/driver.h"

/* Bytes of scratch memory for the rings of one queue: descriptors, then the other two. */
#define RING_PLACE     0x2000ull
#define RING_AVAILABLE 0x1000ull
#define RING_USED      0x1400ull

/* Where a FUSE request and its reply are. */
#define FUSE_IN   DATA
#define FUSE_OUT  (DATA + 0x20000)
#define FUSE_ROOM 0x10000u

/* Seconds for what other threads and the host's programs do: they may have to wait for a CPU. */
#define PATIENCE 30u
/* How often to look before the clock is asked. */
#define TURNS 4096u

static struct ring rings[GUEST_SLOTS][QUEUES_MAX];
static uint64_t fuse_unique;
static unsigned int fuse_slot;

_Alignas(8) uint8_t fuse_reply[4096];
size_t fuse_reply_length;

size_t text_length(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

uint32_t device_register(unsigned int slot, uint64_t offset)
{
	return (uint32_t)guest_register_read(slot, offset, 4);
}

void device_set(unsigned int slot, uint64_t offset, uint32_t value)
{
	guest_register_write(slot, offset, 4, value);
}

uint32_t device_id(unsigned int slot)
{
	if (device_register(slot, VIRTIO_MMIO_MAGIC_VALUE) != 0x74726976)
		return 0;
	return device_register(slot, VIRTIO_MMIO_DEVICE_ID);
}

unsigned int device_queues(unsigned int slot)
{
	static uint8_t counts[GUEST_SLOTS]; /* asking again takes an emulated guest its time */
	unsigned int count = 0;

	while (counts[slot] == 0 && count < QUEUES_MAX) {
		device_set(slot, VIRTIO_MMIO_QUEUE_SEL, count);
		if (device_register(slot, VIRTIO_MMIO_QUEUE_NUM_MAX) == 0)
			break;
		count++;
	}
	if (counts[slot] == 0)
		counts[slot] = (uint8_t)count;
	return counts[slot];
}

unsigned int device_find(uint32_t id)
{
	unsigned int slot = 0;

	while (slot < GUEST_SLOTS && device_id(slot) != id)
		slot++;
	expect(slot < GUEST_SLOTS, "the machine lacks a device", id);
	return slot;
}

void device_reset(unsigned int slot)
{
	device_set(slot, VIRTIO_MMIO_STATUS, 0);
}

bool device_negotiate(unsigned int slot, uint64_t features)
{
	device_reset(slot);
	device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ACKNOWLEDGE);
	device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		device_set(slot, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
	}
	device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES);
	return device_register(slot, VIRTIO_MMIO_STATUS) & STATUS_FEATURES;
}

static void start_queue(unsigned int slot, unsigned int queue, uint16_t size)
{
	rings[slot][queue] = ring_place(slot, queue, size);
	expect(queue_set_up(&rings[slot][queue]), "a good queue is refused", queue);
}

void device_start(unsigned int slot, uint64_t features)
{
	unsigned int count = device_queues(slot);

	expect(device_negotiate(slot, features | FEATURE_VERSION_1), "features are refused", slot);
	for (unsigned int i = 0; i < count; i++)
		start_queue(slot, i, RING_SIZE);
	device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
}

void device_start_queue(unsigned int slot, unsigned int queue, uint64_t features, uint16_t size)
{
	expect(device_negotiate(slot, features | FEATURE_VERSION_1), "features are refused", slot);
	start_queue(slot, queue, size);
	device_set(slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
}

bool device_is_broken(unsigned int slot)
{
	return device_register(slot, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET;
}

bool queue_is_served(unsigned int slot, unsigned int queue)
{
	switch (device_id(slot)) {
	case ID_CONSOLE: /* the control messages wait for something to say */
		return queue > CONSOLE_CONTROL_RECEIVE;
	case ID_VSOCK: /* what is received waits for something to say, too */
		return queue == VSOCK_TRANSMIT;
	case ID_NET:
		return queue == NET_TRANSMIT;
	case ID_FS:
	case ID_RNG:
	case ID_BALLOON:
		return true;
	default:
		return false;
	}
}

bool queue_set_up(const struct ring *ring)
{
	unsigned int slot = ring->slot;

	device_set(slot, VIRTIO_MMIO_QUEUE_SEL, ring->queue);
	device_set(slot, VIRTIO_MMIO_QUEUE_NUM, ring->size);
	device_set(slot, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring->descriptors);
	device_set(slot, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(ring->descriptors >> 32));
	device_set(slot, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring->available);
	device_set(slot, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(ring->available >> 32));
	device_set(slot, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring->used);
	device_set(slot, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(ring->used >> 32));
	device_set(slot, VIRTIO_MMIO_QUEUE_READY, 1);
	return device_register(slot, VIRTIO_MMIO_QUEUE_READY) == 1;
}

static void clear(uint64_t address, size_t length)
{
	static const uint64_t zero;

	for (size_t i = 0; i < length; i += sizeof(zero))
		guest_store(address + i, &zero, sizeof(zero));
}

struct ring ring_place(unsigned int slot, unsigned int queue, uint16_t size)
{
	uint64_t base = GUEST_SCRATCH + (slot * QUEUES_MAX + queue) * RING_PLACE;
	struct ring ring = {
		.slot = slot,
		.queue = queue,
		.size = size,
		.descriptors = base,
		.available = base + RING_AVAILABLE,
		.used = base + RING_USED,
	};

	clear(ring.available, 8);
	clear(ring.used, 8);
	return ring;
}

struct ring *ring_of(unsigned int slot, unsigned int queue)
{
	return &rings[slot][queue];
}

void table_set(uint64_t table, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
	uint16_t next)
{
	struct descriptor descriptor = {address, length, flags, next};

	guest_store(table + 16ull * index, &descriptor, sizeof(descriptor));
}

void ring_describe(const struct ring *ring, uint16_t index, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next)
{
	table_set(ring->descriptors, index, address, length, flags, next);
}

void ring_show(struct ring *ring, uint16_t index)
{
	ring->next_available = index;
	guest_store(ring->available + 2, &index, sizeof(index));
}

void ring_offer(struct ring *ring, uint16_t head)
{
	guest_store(ring->available + 4 + 2ull * (ring->next_available % ring->size), &head,
		sizeof(head));
	ring_show(ring, (uint16_t)(ring->next_available + 1));
}

void ring_notify(const struct ring *ring)
{
	device_set(ring->slot, VIRTIO_MMIO_QUEUE_NOTIFY, ring->queue);
}

uint16_t ring_used(const struct ring *ring)
{
	uint16_t index;

	guest_load(ring->used + 2, &index, sizeof(index));
	return index;
}

/* Until the number of served chains is count, or is not; whether it came to that. */
static bool wait_until(const struct ring *ring, uint16_t count, bool equal)
{
	uint64_t begin = 0;

	for (unsigned int i = 1;; i++) {
		if ((ring_used(ring) == count) == equal)
			return true;
		if (i % 64 == 0 && device_is_broken(ring->slot))
			return false;
		if (!guest_pause())
			break;
		if (i == TURNS)
			begin = guest_seconds();
		if (i % TURNS == 0 && guest_seconds() - begin > PATIENCE)
			break;
	}
	return (ring_used(ring) == count) == equal;
}

bool ring_wait(const struct ring *ring, uint16_t count)
{
	return wait_until(ring, count, true);
}

bool ring_wait_more(const struct ring *ring, uint16_t count)
{
	return wait_until(ring, count, false);
}

void expect(bool condition, const char *what, uint64_t value)
{
	if (!condition)
		guest_fail(what, value);
}

void expect_broken(unsigned int slot, const char *what, uint64_t value)
{
	expect(device_is_broken(slot), what, value);
}

void expect_running(unsigned int slot, const char *what, uint64_t value)
{
	expect(device_register(slot, VIRTIO_MMIO_STATUS) == STATUS_ALL, what, value);
}

void expect_alive(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);
	uint64_t bytes[4] = {0};

	for (unsigned int i = 0; i < GUEST_SLOTS; i++)
		if (device_id(i))
			device_reset(i);
	device_start_queue(slot, 0, 0, RING_SIZE);
	guest_store(DATA, bytes, sizeof(bytes));
	ring_describe(ring, 0, DATA, sizeof(bytes), WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	guest_load(DATA, bytes, sizeof(bytes));
	expect(ring_used(ring) == 1 && bytes[0] | bytes[1] | bytes[2] | bytes[3],
		"the entropy device is dead", ring_used(ring));
	expect(fuse_begin(), "the file server is dead", 0);
	expect(fuse_walk("volumes") != 0, "the file server finds nothing", 0);
	device_reset(fuse_slot);
	device_reset(slot);
}

/* ---- FUSE */

/* The request's arguments are in memory, behind where its header goes. */
static int fuse_send(const struct fuse_in_header *header, size_t length, uint32_t room)
{
	struct ring *ring = ring_of(fuse_slot, FS_REQUESTS);
	struct fuse_out_header out = {0};
	uint16_t before = ring->next_available;

	guest_store(FUSE_IN, header, sizeof(*header));
	guest_store(FUSE_OUT, &out, sizeof(out));
	ring_describe(ring, 0, FUSE_IN, (uint32_t)length, room ? NEXT : 0, 1);
	ring_describe(ring, 1, FUSE_OUT, room, WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	fuse_reply_length = 0;
	if (!ring_wait(ring, (uint16_t)(before + 1))) {
		expect(device_is_broken(fuse_slot), "a request was forgotten", header->opcode);
		return FUSE_BROKEN;
	}
	guest_load(FUSE_OUT, &out, sizeof(out));
	if (out.len == 0)
		return FUSE_NO_REPLY;
	expect(out.len >= sizeof(out) && out.len <= room, "a reply has a bad length", out.len);
	expect(out.unique == header->unique, "a reply is for another request", out.unique);
	expect(out.error <= 0 && out.error > -512, "a reply has a bad error", (uint64_t)out.error);
	if (out.len > sizeof(out) && out.len <= room) {
		fuse_reply_length = out.len - sizeof(out);
		if (fuse_reply_length > sizeof(fuse_reply))
			fuse_reply_length = sizeof(fuse_reply);
		guest_load(FUSE_OUT + sizeof(out), fuse_reply, fuse_reply_length);
	}
	return out.error;
}

int fuse_call_raw(
	const struct fuse_in_header *header, const void *arguments, size_t length, uint32_t room)
{
	if (length)
		guest_store(FUSE_IN + sizeof(*header), arguments, length);
	return fuse_send(header, sizeof(*header) + length, room);
}

int fuse_call(uint32_t opcode, uint64_t node, const void *a, size_t a_length, const void *b,
	size_t b_length)
{
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + a_length + b_length),
		.opcode = opcode,
		.unique = ++fuse_unique,
		.nodeid = node,
	};

	if (a_length)
		guest_store(FUSE_IN + sizeof(header), a, a_length);
	if (b_length)
		guest_store(FUSE_IN + sizeof(header) + a_length, b, b_length);
	return fuse_send(&header, header.len, FUSE_ROOM);
}

int fuse_call_name(
	uint32_t opcode, uint64_t node, const void *arguments, size_t length, const char *name)
{
	return fuse_call(opcode, node, arguments, length, name, text_length(name) + 1);
}

bool fuse_begin_without_session(void)
{
	fuse_slot = device_find(ID_FS);
	if (fuse_slot == GUEST_SLOTS)
		return false;
	device_start_queue(fuse_slot, FS_REQUESTS, 0, RING_SIZE);
	return true;
}

bool fuse_begin(void)
{
	const struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 131072,
		.flags = FUSE_SUBMOUNTS | FUSE_MAX_PAGES | FUSE_MAP_ALIGNMENT,
	};

	return fuse_begin_without_session() &&
		fuse_call(FUSE_INIT, 0, &in, sizeof(in), NULL, 0) == 0;
}

uint64_t fuse_walk(const char *path)
{
	uint64_t node = FUSE_ROOT_ID;

	while (*path) {
		const struct fuse_entry_out *entry = (const void *)fuse_reply;
		size_t length = 0;
		char name[256];

		while (path[length] && path[length] != '/' && length < sizeof(name) - 1) {
			name[length] = path[length];
			length++;
		}
		name[length] = '\0';
		path += path[length] ? length + 1 : length;
		if (fuse_call_name(FUSE_LOOKUP, node, NULL, 0, name) != 0 ||
			fuse_reply_length < sizeof(*entry))
			return 0;
		node = entry->nodeid;
		if (node == 0)
			return 0;
	}
	return node;
}

int fuse_open(uint32_t opcode, uint64_t node, uint32_t flags, uint64_t *ret_handle)
{
	const struct fuse_open_in in = {.flags = flags};
	int r = fuse_call(opcode, node, &in, sizeof(in), NULL, 0);

	*ret_handle = r == 0 ? ((const struct fuse_open_out *)(const void *)fuse_reply)->fh : 0;
	return r;
}
