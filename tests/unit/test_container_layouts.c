// SPDX-License-Identifier: Apache-2.0
/* test_container_layouts.c: OCI image layouts and docker-save archives: which parts are taken, and which are refused. */
#include "container_import.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- layouts */

static void the_order_and_the_wrapping_of_a_layout_do_not_change_the_image(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], other[STORE_IMAGE_ID_SIZE], path[80];
	_cleanup_close_ int fd = -1, directory = -1;
	struct container container;
	struct container_file swapped;
	struct aci tar, compressed;
	struct error err = {0};

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "example.com/same:1");
	must_import(fixture, &container, id);
	swapped = container.files[0];
	container.files[0] = container.files[container.file_count - 1];
	container.files[container.file_count - 1] = swapped;
	must_import(fixture, &container, other);
	assert_string_equal(id, other);

	container_tar(&container, &tar);
	bytes_compress(&compressed, ARCHIVE_FILTER_ZSTD, tar.data, tar.length);
	fd = bytes_open(compressed.data, compressed.length);
	assert_int_equal(store_import(fixture->store, fd, "dir/some.tar", NULL, other, &err), 0);
	assert_string_equal(id, other);
	aci_free(&tar);
	aci_free(&compressed);

	snprintf(path, sizeof(path), "%s/layout", fixture->path);
	assert_int_equal(directory_create_path(AT_FDCWD, path, 0700), 0);
	directory = directory_open(AT_FDCWD, path);
	assert_int_equal(directory_create_path(directory, "blobs/sha256", 0700), 0);
	for (size_t i = 0; i < container.file_count; i++)
		assert_int_equal(file_write_atomic(directory, container.files[i].path,
					 container.files[i].data, container.files[i].length, 0600),
			0);
	if (store_import(fixture->store, directory, "layout", NULL, other, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(id, other);
	container_free(&container);
}

static void blobs_of_a_directory_stay_inside_it(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], path[80];
	_cleanup_close_ int directory = -1;
	struct error err = {0};

	snprintf(path, sizeof(path), "%s/layout", fixture->path);
	assert_int_equal(directory_create_path(AT_FDCWD, path, 0700), 0);
	directory = directory_open(AT_FDCWD, path);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "without index.json"));
	assert_int_equal(symlinkat("/etc/passwd", directory, "oci-layout"), 0);
	assert_int_equal(file_write_atomic(directory, "index.json", "{}", 2, 0600), 0);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "\"oci-layout\" leads out of the directory"));
	assert_int_equal(unlinkat(directory, "oci-layout", 0), 0);
	assert_int_equal(mkfifoat(directory, "oci-layout", 0600), 0);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "not a regular file"));
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

static json_t *arch_manifest(struct container *container, const char *file)
{
	json_array_clear(container->layers);
	json_array_clear(container->diff_ids);
	one_layer(container, file, "x");
	return container_manifest(container);
}

static void the_image_for_this_machine_is_taken_from_nested_indexes(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	_cleanup_close_ int root = -1;
	json_t *inner, *attestation;

	container_begin(&container);
	attestation =
		for_platform(arch_manifest(&container, "attestation"), "unknown", "unknown", NULL);
	json_object_set_new(attestation, "annotations",
		json_pack("{s:s}", "vnd.docker.reference.type", "attestation-manifest"));
	inner = json_pack("[o, o, o, o]", attestation,
		for_platform(arch_manifest(&container, "arm64"), "linux", "arm64", "v8"),
		for_platform(arch_manifest(&container, "v3"), "linux", "amd64", "v3"),
		for_platform(arch_manifest(&container, "amd64"), "linux", "amd64", NULL));
	container_index(&container,
		json_pack("[o]",
			named(container_json_blob(&container, TYPE_INDEX,
				      index_of(json_pack("[o]",
					      container_json_blob(
						      &container, TYPE_INDEX, index_of(inner))))),
				"example.com/multi:1")));
	must_import(fixture, &container, id);
	assert_name(fixture, id, "example.com/multi", "1");
	root = render(fixture, id);
	assert_true(exists(root, "amd64"));
	assert_false(exists(root, "v3"));
	container_free(&container);
}

