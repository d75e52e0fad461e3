// SPDX-License-Identifier: Apache-2.0
/* test_store_render.c: rendering against rkt's results, and what those cases do not cover. */
#include "aci-builder.h"

#include "base/json.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* ---- the cases of vectors/render-cases.json and more-render-cases.json */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static mode_t mode_of(const json_t *object)
{
	return (mode_t)strtoul(text_of(object, "mode"), NULL, 8);
}

static void case_add_entry(struct aci *aci, const json_t *entry)
{
	const char *name = text_of(entry, "name"), *type = text_of(entry, "type");

	if (!strcmp(type, "dir"))
		aci_directory(aci, name, mode_of(entry));
	else if (!strcmp(type, "symlink"))
		aci_symlink(aci, name, text_of(entry, "linkname"));
	else if (!strcmp(type, "hardlink"))
		aci_hardlink(aci, name, text_of(entry, "linkname"));
	else if (!strcmp(type, "file"))
		aci_file(aci, name, mode_of(entry), text_of(entry, "contents"));
	else
		fail_msg("unknown type %s", type);
}

static int case_import(
	struct fixture *fixture, const json_t *image, char *ret_id, struct error *err)
{
	_cleanup_json_ json_t *manifest = json_pack("{s:s, s:s, s:s, s:[]}", "acKind",
		"ImageManifest", "acVersion", "0.8.11", "name", text_of(image, "label"),
		"dependencies");
	json_t *whitelist = json_object_get(image, "pathWhitelist");
	_cleanup_free_ char *text = NULL;
	struct aci aci;
	json_t *item;
	size_t i;
	int r;

	json_array_foreach (json_object_get(image, "deps"), i, item)
		json_array_append_new(json_object_get(manifest, "dependencies"),
			json_pack("{s:O}", "imageName", item));
	if (whitelist)
		json_object_set(manifest, "pathWhitelist", whitelist);
	text = json_dumps(manifest, 0);
	assert_non_null(text);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_file(&aci, "manifest", 0644, text);
	json_array_foreach (json_object_get(image, "entries"), i, item)
		case_add_entry(&aci, item);
	aci_end(&aci);
	r = import_bytes(fixture->store, aci.data, aci.length, NULL, ret_id, err);
	aci_free(&aci);
	return r;
}

static void check_file(const char *name, int dirfd, const char *path, const json_t *expected)
{
	const char *type = text_of(expected, "type");
	_cleanup_free_ char *content = NULL;
	char target[256] = "";
	struct stat st;
	size_t length;

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("%s: %s is missing", name, path);
	if ((st.st_mode & 07777) != mode_of(expected))
		fail_msg("%s: %s has mode %o, expected %o", name, path, st.st_mode & 07777,
			mode_of(expected));
	if (!strcmp(type, "dir")) {
		assert_true(S_ISDIR(st.st_mode));
	} else if (!strcmp(type, "symlink")) {
		assert_true(readlinkat(dirfd, path, target, sizeof(target) - 1) > 0);
		assert_string_equal(target, text_of(expected, "linkname"));
	} else {
		assert_true(S_ISREG(st.st_mode));
		assert_int_equal(file_read(dirfd, path, 4096, &content, &length), 0);
		assert_string_equal(content, text_of(expected, "contents"));
	}
}

static size_t count_files(int dirfd)
{
	_cleanup_closedir_ DIR *directory = fdopendir(directory_open(dirfd, "."));
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		_cleanup_close_ int child = -1;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		count++;
		child = directory_open(dirfd, entry->d_name);
		if (child >= 0)
			count += count_files(child);
	}
	return count;
}

static void case_check(struct fixture *fixture, const char *tree_id, const json_t *test)
{
	struct error err = {0};
	_cleanup_close_ int rootfs = store_open_tree(fixture->store, tree_id, &err);
	size_t i, count = 0;
	json_t *expected;

	assert_true(rootfs >= 0);
	json_array_foreach (json_object_get(test, "rendered"), i, expected) {
		const char *path = text_of(expected, "path");

		if (!strcmp(path, "rootfs")) {
			check_file(text_of(test, "name"), rootfs, ".", expected);
		} else if (!strncmp(path, "rootfs/", 7)) {
			check_file(text_of(test, "name"), rootfs, path + 7, expected);
			count++;
		}
	}
	if (count_files(rootfs) != count)
		fail_msg("%s: %zu files, expected %zu", text_of(test, "name"), count_files(rootfs),
			count);
}

