// SPDX-License-Identifier: Apache-2.0
/*
 * import.c: takes an image archive from a hostile world into the store.
 *
 * Theory of operation. One pass: a libarchive reader without a format undoes the compression; each
 * piece that it gives is counted, hashed, written to tmp/import-*\/image.tar and handed to a second
 * reader, which parses it as tar. What that one finds is checked entry by entry against all names
 * before it. When both readers are at their end and nothing was wrong, the directory gets its other
 * files, is synced, and is renamed to images/ID. Until then any failure, or our death, leaves the
 * images as they were.
 *
 * Refused are names that leave the archive, a name twice, an entry below something that is not a
 * directory (extracting through a symbolic link), hard links to anything but an earlier file, and
 * whatever is larger than the limits. Hard links to a file of a dependency are left to rendering.
 */
#include "store/layout.h"

#include "base/checked.h"
#include "base/file.h"
#include "store/archive.h"
#include "store/gzip.h"
#include "store/name-tree.h"
#include "base/sha512.h"
#include "store/temporary.h"

#include <archive.h>
#include <archive_entry.h>
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
	uint8_t *input_buffer;
	uint64_t input_done, input_total;
	struct archive *decompressor;
	int input_error; /* -errno of read(), its message composed */
	bool is_gzip;
	struct gzip_check gzip;

	/* The archive inside. */
	int output_fd;
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
	if (import->decompressor)
		archive_read_free(import->decompressor);
	cleanup_close(&import->output_fd);
	name_tree_free(&import->names);
	free(import->input_buffer);
	free(import->manifest);
	free(import->unresolved_link);
	free(import->unresolved_target);
}
#define _cleanup_import_ _cleanup_(cleanup_import)

/* ---- decompression */

static la_ssize_t input_read(struct archive *archive, void *context, const void **ret_data)
{
	struct import *import = context;
	ssize_t n;

	do
		n = read(import->input_fd, import->input_buffer, INPUT_READ_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		import->input_error =
			error_set_errno(import->err, -errno, "cannot read %s", import->source);
		archive_set_error(archive, -import->input_error, "read failed");
		return ARCHIVE_FATAL;
	}
	gzip_check_input(&import->gzip, import->input_buffer, (size_t)n);
	import->input_done += (uint64_t)n;
	if (import->options && import->options->progress && n > 0)
		import->options->progress(
			import->options->progress_context, import->input_done, import->input_total);
	*ret_data = import->input_buffer;
	return n;
}

static int decompressor_failure(struct import *import)
{
	const char *text = archive_error_string(import->decompressor);

	if (import->input_error < 0)
		return import->input_error;
	if (archive_errno(import->decompressor) == ENOMEM)
		return error_set_errno(import->err, -ENOMEM, "%s", import->source);
	return error_set(import->err, -EBADMSG, "%s: damaged compression: %s", import->source,
		text ? text : "unknown error");
}

