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

struct copy {
	struct tree_copy_limits *limits;
	dev_t device;
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

static int copy_contents(struct copy *copy, int source, int target, off_t size)
{
	char *buffer = copy->buffer;

	if ((uint64_t)size > copy->limits->bytes)
		return -E2BIG;
	copy->limits->bytes -= (uint64_t)size;
	for (off_t left = size; left > 0;) {
		size_t want = left < COPY_BUFFER_SIZE ? (size_t)left : COPY_BUFFER_SIZE;
		ssize_t n = read(source, buffer, want);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE; /* somebody shortened it meanwhile */
		r = file_write_all(target, buffer, (size_t)n);
		if (r < 0)
			return r;
		left -= n;
	}
	return 0;
}

static int copy_regular(
	struct copy *copy, int source_dir, int target_dir, const char *name, const struct stat *st)
{
	_cleanup_close_ int source =
		openat(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int target = -1;
	int r;

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
	} else if ((S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) && st->st_rdev != 0) {
		return -ENODEV;
	} else if (mknodat(target_dir, name, (st->st_mode & S_IFMT) | 0600, 0) < 0) {
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
	struct stat st;

	if (copy->limits->entries == 0)
		return -E2BIG;
	copy->limits->entries--;
	if (fstatat(source_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_dev != copy->device)
		return -EXDEV;
	if (S_ISREG(st.st_mode))
		return copy_regular(copy, source_dir, target_dir, name, &st);
	if (!S_ISDIR(st.st_mode))
		return copy_special(copy, source_dir, target_dir, name, &st);
	source = directory_open(source_dir, name);
	if (source < 0)
		return source;
	if (mkdirat(target_dir, name, 0700) < 0)
		return -errno;
	target = directory_open(target_dir, name);
	return target < 0 ? target : copy_directory(copy, source, target, depth + 1);
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

	if (!copy)
		return -ENOMEM;
	if (fstat(source_fd, &st) < 0)
		return -errno;
	copy->limits = limits;
	copy->device = st.st_dev;
	return copy_directory(copy, source_fd, target_fd, 0);
}
