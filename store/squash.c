// SPDX-License-Identifier: Apache-2.0
/*
 * squash.c: what extracting the layers of an image one after the other would leave.
 *
 * Theory of operation. Nothing is extracted. The layers' headers are read in order, the lowest first, and
 * each entry is applied to a tree of names: it becomes a file (struct squash_file), and its name is bound
 * to it. A hard link binds another name to the file that its target is bound to at that moment, so that it
 * keeps the content whatever becomes of the target. Then the layers are read again, and every entry whose
 * file still has a name is written, followed by its other names as hard links.
 *
 * Removing a directory must not cost as much as there is in it. So each application has a number, and
 * a node says below which number bindings beneath it are void: a whiteout or an opaque directory voids
 * what lower layers bound, a file in place of a directory all that was bound before it. A binding counts
 * if no directory above it voids it.
 *
 * In a name_node: owner is 1 + the file that the name is bound to, or 0; mark the number of the binding;
 * alias the number below which bindings beneath are void; and, after all layers were read, mode the same
 * with what the directories above say, flags 1 + the next name of the same file.
 *
 * A symbolic link is never followed. An entry below one of a lower layer replaces it by a directory, as
 * the specification of rendering has it; below one of its own layer it is an error.
 */
#include "store/squash.h"

#include "base/checked.h"
#include "store/archive.h"
#include "store/name-tree.h"
#include "store/tar-writer.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META   WHITEOUT_PREFIX WHITEOUT_PREFIX
#define WHITEOUT_OPAQUE WHITEOUT_META ".opq"

/* Directories that an archive does not list count as well. */
#define NODES_PER_ENTRY 4
#define DEPTH_MAX       (ACI_PATH_SIZE / 2)
#define XATTR_NAME_MAX  255
#define XATTRS_MAX      1024

struct squash_file {
	uint32_t ordinal; /* of the entry in its layer */
	uint32_t type;    /* enum aci_entry_type */
	uint32_t name;    /* 1 + the first node that is bound to it, 0: none */
};

struct squash {
	const struct squash_layer *layers;
	size_t layer_count;
	const struct store_limits *limits;
	struct error *err;
	struct name_tree names;
	struct squash_file *files;
	size_t file_count, file_room;
	size_t *layer_files; /* the first file of each layer, and the end of the last */
	uint64_t entries, content_size;
	uint32_t sequence, layer_begin; /* the present number; the layer's first */
	struct tar_writer writer;
};

static void cleanup_squash(struct squash *squash)
{
	name_tree_free(&squash->names);
	free(squash->files);
	free(squash->layer_files);
	tar_writer_close(&squash->writer);
}

static struct name_node *node_at(struct squash *squash, uint32_t node)
{
	return &squash->names.nodes[node];
}

static int out_of_memory(struct squash *squash)
{
	return error_set_errno(squash->err, -ENOMEM, "cannot join the layers");
}

static int entry_refuse(struct squash *squash, const struct squash_layer *layer,
	const struct aci_entry *entry, const char *why)
{
	return error_set(
		squash->err, -EINVAL, "%s: entry \"%s\": %s", layer->name, entry->path, why);
}

/* ---- bindings */

static bool node_is_bound(struct squash *squash, uint32_t node, uint32_t voided)
{
	return node_at(squash, node)->owner != 0 && node_at(squash, node)->mark >= voided;
}

static uint32_t node_type(struct squash *squash, uint32_t node)
{
	return squash->files[node_at(squash, node)->owner - 1].type;
}

/* The directories above a node, the root first. Returns their number. */
static size_t node_ancestors(struct squash *squash, uint32_t node, uint32_t ret[DEPTH_MAX])
{
	size_t depth = 0;

	for (uint32_t n = node_at(squash, node)->parent; n != NAME_TREE_NONE && depth < DEPTH_MAX;
		n = node_at(squash, n)->parent)
		ret[depth++] = n;
	for (size_t i = 0; i < depth / 2; i++) {
		uint32_t swapped = ret[i];

		ret[i] = ret[depth - 1 - i];
		ret[depth - 1 - i] = swapped;
	}
	return depth;
}

/* The number below which a binding of the node is void. */
static uint32_t node_voided(struct squash *squash, uint32_t node)
{
	uint32_t voided = 0;

	for (uint32_t n = node_at(squash, node)->parent; n != NAME_TREE_NONE;
		n = node_at(squash, n)->parent)
		if (node_at(squash, n)->alias > voided)
			voided = node_at(squash, n)->alias;
	return voided;
}

