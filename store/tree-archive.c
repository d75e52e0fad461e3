// SPDX-License-Identifier: Apache-2.0
/*
 * tree-archive.c: see tree-archive.h.
 *
 * Theory of operation. Directories are read whole and closed before what is in them is visited, and every
 * file is opened by its path from the root: trees nest deeper than the limit of open files. Hard links
 * are found by libarchive's resolver, by device and inode.
 */
#include "store/tree-archive.h"

#include "base/file.h"
#include "base/log.h"
#include "store/archive.h"
#include "store/layout.h"
#include "store/libarchive.h"
#include "store/store.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define ROOTFS        "rootfs"
#define CONTENT_BLOCK (256u << 10)

struct archiver {
	int root;
	uint64_t bytes; /* of files so far, holes included */
	const char *left_out;
	struct archive *archive;
	struct archive_entry *entry;
	struct archive_entry_linkresolver *links;
	struct error *err;
	char path[ACI_PATH_SIZE]; /* of the present entry, as in the image */
	char content[CONTENT_BLOCK], target[PATH_MAX];
	char xattr_names[XATTR_LIST_MAX], xattr[XATTR_SIZE_MAX];
};

static void cleanup_archiver(struct archiver **archiver)
{
	if (!*archiver)
		return;
	archive_entry_free((*archiver)->entry);
	archive_entry_linkresolver_free((*archiver)->links);
	archive_write_free((*archiver)->archive);
	free(*archiver);
}
#define _cleanup_archiver_ _cleanup_(cleanup_archiver)

/* What the file system calls the present entry. */
static const char *path_in_tree(const struct archiver *archiver)
{
	const char *path = archiver->path + strlen(ROOTFS);

	return *path ? path + 1 : ".";
}

static int read_failure(struct archiver *archiver, int r)
{
	return error_set_errno(archiver->err, r, "cannot read /%s", path_in_tree(archiver));
}

static int write_failure(struct archiver *archiver)
{
	const char *text = archive_error_string(archiver->archive);
	int r = archive_errno(archiver->archive);

	return error_set(archiver->err, r > 0 ? -r : -EIO, "cannot write the image: %s",
		text ? text : "unknown error");
}

/* ---- what an entry has */

