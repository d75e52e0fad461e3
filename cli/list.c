// SPDX-License-Identifier: Apache-2.0
/* list.c: appc-vm list */
#include "cli/cli.h"

#include "base/json.h"
#include "base/log.h"
#include "cli/pod_json.h"
#include "cli/table.h"

#include <string.h>

#define SHORT_UUID     8
#define SHORT_IMAGE_ID 19 /* "sha512-" and 12 digits */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void add_time(struct cli_table *table, const json_t *pod, const char *key)
{
	char text[40];

	cli_format_time(json_integer_value(json_object_get(pod, key)) * 1000000000ll, text);
	cli_table_add(table, "%s", text);
}

/* The columns of an app; app is NULL in a pod without one. */
static void add_app(struct cli_table *table, const json_t *app, bool full)
{
	cli_table_add(table, "%s", app ? text_of(app, "name") : "-");
	cli_table_add(table, "%s", app ? text_of(app, "image_name") : "-");
	if (full)
		cli_table_add(table, "%.*s", SHORT_IMAGE_ID, app ? text_of(app, "image_id") : "-");
}

/* The pod's columns stand beside its first app only. */
static void add_pod(struct cli_table *table, const json_t *pod, bool full)
{
	json_t *apps = json_object_get(pod, "apps"), *app;
	_cleanup_free_ char *networks = pod_networks_text(pod);
	size_t i;

	cli_table_add(table, "%.*s", full ? POD_UUID_SIZE : SHORT_UUID, text_of(pod, "name"));
	add_app(table, json_array_get(apps, 0), full);
	cli_table_add(table, "%s", text_of(pod, "state"));
	add_time(table, pod, "created_at");
	add_time(table, pod, "started_at");
	cli_table_add(table, "%s", networks ? networks : "");
	json_array_foreach (apps, i, app) {
		if (i == 0)
			continue;
		cli_table_add(table, "%s", "");
		add_app(table, app, full);
		for (unsigned int empty = 0; empty < 4; empty++)
			cli_table_add(table, "%s", "");
	}
}

static int print_table(struct cli *cli, const json_t *list, bool full, bool no_legend)
{
	static const char *const titles[] = {
		"UUID", "APP", "IMAGE NAME", "IMAGE ID", "STATE", "CREATED", "STARTED", "NETWORKS"};
	_cleanup_table_ struct cli_table table = {.columns = ARRAY_SIZE(titles) - (full ? 0 : 1)};

	for (size_t i = 0; !no_legend && i < ARRAY_SIZE(titles); i++)
		if (full || strcmp(titles[i], "IMAGE ID") != 0)
			cli_table_add(&table, "%s", titles[i]);
	for (size_t i = 0; i < json_array_size(list); i++)
		add_pod(&table, json_array_get(list, i), full);
	return cli_table_print(cli, &table);
}

static void warn_of_damage(const json_t *pod)
{
	json_t *errors = json_object_get(pod, "errors"), *error;
	size_t i;

	json_array_foreach (errors, i, error)
		log_warning("pod %s: %s", text_of(pod, "name"), json_string_value(error));
}

static int list_pods(struct cli *cli, json_t *list)
{
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	char **uuids = NULL;
	size_t count = 0;
	int r;

	r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = pods_list(pods, &uuids, &count, &cli->error);
	for (size_t i = 0; r == 0 && i < count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;
		struct error err = {0};
		int opened = pod_open(pods, uuids[i], &pod, &err);

		if (opened == 0)
			json_array_append_new(list, pod_json(&pod));
		else if (opened != -ENOENT) /* it was removed meanwhile */
			log_warning("%s", error_text(&err, opened));
	}
	pods_strings_free(uuids, count);
	return r;
}

int command_list(struct cli *cli, int argc, char **argv)
{
	bool full = false, no_legend = false;
	const char *format = NULL;
	const struct cli_option options[] = {
		{"full", CLI_FLAG, &full, NULL, "whole UUIDs, and image ids"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of a table"},
	};
	_cleanup_json_ json_t *list = json_array();
	json_t *pod;
	size_t i;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	r = cli_check_format(cli, format);
	if (r == 0)
		r = list_pods(cli, list);
	/* A list without some of its members is no list. */
	if (r == 0 && (!list || json_failures() > 0))
		r = error_set_errno(&cli->error, -ENOMEM, "cannot list pods");
	if (r < 0)
		return r;
	json_array_foreach (list, i, pod)
		warn_of_damage(pod);
	return format ? cli_print_formatted(cli, format, list)
		      : print_table(cli, list, full, no_legend);
}