static void an_index_without_this_machine_says_what_it_has(void **state)
{
	struct fixture *fixture = *state;
	struct container container;

	container_begin(&container);
	container_index(&container,
		json_pack("[o]",
			container_json_blob(&container, TYPE_INDEX,
				index_of(json_pack("[o, o]",
					for_platform(arch_manifest(&container, "a"), "linux", "arm",
						"v7"),
					for_platform(arch_manifest(&container, "b"), "windows",
						"amd64", NULL))))));
	REFUSE(fixture, &container, NULL, -ENOENT, "no image for linux/amd64",
		"linux/arm/v7, windows/amd64");
	container_free(&container);
}

static void of_several_images_one_must_be_chosen(void **state)
{
	struct store_import_options options = {0};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], digest[72];
	struct container container;
	struct error err;
	json_t *first;

	container_begin(&container);
	first = arch_manifest(&container, "one");
	snprintf(digest, sizeof(digest), "%s", json_string_value(json_object_get(first, "digest")));
	container_index(&container,
		json_pack("[o, o]", named(first, "example.com/one:1"),
			named(arch_manifest(&container, "two"), "example.com/two:2")));
	REFUSE(fixture, &container, NULL, -ENOTUNIQ, "choose one with --ref",
		"example.com/one:1, example.com/two:2");
	options.reference = "3";
	REFUSE(fixture, &container, &options, -ENOENT, "no image \"3\"", "example.com/one:1");
	options.reference = "2";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/two", "2");
	options.reference = "example.com/one:1";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/one", "1");
	options.reference = digest;
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/one", "1");
	container_free(&container);
}

/* Replaces the first occurrence of a text in a file of the container by one of any length. */
static void container_edit(
	struct container *container, const char *path, const char *from, const char *to)
{
	for (size_t i = 0; i < container->file_count; i++) {
		_cleanup_free_ char *text = NULL, *edited = NULL;
		char *at;

		if (strcmp(container->files[i].path, path))
			continue;
		text = calloc(1, container->files[i].length + 1);
		assert_non_null(text);
		memcpy(text, container->files[i].data, container->files[i].length);
		at = strstr(text, from);
		assert_non_null(at);
		assert_true(asprintf(&edited, "%.*s%s%s", (int)(at - text), text, to,
				    at + strlen(from)) >= 0);
		container_text(container, path, edited);
		return;
	}
	fail_msg("no file %s", path);
}

