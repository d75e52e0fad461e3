// SPDX-License-Identifier: Apache-2.0
/*
 * tree-hash.c: one SHA-512 over a record for each file of a tree.
 *
 * Theory of operation. A directory's record comes first, then its other files, then its
 * subdirectories, each sorted by name. Every field is preceded by its length, so that no two trees
 * make the same bytes. No more than one directory is open at a time: images nest deeper than the
 * limit of open files. Blocks of zeros are left out of the content, holes need not be read at all;
 * the size tells them from a shorter file. A file with several names is read once.
 */
#include "store/tree-hash.h"

#include "base/file.h"
#include "store/archive.h"
#include "store/layout.h"
#include "base/sha512.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define CONTENT_BLOCK   (64u << 10)
#define XATTR_LIST_SIZE (64u << 10)
#define XATTR_SIZE      (64u << 10)

struct seen_inode {
	ino_t inode;
	uint64_t number; /* 0: the slot is free */
};

struct tree_hasher {
	int root;
	struct sha512 sha;
	struct error *err;
	char path[ACI_PATH_SIZE];
	size_t path_length;
	uint8_t *buffer;
	char *xattr_list, *xattr_value;
	struct seen_inode *seen; /* files with several names, by inode number */
	size_t seen_count, seen_room;
};

static void cleanup_tree_hasher(struct tree_hasher *hasher)
{
	free(hasher->buffer);
	free(hasher->xattr_list);
	free(hasher->xattr_value);
	free(hasher->seen);
}

struct names {
	char **items;
	size_t count, room;
};

static void cleanup_names(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}
#define _cleanup_names_ _cleanup_(cleanup_names)

static int names_add(struct names *names, const char *name)
{
	char *copy;

	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 32;
		void *items = reallocarray(names->items, room, sizeof(*names->items));

		if (!items)
			return -ENOMEM;
		names->items = items;
		names->room = room;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	names->items[names->count++] = copy;
	return 0;
}

static int name_compare(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int hasher_failure(struct tree_hasher *hasher, int r)
{
	return error_set_errno(hasher->err, r, "cannot read /%s in the tree", hasher->path);
}

static void hash_field(struct tree_hasher *hasher, const void *data, size_t length)
{
	uint64_t prefix = length;

	sha512_update(&hasher->sha, &prefix, sizeof(prefix));
	sha512_update(&hasher->sha, data, length);
}

static void hash_number(struct tree_hasher *hasher, uint64_t number)
{
	hash_field(hasher, &number, sizeof(number));
}

static void hash_metadata(struct tree_hasher *hasher, const struct stat *st)
{
	hash_field(hasher, hasher->path, hasher->path_length);
	hash_number(hasher, st->st_mode);
	hash_number(hasher, st->st_uid);
	hash_number(hasher, st->st_gid);
	hash_number(hasher, (uint64_t)st->st_mtim.tv_sec);
	hash_number(hasher, (uint64_t)st->st_mtim.tv_nsec);
}

/* file is a path under /proc/self/fd; a symbolic link at its end is not followed. */
static int hash_xattrs(struct tree_hasher *hasher, const char *file)
{
	_cleanup_names_ struct names names = {0};
	ssize_t length = llistxattr(file, hasher->xattr_list, XATTR_LIST_SIZE);
	int r;

	if (length < 0 && errno != ENOTSUP && errno != EACCES)
		return -errno;
	for (ssize_t at = 0; at < length;) {
		const char *name = hasher->xattr_list + at;

		at += (ssize_t)strlen(name) + 1;
		if (!aci_xattr_is_allowed(name))
			continue;
		r = names_add(&names, name);
		if (r < 0)
			return r;
	}
	if (names.count > 0)
		qsort(names.items, names.count, sizeof(*names.items), name_compare);
	hash_number(hasher, names.count);
	for (size_t i = 0; i < names.count; i++) {
		ssize_t size = lgetxattr(file, names.items[i], hasher->xattr_value, XATTR_SIZE);

		if (size < 0)
			return -errno;
		hash_field(hasher, names.items[i], strlen(names.items[i]));
		hash_field(hasher, hasher->xattr_value, (size_t)size);
	}
	return 0;
}

static bool block_is_zero(const uint8_t *block, size_t length)
{
	return block[0] == 0 && !memcmp(block, block + 1, length - 1);
}

static int hash_content(struct tree_hasher *hasher, int fd, const struct stat *st)
{
	bool has_holes = st->st_blocks * 512 < st->st_size;
	off_t offset = 0;

	while (offset < st->st_size) {
		size_t length = 0, wanted = CONTENT_BLOCK;

		if (has_holes) {
			off_t data = lseek(fd, offset, SEEK_DATA);

			if (data < 0 && errno == ENXIO)
				break;
			if (data > offset)
				offset = data - data % CONTENT_BLOCK;
			/* It has grown since. */
			if (offset >= st->st_size)
				break;
		}
		if (st->st_size - offset < (off_t)wanted)
			wanted = (size_t)(st->st_size - offset);
		while (length < wanted) {
			ssize_t n = pread(fd, hasher->buffer + length, wanted - length,
				offset + (off_t)length);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0)
				break;
			length += (size_t)n;
		}
		if (length == 0)
			return -EIO;
		if (!block_is_zero(hasher->buffer, length)) {
			hash_number(hasher, (uint64_t)offset);
			hash_field(hasher, hasher->buffer, length);
		}
		offset += (off_t)length;
	}
	hash_number(hasher, UINT64_MAX);
	return 0;
}

