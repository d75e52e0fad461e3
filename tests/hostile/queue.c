// SPDX-License-Identifier: Apache-2.0
/* queue.c: groups 3 to 6, what stands in the rings. */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

/* Every queue that a device serves, in a device that was just started. */
#define FOR_EACH_QUEUE(slot, queue)                                                        \
	for (unsigned int slot = 0; slot < GUEST_SLOTS; slot++)                            \
		for (unsigned int queue = 0, count_ = queues_served(slot); queue < count_; \
			queue++)                                                           \
			if (queue_is_served(slot, queue))

static unsigned int queues_served(unsigned int slot)
{
	return device_id(slot) ? device_queues(slot) : 0;
}

/* ---- group 3 */

void case_available_jumps(void)
{
	static const uint16_t jumps[] = {RING_SIZE + 1, 0x100, 0x7fff, 0xffff};

	FOR_EACH_QUEUE(slot, queue)
	{
		for (unsigned int i = 0; i < ARRAY_COUNT(jumps); i++) {
			struct ring *ring = ring_of(slot, queue);

			device_start_queue(slot, queue, i & 1 ? FEATURE_EVENT_INDEX : 0, RING_SIZE);
			ring_show(ring, jumps[i]);
			ring_notify(ring);
			expect_broken(slot, "avail.idx jumped", jumps[i]);
			ring_notify(ring);
		}
		device_reset(slot);
	}
}

void case_available_backward(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);

	device_start(slot, 0);
	ring_describe(ring, 0, DATA, 8, WRITE, 0);
	for (int i = 0; i < 3; i++)
		ring_offer(ring, 0);
	ring_notify(ring);
	expect(ring_used(ring) == 3, "good requests are not served", ring_used(ring));
	ring_show(ring, 2);
	ring_notify(ring);
	expect_broken(slot, "avail.idx went back", 2);
}

void case_available_wraps(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);
	static const uint16_t zeros[256];

	device_start_queue(slot, 0, 0, 256);
	ring_describe(ring, 0, DATA, 0, WRITE, 0);
	guest_store(ring->available + 4, zeros, sizeof(zeros));
	for (unsigned int i = 0; i < 0x10000 / 256 + 3; i++) {
		ring_show(ring, (uint16_t)(ring->next_available + 256));
		ring_notify(ring);
		if (ring_used(ring) == ring->next_available)
			continue;
		expect(false, "requests are lost where indices wrap", i);
		break;
	}
	expect_running(slot, "indices that wrap break the device", slot);
}

void case_head_outside(void)
{
	static const uint16_t heads[] = {RING_SIZE, 0xff, 0x8000, 0xffff};

	FOR_EACH_QUEUE(slot, queue)
	{
		for (unsigned int i = 0; i < ARRAY_COUNT(heads); i++) {
			device_start_queue(slot, queue, 0, RING_SIZE);
			ring_offer(ring_of(slot, queue), heads[i]);
			ring_notify(ring_of(slot, queue));
			expect_broken(slot, "a head that is no descriptor", heads[i]);
		}
		device_reset(slot);
	}
}

void case_head_twice(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);

	device_start(slot, 0);
	ring_describe(ring, 5, DATA, 64, WRITE, 0);
	for (unsigned int i = 0; i < RING_SIZE; i++)
		ring_offer(ring, 5);
	ring_notify(ring);
	expect(ring_used(ring) == RING_SIZE, "one chain many times", ring_used(ring));
}

