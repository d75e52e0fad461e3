/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): the register file of one device.
 *
 * The driver's initialisation is held to its order (section 3.1.1): feature and queue registers can be
 * written only in the states that allow it, and nothing but a reset changes a queue after it became
 * ready. Writes that break the order are ignored.
 */
#ifndef APPC_VIRTIO_MMIO_H
#define APPC_VIRTIO_MMIO_H

#include "virtio/device.h"

#define VIRTIO_MMIO_SIZE 0x1000 /* bytes of address space a device takes */

struct virtio_mmio {
	struct virtio_device *device;
	/* Raises the interrupt line once (edge); any thread. */
	void (*raise)(void *context);
	void *context;
	/* Under the device's lock. */
	uint32_t status, interrupt_status, generation;
	uint32_t device_features_select, driver_features_select, queue_select, shared_select;
};

/* Joins device and transport. Neither is owned. Before the first vCPU runs. */
void virtio_mmio_attach(struct virtio_mmio *mmio, struct virtio_device *device,
	void (*raise)(void *context), void *context);

/* A guest access to offset (below VIRTIO_MMIO_SIZE) of length 1, 2, 4 or 8 bytes. */
void virtio_mmio_read(struct virtio_mmio *mmio, uint64_t offset, void *data, size_t length);
void virtio_mmio_write(struct virtio_mmio *mmio, uint64_t offset, const void *data, size_t length);

/*
 * Parking: one section with registers, queues and the device's own state; and back, into a device that was
 * created with the same options. While no vCPU runs. Errors with a message, as in struct
 * virtio_operations.
 */
int virtio_mmio_save(struct virtio_mmio *mmio, struct state_writer *writer, struct error *err);
int virtio_mmio_restore(struct virtio_mmio *mmio, struct state_reader *reader, struct error *err);

#endif