static void damaged_layouts_are_refused(void **state)
{
	static const struct {
		const char *path, *from,
			*to; /* an edit of a file; path NULL: of the layer's blob */
		int expected;
		const char *words;
	} cases[] = {
		{"oci-layout", "1.0.0", "2.0.0", -EINVAL,
			"imageLayoutVersion: \"2.0.0\" is not known"},
		{"oci-layout", "{", "[", -EINVAL, "oci-layout"},
		{"index.json", "{", "{\"schemaVersion\":2,", -EINVAL, "index.json"},
		{"index.json", ":2", ":1", -EINVAL, "index.json: schemaVersion: must be 2"},
		{"index.json", "sha256:", "sha256:../../", -EINVAL, "manifests[0].digest"},
		{"index.json", "sha256:", "md5:", -EINVAL, "is not a sha256 or sha512 digest"},
		{"index.json", "\"size\":", "\"size\":1", -EBADMSG, "its descriptor says 1"},
		{"index.json", "\"size\":", "\"size\":-", -EINVAL, "size"},
		{"index.json", "manifest.v1+json", "manifest.v9+json", -ENOENT, "lists no image"},
		{"index.json", "index.v1+json", "manifest.v1+json", -EINVAL,
			"is not what its descriptor says"},
		{"index.json", "\"manifests\"", "\"layers\":[],\"manifests\"", -EINVAL,
			"layers: has no place"},
		{NULL, "content", "CONTENT", -EBADMSG, "has the digest sha256:"},
		{NULL, "content", "contents", -EBADMSG, "its descriptor says"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct container container;

		container_begin(&container);
		one_layer(&container, "file", "content");
		container_name(&container, "example.com/damaged:1");
		if (cases[i].path) {
			container_edit(&container, cases[i].path, cases[i].from, cases[i].to);
		} else {
			struct container_file *layer = &container.files[0];
			char *at = memmem(
				layer->data, layer->length, cases[i].from, strlen(cases[i].from));

			assert_non_null(at);
			memcpy(at, cases[i].to, strlen(cases[i].from));
			if (strlen(cases[i].to) > strlen(cases[i].from))
				layer->length--;
		}
		REFUSE(fixture, &container, NULL, cases[i].expected, "dir/some.tar",
			cases[i].words);
		container_free(&container);
	}
}

static void wrong_digests_sizes_and_types_of_parts_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char zeros[72], digest[72];
	struct container container;
	struct aci layer;

	snprintf(zeros, sizeof(zeros), "sha256:%064d", 0);
	/* A blob that is not there. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_object_set_new(json_array_get(container.layers, 0), "digest", json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -ENOENT, zeros + 7, "is not in the archive");
	container_free(&container);
	/* A layer that is not what the configuration says. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_set_new(container.diff_ids, 0, json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EBADMSG, "has the diff id sha256:", zeros);
	container_free(&container);
	/* More layers than the configuration knows. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_append_new(container.diff_ids, json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "1 layers, but 2 diff_ids");
	container_free(&container);
	/* Media types. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_object_set_new(json_array_get(container.layers, 0), "mediaType",
		json_string(TYPE_LAYER "+encrypted"));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "layers[0]", "+encrypted\" is not a layer");
	container_free(&container);
	container_begin(&container);
	container_index(&container,
		json_pack("[o]",
			container_json_blob(&container, TYPE_MANIFEST,
				json_pack("{s:i, s:o, s:[]}", "schemaVersion", 2, "config",
					container_blob(&container,
						"application/vnd.oci.empty.v1+json", "{}", 2),
					"layers"))));
	REFUSE(fixture, &container, NULL, -EINVAL, "config: ", "not the configuration of an image");
	container_free(&container);
	/* A layer that is compressed twice, one that is no archive, and one that is cut off. */
	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_GZIP);
	aci_file(&layer, "file", 0644, "x");
	container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "layer", "compressed more than once");
	container_free(&container);
	container_begin(&container);
	digest_text("not a tar", 9, digest);
	json_array_append_new(container.diff_ids, json_string(digest));
	json_array_append_new(
		container.layers, container_blob(&container, TYPE_LAYER, "not a tar", 9));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EBADMSG, "layer \"blobs/", "damaged archive");
	container_free(&container);
}

static void an_index_that_never_ends_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct container container;
	json_t *descriptor;

	container_begin(&container);
	descriptor = container_manifest(&container);
	for (int i = 0; i < 12; i++)
		descriptor = container_json_blob(
			&container, TYPE_INDEX, index_of(json_pack("[o]", descriptor)));
	container_index(&container, json_pack("[o]", descriptor));
	REFUSE(fixture, &container, NULL, -ELOOP, "nested deeper than");
	container_free(&container);
}

static void huge_and_deep_documents_are_refused(void **state)
{
	struct fixture *fixture = *state;
	const size_t size = (4 << 20) + 1;
	char *text = malloc(size + 1);
	struct container container;

	container_begin(&container);
	container_name(&container, "example.com/a:1");
	memset(text, ' ', size);
	text[size] = '\0';
	container_text(&container, "index.json", text);
	REFUSE(fixture, &container, NULL, -EFBIG, "\"index.json\" is larger than 4194304 bytes");
	memset(text, '[', 100000);
	text[100000] = '\0';
	container_text(&container, "index.json", text);
	REFUSE(fixture, &container, NULL, -EINVAL, "index.json");
	container_free(&container);
	free(text);
}

