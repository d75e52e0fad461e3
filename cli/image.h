/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of appc-vm image, one file each, and what they share. */
#ifndef APPC_CLI_IMAGE_H
#define APPC_CLI_IMAGE_H

#include "cli/cli.h"
#include "store/image_argument.h"

/* The store with the data directory it is in. */
struct image_store {
	int data_fd;
	struct store *store;
};
#define IMAGE_STORE_NONE ((struct image_store){.data_fd = -1})

int image_store_open(struct cli *cli, struct image_store *ret);
void image_store_close(struct image_store *store);
#define _cleanup_image_store_ _cleanup_(image_store_close)

int image_cat_manifest(struct cli *cli, int argc, char **argv);
int image_export(struct cli *cli, int argc, char **argv);
int image_extract(struct cli *cli, int argc, char **argv);
int image_gc(struct cli *cli, int argc, char **argv);
int image_import(struct cli *cli, int argc, char **argv);
int image_list(struct cli *cli, int argc, char **argv);
int image_render(struct cli *cli, int argc, char **argv);
int image_rm(struct cli *cli, int argc, char **argv);
int image_verify(struct cli *cli, int argc, char **argv);

#endif