/* Makes directories of all that lies above the node, or refuses the entry. */
static int parents_apply(struct squash *squash, const struct squash_layer *layer,
	const struct aci_entry *entry, uint32_t node)
{
	uint32_t ancestors[DEPTH_MAX], voided = 0;
	size_t depth = node_ancestors(squash, node, ancestors);

	for (size_t i = 0; i < depth; i++) {
		struct name_node *parent = node_at(squash, ancestors[i]);

		if (node_is_bound(squash, ancestors[i], voided) &&
			node_type(squash, ancestors[i]) != ACI_DIRECTORY) {
			if (parent->mark >= squash->layer_begin)
				return entry_refuse(squash, layer, entry,
					"lies below an entry that is not a directory");
			parent->owner = 0;
		}
		if (parent->alias > voided)
			voided = parent->alias;
	}
	return 0;
}

static int file_add(struct squash *squash, uint32_t ordinal, enum aci_entry_type type)
{
	if (squash->file_count == squash->file_room) {
		size_t room = squash->file_room ? 2 * squash->file_room : 1024;
		void *files = reallocarray(squash->files, room, sizeof(*squash->files));

		if (!files)
			return out_of_memory(squash);
		squash->files = files;
		squash->file_room = room;
	}
	squash->files[squash->file_count++] = (struct squash_file){ordinal, type, 0};
	return 0;
}

static void node_bind(struct squash *squash, uint32_t node, uint32_t owner, bool is_directory)
{
	struct name_node *self = node_at(squash, node);

	self->owner = owner;
	self->mark = squash->sequence;
	if (!is_directory)
		self->alias = squash->sequence;
}

static int link_apply(struct squash *squash, const struct squash_layer *layer,
	const struct aci_entry *entry, uint32_t node)
{
	uint32_t target = name_tree_find(&squash->names, entry->target, strlen(entry->target));

	if (target == NAME_TREE_NONE || !node_is_bound(squash, target, node_voided(squash, target)))
		return error_set(squash->err, -EINVAL,
			"%s: entry \"%s\": hard link to \"%s\", which is not in this layer before it, "
			"nor in a lower one",
			layer->name, entry->path, entry->target);
	if (node_type(squash, target) == ACI_DIRECTORY)
		return entry_refuse(squash, layer, entry, "hard link to a directory");
	if (target != node)
		node_bind(squash, node, node_at(squash, target)->owner, false);
	return 0;
}

static int entry_apply(struct squash *squash, const struct squash_layer *layer,
	const struct aci_entry *entry, uint32_t ordinal)
{
	uint32_t node;
	int r = name_tree_insert(&squash->names, entry->path, strlen(entry->path), &node);

	if (r == -E2BIG)
		return error_set(squash->err, -EFBIG, "%s: too many directories", layer->name);
	if (r < 0)
		return out_of_memory(squash);
	r = parents_apply(squash, layer, entry, node);
	if (r == 0 && entry->type == ACI_HARDLINK)
		return link_apply(squash, layer, entry, node);
	if (r == 0)
		r = file_add(squash, ordinal, entry->type);
	if (r == 0)
		node_bind(squash, node, (uint32_t)squash->file_count, entry->type == ACI_DIRECTORY);
	return r;
}

/* ---- whiteouts */

/* What lower layers have beneath the node is gone. */
static void node_void(struct squash *squash, uint32_t node)
{
	if (node_at(squash, node)->alias < squash->layer_begin)
		node_at(squash, node)->alias = squash->layer_begin;
}

/*
 * Applies the entry if it is a whiteout, which its name tells: 1, or 0 if it is none, or -errno. Names of
 * lower layers go; those of this layer stay, whether they came before or come after.
 */
static int whiteout_apply(
	struct squash *squash, const struct squash_layer *layer, const struct aci_entry *entry)
{
	const char *begin = strstr(entry->path, "/" WHITEOUT_PREFIX), *name;
	char path[ACI_PATH_SIZE];
	uint32_t node;
	size_t parent;

	if (!begin)
		return 0;
	parent = (size_t)(begin - entry->path);
	name = begin + 1;
	if (!strcmp(name, WHITEOUT_OPAQUE)) {
		node = name_tree_find(&squash->names, entry->path, parent);
		if (node != NAME_TREE_NONE)
			node_void(squash, node);
		return 1;
	}
	/* The rest of these names is what aufs kept for itself. */
	if (!strncmp(name, WHITEOUT_META, strlen(WHITEOUT_META)))
		return 1;
	if (strchr(name, '/'))
		return entry_refuse(squash, layer, entry, "lies below a whiteout");
	name += strlen(WHITEOUT_PREFIX);
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return entry_refuse(squash, layer, entry, "a whiteout that names no file");
	snprintf(path, sizeof(path), "%.*s/%s", (int)parent, entry->path, name);
	node = name_tree_find(&squash->names, path, strlen(path));
	if (node == NAME_TREE_NONE)
		return 1;
	if (node_at(squash, node)->mark < squash->layer_begin)
		node_at(squash, node)->owner = 0;
	node_void(squash, node);
	return 1;
}

