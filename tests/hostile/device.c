// SPDX-License-Identifier: Apache-2.0
/* device.c: groups 18 and 21, the message port, and which devices there are: the small ones. */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

/* The longest that the transmit port takes (wire/wire.h). */
#define TRANSMIT_MAX (64u << 10)

/* ---- group 7 */

void case_message_port(void)
{
	uint32_t lengths = 0, taken = 0;

	for (unsigned int i = 0; i < 100; i++) {
		uint32_t length = guest_port_read(GUEST_PORT_MESSAGE, 4);

		lengths += length != 0;
		for (uint32_t j = 0; j < length / 2 && j < 100; j++)
			taken += guest_port_read(GUEST_PORT_MESSAGE, 1) <= 0xff;
		guest_port_read(GUEST_PORT_MESSAGE, 2);
		/* What is not asked for is given up with the next length. */
	}
	expect(lengths <= 1, "there is more than one message", lengths);
	expect(guest_port_read(GUEST_PORT_MESSAGE, 1) == 0xff, "bytes that were not announced",
		taken);
}

/* ---- group 18 */

/* Nothing of it is a frame that the host would see: no byte may be taken. */
void case_transmit_bad(void)
{
	static const uint64_t streams[] = {0, 3, 4, 0xff, 0xffffffff, 0x100000001, UINT64_MAX};
	unsigned int slot = device_find(ID_CONSOLE);

	device_start(slot, 0);
	for (unsigned int i = 0; i < ARRAY_COUNT(streams); i++)
		expect(guest_transmit(streams[i], DATA, 16) == 0, "a stream that is not there",
			streams[i]);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, DATA, 0) == 0, "nothing", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, DATA, TRANSMIT_MAX + 1) == 0, "too much", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, DATA, UINT64_MAX) == 0, "all there is", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, 0xc0000000, 16) == 0, "from the hole", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, GUEST_DEVICES, 16) == 0, "from registers", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, 0xfee00000, 16) == 0, "from the controller", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, guest_memory_end(), 16) == 0, "from the end", 0);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, 0xfffffffffffff000, 0x2000) == 0, "around 2^64",
		0);
	device_reset(slot);
	expect(guest_transmit(GUEST_STREAM_OUTPUT, DATA, 16) == 0, "from a device that is off", 0);
}

void case_control_garbage(void)
{
	unsigned int slot = device_find(ID_CONSOLE);
	struct ring *transmit = ring_of(slot, CONSOLE_CONTROL_TRANSMIT);
	struct ring *receive = ring_of(slot, CONSOLE_CONTROL_RECEIVE);

	device_start(slot, 0);
	for (unsigned int i = 0; i < 200; i++) {
		/* struct virtio_console_control: port, event, value */
		const struct {
			uint32_t port;
			uint16_t event, value;
		} message = {
			i % 7 == 6 ? UINT32_MAX : i % 7, (uint16_t)(i % 11), (uint16_t)(i % 3)};

		guest_store(DATA, &message, sizeof(message));
		ring_describe(transmit, 0, DATA, i % 13 == 12 ? 7 : sizeof(message), 0, 0);
		ring_offer(transmit, 0);
		ring_notify(transmit);
	}
	expect(ring_used(transmit) == 200, "control messages are not taken", ring_used(transmit));
	/* The answers waited; their number is bounded. */
	ring_describe(receive, 0, DATA, 3, WRITE, 0);
	for (unsigned int i = 0; i < 100; i++) {
		ring_offer(receive, 0);
		ring_notify(receive);
		if (ring_used(receive) != receive->next_available)
			break;
	}
	expect(ring_used(receive) < 64, "answers without end", ring_used(receive));
	expect_running(slot, "garbage breaks the console", 0);
}

void case_receive_empty(void)
{
	unsigned int slot = device_find(ID_CONSOLE);

	for (uint32_t port = GUEST_STREAM_CONTROL; port <= GUEST_STREAM_OUTPUT; port++) {
		struct ring *ring = ring_of(slot, CONSOLE_RECEIVE(port));

		device_start(slot, 0);
		ring_describe(ring, 0, DATA, 0, WRITE, 0);
		ring_describe(ring, 1, DATA, 64, 0, 0); /* nothing to write to either */
		for (unsigned int i = 0; i < 2 * RING_SIZE; i++) {
			ring_offer(ring, i & 1);
			ring_notify(ring);
		}
		expect(device_is_broken(slot) || ring_used(ring) == 2 * RING_SIZE,
			"empty buffers are kept", ring_used(ring));
	}
}

/* ---- groups 19 and 20: see vsock.c and net.c, too */

