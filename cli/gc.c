// SPDX-License-Identifier: Apache-2.0
/* gc.c: appc-vm gc */
#include "cli/cli.h"

#include "base/checked.h"
#include "base/log.h"
#include "pod/bridge.h"
#include "pod/checkpoint.h"
#include "pod/debug_tree.h"

#include <string.h>

/* In rkt's words. What was removed goes to standard output, the rest is for a person. */
static void report(void *context, const char *uuid, enum pods_gc_event event)
{
	const char *grace = context;

	switch (event) {
	case PODS_GC_MARKED:
		log_info("moving pod \"%s\" to garbage", uuid);
		break;
	case PODS_GC_ABORTED:
		log_info("moving failed prepare \"%s\" to garbage", uuid);
		break;
	case PODS_GC_EXPIRED:
		log_info("moving expired prepared pod \"%s\" to garbage", uuid);
		break;
	case PODS_GC_REMOVED:
		printf("Garbage collecting pod \"%s\"\n", uuid);
		break;
	case PODS_GC_KEPT:
		log_info("pod \"%s\" not removed: still within grace period (%s)", uuid, grace);
		break;
	}
}

/* What pods no longer use, and killed processes left. */
static int collect_store(struct cli *cli, int data_fd, struct pods *pods, size_t *ret_trees)
{
	_cleanup_store_ struct store *store = NULL;
	_cleanup_close_ int claim = -1;
	size_t count = 0;
	char **ids = NULL;
	int r;

	r = store_open(data_fd, &store, &cli->error);
	if (r < 0)
		return r;
	claim = store_claim_trees(store, &cli->error);
	r = claim < 0 ? claim : 0;
	if (r == 0)
		r = pods_trees_in_use(pods, &ids, &count, &cli->error);
	if (r == 0)
		r = store_gc(store, ids, count, ret_trees, &cli->error);
	pods_strings_free(ids, count);
	return r;
}

static int list_debug_trees(void *context, char ***ret_names, size_t *ret_count, struct error *err)
{
	return pods_debug_trees_in_use(context, ret_names, ret_count, err);
}

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

static int collect_checkpoints(struct cli *cli, int data_fd, int64_t age_max, size_t *ret_removed)
{
	struct templates *checkpoints = NULL;
	int r = pod_checkpoints_open(data_fd, &checkpoints, &cli->error);

	if (r == 0)
		r = pod_checkpoints_collect(
			checkpoints, age_max * INT64_C(1000000000), ret_removed, &cli->error);
	templates_close(checkpoints);
	return r;
}

/* What one part of the work failed with keeps no other from being done: the first error is told last. */
static void note(struct cli *cli, int r, int *result, struct error *first)
{
	if (r >= 0)
		return;
	if (*result < 0) {
		log_warning("%s", error_text(&cli->error, r));
		return;
	}
	*result = r;
	*first = cli->error;
}

static int collect_templates(
	struct cli *cli, int data_fd, uint64_t keep_count, uint64_t keep_bytes, size_t *ret_removed)
{
	struct templates *templates = NULL;
	int r = cli_open_templates(cli, data_fd, &templates);

	if (r == 0)
		r = templates_collect(templates, keep_count, keep_bytes, ret_removed, &cli->error);
	templates_close(templates);
	return r;
}

int command_gc(struct cli *cli, int argc, char **argv)
{
	const char *grace = "30m0s", *expire = "24h0m0s", *checkpoints = "720h0m0s",
		   *templates_max = NULL, *templates_size = NULL;
	struct pods_gc_options gc = {.report = report};
	const struct cli_option options[] = {
		{"grace-period", CLI_STRING, &grace, "TIME",
			"keep pods that were marked as garbage less than TIME ago (default 30m0s)"},
		{"expire-prepared", CLI_STRING, &expire, "TIME",
			"keep prepared pods younger than TIME (default 24h0m0s)"},
		{"expire-checkpoints", CLI_STRING, &checkpoints, "TIME",
			"keep checkpoints that were made or used less than TIME ago (default 720h0m0s)"},
		{"mark-only", CLI_FLAG, &gc.mark_only, NULL,
			"mark pods that have ended as garbage, remove nothing"},
		{"templates-max", CLI_STRING, &templates_max, "N",
			"keep the N templates that were used last (default 16)"},
		{"templates-max-size", CLI_STRING, &templates_size, "SIZE",
			"keep SIZE of templates on disk (default 8Gi)"},
	};
	_cleanup_close_ int data = -1;
	_cleanup_pods_ struct pods *pods = NULL;
	size_t removed = 0, trees = 0, template_count = 0, checkpoint_count = 0;
	int64_t keep_checkpoints = 0;
	uint64_t keep_count, keep_bytes;
	struct error first;
	int result, r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	r = cli_parse_duration(cli, "grace-period", grace, &gc.grace);
	if (r == 0)
		r = cli_parse_duration(cli, "expire-prepared", expire, &gc.expire_prepared);
	if (r == 0)
		r = cli_parse_duration(cli, "expire-checkpoints", checkpoints, &keep_checkpoints);
	if (r < 0)
		return r;
	gc.context = (void *)grace;
	r = parse_template_bounds(cli, templates_max, templates_size, &keep_count, &keep_bytes);
	if (r < 0)
		return r;
	r = cli_open_pods(cli, &data, &pods);
	if (r < 0)
		return r;
	result = pods_gc(pods, &gc, &removed, &cli->error);
	if (gc.mark_only)
		return result;
	first = cli->error;
	note(cli, bridge_collect(&cli->error), &result, &first);
	/* Before the trees that they use. */
	note(cli, collect_checkpoints(cli, data, keep_checkpoints, &checkpoint_count), &result,
		&first);
	note(cli, collect_store(cli, data, pods, &trees), &result, &first);
	note(cli, debug_trees_collect(data, list_debug_trees, pods, &trees, &cli->error), &result,
		&first);
	note(cli, collect_templates(cli, data, keep_count, keep_bytes, &template_count), &result,
		&first);
	cli->error = first;
	log_info("removed %zu pods, %zu checkpoints, %zu trees and %zu templates", removed,
		checkpoint_count, trees, template_count);
	return result;
}
