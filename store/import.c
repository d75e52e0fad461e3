// SPDX-License-Identifier: Apache-2.0
/*
 * import.c: takes an image archive from a hostile world into the store.
 *
 * Theory of operation. One pass: the compression is undone; each piece that comes out is counted, hashed, written to tmp/import-*\/image.tar and handed to a second
 * reader, which parses it as tar. What that one finds is checked entry by entry against all names
 * before it. When both readers are at their end and nothing was wrong, the directory gets its other
 * files, is synced, and is renamed to images/ID. Until then any failure, or our death, leaves the
 * images as they were.
 *
 * Refused are names that leave the archive, a name twice, an entry below something that is not a
 * directory (extracting through a symbolic link), hard links to anything but an earlier file, and
 * whatever is larger than the limits. Hard links of an image with dependencies to what is not in its
 * archive are left to rendering.
 */
#include "store/layout.h"

#include "base/checked.h"
#include "base/file.h"
#include "store/archive.h"
#include "store/decompress.h"
#include "store/name-tree.h"
#include "base/sha512.h"
#include "store/temporary.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define INPUT_READ_SIZE (256u << 10)
#define TAR_BLOCK       512
/* Nodes for each entry: an archive need not have an entry for each directory. */
#define NODES_PER_ENTRY 4

#define NODE_HAS_CHILDREN 1u

struct import {
	const char *source;
	struct store_limits limits;
	const struct store_import_options *options;
	struct error *err;

	/* The file as it comes. */
	int input_fd;
	const uint8_t *head; /* what was read of it already */
	size_t head_length;
	uint8_t *input_buffer;
	uint64_t input_done, input_total;
	struct decompressor decompressor;

	/* The archive inside. */
	int output_fd;
	bool is_written; /* the input is the output: nothing is left to write */
	uint64_t output_done;
	bool output_ended;
	struct sha512 sha;

	/* What is in it. */
	struct name_tree names;
	uint64_t entries, content_size;
	char *manifest;
	size_t manifest_length;
	/* The first hard link whose target is not in the archive before it. */
	char *unresolved_link, *unresolved_target;
};

static void cleanup_import(struct import *import)
{
	decompressor_close(&import->decompressor);
	cleanup_close(&import->output_fd);
	name_tree_free(&import->names);
	free(import->input_buffer);
	free(import->manifest);
	free(import->unresolved_link);
	free(import->unresolved_target);
}
#define _cleanup_import_ _cleanup_(cleanup_import)

/* ---- the bytes */

static ssize_t input_next(void *context, const void **ret_data)
{
	struct import *import = context;
	ssize_t n;

	if (import->head_length > 0) {
		n = (ssize_t)import->head_length;
		*ret_data = import->head;
		import->head_length = 0;
	} else {
		do
			n = read(import->input_fd, import->input_buffer, INPUT_READ_SIZE);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return error_set_errno(
				import->err, -errno, "cannot read %s", import->source);
		*ret_data = import->input_buffer;
	}
	import->input_done += (uint64_t)n;
	if (import->options && import->options->progress && n > 0)
		import->options->progress(
			import->options->progress_context, import->input_done, import->input_total);
	return n;
}

/* The next piece of the uncompressed archive, after it was written and hashed. */
static ssize_t output_next(void *context, const void **ret_data)
{
	struct import *import = context;
	ssize_t length;
	int r;

	if (import->output_ended)
		return 0;
	length = decompressor_next(&import->decompressor, ret_data, import->err);
	if (length <= 0) {
		import->output_ended = length == 0;
		return length;
	}
	if (!checked_add_u64(import->output_done, (uint64_t)length, &import->output_done) ||
		import->output_done > import->limits.archive_bytes)
		return error_set(import->err, -EFBIG,
			"%s: larger than %" PRIu64 " bytes when uncompressed", import->source,
			import->limits.archive_bytes);
	sha512_update(&import->sha, *ret_data, (size_t)length);
	r = import->is_written ? 0 : file_write_all(import->output_fd, *ret_data, (size_t)length);
	if (r < 0)
		return error_set_errno(
			import->err, r, "cannot write %s to the store", import->source);
	return length;
}

