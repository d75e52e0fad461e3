/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app of the functional tests: a static program that runs the commands it is given, one after
 * the other, and prints what it finds, one line each, so that a test learns much from one boot.
 * The tests run it on the host as well and compare.
 *
 *   probe COMMAND ARGUMENT... COMMAND ARGUMENT... ...
 *
 * Each command has a fixed number of arguments (the table at the end). A command that cannot do its
 * work prints the error number's name in its line; only "check" commands end the program.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILE_ACCESS_MODE 0644
#define AWAIT_STEP_MS    50
#define AWAIT_LIMIT_S    600

static int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

static void say(char **args)
{
	puts(args[0]);
}

static void complain(char **args)
{
	fprintf(stderr, "%s\n", args[0]);
}

static void identity(char **args)
{
	(void)args;
	gid_t groups[64];
	int count = getgroups(64, groups);

	printf("identity: uid=%u euid=%u gid=%u egid=%u groups=", getuid(), geteuid(), getgid(),
		getegid());
	for (int i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", groups[i]);
	printf("\n");
}

static void env(char **args)
{
	const char *value = getenv(args[0]);

	printf("env %s: %s\n", args[0], value ? value : "(unset)");
}

static void cwd(char **args)
{
	(void)args;
	char path[PATH_MAX];

	printf("cwd: %s\n", getcwd(path, sizeof(path)) ? path : strerrorname_np(errno));
}

static void host_name(char **args)
{
	(void)args;
	char name[HOST_NAME_MAX + 1] = "";

	gethostname(name, sizeof(name) - 1);
	printf("hostname: %s\n", name);
}

static void write_file(char **args)
{
	int fd = open(args[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_ACCESS_MODE);
	size_t length = strlen(args[1]);
	bool written = fd >= 0 && write(fd, args[1], length) == (ssize_t)length;

	printf("write %s: %s\n", args[0], written ? "ok" : strerrorname_np(errno));
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

/* COUNT lines, each in three writes: what another app says must not come between. */
static void lines(char **args)
{
	int count = number(args[1]);

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0; i < count; i++) {
		printf("%s", args[0]);
		printf("-line-%d-", i);
		printf("%s\n", args[0]);
	}
}

/* So many KiB of numbered lines, in large pieces. */
static void flood(char **args)
{
	static char buffer[64 << 10];
	int count = number(args[0]) * 16;

	fflush(stdout);
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	for (int i = 0; i < count; i++)
		printf("%063d\n", i);
}

static void end(char **args)
{
	exit(number(args[0]));
}

static void crash(char **args)
{
	(void)args;
	raise(SIGSEGV);
}

static void await_signal(int signal)
{
	sigset_t set;
	int got = 0;

	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	while (sigwait(&set, &got) || got != signal)
		;
}

/* Says "ready", then "stopping" when SIGTERM comes, and goes on. */
static void until_stopped(char **args)
{
	(void)args;
	await_signal(SIGTERM);
	puts("stopping");
}

/* Opens a file, removes its name, says "ready", and stays until a signal ends it. */
static void nameless(char **args)
{
	int fd = open(args[0], O_RDWR | O_CREAT | O_CLOEXEC, FILE_ACCESS_MODE);

	if (fd < 0 || unlink(args[0]) < 0)
		printf("nameless %s\n", strerrorname_np(errno));
	puts("ready");
	for (;;)
		pause();
}

/* Says "ready" and stays until a signal ends it. */
static void forever(char **args)
{
	(void)args;
	puts("ready");
	for (;;)
		pause();
}

/* Repeats each line of its input on both outputs, until one says "quit". */
static void converse(char **args)
{
	char line[256];

	(void)args;
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		printf("heard: %s\n", line);
		fprintf(stderr, "noted: %s\n", line);
		if (!strcmp(line, "quit"))
			return;
	}
	puts("input has ended");
}

/* Waits for a file to appear: how a test on the host paces the guest. */
static void await(char **args)
{
	struct timespec step = {.tv_nsec = AWAIT_STEP_MS * 1000000L};
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (access(args[0], F_OK)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > AWAIT_LIMIT_S) {
			printf("await %s: did not appear\n", args[0]);
			exit(99);
		}
		nanosleep(&step, NULL);
	}
}

