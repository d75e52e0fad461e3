// SPDX-License-Identifier: Apache-2.0
/*
 * kvm.c: VM and vCPU creation over raw ioctls.
 *
 * #syscalls: ioctl pread64
 */
#include "vmm/kvm.h"

#include "vmm/xstate_port.h"

#include <asm/kvm_para.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CPUID_ENTRIES_MAX 256
/* Three pages that Intel hardware needs outside RAM and devices, just below the BIOS area's end. */
#define TSS_ADDRESS 0xfffbd000ul

/* CPUID leaf 1, ecx. */
#define CPUID_1_ECX_CX16         (1u << 13)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_XSAVE        (1u << 26)
#define XSAVE_LEGACY_SIZE        576 /* registers of x87 and SSE, and the header */
#define CPUID_1_ECX_RDRAND       (1u << 30)
#define CPUID_1_ECX_HYPERVISOR   (1u << 31)

/*
 * Paravirtual features that the guest uses through the VMCALL instruction. The emulator "corrects" that
 * instruction in the guest's text before it serves it, which is a page fault once the text is
 * read-only.
 */
#define HYPERCALL_FEATURES                                             \
	(1u << KVM_FEATURE_PV_UNHALT | 1u << KVM_FEATURE_PV_SEND_IPI | \
		1u << KVM_FEATURE_PV_SCHED_YIELD)

/*
 * Page faults of the host that the guest is told of, so that it may run another task meanwhile. That costs
 * its kernel more than the fault takes; and a machine that goes on from saved state begins with an
 * interrupt that wakes whoever waits for such a page.
 */
#define ASYNCHRONOUS_FAULT_FEATURES                                       \
	(1u << KVM_FEATURE_ASYNC_PF | 1u << KVM_FEATURE_ASYNC_PF_VMEXIT | \
		1u << KVM_FEATURE_ASYNC_PF_INT)

/* KVM_EXIT_MEMORY_FAULT of Linux 6.8; the distribution's header may be older. */
#define EXIT_MEMORY_FAULT 39

/* Segment not present (SDM, volume 3, 6.15). */
#define EXCEPTION_NOT_PRESENT 11

struct cpuid {
	struct kvm_cpuid2 header;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

int vm_create(unsigned int vcpus, struct vm *ret, struct error *err)
{
	struct vm vm = {.kvm_fd = -1, .vm_fd = -1, .vcpus = vcpus};
	int version, size;

	vm.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm.kvm_fd < 0)
		return error_set_errno(err, -errno, "cannot open /dev/kvm");
	version = ioctl(vm.kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		vm_destroy(&vm);
		return error_set(err, -ENOTSUP,
			"/dev/kvm speaks version %d of its interface, not %d", version,
			KVM_API_VERSION);
	}
	do
		vm.vm_fd = ioctl(vm.kvm_fd, KVM_CREATE_VM, 0);
	while (vm.vm_fd < 0 && errno == EINTR);
	size = ioctl(vm.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm.vm_fd < 0 || size < 0) {
		int r = -errno;

		vm_destroy(&vm);
		return error_set_errno(err, r, "cannot create a virtual machine");
	}
	vm.run_size = (size_t)size;
	*ret = vm;
	return 0;
}

int vm_list_msrs(struct vm *vm, struct error *err)
{
	struct {
		struct kvm_msr_list header;
		uint32_t indices[VM_MSRS_MAX];
	} list = {.header.nmsrs = VM_MSRS_MAX};

	if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &list) < 0)
		return error_set_errno(err, -errno, "cannot list the MSRs of a vCPU");
	vm->msrs = malloc(list.header.nmsrs * sizeof(vm->msrs[0]));
	if (!vm->msrs)
		return -ENOMEM;
	memcpy(vm->msrs, list.indices, list.header.nmsrs * sizeof(vm->msrs[0]));
	vm->msr_count = list.header.nmsrs;
	return 0;
}

void vm_close_system(struct vm *vm)
{
	cleanup_close(&vm->kvm_fd);
	vm->kvm_fd = -1;
}

/* #syscalls:loop close */
void vm_destroy(struct vm *vm)
{
	cleanup_close(&vm->vm_fd);
	cleanup_close(&vm->kvm_fd);
	free(vm->msrs);
	vm->msrs = NULL;
}

