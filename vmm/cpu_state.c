// SPDX-License-Identifier: Apache-2.0
/*
 * cpu_state.c: KVM's part of a parked machine.
 *
 * Theory of operation: structures go into the state as KVM gives them, in the order in which they must be
 * set again: special registers before MSRs (they decide which exist), the local APIC after the MSRs
 * that place it, the deadline of its timer after that, pending events and the run state at the
 * end. Which MSRs there are is KVM's to say; some of its list cannot be read or set on a given host, and
 * those are left out.
 *
 * #syscalls: ioctl
 * #syscalls:park ioctl(_, KVM_GET_IRQCHIP) ioctl(_, KVM_GET_MSRS)
 * #syscalls:park ioctl(_, KVM_CHECK_EXTENSION) ioctl(_, KVM_GET_XSAVE2) ioctl(_, KVM_GET_XSAVE)
 * #syscalls:park ioctl(_, KVM_GET_MP_STATE) ioctl(_, KVM_GET_SREGS) ioctl(_, KVM_GET_REGS)
 * #syscalls:park ioctl(_, KVM_GET_DEBUGREGS) ioctl(_, KVM_GET_XCRS) ioctl(_, KVM_GET_LAPIC)
 * #syscalls:park ioctl(_, KVM_GET_VCPU_EVENTS)
 */
#include "vmm/cpu_state.h"

#include "base/log.h"

#include <string.h>
#include <sys/ioctl.h>

#define INTERRUPT_TAG STATE_TAG('C', 'H', 'I', 'P')
#define VCPU_TAG      STATE_TAG('V', 'C', 'P', 'U')
#define CLOCK_TAG     STATE_TAG('C', 'L', 'C', 'K')
#define VERSION       1

#define MSR_TSC          0x10u
#define MSR_TSC_DEADLINE 0x6e0u

/* KVM takes fewer than 256 in one call. */
#define MSRS_PER_CALL 255u

/* AMX tiles make it 11 KiB; anything near this bound is no XSAVE area. */
#define XSAVE_MAX (64u << 10)

struct msr_batch {
	struct kvm_msrs header;
	struct kvm_msr_entry entries[MSRS_PER_CALL];
};

