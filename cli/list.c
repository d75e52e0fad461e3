// SPDX-License-Identifier: Apache-2.0
/* list.c: appc-vm list */
#include "cli/cli.h"

#include "base/json.h"
#include "base/log.h"
#include "cli/pod_json.h"

#include <string.h>

#define SHORT_UUID 8

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_pod(const json_t *pod, bool full)
{
	json_t *apps = json_object_get(pod, "apps"), *app;
	char created[40], started[40];
	size_t i;

	cli_format_time(
		json_integer_value(json_object_get(pod, "created_at")) * 1000000000ll, created);
	cli_format_time(
		json_integer_value(json_object_get(pod, "started_at")) * 1000000000ll, started);
	if (json_array_size(apps) == 0)
		printf("%.*s\t-\t-\t%s\t%s\t%s\n", full ? POD_UUID_SIZE : SHORT_UUID,
			text_of(pod, "name"), text_of(pod, "state"), created, started);
	/* The pod's columns stand beside its first app only. */
	json_array_foreach (apps, i, app) {
		if (i == 0)
			printf("%.*s\t%s\t%s\t%s\t%s\t%s\n", full ? POD_UUID_SIZE : SHORT_UUID,
				text_of(pod, "name"), text_of(app, "name"),
				text_of(app, "image_name"), text_of(pod, "state"), created,
				started);
		else
			printf("\t%s\t%s\t\t\t\n", text_of(app, "name"),
				text_of(app, "image_name"));
	}
}

int command_list(struct cli *cli, int argc, char **argv)
{
	bool full = false, no_legend = false;
	const char *format = NULL;
	const struct cli_option options[] = {
		{"full", CLI_FLAG, &full, NULL, "whole UUIDs"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json", "JSON instead of a table"},
	};
	_cleanup_json_ json_t *list = json_array();
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	char **uuids = NULL;
	size_t count = 0;
	json_t *object;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	if (format && strcmp(format, "json"))
		return cli_usage(cli, "--format is json, not \"%s\"", format);
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = pods_open(data, &pods, &cli->error);
	if (r == 0)
		r = pods_list(pods, &uuids, &count, &cli->error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;

		/* One that was removed meanwhile is no error. */
		if (pod_open(pods, uuids[i], &pod, NULL) == 0)
			json_array_append_new(list, pod_json(&pod));
	}
	pods_strings_free(uuids, count);
	if (format)
		return cli_print_json(cli, list);
	if (!no_legend)
		printf("UUID\tAPP\tIMAGE NAME\tSTATE\tCREATED\tSTARTED\n");
	for (size_t i = 0; i < json_array_size(list); i++) {
		object = json_array_get(list, i);
		print_pod(object, full);
	}
	return 0;
}
