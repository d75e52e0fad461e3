/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: images that were imported, and the trees rendered from them.
 *
 * Layout below the data directory (design: crash safety by "temporary name, fsync, rename"):
 *   images/ID/manifest     the image manifest, bytes as in the archive
 *   images/ID/image.tar    the archive, uncompressed (the image id is its SHA-512)
 *   images/ID/info.json    what is not in the manifest: import time, sizes
 *   images/ID/last-used    an empty file; its modification time is the last use
 *   trees/TREE-ID/rootfs   the rendered tree of an image with its dependencies, read-only by use
 *   trees/TREE-ID/info.json  the image ids it was rendered from, and the hash of the tree
 *   trees/TREE-ID.HEX      what was TREE-ID before it was rendered anew: pods may be running on it
 *   remotes/               of each URL the image that came from it (store/fetch.h)
 *   trusted-keys/          who may sign images (store/keyring.h)
 *   tmp/                   what is being written; anything there that no process holds locked is
 *                          rubbish of a killed process, removed by the next command that writes
 * A directory named images/ID or trees/ID exists only whole. Removal renames into tmp/ first.
 *
 * Image ids are "sha512-" and 128 hexadecimal digits. Functions that take an id accept a prefix of
 * at least "sha512-" and two digits (-ENOENT: none, -ENOTUNIQ: several).
 * Concurrency: any number of processes may use one store; a struct store belongs to one thread.
 * Errors: -errno with a message that names the image or file.
 */
#ifndef APPC_STORE_STORE_H
#define APPC_STORE_STORE_H

#include "appc/manifest.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_IMAGE_ID_SIZE (7 + 128 + 1)
/* How much of an id people are shown, as by rkt: "sha512-" and 12 digits in a list, 32 alone. */
#define STORE_IMAGE_ID_LISTED 19
#define STORE_IMAGE_ID_SHORT  39
#define STORE_TREE_ID_SIZE    (12 + 64 + 1) /* "deps-sha512-" and 64 digits */

/*
 * Annotations of images that were converted. The group of the app was not asked for, and was called as its user ("user"):
 * where the root filesystem has no such group, it is the user's there.
 */
#define CONTAINER_ANNOTATION_PREFIX "appc.io/docker/"
#define CONTAINER_ANNOTATION_GROUP  CONTAINER_ANNOTATION_PREFIX "group-of"

struct store;

/* Opens or creates the store below the data directory. data_dirfd is borrowed until store_close().
 */
int store_open(int data_dirfd, struct store **ret, struct error *err);
void store_close(struct store *store);

static inline void cleanup_store(struct store **store)
{
	if (*store)
		store_close(*store);
}
#define _cleanup_store_ _cleanup_(cleanup_store)

/*
 * Limits against decompression bombs; the defaults suit real distributions. 0: the default. Who says how
 * large an archive may be expects one of that size: then the ratio has no default.
 */
struct store_limits {
	uint64_t archive_bytes; /* uncompressed size of one archive, and of its files with holes */
	uint64_t entries;       /* entries of one archive */
	uint64_t ratio; /* uncompressed size to compressed size, from STORE_RATIO_FREE_BYTES on */
};
#define STORE_LIMITS_DEFAULT \
	((struct store_limits){.archive_bytes = 64ull << 30, .entries = 4u << 20, .ratio = 100})
#define STORE_RATIO_FREE_BYTES (256ull << 20)

/* done and total are bytes of the (compressed) input; total is 0 when it is not known. */
typedef void store_progress_fn(void *context, uint64_t done, uint64_t total);

/* Whether an image of that manifest may appear in the store: 0, or -errno with the message set. */
typedef int store_accept_fn(
	void *context, const struct appc_image_manifest *manifest, struct error *err);

struct store_import_options {
	struct store_limits limits;
	store_progress_fn *progress; /* may be NULL */
	void *progress_context;
	store_accept_fn *accept; /* asked when all else is valid; may be NULL */
	void *accept_context;
	/*
	 * For OCI and Docker images, NULL as a rule: the image's name, "NAME[:VERSION]" (as on the
	 * command line), in place of the one that the file gives; and which one of several to take: a
	 * reference, a tag, or a digest.
	 */
	const char *name, *reference;
};

/*
 * Imports one image from fd, read from its present position to its end; a pipe will do. What it is is
 * told from its content:
 *   an ACI (tar: plain, gzip, bzip2 or xz)
 *   an OCI image layout: a directory, or a tar (plain or compressed)
 *   the tar of "docker save" or "podman save" (plain or compressed)
 * The latter two are converted to an ACI: docs/images.md has the rules. Equal images give equal ACIs.
 * source names the file in messages; images without a name are called after it. The archive is
 * validated whole (layout, names, links, digests, manifest) before the image appears. options may be
 * NULL. Importing an image again is success and leaves it as it was; where it was damaged, in whatever way, it is
 * replaced as a whole. ret_id has room for
 * STORE_IMAGE_ID_SIZE.
 */
int store_import(struct store *store, int fd, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err);

