/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and restoring what KVM keeps of a machine: interrupt controllers, clock and vCPUs.
 *
 * While no vCPU runs, and each has completed the exit it was in (KVM_RUN with immediate_exit). Restored is
 * into a VM that was just created with the same number of vCPUs: first the interrupt controllers,
 * then each vCPU, the clock last. Each is one section of state. Errors are -EBADMSG for
 * a damaged section, -errno where KVM refuses a part, with a message.
 */
#ifndef APPC_VMM_CPU_STATE_H
#define APPC_VMM_CPU_STATE_H

#include "base/state.h"
#include "vmm/kvm.h"

int interrupt_state_save(struct vm *vm, struct state_writer *writer, struct error *err);
int interrupt_state_restore(struct vm *vm, struct state_reader *reader, struct error *err);

/*
 * The time at which the machine stands still, as its guest sees it. Taken by the vCPU that asks to be parked, at
 * that instruction, or while no vCPU runs: stopping the others and saving takes a while, in which no timer is to come nearer.
 */
struct clock_moment {
	uint64_t clock; /* nanoseconds */
	uint64_t tsc;
};

int clock_moment_take(struct vm *vm, const struct vcpu *vcpu, struct clock_moment *ret);

/* A machine that has stood still since that moment goes on as if no time had passed: its clock, then each vCPU. 0 or
   -errno. */
int clock_moment_return(struct vm *vm, const struct clock_moment *moment);
int vcpu_moment_return(
	const struct vm *vm, const struct vcpu *vcpu, const struct clock_moment *moment);

int vcpu_state_save(struct vm *vm, struct vcpu *vcpu, const struct clock_moment *moment,
	struct state_writer *writer, struct error *err);
int vcpu_state_restore(
	struct vm *vm, struct vcpu *vcpu, struct state_reader *reader, struct error *err);

/* The guest's clock goes on from the moment. */
void clock_state_save(const struct clock_moment *moment, struct state_writer *writer);
int clock_state_restore(struct vm *vm, struct state_reader *reader, struct error *err);

#endif
