// SPDX-License-Identifier: Apache-2.0
/* test_virtio_net.c: frames to and from a stream, and to and from a tap as far as a socket can play one. */
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/tcp_end.h"
#include "virtio/net.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <cmocka.h>

#define MEMORY_SIZE 0x400000ull
#define RINGS       0x1000ull
#define BUFFERS     0x100000ull
#define BUFFER_SIZE 0x20000ull
#define QUEUE_SIZE  8

#define RECEIVE  0
#define TRANSMIT 1

#define HEADER    VIRTIO_NET_HEADER_SIZE
#define ETHERNET  14
#define FRAME_MAX VIRTIO_NET_FRAME_MAX

static const uint8_t our_mac[] = {2, 0, 0, 0, 0, 1}, other_mac[] = {2, 0, 0, 0, 0, 2};

struct net_fixture {
	struct guest_memory memory;
	struct virtio_net *net;
	struct virtio_mmio mmio;
	struct driver_ring rings[2];
	uint16_t next_descriptor[2];
	int host; /* the far end of the stream */
	uint32_t armed;
	unsigned int raised, offload, offers; /* offers: times that offload was set */
};

static void raise_line(void *context)
{
	((struct net_fixture *)context)->raised++;
}

static void arm(void *context, uint32_t events)
{
	((struct net_fixture *)context)->armed = events;
}

static int take_offload(void *context, unsigned int offload)
{
	struct net_fixture *fixture = context;

	fixture->offload = offload;
	fixture->offers++;
	return 0;
}

static void start_driver(struct net_fixture *fixture, uint64_t features)
{
	assert_true(
		driver_negotiate(&fixture->mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | features));
	memset(fixture->memory.regions[0].host + RINGS, 0, 2 * DRIVER_RING_SPACE);
	for (unsigned int i = 0; i < 2; i++) {
		fixture->rings[i] =
			driver_ring_at(&fixture->memory, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
		fixture->next_descriptor[i] = 0;
		assert_true(driver_set_up_queue(&fixture->mmio, i, &fixture->rings[i]));
	}
	driver_run(&fixture->mmio);
}

static int set_up_kind(void **state, enum virtio_net_kind kind, uint64_t bandwidth)
{
	struct net_fixture *fixture = calloc(1, sizeof(*fixture));
	struct virtio_net_options options = {.kind = kind,
		.arm = arm,
		.offload = take_offload,
		.context = fixture,
		.bandwidth = bandwidth};
	int pair[2];

	assert_non_null(fixture);
	driver_memory_create(&fixture->memory, MEMORY_SIZE);
	assert_int_equal(socketpair(AF_UNIX,
				 (kind == VIRTIO_NET_TAP ? SOCK_SEQPACKET : SOCK_STREAM) |
					 SOCK_CLOEXEC | SOCK_NONBLOCK,
				 0, pair),
		0);
	options.fd = pair[0];
	fixture->host = pair[1];
	memcpy(options.mac, our_mac, sizeof(our_mac));
	assert_int_equal(virtio_net_create(&fixture->memory, &options, &fixture->net), 0);
	virtio_mmio_attach(&fixture->mmio, virtio_net_device(fixture->net), raise_line, fixture);
	start_driver(fixture,
		VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
			VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
			VIRTIO_FEATURE(VIRTIO_NET_F_STATUS));
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_kind(state, VIRTIO_NET_STREAM, 0);
}

static int set_up_tap(void **state)
{
	return set_up_kind(state, VIRTIO_NET_TAP, 0);
}

static int tear_down(void **state)
{
	struct net_fixture *fixture = *state;

	virtio_net_free(fixture->net);
	cleanup_close(&fixture->host);
	driver_memory_free(&fixture->memory);
	free(fixture);
	return 0;
}

static uint64_t buffer_address(unsigned int queue, uint16_t index)
{
	return BUFFERS + (queue * QUEUE_SIZE + index) * BUFFER_SIZE;
}

static uint8_t *buffer(struct net_fixture *fixture, unsigned int queue, uint32_t index)
{
	assert_in_range(index, 0, QUEUE_SIZE - 1);
	return fixture->memory.regions[0].host + buffer_address(queue, (uint16_t)index);
}

/* A frame for another from us, whose bytes after the Ethernet header count up from first. */
static void make_frame(uint8_t *frame, size_t length, uint8_t first)
{
	memcpy(frame, other_mac, sizeof(other_mac));
	memcpy(frame + 6, our_mac, sizeof(our_mac));
	frame[12] = 0x88;
	frame[13] = 0xb5;
	for (size_t i = ETHERNET; i < length; i++)
		frame[i] = (uint8_t)(first + i);
}

static void send_from_guest(struct net_fixture *fixture,
	const struct virtio_net_hdr_mrg_rxbuf *header, const uint8_t *frame, size_t length)
{
	uint16_t index = fixture->next_descriptor[TRANSMIT]++ % QUEUE_SIZE;

	memcpy(buffer(fixture, TRANSMIT, index), header, HEADER);
	memcpy(buffer(fixture, TRANSMIT, index) + HEADER, frame, length);
	driver_offer_buffer(&fixture->rings[TRANSMIT], index, buffer_address(TRANSMIT, index),
		(uint32_t)(HEADER + length), 0);
	driver_notify(&fixture->mmio, TRANSMIT);
}

static void receive_exactly(int fd, void *data, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = recv(fd, (uint8_t *)data + done, length - done, MSG_DONTWAIT);

		assert_true(n > 0);
		done += (size_t)n;
	}
}