static int decompressor_open(struct import *import)
{
	struct archive_entry *entry;
	struct archive *archive = archive_read_new();
	int r;

	if (!archive)
		return error_set_errno(import->err, -ENOMEM, "%s", import->source);
	import->decompressor = archive;
	if (archive_read_support_format_raw(archive) != ARCHIVE_OK ||
		archive_read_support_filter_gzip(archive) != ARCHIVE_OK ||
		archive_read_support_filter_bzip2(archive) != ARCHIVE_OK ||
		archive_read_support_filter_xz(archive) != ARCHIVE_OK)
		return decompressor_failure(import);
	r = archive_read_open(archive, import, NULL, input_read, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(archive, &entry);
	if (import->input_error == 0 && (r == ARCHIVE_EOF || import->input_done == 0))
		return error_set(import->err, -EBADMSG, "%s is empty", import->source);
	if (r != ARCHIVE_OK)
		return decompressor_failure(import);
	/* The filters count the file itself. Only bombs are compressed twice. */
	if (archive_filter_count(archive) > 2)
		return error_set(
			import->err, -EINVAL, "%s: compressed more than once", import->source);
	import->is_gzip = archive_filter_code(archive, 0) == ARCHIVE_FILTER_GZIP;
	return 0;
}

/* The next piece of the uncompressed archive, after it was written and hashed. */
static ssize_t output_next(void *context, const void **ret_data)
{
	struct import *import = context;
	size_t length = 0;
	int r;

	if (import->output_ended)
		return 0;
	do {
		la_int64_t offset;

		r = archive_read_data_block(import->decompressor, ret_data, &length, &offset);
		if (r == ARCHIVE_EOF) {
			import->output_ended = true;
			return 0;
		}
		if (r != ARCHIVE_OK)
			return decompressor_failure(import);
	} while (length == 0);
	if (!checked_add_u64(import->output_done, length, &import->output_done) ||
		import->output_done > import->limits.archive_bytes)
		return error_set(import->err, -EFBIG,
			"%s: larger than %" PRIu64 " bytes when uncompressed", import->source,
			import->limits.archive_bytes);
	sha512_update(&import->sha, *ret_data, length);
	if (import->is_gzip)
		gzip_check_output(&import->gzip, *ret_data, length);
	r = file_write_all(import->output_fd, *ret_data, length);
	if (r < 0)
		return error_set_errno(
			import->err, r, "cannot write %s to the store", import->source);
	return (ssize_t)length;
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

static int read_manifest(
	struct import *import, struct aci_reader *reader, const struct aci_entry *entry)
{
	uint64_t offset;
	const void *data;
	size_t length;
	int r;

	if (entry->size > APPC_MANIFEST_SIZE_MAX)
		return entry_refuse(import, entry, "larger than 4 MiB");
	import->manifest_length = (size_t)entry->size;
	import->manifest = calloc(1, import->manifest_length + 1);
	if (!import->manifest)
		return error_set_errno(import->err, -ENOMEM, "%s", import->source);
	while ((r = aci_reader_data(reader, &data, &length, &offset, import->err)) > 0) {
		if (!checked_range(offset, length, entry->size))
			return entry_refuse(import, entry, "content beyond its size");
		if (length > 0)
			memcpy(import->manifest + offset, data, length);
	}
	return r;
}

/* A tar archive ends with blocks of zeros. Without one it was cut off between two entries. */
static int check_end(struct import *import, struct aci_reader *reader)
{
	uint64_t offset = aci_reader_end_offset(reader);
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

	r = aci_reader_open(output_next, import, import->source, &reader, import->err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, import->err)) > 0) {
		r = check_size(import, &entry);
		if (r == 0)
			r = check_name(import, &entry);
		if (r == 0 && entry.type == ACI_HARDLINK)
			r = check_link(import, &entry);
		if (r == 0 && !strcmp(entry.path, "manifest"))
			r = read_manifest(import, reader, &entry);
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
	if (import->is_gzip) {
		r = gzip_check_end(&import->gzip, import->output_fd);
		if (r == -EBADMSG)
			return error_set(import->err, r,
				"%s: damaged compression: the gzip checksum does not match",
				import->source);
		if (r < 0)
			return error_set_errno(import->err, r, "%s", import->source);
	}
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

int store_import(struct store *store, int fd, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	_cleanup_temporary_ struct temporary directory = TEMPORARY_NONE;
	_cleanup_import_ struct import import = {
		.source = source,
		.limits = STORE_LIMITS_DEFAULT,
		.options = options,
		.err = err,
		.input_fd = fd,
		.output_fd = -1,
	};
	char digest[SHA512_TEXT_SIZE], id[STORE_IMAGE_ID_SIZE];
	struct stat st;
	off_t position;
	int r;

	if (options && options->limits.archive_bytes)
		import.limits.archive_bytes = options->limits.archive_bytes;
	if (options && options->limits.entries)
		import.limits.entries = options->limits.entries;
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot read %s", source);
	position = S_ISREG(st.st_mode) ? lseek(fd, 0, SEEK_CUR) : 0;
	if (S_ISREG(st.st_mode) && position >= 0 && position < st.st_size)
		import.input_total = (uint64_t)(st.st_size - position);

	r = temporary_clean(store->tmp);
	if (r == 0)
		r = temporary_create(store->tmp, "import-", &directory);
	if (r < 0)
		return error_set_errno(err, r, "cannot make a temporary directory in the store");
	import.output_fd = openat(directory.fd, IMAGE_ARCHIVE,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (import.output_fd < 0)
		return error_set_errno(err, -errno, "cannot write %s to the store", source);
	import.input_buffer = malloc(INPUT_READ_SIZE);
	if (!import.input_buffer)
		return error_set_errno(err, -ENOMEM, "%s", source);
	r = name_tree_init(&import.names,
		import.limits.entries < UINT32_MAX / NODES_PER_ENTRY - 16
			? (size_t)import.limits.entries * NODES_PER_ENTRY + 16
			: UINT32_MAX);
	if (r < 0)
		return error_set_errno(err, r, "%s", source);
	sha512_init(&import.sha);

	r = decompressor_open(&import);
	if (r == 0)
		r = read_entries(&import);
	if (r == 0)
		r = check_manifest(&import);
	if (r < 0)
		return r;
	sha512_final_text(&import.sha, digest);
	snprintf(id, sizeof(id), "sha512-%s", digest);

	if (faccessat(store->images, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		r = write_image(&import, &directory);
		if (r == 0)
			r = temporary_publish(&directory, store->images, id);
		/* Another process may have imported it meanwhile. */
		if (r < 0 && r != -EEXIST)
			return error_set_errno(err, r, "cannot write %s to the store", source);
	}
	memcpy(ret_id, id, sizeof(id));
	return 0;
}
