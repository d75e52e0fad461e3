// SPDX-License-Identifier: Apache-2.0
/* metrics.c: appc-vm metrics */
#include "cli/cli.h"

#include "cli/metrics_server.h"
#include "cli/usage_text.h"

#include <string.h>

/* How long guests may take to answer. */
#define ANSWER_MS 5000

#define UNIX_PREFIX "unix:"

static int print(struct pods *pods, FILE *file, struct error *err)
{
	_cleanup_(pod_usages_done) struct pod_usages usages = POD_USAGES_NONE;
	int r = pod_usages_read(pods, NULL, 0, ANSWER_MS, &usages, err);

	if (r == 0)
		r = usage_print_metrics(&usages, file);
	return r < 0 ? error_prefix(err, r, "metrics") : 0;
}

static int write_text(void *context, char **ret_text, size_t *ret_length, struct error *err)
{
	FILE *file = open_memstream(ret_text, ret_length);
	int r;

	if (!file)
		return error_set_errno(err, -errno, "metrics");
	r = print(context, file, err);
	if (fclose(file) != 0 && r == 0)
		r = error_set_errno(err, -errno, "metrics");
	return r;
}

int command_metrics(struct cli *cli, int argc, char **argv)
{
	const char *address = NULL;
	const struct cli_option options[] = {
		{"listen", CLI_STRING, &address, "unix:PATH",
			"serve them over HTTP at this socket, until SIGTERM"},
	};
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);

	if (r < 0)
		return r;
	if (address &&
		(strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) != 0 ||
			!address[strlen(UNIX_PREFIX)]))
		return cli_usage(cli, "--listen: \"%s\" is not unix:PATH", address);
	r = cli_open_pods(cli, &data, &pods);
	if (r < 0)
		return r;
	return address ? metrics_serve(address + strlen(UNIX_PREFIX), write_text, pods, &cli->error)
		       : print(pods, stdout, &cli->error);
}
