/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: its directories, and names inside them. */
#ifndef APPC_STORE_LAYOUT_H
#define APPC_STORE_LAYOUT_H

#include "store/store.h"
#include "store/temporary.h"

#include <jansson.h>

struct store {
	int data;               /* borrowed */
	int images, trees, tmp; /* directory fds */
};

#define IMAGE_MANIFEST  "manifest"
#define IMAGE_ARCHIVE   "image.tar"
#define IMAGE_INFO      "info.json"
#define IMAGE_LAST_USED "last-used"
#define TREE_ROOTFS     "rootfs"
#define TREE_INFO       "info.json"

#define INFO_SIZE_MAX (1u << 20)

/* What an image's info.json holds. */
struct image_info {
	int64_t import_time;
	uint32_t import_nanoseconds;
	uint64_t size;      /* bytes of image.tar */
	uint64_t file_size; /* bytes of the file that was imported */
};

/* Whether name is a whole image id, a whole tree id. */
bool image_id_is_valid(const char *name);
bool tree_id_is_valid(const char *name);

/* Opens images/ID. -ENOENT with a message. Returns the fd. */
int image_open(struct store *store, const char *id, struct error *err);

int image_info_read(int image_fd, const char *id, struct image_info *ret, struct error *err);

/*
 * Whether images/ID is there with all that an image has, with this manifest, and with an archive of size bytes that are
 * those of archive_fd: reads both.
 */
bool image_is(struct store *store, const char *id, const char *manifest, size_t length,
	int archive_fd, uint64_t size);

/* The limits that hold: the options', or the default. options may be NULL. */
struct store_limits store_limits_of(const struct store_import_options *options);

/* A directory to build an image in, after the rubbish in tmp/ was removed. */
int import_directory_create(struct store *store, struct temporary *ret, struct error *err);

/*
 * Imports an ACI, as store_import() does, and nothing else. head is what was read of fd already.
 */
int import_stream(struct store *store, int fd, const void *head, size_t head_length,
	const char *source, const struct store_import_options *options, char *ret_id,
	struct error *err);

/*
 * The same for an uncompressed ACI that was written to IMAGE_ARCHIVE in a directory of
 * import_directory_create(), where nothing else may be. It becomes the image's.
 */
int import_written(struct store *store, struct temporary *directory, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err);

/* Whether labels has all that wanted has; wanted may be NULL. */
bool labels_include(const struct appc_pairs *labels, const struct appc_pairs *wanted);

/*
 * Extracts an image into the empty directory fd, as store_extract() says; its manifest is left to the
 * caller.
 */
int render_into(struct store *store, const char *id, const struct store_extract_options *options,
	int directory, struct error *err);

/* Opens trees/ID. -ENOENT with a message. Returns the fd. */
int tree_open(struct store *store, const char *tree_id, struct error *err);

/* The tree's info.json; the caller owns the reference. */
int tree_info_read(int tree_fd, const char *tree_id, json_t **ret, struct error *err);

/* Writes a new file with fsync. */
int file_create_synced(int dirfd, const char *name, const void *data, size_t length);

/* The same for a JSON object, which it takes over; NULL means out of memory. */
int json_create_synced(int dirfd, const char *name, json_t *json);

#endif
