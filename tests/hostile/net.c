// SPDX-License-Identifier: Apache-2.0
/*
 * net.c: group 20, frames of the network device.
 *
 * Something on the other side answers ARP requests: so a guest that has a network gets frames when it wants
 * some. Nothing of a malformed frame may go out; in process it is looked at what does.
 */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

#include <linux/virtio_net.h>

#define HEADER_SIZE ((uint32_t)sizeof(struct virtio_net_hdr_mrg_rxbuf))
#define ETHERNET    14u
#define FRAME_MAX   (ETHERNET + 65535u)
#define FRAME_LONG  65535u /* passt takes no longer ones */
#define MAC_SIZE    6u

#define FEATURE_CHECKSUM (1ull << VIRTIO_NET_F_CSUM)
#define FEATURE_MERGE    (1ull << VIRTIO_NET_F_MRG_RXBUF)

#define FRAMES   DATA /* to be sent, each with its header */
#define RECEIVED (DATA + 0x80000)

/* How often to look for a frame of which nobody would tell that it was dropped. */
#define FEW_TURNS 200u

static unsigned int slot;
static uint8_t mac[MAC_SIZE];

/* Whether there is a network, with the device started. */
static bool begin(uint64_t features)
{
	slot = device_find(ID_NET);
	if (slot == GUEST_SLOTS)
		return false;
	device_start(slot, features);
	for (unsigned int i = 0; i < MAC_SIZE; i++)
		mac[i] = (uint8_t)guest_register_read(slot, VIRTIO_MMIO_CONFIG + i, 1);
	return true;
}

/* Puts a chain of this many bytes up for sending; what is in them is there already. */
static void offer(uint32_t size)
{
	struct ring *ring = ring_of(slot, NET_TRANSMIT);
	uint16_t index = ring->next_available % RING_SIZE;

	ring_describe(ring, index, FRAMES, size, 0, 0);
	ring_offer(ring, index);
	ring_notify(ring);
}

/* A broadcast of the experimental protocol, which nobody answers. */
static void compose(const struct virtio_net_hdr_mrg_rxbuf *header, const uint8_t *source)
{
	uint8_t frame[ETHERNET + 46] = {[12] = 0x88, [13] = 0xb5};

	for (unsigned int i = 0; i < MAC_SIZE; i++) {
		frame[i] = 0xff;
		frame[MAC_SIZE + i] = source[i];
	}
	guest_store(FRAMES, header, HEADER_SIZE);
	guest_store(FRAMES + HEADER_SIZE, frame, sizeof(frame));
}

/* The last frame was taken, sent or not, and the device goes on. */
static void expect_taken(const char *what, uint64_t value)
{
	struct ring *ring = ring_of(slot, NET_TRANSMIT);

	expect(ring_wait(ring, ring->next_available), what, value);
	expect_running(slot, what, value);
}

/* Asks for the address of somebody, and gets a frame for it. */
static void ask(void)
{
	static const uint8_t arp[] = {0, 1, 8, 0, 6, 4, 0, 1};
	static const struct virtio_net_hdr_mrg_rxbuf none;
	uint8_t request[28] = {0};

	compose(&none, mac);
	guest_store(FRAMES + HEADER_SIZE + 12, "\x08\x06", 2);
	for (unsigned int i = 0; i < sizeof(arp); i++)
		request[i] = arp[i];
	for (unsigned int i = 0; i < MAC_SIZE; i++)
		request[8 + i] = mac[i];
	request[14] = request[24] = 10; /* 10.255.255.1 asks for 10.255.255.254 */
	request[15] = request[16] = request[25] = request[26] = 255;
	request[17] = 1;
	request[27] = 254;
	guest_store(FRAMES + HEADER_SIZE + ETHERNET, request, sizeof(request));
	offer(HEADER_SIZE + ETHERNET + 46);
}

static void receive_offer(uint16_t index, uint32_t size, uint16_t flags)
{
	struct ring *ring = ring_of(slot, NET_RECEIVE);

	ring_describe(ring, index, RECEIVED + index * 0x1000ull, size, flags, 0);
	ring_offer(ring, index);
	ring_notify(ring);
}

static void wait_a_little(void)
{
	for (unsigned int i = 0; i < FEW_TURNS; i++)
		guest_pause();
}

void case_net_sizes(void)
{
	static const uint32_t broken[] = {
		0, 1, HEADER_SIZE - 1, HEADER_SIZE + FRAME_MAX + 1, 0x200000};
	static const uint32_t taken[] = {HEADER_SIZE, HEADER_SIZE + 1, HEADER_SIZE + ETHERNET - 1,
		HEADER_SIZE + ETHERNET, HEADER_SIZE + FRAME_LONG};
	static const struct virtio_net_hdr_mrg_rxbuf none;

	if (!begin(0))
		return;
	compose(&none, mac);
	for (unsigned int i = 0; i < ARRAY_COUNT(taken); i++) {
		offer(taken[i]);
		expect_taken("a frame of this size", taken[i]);
	}
	for (unsigned int i = 0; i < ARRAY_COUNT(broken); i++) {
		begin(0);
		offer(broken[i]);
		expect_broken(slot, "a frame of a size that cannot be", broken[i]);
	}
}

