// SPDX-License-Identifier: Apache-2.0
/* test_base.c: files that survive, directories that go away, and text and numbers from strangers.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "turns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct directory {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	struct directory *directory = calloc(1, sizeof(*directory));

	assert_non_null(directory);
	snprintf(directory->path, sizeof(directory->path), "/tmp/appc-base-XXXXXX");
	assert_non_null(mkdtemp(directory->path));
	directory->fd = directory_open(AT_FDCWD, directory->path);
	assert_true(directory->fd >= 0);
	*state = directory;
	return 0;
}

static int tear_down(void **state)
{
	struct directory *directory = *state;

	close(directory->fd);
	assert_int_equal(directory_remove(AT_FDCWD, directory->path), 0);
	free(directory);
	return 0;
}

static int here(void **state)
{
	return ((struct directory *)*state)->fd;
}

static size_t count_entries(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *directory = fdopendir(fd);
	size_t count = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	return count;
}

static bool exists(int dirfd, const char *path)
{
	return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void write_file(int dirfd, const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(dirfd, path, text, strlen(text), 0644), 0);
}

static void assert_content(int dirfd, const char *path, const char *expected)
{
	_cleanup_free_ char *data = NULL;
	size_t length;

	assert_int_equal(file_read(dirfd, path, 1 << 20, &data, &length), 0);
	assert_int_equal(length, strlen(expected));
	assert_string_equal(data, expected);
}

/* ---- files */