/* What the host gets next is this frame. */
static void assert_sent(struct net_fixture *fixture, const uint8_t *frame, size_t length)
{
	static uint8_t got[FRAME_MAX];
	uint32_t prefix;

	receive_exactly(fixture->host, &prefix, sizeof(prefix));
	assert_int_equal(be32toh(prefix), length);
	receive_exactly(fixture->host, got, length);
	assert_memory_equal(got, frame, length);
}

static void assert_nothing_sent(struct net_fixture *fixture)
{
	uint8_t byte;

	assert_int_equal(recv(fixture->host, &byte, 1, MSG_DONTWAIT), -1);
}

static void send_from_host(struct net_fixture *fixture, const uint8_t *frame, size_t length)
{
	uint32_t prefix = htobe32((uint32_t)length);

	assert_int_equal(send(fixture->host, &prefix, sizeof(prefix), 0), sizeof(prefix));
	assert_int_equal(send(fixture->host, frame, length, 0), length);
}

static uint16_t add_buffer(struct net_fixture *fixture, uint32_t length)
{
	uint16_t index = fixture->next_descriptor[RECEIVE]++ % QUEUE_SIZE;

	driver_offer_buffer(&fixture->rings[RECEIVE], index, buffer_address(RECEIVE, index), length,
		DRIVER_WRITE);
	return index;
}

static struct virtio_net_counters counters(const struct net_fixture *fixture)
{
	struct virtio_net_counters counters;

	virtio_net_count(fixture->net, &counters);
	return counters;
}

static bool is_broken(struct net_fixture *fixture)
{
	return driver_read(&fixture->mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static uint16_t link_status(struct net_fixture *fixture)
{
	uint16_t status;

	virtio_mmio_read(&fixture->mmio,
		VIRTIO_MMIO_CONFIG + offsetof(struct virtio_net_config, status), &status,
		sizeof(status));
	return le16toh(status);
}

/* ---- from the guest */

static void frame_of_the_guest_goes_out_behind_its_length(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	static uint8_t frame[FRAME_MAX];
	static const size_t lengths[] = {ETHERNET, 60, 1514, 9000, 40000};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		make_frame(frame, lengths[i], (uint8_t)i);
		send_from_guest(fixture, &header, frame, lengths[i]);
		assert_sent(fixture, frame, lengths[i]);
	}
	assert_nothing_sent(fixture);
	assert_int_equal(counters(fixture).sent_frames, ARRAY_SIZE(lengths));
	assert_int_equal(counters(fixture).dropped_frames, 0);
}

static void checksum_that_the_guest_left_out_is_filled_in(void **state)
{
	struct net_fixture *fixture = *state;
	/* Worked out by hand: 0x0102 + 0x0304 + 0x1111 + 0x05 00 = 0x1a17, inverted 0xe5e8. */
	static const struct {
		uint8_t payload[8], expected[8];
		size_t length;
		uint16_t offset;
	} cases[] = {
		{{1, 2, 0x11, 0x11, 3, 4, 5}, {1, 2, 0xe5, 0xe8, 3, 4, 5}, 7, 2},
		{{1, 2, 0x11, 0x11, 3, 4, 5, 0}, {1, 2, 0xe5, 0xe8, 3, 4, 5, 0}, 8, 2},
		/* Carries are added again; a sum of 0xffff must not become "no checksum". */
		{{0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, 4, 2},
		{{0, 0, 0, 0}, {0xff, 0xff, 0, 0}, 4, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct virtio_net_hdr_mrg_rxbuf header = {
			.hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.csum_start = htole16(ETHERNET),
				.csum_offset = htole16(cases[i].offset)},
		};
		uint8_t frame[ETHERNET + 8], expected[ETHERNET + 8];
		size_t length = ETHERNET + cases[i].length;

		make_frame(frame, sizeof(frame), 0);
		memcpy(expected, frame, sizeof(frame));
		memcpy(frame + ETHERNET, cases[i].payload, cases[i].length);
		memcpy(expected + ETHERNET, cases[i].expected, cases[i].length);
		send_from_guest(fixture, &header, frame, length);
		assert_sent(fixture, expected, length);
	}
}

static void frame_that_is_not_well_formed_is_dropped(void **state)
{
	struct net_fixture *fixture = *state;
	const struct {
		struct virtio_net_hdr header;
		size_t length;
		const uint8_t *source;
	} cases[] = {
		{{0}, ETHERNET - 1, our_mac},
		{{0}, 0, our_mac},
		{{0}, 60, other_mac},
		{{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4}, 60, our_mac},
		/* It would be written over the source address. */
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = htole16(6)}, 60, our_mac},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = htole16(60)}, 60, our_mac},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 .csum_start = htole16(50),
			 .csum_offset = htole16(9)},
			60, our_mac},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 .csum_start = htole16(0xffff),
			 .csum_offset = htole16(0xffff)},
			60, our_mac},
	};
	uint8_t frame[60];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_frame(frame, sizeof(frame), 0);
		memcpy(frame + 6, cases[i].source, 6);
		send_from_guest(fixture, &(struct virtio_net_hdr_mrg_rxbuf){.hdr = cases[i].header},
			frame, cases[i].length);
		assert_int_equal(counters(fixture).dropped_frames, i + 1);
	}
	assert_nothing_sent(fixture);
	assert_false(is_broken(fixture));
	assert_int_equal(counters(fixture).sent_frames, 0);
}

