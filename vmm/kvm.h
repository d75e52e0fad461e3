/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: a VM, its vCPUs, and what kind of KVM serves them.
 *
 * Two kinds are told apart, by what they do, never by configuration. Hardware KVM (VT-x, AMD-V)
 * honours the CPUID that it is given. Software KVM runs guest user code natively and emulates guest
 * kernel code instruction by instruction; it puts host CPUID bits back that we cleared, and some
 * instructions are missing. There we hide what the emulator lacks, and boot a kernel that
 * avoids the rest (vmm/boot.h).
 */
#ifndef APPC_VMM_KVM_H
#define APPC_VMM_KVM_H

#include "base/error.h"
#include "base/sha512.h"
#include "virtio/guest_memory.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/* More than KVM knows. */
#define VM_MSRS_MAX 1024u

struct vm {
	int kvm_fd, vm_fd;
	bool emulated; /* software KVM; known once vCPU 0 exists */
	size_t run_size;
	unsigned int vcpus;                /* planned number, for the CPU topology */
	unsigned int slots;                /* memory slots in use */
	uint8_t cpuid_digest[SHA512_SIZE]; /* of what vCPU 0 was given; known once it exists */
	uint64_t
		xstate_features; /* of XSTATE_FEATURES, those that vCPUs have; known once vCPU 0 exists */
	size_t xstate_size; /* of an area for them, in bytes; 0: there is none */
	uint32_t *msrs;     /* vm_list_msrs() */
	uint32_t msr_count;
};

struct vcpu {
	unsigned int id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	int statistics_fd;
	off_t instructions_offset; /* of the insn_emulation counter; -1: not there */
};

/* Opens /dev/kvm and creates a VM without anything in it. */
int vm_create(unsigned int vcpus, struct vm *ret, struct error *err);
void vm_destroy(struct vm *vm);
/* Asks which MSRs a vCPU's state has: before the system is closed, where the machine is to be saved later. */
int vm_list_msrs(struct vm *vm, struct error *err);
/* Closes /dev/kvm: what is asked of it, rather than of the machine, fails from now on. */
void vm_close_system(struct vm *vm);

/*
 * Gives the VM size bytes of memory at a guest physical address; the mapping is borrowed. Comes before the
 * interrupt controllers: these make KVM's tables busy, and the next change of them waits for its
 * readers, 4 to 12 ms instead of 0.1.
 */
int vm_add_memory(struct vm *vm, uint64_t start, uint64_t size, void *host, struct error *err);

/* The in-kernel interrupt controllers; before the first vCPU. */
int vm_create_interrupt_controllers(struct vm *vm, struct error *err);

/* Joins an eventfd to an interrupt line of the IOAPIC. */
int vm_set_irqfd(struct vm *vm, int event_fd, uint32_t line, struct error *err);

/* Parts them. What the eventfd was told before has arrived at the line when this returns. */
int vm_clear_irqfd(struct vm *vm, int event_fd, uint32_t line, struct error *err);

/* Raises an edge on an interrupt line; it has arrived when this returns. */
int vm_raise_line(struct vm *vm, uint32_t line, struct error *err);

/* Creates vCPU number id with its CPUID. vCPU 0 first: it finds out vm->emulated. */
int vcpu_create(struct vm *vm, unsigned int id, struct vcpu *ret, struct error *err);
void vcpu_destroy(struct vcpu *vcpu);

/*
 * After KVM_RUN failed with EFAULT: whether KVM says at which guest physical address (Linux 6.8 and later).
 */
bool vcpu_fault_address(const struct vcpu *vcpu, uint64_t *ret);

/*
 * Makes the guest take an exception at the instruction that the vCPU stopped at: "segment not present", which
 * 64-bit code never causes itself. Linux answers it with SIGBUS where a program runs, and its kernel
 * with the fixup of that instruction, as in copies from user memory. -errno.
 */
int vcpu_raise_bus_error(const struct vcpu *vcpu);

/*
 * Guest kernel instructions that KVM emulated for this vCPU so far, or -1 where there is no such
 * counter. It counts every ring 0 instruction on software KVM and next to nothing on hardware.
 */
int64_t vcpu_instructions(const struct vcpu *vcpu);

/* For `appc-vm check`: opens /dev/kvm and says what it is. -errno when pods cannot run in VMs. */
struct kvm_facts {
	bool emulated;
	char module[32]; /* kvm_intel, kvm_amd, kvm_pvm, or "unknown" */
	bool counts_instructions;
};
int kvm_probe(struct kvm_facts *ret, struct error *err);

#endif
