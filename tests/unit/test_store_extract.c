// SPDX-License-Identifier: Apache-2.0
/* test_store_extract.c: images as directories outside the store, and their verification in it. */
#include "aci-builder.h"

#include <sys/stat.h>

static void assert_content(const struct fixture *fixture, const char *path, const char *expected)
{
	_cleanup_free_ char *content = NULL;
	size_t length;

	if (file_read(fixture->dirfd, path, 4096, &content, &length) < 0)
		fail_msg("%s is missing", path);
	assert_string_equal(content, expected);
}

static bool exists(const struct fixture *fixture, const char *path)
{
	return faccessat(fixture->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int extract(struct fixture *fixture, const char *id, struct store_extract_options options,
	const char *name, struct error *err)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fixture->path, name);
	return store_extract(fixture->store, id, &options, path, err);
}

static void extract_well(struct fixture *fixture, const char *id,
	struct store_extract_options options, const char *name)
{
	struct error err = {0};

	if (extract(fixture, id, options, name, &err) < 0)
		fail_msg("%s", err.message);
}

/* No directory of a temporary name beside the output. */
static void assert_clean(const struct fixture *fixture)
{
	_cleanup_closedir_ DIR *directory = fdopendir(directory_open(fixture->dirfd, "."));
	struct dirent *entry;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		if (!strncmp(entry->d_name, ".appc-vm-", 9))
			fail_msg("%s is left", entry->d_name);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

/* An upper image with a whitelist, and the one below it. */
static void import_two(struct fixture *fixture, char *ret_upper)
{
	char lower[STORE_IMAGE_ID_SIZE];
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/lower", "");
	aci_directory(&aci, "rootfs", 0711);
	aci_file(&aci, "rootfs/below", 0644, "lower");
	aci_file(&aci, "rootfs/both", 0644, "lower");
	import_aci(fixture, &aci, lower);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/upper",
		", \"dependencies\": [{\"imageName\": \"example.com/lower\"}], "
		"\"pathWhitelist\": [\"/both\", \"/below\"]");
	aci_directory(&aci, "rootfs", 0750);
	aci_file(&aci, "rootfs/both", 0644, "upper");
	aci_file(&aci, "rootfs/unlisted", 0644, "upper");
	import_aci(fixture, &aci, ret_upper);
}

