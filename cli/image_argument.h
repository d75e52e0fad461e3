/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image that an argument of a command names, fetched into the store where that is needed: for
 * run, prepare, fetch and the like. How the text is taken is
 * store/image_argument.h's affair.
 *
 *   id        the image of the store with that id or beginning of an id
 *   name      the newest image of the store with that name and those labels; images are not looked
 *             for on the net by name
 *   path      the file is imported, whatever the policy; its signature is FILE.aci.asc beside it
 *   URL       file:// as a path; http:// and https:// by the policy; signature at URL.aci.asc
 * Files and URLs need a good signature of a trusted key, unless CLI_INSECURE_IMAGE is set.
 */
#ifndef APPC_CLI_IMAGE_ARGUMENT_H
#define APPC_CLI_IMAGE_ARGUMENT_H

#include "cli/cli.h"
#include "store/fetch.h"
#include "store/image_argument.h"

/* What a command line says of it. */
struct pull_flags {
	const char *policy;        /* --pull-policy: new, update or never; NULL: not given */
	bool store_only, no_store; /* rkt's old names of never and update */
};

/* -EINVAL: a usage error of the command. */
int cli_parse_pull_policy(struct cli *cli, const struct pull_flags *flags,
	enum pull_policy default_policy, enum pull_policy *ret);

/* --max-size and --max-entries, of every command that brings images into the store. */
struct image_limit_flags {
	const char *max_size, *max_entries;
};

/* Adds them to options after count others; returns the new count. */
size_t image_limit_options(
	struct image_limit_flags *flags, struct cli_option *options, size_t count);
#define IMAGE_LIMIT_OPTIONS 2

/* -EINVAL: a usage error of the command. */
int image_limits_parse(
	struct cli *cli, const struct image_limit_flags *flags, struct store_limits *ret);

struct image_argument_options {
	enum pull_policy pull_policy;
	struct store_limits limits;
	const char *
		signature; /* --signature: a file or http(s):// URL instead of the usual place; NULL */
};

/*
 * ret_id has room for STORE_IMAGE_ID_SIZE. Shows progress on standard error when that is a terminal.
 * -errno with the message in cli->error.
 */
int cli_find_image(struct cli *cli, struct store *store, const char *argument,
	const struct image_argument_options *options, char *ret_id);

#endif
