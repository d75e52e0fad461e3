// SPDX-License-Identifier: Apache-2.0
/* checkpoint.c: appc-vm checkpoint */
#include "cli/cli.h"

#include "base/json.h"
#include "base/log.h"
#include "cli/table.h"
#include "pod/checkpoint.h"

#include <inttypes.h>
#include <string.h>

#define SHORT_KEY 12 /* digits; as many are in error messages */

struct opened {
	int data_fd;
	struct pods *pods;
	struct templates *checkpoints;
};

static void opened_close(struct opened *opened)
{
	templates_close(opened->checkpoints);
	cleanup_pods(&opened->pods);
	cleanup_close(&opened->data_fd);
}
#define _cleanup_opened_ _cleanup_(opened_close)
#define OPENED_NONE      ((struct opened){.data_fd = -1})

static int open_checkpoints(struct cli *cli, struct opened *ret)
{
	int r = cli_open_pods(cli, &ret->data_fd, &ret->pods);

	return r < 0 ? r : pod_checkpoints_open(ret->data_fd, &ret->checkpoints, &cli->error);
}

/* ---- making one */

static int checkpoint_make(struct cli *cli, int argc, char **argv)
{
	bool keep_running = false, stop = false;
	const char *uuid_file = NULL;
	const struct cli_option options[] = {
		{"keep-running", CLI_FLAG, &keep_running, NULL, "the pod goes on afterwards"},
		{"stop", CLI_FLAG, &stop, NULL, "the pod ends there (the default)"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	_cleanup_opened_ struct opened opened = OPENED_NONE;
	_cleanup_pod_ struct pod pod = POD_NONE;
	char key[TEMPLATE_KEY_SIZE];
	struct cli_uuids uuids;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (stop && keep_running)
		return cli_usage(cli, "takes --stop or --keep-running, not both");
	r = cli_parse_uuid(cli, uuid_file, argc, argv, at, &uuids);
	if (r == 0)
		r = open_checkpoints(cli, &opened);
	if (r == 0)
		r = pod_open(opened.pods, uuids.items[0], &pod, &cli->error);
	if (r == 0)
		r = pod_checkpoint_make(&pod, opened.checkpoints, keep_running, key, &cli->error);
	if (r < 0)
		return r;
	printf("%s\n", key);
	return 0;
}

/* ---- list */

static json_t *list_json(
	const struct opened *opened, const struct template_info *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		struct pod_checkpoint_info info;
		int r = pod_checkpoint_read(opened->data_fd, list[i].key, &info);

		json_array_append_new(array,
			json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I}", "key", list[i].key, "pod",
				r == 0 ? info.uuid : "", "vcpus", (int)list[i].vcpus, "memory",
				(json_int_t)list[i].memory, "size", (json_int_t)list[i].bytes,
				"created_at", (json_int_t)(list[i].created_at / 1000000000),
				"last_used_at", (json_int_t)(list[i].used_at / 1000000000)));
	}
	return array;
}

static int print_table(struct cli *cli, const struct opened *opened,
	const struct template_info *list, size_t count, bool full, bool no_legend)
{
	static const char *const titles[] = {
		"KEY", "POD", "VCPUS", "MEMORY", "SIZE", "CREATED", "LAST USED"};
	_cleanup_table_ struct cli_table table = {.columns = ARRAY_SIZE(titles)};

	for (size_t i = 0; !no_legend && i < ARRAY_SIZE(titles); i++)
		cli_table_add(&table, "%s", titles[i]);
	for (size_t i = 0; i < count; i++) {
		struct pod_checkpoint_info info;
		int r = pod_checkpoint_read(opened->data_fd, list[i].key, &info);
		char created[40], used[40];

		cli_format_time(list[i].created_at, created);
		cli_format_time(list[i].used_at, used);
		cli_table_add(&table, "%.*s", full ? TEMPLATE_KEY_SIZE : SHORT_KEY, list[i].key);
		cli_table_add(
			&table, "%.*s", full ? POD_UUID_SIZE : 8, r == 0 ? info.uuid : "damaged");
		cli_table_add(&table, "%u", list[i].vcpus);
		cli_table_add(&table, "%" PRIu64 "MiB", list[i].memory >> 20);
		cli_table_add(&table, "%.1fMiB", (double)list[i].bytes / (1 << 20));
		cli_table_add(&table, "%s", created);
		cli_table_add(&table, "%s", used);
	}
	return cli_table_print(cli, &table);
}

static int checkpoint_list(struct cli *cli, int argc, char **argv)
{
	bool full = false, no_legend = false;
	const char *format = NULL;
	const struct cli_option options[] = {
		{"full", CLI_FLAG, &full, NULL, "whole keys and UUIDs"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of a table"},
	};
	_cleanup_free_ struct template_info *list = NULL;
	_cleanup_opened_ struct opened opened = OPENED_NONE;
	_cleanup_json_ json_t *json = NULL;
	size_t count = 0;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	r = cli_check_format(cli, format);
	if (r == 0)
		r = open_checkpoints(cli, &opened);
	if (r == 0)
		r = templates_list(opened.checkpoints, &list, &count, &cli->error);
	if (r < 0)
		return r;
	if (!format)
		return print_table(cli, &opened, list, count, full, no_legend);
	json = list_json(&opened, list, count);
	return cli_print_formatted(cli, format, json);
}

/* ---- rm and verify */

/* What fails for one does not end it; the first error is returned. */
static int for_each(struct cli *cli, int argc, char **argv,
	int (*act)(struct templates *checkpoints, const char *key, struct error *err))
{
	_cleanup_opened_ struct opened opened = OPENED_NONE;
	int at = cli_parse(cli, NULL, 0, argc, argv), result;

	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs the keys of checkpoints");
	result = open_checkpoints(cli, &opened);
	if (result < 0)
		return result;
	for (; at < argc; at++) {
		char key[TEMPLATE_KEY_SIZE];
		struct error err = {0};
		int r = templates_find(opened.checkpoints, argv[at], key, &err);

		if (r == 0)
			r = act(opened.checkpoints, key, &err);
		/* main() prints the first one. */
		if (r < 0 && result < 0)
			log_error("%s", err.message);
		else if (r < 0)
			result = error_set(&cli->error, r, "%s", err.message);
	}
	return result;
}

static int checkpoint_rm(struct cli *cli, int argc, char **argv)
{
	return for_each(cli, argc, argv, templates_remove);
}

static int verify_one(struct templates *checkpoints, const char *key, struct error *err)
{
	int r = templates_verify(checkpoints, key, err);

	if (r == 0)
		printf("%.*s\tgood\n", SHORT_KEY, key);
	return r < 0 ? error_prefix(err, r, "checkpoint %.12s", key) : 0;
}

static int checkpoint_verify(struct cli *cli, int argc, char **argv)
{
	return for_each(cli, argc, argv, verify_one);
}

int command_checkpoint(struct cli *cli, int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"checkpoint list", checkpoint_list, "[flags]", "List checkpoints"},
		{"checkpoint rm", checkpoint_rm, "[flags] CHECKPOINT...", "Remove checkpoints"},
		{"checkpoint verify", checkpoint_verify, "[flags] CHECKPOINT...",
			"Read checkpoints from end to end and check them"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name + strlen("checkpoint ")))
			return cli_run_subcommand(cli, commands, ARRAY_SIZE(commands), argc, argv);
	return checkpoint_make(cli, argc, argv);
}