static void case_run(const json_t *test)
{
	char id[STORE_IMAGE_ID_SIZE], top[STORE_IMAGE_ID_SIZE] = "", tree[STORE_TREE_ID_SIZE];
	json_t *image, *failure = json_object_get(test, "reference_render_error");
	const char *refusal = text_of(test, "import_error");
	struct fixture *fixture;
	struct error err = {0};
	void *state;
	int r = 0;
	size_t i;

	fixture_set_up(&state);
	fixture = state;
	json_array_foreach (json_object_get(test, "images"), i, image) {
		r = case_import(fixture, image, id, &err);
		if (r < 0)
			break;
		if (!strcmp(text_of(image, "label"), text_of(test, "top")))
			memcpy(top, id, sizeof(top));
	}
	if ((r < 0) != (refusal != NULL) || (refusal && !strstr(err.message, refusal)))
		fail_msg("%s: import: result %d: %s", text_of(test, "name"), r, err.message);
	if (refusal) {
		fixture_tear_down(&state);
		return;
	}
	r = store_render(fixture->store, top, tree, &err);
	if ((r < 0) != (failure != NULL))
		fail_msg("%s: result %d: %s", text_of(test, "name"), r, err.message);
	if (failure) {
		assert_int_equal(fixture_count(fixture, "trees"), 0);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
	} else {
		case_check(fixture, tree, test);
		if (store_verify_tree(fixture->store, tree, &err) < 0)
			fail_msg("%s: %s", text_of(test, "name"), err.message);
	}
	fixture_tear_down(&state);
}

static size_t run_cases(const char *name)
{
	const char *directory = getenv("APPC_TEST_DATA");
	_cleanup_free_ char *text = NULL, *path = NULL;
	_cleanup_json_ json_t *file = NULL;
	struct error err = {0};
	size_t i, length;
	json_t *test;

	assert_true(asprintf(&path, "%s/vectors/%s", directory ? directory : "tests", name) > 0);
	assert_int_equal(file_read(AT_FDCWD, path, 16 << 20, &text, &length), 0);
	if (json_parse(text, length, path, &file, &err) < 0)
		fail_msg("%s", err.message);
	json_array_foreach (json_object_get(file, "cases"), i, test)
		case_run(test);
	return i;
}

static void renders_as_rkt_does(void **state)
{
	(void)state;
	assert_true(run_cases("render-cases.json") >= 26);
	assert_true(run_cases("more-render-cases.json") >= 7);
}

/* ---- beyond the cases */

static int render_open(struct fixture *fixture, const char *id, char *ret_tree)
{
	struct error err = {0};
	int fd;

	if (store_render(fixture->store, id, ret_tree, &err) < 0)
		fail_msg("%s", err.message);
	if (store_verify_tree(fixture->store, ret_tree, &err) < 0)
		fail_msg("%s", err.message);
	fd = store_open_tree(fixture->store, ret_tree, &err);
	assert_true(fd >= 0);
	return fd;
}

static void assert_content(int dirfd, const char *path, const char *expected)
{
	_cleanup_free_ char *content = NULL;

	assert_int_equal(file_read(dirfd, path, 1 << 20, &content, NULL), 0);
	assert_string_equal(content, expected);
}

#define DEPENDS_ON(name) ",\"dependencies\":[{\"imageName\":\"" name "\"}]"