static void request_that_is_no_frame_breaks_the_device(void **state)
{
	static const uint32_t lengths[] = {0, HEADER - 1, HEADER + FRAME_MAX + 1};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct net_fixture *fixture;

		set_up(state);
		fixture = *state;
		driver_offer_buffer(&fixture->rings[TRANSMIT], 0, BUFFERS, lengths[i], 0);
		driver_notify(&fixture->mmio, TRANSMIT);
		assert_true(is_broken(fixture));
		/* A reset mends it. */
		start_driver(fixture, 0);
		assert_false(is_broken(fixture));
		tear_down(state);
	}
}

static void stream_without_room_holds_frames_back_and_loses_none(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	static uint8_t frame[30000];
	size_t sent = 0, used = 0, got = 0;
	int size = 4096;
	uint32_t head, length;

	setsockopt(fixture->host, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	while (sent < 1000) {
		make_frame(frame, sizeof(frame), (uint8_t)sent++);
		send_from_guest(fixture, &header, frame, sizeof(frame));
		if (!driver_take_used(&fixture->rings[TRANSMIT], &head, &length))
			break;
		used++;
	}
	assert_true(sent < 1000);
	assert_int_equal(fixture->armed & POLLOUT, POLLOUT);
	while (got < sent) {
		make_frame(frame, sizeof(frame), (uint8_t)got++);
		assert_sent(fixture, frame, sizeof(frame));
		virtio_net_ready(fixture->net, POLLOUT);
		while (driver_take_used(&fixture->rings[TRANSMIT], &head, &length))
			used++;
	}
	assert_nothing_sent(fixture);
	assert_int_equal(used, sent);
}

/* Frames until one has partly gone. Returns how many, each with its number in it. */
static size_t fill_stream(struct net_fixture *fixture, uint8_t *frame, size_t length)
{
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	uint32_t head, written;
	size_t sent = 0;
	int size = 4096;

	setsockopt(fixture->host, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	fixture->armed = 0;
	while (!(fixture->armed & POLLOUT)) {
		make_frame(frame, length, (uint8_t)sent++);
		send_from_guest(fixture, &header, frame, length);
		driver_take_used(&fixture->rings[TRANSMIT], &head, &written);
	}
	return sent;
}

static void rest_of_a_frame_goes_out_after_a_reset_though_nothing_else_is_sent(void **state)
{
	struct net_fixture *fixture = *state;
	static uint8_t frame[60000];
	size_t sent = fill_stream(fixture, frame, sizeof(frame)), got = 0;

	fixture->armed = 0;
	start_driver(fixture, 0);
	assert_int_equal(fixture->armed, POLLIN | POLLOUT);
	/* The last of them may be one that the old driver still had. */
	while (recv(fixture->host, &(uint8_t){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
		uint32_t prefix;

		make_frame(frame, sizeof(frame), (uint8_t)got++);
		receive_exactly(fixture->host, &prefix, sizeof(prefix));
		assert_int_equal(be32toh(prefix), sizeof(frame));
		for (size_t done = 0; done < sizeof(frame);) {
			static uint8_t part[sizeof(frame)];
			ssize_t n = recv(fixture->host, part, sizeof(frame) - done, MSG_DONTWAIT);

			if (n < 0)
				virtio_net_ready(fixture->net, POLLOUT);
			else
				assert_memory_equal(part, frame + done, (size_t)n);
			done += n > 0 ? (size_t)n : 0;
		}
	}
	assert_in_range(got, sent - 1, sent);
	assert_false(is_broken(fixture));
}

static void frames_that_waited_go_out_after_a_restore(void **state)
{
	struct net_fixture *first = *state, *second;
	struct state_writer writer = {.data = NULL};
	struct state_reader reader;
	static uint8_t frame[30000];
	struct error error = {0};
	void *other = NULL;
	uint16_t offered, taken;

	fill_stream(first, frame, sizeof(frame));
	/* One more, of which the device is not told: it has said that it looks by itself. */
	make_frame(frame, 60, 77);
	memcpy(buffer(first, TRANSMIT, 7), &(struct virtio_net_hdr_mrg_rxbuf){0}, HEADER);
	memcpy(buffer(first, TRANSMIT, 7) + HEADER, frame, 60);
	driver_offer_buffer(
		&first->rings[TRANSMIT], 7, buffer_address(TRANSMIT, 7), HEADER + 60, 0);
	state_begin(&writer, 1, 1);
	assert_int_equal(virtio_mmio_save(&first->mmio, &writer, &error), 0);
	state_end(&writer);
	assert_int_equal(set_up(&other), 0);
	second = other;
	memcpy(second->memory.regions[0].host, first->memory.regions[0].host, MEMORY_SIZE);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, 1, 1, &error), 0);
	second->armed = 0;
	assert_int_equal(virtio_mmio_restore(&second->mmio, &reader, &error), 0);
	assert_int_equal(second->armed, POLLIN | POLLOUT);
	virtio_net_ready(second->net, POLLOUT);
	offered = driver_word(&first->rings[TRANSMIT], first->rings[TRANSMIT].available + 2);
	second->rings[TRANSMIT] = first->rings[TRANSMIT];
	second->rings[TRANSMIT].memory = second->memory.regions[0].host;
	taken = driver_word(&second->rings[TRANSMIT], second->rings[TRANSMIT].used + 2);
	assert_int_equal(taken, offered);
	assert_sent(second, frame, 60);
	tear_down(&other);
	state_writer_done(&writer);
}

static void buffers_come_back_when_the_end_of_the_host_goes(void **state)
{
	struct net_fixture *fixture = *state;
	static uint8_t frame[60000];
	uint32_t head, length;
	size_t sent = fill_stream(fixture, frame, sizeof(frame));
	uint16_t used, offered;

	assert_true(sent > 0);
	/* One more, which waits behind the one that has partly gone. */
	driver_offer_buffer(
		&fixture->rings[TRANSMIT], 7, buffer_address(TRANSMIT, 7), HEADER + 60, 0);
	close(fixture->host);
	fixture->host = -1;
	virtio_net_ready(fixture->net, POLLIN | POLLHUP);
	assert_int_equal(link_status(fixture), 0);
	used = driver_word(&fixture->rings[TRANSMIT], fixture->rings[TRANSMIT].used + 2);
	offered = driver_word(&fixture->rings[TRANSMIT], fixture->rings[TRANSMIT].available + 2);
	assert_int_equal(used, offered);
	while (driver_take_used(&fixture->rings[TRANSMIT], &head, &length))
		;
	send_from_guest(fixture, &(struct virtio_net_hdr_mrg_rxbuf){0}, frame, 60);
	assert_true(driver_take_used(&fixture->rings[TRANSMIT], &head, &length));
	assert_false(is_broken(fixture));
}

/* ---- to the guest */

static void frame_of_the_host_comes_with_a_header_that_trusts_its_checksum(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header;
	uint32_t head, length;
	uint8_t frame[100];

	assert_int_equal(fixture->armed, POLLIN);
	make_frame(frame, sizeof(frame), 7);
	add_buffer(fixture, 2048);
	send_from_host(fixture, frame, sizeof(frame));
	virtio_net_ready(fixture->net, POLLIN);
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, HEADER + sizeof(frame));
	memcpy(&header, buffer(fixture, RECEIVE, head), HEADER);
	assert_int_equal(header.num_buffers, 1);
	assert_int_equal(header.hdr.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	assert_int_equal(header.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_memory_equal(buffer(fixture, RECEIVE, head) + HEADER, frame, sizeof(frame));
	assert_true(fixture->raised > 0);
}

static void long_frame_is_merged_of_several_buffers(void **state)
{
	struct net_fixture *fixture = *state;
	static uint8_t frame[20000], got[20000 + HEADER];
	struct virtio_net_hdr_mrg_rxbuf header;
	uint32_t head, length;
	size_t done = 0;

	make_frame(frame, sizeof(frame), 1);
	for (unsigned int i = 0; i < 5; i++)
		add_buffer(fixture, i == 0 ? HEADER : 5000);
	send_from_host(fixture, frame, sizeof(frame));
	virtio_net_ready(fixture->net, POLLIN);
	for (unsigned int i = 0; i < 5; i++) {
		assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
		memcpy(got + done, buffer(fixture, RECEIVE, head), length);
		done += length;
	}
	assert_int_equal(done, sizeof(got));
	memcpy(&header, got, HEADER);
	assert_int_equal(header.num_buffers, 5);
	assert_memory_equal(got + HEADER, frame, sizeof(frame));
}

static void frame_waits_for_buffers(void **state)
{
	struct net_fixture *fixture = *state;
	static uint8_t frame[6000];
	uint32_t head, length;

	make_frame(frame, sizeof(frame), 1);
	send_from_host(fixture, frame, sizeof(frame));
	virtio_net_ready(fixture->net, POLLIN);
	add_buffer(fixture, 4000);
	driver_notify(&fixture->mmio, RECEIVE);
	assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	add_buffer(fixture, 4000);
	driver_notify(&fixture->mmio, RECEIVE);
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, 4000);
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, HEADER + sizeof(frame) - 4000);
	assert_int_equal(counters(fixture).received_frames, 1);
	assert_int_equal(counters(fixture).dropped_frames, 0);
}

static void frame_in_pieces_is_gathered(void **state)
{
	struct net_fixture *fixture = *state;
	uint8_t bytes[4 + 100];
	uint32_t head, length, prefix = htobe32(100);

	memcpy(bytes, &prefix, sizeof(prefix));
	make_frame(bytes + 4, 100, 9);
	add_buffer(fixture, 2048);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
		assert_int_equal(send(fixture->host, bytes + i, 1, 0), 1);
		virtio_net_ready(fixture->net, POLLIN);
	}
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_memory_equal(buffer(fixture, RECEIVE, head) + HEADER, bytes + 4, 100);
}

