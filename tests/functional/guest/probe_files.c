/* SPDX-License-Identifier: Apache-2.0 */
/* probe_files.c: what the probe does with files. */
#include "tests/functional/guest/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_file(char **args)
{
	int fd = open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_ACCESS_MODE);
	size_t length = strlen(args[1]);
	bool written = fd >= 0 && write(fd, args[1], length) == (ssize_t)length;

	printf("write %s: %s\n", args[0], written ? "ok" : strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
}

/* COUNT writes of SIZE bytes each, and how long they took. */
static void store(char **args)
{
	int fd = open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_ACCESS_MODE);
	int64_t start = clock_ms(CLOCK_MONOTONIC);
	size_t size = (size_t)number(args[2]);
	char *data = calloc(1, size);
	bool works = fd >= 0 && data;

	for (int i = 0; works && i < number(args[1]); i++)
		works = write(fd, data, size) == (ssize_t)size;
	if (works)
		printf("store %s: %lld ms\n", args[0],
			(long long)(clock_ms(CLOCK_MONOTONIC) - start));
	else
		printf("store %s: %s\n", args[0], strerrorname_np(errno));
	free(data);
	if (fd >= 0)
		close(fd);
}

/* Through a shared mapping, which stays for the kernel to take down. */
static void map_file(char **args)
{
	int fd = open(args[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_ACCESS_MODE);
	size_t length = strlen(args[1]);
	void *file = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)length) == 0)
		file = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf("map %s: %s\n", args[0], file != MAP_FAILED ? "ok" : strerrorname_np(errno));
	if (file != MAP_FAILED)
		memcpy(file, args[1], length);
	if (fd >= 0)
		close(fd);
}

/* The same by a process that does not end by itself. */
static void map_behind(char **args)
{
	int ready[2];
	char end;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return;
	fflush(stdout);
	if (fork() == 0) {
		map_file(args);
		fflush(stdout);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &end, 1) < 0)
		printf("map-behind: %s\n", strerrorname_np(errno));
	close(ready[0]);
}

/* Removes one file, or a directory with all in it. */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_tree(char **args)
{
	printf("remove %s: %s\n", args[0],
		nftw(args[0], remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ? "ok"
									 : strerrorname_np(errno));
}

static void move(char **args)
{
	printf("move %s: %s\n", args[0],
		rename(args[0], args[1]) == 0 ? "ok" : strerrorname_np(errno));
}

static void make_directory(char **args)
{
	printf("directory %s: %s\n", args[0],
		mkdir(args[0], 0755) == 0 ? "ok" : strerrorname_np(errno));
}

static void make_link(char **args)
{
	printf("link %s: %s\n", args[1],
		link(args[0], args[1]) == 0 ? "ok" : strerrorname_np(errno));
}

static void read_file(char **args)
{
	char text[4096];
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text)) : -1;

	if (length < 0)
		printf("read %s: %s\n", args[0], strerrorname_np(errno));
	else
		printf("read %s: %.*s\n", args[0], (int)length, text);
	if (fd >= 0)
		close(fd);
}

static void show_status(char **args)
{
	struct stat st;

	if (lstat(args[0], &st))
		printf("stat %s: %s\n", args[0], strerrorname_np(errno));
	else
		printf("stat %s: %06o %u %u %jd\n", args[0], st.st_mode, st.st_uid, st.st_gid,
			S_ISDIR(st.st_mode) ? (intmax_t)0 : (intmax_t)st.st_size);
}