static void written_file_replaces_the_old_one_whole(void **state)
{
	int dirfd = here(state);
	struct stat st;

	write_file(dirfd, "file", "a long first text");
	_cleanup_close_ int old = openat(dirfd, "file", O_RDONLY | O_CLOEXEC);

	assert_int_equal(file_write_atomic(dirfd, "file", "new", 3, 0600), 0);
	assert_content(dirfd, "file", "new");
	assert_int_equal(fstatat(dirfd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstat(old, &st), 0);
	assert_int_equal(st.st_nlink, 0); /* replaced, not overwritten */
	assert_int_equal(st.st_size, 17);
	assert_int_equal(count_entries(dirfd), 1);
}

static void file_that_need_not_last_is_replaced_whole_too(void **state)
{
	int dirfd = here(state);
	struct stat st;

	write_file(dirfd, "file", "a long first text");
	_cleanup_close_ int old = openat(dirfd, "file", O_RDONLY | O_CLOEXEC);

	assert_int_equal(file_replace(dirfd, "file", "new", 3, 0600), 0);
	assert_content(dirfd, "file", "new");
	assert_int_equal(fstat(old, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(count_entries(dirfd), 1);
	assert_int_equal(file_sync(dirfd, "file"), 0);
	assert_int_equal(file_sync(dirfd, "other"), -ENOENT);
	assert_int_equal(symlinkat("file", dirfd, "link"), 0);
	assert_int_equal(file_sync(dirfd, "link"), -ELOOP);
}

static void written_file_has_its_mode_whatever_the_umask(void **state)
{
	int dirfd = here(state);
	mode_t mask = umask(0777);
	struct stat st;
	int r = file_write_atomic(dirfd, "file", "", 0, 0644);

	umask(mask);
	assert_int_equal(r, 0);
	assert_int_equal(fstatat(dirfd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_size, 0);
}

static void write_replaces_a_link_and_not_what_it_points_to(void **state)
{
	int dirfd = here(state);

	write_file(dirfd, "target", "untouched");
	assert_int_equal(symlinkat("target", dirfd, "link"), 0);
	write_file(dirfd, "link", "new");
	assert_content(dirfd, "target", "untouched");
	assert_content(dirfd, "link", "new");
}

static void failed_write_leaves_nothing_behind(void **state)
{
	int dirfd = here(state);

	assert_int_equal(directory_create_path(dirfd, "taken/full", 0755), 0);
	assert_int_equal(file_write_atomic(dirfd, "taken", "x", 1, 0644), -EISDIR);
	assert_int_equal(file_write_atomic(dirfd, "none/file", "x", 1, 0644), -ENOENT);
	assert_true(file_write_atomic(dirfd, "taken/", "x", 1, 0644) < 0);
	assert_int_equal(count_entries(dirfd), 1);
	_cleanup_close_ int taken = directory_open(dirfd, "taken");

	assert_int_equal(count_entries(taken), 1);
}

/* A full disk, played by a limit: the old content stays. */
static void write_that_does_not_fit_keeps_the_old_content(void **state)
{
	int dirfd = here(state), status;
	pid_t child;

	write_file(dirfd, "file", "old");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		static const char data[8192];
		struct rlimit limit = {4096, 4096};

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		_exit(file_write_atomic(dirfd, "file", data, sizeof(data), 0644) == -EFBIG ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_content(dirfd, "file", "old");
	assert_int_equal(count_entries(dirfd), 1);
}

static void read_is_bounded(void **state)
{
	_cleanup_free_ char *data = NULL, *large = malloc(100000);
	int dirfd = here(state);
	size_t length = 0;

	assert_non_null(large);
	memset(large, 'x', 100000);
	assert_int_equal(file_write_atomic(dirfd, "file", large, 100000, 0644), 0);
	assert_int_equal(file_read(dirfd, "file", 99999, &data, &length), -EFBIG);
	assert_null(data);
	assert_int_equal(file_read(dirfd, "file", 100000, &data, &length), 0);
	assert_int_equal(length, 100000);
	assert_int_equal(data[100000], 0);
	assert_memory_equal(data, large, length);
}

static void only_regular_files_are_read(void **state)
{
	int dirfd = here(state);
	char *data;

	assert_int_equal(mkdirat(dirfd, "directory", 0755), 0);
	assert_int_equal(mkfifoat(dirfd, "fifo", 0644), 0);
	assert_int_equal(file_read(dirfd, "directory", 10, &data, NULL), -EISDIR);
	assert_int_equal(
		file_read(dirfd, "fifo", 10, &data, NULL), -EINVAL); /* and does not hang */
	assert_int_equal(file_read(dirfd, "none", 10, &data, NULL), -ENOENT);
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 10, &data, NULL), -EINVAL);
}

static void endless_input_is_cut_off(void **state)
{
	_cleanup_close_ int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	char *data;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(file_read_fd(fd, 1 << 20, &data, NULL), -EFBIG);
}

static void unsafe_names_are_known(void **state)
{
	char name[257];

	(void)state;
	assert_true(file_name_is_safe("a"));
	assert_true(file_name_is_safe("..."));
	assert_true(file_name_is_safe(".a"));
	assert_true(file_name_is_safe("a b\n"));
	assert_false(file_name_is_safe(""));
	assert_false(file_name_is_safe("."));
	assert_false(file_name_is_safe(".."));
	assert_false(file_name_is_safe("/"));
	assert_false(file_name_is_safe("a/b"));
	assert_false(file_name_is_safe("a/"));
	memset(name, 'n', 256);
	name[256] = '\0';
	assert_false(file_name_is_safe(name));
	name[255] = '\0';
	assert_true(file_name_is_safe(name));
}

static void unique_names_differ_and_fit(void **state)
{
	char first[32], second[32];

	(void)state;
	assert_int_equal(file_make_unique_name(first, sizeof(first), "prefix-"), 0);
	assert_int_equal(file_make_unique_name(second, sizeof(second), "prefix-"), 0);
	assert_string_not_equal(first, second);
	assert_int_equal(strlen(first), 7 + 16);
	assert_int_equal(file_make_unique_name(first, 7 + 16, "prefix-"), -ENAMETOOLONG);
}

/* ---- ways out of a directory */

/* inside/ with links of all kinds, and outside/secret beside it. */
static int make_escapes(int dirfd)
{
	int inside;

	assert_int_equal(directory_create_path(dirfd, "outside", 0755), 0);
	assert_int_equal(directory_create_path(dirfd, "inside/sub/deep", 0755), 0);
	assert_int_equal(directory_create_path(dirfd, "inside/outside", 0755), 0);
	write_file(dirfd, "outside/secret", "secret");
	write_file(dirfd, "inside/sub/file", "inside");
	write_file(dirfd, "inside/outside/secret", "decoy");
	inside = directory_open(dirfd, "inside");
	assert_true(inside >= 0);
	assert_int_equal(symlinkat("sub/file", inside, "to-file"), 0);
	assert_int_equal(symlinkat("../sub", inside, "sub/back"), 0);
	assert_int_equal(symlinkat("/outside/secret", inside, "absolute"), 0);
	assert_int_equal(symlinkat("../outside/secret", inside, "relative"), 0);
	assert_int_equal(symlinkat("..", inside, "up"), 0);
	assert_int_equal(symlinkat("/proc/self/root", inside, "magic"), 0);
	assert_int_equal(symlinkat("loop", inside, "loop"), 0);
	return inside;
}

static void assert_opens(int fd, const char *expected)
{
	_cleanup_close_ int owned = fd;
	_cleanup_free_ char *data = NULL;

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(file_read_fd(fd, 100, &data, NULL), 0);
	assert_string_equal(data, expected);
}

static void open_beneath_never_leaves(void **state)
{
	static const char *const escapes[] = {"..", "../outside/secret", "/", "/etc/passwd",
		"absolute", "relative", "up", "up/outside/secret", "sub/../../outside/secret",
		"magic", "magic/etc/passwd", "sub/back/../../outside/secret"};
	_cleanup_close_ int inside = make_escapes(here(state));

	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
		assert_int_equal(file_open_beneath(inside, escapes[i], O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_open_beneath(inside, "loop", O_RDONLY, 0), -ELOOP);
	assert_int_equal(file_open_beneath(inside, "", O_RDONLY, 0), -ENOENT);
	assert_int_equal(file_open_beneath(inside, "up/new", O_WRONLY | O_CREAT, 0644), -EXDEV);
	assert_false(exists(here(state), "new"));
	assert_opens(file_open_beneath(inside, "to-file", O_RDONLY, 0), "inside");
	assert_opens(file_open_beneath(inside, "sub/back/file", O_RDONLY, 0), "inside");
	assert_opens(file_open_beneath(inside, "sub/../sub/file", O_RDONLY, 0), "inside");
	assert_int_equal(file_open_beneath(inside, "none", O_RDONLY, 0), -ENOENT);
}

static void open_in_root_stays_as_in_a_chroot(void **state)
{
	_cleanup_close_ int inside = make_escapes(here(state));

	assert_opens(file_open_in_root(inside, "/sub/file", O_RDONLY, 0), "inside");
	assert_opens(file_open_in_root(inside, "../../../sub/file", O_RDONLY, 0), "inside");
	assert_opens(file_open_in_root(inside, "absolute", O_RDONLY, 0), "decoy");
	assert_opens(file_open_in_root(inside, "relative", O_RDONLY, 0), "decoy");
	assert_opens(file_open_in_root(inside, "up/outside/secret", O_RDONLY, 0), "decoy");
	assert_true(file_open_in_root(inside, "magic/etc/passwd", O_RDONLY, 0) < 0);
	assert_int_equal(file_open_in_root(inside, "loop", O_RDONLY, 0), -ELOOP);
	assert_opens(file_open_in_root(inside, "/../new", O_RDWR | O_CREAT, 0600), "");
	assert_true(exists(inside, "new"));
}

static void magic_links_are_not_followed(void **state)
{
	_cleanup_close_ int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_true(proc >= 0);
	assert_int_equal(file_open_beneath(proc, "root", O_RDONLY | O_DIRECTORY, 0), -ELOOP);
	assert_int_equal(file_open_in_root(proc, "fd/0", O_RDONLY, 0), -ELOOP);
}

/* ---- directories */

static void path_is_created_with_all_its_parents(void **state)
{
	int dirfd = here(state);

	assert_int_equal(directory_create_path(dirfd, "a/b//c/", 0755), 0);
	assert_int_equal(directory_create_path(dirfd, "a/b/c", 0700), 0);
	assert_true(exists(dirfd, "a/b/c"));
	assert_int_equal(directory_create_path(dirfd, "", 0755), 0);
	write_file(dirfd, "file", "x");
	assert_int_equal(directory_create_path(dirfd, "file/sub", 0755), -ENOTDIR);
	assert_int_equal(directory_create_path(dirfd, "file", 0755), -ENOTDIR);
	assert_int_equal(directory_create_path(dirfd, "a/b/c/d", 0755), 0);
}

static void directory_open_follows_no_link_at_the_end(void **state)
{
	int dirfd = here(state);

	assert_int_equal(mkdirat(dirfd, "directory", 0755), 0);
	assert_int_equal(symlinkat("directory", dirfd, "link"), 0);
	assert_int_equal(directory_open(dirfd, "link"), -ENOTDIR);
	write_file(dirfd, "file", "x");
	assert_int_equal(directory_open(dirfd, "file"), -ENOTDIR);
	assert_int_equal(directory_sync(dirfd, "directory"), 0);
	assert_int_equal(directory_sync(dirfd, "none"), -ENOENT);
}

static void rename_to_a_name_that_is_taken_is_refused(void **state)
{
	int dirfd = here(state);
	_cleanup_close_ int to = -1;

	assert_int_equal(directory_create_path(dirfd, "to/taken", 0755), 0);
	assert_int_equal(directory_create_path(dirfd, "taken", 0755), 0);
	to = directory_open(dirfd, "to");
	assert_int_equal(directory_rename_new(dirfd, "taken", to, "taken"), -EEXIST);
	assert_int_equal(directory_rename_new(dirfd, "taken", to, "free"), 0);
	assert_int_equal(directory_rename_new(dirfd, "taken", to, "other"), -ENOENT);
	assert_true(exists(to, "free"));
}

static void everything_in_a_directory_is_removed(void **state)
{
	int dirfd = here(state);
	char name[32];

	assert_int_equal(directory_create_path(dirfd, "victim/a/b/c", 0755), 0);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "victim/a/%d", i);
		assert_int_equal(i % 2 ? mkdirat(dirfd, name, 0755)
				       : mknodat(dirfd, name, S_IFREG | 0644, 0),
			0);
	}
	assert_int_equal(mkfifoat(dirfd, "victim/fifo", 0644), 0);
	assert_int_equal(directory_remove(dirfd, "victim"), 0);
	assert_int_equal(count_entries(dirfd), 0);
	assert_int_equal(directory_remove(dirfd, "victim"), 0); /* missing is success */
	write_file(dirfd, "file", "x");
	assert_int_equal(directory_remove(dirfd, "file"), 0);
	assert_false(exists(dirfd, "file"));
}

/* Deeper than the longest path, than any stack and than the table of open files. */
static void directory_of_any_depth_is_removed(void **state)
{
	int dirfd = here(state);
	int at = dup(dirfd);

	for (int depth = 0; depth < 5000; depth++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0755), 0);
		if (depth % 100 == 0) {
			assert_int_equal(mkdirat(at, "e", 0755), 0);
			assert_int_equal(mknodat(at, "f", S_IFREG | 0644, 0), 0);
		}
		next = directory_open(at, "d");
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	close(at);
	assert_int_equal(directory_remove(dirfd, "d"), 0);
	assert_false(exists(dirfd, "d"));
}

static void a_bounded_removal_leaves_the_rest_for_the_next_time(void **state)
{
	int dirfd = here(state);
	char name[32];

	assert_int_equal(directory_create_path(dirfd, "victim/sub", 0755), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), i % 2 ? "victim/%d" : "victim/sub/%d", i);
		assert_int_equal(mknodat(dirfd, name, S_IFREG | 0644, 0), 0);
	}
	/* 11 names in all. */
	assert_int_equal(directory_remove_bounded(dirfd, "victim", 0), -EAGAIN);
	assert_int_equal(directory_remove_bounded(dirfd, "victim", 4), -EAGAIN);
	assert_true(exists(dirfd, "victim"));
	/* At least 3 have gone, where "sub" was one of the 4. */
	assert_int_equal(directory_remove_bounded(dirfd, "victim", 8), 0);
	assert_false(exists(dirfd, "victim"));
	assert_int_equal(directory_remove_bounded(dirfd, "victim", 0), 0);
}

