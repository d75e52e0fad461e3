/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports by which a guest kernel whose ring 0 is emulated saves and restores the registers of floating point and
 * vectors: the emulator has no XSAVE and XRSTOR, while ring 3 runs on the CPU itself, with all registers that it
 * has, and no CPUID to tell it otherwise. The guest's half is kernel-config/patches/0021.
 *
 * The guest writes 4 bytes: the physical address of an area in the standard format of XSAVE (Intel SDM volume 1, 13.4), in
 * units of 64 bytes. On the thread of the vCPU that writes.
 */
#ifndef APPC_VMM_XSTATE_PORT_H
#define APPC_VMM_XSTATE_PORT_H

#include "virtio/guest_memory.h"
#include "vmm/kvm.h"

#define XSTATE_SAVE_PORT    0xe0
#define XSTATE_RESTORE_PORT 0xe4

/* x87, SSE, AVX, and the three of AVX-512: what the guest's kernel keeps for its processes, where the CPU has them. */
#define XSTATE_FEATURES 0xe7u

/*
 * Serves a write of the value to one of the two ports. 0 or -errno: -EFAULT, the address is not one of RAM; another,
 * KVM refuses.
 */
int xstate_port_write(const struct vm *vm, const struct vcpu *vcpu,
	const struct guest_memory *memory, uint16_t port, uint32_t value);

/*
 * Makes an area that a guest wrote one that KVM takes: features that the guest does not have, reserved bits and bytes are
 * zero then, and a part that the header says to be in its initial state is.
 */
void xstate_sanitise(struct kvm_xsave *area, uint64_t features);

#endif
