// SPDX-License-Identifier: Apache-2.0
/* flatten.c: resolves dependencies against the images of the store. */
#include "store/flatten.h"

#include "store/archive.h"
#include "store/layout.h"
#include "base/sha512.h"

#include <inttypes.h>
#include <string.h>

void layers_free(struct layers *layers)
{
	free(layers->items);
	store_images_free(layers->images, layers->image_count);
	*layers = (struct layers){0};
}

static const struct store_image *image_by_id(
	const struct layers *layers, const char *prefix, bool *ret_ambiguous)
{
	const struct store_image *found = NULL;
	size_t length = strlen(prefix);

	for (size_t i = 0; i < layers->image_count; i++) {
		if (strncmp(layers->images[i].id, prefix, length))
			continue;
		*ret_ambiguous = found != NULL;
		if (found)
			return NULL;
		found = &layers->images[i];
	}
	return found;
}

/* The newest import that has the name and the labels. */
static const struct store_image *image_by_name(
	const struct layers *layers, const struct appc_dependency *dependency)
{
	for (size_t i = layers->image_count; i-- > 0;)
		if (store_image_matches(
			    &layers->images[i], dependency->image_name, &dependency->labels))
			return &layers->images[i];
	return NULL;
}

static int check_dependency_size(struct store *store, const struct layer *layer,
	const struct appc_dependency *dependency, const struct store_image *image,
	struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct image_info info;
	int r;

	if (dependency->size == 0 || dependency->size == image->size)
		return 0;
	fd = image_open(store, image->id, err);
	if (fd < 0)
		return fd;
	r = image_info_read(fd, image->id, &info, err);
	if (r < 0 || info.file_size == dependency->size)
		return r;
	return error_set(err, -EINVAL,
		"image \"%s\": dependency \"%s\" should have %" PRIu64
		" bytes, the one in the store "
		"has %" PRIu64 " (%" PRIu64 " as imported)",
		layer->manifest->name, dependency->image_name, dependency->size, info.size,
		info.file_size);
}

static int resolve_dependency(struct store *store, const struct layers *layers,
	const struct layer *layer, const struct appc_dependency *dependency,
	const struct store_image **ret, struct error *err)
{
	const char *name = dependency->image_name;
	const struct store_image *image;
	bool ambiguous = false;

	if (!dependency->image_id) {
		char id[STORE_IMAGE_ID_SIZE];
		int r;

		image = image_by_name(layers, dependency);
		if (!image) {
			/* For its message, which lists what of that name there is. */
			r = store_find_name(store, name, &dependency->labels, id, err);
			if (r == 0)
				r = error_set(err, -ENOENT, "image \"%s\" was imported this moment",
					name);
			return error_prefix(
				err, r, "image \"%s\": dependency", layer->manifest->name);
		}
	} else {
		image = image_by_id(layers, dependency->image_id, &ambiguous);
		if (!image)
			return error_set(err, ambiguous ? -ENOTUNIQ : -ENOENT,
				"image \"%s\": dependency \"%s\": %s \"%s\" in the store",
				layer->manifest->name, name,
				ambiguous ? "several images have IDs that begin with"
					  : "no image with ID",
				dependency->image_id);
		if (!store_image_matches(image, name, &dependency->labels))
			return error_set(err, -EINVAL,
				"image \"%s\": dependency \"%s\": the image with ID \"%s\" is "
				"\"%s\" or has other labels",
				layer->manifest->name, name, dependency->image_id,
				image->manifest->name);
	}
	*ret = image;
	return check_dependency_size(store, layer, dependency, image, err);
}

