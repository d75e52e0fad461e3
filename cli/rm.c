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
	struct cli_uuids uuids;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_parse_uuids(cli, uuid_file, argc, argv, at, &uuids);
	return r < 0 ? r : cli_each_pod(cli, &uuids, remove_one, NULL);
}
