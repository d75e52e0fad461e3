// SPDX-License-Identifier: Apache-2.0
/* name-tree.c: nodes in one array, names in one string, and a hash table over both. */
#include "store/name-tree.h"

#include "base/checked.h"

#include <string.h>
#include <sys/random.h>

static inline uint64_t rotate_left(uint64_t x, unsigned int n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[3];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* SipHash-1-3 over the parent's number and the name. */
static uint64_t name_hash(
	const struct name_tree *tree, uint32_t parent, const char *name, size_t length)
{
	uint64_t v[4] = {
		tree->key[0] ^ 0x736f6d6570736575,
		tree->key[1] ^ 0x646f72616e646f6d,
		tree->key[0] ^ 0x6c7967656e657261,
		tree->key[1] ^ 0x7465646279746573,
	};
	uint64_t last = 0;

	sip_word(v, (uint64_t)length << 32 | parent);
	for (; length >= 8; name += 8, length -= 8) {
		uint64_t word;

		memcpy(&word, name, 8);
		sip_word(v, word);
	}
	memcpy(&last, name, length);
	sip_word(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int name_tree_init(struct name_tree *tree, size_t node_max)
{
	*tree = (struct name_tree){.bucket_count = 64, .room = 64, .names_room = 1024};
	tree->node_max = node_max < NAME_TREE_NONE ? node_max : NAME_TREE_NONE - 1;
	tree->nodes = calloc(tree->room, sizeof(*tree->nodes));
	tree->names = malloc(tree->names_room);
	tree->buckets = malloc(tree->bucket_count * sizeof(*tree->buckets));
	if (!tree->nodes || !tree->names || !tree->buckets) {
		name_tree_free(tree);
		return -ENOMEM;
	}
	if (getrandom(tree->key, sizeof(tree->key), 0) != sizeof(tree->key)) {
		name_tree_free(tree);
		return -EIO;
	}
	memset(tree->buckets, 0xff, tree->bucket_count * sizeof(*tree->buckets));
	tree->nodes[0] = (struct name_node){.parent = NAME_TREE_NONE, .next = NAME_TREE_NONE};
	tree->names[0] = '\0';
	tree->names_length = 1;
	tree->count = 1;
	return 0;
}

void name_tree_free(struct name_tree *tree)
{
	free(tree->nodes);
	free(tree->names);
	free(tree->buckets);
	*tree = (struct name_tree){0};
}

const char *name_tree_name(const struct name_tree *tree, uint32_t node)
{
	return tree->names + tree->nodes[node].name;
}

static uint32_t name_tree_child(
	const struct name_tree *tree, uint32_t parent, const char *name, size_t length)
{
	uint64_t hash = name_hash(tree, parent, name, length);
	uint32_t node = tree->buckets[hash & (tree->bucket_count - 1)];

	for (; node != NAME_TREE_NONE; node = tree->nodes[node].next) {
		const char *other = name_tree_name(tree, node);

		if (tree->nodes[node].parent == parent && !strncmp(other, name, length) &&
			!other[length])
			break;
	}
	return node;
}

static int name_tree_rehash(struct name_tree *tree)
{
	size_t count = tree->bucket_count * 2;
	uint32_t *buckets = malloc(count * sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	memset(buckets, 0xff, count * sizeof(*buckets));
	for (uint32_t node = 1; node < tree->count; node++) {
		const char *name = name_tree_name(tree, node);
		uint64_t hash = name_hash(tree, tree->nodes[node].parent, name, strlen(name));
		uint32_t *bucket = &buckets[hash & (count - 1)];

		tree->nodes[node].next = *bucket;
		*bucket = node;
	}
	free(tree->buckets);
	tree->buckets = buckets;
	tree->bucket_count = count;
	return 0;
}

static int name_tree_add(
	struct name_tree *tree, uint32_t parent, const char *name, size_t length, uint32_t *ret)
{
	uint32_t node = (uint32_t)tree->count;
	size_t names_end;
	uint32_t *bucket;

	if (tree->count >= tree->node_max)
		return -E2BIG;
	if (tree->count == tree->room) {
		size_t bytes;
		void *nodes;

		if (!checked_mul_size(tree->room, 2 * sizeof(*tree->nodes), &bytes))
			return -ENOMEM;
		nodes = realloc(tree->nodes, bytes);
		if (!nodes)
			return -ENOMEM;
		tree->nodes = nodes;
		tree->room *= 2;
	}
	if (!checked_add_size(tree->names_length, length + 1, &names_end))
		return -ENOMEM;
	if (names_end > tree->names_room) {
		size_t room = names_end + names_end / 2;
		char *names = realloc(tree->names, room);

		if (!names)
			return -ENOMEM;
		tree->names = names;
		tree->names_room = room;
	}
	if (tree->count >= tree->bucket_count) {
		int r = name_tree_rehash(tree);

		if (r < 0)
			return r;
	}
	memcpy(tree->names + tree->names_length, name, length);
	tree->names[tree->names_length + length] = '\0';
	bucket = &tree->buckets[name_hash(tree, parent, name, length) & (tree->bucket_count - 1)];
	tree->nodes[node] = (struct name_node){
		.parent = parent,
		.next = *bucket,
		.name = tree->names_length,
	};
	*bucket = node;
	tree->names_length = names_end;
	tree->count++;
	*ret = node;
	return 0;
}

/* The length of the first component of the path that *at and *left describe; both move past it. */
static size_t path_component(const char **at, size_t *left, const char **ret_name)
{
	const char *slash = memchr(*at, '/', *left);
	size_t length = slash ? (size_t)(slash - *at) : *left;

	*ret_name = *at;
	*at += length + (slash ? 1 : 0);
	*left -= length + (slash ? 1 : 0);
	return length;
}

uint32_t name_tree_find(const struct name_tree *tree, const char *path, size_t length)
{
	uint32_t node = NAME_TREE_ROOT;

	while (length > 0 && node != NAME_TREE_NONE) {
		const char *name;
		size_t name_length = path_component(&path, &length, &name);

		node = name_tree_child(tree, node, name, name_length);
	}
	return node;
}

int name_tree_insert(struct name_tree *tree, const char *path, size_t length, uint32_t *ret)
{
	uint32_t node = NAME_TREE_ROOT;

	while (length > 0) {
		const char *name;
		size_t name_length = path_component(&path, &length, &name);
		uint32_t child = name_tree_child(tree, node, name, name_length);

		if (child == NAME_TREE_NONE) {
			int r = name_tree_add(tree, node, name, name_length, &child);

			if (r < 0)
				return r;
		}
		node = child;
	}
	*ret = node;
	return 0;
}

int name_tree_path(const struct name_tree *tree, uint32_t node, char *ret_path, size_t size)
{
	size_t length = 0, end;

	for (uint32_t n = node; n != NAME_TREE_ROOT; n = tree->nodes[n].parent)
		length += strlen(name_tree_name(tree, n)) + 1;
	if (length == 0)
		length = 1;
	if (length > size)
		return -ENAMETOOLONG;
	end = length - 1;
	ret_path[end] = '\0';
	for (uint32_t n = node; n != NAME_TREE_ROOT; n = tree->nodes[n].parent) {
		const char *name = name_tree_name(tree, n);
		size_t name_length = strlen(name);

		end -= name_length;
		memcpy(ret_path + end, name, name_length);
		if (end > 0)
			ret_path[--end] = '/';
	}
	return (int)length - 1;
}