/* ---- reading the layers */

typedef int entry_fn(struct squash *squash, size_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal);

static int layer_read(struct squash *squash, size_t index, entry_fn *callback)
{
	const struct squash_layer *layer = &squash->layers[index];
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	struct aci_entry entry;
	uint32_t ordinal = 0;
	struct stat st;
	int r;

	if (fstat(layer->fd, &st) < 0)
		return error_set_errno(squash->err, -errno, "%s", layer->name);
	/* Docker wrote layers without any entry so. */
	if (st.st_size == 0)
		return 0;
	r = aci_reader_open_file(layer->fd, 0, ACI_READER_LAYER, layer->name, &reader, squash->err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, squash->err)) > 0) {
		r = callback(squash, index, reader, &entry, ordinal++);
		if (r < 0)
			return r;
	}
	return r;
}

static int plan_entry(struct squash *squash, size_t index, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal)
{
	const struct squash_layer *layer = &squash->layers[index];
	int r;

	(void)reader;
	if (++squash->entries > squash->limits->entries || squash->entries == UINT32_MAX)
		return error_set(squash->err, -EFBIG,
			"%s: the layers together have more than %" PRIu64 " entries", layer->name,
			squash->limits->entries);
	if (!checked_add_u64(squash->content_size, entry->size, &squash->content_size) ||
		squash->content_size > squash->limits->archive_bytes)
		return error_set(squash->err, -EFBIG,
			"%s: entry \"%s\": the files together are larger than %" PRIu64 " bytes",
			layer->name, entry->path, squash->limits->archive_bytes);
	squash->sequence++;
	r = whiteout_apply(squash, layer, entry);
	if (r != 0)
		return r < 0 ? r : 0;
	return entry_apply(squash, layer, entry, ordinal);
}

/* Gives each file its names: all bindings that count. A parent's number is smaller than a child's. */
static void collect_names(struct squash *squash)
{
	for (uint32_t node = 0; node < squash->names.count; node++) {
		struct name_node *self = node_at(squash, node);
		uint32_t above =
			self->parent == NAME_TREE_NONE ? 0 : node_at(squash, self->parent)->mode;

		if (self->mark < above)
			self->owner = 0;
		self->mode = self->alias > above ? self->alias : above;
	}
	for (uint32_t node = (uint32_t)squash->names.count; node-- > 0;) {
		struct name_node *self = node_at(squash, node);

		if (self->owner == 0)
			continue;
		self->flags = squash->files[self->owner - 1].name;
		squash->files[self->owner - 1].name = node + 1;
	}
}

/* ---- writing */

static int write_failure(struct squash *squash, int r)
{
	return error_set_errno(squash->err, r, "cannot write the joined layers to the store");
}

static int xattr_compare(const void *left, const void *right)
{
	return strcmp(
		((const struct tar_xattr *)left)->name, ((const struct tar_xattr *)right)->name);
}

/* The entry's attributes, by name; the array belongs to the caller, the rest to the reader. */
static int collect_xattrs(struct squash *squash, struct aci_reader *reader,
	const struct aci_entry *entry, struct tar_xattr **ret, size_t *ret_count)
{
	_cleanup_free_ struct tar_xattr *xattrs = NULL;
	struct tar_xattr xattr;
	size_t count = 0;

	while (aci_reader_xattr(reader, &xattr.name, &xattr.value, &xattr.size)) {
		/* No system has such names, and no tar can say the second one. */
		if (strlen(xattr.name) > XATTR_NAME_MAX || strchr(xattr.name, '='))
			continue;
		if (count == XATTRS_MAX)
			return error_set(squash->err, -EFBIG,
				"entry \"%s\" has more than %d extended attributes", entry->path,
				XATTRS_MAX);
		if (!xattrs)
			xattrs = calloc(XATTRS_MAX, sizeof(*xattrs));
		if (!xattrs)
			return out_of_memory(squash);
		xattrs[count++] = xattr;
	}
	if (count > 1)
		qsort(xattrs, count, sizeof(*xattrs), xattr_compare);
	*ret = TAKE_PTR(xattrs);
	*ret_count = count;
	return 0;
}

static int write_content(struct squash *squash, const struct squash_layer *layer,
	struct aci_reader *reader, const struct aci_entry *entry)
{
	uint64_t offset, done = 0;
	const void *data;
	size_t length;
	int r;

	while ((r = aci_reader_data(reader, &data, &length, &offset, squash->err)) > 0) {
		if (!checked_range(offset, length, entry->size) || offset < done)
			return entry_refuse(squash, layer, entry, "content beyond its size");
		r = tar_writer_data(&squash->writer, NULL, offset - done);
		if (r == 0)
			r = tar_writer_data(&squash->writer, data, length);
		if (r < 0)
			return write_failure(squash, r);
		done = offset + length;
	}
	if (r == 0)
		r = tar_writer_data(&squash->writer, NULL, entry->size - done);
	return r < 0 ? write_failure(squash, r) : 0;
}