/* Takes memory until something ends us. */
static void hog(char **args)
{
	(void)args;
	const size_t step = 1 << 20;

	for (;;) {
		char *block = mmap(
			NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (block == MAP_FAILED)
			break;
		for (size_t i = 0; i < step; i += 4096)
			block[i] = 1;
	}
	puts("hog: memory was refused");
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

/* A TCP connection to ourselves over the loopback. */
static void loopback(char **args)
{
	(void)args;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int peer = -1;
	char byte = 0;
	bool works = !bind(server, (struct sockaddr *)&address, sizeof(address)) &&
		!listen(server, 1) && !getsockname(server, (struct sockaddr *)&address, &length) &&
		!connect(client, (struct sockaddr *)&address, sizeof(address)) &&
		(peer = accept(server, NULL, NULL)) >= 0 && write(client, "x", 1) == 1 &&
		read(peer, &byte, 1) == 1 && byte == 'x';

	printf("loopback: %s\n", works ? "ok" : strerrorname_np(errno));
	close(server);
	close(client);
	if (peer >= 0)
		close(peer);
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

static void cpus(char **args)
{
	(void)args;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		printf("cpus %s\n", strerrorname_np(errno));
	else
		printf("cpus %d\n", CPU_COUNT(&set));
}

/* Makes process 1 crash, by the right of CAP_SYS_PTRACE. */
static void crash_init(char **args)
{
	(void)args;
	struct user_regs_struct registers;
	int status;

	if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) || waitpid(1, &status, __WALL) != 1 ||
		ptrace(PTRACE_GETREGS, 1, NULL, &registers)) {
		printf("crash-init: %s\n", strerrorname_np(errno));
		return;
	}
	registers.rip = 0;
	registers.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, 1, NULL, &registers) || ptrace(PTRACE_DETACH, 1, NULL, NULL))
		printf("crash-init: %s\n", strerrorname_np(errno));
	for (;;)
		pause();
}

static void say_bytes(const char *name, const void *data, size_t length)
{
	printf("%s ", name);
	for (size_t i = 0; i < length; i++)
		printf("%02x", ((const uint8_t *)data)[i]);
	putchar('\n');
}

static void say_file(const char *name, const char *path)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
	text[strcspn(text, "\n")] = '\0';
	printf("%s %s\n", name, text);
}

/* What no two copies of a machine may have in common. */
static void unique(char **args)
{
	static char name[] = "/tmp/unique-XXXXXX";
	struct timespec now;
	struct utsname system;
	uint8_t bytes[32];
	unsigned long address;
	const void *at_random;
	uintptr_t canary;
	int fd;

	(void)args;
	if (getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes))
		say_bytes("getrandom", bytes, sizeof(bytes));
	fd = open("/dev/urandom", O_RDONLY);
	if (fd >= 0) {
		if (read(fd, bytes, sizeof(bytes)) == sizeof(bytes))
			say_bytes("urandom", bytes, sizeof(bytes));
		close(fd);
	}
	address = getauxval(AT_RANDOM);
	memcpy(&at_random, &address, sizeof(at_random));
	say_bytes("at-random", at_random, 16);
	__asm__("mov %%fs:0x28, %0" : "=r"(canary));
	say_bytes("canary", &canary, sizeof(canary));
	say_file("boot-id", "/proc/sys/kernel/random/boot_id");
	say_file("random-uuid", "/proc/sys/kernel/random/uuid");
	say_file("machine-id", "/etc/machine-id");
	say_file("hostname-file", "/etc/hostname");
	uname(&system);
	printf("nodename %s\n", system.nodename);
	fd = mkstemp(name);
	printf("temporary %s\n", fd < 0 ? strerrorname_np(errno) : name);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("time %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
	fflush(stdout);
}

static int64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/*
 * How far our clock is from the host's: a file made in a directory of the host carries the host's time,
 * which lies between our own readings. "clock-error NANOSECONDS": 0 when it does.
 */
static void clock_against(char **args)
{
	static unsigned int count;
	char path[PATH_MAX];
	struct stat st = {0};
	int64_t before, after, there;
	int fd;

	snprintf(path, sizeof(path), "%s/clock-%u", args[0], count++);
	before = clock_now(CLOCK_REALTIME);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	after = clock_now(CLOCK_REALTIME);
	if (fd < 0 || fstat(fd, &st) < 0) {
		printf("clock-error %s\n", strerrorname_np(errno));
		return;
	}
	there = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	printf("clock-error %lld\n",
		(long long)(there < before      ? before - there
				: there > after ? there - after
						: 0));
	close(fd);
}

