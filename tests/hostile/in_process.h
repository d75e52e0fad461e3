/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device model as the cases' machine, in this process: all devices and the message port, a host
 * with programs and a network (in_process_host.h), a tree with volumes/rw and volumes/ro, and something outside of it.
 */
#ifndef APPC_TESTS_HOSTILE_IN_PROCESS_H
#define APPC_TESTS_HOSTILE_IN_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum in_process_kind {
	IN_PROCESS_PLAIN,
	IN_PROCESS_WINDOW,  /* there is a window for files */
	IN_PROCESS_LIMITED, /* answers of the file server are held back */
	IN_PROCESS_KINDS
};

void in_process_set_up(void);
void in_process_tear_down(void);

/*
 * Runs a case. Returns how often it failed; quiet: without telling of it, as when the case itself is spoilt.
 * Aborts where the device model kept something beyond its bounds or over a reset, or where anything has
 * changed that a guest must not reach: what is beside the tree, and the read-only volume.
 */
unsigned int in_process_run(void (*run)(void), enum in_process_kind kind, bool quiet);

/*
 * What the guest does, one operation after the other, on its way to the machine. The hook may change it.
 */
struct in_process_operation {
	enum { OPERATION_REGISTER, OPERATION_STORE, OPERATION_PORT } kind;
	unsigned int slot, width; /* of a register; of a port the width */
	uint64_t address;         /* the register's offset, the address in memory, or the port */
	uint64_t value;           /* what is written, not for memory */
	uint8_t *data;            /* memory: the bytes, length of them */
	size_t length;
	unsigned int times; /* 1; 0: it is left out */
};
void in_process_set_hook(void (*hook)(struct in_process_operation *operation));

#endif
