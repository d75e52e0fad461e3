// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_net.c: a guest that sends and receives as it likes, over a stream or a tap whose other end is any bytes.
 * What leaves is frames with the guest's own source address, and nothing else; before those to a tap stand
 * headers that ask for no more than was negotiated, within the frame.
 *
 * The input is a sequence of operations, each a byte that says which, and operands:
 *   0 start over: negotiate            features, 3 bytes
 *   1 set up a queue                   index, size, place, a byte each
 *   2 set DRIVER_OK
 *   3 notify a queue                   index, a byte
 *   4 write memory                     address, 2 bytes; length, a byte; the bytes
 *   5 offer a descriptor               queue, index, flags, next, a byte each; address, 3 bytes; length, 3
 *   6 a frame to send, well formed     flags and type of its header, a byte each; start and place of the checksum,
 *                                      2 bytes each; length, 2 bytes
 *   7 bytes of the host                length, a byte; the bytes
 *   8 a frame of the host              length, 2 bytes
 *   9 the fd is ready                  events, a byte
 *  10 the host takes what there is
 *  11 read the configuration space     offset and width, a byte each
 *  12 another machine, with a tap
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/net.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

#define MEMORY_SIZE    0x40000ull
#define BUFFERS        0x20000ull
#define OPERATIONS_MAX 256

static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};

struct guest {
	struct guest_memory memory;
	struct virtio_net *net;
	struct virtio_mmio mmio;
	struct driver_ring rings[VIRTIO_QUEUES_MAX];
	enum virtio_net_kind kind;
	int host;
	/* What the host has of a frame: its length, then the frame. Of a tap: a header, then the frame. */
	uint8_t got[VIRTIO_NET_HEADER_SIZE + VIRTIO_NET_FRAME_MAX];
	size_t got_length;
};

static void ignore_events(void *context, uint32_t events)
{
	(void)context;
	(void)events;
}

static int take_offload(void *context, unsigned int offload)
{
	(void)context;
	(void)offload;
	return 0;
}

static void raise_line(void *context)
{
	(void)context;
}

