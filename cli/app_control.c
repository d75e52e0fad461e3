// SPDX-License-Identifier: Apache-2.0
/* app_control.c: appc-vm app start, stop and rm */
#include "cli/app.h"

#include "base/json.h"
#include "pod/app_request.h"

static int ask(struct cli *cli, const struct app_pod *pod, enum app_action action, const char *app)
{
	_cleanup_json_ json_t *name = json_string(app);

	return name ? app_request_ask(&pod->pod, action, name, &cli->error)
		    : error_set(&cli->error, -EINVAL, "the name of the app is not UTF-8");
}

/* Opens the pod that the command line names. */
static int parse(struct cli *cli, int argc, char **argv, const char **ret_app, struct app_pod *ret)
{
	const struct cli_option options[] = {
		{"app", CLI_STRING, ret_app, "NAME", "the app"},
	};
	const char *uuid;
	int r;

	uuid = app_parse(cli, options, ARRAY_SIZE(options), ret_app, argc, argv, &r);
	return uuid ? app_pod_open(cli, uuid, ret) : r;
}

int app_start(struct cli *cli, int argc, char **argv)
{
	_cleanup_app_pod_ struct app_pod pod = APP_POD_NONE;
	const char *app = NULL;
	int r = parse(cli, argc, argv, &app, &pod);

	return r < 0 ? r : ask(cli, &pod, APP_START, app);
}

int app_stop(struct cli *cli, int argc, char **argv)
{
	_cleanup_app_pod_ struct app_pod pod = APP_POD_NONE;
	const char *app = NULL;
	int r = parse(cli, argc, argv, &app, &pod);

	return r < 0 ? r : ask(cli, &pod, APP_STOP, app);
}

int app_rm(struct cli *cli, int argc, char **argv)
{
	_cleanup_app_pod_ struct app_pod pod = APP_POD_NONE;
	const char *app = NULL;
	int r = parse(cli, argc, argv, &app, &pod);

	if (r == 0)
		r = ask(cli, &pod, APP_RM, app);
	/* The app is gone in any case. */
	if (r == 0)
		app_pod_sweep(&pod);
	return r;
}