/* Fowler, Noll, Vo: 1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}
#define HASH_START 0xcbf29ce484222325u

static int directory_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		printf("%s: %s\n", path, strerrorname_np(errno));
		exit(98);
	}
	return fd;
}

/* create, rename, unlink DIRECTORY COUNT: of many small files. Any error is the last line. */
static void many(const char *verb, char **args)
{
	int dirfd = directory_open(args[0]);
	int count = number(args[1]);
	int failures = 0;

	for (int i = 0; i < count; i++) {
		char name[32], to[32], text[64];

		snprintf(name, sizeof(name), "%s-%05d", *verb == 'u' ? "renamed" : "file", i);
		snprintf(to, sizeof(to), "renamed-%05d", i);
		if (*verb == 'c') {
			int length = snprintf(text, sizeof(text), "content of file %d\n", i);
			int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				FILE_ACCESS_MODE);
			failures += fd < 0 || write(fd, text, (size_t)length) != length ||
				close(fd);
		} else if (*verb == 'r') {
			failures += renameat(dirfd, name, dirfd, to) != 0;
		} else {
			failures += unlinkat(dirfd, name, 0) != 0;
		}
	}
	close(dirfd);
	printf("%s %s: %d, %d failed\n", verb, args[0], count, failures);
}

static void create_many(char **args)
{
	many("create", args);
}

static void rename_many(char **args)
{
	many("rename", args);
}

static void unlink_many(char **args)
{
	many("unlink", args);
}

/* Names, sizes and modes in a directory, in whatever order they come. */
static void list(char **args)
{
	DIR *directory = fdopendir(directory_open(args[0]));
	struct dirent *entry;
	uint64_t sum = 0;
	unsigned int count = 0;

	while (directory && (entry = readdir(directory))) {
		struct stat st;
		uint64_t hash;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
			printf("list %s: %s: %s\n", args[0], entry->d_name, strerrorname_np(errno));
			continue;
		}
		hash = hash_bytes(HASH_START, entry->d_name, strlen(entry->d_name));
		hash = hash_bytes(hash, &st.st_size, sizeof(st.st_size));
		sum += hash_bytes(hash, &st.st_mode, sizeof(st.st_mode));
		count++;
	}
	if (directory)
		closedir(directory);
	printf("list: %u entries, %016jx\n", count, (uintmax_t)sum);
}

static struct {
	uint64_t sum;
	unsigned int count;
	size_t root_length;
} walk;

static int tree_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	const char *name = path + walk.root_length;
	uint64_t hash = hash_bytes(HASH_START, name, strlen(name));
	char target[PATH_MAX];

	(void)where;
	if (type == FTW_NS || type == FTW_DNR) {
		printf("tree: cannot read %s\n", path);
		return 0;
	}
	hash = hash_bytes(hash, &st->st_mode, sizeof(st->st_mode));
	hash = hash_bytes(hash, &st->st_uid, sizeof(st->st_uid));
	hash = hash_bytes(hash, &st->st_gid, sizeof(st->st_gid));
	if (!S_ISDIR(st->st_mode))
		hash = hash_bytes(hash, &st->st_size, sizeof(st->st_size));
	if (S_ISLNK(st->st_mode)) {
		ssize_t length = readlink(path, target, sizeof(target));
		hash = hash_bytes(hash, target, length > 0 ? (size_t)length : 0);
	}
	walk.sum += hash;
	walk.count++;
	return 0;
}

/* Everything below a directory: names, types, modes, owners, sizes, targets of symbolic links. */
static void tree(char **args)
{
	memset(&walk, 0, sizeof(walk));
	walk.root_length = strlen(args[0]);
	nftw(args[0], tree_entry, 32, FTW_PHYS | FTW_MOUNT);
	printf("tree: %u entries, %016jx\n", walk.count, (uintmax_t)walk.sum);
}

static void digest(char **args)
{
	static char buffer[1 << 16];
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	uint64_t hash = HASH_START;
	ssize_t length = -1;

	while (fd >= 0 && (length = read(fd, buffer, sizeof(buffer))) > 0)
		hash = hash_bytes(hash, buffer, (size_t)length);
	if (length < 0)
		printf("digest %s: %s\n", args[0], strerrorname_np(errno));
	else
		printf("digest %s: %016jx\n", args[0], (uintmax_t)hash);
	if (fd >= 0)
		close(fd);
}