/* ---- validation */

static int entry_refuse(struct import *import, const struct aci_entry *entry, const char *why)
{
	return error_set(
		import->err, -EINVAL, "%s: entry \"%s\": %s", import->source, entry->path, why);
}

static int check_size(struct import *import, const struct aci_entry *entry)
{
	if (++import->entries > import->limits.entries)
		return error_set(import->err, -EFBIG, "%s: more than %" PRIu64 " entries",
			import->source, import->limits.entries);
	if (!checked_add_u64(import->content_size, entry->size, &import->content_size) ||
		import->content_size > import->limits.archive_bytes)
		return error_set(import->err, -EFBIG,
			"%s: entry \"%s\": the files together are larger than %" PRIu64 " bytes",
			import->source, entry->path, import->limits.archive_bytes);
	return 0;
}

/* A node's owner here is 1 + the type of the entry of that name, 0: only names below it were seen.
 */
static bool node_is_directory(const struct name_node *node)
{
	return node->owner == 0 || node->owner == 1 + ACI_DIRECTORY;
}

static int check_name(struct import *import, const struct aci_entry *entry)
{
	struct name_tree *names = &import->names;
	uint32_t node;
	int r = name_tree_insert(names, entry->path, strlen(entry->path), &node);

	if (r == -E2BIG)
		return error_set(import->err, -EFBIG, "%s: too many directories", import->source);
	if (r < 0)
		return error_set_errno(import->err, r, "%s", import->source);
	if (names->nodes[node].owner != 0)
		return error_set(import->err, -EINVAL,
			"%s: duplicate file entry in archive: \"%s\"", import->source, entry->path);
	if (entry->type != ACI_DIRECTORY && names->nodes[node].flags & NODE_HAS_CHILDREN)
		return entry_refuse(
			import, entry, "not a directory, but earlier entries lie below it");
	names->nodes[node].owner = 1 + entry->type;
	for (uint32_t n = names->nodes[node].parent; n != NAME_TREE_NONE;
		n = names->nodes[n].parent) {
		if (!node_is_directory(&names->nodes[n]))
			return entry_refuse(
				import, entry, "lies below an entry that is not a directory");
		if (names->nodes[n].flags & NODE_HAS_CHILDREN)
			break;
		names->nodes[n].flags |= NODE_HAS_CHILDREN;
	}
	return 0;
}

static int check_link(struct import *import, const struct aci_entry *entry)
{
	uint32_t node = name_tree_find(&import->names, entry->target, strlen(entry->target));
	uint32_t owner = node == NAME_TREE_NONE ? 0 : import->names.nodes[node].owner;

	if (!strcmp(entry->path, entry->target))
		return entry_refuse(import, entry, "hard link to itself");
	if (owner == 1 + ACI_DIRECTORY ||
		(owner == 0 && node != NAME_TREE_NONE &&
			import->names.nodes[node].flags & NODE_HAS_CHILDREN))
		return entry_refuse(import, entry, "hard link to a directory");
	if (owner != 0 || import->unresolved_link)
		return 0;
	import->unresolved_link = strdup(entry->path);
	import->unresolved_target = strdup(entry->target);
	if (!import->unresolved_link || !import->unresolved_target)
		return error_set_errno(import->err, -ENOMEM, "%s", import->source);
	return 0;
}