int vm_add_memory(struct vm *vm, uint64_t start, uint64_t size, void *host, struct error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = vm->slots,
		.guest_phys_addr = start,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return error_set_errno(
			err, -errno, "cannot give the VM %" PRIu64 " bytes of memory", size);
	vm->slots++;
	return 0;
}

int vm_create_interrupt_controllers(struct vm *vm, struct error *err)
{
	if (ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 ||
		ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return error_set_errno(err, -errno, "cannot create the interrupt controllers");
	return 0;
}

/* #syscalls:park ioctl(_, KVM_IRQFD) */
int vm_set_irqfd(struct vm *vm, int event_fd, uint32_t line, struct error *err)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)event_fd, .gsi = line};

	if (ioctl(vm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return error_set_errno(err, -errno, "cannot join interrupt line %u", line);
	return 0;
}

/* #syscalls:park ioctl(_, KVM_IRQFD) */
int vm_clear_irqfd(struct vm *vm, int event_fd, uint32_t line, struct error *err)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)event_fd,
		.gsi = line,
		.flags = KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (ioctl(vm->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return error_set_errno(err, -errno, "cannot part interrupt line %u", line);
	return 0;
}

int vm_raise_line(struct vm *vm, uint32_t line, struct error *err)
{
	for (uint32_t level = 2; level-- > 0;) {
		struct kvm_irq_level edge = {.irq = line, .level = level};

		if (ioctl(vm->vm_fd, KVM_IRQ_LINE, &edge) < 0)
			return error_set_errno(err, -errno, "cannot raise interrupt line %u", line);
	}
	return 0;
}

/*
 * Whether KVM gives back CPUID bits that were cleared. Hardware KVM does not; what does is emulating,
 * because only then does the guest's CPUID instruction not trap into KVM's own table.
 */
static int cpuid_is_overridden(int fd, const struct cpuid *supported, bool *ret)
{
	static const uint32_t probe = CPUID_1_ECX_RDRAND | CPUID_1_ECX_XSAVE;
	struct cpuid cpuid = *supported;

	for (uint32_t i = 0; i < cpuid.header.nent; i++)
		if (cpuid.entries[i].function == 1)
			cpuid.entries[i].ecx &= ~probe;
	if (ioctl(fd, KVM_SET_CPUID2, &cpuid) < 0)
		return -errno;
	cpuid.header.nent = CPUID_ENTRIES_MAX;
	if (ioctl(fd, KVM_GET_CPUID2, &cpuid) < 0)
		return -errno;
	*ret = false;
	for (uint32_t i = 0; i < cpuid.header.nent; i++)
		if (cpuid.entries[i].function == 1 && cpuid.entries[i].ecx & probe)
			*ret = true;
	return 0;
}

/* The smallest shift that separates count ids. */
static uint32_t topology_shift(uint32_t count)
{
	uint32_t shift = 0;

	while ((1u << shift) < count)
		shift++;
	return shift;
}

/* One package, one core per vCPU: the host's topology means nothing to the guest. */
static void cpuid_set_topology(struct kvm_cpuid_entry2 *entry, uint32_t id, uint32_t vcpus)
{
	switch (entry->function) {
	case 1:
		entry->ebx = (entry->ebx & 0x0000ffff) | id << 24 | vcpus << 16;
		break;
	case 4: /* no cache is shared; cores in the package */
		if (entry->eax & 0x1f)
			entry->eax = (entry->eax & 0x3fff) | (vcpus - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		entry->edx = id;
		entry->eax = entry->index == 1 ? topology_shift(vcpus) : 0;
		entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? vcpus : 0;
		/* Level types of the SDM: 1 is SMT, 2 is core. */
		entry->ecx = entry->index | (entry->index < 2 ? (entry->index + 1) << 8 : 0);
		break;
	case 0x80000008: /* AMD: number of cores less one, no size of ids */
		entry->ecx = (entry->ecx & ~0xf0ffu) | (vcpus - 1);
		break;
	case 0x8000001e:
		entry->eax = id;
		break;
	}
}

/*
 * KVM may list the levels of the topology leaves, or the first of them only: the core level is added
 * where it is missing, else each vCPU would look like a package of its own.
 */
static void cpuid_add_core_level(
	struct cpuid *cpuid, uint32_t function, uint32_t id, uint32_t vcpus)
{
	struct kvm_cpuid_entry2 added = {
		.function = function,
		.index = 1,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
	};
	bool has_leaf = false;

	for (uint32_t i = 0; i < cpuid->header.nent; i++) {
		if (cpuid->entries[i].function != function)
			continue;
		has_leaf = true;
		if (cpuid->entries[i].index == 1)
			return;
	}
	if (!has_leaf || cpuid->header.nent == CPUID_ENTRIES_MAX)
		return;
	cpuid_set_topology(&added, id, vcpus);
	cpuid->entries[cpuid->header.nent++] = added;
}

/* The area that XSAVE writes in its standard format: leaf 0xd tells which parts there are, and where. */
static void learn_xstate(struct vm *vm, const struct cpuid *cpuid)
{
	vm->xstate_features = 0;
	vm->xstate_size = XSAVE_LEGACY_SIZE;
	for (uint32_t i = 0; i < cpuid->header.nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == 0xd && entry->index == 0)
			vm->xstate_features = entry->eax & XSTATE_FEATURES;
	}
	for (uint32_t i = 0; i < cpuid->header.nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		size_t end = (size_t)entry->ebx + entry->eax;

		if (entry->function != 0xd || entry->index < 2 || entry->index > 63 ||
			!(vm->xstate_features >> entry->index & 1))
			continue;
		/* No part of these is anywhere else; and nothing is written behind what KVM tells. */
		if (end > sizeof(struct kvm_xsave))
			vm->xstate_features &= ~(1ull << entry->index);
		else if (end > vm->xstate_size)
			vm->xstate_size = end;
	}
	if (!vm->xstate_features)
		vm->xstate_size = 0;
}

static int vcpu_set_cpuid(struct vm *vm, struct vcpu *vcpu)
{
	struct cpuid cpuid = {.header.nent = CPUID_ENTRIES_MAX};
	bool deadline = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	uint32_t kept = 0;
	int r;

	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return -errno;
	if (vcpu->id == 0) {
		r = cpuid_is_overridden(vcpu->fd, &cpuid, &vm->emulated);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < cpuid.header.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid.entries[i];

		cpuid_set_topology(entry, vcpu->id, vm->vcpus);
		if (entry->function == 1) {
			entry->ecx |= CPUID_1_ECX_HYPERVISOR;
			if (deadline)
				entry->ecx |= CPUID_1_ECX_TSC_DEADLINE;
			/* The emulator has no CMPXCHG16B. */
			if (vm->emulated)
				entry->ecx &= ~CPUID_1_ECX_CX16;
		}
		if (vm->emulated && entry->function == KVM_CPUID_FEATURES)
			entry->eax &= ~(HYPERCALL_FEATURES | ASYNCHRONOUS_FAULT_FEATURES);
		/*
		 * Leaf 7 brings fast string operations, which the emulator takes byte by byte, and
		 * SMAP, whose CLAC it lacks; single bits of it cannot be hidden, the whole leaf can.
		 */
		if (vm->emulated && entry->function == 7)
			continue;
		cpuid.entries[kept++] = *entry;
	}
	cpuid.header.nent = kept;
	cpuid_add_core_level(&cpuid, 0xb, vcpu->id, vm->vcpus);
	cpuid_add_core_level(&cpuid, 0x1f, vcpu->id, vm->vcpus);
	if (vcpu->id == 0) {
		struct sha512 digest;

		learn_xstate(vm, &cpuid);

		sha512_init(&digest);
		sha512_update(&digest, cpuid.entries, cpuid.header.nent * sizeof(cpuid.entries[0]));
		sha512_final(&digest, vm->cpuid_digest);
	}
	return ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid) < 0 ? -errno : 0;
}

