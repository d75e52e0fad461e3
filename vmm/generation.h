/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine's generation (the device tree's microsoft,vmgenid): 16 random bytes, new for each
 * instance of a machine, and 64 that are secret. A guest that was parked finds others when it goes on, is told
 * so by an interrupt, and renews its random generator's key before it does anything else.
 *
 * The page belongs to the instance: it is no part of the guest's RAM and of no saved state.
 */
#ifndef APPC_VMM_GENERATION_H
#define APPC_VMM_GENERATION_H

#include "vmm/kvm.h"

struct generation {
	void *page; /* NULL: not created */
};

/* Makes the page and puts it into the guest's address space; before the interrupt controllers. */
int generation_create(struct vm *vm, struct generation *ret, struct error *err);

/*
 * Tells the guest. Once, in a machine that goes on from saved state, after the state is restored and before
 * its first instruction. devices: the number of virtio devices, see LAYOUT_GENERATION_LINE().
 */
int generation_announce(struct vm *vm, unsigned int devices, struct error *err);

/* After the VM is gone. */
void generation_destroy(struct generation *generation);

#endif