/* A tar archive ends with blocks of zeros. Without one it was cut off between two entries. */
static int check_end(struct import *import, struct aci_reader *reader)
{
	uint64_t offset = aci_reader_offset(reader);
	char block[TAR_BLOCK], zeros[TAR_BLOCK] = {0};
	ssize_t n;

	if (!checked_range(offset, TAR_BLOCK, import->output_done))
		return error_set(import->err, -EBADMSG,
			"%s: damaged archive: it ends without an end-of-archive mark",
			import->source);
	n = pread(import->output_fd, block, sizeof(block), (off_t)offset);
	if (n != sizeof(block))
		return error_set_errno(
			import->err, n < 0 ? -errno : -EIO, "cannot read back %s", import->source);
	if (memcmp(block, zeros, sizeof(block)))
		return error_set(import->err, -EBADMSG,
			"%s: damaged archive: something else in place of the end-of-archive mark",
			import->source);
	return 0;
}

static int read_entries(struct import *import)
{
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	struct aci_entry entry;
	const void *data;
	ssize_t n;
	int r;

	r = aci_reader_open(
		ACI_READER_IMAGE, output_next, import, import->source, &reader, import->err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, import->err)) > 0) {
		r = check_size(import, &entry);
		if (r == 0)
			r = check_name(import, &entry);
		if (r == 0 && entry.type == ACI_HARDLINK)
			r = check_link(import, &entry);
		if (r == 0 && !strcmp(entry.path, "manifest"))
			r = aci_reader_read(reader, &entry, APPC_MANIFEST_SIZE_MAX,
				&import->manifest, &import->manifest_length, import->err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	/* The padding is part of the image id; what a decompressor checks comes last. */
	while ((n = output_next(import, &data)) > 0)
		;
	if (n < 0)
		return (int)n;
	r = decompressor_check(&import->decompressor, import->output_fd, import->err);
	if (r < 0)
		return r;
	return check_end(import, reader);
}

static int check_manifest(struct import *import)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL;
	int r;

	if (!import->manifest)
		return error_set(
			import->err, -EINVAL, "%s: missing image manifest", import->source);
	r = appc_image_manifest_parse(
		import->manifest, import->manifest_length, &manifest, import->err);
	if (r < 0)
		return error_prefix(import->err, r, "%s: image manifest", import->source);
	if (import->unresolved_link && manifest->dependency_count == 0)
		return error_set(import->err, -EINVAL,
			"%s: entry \"%s\": hard link to \"%s\", which is not in the archive before "
			"it",
			import->source, import->unresolved_link, import->unresolved_target);
	if (import->options && import->options->accept) {
		r = import->options->accept(import->options->accept_context, manifest, import->err);
		if (r < 0)
			return error_prefix(import->err, r, "%s", import->source);
	}
	return 0;
}

/* ---- the image directory */

static int write_image(struct import *import, struct temporary *directory)
{
	struct timespec now;
	json_t *info;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	info = json_pack("{s:I, s:I, s:I, s:I}", "import-time", (json_int_t)now.tv_sec,
		"import-nanoseconds", (json_int_t)now.tv_nsec, "size",
		(json_int_t)import->output_done, "file-size", (json_int_t)import->input_done);
	r = json_create_synced(directory->fd, IMAGE_INFO, info);
	if (r == 0)
		r = file_create_synced(
			directory->fd, IMAGE_MANIFEST, import->manifest, import->manifest_length);
	if (r == 0)
		r = file_create_synced(directory->fd, IMAGE_LAST_USED, "", 0);
	if (r == 0 && (fsync(import->output_fd) < 0 || fsync(directory->fd) < 0))
		r = -errno;
	return r;
}

static int import_run(
	struct store *store, struct import *import, struct temporary *directory, char *ret_id)
{
	char digest[SHA512_TEXT_SIZE], id[STORE_IMAGE_ID_SIZE];
	struct stat st;
	off_t position;
	int r;