struct store_image {
	char id[STORE_IMAGE_ID_SIZE];
	struct appc_image_manifest *manifest; /* owned */
	uint64_t size;                        /* bytes of the uncompressed archive */
	int64_t import_time, last_used;       /* seconds since 1970 */
	uint32_t import_nanoseconds;          /* of import_time */
};

/* All images, oldest import first; images that cannot be read are skipped with a warning. */
int store_list(struct store *store, struct store_image **ret, size_t *ret_count, struct error *err);
void store_images_free(struct store_image *images, size_t count);

/* Whether the image has that name and all those labels; labels may be NULL. */
bool store_image_matches(
	const struct store_image *image, const char *name, const struct appc_pairs *labels);

/* Full id from a prefix. */
int store_find_id(struct store *store, const char *prefix, char *ret_id, struct error *err);

/*
 * The image of that name whose labels include all those given; of several the newest import.
 * -ENOENT with a message that lists what of that name is there.
 */
int store_find_name(struct store *store, const char *name, const struct appc_pairs *labels,
	char *ret_id, struct error *err);

/* The manifest of an image by full id; the caller frees it. */
int store_image_manifest(
	struct store *store, const char *id, struct appc_image_manifest **ret, struct error *err);

/* The same as it was imported: JSON text with a NUL at its end, which the caller frees. */
int store_image_manifest_text(struct store *store, const char *id, char **ret, struct error *err);

/* Opens an image's uncompressed archive, by full id, for reading. Returns the fd or -errno. */
int store_open_archive(struct store *store, const char *id, struct error *err);

/*
 * Reads the archive of an image, by full id, from end to end. -EBADMSG: its hash is not the image's id, or the manifest
 * in the store is not the one in it.
 */
int store_verify_image(struct store *store, const char *id, struct error *err);

/*
 * Renders an image with its dependencies into the tree store, unless that tree is there already.
 * ret_tree_id has room for STORE_TREE_ID_SIZE. Marks the images as used.
 */
int store_render(struct store *store, const char *id, char *ret_tree_id, struct error *err);

/*
 * Compares a tree with the hash that was recorded when it was rendered. -EBADMSG with a message: it
 * was changed. Reads the whole tree.
 */
int store_verify_tree(struct store *store, const char *tree_id, struct error *err);

/*
 * Which trees a pod uses is known from when its list of them is written, and that is after they were rendered. Whoever
 * renders for a pod keeps them shared from before store_render() until then; whoever looks for trees and images that
 * nobody uses claims them from before it asks which are in use until it has removed the rest. Neither a download nor a
 * run belongs between; the copies that a new pod's volumes begin with are made there.
 * They wait for each other, store_keep_trees_now() for nobody: -EWOULDBLOCK. All return an fd that ends it when it is
 * closed, or -errno with a message.
 */
int store_keep_trees(struct store *store, struct error *err);
int store_keep_trees_now(struct store *store, struct error *err);
int store_claim_trees(struct store *store, struct error *err);

/* Opens the rootfs directory of a rendered tree. Returns an fd (O_PATH) or -errno. */
int store_open_tree(struct store *store, const char *tree_id, struct error *err);

/*
 * The id of the tree that store_render() makes of the image; it need not be there. ret_tree_id has
 * room for STORE_TREE_ID_SIZE.
 */
int store_tree_id(struct store *store, const char *id, char *ret_tree_id, struct error *err);

/* Whether trees/TREE-ID is there. */
bool store_has_tree(struct store *store, const char *tree_id);

/*
 * Renders the tree of an image anew and puts it in the place of the one that is there, which is usable until that moment,
 * and afterwards by whoever has it open: it stays aside as trees/TREE-ID.HEX until store_gc() finds that no pod uses
 * TREE-ID. The caller keeps the trees (store_keep_trees()). ret_tree_id as in store_render().
 */
int store_rebuild_tree(struct store *store, const char *id, char *ret_tree_id, struct error *err);

struct store_extract_options {
	bool with_dependencies; /* as store_render() does; else the archive's own entries, all of them */
	bool rootfs_only;       /* what is in rootfs, not "manifest" and "rootfs" */
	bool overwrite;         /* an existing directory is replaced when the new one is whole */
};

/*
 * Extracts an image, by full id, into the directory that path names. Nothing is written outside it,
 * whatever the archive holds: extraction happens in a new directory beside it, which gets its name at
 * the end. -EEXIST: it is there and overwrite is not set.
 */
int store_extract(struct store *store, const char *id, const struct store_extract_options *options,
	const char *path, struct error *err);

/*
 * The ids of all images that the trees were rendered from; trees that are gone count for nothing. The
 * caller clears *ret.
 */
int store_trees_images(struct store *store, char *const *tree_ids, size_t count,
	struct appc_strings *ret, struct error *err);

/* Removes an image by full id; trees rendered from it stay until store_gc(). */
int store_remove(struct store *store, const char *id, struct error *err);

/*
 * Removes the rubbish of killed processes, every tree that is neither in tree_ids_in_use nor rendered
 * for an image that is still there, and what was replaced of trees that are not in tree_ids_in_use. The
 * caller has claimed the trees. ret_removed counts the trees (may be NULL).
 */
int store_gc(struct store *store, char *const *tree_ids_in_use, size_t in_use_count,
	size_t *ret_removed, struct error *err);

#endif