/* Two frames behind their lengths; and what is the second one's. */
#define PAIR_SIZE  (2 * (4 + 60))
#define PAIR_FRAME (4 + 60 + 4)

static void make_pair(uint8_t *bytes)
{
	uint32_t prefix = htobe32(60);

	for (unsigned int i = 0; i < 2; i++) {
		memcpy(bytes + i * PAIR_SIZE / 2, &prefix, sizeof(prefix));
		make_frame(bytes + i * PAIR_SIZE / 2 + 4, 60, (uint8_t)(9 + i));
	}
}

static void send_bytes(struct net_fixture *fixture, const uint8_t *bytes, size_t length)
{
	assert_int_equal(send(fixture->host, bytes, length, 0), length);
	virtio_net_ready(fixture->net, POLLIN);
}

static void assert_received(struct net_fixture *fixture, const uint8_t *frame, size_t frame_length)
{
	uint32_t head, length;

	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, HEADER + frame_length);
	assert_memory_equal(buffer(fixture, RECEIVE, head) + HEADER, frame, frame_length);
}

static void frames_come_whole_wherever_the_stream_is_cut(void **state)
{
	struct net_fixture *fixture = *state;
	uint8_t bytes[PAIR_SIZE];
	uint32_t head, length;

	make_pair(bytes);
	for (size_t cut = 1; cut < sizeof(bytes); cut++) {
		for (unsigned int i = 0; i < 2; i++)
			add_buffer(fixture, 2048);
		send_bytes(fixture, bytes, cut);
		if (cut >= sizeof(bytes) / 2)
			assert_received(fixture, bytes + 4, 60);
		assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
		send_bytes(fixture, bytes + cut, sizeof(bytes) - cut);
		if (cut < sizeof(bytes) / 2)
			assert_received(fixture, bytes + 4, 60);
		assert_received(fixture, bytes + PAIR_FRAME, 60);
	}
	assert_int_equal(counters(fixture).dropped_frames, 0);
}

