/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port through which a guest hands bytes to a stream of the console from its own memory
 * (WIRE_TRANSMIT_PORT). On the thread of the vCPU that reads it.
 */
#ifndef APPC_VMM_TRANSMIT_PORT_H
#define APPC_VMM_TRANSMIT_PORT_H

#include "virtio/console.h"
#include "virtio/guest_memory.h"
#include "vmm/kvm.h"

/*
 * Serves one read of the port by the vCPU, whose registers say what to send. Returns how many bytes were
 * taken, 0 where the registers make no sense.
 */
uint32_t transmit_port_read(
	const struct vcpu *vcpu, const struct guest_memory *memory, struct virtio_console *console);

#endif
