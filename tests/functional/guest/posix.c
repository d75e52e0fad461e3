/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file system does, in a table of cases: each a line of commands run in an empty directory, each
 * command's result a word. The same program runs on the host and in a pod; the tests compare what it
 * prints, line by line, so that every difference between a file system and the one behind it is seen.
 *
 *   posix DIRECTORY [GROUP...]     the groups' cases, all without one
 *
 * Nothing it prints depends on the time, on inode numbers or on the size of the disk. It gives up the
 * capabilities that an app does not have by default, so that root is the same root everywhere.
 *
 * Words: errno's name, "ok", or what a command reads. "changed" tells which of the times (access,
 * modification, change) are others than at "note". File systems stamp with a clock that stands still
 * for some milliseconds: "tick" touches a file until that clock has moved.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 6
#define SLOTS         8
#define NOTES         4
#define TEXT_MAX      256
#define PATHS_ROOM    8192

static int slots[SLOTS];
static struct {
	char name[16];
	struct stat status;
} notes[NOTES];
static int base_fd;        /* of the directory of all cases */
static struct stat stamp;  /* of base_fd's file "clock" */
static char *pages[SLOTS]; /* shared mappings of the slots' first page */

static void word(const char *text)
{
	printf(" %s", text);
}

static void result(long r)
{
	word(r < 0 ? strerrorname_np(errno) : "ok");
}

/* "@255": that many letters. "@path": a path that is too long, of names that are not. "''": nothing. */
static const char *path(const char *text)
{
	static char room[2][PATHS_ROOM];
	static unsigned int turn;
	char *to = room[turn++ % 2];
	size_t length;

	if (!strcmp(text, "''"))
		return "";
	if (!strcmp(text, "@path")) {
		for (length = 0; length < 4200; length += 100) {
			memset(to + length, 'p', 99);
			to[length + 99] = '/';
		}
		to[length] = '\0';
		return to;
	}
	if (text[0] != '@')
		return text;
	length = strtoul(text + 1, NULL, 10);
	memset(to, 'n', length);
	to[length] = '\0';
	return to;
}

static long number(const char *text)
{
	return strtol(text, NULL, 0);
}

static unsigned int octal(const char *text)
{
	return (unsigned int)strtoul(text, NULL, 8);
}

/* Words joined by commas, each one of a table. */
struct flag {
	const char *name;
	int value;
};

static int flags_of(const struct flag *table, const char *text)
{
	char copy[TEXT_MAX], *save = NULL;
	int flags = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		const struct flag *flag = table;

		while (flag->name && strcmp(flag->name, name))
			flag++;
		if (!flag->name) {
			fprintf(stderr, "posix: what is %s?\n", name);
			exit(2);
		}
		flags |= flag->value;
	}
	return flags;
}

static const struct flag open_flags[] = {
	{"r", O_RDONLY},
	{"w", O_WRONLY},
	{"rw", O_RDWR},
	{"creat", O_CREAT},
	{"excl", O_EXCL},
	{"trunc", O_TRUNC},
	{"append", O_APPEND},
	{"nofollow", O_NOFOLLOW},
	{"directory", O_DIRECTORY},
	{"nonblock", O_NONBLOCK},
	{"noatime", O_NOATIME},
	{"path", O_PATH},
	{"sync", O_SYNC},
	{"tmpfile", O_TMPFILE},
	{NULL, 0},
};

/* ---- names */

static void do_mkdir(char **args)
{
	result(mkdir(path(args[0]), octal(args[1])));
}

static void do_rmdir(char **args)
{
	result(rmdir(path(args[0])));
}

static void do_unlink(char **args)
{
	result(unlink(path(args[0])));
}

static void do_link(char **args)
{
	result(link(path(args[0]), path(args[1])));
}

static void do_linkfollow(char **args)
{
	result(linkat(AT_FDCWD, path(args[0]), AT_FDCWD, path(args[1]), AT_SYMLINK_FOLLOW));
}

/* An open file gets a name. */
static void do_linkfd(char **args)
{
	char source[32];

	snprintf(source, sizeof(source), "/proc/self/fd/%d", slots[number(args[0])]);
	result(linkat(AT_FDCWD, source, AT_FDCWD, args[1], AT_SYMLINK_FOLLOW));
}

static void do_symlink(char **args)
{
	result(symlink(path(args[0]), path(args[1])));
}

