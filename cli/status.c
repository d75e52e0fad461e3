// SPDX-License-Identifier: Apache-2.0
/* status.c: appc-vm status */
#include "cli/cli.h"

#include "base/file.h"
#include "base/json.h"
#include "cli/pod_json.h"

#include <fcntl.h>
#include <string.h>

static void print_time(const json_t *pod, const char *key, const char *name)
{
	json_t *time = json_object_get(pod, key);
	char text[40];

	if (!time)
		return;
	cli_format_time(json_integer_value(time) * 1000000000ll, text);
	printf("%s=%s\n", name, text);
}

static void print_status(const json_t *pod)
{
	json_t *apps = json_object_get(pod, "apps"), *app, *value;
	const char *state = json_string_value(json_object_get(pod, "state"));
	bool exited = state && !strcmp(state, "exited");
	size_t i;

	printf("state=%s\n", state);
	print_time(pod, "created_at", "created");
	print_time(pod, "started_at", "started");
	print_time(pod, "finished_at", "finished");
	value = json_object_get(pod, "pid");
	if (value)
		printf("pid=%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	printf("exited=%s\n", exited ? "true" : "false");
	value = json_object_get(pod, "exit_code");
	if (value)
		printf("exit_code=%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	value = json_object_get(pod, "reason");
	if (value)
		printf("reason=%s\n", json_string_value(value));
	json_array_foreach (apps, i, app) {
		const char *name = json_string_value(json_object_get(app, "name"));

		value = json_object_get(app, "exit_code");
		if (value)
			printf("app-%s=%" JSON_INTEGER_FORMAT "\n", name,
				json_integer_value(value));
		else
			printf("app-%s=%s\n", name,
				json_string_value(json_object_get(app, "state")));
	}
}

int command_status(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL, *uuid_file = NULL, *uuid;
	const struct cli_option options[] = {
		{"format", CLI_STRING, &format, "json", "JSON instead of text"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int data = -1;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != (uuid_file ? 0 : 1))
		return cli_usage(cli, "needs the UUID of one pod");
	if (format && strcmp(format, "json"))
		return cli_usage(cli, "--format is json, not \"%s\"", format);
	if (uuid_file) {
		r = file_read(AT_FDCWD, uuid_file, 256, &text, NULL);
		if (r < 0)
			return error_set_errno(&cli->error, r, "--uuid-file=%s", uuid_file);
		text[strcspn(text, "\n")] = '\0';
	}
	uuid = uuid_file ? text : argv[at];
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = pods_open(data, &pods, &cli->error);
	if (r == 0)
		r = pod_open(pods, uuid, &pod, &cli->error);
	if (r < 0)
		return r;
	object = pod_json(&pod);
	if (format)
		return cli_print_json(cli, object);
	print_status(object);
	return 0;
}