#define COUNT_PAUSE_NS 20000000
#define COUNT_MEMORY   (1u << 20)
#define COUNT_JUMP_NS  2000000000ll

static volatile sig_atomic_t count_is_over;

static void count_end(int signal)
{
	(void)signal;
	count_is_over = 1;
}

static _Noreturn void count_send(int pipe_fd)
{
	const struct timespec pause = {.tv_nsec = COUNT_PAUSE_NS};

	do
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	while (write(pipe_fd, "", 1) == 1);
	_exit(0);
}

/* Whether the file has the numbers from 1 to last, a line each. */
static bool count_is_whole(int fd, unsigned int last)
{
	FILE *file = fdopen(fd, "r");
	unsigned int next = 0;
	char line[32];

	rewind(file);
	while (fgets(line, sizeof(line), file))
		if ((unsigned int)number(line) != ++next)
			return false;
	return next == last;
}

/*
 * A program in the middle of things: counts the bytes that another process sends it every 20 ms, and appends each number
 * to a file that it keeps open. Says "ready"; after SIGTERM, whether file and memory are whole, and by how much the
 * monotonic clock jumped.
 */
static void count(char **args)
{
	int fd = open(args[0], O_CREAT | O_EXCL | O_RDWR | O_APPEND | O_CLOEXEC, FILE_ACCESS_MODE);
	const struct sigaction action = {.sa_handler = count_end};
	int64_t last = clock_now(CLOCK_MONOTONIC), jump = 0, now;
	unsigned char *memory = malloc(COUNT_MEMORY);
	unsigned int counted = 0, damaged = 0;
	int pipe_fds[2];
	pid_t sender;
	char byte;

	if (fd < 0 || !memory || pipe(pipe_fds) < 0 || (sender = fork()) < 0) {
		printf("count %s\n", strerrorname_np(errno));
		return;
	}
	if (sender == 0)
		count_send(pipe_fds[1]);
	for (unsigned int i = 0; i < COUNT_MEMORY; i++)
		memory[i] = (unsigned char)(i * 31 + i / 4096);
	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	while (!count_is_over && (read(pipe_fds[0], &byte, 1) == 1 || errno == EINTR)) {
		dprintf(fd, "%u\n", ++counted);
		now = clock_now(CLOCK_MONOTONIC);
		jump = now - last > jump ? now - last : jump;
		last = now;
	}
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	for (unsigned int i = 0; i < COUNT_MEMORY; i++)
		damaged += memory[i] != (unsigned char)(i * 31 + i / 4096);
	printf("counted: %s\n", count_is_whole(fd, counted) ? "whole" : "damaged");
	printf("memory: %u bytes damaged\n", damaged);
	printf("monotonic clock: %s\n", jump < COUNT_JUMP_NS ? "no jump" : "jumped");
	printf("pid: %d\n", (int)getpid());
}

/* Both clocks, read without pause for so many milliseconds, and how often one of them went back. */
static void clocks_monotonic(char **args)
{
	int64_t end = clock_now(CLOCK_MONOTONIC) + number(args[0]) * 1000000ll;
	int64_t monotonic = 0, real = 0;
	unsigned int back = 0;

	do {
		int64_t now = clock_now(CLOCK_MONOTONIC), wall = clock_now(CLOCK_REALTIME);

		back += now < monotonic;
		back += wall < real;
		monotonic = now;
		real = wall;
	} while (monotonic < end);
	printf("clocks went back %u times\n", back);
}

/* A line of /proc/self/status. */
static void process_status(char **args)
{
	char line[512];
	size_t length = strlen(args[0]);
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, args[0], length) && line[length] == ':') {
			char *value = line + length + 1 + strspn(line + length + 1, " \t");

			value[strcspn(value, "\n")] = '\0';
			printf("status %s: %s\n", args[0], value);
		}
	if (file)
		fclose(file);
}