void case_net_offloads(void)
{
	static const uint8_t types[] = {1, 3, 4, 5, 0x80, 0x81, 0xff};
	static const uint16_t sizes[] = {0, 1, 1448, 0xffff};

	if (!begin(FEATURE_CHECKSUM | FEATURE_MERGE))
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(types); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(sizes); j++) {
			const struct virtio_net_hdr_mrg_rxbuf header = {
				.hdr = {.flags = (uint8_t)(j * 0x55),
					.gso_type = types[i],
					.gso_size = sizes[j],
					.hdr_len = sizes[ARRAY_COUNT(sizes) - 1 - j]},
				.num_buffers = sizes[j],
			};

			compose(&header, mac);
			offer(HEADER_SIZE + ETHERNET + 46);
			expect_taken("a frame to be segmented", types[i]);
		}
	}
}

void case_net_checksums(void)
{
	static const uint16_t places[] = {0, 1, ETHERNET - 1, ETHERNET, ETHERNET + 44,
		ETHERNET + 45, ETHERNET + 46, 0x7fff, 0xfffe, 0xffff};

	if (!begin(FEATURE_CHECKSUM))
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(places); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(places); j++) {
			const struct virtio_net_hdr_mrg_rxbuf header = {
				.hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					.csum_start = places[i],
					.csum_offset = places[j]},
			};

			compose(&header, mac);
			offer(HEADER_SIZE + ETHERNET + 46);
			expect_taken("a checksum somewhere", (uint64_t)places[i] << 16 | places[j]);
		}
	}
}

void case_net_sources(void)
{
	static const struct virtio_net_hdr_mrg_rxbuf none;

	if (!begin(0))
		return;
	for (unsigned int i = 0; i < 8 * MAC_SIZE; i++) {
		uint8_t other[MAC_SIZE];

		for (unsigned int j = 0; j < MAC_SIZE; j++)
			other[j] = mac[j];
		other[i / 8] ^= (uint8_t)(1u << i % 8);
		compose(&none, other);
		offer(HEADER_SIZE + ETHERNET + 46);
		expect_taken("another's address", i);
	}
}

void case_net_directions(void)
{
	struct ring *ring;

	if (!begin(0))
		return;
	/* Nothing to send, and a place to write to. */
	ring = ring_of(slot, NET_TRANSMIT);
	ring_describe(ring, 0, FRAMES, 4096, WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	expect_broken(slot, "a frame that can only be written", 0);
	begin(0);
	receive_offer(0, 4096, 0);
	ring_notify(ring_of(slot, NET_RECEIVE));
	ask();
	expect(!ring_wait_more(ring_of(slot, NET_RECEIVE), 0), "a buffer that can only be read", 0);
	expect_broken(slot, "a buffer that can only be read", 0);
}

void case_net_receive_short(void)
{
	static const uint32_t broken[] = {0, 1, HEADER_SIZE - 1};
	static const uint32_t dropped[] = {HEADER_SIZE, HEADER_SIZE + ETHERNET};

	for (unsigned int i = 0; i < ARRAY_COUNT(broken); i++) {
		if (!begin(i & 1 ? FEATURE_MERGE : 0))
			return;
		receive_offer(0, broken[i], WRITE);
		ask();
		ring_wait_more(ring_of(slot, NET_RECEIVE), 0);
		expect_broken(slot, "no room for a header", broken[i]);
	}
	for (unsigned int i = 0; i < ARRAY_COUNT(dropped); i++) {
		begin(0);
		receive_offer(0, dropped[i], WRITE);
		ask();
		wait_a_little();
		expect_running(slot, "no room for a frame", dropped[i]);
		expect(ring_used(ring_of(slot, NET_RECEIVE)) == 0, "a piece of a frame", i);
	}
}

void case_net_receive_merged(void)
{
	const uint32_t size = HEADER_SIZE + 1;
	struct virtio_net_hdr_mrg_rxbuf header;
	struct ring *ring;

	/* 42 bytes at least and no more than 84: what the buffers hold is not known before. */
	if (!begin(FEATURE_MERGE))
		return;
	ring = ring_of(slot, NET_RECEIVE);
	for (uint16_t i = 0; i < RING_SIZE; i++)
		receive_offer(i, size, WRITE);
	ask();
	expect(ring_wait_more(ring, 0), "no frame comes", 0);
	guest_load(RECEIVED, &header, sizeof(header));
	expect(header.num_buffers == ring_used(ring) && header.num_buffers >= 54 / size,
		"a frame is not in as many buffers as it says", header.num_buffers);
	/* The next does not fit into what is left: it waits. */
	ask();
	wait_a_little();
	expect_running(slot, "too few buffers", ring_used(ring));
}

void case_net_flood(void)
{
	static const struct virtio_net_hdr_mrg_rxbuf none;
	struct ring *ring;

	if (!begin(0))
		return;
	compose(&none, mac);
	ring = ring_of(slot, NET_TRANSMIT);
	for (unsigned int i = 0; i < 2000; i++) {
		offer(HEADER_SIZE + ETHERNET + 46);
		if (ring_used(ring) != ring->next_available)
			expect(ring_wait(ring, ring->next_available), "a frame is not taken", i);
	}
	expect_running(slot, "many frames", 0);
}

void case_net_backlog(void)
{
	static const struct virtio_net_hdr_mrg_rxbuf none;
	struct ring *ring;

	for (unsigned int turn = 0; turn < 3; turn++) {
		if (!begin(0))
			return;
		compose(&none, mac);
		ring = ring_of(slot, NET_TRANSMIT);
		/* Of the largest, as fast as it goes: the host has no room for so many. */
		for (unsigned int i = 0;
			i < 40 && (uint16_t)(ring->next_available - ring_used(ring)) < RING_SIZE;
			i++)
			offer(HEADER_SIZE + FRAME_LONG);
	}
	expect(ring_wait(ring, ring->next_available), "frames are not taken when there is room", 0);
	expect_running(slot, "a backlog", 0);
}