static void do_readlink(char **args)
{
	static char target[PATHS_ROOM];
	ssize_t length = readlink(path(args[0]), target, sizeof(target) - 1);

	if (length < 0) {
		result(-1);
		return;
	}
	if (length > 64) {
		printf(" %zd-bytes", length);
		return;
	}
	target[length] = '\0';
	word(target);
}

static void do_rename(char **args)
{
	result(rename(path(args[0]), path(args[1])));
}

static void do_rename2(char **args)
{
	static const struct flag flags[] = {
		{"noreplace", RENAME_NOREPLACE},
		{"exchange", RENAME_EXCHANGE},
		{NULL, 0},
	};

	result(renameat2(
		AT_FDCWD, args[0], AT_FDCWD, args[1], (unsigned int)flags_of(flags, args[2])));
}

static void do_mkfifo(char **args)
{
	result(mkfifo(path(args[0]), octal(args[1])));
}

static void do_mknod(char **args)
{
	static const struct flag types[] = {
		{"file", S_IFREG},
		{"fifo", S_IFIFO},
		{"socket", S_IFSOCK},
		{"char", S_IFCHR},
		{"block", S_IFBLK},
		{"dir", S_IFDIR},
		{NULL, 0},
	};

	result(mknod(args[0], (mode_t)flags_of(types, args[1]) | octal(args[2]),
		makedev((unsigned int)number(args[3]), (unsigned int)number(args[4]))));
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All names but . and .., sorted; how many when there are many. */
static void do_list(char **args)
{
	static char names[64][NAME_MAX + 1];
	const char *sorted[64];
	size_t count = 0;
	struct dirent *entry;
	DIR *directory = opendir(args[0]);

	if (!directory) {
		result(-1);
		return;
	}
	while ((entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (count < 64) {
			snprintf(names[count], sizeof(names[count]), "%s", entry->d_name);
			sorted[count] = names[count];
		}
		count++;
	}
	closedir(directory);
	if (count > 8) {
		printf(" %zu-names", count);
		return;
	}
	qsort(sorted, count, sizeof(sorted[0]), name_compare);
	printf(" [");
	for (size_t i = 0; i < count; i++)
		printf("%s%s", i ? "," : "", sorted[i]);
	printf("]");
}

static void do_many(char **args)
{
	long count = number(args[1]), failed = 0;
	char name[32];

	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s-%ld", args[0], i);
		failed += mknod(name, S_IFREG | 0644, 0) < 0;
	}
	printf(" %ld-failed", failed);
}

/* ---- attributes */

static void do_chmod(char **args)
{
	result(chmod(path(args[0]), octal(args[1])));
}

static void do_fchmod(char **args)
{
	result(fchmod(slots[number(args[0])], octal(args[1])));
}

static void do_chown(char **args)
{
	result(chown(path(args[0]), (uid_t)number(args[1]), (gid_t)number(args[2])));
}

static void do_lchown(char **args)
{
	result(lchown(path(args[0]), (uid_t)number(args[1]), (gid_t)number(args[2])));
}

static void do_fchown(char **args)
{
	result(fchown(slots[number(args[0])], (uid_t)number(args[1]), (gid_t)number(args[2])));
}

static void do_truncate(char **args)
{
	result(truncate(path(args[0]), number(args[1])));
}

static void do_ftruncate(char **args)
{
	result(ftruncate(slots[number(args[0])], number(args[1])));
}

static struct timespec time_of(const char *text)
{
	char *end;

	if (!strcmp(text, "now"))
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (!strcmp(text, "omit"))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return (struct timespec){
		.tv_sec = strtol(text, &end, 10),
		.tv_nsec = *end == '.' ? strtol(end + 1, NULL, 10) : 0,
	};
}

static void do_utimens(char **args)
{
	struct timespec times[2] = {time_of(args[1]), time_of(args[2])};

	result(utimensat(AT_FDCWD, path(args[0]), times, 0));
}

static void do_lutimens(char **args)
{
	struct timespec times[2] = {time_of(args[1]), time_of(args[2])};

	result(utimensat(AT_FDCWD, args[0], times, AT_SYMLINK_NOFOLLOW));
}

static void do_futimens(char **args)
{
	struct timespec times[2] = {time_of(args[1]), time_of(args[2])};

	result(futimens(slots[number(args[0])], times));
}

static void do_access(char **args)
{
	static const struct flag modes[] = {
		{"f", F_OK}, {"r", R_OK}, {"w", W_OK}, {"x", X_OK}, {NULL, 0}};

	result(faccessat(AT_FDCWD, args[0], flags_of(modes, args[1]), AT_EACCESS));
}

static void status_print(const struct stat *status, const char *fields)
{
	char copy[TEXT_MAX], *save = NULL;
	char separator = ' ';

	snprintf(copy, sizeof(copy), "%s", fields);
	for (char *field = strtok_r(copy, ",", &save); field; field = strtok_r(NULL, ",", &save)) {
		putchar(separator);
		separator = ',';
		if (!strcmp(field, "mode"))
			printf("%06o", status->st_mode);
		else if (!strcmp(field, "nlink"))
			printf("%lu-links", status->st_nlink);
		else if (!strcmp(field, "size"))
			printf("%ld-bytes", status->st_size);
		else if (!strcmp(field, "uid"))
			printf("u%u", status->st_uid);
		else if (!strcmp(field, "gid"))
			printf("g%u", status->st_gid);
		else if (!strcmp(field, "rdev"))
			printf("%u:%u", major(status->st_rdev), minor(status->st_rdev));
		else if (!strcmp(field, "atime"))
			printf("a%ld.%09ld", status->st_atim.tv_sec, status->st_atim.tv_nsec);
		else if (!strcmp(field, "mtime"))
			printf("m%ld.%09ld", status->st_mtim.tv_sec, status->st_mtim.tv_nsec);
		else if (!strcmp(field, "allocated"))
			printf("%s", status->st_blocks ? "allocated" : "no-blocks");
		else
			printf("%s?", field);
	}
}

static void do_stat(char **args)
{
	struct stat status;

	if (fstatat(AT_FDCWD, path(args[0]), &status, AT_SYMLINK_NOFOLLOW) < 0)
		result(-1);
	else
		status_print(&status, args[1]);
}

static void do_fstat(char **args)
{
	struct stat status;

	if (fstat(slots[number(args[0])], &status) < 0)
		result(-1);
	else
		status_print(&status, args[1]);
}

/* Whether two names are of one file. */
static void do_same(char **args)
{
	struct stat a, b;

	if (lstat(args[0], &a) < 0 || lstat(args[1], &b) < 0)
		result(-1);
	else
		word(a.st_ino == b.st_ino && a.st_dev == b.st_dev ? "same" : "different");
}

static void do_note(char **args)
{
	unsigned int i = 0;

	while (i < NOTES - 1 && notes[i].name[0] && strcmp(notes[i].name, args[0]))
		i++;
	snprintf(notes[i].name, sizeof(notes[i].name), "%s", args[0]);
	if (lstat(args[0], &notes[i].status) < 0)
		result(-1);
}

static bool time_equal(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void do_changed(char **args)
{
	struct stat now;
	unsigned int i = 0;

	while (i < NOTES - 1 && strcmp(notes[i].name, args[0]))
		i++;
	if (lstat(args[0], &now) < 0) {
		result(-1);
		return;
	}
	printf(" %s%s%s.", time_equal(&now.st_atim, &notes[i].status.st_atim) ? "" : "a",
		time_equal(&now.st_mtim, &notes[i].status.st_mtim) ? "" : "m",
		time_equal(&now.st_ctim, &notes[i].status.st_ctim) ? "" : "c");
}

static void do_tick(char **args)
{
	struct stat now;

	(void)args;
	do {
		if (utimensat(base_fd, "clock", NULL, 0) < 0 ||
			fstatat(base_fd, "clock", &now, 0) < 0) {
			result(-1);
			return;
		}
	} while (time_equal(&now.st_ctim, &stamp.st_ctim));
	stamp = now;
}

static void do_statvfs(char **args)
{
	struct statvfs status;

	if (statvfs(args[0], &status) < 0) {
		result(-1);
		return;
	}
	printf(" namemax=%lu,%s,%s", status.f_namemax, status.f_blocks ? "blocks" : "no-blocks",
		status.f_bfree <= status.f_blocks ? "fits" : "lies");
}

/* ---- extended attributes */

/* The value of VFS_CAP_REVISION_2 with CAP_NET_RAW, effective and permitted. */
static const char capability[] = "\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0";

static void set_attribute(char **args, bool follow)
{
	static char big[XATTR_SIZE_MAX + 1];
	static const struct flag flags[] = {
		{"any", 0}, {"create", XATTR_CREATE}, {"replace", XATTR_REPLACE}, {NULL, 0}};
	const char *value = args[2];
	size_t size = strlen(value);

	if (!strcmp(value, "CAPABILITY")) {
		value = capability;
		size = 20;
	} else if (value[0] == '@') {
		size = (size_t)number(value + 1);
		value = big;
	} else if (!strcmp(value, "''")) {
		size = 0;
	}
	result((follow ? setxattr : lsetxattr)(
		path(args[0]), path(args[1]), value, size, flags_of(flags, args[3])));
}

static void do_setxattr(char **args)
{
	set_attribute(args, true);
}

static void do_lsetxattr(char **args)
{
	set_attribute(args, false);
}

static void do_getxattr(char **args)
{
	static char value[XATTR_SIZE_MAX];
	ssize_t size = getxattr(args[0], args[1], value, sizeof(value));

	if (size < 0)
		result(-1);
	else if (size > 64 || memchr(value, '\0', (size_t)size))
		printf(" %zd-bytes", size);
	else
		printf(" \"%.*s\"", (int)size, value);
}

/* With room for so many bytes. */
static void do_getxattr_room(char **args)
{
	char value[TEXT_MAX];
	ssize_t size = getxattr(args[0], args[1], value, (size_t)number(args[2]));

	if (size < 0)
		result(-1);
	else
		printf(" %zd", size);
}

/* Sorted, of user.* and security.capability: labels are the host's affair. */
static void do_listxattr(char **args)
{
	static char list[XATTR_LIST_MAX];
	ssize_t size = llistxattr(args[0], list, sizeof(list));
	const char *names[32] = {NULL};
	size_t count = 0;

	if (size < 0) {
		result(-1);
		return;
	}
	for (ssize_t next = 0; next < size; next += (ssize_t)strlen(list + next) + 1)
		if (count < 32 &&
			(!strncmp(list + next, "user.", 5) ||
				!strcmp(list + next, "security.capability")))
			names[count++] = list + next;
	qsort(names, count, sizeof(names[0]), name_compare);
	printf(" {");
	for (size_t i = 0; i < count; i++)
		printf("%s%s", i ? "," : "", names[i]);
	printf("}");
}

static void do_removexattr(char **args)
{
	result(removexattr(args[0], args[1]));
}

/* ---- open files */

static void do_open(char **args)
{
	int slot = (int)number(args[0]);

	slots[slot] =
		open(path(args[1]), flags_of(open_flags, args[2]) | O_CLOEXEC, octal(args[3]));
	result(slots[slot]);
}

static void do_close(char **args)
{
	int slot = (int)number(args[0]);

	result(close(slots[slot]));
	slots[slot] = -1;
}

static void do_create(char **args)
{
	int fd = open(path(args[0]), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, octal(args[1]));

	result(fd);
	if (fd >= 0)
		close(fd);
}

static void do_write(char **args)
{
	ssize_t n = write(slots[number(args[0])], args[1], strlen(args[1]));

	if (n < 0)
		result(-1);
	else
		printf(" %zd", n);
}

static void do_pwrite(char **args)
{
	ssize_t n = pwrite(slots[number(args[0])], args[1], strlen(args[1]), number(args[2]));

	if (n < 0)
		result(-1);
	else
		printf(" %zd", n);
}

/* What was read; zeros as "0". */
static void bytes_print(const char *data, ssize_t n)
{
	if (n < 0) {
		result(-1);
		return;
	}
	printf(" \"");
	for (ssize_t i = 0; i < n; i++)
		putchar(data[i] ? data[i] : '0');
	printf("\"");
}

static void do_read(char **args)
{
	char data[TEXT_MAX];

	bytes_print(data, read(slots[number(args[0])], data, (size_t)number(args[1])));
}

static void do_pread(char **args)
{
	char data[TEXT_MAX];

	bytes_print(data,
		pread(slots[number(args[0])], data, (size_t)number(args[1]), number(args[2])));
}

static void do_lseek(char **args)
{
	static const struct flag whences[] = {{"set", SEEK_SET}, {"cur", SEEK_CUR},
		{"end", SEEK_END}, {"data", SEEK_DATA}, {"hole", SEEK_HOLE}, {NULL, 0}};
	off_t offset = lseek(slots[number(args[0])], number(args[1]), flags_of(whences, args[2]));

	if (offset < 0)
		result(-1);
	else
		printf(" %ld", offset);
}

static void do_fallocate(char **args)
{
	static const struct flag modes[] = {
		{"plain", 0},
		{"keep", FALLOC_FL_KEEP_SIZE},
		{"punch", FALLOC_FL_PUNCH_HOLE},
		{"zero", FALLOC_FL_ZERO_RANGE},
		{"collapse", FALLOC_FL_COLLAPSE_RANGE},
		{"insert", FALLOC_FL_INSERT_RANGE},
		{NULL, 0},
	};

	result(fallocate(slots[number(args[0])], flags_of(modes, args[1]), number(args[2]),
		number(args[3])));
}

static void do_copy(char **args)
{
	off_t from = number(args[1]), to = number(args[3]);
	ssize_t n = copy_file_range(slots[number(args[0])], &from, slots[number(args[2])], &to,
		(size_t)number(args[4]), 0);

	if (n < 0)
		result(-1);
	else
		printf(" %zd", n);
}

static void do_fsync(char **args)
{
	result(fsync(slots[number(args[0])]));
}

static void do_fdatasync(char **args)
{
	result(fdatasync(slots[number(args[0])]));
}

static void do_flock(char **args)
{
	static const struct flag operations[] = {{"shared", LOCK_SH | LOCK_NB},
		{"exclusive", LOCK_EX | LOCK_NB}, {"unlock", LOCK_UN}, {NULL, 0}};

	result(flock(slots[number(args[0])], flags_of(operations, args[1])));
}

/* Of the open file description. */
static void do_lock(char **args)
{
	static const struct flag types[] = {
		{"read", F_RDLCK}, {"write", F_WRLCK}, {"unlock", F_UNLCK}, {NULL, 0}};
	struct flock lock = {
		.l_type = (short)flags_of(types, args[1]),
		.l_whence = SEEK_SET,
		.l_start = number(args[2]),
		.l_len = number(args[3]),
	};

	result(fcntl(slots[number(args[0])], F_OFD_SETLK, &lock));
}

static void do_map(char **args)
{
	long slot = number(args[0]);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, slots[slot], 0);

	result(page == MAP_FAILED ? -1 : 0);
	pages[slot] = page == MAP_FAILED ? NULL : page;
}

static void do_poke(char **args)
{
	char *page = pages[number(args[0])];

	if (page)
		memcpy(page + number(args[2]), args[1], strlen(args[1]));
}

static void do_peek(char **args)
{
	const char *page = pages[number(args[0])];

	if (page)
		bytes_print(page + number(args[2]), number(args[1]));
}

static void do_msync(char **args)
{
	result(msync(pages[number(args[0])], 4096, MS_SYNC));
}

/* ---- who */

static void become(uid_t uid, gid_t gid, size_t count, const gid_t *groups)
{
	if (seteuid(0) < 0 || setegid(gid) < 0 || setgroups(count, groups) < 0 ||
		seteuid(uid) < 0) {
		perror("posix: cannot become another user");
		exit(2);
	}
}

static void do_as(char **args)
{
	become((uid_t)number(args[0]), (gid_t)number(args[1]), 0, NULL);
}

/* With one more group. */
static void do_member(char **args)
{
	gid_t group = (gid_t)number(args[2]);

	become((uid_t)number(args[0]), (gid_t)number(args[1]), 1, &group);
}

static void do_root(char **args)
{
	(void)args;
	become(0, 0, 0, NULL);
}

static void do_umask(char **args)
{
	umask(octal(args[0]));
}

static void do_chdir(char **args)
{
	result(chdir(args[0]));
}

static const struct command {
	const char *name;
	int arguments;
	void (*run)(char **args);
} commands[] = {
	{"mkdir", 2, do_mkdir},
	{"rmdir", 1, do_rmdir},
	{"unlink", 1, do_unlink},
	{"link", 2, do_link},
	{"linkfollow", 2, do_linkfollow},
	{"linkfd", 2, do_linkfd},
	{"symlink", 2, do_symlink},
	{"readlink", 1, do_readlink},
	{"rename", 2, do_rename},
	{"rename2", 3, do_rename2},
	{"mkfifo", 2, do_mkfifo},
	{"mknod", 5, do_mknod},
	{"list", 1, do_list},
	{"many", 2, do_many},
	{"chmod", 2, do_chmod},
	{"fchmod", 2, do_fchmod},
	{"chown", 3, do_chown},
	{"lchown", 3, do_lchown},
	{"fchown", 3, do_fchown},
	{"truncate", 2, do_truncate},
	{"ftruncate", 2, do_ftruncate},
	{"utimens", 3, do_utimens},
	{"lutimens", 3, do_lutimens},
	{"futimens", 3, do_futimens},
	{"access", 2, do_access},
	{"stat", 2, do_stat},
	{"fstat", 2, do_fstat},
	{"same", 2, do_same},
	{"note", 1, do_note},
	{"changed", 1, do_changed},
	{"tick", 0, do_tick},
	{"statvfs", 1, do_statvfs},
	{"setxattr", 4, do_setxattr},
	{"lsetxattr", 4, do_lsetxattr},
	{"getxattr", 2, do_getxattr},
	{"getxattr-room", 3, do_getxattr_room},
	{"listxattr", 1, do_listxattr},
	{"removexattr", 2, do_removexattr},
	{"open", 4, do_open},
	{"close", 1, do_close},
	{"create", 2, do_create},
	{"write", 2, do_write},
	{"pwrite", 3, do_pwrite},
	{"read", 2, do_read},
	{"pread", 3, do_pread},
	{"lseek", 3, do_lseek},
	{"fallocate", 4, do_fallocate},
	{"copy", 5, do_copy},
	{"fsync", 1, do_fsync},
	{"fdatasync", 1, do_fdatasync},
	{"flock", 2, do_flock},
	{"lock", 4, do_lock},
	{"map", 1, do_map},
	{"poke", 3, do_poke},
	{"peek", 3, do_peek},
	{"msync", 1, do_msync},
	{"as", 2, do_as},
	{"member", 3, do_member},
	{"root", 0, do_root},
	{"umask", 1, do_umask},
	{"chdir", 1, do_chdir},
};

struct posix_case {
	const char *name, *script;
};

static const struct posix_case cases[] = {
#include "posix_cases.h"
};

static void command_run(char *text)
{
	char *save = NULL, *name = strtok_r(text, " ", &save);
	char *args[ARGUMENTS_MAX] = {NULL};
	int count = 0;

	if (!name)
		return;
	for (char *arg; count < ARGUMENTS_MAX && (arg = strtok_r(NULL, " ", &save));)
		args[count++] = arg;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (count != commands[i].arguments)
			break;
		commands[i].run(args);
		return;
	}
	fprintf(stderr, "posix: no command %s with %d arguments\n", name, count);
	exit(2);
}

