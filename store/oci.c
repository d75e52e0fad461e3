// SPDX-License-Identifier: Apache-2.0
/*
 * oci.c: finds an image in an OCI image layout.
 *
 * index.json lists images by descriptor (media type, digest, size), with their references in annotations.
 * A descriptor leads to a manifest, or to an index of manifests for several platforms, in which the one
 * for this machine is taken; other things that live in layouts beside images (signatures, attestations)
 * are passed over.
 */
#include "store/container-image.h"

#include "appc/field.h"
#include "base/json.h"
#include "store/digest.h"

#include <inttypes.h>
#include <string.h>

#define LAYOUT_FILE "oci-layout"
#define INDEX_FILE  "index.json"

#define INDEX_DEPTH_MAX 4
#define DESCRIPTORS_MAX 4096

enum media_type {
	MEDIA_UNKNOWN,
	MEDIA_INDEX,
	MEDIA_MANIFEST,
	MEDIA_CONFIG,
	MEDIA_LAYER,
};

static enum media_type media_type_of(const char *text)
{
	static const struct {
		const char *text;
		enum media_type type;
	} types[] = {
		{"application/vnd.oci.image.index.v1+json", MEDIA_INDEX},
		{"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
		{"application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST},
		{"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST},
		{"application/vnd.oci.image.config.v1+json", MEDIA_CONFIG},
		{"application/vnd.docker.container.image.v1+json", MEDIA_CONFIG},
		{"application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER},
		{"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER},
		{"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_LAYER},
	};

	for (size_t i = 0; text && i < ARRAY_SIZE(types); i++)
		if (!strcmp(text, types[i].text))
			return types[i].type;
	return MEDIA_UNKNOWN;
}

struct descriptor {
	char *media_type, *digest;
	uint64_t size;
	enum media_type type;
	struct appc_pairs annotations;
	char *os, *architecture, *variant; /* NULL: not said */
};

struct descriptors {
	struct descriptor *items;
	size_t count;
};

static void descriptor_clear(struct descriptor *descriptor)
{
	free(descriptor->media_type);
	free(descriptor->digest);
	appc_pairs_clear(&descriptor->annotations);
	free(descriptor->os);
	free(descriptor->architecture);
	free(descriptor->variant);
}

static void cleanup_descriptors(struct descriptors *descriptors)
{
	for (size_t i = 0; i < descriptors->count; i++)
		descriptor_clear(&descriptors->items[i]);
	free(descriptors->items);
}
#define _cleanup_descriptors_ _cleanup_(cleanup_descriptors)

bool oci_layout_exists(struct blob_source *blobs)
{
	return blob_exists(blobs, INDEX_FILE);
}

/* ---- documents */

static int descriptor_read(const struct field *field, struct descriptor *ret)
{
	struct field digest = field_member(field, "digest");
	struct field platform = field_member(field, "platform");
	int64_t size = 0;
	bool present;
	int r = field_check_object(field);

	if (r == 0)
		r = field_read_string(field, "mediaType", &ret->media_type);
	if (r == 0)
		r = field_read_string(field, "digest", &ret->digest);
	if (r < 0)
		return r;
	if (!ret->digest || !digest_is_valid(ret->digest))
		return field_error(&digest, "\"%s\" is not a sha256 or sha512 digest",
			ret->digest ? ret->digest : "");
	r = field_read_integer(field, "size", 0, INT64_MAX, &size, &present);
	if (r == 0 && !present)
		r = field_error(field, "size must be set");
	if (r == 0)
		r = field_read_string_map(field, "annotations", &ret->annotations);
	if (r == 0 && platform.value)
		r = field_check_object(&platform);
	if (r == 0)
		r = field_read_string(&platform, "os", &ret->os);
	if (r == 0)
		r = field_read_string(&platform, "architecture", &ret->architecture);
	if (r == 0)
		r = field_read_string(&platform, "variant", &ret->variant);
	ret->size = (uint64_t)size;
	ret->type = media_type_of(ret->media_type);
	return r;
}

static int descriptors_read(
	const struct field *object, const char *key, size_t max, struct descriptors *ret)
{
	struct field field = field_member(object, key);
	size_t count;
	int r = field_read_count(&field, &count);

	if (r == 0 && count > max)
		r = field_error(&field, "more than %zu", max);
	if (r < 0)
		return r;
	ret->items = calloc(count + 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct field element = field_element(&field, i);

		r = descriptor_read(&element, &ret->items[ret->count++]);
	}
	return r;
}

/* "blobs/sha256/HEX"; the caller frees it. */
static char *descriptor_path(const struct descriptor *descriptor)
{
	size_t algorithm = strcspn(descriptor->digest, ":");
	char *path;

	return asprintf(&path, "blobs/%.*s/%s", (int)algorithm, descriptor->digest,
		       descriptor->digest + algorithm + 1) < 0
		? NULL
		: path;
}

/* Puts the file and the document in front of a message about a field. */
static int document_failure(struct blob_source *blobs, const char *path, int r, struct error *err)
{
	if (r == -ENOMEM)
		return error_set_errno(err, r, "%s: %s", blob_source_name(blobs), path);
	return r < 0 ? error_prefix(err, r, "%s: %s", blob_source_name(blobs), path) : 0;
}

/* Reads what a descriptor describes, and checks that. */
static int descriptor_load(struct blob_source *blobs, const struct descriptor *descriptor,
	json_t **ret, struct error *err)
{
	_cleanup_free_ char *path = descriptor_path(descriptor);
	uint64_t size;
	int r;

	if (!path)
		return error_set_errno(err, -ENOMEM, "%s", blob_source_name(blobs));
	r = blob_open(blobs, path, &size, err);
	if (r < 0)
		return r;
	if (size != descriptor->size)
		return error_set(err, -EBADMSG,
			"%s: \"%s\" has %" PRIu64 " bytes, its descriptor says %" PRIu64,
			blob_source_name(blobs), path, size, descriptor->size);
	return blob_read_document(blobs, path, descriptor->digest, ret, err);
}

/* A document of this type, and of no other at the same time: readers must not differ in what they see. */
static int check_document(const struct field *root, enum media_type type)
{
	struct field media_type = field_member(root, "mediaType");
	struct field version = field_member(root, "schemaVersion");
	struct field other = field_member(root, type == MEDIA_INDEX ? "layers" : "manifests");
	_cleanup_free_ char *text = NULL;
	int r = field_check_object(root);

	if (r == 0)
		r = field_read_string(root, "mediaType", &text);
	if (r < 0)
		return r;
	if (text && media_type_of(text) != type)
		return field_error(&media_type, "\"%s\" is not what its descriptor says", text);
	if (json_integer_value(version.value) != 2)
		return field_error(&version, "must be 2");
	if (other.value)
		return field_error(&other, "has no place in such a document");
	return 0;
}

/* ---- choosing */

/* The reference that a descriptor of index.json is known by, or NULL. */
static const char *descriptor_reference(const struct descriptor *descriptor)
{
	const char *name = appc_pairs_get(&descriptor->annotations, "io.containerd.image.name");

	return name ? name
		    : appc_pairs_get(&descriptor->annotations, "org.opencontainers.image.ref.name");
}

static bool is_image(const struct descriptor *descriptor)
{
	return (descriptor->type == MEDIA_INDEX || descriptor->type == MEDIA_MANIFEST) &&
		!appc_pairs_get(&descriptor->annotations, "vnd.docker.reference.type");
}

static bool reference_matches(const char *reference, const char *wanted)
{
	_cleanup_docker_reference_ struct docker_reference has = {0}, wants = {0};

	if (!strcmp(reference, wanted))
		return true;
	if (!docker_reference_has_repository(reference) ||
		docker_reference_parse(reference, &has, NULL) < 0)
		return false;
	if (!docker_reference_has_repository(wanted) && !strcmp(has.tag, wanted))
		return true;
	return docker_reference_parse(wanted, &wants, NULL) == 0 &&
		docker_reference_equal(&has, &wants);
}

static bool descriptor_matches(const struct descriptor *descriptor, const char *wanted)
{
	static const char *const names[] = {
		"io.containerd.image.name", "org.opencontainers.image.ref.name"};

	if (!wanted || !strcmp(descriptor->digest, wanted))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *reference = appc_pairs_get(&descriptor->annotations, names[i]);

		if (reference && reference_matches(reference, wanted))
			return true;
	}
	return false;
}

/* How well the image suits this machine: 0 not at all, 1 it does not say, 2 well, 3 best. */
static int descriptor_suits(const struct descriptor *descriptor)
{
	if (!descriptor->os && !descriptor->architecture)
		return 1;
	if (!descriptor->os || strcmp(descriptor->os, CONTAINER_HOST_OS) ||
		!descriptor->architecture ||
		strcmp(descriptor->architecture, CONTAINER_HOST_ARCHITECTURE))
		return 0;
	/* "v2" and above may need more than this machine has. */
	return !descriptor->variant || !*descriptor->variant || !strcmp(descriptor->variant, "v1")
		? 3
		: 2;
}

/* The image for this machine among those of one name. */
static int choose_platform(struct blob_source *blobs, const struct descriptor *const *images,
	size_t count, const struct descriptor **ret, struct error *err)
{
	const struct descriptor *best = NULL;
	size_t unknown = 0;
	char list[512] = "";

	for (size_t i = 0; i < count; i++) {
		const struct descriptor *image = images[i];
		char text[160];

		unknown += descriptor_suits(image) == 1;
		if (!best || descriptor_suits(image) > descriptor_suits(best))
			best = image;
		snprintf(text, sizeof(text), "%.40s/%.40s%s%.40s", image->os ? image->os : "?",
			image->architecture ? image->architecture : "?", image->variant ? "/" : "",
			image->variant ? image->variant : "");
		container_list_append(list, sizeof(list), text);
	}
	if (!best || descriptor_suits(best) == 0)
		return error_set(err, -ENOENT, "%s: no image for %s/%s in it%s%s",
			blob_source_name(blobs), CONTAINER_HOST_OS, CONTAINER_HOST_ARCHITECTURE,
			count > 0 ? "; there is: " : "", list);
	if (descriptor_suits(best) == 1 && unknown > 1)
		return error_set(err, -ENOTUNIQ,
			"%s: it holds %zu images that say neither their name nor their platform; "
			"choose one with --ref=DIGEST",
			blob_source_name(blobs), unknown);
	*ret = best;
	return 0;
}

static bool same_reference(const struct descriptor *left, const struct descriptor *right)
{
	const char *a = descriptor_reference(left), *b = descriptor_reference(right);

	return a && b ? !strcmp(a, b) : a == b;
}

/* One of the entries of index.json. */
static int choose_image(struct blob_source *blobs, const struct descriptors *descriptors,
	const char *wanted, const struct descriptor **ret, struct error *err)
{
	_cleanup_free_ const struct descriptor **matches =
		calloc(descriptors->count + 1, sizeof(struct descriptor *));
	size_t count = 0;
	bool differ = false;
	char list[512] = "";

	if (!matches)
		return error_set_errno(err, -ENOMEM, "%s", blob_source_name(blobs));
	for (size_t i = 0; i < descriptors->count; i++) {
		const struct descriptor *descriptor = &descriptors->items[i];
		const char *reference = descriptor_reference(descriptor);

		if (!is_image(descriptor))
			continue;
		container_list_append(
			list, sizeof(list), reference ? reference : descriptor->digest);
		if (!descriptor_matches(descriptor, wanted))
			continue;
		/* One image under several names is one image. */
		if (count > 0 && !strcmp(matches[count - 1]->digest, descriptor->digest))
			continue;
		differ |= count > 0 && !same_reference(matches[0], descriptor);
		matches[count++] = descriptor;
	}
	if (count == 0 && wanted)
		return error_set(err, -ENOENT, "%s: no image \"%s\" in it; there is: %s",
			blob_source_name(blobs), wanted, *list ? list : "none");
	if (count == 0)
		return error_set(
			err, -ENOENT, "%s: " INDEX_FILE " lists no image", blob_source_name(blobs));
	if (differ)
		return error_set(err, -ENOTUNIQ,
			"%s: it holds several images%s%s; choose one with --ref: %s",
			blob_source_name(blobs), wanted ? " that match " : "", wanted ? wanted : "",
			list);
	if (count == 1) {
		*ret = matches[0];
		return 0;
	}
	return choose_platform(blobs, matches, count, ret, err);
}

/* ---- the way to the manifest */

static int read_index(struct blob_source *blobs, const json_t *json, const char *path,
	struct descriptors *ret, struct error *err)
{
	struct field root = field_root((json_t *)json, APPC_DECODE, err);
	int r = check_document(&root, MEDIA_INDEX);

	if (r == 0)
		r = descriptors_read(&root, "manifests", DESCRIPTORS_MAX, ret);
	return document_failure(blobs, path, r, err);
}

static int descriptor_copy(const struct descriptor *from, struct descriptor *ret)
{
	*ret = (struct descriptor){.size = from->size, .type = from->type};
	ret->digest = strdup(from->digest);
	ret->media_type = strdup(from->media_type);
	return ret->digest && ret->media_type ? 0 : -ENOMEM;
}

/* From an index, through others, to a manifest. *descriptor is replaced. */
static int follow_indexes(
	struct blob_source *blobs, struct descriptor *descriptor, struct error *err)
{
	for (int depth = 0; descriptor->type == MEDIA_INDEX; depth++) {
		_cleanup_(cleanup_descriptors) struct descriptors list = {0};
		_cleanup_free_ const struct descriptor **images = NULL;
		_cleanup_json_ json_t *json = NULL;
		const struct descriptor *chosen = NULL;
		struct descriptor next = {0};
		size_t count = 0;
		int r;

		if (depth == INDEX_DEPTH_MAX)
			return error_set(err, -ELOOP, "%s: %s: indexes nested deeper than %d",
				blob_source_name(blobs), descriptor->digest, INDEX_DEPTH_MAX);
		r = descriptor_load(blobs, descriptor, &json, err);
		if (r == 0)
			r = read_index(blobs, json, descriptor->digest, &list, err);
		if (r < 0)
			return r;
		images = calloc(list.count + 1, sizeof(struct descriptor *));
		if (!images)
			return error_set_errno(err, -ENOMEM, "%s", blob_source_name(blobs));
		for (size_t i = 0; i < list.count; i++)
			if (is_image(&list.items[i]))
				images[count++] = &list.items[i];
		r = choose_platform(blobs, images, count, &chosen, err);
		if (r < 0)
			return r;
		r = descriptor_copy(chosen, &next);
		descriptor_clear(descriptor);
		*descriptor = next;
		if (r < 0)
			return error_set_errno(err, r, "%s", blob_source_name(blobs));
	}
	return 0;
}

static int part_from_descriptor(const struct descriptor *descriptor, struct container_part *ret)
{
	ret->path = descriptor_path(descriptor);
	ret->digest = strdup(descriptor->digest);
	ret->size = descriptor->size;
	return ret->path && ret->digest ? 0 : -ENOMEM;
}

static int read_parts(const struct field *root, struct container_image *image)
{
	_cleanup_descriptors_ struct descriptors config = {0}, layers = {0};
	struct field config_field = field_member(root, "config");
	struct field layers_field = field_member(root, "layers");
	int r;

	config.items = calloc(1, sizeof(*config.items));
	if (!config.items)
		return -ENOMEM;
	config.count = 1;
	r = descriptor_read(&config_field, &config.items[0]);
	if (r == 0 && config.items[0].type != MEDIA_CONFIG)
		r = field_error(&config_field,
			"\"%s\" is not the configuration of an image that can run",
			config.items[0].media_type ? config.items[0].media_type : "");
	if (r == 0)
		r = part_from_descriptor(&config.items[0], &image->config);
	if (r == 0)
		r = descriptors_read(root, "layers", CONTAINER_LAYERS_MAX, &layers);
	if (r < 0)
		return r;
	image->layers = calloc(layers.count + 1, sizeof(*image->layers));
	if (!image->layers)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < layers.count; i++) {
		struct field element = field_element(&layers_field, i);

		if (layers.items[i].type != MEDIA_LAYER)
			return field_error(&element, "\"%s\" is not a layer that can be read here",
				layers.items[i].media_type ? layers.items[i].media_type : "");
		r = part_from_descriptor(&layers.items[i], &image->layers[image->layer_count++]);
	}
	return r;
}

static int read_manifest(struct blob_source *blobs, const struct descriptor *descriptor,
	struct container_image *image, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	struct field root;
	int r = descriptor_load(blobs, descriptor, &json, err);

	if (r < 0)
		return r;
	root = field_root(json, APPC_DECODE, err);
	r = check_document(&root, MEDIA_MANIFEST);
	if (r == 0)
		r = read_parts(&root, image);
	if (r == 0) {
		image->identity.manifest_digest = strdup(descriptor->digest);
		r = image->identity.manifest_digest ? 0 : -ENOMEM;
	}
	return document_failure(blobs, descriptor->digest, r, err);
}

static int check_layout(struct blob_source *blobs, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *version = NULL;
	struct field root, field;
	int r = blob_read_document(blobs, LAYOUT_FILE, NULL, &json, err);

	if (r < 0)
		return r;
	root = field_root(json, APPC_DECODE, err);
	field = field_member(&root, "imageLayoutVersion");
	r = field_check_object(&root);
	if (r == 0)
		r = field_read_string(&root, "imageLayoutVersion", &version);
	if (r == 0 && (!version || strncmp(version, "1.", 2)))
		r = field_error(
			&field, "\"%s\" is not known, expected \"1.0.0\"", version ? version : "");
	return document_failure(blobs, LAYOUT_FILE, r, err);
}

int oci_image_find(struct blob_source *blobs, const char *wanted, struct container_image *ret,
	struct error *err)
{
	_cleanup_container_image_ struct container_image image = {0};
	_cleanup_descriptors_ struct descriptors index = {0};
	_cleanup_(descriptor_clear) struct descriptor descriptor = {0};
	_cleanup_json_ json_t *json = NULL;
	const struct descriptor *chosen = NULL;
	const char *reference;
	int r = check_layout(blobs, err);

	if (r == 0)
		r = blob_read_document(blobs, INDEX_FILE, NULL, &json, err);
	if (r == 0)
		r = read_index(blobs, json, INDEX_FILE, &index, err);
	if (r == 0)
		r = choose_image(blobs, &index, wanted, &chosen, err);
	if (r != 0)
		return r;
	reference = descriptor_reference(chosen);
	if (reference && docker_reference_has_repository(reference)) {
		r = docker_reference_parse(reference, &image.identity.reference, err);
		if (r < 0)
			return error_prefix(err, r, "%s: " INDEX_FILE, blob_source_name(blobs));
	} else if (reference && *reference) {
		image.identity.reference.tag = strdup(reference);
	}
	r = descriptor_copy(chosen, &descriptor);
	if (r < 0)
		return error_set_errno(err, r, "%s", blob_source_name(blobs));
	r = follow_indexes(blobs, &descriptor, err);
	if (r == 0)
		r = read_manifest(blobs, &descriptor, &image, err);
	if (r < 0)
		return r;
	*ret = image;
	image = (struct container_image){0};
	return 0;
}