static void extract_has_all_of_one_archive_and_nothing_of_others(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct stat st;

	import_two(fixture, id);
	extract_well(fixture, id, (struct store_extract_options){0}, "out");
	assert_content(fixture, "out/rootfs/both", "upper");
	assert_content(fixture, "out/rootfs/unlisted", "upper");
	assert_false(exists(fixture, "out/rootfs/below"));
	assert_true(exists(fixture, "out/manifest"));
	assert_int_equal(fstatat(fixture->dirfd, "out", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_clean(fixture);
}

static void render_is_what_a_pod_sees(void **state)
{
	const struct store_extract_options options = {
		.with_dependencies = true,
		.rootfs_only = true,
	};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct stat st;

	import_two(fixture, id);
	extract_well(fixture, id, options, "out");
	assert_content(fixture, "out/both", "upper");
	assert_content(fixture, "out/below", "lower");
	assert_false(exists(fixture, "out/unlisted"));
	assert_false(exists(fixture, "out/manifest"));
	assert_int_equal(fstatat(fixture->dirfd, "out", &st, 0), 0);
	/* The root directory is that of the last image. */
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_clean(fixture);
}

static void a_directory_is_replaced_whole_or_not_at_all(void **state)
{
	const struct store_extract_options overwrite = {.overwrite = true, .rootfs_only = true};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	import_two(fixture, id);
	assert_int_equal(mkdirat(fixture->dirfd, "out", 0755), 0);
	assert_int_equal(file_write_atomic(fixture->dirfd, "out/old", "old", 3, 0600), 0);
	assert_int_equal(
		extract(fixture, id, (struct store_extract_options){0}, "out", &err), -EEXIST);
	assert_non_null(strstr(err.message, "try --overwrite"));
	assert_content(fixture, "out/old", "old");
	extract_well(fixture, id, overwrite, "out");
	assert_false(exists(fixture, "out/old"));
	assert_content(fixture, "out/both", "upper");
	/* An image that is not there must not cost what was there. */
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	assert_int_equal(extract(fixture, id, overwrite, "out", &err), -ENOENT);
	assert_content(fixture, "out/both", "upper");
	assert_clean(fixture);
}

static void what_is_not_a_directory_is_not_replaced(void **state)
{
	static const char *const names[] = {"file", "link", ".", "..", "file/below", "absent/out"};
	const struct store_extract_options overwrite = {.overwrite = true};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];

	import_two(fixture, id);
	assert_int_equal(file_write_atomic(fixture->dirfd, "file", "old", 3, 0600), 0);
	assert_int_equal(symlinkat("images", fixture->dirfd, "link"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct error err = {0};

		assert_true(extract(fixture, id, overwrite, names[i], &err) < 0);
		assert_true(*err.message);
	}
	assert_content(fixture, "file", "old");
	assert_clean(fixture);
}

/* Import refuses such an archive; this is one that was changed in the store. */
static void an_archive_that_leads_outside_writes_nothing_there(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], path[256], target[128];
	struct error err = {0};
	struct aci evil;

	import_two(fixture, id);
	assert_int_equal(mkdirat(fixture->dirfd, "outside", 0755), 0);
	snprintf(target, sizeof(target), "%s/outside", fixture->path);
	aci_begin(&evil, ARCHIVE_FILTER_NONE);
	aci_manifest(&evil, "example.com/upper", "");
	aci_directory(&evil, "rootfs", 0755);
	aci_symlink(&evil, "rootfs/link", target);
	aci_file(&evil, "rootfs/link/file", 0644, "out");
	aci_end(&evil);
	snprintf(path, sizeof(path), "images/%s/image.tar", id);
	assert_int_equal(file_write_atomic(fixture->dirfd, path, evil.data, evil.length, 0600), 0);
	aci_free(&evil);
	extract(fixture, id, (struct store_extract_options){0}, "out", &err);
	assert_int_equal(fixture_count(fixture, "outside"), 0);
	assert_clean(fixture);
	assert_int_equal(store_verify_image(fixture->store, id, &err), -EBADMSG);
	assert_non_null(strstr(err.message, id));
}

static void an_archive_as_it_was_imported_verifies(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	import_two(fixture, id);
	assert_int_equal(store_verify_image(fixture->store, id, &err), 0);
}

static void a_tree_uses_its_image_and_all_dependencies(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], expected[STORE_TREE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	char absent[STORE_TREE_ID_SIZE];
	char *trees[] = {absent, tree};
	struct appc_strings images = {0};
	struct error err = {0};

	memset(absent, '0', sizeof(absent) - 1);
	memcpy(absent, "deps-sha512-", 12);
	absent[sizeof(absent) - 1] = '\0';
	import_two(fixture, id);
	assert_int_equal(store_tree_id(fixture->store, id, expected, &err), 0);
	assert_false(store_has_tree(fixture->store, expected));
	assert_int_equal(store_render(fixture->store, id, tree, &err), 0);
	assert_string_equal(tree, expected);
	assert_true(store_has_tree(fixture->store, tree));
	assert_int_equal(store_trees_images(fixture->store, trees, 2, &images, &err), 0);
	assert_int_equal(images.count, 2);
	assert_string_equal(images.items[0], id);
	appc_strings_clear(&images);
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, &err), 0);
	assert_false(store_has_tree(fixture->store, tree));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(extract_has_all_of_one_archive_and_nothing_of_others),
		TEST(render_is_what_a_pod_sees),
		TEST(a_directory_is_replaced_whole_or_not_at_all),
		TEST(what_is_not_a_directory_is_not_replaced),
		TEST(an_archive_that_leads_outside_writes_nothing_there),
		TEST(an_archive_as_it_was_imported_verifies),
		TEST(a_tree_uses_its_image_and_all_dependencies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
