// SPDX-License-Identifier: Apache-2.0
/*
 * docker-save.c: the archives of "docker save", "podman save" and "skopeo copy docker-archive:".
 *
 * Their one index is manifest.json, an array of {Config, RepoTags, Layers} whose values are paths in the
 * archive. Newer programs put OCI blobs there, older ones ID/layer.tar and HEX.json, skopeo the same names
 * as symbolic links. The other files ("repositories", ID/json, ID/VERSION) are for programs that are
 * older still.
 */
#include "store/container-image.h"

#include "appc/field.h"
#include "base/json.h"
#include "store/digest.h"

#include <string.h>

#define MANIFEST "manifest.json"

struct saved_image {
	char *config;
	struct appc_strings tags, layers;
};

struct saved_images {
	struct saved_image *items;
	size_t count;
};

static void cleanup_saved_images(struct saved_images *images)
{
	for (size_t i = 0; i < images->count; i++) {
		free(images->items[i].config);
		appc_strings_clear(&images->items[i].tags);
		appc_strings_clear(&images->items[i].layers);
	}
	free(images->items);
}

bool docker_save_exists(struct blob_source *blobs)
{
	return blob_exists(blobs, MANIFEST);
}

static int saved_image_read(const struct field *field, struct saved_image *image)
{
	struct field config = field_member(field, "Config");
	struct field layers = field_member(field, "Layers");
	int r = field_check_object(field);

	if (r == 0)
		r = field_read_string(field, "Config", &image->config);
	if (r == 0)
		r = field_read_strings(field, "RepoTags", &image->tags);
	if (r == 0)
		r = field_read_strings(field, "Layers", &image->layers);
	if (r < 0)
		return r;
	if (!image->config || !*image->config)
		return field_error(&config, "must be set");
	if (image->layers.count > CONTAINER_LAYERS_MAX)
		return field_error(&layers, "more than %d layers", CONTAINER_LAYERS_MAX);
	return 0;
}

static int saved_images_read(
	struct blob_source *blobs, struct saved_images *images, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	struct field root;
	size_t count;
	int r = blob_read_document(blobs, MANIFEST, NULL, &json, err);

	if (r < 0)
		return r;
	root = field_root(json, APPC_DECODE, err);
	r = field_read_count(&root, &count);
	if (r == 0 && count == 0)
		r = error_set(err, -ENOENT, "it lists no image");
	if (r == 0) {
		images->items = calloc(count, sizeof(*images->items));
		r = images->items ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct field element = field_element(&root, i);

		r = saved_image_read(&element, &images->items[images->count++]);
	}
	if (r == -ENOMEM)
		return error_set_errno(err, r, "%s: " MANIFEST, blob_source_name(blobs));
	return r < 0 ? error_prefix(err, r, "%s: " MANIFEST, blob_source_name(blobs)) : 0;
}

/* The digest that the configuration's name promises: "HEX.json" or a blob. NULL: none. */
static char *config_digest(const char *path)
{
	const size_t digits = SHA256_TEXT_SIZE - 1;
	char *digest;

	if (!path)
		return NULL;
	if (strlen(path) != digits + strlen(".json") || strcmp(path + digits, ".json"))
		return container_path_digest(path);
	if (asprintf(&digest, "sha256:%.*s", (int)digits, path) < 0)
		return NULL;
	if (digest_is_valid(digest))
		return digest;
	free(digest);
	return NULL;
}

/* Whether wanted means this tag: the same reference, or its tag alone. */
static bool tag_matches(const char *tag, const char *wanted)
{
	_cleanup_docker_reference_ struct docker_reference has = {0}, wants = {0};

	if (!strcmp(tag, wanted))
		return true;
	if (docker_reference_parse(tag, &has, NULL) < 0)
		return false;
	if (!docker_reference_has_repository(wanted) && !strcmp(has.tag, wanted))
		return true;
	return docker_reference_parse(wanted, &wants, NULL) == 0 &&
		docker_reference_equal(&has, &wants);
}

/* Whether wanted means this image. ret_tag: the tag that it means, else the first. */
static bool saved_image_matches(
	const struct saved_image *image, const char *wanted, const char **ret_tag)
{
	_cleanup_free_ char *digest = config_digest(image->config);

	*ret_tag = image->tags.count > 0 ? image->tags.items[0] : NULL;
	if (!wanted || (digest && !strcmp(digest, wanted)))
		return true;
	for (size_t i = 0; i < image->tags.count; i++)
		if (tag_matches(image->tags.items[i], wanted)) {
			*ret_tag = image->tags.items[i];
			return true;
		}
	return false;
}

static int saved_image_choose(struct blob_source *blobs, const struct saved_images *images,
	const char *wanted, const struct saved_image **ret, const char **ret_tag, struct error *err)
{
	char list[512] = "";
	size_t found = 0;

	for (size_t i = 0; i < images->count; i++) {
		const struct saved_image *image = &images->items[i];
		const char *tag;

		if (saved_image_matches(image, wanted, &tag) && found++ == 0) {
			*ret = image;
			*ret_tag = tag;
		}
		for (size_t j = 0; j < image->tags.count; j++)
			container_list_append(list, sizeof(list), image->tags.items[j]);
		if (image->tags.count == 0)
			container_list_append(list, sizeof(list), image->config);
	}
	if (found == 0)
		return error_set(err, -ENOENT, "%s: no image \"%s\" in it; there is: %s",
			blob_source_name(blobs), wanted, list);
	if (found > 1)
		return error_set(err, -ENOTUNIQ,
			"%s: it holds %zu images%s%s; choose one with --ref: %s",
			blob_source_name(blobs), found, wanted ? " that match " : "",
			wanted ? wanted : "", list);
	return 0;
}

int docker_save_image_find(struct blob_source *blobs, const char *wanted,
	struct container_image *ret, struct error *err)
{
	_cleanup_(cleanup_saved_images) struct saved_images images = {0};
	_cleanup_container_image_ struct container_image image = {0};
	const struct saved_image *chosen = NULL;
	const char *tag = NULL;
	int r = saved_images_read(blobs, &images, err);

	if (r == 0)
		r = saved_image_choose(blobs, &images, wanted, &chosen, &tag, err);
	if (r == 0 && tag)
		r = docker_reference_parse(tag, &image.identity.reference, err);
	if (r < 0 || !chosen || !chosen->config)
		return r;
	image.config = (struct container_part){
		.path = strdup(chosen->config),
		.digest = config_digest(chosen->config),
		.size = CONTAINER_SIZE_ANY,
	};
	image.layers = calloc(chosen->layers.count + 1, sizeof(*image.layers));
	if (!image.config.path || !image.layers)
		return error_set_errno(err, -ENOMEM, "%s", blob_source_name(blobs));
	for (size_t i = 0; i < chosen->layers.count; i++) {
		struct container_part *layer = &image.layers[image.layer_count++];

		*layer = (struct container_part){
			.path = strdup(chosen->layers.items[i]),
			.digest = container_path_digest(chosen->layers.items[i]),
			.size = CONTAINER_SIZE_ANY,
		};
		if (!layer->path)
			return error_set_errno(err, -ENOMEM, "%s", blob_source_name(blobs));
	}
	*ret = image;
	image = (struct container_image){0};
	return 0;
}
