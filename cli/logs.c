// SPDX-License-Identifier: Apache-2.0
/* logs.c: appc-vm logs */
#include "cli/cli.h"

#include "base/json.h"
#include "base/timestamp.h"
#include "cli/pod_json.h"
#include "pod/app_log.h"
#include "pod/stream_mode.h"

#include <inttypes.h>
#include <string.h>

/* How often a pod is looked at that tells nothing: whether somebody still runs it. */
#define LOOK_MS 1000

struct logs_options {
	const char *app, *format, *since_text, *tail_text;
	bool follow, times;
	int64_t since; /* nanoseconds since 1970 */
	int64_t tail;  /* lines; -1: all */
};

/* Where the cursor of an output stands. */
struct printer {
	const struct logs_options *options;
	bool names_apps;
	char *open
		[2]; /* of standard output and error: the app whose line is not finished; NULL: none */
};

/* ---- printing */

static void print_json(const struct app_log_record *record)
{
	char time[TIMESTAMP_SIZE];
	_cleanup_json_ json_t *object = NULL;

	timestamp_format(record->time, time);
	object = json_pack("{s:s, s:s, s:s, s:o}", "time", time, "app", record->app, "stream",
		stream_name(record->stream), "message",
		json_string_lossy(record->text, record->length));
	if (record->is_partial)
		json_object_set_new(object, "partial", json_true());
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
}

static void print_text(struct printer *printer, const struct app_log_record *record)
{
	bool is_error = record->stream == WIRE_STREAM_STDERR;
	FILE *file = is_error ? stderr : stdout;
	char **open = &printer->open[is_error];
	bool goes_on = *open && !strcmp(*open, record->app);
	char time[TIMESTAMP_SIZE];

	if (*open && !goes_on)
		putc('\n', file);
	if (!goes_on && printer->options->times) {
		timestamp_format(record->time, time);
		fprintf(file, "%s ", time);
	}
	if (!goes_on && printer->names_apps)
		fprintf(file, "[%s] ", record->app);
	fwrite(record->text, 1, record->length, file);
	if (!record->is_partial)
		putc('\n', file);
	free(*open);
	*open = record->is_partial ? strdup(record->app) : NULL;
}

static void print_record(struct printer *printer, const struct app_log_record *record)
{
	if (record->time < printer->options->since)
		return;
	if (printer->options->format)
		print_json(record);
	else
		print_text(printer, record);
}

/* ---- reading */

/* Passes over all lines but the last ones. */
static int skip_to_tail(
	const struct pod *pod, const struct logs_options *options, struct app_log_reader *reader)
{
	_cleanup_app_log_reader_ struct app_log_reader *counter = NULL;
	struct app_log_record record;
	int64_t skip = -options->tail;
	int r;

	if (options->tail < 0)
		return 0;
	r = app_log_reader_open(pod, options->app, &counter);
	if (r < 0)
		return r;
	while (app_log_read(counter, &record) > 0)
		skip += !record.is_partial && record.time >= options->since;
	while (skip > 0 && app_log_read(reader, &record) > 0)
		skip -= !record.is_partial && record.time >= options->since;
	return 0;
}

static bool is_at_end(struct pods *pods, const char *uuid)
{
	_cleanup_pod_ struct pod pod = POD_NONE;

	return pod_open(pods, uuid, &pod, NULL) < 0 || pod_state_is_final(pod.state);
}

static int print_logs(struct pods *pods, const struct pod *pod, struct printer *printer)
{
	_cleanup_app_log_reader_ struct app_log_reader *reader = NULL;
	const struct logs_options *options = printer->options;
	struct app_log_record record;
	bool is_last;
	int r;

	r = app_log_reader_open(pod, options->app, &reader);
	if (r == 0)
		r = skip_to_tail(pod, options, reader);
	while (r == 0) {
		/* What is written before the end is there when the end is seen. */
		is_last = !options->follow || is_at_end(pods, pod->uuid);
		while (app_log_read(reader, &record) > 0)
			print_record(printer, &record);
		if (fflush(stdout) != 0 || is_last)
			break;
		r = app_log_wait(reader, LOOK_MS);
	}
	return r;
}

/* ---- the command */

static int parse_tail(struct cli *cli, struct logs_options *options)
{
	const char *text = options->tail_text;
	char *end;

	options->tail = -1;
	if (!text || !strcmp(text, "all"))
		return 0;
	errno = 0;
	options->tail = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno)
		return cli_usage(cli, "--tail: \"%s\" is not a number of lines", text);
	return 0;
}

/* Whether the pod has this app; whether it has several. */
static int look_at_apps(struct cli *cli, const struct pod *pod, const char *name, bool *ret_several)
{
	_cleanup_json_ json_t *object = pod_json(pod);
	json_t *names = json_object_get(object, "app_names"), *value;
	bool is_there = !name;
	size_t i;

	json_array_foreach (names, i, value)
		is_there |= name && !strcmp(json_string_value(value), name);
	*ret_several = json_array_size(names) > 1;
	return is_there
		? 0
		: error_set(&cli->error, -ENOENT, "pod %s has no app \"%s\"", pod->uuid, name);
}

int command_logs(struct cli *cli, int argc, char **argv)
{
	struct logs_options logs = {0};
	const char *uuid_file = NULL;
	const struct cli_option options[] = {
		{"app", CLI_STRING, &logs.app, "NAME", "only of this app"},
		{"f", CLI_FLAG, &logs.follow, NULL, "the same as --follow"},
		{"follow", CLI_FLAG, &logs.follow, NULL, "go on until the pod has ended"},
		{"format", CLI_STRING, &logs.format, "json",
			"an object on each line instead of text"},
		{"since", CLI_STRING, &logs.since_text, "TIME|DURATION",
			"only what was written after that, or within so long"},
		{"tail", CLI_STRING, &logs.tail_text, "N", "only the last N lines"},
		{"timestamps", CLI_FLAG, &logs.times, NULL, "begin each line with its time"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	struct printer printer = {.options = &logs};
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	struct cli_uuids uuids;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_parse_uuid(cli, uuid_file, argc, argv, at, &uuids);
	if (r < 0)
		return r;
	if (logs.format && strcmp(logs.format, "json") != 0)
		return cli_usage(cli, "--format is json, not \"%s\"", logs.format);
	r = cli_parse_since(cli, logs.since_text, &logs.since);
	if (r == 0)
		r = parse_tail(cli, &logs);
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = pod_open(pods, uuids.items[0], &pod, &cli->error);
	if (r == 0)
		r = look_at_apps(cli, &pod, logs.app, &printer.names_apps);
	if (r < 0)
		return r;
	printer.names_apps = printer.names_apps && !logs.app;
	r = print_logs(pods, &pod, &printer);
	for (size_t i = 0; i < ARRAY_SIZE(printer.open); i++) {
		if (printer.open[i])
			putc('\n', i ? stderr : stdout);
		free(printer.open[i]);
	}
	return r < 0 ? error_set_errno(&cli->error, r, "cannot read the logs of pod %s", pod.uuid)
		     : 0;
}
