// SPDX-License-Identifier: Apache-2.0
/* test_tree_archive.c: a tree that is written as an image is the same tree when the image is rendered. */
#include "base/file.h"
#include "store/store.h"
#include "store/tree-archive.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <cmocka.h>

static const char manifest[] =
	"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"example.com/tree\"}";

struct archive_fixture {
	char path[64];
	int dirfd, tree;
	struct store *store;
};

static int set_up(void **state)
{
	struct archive_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-archive-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(mkdirat(fixture->dirfd, "tree", 0755), 0);
	fixture->tree = directory_open(fixture->dirfd, "tree");
	assert_int_equal(store_open(fixture->dirfd, &fixture->store, NULL), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct archive_fixture *fixture = *state;

	store_close(fixture->store);
	close(fixture->tree);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static void add_file(int dirfd, const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(dirfd, path, text, strlen(text), 0640), 0);
}

/* The image in a file of its own. */
static int write_image(const struct archive_fixture *fixture, const char *left_out)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct error err;

	assert_true(fd >= 0);
	if (tree_archive_write(fixture->tree, manifest, strlen(manifest), left_out, fd, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Imports and renders it. Returns the root of the new tree. */
static int render_image(const struct archive_fixture *fixture, int fd)
{
	char id[STORE_IMAGE_ID_SIZE], tree_id[STORE_TREE_ID_SIZE];
	struct error err;
	int root;

	if (store_import(fixture->store, fd, "image", NULL, id, &err) < 0 ||
		store_render(fixture->store, id, tree_id, &err) < 0)
		fail_msg("%s", err.message);
	root = store_open_tree(fixture->store, tree_id, &err);
	assert_true(root >= 0);
	return root;
}

static int round_trip(const struct archive_fixture *fixture, const char *left_out)
{
	_cleanup_close_ int fd = write_image(fixture, left_out);

	return render_image(fixture, fd);
}

static struct stat stat_of(int dirfd, const char *path)
{
	struct stat st;

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static void assert_same(int left, int right, const char *path)
{
	struct stat a = stat_of(left, path), b = stat_of(right, path);

	print_message("%s\n", path);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_int_equal(a.st_uid, b.st_uid);
	assert_int_equal(a.st_gid, b.st_gid);
	assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	if (!S_ISDIR(a.st_mode)) {
		assert_int_equal(a.st_size, b.st_size);
		assert_int_equal(a.st_nlink, b.st_nlink);
	}
}

static void all_kinds_of_files_come_back(void **state)
{
	const struct timespec times[] = {{1234567890, 5}, {1500000000, 123456789}};
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int root = -1;
	char text[64];

	assert_int_equal(directory_create_path(fixture->tree, "a/b", 0711), 0);
	add_file(fixture->tree, "a/b/file", "content\n");
	assert_int_equal(fchmodat(fixture->tree, "a/b/file", 04751, 0), 0);
	assert_int_equal(fchownat(fixture->tree, "a/b/file", 1234, 70000, 0), 0);
	assert_int_equal(fchmodat(fixture->tree, "a/b/file", 04751, 0), 0);
	assert_int_equal(linkat(fixture->tree, "a/b/file", fixture->tree, "z-link", 0), 0);
	assert_int_equal(symlinkat("/../b/none", fixture->tree, "a/symlink"), 0);
	assert_int_equal(mkfifoat(fixture->tree, "fifo", 0600), 0);
	add_file(fixture->tree, "empty", "");
	add_file(fixture->tree, "name \xff\xfe\\ \n", "bytes");
	add_file(fixture->tree, "na\xc3\xafve", "text");
	assert_int_equal(utimensat(fixture->tree, "a/b/file", times, 0), 0);
	assert_int_equal(utimensat(fixture->tree, "a", times, 0), 0);

	root = round_trip(fixture, NULL);
	assert_same(fixture->tree, root, "a");
	assert_same(fixture->tree, root, "a/b");
	assert_same(fixture->tree, root, "a/b/file");
	assert_same(fixture->tree, root, "a/symlink");
	assert_same(fixture->tree, root, "fifo");
	assert_same(fixture->tree, root, "empty");
	assert_same(fixture->tree, root, "name \xff\xfe\\ \n");
	assert_same(fixture->tree, root, "na\xc3\xafve");
	assert_int_equal(stat_of(root, "a/b/file").st_ino, stat_of(root, "z-link").st_ino);
	assert_int_equal(readlinkat(root, "a/symlink", text, sizeof(text)), 10);
	assert_memory_equal(text, "/../b/none", 10);
}

static void device_nodes_come_back_where_they_can_be_made(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int root = -1;

	if (mknodat(fixture->tree, "null", S_IFCHR | 0666, makedev(1, 3)) < 0) {
		print_message("device nodes cannot be made here\n");
		skip();
	}
	root = round_trip(fixture, NULL);
	assert_int_equal(stat_of(root, "null").st_rdev, makedev(1, 3));
}

static void holes_are_kept(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int root = -1, image = -1, fd = -1;
	const char *const names[] = {"begins", "ends", "hole-only", "both"};
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_close_ int file =
			openat(fixture->tree, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		assert_int_equal(ftruncate(file, 64 << 20), 0);
		if (i == 0 || i == 3)
			assert_int_equal(pwrite(file, "data", 4, 0), 4);
		if (i == 1 || i == 3)
			assert_int_equal(pwrite(file, "data", 4, (64 << 20) - 4), 4);
	}
	image = write_image(fixture, NULL);
	assert_int_equal(fstat(image, &st), 0);
	assert_in_range(st.st_size, 1, 4 << 20);
	root = render_image(fixture, image);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char text[4] = "";

		st = stat_of(root, names[i]);
		assert_int_equal(st.st_size, 64 << 20);
		assert_in_range(st.st_blocks, 0, 4096);
		fd = file_open_beneath(root, names[i], O_RDONLY, 0);
		assert_int_equal(pread(fd, text, 4, 0), 4);
		assert_memory_equal(text, i == 0 || i == 3 ? "data" : "\0\0\0\0", 4);
		assert_int_equal(pread(fd, text, 4, (64 << 20) - 4), 4);
		assert_memory_equal(text, i == 1 || i == 3 ? "data" : "\0\0\0\0", 4);
		close(TAKE_FD(fd));
	}
}

static void attributes_that_an_image_may_have_come_back(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int root = -1, fd = -1;
	char value[16];

	add_file(fixture->tree, "file", "x");
	fd = openat(fixture->tree, "file", O_RDONLY | O_CLOEXEC);
	if (fsetxattr(fd, "user.colour", "blue\0x", 6, 0) < 0) {
		print_message("/tmp has no extended attributes\n");
		skip();
	}
	/* What overlayfs itself uses must not get into an image. */
	assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
	close(TAKE_FD(fd));
	root = round_trip(fixture, NULL);
	fd = file_open_beneath(root, "file", O_RDONLY, 0);
	assert_int_equal(fgetxattr(fd, "user.colour", value, sizeof(value)), 6);
	assert_memory_equal(value, "blue\0x", 6);
	assert_int_equal(fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)), -1);
}

static void sockets_and_what_is_left_out_are_not_in_the_image(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int root = -1;
	struct stat st;

	assert_int_equal(directory_create_path(fixture->tree, "etc", 0755), 0);
	add_file(fixture->tree, "etc/hosts", "");
	add_file(fixture->tree, "etc/hostsfile", "");
	assert_int_equal(mknodat(fixture->tree, "socket", S_IFSOCK | 0600, 0), 0);
	root = round_trip(fixture, "etc/hosts");
	assert_int_equal(fstatat(root, "socket", &st, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(fstatat(root, "etc/hosts", &st, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(fstatat(root, "etc/hostsfile", &st, AT_SYMLINK_NOFOLLOW), 0);
}

static void equal_trees_make_equal_images(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int first = -1, second = -1;
	char left[4096], right[4096], name[16];
	ssize_t n;

	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "file-%d", i * 37 % 64);
		add_file(fixture->tree, name, name);
	}
	first = write_image(fixture, NULL);
	second = write_image(fixture, NULL);
	do {
		n = read(first, left, sizeof(left));
		assert_int_equal(read(second, right, sizeof(right)), n);
		assert_memory_equal(left, right, (size_t)n);
	} while (n > 0);
}

/* More directories inside each other than a process may have open. */
static void deep_trees_are_written(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int fd = dup(fixture->tree), image = -1;

	for (int i = 0; i < 1500; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		next = directory_open(fd, "d");
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	image = write_image(fixture, NULL);
	close(render_image(fixture, image));
}

static void full_disk_is_an_error_that_says_so(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct error err;
	char *text = malloc(1 << 20);

	memset(text, 'x', (1 << 20) - 1);
	text[(1 << 20) - 1] = '\0';
	add_file(fixture->tree, "file", text);
	free(text);
	assert_int_equal(
		tree_archive_write(fixture->tree, manifest, strlen(manifest), NULL, full, &err),
		-ENOSPC);
	assert_non_null(strstr(err.message, "cannot write the image"));
}

static void files_of_holes_are_refused_before_they_are_read(void **state)
{
	struct archive_fixture *fixture = *state;
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct error err;

	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int file =
			openat(fixture->tree, i ? "b" : "a", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(ftruncate(file, i ? 63ll << 30 : 2ll << 30), 0);
	}
	assert_int_equal(
		tree_archive_write(fixture->tree, manifest, strlen(manifest), "b", null, &err), 0);
	assert_int_equal(
		tree_archive_write(fixture->tree, manifest, strlen(manifest), NULL, null, &err),
		-EFBIG);
	assert_non_null(strstr(err.message, "/b: more than 68719476736 bytes"));
}

#define ARCHIVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ARCHIVE_TEST(all_kinds_of_files_come_back),
		ARCHIVE_TEST(device_nodes_come_back_where_they_can_be_made),
		ARCHIVE_TEST(holes_are_kept),
		ARCHIVE_TEST(attributes_that_an_image_may_have_come_back),
		ARCHIVE_TEST(sockets_and_what_is_left_out_are_not_in_the_image),
		ARCHIVE_TEST(equal_trees_make_equal_images),
		ARCHIVE_TEST(deep_trees_are_written),
		ARCHIVE_TEST(files_of_holes_are_refused_before_they_are_read),
		ARCHIVE_TEST(full_disk_is_an_error_that_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
