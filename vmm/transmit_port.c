// SPDX-License-Identifier: Apache-2.0
/*
 * transmit_port.c: bytes of guest memory, by linear address.
 *
 * Theory of operation: the vCPU stands at its input instruction, so that its registers and page tables are
 * those of the process that executes it. KVM walks the page tables, we check what comes out against
 * guest memory, as with any address of a queue. The guest may change tables and bytes while we read:
 * it then sends other bytes of its own.
 *
 * #syscalls:vcpu ioctl(_, KVM_TRANSLATE) ioctl(_, KVM_GET_REGS)
 */
#include "vmm/transmit_port.h"

#include "wire/wire.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#define PAGE_SIZE 4096u
#define SPANS_MAX (WIRE_TRANSMIT_MAX / PAGE_SIZE + 1)

/* The spans of [address, address + length), as far as it is mapped to memory. Returns their number. */
static size_t linear_spans(const struct vcpu *vcpu, const struct guest_memory *memory,
	uint64_t address, uint64_t length, struct iovec spans[SPANS_MAX])
{
	size_t count = 0;

	while (length > 0) {
		struct kvm_translation translation = {.linear_address = address};
		uint64_t left = PAGE_SIZE - address % PAGE_SIZE;
		void *host;

		if (left > length)
			left = length;
		if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid)
			break;
		host = guest_memory_span(memory, translation.physical_address, left);
		if (!host)
			break;
		spans[count++] = (struct iovec){.iov_base = host, .iov_len = left};
		address += left;
		length -= left;
	}
	return count;
}

uint32_t transmit_port_read(
	const struct vcpu *vcpu, const struct guest_memory *memory, struct virtio_console *console)
{
	struct iovec spans[SPANS_MAX];
	struct kvm_regs registers;
	size_t count;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &registers) < 0 || registers.rdi > UINT32_MAX ||
		registers.rcx > WIRE_TRANSMIT_MAX)
		return 0;
	count = linear_spans(vcpu, memory, registers.rsi, registers.rcx, spans);
	return (uint32_t)virtio_console_transmit(
		console, (unsigned int)registers.rdi, spans, count);
}
