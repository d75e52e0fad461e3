/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that render a tree share, and nobody else: render.c has the idea and the tree's directory,
 * render-plan.c decides which layer has which path, render-extract.c writes them.
 */
#ifndef APPC_STORE_RENDER_PARTS_H
#define APPC_STORE_RENDER_PARTS_H

#include "store/archive.h"
#include "store/flatten.h"
#include "store/layout.h"
#include "store/name-tree.h"

/* Of directories that no layer has. */
#define RENDER_IMPLICIT_DIRECTORY_MODE 0755
/* All names of all layers; more do not fit a reasonable machine's memory. */
#define RENDER_NODES_MAX (16u << 20)

/* Flags of a node: the type of its owner's entry in the low bits, and */
#define NODE_TYPE_MASK    0xffu
#define NODE_HAS_CHILDREN 0x100u /* accepted entries lie below it: it must be a directory */
#define NODE_EXTRACTED    0x200u
#define NODE_SKIPPED      0x400u /* a device that we may not make, or a link to it */

/* What the plan says of one layer, beside the owners of nodes. */
struct layer_plan {
	uint64_t accepted;
	bool has_root; /* an entry for the root directory */
};

struct render {
	struct store *store;
	struct error *err;
	struct layers layers;
	struct layer_plan *plans;
	struct name_tree names;
	int rootfs;
	bool privileged;
	bool ignore_whitelists;
	/* The directory that the last entry was made in. */
	uint32_t directory_node;
	int directory_fd;
	uint64_t skipped_devices, skipped_xattrs;
};

static inline struct name_node *node_at(struct render *render, uint32_t node)
{
	return &render->names.nodes[node];
}

/* ---- render.c */

/* -ENOMEM with a message. */
int render_out_of_memory(struct render *render);

typedef int render_entry_fn(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, void *context);

/* Calls back for each entry of a layer but the manifest. */
int render_layer_read(
	struct render *render, uint32_t layer, render_entry_fn *callback, void *context);

/* ---- render-plan.c */

/* The node of a path, which is made where there is none. */
int render_names_insert(struct render *render, const char *path, uint32_t *ret);

/* Gives the layer what no layer planned before it owns. */
int render_plan_layer(struct render *render, uint32_t layer);

/* ---- render-extract.c */

/* Writes what the layer owns below render->rootfs; the layers above it were extracted before. */
int render_extract_layer(struct render *render, uint32_t layer);

/* Gives all directories the modes and times that they end with. */
int render_finish_directories(struct render *render);

#endif
