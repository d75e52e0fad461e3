// SPDX-License-Identifier: Apache-2.0
/*
 * fsbench.c: what operations on files, and a few others to compare with, cost inside of a pod, a
 * container or any virtual machine.
 *
 *   fsbench [--operation=NAME]... [--count=N] DIR
 *
 * Runs the operations named, in this order, or all of them, N times each or as often as suits the
 * operation, and prints a line of JSON for each: {"operation":"stat","count":1000,"seconds":0.0123}.
 * DIR must be writable: the files for the test are made in a directory of their own below it, which is
 * removed at the end. "find" goes through what DIR held before; its count is that of files found.
 *
 * Making the files is not in the time, so the first operation on each is not either: names are known
 * to the kernel and, but for the operations that say "uncached", contents as well. "find" in a
 * fresh machine is the one that meets everything for the first time.
 *
 * Where the machine counts instructions, the price of one operation is exact from two runs that do
 * nothing else, one with N and one with 2N: the difference of their totals, divided by N.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SMALL          4096u
#define LARGE          (1u << 20)
#define ENTRIES        100 /* names in the directory that readdir reads */
#define OPERATIONS_MAX 64  /* --operation given */
#define FIND_FDS       16

struct bench {
	const char *program, *tree;
	char directory[PATH_MAX];
	int directory_fd, file_fd; /* file_fd: "file", LARGE bytes */
	int pipes[2];
	uint64_t found;
	char buffer[LARGE];
};

static struct bench bench;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fsbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void expect(ssize_t result, ssize_t expected, const char *what)
{
	if (result == expected)
		return;
	if (result >= 0)
		errno = EIO;
	fail(what);
}

/* ---- operations: each does one thing count times */

static void run_getpid(uint64_t count)
{
	/* the C library's might remember it */
	for (uint64_t i = 0; i < count; i++)
		syscall(SYS_getpid);
}

/* User code alone. xorshift: each step needs the one before. */
static void run_compute(uint64_t count)
{
	volatile uint64_t sink;
	uint64_t x = 88172645463325252ull;

	for (uint64_t i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	sink = x;
	(void)sink;
}

static void run_pipe(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		expect(write(bench.pipes[1], bench.buffer, 1), 1, "pipe");
		expect(read(bench.pipes[0], bench.buffer, 1), 1, "pipe");
	}
}

static void run_stat(uint64_t count)
{
	struct stat status;

	for (uint64_t i = 0; i < count; i++)
		expect(fstatat(bench.directory_fd, "file", &status, 0), 0, "stat");
}

static void run_stat_missing(uint64_t count)
{
	struct stat status;

	for (uint64_t i = 0; i < count; i++)
		expect(fstatat(bench.directory_fd, "missing", &status, 0), -1, "stat-missing");
}

static void run_open(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		int fd = openat(bench.directory_fd, "file", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			fail("open");
		close(fd);
	}
}

static void read_times(uint64_t count, size_t length, int uncached)
{
	for (uint64_t i = 0; i < count; i++) {
		off_t offset = length == SMALL ? (off_t)(i % (LARGE / SMALL) * SMALL) : 0;

		if (uncached)
			expect(posix_fadvise(bench.file_fd, 0, 0, POSIX_FADV_DONTNEED), 0,
				"posix_fadvise");
		expect(pread(bench.file_fd, bench.buffer, length, offset), (ssize_t)length, "read");
	}
}

static void run_read_4k(uint64_t count)
{
	read_times(count, SMALL, 0);
}

static void run_read_1m(uint64_t count)
{
	read_times(count, LARGE, 0);
}

static void run_read_4k_uncached(uint64_t count)
{
	read_times(count, SMALL, 1);
}

static void run_read_1m_uncached(uint64_t count)
{
	read_times(count, LARGE, 1);
}

static void run_write_4k(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		expect(pwrite(bench.file_fd, bench.buffer, SMALL,
			       (off_t)(i % (LARGE / SMALL) * SMALL)),
			SMALL, "write");
}

static void run_write_1m(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		expect(pwrite(bench.file_fd, bench.buffer, LARGE, 0), LARGE, "write");
}

static void run_create_unlink(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		int fd = openat(
			bench.directory_fd, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0)
			fail("create");
		close(fd);
		expect(unlinkat(bench.directory_fd, "new", 0), 0, "unlink");
	}
}

static void run_rename(uint64_t count)
{
	static const char *const names[] = {"one", "other"};

	for (uint64_t i = 0; i < count; i++)
		expect(renameat(bench.directory_fd, names[i % 2], bench.directory_fd,
			       names[(i + 1) % 2]),
			0, "rename");
	if (count % 2)
		expect(renameat(bench.directory_fd, "other", bench.directory_fd, "one"), 0,
			"rename");
}

static void run_readdir(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		int fd = openat(bench.directory_fd, "entries", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *directory = fd < 0 ? NULL : fdopendir(fd);
		int entries = 0;

		if (!directory)
			fail("readdir");
		while (readdir(directory))
			entries++;
		closedir(directory);
		expect(entries, ENTRIES + 2, "readdir");
	}
}

static int find_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	const char *own = strrchr(bench.directory, '/') + 1;

	(void)status;
	if (type == FTW_D && where->level == 1 && !strcmp(path + where->base, own))
		return FTW_SKIP_SUBTREE;
	bench.found++;
	return FTW_CONTINUE;
}

