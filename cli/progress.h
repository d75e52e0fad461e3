/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a long import or fetch has come: one line that is drawn again, on standard error when that
 * is a terminal, and only when it takes longer than a second.
 */
#ifndef APPC_CLI_PROGRESS_H
#define APPC_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
	const char *verb, *source; /* "importing", the file; borrowed */
	int64_t start, last;
	bool visible, shown;
};

void cli_progress_begin(struct cli_progress *progress, const char *verb, const char *source);

/* A store_progress_fn; context is the struct cli_progress. */
void cli_progress_show(void *context, uint64_t done, uint64_t total);

/* Takes the line away. */
void cli_progress_end(struct cli_progress *progress);

#endif
