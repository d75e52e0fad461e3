// SPDX-License-Identifier: Apache-2.0
/* test_tree_copy.c: a copied tree has all that the original has, and nothing from elsewhere. */
#include "base/file.h"
#include "base/tree_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define LIMITS ((struct tree_copy_limits){.entries = 100, .bytes = 1u << 20})

struct fixture {
	char path[64];
	int top, source, target;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-tree-copy-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->top = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(mkdirat(fixture->top, "source", 0755), 0);
	assert_int_equal(mkdirat(fixture->top, "target", 0755), 0);
	fixture->source = directory_open(fixture->top, "source");
	fixture->target = directory_open(fixture->top, "target");
	assert_true(fixture->source >= 0 && fixture->target >= 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	const char *name = strrchr(fixture->path, '/') + 1;
	_cleanup_close_ int parent = directory_open(AT_FDCWD, "/tmp");

	close(fixture->source);
	close(fixture->target);
	close(fixture->top);
	assert_int_equal(directory_remove(parent, name), 0);
	free(fixture);
	return 0;
}

static void put(int dirfd, const char *path, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void everything_of_a_file_is_copied(void **state)
{
	struct fixture *fixture = *state;
	struct timespec times[] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 2000, .tv_nsec = 7}};
	struct tree_copy_limits limits = LIMITS;
	_cleanup_free_ char *text = NULL;
	struct stat st;
	char link[16];
	size_t length;

	assert_int_equal(mkdirat(fixture->source, "a", 0700), 0);
	put(fixture->source, "a/file", "content", 0600);
	assert_int_equal(fchmodat(fixture->source, "a/file", 04751, 0), 0);
	assert_int_equal(utimensat(fixture->source, "a/file", times, 0), 0);
	assert_int_equal(symlinkat("nowhere", fixture->source, "a/link"), 0);
	assert_int_equal(mknodat(fixture->source, "fifo", S_IFIFO | 0640, 0), 0);
	assert_int_equal(utimensat(fixture->source, "a", times, 0), 0);

	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), 0);
	assert_int_equal(limits.entries, 100 - 4);
	assert_int_equal(limits.bytes, (1u << 20) - strlen("content"));
	assert_int_equal(file_read(fixture->target, "a/file", 100, &text, &length), 0);
	assert_string_equal(text, "content");
	assert_int_equal(fstatat(fixture->target, "a/file", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 04751);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 7);
	assert_int_equal(fstatat(fixture->target, "a", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(fstatat(fixture->target, "fifo", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFIFO | 0640);
	memset(link, 0, sizeof(link));
	assert_int_equal(readlinkat(fixture->target, "a/link", link, sizeof(link)), 7);
	assert_string_equal(link, "nowhere");
}

static void root_copies_owners_whiteouts_and_trusted_attributes(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits limits = LIMITS;
	char path[128], value[8] = "";
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdirat(fixture->source, "opaque", 0755), 0);
	assert_int_equal(fchownat(fixture->source, "opaque", 12, 34, 0), 0);
	assert_int_equal(mknodat(fixture->source, "gone", S_IFCHR, makedev(0, 0)), 0);
	snprintf(path, sizeof(path), "%s/source/opaque", fixture->path);
	assert_int_equal(setxattr(path, "user.test", "y", 1, 0), 0);

	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), 0);
	assert_int_equal(fstatat(fixture->target, "opaque", &st, 0), 0);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 34);
	assert_int_equal(fstatat(fixture->target, "gone", &st, 0), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	snprintf(path, sizeof(path), "%s/target/opaque", fixture->path);
	assert_int_equal(getxattr(path, "user.test", value, sizeof(value)), 1);
	assert_string_equal(value, "y");

	/* No other device is made. */
	assert_int_equal(mknodat(fixture->source, "null", S_IFCHR, makedev(1, 3)), 0);
	assert_int_equal(mkdirat(fixture->top, "again", 0755), 0);
	close(fixture->target);
	fixture->target = directory_open(fixture->top, "again");
	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), -ENODEV);
}

