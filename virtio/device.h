/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as the transport sees it (virtio 1.2, section 2).
 *
 * The transport (virtio/mmio.h) owns the register file and the queues and calls the operations; a
 * device owns what is behind them. One lock per device: the transport takes it around every operation,
 * a device takes it itself when it acts on its own (a file became readable, a file request
 * completed). No operation blocks while it holds it.
 */
#ifndef APPC_VIRTIO_DEVICE_H
#define APPC_VIRTIO_DEVICE_H

#include "base/error.h"
#include "base/state.h"
#include "virtio/queue.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Device types (section 5). */
#define VIRTIO_ID_NET     1
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG     4
#define VIRTIO_ID_VSOCK   19
#define VIRTIO_ID_FS      26

/* Feature bits (section 6). */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX     29
#define VIRTIO_F_VERSION_1     32
#define VIRTIO_FEATURE(bit)    (1ull << (bit))

#define VIRTIO_QUEUES_MAX 8

struct virtio_device;

struct virtio_operations {
	/* The driver notified a queue that is ready. Called on the vCPU thread that wrote. */
	void (*notify)(struct virtio_device *device, unsigned int queue);
	/* The driver set DRIVER_OK: features and queues are final. May be NULL. */
	void (*start)(struct virtio_device *device);
	/* Back to the state after creation; nothing of the old driver may be touched afterwards. */
	void (*reset)(struct virtio_device *device);
	/* length bytes of configuration space at offset (inside config_size). */
	void (*read_config)(struct virtio_device *device, size_t offset, void *data, size_t length);
	/* The driver wrote configuration space; NULL: writes are ignored. */
	void (*write_config)(
		struct virtio_device *device, size_t offset, const void *data, size_t length);
	/*
	 * Parking: puts the device's own state into the open section; the transport has put its
	 * registers and queues there. Every vCPU stands still, no request is in flight. -EBUSY with a
	 * message where the state cannot be told honestly. NULL: there is no state of its own.
	 */
	int (*save)(struct virtio_device *device, struct state_writer *writer, struct error *err);
	/*
	 * The opposite, in a device just created whose queues stand already. Nothing in the state
	 * is trusted. -EBADMSG, or -errno of what could not be had again, with a message: the
	 * device is of no use then. NULL as for save.
	 */
	int (*restore)(
		struct virtio_device *device, struct state_reader *reader, struct error *err);
};

struct virtio_device {
	/* Set by the device before it is attached; constant. */
	uint32_t id;
	uint64_t features; /* offered, beside those of the transport */
	unsigned int queue_count;
	uint32_t
		queue_size; /* most entries of a queue that the driver is told of; 0: VIRTQUEUE_SIZE_MAX */
	size_t config_size;
	const struct virtio_operations *operations;
	const struct guest_memory *memory;
	/* Shared memory region 0, in guest physical addresses (section 2.10); size 0: none. */
	uint64_t shared_start, shared_size;

	/* Set by the transport when it attaches the device; constant. */
	void (*interrupt)(struct virtio_device *device, uint32_t cause);
	void *transport;

	pthread_mutex_t lock; /* protects all below and the device's own state */
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	uint64_t driver_features; /* accepted by the driver, a subset of what was offered */
	bool running;             /* DRIVER_OK and not broken */
	unsigned int breaks;      /* how often the driver broke the rules, as far as it is logged */
};

/* Causes of an interrupt (InterruptStatus, section 4.2.2). */
#define VIRTIO_INTERRUPT_QUEUE  1
#define VIRTIO_INTERRUPT_CONFIG 2

void virtio_device_init(struct virtio_device *device, const struct guest_memory *memory);

/* Interrupts the driver if it asked to hear of what was pushed to this queue. Under the lock. */
void virtio_device_signal(struct virtio_device *device, unsigned int queue);

/*
 * Most chains served at one notification. A driver waits for the answers to those that it made; one that goes on
 * making them while it is served would keep the thread, and the lock, for ever.
 */
#define VIRTIO_CHAINS_MAX (4u * VIRTQUEUE_SIZE_MAX)

/*
 * For devices that serve a whole queue at its notification: takes the next chain. *served counts those of
 * this notification, from 0. False: the ring is empty and the driver will notify of the next one, or
 * the device is broken, since the ring is malformed or has no end. Under the lock.
 */
bool virtio_device_next(struct virtio_device *device, unsigned int queue,
	struct virtqueue_chain *chain, unsigned int *served);

/*
 * The driver broke the rules: the device stops serving, sets DEVICE_NEEDS_RESET and tells the driver
 * with a configuration interrupt. why goes to the log, the first times. Under the lock.
 */
void virtio_device_break(struct virtio_device *device, const char *why);

#endif