struct name_maker {
	int fd; /* the directory that is being removed, as a guest has it open */
	atomic_bool is_told_to_end;
};

static void *make_names(void *context)
{
	struct name_maker *maker = context;
	char name[32];

	/* More than the removal looks at; where threads take turns, it might never have its own. */
	for (unsigned int i = 0; i < turns(4000000) && !maker->is_told_to_end; i++) {
		snprintf(name, sizeof(name), "%u", i);
		/* It has gone: nobody makes names in it any more. */
		if (mknodat(maker->fd, name, S_IFREG | 0644, 0) < 0 && errno == ENOENT)
			break;
	}
	return NULL;
}

static void removal_ends_where_somebody_goes_on_making_names(void **state)
{
	struct name_maker makers[2];
	pthread_t threads[2];
	int dirfd = here(state), r;

	assert_int_equal(directory_create_path(dirfd, "victim/sub", 0755), 0);
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		makers[i] = (struct name_maker){
			.fd = directory_open(dirfd, i ? "victim/sub" : "victim")};
		assert_true(makers[i].fd >= 0);
		assert_int_equal(pthread_create(&threads[i], NULL, make_names, &makers[i]), 0);
	}
	/* The test's whole is that it gets here, with whichever of the three it is this time. */
	r = directory_remove_bounded(dirfd, "victim", 20000);
	assert_true(r == 0 || r == -EAGAIN || r == -ENOTEMPTY);
	assert_true(exists(dirfd, "victim") == (r < 0));
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		makers[i].is_told_to_end = true;
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		close(makers[i].fd);
	}
	assert_int_equal(directory_remove_bounded(dirfd, "victim", UINT64_MAX), 0);
	assert_false(exists(dirfd, "victim"));
}

