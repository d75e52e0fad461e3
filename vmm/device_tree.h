/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flattened device tree: CPUs, interrupt controllers, the virtio-mmio devices, and the machine's
 * generation (vmm/generation.h).
 */
#ifndef APPC_VMM_DEVICE_TREE_H
#define APPC_VMM_DEVICE_TREE_H

#include <stddef.h>

/* Writes the tree into size bytes; *ret_size is what it takes. 0, or -ENOSPC. */
int device_tree_write(
	void *buffer, size_t size, unsigned int vcpus, unsigned int devices, size_t *ret_size);

#endif
