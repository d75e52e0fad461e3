// SPDX-License-Identifier: Apache-2.0
/*
 * blob.c: named files in a directory or inside a tar.
 *
 * Theory of operation. A tar is read once for its headers: each name goes into a tree with the offset of
 * its entry. A file is read by a new reader that begins at that offset, so that nothing is copied and
 * nobody but libarchive knows what headers look like.
 */
#include "store/blob.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "store/archive.h"
#include "store/digest.h"
#include "store/name-tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define READ_SIZE (256u << 10)
#define LINKS_MAX 8

struct blob_entry {
	enum aci_entry_type type;
	char *target; /* links */
	uint64_t offset, size;
};

struct blob_source {
	const char *name;
	int fd; /* borrowed */
	bool is_directory;

	/* Of an archive: each name's owner is 1 + the index of its entry. */
	uint64_t archive_offset;
	struct name_tree names;
	struct blob_entry *entries;
	size_t entry_count, entry_room;

	/* The open file. */
	char path[ACI_PATH_SIZE];
	uint64_t size, done;
	int file;
	uint8_t *buffer;
	struct aci_reader *reader;
	const void *piece; /* of an archive's file: what comes after the zeros of a hole */
	size_t piece_length;
	uint64_t zeros;
	struct error *err;
};

const char *blob_source_name(const struct blob_source *blobs)
{
	return blobs->name;
}

static void blob_close(struct blob_source *blobs)
{
	cleanup_close(&blobs->file);
	blobs->file = -1;
	if (blobs->reader)
		aci_reader_close(blobs->reader);
	blobs->reader = NULL;
	blobs->piece_length = 0;
	blobs->zeros = 0;
}

void blob_source_close(struct blob_source *blobs)
{
	blob_close(blobs);
	for (size_t i = 0; i < blobs->entry_count; i++)
		free(blobs->entries[i].target);
	free(blobs->entries);
	name_tree_free(&blobs->names);
	free(blobs->buffer);
	free(blobs);
}

static int blob_source_new(int fd, const char *source, struct blob_source **ret, struct error *err)
{
	_cleanup_blob_source_ struct blob_source *blobs = calloc(1, sizeof(*blobs));

	if (!blobs)
		return error_set_errno(err, -ENOMEM, "%s", source);
	blobs->name = source;
	blobs->fd = fd;
	blobs->file = -1;
	blobs->buffer = calloc(1, READ_SIZE);
	if (!blobs->buffer)
		return error_set_errno(err, -ENOMEM, "%s", source);
	*ret = TAKE_PTR(blobs);
	return 0;
}

int blob_source_open_directory(
	int dirfd, const char *source, struct blob_source **ret, struct error *err)
{
	int r = blob_source_new(dirfd, source, ret, err);

	if (r == 0)
		(*ret)->is_directory = true;
	return r;
}

/* ---- archives */

static int entry_add(struct blob_source *blobs, const struct aci_entry *entry, uint64_t offset,
	struct error *err)
{
	struct blob_entry *added;
	uint32_t node;
	int r;

	/* Nobody asks for these. A name twice is ambiguous; for directories it is harmless. */
	if (entry->type == ACI_DIRECTORY)
		return 0;
	if (blobs->entry_count >= BLOB_FILES_MAX)
		return error_set(
			err, -EFBIG, "%s: more than %u files", blobs->name, BLOB_FILES_MAX);
	r = name_tree_insert(&blobs->names, entry->path, strlen(entry->path), &node);
	if (r == -E2BIG)
		return error_set(err, -EFBIG, "%s: too many directories", blobs->name);
	if (r < 0)
		return error_set_errno(err, r, "%s", blobs->name);
	if (blobs->names.nodes[node].owner != 0)
		return error_set(err, -EINVAL, "%s: duplicate file entry in archive: \"%s\"",
			blobs->name, entry->path);
	if (blobs->entry_count == blobs->entry_room) {
		size_t room = blobs->entry_room ? 2 * blobs->entry_room : 64;
		void *entries = reallocarray(blobs->entries, room, sizeof(*blobs->entries));

		if (!entries)
			return error_set_errno(err, -ENOMEM, "%s", blobs->name);
		blobs->entries = entries;
		blobs->entry_room = room;
	}
	added = &blobs->entries[blobs->entry_count];
	*added = (struct blob_entry){.type = entry->type, .offset = offset, .size = entry->size};
	if (entry->target) {
		added->target = strdup(entry->target);
		if (!added->target)
			return error_set_errno(err, -ENOMEM, "%s", blobs->name);
	}
	blobs->names.nodes[node].owner = (uint32_t)++blobs->entry_count;
	return 0;
}