/* As passt leaves it where its socket had room for a length and not for the frame. */
static void length_without_a_frame_is_skipped(void **state)
{
	const uint32_t lost[] = {htobe32(60), htobe32(FRAME_MAX), htobe32(1514)};
	struct net_fixture *fixture = *state;
	uint8_t bytes[PAIR_SIZE];

	make_pair(bytes);
	for (unsigned int i = 0; i < 4; i++)
		add_buffer(fixture, 2048);
	send_bytes(fixture, bytes, PAIR_SIZE / 2);
	assert_received(fixture, bytes + 4, 60);
	send_bytes(fixture, (const uint8_t *)lost, sizeof(lost));
	send_bytes(fixture, bytes, sizeof(bytes));
	assert_received(fixture, bytes + 4, 60);
	assert_received(fixture, bytes + PAIR_FRAME, 60);
	assert_int_equal(counters(fixture).dropped_frames, ARRAY_SIZE(lost));
	assert_int_equal(counters(fixture).received_frames, 3);
}

/* So passt begins, before it has heard of the pod. */
static void frame_to_an_address_of_zeros_is_a_frame(void **state)
{
	struct net_fixture *fixture = *state;
	uint8_t bytes[PAIR_SIZE];

	make_pair(bytes);
	memset(bytes + 4, 0, 6);
	memset(bytes + PAIR_FRAME, 0, 6);
	for (size_t cut = 1; cut < sizeof(bytes); cut++) {
		for (unsigned int i = 0; i < 2; i++)
			add_buffer(fixture, 2048);
		send_bytes(fixture, bytes, cut);
		send_bytes(fixture, bytes + cut, sizeof(bytes) - cut);
		assert_received(fixture, bytes + 4, 60);
		assert_received(fixture, bytes + PAIR_FRAME, 60);
	}
	assert_int_equal(link_status(fixture), VIRTIO_NET_S_LINK_UP);
}

static void new_driver_gets_what_comes_after_it_and_the_rest_of_a_frame(void **state)
{
	struct net_fixture *fixture = *state;
	uint8_t bytes[PAIR_SIZE];
	uint32_t head, length;

	/* The old one has no buffer: a whole frame waits, and a half. */
	make_pair(bytes);
	send_bytes(fixture, bytes, PAIR_FRAME + 7);
	start_driver(fixture, 0);
	for (unsigned int i = 0; i < 2; i++)
		add_buffer(fixture, 2048);
	driver_notify(&fixture->mmio, RECEIVE);
	assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(fixture->armed & POLLIN, POLLIN);
	send_bytes(fixture, bytes + PAIR_FRAME + 7, 60 - 7);
	assert_received(fixture, bytes + PAIR_FRAME, 60);
}

static void frame_that_fits_no_buffer_is_dropped_without_merging(void **state)
{
	struct net_fixture *fixture = *state;
	static uint8_t frame[3000];
	uint32_t head, length;

	start_driver(fixture, 0);
	make_frame(frame, sizeof(frame), 1);
	add_buffer(fixture, 1526);
	send_from_host(fixture, frame, sizeof(frame));
	send_from_host(fixture, frame, 1514);
	virtio_net_ready(fixture->net, POLLIN);
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, HEADER + 1514);
	assert_int_equal(counters(fixture).dropped_frames, 1);
	/* Who did not offer to trust checksums is not asked to. */
	assert_int_equal(*buffer(fixture, RECEIVE, head), 0);
}

static void buffer_without_room_for_a_header_breaks_the_device(void **state)
{
	struct net_fixture *fixture = *state;
	uint8_t frame[60];

	make_frame(frame, sizeof(frame), 1);
	add_buffer(fixture, HEADER - 1);
	send_from_host(fixture, frame, sizeof(frame));
	virtio_net_ready(fixture->net, POLLIN);
	assert_true(is_broken(fixture));
}

