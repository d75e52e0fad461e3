/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, section 5.1): one pair of queues between the guest and one of two kinds of host
 * network.
 *
 *   tap      a tap interface with IFF_VNET_HDR and a header of VIRTIO_NET_HEADER_SIZE bytes: checksums and
 *            segmentation are left to whoever needs them, on either side
 *   stream   a stream socket with a 4-byte big-endian length before each frame, as passt(1) speaks it. Frames may
 *            be as long as IP allows, so nothing is segmented. Checksums that the guest leaves out are filled in
 *            here; those of what comes in are the other end's, who is trusted to have checked them
 *
 * A frame that the host does not take now waits (stream) or is lost (tap); for one that the guest has no buffers for
 * the host waits. Nothing else is held: at most one frame in each direction, and what came with it.
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

/* NONE: there is no such device. */
enum virtio_net_kind { VIRTIO_NET_NONE, VIRTIO_NET_TAP, VIRTIO_NET_STREAM };

/* Work on frames that is left to the guest. */
#define VIRTIO_NET_OFFLOAD_CHECKSUM (1u << 0)
#define VIRTIO_NET_OFFLOAD_TCP4     (1u << 1) /* segments of TCP over IPv4, and over IPv6 */
#define VIRTIO_NET_OFFLOAD_TCP6     (1u << 2)

struct virtio_net_options {
	enum virtio_net_kind
		kind; /* what the driver may leave out depends on it: part of the machine's shape */
	int fd;       /* non-blocking; -1: what is sent goes nowhere. The device takes it */
	/*
	 * Of the guest's interface. Frames with another source are dropped, so that nobody on a shared link can
	 * pass for another.
	 */
	uint8_t mac[VIRTIO_NET_MAC_SIZE];
	/*
	 * Of a tap: from now on the host may leave this (VIRTIO_NET_OFFLOAD_*) of the frames that it gives to the guest.
	 * 0 or -errno. Under the lock, any thread.
	 */
	int (*offload)(void *context, unsigned int offload);
	uint64_t bandwidth; /* bytes of frames per second, both directions together; 0: no limit */
	/* virtio_net_ready() is to be called once, when fd has one of the poll events. Under the lock, any thread. */
	void (*arm)(void *context, uint32_t events);
	void *context;
};

/* Since the machine was made. Dropped: not well formed, from another source, or not taken by the host. */
struct virtio_net_counters {
	uint64_t received_frames, received_bytes, sent_frames, sent_bytes, dropped_frames;
};

struct virtio_net;

/* 0 or -errno. */
int virtio_net_create(const struct guest_memory *memory, const struct virtio_net_options *options,
	struct virtio_net **ret);
void virtio_net_free(struct virtio_net *net);
struct virtio_device *virtio_net_device(struct virtio_net *net);

/* The fd has these poll events. */
void virtio_net_ready(struct virtio_net *net, uint32_t events);

/*
 * A timerfd, readable when it is time for virtio_net_due(), since options.bandwidth has kept frames waiting; -1: nothing
 * is limited.
 */
int virtio_net_timer_fd(const struct virtio_net *net);
void virtio_net_due(struct virtio_net *net);

/* Any thread. */
void virtio_net_count(struct virtio_net *net, struct virtio_net_counters *ret);

#endif