/* The entry, if its file has a name left: under the first one, the others are hard links to it. */
static int write_file(struct squash *squash, const struct squash_layer *layer,
	struct aci_reader *reader, const struct aci_entry *from, const struct squash_file *file)
{
	_cleanup_free_ struct tar_xattr *xattrs = NULL;
	char path[ACI_PATH_SIZE], other[ACI_PATH_SIZE];
	struct aci_entry entry = *from;
	size_t xattr_count = 0;
	int r = name_tree_path(&squash->names, file->name - 1, path, sizeof(path));

	if (r >= 0)
		r = collect_xattrs(squash, reader, from, &xattrs, &xattr_count);
	if (r < 0)
		return r;
	entry.path = path;
	r = tar_writer_entry(&squash->writer, &entry, xattrs, xattr_count);
	if (r < 0)
		return write_failure(squash, r);
	if (entry.type == ACI_FILE) {
		r = write_content(squash, layer, reader, &entry);
		if (r < 0)
			return r;
	}
	entry.type = ACI_HARDLINK;
	entry.path = other;
	entry.target = path;
	entry.device = 0;
	for (uint32_t next = node_at(squash, file->name - 1)->flags; next != 0;
		next = node_at(squash, next - 1)->flags) {
		r = name_tree_path(&squash->names, next - 1, other, sizeof(other));
		if (r >= 0)
			r = tar_writer_entry(&squash->writer, &entry, NULL, 0);
		if (r < 0)
			return write_failure(squash, r);
	}
	return 0;
}

static int write_entry(struct squash *squash, size_t index, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal)
{
	size_t next = squash->layer_files[index];
	const struct squash_file *file = &squash->files[next];

	if (next == squash->layer_files[index + 1] || file->ordinal != ordinal)
		return 0;
	squash->layer_files[index]++;
	if (file->type != entry->type)
		return error_set(squash->err, -EBADMSG, "%s changed while it was read",
			squash->layers[index].name);
	return file->name == 0 ? 0
			       : write_file(squash, &squash->layers[index], reader, entry, file);
}

static int write_begin(struct squash *squash, const char *manifest, size_t manifest_length)
{
	const struct aci_entry file = {
		.type = ACI_FILE, .path = "manifest", .mode = 0644, .size = manifest_length};
	const struct aci_entry directory = {.type = ACI_DIRECTORY, .path = "rootfs", .mode = 0755};
	uint32_t root = name_tree_find(&squash->names, "rootfs", strlen("rootfs"));
	int r = tar_writer_entry(&squash->writer, &file, NULL, 0);

	if (r == 0)
		r = tar_writer_data(&squash->writer, manifest, manifest_length);
	if (r == 0 && (root == NAME_TREE_NONE || node_at(squash, root)->owner == 0))
		r = tar_writer_entry(&squash->writer, &directory, NULL, 0);
	return r < 0 ? write_failure(squash, r) : 0;
}

int squash_layers(const struct squash_layer *layers, size_t count,
	const struct store_limits *limits, const char *manifest, size_t manifest_length,
	int output_fd, struct error *err)
{
	_cleanup_(cleanup_squash) struct squash squash = {
		.layers = layers,
		.layer_count = count,
		.limits = limits,
		.err = err,
	};
	uint64_t nodes = UINT32_MAX;
	int r;

	if (limits->entries < UINT32_MAX / NODES_PER_ENTRY - 16)
		nodes = limits->entries * NODES_PER_ENTRY + 16;
	squash.layer_files = calloc(count + 1, sizeof(*squash.layer_files));
	r = squash.layer_files ? name_tree_init(&squash.names, (size_t)nodes) : -ENOMEM;
	if (r == 0)
		r = tar_writer_open(&squash.writer, output_fd);
	if (r < 0)
		return out_of_memory(&squash);
	for (size_t i = 0; r == 0 && i < count; i++) {
		squash.layer_files[i] = squash.file_count;
		squash.layer_begin = squash.sequence + 1;
		r = layer_read(&squash, i, plan_entry);
	}
	if (r < 0)
		return r;
	squash.layer_files[count] = squash.file_count;
	collect_names(&squash);
	r = write_begin(&squash, manifest, manifest_length);
	for (size_t i = 0; r == 0 && i < count; i++) {
		/* write_entry() moves the beginning up to the next layer's, which is its end. */
		r = layer_read(&squash, i, write_entry);
	}
	if (r < 0)
		return r;
	r = tar_writer_end(&squash.writer);
	return r < 0 ? write_failure(&squash, r) : 0;
}