static void outer_archives_that_are_ambiguous_or_cut_off_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	struct error err = {0};
	struct aci tar;

	container_begin(&container);
	container_name(&container, "example.com/a:1");
	aci_begin(&tar, ARCHIVE_FILTER_NONE);
	for (int i = 0; i < 2; i++)
		aci_file(&tar, i ? "./index.json" : "index.json", 0644, "{}");
	aci_end(&tar);
	assert_int_equal(
		import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "duplicate file entry in archive: \"index.json\""));
	aci_free(&tar);
	container_tar(&container, &tar);
	for (size_t length = 512; length < tar.length - 1024; length += 700) {
		err = (struct error){0};
		assert_true(import_bytes(fixture->store, tar.data, length, NULL, id, &err) < 0);
		assert_true(err.message[0]);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
	}
	aci_free(&tar);
	container_free(&container);
	aci_begin(&tar, ARCHIVE_FILTER_NONE);
	aci_file(&tar, "some/file", 0644, "x");
	aci_end(&tar);
	assert_int_equal(
		import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "unrecognized file path in layout: \"some/file\""));
	aci_free(&tar);
	assert_int_equal(fixture_count(fixture, "images"), 0);
}

static void what_a_killed_conversion_left_is_removed(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	int pipe_fds[2], status;
	struct aci tar;
	pid_t child;

	container_begin(&container);
	one_layer(&container, "file", "content");
	container_name(&container, "example.com/killed:1");
	container_tar(&container, &tar);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* The pipe never ends: its writing end is open here too. */
		store_import(fixture->store, pipe_fds[0], "pipe", NULL, id, NULL);
		_exit(1);
	}
	assert_int_equal(file_write_all(pipe_fds[1], tar.data, 2048), 0);
	while (fixture_count(fixture, "tmp") == 0)
		sched_yield();
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(fixture_count(fixture, "tmp"), 1);
	assert_int_equal(fixture_count(fixture, "images"), 0);
	must_import(fixture, &container, id);
	assert_int_equal(fixture_count(fixture, "images"), 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	aci_free(&tar);
	container_free(&container);
}

/* ---- docker save */

/* The files of an archive: CONFIG.json, manifest.json, and layers by the names given. */
static void saved_begin(
	struct container *container, struct aci *tar, const char *tags, const char *layers)
{
	json_t *descriptor = container_config_blob(container);
	const struct container_file *config = &container->files[container->file_count - 1];
	char text[1024], name[80];

	snprintf(name, sizeof(name), "%s.json",
		json_string_value(json_object_get(descriptor, "digest")) + 7);
	snprintf(text, sizeof(text), "[{\"Config\":\"%s\",\"RepoTags\":%s,\"Layers\":%s}]", name,
		tags, layers);
	aci_begin(tar, ARCHIVE_FILTER_NONE);
	aci_put(tar, aci_entry_make(name, AE_IFREG, 0644), config->data, config->length);
	aci_file(tar, "manifest.json", 0644, text);
	json_decref(descriptor);
}

static void saved_layer(struct container *container, struct aci *tar, const char *name)
{
	aci_put(tar, aci_entry_make(name, AE_IFREG, 0644), container->files[0].data,
		container->files[0].length);
}

static void layers_of_docker_save_may_be_links(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct error err = {0};
	struct aci tar;

	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_append(container.diff_ids, json_array_get(container.diff_ids, 0));
	json_array_append(container.diff_ids, json_array_get(container.diff_ids, 0));
	saved_begin(&container, &tar, "[\"busybox:1\",\"quay.io/other:2\"]",
		"[\"a/layer.tar\",\"b/layer.tar\",\"c/layer.tar\"]");
	aci_symlink(&tar, "a/layer.tar", "../b/./layer.tar");
	aci_symlink(&tar, "b/layer.tar", "../c/layer.tar");
	aci_hardlink(&tar, "c/layer.tar", "data.tar");
	saved_layer(&container, &tar, "data.tar");
	aci_end(&tar);
	if (import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err) < 0)
		fail_msg("%s", err.message);
	aci_free(&tar);
	container_free(&container);
	assert_name(fixture, id, "registry-1.docker.io/library/busybox", "1");
	root = render(fixture, id);
	assert_content(root, "file", "content");
}

