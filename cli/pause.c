// SPDX-License-Identifier: Apache-2.0
/* pause.c: appc-vm pause and appc-vm resume */
#include "cli/cli.h"

#include "pod/pause.h"

static int pause_one(struct pod *pod, void *context, struct error *err)
{
	(void)context;
	return pod_pause(pod, err);
}

static int resume_one(struct pod *pod, void *context, struct error *err)
{
	(void)context;
	return pod_resume(pod, err);
}

static int each_pod(struct cli *cli, int argc, char **argv,
	int (*act)(struct pod *pod, void *context, struct error *err))
{
	const char *uuid_file = NULL;
	const struct cli_option options[] = {
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};

	return cli_act_on_pods(
		cli, options, ARRAY_SIZE(options), &uuid_file, argc, argv, act, NULL);
}

int command_pause(struct cli *cli, int argc, char **argv)
{
	return each_pod(cli, argc, argv, pause_one);
}

int command_resume(struct cli *cli, int argc, char **argv)
{
	return each_pod(cli, argc, argv, resume_one);
}
