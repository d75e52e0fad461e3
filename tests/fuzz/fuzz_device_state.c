// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_device_state.c: saved state of the transport and of the devices behind it, restored from any bytes
 * over any memory, and then driven. (The file system's own state: fuzz_fs_state.c.)
 *
 * The input: a byte that says which device (its low two bits) and whether the section's header is in the
 * input too (bit 2), else it is made here; the state's length, 2 bytes; the state; the rest is
 * the guest's memory from its start.
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#include <poll.h>
#include <sys/socket.h>

#define MEMORY_SIZE 0x10000ull

enum { CONSOLE, RNG, BALLOON, KINDS };

struct devices {
	struct virtio_console *console;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	struct virtio_mmio mmio[KINDS];
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

static void devices_create(struct devices *devices, const struct guest_memory *memory)
{
	struct virtio_console_options options = {.fds = {-1}, .arm = arm};

	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
			abort();
		options.fds[i] = pair[0];
		devices->ours[i] = pair[1];
	}
	if (virtio_console_create(memory, &options, &devices->console) < 0)
		abort();
	virtio_rng_init(&devices->rng, memory);
	virtio_balloon_init(&devices->balloon, memory);
	virtio_mmio_attach(
		&devices->mmio[CONSOLE], virtio_console_device(devices->console), raise_line, NULL);
	virtio_mmio_attach(&devices->mmio[RNG], &devices->rng.device, raise_line, NULL);
	virtio_mmio_attach(&devices->mmio[BALLOON], &devices->balloon.device, raise_line, NULL);
}

static void devices_free(struct devices *devices)
{
	virtio_console_free(devices->console);
	pthread_mutex_destroy(&devices->rng.device.lock);
	pthread_mutex_destroy(&devices->balloon.device.lock);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		cleanup_close(&devices->ours[i]);
}

static void check_device(const struct virtio_mmio *mmio)
{
	const struct virtio_device *device = mmio->device;

	check(!device->running || mmio->status & VIRTIO_CONFIG_S_DRIVER_OK);
	check(!device->running || !(mmio->status & VIRTIO_CONFIG_S_NEEDS_RESET));
	check(mmio->status <= 0xff && mmio->interrupt_status <= 3);
	for (unsigned int i = 0; i < device->queue_count; i++) {
		const struct virtqueue *queue = &device->queues[i];

		check(!queue->ready || mmio->status & VIRTIO_CONFIG_S_FEATURES_OK);
		check(!queue->ready || (queue->size && queue->size <= VIRTQUEUE_SIZE_MAX));
		check(!queue->ready || guest_memory_span(device->memory, queue->used, 1));
	}
}

static int restore(struct virtio_mmio *mmio, const void *data, size_t size)
{
	struct state_reader reader;
	struct error err = {0};
	int r;

	state_reader_init(&reader, data, size);
	r = virtio_mmio_restore(mmio, &reader, &err);
	check(r == 0 || err.message[0] != '\0');
	check_device(mmio);
	return r;
}

/* What was taken once is written and taken again, to the same effect. */
static void save_and_restore(struct devices *devices, unsigned int kind, struct devices *others)
{
	struct state_writer first = {0}, second = {0};
	struct error err;

	check(virtio_mmio_save(&devices->mmio[kind], &first, &err) == 0 && first.error == 0);
	check(restore(&others->mmio[kind], first.data, first.length) == 0);
	check(virtio_mmio_save(&others->mmio[kind], &second, &err) == 0 && second.error == 0);
	check(first.length == second.length && !memcmp(first.data, second.data, first.length));
	state_writer_done(&first);
	state_writer_done(&second);
}

static void drive(struct devices *devices, struct virtio_mmio *mmio)
{
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		(void)!send(devices->ours[i], "input", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
		virtio_console_ready(devices->console, i, POLLIN | POLLOUT);
	}
	for (uint32_t queue = 0; queue < mmio->device->queue_count; queue++)
		driver_notify(mmio, queue);
	check_device(mmio);
	driver_write(mmio, VIRTIO_MMIO_STATUS, 0);
	check_device(mmio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_writer writer = {0};
	struct guest_memory memory;
	static struct devices devices, others;
	unsigned int kind;
	size_t length;
	bool whole;

	if (size < 3)
		return 0;
	kind = data[0] & 3;
	whole = data[0] & 4;
	length = data[1] | (size_t)data[2] << 8;
	data += 3;
	size -= 3;
	if (kind == KINDS || length > size)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	driver_memory_create(&memory, MEMORY_SIZE);
	guest_memory_write(&memory, 0, data + length,
		size - length < MEMORY_SIZE ? size - length : MEMORY_SIZE);
	memset(&devices, 0, sizeof(devices));
	memset(&others, 0, sizeof(others));
	devices_create(&devices, &memory);
	devices_create(&others, &memory);
	if (whole) {
		state_put(&writer, data, length);
	} else {
		state_begin(&writer, STATE_TAG('V', 'D', 'E', 'V'), 2);
		state_put(&writer, data, length);
		state_end(&writer);
	}
	if (restore(&devices.mmio[kind], writer.data, writer.length) == 0) {
		save_and_restore(&devices, kind, &others);
		drive(&devices, &devices.mmio[kind]);
	}
	state_writer_done(&writer);
	devices_free(&devices);
	devices_free(&others);
	driver_memory_free(&memory);
	return 0;
}
