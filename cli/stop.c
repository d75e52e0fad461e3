// SPDX-License-Identifier: Apache-2.0
/* stop.c: appc-vm stop */
#include "cli/cli.h"

#include "pod/request.h"

static int stop_one(struct pod *pod, void *context, struct error *err)
{
	const bool *force = context;

	return pod_stop(pod, *force, err);
}

int command_stop(struct cli *cli, int argc, char **argv)
{
	const char *uuid_file = NULL;
	bool force = false;
	const struct cli_option options[] = {
		{"force", CLI_FLAG, &force, NULL, "end the pods at once, and wait for that"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};

	return cli_act_on_pods(
		cli, options, ARRAY_SIZE(options), &uuid_file, argc, argv, stop_one, &force);
}
