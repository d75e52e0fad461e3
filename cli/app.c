// SPDX-License-Identifier: Apache-2.0
/* app.c: appc-vm app */
#include "cli/app.h"

#include "base/log.h"
#include "pod/mutable.h"

#include <string.h>

int app_pod_open(struct cli *cli, const char *uuid, struct app_pod *ret)
{
	int r = cli_open_pods(cli, &ret->data_fd, &ret->pods);

	return r < 0 ? r : pod_open(ret->pods, uuid, &ret->pod, &cli->error);
}

void app_pod_close(struct app_pod *pod)
{
	pod_close(&pod->pod);
	cleanup_pods(&pod->pods);
	cleanup_close(&pod->data_fd);
}

void app_pod_sweep(const struct app_pod *pod)
{
	const char *uuid = pod->pod.uuid;
	int r = pod_mutable_sweep(&pod->pod);

	if (r == -EAGAIN || r == -ENOTEMPTY)
		log_warning(
			"pod %s: there is more of what removed apps wrote than is removed at a time, or "
			"it becomes more: the rest goes with the next app, or with the pod",
			uuid);
	else if (r < 0)
		log_warning("pod %s: cannot remove all that removed apps wrote: %s", uuid,
			strerror(-r));
}

const char *app_parse(struct cli *cli, const struct cli_option *options, size_t count,
	const char *const *app, int argc, char **argv, int *ret_r)
{
	int at = cli_parse(cli, options, count, argc, argv);

	*ret_r = at;
	if (at < 0)
		return NULL;
	if (argc - at == 1 && *app && **app)
		return argv[at];
	*ret_r = cli_usage(cli,
		argc - at == 1 ? "needs the name of an app (--app=NAME)"
			       : "needs the UUID of one pod");
	return NULL;
}

int command_app(struct cli *cli, int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"app add", app_add, "UUID IMAGE [flags] [-- arguments [---]]",
			"Add an app to a pod that app sandbox runs"},
		{"app list", app_list, "[flags] UUID", "List the apps of a pod"},
		{"app rm", app_rm, "UUID --app=NAME",
			"Remove an app of such a pod, and what it wrote"},
		{"app sandbox", app_sandbox, "[flags]",
			"Run a pod without apps until it is stopped, for apps to be added"},
		{"app start", app_start, "UUID --app=NAME", "Start an app of such a pod"},
		{"app status", app_status, "[flags] UUID --app=NAME", "Show the state of an app"},
		{"app stop", app_stop, "UUID --app=NAME", "Stop an app of such a pod"},
	};

	return cli_run_subcommand(cli, commands, ARRAY_SIZE(commands), argc, argv);
}
