/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what pods use, again and again. */
#ifndef APPC_CLI_TOP_H
#define APPC_CLI_TOP_H

#include "cli/cli.h"

struct top_options {
	const char *format; /* NULL: a table */
	bool once;
	int64_t interval; /* nanoseconds */
};

/* The value of --interval; NULL: the default. */
int top_parse_interval(struct cli *cli, const char *text, int64_t *ret);

/*
 * Shows what pods use: those of uuids, until one of them has ended, or where count is 0 all that run, for ever. -errno
 * with the message set.
 */
int top_watch(struct cli *cli, struct pods *pods, char *const *uuids, size_t count,
	const struct top_options *options);

#endif
