/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of converted images do with containers: import, refuse and look at what came of it. */
#ifndef APPC_TESTS_UNIT_CONTAINER_IMPORT_H
#define APPC_TESTS_UNIT_CONTAINER_IMPORT_H

#include "container-builder.h"

/* A layout of one image under a reference. */
static inline void container_name(struct container *container, const char *reference)
{
	container_index(
		container, json_pack("[o]", named(container_manifest(container), reference)));
}

static inline void assert_name(
	struct fixture *fixture, const char *id, const char *name, const char *version)
{
	struct appc_image_manifest *manifest;

	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	assert_string_equal(manifest->name, name);
	assert_string_equal(appc_pairs_get(&manifest->labels, "version"), version);
	assert_non_null(appc_pairs_get(&manifest->annotations, "appc.io/docker/repository"));
	appc_image_manifest_free(manifest);
}

static inline void must_import(struct fixture *fixture, const struct container *container,
	char ret_id[STORE_IMAGE_ID_SIZE])
{
	struct error err;

	if (import_container(fixture, container, NULL, ret_id, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

/* Nothing appears, nothing is left, and the message has all that is expected, which NULL ends. */
static inline void must_refuse(struct fixture *fixture, const struct container *container,
	const struct store_import_options *options, int expected, const char *const *words)
{
	char id[STORE_IMAGE_ID_SIZE];
	struct error err;
	int r = import_container(fixture, container, options, id, &err);

	if (r != expected)
		fail_msg("result %d, expected %d: %s", r, expected, err.message);
	for (; *words; words++)
		if (!strstr(err.message, *words))
			fail_msg("\"%s\" lacks \"%s\"", err.message, *words);
	assert_int_equal(fixture_count(fixture, "images"), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}
#define REFUSE(fixture, container, options, expected, ...) \
	must_refuse(fixture, container, options, expected, (const char *const[]){__VA_ARGS__, NULL})

static inline int render(struct fixture *fixture, const char *id)
{
	char tree[STORE_TREE_ID_SIZE];
	struct error err = {0};

	if (store_render(fixture->store, id, tree, &err) < 0)
		fail_msg("%s", err.message);
	return store_open_tree(fixture->store, tree, &err);
}

static inline void assert_content(int dirfd, const char *path, const char *expected)
{
	_cleanup_free_ char *content = NULL;

	if (file_read(dirfd, path, 1 << 20, &content, NULL) < 0)
		fail_msg("cannot read %s", path);
	assert_string_equal(content, expected);
}

static inline bool exists(int dirfd, const char *path)
{
	return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline json_t *manifest_json(struct fixture *fixture, const char *id)
{
	struct appc_image_manifest *manifest;
	json_t *json;

	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	json = appc_image_manifest_json(manifest);
	appc_image_manifest_free(manifest);
	assert_non_null(json);
	return json;
}

static inline void one_layer(struct container *container, const char *file, const char *content)
{
	struct aci layer;

	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, file, 0644, content);
	container_layer(container, &layer, ARCHIVE_FILTER_NONE);
}

#define store_test(function) \
	cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

#endif
