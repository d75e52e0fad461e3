// SPDX-License-Identifier: Apache-2.0
/* render-plan.c: gives each path of a tree one owner among the layers (render.c has the rules). */
#include "store/render-parts.h"

#include <string.h>

struct plan_context {
	struct name_tree own, governing;
	bool has_own, has_governing;
};

static void cleanup_plan_context(struct plan_context *context)
{
	name_tree_free(&context->own);
	name_tree_free(&context->governing);
}

/* An image's own whitelist is about its files, that of an image above about directories too. */
static bool whitelists_admit(const struct plan_context *context, const struct aci_entry *entry)
{
	if (context->has_own && entry->type != ACI_DIRECTORY &&
		!whitelist_has(&context->own, entry->path))
		return false;
	return !context->has_governing || whitelist_has(&context->governing, entry->path);
}

static bool node_is_overruled(struct render *render, uint32_t node, const struct aci_entry *entry)
{
	const struct name_node *self = node_at(render, node);

	if (self->owner != 0)
		return true;
	if (entry->type != ACI_DIRECTORY && self->flags & NODE_HAS_CHILDREN)
		return true;
	for (uint32_t n = self->parent; n != NAME_TREE_NONE; n = node_at(render, n)->parent)
		if (node_at(render, n)->owner != 0 &&
			(node_at(render, n)->flags & NODE_TYPE_MASK) != ACI_DIRECTORY)
			return true;
	return false;
}

int render_names_insert(struct render *render, const char *path, uint32_t *ret)
{
	int r = name_tree_insert(&render->names, path, strlen(path), ret);

	if (r == -E2BIG)
		return error_set(render->err, -EFBIG, "the images together have more than %u names",
			RENDER_NODES_MAX);
	return r < 0 ? render_out_of_memory(render) : 0;
}

static void plan_accept(struct render *render, uint32_t layer, struct name_node *self,
	const struct aci_entry *entry)
{
	self->owner = layer + 1;
	self->flags = (self->flags & NODE_HAS_CHILDREN) | entry->type;
	for (uint32_t n = self->parent; n != NAME_TREE_NONE; n = node_at(render, n)->parent) {
		if (node_at(render, n)->flags & NODE_HAS_CHILDREN)
			break;
		node_at(render, n)->flags |= NODE_HAS_CHILDREN;
	}
	render->plans[layer].accepted++;
}

static int plan_entry(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, void *pointer)
{
	const struct plan_context *context = pointer;
	bool is_root = !strcmp(entry->path, "rootfs");
	uint32_t node;
	int r;

	(void)reader;
	r = render_names_insert(render, entry->path, &node);
	if (r < 0)
		return r;
	render->plans[layer].has_root |= is_root;
	if (is_root ||
		(whitelists_admit(context, entry) && !node_is_overruled(render, node, entry)))
		plan_accept(render, layer, node_at(render, node), entry);
	return 0;
}

/*
 * The layer before it that is the same image under the same whitelist, to which it can add nothing;
 * LAYER_NONE.
 */
static uint32_t layer_repeats(const struct layers *layers, uint32_t layer)
{
	uint32_t governor = layer_governor(layers, layer);

	for (uint32_t i = 0; i < layer; i++)
		if (layers->items[i].manifest == layers->items[layer].manifest &&
			layer_governor(layers, i) == governor)
			return i;
	return LAYER_NONE;
}

/* The root directory becomes that of the later layer: of its archive, which was planned already. */
static void plan_repeated(struct render *render, uint32_t layer)
{
	uint32_t root = name_tree_find(&render->names, "rootfs", strlen("rootfs"));

	if (render->plans[layer].has_root)
		node_at(render, root)->owner = layer + 1;
}

int render_plan_layer(struct render *render, uint32_t layer)
{
	_cleanup_(cleanup_plan_context) struct plan_context context = {0};
	const struct appc_image_manifest *manifest = render->layers.items[layer].manifest;
	uint32_t governor = layer_governor(&render->layers, layer);
	uint32_t repeated = layer_repeats(&render->layers, layer);
	int r = 0;

	if (repeated != LAYER_NONE) {
		plan_repeated(render, repeated);
		return 0;
	}
	context.has_own = manifest->path_whitelist.count > 0 && !render->ignore_whitelists;
	context.has_governing = governor != LAYER_NONE && !render->ignore_whitelists;
	if (context.has_own)
		r = whitelist_init(&context.own, manifest);
	if (r == 0 && context.has_governing)
		r = whitelist_init(&context.governing, render->layers.items[governor].manifest);
	if (r < 0)
		return error_set_errno(
			render->err, r, "cannot render image %s", render->layers.items[layer].id);
	return render_layer_read(render, layer, plan_entry, &context);
}
