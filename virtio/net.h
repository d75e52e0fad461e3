/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, section 5.1): one pair of queues between the guest and a stream socket with a 4-byte
 * big-endian length before each frame, as passt(1) speaks it. Frames may be as long as IP allows, so
 * nothing is segmented. Checksums that the guest leaves out are filled in here; those of what comes in are the
 * other end's, who is trusted to have checked them.
 *
 * A frame that the host does not take now waits; for one that the guest has no buffers for the host waits.
 * Nothing else is held: at most one frame in each direction, and what came with it.
 *
 * Frames are sent on the notifying vCPU thread, received on the owner's loop.
 */
#ifndef APPC_VIRTIO_NET_H
#define APPC_VIRTIO_NET_H

#include "virtio/device.h"

#define VIRTIO_NET_HEADER_SIZE 12u
#define VIRTIO_NET_MAC_SIZE    6u

/* Longest frame, bytes: an IP packet of 64 KiB behind an Ethernet header. */
#define VIRTIO_NET_FRAME_MAX (14u + 65535u)

struct virtio_net_options {
	int fd; /* non-blocking; -1: what is sent goes nowhere. The device takes it */
	/*
	 * Of the guest's interface. Frames with another source are dropped, so that nobody on a shared link can
	 * pass for another.
	 */
	uint8_t mac[VIRTIO_NET_MAC_SIZE];
	/* virtio_net_ready() is to be called once, when fd has one of the poll events. Under the lock, any thread. */
	void (*arm)(void *context, uint32_t events);
	void *context;
};

/* Since the machine was made. Dropped: not well formed, from another source, or not taken by the host. */
struct virtio_net_counters {
	uint64_t received_frames, received_bytes, sent_frames, sent_bytes, dropped_frames;
};

struct virtio_net;

/* 0, -ENOMEM. */
int virtio_net_create(const struct guest_memory *memory, const struct virtio_net_options *options,
	struct virtio_net **ret);
void virtio_net_free(struct virtio_net *net);
struct virtio_device *virtio_net_device(struct virtio_net *net);

/* The fd has these poll events. */
void virtio_net_ready(struct virtio_net *net, uint32_t events);

/* Any thread. */
void virtio_net_count(struct virtio_net *net, struct virtio_net_counters *ret);

#endif
