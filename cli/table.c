// SPDX-License-Identifier: Apache-2.0
/* table.c: columns for people, tabs for programs. */
#include "cli/table.h"

#include "base/log.h"

#include <stdarg.h>
#include <string.h>

#define COLUMN_GAP 2

void cli_table_add(struct cli_table *table, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	if (table->count == table->room) {
		size_t room = table->room ? table->room * 2 : 64;
		void *cells = reallocarray(table->cells, room, sizeof(*table->cells));

		if (!cells) {
			table->failed = true;
			return;
		}
		table->cells = cells;
		table->room = room;
	}
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		table->failed = true;
	else
		table->cells[table->count++] = log_sanitise(text);
}

static size_t column_width(const struct cli_table *table, size_t column)
{
	size_t width = 0;

	for (size_t i = column; i < table->count; i += table->columns)
		if (strlen(table->cells[i]) > width)
			width = strlen(table->cells[i]);
	return width;
}

int cli_table_print(struct cli *cli, const struct cli_table *table)
{
	_cleanup_free_ size_t *widths = calloc(table->columns, sizeof(*widths));
	bool aligned = isatty(STDOUT_FILENO);

	if (table->failed || !widths)
		return error_set_errno(&cli->error, -ENOMEM, "%s", cli->command->name);
	for (size_t i = 0; aligned && i + 1 < table->columns; i++)
		widths[i] = column_width(table, i) + COLUMN_GAP;
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns;
		bool last = column + 1 == table->columns;

		printf("%-*s%s", (int)widths[column], table->cells[i],
			last              ? "\n"
				: aligned ? ""
					  : "\t");
	}
	if (fflush(stdout) != 0)
		return error_set_errno(&cli->error, -errno, "cannot write the table");
	return 0;
}

void cli_table_clear(struct cli_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct cli_table){.columns = table->columns};
}
