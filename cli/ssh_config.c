// SPDX-License-Identifier: Apache-2.0
/* ssh_config.c: appc-vm ssh-config */
#include "cli/ssh_options.h"

#include "pod/ssh.h"

int command_ssh_config(struct cli *cli, int argc, char **argv)
{
	_cleanup_(cli_clear_ssh_options) struct cli_ssh_options options = {0};
	_cleanup_close_ int data = -1;
	int at = cli_parse(cli, NULL, 0, argc, argv), r;

	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	/* ssh reads the key before it runs the ProxyCommand. */
	r = pod_ssh_make_identity(data, &cli->error);
	if (r == 0)
		r = cli_make_ssh_options(cli, &options);
	if (r < 0)
		return r;
	printf("Host *" POD_SSH_DOMAIN "\n");
	for (size_t i = 0; i < options.count; i++)
		printf("\t%s %s\n", options.items[i].keyword, options.items[i].value);
	return 0;
}
