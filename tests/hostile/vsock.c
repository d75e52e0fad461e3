// SPDX-License-Identifier: Apache-2.0
/*
 * vsock.c: group 19, packets of the vsock device.
 *
 * The guest has buffers to receive into all the time unless a case says otherwise, and all that comes is counted: a
 * malformed packet gets one reset (virtio 1.2, section 5.10.6.4) or nothing, and never breaks another connection.
 */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

#include <linux/virtio_vsock.h>

#define CID_HOST  2u
#define CID_GUEST 3u
#define STREAM    VIRTIO_VSOCK_TYPE_STREAM
#define NOBODY    1000u    /* a port of the host */
#define ROOM      0x40000u /* what the guest promises */

#define HEADER_SIZE ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define PACKETS     DATA /* to be sent: headers, then what they carry */
#define PAYLOAD     (DATA + 0x1000)
#define RECEIVED    (DATA + 0x40000)
#define BUFFER_SIZE 0x1000u

#define SHUTDOWN_RECEIVE 1u
#define SHUTDOWN_SEND    2u

static unsigned int slot;
static uint16_t taken; /* of what was received */

/* ---- packets */

static void receive_offer(uint16_t index, uint32_t size)
{
	struct ring *ring = ring_of(slot, VSOCK_RECEIVE);

	ring_describe(ring, index, RECEIVED + (uint64_t)index * BUFFER_SIZE, size, WRITE, 0);
	ring_offer(ring, index);
}

static void begin_deaf(void)
{
	device_start(slot, 0);
	taken = 0;
}

/* Whether there is the device, now started and with buffers. */
static bool begin(void)
{
	slot = device_find(ID_VSOCK);
	if (slot == GUEST_SLOTS)
		return false;
	begin_deaf();
	for (uint16_t i = 0; i < RING_SIZE; i++)
		receive_offer(i, BUFFER_SIZE);
	ring_notify(ring_of(slot, VSOCK_RECEIVE));
	return true;
}

static struct virtio_vsock_hdr packet(uint16_t operation, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID_GUEST,
		.dst_cid = CID_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = STREAM,
		.op = operation,
		.buf_alloc = ROOM,
	};
}

/* A packet with so many bytes behind its header, whatever that says of them. */
static void send_with(const struct virtio_vsock_hdr *header, uint32_t bytes)
{
	struct ring *ring = ring_of(slot, VSOCK_TRANSMIT);
	uint16_t index = (uint16_t)(2 * (ring->next_available % (RING_SIZE / 2)));
	uint64_t place = PACKETS + 64ull * index;

	guest_store(place, header, sizeof(*header));
	ring_describe(ring, index, place, HEADER_SIZE, bytes ? NEXT : 0, (uint16_t)(index + 1));
	ring_describe(ring, (uint16_t)(index + 1), PAYLOAD, bytes, 0, 0);
	ring_offer(ring, index);
	ring_notify(ring);
}

static void send(uint16_t operation, uint32_t guest_port, uint32_t host_port)
{
	struct virtio_vsock_hdr header = packet(operation, guest_port, host_port);

	send_with(&header, 0);
}

static void send_data(uint32_t guest_port, uint32_t host_port, uint32_t bytes)
{
	struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_RW, guest_port, host_port);

	header.len = bytes;
	send_with(&header, bytes);
}

/* What has come: the next header, and its buffer is the device's again. False: nothing. */
static bool receive_now(struct virtio_vsock_hdr *ret)
{
	struct ring *ring = ring_of(slot, VSOCK_RECEIVE);
	struct {
		uint32_t id, length;
	} element;

	if (ring_used(ring) == taken)
		return false;
	guest_load(ring->used + 4 + 8ull * (taken % RING_SIZE), &element, sizeof(element));
	taken++;
	expect(element.id < RING_SIZE && element.length >= HEADER_SIZE &&
			element.length <= BUFFER_SIZE,
		"a packet of a bad size", element.length);
	guest_load(RECEIVED + (uint64_t)(element.id % RING_SIZE) * BUFFER_SIZE, ret, sizeof(*ret));
	expect(ret->dst_cid == CID_GUEST && ret->len == element.length - HEADER_SIZE,
		"a packet with a bad header", ret->dst_cid);
	receive_offer((uint16_t)(element.id % RING_SIZE), BUFFER_SIZE);
	ring_notify(ring);
	return true;
}

static bool receive(struct virtio_vsock_hdr *ret)
{
	ring_wait_more(ring_of(slot, VSOCK_RECEIVE), taken);
	return receive_now(ret);
}

/* The next packet to this port is this one; others on the way to it are no concern. */
static bool hears(uint32_t guest_port, uint16_t operation)
{
	struct virtio_vsock_hdr header;

	while (receive(&header))
		if (header.dst_port == guest_port && header.op == operation)
			return true;
	return false;
}

