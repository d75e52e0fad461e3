// SPDX-License-Identifier: Apache-2.0
/*
 * debug_tree.c: see debug_tree.h.
 *
 * Theory of operation: first a plan is made, which says of each path of the tree what is to be there. Libraries are
 * those that the dynamic linker itself names. The plan with the size and times of the host's files is what a link is named
 * after, so that mostly nothing has to be read; the plan with their content names the tree.
 */
#include "pod/debug_tree.h"

#include "base/child.h"
#include "base/file.h"
#include "base/sha256.h"
#include "pod/pod.h"
#include "store/temporary.h"
#include "wire/wire.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define DIRECTORY   "debug"
#define TREE_PREFIX "sha256-"
#define LINK_PREFIX "of-"

#define LINKER     "/lib64/ld-linux-x86-64.so.2"
#define BUSYBOX    "bin/busybox"
#define FILE_MAX   (64u << 20)
#define OUTPUT_MAX (256u << 10)
/* Names in a pod's directory: one more for each time that the host's programs were replaced. */
#define USED_MAX (64u << 10)

#define ELF_HEADERS_MAX 64

_Static_assert(
	sizeof(TREE_PREFIX) + 2ul * SHA256_SIZE == DEBUG_TREE_NAME_SIZE, "as the header says");

static const struct {
	const char *source, *path;
	const char *package; /* NULL: it may be missing */
} programs[] = {
	{"/usr/sbin/dropbear", "bin/dropbear", "dropbear-bin"},
	{"/bin/busybox", BUSYBOX, "busybox-static"},
	/* Where dropbear looks for it. */
	{"/usr/lib/openssh/sftp-server", "usr/lib/sftp-server", "openssh-sftp-server"},
	{"/usr/bin/rsync", "bin/rsync", "rsync"},
	{"/usr/bin/scp", "bin/scp", NULL}, /* clients before OpenSSH 9, and scp -O */
	{"/usr/bin/strace", "bin/strace", NULL},
	{"/usr/bin/gdbserver", "bin/gdbserver", NULL},
};

static const uint8_t ssh_server[] = {
#include "ssh_server.h"
};

enum entry_kind { ENTRY_DIRECTORY, ENTRY_PROGRAM, ENTRY_LINK, ENTRY_TEXT, ENTRY_SSH_SERVER };

/*
 * With the sticky bit, by which the file server has libraries read in place (virtio/fs/dax.h): they are started by few, and
 * little of them is touched.
 */
#define PROGRAM_MODE 01755

struct entry {
	enum entry_kind kind;
	char *path;  /* in the tree */
	char *value; /* path of the host; the link's target; the text */
};

struct plan {
	struct entry *entries;
	size_t count;
};

static const struct {
	enum entry_kind kind;
	const char *path, *value;
} fixed[] = {
	/* To be mounted on. */
	{ENTRY_DIRECTORY, "apps", ""},
	{ENTRY_DIRECTORY, "dev", ""},
	{ENTRY_DIRECTORY, "proc", ""},
	{ENTRY_DIRECTORY, "root", ""},
	{ENTRY_DIRECTORY, "sys", ""},
	{ENTRY_DIRECTORY, "tmp", ""},
	{ENTRY_DIRECTORY, "volumes", ""},
	{ENTRY_TEXT, "etc/hostname", ""},
	{ENTRY_TEXT, "etc/hosts", ""},
	{ENTRY_TEXT, "etc/machine-id", ""},
	{ENTRY_TEXT, "etc/resolv.conf", ""},
	{ENTRY_LINK, "etc/mtab", "../proc/self/mounts"},
	{ENTRY_TEXT, "etc/passwd", "root:*:0:0:root:/root:/bin/sh\n"},
	{ENTRY_TEXT, "etc/group", "root:*:0:\n"},
	{ENTRY_TEXT, "etc/shells", "/bin/sh\n"},
	{ENTRY_TEXT, "etc/profile", "PS1='\\u@\\h:\\w\\$ '\n"},
	{ENTRY_LINK, "sbin", "bin"},
	{ENTRY_LINK, "usr/bin", "../bin"},
	{ENTRY_LINK, "usr/sbin", "../bin"},
	{ENTRY_LINK, "var/run", "/tmp"},
	{ENTRY_SSH_SERVER, WIRE_DEBUG_PRELOAD, ""},
};

/* ---- the plan */

static void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->entries[i].path);
		free(plan->entries[i].value);
	}
	free(plan->entries);
}