static void removal_follows_no_link(void **state)
{
	int dirfd = here(state);

	assert_int_equal(directory_create_path(dirfd, "precious/sub", 0755), 0);
	write_file(dirfd, "precious/file", "kept");
	assert_int_equal(directory_create_path(dirfd, "victim/sub", 0755), 0);
	assert_int_equal(symlinkat("../precious", dirfd, "victim/link"), 0);
	assert_int_equal(symlinkat("../../precious/file", dirfd, "victim/sub/link"), 0);
	assert_int_equal(symlinkat("/", dirfd, "victim/root"), 0);
	assert_int_equal(directory_remove(dirfd, "victim"), 0);
	assert_false(exists(dirfd, "victim"));
	assert_content(dirfd, "precious/file", "kept");
	assert_true(exists(dirfd, "precious/sub"));

	assert_int_equal(symlinkat("precious", dirfd, "link"), 0);
	assert_int_equal(directory_remove(dirfd, "link"), 0);
	assert_false(exists(dirfd, "link"));
	assert_content(dirfd, "precious/file", "kept");
}

static void removal_crosses_no_mount_point(void **state)
{
	struct directory *directory = *state;
	int status;
	pid_t child;

	if (geteuid() != 0) {
		print_message("skipped: only root can mount\n");
		skip();
	}
	assert_int_equal(directory_create_path(directory->fd, "victim/mount", 0755), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char path[128];
		int r;

		/* Status 77: this environment does not let even root mount. */
		snprintf(path, sizeof(path), "%s/victim/mount", directory->path);
		if (unshare(CLONE_NEWNS) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("test", path, "tmpfs", 0, NULL) < 0)
			_exit(77);
		if (file_write_atomic(directory->fd, "victim/mount/kept", "x", 1, 0644) < 0)
			_exit(2);
		r = directory_remove(directory->fd, "victim");
		_exit((r == -EBUSY || r == -EXDEV) && exists(directory->fd, "victim/mount/kept")
				? 0
				: 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: mounts are not possible here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- JSON */

static int parse(const char *text, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;

	return json_parse(text, strlen(text), "a test", &json, err);
}

static void json_that_is_strict_is_accepted(void **state)
{
	_cleanup_json_ json_t *json = NULL;
	static const char text[] = "{\"a\": [1, -2.5, true, null, \"\\u00e9\\n\"]}trailing";

	(void)state;
	assert_int_equal(json_parse(text, strlen(text) - 8, "a test", &json, NULL), 0);
	assert_int_equal(json_array_size(json_object_get(json, "a")), 5);
}

static void json_that_is_not_strict_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"   ",
		"{",
		"1", /* neither object nor array */
		"\"text\"",
		"{\"a\":1,\"a\":2}", /* duplicate key */
		"[{\"k\":{\"b\":1,\"b\":1}}]",
		"{} {}", /* something behind the value */
		"{}x",
		"[1,]",
		"{'a':1}",
		"[NaN]",
		"[1e999]",
		"[99999999999999999999999]",
		"[01]",
		"[\"\xff\xfe\"]",     /* not UTF-8 */
		"[\"\xc0\xaf\"]",     /* overlong */
		"[\"\xed\xa0\x80\"]", /* a surrogate */
		"[\"\\ud800\"]",
		"[\"a\nb\"]",      /* a control character */
		"[\"a\\u0000b\"]", /* NUL */
		"{\"a\\u0000b\": 1}",
		"// comment\n{}",
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		err.message[0] = '\0';
		assert_int_equal(parse(texts[i], &err), -EINVAL);
		assert_int_equal(strncmp(err.message, "a test: line ", 13), 0);
	}
}

static void any_bytes_make_a_json_text(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *text; /* R for each replacement */
	} cases[] = {
		{"", 0, ""},
		{"plain", 5, "plain"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"a\xff\xfe"
		 "b",
			4, "aRRb"},
		{"\xc0\x80", 2, "RR"},           /* an overlong NUL */
		{"\xe0\x80\x80", 3, "RRR"},      /* overlong */
		{"\xed\xa0\x80", 3, "RRR"},      /* a surrogate */
		{"\xf4\x90\x80\x80", 4, "RRRR"}, /* above U+10FFFF */
		{"\xe2\x82", 2, "RR"},           /* cut off */
		{"\xe2\x82z", 3, "RRz"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *json = json_string_lossy(cases[i].bytes, cases[i].length);
		const char *got = json_string_value(json);

		assert_non_null(got);
		for (const char *c = cases[i].text; *c; c++) {
			size_t size = *c == 'R' ? 3 : 1;

			assert_memory_equal(got, *c == 'R' ? "\xef\xbf\xbd" : c, size);
			got += size;
		}
		assert_int_equal(*got, '\0');
	}
	{
		_cleanup_json_ json_t *json = json_string_lossy("a\0b", 3);

		assert_int_equal(json_string_length(json), 3);
	}
}

static void json_with_a_nul_byte_is_refused(void **state)
{
	static const char inside[] = "[\"a\0b\"]", behind[] = "[]\0[]";
	json_t *json;

	(void)state;
	assert_int_equal(json_parse(inside, sizeof(inside) - 1, "a test", &json, NULL), -EINVAL);
	assert_int_equal(json_parse(behind, sizeof(behind) - 1, "a test", &json, NULL), -EINVAL);
}

static void json_depth_is_limited(void **state)
{
	static const char brackets[][2] = {{'[', ']'}, {'{', '}'}};
	struct error err;
	char *text = malloc(2000001);

	(void)state;
	assert_non_null(text);
	/* Just deep enough. */
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	text[2 * JSON_DEPTH_MAX] = '\0';
	assert_int_equal(parse(text, &err), 0);
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	text[2 * JSON_DEPTH_MAX + 2] = '\0';
	assert_int_equal(parse(text, &err), -EINVAL);
	assert_non_null(strstr(err.message, "nested deeper"));
	for (size_t i = 0; i < ARRAY_SIZE(brackets); i++) {
		memset(text, brackets[i][0], 1000000);
		memset(text + 1000000, brackets[i][1], 1000000);
		text[2000000] = '\0';
		assert_int_equal(parse(text, &err), -EINVAL);
	}
	free(text);
	/* Brackets in strings are text, after an escaped quotation mark too. */
	assert_int_equal(
		parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]",
			&err),
		0);
	assert_int_equal(
		parse("[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]",
			&err),
		0);
}

