// SPDX-License-Identifier: Apache-2.0
/* terminal.c: what a message says of a terminal into a struct. */
#include "guest-init/terminal.h"

#include "base/checked.h"

#include <string.h>

#define TYPE_MAX 64u

static void terminal_streams_parse(struct field_reader *reader, struct guest_terminal *terminal)
{
	static const char *const names[] = {[WIRE_STREAM_STDOUT] = "stdout",
		[WIRE_STREAM_STDERR] = "stderr",
		[WIRE_STREAM_STDIN] = "stdin"};
	json_t *array = reader_take(reader, "streams", FIELD_REQUIRED, JSON_ARRAY, "an array"),
	       *value;
	size_t i;

	json_array_foreach (array, i, value) {
		const char *name = json_string_value(value);
		size_t stream = WIRE_STREAM_STDOUT;

		while (name && stream < ARRAY_SIZE(names) && strcmp(name, names[stream]) != 0)
			stream++;
		if (!name || stream == ARRAY_SIZE(names)) {
			reader_fail(reader, "streams", "names of standard streams");
			return;
		}
		terminal->streams[stream] = true;
	}
	if (!terminal->streams[WIRE_STREAM_STDOUT] && !terminal->streams[WIRE_STREAM_STDERR])
		reader_fail(reader, "streams", "\"stdout\" or \"stderr\"");
}

void guest_terminal_parse(struct field_reader *parent, const char *where, bool has_streams,
	struct guest_terminal *terminal)
{
	static const char *const all_names[] = {"type", "rows", "columns", "streams", NULL};
	static const char *const names[] = {"type", "rows", "columns", NULL};
	struct field_reader reader = {.where = where, .err = parent->err};
	json_int_t rows = 0, columns = 0;

	reader.object = reader_take(parent, "terminal", FIELD_OPTIONAL, JSON_OBJECT, "an object");
	if (!reader.object)
		return;
	terminal->type = reader_string(&reader, "type", 1, TYPE_MAX);
	reader_integer(&reader, "rows", FIELD_REQUIRED, 0, UINT16_MAX, &rows);
	reader_integer(&reader, "columns", FIELD_REQUIRED, 0, UINT16_MAX, &columns);
	terminal->size.rows = (uint16_t)rows;
	terminal->size.columns = (uint16_t)columns;
	if (has_streams)
		terminal_streams_parse(&reader, terminal);
	reader_check_known(&reader, has_streams ? all_names : names);
	parent->r = reader.r;
}
