// SPDX-License-Identifier: Apache-2.0
/* image_rm.c: appc-vm image rm */
#include "cli/image.h"

#include "base/log.h"

#include <string.h>

/* What the arguments stand for: an image that two of them name is removed once. */
struct removal {
	struct appc_pairs images; /* id and name */
	size_t failed; /* arguments that stand for nothing, images that cannot be removed */
};

/* An id names one image; its manifest may be damaged. */
static int add_by_id(
	struct store *store, const char *text, struct removal *removal, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL;
	char id[STORE_IMAGE_ID_SIZE];
	struct error unreadable = {0};
	int r = store_find_id(store, text, id, err);

	if (r == -ENOENT)
		return error_set(err, r, "image ID \"%s\" doesn't exist", text);
	if (r < 0)
		return r;
	store_image_manifest(store, id, &manifest, &unreadable);
	r = appc_pairs_set(&removal->images, id, manifest ? manifest->name : "", false);
	return r < 0 ? error_set_errno(err, r, "%s", text) : 0;
}

/* A name stands for every image that has it, with the labels if it has some. */
static int add_by_name(
	struct store *store, const char *text, struct removal *removal, struct error *err)
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
		r = appc_pairs_set(&removal->images, images[i].id, reference.name, false);
		if (r < 0)
			error_set_errno(err, r, "%s", text);
	}
	store_images_free(images, count);
	appc_image_reference_clear(&reference);
	return r < 0 || found > 0 ? r
				  : error_set(err, -ENOENT, "image name \"%s\" not found", text);
}

/* One that cannot be removed does not save the others. */
static int remove_all(struct cli *cli, struct store *store, struct removal *removal)
{
	size_t removed = 0;

	for (size_t i = 0; i < removal->images.count; i++) {
		const struct appc_pair *image = &removal->images.items[i];
		struct error err = {0};
		int r = store_remove(store, image->name, &err);

		if (r < 0) {
			log_error("%s", error_text(&err, r));
			removal->failed++;
			continue;
		}
		printf("rm: successfully removed aci for image: \"%s\" (\"%s\")\n", image->name,
			image->value);
		removed++;
	}
	if (removed > 0)
		printf("rm: %zu image(s) successfully removed\n", removed);
	return removal->failed == 0
		? 0
		: error_set(&cli->error, -ENOENT, "rm: %zu image(s) cannot be removed",
			  removal->failed);
}

int image_rm(struct cli *cli, int argc, char **argv)
{
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	struct removal removal = {0};
	int at, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs the ID or name of an image");
	r = image_store_open(cli, &opened);
	if (r < 0)
		return r;
	for (; at < argc; at++) {
		struct error err = {0};

		r = image_argument_guess(argv[at]) == IMAGE_ARGUMENT_ID
			? add_by_id(opened.store, argv[at], &removal, &err)
			: add_by_name(opened.store, argv[at], &removal, &err);
		if (r < 0) {
			log_error("%s", error_text(&err, r));
			removal.failed++;
		}
	}
	r = remove_all(cli, opened.store, &removal);
	appc_pairs_clear(&removal.images);
	return r;
}