static void link_goes_down_with_the_host_or_with_what_is_no_frame(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t prefix = htobe32(FRAME_MAX + 1);
		struct net_fixture *fixture;
		uint8_t frame[60];

		set_up(state);
		fixture = *state;
		assert_int_equal(link_status(fixture), VIRTIO_NET_S_LINK_UP);
		add_buffer(fixture, 2048);
		if (i == 0)
			cleanup_close(&fixture->host);
		else
			assert_int_equal(send(fixture->host, &prefix, sizeof(prefix), 0), 4);
		if (i == 0)
			fixture->host = -1;
		virtio_net_ready(fixture->net, POLLIN);
		assert_int_equal(link_status(fixture), 0);
		assert_true(driver_read(&fixture->mmio, VIRTIO_MMIO_INTERRUPT_STATUS) &
			VIRTIO_MMIO_INT_CONFIG);
		/* The guest may go on sending; it goes nowhere. */
		make_frame(frame, sizeof(frame), 0);
		send_from_guest(fixture, &(struct virtio_net_hdr_mrg_rxbuf){0}, frame, 60);
		assert_int_equal(counters(fixture).dropped_frames, 1);
		assert_false(is_broken(fixture));
		tear_down(state);
	}
}

/* The second part of a handshake of TCP, from port 22 of 10.0.2.15 to port 1025 of 10.0.2.2; 54 bytes. */
static void make_second_part(uint8_t *frame)
{
	static const uint8_t packet[] = {0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15,
		10, 0, 2, 2, 0, 22, 4, 1, 1, 2, 3, 0xff, 9, 8, 7, 6, 0x50, 0x12, 0xff, 0xff, 0, 0,
		0, 0};

	make_frame(frame, ETHERNET, 0);
	frame[12] = 0x08;
	frame[13] = 0x00;
	memcpy(frame + ETHERNET, packet, sizeof(packet));
}

static void handshake_of_the_guest_is_completed_at_once(void **state)
{
	struct net_fixture *fixture = *state;
	const struct virtio_net_hdr_mrg_rxbuf header = {0};
	uint32_t head, length;
	const uint8_t *answer;
	uint8_t frame[54];

	make_second_part(frame);
	/* Without a buffer for it nothing breaks: the guest says it again. */
	send_from_guest(fixture, &header, frame, sizeof(frame));
	assert_sent(fixture, frame, sizeof(frame));
	add_buffer(fixture, 2048);
	send_from_guest(fixture, &header, frame, sizeof(frame));
	assert_sent(fixture, frame, sizeof(frame));
	assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	assert_int_equal(length, HEADER + sizeof(frame));
	answer = buffer(fixture, RECEIVE, head) + HEADER;
	assert_memory_equal(answer, our_mac, sizeof(our_mac));
	assert_memory_equal(answer + 6, other_mac, sizeof(other_mac));
	assert_int_equal(answer[47], 0x10);
	assert_false(is_broken(fixture));
}

/* To passt: see base/tcp_end.h. */
static void end_of_a_connection_goes_out_with_its_last_byte(void **state)
{
	struct net_fixture *fixture = *state;
	const struct virtio_net_hdr_mrg_rxbuf header = {0};
	static struct tcp_ends ends;
	uint8_t data[55], fin[sizeof(data)];

	make_second_part(data);
	data[17] = 41;
	data[47] = 0x10;
	data[54] = 'x';
	memcpy(fin, data, sizeof(fin));
	fin[17] = 40;
	fin[41]++;
	fin[40] += fin[41] == 0;
	fin[47] = 0x11;
	send_from_guest(fixture, &header, data, sizeof(data));
	assert_sent(fixture, data, sizeof(data));
	send_from_guest(fixture, &header, fin, 54);
	assert_int_equal(tcp_end_carry(&ends, data, sizeof(data), sizeof(data)), sizeof(data));
	assert_int_equal(tcp_end_carry(&ends, fin, 54, sizeof(fin)), sizeof(fin));
	assert_int_equal(fin[54], 'x');
	assert_sent(fixture, fin, sizeof(fin));
}

/* ---- a tap: behind headers that the host's kernel believes */

#define OFFLOADS                                                                                   \
	(VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |             \
		VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
		VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF))

static void assert_tap_got(struct net_fixture *fixture, const struct virtio_net_hdr *header,
	const uint8_t *frame, size_t length)
{
	static uint8_t got[HEADER + FRAME_MAX];
	struct virtio_net_hdr_mrg_rxbuf expected = {.hdr = *header};

	assert_int_equal(recv(fixture->host, got, sizeof(got), MSG_DONTWAIT), HEADER + length);
	assert_memory_equal(got, &expected, HEADER);
	assert_memory_equal(got + HEADER, frame, length);
}

static void tap_leaves_to_the_guest_what_the_driver_agreed_to(void **state)
{
	struct net_fixture *fixture = *state;

	assert_int_equal(fixture->offload, VIRTIO_NET_OFFLOAD_CHECKSUM);
	start_driver(fixture, 0);
	assert_int_equal(fixture->offload, 0);
	start_driver(fixture, OFFLOADS | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6));
	assert_int_equal(fixture->offload,
		VIRTIO_NET_OFFLOAD_CHECKSUM | VIRTIO_NET_OFFLOAD_TCP4 | VIRTIO_NET_OFFLOAD_TCP6);
	assert_int_equal(fixture->offers, 3);
	/* The host is not asked again for what it does already. */
	for (unsigned int i = 0; i < 3; i++)
		start_driver(fixture, OFFLOADS | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6));
	assert_int_equal(fixture->offers, 3);
}

