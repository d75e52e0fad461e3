// SPDX-License-Identifier: Apache-2.0
/* top.c: appc-vm top, and the loop of status --watch. */
#include "cli/top.h"

#include "base/duration.h"
#include "base/json.h"
#include "cli/usage_text.h"

#include <time.h>

#define INTERVAL_DEFAULT 2000000000ll
#define INTERVAL_MIN     100000000ll
#define INTERVAL_MAX     86400000000000ll
/* How long guests may take to answer. */
#define ANSWER_MS 5000

/* From the upper left corner, and nothing of what was there. */
#define SCREEN_CLEAR "\033[H\033[J"

int top_parse_interval(struct cli *cli, const char *text, int64_t *ret)
{
	*ret = INTERVAL_DEFAULT;
	if (!text)
		return 0;
	if (duration_parse(text, ret) < 0 || *ret < INTERVAL_MIN || *ret > INTERVAL_MAX)
		return cli_usage(cli,
			"--interval: \"%s\" is not a duration like \"2s\", from 100ms to 24h",
			text);
	return 0;
}

static int show(struct cli *cli, const struct top_options *options, const struct pod_usages *before,
	const struct pod_usages *now, bool is_first)
{
	if (options->format) {
		_cleanup_json_ json_t *array = usage_json(now);
		int r = array ? cli_print_formatted(cli, options->format, array) : -ENOMEM;

		return r == 0 && fflush(stdout) != 0 ? -errno : r;
	}
	if (!options->once && isatty(STDOUT_FILENO))
		fputs(SCREEN_CLEAR, stdout);
	else if (!is_first)
		putchar('\n');
	return usage_print_table(cli, before, now);
}

static void rest(int64_t nanoseconds)
{
	const struct timespec pause = {
		.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};

	nanosleep(&pause, NULL);
}

int top_watch(struct cli *cli, struct pods *pods, char *const *uuids, size_t count,
	const struct top_options *options)
{
	_cleanup_(pod_usages_done) struct pod_usages before = POD_USAGES_NONE;
	int r;

	for (bool is_first = true;; is_first = false) {
		struct pod_usages now = POD_USAGES_NONE;

		r = pod_usages_read(pods, uuids, count, ANSWER_MS, &now, &cli->error);
		/* Who was watched has ended. */
		if (r == -ESRCH || r == -ENOENT)
			return is_first ? r : 0;
		if (r == 0)
			r = show(cli, options, is_first ? NULL : &before, &now, is_first);
		pod_usages_done(&before);
		before = now;
		if (r < 0 || options->once)
			return r;
		rest(options->interval);
	}
}

int command_top(struct cli *cli, int argc, char **argv)
{
	struct top_options top = {0};
	const char *interval = NULL;
	const struct cli_option options[] = {
		{"format", CLI_STRING, &top.format, "json|json-pretty",
			"JSON instead of a table, an array each time"},
		{"interval", CLI_STRING, &interval, "TIME", "look again after TIME (default: 2s)"},
		{"once", CLI_FLAG, &top.once, NULL, "look once"},
	};
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_check_format(cli, top.format);
	if (r == 0)
		r = top_parse_interval(cli, interval, &top.interval);
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	return r < 0 ? r : top_watch(cli, pods, argv + at, (size_t)(argc - at), &top);
}
