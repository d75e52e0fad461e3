// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_vsock.c: a guest that sends vsock packets as it likes, between clients of the host that come and go. What
 * the device holds must stay within its bounds, nothing may be closed twice or left open, and a saved device
 * must come back.
 *
 * The input is a sequence of operations, each a byte that says which, and operands:
 *   0 a packet of the guest     operation, flags, ports (2 bits each way), length, a byte each; peer's room,
 *                               2 bytes; its count, 2 bytes
 *   1 raw packet                length, a byte; the bytes
 *   2 buffers for the guest     how many, length in units of 16, a byte each
 *   3 a client of the host      length, a byte; what it says
 *   4 a host's program writes   which, how much in units of 64, a byte each
 *   5 it reads all there is     which, a byte
 *   6 it ends                   which, how, a byte each
 *   7 the owner answers         0: with a socket
 *   8 save, and restore into a new device
 *   9 start over
 *  10 restore from the input    length, a byte; the bytes
 *  11 offer a descriptor        queue, index, flags, next, a byte each; address, 3 bytes; length, 4
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/vsock.h"

#include <linux/virtio_vsock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MEMORY_SIZE    0x40000ull
#define RINGS          0x1000ull
#define BUFFERS        0x10000ull
#define BUFFER_SIZE    0x1000ull
#define QUEUE_SIZE     16
#define QUEUES         3
#define PROGRAMS       8
#define OPERATIONS_MAX 200
#define STATE_TAG_FUZZ STATE_TAG('f', 'u', 'z', 'z')

struct machine {
	struct guest_memory memory;
	struct virtio_vsock *vsock;
	struct virtio_mmio mmio;
	struct driver_ring rings[QUEUES];
	uint16_t next_descriptor[QUEUES];
	struct sockaddr_un address;
	socklen_t address_length;
	int fds[VSOCK_CONNECTIONS_MAX];
	uint32_t armed[VSOCK_CONNECTIONS_MAX];
	bool is_armed[VSOCK_CONNECTIONS_MAX];
	unsigned int watched;
	bool again;
	uint64_t asked_id;
	int programs[PROGRAMS]; /* the host's */
	unsigned int next_program;
};

static int watch(void *context, unsigned int slot, int fd)
{
	struct machine *machine = context;

	check(slot < VSOCK_CONNECTIONS_MAX && machine->fds[slot] < 0);
	/* Now and then there is no memory for it. */
	if (fd % 13 == 0)
		return -ENOMEM;
	machine->fds[slot] = fd;
	machine->watched++;
	return 0;
}

static void arm(void *context, unsigned int slot, uint32_t events)
{
	struct machine *machine = context;

	check(machine->fds[slot] >= 0);
	machine->armed[slot] = events;
	machine->is_armed[slot] = true;
}

static void unwatch(void *context, unsigned int slot, int fd)
{
	struct machine *machine = context;

	check(machine->fds[slot] == fd);
	machine->fds[slot] = -1;
	machine->is_armed[slot] = false;
	machine->watched--;
}

static int ask(void *context, uint64_t id, uint32_t port)
{
	struct machine *machine = context;

	machine->asked_id = id;
	return port % 4 == 3 ? -EAGAIN : 0;
}

static void again(void *context)
{
	((struct machine *)context)->again = true;
}

static void raise_line(void *context)
{
	(void)context;
}

static int listener_create(struct machine *machine)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	machine->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	machine->address_length = sizeof(machine->address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&machine->address, sizeof(sa_family_t)) < 0 ||
		listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&machine->address, &machine->address_length) < 0)
		abort();
	return fd;
}

static void device_create(struct machine *machine)
{
	struct virtio_vsock_options options = {
		.listen_fd = listener_create(machine),
		.watch = watch,
		.arm = arm,
		.unwatch = unwatch,
		.connect = ask,
		.again = again,
		.context = machine,
	};

	if (virtio_vsock_create(&machine->memory, &options, &machine->vsock) < 0)
		abort();
	virtio_mmio_attach(
		&machine->mmio, virtio_vsock_device(machine->vsock), raise_line, machine);
}

