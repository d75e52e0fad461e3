// SPDX-License-Identifier: Apache-2.0
/* rm.c: appc-vm rm */
#include "cli/cli.h"

static int remove_one(struct pod *pod, void *context, struct error *err)
{
	(void)context;
	return pod_remove(pod, err);
}

int command_rm(struct cli *cli, int argc, char **argv)
{
	const char *uuid_file = NULL;
	const struct cli_option options[] = {
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};

	return cli_act_on_pods(
		cli, options, ARRAY_SIZE(options), &uuid_file, argc, argv, remove_one, NULL);
}