static int add_xattrs(struct archiver *archiver, int fd)
{
	ssize_t length, size;
	char file[64];

	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	length = listxattr(file, archiver->xattr_names, sizeof(archiver->xattr_names));
	if (length < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (const char *name = archiver->xattr_names; name < archiver->xattr_names + length;
		name += strlen(name) + 1) {
		if (!aci_xattr_is_allowed(name))
			continue;
		size = getxattr(file, name, archiver->xattr, sizeof(archiver->xattr));
		if (size < 0)
			return -errno;
		archive_entry_xattr_add_entry(archiver->entry, name, archiver->xattr, (size_t)size);
	}
	return 0;
}

static int add_symlink_target(struct archiver *archiver, int fd)
{
	ssize_t length = readlinkat(fd, "", archiver->target, sizeof(archiver->target));

	if (length < 0)
		return -errno;
	if ((size_t)length == sizeof(archiver->target))
		return -ENAMETOOLONG;
	archiver->target[length] = '\0';
	archive_entry_copy_symlink(archiver->entry, archiver->target);
	return 0;
}

/* Where a file has data; libarchive leaves the holes between out. */
static int add_holes(struct archiver *archiver, int fd, off_t size)
{
	off_t hole = 0;

	for (;;) {
		off_t data = lseek(fd, hole, SEEK_DATA);

		/* The rest is a hole; the last entry says so. */
		if (data < 0 && errno == ENXIO)
			data = size;
		if (data < 0)
			return errno == EINVAL ? 0 : -errno;
		hole = data < size ? lseek(fd, data, SEEK_HOLE) : size;
		if (hole < 0)
			return -errno;
		if (data == 0 && hole >= size)
			return 0; /* no hole at all */
		archive_entry_sparse_add_entry(archiver->entry, data, hole - data);
		if (hole >= size)
			return 0;
	}
}

/* ---- entries */

static int write_header(struct archiver *archiver)
{
	return archive_write_header(archiver->archive, archiver->entry) < ARCHIVE_WARN
		? write_failure(archiver)
		: 0;
}

static int write_content(struct archiver *archiver, int fd, off_t size)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return read_failure(archiver, -errno);
	while (size > 0) {
		size_t want = size < CONTENT_BLOCK ? (size_t)size : CONTENT_BLOCK;
		ssize_t n = read(fd, archiver->content, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* somebody shortened it */
			return read_failure(archiver, n < 0 ? -errno : -ESTALE);
		if (archive_write_data(archiver->archive, archiver->content, (size_t)n) != n)
			return write_failure(archiver);
		size -= n;
	}
	return 0;
}

/* A file of holes costs its maker nothing, and who reads it for ever. */
static int count_bytes(struct archiver *archiver, off_t size)
{
	const uint64_t max = STORE_LIMITS_DEFAULT.archive_bytes;

	if (size < 0 || (uint64_t)size > max - archiver->bytes)
		return error_set(archiver->err, -EFBIG,
			"/%s: more than %" PRIu64
			" bytes of files, holes included, are more than an image may have",
			path_in_tree(archiver), max);
	archiver->bytes += (uint64_t)size;
	return 0;
}

static int write_regular(struct archiver *archiver, off_t size)
{
	_cleanup_close_ int fd = -1;
	int r = count_bytes(archiver, size);

	if (r < 0)
		return r;
	fd = file_open_beneath_without_links(
		archiver->root, path_in_tree(archiver), O_RDONLY | O_NONBLOCK | O_NOCTTY);
	r = fd < 0 ? fd : add_holes(archiver, fd, size);
	if (r < 0)
		return read_failure(archiver, r);
	r = write_header(archiver);
	return r < 0 ? r : write_content(archiver, fd, size);
}

static int write_entry(struct archiver *archiver, int fd, const struct stat *st)
{
	struct archive_entry *linked = archiver->entry, *held = NULL;
	int r = 0;

	archive_entry_clear(archiver->entry);
	archive_entry_copy_pathname(archiver->entry, archiver->path);
	archive_entry_copy_stat(archiver->entry, st);
	/* Equal trees make equal images. */
	archive_entry_unset_atime(archiver->entry);
	archive_entry_unset_ctime(archiver->entry);
	archive_entry_unset_birthtime(archiver->entry);
	if (S_ISLNK(st->st_mode))
		r = add_symlink_target(archiver, fd);
	else
		r = add_xattrs(archiver, fd);
	if (r < 0)
		return read_failure(archiver, r);
	if (!S_ISDIR(st->st_mode))
		archive_entry_linkify(archiver->links, &linked, &held);
	/* These the archive would keep as well. */
	archive_entry_set_dev(archiver->entry, 0);
	archive_entry_set_ino(archiver->entry, 0);
	archive_entry_set_nlink(archiver->entry, 0);
	if (S_ISREG(st->st_mode) && !archive_entry_hardlink(archiver->entry))
		return write_regular(archiver, st->st_size);
	return write_header(archiver);
}

/* ---- the walk */

static void cleanup_names(struct dirent ***names)
{
	for (size_t i = 0; *names && (*names)[i]; i++)
		free((*names)[i]);
	free(*names);
}

static int name_is_entry(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int name_compare(const struct dirent **left, const struct dirent **right)
{
	return strcmp((*left)->d_name, (*right)->d_name);
}

/* The sorted names in a directory, NULL at their end; or NULL and errno. */
static struct dirent **list_names(int fd)
{
	struct dirent **names = NULL, **items;
	int n = scandirat(fd, ".", &names, name_is_entry, name_compare);

	if (n < 0)
		return NULL;
	items = reallocarray(names, (size_t)n + 1, sizeof(struct dirent *));
	if (items) {
		items[n] = NULL;
		return items;
	}
	while (n > 0)
		free(names[--n]);
	free(names);
	errno = ENOMEM;
	return NULL;
}

static int visit(struct archiver *archiver);

static int visit_directory(struct archiver *archiver)
{
	_cleanup_(cleanup_names) struct dirent **names = NULL;
	size_t length = strlen(archiver->path);
	int r = 0;

	{
		_cleanup_close_ int fd = file_open_beneath_without_links(
			archiver->root, path_in_tree(archiver), O_RDONLY | O_DIRECTORY);

		names = fd < 0 ? NULL : list_names(fd);
		if (!names)
			return read_failure(archiver, fd < 0 ? fd : -errno);
	}
	for (size_t i = 0; r == 0 && names[i]; i++) {
		size_t room = sizeof(archiver->path) - length;

		if (snprintf(archiver->path + length, room, "/%s", names[i]->d_name) >= (int)room)
			return read_failure(archiver, -ENAMETOOLONG);
		r = visit(archiver);
		archiver->path[length] = '\0';
	}
	return r;
}

static int visit(struct archiver *archiver)
{
	struct stat st;
	int r;

	if (archiver->left_out && !strcmp(path_in_tree(archiver), archiver->left_out))
		return 0;
	{
		_cleanup_close_ int fd = file_open_beneath_without_links(
			archiver->root, path_in_tree(archiver), O_PATH | O_NOFOLLOW);

		if (fd < 0 || fstat(fd, &st) < 0)
			return read_failure(archiver, fd < 0 ? fd : -errno);
		if (S_ISSOCK(st.st_mode)) {
			log_warning(
				"/%s is a socket, which no image can hold", path_in_tree(archiver));
			return 0;
		}
		r = write_entry(archiver, fd, &st);
	}
	return r == 0 && S_ISDIR(st.st_mode) ? visit_directory(archiver) : r;
}

static int write_manifest(struct archiver *archiver, const char *manifest, size_t length)
{
	archive_entry_clear(archiver->entry);
	archive_entry_copy_pathname(archiver->entry, "manifest");
	archive_entry_set_filetype(archiver->entry, AE_IFREG);
	archive_entry_set_perm(archiver->entry, 0644);
	archive_entry_set_size(archiver->entry, (int64_t)length);
	if (write_header(archiver) < 0)
		return -EIO;
	return archive_write_data(archiver->archive, manifest, length) == (ssize_t)length
		? 0
		: write_failure(archiver);
}

static int archiver_open(int root_fd, int output_fd, struct error *err, struct archiver **ret)
{
	_cleanup_archiver_ struct archiver *archiver = calloc(1, sizeof(*archiver));
	int r;

	if (!archiver)
		return -ENOMEM;
	archiver->root = root_fd;
	archiver->err = err;
	r = libarchive_load(err);
	if (r < 0)
		return r;
	archiver->entry = archive_entry_new();
	archiver->links = archive_entry_linkresolver_new();
	archiver->archive = archive_write_new();
	if (!archiver->entry || !archiver->links || !archiver->archive)
		return -ENOMEM;
	/*
	 * The unrestricted format keeps nanoseconds. A name that is not ASCII makes libarchive, which knows no locale here, say that it writes its
	 * bytes as they are: a warning that is none. The other kind of attributes only itself can read.
	 */
	if (archive_write_set_format_pax(archiver->archive) < ARCHIVE_OK ||
		archive_write_set_format_option(archiver->archive, "pax", "xattrheader", "SCHILY") <
			ARCHIVE_OK ||
		archive_write_open_fd(archiver->archive, output_fd) < ARCHIVE_OK)
		return write_failure(archiver);
	archive_entry_linkresolver_set_strategy(archiver->links, archive_format(archiver->archive));
	*ret = TAKE_PTR(archiver);
	return 0;
}

int tree_archive_write(int root_fd, const char *manifest, size_t manifest_length,
	const char *left_out, int output_fd, struct error *err)
{
	_cleanup_archiver_ struct archiver *archiver = NULL;
	int r;

	r = archiver_open(root_fd, output_fd, err, &archiver);
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r < 0)
		return r;
	archiver->left_out = left_out;
	r = write_manifest(archiver, manifest, manifest_length);
	if (r == 0) {
		memcpy(archiver->path, ROOTFS, sizeof(ROOTFS));
		r = visit(archiver);
	}
	if (r == 0 && archive_write_close(archiver->archive) < ARCHIVE_OK)
		r = write_failure(archiver);
	return r;
}
