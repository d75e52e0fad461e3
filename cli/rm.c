// SPDX-License-Identifier: Apache-2.0
/* rm.c: appc-vm rm */
#include "cli/cli.h"

#include "base/log.h"

int command_rm(struct cli *cli, int argc, char **argv)
{
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int at, result = 0, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs the UUID of a pod");
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = pods_open(data, &pods, &cli->error);
	if (r < 0)
		return r;
	/* One that cannot be removed does not save the others. */
	for (; at < argc; at++) {
		_cleanup_pod_ struct pod pod = POD_NONE;

		r = pod_open(pods, argv[at], &pod, &cli->error);
		if (r == 0)
			r = pod_remove(&pod, &cli->error);
		if (r == 0) {
			printf("%s\n", pod.uuid);
			continue;
		}
		log_error("%s", cli->error.message);
		result = CLI_STATUS_ERROR;
	}
	return result;
}
