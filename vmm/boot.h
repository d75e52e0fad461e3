/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct boot: an ELF vmlinux by the 64-bit boot protocol of Linux (Documentation/arch/x86/boot.rst),
 * entered in long mode, devices described by a device tree in setup_data. No firmware, no
 * decompression, no real mode.
 */
#ifndef APPC_VMM_BOOT_H
#define APPC_VMM_BOOT_H

#include "base/error.h"
#include "virtio/guest_memory.h"
#include "vmm/kvm.h"

#include <stdbool.h>
#include <stdint.h>

struct boot_options {
	int kernel_fd, initramfs_fd; /* vmlinux; the program that becomes /init */
	unsigned int vcpus;
	unsigned int devices; /* virtio-mmio devices, in the places of vmm/layout.h */
	bool emulated;        /* struct vm */
	bool kernel_messages;
	const char *extra_command_line; /* may be NULL */
};

/* Fills guest memory. *ret_entry is the kernel's entry point. */
int boot_load(const struct guest_memory *memory, const struct boot_options *options,
	uint64_t *ret_entry, struct error *err);

/* The registers of vCPU 0 at the entry point; the others wait for its start-up interrupt. */
int boot_set_registers(struct vcpu *vcpu, uint64_t entry, struct error *err);

#endif