/* Finds the insn_emulation counter in the vCPU's binary statistics. */
static void vcpu_open_statistics(struct vcpu *vcpu)
{
	_cleanup_free_ uint8_t *descriptions = NULL;
	struct kvm_stats_header header;
	size_t stride, size;

	vcpu->statistics_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, 0);
	if (vcpu->statistics_fd < 0 ||
		pread(vcpu->statistics_fd, &header, sizeof(header), 0) != sizeof(header))
		return;
	stride = sizeof(struct kvm_stats_desc) + header.name_size;
	size = stride * header.num_desc;
	descriptions = malloc(size);
	if (!descriptions ||
		pread(vcpu->statistics_fd, descriptions, size, header.desc_offset) != (ssize_t)size)
		return;
	for (size_t i = 0; i < header.num_desc; i++) {
		const struct kvm_stats_desc *description = (void *)(descriptions + i * stride);

		if (!strncmp(description->name, "insn_emulation", header.name_size))
			vcpu->instructions_offset =
				(off_t)header.data_offset + (off_t)description->offset;
	}
}

/* #syscalls:vcpu,loop pread64 */
int64_t vcpu_instructions(const struct vcpu *vcpu)
{
	uint64_t value;

	if (vcpu->instructions_offset < 0 ||
		pread(vcpu->statistics_fd, &value, sizeof(value), vcpu->instructions_offset) !=
			sizeof(value))
		return -1;
	return (int64_t)value;
}