/* What was sent last was answered by one reset from there and by nothing else. */
static void expect_reset(
	uint64_t cid, uint32_t guest_port, uint32_t host_port, const char *what, uint64_t value)
{
	struct virtio_vsock_hdr header = {0};

	expect(receive(&header) && header.op == VIRTIO_VSOCK_OP_RST && header.src_cid == cid &&
			header.src_port == host_port && header.dst_port == guest_port,
		what, value);
}

/* Nothing has come of what was sent: the answer to something else is the next. */
static void expect_silence(const char *what, uint64_t value)
{
	send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 77, 78);
	expect_reset(CID_HOST, 77, 78, what, value);
}

/* A connection to a program of the host. */
static bool opened(uint32_t guest_port, uint32_t host_port)
{
	bool is_open;

	send(VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port);
	is_open = hears(guest_port, VIRTIO_VSOCK_OP_RESPONSE);
	expect(is_open, "a program of the host does not answer", host_port);
	return is_open;
}

static void expect_echo(uint32_t guest_port)
{
	send_data(guest_port, GUEST_HOST_ECHO, 16);
	expect(hears(guest_port, VIRTIO_VSOCK_OP_RW), "a good connection is dead", guest_port);
}

/* ---- the cases */

void case_vsock_headers(void)
{
	static const uint32_t sizes[] = {0, 1, 8, HEADER_SIZE - 1};

	if (!begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct ring *ring = ring_of(slot, VSOCK_TRANSMIT);

		begin_deaf();
		ring_describe(ring, 0, PACKETS, sizes[i], 0, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect_broken(slot, "a packet without a header", sizes[i]);
		begin_deaf();
		ring_describe(ring, 0, PACKETS, HEADER_SIZE, NEXT, 1);
		ring_describe(ring, 1, PAYLOAD, sizes[i] + 1, WRITE, 0);
		ring_offer(ring, 0);
		ring_notify(ring);
		expect_broken(slot, "a packet to be written to", sizes[i]);
	}
}

void case_vsock_buffers(void)
{
	static const uint32_t sizes[] = {0, 1, HEADER_SIZE - 1, HEADER_SIZE};

	if (!begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		begin_deaf();
		receive_offer(0, sizes[i]);
		send(VIRTIO_VSOCK_OP_RW, 1, 1);
		expect_broken(slot, "a buffer without room", sizes[i]);
		begin_deaf();
		ring_describe(ring_of(slot, VSOCK_RECEIVE), 0, RECEIVED, 4096, 0, 0);
		ring_offer(ring_of(slot, VSOCK_RECEIVE), 0);
		send(VIRTIO_VSOCK_OP_RW, 1, 1);
		expect_broken(slot, "a buffer that cannot be written", i);
	}
}

void case_vsock_operations(void)
{
	static const uint16_t types[] = {STREAM, 0, 2, 0xffff};
	static const uint16_t operations[] = {VIRTIO_VSOCK_OP_INVALID, VIRTIO_VSOCK_OP_REQUEST,
		VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RW,
		VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 8, 0x100, 0xffff};

	if (!begin())
		return;
	for (unsigned int type = 0; type < ARRAY_COUNT(types); type++) {
		struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_RST, 5, NOBODY);

		header.type = types[type];
		header.flags = UINT32_MAX;
		send_with(&header, 0);
		expect_silence("a reset for a reset", types[type]);
		for (unsigned int i = 0; i < ARRAY_COUNT(operations); i++) {
			header.op = operations[i];
			send_with(&header, 0);
			expect_reset(CID_HOST, 5, NOBODY, "an operation on nothing", operations[i]);
		}
	}
	expect_running(slot, "unknown operations break the device", 0);
}

void case_vsock_addresses(void)
{
	static const uint64_t others[] = {0, 1, 4, 0xffffffff, 0x100000003, UINT64_MAX};

	if (!begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(others); i++) {
		struct virtio_vsock_hdr header =
			packet(VIRTIO_VSOCK_OP_REQUEST, 5, GUEST_HOST_ECHO);

		header.src_cid = others[i];
		send_with(&header, 0);
		expect_silence("a packet from another", others[i]);
		header.src_cid = CID_GUEST;
		header.dst_cid = others[i];
		send_with(&header, 0);
		expect_reset(others[i], 5, GUEST_HOST_ECHO, "a packet to another", others[i]);
	}
	/* Neither to itself. */
	send(VIRTIO_VSOCK_OP_REQUEST, 5, NOBODY);
	expect_reset(CID_HOST, 5, NOBODY, "a port where nobody is", NOBODY);
}