static void driver_start(struct machine *machine)
{
	driver_negotiate(&machine->mmio,
		VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
			VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
	memset(machine->memory.regions[0].host + RINGS, 0, QUEUES * DRIVER_RING_SPACE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		machine->rings[i] =
			driver_ring_at(&machine->memory, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
		machine->next_descriptor[i] = 0;
		driver_set_up_queue(&machine->mmio, i, &machine->rings[i]);
	}
	driver_run(&machine->mmio);
}

static void machine_create(struct machine *machine)
{
	*machine = (struct machine){0};
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		machine->fds[i] = -1;
	for (unsigned int i = 0; i < PROGRAMS; i++)
		machine->programs[i] = -1;
	driver_memory_create(&machine->memory, MEMORY_SIZE);
	device_create(machine);
	driver_start(machine);
}

static void machine_free(struct machine *machine)
{
	virtio_vsock_free(machine->vsock);
	check(machine->watched == 0);
	for (unsigned int i = 0; i < PROGRAMS; i++)
		cleanup_close(&machine->programs[i]);
	driver_memory_free(&machine->memory);
}

static void run_loop(struct machine *machine)
{
	bool more;
	unsigned int turns = 0;

	do {
		more = machine->again;
		machine->again = false;
		if (more)
			virtio_vsock_continue(machine->vsock);
		for (unsigned int slot = VSOCK_CONNECTIONS_MAX;
			slot-- > VSOCK_CONNECTIONS_MAX - 300;) {
			unsigned int i = VSOCK_CONNECTIONS_MAX - 1 - slot;
			struct pollfd fd = {
				.fd = machine->fds[i], .events = (short)machine->armed[i]};

			if (fd.fd < 0 || !machine->is_armed[i] || poll(&fd, 1, 0) != 1)
				continue;
			machine->is_armed[i] = false;
			virtio_vsock_ready(machine->vsock, i, (uint32_t)fd.revents);
			more = true;
		}
		/* A loop that spins. */
		check(++turns < 10000);
	} while (more);
}

static void keep_program(struct machine *machine, int fd)
{
	int *place = &machine->programs[machine->next_program++ % PROGRAMS];

	cleanup_close(place);
	*place = fd;
}

static uint64_t next_buffer(struct machine *machine, unsigned int queue, uint16_t *ret_index)
{
	*ret_index = machine->next_descriptor[queue]++ % QUEUE_SIZE;
	return BUFFERS + (queue * QUEUE_SIZE + *ret_index) * BUFFER_SIZE;
}

static void offer(struct machine *machine, unsigned int queue, const void *data, uint32_t length,
	uint16_t flags)
{
	uint16_t index;
	uint64_t address = next_buffer(machine, queue, &index);

	if (data)
		memcpy(machine->memory.regions[0].host + address, data, length);
	driver_offer_buffer(&machine->rings[queue], index, address, length, flags);
}

static void send_packet(struct machine *machine, struct input *input)
{
	struct {
		struct virtio_vsock_hdr header;
		uint8_t data[256 * 15];
	} packet = {0};
	uint8_t operation = (uint8_t)take(input, 1), flags = (uint8_t)take(input, 1);
	uint8_t ports = (uint8_t)take(input, 1);
	uint32_t length = 15 * (uint32_t)take(input, 1);

	packet.header = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_CID_GUEST,
		.dst_cid = flags & 0x80 ? ports : VSOCK_CID_HOST,
		.src_port = ports & 3,
		.dst_port = ports & 0x80 ? (1u << 30) + (ports >> 2 & 31) : (uint32_t)(ports >> 2),
		.len = length + (flags & 0x40 ? 1 : 0),
		.type = flags & 0x20 ? 2 : VIRTIO_VSOCK_TYPE_STREAM,
		.op = operation,
		.flags = flags & 3,
		.buf_alloc = (uint32_t)take(input, 2),
		.fwd_cnt = (uint32_t)take(input, 2),
	};
	offer(machine, 1, &packet, (uint32_t)sizeof(packet.header) + length, 0);
	driver_notify(&machine->mmio, 1);
}

/* Whether the guest, which has said this, has been told since it spoke last that it has no such connection. */
static bool was_refused(struct machine *machine, const uint8_t *packet, size_t length)
{
	struct virtio_vsock_hdr header = {0};
	bool is_reset = false;
	uint32_t id, written;

	memcpy(&header, packet, length < sizeof(header) ? length : sizeof(header));
	/* Those may well be answered so. */
	if (header.op == VIRTIO_VSOCK_OP_REQUEST || header.op == VIRTIO_VSOCK_OP_SHUTDOWN)
		header.op = 0;
	while (driver_take_used(&machine->rings[0], &id, &written)) {
		struct virtio_vsock_hdr said;

		memcpy(&said,
			machine->memory.regions[0].host + BUFFERS + id % QUEUE_SIZE * BUFFER_SIZE,
			sizeof(said));
		is_reset = said.op == VIRTIO_VSOCK_OP_RST;
	}
	return header.op && is_reset;
}

static void client_connect(struct machine *machine, struct input *input)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const uint8_t *bytes;
	size_t length = take_bytes(input, &bytes);

	if (fd < 0)
		abort();
	check(connect(fd, (struct sockaddr *)&machine->address, machine->address_length) == 0);
	send(fd, bytes, length, MSG_NOSIGNAL);
	keep_program(machine, fd);
	virtio_vsock_accept(machine->vsock);
}

