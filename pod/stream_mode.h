/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an app's standard streams lead, as rkt's --stdin, --stdout and --stderr say it and keeps it: in the
 * annotations coreos.com/rkt/stage2/stdin, .../stdout and .../stderr of the app in the pod manifest.
 *
 *            output                                            input
 *   (none)   to the command that runs the pod, and its log     nothing: it is at its end
 *   null     nowhere                                           nothing
 *   log      to the pod's log (pod/app_log.h)                  -
 *   stream   to those who attach (pod/attach.h)                from those who attach
 *   tty      the same, through a terminal that all streams of the app in this mode share
 *
 * Output other than null can be attached to in any mode. A terminal is one that somebody sees: of an app with
 * input from one some output goes there; and one whose output goes there has no input from elsewhere.
 */
#ifndef APPC_POD_STREAM_MODE_H
#define APPC_POD_STREAM_MODE_H

#include "appc/manifest.h"
#include "wire/wire.h"

enum stream_mode {
	STREAM_MODE_NONE,
	STREAM_MODE_NULL,
	STREAM_MODE_LOG,
	STREAM_MODE_STREAM,
	STREAM_MODE_TTY,
};

/* The streams of an app, by enum wire_stream; element 0 is not used. */
#define STREAM_MODES (WIRE_STREAM_STDIN + 1)

/* "stdin", "stdout", "stderr". */
const char *stream_name(enum wire_stream stream);

/* An array of the names of those that are set; NULL: out of memory. */
json_t *stream_names_json(const bool streams[STREAM_MODES]);

/* -EINVAL with a message: a stream of this kind has no such mode. */
int stream_mode_parse(
	enum wire_stream stream, const char *text, enum stream_mode *ret, struct error *err);

/* From the annotations of an app. The message of -EINVAL names the annotation. */
int stream_modes_read(const struct appc_pairs *annotations, enum stream_mode modes[STREAM_MODES],
	struct error *err);

/* Whether a terminal is among them. -EINVAL with a message: they do not go together. */
int stream_modes_check(
	const enum stream_mode modes[STREAM_MODES], bool *ret_has_terminal, struct error *err);

/* Adds the annotation, in place of one that is there, for text that was parsed. 0 or -ENOMEM. */
int stream_mode_annotate(struct appc_pairs *annotations, enum wire_stream stream, const char *text);

#endif
