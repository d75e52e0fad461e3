// SPDX-License-Identifier: Apache-2.0
/* stream_mode.c: see stream_mode.h. */
#include "pod/stream_mode.h"

#include "base/cleanup.h"

#include <string.h>

/* In which modes a stream can be. */
#define OUTPUT 1u
#define INPUT  2u

static const struct {
	const char *text;
	unsigned int kinds;
} modes_table[] = {
	[STREAM_MODE_NULL] = {"null", OUTPUT | INPUT},
	[STREAM_MODE_LOG] = {"log", OUTPUT},
	[STREAM_MODE_STREAM] = {"stream", OUTPUT | INPUT},
	[STREAM_MODE_TTY] = {"tty", OUTPUT | INPUT},
};

/* What rkt writes for --interactive, which is asked for at each run here. */
#define INTERACTIVE "interactive"

static const char *const annotation_names[STREAM_MODES] = {
	[WIRE_STREAM_STDIN] = "coreos.com/rkt/stage2/stdin",
	[WIRE_STREAM_STDOUT] = "coreos.com/rkt/stage2/stdout",
	[WIRE_STREAM_STDERR] = "coreos.com/rkt/stage2/stderr",
};

const char *stream_name(enum wire_stream stream)
{
	return strrchr(annotation_names[stream], '/') + 1;
}

json_t *stream_names_json(const bool streams[STREAM_MODES])
{
	json_t *names = json_array();

	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
		if (streams[stream])
			json_array_append_new(names, json_string(stream_name(stream)));
	return names;
}

int stream_mode_parse(
	enum wire_stream stream, const char *text, enum stream_mode *ret, struct error *err)
{
	unsigned int kind = stream == WIRE_STREAM_STDIN ? INPUT : OUTPUT;

	for (size_t i = STREAM_MODE_NULL; i < ARRAY_SIZE(modes_table); i++) {
		if (strcmp(modes_table[i].text, text) || !(modes_table[i].kinds & kind))
			continue;
		*ret = (enum stream_mode)i;
		return 0;
	}
	return error_set(err, -EINVAL, "\"%s\" is no mode of %s: %s", text, stream_name(stream),
		kind == INPUT ? "null, stream, tty" : "null, log, stream, tty");
}

int stream_modes_read(const struct appc_pairs *annotations, enum stream_mode modes[STREAM_MODES],
	struct error *err)
{
	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++) {
		const char *text = appc_pairs_get(annotations, annotation_names[stream]);
		int r;

		modes[stream] = STREAM_MODE_NONE;
		if (!text || !strcmp(text, INTERACTIVE))
			continue;
		r = stream_mode_parse(stream, text, &modes[stream], err);
		if (r < 0)
			return error_prefix(err, r, "annotation %s", annotation_names[stream]);
	}
	return 0;
}

int stream_modes_check(
	const enum stream_mode modes[STREAM_MODES], bool *ret_has_terminal, struct error *err)
{
	bool shows = modes[WIRE_STREAM_STDOUT] == STREAM_MODE_TTY ||
		modes[WIRE_STREAM_STDERR] == STREAM_MODE_TTY;

	if (modes[WIRE_STREAM_STDIN] == STREAM_MODE_TTY && !shows)
		return error_set(err, -EINVAL,
			"--stdin=tty without --stdout=tty or --stderr=tty: nobody would see the terminal");
	if (modes[WIRE_STREAM_STDIN] == STREAM_MODE_STREAM && shows)
		return error_set(err, -EINVAL,
			"--stdin=stream and output to a terminal do not go together (--stdin=tty)");
	*ret_has_terminal = shows;
	return 0;
}

int stream_mode_annotate(struct appc_pairs *annotations, enum wire_stream stream, const char *text)
{
	return appc_pairs_set(annotations, annotation_names[stream], text, true);
}