/* What is at this path already stays. */
static int plan_add(struct plan *plan, enum entry_kind kind, const char *path, const char *value)
{
	struct entry *entries, *entry;

	for (size_t i = 0; i < plan->count; i++)
		if (!strcmp(plan->entries[i].path, path))
			return 0;
	entries = realloc(plan->entries, (plan->count + 1) * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	plan->entries = entries;
	entry = &entries[plan->count];
	*entry = (struct entry){.kind = kind, .path = strdup(path), .value = strdup(value)};
	plan->count++;
	return entry->path && entry->value ? 0 : -ENOMEM;
}

/* Whether the dynamic linker loads it: 1 or 0. */
static int program_is_dynamic(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Phdr segments[ELF_HEADERS_MAX];
	Elf64_Ehdr header;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, &header, sizeof(header), 0);
	if (n != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
		header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
		header.e_phentsize != sizeof(segments[0]) || header.e_phnum > ELF_HEADERS_MAX ||
		header.e_phoff > INT64_MAX)
		return -ENOEXEC;
	n = pread(fd, segments, header.e_phnum * sizeof(segments[0]), (off_t)header.e_phoff);
	if (n != (ssize_t)(header.e_phnum * sizeof(segments[0])))
		return -ENOEXEC;
	for (unsigned int i = 0; i < header.e_phnum; i++)
		if (segments[i].p_type == PT_INTERP)
			return 1;
	return 0;
}

int debug_tree_next_library(const char **text, char *path, size_t size)
{
	static const char arrow[] = " => ", address[] = " (0x";

	while (**text) {
		const char *line = *text, *start = line + strspn(line, " \t"), *end, *found;
		size_t length = strcspn(line, "\n");
		bool is_missing;

		*text = line + length + (line[length] == '\n');
		end = line + length;
		found = memmem(start, (size_t)(end - start), arrow, strlen(arrow));
		is_missing = found && found[strlen(arrow)] != '/';
		if (found && !is_missing)
			start = found + strlen(arrow);
		/* The kernel's own library has no path. */
		if (!is_missing && (start == end || *start != '/'))
			continue;
		found = is_missing ? found
				   : memmem(start, (size_t)(end - start), address, strlen(address));
		length = (size_t)((found ? found : end) - start);
		if (length >= size)
			return -ENAMETOOLONG;
		memcpy(path, start, length);
		path[length] = '\0';
		return is_missing ? -ENOENT : 1;
	}
	return 0;
}

static int plan_add_libraries(struct plan *plan, const char *program, struct error *err)
{
	const char *const argv[] = {LINKER, "--list", program, NULL};
	_cleanup_free_ char *output = NULL;
	char path[PATH_MAX];
	const char *text;
	int r = child_run(AT_FDCWD, LINKER, argv, OUTPUT_MAX, &output);

	if (r != 0)
		return r < 0 ? error_set_errno(err, r, "cannot execute %s", LINKER)
			     : error_set(err, -ENOEXEC, "%s cannot tell the libraries of %s",
				       LINKER, program);
	text = output;
	while ((r = debug_tree_next_library(&text, path, sizeof(path))) > 0) {
		r = plan_add(plan, ENTRY_PROGRAM, path + 1, path);
		if (r < 0)
			break;
	}
	return r < 0 ? error_set_errno(err, r, "the libraries of %s", program) : 0;
}

/* The tools that busybox is. */
static int plan_add_tools(struct plan *plan, const char *busybox, struct error *err)
{
	const char *const argv[] = {busybox, "--list", NULL};
	_cleanup_free_ char *output = NULL;
	char *position, *line;
	int r = child_run(AT_FDCWD, busybox, argv, OUTPUT_MAX, &output);

	if (r != 0)
		return r < 0 ? error_set_errno(err, r, "cannot execute %s", busybox)
			     : error_set(err, -ENOEXEC, "%s cannot tell its tools", busybox);
	position = output;
	while (r == 0 && (line = strsep(&position, "\n"))) {
		char path[sizeof("bin/") + NAME_MAX];

		if (!file_name_is_safe(line))
			continue;
		snprintf(path, sizeof(path), "bin/%s", line);
		r = plan_add(plan, ENTRY_LINK, path, strrchr(BUSYBOX, '/') + 1);
	}
	return r < 0 ? error_set_errno(err, r, "cannot plan the debug tree") : 0;
}

