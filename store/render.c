// SPDX-License-Identifier: Apache-2.0
/*
 * render.c: makes a root filesystem from an image and its dependencies.
 *
 * Theory of operation. The result is planned before anything is written. Planning reads the headers
 * of all layers in the order of precedence and gives each path one owner: the first layer that has
 * it, that its whitelists let through, and that no earlier layer overrules by something else than a
 * directory above it. Then the layers are extracted from the last to the first, each only what it
 * owns. No path is written twice, so there is nothing to overwrite, and nothing of an upper layer
 * that a lower one could reach through. Should a stored archive have been tampered with, the kernel
 * still refuses: every directory is opened by a walk that takes no symbolic link, every file is
 * made with O_EXCL.
 *
 * A hard link may name a file of its own archive that another layer has replaced. The link keeps
 * the content it had: the file is extracted under the name of the link ("redirect"), and further
 * links to it go there. A link to a file of a lower layer finds it extracted already.
 *
 * Directories get their modes and times last, from the leaves to the root: writing below a
 * directory changes its time, and without privileges a mode can keep us out.
 */
#include "store/layout.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "store/archive.h"
#include "store/flatten.h"
#include "store/name-tree.h"
#include "store/temporary.h"
#include "store/tree-hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define IMPLICIT_DIRECTORY_MODE 0755
/* All names of all layers; more do not fit a reasonable machine's memory. */
#define NODES_MAX (16u << 20)

/* Flags of a node: the type of its owner's entry in the low bits, and */
#define NODE_TYPE_MASK    0xffu
#define NODE_HAS_CHILDREN 0x100u /* accepted entries lie below it: it must be a directory */
#define NODE_EXTRACTED    0x200u
/* about the layer that "mark" names: */
#define NODE_WAS_DROPPED   0x400u  /* by a whitelist */
#define NODE_IS_LINK       0x800u  /* an overruled hard link; alias is what it links to */
#define NODE_IS_REDIRECTED 0x1000u /* overruled; alias is the node extracted in its place */
/* otherwise alias is the ordinal of the entry in its archive. */
#define NODE_LAYER_FLAGS (NODE_WAS_DROPPED | NODE_IS_LINK | NODE_IS_REDIRECTED)

struct redirect {
	uint32_t ordinal; /* of the entry */
	uint32_t node;    /* where it goes */
};

/* What the plan says of one layer, beside the owners of nodes. */
struct layer_plan {
	uint64_t accepted;
	struct redirect *redirects;
	size_t redirect_count, redirect_room;
	/* For each accepted hard link, in order, the node to link to; itself: it is a redirect's.
	 */
	uint32_t *links;
	size_t link_count, link_room;
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

static void cleanup_render(struct render *render)
{
	for (size_t i = 0; render->plans && i < render->layers.count; i++) {
		free(render->plans[i].redirects);
		free(render->plans[i].links);
	}
	free(render->plans);
	layers_free(&render->layers);
	name_tree_free(&render->names);
	cleanup_close(&render->rootfs);
	cleanup_close(&render->directory_fd);
}

static struct name_node *node_at(struct render *render, uint32_t node)
{
	return &render->names.nodes[node];
}

static int out_of_memory(struct render *render)
{
	return error_set_errno(
		render->err, -ENOMEM, "cannot render image %s", render->layers.items[0].id);
}

/* ---- reading layers */

typedef int entry_fn(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal, void *context);

/* Calls back for each entry of a layer but the manifest. */
static int layer_read(struct render *render, uint32_t layer, entry_fn *callback, void *context)
{
	const char *id = render->layers.items[layer].id;
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	_cleanup_close_ int archive = -1;
	struct aci_entry entry;
	uint32_t ordinal = 0;
	int r;

	archive = store_open_archive(render->store, id, render->err);
	if (archive < 0)
		return archive;
	r = aci_reader_open_file(archive, 0, ACI_READER_IMAGE, id, &reader, render->err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, render->err)) > 0) {
		if (strcmp(entry.path, "manifest")) {
			r = callback(render, layer, reader, &entry, ordinal, context);
			if (r < 0)
				return r;
		}
		if (ordinal++ == UINT32_MAX - 1)
			return error_set(render->err, -EFBIG, "image %s has too many entries", id);
	}
	return r;
}

