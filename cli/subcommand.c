// SPDX-License-Identifier: Apache-2.0
/* subcommand.c: commands that have commands: image, template */
#include "cli/cli.h"

#include <string.h>

int cli_run_subcommand(
	struct cli *cli, const struct cli_command *commands, size_t count, int argc, char **argv)
{
	const char *group = cli->command->name;
	size_t prefix = strlen(group) + 1, width = 0;

	if (cli->describer) {
		cli->describer->commands(cli->describer->context, commands, count);
		return -ECANCELED;
	}
	for (size_t i = 0; argc >= 2 && i < count; i++) {
		if (strcmp(argv[1], commands[i].name + prefix))
			continue;
		cli->command = &commands[i];
		return commands[i].run(cli, argc - 1, argv + 1);
	}
	if (argc >= 2 && strcmp(argv[1], "--help") && strcmp(argv[1], "-h"))
		return cli_usage(cli, "unknown command \"%s\"", argv[1]);
	for (size_t i = 0; i < count; i++)
		if (strlen(commands[i].name) > width)
			width = strlen(commands[i].name);
	printf("%s.\n\nUsage: appc-vm %s COMMAND [flags]\n\nCommands:\n", cli->command->description,
		group);
	for (size_t i = 0; i < count; i++)
		printf("  %-*s %s\n", (int)width, commands[i].name, commands[i].description);
	return argc >= 2 || cli->help ? 0 : CLI_STATUS_ERROR;
}
