/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of an archive as a tree: one node for each directory entry, found by its parent and its
 * name. It answers what hostile archives make us ask: was this name there before, what lies above
 * it, does something lie below it.
 *
 * Node 0 is the root; a parent's number is smaller than its children's. Numbers stay valid while
 * the tree grows, pointers to nodes do not. Lookups hash with a random key, so that an archive
 * cannot choose names that collide. Memory is bounded by node_max; one tree belongs to one thread.
 */
#ifndef APPC_STORE_NAME_TREE_H
#define APPC_STORE_NAME_TREE_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NAME_TREE_ROOT 0u
#define NAME_TREE_NONE UINT32_MAX

struct name_node {
	uint32_t parent;
	uint32_t next; /* the next node of the same hash bucket */
	uint64_t name; /* offset in the tree's names */
	/* The rest belongs to the user of the tree and begins as zero. */
	uint32_t owner; /* whose entry the name is; what it means is the user's affair */
	uint32_t mark, alias;
	uint32_t mode;
	uint32_t flags;
	struct timespec mtime;
};

struct name_tree {
	struct name_node *nodes;
	size_t count, room, node_max;
	char *names;
	size_t names_length, names_room;
	uint32_t *buckets;
	size_t bucket_count; /* a power of two */
	uint64_t key[2];
};

/* -EIO, -ENOMEM. tree must be zero or freed before. */
int name_tree_init(struct name_tree *tree, size_t node_max);
void name_tree_free(struct name_tree *tree);

/*
 * path is canonical: components that are neither empty, "." nor "..", separated by single slashes;
 * "" is the root. length may end in the middle of the string.
 */

/* The node of path, or NAME_TREE_NONE. */
uint32_t name_tree_find(const struct name_tree *tree, const char *path, size_t length);

/* The node of path, made with all above it if need be. -E2BIG: more than node_max; -ENOMEM. */
int name_tree_insert(struct name_tree *tree, const char *path, size_t length, uint32_t *ret);

/* The last component of a node's path. Valid until the next insertion. */
const char *name_tree_name(const struct name_tree *tree, uint32_t node);

/* Writes the path of a node. Returns its length or -ENAMETOOLONG. */
int name_tree_path(const struct name_tree *tree, uint32_t node, char *ret_path, size_t size);

#endif
