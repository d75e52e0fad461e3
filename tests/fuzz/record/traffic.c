// SPDX-License-Identifier: Apache-2.0
/*
 * traffic.c: a guest program that does with files what programs do, for seeds of fuzz_fuse. The names it uses are those that
 * the harness has, and so is what it begins with: "file", "directory", and, where it may write, "directory/file" and "link".
 *
 *   write DIRECTORY   makes what is not there, changes, moves and removes
 *   read DIRECTORY    looks at all there is, and is refused what would change it
 *
 * It ends with 1 at the first call that fails and should not, or succeeds and should not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAPPED (64u << 10)

/* A call that succeeds. */
#define MUST(call) must((intmax_t)(call), #call)
/* A call that fails so. */
#define FAILS(call, error) fails((intmax_t)(call), #call, error)

static intmax_t must(intmax_t result, const char *call)
{
	if (result < 0) {
		printf("%s: %s\n", call, strerrorname_np(errno));
		exit(1);
	}
	return result;
}

static void fails(intmax_t result, const char *call, int error)
{
	if (result >= 0 || errno != error) {
		printf("%s: %s\n", call, result >= 0 ? "succeeds" : strerrorname_np(errno));
		exit(1);
	}
}

static void list(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	MUST(directory ? 0 : -1);
	while ((entry = readdir(directory)))
		MUST(fstatat(
			dirfd(directory), entry->d_name, &(struct stat){0}, AT_SYMLINK_NOFOLLOW));
	/* Now without their attributes, which are known. */
	rewinddir(directory);
	while (readdir(directory))
		;
	closedir(directory);
}

static void look(void)
{
	struct statvfs about;
	struct statx status;
	char text[64];
	int fd;

	MUST(statvfs(".", &about));
	list(".");
	list("directory");
	MUST(statx(AT_FDCWD, "file", AT_STATX_FORCE_SYNC, STATX_ALL, &status));
	FAILS(access("other", F_OK), ENOENT);
	FAILS(access("directory/new", F_OK), ENOENT);
	fd = (int)MUST(open("file", O_RDONLY | O_CLOEXEC));
	MUST(read(fd, text, sizeof(text)));
	MUST(pread(fd, text, 3, 2));
	MUST(lseek(fd, 0, SEEK_HOLE));
	MUST(flock(fd, LOCK_SH));
	MUST(flock(fd, LOCK_UN));
	FAILS(fgetxattr(fd, "user.a", text, sizeof(text)), ENODATA);
	MUST(flistxattr(fd, NULL, 0));
	MUST(close(fd));
}

static void put(const char *path)
{
	int fd = (int)MUST(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));

	MUST(write(fd, "content", 7));
	MUST(close(fd));
}

static void fill(void)
{
	put("file");
	MUST(mkdir("directory", 0755));
	put("directory/file");
	MUST(symlink("../secret", "link"));
}

static void map(int fd)
{
	uint8_t *memory;

	MUST(ftruncate(fd, MAPPED));
	memory = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(memory == MAP_FAILED ? -1 : 0);
	memory[0] = 1;
	memory[MAPPED - 1] = memory[MAPPED / 2];
	MUST(msync(memory, MAPPED, MS_SYNC));
	MUST(munmap(memory, MAPPED));
}

static void change_contents(void)
{
	int fd = (int)MUST(open("new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640)), other;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
	char text[64];

	MUST(write(fd, "content\n", 8));
	MUST(pwrite(fd, "more", 4, 100));
	MUST(fsync(fd));
	MUST(fdatasync(fd));
	MUST(pread(fd, text, sizeof(text), 0));
	MUST(lseek(fd, 0, SEEK_DATA));
	MUST(fcntl(fd, F_SETLK, &lock));
	MUST(fcntl(fd, F_GETLK, &lock));
	MUST(fallocate(fd, 0, 0, 8192));
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	map(fd);
	MUST(ftruncate(fd, 5));
	other = (int)MUST(open("other", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	MUST(copy_file_range(fd, &(off_t){0}, other, NULL, 5, 0));
	MUST(close(other));
	MUST(close(fd));
	other = (int)MUST(open("other", O_WRONLY | O_APPEND | O_CLOEXEC));
	MUST(write(other, "the end\n", 8));
	MUST(close(other));
	MUST(close((int)MUST(open("other", O_WRONLY | O_TRUNC | O_CLOEXEC))));
	FAILS(open("other", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), EEXIST);
	MUST(unlink("other"));
}

static void change_attributes(void)
{
	static const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
	char text[64];

	MUST(chmod("new", 0600));
	MUST(chown("new", 1000, 1000));
	MUST(utimensat(AT_FDCWD, "new", times, 0));
	MUST(utimensat(AT_FDCWD, "new", NULL, 0));
	MUST(truncate("new", 3));
	MUST(setxattr("new", "user.a", "value", 5, 0));
	FAILS(setxattr("new", "user.a", "again", 5, XATTR_CREATE), EEXIST);
	MUST(getxattr("new", "user.a", text, sizeof(text)));
	MUST(getxattr("new", "user.a", NULL, 0));
	MUST(listxattr("new", text, sizeof(text)));
	MUST(removexattr("new", "user.a"));
}

static void change_names(void)
{
	char target[64];
	int fd;

	MUST(link("new", "other"));
	MUST(rename("other", "user.a"));
	MUST(renameat2(AT_FDCWD, "user.a", AT_FDCWD, "other", RENAME_NOREPLACE));
	MUST(renameat2(AT_FDCWD, "new", AT_FDCWD, "other", RENAME_EXCHANGE));
	FAILS(renameat2(AT_FDCWD, "new", AT_FDCWD, "other", RENAME_NOREPLACE), EEXIST);
	MUST(unlink("other"));
	MUST(symlink("file", "other"));
	MUST(readlink("other", target, sizeof(target)));
	MUST(access("other", R_OK));
	MUST(unlink("other"));
	MUST(mkdir("other", 0750));
	MUST(rename("new", "other/new"));
	FAILS(rmdir("other"), ENOTEMPTY);
	list("other");
	fd = (int)MUST(open("other", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	MUST(fsync(fd));
	MUST(close(fd));
	MUST(unlink("other/new"));
	MUST(rmdir("other"));
	MUST(mkfifo("other", 0600));
	MUST(unlink("other"));
	MUST(mknod("new", S_IFREG | 0600, 0));
	MUST(unlink("new"));
	fd = open("directory", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		MUST(write(fd, "content", 7));
		MUST(close(fd));
	}
}

static void be_refused(void)
{
	FAILS(open("file", O_RDWR | O_CLOEXEC), EROFS);
	FAILS(open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), EROFS);
	FAILS(mkdir("new", 0755), EROFS);
	FAILS(unlink("file"), EROFS);
	FAILS(chmod("file", 0600), EROFS);
	FAILS(setxattr("file", "user.a", "value", 5, 0), EROFS);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: traffic write|read DIRECTORY\n");
		return 2;
	}
	MUST(chdir(argv[2]));
	if (!strcmp(argv[1], "write") && access("file", F_OK) != 0)
		fill();
	look();
	if (!strcmp(argv[1], "read")) {
		be_refused();
	} else {
		change_contents();
		change_attributes();
		change_names();
		fd = (int)MUST(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		MUST(syncfs(fd));
		MUST(close(fd));
	}
	printf("%s %s: done\n", argv[1], argv[2]);
	return 0;
}