int interrupt_state_save(struct vm *vm, struct state_writer *writer, struct error *err)
{
	state_begin(writer, INTERRUPT_TAG, VERSION);
	for (uint32_t id = 0; id < KVM_NR_IRQCHIPS; id++) {
		struct kvm_irqchip chip = {.chip_id = id};

		if (ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return error_set_errno(
				err, -errno, "cannot save interrupt controller %u", id);
		state_put(writer, &chip, sizeof(chip));
	}
	state_end(writer);
	return 0;
}

int interrupt_state_restore(struct vm *vm, struct state_reader *reader, struct error *err)
{
	int r;

	r = state_open(reader, INTERRUPT_TAG, VERSION, err);
	if (r < 0)
		return r;
	for (uint32_t id = 0; id < KVM_NR_IRQCHIPS; id++) {
		struct kvm_irqchip chip;

		state_get(reader, &chip, sizeof(chip));
		if (reader->error || chip.chip_id != id)
			return error_set(err, -EBADMSG,
				"saved state: interrupt controller %u is damaged", id);
		if (ioctl(vm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return error_set_errno(
				err, -errno, "cannot restore interrupt controller %u", id);
	}
	return state_close(reader, err);
}

void clock_state_save(const struct clock_moment *moment, struct state_writer *writer)
{
	state_begin(writer, CLOCK_TAG, VERSION);
	state_put_u64(writer, moment->clock);
	state_end(writer);
}

int clock_state_restore(struct vm *vm, struct state_reader *reader, struct error *err)
{
	struct kvm_clock_data clock = {0};
	int r;

	r = state_open(reader, CLOCK_TAG, VERSION, err);
	if (r < 0)
		return r;
	clock.clock = state_get_u64(reader);
	r = state_close(reader, err);
	if (r < 0)
		return r;
	if (ioctl(vm->vm_fd, KVM_SET_CLOCK, &clock) < 0)
		return error_set_errno(err, -errno, "cannot restore the guest's clock");
	return 0;
}

/* ---- MSRs */

static int msr_get(const struct vcpu *vcpu, uint32_t index, uint64_t *ret)
{
	struct msr_batch batch = {.header.nmsrs = 1, .entries[0].index = index};

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &batch) != 1)
		return -ENOENT;
	*ret = batch.entries[0].data;
	return 0;
}

static int msr_set(const struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct msr_batch batch = {
		.header.nmsrs = 1,
		.entries[0] = {.index = index, .data = value},
	};

	return ioctl(vcpu->fd, KVM_SET_MSRS, &batch) == 1 ? 0 : -EINVAL;
}

/* #syscalls:vcpu,loop ioctl(_, KVM_GET_CLOCK) ioctl(_, KVM_GET_MSRS) */
int clock_moment_take(struct vm *vm, const struct vcpu *vcpu, struct clock_moment *ret)
{
	struct kvm_clock_data clock = {0};

	if (ioctl(vm->vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return -errno;
	ret->clock = clock.clock;
	return msr_get(vcpu, MSR_TSC, &ret->tsc);
}

/* #syscalls:loop ioctl(_, KVM_SET_CLOCK) */
int clock_moment_return(struct vm *vm, const struct clock_moment *moment)
{
	struct kvm_clock_data clock = {.clock = moment->clock};

	return ioctl(vm->vm_fd, KVM_SET_CLOCK, &clock) < 0 ? -errno : 0;
}

/*
 * Software KVM does not offset the guest's time stamp counter: a timer that fires too early there is looked at by the
 * guest, and set again. #syscalls:loop ioctl(_, KVM_SET_MSRS)
 */
int vcpu_moment_return(
	const struct vm *vm, const struct vcpu *vcpu, const struct clock_moment *moment)
{
	uint64_t deadline;
	int r;

	if (vm->emulated || msr_get(vcpu, MSR_TSC_DEADLINE, &deadline) < 0)
		return 0;
	r = msr_set(vcpu, MSR_TSC, moment->tsc);
	/* KVM counts down to the deadline by the counter as it was. */
	return r < 0 || deadline == 0 ? r : msr_set(vcpu, MSR_TSC_DEADLINE, deadline);
}

/*
 * Gets or sets count MSRs, as many in one call as KVM takes. It stops at one that it refuses; that one is
 * marked by the index UINT32_MAX and the rest tried again.
 */
static int msrs_transfer(
	const struct vcpu *vcpu, unsigned long request, struct kvm_msr_entry *entries, size_t count)
{
	struct msr_batch batch;

	for (size_t done = 0; done < count;) {
		size_t n = count - done < MSRS_PER_CALL ? count - done : MSRS_PER_CALL;
		int taken;

		batch.header = (struct kvm_msrs){.nmsrs = (uint32_t)n};
		memcpy(batch.entries, entries + done, n * sizeof(entries[0]));
		taken = ioctl(vcpu->fd, request, &batch);
		if (taken < 0)
			return -errno;
		memcpy(entries + done, batch.entries, (size_t)taken * sizeof(entries[0]));
		done += (size_t)taken;
		if ((size_t)taken < n)
			entries[done++].index = UINT32_MAX;
	}
	return 0;
}

static int msrs_save(struct vm *vm, struct vcpu *vcpu, const struct clock_moment *moment,
	struct state_writer *writer)
{
	struct kvm_msr_entry entries[VM_MSRS_MAX] = {0};
	uint32_t count = 0;
	int r;

	for (uint32_t i = 0; i < vm->msr_count; i++)
		entries[i].index = vm->msrs[i];
	r = msrs_transfer(vcpu, KVM_GET_MSRS, entries, vm->msr_count);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < vm->msr_count; i++) {
		count += entries[i].index != UINT32_MAX;
		if (entries[i].index == MSR_TSC)
			entries[i].data = moment->tsc;
	}
	state_put_u32(writer, count);
	for (uint32_t i = 0; i < vm->msr_count; i++)
		if (entries[i].index != UINT32_MAX)
			state_put(writer, &entries[i], sizeof(entries[i]));
	return 0;
}

/* The local APIC's timer, by the time stamp counter. */
struct deadline {
	uint64_t tsc, at; /* at 0: it is not set */
};

/* All but the deadline of the timer, which comes after the local APIC. */
static int msrs_restore(
	struct vcpu *vcpu, struct state_reader *reader, struct deadline *ret_deadline)
{
	struct kvm_msr_entry entries[VM_MSRS_MAX];
	uint32_t indices[VM_MSRS_MAX], count = state_get_u32(reader), used = 0;
	int r;

	*ret_deadline = (struct deadline){0};
	if (count > VM_MSRS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		struct kvm_msr_entry entry;

		state_get(reader, &entry, sizeof(entry));
		if (entry.index == MSR_TSC_DEADLINE) {
			ret_deadline->at = entry.data;
			continue;
		}
		if (entry.index == MSR_TSC)
			ret_deadline->tsc = entry.data;
		indices[used] = entry.index;
		entries[used++] = entry;
	}
	if (reader->error)
		return reader->error;
	r = msrs_transfer(vcpu, KVM_SET_MSRS, entries, used);
	for (uint32_t i = 0; r == 0 && i < used; i++)
		if (entries[i].index == UINT32_MAX)
			log_debug("vCPU %u: MSR %#x cannot be set to %#llx", vcpu->id, indices[i],
				entries[i].data);
	return r;
}

/* ---- vCPUs */

static int xsave_size(const struct vm *vm)
{
	int size = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return size > (int)sizeof(struct kvm_xsave) ? size : (int)sizeof(struct kvm_xsave);
}

static bool has_xcrs(const struct vm *vm)
{
	return ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
}

static int refused(struct error *err, const struct vcpu *vcpu, const char *what)
{
	return error_set_errno(err, -errno, "vCPU %u: KVM refuses its %s", vcpu->id, what);
}

static int xsave_save(
	struct vm *vm, struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
	size_t size = (size_t)xsave_size(vm);
	_cleanup_free_ uint8_t *area = calloc(1, size);

	if (!area)
		return -ENOMEM;
	if (ioctl(vcpu->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
		    area) < 0)
		return refused(err, vcpu, "extended state");
	state_put_bytes(writer, area, size);
	return 0;
}

static int xsave_restore(
	struct vm *vm, struct vcpu *vcpu, struct state_reader *reader, struct error *err)
{
	_cleanup_free_ uint8_t *area = NULL;
	const void *saved;
	size_t size = state_get_bytes(reader, XSAVE_MAX, &saved);

	if (size != (size_t)xsave_size(vm))
		return error_set(err, -EBADMSG,
			"saved state: %zu bytes of extended state of vCPU %u, %d expected", size,
			vcpu->id, xsave_size(vm));
	area = malloc(size); /* aligned, which the state is not */
	if (!area)
		return -ENOMEM;
	memcpy(area, saved, size);
	return ioctl(vcpu->fd, KVM_SET_XSAVE, area) < 0 ? refused(err, vcpu, "extended state") : 0;
}

int vcpu_state_save(struct vm *vm, struct vcpu *vcpu, const struct clock_moment *moment,
	struct state_writer *writer, struct error *err)
{
	struct kvm_mp_state run_state;
	struct kvm_regs registers;
	struct kvm_sregs special;
	struct kvm_xcrs extended = {0};
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events = {0};
	struct kvm_debugregs debug = {0};
	int r;

	/* First: asking for it makes KVM act on start-up interrupts that wait. */
	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &run_state) < 0)
		return refused(err, vcpu, "run state");
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &special) < 0 ||
		ioctl(vcpu->fd, KVM_GET_REGS, &registers) < 0 ||
		ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug) < 0)
		return refused(err, vcpu, "registers");
	if (has_xcrs(vm) && ioctl(vcpu->fd, KVM_GET_XCRS, &extended) < 0)
		return refused(err, vcpu, "extended control registers");
	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0)
		return refused(err, vcpu, "local APIC");
	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return refused(err, vcpu, "pending events");

	state_begin(writer, VCPU_TAG, VERSION);
	state_put(writer, &special, sizeof(special));
	r = msrs_save(vm, vcpu, moment, writer);
	if (r < 0)
		return error_set_errno(err, r, "vCPU %u: cannot read its MSRs", vcpu->id);
	state_put(writer, &extended, sizeof(extended));
	r = xsave_save(vm, vcpu, writer, err);
	if (r < 0)
		return r;
	state_put(writer, &registers, sizeof(registers));
	state_put(writer, &debug, sizeof(debug));
	state_put(writer, &lapic, sizeof(lapic));
	state_put(writer, &events, sizeof(events));
	state_put(writer, &run_state, sizeof(run_state));
	state_end(writer);
	return 0;
}