int blob_source_open_archive(
	int fd, uint64_t offset, const char *source, struct blob_source **ret, struct error *err)
{
	_cleanup_blob_source_ struct blob_source *blobs = NULL;
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	struct aci_entry entry;
	int r = blob_source_new(fd, source, &blobs, err);

	if (r < 0)
		return r;
	blobs->archive_offset = offset;
	r = name_tree_init(&blobs->names, (size_t)4 * BLOB_FILES_MAX);
	if (r < 0)
		return error_set_errno(err, r, "%s", source);
	r = aci_reader_open_file(fd, offset, ACI_READER_FILES, source, &reader, err);
	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, err)) > 0) {
		r = entry_add(blobs, &entry, aci_reader_offset(reader), err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(blobs);
	return 0;
}

/*
 * The path that a symbolic link at path means, in place; links among its directories are not followed.
 * False: it leads out, or is too long.
 */
static bool path_follow(char path[ACI_PATH_SIZE], const char *target)
{
	char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	if (*target == '/')
		return false;
	while (*target) {
		size_t component = strcspn(target, "/");

		if (component == 2 && target[0] == '.' && target[1] == '.') {
			if (length == 0)
				return false;
			while (length > 0 && path[length - 1] != '/')
				length--;
			length -= length > 0;
		} else if (component > 0 && !(component == 1 && target[0] == '.')) {
			if (length + 1 + component >= ACI_PATH_SIZE)
				return false;
			if (length > 0)
				path[length++] = '/';
			memcpy(path + length, target, component);
			length += component;
		}
		target += component;
		target += *target == '/';
	}
	path[length] = '\0';
	return true;
}

static int blob_refuse(
	struct blob_source *blobs, int r, const char *path, const char *why, struct error *err)
{
	return error_set(err, r, "%s: \"%s\" %s", blobs->name, path, why);
}

static int entry_find(struct blob_source *blobs, const char *name, const struct blob_entry **ret,
	struct error *err)
{
	char path[ACI_PATH_SIZE];

	snprintf(path, sizeof(path), "%s", name);
	for (int links = 0; links <= LINKS_MAX; links++) {
		uint32_t node = name_tree_find(&blobs->names, path, strlen(path));
		const struct blob_entry *entry;

		if (node == NAME_TREE_NONE || blobs->names.nodes[node].owner == 0)
			return blob_refuse(blobs, -ENOENT, name,
				links ? "is a link to what is not in the archive"
				      : "is not in the archive",
				err);
		entry = &blobs->entries[blobs->names.nodes[node].owner - 1];
		if (entry->type == ACI_FILE) {
			*ret = entry;
			return 0;
		}
		if (entry->type == ACI_HARDLINK)
			snprintf(path, sizeof(path), "%s", entry->target);
		else if (entry->type != ACI_SYMLINK)
			return blob_refuse(blobs, -EINVAL, name, "is not a regular file", err);
		else if (!path_follow(path, entry->target))
			return blob_refuse(blobs, -EINVAL, name,
				"is a symbolic link that leads out of the archive", err);
	}
	return blob_refuse(blobs, -ELOOP, name, "is one of too many links in a row", err);
}

/* ---- reading */

/* Opens the file of a directory. Returns the fd or -errno. */
static int directory_file_open(struct blob_source *blobs, const char *path, struct stat *ret_stat)
{
	/* Not to wait for a FIFO. */
	_cleanup_close_ int fd =
		file_open_beneath(blobs->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, ret_stat) < 0)
		return -errno;
	return S_ISREG(ret_stat->st_mode) ? TAKE_FD(fd) : -EINVAL;
}

bool blob_exists(struct blob_source *blobs, const char *path)
{
	const struct blob_entry *entry;
	struct stat st;

	if (blobs->is_directory) {
		_cleanup_close_ int fd = directory_file_open(blobs, path, &st);

		return fd >= 0;
	}
	return entry_find(blobs, path, &entry, NULL) == 0;
}

int blob_open(struct blob_source *blobs, const char *path, uint64_t *ret_size, struct error *err)
{
	const struct blob_entry *entry;
	struct aci_entry found = {0};
	struct stat st;
	int r;

	blob_close(blobs);
	if (strlen(path) >= sizeof(blobs->path))
		return blob_refuse(blobs, -ENAMETOOLONG, path, "has too long a name", err);
	snprintf(blobs->path, sizeof(blobs->path), "%s", path);
	blobs->done = 0;
	blobs->err = err;
	if (blobs->is_directory) {
		blobs->file = directory_file_open(blobs, path, &st);
		if (blobs->file == -EINVAL)
			return blob_refuse(blobs, -EINVAL, path, "is not a regular file", err);
		if (blobs->file == -EXDEV)
			return blob_refuse(blobs, -EINVAL, path, "leads out of the directory", err);
		if (blobs->file < 0)
			return error_set_errno(
				err, blobs->file, "%s: cannot open \"%s\"", blobs->name, path);
		blobs->size = (uint64_t)st.st_size;
	} else {
		r = entry_find(blobs, path, &entry, err);
		if (r < 0)
			return r;
		r = aci_reader_open_file(blobs->fd, blobs->archive_offset + entry->offset,
			ACI_READER_FILES, blobs->name, &blobs->reader, err);
		if (r == 0)
			r = aci_reader_next(blobs->reader, &found, err);
		if (r < 0)
			return r;
		if (r == 0 || found.type != ACI_FILE || found.size != entry->size)
			return error_set(
				err, -EBADMSG, "%s changed while it was read", blobs->name);
		blobs->size = entry->size;
	}
	*ret_size = blobs->size;
	return 0;
}