/* Every package that is missing is named at once. */
static int check_packages(struct error *err)
{
	char packages[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (programs[i].package && access(programs[i].source, X_OK) < 0)
			length += (size_t)snprintf(packages + length, sizeof(packages) - length,
				" %s", programs[i].package);
	return length == 0 ? 0
			   : error_set(err, -ENOPKG,
				     "ssh into a pod needs programs that are not installed; as "
				     "root: apt-get install%s",
				     packages);
}

static int entry_compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

static int plan_make(struct plan *plan, struct error *err)
{
	int r = check_packages(err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fixed); i++)
		r = plan_add(plan, fixed[i].kind, fixed[i].path, fixed[i].value);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++) {
		const char *source = programs[i].source;

		if (access(source, X_OK) < 0)
			continue;
		r = plan_add(plan, ENTRY_PROGRAM, programs[i].path, source);
		if (r < 0)
			break;
		r = program_is_dynamic(source);
		if (r < 0)
			return error_set_errno(err, r, "cannot read %s", source);
		r = r > 0 ? plan_add_libraries(plan, source, err) : 0;
		/* After the programs that have the name of one of its tools. */
		if (r < 0)
			return r;
	}
	if (r < 0)
		return error_set_errno(err, r, "cannot plan the debug tree");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i].path, BUSYBOX))
			r = plan_add_tools(plan, programs[i].source, err);
	if (r == 0)
		qsort(plan->entries, plan->count, sizeof(plan->entries[0]), entry_compare);
	return r;
}

/* ---- names */

static void digest_text(struct sha256 *sha, const char *text)
{
	sha256_update(sha, text, strlen(text) + 1);
}

static void digest_entry(struct sha256 *sha, const struct entry *entry)
{
	const uint8_t kind = (uint8_t)entry->kind;

	sha256_update(sha, &kind, 1);
	digest_text(sha, entry->path);
	if (entry->kind == ENTRY_PROGRAM) {
		const uint16_t mode = PROGRAM_MODE;

		sha256_update(sha, &mode, sizeof(mode));
	} else if (entry->kind == ENTRY_SSH_SERVER) {
		sha256_update(sha, ssh_server, sizeof(ssh_server));
	} else {
		digest_text(sha, entry->value);
	}
}

static void name_finish(struct sha256 *sha, const char *prefix, char name[DEBUG_TREE_NAME_SIZE])
{
	char text[SHA256_TEXT_SIZE];

	sha256_final_text(sha, text);
	snprintf(name, DEBUG_TREE_NAME_SIZE, "%s%s", prefix, text);
}

