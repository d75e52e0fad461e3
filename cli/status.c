// SPDX-License-Identifier: Apache-2.0
/* status.c: appc-vm status */
#include "cli/cli.h"

#include "appc/types.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/pod_json.h"
#include "cli/top.h"
#include "vmm/jail.h"

#include <string.h>

struct waits {
	const char *end, *ready; /* --wait, --wait-ready */
	int64_t end_timeout, ready_timeout;
};

/* ---- printing */

static void print_time(const json_t *pod, const char *key, const char *name)
{
	json_t *time = json_object_get(pod, key);
	char text[40];

	if (!time)
		return;
	cli_format_time(json_integer_value(time) * 1000000000ll, text);
	printf("%s=%s\n", name, text);
}

static void print_value(const json_t *object, const char *key, const char *name)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		printf("%s=%" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
	else if (json_is_string(value))
		printf("%s=%s\n", name, json_string_value(value));
}

static void print_app(const json_t *app)
{
	const char *name = json_string_value(json_object_get(app, "name"));
	char title[512];

	snprintf(title, sizeof(title), "app-%s", name ? name : "");
	print_value(app, json_object_get(app, "exit_code") ? "exit_code" : "state", title);
}

/* The names of the walls around the VMM that stand, or that do not. */
static void print_walls(const json_t *walls, const char *title, bool stand)
{
	const char *separator = "";

	printf("%s=", title);
	for (int i = 0; i < JAIL_WALLS; i++) {
		const char *name = jail_wall_name((enum jail_wall)i);

		if (json_is_true(json_object_get(walls, name)) != stand)
			continue;
		printf("%s%s", separator, name);
		separator = ",";
	}
	putchar('\n');
}

static void print_status(const json_t *pod, enum pod_state state)
{
	json_t *apps = json_object_get(pod, "apps"), *app, *walls = json_object_get(pod, "walls");
	bool exited = state == POD_EXITED || state == POD_EXITED_GARBAGE;
	_cleanup_free_ char *networks = pod_networks_text(pod);
	size_t i;

	print_value(pod, "state", "state");
	print_time(pod, "created_at", "created");
	print_time(pod, "started_at", "started");
	print_time(pod, "finished_at", "finished");
	if (state == POD_RUNNING || exited)
		printf("networks=%s\n", networks ? networks : "");
	print_value(pod, "pid", "pid");
	printf("exited=%s\n", exited ? "true" : "false");
	print_value(pod, "exit_code", "exit_code");
	print_value(pod, "reason", "reason");
	if (walls) {
		print_walls(walls, "walls", true);
		print_walls(walls, "walls_down", false);
	}
	json_array_foreach (apps, i, app)
		print_app(app);
	json_array_foreach (json_object_get(pod, "errors"), i, app)
		log_warning("%s", json_string_value(app));
}

/* ---- waiting */

/* --NAME=true waits for ever, false and absence not at all, a duration so long. */
static int parse_wait(struct cli *cli, const char *flag, const char **text, int64_t *ret_timeout)
{
	bool wanted = true;

	if (!*text)
		return 0;
	*ret_timeout = -1;
	if (!**text || appc_bool_parse(*text, &wanted, NULL) == 0) {
		if (!wanted)
			*text = NULL;
		return 0;
	}
	return cli_parse_timeout(cli, flag, *text, ret_timeout);
}

static int wait_for(struct cli *cli, struct pods *pods, const char *uuid, enum pod_event event,
	const char *duration, int64_t timeout)
{
	int r = pod_wait(pods, uuid, event, timeout, &cli->error);

	return r == -ETIMEDOUT
		? error_set(&cli->error, r, "pod %s: %s after %s", uuid,
			  event == POD_EVENT_END ? "not at its end" : "not ready", duration)
		: r;
}

/* A pod that runs and need not be waited for is ready; one that has ended was, if each app was started. */
static int check_ready(struct cli *cli, const struct pod *pod, const json_t *object)
{
	json_t *apps = json_object_get(object, "apps"), *app;
	size_t i, started = 0;

	if (pod->state == POD_RUNNING)
		return 0;
	json_array_foreach (apps, i, app)
		started += json_object_get(app, "started_at") != NULL;
	if (started > 0 && started == json_array_size(apps))
		return 0;
	return error_set(&cli->error, -ECHILD, "pod %s is %s and was never ready", pod->uuid,
		pod_state_name(pod->state));
}

/* ---- the command */

/* The state, the records and what was waited for belong to one look at the pod: the last. */
static int look(struct cli *cli, struct pods *pods, const char *uuid, const struct waits *waits,
	struct pod *ret_pod, json_t **ret)
{
	char whole[POD_UUID_SIZE];
	int r;

	r = pod_open(pods, uuid, ret_pod, &cli->error);
	if (r < 0)
		return r;
	memcpy(whole, ret_pod->uuid, sizeof(whole));
	if (waits->ready)
		r = wait_for(cli, pods, whole, POD_EVENT_READY, waits->ready, waits->ready_timeout);
	if (r == 0 && waits->end)
		r = wait_for(cli, pods, whole, POD_EVENT_END, waits->end, waits->end_timeout);
	if (r < 0)
		return r;
	pod_close(ret_pod);
	r = pod_open(pods, whole, ret_pod, &cli->error);
	if (r < 0)
		return r;
	*ret = pod_json(ret_pod);
	return waits->ready ? check_ready(cli, ret_pod, *ret) : 0;
}

int command_status(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL, *uuid_file = NULL, *interval = NULL;
	struct top_options top = {0};
	struct waits waits = {0};
	bool watch = false;
	const struct cli_option options[] = {
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of text"},
		{"interval", CLI_STRING, &interval, "TIME",
			"with --watch, look again after TIME (default: 2s)"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
		{"watch", CLI_FLAG, &watch, NULL,
			"show what the pod uses until it has ended, as top does"},
		{"wait", CLI_OPTIONAL, &waits.end, "BOOL|TIME",
			"wait until the pod has ended, or for TIME"},
		{"wait-ready", CLI_OPTIONAL, &waits.ready, "BOOL|TIME",
			"wait until all apps have been started, or for TIME"},
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_json_ json_t *object = NULL;
	_cleanup_close_ int data = -1;
	struct cli_uuids uuids;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_parse_uuid(cli, uuid_file, argc, argv, at, &uuids);
	if (r == 0)
		r = cli_check_format(cli, format);
	if (r == 0)
		r = parse_wait(cli, "wait", &waits.end, &waits.end_timeout);
	if (r == 0)
		r = parse_wait(cli, "wait-ready", &waits.ready, &waits.ready_timeout);
	if (r == 0)
		r = top_parse_interval(cli, interval, &top.interval);
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	top.format = format;
	if (r == 0 && watch)
		return top_watch(cli, pods, uuids.items, 1, &top);
	if (r == 0)
		r = look(cli, pods, uuids.items[0], &waits, &pod, &object);
	if (r < 0)
		return r;
	if (format)
		return cli_print_formatted(cli, format, object);
	print_status(object, pod.state);
	return 0;
}