/* Data of an archive's file come with their offsets: what is not there is zeros. */
static ssize_t archive_file_next(struct blob_source *blobs, const void **ret_data)
{
	ssize_t n;

	while (blobs->zeros == 0 && blobs->piece_length == 0) {
		uint64_t offset = 0;
		int r = aci_reader_data(
			blobs->reader, &blobs->piece, &blobs->piece_length, &offset, blobs->err);

		if (r < 0)
			return r;
		if (r == 0) {
			blobs->piece_length = 0;
			offset = blobs->size;
		}
		if (!checked_range(offset, blobs->piece_length, blobs->size) ||
			offset < blobs->done)
			return blob_refuse(blobs, -EBADMSG, blobs->path,
				"has content beyond its size", blobs->err);
		blobs->zeros = offset - blobs->done;
		if (r == 0 && blobs->zeros == 0)
			return 0;
	}
	if (blobs->zeros > 0) {
		n = (ssize_t)(blobs->zeros < READ_SIZE ? blobs->zeros : READ_SIZE);
		blobs->zeros -= (uint64_t)n;
		*ret_data = blobs->buffer; /* which nobody writes to */
		return n;
	}
	n = (ssize_t)blobs->piece_length;
	blobs->piece_length = 0;
	*ret_data = blobs->piece;
	return n;
}

ssize_t blob_next(void *context, const void **ret_data)
{
	struct blob_source *blobs = context;
	ssize_t n;

	if (blobs->is_directory) {
		do
			n = read(blobs->file, blobs->buffer, READ_SIZE);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return error_set_errno(blobs->err, -errno, "%s: cannot read \"%s\"",
				blobs->name, blobs->path);
		*ret_data = blobs->buffer;
	} else {
		n = archive_file_next(blobs, ret_data);
		if (n < 0)
			return n;
	}
	blobs->done += (uint64_t)n;
	return n;
}

static int blob_read_open(struct blob_source *blobs, struct digest *digest, size_t max,
	char **ret_data, size_t *ret_length)
{
	_cleanup_free_ char *data = NULL;
	size_t length = 0;
	const void *piece = NULL;
	ssize_t n;

	if (blobs->size > max)
		return error_set(blobs->err, -EFBIG, "%s: \"%s\" is larger than %zu bytes",
			blobs->name, blobs->path, max);
	data = malloc((size_t)blobs->size + 1);
	if (!data)
		return error_set_errno(blobs->err, -ENOMEM, "%s", blobs->name);
	while ((n = blob_next(blobs, &piece)) > 0) {
		/* A file in a directory may grow. */
		if (!piece || (size_t)n > blobs->size - length)
			return blob_refuse(blobs, -EFBIG, blobs->path, "changed while it was read",
				blobs->err);
		memcpy(data + length, piece, (size_t)n);
		length += (size_t)n;
	}
	if (n < 0)
		return (int)n;
	data[length] = '\0';
	if (digest)
		digest_update(digest, data, length);
	*ret_data = TAKE_PTR(data);
	*ret_length = length;
	return 0;
}

int blob_read(struct blob_source *blobs, const char *path, const char *expected, size_t max,
	char **ret_data, size_t *ret_length, struct error *err)
{
	_cleanup_free_ char *data = NULL;
	char found[DIGEST_TEXT_SIZE];
	struct digest digest;
	uint64_t size;
	int r = blob_open(blobs, path, &size, err);

	if (r < 0)
		return r;
	if (expected)
		digest_init(&digest, expected);
	r = blob_read_open(blobs, expected ? &digest : NULL, max, &data, ret_length);
	blob_close(blobs);
	if (r < 0)
		return r;
	if (expected) {
		digest_final(&digest, found);
		if (strcmp(found, expected))
			return error_set(err, -EBADMSG, "%s: \"%s\" has the digest %s, expected %s",
				blobs->name, path, found, expected);
	}
	*ret_data = TAKE_PTR(data);
	return 0;
}

int blob_read_document(struct blob_source *blobs, const char *path, const char *digest,
	json_t **ret, struct error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t length;
	int r = blob_read(blobs, path, digest, BLOB_DOCUMENT_SIZE_MAX, &data, &length, err);

	if (r < 0)
		return r;
	r = json_parse(data, length, path, ret, err);
	return r < 0 ? error_prefix(err, r, "%s", blobs->name) : 0;
}