void case_vsock_lengths(void)
{
	static const uint32_t lengths[] = {17, 0x10000, 0x7fffffff, 0xffffffd4, UINT32_MAX};
	struct virtio_vsock_hdr header;

	if (!begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(lengths); i++) {
		header = packet(VIRTIO_VSOCK_OP_REQUEST, 6, GUEST_HOST_ECHO);
		header.len = lengths[i];
		send_with(&header, 16);
		expect_reset(CID_HOST, 6, GUEST_HOST_ECHO, "a long request", lengths[i]);
		if (!opened(7 + i, GUEST_HOST_ECHO))
			return;
		header = packet(VIRTIO_VSOCK_OP_RW, 7 + i, GUEST_HOST_ECHO);
		header.len = lengths[i];
		send_with(&header, 16);
		expect_reset(CID_HOST, 7 + i, GUEST_HOST_ECHO, "a length that lies", lengths[i]);
	}
	/* More than it says is not looked at. */
	if (!opened(6, GUEST_HOST_ECHO))
		return;
	header = packet(VIRTIO_VSOCK_OP_RW, 6, GUEST_HOST_ECHO);
	header.len = 3;
	send_with(&header, 0x20000);
	while (receive(&header))
		if (header.dst_port == 6 && header.op == VIRTIO_VSOCK_OP_RW)
			break;
	expect(header.op == VIRTIO_VSOCK_OP_RW && header.len == 3, "bytes that were not told of",
		header.len);
	/* No bytes at all are no end. */
	send_data(6, GUEST_HOST_ECHO, 0);
	expect_echo(6);
}

void case_vsock_states(void)
{
	static const uint16_t operations[] = {VIRTIO_VSOCK_OP_INVALID, VIRTIO_VSOCK_OP_REQUEST,
		VIRTIO_VSOCK_OP_RESPONSE, 8, 0xffff};
	struct virtio_vsock_hdr header;

	if (!begin() || !opened(20, GUEST_HOST_ECHO))
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(operations); i++) {
		if (!opened(21 + i, GUEST_HOST_ECHO))
			return;
		send(operations[i], 21 + i, GUEST_HOST_ECHO);
		expect_reset(
			CID_HOST, 21 + i, GUEST_HOST_ECHO, "in an open connection", operations[i]);
	}
	/* Only data has bytes. */
	if (!opened(21, GUEST_HOST_ECHO))
		return;
	header = packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 21, GUEST_HOST_ECHO);
	header.len = 16;
	send_with(&header, 16);
	expect_reset(CID_HOST, 21, GUEST_HOST_ECHO, "bytes with an update", 16);
	expect_echo(20);
}

void case_vsock_shutdowns(void)
{
	struct virtio_vsock_hdr header;

	if (!begin() || !opened(30, GUEST_HOST_ECHO) || !opened(31, GUEST_HOST_ECHO))
		return;
	/* Flags that mean nothing end nothing. */
	header = packet(VIRTIO_VSOCK_OP_SHUTDOWN, 30, GUEST_HOST_ECHO);
	header.flags = ~(SHUTDOWN_RECEIVE | SHUTDOWN_SEND);
	send_with(&header, 0);
	expect_echo(30);
	/* Who sends after it said that it would not, is reset. */
	header.flags = SHUTDOWN_SEND;
	send_with(&header, 0);
	send_with(&header, 0);
	send_data(30, GUEST_HOST_ECHO, 16);
	expect(hears(30, VIRTIO_VSOCK_OP_RST), "data after the end", 0);
	header.src_port = 31;
	header.flags = SHUTDOWN_RECEIVE;
	send_with(&header, 0);
	header.flags = UINT32_MAX;
	send_with(&header, 0);
	expect(hears(31, VIRTIO_VSOCK_OP_RST), "the end of both directions", 0);
	send_with(&header, 0);
	expect_reset(CID_HOST, 31, GUEST_HOST_ECHO, "the end of nothing", 0);
}

void case_vsock_overrun(void)
{
	const uint32_t size = 0x8000;
	struct virtio_vsock_hdr header = {0};
	unsigned int sent = 0;

	if (!begin() || !opened(40, GUEST_HOST_DEAF) || !opened(41, GUEST_HOST_ECHO))
		return;
	/* The host's program reads nothing: its socket takes some, the device what it promised. */
	while (header.op != VIRTIO_VSOCK_OP_RST && sent < 512) {
		send_data(40, GUEST_HOST_DEAF, size);
		sent++;
		while (receive_now(&header) && header.op != VIRTIO_VSOCK_OP_RST)
			;
	}
	expect(header.op == VIRTIO_VSOCK_OP_RST && header.dst_port == 40,
		"bytes beyond all credit are taken", sent);
	expect_echo(41);
}

