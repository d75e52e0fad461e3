// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_virtio_mmio.c: a guest that writes registers and memory as it likes, and the console and
 * entropy devices behind them.
 *
 * The input is a sequence of operations, each a byte that says which (its low four bits) and for
 * which device (bit 4: the entropy device), and operands:
 *   0 write a register    width 1, 2, 4, 8 (2 bits of a byte); offset, 2 bytes; value, 8 bytes
 *   1 read a register     the same without a value
 *   2 write memory        address, 2 bytes; length, a byte; the bytes
 *   3 negotiate           features, 8 bytes
 *   4 set up a queue      index, size, place, a byte each
 *   5 set DRIVER_OK
 *   6 notify a queue      index, a byte
 *   7 the owner's loop    port, events, a byte each
 *   8 the other end of a port writes    port, length, a byte each
 *   9 the other end of a port reads     port, a byte
 *  10 the other end of a port closes    port, a byte
 *  11 offer a descriptor  queue, index, flags, next, a byte each; address, length, 4 bytes each
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#include <sys/socket.h>

#define MEMORY_SIZE    0x10000ull
#define OPERATIONS_MAX 512

struct guest {
	struct guest_memory memory;
	struct virtio_console *console;
	struct virtio_rng rng;
	struct virtio_mmio mmio[2];
	struct driver_ring rings[2][VIRTIO_QUEUES_MAX];
	int ours[CONSOLE_PORTS];
};

static void raise_line(void *context)
{
	(void)context;
}

static void arm(void *context, unsigned int port, uint32_t events)
{
	(void)context;
	(void)events;
	check(port >= 1 && port < CONSOLE_PORTS);
}

static void guest_create(struct guest *guest)
{
	struct virtio_console_options options = {.fds = {-1}, .arm = arm};

	*guest = (struct guest){.ours = {-1}};
	driver_memory_create(&guest->memory, MEMORY_SIZE);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
			abort();
		options.fds[i] = pair[0];
		guest->ours[i] = pair[1];
	}
	if (virtio_console_create(&guest->memory, &options, &guest->console) < 0)
		abort();
	virtio_rng_init(&guest->rng, &guest->memory);
	virtio_mmio_attach(
		&guest->mmio[0], virtio_console_device(guest->console), raise_line, NULL);
	virtio_mmio_attach(&guest->mmio[1], &guest->rng.device, raise_line, NULL);
	for (unsigned int i = 0; i < 2 * VIRTIO_QUEUES_MAX; i++)
		guest->rings[i / VIRTIO_QUEUES_MAX][i % VIRTIO_QUEUES_MAX] =
			driver_ring_at(&guest->memory, 0, 8);
}

static void guest_free(struct guest *guest)
{
	virtio_console_free(guest->console);
	pthread_mutex_destroy(&guest->rng.device.lock);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		cleanup_close(&guest->ours[i]);
	driver_memory_free(&guest->memory);
}

static void check_device(const struct virtio_mmio *mmio)
{
	const struct virtio_device *device = mmio->device;

	check(!device->running || mmio->status & VIRTIO_CONFIG_S_DRIVER_OK);
	check(!device->running || !(mmio->status & VIRTIO_CONFIG_S_NEEDS_RESET));
	check(mmio->status <= 0xff);
	for (unsigned int i = 0; i < device->queue_count; i++) {
		const struct virtqueue *queue = &device->queues[i];

		check(!queue->ready || mmio->status & VIRTIO_CONFIG_S_FEATURES_OK);
		check(!queue->ready || (queue->size && queue->size <= VIRTQUEUE_SIZE_MAX));
		check(!queue->ready || guest_memory_span(device->memory, queue->used, 1));
	}
}

static void access_register(struct virtio_mmio *mmio, struct input *input, bool write)
{
	size_t width = 1u << (take(input, 1) & 3);
	uint64_t offset = take(input, 2) % (VIRTIO_MMIO_SIZE - width + 1);
	uint8_t bytes[8];
	uint64_t value;

	if (write) {
		value = take(input, 8);
		memcpy(bytes, &value, sizeof(bytes));
		virtio_mmio_write(mmio, offset, bytes, width);
	} else {
		memset(bytes, 0xee, sizeof(bytes));
		virtio_mmio_read(mmio, offset, bytes, width);
		for (size_t i = width; i < sizeof(bytes); i++)
			check(bytes[i] == 0xee);
	}
}

static void write_memory(struct guest *guest, struct input *input)
{
	uint64_t address = take(input, 2);
	size_t length = take(input, 1), left = (size_t)(input->end - input->next);

	if (length > left)
		length = left;
	if (guest_memory_write(&guest->memory, address, input->next, length) == 0)
		input->next += length;
}

static void set_up_queue(struct guest *guest, unsigned int device, struct input *input)
{
	unsigned int index = take(input, 1) % VIRTIO_QUEUES_MAX;
	uint16_t size = (uint16_t)(1u << take(input, 1) % 9);
	uint64_t base = take(input, 1) % (MEMORY_SIZE / DRIVER_RING_SPACE) * DRIVER_RING_SPACE;

	guest->rings[device][index] = driver_ring_at(&guest->memory, base, size);
	driver_set_up_queue(&guest->mmio[device], index, &guest->rings[device][index]);
}

static void offer_descriptor(struct guest *guest, unsigned int device, struct input *input)
{
	struct driver_ring *ring = &guest->rings[device][take(input, 1) % VIRTIO_QUEUES_MAX];
	uint16_t index = (uint16_t)(take(input, 1) % ring->size), flags = (uint16_t)take(input, 1);
	uint16_t next = (uint16_t)take(input, 1);
	uint64_t address = take(input, 4);
	uint32_t length = (uint32_t)take(input, 4);

	driver_describe(ring, index, address, length, flags, next);
	if (!(flags & 0x80)) /* else: one that another may name as its next */
		driver_offer(ring, index);
}

static unsigned int take_port(struct input *input)
{
	return 1 + (unsigned int)take(input, 1) % (CONSOLE_PORTS - 1);
}

static void operate(struct guest *guest, struct input *input)
{
	static uint8_t bytes[1u << 16];
	uint8_t operation = (uint8_t)take(input, 1);
	unsigned int device = operation >> 4 & 1, port;
	struct virtio_mmio *mmio = &guest->mmio[device];

	switch (operation & 15) {
	case 0:
		access_register(mmio, input, true);
		break;
	case 1:
		access_register(mmio, input, false);
		break;
	case 2:
		write_memory(guest, input);
		break;
	case 3:
		driver_negotiate(mmio, take(input, 8) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
		break;
	case 4:
		set_up_queue(guest, device, input);
		break;
	case 5:
		driver_run(mmio);
		break;
	case 6:
		driver_notify(mmio, (uint32_t)take(input, 1));
		break;
	case 7:
		port = take_port(input);
		virtio_console_ready(guest->console, port, (uint32_t)take(input, 1));
		break;
	case 8:
		port = take_port(input);
		(void)!send(guest->ours[port], bytes, take(input, 1), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 9:
		port = take_port(input);
		(void)!recv(guest->ours[port], bytes, sizeof(bytes), MSG_DONTWAIT);
		break;
	case 10:
		port = take_port(input);
		cleanup_close(&guest->ours[port]);
		guest->ours[port] = -1;
		break;
	case 11:
		offer_descriptor(guest, device, input);
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
		operate(&guest, &input);
		check_device(&guest.mmio[0]);
		check_device(&guest.mmio[1]);
	}
	guest_free(&guest);
	return 0;
}