/* ---- numbers */

static void decimal_numbers_are_parsed_whole(void **state)
{
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x10", "1e3", "1.0", "a",
		"1a", "18446744073709551616", "99999999999999999999999999", "\xd9\xa1"};
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(checked_parse_u64(bad[i], UINT64_MAX, &value));
	assert_false(checked_parse_u64("101", 100, &value));
	assert_int_equal(value, 7);
	assert_true(checked_parse_u64("100", 100, &value));
	assert_int_equal(value, 100);
	assert_true(checked_parse_u64("0", 0, &value));
	assert_int_equal(value, 0);
	assert_true(checked_parse_u64("18446744073709551615", UINT64_MAX, &value));
	assert_true(value == UINT64_MAX);
	assert_true(checked_parse_u64("007", 100, &value));
	assert_int_equal(value, 7);
}

static void arithmetic_says_when_it_does_not_fit(void **state)
{
	uint64_t value;
	size_t size;

	(void)state;
	assert_true(checked_add_u64(UINT64_MAX - 1, 1, &value));
	assert_true(value == UINT64_MAX);
	assert_false(checked_add_u64(UINT64_MAX, 1, &value));
	assert_true(checked_mul_u64(1ull << 32, (1ull << 32) - 1, &value));
	assert_false(checked_mul_u64(1ull << 32, 1ull << 32, &value));
	assert_false(checked_add_size(SIZE_MAX, 1, &size));
	assert_false(checked_mul_size(SIZE_MAX, 2, &size));
	assert_true(checked_mul_size(3, 4, &size));
	assert_int_equal(size, 12);

	assert_true(checked_range(0, 0, 0));
	assert_true(checked_range(10, 0, 10));
	assert_true(checked_range(4, 6, 10));
	assert_false(checked_range(5, 6, 10));
	assert_false(checked_range(11, 0, 10));
	assert_false(checked_range(UINT64_MAX, 2, 10));
	assert_false(checked_range(2, UINT64_MAX, 10));
	assert_true(checked_range(1, UINT64_MAX - 1, UINT64_MAX));
}

