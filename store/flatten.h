/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image and its dependencies as a flat list, and what their path whitelists let through.
 *
 * The list is in the order of precedence: the image itself first, then for each image its
 * dependencies from the last listed to the first, each followed by its own. From the end to the
 * beginning it is the depth-first order in which the specification has images overwrite each other
 * ("Dependency matching").
 */
#ifndef APPC_STORE_FLATTEN_H
#define APPC_STORE_FLATTEN_H

#include "store/name-tree.h"
#include "store/store.h"

#define LAYER_NONE UINT32_MAX
/* An image with two dependencies that have two each ... doubles the list at each level. */
#define LAYERS_MAX 1024

struct layer {
	const char *id;                             /* full image id */
	const struct appc_image_manifest *manifest; /* both borrowed from the list's images */
	uint32_t dependant;                         /* the layer that asked for it; LAYER_NONE */
};

struct layers {
	struct layer *items;
	size_t count;
	struct store_image *images;
	size_t image_count;
};

/*
 * -ENOENT: a dependency is not in the store; -ELOOP: an image depends on itself; -E2BIG: more than
 * LAYERS_MAX; -EINVAL: a dependency is there but is not what was asked for.
 */
int layers_flatten(struct store *store, const char *id, struct layers *ret, struct error *err);

/* The image alone, as if it had no dependencies. */
int layers_single(struct store *store, const char *id, struct layers *ret, struct error *err);

void layers_free(struct layers *layers);
#define _cleanup_layers_ _cleanup_(layers_free)

/* The tree id: a hash over the ids of all layers. ret_tree_id has room for STORE_TREE_ID_SIZE. */
void layers_tree_id(const struct layers *layers, char *ret_tree_id);

/*
 * The layer whose whitelist governs from above: of the images that led to this one the topmost with
 * a whitelist, as rkt does it. LAYER_NONE: none has one.
 */
uint32_t layer_governor(const struct layers *layers, uint32_t layer);

/* The whitelist of an image as a tree of paths below "rootfs"; listed ones have owner 1. */
int whitelist_init(struct name_tree *tree, const struct appc_image_manifest *manifest);
bool whitelist_has(const struct name_tree *tree, const char *path);

#endif
