// SPDX-License-Identifier: Apache-2.0
/* image.c: appc-vm image */
#include "cli/image.h"

int image_store_open(struct cli *cli, struct image_store *ret)
{
	ret->data_fd = cli_open_data(cli);
	return ret->data_fd < 0 ? ret->data_fd : store_open(ret->data_fd, &ret->store, &cli->error);
}

void image_store_close(struct image_store *store)
{
	cleanup_store(&store->store);
	cleanup_close(&store->data_fd);
}

int command_image(struct cli *cli, int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"image cat-manifest", image_cat_manifest, "[flags] IMAGE",
			"Print an image's manifest"},
		{"image export", image_export, "[flags] IMAGE OUTPUT_ACI_FILE",
			"Write an image to a file"},
		{"image extract", image_extract, "[flags] IMAGE OUTPUT_DIR",
			"Extract an image, without its dependencies"},
		{"image fetch", command_fetch, "[flags] IMAGE...",
			"Fetch images from files and URLs, and verify their signatures"},
		{"image gc", image_gc, "[flags]", "Remove images that were not used for a while"},
		{"image import", image_import, "[flags] FILE...",
			"Import files that are trusted: ACI, OCI layout, docker-save archive"},
		{"image list", image_list, "[flags]", "List images"},
		{"image render", image_render, "[flags] IMAGE OUTPUT_DIR",
			"Extract an image with its dependencies, as a pod sees it"},
		{"image rm", image_rm, "IMAGE...", "Remove images"},
		{"image verify", image_verify, "IMAGE...",
			"Check images and what was rendered from them against their hashes"},
	};

	return cli_run_subcommand(cli, commands, ARRAY_SIZE(commands), argc, argv);
}
