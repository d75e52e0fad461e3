/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of appc-vm app, and what they share. */
#ifndef APPC_CLI_APP_H
#define APPC_CLI_APP_H

#include "cli/cli.h"

/* A pod, with the directory that it is in. */
struct app_pod {
	int data_fd;
	struct pods *pods;
	struct pod pod;
};
#define APP_POD_NONE ((struct app_pod){.data_fd = -1, .pod = POD_NONE})

/* -errno with the message set. */
int app_pod_open(struct cli *cli, const char *uuid, struct app_pod *ret);
void app_pod_close(struct app_pod *pod);
#define _cleanup_app_pod_ _cleanup_(app_pod_close)

/* Removes for good what apps of the pod left that are there no more; what cannot be removed is a warning. */
void app_pod_sweep(const struct app_pod *pod);

/*
 * Parses "UUID --app=NAME" with the options given, which have NAME at *app. The UUID; NULL: *ret_r is what
 * cli_parse() returned, or a usage error.
 */
const char *app_parse(struct cli *cli, const struct cli_option *options, size_t count,
	const char *const *app, int argc, char **argv, int *ret_r);

int app_add(struct cli *cli, int argc, char **argv);
int app_list(struct cli *cli, int argc, char **argv);
int app_rm(struct cli *cli, int argc, char **argv);
int app_sandbox(struct cli *cli, int argc, char **argv);
int app_start(struct cli *cli, int argc, char **argv);
int app_status(struct cli *cli, int argc, char **argv);
int app_stop(struct cli *cli, int argc, char **argv);

#endif