/* ---- planning */

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
			return out_of_memory(render);
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
			return out_of_memory(render);
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

static int names_insert(struct render *render, const char *path, uint32_t *ret)
{
	int r = name_tree_insert(&render->names, path, strlen(path), ret);

	if (r == -E2BIG)
		return error_set(render->err, -EFBIG, "the images together have more than %u names",
			NODES_MAX);
	return r < 0 ? out_of_memory(render) : 0;
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
	r = names_insert(render, entry->path, &node);
	if (r == 0 && entry->type == ACI_HARDLINK)
		r = names_insert(render, entry->target, &target);
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

static int plan_layer(struct render *render, uint32_t layer)
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
	return layer_read(render, layer, plan_entry, &context);
}

/* ---- directories of the tree */

static int node_failure(struct render *render, uint32_t node, int r, const char *what)
{
	char path[ACI_PATH_SIZE];

	if (name_tree_path(&render->names, node, path, sizeof(path)) < 0)
		snprintf(path, sizeof(path), "an entry");
	return error_set_errno(render->err, r, "cannot %s \"%s\" of image %s", what, path,
		render->layers.items[0].id);
}

/* Opens a directory of the tree. Returns a new fd. */
static int node_open_directory(struct render *render, uint32_t node, int flags)
{
	char path[ACI_PATH_SIZE];
	int r = name_tree_path(&render->names, node, path, sizeof(path));

	if (r < 0)
		return r;
	return open_without_links(render->rootfs,
		path[strlen("rootfs")] ? path + strlen("rootfs/") : ".", flags | O_DIRECTORY);
}

/* Makes the node a directory with all above it, unless it is there. */
static int node_make_directory(struct render *render, uint32_t node)
{
	while (!(node_at(render, node)->flags & NODE_EXTRACTED)) {
		_cleanup_close_ int parent = -1;
		uint32_t top = node;

		while (!(node_at(render, node_at(render, top)->parent)->flags & NODE_EXTRACTED))
			top = node_at(render, top)->parent;
		parent = node_open_directory(render, node_at(render, top)->parent, O_PATH);
		if (parent < 0)
			return node_failure(render, top, parent, "create");
		if (mkdirat(parent, name_tree_name(&render->names, top), 0700) < 0)
			return node_failure(render, top, -errno, "create");
		node_at(render, top)->flags |= NODE_EXTRACTED;
		node_at(render, top)->mode = S_IFDIR | IMPLICIT_DIRECTORY_MODE;
	}
	return 0;
}

/* The directory to make a node in, as an fd that stays the render's. */
static int node_parent_fd(struct render *render, uint32_t node, int *ret)
{
	uint32_t parent = node_at(render, node)->parent;
	int r;

	if (render->directory_fd < 0 || render->directory_node != parent) {
		r = node_make_directory(render, parent);
		if (r < 0)
			return r;
		cleanup_close(&render->directory_fd);
		render->directory_fd = node_open_directory(render, parent, O_PATH);
		if (render->directory_fd < 0)
			return node_failure(render, node, render->directory_fd, "create");
		render->directory_node = parent;
	}
	*ret = render->directory_fd;
	return 0;
}

/* ---- extraction */

/* Sets the entry's attributes on fd, or if that is -1 on the path file itself. */
static int extract_xattrs(
	struct render *render, struct aci_reader *reader, int fd, const char *file)
{
	const char *name;
	const void *value;
	size_t size;

