/* SPDX-License-Identifier: Apache-2.0 */
/* Units of systemd that run pods (systemd.service(5)). */
#ifndef APPC_CLI_SYSTEMD_UNIT_H
#define APPC_CLI_SYSTEMD_UNIT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct systemd_unit {
	const char *name;           /* of letters, digits, - and _ */
	const char *program;        /* absolute path of appc-vm */
	const char *data_directory; /* absolute */
	const char *pod;            /* UUID of a prepared one, or absolute path of a manifest */
	bool is_prepared;
	char *const *flags; /* of run or run-prepared */
	size_t flag_count;
};

/* Prints the unit. -EINVAL with a message: a word that no unit can hold. */
int systemd_unit_print(const struct systemd_unit *unit, FILE *file, struct error *err);

/*
 * One word of a command line, as systemd.syntax(7) and systemd.unit(5) want it: quoted where it has to be, with $, %,
 * quotes and backslashes kept what they are.
 */
void systemd_print_word(const char *word, FILE *file);

#endif