static void case_run(const struct posix_case *this, unsigned int index)
{
	char script[2048], directory[32], *save = NULL;

	snprintf(directory, sizeof(directory), "case-%u", index);
	if (mkdirat(base_fd, directory, 0755) < 0 || fchdir(base_fd) < 0 || chdir(directory) < 0) {
		perror("posix: cannot make a directory");
		exit(2);
	}
	if ((size_t)snprintf(script, sizeof(script), "%s", this->script) >= sizeof(script)) {
		fprintf(stderr, "posix: %s is too long\n", this->name);
		exit(2);
	}
	memset(notes, 0, sizeof(notes));
	printf("%s:", this->name);
	for (char *text = strtok_r(script, ";", &save); text; text = strtok_r(NULL, ";", &save))
		command_run(text);
	printf("\n");
	become(0, 0, 0, NULL);
	umask(0);
	for (int i = 0; i < SLOTS; i++) {
		if (pages[i])
			munmap(pages[i], 4096);
		pages[i] = NULL;
		if (slots[i] >= 0)
			close(slots[i]);
		slots[i] = -1;
	}
}

static bool case_chosen(const struct posix_case *this, char **groups)
{
	for (char **group = groups; *group; group++) {
		size_t length = strlen(*group);

		if (!strncmp(this->name, *group, length) &&
			(this->name[length] == '/' || this->name[length] == '\0'))
			return true;
	}
	return !*groups;
}

/* What rkt gives to an app. */
static void capabilities_limit(void)
{
	static const uint8_t kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER,
		CAP_MKNOD, CAP_SETGID, CAP_SETUID, CAP_SETFCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	for (size_t i = 0; i < sizeof(kept); i++)
		data[0].permitted |= 1u << kept[i];
	data[0].effective = data[0].permitted;
	if (syscall(SYS_capset, &header, data) < 0) {
		perror("posix: capset");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: posix DIRECTORY [GROUP...]\n");
		return 2;
	}
	base_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base_fd < 0 || mknodat(base_fd, "clock", S_IFREG | 0644, 0) < 0 ||
		fstatat(base_fd, "clock", &stamp, 0) < 0) {
		perror(argv[1]);
		return 2;
	}
	capabilities_limit();
	become(0, 0, 0, NULL);
	umask(0);
	memset(slots, -1, sizeof(slots));
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (case_chosen(&cases[i], argv + 2))
			case_run(&cases[i], i);
	printf("end\n");
	return fflush(stdout) == 0 ? 0 : 2;
}