static void guest_create(struct guest *guest, enum virtio_net_kind kind)
{
	struct virtio_net_options options = {
		.kind = kind, .arm = ignore_events, .offload = take_offload};
	int pair[2];

	*guest = (struct guest){.kind = kind};
	driver_memory_create(&guest->memory, MEMORY_SIZE);
	if (socketpair(AF_UNIX,
		    (kind == VIRTIO_NET_TAP ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK, 0,
		    pair) < 0)
		abort();
	options.fd = pair[0];
	guest->host = pair[1];
	memcpy(options.mac, mac, sizeof(mac));
	check(virtio_net_create(&guest->memory, &options, &guest->net) == 0);
	virtio_mmio_attach(&guest->mmio, virtio_net_device(guest->net), raise_line, NULL);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		guest->rings[i] = driver_ring_at(&guest->memory, 0, 8);
}

static void guest_free(struct guest *guest)
{
	virtio_net_free(guest->net);
	close(guest->host);
	driver_memory_free(&guest->memory);
}

static bool has_negotiated(const struct guest *guest, unsigned int bit)
{
	return virtio_net_device(guest->net)->driver_features & VIRTIO_FEATURE(bit);
}

/* The host's kernel does as the header says. */
static void check_header(const struct guest *guest, size_t length)
{
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t type;

	memcpy(&header, guest->got, sizeof(header));
	type = header.hdr.gso_type;
	check(!(header.hdr.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
	check(type == VIRTIO_NET_HDR_GSO_NONE ||
		(type == VIRTIO_NET_HDR_GSO_TCPV4 &&
			has_negotiated(guest, VIRTIO_NET_F_HOST_TSO4)) ||
		(type == VIRTIO_NET_HDR_GSO_TCPV6 &&
			has_negotiated(guest, VIRTIO_NET_F_HOST_TSO6)));
	if (type != VIRTIO_NET_HDR_GSO_NONE)
		check(header.hdr.flags && header.hdr.gso_size && header.hdr.hdr_len <= length);
	if (header.hdr.flags)
		check(header.hdr.csum_start >= 14 &&
			header.hdr.csum_start + header.hdr.csum_offset + 2u <= length);
}

static void take_tap_frames(struct guest *guest)
{
	ssize_t n;

	while ((n = recv(guest->host, guest->got, sizeof(guest->got), MSG_DONTWAIT)) > 0) {
		check((size_t)n >= VIRTIO_NET_HEADER_SIZE + 14);
		check(!memcmp(guest->got + VIRTIO_NET_HEADER_SIZE + 6, mac, sizeof(mac)));
		check_header(guest, (size_t)n - VIRTIO_NET_HEADER_SIZE);
	}
}

/* All that has come must be frames of the guest. */
static void take_frames(struct guest *guest)
{
	if (guest->kind == VIRTIO_NET_TAP) {
		take_tap_frames(guest);
		return;
	}
	for (;;) {
		size_t want = 4;
		uint32_t length;
		ssize_t n;

		if (guest->got_length >= 4) {
			memcpy(&length, guest->got, 4);
			want += be32toh(length);
			check(want >= 4 + 14 && want <= sizeof(guest->got));
		}
		if (guest->got_length == want) {
			check(!memcmp(guest->got + 4 + 6, mac, sizeof(mac)));
			guest->got_length = 0;
			continue;
		}
		n = recv(guest->host, guest->got + guest->got_length, want - guest->got_length,
			MSG_DONTWAIT);
		if (n <= 0)
			return;
		guest->got_length += (size_t)n;
	}
}

static void set_up_queue(struct guest *guest, struct input *input)
{
	unsigned int index = take(input, 1) % VIRTIO_QUEUES_MAX;
	uint16_t size = (uint16_t)(1u << take(input, 1) % 9);
	uint64_t base = take(input, 1) % (BUFFERS / DRIVER_RING_SPACE) * DRIVER_RING_SPACE;

	guest->rings[index] = driver_ring_at(&guest->memory, base, size);
	driver_set_up_queue(&guest->mmio, index, &guest->rings[index]);
}

static void offer_descriptor(struct guest *guest, struct input *input)
{
	struct driver_ring *ring = &guest->rings[take(input, 1) % VIRTIO_QUEUES_MAX];
	uint16_t index = (uint16_t)(take(input, 1) % ring->size), flags = (uint16_t)take(input, 1);
	uint16_t next = (uint16_t)take(input, 1);
	uint64_t address = take(input, 3);
	uint32_t length = (uint32_t)take(input, 3);

	driver_describe(ring, index, address, length, flags, next);
	if (!(flags & 0x80)) /* else: one that another may name as its next */
		driver_offer(ring, index);
}

static void send_frame(struct guest *guest, struct input *input)
{
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	struct driver_ring *ring = &guest->rings[1];
	uint16_t index = ring->next_available % ring->size;
	uint32_t length;

	header.hdr.flags = (uint8_t)take(input, 1);
	header.hdr.gso_type = (uint8_t)take(input, 1);
	header.hdr.csum_start = (uint16_t)take(input, 2);
	header.hdr.csum_offset = (uint16_t)take(input, 2);
	length = VIRTIO_NET_HEADER_SIZE + (uint32_t)take(input, 2);
	guest_memory_write(&guest->memory, BUFFERS, &header, sizeof(header));
	guest_memory_write(&guest->memory, BUFFERS + sizeof(header) + 6, mac, sizeof(mac));
	driver_offer_buffer(ring, index, BUFFERS, length, 0);
	driver_notify(&guest->mmio, 1);
}

static void host_frame(struct guest *guest, struct input *input)
{
	static uint8_t frame[VIRTIO_NET_HEADER_SIZE + VIRTIO_NET_FRAME_MAX];
	size_t length = take(input, 2);
	uint32_t prefix = htobe32((uint32_t)length);

	/* Also what a tap's header may be. */
	memcpy(frame, &prefix, sizeof(prefix));
	send(guest->host, frame,
		(guest->kind == VIRTIO_NET_TAP ? VIRTIO_NET_HEADER_SIZE : sizeof(prefix)) + length,
		MSG_DONTWAIT | MSG_NOSIGNAL);
	virtio_net_ready(guest->net, 1);
}

static void operate(struct guest *guest, struct input *input)
{
	uint8_t value[8];
	const uint8_t *bytes;
	uint64_t address;
	size_t length;

	switch (take(input, 1)) {
	case 0:
		driver_negotiate(&guest->mmio, take(input, 3) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
		break;
	case 1:
		set_up_queue(guest, input);
		break;
	case 2:
		driver_run(&guest->mmio);
		break;
	case 3:
		driver_notify(&guest->mmio, (uint32_t)take(input, 1));
		break;
	case 4:
		address = take(input, 2);
		length = take_bytes(input, &bytes);
		guest_memory_write(&guest->memory, address, bytes, length);
		break;
	case 5:
		offer_descriptor(guest, input);
		break;
	case 6:
		send_frame(guest, input);
		break;
	case 7:
		length = take_bytes(input, &bytes);
		send(guest->host, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 8:
		host_frame(guest, input);
		break;
	case 9:
		virtio_net_ready(guest->net, (uint32_t)take(input, 1));
		break;
	case 10:
		take_frames(guest);
		virtio_net_ready(guest->net, 4);
		break;
	case 11:
		address = VIRTIO_MMIO_CONFIG + take(input, 1);
		virtio_mmio_read(&guest->mmio, address, value, 1u << (take(input, 1) & 3));
		break;
	case 12:
		take_frames(guest);
		guest_free(guest);
		guest_create(guest, VIRTIO_NET_TAP);
		break;
	default:
		break;
	}
}

static void count_frames(const struct guest *guest)
{
	struct virtio_net_counters counters;

	virtio_net_count(guest->net, &counters);
	for (uint64_t i = 0; i < counters.received_frames + counters.sent_frames; i++)
		answer_count(true);
	for (uint64_t i = 0; i < counters.dropped_frames; i++)
		answer_count(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.next = data, .end = data + size};
	static struct guest guest;

	log_set_level(LOG_LEVEL_ERROR);
	guest_create(&guest, VIRTIO_NET_STREAM);
	for (int i = 0; i < OPERATIONS_MAX && input.next < input.end; i++)
		operate(&guest, &input);
	take_frames(&guest);
	if (answers_wanted())
		count_frames(&guest);
	guest_free(&guest);
	return 0;
}
