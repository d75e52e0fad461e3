// SPDX-License-Identifier: Apache-2.0
/* enter.c: appc-vm enter */
#include "cli/cli.h"

#include "pod/enter.h"

#include <string.h>

static int enter_pod(struct cli *cli, const char *uuid, const struct pod_enter_options *options)
{
	_cleanup_close_ int data = -1;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_pod_ struct pod pod = POD_NONE;
	int status = 0, r;

	r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = pod_open(pods, uuid, &pod, &cli->error);
	if (r == 0)
		r = pod_enter(&pod, options, &status, &cli->error);
	return r < 0 ? r : status;
}

int command_enter(struct cli *cli, int argc, char **argv)
{
	struct pod_enter_options enter = {0};
	bool wants_terminal = false;
	const struct cli_option options[] = {
		{"app", CLI_STRING, &enter.app, "NAME", "the app, in a pod with several"},
		{"group", CLI_STRING, &enter.group, "GROUP", "another group than the app's"},
		{"t", CLI_FLAG, &wants_terminal, NULL, "the same as --tty"},
		{"tty", CLI_FLAG, &wants_terminal, NULL,
			"give the process a terminal, as when ours is one and no command is given"},
		{"user", CLI_STRING, &enter.user, "USER", "another user than the app's"},
	};
	int at = cli_parse_pod(cli, options, ARRAY_SIZE(options), argc, argv);

	if (at < 0)
		return at;
	enter.exec = argv + at + 1;
	if (enter.exec[0] && !strcmp(enter.exec[0], "--"))
		enter.exec++;
	if (enter.app && !*enter.app)
		enter.app = NULL;
	/* Who asks for a shell and sits at a terminal wants to talk to it. */
	enter.has_terminal = wants_terminal ||
		(!enter.exec[0] && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	return enter_pod(cli, argv[at], &enter);
}