static void drivers_that_change_their_mind_for_ever_lose_the_link(void **state)
{
	struct net_fixture *fixture = *state;

	for (unsigned int i = 0; i < 100; i++)
		start_driver(fixture, i % 2 ? OFFLOADS : 0);
	assert_in_range(fixture->offers, 2, 20);
	assert_int_equal(link_status(fixture), 0);
}

static void frame_to_a_tap_keeps_what_its_header_asks_for_and_no_more(void **state)
{
	const struct {
		struct virtio_net_hdr from, to;
	} cases[] = {
		{{0}, {0}},
		/* The guest's word for a checksum is worth nothing. */
		{{.flags = VIRTIO_NET_HDR_F_DATA_VALID, .csum_start = htole16(20)}, {0}},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 .csum_start = htole16(34),
			 .csum_offset = htole16(16),
			 .gso_size = htole16(1)},
			{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.csum_start = htole16(34),
				.csum_offset = htole16(16)}},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 .csum_start = htole16(34),
			 .csum_offset = htole16(16),
			 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			 .gso_size = htole16(1448),
			 .hdr_len = htole16(66)},
			{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.csum_start = htole16(34),
				.csum_offset = htole16(16),
				.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				.gso_size = htole16(1448),
				.hdr_len = htole16(66)}},
	};
	struct net_fixture *fixture = *state;
	static uint8_t frame[20000];

	start_driver(fixture, OFFLOADS);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_frame(frame, sizeof(frame), (uint8_t)i);
		send_from_guest(fixture,
			&(struct virtio_net_hdr_mrg_rxbuf){.hdr = cases[i].from, .num_buffers = 7},
			frame, sizeof(frame));
		assert_tap_got(fixture, &cases[i].to, frame, sizeof(frame));
	}
	assert_int_equal(counters(fixture).sent_frames, ARRAY_SIZE(cases));
}

static void header_that_asks_a_tap_for_what_cannot_be_is_dropped(void **state)
{
	const uint8_t needs = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	const struct virtio_net_hdr cases[] = {
		{.flags = needs, .csum_start = htole16(6)},
		{.flags = needs, .csum_start = htole16(59)},
		{.flags = needs, .csum_start = htole16(0xffff), .csum_offset = htole16(0xffff)},
		/* Segments need a checksum and a size; a header longer than the frame is none. */
		{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = htole16(9)},
		{.flags = needs, .csum_start = htole16(34), .gso_type = VIRTIO_NET_HDR_GSO_TCPV4},
		{.flags = needs,
			.csum_start = htole16(34),
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.gso_size = htole16(9),
			.hdr_len = htole16(61)},
		/* Not negotiated. */
		{.flags = needs,
			.csum_start = htole16(34),
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
			.gso_size = htole16(9)},
		{.flags = needs,
			.csum_start = htole16(34),
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
			.gso_size = htole16(9)},
		{.flags = needs,
			.csum_start = htole16(34),
			.gso_type = VIRTIO_NET_HDR_GSO_UDP,
			.gso_size = htole16(9)},
	};
	struct net_fixture *fixture = *state;
	uint8_t frame[60];

	start_driver(fixture, OFFLOADS);
	make_frame(frame, sizeof(frame), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		send_from_guest(fixture, &(struct virtio_net_hdr_mrg_rxbuf){.hdr = cases[i]}, frame,
			sizeof(frame));
		assert_int_equal(counters(fixture).dropped_frames, i + 1);
	}
	assert_nothing_sent(fixture);
	assert_false(is_broken(fixture));
}

static void segments_of_the_host_come_with_its_header(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {
		.hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.csum_start = htole16(34),
			.csum_offset = htole16(16),
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.gso_size = htole16(1448),
			.hdr_len = htole16(66)},
	};
	static uint8_t frame[30000], sent[HEADER + 30000], got[HEADER + 30000];
	uint32_t head, length;
	size_t done = 0;

	make_frame(frame, sizeof(frame), 3);
	memcpy(sent, &header, HEADER);
	memcpy(sent + HEADER, frame, sizeof(frame));
	for (unsigned int i = 0; i < 4; i++)
		add_buffer(fixture, 8192);
	assert_int_equal(send(fixture->host, sent, sizeof(sent), 0), sizeof(sent));
	virtio_net_ready(fixture->net, POLLIN);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
		memcpy(got + done, buffer(fixture, RECEIVE, head), length);
		done += length;
	}
	header.num_buffers = htole16(4);
	assert_int_equal(done, sizeof(got));
	assert_memory_equal(got, &header, HEADER);
	assert_memory_equal(got + HEADER, frame, sizeof(frame));
}

static void tap_that_has_no_room_loses_the_frame(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	static uint8_t frame[30000];
	uint32_t head, length;

	make_frame(frame, sizeof(frame), 0);
	for (unsigned int i = 0; i < 1000 && counters(fixture).dropped_frames == 0; i++) {
		send_from_guest(fixture, &header, frame, sizeof(frame));
		assert_true(driver_take_used(&fixture->rings[TRANSMIT], &head, &length));
	}
	assert_int_equal(counters(fixture).dropped_frames, 1);
}