static void owner_answers(struct machine *machine, bool with_socket)
{
	int pair[2];

	if (!with_socket) {
		virtio_vsock_connected(machine->vsock, machine->asked_id, -ECONNREFUSED);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	keep_program(machine, pair[1]);
	virtio_vsock_connected(machine->vsock, machine->asked_id, pair[0]);
}

static void save_and_restore(struct machine *machine)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct error err;

	check(virtio_mmio_save(&machine->mmio, &writer, &err) == 0);
	virtio_vsock_free(machine->vsock);
	check(machine->watched == 0);
	device_create(machine);
	state_reader_init(&reader, writer.data, writer.length);
	check(virtio_mmio_restore(&machine->mmio, &reader, &err) == 0);
	state_writer_done(&writer);
}

static void restore_from_input(struct machine *machine, struct input *input)
{
	struct virtio_device *device = virtio_vsock_device(machine->vsock);
	struct state_writer writer = {0};
	struct state_reader reader;
	const uint8_t *bytes;
	size_t length = take_bytes(input, &bytes);
	struct error err;
	int r;

	state_begin(&writer, STATE_TAG_FUZZ, 1);
	state_put(&writer, bytes, length);
	state_end(&writer);
	state_reader_init(&reader, writer.data, writer.length);
	check(state_open(&reader, STATE_TAG_FUZZ, 1, &err) == 0);
	r = device->operations->restore(device, &reader, &err);
	check(r == 0 || (r == -EBADMSG && err.message[0]));
	state_writer_done(&writer);
}

static void offer_descriptor(struct machine *machine, struct input *input)
{
	struct driver_ring *ring = &machine->rings[take(input, 1) % QUEUES];
	uint16_t index = (uint16_t)(take(input, 1) % QUEUE_SIZE), flags = (uint16_t)take(input, 1);
	uint16_t next = (uint16_t)take(input, 1);
	uint64_t address = take(input, 3);
	uint32_t length = (uint32_t)take(input, 4);

	driver_describe(ring, index, address, length, flags, next);
	if (!(flags & 0x80)) /* else: one that another may name as its next */
		driver_offer(ring, index);
}

static void operate(struct machine *machine, struct input *input)
{
	static uint8_t scratch[1u << 16];
	const uint8_t *bytes;
	size_t length;
	int program;

	switch (take(input, 1)) {
	case 0:
		send_packet(machine, input);
		break;
	case 1:
		length = take_bytes(input, &bytes);
		offer(machine, 1, bytes, (uint32_t)length, 0);
		driver_notify(&machine->mmio, 1);
		if (answers_wanted())
			answer_count(!was_refused(machine, bytes, length));
		break;
	case 2:
		length = take(input, 1) % QUEUE_SIZE;
		for (uint32_t size = 16 * (uint32_t)take(input, 1); length > 0; length--)
			offer(machine, 0, NULL, size, DRIVER_WRITE);
		driver_notify(&machine->mmio, 0);
		break;
	case 3:
		client_connect(machine, input);
		break;
	case 4:
		program = machine->programs[take(input, 1) % PROGRAMS];
		send(program, scratch, 64 * take(input, 1), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 5:
		program = machine->programs[take(input, 1) % PROGRAMS];
		while (recv(program, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
			;
		break;
	case 6:
		length = take(input, 1) % PROGRAMS;
		program = (int)take(input, 1) % 4;
		if (program < 3) {
			shutdown(machine->programs[length], program);
		} else {
			cleanup_close(&machine->programs[length]);
			machine->programs[length] = -1;
		}
		break;
	case 7:
		owner_answers(machine, take(input, 1) == 0);
		break;
	case 8:
		save_and_restore(machine);
		break;
	case 9:
		driver_start(machine);
		break;
	case 10:
		restore_from_input(machine, input);
		break;
	case 11:
		offer_descriptor(machine, input);
		driver_notify(&machine->mmio, 0);
		driver_notify(&machine->mmio, 1);
		driver_notify(&machine->mmio, 2);
		break;
	default:
		run_loop(machine);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.next = data, .end = data + size};
	static struct machine machine;

	log_set_level(LOG_LEVEL_ERROR);
	machine_create(&machine);
	for (int i = 0; i < OPERATIONS_MAX && input.next < input.end; i++) {
		operate(&machine, &input);
		check(virtio_vsock_count(machine.vsock) >= machine.watched);
		check(virtio_vsock_count(machine.vsock) <= 3 * OPERATIONS_MAX);
	}
	run_loop(&machine);
	machine_free(&machine);
	return 0;
}
