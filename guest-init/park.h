/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apps that are parked: brought to the first instruction of their program before the machine is parked,
 * to go on from there in each of its copies.
 *
 * What is not the same in each copy is renewed: the 16 random bytes that the kernel gives a program
 * (AT_RANDOM) and, where the dynamic linker has run, the stack protector's value, which it has made
 * from them; and the variable of its environment that names the metadata service (AC_METADATA_URL). Copies share the address space layout, the C library's pointer guard, and whatever libraries
 * did with random numbers before the program's first instruction.
 */
#ifndef APPC_GUEST_INIT_PARK_H
#define APPC_GUEST_INIT_PARK_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Random bytes that guest_parked_renew() takes. */
#define GUEST_PARKED_RANDOM_SIZE 24

struct guest_parked {
	pid_t pid; /* 0: none */
	uint64_t random_address;
	uint64_t canary_address; /* 0: the program has none yet */
	uint64_t canary_mask;    /* which of its bits may be set */
	uint64_t url_address;    /* of AC_METADATA_URL=...; 0: it has none */
};

/*
 * pid called PTRACE_TRACEME and has executed its program, or is about to. It is stopped at the program's
 * ELF entry point, its mappings are populated. 0, or -errno with a message that says why it cannot be
 * parked: it ended, made a process, took too long. It may live then and is the caller's to kill.
 */
int guest_park(pid_t pid, struct guest_parked *parked, struct error *err);

/*
 * Gives the parked process random numbers of its own, and overwrites its AC_METADATA_URL with this one ("NAME=VALUE"),
 * which is as long as the one it has. 0 or -errno.
 */
int guest_parked_renew(const struct guest_parked *parked,
	const uint8_t random[GUEST_PARKED_RANDOM_SIZE], const char *variable);

/* Lets it go on. 0 or -errno. */
int guest_parked_release(struct guest_parked *parked);

#endif
