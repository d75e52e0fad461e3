// SPDX-License-Identifier: Apache-2.0
/* image_gc.c: appc-vm image gc */
#include "cli/image.h"

#include "base/log.h"
#include "store/fetch.h"

#include <string.h>
#include <time.h>

#define GRACE_DEFAULT (24ll * 60 * 60)

static bool strings_have(const struct appc_strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->count; i++)
		if (!strcmp(strings->items[i], text))
			return true;
	return false;
}

/* Removes what no pod uses and nobody used since then. */
static int remove_images(
	struct cli *cli, struct store *store, const struct appc_strings *in_use, int64_t since)
{
	struct store_image *images = NULL;
	size_t count = 0, removed = 0;
	int r = store_list(store, &images, &count, &cli->error);

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (images[i].last_used > since || strings_have(in_use, images[i].id))
			continue;
		r = store_remove(store, images[i].id, &cli->error);
		if (r == -ENOENT) { /* somebody else was faster */
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		printf("successfully removed aci for image: \"%s\" (\"%s\")\n", images[i].id,
			images[i].manifest->name);
		removed++;
	}
	store_images_free(images, count);
	if (removed > 0)
		printf("%zu image(s) successfully removed\n", removed);
	return r;
}

int image_gc(struct cli *cli, int argc, char **argv)
{
	const char *grace_text = NULL;
	const struct cli_option options[] = {
		{"grace-period", CLI_STRING, &grace_text, "TIME",
			"keep images that were used less than TIME ago (default 24h)"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	struct appc_strings in_use = {0};
	int64_t grace = GRACE_DEFAULT;
	size_t tree_count = 0, trees = 0;
	_cleanup_close_ int claim = -1;
	char **tree_ids = NULL;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	if (grace_text && (r = cli_parse_duration(cli, "grace-period", grace_text, &grace)) < 0)
		return r;
	r = image_store_open(cli, &opened);
	if (r == 0)
		r = pods_open(opened.data_fd, &pods, &cli->error);
	if (r < 0)
		return r;
	claim = store_claim_trees(opened.store, &cli->error);
	r = claim < 0 ? claim : 0;
	if (r == 0)
		r = pods_trees_in_use(pods, &tree_ids, &tree_count, &cli->error);
	if (r == 0)
		r = store_trees_images(opened.store, tree_ids, tree_count, &in_use, &cli->error);
	if (r == 0)
		r = remove_images(cli, opened.store, &in_use, time(NULL) - grace);
	if (r == 0)
		r = store_fetch_clean(opened.store, &cli->error);
	if (r == 0)
		r = store_gc(opened.store, tree_ids, tree_count, &trees, &cli->error);
	appc_strings_clear(&in_use);
	pods_strings_free(tree_ids, tree_count);
	if (r == 0 && trees > 0)
		log_info("removed %zu trees", trees);
	return r;
}