/* A file of /proc/self, its first line. */
static void process_file(char **args)
{
	char path[PATH_MAX], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/%s", args[0]);
	file = fopen(path, "re");
	if (file && fgets(line, sizeof(line), file))
		line[strcspn(line, "\n")] = '\0';
	printf("self %s: %s\n", args[0], file ? line : strerrorname_np(errno));
	if (file)
		fclose(file);
}

/* The namespaces that we are in, as the host's "readlink" shows them. */
static void namespace(char **args)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/ns/%s", args[0]);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		snprintf(target, sizeof(target), "%s", strerrorname_np(errno));
	printf("namespace %s\n", target);
}

/* How a mount point is mounted: "ro" or "rw", or "none" where nothing is. */
static void mounted(char **args)
{
	char line[4096], point[1024], options[256];
	const char *found = "none";
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %*s %*s %*s %1023s %255s", point, options) == 2 &&
			!strcmp(point, args[0]))
			found = !strncmp(options, "ro", 2) ? "ro" : "rw";
	if (file)
		fclose(file);
	printf("mounted %s: %s\n", args[0], found);
}

/* Fds that are open beside the one that looks. */
static void fds(char **args)
{
	(void)args;
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	printf("fds:");
	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && number(entry->d_name) != dirfd(directory))
			printf(" %s", entry->d_name);
	printf("\n");
	if (directory)
		closedir(directory);
}

/* What becomes of a child that makes this system call, with arguments that do no harm. */
static void try_call(char **args)
{
	static const struct {
		const char *name;
		long call;
	} calls[] = {
		{"mount", SYS_mount},
		{"reboot", SYS_reboot},
		{"unshare", SYS_unshare},
		{"getppid", SYS_getppid},
		{"stat", SYS_stat},
		{"socket", SYS_socket},
		{"newer", 2000},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		int status;
		pid_t pid;

		if (strcmp(args[0], calls[i].name))
			continue;
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			_exit(syscall(calls[i].call, 0L, 0L, 0L, 0L, 0L) < 0 ? errno : 0);
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status))
			printf("call %s: SIG%s\n", args[0], sigabbrev_np(WTERMSIG(status)));
		else
			printf("call %s: %s\n", args[0],
				WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
	}
}

/* The sockets that were handed over, each greeted through the loopback by ourselves. */
static void listening(char **args)
{
	const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"),
		   *names = getenv("LISTEN_FDNAMES");
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	(void)args;
	printf("listening: %s %s %s\n", count ? count : "-", names ? names : "-",
		pid && number(pid) == getpid() ? "mine" : "not mine");
	for (int i = 0; count && i < number(count); i++) {
		struct sockaddr_in6 bound = {0};
		socklen_t length = sizeof(bound), type_length = sizeof(int);
		int fd = 3 + i, type = 0, client;

		getsockname(fd, (struct sockaddr *)&bound, &length);
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length);
		to.sin_port = bound.sin6_port;
		client = socket(AF_INET, type | SOCK_CLOEXEC, 0);
		printf("socket %d: %s port %u, %s\n", i, type == SOCK_STREAM ? "tcp" : "udp",
			ntohs(bound.sin6_port),
			connect(client, (struct sockaddr *)&to, sizeof(to)) ? strerrorname_np(errno)
									    : "reached");
		close(client);
	}
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

/* What standard input is: a terminal, whether it is the session's own, and its window. */
static void terminal(char **args)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct winsize size = {0};

	(void)args;
	if (!isatty(STDIN_FILENO)) {
		puts("stdin is not a terminal");
	} else {
		ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
		/* cppcheck-suppress ttynameCalled */
		printf("stdin is a terminal: %s, %s, %ux%u\n", ttyname(STDIN_FILENO),
			fd >= 0 ? "its own" : strerrorname_np(errno), size.ws_row, size.ws_col);
	}
	if (fd >= 0)
		close(fd);
}

/* Asks for a line. */
static void read_line(char **args)
{
	char line[256] = "";

	(void)args;
	printf("Enter text:\n");
	if (fgets(line, sizeof(line), stdin))
		line[strcspn(line, "\n")] = '\0';
	printf("Received text: %s\n", line);
}

static volatile sig_atomic_t window_changes;

static void on_window(int signal)
{
	(void)signal;
	window_changes++;
}