/*
 * The timer goes on with the time that it had left. Software KVM does not offset the guest's time stamp
 * counter: what was a moment ahead may have passed long ago, or lie years ahead once the host was
 * started again.
 */
static int deadline_restore(struct vm *vm, struct vcpu *vcpu, const struct deadline *saved)
{
	uint64_t at = saved->at, now;

	if (at == 0)
		return 0;
	if (vm->emulated) {
		if (msr_get(vcpu, MSR_TSC, &now) < 0)
			return -EIO;
		at = now + (at > saved->tsc ? at - saved->tsc : 0);
	}
	return msr_set(vcpu, MSR_TSC_DEADLINE, at);
}

int vcpu_state_restore(
	struct vm *vm, struct vcpu *vcpu, struct state_reader *reader, struct error *err)
{
	struct kvm_mp_state run_state;
	struct kvm_regs registers;
	struct kvm_sregs special;
	struct kvm_xcrs extended;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct deadline deadline;
	int r;

	r = state_open(reader, VCPU_TAG, VERSION, err);
	if (r < 0)
		return r;
	state_get(reader, &special, sizeof(special));
	if (!reader->error && ioctl(vcpu->fd, KVM_SET_SREGS, &special) < 0)
		return refused(err, vcpu, "special registers");
	r = msrs_restore(vcpu, reader, &deadline);
	if (r < 0)
		return error_set_errno(err, r, "vCPU %u: cannot restore its MSRs", vcpu->id);
	state_get(reader, &extended, sizeof(extended));
	if (has_xcrs(vm) && ioctl(vcpu->fd, KVM_SET_XCRS, &extended) < 0)
		return refused(err, vcpu, "extended control registers");
	r = xsave_restore(vm, vcpu, reader, err);
	if (r < 0)
		return r;
	state_get(reader, &registers, sizeof(registers));
	state_get(reader, &debug, sizeof(debug));
	state_get(reader, &lapic, sizeof(lapic));
	state_get(reader, &events, sizeof(events));
	state_get(reader, &run_state, sizeof(run_state));
	r = state_close(reader, err);
	if (r < 0)
		return r;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &registers) < 0 ||
		ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug) < 0)
		return refused(err, vcpu, "registers");
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) < 0)
		return refused(err, vcpu, "local APIC");
	if (deadline_restore(vm, vcpu, &deadline) < 0)
		return error_set(err, -EINVAL, "vCPU %u: cannot restore its timer", vcpu->id);
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return refused(err, vcpu, "pending events");
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &run_state) < 0)
		return refused(err, vcpu, "run state");
	return 0;
}
