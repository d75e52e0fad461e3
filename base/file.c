// SPDX-License-Identifier: Apache-2.0
/* file.c: files below a directory fd, written so that a crash leaves the old or the new state. */
#include "base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define COPY_PIECE_SIZE (16u << 20)

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(TAKE_FD(*fd));
}

static int file_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
		.resolve = resolve,
	};
	long fd;

	/* The kernel answers -EAGAIN when a rename raced with the walk; it asks to be called again. */
	for (int tries = 0; tries < 64; tries++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	return file_openat2(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int file_open_in_root(int dirfd, const char *path, int flags, mode_t mode)
{
	return file_openat2(dirfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int file_reopen_read_only(int fd)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	_cleanup_close_ int mount_fd = (int)syscall(
		SYS_open_tree, fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	char path[32];
	int copy;

	if (mount_fd < 0 ||
		syscall(SYS_mount_setattr, mount_fd, "", AT_EMPTY_PATH, &attributes,
			sizeof(attributes)) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mount_fd);
	copy = open(path, O_RDONLY | O_CLOEXEC);
	return copy < 0 ? -errno : copy;
}

int file_open_without_links(int dirfd, const char *path, int flags)
{
	return file_openat2(dirfd, path, flags, 0, RESOLVE_NO_SYMLINKS);
}

int file_open_beneath_without_links(int dirfd, const char *path, int flags)
{
	return file_openat2(
		dirfd, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

bool file_name_is_safe(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= 255 && strcmp(name, ".") && strcmp(name, "..") &&
		!memchr(name, '/', length);
}

char *file_path_clean(const char *path)
{
	char *clean = malloc(strlen(path) + 2), *end = clean;

	if (!clean)
		return NULL;
	while (*path) {
		size_t length;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (length > 0 && !(length == 1 && *path == '.')) {
			*end++ = '/';
			memcpy(end, path, length);
			end += length;
		}
		path += length;
	}
	if (end == clean)
		*end++ = '/';
	*end = '\0';
	return clean;
}

int file_read_fd(int fd, size_t max, char **ret_data, size_t *ret_length)
{
	_cleanup_free_ char *data = NULL;
	size_t length = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (length == room) {
			char *more;

			room = room ? room * 2 : 4096;
			more = realloc(data, room + 1);
			if (!more)
				return -ENOMEM;
			data = more;
		}
		n = read(fd, data + length, room - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
		if (length > max)
			return -EFBIG;
	}
	data[length] = '\0';
	*ret_data = TAKE_PTR(data);
	if (ret_length)
		*ret_length = length;
	return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_length)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* O_NONBLOCK: a FIFO in the place of the file must not hang us before the check. */
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	return file_read_fd(fd, max, ret_data, ret_length);
}

/* #syscalls:park pread64 */
int file_read_exactly(int fd, void *data, size_t length, uint64_t offset)
{
	char *next = data;

	while (length > 0) {
		ssize_t n = pread(fd, next, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		next += n;
		length -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_write_all(int fd, const void *data, size_t length)
{
	const char *next = data;

	while (length > 0) {
		ssize_t n = write(fd, next, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		next += n;
		length -= (size_t)n;
	}
	return 0;
}

int file_make_unique_name(char *name, size_t size, const char *prefix)
{
	uint64_t random;
	int n;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	n = snprintf(name, size, "%s%016" PRIx64, prefix, random);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Splits path into the fd of the directory that holds it and its last component. */
static int file_open_parent(int dirfd, const char *path, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = NULL;
	int fd;

	if (slash) {
		parent = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
		if (!parent)
			return -ENOMEM;
	}
	fd = openat(dirfd, parent ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	*ret_name = slash ? slash + 1 : path;
	return 0;
}

static int file_write_whole(
	int dirfd, const char *path, const void *data, size_t length, mode_t mode, bool lasts)
{
	_cleanup_close_ int parent = -1, fd = -1;
	char temporary[64];
	const char *name = NULL;
	int r;

	r = file_open_parent(dirfd, path, &parent, &name);
	if (r < 0)
		return r;
	r = file_make_unique_name(temporary, sizeof(temporary), ".tmp-");
	if (r < 0)
		return r;
	fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, data, length);
	if (r == 0 && (fchmod(fd, mode) < 0 || (lasts && fsync(fd) < 0)))
		r = -errno;
	if (r == 0 && renameat(parent, temporary, parent, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(parent, temporary, 0);
		return r;
	}
	return lasts && fsync(parent) < 0 ? -errno : 0;
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t length, mode_t mode)
{
	return file_write_whole(dirfd, path, data, length, mode, true);
}

int file_replace(int dirfd, const char *path, const void *data, size_t length, mode_t mode)
{
	return file_write_whole(dirfd, path, data, length, mode, false);
}

int file_sync(int dirfd, const char *path)
{
	_cleanup_close_ int fd =
		openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* One piece, through memory where the kernel cannot copy between these two. Its length, 0 at the end. */
static ssize_t copy_piece(int source_fd, int target_fd, size_t length, bool *in_kernel)
{
	char buffer[64 << 10];
	ssize_t n;
	int r;

	if (*in_kernel) {
		n = copy_file_range(source_fd, NULL, target_fd, NULL, length, 0);
		if (n > 0)
			return n;
		/* Some file systems say 0 where there is something to read: the end is read()'s to tell. */
		*in_kernel = false;
	}
	do
		n = read(source_fd, buffer, length < sizeof(buffer) ? length : sizeof(buffer));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r = file_write_all(target_fd, buffer, (size_t)n);
	return r < 0 ? r : n;
}

int file_copy(int source_fd, int target_fd, uint64_t max)
{
	bool in_kernel = true;

	for (;;) {
		/* One byte more than allowed shows that there is more. */
		size_t length = max < COPY_PIECE_SIZE ? (size_t)max + 1 : COPY_PIECE_SIZE;
		ssize_t n = copy_piece(source_fd, target_fd, length, &in_kernel);

		if (n <= 0)
			return (int)n;
		if ((uint64_t)n > max)
			return -EFBIG;
		max -= (uint64_t)n;
	}
}

int directory_create_path(int dirfd, const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	struct stat st;

	if (!copy)
		return -ENOMEM;
	for (char *c = copy + 1; *copy; c++) {
		char end = *c;

		if (end && end != '/')
			continue;
		*c = '\0';
		if (mkdirat(dirfd, copy, mode) < 0 && errno != EEXIST)
			return -errno;
		if (!end)
			return fstatat(dirfd, copy, &st, 0) < 0 ? -errno
				: S_ISDIR(st.st_mode)           ? 0
								: -ENOTDIR;
		*c = '/';
	}
	return 0;
}

int directory_open(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int directory_open_stream(int dirfd, const char *path, DIR **ret)
{
	int fd = directory_open(dirfd, path);
	DIR *directory;

	if (fd < 0)
		return fd;
	directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return -ENOMEM;
	}
	*ret = directory;
	return 0;
}

int directory_sync(int dirfd, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Levels that directory_remove() descends before it moves a subtree up to the top. */
#define REMOVE_DEPTH_MAX 32

struct removal {
	int top; /* the directory */
	dev_t device;
	uint64_t left; /* names that may still be looked at */
};

/*
 * Empties the directory fd. A guest can nest directories deeper than our stack and fd table are:
 * a subtree below REMOVE_DEPTH_MAX is moved to the top directory, where the next round finds it.
 */
static int directory_remove_content(struct removal *removal, int fd, unsigned int depth)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	directory = fdopendir(copy);
	if (!directory) {
		close(copy);
		return -ENOMEM;
	}
	/* The copy shares its reading position with fd, which an earlier round left at the end. */
	rewinddir(directory);
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		_cleanup_close_ int child = -1;
		char moved[32];
		struct stat st;
		int r;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (removal->left == 0)
			return -EAGAIN;
		removal->left--;
		if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			continue;
		if (errno != ENOTEMPTY)
			return -errno;
		if (depth >= REMOVE_DEPTH_MAX) {
			r = file_make_unique_name(moved, sizeof(moved), ".deep-");
			if (r < 0)
				return r;
			if (renameat(fd, entry->d_name, removal->top, moved) < 0)
				return -errno;
			continue;
		}
		child = directory_open(fd, entry->d_name);
		if (child < 0)
			return child;
		if (fstat(child, &st) < 0)
			return -errno;
		if (st.st_dev != removal->device)
			return -EXDEV;
		r = directory_remove_content(removal, child, depth + 1);
		if (r < 0)
			return r;
		if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return -errno;
	}
	return -errno;
}

int directory_remove_bounded(int dirfd, const char *name, uint64_t max)
{
	_cleanup_close_ int fd = -1;
	struct removal removal;
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = directory_open(dirfd, name);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	removal = (struct removal){.top = fd, .device = st.st_dev, .left = max};
	for (;;) {
		int r = directory_remove_content(&removal, fd, 0);

		if (r < 0)
			return r;
		if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY)
			return -errno;
		/* A round that found no name counts, too: it was followed by one all the same. */
		if (removal.left == 0)
			return -EAGAIN;
		removal.left--;
	}
}

int directory_remove(int dirfd, const char *name)
{
	return directory_remove_bounded(dirfd, name, UINT64_MAX);
}

int directory_rename_new(int old_dirfd, const char *old_name, int new_dirfd, const char *new_name)
{
	if (renameat2(old_dirfd, old_name, new_dirfd, new_name, RENAME_NOREPLACE) < 0)
		return -errno;
	if (fsync(new_dirfd) < 0 || fsync(old_dirfd) < 0) {
		int r = -errno;

		/* It may not last: then it had better not be there at all. */
		renameat2(new_dirfd, new_name, old_dirfd, old_name, RENAME_NOREPLACE);
		return r;
	}
	return 0;
}
