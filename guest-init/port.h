/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O ports by which guest-init and its virtual machine talk without the kernel: phase marks out,
 * messages in (wire/wire.h).
 *
 * For the one thread of PID 1; marks also for a launcher while PID 1 waits for it.
 */
#ifndef APPC_GUEST_INIT_PORT_H
#define APPC_GUEST_INIT_PORT_H

#include "base/error.h"
#include "guest-init/guest.h"

/* Gets access to the ports, for this process and those that it makes. 0 or -errno. */
int guest_port_open(struct guest *guest);

/* Gives the calling process's access up. 0 or -errno. */
int guest_port_renounce(const struct guest *guest);

/* The wall clock, nanoseconds since 1970. */
uint64_t guest_port_time(void);

/* Tells the machine how far we are. Nothing happens where there are no ports. */
void guest_port_mark(const struct guest *guest, enum wire_phase phase);

/*
 * How long to rest before the next guest_port_park(), in nanoseconds, so that the copies of this machine have
 * nothing left to do from before; 0: it is not going to be parked there.
 */
uint64_t guest_port_rest_time(const struct guest *guest);

/*
 * Hands length bytes for a console port (WIRE_PORT_CONTROL, WIRE_PORT_STREAM) to the machine. Returns how many
 * it took, from the beginning: maybe none; the rest is for the console. Console port 0 stands for none
 * and takes nothing; any other needs guest_port_open().
 */
size_t guest_port_transmit(unsigned int console_port, const void *data, size_t length);

/*
 * Marks WIRE_PHASE_PARK and takes the next message, which maybe another machine hands over, at another
 * time. 0 and a new reference, or -errno with a message.
 */
int guest_port_park(struct guest *guest, json_t **ret, struct error *err);

#endif