static void run_find(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		expect(nftw(bench.tree, find_one, FIND_FDS, FTW_PHYS | FTW_ACTIONRETVAL), 0,
			"find");
}

static void exec_once(void)
{
	int status = 1;
	pid_t pid = vfork();

	if (pid == 0) {
		execl(bench.program, bench.program, "--exit", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("exec");
	expect(status, 0, bench.program);
}

static void run_exec(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		exec_once();
}

static const struct operation {
	const char *name;
	void (*run)(uint64_t count);
	uint64_t
		count; /* without --count: some tens of milliseconds where the kernel is emulated */
} operations[] = {
	{"find", run_find, 1},
	{"compute", run_compute, 10000000},
	{"getpid", run_getpid, 200},
	{"pipe", run_pipe, 50},
	{"stat", run_stat, 50},
	{"stat-missing", run_stat_missing, 50},
	{"open", run_open, 20},
	{"read-4k", run_read_4k, 50},
	{"read-4k-uncached", run_read_4k_uncached, 20},
	{"read-1m", run_read_1m, 2},
	{"read-1m-uncached", run_read_1m_uncached, 2},
	{"write-4k", run_write_4k, 20},
	{"write-1m", run_write_1m, 2},
	{"create-unlink", run_create_unlink, 10},
	{"rename", run_rename, 10},
	{"readdir", run_readdir, 5},
	{"exec", run_exec, 3},
};

#define OPERATION_COUNT (sizeof(operations) / sizeof(operations[0]))

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void time_operation(const struct operation *operation, uint64_t count)
{
	double start, took;

	bench.found = 0;
	start = now();
	operation->run(count);
	took = now() - start;
	if (operation->run == run_find)
		count = bench.found;
	printf("{\"operation\":\"%s\",\"count\":%ju,\"seconds\":%.9f}\n", operation->name,
		(uintmax_t)count, took);
}

/* ---- the files */

static void make_file(int directory_fd, const char *name, size_t length)
{
	int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(name);
	expect(write(fd, bench.buffer, length), (ssize_t)length, name);
	close(fd);
}

static void bench_prepare(void)
{
	int length = snprintf(bench.directory, sizeof(bench.directory), "%s/fsbench.%d", bench.tree,
		    (int)getpid()),
	    fd;
	char name[16];

	if (length < 0 || (size_t)length >= sizeof(bench.directory)) {
		errno = ENAMETOOLONG;
		fail(bench.tree);
	}
	if (mkdir(bench.directory, 0755) < 0)
		fail(bench.directory);
	bench.directory_fd = open(bench.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bench.directory_fd < 0 || mkdirat(bench.directory_fd, "entries", 0755) < 0 ||
		pipe2(bench.pipes, O_CLOEXEC) < 0)
		fail(bench.directory);
	for (size_t i = 0; i < sizeof(bench.buffer); i++)
		bench.buffer[i] = (char)(i * 31 + i / 251);
	make_file(bench.directory_fd, "file", LARGE);
	make_file(bench.directory_fd, "one", SMALL);
	fd = openat(bench.directory_fd, "entries", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		make_file(fd, name, 0);
	}
	close(fd);
	bench.file_fd = openat(bench.directory_fd, "file", O_RDWR | O_CLOEXEC);
	if (bench.file_fd < 0)
		fail("file");
	read_times(1, LARGE, 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path);
}

static void bench_clean(void)
{
	expect(nftw(bench.directory, remove_one, FIND_FDS, FTW_PHYS | FTW_DEPTH), 0,
		bench.directory);
}

static const struct operation *operation_find(const char *name)
{
	for (size_t i = 0; i < OPERATION_COUNT; i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	fprintf(stderr, "fsbench: there is no operation \"%s\"; there are:", name);
	for (size_t i = 0; i < OPERATION_COUNT; i++)
		fprintf(stderr, " %s", operations[i].name);
	fputc('\n', stderr);
	exit(2);
}

static _Noreturn void usage(void)
{
	fputs("usage: fsbench [--operation=NAME]... [--count=N] DIR\n", stderr);
	exit(2);
}

static uint64_t parse_count(const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || value == 0 || *text == '-')
		usage();
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"operation", required_argument, NULL, 'o'},
		{"count", required_argument, NULL, 'c'},
		{"exit", no_argument, NULL, 'e'}, /* what "exec" executes */
		{NULL, 0, NULL, 0},
	};
	const struct operation *chosen[OPERATIONS_MAX];
	size_t chosen_count = 0;
	uint64_t count = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'e':
			return 0;
		case 'o':
			if (chosen_count == OPERATIONS_MAX)
				usage();
			chosen[chosen_count++] = operation_find(optarg);
			break;
		case 'c':
			count = parse_count(optarg);
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1)
		usage();
	if (chosen_count == 0)
		for (; chosen_count < OPERATION_COUNT; chosen_count++)
			chosen[chosen_count] = &operations[chosen_count];
	bench.program = argv[0];
	bench.tree = argv[optind];
	setvbuf(stdout, NULL, _IOLBF, 0);
	bench_prepare();
	for (size_t i = 0; i < chosen_count; i++)
		time_operation(chosen[i], count ? count : chosen[i]->count);
	bench_clean();
	return 0;
}
