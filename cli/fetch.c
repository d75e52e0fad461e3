// SPDX-License-Identifier: Apache-2.0
/* fetch.c: appc-vm fetch, appc-vm image fetch */
#include "cli/image.h"
#include "cli/image_argument.h"

static int fetch_one(struct cli *cli, struct store *store, const char *argument,
	const struct image_argument_options *options, bool full)
{
	char id[STORE_IMAGE_ID_SIZE], tree_id[STORE_TREE_ID_SIZE];
	int r = cli_find_image(cli, store, argument, options, id);

	if (r < 0)
		return r;
	/* Of no use without its dependencies, which are not looked for by name. */
	r = store_tree_id(store, id, tree_id, &cli->error);
	if (r < 0)
		return error_prefix(&cli->error, r,
			"%.*s is in the store, but not all it depends on", STORE_IMAGE_ID_SHORT,
			id);
	printf("%.*s\n", full ? STORE_IMAGE_ID_SIZE : STORE_IMAGE_ID_SHORT, id);
	return 0;
}

int command_fetch(struct cli *cli, int argc, char **argv)
{
	struct image_argument_options fetch = {0};
	struct pull_flags pull = {0};
	bool full = false;
	struct image_limit_flags limits = {0};
	struct cli_option options[5 + IMAGE_LIMIT_OPTIONS] = {
		{"full", CLI_FLAG, &full, NULL, "print whole image ids"},
		{"pull-policy", CLI_STRING, &pull.policy, "new|update|never",
			"when to fetch what the store has from that URL: never again, when it has changed "
			"(default), or not at all"},
		{"store-only", CLI_FLAG, &pull.store_only, NULL,
			"rkt's old name of --pull-policy=never"},
		{"no-store", CLI_FLAG, &pull.no_store, NULL,
			"rkt's old name of --pull-policy=update"},
		{"signature", CLI_STRING, &fetch.signature, "FILE|URL",
			"the detached signature, when it is not beside the image"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	int at, r;

	at = cli_parse(cli, options, image_limit_options(&limits, options, 5), argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "must provide at least one image");
	if (fetch.signature && argc - at > 1)
		return cli_usage(cli, "--signature is for one image");
	r = cli_parse_pull_policy(cli, &pull, PULL_UPDATE, &fetch.pull_policy);
	if (r == 0)
		r = image_limits_parse(cli, &limits, &fetch.limits);
	if (r == 0)
		r = image_store_open(cli, &opened);
	for (; r == 0 && at < argc; at++)
		r = fetch_one(cli, opened.store, argv[at], &fetch, full);
	return r;
}
