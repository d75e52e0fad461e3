// SPDX-License-Identifier: Apache-2.0
/* image_rm.c: appc-vm image rm */
#include "cli/image.h"

#include "base/log.h"

#include <string.h>

struct counts {
	size_t removed, failed;
};

static void remove_one(struct store *store, const char *id, const char *name, struct counts *counts)
{
	struct error err;

	if (store_remove(store, id, &err) < 0) {
		log_error("%s", err.message);
		counts->failed++;
		return;
	}
	printf("successfully removed aci for image: \"%s\" (\"%s\")\n", id, name);
	counts->removed++;
}

/* An id names one image; its manifest may be damaged. */
static int remove_by_id(
	struct store *store, const char *text, struct counts *counts, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL;
	char id[STORE_IMAGE_ID_SIZE];
	struct error unreadable;
	int r = store_find_id(store, text, id, err);

	if (r == -ENOENT)
		return error_set(err, r, "image ID \"%s\" doesn't exist", text);
	if (r < 0)
		return r;
	store_image_manifest(store, id, &manifest, &unreadable);
	remove_one(store, id, manifest ? manifest->name : "", counts);
	return 0;
}

/* A name stands for every image that has it, with the labels if it has some. */
static int remove_by_name(
	struct store *store, const char *text, struct counts *counts, struct error *err)
{
	struct appc_image_reference reference;
	struct store_image *images = NULL;
	size_t count = 0, found = 0;
	int r = image_reference_parse(text, &reference, err);

	if (r < 0)
		return r;
	r = store_list(store, &images, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (!store_image_matches(&images[i], reference.name, &reference.labels))
			continue;
		found++;
		remove_one(store, images[i].id, reference.name, counts);
	}
	store_images_free(images, count);
	appc_image_reference_clear(&reference);
	return r < 0 || found > 0 ? r
				  : error_set(err, -ENOENT, "image name \"%s\" not found", text);
}

int image_rm(struct cli *cli, int argc, char **argv)
{
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	struct counts counts = {0};
	int at, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs the ID or name of an image");
	r = image_store_open(cli, &opened);
	if (r < 0)
		return r;
	/* One that cannot be removed does not save the others. */
	for (; at < argc; at++) {
		struct error err;

		r = image_argument_guess(argv[at]) == IMAGE_ARGUMENT_ID
			? remove_by_id(opened.store, argv[at], &counts, &err)
			: remove_by_name(opened.store, argv[at], &counts, &err);
		if (r < 0) {
			log_error("%s", err.message);
			counts.failed++;
		}
	}
	if (counts.removed > 0)
		printf("%zu image(s) successfully removed\n", counts.removed);
	return counts.failed == 0
		? 0
		: error_set(&cli->error, -ENOENT, "%zu image(s) cannot be removed", counts.failed);
}