static void metadata_is_preserved(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE], value[64];
	bool root = geteuid() == 0;
	struct archive_entry *entry;
	_cleanup_close_ int fd = -1, file = -1;
	struct aci aci;
	struct stat st, other;
	/* VFS_CAP_REVISION_2 with CAP_NET_RAW. */
	static const uint8_t capability[20] = {0x01, 0, 0, 0x02, 0, 0x20};

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	entry = aci_entry_make("rootfs/dir", AE_IFDIR, 0500);
	archive_entry_set_uid(entry, root ? 7 : getuid());
	archive_entry_set_mtime(entry, 1234567890, 0);
	aci_put(&aci, entry, NULL, 0);
	entry = aci_entry_make("rootfs/dir/su", AE_IFREG, 06755);
	archive_entry_set_uid(entry, root ? 1000 : getuid());
	archive_entry_set_gid(entry, root ? 3000000000 : getgid());
	archive_entry_set_mtime(entry, 1300000000, 123456789);
	archive_entry_xattr_add_entry(entry, "user.note", "hello", 5);
	archive_entry_xattr_add_entry(entry, "security.capability", capability, 20);
	archive_entry_xattr_add_entry(entry, "trusted.overlay.redirect", "/x", 2);
	archive_entry_xattr_add_entry(entry, "user.overlay.opaque", "y", 1);
	aci_put(&aci, entry, "content", 7);
	aci_hardlink(&aci, "rootfs/link", "rootfs/dir/su");
	entry = aci_entry_make("rootfs/null", AE_IFCHR, 0666);
	archive_entry_set_rdevmajor(entry, 1);
	archive_entry_set_rdevminor(entry, 3);
	aci_put(&aci, entry, NULL, 0);
	entry = aci_entry_make("rootfs/fifo", AE_IFIFO, 0620);
	aci_put(&aci, entry, NULL, 0);
	aci_symlink(&aci, "rootfs/sym", "/etc/../../x");
	aci_file(&aci, "rootfs/\xc3\xa9-\xff", 0600, "not ascii");
	import_aci(fixture, &aci, id);

	fd = render_open(fixture, id, tree);
	assert_int_equal(fstatat(fd, "dir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0500);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 0);
	assert_int_equal(st.st_uid, root ? 7 : getuid());
	assert_int_equal(fstatat(fd, "dir/su", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	assert_int_equal(st.st_mtim.tv_sec, 1300000000);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(fstatat(fd, "link", &other, 0), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(fstatat(fd, "fifo", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0620);
	assert_int_equal(readlinkat(fd, "sym", value, sizeof(value)), 12);
	assert_content(fd, "\xc3\xa9-\xff", "not ascii");
	/* A directory that its owner may not write in does not keep its owner from removing it. */
	if (!root) {
		assert_int_equal(store_remove(fixture->store, id, NULL), 0);
		assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, NULL), 0);
		assert_int_equal(fixture_count(fixture, "trees"), 0);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
		return;
	}
	assert_int_equal(other.st_uid, 1000);
	assert_int_equal(other.st_gid, 3000000000);
	assert_int_equal(fstatat(fd, "null", &st, 0), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	file = openat(fd, "dir/su", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(file, "user.note", value, sizeof(value)), 5);
	assert_int_equal(fgetxattr(file, "security.capability", value, sizeof(value)), 20);
	assert_memory_equal(value, capability, 20);
	assert_true(fgetxattr(file, "trusted.overlay.redirect", value, sizeof(value)) < 0);
	assert_true(fgetxattr(file, "user.overlay.opaque", value, sizeof(value)) < 0);
}

static void sparse_files_stay_sparse(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct archive_entry *entry;
	_cleanup_close_ int fd = -1;
	char end[4096] = {0};
	struct aci aci;
	struct stat st;

	memcpy(end + 4092, "end", 3);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	entry = aci_entry_make("rootfs/sparse", AE_IFREG, 0644);
	archive_entry_set_size(entry, 64 << 20);
	archive_entry_sparse_add_entry(entry, (64 << 20) - 4096, 4096);
	assert_int_equal(archive_write_header(aci.writer, entry), ARCHIVE_OK);
	/* The writer drops what lies in a hole. */
	for (int i = 0; i < (64 << 20) / 4096 - 1; i++)
		assert_int_equal(archive_write_data(aci.writer, (char[4096]){0}, 4096), 4096);
	assert_int_equal(archive_write_data(aci.writer, end, 4096), 4096);
	archive_entry_free(entry);
	aci_end(&aci);
	assert_true(aci.length < 1 << 20);
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, NULL), 0);
	aci_free(&aci);
	fd = render_open(fixture, id, tree);
	assert_int_equal(fstatat(fd, "sparse", &st, 0), 0);
	assert_int_equal(st.st_size, 64 << 20);
	assert_true(st.st_blocks * 512 < 1 << 20);
	{
		_cleanup_close_ int file = openat(fd, "sparse", O_RDONLY | O_CLOEXEC);
		char text[4];

		assert_int_equal(pread(file, text, 4, (64 << 20) - 4), 4);
		assert_memory_equal(text, "end", 4);
	}
}

static void a_hard_link_is_to_what_has_its_targets_name(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE], target[16] = "";
	_cleanup_close_ int fd = -1;
	struct aci aci;
	struct stat one, three;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/b", "");
	aci_file(&aci, "rootfs/one", 0640, "lower");
	aci_hardlink(&aci, "rootfs/gone", "rootfs/one");
	aci_hardlink(&aci, "rootfs/two", "rootfs/gone");
	aci_hardlink(&aci, "rootfs/three", "rootfs/one");
	import_aci(fixture, &aci, id);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", DEPENDS_ON("example.com/b"));
	aci_file(&aci, "rootfs/one", 0644, "upper");
	aci_symlink(&aci, "rootfs/gone", "nowhere");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	assert_content(fd, "one", "upper");
	assert_int_equal(fstatat(fd, "one", &one, 0), 0);
	assert_int_equal(fstatat(fd, "three", &three, 0), 0);
	assert_int_equal(one.st_ino, three.st_ino);
	assert_int_equal(one.st_nlink, 2);
	assert_int_equal(one.st_mode & 07777, 0644);
	assert_true(readlinkat(fd, "two", target, sizeof(target) - 1) > 0);
	assert_string_equal(target, "nowhere");
}

static void a_hard_link_names_no_file_of_a_dependency(void **state)
{
	static const char *const targets[] = {"rootfs/one", "rootfs/nowhere"};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct error err = {0};
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/b", "");
	aci_file(&aci, "rootfs/one", 0640, "lower");
	import_aci(fixture, &aci, id);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, "example.com/a", DEPENDS_ON("example.com/b"));
		aci_hardlink(&aci, "rootfs/two", targets[i]);
		import_aci(fixture, &aci, id);
		assert_int_equal(store_render(fixture->store, id, tree, &err), -ENOENT);
		assert_non_null(strstr(err.message, targets[i]));
		assert_int_equal(fixture_count(fixture, "trees"), 0);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
	}
}

