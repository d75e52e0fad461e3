/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split virtqueue (virtio 1.2, section 2.7), device side.
 *
 * virtqueue_pop() walks a descriptor chain once, copies each descriptor before it looks at it, and
 * gives back a list of checked spans of guest memory; devices never see a descriptor. Whatever the
 * driver does wrong (head or next out of range, loops, lengths that leave RAM, readable after
 * writable, nested or ill-sized indirect tables, avail.idx that jumps) comes back as -EBADMSG:
 * the device then needs a reset (section 2.1.1, DEVICE_NEEDS_RESET).
 *
 * A queue is used under its device's lock. Lengths that spans add up to fit a uint32_t.
 */
#ifndef APPC_VIRTIO_QUEUE_H
#define APPC_VIRTIO_QUEUE_H

#include "base/state.h"
#include "virtio/guest_memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIRTQUEUE_SIZE_MAX 256
/* Most spans of one chain: an indirect table of 1 MiB in pages, headers, and some room. */
#define VIRTQUEUE_SPANS_MAX 512

struct virtqueue {
	const struct guest_memory *memory;
	/* Set by the driver through the transport; fixed while ready. */
	uint64_t descriptors, available, used; /* guest physical addresses */
	uint32_t size;                         /* entries, a power of two */
	bool ready;
	bool event_index; /* VIRTIO_F_EVENT_IDX was negotiated */
	bool indirect;    /* VIRTIO_F_INDIRECT_DESC was negotiated */
	/* Set by the device: its chains may have spans in the window (virtio/guest_memory.h). */
	bool window;
	/* Ring spans, translated when the queue became ready; the memory they lie in stays mapped. */
	void *descriptor_ring, *available_ring, *used_ring;
	uint16_t next_available; /* the next entry of the available ring to look at */
	uint16_t next_used;      /* used.idx as we last wrote it */
	uint16_t signalled_used; /* used.idx at the last interrupt decision */
};

/* One request: spans that the device may read, then spans that it may write. */
struct virtqueue_chain {
	uint16_t head;
	size_t readable_count, writable_count;
	uint32_t readable_bytes, writable_bytes;
	/* Spans that lie here are for system calls only; NULL: there are none such. */
	const struct guest_region *window;
	struct iovec spans[VIRTQUEUE_SPANS_MAX]; /* readable ones first */
};

/*
 * Checks the addresses and size, translates the rings and makes the queue ready.
 * -EINVAL: size not a power of two up to VIRTQUEUE_SIZE_MAX, misaligned, or not in RAM.
 */
int virtqueue_start(struct virtqueue *queue);

/*
 * Parking: where the rings are and how far they are served; and back. The two negotiated features are
 * the caller's to set before. -EBADMSG: no queue that a driver could have set up.
 */
void virtqueue_save(const struct virtqueue *queue, struct state_writer *writer);
int virtqueue_restore(struct virtqueue *queue, struct state_reader *reader);

/* Forgets all state but what the device has set, as after a device reset. */
void virtqueue_reset(struct virtqueue *queue);

/*
 * Takes the next chain: 1 and *chain, 0 when the ring is empty, -EBADMSG when the driver broke the
 * rules.
 */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);

/*
 * Puts the chain that was popped last back, unanswered: it is the next to be popped. Called again, the one
 * before it.
 */
void virtqueue_unpop(struct virtqueue *queue);

/*
 * How many chains wait in the available ring: 0 to size, or -EBADMSG.
 */
int virtqueue_pending(struct virtqueue *queue);

/* Gives a chain back with the number of bytes written into it. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);

/* Gives several back, all of which the driver sees at once or none. As they lie in the used ring. */
struct virtqueue_used {
	uint32_t head, written;
};
void virtqueue_push_all(
	struct virtqueue *queue, const struct virtqueue_used *elements, size_t count);

/* Whether the driver wants an interrupt for what was pushed since the last call. */
bool virtqueue_needs_interrupt(struct virtqueue *queue);

/*
 * Asks the driver for a notification on the next chain (event index only; without it the driver always
 * notifies). Call after the ring was found empty, then look at the ring once more.
 */
void virtqueue_enable_notification(struct virtqueue *queue);

/*
 * Copies out of the readable spans from offset on; returns the number of bytes copied. A span in the
 * window ends it.
 */
size_t virtqueue_chain_read(
	const struct virtqueue_chain *chain, size_t offset, void *data, size_t length);

/* Copies into the writable spans from offset on; returns the number of bytes copied. The same holds. */
size_t virtqueue_chain_write(
	const struct virtqueue_chain *chain, size_t offset, const void *data, size_t length);

/*
 * The writable (or readable) spans from offset on, at most length bytes of them, as an iovec list of
 * at most VIRTQUEUE_SPANS_MAX. Returns the number of spans.
 */
size_t virtqueue_chain_slice(const struct virtqueue_chain *chain, bool writable, size_t offset,
	size_t length, struct iovec *ret_spans);

#endif
