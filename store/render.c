// SPDX-License-Identifier: Apache-2.0
/*
 * render.c: makes a root filesystem from an image and its dependencies.
 *
 * Theory of operation. The result is planned before anything is written. Planning reads the headers
 * of all layers in the order of precedence and gives each path one owner: the first layer that has
 * it, that its whitelists let through, and that no earlier layer overrules by something else than a
 * directory above it. Then the layers are extracted in the same order, each only what it owns. No path
 * is written twice, so there is nothing to overwrite, and nothing of an upper layer that a lower one
 * could reach through. Should a stored archive have been tampered with, the kernel still refuses:
 * every directory is opened by a walk that takes no symbolic link, every file is made with O_EXCL.
 *
 * A hard link is made to what has the name of its target at that moment, as rkt makes it: an earlier
 * entry of its own archive, or what an upper layer has in its place. A link to what only a lower layer
 * has, or to what whitelists left out everywhere, is an error.
 *
 * The root directory is the one path that rkt takes from every layer: its owner, mode and time are those
 * of the last layer that has an entry for it.
 *
 * Directories get their modes and times last, from the leaves to the root: writing below a
 * directory changes its time, and without privileges a mode can keep us out.
 */
#include "store/render-parts.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "store/temporary.h"
#include "store/tree-hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static void cleanup_render(struct render *render)
{
	free(render->plans);
	layers_free(&render->layers);
	name_tree_free(&render->names);
	cleanup_close(&render->rootfs);
	cleanup_close(&render->directory_fd);
}

int render_out_of_memory(struct render *render)
{
	return error_set_errno(
		render->err, -ENOMEM, "cannot render image %s", render->layers.items[0].id);
}

int render_layer_read(
	struct render *render, uint32_t layer, render_entry_fn *callback, void *context)
{
	const char *id = render->layers.items[layer].id;
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	_cleanup_close_ int archive = -1;
	struct aci_entry entry;
	int r;

	archive = store_open_archive(render->store, id, render->err);
	if (archive < 0)
		return archive;
	r = aci_reader_open_file(archive, 0, ACI_READER_IMAGE, id, &reader, render->err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, render->err)) > 0) {
		if (strcmp(entry.path, "manifest")) {
			r = callback(render, layer, reader, &entry, context);
			if (r < 0)
				return r;
		}
	}
	return r;
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
		return render_out_of_memory(render);
	r = name_tree_init(&render->names, RENDER_NODES_MAX);
	if (r < 0)
		return error_set_errno(render->err, r, "cannot render");
	r = render_names_insert(render, "rootfs", &root);
	if (r < 0)
		return r;
	for (uint32_t layer = 0; r == 0 && layer < render->layers.count; layer++)
		r = render_plan_layer(render, layer);
	node_at(render, root)->flags |= NODE_EXTRACTED;
	node_at(render, root)->mode = S_IFDIR | RENDER_IMPLICIT_DIRECTORY_MODE;
	for (uint32_t layer = 0; r == 0 && layer < render->layers.count; layer++)
		r = render_extract_layer(render, layer);
	if (r == 0)
		r = render_finish_directories(render);
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

/*
 * Both names in trees/ are of whole trees at every instant, whoever is killed when: the new tree is there under the name
 * of the replaced one before they change places.
 */
static int replace_tree(struct store *store, struct temporary *directory, const char *tree_id)
{
	char prefix[STORE_TREE_ID_SIZE + 1], aside[STORE_TREE_ID_SIZE + 1 + 16];
	int r;

	snprintf(prefix, sizeof(prefix), "%s.", tree_id);
	r = file_make_unique_name(aside, sizeof(aside), prefix);
	if (r == 0)
		r = temporary_publish(directory, store->trees, aside);
	if (r < 0)
		return r;
	if (renameat2(store->trees, aside, store->trees, tree_id, RENAME_EXCHANGE) == 0)
		return fsync(store->trees) < 0 ? -errno : 0;
	/* There was none to replace. */
	return errno == ENOENT ? directory_rename_new(store->trees, aside, store->trees, tree_id)
			       : -errno;
}

static int render_to_store(
	struct store *store, const char *id, bool anew, char *ret_tree_id, struct error *err)
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
	if (anew || !store_has_tree(store, tree_id)) {
		r = temporary_clean(store->tmp);
		if (r == 0)
			r = temporary_create(store->tmp, "render-", &directory);
		if (r < 0)
			return error_set_errno(
				err, r, "cannot make a temporary directory in the store");
		r = render_tree(&render, directory.fd);
		if (r < 0)
			return r;
		r = anew ? replace_tree(store, &directory, tree_id)
			 : temporary_publish(&directory, store->trees, tree_id);
		/* Another process may have rendered it meanwhile. */
		if (r < 0 && r != -EEXIST)
			return error_set_errno(err, r, "cannot write a tree to the store");
	}
	memcpy(ret_tree_id, tree_id, sizeof(tree_id));
	return 0;
}

int store_render(struct store *store, const char *id, char *ret_tree_id, struct error *err)
{
	return render_to_store(store, id, false, ret_tree_id, err);
}

int store_rebuild_tree(struct store *store, const char *id, char *ret_tree_id, struct error *err)
{
	return render_to_store(store, id, true, ret_tree_id, err);
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