void case_devices_known(void)
{
	static const uint32_t known[] = {ID_CONSOLE, ID_FS, ID_RNG, ID_BALLOON, ID_VSOCK, ID_NET};
	unsigned int count = 0;

	for (unsigned int slot = 0; slot < GUEST_SLOTS; slot++) {
		uint32_t id = device_id(slot);
		bool found = id == 0;

		for (unsigned int i = 0; i < ARRAY_COUNT(known); i++)
			found |= id == known[i];
		/* A new one belongs into this list, and into queue_is_served(). */
		expect(found, "a device of which no case knows", id);
		count += id != 0;
	}
	/* Not each pod has a network. */
	expect(count == ARRAY_COUNT(known) || count == ARRAY_COUNT(known) - 1, "devices", count);
	expect(device_register(GUEST_SLOTS - 1, VIRTIO_MMIO_STATUS) == UINT32_MAX, "an empty place",
		0);
}

/* ---- group 21 */

void case_entropy_large(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);
	const uint32_t size = (uint32_t)(guest_memory_end() - DATA_END);
	struct {
		uint32_t id, length;
	} element;

	device_start(slot, 0);
	ring_describe(ring, 0, DATA_END, size, WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	guest_load(ring->used + 4, &element, sizeof(element));
	expect(ring_used(ring) == 1 && element.length <= 64u << 10, "entropy without bound",
		element.length);
}

void case_entropy_readable(void)
{
	unsigned int slot = device_find(ID_RNG);
	struct ring *ring = ring_of(slot, 0);
	struct {
		uint32_t id, length;
	} element = {0, 1};

	device_start(slot, 0);
	ring_describe(ring, 0, DATA, 4096, 0, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	guest_load(ring->used + 4, &element, sizeof(element));
	expect(device_is_broken(slot) || element.length == 0, "entropy for nothing",
		element.length);
}

static void inflate(unsigned int slot, const uint32_t *pages, uint32_t bytes)
{
	struct ring *ring = ring_of(slot, BALLOON_INFLATE);

	guest_store(DATA, pages, bytes);
	ring_describe(ring, 0, DATA, bytes, 0, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
}

void case_balloon_outside(void)
{
	const uint32_t end = (uint32_t)(guest_memory_end() / 4096);
	const uint32_t pages[][2] = {{end, end}, {end - 1, end}, {end, end + 1}, {0xc0000, 0xc0001},
		{(uint32_t)(GUEST_DEVICES / 4096), 0}, {UINT32_MAX, UINT32_MAX}, {UINT32_MAX, 0},
		{0x80000000, 0x7fffffff}, {(uint32_t)(GUEST_DEVICES / 4096) - 1, 0}};
	unsigned int slot = device_find(ID_BALLOON);

	for (unsigned int i = 0; i < ARRAY_COUNT(pages); i++) {
		device_start(slot, 0);
		inflate(slot, pages[i], sizeof(pages[i]));
		expect_broken(slot, "pages that are no RAM", pages[i][0]);
	}
}

void case_balloon_rings(void)
{
	unsigned int slot = device_find(ID_BALLOON);
	const uint32_t ring =
		(uint32_t)(ring_place(slot, BALLOON_INFLATE, RING_SIZE).descriptors / 4096);
	const uint32_t data = (uint32_t)(DATA / 4096);
	const uint32_t pages[] = {data, data, data + 1, ring, ring + 1, ring, data};

	/* The ring, and the list itself, are zeros afterwards: an answer is not to be had. */
	device_start(slot, 0);
	inflate(slot, pages, sizeof(pages));
	ring_notify(ring_of(slot, BALLOON_INFLATE));
	device_start(slot, 0);
	inflate(slot, pages, 3 * sizeof(pages[0]));
	expect_running(slot, "pages twice break the balloon", 0);
}

void case_balloon_report(void)
{
	static const struct {
		uint64_t address;
		uint32_t length;
	} reports[] = {{DATA + 1, 4096}, {DATA, 4095}, {DATA + 0x800, 0x1000}, {DATA, 1}};
	unsigned int slot = device_find(ID_BALLOON);

	for (unsigned int i = 0; i < ARRAY_COUNT(reports); i++) {
		device_start(slot, 0);
		ring_describe(ring_of(slot, BALLOON_REPORTING), 0, reports[i].address,
			reports[i].length, WRITE, 0);
		ring_offer(ring_of(slot, BALLOON_REPORTING), 0);
		ring_notify(ring_of(slot, BALLOON_REPORTING));
		expect_broken(slot, "a report of what is no page", i);
	}
	/* Of pages that are in use, the report's own ring among them: the guest's own loss. */
	device_start(slot, 0);
	ring_describe(ring_of(slot, BALLOON_REPORTING), 0, GUEST_SCRATCH,
		(uint32_t)(DATA_END - GUEST_SCRATCH), WRITE, 0);
	ring_offer(ring_of(slot, BALLOON_REPORTING), 0);
	ring_notify(ring_of(slot, BALLOON_REPORTING));
}

void case_balloon_odd(void)
{
	static const uint32_t sizes[] = {1, 2, 3, 5, 4097, 0x10000, 0x100000};
	unsigned int slot = device_find(ID_BALLOON);

	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct ring *ring = ring_of(slot, BALLOON_INFLATE);

		device_start(slot, 0);
		ring_describe(ring, 0, DATA, sizes[i], 0, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect_broken(slot, "a list of page numbers of odd size", sizes[i]);
	}
}
