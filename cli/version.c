// SPDX-License-Identifier: Apache-2.0
/* version.c: appc-vm version */
#include "cli/cli.h"

int command_version(struct cli *cli, int argc, char **argv)
{
	int at = cli_parse(cli, NULL, 0, argc, argv);

	if (at < 0)
		return at;
	printf("appc-vm Version: %s\nappc Version: %s\n", APPC_VM_VERSION, APPC_VERSION);
	return 0;
}
