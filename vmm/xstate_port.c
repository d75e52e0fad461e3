// SPDX-License-Identifier: Apache-2.0
/*
 * xstate_port.c: extended states between KVM and guest memory.
 *
 * #syscalls:vcpu ioctl(_, KVM_GET_XSAVE) ioctl(_, KVM_SET_XSAVE)
 */
#include "vmm/xstate_port.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

/* The legacy region and the header, in bytes. */
#define CONTROL     0u
#define MXCSR       24u
#define X87         32u
#define XMM         160u
#define XMM_END     416u
#define HEADER      512u
#define HEADER_END  576u
#define FEATURE_X87 1u
#define FEATURE_SSE 2u
#define X87_INITIAL 0x37fu
#define MXCSR_BITS  0xffffu
#define AREA_UNIT   64u

void xstate_sanitise(struct kvm_xsave *area, uint64_t features)
{
	uint8_t *bytes = (uint8_t *)area->region;
	const uint16_t control = X87_INITIAL;
	uint64_t present;
	uint32_t mxcsr;

	memcpy(&present, bytes + HEADER, sizeof(present));
	present &= features;
	if (!(present & FEATURE_X87)) {
		memset(bytes + CONTROL, 0, MXCSR);
		memset(bytes + X87, 0, XMM - X87);
		memcpy(bytes + CONTROL, &control, sizeof(control));
	}
	if (!(present & FEATURE_SSE))
		memset(bytes + XMM, 0, XMM_END - XMM);
	memcpy(&mxcsr, bytes + MXCSR, sizeof(mxcsr));
	mxcsr &= MXCSR_BITS;
	memcpy(bytes + MXCSR, &mxcsr, sizeof(mxcsr));
	/* MXCSR is restored in every case, which KVM does where SSE is there. */
	present |= FEATURE_X87 | FEATURE_SSE;
	memset(bytes + HEADER, 0, HEADER_END - HEADER);
	memcpy(bytes + HEADER, &present, sizeof(present));
}

int xstate_port_write(const struct vm *vm, const struct vcpu *vcpu,
	const struct guest_memory *memory, uint16_t port, uint32_t value)
{
	uint64_t address = (uint64_t)value * AREA_UNIT;
	struct kvm_xsave area;
	int r;

	if (port == XSTATE_SAVE_PORT) {
		if (ioctl(vcpu->fd, KVM_GET_XSAVE, &area) < 0)
			return -errno;
		return guest_memory_write(memory, address, &area, vm->xstate_size);
	}
	memset(&area, 0, sizeof(area));
	r = guest_memory_read(memory, address, &area, vm->xstate_size);
	if (r < 0)
		return r;
	xstate_sanitise(&area, vm->xstate_features);
	return ioctl(vcpu->fd, KVM_SET_XSAVE, &area) < 0 ? -errno : 0;
}