/* Appends an image and all below it. layers->items has room for LAYERS_MAX. */
static int append_image(struct store *store, struct layers *layers, const struct store_image *image,
	uint32_t dependant, struct error *err)
{
	uint32_t index = (uint32_t)layers->count;
	struct layer *layer = &layers->items[index];

	if (layers->count == LAYERS_MAX)
		return error_set(err, -E2BIG,
			"image \"%s\": more than %d images in the dependency tree",
			layers->items[0].manifest->name, LAYERS_MAX);
	for (uint32_t above = dependant; above != LAYER_NONE;
		above = layers->items[above].dependant)
		if (!strcmp(layers->items[above].id, image->id))
			return error_set(err, -ELOOP,
				"recursion error, image \"%s\" already referenced by a parent image",
				image->manifest->name);
	*layer = (struct layer){
		.id = image->id,
		.manifest = image->manifest,
		.dependant = dependant,
	};
	layers->count++;
	for (size_t i = image->manifest->dependency_count; i-- > 0;) {
		const struct store_image *dependency = NULL;
		int r = resolve_dependency(
			store, layers, layer, &image->manifest->dependencies[i], &dependency, err);

		if (r == 0)
			r = append_image(store, layers, dependency, index, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int layers_single(struct store *store, const char *id, struct layers *ret, struct error *err)
{
	_cleanup_layers_ struct layers layers = {0};
	int r;

	layers.items = calloc(LAYERS_MAX, sizeof(*layers.items));
	layers.images = calloc(1, sizeof(*layers.images));
	if (!layers.items || !layers.images)
		return error_set_errno(err, -ENOMEM, "cannot resolve dependencies");
	r = store_image_manifest(store, id, &layers.images[0].manifest, err);
	if (r < 0)
		return r;
	memcpy(layers.images[0].id, id, STORE_IMAGE_ID_SIZE);
	layers.image_count = 1;
	layers.items[0] = (struct layer){
		.id = layers.images[0].id,
		.manifest = layers.images[0].manifest,
		.dependant = LAYER_NONE,
	};
	layers.count = 1;
	*ret = layers;
	layers = (struct layers){0};
	return 0;
}

int layers_flatten(struct store *store, const char *id, struct layers *ret, struct error *err)
{
	_cleanup_layers_ struct layers layers = {0};
	const struct store_image *image = NULL;
	bool ambiguous;
	int r;

	/* Most images have no dependencies: then no other manifest need be read. */
	r = layers_single(store, id, &layers, err);
	if (r < 0)
		return r;
	if (layers.images[0].manifest->dependency_count > 0) {
		store_images_free(layers.images, layers.image_count);
		layers.images = NULL;
		layers.image_count = 0;
		layers.count = 0;
		r = store_list(store, &layers.images, &layers.image_count, err);
		if (r < 0)
			return r;
		image = image_by_id(&layers, id, &ambiguous);
		if (!image)
			return error_set(err, -ENOENT, "image ID \"%s\" doesn't exist", id);
		r = append_image(store, &layers, image, LAYER_NONE, err);
		if (r < 0)
			return r;
	}
	*ret = layers;
	layers = (struct layers){0};
	return 0;
}

void layers_tree_id(const struct layers *layers, char *ret_tree_id)
{
	const size_t key_length = strlen("sha512-") + 64; /* rkt's store key: half of the digest */
	char digest[SHA512_TEXT_SIZE];
	struct sha512 sha;

	sha512_init(&sha);
	for (size_t i = 0; i < layers->count; i++) {
		if (i > 0)
			sha512_update(&sha, ",", 1);
		sha512_update(&sha, layers->items[i].id, key_length);
	}
	sha512_final_text(&sha, digest);
	snprintf(ret_tree_id, STORE_TREE_ID_SIZE, "deps-sha512-%.64s", digest);
}

uint32_t layer_governor(const struct layers *layers, uint32_t layer)
{
	uint32_t governor = LAYER_NONE;

	for (uint32_t above = layers->items[layer].dependant; above != LAYER_NONE;
		above = layers->items[above].dependant)
		if (layers->items[above].manifest->path_whitelist.count > 0)
			governor = above;
	return governor;
}

/*
 * The path of an entry that a whitelist item names: "rootfs/" and the item, cleaned. False: it can
 * name none.
 */
static bool whitelist_path(const char *item, char *ret, size_t *ret_length)
{
	size_t length = strlen("rootfs");

	memcpy(ret, "rootfs", length);
	while (*item) {
		size_t component = strcspn(item, "/");

		if (component == 2 && item[0] == '.' && item[1] == '.') {
			while (length > 0 && ret[length - 1] != '/')
				length--;
			length -= length > 0;
		} else if (component > 0 && !(component == 1 && item[0] == '.')) {
			if (length + 1 + component >= ACI_PATH_SIZE)
				return false;
			if (length > 0)
				ret[length++] = '/';
			memcpy(ret + length, item, component);
			length += component;
		}
		item += component;
		item += *item == '/';
	}
	*ret_length = length;
	return true;
}

int whitelist_init(struct name_tree *tree, const struct appc_image_manifest *manifest)
{
	char path[ACI_PATH_SIZE];
	int r = name_tree_init(tree, NAME_TREE_NONE);

	for (size_t i = 0; r == 0 && i < manifest->path_whitelist.count; i++) {
		uint32_t node;
		size_t length;

		if (!whitelist_path(manifest->path_whitelist.items[i], path, &length))
			continue;
		r = name_tree_insert(tree, path, length, &node);
		if (r == 0)
			tree->nodes[node].owner = 1;
	}
	return r;
}

bool whitelist_has(const struct name_tree *tree, const char *path)
{
	uint32_t node = name_tree_find(tree, path, strlen(path));

	return node != NAME_TREE_NONE && tree->nodes[node].owner == 1;
}
