// SPDX-License-Identifier: Apache-2.0
/*
 * rng.c: the entropy source.
 *
 * #syscalls:vcpu getrandom(_, _, 0)
 */
#include "virtio/rng.h"

#include <string.h>
#include <sys/random.h>

static void rng_notify(struct virtio_device *device, unsigned int index)
{
	struct virtio_rng *rng = (struct virtio_rng *)device; /* its first member */
	unsigned int served = 0;

	while (virtio_device_next(device, index, &rng->chain, &served)) {
		uint8_t bytes[VIRTIO_RNG_REQUEST_MAX];
		size_t length = sizeof(bytes);
		ssize_t n;

		if (length > rng->chain.writable_bytes)
			length = rng->chain.writable_bytes;
		n = getrandom(bytes, length, 0);
		length = n > 0 ? virtqueue_chain_write(&rng->chain, 0, bytes, (size_t)n) : 0;
		virtqueue_push(&device->queues[index], rng->chain.head, (uint32_t)length);
	}
	virtio_device_signal(device, index);
}

static void rng_reset(struct virtio_device *device)
{
	(void)device; /* no state between requests */
}

static void rng_read_config(struct virtio_device *device, size_t offset, void *data, size_t length)
{
	(void)device;
	(void)offset;
	memset(data, 0, length);
}

static const struct virtio_operations rng_operations = {
	.notify = rng_notify,
	.reset = rng_reset,
	.read_config = rng_read_config,
};

void virtio_rng_init(struct virtio_rng *rng, const struct guest_memory *memory)
{
	virtio_device_init(&rng->device, memory);
	rng->device.id = VIRTIO_ID_RNG;
	rng->device.queue_count = 1;
	rng->device.operations = &rng_operations;
}