/* Whoever may not make devices has neither them nor links to them. */
static void links_to_devices_are_left_out_with_them(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	bool root = geteuid() == 0;
	struct archive_entry *entry;
	_cleanup_close_ int fd = -1;
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	entry = aci_entry_make("rootfs/null", AE_IFCHR, 0666);
	archive_entry_set_rdevmajor(entry, 1);
	archive_entry_set_rdevminor(entry, 3);
	aci_put(&aci, entry, NULL, 0);
	aci_hardlink(&aci, "rootfs/zero", "rootfs/null");
	aci_hardlink(&aci, "rootfs/void", "rootfs/zero");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	assert_int_equal(faccessat(fd, "null", F_OK, 0), root ? 0 : -1);
	assert_int_equal(faccessat(fd, "void", F_OK, 0), root ? 0 : -1);
}

static void a_lower_symlink_gives_way_to_an_implicit_directory(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	_cleanup_close_ int fd = -1;
	struct aci aci;
	struct stat st;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/b", "");
	aci_symlink(&aci, "rootfs/p", "/tmp");
	aci_directory(&aci, "rootfs/q", 0700);
	aci_file(&aci, "rootfs/q/below", 0600, "lower");
	import_aci(fixture, &aci, id);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", DEPENDS_ON("example.com/b"));
	aci_file(&aci, "rootfs/p/x", 0600, "upper");
	aci_file(&aci, "rootfs/q", 0600, "a file now");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	assert_int_equal(fstatat(fd, "p", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_content(fd, "p/x", "upper");
	assert_content(fd, "q", "a file now");
}

static void a_whitelist_of_a_sibling_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	_cleanup_close_ int fd = -1;
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/d", "");
	aci_file(&aci, "rootfs/d", 0600, "d");
	aci_file(&aci, "rootfs/d2", 0600, "d");
	import_aci(fixture, &aci, id);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(
		&aci, "example.com/c", DEPENDS_ON("example.com/d") ",\"pathWhitelist\":[\"/d\"]");
	import_aci(fixture, &aci, id);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/b", "");
	aci_file(&aci, "rootfs/b", 0600, "b");
	import_aci(fixture, &aci, id);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a",
		",\"dependencies\":[{\"imageName\":\"example.com/b\"},{\"imageName\":\"example.com/c\"}]");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	assert_content(fd, "b", "b");
	assert_content(fd, "d", "d");
	assert_int_equal(faccessat(fd, "d2", F_OK, 0), -1);
}

