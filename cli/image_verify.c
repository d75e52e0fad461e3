// SPDX-License-Identifier: Apache-2.0
/* image_verify.c: appc-vm image verify */
#include "cli/image.h"

#include "base/log.h"

/* A tree that was changed is made again, as in rkt; an archive that was changed cannot be. */
static int verify_one(struct cli *cli, struct store *store, const char *text)
{
	char id[STORE_IMAGE_ID_SIZE], tree_id[STORE_TREE_ID_SIZE];
	_cleanup_close_ int keep = -1;
	struct error reason = {0};
	int r = store_find_image(store, text, id, &cli->error);

	if (r == 0)
		r = store_verify_image(store, id, &cli->error);
	if (r == 0)
		r = store_tree_id(store, id, tree_id, &cli->error);
	if (r < 0)
		return r;
	if (!store_has_tree(store, tree_id)) {
		printf("image \"%s\" not rendered; no verification needed\n", text);
		return 0;
	}
	r = store_verify_tree(store, tree_id, &reason);
	if (r == 0) {
		printf("successfully verified checksum for image: \"%s\" (\"%s\")\n", text, id);
		return 0;
	}
	if (error_is_of_host(r))
		return error_set(
			&cli->error, r, "cannot verify image %s: %s", text, error_text(&reason, r));
	printf("tree cache verification failed for image %s: %s;  rebuilding...\n", text,
		error_text(&reason, r));
	keep = r = store_keep_trees(store, &cli->error);
	if (r >= 0)
		r = store_rebuild_tree(store, id, tree_id, &cli->error);
	return r < 0 ? error_prefix(&cli->error, r, "unable to repair cache for image %s", text)
		     : 0;
}

int image_verify(struct cli *cli, int argc, char **argv)
{
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	int at, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs the ID or name of an image");
	r = image_store_open(cli, &opened);
	for (; r == 0 && at < argc; at++)
		r = verify_one(cli, opened.store, argv[at]);
	return r;
}
