// SPDX-License-Identifier: Apache-2.0
/* image_manifest.c: the image manifest, and what both kinds of manifest begin with. */
#include "appc/parse.h"
#include "appc/types.h"

#include "base/json.h"

#include <string.h>

int appc_manifest_load(
	const char *data, size_t length, const char *what, json_t **ret, struct error *err)
{
	if (length > APPC_MANIFEST_SIZE_MAX)
		return error_set(
			err, -EINVAL, "%s: longer than %u bytes", what, APPC_MANIFEST_SIZE_MAX);
	return json_parse(data, length, what, ret, err);
}

int appc_header_from_json(const struct field *root, const char *kind, char **ret_version)
{
	struct field kind_field = field_member(root, "acKind");
	struct field version_field = field_member(root, "acVersion");
	_cleanup_free_ char *version = NULL;
	int r;

	*ret_version = NULL;
	r = field_check_object(root);
	if (r < 0)
		return r;
	if (!json_is_string(kind_field.value) ||
		strcmp(json_string_value(kind_field.value), kind) != 0)
		return field_error(&kind_field, "missing or bad ACKind (must be \"%s\")", kind);
	r = field_read_string(root, "acVersion", &version);
	if (r < 0 || !version)
		return r;
	r = appc_semver_parse(version, ret_version, root->err);
	return r < 0 ? field_prefix(&version_field, r) : 0;
}

static void dependency_clear(struct appc_dependency *dependency)
{
	free(dependency->image_name);
	free(dependency->image_id);
	appc_pairs_clear(&dependency->labels);
}

static int dependency_from_json(const struct field *field, struct appc_dependency *ret)
{
	struct field name = field_member(field, "imageName");
	struct field id = field_member(field, "imageID");
	int64_t size;
	int r;

	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_identifier_from_json(field, "imageName", &ret->image_name);
	if (r < 0)
		return r;
	if (!*ret->image_name)
		return field_error(&name, "imageName cannot be empty");
	r = field_read_string(field, "imageID", &ret->image_id);
	if (r < 0)
		return r;
	if (ret->image_id) {
		r = appc_hash_check(ret->image_id, field->err);
		if (r < 0)
			return field_prefix(&id, r);
	}
	r = appc_pairs_from_json(field, "labels", PAIR_LIST_LABELS, &ret->labels);
	if (r < 0)
		return r;
	r = field_read_integer(field, "size", 0, INT64_MAX, &size, NULL);
	ret->size = (uint64_t)size;
	return r;
}

static json_t *dependency_json(const struct appc_dependency *dependency)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	json_put(object, "imageName", json_string(dependency->image_name), &ok);
	if (dependency->image_id)
		json_put(object, "imageID", json_string(dependency->image_id), &ok);
	if (dependency->labels.count > 0)
		json_put(object, "labels", appc_pairs_json(&dependency->labels), &ok);
	if (dependency->size > 0)
		json_put(object, "size", json_integer((json_int_t)dependency->size), &ok);
	return json_finish(object, ok);
}

void appc_image_manifest_free(struct appc_image_manifest *manifest)
{
	if (!manifest)
		return;
	free(manifest->ac_version);
	free(manifest->name);
	appc_pairs_clear(&manifest->labels);
	appc_pairs_clear(&manifest->annotations);
	appc_app_free(manifest->app);
	for (size_t i = 0; i < manifest->dependency_count; i++)
		dependency_clear(&manifest->dependencies[i]);
	free(manifest->dependencies);
	appc_strings_clear(&manifest->path_whitelist);
	free(manifest);
}

static int read_dependencies(const struct field *root, struct appc_image_manifest *manifest)
{
	struct field dependencies = field_member(root, "dependencies");
	size_t count;
	int r;

	r = field_read_count(&dependencies, &count);
	if (r < 0 || count == 0)
		return r;
	manifest->dependencies = calloc(count, sizeof(*manifest->dependencies));
	if (!manifest->dependencies)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&dependencies, i);

		r = dependency_from_json(
			&element, &manifest->dependencies[manifest->dependency_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int image_manifest_read(const struct field *root, struct appc_image_manifest *manifest)
{
	struct field version = field_member(root, "acVersion");
	struct field name = field_member(root, "name");
	int r;

	r = appc_header_from_json(root, "ImageManifest", &manifest->ac_version);
	if (r < 0)
		return r;
	if (!manifest->ac_version)
		return field_error(&version, "acVersion must be set");
	r = appc_identifier_from_json(root, "name", &manifest->name);
	if (r < 0)
		return r;
	if (!*manifest->name)
		return field_error(&name, "name must be set");
	r = appc_pairs_from_json(root, "labels", PAIR_LIST_LABELS, &manifest->labels);
	if (r == 0)
		r = appc_app_from_json(root, "app", &manifest->app);
	if (r == 0)
		r = appc_pairs_from_json(
			root, "annotations", PAIR_LIST_ANNOTATIONS, &manifest->annotations);
	if (r == 0)
		r = read_dependencies(root, manifest);
	if (r == 0)
		r = field_read_strings(root, "pathWhitelist", &manifest->path_whitelist);
	return r;
}

int appc_image_manifest_from_json(const struct field *root, struct appc_image_manifest **ret)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest =
		calloc(1, sizeof(*manifest));
	int r = manifest ? image_manifest_read(root, manifest) : -ENOMEM;

	if (r == -ENOMEM)
		return error_set(root->err, r, "out of memory");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(manifest);
	return 0;
}

int appc_image_manifest_parse(
	const char *data, size_t length, struct appc_image_manifest **ret, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	struct field root;
	int r;

	r = appc_manifest_load(data, length, "image manifest", &json, err);
	if (r < 0)
		return r;
	root = field_root(json, APPC_COMPLETE, err);
	return appc_image_manifest_from_json(&root, ret);
}

json_t *appc_image_manifest_json(const struct appc_image_manifest *manifest)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	json_put(object, "acKind", json_string("ImageManifest"), &ok);
	json_put(object, "acVersion", json_string(manifest->ac_version), &ok);
	json_put(object, "name", json_string(manifest->name), &ok);
	if (manifest->labels.count > 0)
		json_put(object, "labels", appc_pairs_json(&manifest->labels), &ok);
	if (manifest->app)
		json_put(object, "app", appc_app_json(manifest->app), &ok);
	if (manifest->annotations.count > 0)
		json_put(object, "annotations", appc_pairs_json(&manifest->annotations), &ok);
	if (manifest->dependency_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < manifest->dependency_count; i++)
			json_append(array, dependency_json(&manifest->dependencies[i]), &ok);
		json_put(object, "dependencies", array, &ok);
	}
	if (manifest->path_whitelist.count > 0)
		json_put(
			object, "pathWhitelist", json_from_strings(&manifest->path_whitelist), &ok);
	return json_finish(object, ok);
}