static void limits_hold(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits entries = {.entries = 1, .bytes = 100};
	struct tree_copy_limits bytes = {.entries = 100, .bytes = 5};

	put(fixture->source, "one", "123456", 0600);
	put(fixture->source, "two", "", 0600);
	assert_int_equal(tree_copy(fixture->source, fixture->target, &entries), -E2BIG);
	assert_int_equal(mkdirat(fixture->top, "again", 0755), 0);
	close(fixture->target);
	fixture->target = directory_open(fixture->top, "again");
	assert_int_equal(tree_copy(fixture->source, fixture->target, &bytes), -E2BIG);
}

static void nothing_in_the_target_is_overwritten(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits limits = LIMITS;
	_cleanup_free_ char *text = NULL;
	size_t length;

	put(fixture->source, "name", "new", 0600);
	put(fixture->top, "victim", "old", 0600);
	assert_int_equal(symlinkat("../victim", fixture->target, "name"), 0);
	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), -EEXIST);
	assert_int_equal(file_read(fixture->top, "victim", 100, &text, &length), 0);
	assert_string_equal(text, "old");
}

static void names_of_one_file_stay_that_and_holes_stay_holes(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits limits = {.entries = 100, .bytes = 1u << 30};
	struct stat first, second, other;
	_cleanup_close_ int fd = -1;

	assert_int_equal(mkdirat(fixture->source, "a", 0700), 0);
	assert_int_equal(mkdirat(fixture->source, "a/b", 0700), 0);
	fd = openat(fixture->source, "a/b/one", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, "end", 3, 64 << 20), 3);
	assert_int_equal(linkat(fixture->source, "a/b/one", fixture->source, "a/two", 0), 0);
	put(fixture->source, "other", "x", 0600);
	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), 0);
	assert_int_equal(fstatat(fixture->target, "a/b/one", &first, 0), 0);
	assert_int_equal(fstatat(fixture->target, "a/two", &second, 0), 0);
	assert_int_equal(fstatat(fixture->target, "other", &other, 0), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(first.st_nlink, 2);
	assert_int_equal(other.st_nlink, 1);
	assert_int_equal(first.st_size, (64 << 20) + 3);
	assert_true(first.st_blocks < 4096);
	cleanup_close(&fd);
	fd = openat(fixture->target, "a/two", O_RDONLY | O_CLOEXEC);
	for (off_t at = 0; at <= 64 << 20; at += 64 << 20) {
		char text[6] = "";

		assert_true(pread(fd, text, 5, at) >= 3);
		assert_string_equal(text, at ? "end" : "begin");
	}
	assert_int_equal(limits.bytes, (1u << 30) - (64u << 20) - 3 - 1);
}

static void a_file_that_ends_in_a_hole_keeps_its_length(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits limits = LIMITS;
	struct stat st;

	put(fixture->source, "file", "text", 0600);
	{
		_cleanup_close_ int fd = openat(fixture->source, "file", O_RDWR | O_CLOEXEC);

		assert_int_equal(ftruncate(fd, 100000), 0);
	}
	put(fixture->source, "empty", "", 0600);
	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), 0);
	assert_int_equal(fstatat(fixture->target, "file", &st, 0), 0);
	assert_int_equal(st.st_size, 100000);
	assert_int_equal(fstatat(fixture->target, "empty", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
}

static void nodes_of_devices_are_copied_when_that_is_asked_for(void **state)
{
	struct fixture *fixture = *state;
	struct tree_copy_limits limits = LIMITS;
	struct stat st;

	if (geteuid() != 0)
		skip();
	limits.devices = true;
	assert_int_equal(mknodat(fixture->source, "null", S_IFCHR | 0666, makedev(1, 3)), 0);
	assert_int_equal(tree_copy(fixture->source, fixture->target, &limits), 0);
	assert_int_equal(fstatat(fixture->target, "null", &st, 0), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_of_a_file_is_copied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			root_copies_owners_whiteouts_and_trusted_attributes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(limits_hold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			nothing_in_the_target_is_overwritten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			names_of_one_file_stay_that_and_holes_stay_holes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_file_that_ends_in_a_hole_keeps_its_length, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			nodes_of_devices_are_copied_when_that_is_asked_for, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