	while (aci_reader_xattr(reader, &name, &value, &size)) {
		int r = fd >= 0 ? fsetxattr(fd, name, value, size, 0)
				: lsetxattr(file, name, value, size, 0);

		if (r == 0)
			continue;
		/*
		 * The file system has no such attributes, this type of file cannot have user ones,
		 * or we may not set them.
		 */
		if (errno == ENOTSUP || (errno == EPERM && (!render->privileged || fd < 0)))
			render->skipped_xattrs++;
		else
			return -errno;
	}
	return 0;
}

static int extract_content(
	struct render *render, struct aci_reader *reader, const struct aci_entry *entry, int fd)
{
	uint64_t offset, end = 0;
	const void *data;
	size_t length;
	int r;

	while ((r = aci_reader_data(reader, &data, &length, &offset, render->err)) > 0) {
		const char *next = data;

		if (!checked_range(offset, length, entry->size))
			return error_set(render->err, -EBADMSG,
				"image entry \"%s\" has content beyond its size", entry->path);
		while (length > 0) {
			ssize_t n = pwrite(fd, next, length, (off_t)offset);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return error_set_errno(
					render->err, -errno, "cannot write \"%s\"", entry->path);
			next += n;
			length -= (size_t)n;
			offset += (uint64_t)n;
		}
		if (offset > end)
			end = offset;
	}
	if (r < 0)
		return r;
	if (end < entry->size && ftruncate(fd, (off_t)entry->size) < 0)
		return error_set_errno(render->err, -errno, "cannot write \"%s\"", entry->path);
	return 0;
}