void case_vsock_credit_lies(void)
{
	struct virtio_vsock_hdr header;

	if (!begin() || !opened(50, GUEST_HOST_ECHO))
		return;
	/* No room: what comes back waits, and the device asks for some. */
	header = packet(VIRTIO_VSOCK_OP_RW, 50, GUEST_HOST_ECHO);
	header.len = 16;
	header.buf_alloc = 0;
	send_with(&header, 16);
	while (receive(&header) && header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		;
	expect(header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST, "bytes without credit", header.op);
	/* More forwarded than it ever got: then it has less room than none. */
	header = packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 50, GUEST_HOST_ECHO);
	header.fwd_cnt = 0x80000000;
	send_with(&header, 0);
	header.buf_alloc = UINT32_MAX;
	header.fwd_cnt = UINT32_MAX;
	send_with(&header, 0);
	expect(hears(50, VIRTIO_VSOCK_OP_RW), "credit does not help", 0);
	/* Asking for ours, over and over. */
	for (unsigned int i = 0; i < 100; i++)
		send(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 50, GUEST_HOST_ECHO);
	expect(hears(50, VIRTIO_VSOCK_OP_CREDIT_UPDATE), "an update that was asked for", 0);
	expect_echo(50);
}

void case_vsock_requests_many(void)
{
	const unsigned int count = 3000;
	struct virtio_vsock_hdr header;
	unsigned int resets = 0;

	if (!begin())
		return;
	for (unsigned int i = 0; i < count; i++) {
		send(VIRTIO_VSOCK_OP_REQUEST, 1000 + i, NOBODY);
		while (receive_now(&header))
			resets += header.op == VIRTIO_VSOCK_OP_RST;
	}
	while (resets < count && receive(&header))
		resets += header.op == VIRTIO_VSOCK_OP_RST;
	expect(resets == count, "requests without an answer", resets);
	expect_silence("more answers than requests", 0);
}

void case_vsock_requests_dropped(void)
{
	struct virtio_vsock_hdr header = packet(VIRTIO_VSOCK_OP_SHUTDOWN, 60, GUEST_HOST_ECHO);

	if (!begin())
		return;
	header.flags = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;
	/* Nobody waits for the host's answer, which comes to what is there by then. */
	for (unsigned int i = 0; i < 300; i++) {
		send(VIRTIO_VSOCK_OP_REQUEST, 60, GUEST_HOST_ECHO);
		if (i % 3 == 2)
			send_with(&header, 0);
		else
			send(VIRTIO_VSOCK_OP_RST, 60, GUEST_HOST_ECHO);
		guest_pause();
	}
	begin();
	if (opened(61, GUEST_HOST_ECHO))
		expect_echo(61);
}

void case_vsock_reset_storm(void)
{
	struct ring *ring;
	struct virtio_vsock_hdr header;
	unsigned int resets = 0, sent = 0;

	slot = device_find(ID_VSOCK);
	if (slot == GUEST_SLOTS)
		return;
	begin_deaf();
	ring = ring_of(slot, VSOCK_TRANSMIT);
	/* The device keeps what it has to say, up to a bound; then it listens no more. */
	while (sent < 2000 && (uint16_t)(sent - ring_used(ring)) < RING_SIZE / 2) {
		send(VIRTIO_VSOCK_OP_RW, sent, NOBODY);
		sent++;
	}
	expect(sent < 600, "answers without bound are kept", sent);
	expect_running(slot, "answers that nobody reads break the device", 0);
	for (uint16_t i = 0; i < RING_SIZE; i++)
		receive_offer(i, BUFFER_SIZE);
	ring_notify(ring_of(slot, VSOCK_RECEIVE));
	while (resets < sent && receive(&header))
		resets += header.op == VIRTIO_VSOCK_OP_RST;
	expect(resets == sent, "answers are lost", resets);
	if (opened(70, GUEST_HOST_ECHO))
		expect_echo(70);
}

void case_vsock_reset_open(void)
{
	if (!begin())
		return;
	for (unsigned int i = 0; i < 8; i++)
		if (!opened(80 + i, i % 2 ? GUEST_HOST_ECHO : GUEST_HOST_DEAF))
			return;
	for (unsigned int i = 0; i < 8; i++)
		send_data(80 + i, i % 2 ? GUEST_HOST_ECHO : GUEST_HOST_DEAF, 0x8000);
	/* They are gone with it, and their ports are free. */
	begin();
	for (unsigned int i = 0; i < 8; i++) {
		send_data(80 + i, i % 2 ? GUEST_HOST_ECHO : GUEST_HOST_DEAF, 16);
		expect_reset(CID_HOST, 80 + i, i % 2 ? GUEST_HOST_ECHO : GUEST_HOST_DEAF,
			"a connection outlives the device", i);
	}
	if (opened(80, GUEST_HOST_ECHO))
		expect_echo(80);
}
