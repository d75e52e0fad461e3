// SPDX-License-Identifier: Apache-2.0
/* events.c: appc-vm events */
#include "cli/cli.h"

#include "pod/journal.h"

#include <string.h>

struct events_options {
	bool follow;
	int64_t since;
	char *const *uuids; /* or their beginnings */
	size_t uuid_count;
};

static bool is_wanted(const struct events_options *options, const struct journal_record *record)
{
	if (record->time < options->since)
		return false;
	for (size_t i = 0; i < options->uuid_count; i++)
		if (!strncasecmp(record->uuid, options->uuids[i], strlen(options->uuids[i])))
			return true;
	return options->uuid_count == 0;
}

static int print_events(
	const struct events_options *options, struct journal_reader *reader, struct error *err)
{
	for (;;) {
		struct journal_record record;
		int r;

		while ((r = journal_read(reader, &record)) > 0) {
			if (!is_wanted(options, &record))
				continue;
			fwrite(record.line, 1, record.length, stdout);
			putchar('\n');
		}
		if (fflush(stdout) != 0)
			return error_set_errno(err, -errno, "cannot write the events");
		if (r == 0 && options->follow)
			r = journal_wait(reader);
		else if (r == 0)
			return 0;
		if (r < 0 && r != -EINTR)
			return error_set_errno(err, r, "cannot read the journal");
	}
}

int command_events(struct cli *cli, int argc, char **argv)
{
	struct events_options events = {0};
	const char *since = NULL;
	const struct cli_option options[] = {
		{"f", CLI_FLAG, &events.follow, NULL, "the same as --follow"},
		{"follow", CLI_FLAG, &events.follow, NULL, "go on with what happens"},
		{"since", CLI_STRING, &since, "TIME|DURATION",
			"only what happened after that, or within so long"},
	};
	_cleanup_journal_reader_ struct journal_reader *reader = NULL;
	_cleanup_close_ int data = -1;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	events.uuids = argv + at;
	events.uuid_count = (size_t)(argc - at);
	r = cli_parse_since(cli, since, &events.since);
	if (r < 0)
		return r;
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = journal_reader_open(data, &reader);
	if (r < 0)
		return error_set_errno(&cli->error, r, "cannot read the journal");
	return print_events(&events, reader, &cli->error);
}