static struct seen_inode *seen_slot(struct seen_inode *seen, size_t room, ino_t inode)
{
	size_t slot = (size_t)((uint64_t)inode * 0x9e3779b97f4a7c15) & (room - 1);

	while (seen[slot].number != 0 && seen[slot].inode != inode)
		slot = (slot + 1) & (room - 1);
	return &seen[slot];
}

/* The number of the file among those with several names; *ret_new when this is its first name. */
static int seen_number(struct tree_hasher *hasher, ino_t inode, uint64_t *ret, bool *ret_new)
{
	struct seen_inode *slot;

	if (hasher->seen_count * 2 >= hasher->seen_room) {
		size_t room = hasher->seen_room ? hasher->seen_room * 2 : 64;
		struct seen_inode *seen = calloc(room, sizeof(*seen));

		if (!seen)
			return -ENOMEM;
		for (size_t i = 0; i < hasher->seen_room; i++)
			if (hasher->seen[i].number != 0)
				*seen_slot(seen, room, hasher->seen[i].inode) = hasher->seen[i];
		free(hasher->seen);
		hasher->seen = seen;
		hasher->seen_room = room;
	}
	slot = seen_slot(hasher->seen, hasher->seen_room, inode);
	*ret_new = slot->number == 0;
	if (*ret_new)
		*slot = (struct seen_inode){.inode = inode, .number = ++hasher->seen_count};
	*ret = slot->number;
	return 0;
}

static int hash_regular(
	struct tree_hasher *hasher, int dirfd, const char *name, const struct stat *st)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == EACCES && geteuid() != 0)
		return 0;
	if (fd < 0)
		return -errno;
	return hash_content(hasher, fd, st);
}

static int hash_file(struct tree_hasher *hasher, int dirfd, const char *name, const struct stat *st)
{
	char file[64 + 256];
	bool is_new = true;
	int r;

	hash_metadata(hasher, st);
	hash_number(hasher, S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0);
	snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", dirfd, name);
	r = hash_xattrs(hasher, file);
	if (r < 0)
		return r;
	if (st->st_nlink > 1) {
		uint64_t number;

		r = seen_number(hasher, st->st_ino, &number, &is_new);
		if (r < 0)
			return r;
		hash_number(hasher, number);
	}
	if (S_ISLNK(st->st_mode)) {
		ssize_t length = readlinkat(dirfd, name, (char *)hasher->buffer, CONTENT_BLOCK);

		if (length < 0)
			return -errno;
		hash_field(hasher, hasher->buffer, (size_t)length);
	} else if (S_ISREG(st->st_mode)) {
		hash_number(hasher, (uint64_t)st->st_size);
		return is_new ? hash_regular(hasher, dirfd, name, st) : 0;
	}
	return 0;
}

