/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables on standard output: on a terminal in columns, elsewhere one tab between cells and nothing else,
 * so that cut(1) and awk(1) find the columns.
 */
#ifndef APPC_CLI_TABLE_H
#define APPC_CLI_TABLE_H

#include "cli/cli.h"

struct cli_table {
	size_t columns; /* set by the caller; the rest begins as zeros */
	char **cells;   /* row after row */
	size_t count, room;
	bool failed; /* out of memory; cli_table_print() says so */
};

/* The next cell of the present row. Control characters in it are shown as '?'. */
void cli_table_add(struct cli_table *table, const char *format, ...) _printf_(2, 3);

int cli_table_print(struct cli *cli, const struct cli_table *table);

void cli_table_clear(struct cli_table *table);
#define _cleanup_table_ _cleanup_(cli_table_clear)

#endif
