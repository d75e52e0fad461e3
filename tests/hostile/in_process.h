/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device model as the cases' machine, in this process: console, file server, entropy, balloon and the
 * message port, a tree with volumes/rw and volumes/ro, and something outside of it.
 */
#ifndef APPC_TESTS_HOSTILE_IN_PROCESS_H
#define APPC_TESTS_HOSTILE_IN_PROCESS_H

#include "tests/hostile/cases.h"

#include <stdbool.h>
#include <stdint.h>

struct in_process_options {
	bool window;         /* there is a window for files */
	uint64_t operations; /* of files per second; 0: not limited */
	bool quiet;          /* what fails is not told, as when the cases themselves are spoilt */
};

/* Once: makes the tree, below the directory that TMPDIR or /dev/shm names. Aborts where that fails. */
void in_process_set_up(void);
void in_process_tear_down(void);

/* Makes the machine, and ends it. */
void in_process_begin(const struct in_process_options *options);
void in_process_end(void);

/* Runs a case in a machine of its own. Returns how often it failed. */
unsigned int in_process_run(
	const struct hostile_case *hostile, const struct in_process_options *options);

/*
 * Whether everything that a guest must not reach is as it was: what is beside the tree, and the read-only
 * volume. Aborts where it is not.
 */
void in_process_check_host(void);

/*
 * What the guest does, one operation after the other, on its way to the machine. The hook may change it.
 */
enum in_process_kind { IN_PROCESS_REGISTER, IN_PROCESS_STORE, IN_PROCESS_PORT };
struct in_process_operation {
	enum in_process_kind kind;
	unsigned int slot, width; /* of a register; of a port the width */
	uint64_t address;         /* the register's offset, the address in memory, or the port */
	uint64_t value;           /* what is written, not for memory */
	uint8_t *data;            /* memory: the bytes, length of them */
	size_t length;
	unsigned int times; /* 1; 0: it is left out */
};
void in_process_set_hook(void (*hook)(struct in_process_operation *operation));

#endif
