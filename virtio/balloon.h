/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, section 5.5): memory that the guest does not need goes back to the host.
 *
 * Two ways lead there: the guest reports blocks of free pages by itself (free page reporting), and the
 * owner can ask it for a number of pages (virtio_balloon_set_target()). Both are the guest's good will;
 * what bounds its memory is the size of its RAM. Requests are served on the notifying vCPU thread.
 */
#ifndef APPC_VIRTIO_BALLOON_H
#define APPC_VIRTIO_BALLOON_H

#include "virtio/device.h"

/* Pages of the balloon's interface, whatever page sizes guest and host use. */
#define VIRTIO_BALLOON_PAGE_SIZE 4096u

/*
 * Most page numbers in one request: Linux sends up to 256, other drivers a page full of them. A driver that
 * sends more breaks the device.
 */
#define VIRTIO_BALLOON_PFNS_MAX 1024u

struct virtio_balloon {
	struct virtio_device device;
	/* Under the device's lock. */
	struct virtqueue_chain chain;           /* scratch */
	uint32_t pfns[VIRTIO_BALLOON_PFNS_MAX]; /* scratch */
	uint32_t target;                        /* pages that the guest shall give up */
	uint32_t actual;                        /* pages that it says it has given up */
	uint64_t released;                      /* bytes given to the host so far */
	bool told;                              /* that the host refused */
};

/* memory must be private mappings: what the guest gives up is dropped by MADV_DONTNEED. */
void virtio_balloon_init(struct virtio_balloon *balloon, const struct guest_memory *memory);

/*
 * Asks the guest to keep `pages` pages in its balloon: more than before, and it gives memory up; fewer, and
 * it takes some back. It follows when and as far as it likes. -ERANGE: more than the guest has.
 * Any thread.
 */
int virtio_balloon_set_target(struct virtio_balloon *balloon, uint32_t pages);

/* How many pages are in the balloon, as the guest says. Any thread. */
uint32_t virtio_balloon_actual(struct virtio_balloon *balloon);

/*
 * Bytes of RAM that were dropped since the device was created, reported and inflated ones; pages that
 * went twice count twice. Any thread.
 */
uint64_t virtio_balloon_released(struct virtio_balloon *balloon);

#endif
