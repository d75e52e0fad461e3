// SPDX-License-Identifier: Apache-2.0
/* prepare.c: see prepare.h. */
#include "pod/prepare.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/manifest.h"
#include "pod/tree.h"
#include "vmm/machine.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <string.h>

#define PREPARED_NAME "prepared.json"

/* Ids with their newlines of as many apps as a pod can have. */
#define TREES_MAX ((size_t)WIRE_APPS_MAX * STORE_TREE_ID_SIZE)

/* ---- trees */

static int verify_tree(struct store *store, const struct resolved_app *app, struct error *err)
{
	char tree_id[STORE_TREE_ID_SIZE];
	struct error damage = {0};
	int r = store_verify_tree(store, app->tree_id, &damage);

	if (r != -EBADMSG)
		return r < 0 ? error_set(err, r, "%s", error_text(&damage, r)) : 0;
	log_warning("tree cache is in a bad state: %s. Rebuilding...", damage.message);
	return store_rebuild_tree(store, app->image_id, tree_id, err);
}

int pod_verify_trees(struct store *store, const struct resolved_pod *resolved, struct error *err)
{
	for (size_t i = 0; i < resolved->app_count; i++) {
		bool is_verified = false;
		int r;

		for (size_t j = 0; j < i && !is_verified; j++)
			is_verified = !strcmp(resolved->apps[j].tree_id, resolved->apps[i].tree_id);
		r = is_verified ? 0 : verify_tree(store, &resolved->apps[i], err);
		if (r < 0)
			return error_prefix(err, r, "app \"%s\"", resolved->apps[i].name);
	}
	return 0;
}

/* ---- writing */

/*
 * A new file. Neither synced nor renamed: nobody looks into the directory before it has its place, and a
 * prepared pod is synced as a whole then.
 */
static int write_new(const struct pod *pod, const char *path, const char *text, size_t length)
{
	_cleanup_close_ int fd =
		openat(pod->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);

	return fd < 0 ? -errno : file_write_all(fd, text, length);
}

static int write_json(const struct pod *pod, const char *path, json_t *json)
{
	_cleanup_json_ json_t *owned = json;
	_cleanup_free_ char *text = json ? json_text(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER)
					 : NULL;

	return text ? write_new(pod, path, text, strlen(text)) : -ENOMEM;
}

static int write_image_manifest(
	const struct pod *pod, const struct resolved_app *app, struct error *err)
{
	char path[PATH_MAX], *slash;
	int r;

	snprintf(path, sizeof(path), POD_IMAGE_MANIFEST, app->name);
	slash = strrchr(path, '/');
	*slash = '\0';
	r = directory_create_path(pod->fd, path, 0750);
	*slash = '/';
	if (r == 0)
		r = write_new(pod, path, app->image_manifest, strlen(app->image_manifest));
	return r < 0 ? error_set_errno(err, r, "cannot write %s", path) : 0;
}

static json_t *prepared_json(const struct pod_prepared *prepared)
{
	return json_pack("{s:b, s:i, s:I, s:b, s:b}", "warm", (int)prepared->warm, "vcpus",
		(int)prepared->vcpus, "memory", (json_int_t)prepared->memory, "strict_isolators",
		(int)prepared->strict_isolators, "exposes_ports", (int)prepared->exposes_ports);
}

int pod_prepare_image_manifests(
	const struct pod *pod, const struct resolved_pod *resolved, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < resolved->app_count; i++)
		r = write_image_manifest(pod, &resolved->apps[i], err);
	return r;
}

int pod_prepare(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	const char *text, size_t length, const struct pod_prepared *prepared, struct error *err)
{
	int r;

	/* First the list of trees: from now on `gc` knows that they are in use. */
	r = pod_tree_prepare(pod, resolved, store, err);
	if (r == 0)
		r = pod_prepare_image_manifests(pod, resolved, err);
	if (r < 0)
		return r;
	r = write_json(pod, POD_MANIFEST_RESOLVED, appc_pod_manifest_json(resolved->manifest));
	if (r == 0)
		r = write_new(pod, POD_MANIFEST_GIVEN, text, length);
	if (r == 0 && prepared)
		r = write_json(pod, PREPARED_NAME, prepared_json(prepared));
	return r < 0 ? error_set_errno(err, r, "pod %s: cannot write its manifest", pod->uuid) : 0;
}

/* ---- reading */

int pod_prepared_read(const struct pod *pod, struct pod_prepared *ret, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	json_int_t vcpus, memory;
	int r = pod_read_record(pod, PREPARED_NAME, &json);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read %s", pod->uuid, PREPARED_NAME);
	vcpus = json_integer_value(json_object_get(json, "vcpus"));
	memory = json_integer_value(json_object_get(json, "memory"));
	if (vcpus < 0 || vcpus > MACHINE_VCPUS_MAX || memory < 0)
		return error_set(err, -EBADMSG, "pod %s: %s is damaged", pod->uuid, PREPARED_NAME);
	*ret = (struct pod_prepared){
		.warm = json_is_true(json_object_get(json, "warm")),
		.vcpus = (unsigned int)vcpus,
		.memory = (uint64_t)memory,
		.strict_isolators = json_is_true(json_object_get(json, "strict_isolators")),
		.exposes_ports = json_is_true(json_object_get(json, "exposes_ports")),
	};
	return 0;
}

int pod_prepared_resolve(const struct pod *pod, struct store *store,
	const struct resolve_options *options, struct resolved_pod **ret, struct error *err)
{
	struct resolve_prepared prepared = {.pod_fd = pod->fd};
	struct resolve_options resolve = *options;
	struct appc_pod_manifest *manifest = NULL;
	_cleanup_free_ char *text = NULL;
	char *ids[WIRE_APPS_MAX], *rest, *line;
	int r;

	r = file_read(pod->fd, POD_TREES, TREES_MAX, &text, NULL);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read %s", pod->uuid, POD_TREES);
	rest = text;
	while ((line = strsep(&rest, "\n")) && prepared.tree_count < WIRE_APPS_MAX)
		if (*line)
			ids[prepared.tree_count++] = line;
	prepared.tree_ids = ids;
	resolve.prepared = &prepared;
	r = pod_manifest_read(pod, &manifest, err);
	return r < 0 ? r : pod_resolve(store, manifest, &resolve, ret, err);
}