static void dependency_errors_name_the_dependency(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct error err = {0};
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", DEPENDS_ON("example.com/missing"));
	import_aci(fixture, &aci, id);
	assert_int_equal(store_render(fixture->store, id, tree, &err), -ENOENT);
	assert_non_null(strstr(err.message, "example.com/missing"));

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/loop", DEPENDS_ON("example.com/loop"));
	import_aci(fixture, &aci, id);
	assert_int_equal(store_render(fixture->store, id, tree, &err), -ELOOP);
	assert_non_null(strstr(err.message, "recursion"));

	/* 2^30 layers, were they all made. */
	for (int i = 0; i < 30; i++) {
		char name[32], more[256];

		snprintf(name, sizeof(name), "example.com/x%d", i);
		snprintf(more, sizeof(more),
			",\"dependencies\":[{\"imageName\":\"example.com/x%d\"},{\"imageName\":"
			"\"example.com/x%d\"}]",
			i - 1, i - 1);
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, name, i > 0 ? more : "");
		import_aci(fixture, &aci, id);
	}
	assert_int_equal(store_render(fixture->store, id, tree, &err), -E2BIG);
	assert_int_equal(fixture_count(fixture, "trees"), 0);
}

static void dependencies_match_by_labels_id_and_size(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE] = "", first[STORE_IMAGE_ID_SIZE] = "";
	char tree[STORE_TREE_ID_SIZE], more[512];
	struct error err = {0};
	struct aci aci;

	for (int i = 1; i <= 2; i++) {
		char content[2] = {(char)('0' + i), '\0'};

		snprintf(more, sizeof(more),
			",\"labels\":[{\"name\":\"version\",\"value\":\"%d\"}]", i);
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, "example.com/b", more);
		aci_file(&aci, "rootfs/version", 0600, content);
		import_aci(fixture, &aci, i == 1 ? first : id);
	}
	{
		_cleanup_close_ int fd = -1;

		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, "example.com/labels",
			",\"dependencies\":[{\"imageName\":\"example.com/b\",\"labels\":"
			"[{\"name\":\"version\",\"value\":\"1\"}]}]");
		import_aci(fixture, &aci, id);
		fd = render_open(fixture, id, tree);
		assert_content(fd, "version", "1");
	}
	{
		_cleanup_close_ int fd = -1;

		snprintf(more, sizeof(more),
			",\"dependencies\":[{\"imageName\":\"example.com/b\",\"imageID\":\"%s\"}]",
			first);
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, "example.com/id", more);
		import_aci(fixture, &aci, id);
		fd = render_open(fixture, id, tree);
		assert_content(fd, "version", "1");
	}
	snprintf(more, sizeof(more),
		",\"dependencies\":[{\"imageName\":\"example.com/other\",\"imageID\":\"%s\"}]",
		first);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/wrong-id", more);
	import_aci(fixture, &aci, id);
	assert_int_equal(store_render(fixture->store, id, tree, &err), -EINVAL);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/wrong-size",
		",\"dependencies\":[{\"imageName\":\"example.com/b\",\"size\":17}]");
	import_aci(fixture, &aci, id);
	assert_int_equal(store_render(fixture->store, id, tree, &err), -EINVAL);
	assert_non_null(strstr(err.message, "17 bytes"));
}