/* Waits until the window has another size. */
static void await_window(char **args)
{
	const struct sigaction action = {.sa_handler = on_window};
	struct winsize size;
	sigset_t set, old;

	(void)args;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &old);
	sigaction(SIGWINCH, &action, NULL);
	puts("Change the window");
	while (!window_changes)
		sigsuspend(&old);
	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	printf("window: %ux%u\n", size.ws_row, size.ws_col);
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

/* The terminal that is our standard input, and whether it is our own. */
static void show_tty(char **args)
{
	struct winsize size = {0};
	/* cppcheck-suppress ttynameCalled */
	const char *name = ttyname(STDIN_FILENO);

	(void)args;
	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	printf("tty: %s %u %u %s\n", name ? name : strerrorname_np(errno), size.ws_row, size.ws_col,
		tcgetpgrp(STDIN_FILENO) == getpgrp() ? "own" : "not own");
}

/* Until the terminal's window has this many columns. */
static void columns(char **args)
{
	struct winsize size = {0};
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	while (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != number(args[0]))
		sigwait(&set, &got);
	printf("columns: %u\n", size.ws_col);
}

/* Whether a process of this name is to be seen. */
static void sees(char **args)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (directory && (entry = readdir(directory))) {
		char path[PATH_MAX], text[4096] = "";
		int fd;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
			number(entry->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
			for (size_t i = 0; i < sizeof(text) - 1; i += strlen(text + i) + 1)
				found |= !strcmp(text + i, args[0]);
		if (fd >= 0)
			close(fd);
	}
	if (directory)
		closedir(directory);
	printf("sees %s: %s\n", args[0], found ? "yes" : "no");
}

static const struct command {
	const char *name;
	int arguments;
	void (*run)(char **args);
} commands[] = {
	{"say", 1, say},
	{"complain", 1, complain},
	{"identity", 0, identity},
	{"env", 1, env},
	{"cwd", 0, cwd},
	{"hostname", 0, host_name},
	{"write", 2, write_file},
	{"map", 2, map_file},
	{"map-behind", 2, map_behind},
	{"remove", 1, remove_tree},
	{"move", 2, move},
	{"directory", 1, make_directory},
	{"link", 2, make_link},
	{"read", 1, read_file},
	{"stat", 1, show_status},
	{"lines", 2, lines},
	{"exit", 1, end},
	{"crash", 0, crash},
	{"until-stopped", 0, until_stopped},
	{"forever", 0, forever},
	{"count", 1, count},
	{"nameless", 1, nameless},
	{"await", 1, await},
	{"hog", 0, hog},
	{"create", 2, create_many},
	{"rename", 2, rename_many},
	{"unlink", 2, unlink_many},
	{"list", 1, list},
	{"tree", 1, tree},
	{"digest", 1, digest},
	{"window", 1, window},
	{"change", 1, change},
	{"cut", 2, cut},
	{"poke", 1, poke},
	{"hold", 1, hold},
	{"loopback", 0, loopback},
	{"unlinked", 1, unlinked},
	{"cpus", 0, cpus},
	{"crash-init", 0, crash_init},
	{"unique", 0, unique},
	{"clock-against", 1, clock_against},
	{"clocks-monotonic", 1, clocks_monotonic},
	{"status", 1, process_status},
	{"self", 1, process_file},
	{"namespace", 1, namespace},
	{"mounted", 1, mounted},
	{"fds", 0, fds},
	{"call", 1, try_call},
	{"listening", 0, listening},
	{"converse", 0, converse},
	{"flood", 1, flood},
	{"device", 2, make_device},
	{"terminal", 0, terminal},
	{"line", 0, read_line},
	{"await-window", 0, await_window},
	{"sees", 1, sees},
	{"copy", 0, copy},
	{"tty", 0, show_tty},
	{"columns", 1, columns},
};

int main(int argc, char **argv)
{
	/* What was said before a crash must have been said. */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (int i = 1; i < argc;) {
		const struct command *command = NULL;

		for (size_t j = 0; j < sizeof(commands) / sizeof(*commands); j++)
			if (!strcmp(argv[i], commands[j].name))
				command = &commands[j];
		if (!command || i + command->arguments >= argc) {
			fprintf(stderr, "probe: %s: no such command, or too few arguments\n",
				argv[i]);
			return 97;
		}
		command->run(&argv[i + 1]);
		i += 1 + command->arguments;
	}
	return 0;
}
