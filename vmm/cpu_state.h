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

int vcpu_state_save(
	struct vm *vm, struct vcpu *vcpu, struct state_writer *writer, struct error *err);
int vcpu_state_restore(
	struct vm *vm, struct vcpu *vcpu, struct state_reader *reader, struct error *err);

/* The guest's clock stands still between the two. */
int clock_state_save(struct vm *vm, struct state_writer *writer, struct error *err);
int clock_state_restore(struct vm *vm, struct state_reader *reader, struct error *err);

#endif