void case_events_garbage(void)
{
	static const uint16_t garbage[] = {0, 1, 0x7fff, 0x8000, 0xffff};

	for (unsigned int i = 0; i < ARRAY_COUNT(garbage); i++) {
		unsigned int slot = device_find(ID_RNG);
		struct ring *ring = ring_of(slot, 0);

		device_start(slot, FEATURE_EVENT_INDEX);
		ring_describe(ring, 0, DATA, 8, WRITE, 0);
		for (unsigned int j = 0; j < 2 * RING_SIZE; j++) {
			guest_store(ring->available, &garbage[i], 2);
			guest_store(ring->available + 4 + 2 * RING_SIZE, &garbage[i], 2);
			guest_store(ring->used, &garbage[i], 2);
			guest_store(ring->used + 4 + 8 * RING_SIZE, &garbage[i], 2);
			ring_offer(ring, 0);
			ring_notify(ring);
		}
		expect(ring_used(ring) == 2 * RING_SIZE, "garbage in events", garbage[i]);
		device_set(slot, VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
		expect(device_register(slot, VIRTIO_MMIO_INTERRUPT_STATUS) == 0,
			"an interrupt that cannot be acknowledged", slot);
	}
}

/* ---- group 4 */

/* An address that counts from the end of RAM. */
#define AT_END(bytes) (0x4000000000000000ull + (bytes))
#define TABLE         (DATA + 0x8000)

/* Descriptors 0 to 2, and three of an indirect table at TABLE. */
static const struct {
	const char *what;
	struct descriptor ring[3], table[3];
} malformed[] = {
	{"a chain that points to itself", {{DATA, 64, NEXT, 0}}, {{0}}},
	{"two that point to each other", {{DATA, 64, NEXT, 1}, {DATA, 64, NEXT, 0}}, {{0}}},
	{"two for writing that point to each other",
		{{DATA, 64, NEXT | WRITE, 1}, {DATA, 64, NEXT | WRITE, 0}}, {{0}}},
	{"a next that is no descriptor", {{DATA, 64, NEXT, RING_SIZE}}, {{0}}},
	{"a next that is far out", {{DATA, 64, NEXT, 0xffff}}, {{0}}},
	{"a buffer that wraps", {{0xfffffffffffffff0ull, 64, 0, 0}}, {{0}}},
	{"a length that wraps", {{DATA, 0xffffffff, 0, 0}}, {{0}}},
	{"a buffer across the end of RAM", {{AT_END(-32), 64, WRITE, 0}}, {{0}}},
	{"a byte behind the end of RAM", {{AT_END(0), 1, WRITE, 0}}, {{0}}},
	{"a buffer in the hole", {{0xc0000000, 64, WRITE, 0}}, {{0}}},
	{"a buffer in registers", {{GUEST_DEVICES, 64, WRITE, 0}}, {{0}}},
	{"a buffer in the generation", {{GUEST_DEVICES - 0x1000, 64, WRITE, 0}}, {{0}}},
	{"a buffer in the interrupt controller", {{0xfee00000, 64, WRITE, 0}}, {{0}}},
	{"readable after writable", {{DATA, 64, WRITE | NEXT, 1}, {DATA, 64, 0, 0}}, {{0}}},
	{"indirect with a next", {{TABLE, 16, INDIRECT | NEXT, 1}, {DATA, 64, 0, 0}},
		{{DATA, 64, 0, 0}}},
	{"indirect of odd length", {{TABLE, 24, INDIRECT, 0}}, {{DATA, 64, 0, 0}}},
	{"indirect of length 0", {{TABLE, 0, INDIRECT, 0}}, {{DATA, 64, 0, 0}}},
	{"indirect of length 15", {{TABLE, 15, INDIRECT, 0}}, {{DATA, 64, 0, 0}}},
	{"indirect in indirect", {{TABLE, 32, INDIRECT, 0}}, {{TABLE, 16, INDIRECT, 0}}},
	{"an indirect table outside of RAM", {{AT_END(0), 32, INDIRECT, 0}}, {{0}}},
	{"an indirect table across the end", {{AT_END(-16), 32, INDIRECT, 0}}, {{0}}},
	{"an indirect table of 4 GiB", {{TABLE, 0xfffffff0, INDIRECT, 0}}, {{DATA, 64, 0, 0}}},
	{"an indirect loop", {{TABLE, 32, INDIRECT, 0}}, {{DATA, 0, NEXT, 1}, {DATA, 0, NEXT, 0}}},
	{"an indirect loop in a table of 66,000", {{TABLE, 66000 * 16, INDIRECT, 0}},
		{{DATA, 0, NEXT, 0}}},
	{"an indirect next outside of the table", {{TABLE, 32, INDIRECT, 0}},
		{{DATA, 64, NEXT, 2}}},
	{"indirect after writable", {{DATA, 64, WRITE | NEXT, 1}, {TABLE, 16, INDIRECT, 0}},
		{{DATA, 64, 0, 0}}},
};

static uint64_t place(uint64_t address)
{
	const uint64_t half = AT_END(0);

	return address > half - 0x1000 && address < half + 0x1000
		? guest_memory_end() + (address - half)
		: address;
}

void case_chain_malformed(void)
{
	FOR_EACH_QUEUE(slot, queue)
	{
		for (unsigned int i = 0; i < ARRAY_COUNT(malformed); i++) {
			struct ring *ring = ring_of(slot, queue);

			device_start_queue(slot, queue, FEATURE_INDIRECT, RING_SIZE);
			for (uint16_t j = 0; j < 3; j++) {
				const struct descriptor *d = &malformed[i].ring[j];

				ring_describe(
					ring, j, place(d->address), d->length, d->flags, d->next);
				d = &malformed[i].table[j];
				table_set(
					TABLE, j, place(d->address), d->length, d->flags, d->next);
			}
			ring_offer(ring, 0);
			ring_notify(ring);
			expect_broken(slot, malformed[i].what, slot * 16 + queue);
			expect(ring_used(ring) == 0, "a malformed chain was answered", i);
		}
		device_reset(slot);
	}
}

void case_chain_indirect_unasked(void)
{
	FOR_EACH_QUEUE(slot, queue)
	{
		struct ring *ring = ring_of(slot, queue);

		device_start_queue(slot, queue, 0, RING_SIZE);
		ring_describe(ring, 0, TABLE, 16, INDIRECT, 0);
		table_set(TABLE, 0, DATA, 64, WRITE, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect_broken(slot, "indirect without the feature", queue);
		device_reset(slot);
	}
}

void case_chain_over_rings(void)
{
	unsigned int slot = device_find(ID_RNG);

	/* Random bytes over descriptors, available and used ring; then on as it comes. */
	for (unsigned int turn = 0; turn < 16; turn++) {
		struct ring *ring = ring_of(slot, 0);

		device_start(slot, FEATURE_INDIRECT | FEATURE_EVENT_INDEX);
		ring_describe(ring, 0, ring->descriptors, 0x2000, WRITE, 0);
		ring_describe(ring, 1, ring->used, 0x100, WRITE, 0);
		ring_offer(ring, turn & 1);
		ring_notify(ring);
		ring_notify(ring);
		device_reset(slot);
	}
	/* In and out in one place: the reply is written over the request. */
	if (fuse_begin()) {
		struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_STATFS, .nodeid = 1};
		struct ring *ring;

		slot = device_find(ID_FS);
		ring = ring_of(slot, FS_REQUESTS);
		guest_store(DATA, &in, sizeof(in));
		ring_describe(ring, 0, DATA, sizeof(in), NEXT, 1);
		ring_describe(ring, 1, DATA, 0x1000, WRITE, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect(ring_wait(ring, ring->next_available), "a request under its reply", 0);
	}
}

void case_chain_empty(void)
{
	FOR_EACH_QUEUE(slot, queue)
	{
		struct ring *ring = ring_of(slot, queue);

		device_start_queue(slot, queue, 0, RING_SIZE);
		ring_describe(ring, 0, DATA, 0, 0, 0);
		ring_describe(ring, 1, DATA, 0, WRITE, 0);
		ring_describe(ring, 2, DATA, 0, NEXT, 3);
		ring_describe(ring, 3, DATA, 0, WRITE, 0);
		for (uint16_t head = 0; head < 3; head++)
			ring_offer(ring, head);
		ring_notify(ring);
		/* An empty request is an answer of nothing, or against the rules of its device. */
		expect(device_is_broken(slot) || ring_used(ring) > 0 ||
				device_id(slot) == ID_CONSOLE,
			"empty buffers are forgotten", queue);
		device_reset(slot);
	}
}

/* ---- group 5: the other CPU does it while this one notifies */

static volatile bool race_over;
static struct ring race_ring;

static void race(void (*other)(void), void (*this)(void))
{
	race_over = false;
	if (!guest_fork(other)) {
		guest_fail("there is no other CPU", 0);
		return;
	}
	this();
	race_over = true;
	guest_join();
}

static void rewrite_descriptors(void)
{
	const struct descriptor forms[] = {
		{DATA, 64, WRITE, 0},
		{guest_memory_end() - 4, 0xffffffff, WRITE | NEXT, 0xffff},
		{TABLE, 32, INDIRECT, 0},
		{DATA, 0x1000, NEXT, 1},
	};

	for (unsigned int i = 0; !race_over; i++) {
		guest_store(race_ring.descriptors, &forms[i % ARRAY_COUNT(forms)], 16);
		guest_store(TABLE, &forms[(i + 1) % ARRAY_COUNT(forms)], 16);
	}
}

static void notify_and_mend(void)
{
	struct ring *ring = ring_of(race_ring.slot, race_ring.queue);

	for (unsigned int i = 0; i < 60; i++) {
		device_start_queue(race_ring.slot, race_ring.queue, FEATURE_INDIRECT, RING_SIZE);
		for (unsigned int j = 0; j < 8 && !device_is_broken(race_ring.slot); j++) {
			ring_offer(ring, 0);
			ring_notify(ring);
		}
	}
}

void case_race_descriptors(void)
{
	FOR_EACH_QUEUE(slot, queue)
	{
		device_start_queue(slot, queue, FEATURE_INDIRECT, RING_SIZE);
		race_ring = *ring_of(slot, queue);
		/* What a console port gets is output, and its protocol another case's. */
		if (device_id(slot) != ID_CONSOLE)
			race(rewrite_descriptors, notify_and_mend);
		device_reset(slot);
	}
}

static void rewrite_request(void)
{
	static const uint32_t lengths[] = {48, 0, 0xffffffff, 56, 41};
	static const char names[][8] = {"volumes", "../..", "rw/../", "......."};

	for (unsigned int i = 0; !race_over; i++) {
		guest_store(DATA, &lengths[i % ARRAY_COUNT(lengths)], 4);
		guest_store(DATA + sizeof(struct fuse_in_header), names[i % ARRAY_COUNT(names)],
			i % 3 ? 8 : 7);
	}
}

static void look_up_again(void)
{
	unsigned int slot = race_ring.slot;

	for (unsigned int i = 0; i < 200; i++) {
		if (i % 16 == 0 || device_is_broken(slot))
			fuse_begin();
		fuse_call_name(FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "volumes");
	}
}

/* The reply's header is checked on the way: it may be for a request that changed. */
void case_race_request(void)
{
	race_ring.slot = device_find(ID_FS);
	race(rewrite_request, look_up_again);
}

static void notify_only(void)
{
	while (!race_over)
		ring_notify(&race_ring);
}

static void offer_and_notify(void)
{
	struct ring *ring = ring_of(race_ring.slot, race_ring.queue);

	/* The other CPU may serve what this one notifies of, and take its time: a ring has room for a few. */
	for (unsigned int i = 0; i < 500; i++) {
		ring_offer(ring, 0);
		ring_notify(ring);
		ring_wait(ring, ring->next_available);
	}
}

void case_race_notify(void)
{
	static const struct {
		uint32_t id;
		unsigned int queue;
	} places[] = {{ID_RNG, 0}, {ID_FS, FS_REQUESTS}, {ID_CONSOLE, CONSOLE_CONTROL_TRANSMIT},
		{ID_BALLOON, BALLOON_INFLATE}};

	for (unsigned int i = 0; i < ARRAY_COUNT(places); i++) {
		unsigned int slot = device_find(places[i].id);
		const struct fuse_in_header in = {
			.len = sizeof(in), .opcode = FUSE_STATFS, .nodeid = FUSE_ROOT_ID};
		const uint32_t page = (uint32_t)(DATA / 4096 + 16);
		struct ring *ring = ring_of(slot, places[i].queue);

		device_start(slot, 0);
		race_ring = *ring;
		guest_store(DATA, &in, sizeof(in));
		if (places[i].id == ID_BALLOON)
			guest_store(DATA, &page, sizeof(page));
		if (places[i].id == ID_RNG)
			ring_describe(ring, 0, DATA + 0x1000, 32, WRITE, 0);
		else
			ring_describe(ring, 0, DATA,
				places[i].id == ID_BALLOON      ? 4
					: places[i].id == ID_FS ? sizeof(in)
								: 8,
				places[i].id == ID_FS ? NEXT : 0, 1);
		ring_describe(ring, 1, DATA + 0x1000, 0x100, WRITE, 0);
		race(notify_only, offer_and_notify);
		expect(ring_wait(ring, ring->next_available), "requests are lost", places[i].id);
		expect_running(slot, "two that notify break a device", places[i].id);
		device_reset(slot);
	}
}

/* Whatever of it the other lets pass. */
static void start_and_reset(void)
{
	while (!race_over) {
		device_negotiate(race_ring.slot, FEATURE_VERSION_1);
		queue_set_up(&race_ring);
		device_set(race_ring.slot, VIRTIO_MMIO_STATUS, STATUS_ALL);
		device_reset(race_ring.slot);
	}
}

static void use_only(void)
{
	struct ring *ring = ring_of(race_ring.slot, race_ring.queue);

	for (unsigned int i = 0; i < 300; i++) {
		ring_describe(ring, 0, DATA, 64, i & 1 ? WRITE : 0, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		device_set(race_ring.slot, VIRTIO_MMIO_STATUS, i & 2 ? STATUS_ALL : 0);
	}
}

/* What the two make of it is theirs; that nothing of it stays is seen afterwards. */
void case_race_reset(void)
{
	static const uint32_t ids[] = {ID_FS, ID_RNG, ID_BALLOON};
	uint32_t pages[16];

	/* What the balloon is told to take, lest it take the guest's own code. */
	for (unsigned int i = 0; i < ARRAY_COUNT(pages); i++)
		pages[i] = (uint32_t)(DATA / 4096) + 16 + i;
	guest_store(DATA, pages, sizeof(pages));
	for (unsigned int i = 0; i < ARRAY_COUNT(ids); i++) {
		unsigned int slot = device_find(ids[i]);

		device_start(slot, 0);
		race_ring = *ring_of(slot, ids[i] == ID_FS ? FS_REQUESTS : 0);
		race(start_and_reset, use_only);
		device_reset(slot);
	}
}

/* A ring that always has its size of chains, as fast as it is served. */
static void feed(void)
{
	while (!race_over) {
		uint16_t index = (uint16_t)(ring_used(&race_ring) + race_ring.size);

		guest_store(race_ring.available + 2, &index, sizeof(index));
	}
}

static void notify_a_few(void)
{
	for (unsigned int i = 0; i < 3; i++)
		ring_notify(&race_ring);
}

void case_race_endless(void)
{
	static const struct {
		uint32_t id;
		unsigned int queue;
		uint16_t flags;
	} places[] = {{ID_RNG, 0, WRITE}, {ID_CONSOLE, CONSOLE_CONTROL_TRANSMIT, 0},
		{ID_CONSOLE, CONSOLE_RECEIVE(1), WRITE}, {ID_BALLOON, 1, 0}};
	static const uint16_t zeros[256];

	for (unsigned int i = 0; i < ARRAY_COUNT(places); i++) {
		unsigned int slot = device_find(places[i].id);
		struct ring *ring = ring_of(slot, places[i].queue);

		device_start_queue(slot, places[i].queue, 0, 256);
		race_ring = *ring;
		/* Long chains, which take longer to serve than to offer. */
		for (uint16_t j = 0; j < 255; j++)
			ring_describe(ring, j, DATA, 0, (uint16_t)(places[i].flags | NEXT),
				(uint16_t)(j + 1));
		ring_describe(
			ring, 255, DATA, places[i].id == ID_RNG ? 4096 : 0, places[i].flags, 0);
		guest_store(ring->available + 4, zeros, sizeof(zeros));
		race(feed, notify_a_few);
		device_reset(slot);
	}
}

/* ---- group 6 */

void case_chain_bytes_overflow(void)
{
	const uint64_t end = guest_memory_end();

	FOR_EACH_QUEUE(slot, queue)
	{
		for (uint16_t writable = 0; writable <= WRITE; writable += WRITE) {
			struct ring *ring = ring_of(slot, queue);
			uint16_t count = 0;

			device_start_queue(slot, queue, 0, 256);
			/* Of all RAM each; the last ones are too many. */
			for (uint64_t sum = 0; sum <= UINT32_MAX && count < 255; sum += end) {
				ring_describe(ring, count, 0, (uint32_t)end,
					(uint16_t)(NEXT | writable), (uint16_t)(count + 1));
				count++;
			}
			if ((uint64_t)count * end <= UINT32_MAX)
				continue; /* little RAM: no chain is that long */
			ring_describe(ring, count, 0, (uint32_t)end, writable, 0);
			ring_offer(ring, 0);
			ring_notify(ring);
			expect_broken(slot, "a chain of more than 4 GiB", queue);
		}
		device_reset(slot);
	}
}

void case_chain_fragments(void)
{
	unsigned int slot = device_find(ID_FS);
	struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_STATFS, .nodeid = 1};
	struct fuse_out_header out = {0};
	struct ring *ring = ring_of(slot, FS_REQUESTS);

	if (!fuse_begin())
		return;
	device_start_queue(slot, FS_REQUESTS, 0, 256);
	guest_store(DATA, &in, sizeof(in));
	guest_store(DATA + 0x1000, &out, sizeof(out));
	/* No session: the reply is an error, in one-byte pieces. */
	for (uint16_t i = 0; i < 255; i++)
		ring_describe(ring, i, i < sizeof(in) ? DATA + i : DATA + 0x1000 + i - sizeof(in),
			1, (uint16_t)(NEXT | (i < sizeof(in) ? 0 : WRITE)), (uint16_t)(i + 1));
	ring_describe(ring, 255, DATA, 0, WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	expect(ring_wait(ring, 1), "a request in pieces", 0);
	guest_load(DATA + 0x1000, &out, sizeof(out));
	expect(out.len == sizeof(out) && out.error == -EIO, "the reply in pieces", out.len);
}

void case_chain_spans(void)
{
	FOR_EACH_QUEUE(slot, queue)
	{
		struct ring *ring = ring_of(slot, queue);

		device_start_queue(slot, queue, FEATURE_INDIRECT, RING_SIZE);
		for (uint16_t i = 0; i < 600; i++)
			table_set(TABLE, i, DATA, 1, i < 599 ? WRITE | NEXT : WRITE,
				(uint16_t)(i + 1));
		ring_describe(ring, 0, TABLE, 600 * 16, INDIRECT, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect_broken(slot, "a chain of 600 pieces", queue);
		device_reset(slot);
	}
}

void case_chain_same_memory(void)
{
	unsigned int slot = device_find(ID_RNG);
	const uint32_t size = (uint32_t)guest_memory_end() / 2;
	struct ring *ring = ring_of(slot, 0);
	uint16_t count = (uint16_t)(UINT32_MAX / size);

	device_start_queue(slot, 0, 0, 256);
	if (count > 200)
		count = 200;
	for (uint16_t i = 0; i < count; i++)
		ring_describe(ring, i, DATA, size - (uint32_t)DATA,
			i + 1 < count ? NEXT | WRITE : WRITE, (uint16_t)(i + 1));
	ring_offer(ring, 0);
	ring_notify(ring);
	expect(ring_used(ring) == 1, "gigabytes of the same memory", ring_used(ring));
}