/* ---- a limit */

/* A frame is worth ten seconds, so that one passes and the next has not come to its time while a test runs. */
static int set_up_limited(void **state)
{
	return set_up_kind(state, VIRTIO_NET_STREAM, 100);
}

static bool timer_stands(const struct net_fixture *fixture)
{
	struct itimerspec left;

	assert_int_equal(timerfd_gettime(virtio_net_timer_fd(fixture->net), &left), 0);
	return left.it_value.tv_sec > 5 && left.it_value.tv_sec <= 10;
}

static void frames_of_both_directions_wait_for_the_limit(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	uint32_t head, length;
	uint8_t frame[1000];

	make_frame(frame, sizeof(frame), 1);
	send_from_guest(fixture, &header, frame, sizeof(frame));
	assert_sent(fixture, frame, sizeof(frame));
	assert_true(driver_take_used(&fixture->rings[TRANSMIT], &head, &length));
	send_from_guest(fixture, &header, frame, sizeof(frame));
	assert_nothing_sent(fixture);
	assert_false(driver_take_used(&fixture->rings[TRANSMIT], &head, &length));
	assert_true(timer_stands(fixture));
	add_buffer(fixture, 2048);
	send_from_host(fixture, frame, sizeof(frame));
	virtio_net_ready(fixture->net, POLLIN);
	assert_false(driver_take_used(&fixture->rings[RECEIVE], &head, &length));
	/* Called too early, it waits on. */
	virtio_net_due(fixture->net);
	assert_nothing_sent(fixture);
	assert_true(timer_stands(fixture));
	assert_int_equal(counters(fixture).dropped_frames, 0);
}

static int set_up_fast(void **state)
{
	return set_up_kind(state, VIRTIO_NET_STREAM, 100000);
}

static void frames_that_waited_pass_when_they_are_due(void **state)
{
	struct net_fixture *fixture = *state;
	struct virtio_net_hdr_mrg_rxbuf header = {0};
	struct pollfd timer = {.fd = virtio_net_timer_fd(fixture->net), .events = POLLIN};
	int64_t start = clock_monotonic();
	static uint8_t frame[20000];
	unsigned int sent = 0;

	make_frame(frame, sizeof(frame), 1);
	for (unsigned int i = 0; i < 3; i++)
		send_from_guest(fixture, &header, frame, sizeof(frame));
	while (counters(fixture).sent_frames < 3) {
		assert_int_equal(poll(&timer, 1, 60000), 1);
		virtio_net_due(fixture->net);
	}
	for (; sent < 3; sent++)
		assert_sent(fixture, frame, sizeof(frame));
	/* 60,000 bytes, less the last one and what may be ahead: 40,000 at 100,000 a second, less 100 ms. */
	assert_true(clock_monotonic() - start >= 300 * 1000000ll);
}

#define NET_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define TAP_TEST(function) cmocka_unit_test_setup_teardown(function, set_up_tap, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(frame_of_the_guest_goes_out_behind_its_length),
		NET_TEST(checksum_that_the_guest_left_out_is_filled_in),
		NET_TEST(frame_that_is_not_well_formed_is_dropped),
		cmocka_unit_test(request_that_is_no_frame_breaks_the_device),
		NET_TEST(stream_without_room_holds_frames_back_and_loses_none),
		NET_TEST(frame_of_the_host_comes_with_a_header_that_trusts_its_checksum),
		NET_TEST(long_frame_is_merged_of_several_buffers),
		NET_TEST(frame_waits_for_buffers),
		NET_TEST(frame_in_pieces_is_gathered),
		NET_TEST(frames_come_whole_wherever_the_stream_is_cut),
		NET_TEST(length_without_a_frame_is_skipped),
		NET_TEST(frame_to_an_address_of_zeros_is_a_frame),
		NET_TEST(new_driver_gets_what_comes_after_it_and_the_rest_of_a_frame),
		NET_TEST(rest_of_a_frame_goes_out_after_a_reset_though_nothing_else_is_sent),
		NET_TEST(frames_that_waited_go_out_after_a_restore),
		NET_TEST(buffers_come_back_when_the_end_of_the_host_goes),
		NET_TEST(frame_that_fits_no_buffer_is_dropped_without_merging),
		NET_TEST(buffer_without_room_for_a_header_breaks_the_device),
		cmocka_unit_test(link_goes_down_with_the_host_or_with_what_is_no_frame),
		cmocka_unit_test_setup_teardown(
			frames_of_both_directions_wait_for_the_limit, set_up_limited, tear_down),
		cmocka_unit_test_setup_teardown(
			frames_that_waited_pass_when_they_are_due, set_up_fast, tear_down),
		NET_TEST(handshake_of_the_guest_is_completed_at_once),
		NET_TEST(end_of_a_connection_goes_out_with_its_last_byte),
		TAP_TEST(tap_leaves_to_the_guest_what_the_driver_agreed_to),
		TAP_TEST(drivers_that_change_their_mind_for_ever_lose_the_link),
		TAP_TEST(frame_to_a_tap_keeps_what_its_header_asks_for_and_no_more),
		TAP_TEST(header_that_asks_a_tap_for_what_cannot_be_is_dropped),
		TAP_TEST(segments_of_the_host_come_with_its_header),
		TAP_TEST(tap_that_has_no_room_loses_the_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
