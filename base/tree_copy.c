// SPDX-License-Identifier: Apache-2.0
/* tree_copy.c: see tree_copy.h. */
#include "base/tree_copy.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX        64
#define COPY_BUFFER_SIZE (64u << 10)

/* A file with several names, and the first of them in the target. */
/* Files of several names are looked for among those that were copied: not among any number. */
#define LINKS_MAX (64u << 10)

struct copied_link {
	ino_t inode;
	char *path;
};

struct copy {
	struct tree_copy_limits *limits;
	dev_t device;
	int target_fd;
	char path
		[PATH_MAX]; /* of the target's directory in hand, with a slash behind it where it is not empty */
	struct copied_link *links;
	size_t link_count;
	char names[XATTR_LIST_MAX], buffer[XATTR_SIZE_MAX];
};

/* A path by which attributes of what an O_PATH fd names can be reached, symbolic links too. */
static void fd_path(int fd, char *path, size_t size)
{
	snprintf(path, size, "/proc/self/fd/%d", fd);
}

static int copy_xattrs(struct copy *copy, int source_fd, int target_fd)
{
	char source[64], target[64];
	ssize_t length;

	fd_path(source_fd, source, sizeof(source));
	fd_path(target_fd, target, sizeof(target));
	length = listxattr(source, copy->names, sizeof(copy->names));
	if (length < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (const char *name = copy->names; name < copy->names + length;
		name += strlen(name) + 1) {
		ssize_t size = getxattr(source, name, copy->buffer, sizeof(copy->buffer));

		if (size < 0 || setxattr(target, name, copy->buffer, (size_t)size, 0) < 0)
			return -errno;
	}
	return 0;
}

/* Both fds are O_PATH or better; times last, since the rest changes them. */
static int copy_attributes(struct copy *copy, int source_fd, int target_fd, const struct stat *st)
{
	const struct timespec times[] = {st->st_atim, st->st_mtim};
	char target[64];
	int r;

	fd_path(target_fd, target, sizeof(target));
	if (fchownat(target_fd, "", st->st_uid, st->st_gid, AT_EMPTY_PATH) < 0)
		return -errno;
	/* Links have neither mode nor attributes of their own that we could set. */
	if (!S_ISLNK(st->st_mode)) {
		r = copy_xattrs(copy, source_fd, target_fd);
		if (r < 0)
			return r;
		if (chmod(target, st->st_mode & 07777) < 0)
			return -errno;
	}
	if (S_ISLNK(st->st_mode))
		return 0;
	return utimensat(AT_FDCWD, target, times, 0) < 0 ? -errno : 0;
}

static int copy_bytes(struct copy *copy, int source, int target, off_t left)
{
	while (left > 0) {
		size_t want = left < COPY_BUFFER_SIZE ? (size_t)left : COPY_BUFFER_SIZE;
		ssize_t n = read(source, copy->buffer, want);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE; /* somebody shortened it meanwhile */
		r = file_write_all(target, copy->buffer, (size_t)n);
		if (r < 0)
			return r;
		left -= n;
	}
	return 0;
}

/* Of what is no hole, in the kernel where both files are of one file system. */
static int copy_extent(struct copy *copy, int source, int target, off_t start, off_t end)
{
	off_t from = start, to = start;

	while (from < end) {
		ssize_t n = copy_file_range(source, &from, target, &to, (size_t)(end - from), 0);

		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n == 0)
			return -ESTALE;
		if (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
			return -errno;
		if (lseek(source, from, SEEK_SET) < 0 || lseek(target, to, SEEK_SET) < 0)
			return -errno;
		return copy_bytes(copy, source, target, end - from);
	}
	return 0;
}

static int copy_contents(struct copy *copy, int source, int target, off_t size)
{
	if ((uint64_t)size > copy->limits->bytes)
		return -E2BIG;
	copy->limits->bytes -= (uint64_t)size;
	for (off_t at = 0; at < size;) {
		off_t start = lseek(source, at, SEEK_DATA), end;
		int r;

		if (start < 0 && errno == ENXIO)
			break;
		/* A file system that cannot tell has data everywhere. */
		if (start < 0)
			start = at;
		end = lseek(source, start, SEEK_HOLE);
		if (end < 0 || end > size)
			end = size;
		r = start < end ? copy_extent(copy, source, target, start, end) : 0;
		if (r < 0)
			return r;
		at = end > at ? end : size;
	}
	return ftruncate(target, size) < 0 ? -errno : 0;
}

/* Whether this is another name of a file that was copied, which it gets in the target too: 1, 0 or -errno. */
static int copy_link(struct copy *copy, int target_dir, const char *name, const struct stat *st)
{
	struct copied_link *links;
	char *path;

	if (st->st_nlink < 2)
		return 0;
	for (size_t i = 0; i < copy->link_count; i++)
		if (copy->links[i].inode == st->st_ino)
			return linkat(copy->target_fd, copy->links[i].path, target_dir, name, 0) < 0
				? -errno
				: 1;
	if (copy->link_count == LINKS_MAX)
		return -E2BIG;
	if (asprintf(&path, "%s%s", copy->path, name) < 0)
		return -ENOMEM;
	links = reallocarray(copy->links, copy->link_count + 1, sizeof(*links));
	if (!links) {
		free(path);
		return -ENOMEM;
	}
	links[copy->link_count++] = (struct copied_link){.inode = st->st_ino, .path = path};
	copy->links = links;
	return 0;
}

static int copy_regular(
	struct copy *copy, int source_dir, int target_dir, const char *name, const struct stat *st)
{
	_cleanup_close_ int place = openat(source_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int source = -1, target = -1;
	struct stat now;
	char path[64];
	int r;

	/* What the name is now is looked at before it is opened: a device does something when it is. */
	if (place < 0 || fstat(place, &now) < 0)
		return -errno;
	if (!S_ISREG(now.st_mode) || now.st_ino != st->st_ino || now.st_dev != st->st_dev)
		return -ESTALE;
	fd_path(place, path, sizeof(path));
	source = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (source < 0)
		return -errno;
	target = openat(
		target_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (target < 0)
		return -errno;
	r = copy_contents(copy, source, target, st->st_size);
	return r < 0 ? r : copy_attributes(copy, source, target, st);
}

static int copy_special(
	struct copy *copy, int source_dir, int target_dir, const char *name, const struct stat *st)
{
	_cleanup_close_ int source = -1, target = -1;
	char link[PATH_MAX];
	ssize_t n;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(source_dir, name, link, sizeof(link) - 1);
		if (n < 0)
			return -errno;
		link[n] = '\0';
		if (symlinkat(link, target_dir, name) < 0)
			return -errno;
	} else if ((S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) && st->st_rdev != 0 &&
		!copy->limits->devices) {
		return -ENODEV;
	} else if (mknodat(target_dir, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0) {
		return -errno;
	}
	source = openat(source_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	target = openat(target_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (source < 0 || target < 0)
		return -errno;
	return copy_attributes(copy, source, target, st);
}

static int copy_directory(struct copy *copy, int source_fd, int target_fd, unsigned int depth);

static int copy_entry(
	struct copy *copy, int source_dir, int target_dir, const char *name, unsigned int depth)
{
	_cleanup_close_ int source = -1, target = -1;
	size_t length = strlen(copy->path);
	struct stat st;
	int r;

	if (copy->limits->entries == 0)
		return -E2BIG;
	copy->limits->entries--;
	if (fstatat(source_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_dev != copy->device)
		return -EXDEV;
	if (!S_ISDIR(st.st_mode)) {
		r = copy_link(copy, target_dir, name, &st);
		if (r != 0)
			return r < 0 ? r : 0;
		return S_ISREG(st.st_mode) ? copy_regular(copy, source_dir, target_dir, name, &st)
					   : copy_special(copy, source_dir, target_dir, name, &st);
	}
	source = directory_open(source_dir, name);
	if (source < 0)
		return source;
	if (mkdirat(target_dir, name, 0700) < 0)
		return -errno;
	target = directory_open(target_dir, name);
	if (target < 0)
		return target;
	if ((size_t)snprintf(copy->path + length, sizeof(copy->path) - length, "%s/", name) >=
		sizeof(copy->path) - length)
		return -ENAMETOOLONG;
	r = copy_directory(copy, source, target, depth + 1);
	copy->path[length] = '\0';
	return r;
}

static int copy_directory(struct copy *copy, int source_fd, int target_fd, unsigned int depth)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	struct stat st;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	r = directory_open_stream(source_fd, ".", &directory);
	if (r < 0)
		return r;
	if (fstat(dirfd(directory), &st) < 0)
		return -errno;
	while (errno = 0, (entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = copy_entry(copy, source_fd, target_fd, entry->d_name, depth);
		if (r < 0)
			return r;
	}
	if (errno)
		return -errno;
	return copy_attributes(copy, source_fd, target_fd, &st);
}

int tree_copy(int source_fd, int target_fd, struct tree_copy_limits *limits)
{
	_cleanup_free_ struct copy *copy = malloc(sizeof(*copy));
	struct stat st;
	int r;

	if (!copy)
		return -ENOMEM;
	if (fstat(source_fd, &st) < 0)
		return -errno;
	copy->limits = limits;
	copy->device = st.st_dev;
	copy->target_fd = target_fd;
	*copy->path = '\0';
	copy->links = NULL;
	copy->link_count = 0;
	r = copy_directory(copy, source_fd, target_fd, 0);
	for (size_t i = 0; i < copy->link_count; i++)
		free(copy->links[i].path);
	free(copy->links);
	return r;
}