static void a_changed_tree_fails_verification(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	_cleanup_close_ int fd = -1, file = -1;
	struct error err = {0};
	struct timespec times[2];
	struct aci aci;
	struct stat st;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	aci_file(&aci, "rootfs/x", 0600, "before");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	file = openat(fd, "x", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(write(file, "after!", 6), 6);
	times[0] = times[1] = st.st_mtim;
	assert_int_equal(futimens(file, times), 0);
	assert_int_equal(store_verify_tree(fixture->store, tree, &err), -EBADMSG);
}

static void render_one(struct fixture *fixture, char *id, char *tree, int *ret_fd)
{
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	aci_file(&aci, "rootfs/x", 0600, "before");
	import_aci(fixture, &aci, id);
	*ret_fd = render_open(fixture, id, tree);
}

static void a_rebuilt_tree_leaves_the_old_one_to_those_who_use_it(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE], again[STORE_TREE_ID_SIZE];
	char *in_use[] = {tree};
	_cleanup_close_ int old = -1, new = -1;
	struct error err = {0};
	size_t removed;

	render_one(fixture, id, tree, &old);
	assert_int_equal(file_replace(old, "x", "after!", 6, 0600), 0);
	assert_int_equal(store_rebuild_tree(fixture->store, id, again, &err), 0);
	assert_string_equal(again, tree);
	assert_int_equal(store_verify_tree(fixture->store, tree, &err), 0);
	new = store_open_tree(fixture->store, tree, &err);
	assert_content(new, "x", "before");
	assert_int_equal(store_gc(fixture->store, in_use, 1, &removed, &err), 0);
	assert_int_equal(removed, 0);
	assert_content(old, "x", "after!");
	assert_int_equal(store_gc(fixture->store, NULL, 0, &removed, &err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(fixture_count(fixture, "trees"), 1);
	assert_content(new, "x", "before");
}

static void whoever_is_killed_rebuilding_leaves_a_whole_tree(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	_cleanup_close_ int fd = -1;
	struct error err = {0};

	render_one(fixture, id, tree, &fd);
	for (unsigned int i = 0; i < 24; i++) {
		unsigned int seen = fixture_count(fixture, "trees");
		int status;
		pid_t child = fork();

		if (child == 0)
			for (;;)
				if (store_rebuild_tree(fixture->store, id, tree, &err) < 0)
					_exit(1);
		/* At another instant each time, in and around the second exchange. */
		while (fixture_count(fixture, "trees") == seen)
			sched_yield();
		for (unsigned int j = 0; j < i * i; j++)
			sched_yield();
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(store_verify_tree(fixture->store, tree, &err), 0);
	}
	assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, &err), 0);
	assert_int_equal(fixture_count(fixture, "trees"), 1);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

static void who_keeps_trees_and_who_claims_them_wait_for_each_other(void **state)
{
	struct fixture *fixture = *state;
	struct error err = {0};
	int keep = store_keep_trees(fixture->store, &err), more, claim;
	_cleanup_close_ int probe = directory_open(fixture->dirfd, "trees");

	assert_true(keep >= 0);
	more = store_keep_trees(fixture->store, &err);
	assert_true(more >= 0);
	assert_int_equal(flock(probe, LOCK_EX | LOCK_NB), -1);
	close(more);
	assert_int_equal(flock(probe, LOCK_EX | LOCK_NB), -1);
	close(keep);
	claim = store_claim_trees(fixture->store, &err);
	assert_true(claim >= 0);
	assert_int_equal(flock(probe, LOCK_SH | LOCK_NB), -1);
	close(claim);
	assert_int_equal(flock(probe, LOCK_SH | LOCK_NB), 0);
}

static void deep_directories_and_long_names_render(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE], path[4096] = "rootfs";
	_cleanup_close_ int fd = -1;
	size_t length = strlen(path);
	struct aci aci;

	while (length < 4000) {
		memcpy(path + length, "/d", 3);
		length += 2;
	}
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	aci_file(&aci, path, 0600, "deep");
	memcpy(path, "rootfs/", 7);
	memset(path + 7, 'n', 255);
	path[7 + 255] = '\0';
	aci_file(&aci, path, 0600, "long");
	import_aci(fixture, &aci, id);
	fd = render_open(fixture, id, tree);
	assert_content(fd, path + 7, "long");
	assert_int_equal(count_files(fd), (4000 - 6) / 2 + 1);
}

