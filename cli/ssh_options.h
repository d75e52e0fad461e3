/* SPDX-License-Identifier: Apache-2.0 */
/* How OpenSSH's programs reach pods: options, as ssh_config(5) has them. */
#ifndef APPC_CLI_SSH_OPTIONS_H
#define APPC_CLI_SSH_OPTIONS_H

#include "cli/cli.h"

#define CLI_SSH_OPTIONS_MAX 24

struct cli_ssh_options {
	struct {
		const char *keyword;
		char *value;
	} items[CLI_SSH_OPTIONS_MAX];
	size_t count;
};

/*
 * The options for this data directory, and this very program. The caller clears *ret in every case. -errno with the
 * message set.
 */
int cli_make_ssh_options(struct cli *cli, struct cli_ssh_options *ret);
void cli_clear_ssh_options(struct cli_ssh_options *options);

#endif