/* A file for all to see in memory. Ends the program when that is not possible. */
static uint8_t *file_in_memory(const char *path, bool writable, int *ret_fd, size_t *ret_size)
{
	struct stat status;
	void *memory;

	*ret_fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (*ret_fd < 0 || fstat(*ret_fd, &status)) {
		printf("map %s: %s\n", path, strerrorname_np(errno));
		exit(99);
	}
	*ret_size = (size_t)status.st_size;
	memory = mmap(NULL, *ret_size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
		*ret_fd, 0);
	if (memory == MAP_FAILED) {
		printf("map %s: %s\n", path, strerrorname_np(errno));
		exit(99);
	}
	return memory;
}

/* How the kernel has a file's data, and a digest of what a mapping of it shows. */
static void window(char **args)
{
	struct statx status;
	uint8_t *memory;
	size_t size;
	int fd;

	if (statx(AT_FDCWD, args[0], 0, STATX_BASIC_STATS, &status))
		exit(99);
	printf("data of %s: %s\n", args[0],
		status.stx_attributes & STATX_ATTR_DAX ? "in place" : "copied");
	memory = file_in_memory(args[0], false, &fd, &size);
	printf("digest of the mapping: %016jx\n", (uintmax_t)hash_bytes(HASH_START, memory, size));
	munmap(memory, size);
	close(fd);
}

/* Changes a file by each way there is, and looks at it by each other. */
static void change(char **args)
{
	char back[16] = "";
	uint8_t *memory;
	size_t size;
	bool same;
	int fd;

	/* Seen before it is changed: the pages of an overlay's lower file. */
	memory = file_in_memory(args[0], true, &fd, &size);
	printf("before: %016jx\n", (uintmax_t)hash_bytes(HASH_START, memory, size));
	same = pwrite(fd, "written", 7, (off_t)size - 10) == 7 &&
		!memcmp(memory + size - 10, "written", 7);
	printf("write, then the mapping: %s\n", same ? "same" : "other");
	memcpy(memory + 5000, "mapped", 6);
	same = pread(fd, back, 6, 5000) == 6 && !memcmp(back, "mapped", 6);
	printf("mapping, then read: %s\n", same ? "same" : "other");
	/* From the mapping of a file to the end of it. */
	same = pwrite(fd, memory + 5000, 6, (off_t)size) == 6 &&
		pread(fd, back, 6, (off_t)size) == 6 && !memcmp(back, "mapped", 6);
	printf("mapping, written to the end: %s\n", same ? "same" : "other");
	same = !ftruncate(fd, 10) && !ftruncate(fd, (off_t)size) && memory[5000] == 0 &&
		pwrite(fd, "again", 5, 5000) == 5 && !memcmp(memory + 5000, "again", 5);
	printf("cut and made longer: %s\n", same ? "same" : "other");
	munmap(memory, size);
	close(fd);
}