/* Makes name the last component of the hasher's path. Returns the length to go back to. */
static int path_enter(struct tree_hasher *hasher, const char *name, size_t *ret_before)
{
	size_t length = strlen(name), slash = hasher->path_length > 0 ? 1 : 0;

	if (hasher->path_length + slash + length >= sizeof(hasher->path))
		return -ENAMETOOLONG;
	*ret_before = hasher->path_length;
	if (slash)
		hasher->path[hasher->path_length++] = '/';
	memcpy(hasher->path + hasher->path_length, name, length + 1);
	hasher->path_length += length;
	return 0;
}

static void path_leave(struct tree_hasher *hasher, size_t before)
{
	hasher->path_length = before;
	hasher->path[before] = '\0';
}

static int list_names(int dirfd, struct names *names)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	int r;

	if (copy < 0)
		return -errno;
	directory = fdopendir(copy);
	if (!directory) {
		close(copy);
		return -ENOMEM;
	}
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = names_add(names, entry->d_name);
		if (r < 0)
			return r;
	}
	if (errno)
		return -errno;
	if (names->count > 0)
		qsort(names->items, names->count, sizeof(*names->items), name_compare);
	return 0;
}

/* The directory's own record and its files; its subdirectories are collected. */
static int hash_directory_files(struct tree_hasher *hasher, struct names *subdirectories)
{
	_cleanup_names_ struct names names = {0};
	_cleanup_close_ int fd = -1;
	struct stat st;
	char file[64];
	int r;

	fd = file_open_beneath_without_links(
		hasher->root, hasher->path_length > 0 ? hasher->path : ".", O_RDONLY | O_DIRECTORY);
	if (fd == -EACCES && geteuid() != 0)
		return 0;
	if (fd < 0)
		return hasher_failure(hasher, fd);
	if (fstat(fd, &st) < 0)
		return hasher_failure(hasher, -errno);
	hash_metadata(hasher, &st);
	snprintf(file, sizeof(file), "/proc/self/fd/%d/.", fd);
	r = hash_xattrs(hasher, file);
	if (r == 0)
		r = list_names(fd, &names);
	if (r < 0)
		return hasher_failure(hasher, r);
	for (size_t i = 0; i < names.count; i++) {
		size_t before;

		r = path_enter(hasher, names.items[i], &before);
		if (r < 0)
			return hasher_failure(hasher, r);
		if (fstatat(fd, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = errno == EACCES && geteuid() != 0 ? 0 : -errno;
		else if (S_ISDIR(st.st_mode))
			r = names_add(subdirectories, names.items[i]);
		else
			r = hash_file(hasher, fd, names.items[i], &st);
		if (r < 0)
			return hasher_failure(hasher, r);
		path_leave(hasher, before);
	}
	return 0;
}

/* Recursion is bounded by the length of a path. */
static int hash_directory(struct tree_hasher *hasher)
{
	_cleanup_names_ struct names subdirectories = {0};
	int r = hash_directory_files(hasher, &subdirectories);

	if (r < 0)
		return r;
	hash_number(hasher, subdirectories.count);
	for (size_t i = 0; i < subdirectories.count; i++) {
		size_t before;

		r = path_enter(hasher, subdirectories.items[i], &before);
		if (r < 0)
			return hasher_failure(hasher, r);
		r = hash_directory(hasher);
		if (r < 0)
			return r;
		path_leave(hasher, before);
	}
	return 0;
}

int tree_hash(int root_dirfd, char ret_text[TREE_HASH_SIZE], struct error *err)
{
	_cleanup_(cleanup_tree_hasher) struct tree_hasher hasher = {
		.root = root_dirfd,
		.err = err,
		.buffer = malloc(CONTENT_BLOCK),
		.xattr_list = malloc(XATTR_LIST_SIZE),
		.xattr_value = malloc(XATTR_SIZE),
	};
	int r;

	if (!hasher.buffer || !hasher.xattr_list || !hasher.xattr_value)
		return error_set_errno(err, -ENOMEM, "cannot hash the tree");
	sha512_init(&hasher.sha);
	r = hash_directory(&hasher);
	if (r < 0)
		return r;
	memcpy(ret_text, "sha512-", 7);
	sha512_final_text(&hasher.sha, ret_text + 7);
	return 0;
}
