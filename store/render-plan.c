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

static int plan_add_link(struct render *render, uint32_t layer, uint32_t node)
{
	struct layer_plan *plan = &render->plans[layer];

	if (plan->link_count == plan->link_room) {
		size_t room = plan->link_room ? plan->link_room * 2 : 16;
		void *links = reallocarray(plan->links, room, sizeof(*plan->links));

		if (!links)
			return render_out_of_memory(render);
		plan->links = links;
		plan->link_room = room;
	}
	plan->links[plan->link_count++] = node;
	return 0;
}

static int plan_add_redirect(struct render *render, uint32_t layer, struct redirect redirect)
{
	struct layer_plan *plan = &render->plans[layer];

	if (plan->redirect_count == plan->redirect_room) {
		size_t room = plan->redirect_room ? plan->redirect_room * 2 : 16;
		void *redirects = reallocarray(plan->redirects, room, sizeof(*plan->redirects));

		if (!redirects)
			return render_out_of_memory(render);
		plan->redirects = redirects;
		plan->redirect_room = room;
	}
	plan->redirects[plan->redirect_count++] = redirect;
	return 0;
}

/* The node that a hard link's target stands for in this layer. */
static uint32_t link_resolve(struct render *render, uint32_t layer, uint32_t target)
{
	const struct name_node *node = node_at(render, target);

	return node->mark == layer + 1 && node->flags & NODE_IS_LINK ? node->alias : target;
}

static int plan_link(struct render *render, uint32_t layer, const struct aci_entry *entry,
	uint32_t node, uint32_t target)
{
	uint32_t source = link_resolve(render, layer, target);
	struct name_node *from = node_at(render, source);
	int r;

	/* Ours, or of a lower layer, which extraction will see. */
	if (from->owner == layer + 1 || from->mark != layer + 1)
		return plan_add_link(render, layer, source);
	if (from->flags & NODE_WAS_DROPPED)
		return error_set(render->err, -ENOENT,
			"image %s: entry \"%s\": hard link to \"%s\", which a path whitelist left "
			"out",
			render->layers.items[layer].id, entry->path, entry->target);
	if (from->flags & NODE_IS_REDIRECTED)
		return plan_add_link(render, layer, from->alias);
	r = plan_add_redirect(render, layer, (struct redirect){from->alias, node});
	if (r < 0)
		return r;
	from->flags |= NODE_IS_REDIRECTED;
	from->alias = node;
	return plan_add_link(render, layer, node);
}

int render_names_insert(struct render *render, const char *path, uint32_t *ret)
{
	int r = name_tree_insert(&render->names, path, strlen(path), ret);

	if (r == -E2BIG)
		return error_set(render->err, -EFBIG, "the images together have more than %u names",
			RENDER_NODES_MAX);
	return r < 0 ? render_out_of_memory(render) : 0;
}

static int plan_entry(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal, void *pointer)
{
	const struct plan_context *context = pointer;
	uint32_t node, target = NAME_TREE_NONE;
	bool is_root = !strcmp(entry->path, "rootfs");
	bool admitted = is_root || whitelists_admit(context, entry);
	struct name_node *self;
	int r;

	(void)reader;
	r = render_names_insert(render, entry->path, &node);
	if (r == 0 && entry->type == ACI_HARDLINK)
		r = render_names_insert(render, entry->target, &target);
	if (r < 0)
		return r;
	self = node_at(render, node);
	if (admitted && !node_is_overruled(render, node, entry)) {
		self->owner = layer + 1;
		self->mark = layer + 1;
		self->flags = (self->flags & NODE_HAS_CHILDREN) | entry->type;
		for (uint32_t n = self->parent; n != NAME_TREE_NONE;
			n = node_at(render, n)->parent) {
			if (node_at(render, n)->flags & NODE_HAS_CHILDREN)
				break;
			node_at(render, n)->flags |= NODE_HAS_CHILDREN;
		}
		render->plans[layer].accepted++;
		return entry->type == ACI_HARDLINK ? plan_link(render, layer, entry, node, target)
						   : 0;
	}
	self->mark = layer + 1;
	self->alias = ordinal;
	self->flags &= ~NODE_LAYER_FLAGS;
	if (!admitted) {
		self->flags |= NODE_WAS_DROPPED;
	} else if (entry->type == ACI_HARDLINK) {
		self->flags |= NODE_IS_LINK;
		self->alias = link_resolve(render, layer, target);
	}
	return 0;
}

/* The same image a second time, under the same whitelist, can add nothing. */
static bool layer_is_repeated(const struct layers *layers, uint32_t layer)
{
	uint32_t governor = layer_governor(layers, layer);

	for (uint32_t i = 0; i < layer; i++)
		if (layers->items[i].manifest == layers->items[layer].manifest &&
			layer_governor(layers, i) == governor)
			return true;
	return false;
}

int render_plan_layer(struct render *render, uint32_t layer)
{
	_cleanup_(cleanup_plan_context) struct plan_context context = {0};
	const struct appc_image_manifest *manifest = render->layers.items[layer].manifest;
	uint32_t governor = layer_governor(&render->layers, layer);
	int r = 0;

	if (layer_is_repeated(&render->layers, layer))
		return 0;
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
