/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories below a directory fd.
 *
 * Every function takes a directory fd and a path below it (AT_FDCWD where the caller means the
 * working directory) and returns 0 or -errno; every fd it makes is close-on-exec.
 */
#ifndef APPC_BASE_FILE_H
#define APPC_BASE_FILE_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes an fd where there is one. It is -1 then: the variable owns nothing any more. */
void fd_close(int *fd);

/*
 * Opens path below dirfd; no component may leave dirfd ("..", absolute, magic links, or a symbolic
 * link that points outside). Links that stay inside are followed. Returns the fd or -errno.
 */
int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/*
 * As a process chrooted to dirfd would open path: absolute paths and links start at dirfd, ".."
 * stops there. Returns the fd or -errno.
 */
int file_open_in_root(int dirfd, const char *path, int flags, mode_t mode);

/* Opens path where no part of it is a link; -ELOOP where one is. For paths that realpath(3) once returned. */
int file_open_without_links(int dirfd, const char *path, int flags);

/* Opens path below dirfd where no part of it is a link, or on another mount. Returns the fd or -errno. */
int file_open_beneath_without_links(int dirfd, const char *path, int flags);

/*
 * Another fd of the regular file that fd has open, for reading, on a mount of its own that is read-only: who gets it can
 * change nothing of the file, its times and attributes included, whatever his capabilities, nor open it for writing by
 * way of /proc. fd must have been opened in this process's mount namespace. The fd or -errno; -EPERM: no CAP_SYS_ADMIN.
 */
int file_reopen_read_only(int fd);

/* Whether name is one safe path component: not empty, ".", "..", no '/', at most 255 bytes. */
bool file_name_is_safe(const char *name);

/*
 * The absolute path that "a//b/./" and "/a/b" both mean, "/a/b"; ".." stays. The caller frees it; NULL: out of
 * memory.
 */
char *file_path_clean(const char *path);

/*
 * Reads a whole regular file of at most max bytes into memory that the caller frees; a terminating
 * NUL follows the data and is not counted. -EFBIG: longer than max. -EISDIR, -EINVAL: not regular.
 */
int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_length);

/* The same for an open fd, from its present position. Any kind of file. */
int file_read_fd(int fd, size_t max, char **ret_data, size_t *ret_length);

/*
 * Writes a file so that after a crash at any instant path names the old content or the new one
 * whole: a temporary name, fsync, rename, fsync of the directory.
 */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t length, mode_t mode);

/*
 * The same without fsync: whoever looks sees the old content or the new one whole, also when the writer is killed.
 * A loss of power may leave either, or an empty file. For what has to last, file_sync() later.
 */
int file_replace(int dirfd, const char *path, const void *data, size_t length, mode_t mode);

/* Fsyncs a file. */
int file_sync(int dirfd, const char *path);

/* Reads length bytes at offset, leaving the file's position alone. -ENODATA: the file ends before. */
int file_read_exactly(int fd, void *data, size_t length, uint64_t offset);

/* Writes all, over short writes and EINTR. */
int file_write_all(int fd, const void *data, size_t length);

/*
 * Copies what follows the present position of source_fd to the present position of target_fd, in the
 * kernel where that is possible. -EFBIG: there is more than max.
 */
int file_copy(int source_fd, int target_fd, uint64_t max);

/* mkdir -p. Existing directories are kept as they are. */
int directory_create_path(int dirfd, const char *path, mode_t mode);

/* Opens path as a directory (no symbolic link as its last component). Returns the fd or -errno. */
int directory_open(int dirfd, const char *path);

/*
 * Opens the same for readdir(), from its first entry: a path of "." is dirfd itself, whose position stays where it is.
 * *ret is the caller's, and its fd with it.
 */
int directory_open_stream(int dirfd, const char *path, DIR **ret);

/*
 * Removes name below dirfd with all that is in it, following no symbolic link and crossing no mount
 * point (-EBUSY, -EXDEV then). A missing name is success.
 */
int directory_remove(int dirfd, const char *name);

/*
 * The same where others may go on making names in it, which could keep directory_remove() busy for ever: looks at max
 * names at most. -EAGAIN: there are more of them, the rest is there for the next time; -ENOTEMPTY: one was made in a
 * directory that had just been emptied.
 */
int directory_remove_bounded(int dirfd, const char *name, uint64_t max);

/* Fsyncs a directory. */
int directory_sync(int dirfd, const char *path);

/*
 * Renames a file or directory within one file system without replacing the target (-EEXIST), then
 * fsyncs both directories.
 */
int directory_rename_new(int old_dirfd, const char *old_name, int new_dirfd, const char *new_name);

/* A name nobody else uses: "prefix" + 16 hexadecimal digits. name has room for size bytes. */
int file_make_unique_name(char *name, size_t size, const char *prefix);

#endif
