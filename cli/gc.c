// SPDX-License-Identifier: Apache-2.0
/* gc.c: appc-vm gc */
#include "cli/cli.h"

#include "base/checked.h"
#include "base/log.h"

#include <string.h>

#define GRACE_DEFAULT           (30ll * 60)
#define EXPIRE_PREPARED_DEFAULT (24ll * 60 * 60)

static int parse_template_bounds(struct cli *cli, const char *count, const char *size,
	uint64_t *ret_count, uint64_t *ret_bytes)
{
	*ret_count = TEMPLATES_COUNT_MAX;
	*ret_bytes = TEMPLATES_BYTES_MAX;
	if (count && !checked_parse_u64(count, SIZE_MAX, ret_count))
		return cli_usage(cli, "--templates-max is a number, not \"%s\"", count);
	if (size && !strcmp(size, "0"))
		*ret_bytes = 0;
	else if (size)
		return cli_parse_size(cli, "templates-max-size", size, ret_bytes);
	return 0;
}

int command_gc(struct cli *cli, int argc, char **argv)
{
	const char *grace = NULL, *expire = NULL, *templates_max = NULL, *templates_size = NULL;
	const struct cli_option options[] = {
		{"grace-period", CLI_STRING, &grace, "TIME",
			"keep pods that ended less than TIME ago (default 30m)"},
		{"expire-prepared", CLI_STRING, &expire, "TIME",
			"keep prepared pods younger than TIME (default 24h)"},
		{"templates-max", CLI_STRING, &templates_max, "N",
			"keep the N templates that were used last (default 16)"},
		{"templates-max-size", CLI_STRING, &templates_size, "SIZE",
			"keep SIZE of templates on disk (default 8Gi)"},
	};
	struct pods_gc_options gc = {GRACE_DEFAULT, EXPIRE_PREPARED_DEFAULT};
	_cleanup_close_ int data = -1;
	_cleanup_store_ struct store *store = NULL;
	_cleanup_pods_ struct pods *pods = NULL;
	struct templates *templates = NULL;
	size_t removed = 0, trees = 0, tree_count = 0, template_count = 0;
	uint64_t keep_count, keep_bytes;
	char **tree_ids = NULL;
	int at, result, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	if (grace && (r = cli_parse_duration(cli, "grace-period", grace, &gc.grace)) < 0)
		return r;
	if (expire &&
		(r = cli_parse_duration(cli, "expire-prepared", expire, &gc.expire_prepared)) < 0)
		return r;
	r = parse_template_bounds(cli, templates_max, templates_size, &keep_count, &keep_bytes);
	if (r < 0)
		return r;
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = pods_open(data, &pods, &cli->error);
	if (r == 0)
		r = store_open(data, &store, &cli->error);
	if (r < 0)
		return r;
	result = pods_gc(pods, &gc, &removed, &cli->error);
	r = pods_trees_in_use(pods, &tree_ids, &tree_count, &cli->error);
	if (r == 0)
		r = store_gc(store, tree_ids, tree_count, &trees, &cli->error);
	pods_strings_free(tree_ids, tree_count);
	if (r < 0)
		return r;
	r = cli_open_templates(cli, data, &templates);
	if (r == 0)
		r = templates_collect(
			templates, keep_count, keep_bytes, &template_count, &cli->error);
	templates_close(templates);
	if (r < 0)
		return r;
	log_info("removed %zu pods, %zu trees and %zu templates", removed, trees, template_count);
	return result;
}
