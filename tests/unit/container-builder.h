/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds OCI image layouts and docker-save archives in memory, well-formed and hostile ones. For tests
 * only: everything is checked with assertions.
 */
#ifndef APPC_TESTS_UNIT_CONTAINER_BUILDER_H
#define APPC_TESTS_UNIT_CONTAINER_BUILDER_H

#include "aci-builder.h"

#include "base/json.h"
#include "base/sha256.h"

#define OCI_TYPE      "application/vnd.oci.image."
#define TYPE_INDEX    OCI_TYPE "index.v1+json"
#define TYPE_MANIFEST OCI_TYPE "manifest.v1+json"
#define TYPE_CONFIG   OCI_TYPE "config.v1+json"
#define TYPE_LAYER    OCI_TYPE "layer.v1.tar"

struct container_file {
	char path[160];
	void *data;
	size_t length;
};

/* What ends up in the archive, in this order; JSON that tests may change before that. */
struct container {
	struct container_file files[64];
	size_t file_count;
	json_t *config, *layers, *diff_ids;
};

static inline void digest_text(const void *data, size_t length, char ret[72])
{
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, data, length);
	memcpy(ret, "sha256:", 7);
	sha256_final_text(&sha, ret + 7);
}

static inline void container_begin(struct container *container)
{
	*container = (struct container){.layers = json_array(), .diff_ids = json_array()};
	container->config =
		json_pack("{s:s, s:s, s:{}}", "os", "linux", "architecture", "amd64", "config");
	assert_non_null(container->config);
}

static inline void container_free(struct container *container)
{
	for (size_t i = 0; i < container->file_count; i++)
		free(container->files[i].data);
	json_decref(container->config);
	json_decref(container->layers);
	json_decref(container->diff_ids);
}

/* Adds a file, a copy of data; an existing path is replaced. */
static inline void container_put(
	struct container *container, const char *path, const void *data, size_t length)
{
	struct container_file *file = NULL;

	for (size_t i = 0; i < container->file_count; i++)
		if (!strcmp(container->files[i].path, path))
			file = &container->files[i];
	if (!file) {
		assert_true(container->file_count < 64);
		file = &container->files[container->file_count++];
		snprintf(file->path, sizeof(file->path), "%s", path);
	}
	free(file->data);
	file->data = malloc(length + 1);
	assert_non_null(file->data);
	memcpy(file->data, data, length);
	file->length = length;
}

static inline void container_text(struct container *container, const char *path, const char *text)
{
	container_put(container, path, text, strlen(text));
}

static inline json_t *container_blob(
	struct container *container, const char *type, const void *data, size_t length)
{
	char digest[72], path[160];
	json_t *descriptor;

	digest_text(data, length, digest);
	snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
	container_put(container, path, data, length);
	descriptor = json_pack(
		"{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)length);
	assert_non_null(descriptor);
	return descriptor;
}

/* The descriptor of a JSON document, which it takes over. */
static inline json_t *container_json_blob(
	struct container *container, const char *type, json_t *json)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	json_t *descriptor;

	assert_non_null(text);
	descriptor = container_blob(container, type, text, strlen(text));
	json_decref(json);
	return descriptor;
}

static inline void bytes_compress(struct aci *ret, int filter, const void *data, size_t length)
{
	struct archive_entry *entry = archive_entry_new();

	*ret = (struct aci){.writer = archive_write_new()};
	assert_non_null(ret->writer);
	assert_int_equal(archive_write_set_format_raw(ret->writer), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter(ret->writer, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_set_bytes_in_last_block(ret->writer, 1), ARCHIVE_OK);
	assert_int_equal(archive_write_open(ret->writer, ret, NULL, aci_write, NULL), ARCHIVE_OK);
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_header(ret->writer, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(ret->writer, data, length), length);
	archive_entry_free(entry);
	aci_end(ret);
}

/* Ends a layer that was begun with aci_begin(NONE) and adds it, compressed. */
static inline void container_layer(struct container *container, struct aci *layer, int filter)
{
	char digest[72];
	struct aci compressed;

	aci_end(layer);
	digest_text(layer->data, layer->length, digest);
	json_array_append_new(container->diff_ids, json_string(digest));
	bytes_compress(&compressed, filter, layer->data, layer->length);
	json_array_append_new(container->layers,
		container_blob(container,
			filter == ARCHIVE_FILTER_GZIP           ? TYPE_LAYER "+gzip"
				: filter == ARCHIVE_FILTER_ZSTD ? TYPE_LAYER "+zstd"
								: TYPE_LAYER,
			compressed.data, compressed.length));
	aci_free(&compressed);
	aci_free(layer);
}

/* The configuration with the diff ids as a blob. */
static inline json_t *container_config_blob(struct container *container)
{
	json_t *config = json_deep_copy(container->config);

	json_object_set_new(config, "rootfs",
		json_pack("{s:s, s:O}", "type", "layers", "diff_ids", container->diff_ids));
	return container_json_blob(container, TYPE_CONFIG, config);
}

/* A manifest of the present configuration and layers, and its descriptor. */
static inline json_t *container_manifest(struct container *container)
{
	return container_json_blob(container, TYPE_MANIFEST,
		json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST,
			"config", container_config_blob(container), "layers", container->layers));
}

/* Adds the annotation that is a descriptor's reference. */
static inline json_t *named(json_t *descriptor, const char *reference)
{
	json_object_set_new(descriptor, "annotations",
		json_pack("{s:s}", "org.opencontainers.image.ref.name", reference));
	return descriptor;
}

static inline json_t *for_platform(
	json_t *descriptor, const char *os, const char *architecture, const char *variant)
{
	json_t *platform = json_pack("{s:s, s:s}", "os", os, "architecture", architecture);

	if (variant)
		json_object_set_new(platform, "variant", json_string(variant));
	json_object_set_new(descriptor, "platform", platform);
	return descriptor;
}

static inline json_t *index_of(json_t *descriptors)
{
	return json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", TYPE_INDEX,
		"manifests", descriptors);
}

/* The files of a layout whose index.json lists these descriptors, which it takes over. */
static inline void container_index(struct container *container, json_t *descriptors)
{
	json_t *index = index_of(descriptors);
	_cleanup_free_ char *text = json_dumps(index, JSON_COMPACT);

	json_decref(index);
	assert_non_null(text);
	container_text(container, "index.json", text);
	container_text(container, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
}

/* All files as a tar in memory. */
static inline void container_tar(const struct container *container, struct aci *ret)
{
	aci_begin(ret, ARCHIVE_FILTER_NONE);
	for (size_t i = 0; i < container->file_count; i++)
		aci_put(ret, aci_entry_make(container->files[i].path, AE_IFREG, 0644),
			container->files[i].data, container->files[i].length);
	aci_end(ret);
}

static inline int import_container(struct fixture *fixture, const struct container *container,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	struct aci tar;
	_cleanup_close_ int fd = -1;
	int r;

	container_tar(container, &tar);
	fd = bytes_open(tar.data, tar.length);
	aci_free(&tar);
	*err = (struct error){0};
	r = store_import(fixture->store, fd, "dir/some.tar", options, ret_id, err);
	assert_true(r == 0 || err->message[0]);
	return r;
}

#endif