static int extract_file(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node, int parent)
{
	const struct timespec times[2] = {entry->mtime, entry->mtime};
	_cleanup_close_ int fd = -1;
	int r;

	fd = openat(parent, name_tree_name(&render->names, node),
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return node_failure(render, node, -errno, "create");
	r = extract_content(render, reader, entry, fd);
	if (r < 0)
		return r;
	/* In this order: chown takes set-user-ID bits and file capabilities away. */
	if (render->privileged && fchown(fd, entry->uid, entry->gid) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	if (fchmod(fd, entry->mode) < 0)
		return node_failure(render, node, -errno, "set the mode of");
	r = extract_xattrs(render, reader, fd, NULL);
	if (r < 0)
		return node_failure(render, node, r, "set an attribute of");
	if (futimens(fd, times) < 0)
		return node_failure(render, node, -errno, "set the time of");
	return 0;
}

static int extract_special(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node, int parent)
{
	const struct timespec times[2] = {entry->mtime, entry->mtime};
	const char *name = name_tree_name(&render->names, node);
	char file[64 + 256];
	mode_t type = 0;
	int r;

	if (entry->type == ACI_SYMLINK) {
		r = symlinkat(entry->target, parent, name);
	} else {
		type = entry->type == ACI_FIFO                ? S_IFIFO
			: entry->type == ACI_CHARACTER_DEVICE ? S_IFCHR
							      : S_IFBLK;
		r = mknodat(parent, name, type | 0600, entry->device);
	}
	if (r < 0)
		return node_failure(render, node, -errno, "create");
	if (render->privileged &&
		fchownat(parent, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	if (entry->type != ACI_SYMLINK && fchmodat(parent, name, entry->mode, 0) < 0)
		return node_failure(render, node, -errno, "set the mode of");
	snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", parent, name);
	r = extract_xattrs(render, reader, -1, file);
	if (r < 0)
		return node_failure(render, node, r, "set an attribute of");
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return node_failure(render, node, -errno, "set the time of");
	return 0;
}

static int extract_directory(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node)
{
	_cleanup_close_ int fd = -1;
	int r = node_make_directory(render, node);

	if (r < 0)
		return r;
	node_at(render, node)->mode = S_IFDIR | entry->mode;
	node_at(render, node)->mtime = entry->mtime;
	fd = node_open_directory(render, node, O_RDONLY);
	if (fd < 0)
		return node_failure(render, node, fd, "open");
	if (render->privileged && fchown(fd, entry->uid, entry->gid) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	r = extract_xattrs(render, reader, fd, NULL);
	return r < 0 ? node_failure(render, node, r, "set an attribute of") : 0;
}

static bool node_is_skipped_device(struct render *render, uint32_t node)
{
	uint32_t type = node_at(render, node)->flags & NODE_TYPE_MASK;

	return !render->privileged && (type == ACI_CHARACTER_DEVICE || type == ACI_BLOCK_DEVICE) &&
		node_at(render, node)->owner != 0;
}

static int extract_link(struct render *render, const struct aci_entry *entry, uint32_t node,
	uint32_t source, int parent)
{
	_cleanup_close_ int source_parent = -1;

	if (source == node)
		return 0;
	if (!(node_at(render, source)->flags & NODE_EXTRACTED)) {
		if (node_is_skipped_device(render, source))
			return 0;
		return error_set(render->err, -ENOENT,
			"image entry \"%s\": hard link to \"%s\", which is not in the rendered tree",
			entry->path, entry->target);
	}
	source_parent = node_open_directory(render, node_at(render, source)->parent, O_PATH);
	if (source_parent < 0)
		return node_failure(render, node, source_parent, "link");
	if (linkat(source_parent, name_tree_name(&render->names, source), parent,
		    name_tree_name(&render->names, node), 0) < 0)
		return node_failure(render, node, -errno, "link");
	node_at(render, node)->flags |= NODE_EXTRACTED;
	return 0;
}

struct extract_context {
	size_t next_redirect, next_link;
};

static int redirect_compare(const void *left, const void *right)
{
	uint32_t a = ((const struct redirect *)left)->ordinal;
	uint32_t b = ((const struct redirect *)right)->ordinal;

	return a < b ? -1 : a > b;
}

static int extract_entry(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t ordinal, void *pointer)
{
	const struct layer_plan *plan = &render->plans[layer];
	struct extract_context *context = pointer;
	uint32_t node = name_tree_find(&render->names, entry->path, strlen(entry->path));
	int parent = -1, r;

	if (node == NAME_TREE_NONE)
		return error_set(render->err, -EBADMSG, "image %s changed while it was read",
			render->layers.items[layer].id);
	if (context->next_redirect < plan->redirect_count &&
		plan->redirects[context->next_redirect].ordinal == ordinal)
		node = plan->redirects[context->next_redirect++].node;
	else if (node_at(render, node)->owner != layer + 1)
		return 0;
	if (entry->type == ACI_DIRECTORY)
		return extract_directory(render, reader, entry, node);
	if (!render->privileged &&
		(entry->type == ACI_CHARACTER_DEVICE || entry->type == ACI_BLOCK_DEVICE)) {
		render->skipped_devices++;
		return 0;
	}
	r = node_parent_fd(render, node, &parent);
	if (r < 0)
		return r;
	if (entry->type == ACI_HARDLINK) {
		if (context->next_link >= plan->link_count)
			return error_set(render->err, -EBADMSG,
				"image %s changed while it was read",
				render->layers.items[layer].id);
		return extract_link(render, entry, node, plan->links[context->next_link++], parent);
	}
	r = entry->type == ACI_FILE ? extract_file(render, reader, entry, node, parent)
				    : extract_special(render, reader, entry, node, parent);
	if (r == 0)
		node_at(render, node)->flags |= NODE_EXTRACTED;
	return r;
}

static int extract_layer(struct render *render, uint32_t layer)
{
	struct layer_plan *plan = &render->plans[layer];
	struct extract_context context = {0};

	if (plan->accepted == 0)
		return 0;
	if (plan->redirect_count > 0)
		qsort(plan->redirects, plan->redirect_count, sizeof(*plan->redirects),
			redirect_compare);
	return layer_read(render, layer, extract_entry, &context);
}

/* Children have greater numbers than their parents. */
static int finish_directories(struct render *render)
{
	for (size_t i = render->names.count; i-- > 1;) {
		uint32_t node = (uint32_t)i;
		const struct name_node *self = node_at(render, node);
		const struct timespec times[2] = {self->mtime, self->mtime};
		_cleanup_close_ int fd = -1;

		if (!(self->flags & NODE_EXTRACTED) || !S_ISDIR(self->mode))
			continue;
		fd = node_open_directory(render, node, O_RDONLY);
		if (fd < 0)
			return node_failure(render, node, fd, "open");
		if (fchmod(fd, self->mode & 07777) < 0 || futimens(fd, times) < 0)
			return node_failure(render, node, -errno, "set the mode and time of");
	}
	return 0;
}

/* ---- the tree directory */

/* Makes the rootfs of a tree. */
static int make_rootfs(struct render *render, int directory)
{
	if (mkdirat(directory, TREE_ROOTFS, 0700) < 0)
		return error_set_errno(render->err, -errno, "cannot create %s", TREE_ROOTFS);
	render->rootfs = directory_open(directory, TREE_ROOTFS);
	return render->rootfs < 0
		? error_set_errno(render->err, render->rootfs, "cannot create %s", TREE_ROOTFS)
		: 0;
}

/* Plans and extracts all layers into the empty directory render->rootfs. */
static int render_layers(struct render *render)
{
	uint32_t root;
	int r;

	render->plans = calloc(render->layers.count, sizeof(*render->plans));
	if (!render->plans)
		return out_of_memory(render);
	r = name_tree_init(&render->names, NODES_MAX);
	if (r < 0)
		return error_set_errno(render->err, r, "cannot render");
	r = names_insert(render, "rootfs", &root);
	if (r < 0)
		return r;
	for (uint32_t layer = 0; r == 0 && layer < render->layers.count; layer++)
		r = plan_layer(render, layer);
	node_at(render, root)->flags |= NODE_EXTRACTED;
	node_at(render, root)->mode = S_IFDIR | IMPLICIT_DIRECTORY_MODE;
	for (uint32_t layer = (uint32_t)render->layers.count; r == 0 && layer-- > 0;)
		r = extract_layer(render, layer);
	if (r == 0)
		r = finish_directories(render);
	if (r == 0 && !render->privileged)
		log_warning("not root: the files of the tree belong to you, and %" PRIu64
			    " device nodes and %" PRIu64 " extended attributes were left out",
			render->skipped_devices, render->skipped_xattrs);
	else if (r == 0 && render->skipped_xattrs > 0)
		log_warning("the file system does not take %" PRIu64
			    " of the extended attributes; they were left out",
			render->skipped_xattrs);
	return r;
}

/* #syscalls: syncfs */
static int render_tree(struct render *render, int directory)
{
	char hash[TREE_HASH_SIZE];
	json_t *images, *info;
	int r;

	r = make_rootfs(render, directory);
	if (r == 0)
		r = render_layers(render);
	if (r < 0)
		return r;
	r = tree_hash(render->rootfs, hash, render->err);
	if (r < 0)
		return r;
	images = json_array();
	for (size_t i = 0; images && i < render->layers.count; i++)
		if (json_array_append_new(images, json_string(render->layers.items[i].id)) < 0) {
			json_decref(images);
			images = NULL;
		}
	info = json_pack("{s:o, s:s}", "images", images, "hash", hash);
	r = json_create_synced(directory, TREE_INFO, info);
	if (r == 0 && syncfs(directory) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(render->err, r, "cannot write a tree to the store") : 0;
}

static void mark_used(struct store *store, const struct layers *layers)
{
	for (size_t i = 0; i < layers->count; i++) {
		_cleanup_close_ int fd = directory_open(store->images, layers->items[i].id);

		if (fd < 0 || utimensat(fd, IMAGE_LAST_USED, NULL, AT_SYMLINK_NOFOLLOW) < 0)
			log_debug("cannot mark image %s as used", layers->items[i].id);
	}
}

int store_render(struct store *store, const char *id, char *ret_tree_id, struct error *err)
{
	_cleanup_temporary_ struct temporary directory = TEMPORARY_NONE;
	_cleanup_(cleanup_render) struct render render = {
		.store = store,
		.err = err,
		.rootfs = -1,
		.directory_fd = -1,
		.privileged = geteuid() == 0,
	};
	char tree_id[STORE_TREE_ID_SIZE];
	int r;

	r = layers_flatten(store, id, &render.layers, err);
	if (r < 0)
		return r;
	layers_tree_id(&render.layers, tree_id);
	mark_used(store, &render.layers);
	if (!store_has_tree(store, tree_id)) {
		r = temporary_clean(store->tmp);
		if (r == 0)
			r = temporary_create(store->tmp, "render-", &directory);
		if (r < 0)
			return error_set_errno(
				err, r, "cannot make a temporary directory in the store");
		r = render_tree(&render, directory.fd);
		if (r < 0)
			return r;
		r = temporary_publish(&directory, store->trees, tree_id);
		/* Another process may have rendered it meanwhile. */
		if (r < 0 && r != -EEXIST)
			return error_set_errno(err, r, "cannot write a tree to the store");
	}
	memcpy(ret_tree_id, tree_id, sizeof(tree_id));
	return 0;
}

int store_tree_id(struct store *store, const char *id, char *ret_tree_id, struct error *err)
{
	_cleanup_layers_ struct layers layers = {0};
	int r = layers_flatten(store, id, &layers, err);

	if (r == 0)
		layers_tree_id(&layers, ret_tree_id);
	return r;
}

int render_into(struct store *store, const char *id, const struct store_extract_options *options,
	int directory, struct error *err)
{
	_cleanup_(cleanup_render) struct render render = {
		.store = store,
		.err = err,
		.rootfs = -1,
		.directory_fd = -1,
		.privileged = geteuid() == 0,
		.ignore_whitelists = !options->with_dependencies,
	};
	int r = options->with_dependencies ? layers_flatten(store, id, &render.layers, err)
					   : layers_single(store, id, &render.layers, err);

	if (r < 0)
		return r;
	mark_used(store, &render.layers);
	if (options->rootfs_only) {
		render.rootfs = directory_open(directory, ".");
		r = render.rootfs < 0 ? error_set_errno(err, render.rootfs, "image %s", id) : 0;
	} else {
		r = make_rootfs(&render, directory);
	}
	return r < 0 ? r : render_layers(&render);
}

int store_verify_tree(struct store *store, const char *tree_id, struct error *err)
{
	_cleanup_close_ int tree = tree_open(store, tree_id, err);
	_cleanup_close_ int rootfs = -1;
	_cleanup_json_ json_t *info = NULL;
	char hash[TREE_HASH_SIZE];
	const char *expected;
	int r;

	if (tree < 0)
		return tree;
	r = tree_info_read(tree, tree_id, &info, err);
	if (r < 0)
		return r;
	expected = json_string_value(json_object_get(info, "hash"));
	if (!expected)
		return error_set(err, -EBADMSG, "%s of tree %s is damaged", TREE_INFO, tree_id);
	rootfs = directory_open(tree, TREE_ROOTFS);
	if (rootfs < 0)
		return error_set_errno(err, rootfs, "cannot open rootfs of tree %s", tree_id);
	r = tree_hash(rootfs, hash, err);
	if (r < 0)
		return error_prefix(err, r, "tree %s", tree_id);
	if (strcmp(hash, expected))
		return error_set(err, -EBADMSG, "tree %s was changed: its hash is %s, it was %s",
			tree_id, hash, expected);
	return 0;
}