/* A child's access to the last page of a file, which the host has cut meanwhile (see await). */
static void cut(char **args)
{
	volatile uint8_t *memory;
	int fd, status = 0;
	size_t size;
	pid_t pid;

	memory = file_in_memory(args[0], false, &fd, &size);
	printf("mapped, the last byte is %d\n", memory[size - 1]);
	await(args + 1);
	pid = fork();
	if (pid == 0) {
		printf("it is there: %d\n", memory[size - 1]);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("the child ended with %s\n",
		WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "an exit status");
	printf("the first byte is %d\n", memory[0]);
	close(fd);
}

/* What becomes of a child that writes, or reads, a byte of a file in memory. */
static void access_behind(const char *what, volatile uint8_t *byte, bool write)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (write)
			*byte = 2;
		_exit(*byte == (write ? 2 : 0) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	printf("%s: %s\n", what,
		WIFSIGNALED(status)                ? sigabbrev_np(WTERMSIG(status))
			: WEXITSTATUS(status) != 0 ? "other"
			: write                    ? "written"
						   : "read");
}

/* Has to do with holes of a file whose disk has become full (see await), some of them beside what was used in time. */
static void hole(char **args)
{
	const long page = 4096;
	uint8_t *memory;
	size_t size;
	int fd;

	memory = file_in_memory(args[0], true, &fd, &size);
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)size)) {
		printf("hole %s: %s\n", args[0], strerrorname_np(errno));
		exit(99);
	}
	memory[0] = 1;
	memory[3 * page] = 1;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * page, page))
		printf("hole %s: %s\n", args[0], strerrorname_np(errno));
	printf("mapped, the punched byte is %d\n", memory[3 * page]);
	printf("a hole that is read: %d\n", memory[size / 4]);
	await(args + 1);
	access_behind("beside what was written", memory + page, true);
	access_behind("what was punched", memory + 3 * page, true);
	access_behind("where nothing was", memory + size / 2, true);
	access_behind("beside what was read", memory + size / 4 + 100 * page, false);
	access_behind("where nothing was read", memory + size / 4 * 3, false);
	printf("a write there: %s\n",
		pwrite(fd, "", 1, (off_t)size / 2) == 1 ? "ok" : strerrorname_np(errno));
	printf("the first byte is %d\n", memory[0]);
	close(fd);
}

/* Reads a byte and says how many pages of its area, of at most 64, are mapped then. */
static void read_page(const char *what, void *area, size_t size, size_t offset)
{
	uint8_t byte = ((volatile uint8_t *)area)[offset];
	unsigned char mapped[64] = {0};
	int count = 0;

	if (mincore(area, size, mapped))
		printf("mincore: %s\n", strerrorname_np(errno));
	for (size_t i = 0; i < sizeof(mapped); i++)
		count += mapped[i] & 1;
	printf("%s: %d, pages mapped: %d\n", what, byte, count);
}

/* Pages of a file in memory that came along with one that was read: they are the file's, and end where it ends. */
static void neighbours(char **args)
{
	const size_t page = 4096, pages = 40;
	uint8_t *shared, *own, back[2] = {0};
	size_t size;
	int fd;

	shared = file_in_memory(args[0], true, &fd, &size);
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)size))
		printf("neighbours %s: %s\n", args[0], strerrorname_np(errno));
	for (size_t i = 0; i < size / page; i++)
		shared[i * page] = (uint8_t)i;
	own = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)(20 * page));
	read_page("a page of many", own, pages * page, page);
	own[2 * page] = 1;
	printf("an own page: %d, the file's: %d\n", own[2 * page], shared[22 * page]);
	shared[23 * page] = 2;
	printf("a page that was written: %d\n", own[3 * page]);
	munmap(shared, size);
	/* Half of a page is left of it. */
	if (ftruncate(fd, (off_t)(24 * page + page / 2)))
		printf("neighbours %s: %s\n", args[0], strerrorname_np(errno));
	access_behind("a page that was cut off", own + 5 * page, true);
	shared = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	read_page("one before the end", shared, pages * page, 20 * page);
	shared[21 * page + 1] = 3;
	if (pread(fd, back, 2, (off_t)(21 * page)) != 2)
		printf("neighbours %s: %s\n", args[0], strerrorname_np(errno));
	printf("written beside it: %d %d\n", back[0], back[1]);
	munmap(shared, pages * page);
	munmap(own, pages * page);
	close(fd);
}

