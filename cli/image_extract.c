// SPDX-License-Identifier: Apache-2.0
/* image_extract.c: appc-vm image extract, appc-vm image render */
#include "cli/image.h"

static int extract(struct cli *cli, int argc, char **argv, bool with_dependencies)
{
	struct store_extract_options extract = {.with_dependencies = with_dependencies};
	const struct cli_option options[] = {
		{"rootfs-only", CLI_FLAG, &extract.rootfs_only, NULL,
			"the root filesystem alone, without manifest and rootfs/"},
		{"overwrite", CLI_FLAG, &extract.overwrite, NULL,
			"replace the directory if it is there"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	char id[STORE_IMAGE_ID_SIZE];
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 2)
		return cli_usage(cli, "needs an image and a directory to make");
	r = image_store_open(cli, &opened);
	if (r == 0)
		r = store_find_image(opened.store, argv[at], id, &cli->error);
	return r < 0 ? r : store_extract(opened.store, id, &extract, argv[at + 1], &cli->error);
}

int image_extract(struct cli *cli, int argc, char **argv)
{
	return extract(cli, argc, argv, false);
}

int image_render(struct cli *cli, int argc, char **argv)
{
	return extract(cli, argc, argv, true);
}