/* ---- messages */

static void errors_are_composed_and_prefixed(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(error_set(&err, -EINVAL, "field \"%s\"", "name"), -EINVAL);
	assert_string_equal(err.message, "field \"name\"");
	assert_int_equal(error_prefix(&err, -ENOENT, "app %d", 3), -ENOENT);
	assert_string_equal(err.message, "app 3: field \"name\"");
	assert_int_equal(error_set_errno(&err, -ENOENT, "file"), -ENOENT);
	assert_string_equal(err.message, "file: No such file or directory");
	assert_int_equal(error_set(NULL, -1, "nobody listens"), -1);
	assert_int_equal(error_set_errno(NULL, -EPERM, "nobody listens"), -EPERM);
	assert_int_equal(error_prefix(NULL, -1, "nobody listens"), -1);
}

static void long_errors_are_cut_and_end(void **state)
{
	struct error err;
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&err, -1, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_prefix(&err, -1, "prefix");
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	assert_int_equal(strncmp(err.message, "prefix: xxx", 11), 0);
	error_prefix(&err, -1, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_set_errno(&err, -ENOENT, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void control_characters_are_made_visible(void **state)
{
	char escape[] = "a\033[2Jb\rc\bd\177e\nf\tg";
	char utf8[] = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7";
	/* The same escapes as single characters (C1), which terminals obey in UTF-8 too. */
	char c1[] = "x\xc2\x9b"
		    "2Jy\xc2\x85z\xc2\xa0";
	char empty[] = "";

	(void)state;
	assert_string_equal(log_sanitise(escape), "a?[2Jb?c?d?e?f\tg");
	assert_string_equal(log_sanitise(utf8), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7");
	assert_string_equal(log_sanitise(c1), "x??2Jy??z\xc2\xa0");
	assert_string_equal(log_sanitise(empty), "");
}

/* What log_message() writes, caught by a pipe in the place of standard error. */
static void catch_message(enum log_level level, const char *text, char *ret, size_t size)
{
	int saved = dup(STDERR_FILENO), ends[2];
	ssize_t n;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(ends[1], STDERR_FILENO);
	log_message(level, "%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	n = read(ends[0], ret, size - 1);
	close(ends[0]);
	ret[n > 0 ? n : 0] = '\0';
}

static void log_message_is_one_bounded_harmless_line(void **state)
{
	char text[8192], line[8192];

	(void)state;
	catch_message(LOG_LEVEL_WARNING, "two\nlines\033[31m", line, sizeof(line));
	assert_string_equal(line, "appc-vm: warning: two?lines?[31m\n");
	catch_message(LOG_LEVEL_INFO, "progress", line, sizeof(line));
	assert_string_equal(line, "appc-vm: progress\n");
	catch_message(LOG_LEVEL_DEBUG, "dropped", line, sizeof(line));
	assert_string_equal(line, "");
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	catch_message(LOG_LEVEL_ERROR, text, line, sizeof(line));
	assert_in_range(strlen(line), 100, 2048);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(written_file_replaces_the_old_one_whole),
		FILE_TEST(file_that_need_not_last_is_replaced_whole_too),
		FILE_TEST(written_file_has_its_mode_whatever_the_umask),
		FILE_TEST(write_replaces_a_link_and_not_what_it_points_to),
		FILE_TEST(failed_write_leaves_nothing_behind),
		FILE_TEST(write_that_does_not_fit_keeps_the_old_content),
		FILE_TEST(read_is_bounded),
		FILE_TEST(only_regular_files_are_read),
		cmocka_unit_test(endless_input_is_cut_off),
		cmocka_unit_test(unsafe_names_are_known),
		cmocka_unit_test(unique_names_differ_and_fit),
		FILE_TEST(open_beneath_never_leaves),
		FILE_TEST(open_in_root_stays_as_in_a_chroot),
		cmocka_unit_test(magic_links_are_not_followed),
		FILE_TEST(path_is_created_with_all_its_parents),
		FILE_TEST(directory_open_follows_no_link_at_the_end),
		FILE_TEST(rename_to_a_name_that_is_taken_is_refused),
		FILE_TEST(everything_in_a_directory_is_removed),
		FILE_TEST(directory_of_any_depth_is_removed),
		FILE_TEST(a_bounded_removal_leaves_the_rest_for_the_next_time),
		FILE_TEST(removal_ends_where_somebody_goes_on_making_names),
		FILE_TEST(removal_follows_no_link),
		FILE_TEST(removal_crosses_no_mount_point),
		cmocka_unit_test(json_that_is_strict_is_accepted),
		cmocka_unit_test(json_that_is_not_strict_is_refused),
		cmocka_unit_test(json_with_a_nul_byte_is_refused),
		cmocka_unit_test(any_bytes_make_a_json_text),
		cmocka_unit_test(json_depth_is_limited),
		cmocka_unit_test(decimal_numbers_are_parsed_whole),
		cmocka_unit_test(arithmetic_says_when_it_does_not_fit),
		cmocka_unit_test(errors_are_composed_and_prefixed),
		cmocka_unit_test(long_errors_are_cut_and_end),
		cmocka_unit_test(control_characters_are_made_visible),
		cmocka_unit_test(log_message_is_one_bounded_harmless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
