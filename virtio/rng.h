/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2, section 5.4): entropy of the host, served on the notifying vCPU thread. */
#ifndef APPC_VIRTIO_RNG_H
#define APPC_VIRTIO_RNG_H

#include "virtio/device.h"

/* Bytes given per request, whatever its buffer: the guest asks again when it needs more. */
#define VIRTIO_RNG_REQUEST_MAX 4096

struct virtio_rng {
	struct virtio_device device;
	struct virtqueue_chain chain; /* scratch, under the lock */
};

void virtio_rng_init(struct virtio_rng *rng, const struct guest_memory *memory);

#endif
