/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation on files that a file server has a system call of its own for, in each of the directories given,
 * once: for tests that look at the file server.
 *
 *   files DIRECTORY...
 *
 * One line for each operation, "DIRECTORY OPERATION: ok" or the name of the error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MODE  0644
#define LARGE (256u << 10)
/* Of an app. */
#define OTHER_USER 1000

static const char *directory;

static void result(const char *operation, int r)
{
	printf("%s %s: %s\n", directory, operation, r < 0 ? strerrorname_np(errno) : "ok");
}

static void data(int fd)
{
	static char bytes[LARGE];
	char *mapped;

	memset(bytes, 'x', sizeof(bytes));
	result("write", pwrite(fd, bytes, sizeof(bytes), 0) == LARGE ? 0 : -1);
	result("fsync", fsync(fd));
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	result("read", pread(fd, bytes, sizeof(bytes), 0) == LARGE ? 0 : -1);
	result("write, and more", pwrite(fd, "y", 1, LARGE) == 1 ? 0 : -1);
	result("fdatasync", fdatasync(fd));
	result("lseek, data", lseek(fd, 0, SEEK_DATA) < 0 ? -1 : 0);
	result("lseek, hole", lseek(fd, 0, SEEK_HOLE) < 0 ? -1 : 0);
	result("fallocate", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LARGE + 4096));
	mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped != MAP_FAILED) {
		mapped[0] = 'z';
		munmap(mapped, 4096);
	}
	result("mmap", mapped == MAP_FAILED ? -1 : 0);
	result("ftruncate", ftruncate(fd, 10000));
	result("syncfs", syncfs(fd));
}

static void copies(int fd)
{
	int copy = open("copy", O_RDWR | O_CREAT | O_CLOEXEC, MODE);
	off_t from = 0, to = 0;

	result("copy_file_range", copy_file_range(fd, &from, copy, &to, 4096, 0) < 0 ? -1 : 0);
	close(copy);
	copy = open(".", O_RDWR | O_TMPFILE | O_CLOEXEC, MODE);
	result("O_TMPFILE", copy);
	close(copy);
}

static void attributes(int fd)
{
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
	char value[16], list[256];
	struct statfs status;

	result("chmod", fchmod(fd, 0600));
	result("chown", fchown(fd, OTHER_USER, OTHER_USER));
	result("utimens", futimens(fd, times));
	result("statfs", fstatfs(fd, &status));
	result("setxattr", fsetxattr(fd, "user.test", "value", 5, 0));
	result("getxattr", fgetxattr(fd, "user.test", value, sizeof(value)) < 0 ? -1 : 0);
	result("listxattr", flistxattr(fd, list, sizeof(list)) < 0 ? -1 : 0);
	result("removexattr", fremovexattr(fd, "user.test"));
}

static void names(void)
{
	char target[64];
	int fd;

	result("mkdir", mkdir("directory", 0777));
	result("mknod", mknod("fifo", S_IFIFO | MODE, 0));
	result("symlink", symlink("file", "symbolic"));
	result("readlink", readlink("symbolic", target, sizeof(target)) < 0 ? -1 : 0);
	result("link", link("file", "directory/hard"));
	result("rename", rename("fifo", "directory/fifo"));
	result("exchange",
		renameat2(AT_FDCWD, "copy", AT_FDCWD, "directory/hard", RENAME_EXCHANGE));
	fd = open("directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	result("fsync of a directory", fsync(fd));
	close(fd);
}

/* Twice, so that the second time begins anew. */
static void list(void)
{
	DIR *stream = opendir(".");
	int count = 0;

	while (stream && readdir(stream))
		count++;
	if (stream)
		rewinddir(stream);
	while (stream && readdir(stream))
		count++;
	result("list", count > 4 ? 0 : -1);
	if (stream)
		closedir(stream);
}

/* As somebody else, whose files they are to be. */
static void others(void)
{
	int status;
	pid_t pid;

	fflush(stdout);
	chmod(".", 0777);
	pid = fork();
	if (pid == 0) {
		if (setresgid(OTHER_USER, OTHER_USER, OTHER_USER) ||
			setresuid(OTHER_USER, OTHER_USER, OTHER_USER))
			_exit(1);
		result("mkdir of another user", mkdir("other", 0700));
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

static void clear(void)
{
	static const char *const files[] = {
		"file", "copy", "symbolic", "directory/hard", "directory/fifo"};
	int r = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		r |= unlink(files[i]);
	result("unlink", r);
	result("rmdir", rmdir("directory") | rmdir("other"));
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd;

		directory = argv[i];
		result("chdir", chdir(directory));
		fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
		result("open", fd);
		data(fd);
		copies(fd);
		attributes(fd);
		names();
		list();
		others();
		close(fd);
		clear();
	}
	return 0;
}