/* The name of the link to the tree that would be made of the plan now. */
static int plan_name_link(const struct plan *plan, char name[DEBUG_TREE_NAME_SIZE])
{
	struct sha256 sha;

	sha256_init(&sha);
	for (size_t i = 0; i < plan->count; i++) {
		const struct entry *entry = &plan->entries[i];
		struct stat st;

		digest_entry(&sha, entry);
		if (entry->kind != ENTRY_PROGRAM)
			continue;
		if (stat(entry->value, &st) < 0)
			return -errno;
		const uint64_t facts[] = {st.st_dev, st.st_ino, (uint64_t)st.st_size,
			(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
			(uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec};

		digest_text(&sha, entry->value);
		sha256_update(&sha, facts, sizeof(facts));
	}
	name_finish(&sha, LINK_PREFIX, name);
	return 0;
}

static bool name_is_tree(const char *name)
{
	size_t prefix = strlen(TREE_PREFIX);

	return !strncmp(name, TREE_PREFIX, prefix) && strlen(name) == DEBUG_TREE_NAME_SIZE - 1 &&
		strspn(name + prefix, "0123456789abcdef") == 2ul * SHA256_SIZE;
}

/* The tree that a link leads to, when it is there. */
static bool link_follow(int debug_fd, const char *link, char name[DEBUG_TREE_NAME_SIZE])
{
	char target[DEBUG_TREE_NAME_SIZE + 1];
	ssize_t n = readlinkat(debug_fd, link, target, sizeof(target) - 1);
	struct stat st;

	if (n < 0)
		return false;
	target[n] = '\0';
	if (!name_is_tree(target) || fstatat(debug_fd, target, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!S_ISDIR(st.st_mode))
		return false;
	memcpy(name, target, DEBUG_TREE_NAME_SIZE);
	return true;
}

/* ---- making one */

static int digest_file(struct sha256 *sha, int fd)
{
	char buffer[64 << 10];
	uint64_t length = 0;
	ssize_t n;

	while ((n = pread(fd, buffer, sizeof(buffer), (off_t)length)) > 0) {
		sha256_update(sha, buffer, (size_t)n);
		length += (uint64_t)n;
	}
	/* So that no content is taken for what follows it. */
	sha256_update(sha, &length, sizeof(length));
	return n < 0 ? -errno : 0;
}

static int write_program(int root, const struct entry *entry, struct sha256 *sha)
{
	_cleanup_close_ int source = open(entry->value, O_RDONLY | O_CLOEXEC), target = -1;
	int r;

	if (source < 0)
		return -errno;
	target = openat(root, entry->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PROGRAM_MODE);
	if (target < 0)
		return -errno;
	r = file_copy(source, target, FILE_MAX);
	return r < 0 ? r : digest_file(sha, target);
}

static int write_text(int root, const struct entry *entry, const void *text, size_t length)
{
	_cleanup_close_ int fd =
		openat(root, entry->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : file_write_all(fd, text, length);
}

static int write_entry(int root, const struct entry *entry, struct sha256 *sha)
{
	const char *slash = strrchr(entry->path, '/');

	digest_entry(sha, entry);
	if (slash) {
		_cleanup_free_ char *parent = strndup(entry->path, (size_t)(slash - entry->path));
		int r = parent ? directory_create_path(root, parent, 0755) : -ENOMEM;

		if (r < 0)
			return r;
	}
	switch (entry->kind) {
	case ENTRY_DIRECTORY:
		return mkdirat(root, entry->path, 0755) < 0 ? -errno : 0;
	case ENTRY_PROGRAM:
		return write_program(root, entry, sha);
	case ENTRY_LINK:
		return symlinkat(entry->value, root, entry->path) < 0 ? -errno : 0;
	case ENTRY_TEXT:
		return write_text(root, entry, entry->value, strlen(entry->value));
	case ENTRY_SSH_SERVER:
		return write_text(root, entry, ssh_server, sizeof(ssh_server));
	}
	return -EINVAL;
}

/* #syscalls: syncfs */
static int write_tree(
	const struct plan *plan, int root, char name[DEBUG_TREE_NAME_SIZE], struct error *err)
{
	mode_t mask = umask(022);
	struct sha256 sha;
	int r = 0;

	sha256_init(&sha);
	for (size_t i = 0; r == 0 && i < plan->count; i++) {
		r = write_entry(root, &plan->entries[i], &sha);
		if (r < 0)
			error_set_errno(
				err, r, "cannot write %s of the debug tree", plan->entries[i].path);
	}
	umask(mask);
	name_finish(&sha, TREE_PREFIX, name);
	if (r == 0 && (fchmod(root, 0755) < 0 || syncfs(root) < 0))
		r = error_set_errno(err, -errno, "cannot write the debug tree");
	return r;
}

/* What the link named before is void. */
static int write_link(int debug_fd, const char *link, const char *tree)
{
	char name[48];
	int r = file_make_unique_name(name, sizeof(name), LINK_PREFIX);

	if (r < 0)
		return r;
	if (symlinkat(tree, debug_fd, name) < 0)
		return -errno;
	return renameat(debug_fd, name, debug_fd, link) < 0 ? -errno : 0;
}

static int tmp_open(int data_dirfd)
{
	int r = directory_create_path(data_dirfd, "tmp", 0750);

	return r < 0 ? r : directory_open(data_dirfd, "tmp");
}

static int make_tree(const struct plan *plan, int data_dirfd, int debug_fd, const char *link,
	char name[DEBUG_TREE_NAME_SIZE], struct error *err)
{
	_cleanup_close_ int tmp = tmp_open(data_dirfd);
	_cleanup_temporary_ struct temporary temporary = TEMPORARY_NONE;
	int r = tmp < 0 ? tmp : temporary_create(tmp, "debug-", &temporary);

	if (r < 0)
		return error_set_errno(err, r, "cannot make a directory for the debug tree");
	r = write_tree(plan, temporary.fd, name, err);
	if (r < 0)
		return r;
	r = temporary_publish(&temporary, debug_fd, name);
	/* Somebody was faster, or other files had the same content before. */
	if (r == -EEXIST)
		r = 0;
	if (r == 0)
		r = write_link(debug_fd, link, name);
	return r < 0 ? error_set_errno(err, r, "cannot keep the debug tree") : 0;
}

int debug_trees_open(int data_dirfd)
{
	int r = directory_create_path(data_dirfd, DIRECTORY, 0755);

	return r < 0 ? r : directory_open(data_dirfd, DIRECTORY);
}

/* #syscalls: flock */
static int lock(int debug_fd, int operation)
{
	while (flock(debug_fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int debug_tree_get(
	int data_dirfd, char name[DEBUG_TREE_NAME_SIZE], int *ret_lock_fd, struct error *err)
{
	_cleanup_(plan_done) struct plan plan = {0};
	_cleanup_close_ int debug_fd = debug_trees_open(data_dirfd);
	char link[DEBUG_TREE_NAME_SIZE];
	int r = debug_fd < 0 ? debug_fd : lock(debug_fd, LOCK_SH);

	if (r < 0)
		return error_set_errno(err, r, "cannot open the directory of debug trees");
	r = plan_make(&plan, err);
	if (r < 0)
		return r;
	r = plan_name_link(&plan, link);
	if (r < 0)
		return error_set_errno(err, r, "cannot plan the debug tree");
	if (!link_follow(debug_fd, link, name))
		r = make_tree(&plan, data_dirfd, debug_fd, link, name, err);
	if (r < 0)
		return r;
	*ret_lock_fd = TAKE_FD(debug_fd);
	return 0;
}

/* Whether a list has this line. */
static bool has_line(const char *list, const char *line)
{
	size_t length = strlen(line), at;

	for (; *list; list += at + (list[at] == '\n')) {
		at = strcspn(list, "\n");
		if (at == length && !memcmp(list, line, length))
			return true;
	}
	return false;
}

int debug_tree_note_use(int pod_fd, const char *name)
{
	_cleanup_free_ char *used = NULL, *text = NULL;
	/* The lock is this fd's, whatever else the pod's is used for, and goes with it. */
	_cleanup_close_ int lock_fd = directory_open(pod_fd, ".");
	int r = lock_fd < 0 ? lock_fd : lock(lock_fd, LOCK_EX);

	if (r < 0)
		return r;
	r = file_read(pod_fd, POD_DEBUG_TREE, USED_MAX, &used, NULL);
	if (r < 0 && r != -ENOENT)
		return r;
	if (used && has_line(used, name))
		return 0;
	if (asprintf(&text, "%s%s\n", used ? used : "", name) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return file_write_atomic(pod_fd, POD_DEBUG_TREE, text, strlen(text), 0640);
}

/* ---- and removing them */

static bool is_used(const char *name, char *const *used, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(used[i], name))
			return true;
	return false;
}

static int tree_remove(int tmp, int debug_fd, const char *name)
{
	_cleanup_temporary_ struct temporary temporary = TEMPORARY_NONE;
	int r = temporary_take(tmp, "debug-", debug_fd, name, &temporary);

	return r == 0 ? temporary_discard(&temporary) : r == -ENOENT ? 0 : r;
}

/* The trees that nobody uses, then the links that lead nowhere. */
static int collect(int tmp, int debug_fd, char *const *used, size_t count, size_t *ret_removed)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	struct stat st;
	int r = directory_open_stream(debug_fd, ".", &directory);

	if (r < 0)
		return r;
	while (r == 0 && (entry = readdir(directory)))
		if (name_is_tree(entry->d_name) && !is_used(entry->d_name, used, count)) {
			r = tree_remove(tmp, debug_fd, entry->d_name);
			*ret_removed += r == 0;
		}
	rewinddir(directory);
	while (r == 0 && (entry = readdir(directory)))
		if (!strncmp(entry->d_name, LINK_PREFIX, strlen(LINK_PREFIX)) &&
			fstatat(debug_fd, entry->d_name, &st, 0) < 0 && errno == ENOENT &&
			unlinkat(debug_fd, entry->d_name, 0) < 0)
			r = -errno;
	return r;
}

int debug_trees_collect(int data_dirfd,
	int (*list)(void *context, char ***ret_names, size_t *ret_count, struct error *err),
	void *context, size_t *ret_removed, struct error *err)
{
	_cleanup_close_ int debug_fd = directory_open(data_dirfd, DIRECTORY), tmp = -1;
	char **used = NULL;
	size_t count = 0;
	int r;

	if (debug_fd == -ENOENT)
		return 0;
	tmp = tmp_open(data_dirfd);
	r = debug_fd < 0 ? debug_fd : tmp < 0 ? tmp : lock(debug_fd, LOCK_EX);
	if (r < 0)
		return error_set_errno(err, r, "cannot open the directory of debug trees");
	r = list(context, &used, &count, err);
	if (r == 0) {
		r = collect(tmp, debug_fd, used, count, ret_removed);
		if (r < 0)
			error_set_errno(err, r, "cannot remove debug trees");
	}
	pods_strings_free(used, count);
	return r;
}
