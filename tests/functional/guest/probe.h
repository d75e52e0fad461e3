/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the probe share: probe.c has the idea and what a process does and sees, probe_files.c what it does
 * with files, probe_parked.c what a machine that was parked must not have kept, probe_vectors.c its registers,
 * probe_vsock.c its streams to and from the host.
 */
#ifndef APPC_TESTS_GUEST_PROBE_H
#define APPC_TESTS_GUEST_PROBE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct command {
	const char *name;
	int arguments;
	void (*run)(char **args);
};

/* Each ends with one that has no name. */
extern const struct command file_commands[], parked_commands[], vsock_commands[];

/* An argument. */
int number(const char *text);

/* Milliseconds. */
int64_t clock_ms(clockid_t clock);

/* Waits for the signal, which is blocked from then on. */
void await_signal(int signal);

/* Says how many of three processes keep their vector registers while they disturb each other. */
void vectors_keep(char **args);

/* Waits for a file that another app of the pod makes. */
void await(char **args);

#define FILE_ACCESS_MODE 0644

#endif