	import->limits = store_limits_of(import->options);
	if (fstat(import->input_fd, &st) < 0)
		return error_set_errno(import->err, -errno, "cannot read %s", import->source);
	position = S_ISREG(st.st_mode) ? lseek(import->input_fd, 0, SEEK_CUR) : 0;
	if (S_ISREG(st.st_mode) && position >= 0 && position < st.st_size)
		import->input_total = (uint64_t)(st.st_size - position);
	import->input_buffer = malloc(INPUT_READ_SIZE);
	if (!import->input_buffer)
		return error_set_errno(import->err, -ENOMEM, "%s", import->source);
	r = name_tree_init(&import->names,
		import->limits.entries < UINT32_MAX / NODES_PER_ENTRY - 16
			? (size_t)import->limits.entries * NODES_PER_ENTRY + 16
			: UINT32_MAX);
	if (r < 0)
		return error_set_errno(import->err, r, "%s", import->source);
	sha512_init(&import->sha);

	r = decompressor_open(&import->decompressor,
		DECOMPRESS_GZIP | DECOMPRESS_BZIP2 | DECOMPRESS_XZ, input_next, import,
		import->source, import->err);
	import->decompressor.ratio = import->limits.ratio;
	if (r == 0)
		r = read_entries(import);
	if (r == 0)
		r = check_manifest(import);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	sha512_final_text(&import->sha, digest);
	snprintf(id, sizeof(id), "sha512-%s", digest);

	if (!image_is(store, id, import->manifest, import->manifest_length, import->output_fd,
		    import->output_done)) {
		r = write_image(import, directory);
		if (r == 0)
			r = temporary_publish(directory, store->images, id);
		/* Damaged, unless another process has imported it meanwhile, whose image others may read already. */
		if (r == -EEXIST)
			r = image_is(store, id, import->manifest, import->manifest_length,
				    import->output_fd, import->output_done)
				? 0
				: temporary_exchange(directory, store->images, id);
		if (r < 0)
			return error_set_errno(
				import->err, r, "cannot write %s to the store", import->source);
	}
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

struct store_limits store_limits_of(const struct store_import_options *options)
{
	struct store_limits limits = STORE_LIMITS_DEFAULT;

	if (options && options->limits.archive_bytes) {
		limits.archive_bytes = options->limits.archive_bytes;
		limits.ratio = 0;
	}
	if (options && options->limits.ratio)
		limits.ratio = options->limits.ratio;
	if (options && options->limits.entries)
		limits.entries = options->limits.entries;
	return limits;
}

int import_directory_create(struct store *store, struct temporary *ret, struct error *err)
{
	int r = temporary_clean(store->tmp);

	if (r == 0)
		r = temporary_create(store->tmp, "import-", ret);
	return r < 0 ? error_set_errno(err, r, "cannot make a temporary directory in the store")
		     : 0;
}

int import_stream(struct store *store, int fd, const void *head, size_t head_length,
	const char *source, const struct store_import_options *options, char *ret_id,
	struct error *err)
{
	_cleanup_temporary_ struct temporary directory = TEMPORARY_NONE;
	_cleanup_import_ struct import import = {
		.source = source,
		.options = options,
		.err = err,
		.input_fd = fd,
		.head = head,
		.head_length = head_length,
		.output_fd = -1,
	};
	int r = import_directory_create(store, &directory, err);

	if (r < 0)
		return r;
	import.output_fd = openat(directory.fd, IMAGE_ARCHIVE,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (import.output_fd < 0)
		return error_set_errno(err, -errno, "cannot write %s to the store", source);
	return import_run(store, &import, &directory, ret_id);
}

int import_written(struct store *store, struct temporary *directory, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	_cleanup_close_ int input =
		openat(directory->fd, IMAGE_ARCHIVE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_import_ struct import import = {
		.source = source,
		.options = options,
		.err = err,
		.input_fd = input,
		.output_fd = openat(directory->fd, IMAGE_ARCHIVE, O_RDWR | O_NOFOLLOW | O_CLOEXEC),
		.is_written = true,
	};

	if (input < 0 || import.output_fd < 0)
		return error_set_errno(err, -errno, "cannot read back %s", source);
	return import_run(store, &import, directory, ret_id);
}