/* A debugger writes a word into a program's page of a file: what becomes of the rest of the page. */
static void poke(char **args)
{
	uint8_t page[4096];
	bool whole = true;
	uint8_t *memory;
	size_t size;
	pid_t pid;
	int fd;

	memory = file_in_memory(args[0], false, &fd, &size);
	munmap(memory, size);
	memory = mmap(NULL, sizeof(page), PROT_READ, MAP_PRIVATE, fd, 0);
	pid = fork();
	if (pid == 0) {
		printf("the child has %d\n", ((volatile uint8_t *)memory)[0]);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	/* The debugger has something else at the address. */
	memory = mmap(memory, sizeof(page), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(memory, 0xcc, sizeof(page));
	if (waitpid(pid, NULL, 0) != pid || pread(fd, page, sizeof(page), 0) != sizeof(page) ||
		ptrace(PTRACE_POKEDATA, pid, memory, 0))
		printf("poke %s: %s\n", args[0], strerrorname_np(errno));
	for (size_t i = sizeof(long); i < sizeof(page); i += sizeof(long)) {
		long word = ptrace(PTRACE_PEEKDATA, pid, memory + i, 0);

		whole &= !memcmp(&word, page + i, sizeof(word));
	}
	printf("the rest of the page: %s\n", whole ? "same" : "other");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

/* Keeps a file mapped, each page touched, until SIGTERM. */
static void hold(char **args)
{
	volatile uint8_t *memory;
	size_t size;
	int fd;

	memory = file_in_memory(args[0], false, &fd, &size);
	for (size_t i = 0; i < size; i += 4096)
		(void)memory[i];
	await_signal(SIGTERM);
	close(fd);
}

/* What a file descriptor keeps when its name is gone. */
static void unlinked(char **args)
{
	char text[8] = "";
	int fd = open(args[0], O_RDWR | O_CREAT | O_CLOEXEC, FILE_ACCESS_MODE);
	struct stat st = {0};
	bool works = fd >= 0 && !unlink(args[0]) && write(fd, "kept", 4) == 4 &&
		pread(fd, text, 4, 0) == 4 && !strcmp(text, "kept") && !fstat(fd, &st) &&
		st.st_nlink == 0;

	printf("unlinked: %s\n", works ? "ok" : strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
}

/* Whether a character device, "MAJOR:MINOR", can be made here, and opened. */
static void make_device(char **args)
{
	char *minor_text;
	unsigned int device_major = (unsigned int)strtoul(args[1], &minor_text, 10);
	unsigned int device_minor = (unsigned int)number(minor_text + (*minor_text == ':'));
	const char *made = "ok", *opened = "-";

	if (mknod(args[0], S_IFCHR | FILE_ACCESS_MODE, makedev(device_major, device_minor)) < 0) {
		made = strerrorname_np(errno);
	} else {
		int fd = open(args[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		opened = fd >= 0 ? "ok" : strerrorname_np(errno);
		if (fd >= 0)
			close(fd);
	}
	printf("device %s %s: made %s, opened %s\n", args[0], args[1], made, opened);
}

/* Standard input to standard output, to its end. */
static void copy(char **args)
{
	char data[8192];
	ssize_t n;

	(void)args;
	fflush(stdout);
	while ((n = read(STDIN_FILENO, data, sizeof(data))) > 0)
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(STDOUT_FILENO, data + done, (size_t)(n - done));
			if (w < 0)
				exit(98);
		}
}

const struct command file_commands[] = {
	{"write", 2, write_file},
	{"store", 3, store},
	{"map", 2, map_file},
	{"map-behind", 2, map_behind},
	{"remove", 1, remove_tree},
	{"move", 2, move},
	{"directory", 1, make_directory},
	{"link", 2, make_link},
	{"read", 1, read_file},
	{"stat", 1, show_status},
	{"create", 2, create_many},
	{"rename", 2, rename_many},
	{"unlink", 2, unlink_many},
	{"list", 1, list},
	{"tree", 1, tree},
	{"digest", 1, digest},
	{"window", 1, window},
	{"change", 1, change},
	{"cut", 2, cut},
	{"neighbours", 1, neighbours},
	{"hole", 2, hole},
	{"poke", 1, poke},
	{"hold", 1, hold},
	{"unlinked", 1, unlinked},
	{"device", 2, make_device},
	{"copy", 0, copy},
	{NULL, 0, NULL},
};
