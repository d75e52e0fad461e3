// SPDX-License-Identifier: Apache-2.0
/* app_list.c: appc-vm app list and status */
#include "cli/app.h"

#include "base/json.h"
#include "cli/pod_json.h"
#include "cli/table.h"

#include <string.h>

static const char *text_of(const json_t *app, const char *key)
{
	const char *text = json_string_value(json_object_get(app, key));

	return text ? text : "";
}

static void add_time(struct cli_table *table, const json_t *app, const char *key)
{
	char text[40];

	cli_format_time(json_integer_value(json_object_get(app, key)), text);
	cli_table_add(table, "%s", text);
}

static void add_app(struct cli_table *table, const json_t *app)
{
	const json_t *code = json_object_get(app, "exit_code");

	cli_table_add(table, "%s", text_of(app, "name"));
	cli_table_add(table, "%s", text_of(app, "state"));
	if (code)
		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_integer_value(code));
	else
		cli_table_add(table, "%s", "-");
	add_time(table, app, "created_at");
	add_time(table, app, "started_at");
	add_time(table, app, "finished_at");
	cli_table_add(table, "%s", text_of(app, "image_name"));
}

static int print_table(struct cli *cli, const json_t *apps, bool no_legend)
{
	static const char *const titles[] = {
		"NAME", "STATE", "EXIT CODE", "CREATED", "STARTED", "FINISHED", "IMAGE NAME"};
	_cleanup_table_ struct cli_table table = {.columns = ARRAY_SIZE(titles)};

	for (size_t i = 0; !no_legend && i < ARRAY_SIZE(titles); i++)
		cli_table_add(&table, "%s", titles[i]);
	for (size_t i = 0; i < json_array_size(apps); i++)
		add_app(&table, json_array_get(apps, i));
	return cli_table_print(cli, &table);
}

/* The description of the pod that uuid names. -errno with the message set. */
static int read_pod(struct cli *cli, const char *uuid, json_t **ret)
{
	_cleanup_app_pod_ struct app_pod pod = APP_POD_NONE;
	int r = app_pod_open(cli, uuid, &pod);

	if (r < 0)
		return r;
	*ret = pod_json(&pod.pod);
	return !*ret || json_failures() > 0
		? error_set_errno(&cli->error, -ENOMEM, "cannot read it")
		: 0;
}

int app_list(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL;
	bool no_legend = false;
	const struct cli_option options[] = {
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of a table"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
	};
	_cleanup_json_ json_t *pod = NULL;
	json_t *apps;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 1)
		return cli_usage(cli, "needs the UUID of one pod");
	r = cli_check_format(cli, format);
	if (r == 0)
		r = read_pod(cli, argv[at], &pod);
	if (r < 0)
		return r;
	apps = json_object_get(pod, "apps");
	return format ? cli_print_formatted(cli, format, apps) : print_table(cli, apps, no_legend);
}

static void print_value(const json_t *app, const char *key)
{
	const json_t *value = json_object_get(app, key);

	if (json_is_integer(value))
		printf("%s=%" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
	else if (json_is_string(value))
		printf("%s=%s\n", key, json_string_value(value));
}

static void print_time(const json_t *app, const char *key, const char *name)
{
	const json_t *time = json_object_get(app, key);
	char text[40];

	if (!time)
		return;
	cli_format_time(json_integer_value(time), text);
	printf("%s=%s\n", name, text);
}

static void print_status(const json_t *app)
{
	print_value(app, "name");
	print_value(app, "state");
	print_time(app, "created_at", "created");
	print_time(app, "started_at", "started");
	print_time(app, "finished_at", "finished");
	print_value(app, "exit_code");
	print_value(app, "message");
	if (json_is_true(json_object_get(app, "out_of_memory")))
		printf("out_of_memory=true\n");
	print_value(app, "image_id");
	print_value(app, "image_name");
}

static int find_app(struct cli *cli, const json_t *pod, const char *name, json_t **ret)
{
	json_t *apps = json_object_get(pod, "apps");
	size_t i;

	json_array_foreach (apps, i, *ret)
		if (!strcmp(text_of(*ret, "name"), name))
			return 0;
	return error_set(
		&cli->error, -ENOENT, "pod %s has no app \"%s\"", text_of(pod, "name"), name);
}

int app_status(struct cli *cli, int argc, char **argv)
{
	const char *name = NULL, *format = NULL, *uuid;
	const struct cli_option options[] = {
		{"app", CLI_STRING, &name, "NAME", "the app"},
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of text"},
	};
	_cleanup_json_ json_t *pod = NULL;
	json_t *app = NULL;
	int r;

	uuid = app_parse(cli, options, ARRAY_SIZE(options), &name, argc, argv, &r);
	if (!uuid)
		return r;
	r = cli_check_format(cli, format);
	if (r == 0)
		r = read_pod(cli, uuid, &pod);
	if (r == 0)
		r = find_app(cli, pod, name, &app);
	if (r < 0)
		return r;
	if (format)
		return cli_print_formatted(cli, format, app);
	print_status(app);
	return 0;
}