static void links_of_docker_save_stay_inside_the_archive(void **state)
{
	static const struct {
		const char *target, *words;
	} cases[] = {
		{"../../etc/passwd", "leads out of the archive"},
		{"/etc/passwd", "leads out of the archive"},
		{"layer.tar", "too many links"},
		{"../missing.tar", "is a link to what is not in the archive"},
		{"../a", "is a link to what is not in the archive"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct error err = {0};
		struct aci tar;

		container_begin(&container);
		one_layer(&container, "file", "content");
		saved_begin(&container, &tar, "null", "[\"a/layer.tar\"]");
		aci_symlink(&tar, "a/layer.tar", cases[i].target);
		aci_end(&tar);
		assert_true(import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err) < 0);
		if (!strstr(err.message, cases[i].words) || !strstr(err.message, "a/layer.tar"))
			fail_msg("%s", err.message);
		assert_int_equal(fixture_count(fixture, "images"), 0);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
		aci_free(&tar);
		container_free(&container);
	}
}

static void the_blobs_of_docker_save_are_checked(void **state)
{
	struct store_import_options options = {0};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], text[1024];
	struct container container;
	json_t *config;
	struct error err;

	container_begin(&container);
	one_layer(&container, "file", "content");
	config = container_config_blob(&container);
	snprintf(text, sizeof(text),
		"[{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"a/b:1\"],\"Layers\":[\"%s\"]},"
		"{\"Config\":\"none\",\"RepoTags\":[\"a/b:2\"],\"Layers\":null}]",
		json_string_value(json_object_get(config, "digest")) + 7, container.files[0].path);
	json_decref(config);
	container_text(&container, "manifest.json", text);
	REFUSE(fixture, &container, NULL, -ENOTUNIQ, "it holds 2 images", "a/b:1, a/b:2");
	options.reference = "docker.io/a/b:1";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "registry-1.docker.io/a/b", "1");
	assert_int_equal(store_remove(fixture->store, id, NULL), 0);
	options.reference = "2";
	REFUSE(fixture, &container, &options, -ENOENT, "\"none\" is not in the archive");
	options.reference = "1";
	((char *)container.files[0].data)[600] ^= 1;
	REFUSE(fixture, &container, &options, -EBADMSG, "has the digest");
	((char *)container.files[0].data)[600] ^= 1;
	((char *)container.files[1].data)[2] ^= 1;
	REFUSE(fixture, &container, &options, -EBADMSG, "has the digest");
	container_text(&container, "manifest.json", "[]");
	REFUSE(fixture, &container, NULL, -ENOENT, "manifest.json: it lists no image");
	container_text(&container, "manifest.json", "[{\"RepoTags\":[]}]");
	REFUSE(fixture, &container, NULL, -EINVAL, "manifest.json: [0].Config: must be set");
	container_free(&container);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(the_order_and_the_wrapping_of_a_layout_do_not_change_the_image),
		store_test(blobs_of_a_directory_stay_inside_it),
		store_test(the_image_for_this_machine_is_taken_from_nested_indexes),
		store_test(an_index_without_this_machine_says_what_it_has),
		store_test(of_several_images_one_must_be_chosen),
		store_test(damaged_layouts_are_refused),
		store_test(wrong_digests_sizes_and_types_of_parts_are_refused),
		store_test(an_index_that_never_ends_is_refused),
		store_test(huge_and_deep_documents_are_refused),
		store_test(outer_archives_that_are_ambiguous_or_cut_off_are_refused),
		store_test(what_a_killed_conversion_left_is_removed),
		store_test(layers_of_docker_save_may_be_links),
		store_test(links_of_docker_save_stay_inside_the_archive),
		store_test(the_blobs_of_docker_save_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