static void many_processes_render_one_tree(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct error err = {0};
	_cleanup_close_ int fd = -1;
	pid_t children[8];
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "rootfs/d%d/f%d", i % 7, i);
		aci_file(&aci, name, 0644, name);
	}
	import_aci(fixture, &aci, id);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct store *store;

			if (store_open(fixture->dirfd, &store, NULL) < 0 ||
				store_render(store, id, tree, NULL) < 0 ||
				store_verify_tree(store, tree, NULL) < 0)
				_exit(1);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	fd = render_open(fixture, id, tree);
	assert_int_equal(count_files(fd), 207);
	assert_int_equal(fixture_count(fixture, "trees"), 1);
	assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, &err), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

static void gc_removes_trees_of_removed_images(void **state)
{
	struct fixture *fixture = *state;
	char kept[STORE_IMAGE_ID_SIZE], used[STORE_IMAGE_ID_SIZE], gone[STORE_IMAGE_ID_SIZE];
	char tree_kept[STORE_TREE_ID_SIZE], tree_used[STORE_TREE_ID_SIZE],
		tree_gone[STORE_TREE_ID_SIZE];
	char *in_use[] = {tree_used};
	struct error err = {0};
	struct aci aci;
	size_t removed;

	char *ids[] = {kept, used, gone}, *trees[] = {tree_kept, tree_used, tree_gone};

	for (size_t i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "example.com/%zu", i);
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, name, "");
		aci_file(&aci, "rootfs/x", 0600, name);
		import_aci(fixture, &aci, ids[i]);
		close(render_open(fixture, ids[i], trees[i]));
	}
	assert_int_equal(store_remove(fixture->store, used, &err), 0);
	assert_int_equal(store_remove(fixture->store, gone, &err), 0);
	assert_int_equal(store_remove(fixture->store, gone, &err), -ENOENT);
	assert_int_equal(fixture_count(fixture, "trees"), 3);
	assert_int_equal(store_gc(fixture->store, in_use, 1, &removed, &err), 0);
	assert_int_equal(removed, 1);
	assert_true(store_open_tree(fixture->store, tree_gone, &err) < 0);
	assert_int_equal(store_gc(fixture->store, NULL, 0, &removed, &err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(store_verify_tree(fixture->store, tree_kept, &err), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

#define store_test(function) \
	cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renders_as_rkt_does),
		store_test(metadata_is_preserved),
		store_test(sparse_files_stay_sparse),
		store_test(a_hard_link_is_to_what_has_its_targets_name),
		store_test(a_hard_link_names_no_file_of_a_dependency),
		store_test(links_to_devices_are_left_out_with_them),
		store_test(a_lower_symlink_gives_way_to_an_implicit_directory),
		store_test(a_whitelist_of_a_sibling_does_not_count),
		store_test(dependency_errors_name_the_dependency),
		store_test(dependencies_match_by_labels_id_and_size),
		store_test(a_changed_tree_fails_verification),
		store_test(a_rebuilt_tree_leaves_the_old_one_to_those_who_use_it),
		store_test(whoever_is_killed_rebuilding_leaves_a_whole_tree),
		store_test(who_keeps_trees_and_who_claims_them_wait_for_each_other),
		store_test(deep_directories_and_long_names_render),
		store_test(many_processes_render_one_tree),
		store_test(gc_removes_trees_of_removed_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
