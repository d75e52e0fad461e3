// SPDX-License-Identifier: Apache-2.0
/* device.c: what all virtio devices share. */
#include "virtio/device.h"

#include "base/log.h"

#define BREAKS_LOGGED 8

void virtio_device_init(struct virtio_device *device, const struct guest_memory *memory)
{
	device->memory = memory;
	device->breaks = 0;
	pthread_mutex_init(&device->lock, NULL);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		device->queues[i] = (struct virtqueue){.memory = memory};
}

void virtio_device_signal(struct virtio_device *device, unsigned int queue)
{
	if (virtqueue_needs_interrupt(&device->queues[queue]))
		device->interrupt(device, VIRTIO_INTERRUPT_QUEUE);
}

bool virtio_device_next(struct virtio_device *device, unsigned int queue,
	struct virtqueue_chain *chain, unsigned int *served)
{
	struct virtqueue *virtqueue = &device->queues[queue];
	int r = virtqueue_pop(virtqueue, chain);

	if (r == 0) {
		/* Ask for a notification, then look again: the driver may have added one meanwhile. */
		virtqueue_enable_notification(virtqueue);
		r = virtqueue_pop(virtqueue, chain);
	}
	if (r < 0)
		virtio_device_break(device, "a malformed queue");
	else if (r > 0 && (*served)++ == VIRTIO_CHAINS_MAX)
		virtio_device_break(device, "requests without end");
	else
		return r > 0;
	return false;
}

void virtio_device_break(struct virtio_device *device, const char *why)
{
	if (!device->running)
		return;
	device->running = false;
	/* A driver can reset and break it again for ever: the log must not grow with that. */
	if (device->breaks < BREAKS_LOGGED)
		log_warning(
			"virtio device %u: the guest's driver broke the rules: %s; the device waits "
			"for a reset",
			device->id, why);
	if (device->breaks < BREAKS_LOGGED)
		device->breaks++;
	device->interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}