int vcpu_create(struct vm *vm, unsigned int id, struct vcpu *ret, struct error *err)
{
	struct vcpu vcpu = {.id = id, .fd = -1, .statistics_fd = -1, .instructions_offset = -1};
	void *run;
	int r;

	vcpu.fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, id);
	if (vcpu.fd < 0)
		return error_set_errno(err, -errno, "cannot create vCPU %u", id);
	run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
	if (run == MAP_FAILED) {
		r = -errno;
		vcpu_destroy(&vcpu);
		return error_set_errno(err, r, "cannot map vCPU %u", id);
	}
	vcpu.run = run;
	vcpu.run_size = vm->run_size;
	r = vcpu_set_cpuid(vm, &vcpu);
	if (r < 0) {
		vcpu_destroy(&vcpu);
		return error_set_errno(err, r, "cannot set the CPUID of vCPU %u", id);
	}
	vcpu_open_statistics(&vcpu);
	*ret = vcpu;
	return 0;
}

/* #syscalls:loop munmap close */
void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	cleanup_close(&vcpu->statistics_fd);
	vcpu->statistics_fd = -1;
	cleanup_close(&vcpu->fd);
	vcpu->fd = -1;
}

bool vcpu_fault_address(const struct vcpu *vcpu, uint64_t *ret)
{
	struct {
		uint64_t flags, address, size;
	} fault;

	if (vcpu->run->exit_reason != EXIT_MEMORY_FAULT)
		return false;
	/* The first member of the union of what exits tell. */
	memcpy(&fault, &vcpu->run->hw, sizeof(fault));
	*ret = fault.address;
	return true;
}

/* #syscalls:vcpu ioctl(_, KVM_GET_VCPU_EVENTS) ioctl(_, KVM_SET_VCPU_EVENTS) */
int vcpu_raise_bus_error(const struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	events.exception.injected = 1;
	events.exception.pending = 0;
	events.exception.nr = EXCEPTION_NOT_PRESENT;
	events.exception.has_error_code = 1;
	events.exception.error_code = 0;
	events.flags = 0;
	return ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0 ? -errno : 0;
}

int kvm_probe(struct kvm_facts *ret, struct error *err)
{
	static const char *const modules[] = {"kvm_intel", "kvm_amd", "kvm_pvm"};
	struct vcpu vcpu;
	struct vm vm;
	int r;

	r = vm_create(1, &vm, err);
	if (r < 0)
		return r;
	r = vm_create_interrupt_controllers(&vm, err);
	if (r == 0)
		r = vcpu_create(&vm, 0, &vcpu, err);
	if (r == 0) {
		ret->emulated = vm.emulated;
		ret->counts_instructions = vm.emulated && vcpu.instructions_offset >= 0;
		snprintf(ret->module, sizeof(ret->module), "unknown");
		for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
			char path[64];

			snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
			if (access(path, F_OK) == 0)
				snprintf(ret->module, sizeof(ret->module), "%s", modules[i]);
		}
		vcpu_destroy(&vcpu);
	}
	vm_destroy(&vm);
	return r;
}
