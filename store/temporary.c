// SPDX-License-Identifier: Apache-2.0
/* temporary.c: locked directories in tmp/, and the removal of those that nobody holds. */
#include "store/temporary.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static int lock_wait(int fd, int operation)
{
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Locks tmp/ itself. A new open file description: the lock must not be shared with dirfd's. */
static int guard_open(int tmp_dirfd, int operation)
{
	int fd = directory_open(tmp_dirfd, ".");
	int r;

	if (fd < 0)
		return fd;
	r = lock_wait(fd, operation);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int temporary_create(int tmp_dirfd, const char *prefix, struct temporary *ret)
{
	struct temporary temporary = {.tmp_dirfd = tmp_dirfd, .fd = -1};
	_cleanup_close_ int guard = -1, fd = -1;
	int r;

	r = file_make_unique_name(temporary.name, sizeof(temporary.name), prefix);
	if (r < 0)
		return r;
	guard = guard_open(tmp_dirfd, LOCK_SH);
	if (guard < 0)
		return guard;
	if (mkdirat(tmp_dirfd, temporary.name, 0700) < 0)
		return -errno;
	fd = directory_open(tmp_dirfd, temporary.name);
	if (fd < 0)
		return fd;
	r = lock_wait(fd, LOCK_EX);
	if (r < 0)
		return r;
	temporary.fd = TAKE_FD(fd);
	*ret = temporary;
	return 0;
}

/* Whether dirfd/name is still the directory fd. */
static bool directory_is_at(int fd, int dirfd, const char *name)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int temporary_take(
	int tmp_dirfd, const char *prefix, int dirfd, const char *name, struct temporary *ret)
{
	struct temporary temporary = {.tmp_dirfd = tmp_dirfd, .fd = -1};
	_cleanup_close_ int fd = -1;
	int r;

	r = file_make_unique_name(temporary.name, sizeof(temporary.name), prefix);
	if (r < 0)
		return r;
	fd = directory_open(dirfd, name);
	if (fd < 0)
		return fd;
	/* Whoever removes it holds this lock, so that after it the name is ours or gone. */
	r = lock_wait(fd, LOCK_EX);
	if (r < 0)
		return r;
	if (!directory_is_at(fd, dirfd, name))
		return -ENOENT;
	r = directory_rename_new(dirfd, name, tmp_dirfd, temporary.name);
	if (r < 0)
		return r;
	temporary.fd = TAKE_FD(fd);
	*ret = temporary;
	return 0;
}

int temporary_publish(struct temporary *temporary, int dirfd, const char *name)
{
	int r = directory_rename_new(temporary->tmp_dirfd, temporary->name, dirfd, name);

	if (r == 0) {
		close(temporary->fd);
		temporary->fd = -1;
	}
	return r;
}

int temporary_exchange(struct temporary *temporary, int dirfd, const char *name)
{
	int old;

	if (renameat2(temporary->tmp_dirfd, temporary->name, dirfd, name, RENAME_EXCHANGE) < 0)
		return -errno;
	close(temporary->fd);
	/* Whoever cleans may have been quicker: then it is theirs. */
	old = directory_open(temporary->tmp_dirfd, temporary->name);
	if (old >= 0 && flock(old, LOCK_EX | LOCK_NB) < 0)
		fd_close(&old);
	temporary->fd = old < 0 ? -1 : old;
	return fsync(dirfd) < 0 || fsync(temporary->tmp_dirfd) < 0 ? -errno : 0;
}

/* Depth of directories that an owner without privileges can get rid of. */
#define UNLOCK_DEPTH_MAX 256

/*
 * Without privileges the modes of a rendered tree keep its owner from removing it. Gives the owner
 * all permissions on each directory below fd. Nobody else works in here, so names do not change.
 */
static int directories_unlock(int fd, unsigned int depth)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int opened = fd < 0 ? fd : directory_open_stream(fd, ".", &directory);

	if (opened < 0)
		return opened;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		_cleanup_close_ int child = -1;
		struct stat st;
		int r;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (!S_ISDIR(st.st_mode))
			continue;
		if (depth >= UNLOCK_DEPTH_MAX)
			return -ELOOP;
		if (fchmodat(fd, entry->d_name, 0700, 0) < 0)
			return -errno;
		child = directory_open(fd, entry->d_name);
		if (child < 0)
			return child;
		r = directories_unlock(child, depth + 1);
		if (r < 0)
			return r;
	}
	return -errno;
}

int temporary_discard(struct temporary *temporary)
{
	int r = directory_remove(temporary->tmp_dirfd, temporary->name);

	if (r == -EACCES && geteuid() != 0) {
		r = directories_unlock(temporary->fd, 0);
		if (r == 0)
			r = directory_remove(temporary->tmp_dirfd, temporary->name);
	}
	close(temporary->fd);
	temporary->fd = -1;
	return r;
}

/* Finds one entry that nobody holds and locks it. -ENOENT: there is none. */
static int rubbish_find(int tmp_dirfd, struct temporary *ret)
{
	_cleanup_closedir_ DIR *directory = NULL;
	_cleanup_close_ int guard = guard_open(tmp_dirfd, LOCK_EX);
	struct dirent *entry;
	int opened;

	if (guard < 0)
		return guard;
	opened = directory_open_stream(guard, ".", &directory);
	if (opened < 0)
		return opened;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		struct temporary found = {.tmp_dirfd = tmp_dirfd};
		_cleanup_close_ int fd = -1;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		fd = directory_open(tmp_dirfd, entry->d_name);
		if (fd == -ENOTDIR || fd == -ELOOP) {
			if (unlinkat(tmp_dirfd, entry->d_name, 0) < 0 && errno != ENOENT)
				return -errno;
			continue;
		}
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		/* A longer name than ours was put there by somebody who knows why. */
		if (strlen(entry->d_name) >= sizeof(found.name))
			continue;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (errno != EWOULDBLOCK)
				return -errno;
			continue;
		}
		snprintf(found.name, sizeof(found.name), "%.47s", entry->d_name);
		found.fd = TAKE_FD(fd);
		*ret = found;
		return 0;
	}
	return errno ? -errno : -ENOENT;
}

int temporary_clean(int tmp_dirfd)
{
	for (;;) {
		struct temporary rubbish = {.fd = -1};
		int r = rubbish_find(tmp_dirfd, &rubbish);

		if (r == -ENOENT)
			return 0;
		if (r == 0)
			r = temporary_discard(&rubbish);
		if (r < 0)
			return r;
	}
}
