// SPDX-License-Identifier: Apache-2.0
/*
 * generate.c: from a command line to a pod manifest.
 *
 * Theory of operation: the manifest is put together as structures, with copies of what the images say,
 * then written as JSON and read again. So whatever a person wrote into a flag passes the same checks as
 * in a manifest that was written by hand, and what is returned is what is stored.
 */
#include "pod/generate.h"

#include "appc/types.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#include <string.h>

static int out_of_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* Adds all pairs, over those that are there if they are to win. */
static int merge_pairs(struct appc_pairs *to, const struct appc_pairs *from, bool overwrite)
{
	for (size_t i = 0; i < from->count; i++)
		if (appc_pairs_set(to, from->items[i].name, from->items[i].value, overwrite) < 0)
			return -ENOMEM;
	return 0;
}

/* "--name=" and "--exec=" say nothing: their default is an empty text. */
static bool is_given(const char *text)
{
	return text && *text;
}

static int replace_string(char **string, const char *text)
{
	char *copy;

	if (!is_given(text))
		return 0;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*string);
	*string = copy;
	return 0;
}

/* ---- names */

/* The app's name: --name, or the last component of the image's name made an AC Name. */
static int name_app(const struct image_blueprint *request, const struct appc_image_manifest *image,
	char **ret, struct error *err)
{
	const char *slash = strrchr(image->name, '/');
	int r;

	if (!is_given(request->name)) {
		r = appc_name_sanitise(slash ? slash + 1 : image->name, ret, err);
		return r < 0
			? error_prefix(err, r, "image %s: error converting image name to app name",
				  image->name)
			: 0;
	}
	r = appc_name_check(request->name, err);
	if (r < 0)
		return error_prefix(err, r, "image %s: invalid app name format \"%s\"", image->name,
			request->name);
	*ret = strdup(request->name);
	return *ret ? 0 : out_of_memory(err);
}

/* ---- the app section */

static int minimal_app(const struct pod_blueprint *request, struct appc_app **ret)
{
	struct appc_app *app = calloc(1, sizeof(*app));

	if (!app)
		return -ENOMEM;
	if (asprintf(&app->user, "%u", request->uid) < 0)
		app->user = NULL;
	if (asprintf(&app->group, "%u", request->gid) < 0)
		app->group = NULL;
	*ret = app;
	return app->user && app->group ? 0 : -ENOMEM;
}

static int set_exec(const struct image_blueprint *request, struct appc_app *app)
{
	int r = 0;

	if (is_given(request->exec)) {
		appc_strings_clear(&app->exec);
		r = appc_strings_append(&app->exec, request->exec);
	}
	for (size_t i = 0; r == 0 && i < request->argument_count; i++)
		r = appc_strings_append(&app->exec, request->arguments[i]);
	return r;
}

static int set_isolators(
	const struct image_blueprint *request, struct appc_app *app, struct error *err)
{
	const struct appc_isolators *isolators = &request->isolators;
	enum appc_isolator_kind kinds[2];
	int r;

	if (appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_RETAIN) &&
		appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_REMOVE))
		return error_set(err, -EINVAL,
			"error: cannot use both --cap-retain and --cap-remove on the same image");
	for (size_t i = 0; i < isolators->count; i++) {
		const struct appc_isolator *isolator = &isolators->items[i];

		for (size_t j = blueprint_isolator_replaces(isolator->kind, kinds); j > 0; j--)
			appc_isolators_remove(&app->isolators, kinds[j - 1]);
		r = appc_isolators_append(&app->isolators, isolator->name, isolator->value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_gids(const struct image_blueprint *request, struct appc_app *app)
{
	int64_t *gids;

	if (request->supplementary_gid_count == 0)
		return 0;
	gids = calloc(request->supplementary_gid_count, sizeof(*gids));
	if (!gids)
		return -ENOMEM;
	memcpy(gids, request->supplementary_gids, request->supplementary_gid_count * sizeof(*gids));
	free(app->supplementary_gids);
	app->supplementary_gids = gids;
	app->supplementary_gid_count = request->supplementary_gid_count;
	return 0;
}

/* What a person said takes the place of all that the image says. */
static int replace_pairs(struct appc_pairs *pairs, const struct appc_pairs *by)
{
	if (by->count == 0)
		return 0;
	appc_pairs_clear(pairs);
	return merge_pairs(pairs, by, true);
}

/* A copy of the image's app section, or a minimal one, with what the request says of it. */
static int generate_app(const struct pod_blueprint *pod, const struct image_blueprint *request,
	const struct generate_image *image, struct appc_app **ret, struct error *err)
{
	struct appc_app *app;
	int r = 0;

	if (!image->manifest->app && !is_given(request->exec))
		return error_set(err, -EINVAL,
			"error: image %s has no app section and --exec argument is not provided",
			image->manifest->name);
	if (image->manifest->app)
		*ret = appc_app_copy(image->manifest->app);
	else
		r = minimal_app(pod, ret);
	if (!*ret || r < 0)
		return out_of_memory(err);
	app = *ret;
	r = set_isolators(request, app, err);
	if (r < 0)
		return error_prefix(err, r, "image %s", image->manifest->name);
	if (set_exec(request, app) < 0 || replace_string(&app->user, request->user) < 0 ||
		replace_string(&app->group, request->group) < 0 ||
		replace_string(&app->working_directory, request->working_directory) < 0 ||
		set_gids(request, app) < 0 ||
		replace_pairs(&app->user_annotations, &request->user_annotations) < 0 ||
		replace_pairs(&app->user_labels, &request->user_labels) < 0)
		return out_of_memory(err);
	return 0;
}

/* ---- environment */

/*
 * The caller's environment, where the app has nothing of that name. What no manifest can hold is left out:
 * a shell's exported functions, say.
 */
static int inherit_environment(char *const *inherited, struct appc_pairs *environment)
{
	for (; inherited && *inherited; inherited++) {
		const char *value = strchr(*inherited, '=');
		_cleanup_free_ char *name =
			value ? strndup(*inherited, (size_t)(value - *inherited)) : NULL;
		_cleanup_json_ json_t *text = value ? json_string(value + 1) : NULL;

		if (value && !name)
			return -ENOMEM;
		if (!name || !text || !appc_environment_name_is_valid(name)) {
			log_debug("environment variable \"%s\" is not inherited",
				name ? name : *inherited);
			continue;
		}
		if (appc_pairs_set(environment, name, value + 1, false) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int generate_environment(const struct pod_blueprint *pod,
	const struct image_blueprint *request, struct appc_pairs *environment)
{
	/* From the lowest rank to the highest. */
	if (inherit_environment(pod->inherited, environment) < 0 ||
		merge_pairs(environment, &pod->file_environment, true) < 0 ||
		merge_pairs(environment, &pod->environment, true) < 0 ||
		merge_pairs(environment, &request->environment, true) < 0)
		return -ENOMEM;
	return 0;
}

/* ---- mounts and volumes */

/* Adds copies of those whose path, in whatever spelling, is not there yet. */
static int add_mounts(
	struct appc_runtime_app *app, const struct appc_mount *mounts, size_t mount_count)
{
	for (size_t i = 0; i < mount_count; i++) {
		_cleanup_free_ char *path = file_path_clean(mounts[i].path);
		struct appc_mount *copy = &app->mounts[app->mount_count];
		bool is_there = false;

		if (!path)
			return -ENOMEM;
		for (size_t j = 0; j < app->mount_count && !is_there; j++) {
			_cleanup_free_ char *other = file_path_clean(app->mounts[j].path);

			if (!other)
				return -ENOMEM;
			is_there = !strcmp(other, path);
		}
		if (is_there)
			continue;
		app->mount_count++;
		copy->volume = strdup(mounts[i].volume);
		copy->path = strdup(mounts[i].path);
		if (!copy->volume || !copy->path)
			return -ENOMEM;
	}
	return 0;
}

/* The image's own mounts come first: of two at one path the first is meant. */
static int generate_mounts(const struct pod_blueprint *pod, const struct image_blueprint *request,
	struct appc_runtime_app *app)
{
	size_t count = request->mount_count + pod->mount_count;
	int r;

	if (count == 0)
		return 0;
	app->mounts = calloc(count, sizeof(*app->mounts));
	if (!app->mounts)
		return -ENOMEM;
	r = add_mounts(app, request->mounts, request->mount_count);
	return r < 0 ? r : add_mounts(app, pod->mounts, pod->mount_count);
}

static int copy_volumes(const struct pod_blueprint *request, struct appc_pod_manifest *manifest)
{
	if (request->volume_count == 0)
		return 0;
	manifest->volumes = calloc(request->volume_count, sizeof(*manifest->volumes));
	if (!manifest->volumes)
		return -ENOMEM;
	for (size_t i = 0; i < request->volume_count; i++) {
		struct appc_volume *copy = &manifest->volumes[manifest->volume_count++];
		const struct appc_volume *volume = &request->volumes[i];

		*copy = *volume;
		copy->name = strdup(volume->name);
		copy->source = volume->source ? strdup(volume->source) : NULL;
		copy->mode_text = volume->mode_text ? strdup(volume->mode_text) : NULL;
		if (!copy->name || (volume->source && !copy->source) ||
			(volume->mode_text && !copy->mode_text))
			return -ENOMEM;
	}
	return 0;
}

/* NULL: out of memory. */
static struct appc_port *copy_pod_port(const struct appc_port *port)
{
	struct appc_port *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *port;
	copy->name = strdup(port->name);
	copy->protocol = strdup(port->protocol);
	if (copy->name && copy->protocol)
		return copy;
	appc_port_clear(copy);
	free(copy);
	return NULL;
}

static int copy_ports(const struct pod_blueprint *request, struct appc_pod_manifest *manifest)
{
	if (request->port_count == 0)
		return 0;
	manifest->ports = calloc(request->port_count, sizeof(*manifest->ports));
	if (!manifest->ports)
		return -ENOMEM;
	for (size_t i = 0; i < request->port_count; i++) {
		struct appc_exposed_port *copy = &manifest->ports[manifest->port_count++];
		const struct appc_exposed_port *port = &request->ports[i];

		*copy = (struct appc_exposed_port){.host_port = port->host_port};
		copy->name = strdup(port->name);
		copy->host_ip = port->host_ip ? strdup(port->host_ip) : NULL;
		copy->pod_port = port->pod_port ? copy_pod_port(port->pod_port) : NULL;
		if (!copy->name || (port->host_ip && !copy->host_ip) ||
			(port->pod_port && !copy->pod_port))
			return -ENOMEM;
	}
	return 0;
}

/* ---- all of it */

static int generate_runtime_app(const struct pod_blueprint *pod,
	const struct image_blueprint *request, const struct generate_image *image,
	struct appc_runtime_app *app, struct error *err)
{
	int r;

	r = name_app(request, image->manifest, &app->name, err);
	if (r == 0)
		r = generate_app(pod, request, image, &app->app, err);
	if (r < 0)
		return r;
	app->read_only_rootfs = request->read_only_rootfs;
	app->image_id = strdup(image->id);
	app->image_name = strdup(image->manifest->name);
	if (!app->image_id || !app->image_name ||
		merge_pairs(&app->image_labels, &image->manifest->labels, true) < 0 ||
		merge_pairs(&app->annotations, &request->annotations, true) < 0 ||
		generate_environment(pod, request, &app->app->environment) < 0 ||
		generate_mounts(pod, request, app) < 0)
		return out_of_memory(err);
	return 0;
}

static int generate(const struct pod_blueprint *request, const struct generate_image *images,
	struct appc_pod_manifest *manifest, struct error *err)
{
	int r;

	r = appc_semver_parse(APPC_VM_VERSION, &manifest->ac_version, err);
	if (r < 0)
		return error_prefix(err, r, "error creating version");
	manifest->apps = calloc(request->image_count + 1, sizeof(*manifest->apps));
	if (!manifest->apps)
		return out_of_memory(err);
	for (size_t i = 0; i < request->image_count; i++) {
		struct appc_runtime_app *app = &manifest->apps[i];

		manifest->app_count = i + 1;
		r = generate_runtime_app(request, &request->images[i], &images[i], app, err);
		if (r < 0)
			return r;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(manifest->apps[j].name, app->name))
				return error_set(err, -EINVAL, "error: multiple apps with name %s",
					is_given(request->images[i].name) ? app->name
									  : app->image_name);
	}
	if (copy_volumes(request, manifest) < 0 || copy_ports(request, manifest) < 0 ||
		merge_pairs(&manifest->annotations, &request->annotations, true) < 0 ||
		appc_pairs_set(&manifest->annotations, POD_ANNOTATION_MUTABLE, "false", false) <
			0 ||
		merge_pairs(&manifest->user_annotations, &request->user_annotations, true) < 0 ||
		merge_pairs(&manifest->user_labels, &request->user_labels, true) < 0)
		return out_of_memory(err);
	return appc_pod_ports_check(manifest, err);
}

int pod_generate(const struct pod_blueprint *request, const struct generate_image *images,
	struct appc_pod_manifest **ret, char **ret_text, struct error *err)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = calloc(1, sizeof(*manifest));
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	r = manifest ? generate(request, images, manifest, err) : out_of_memory(err);
	if (r < 0)
		return r;
	json = appc_pod_manifest_json(manifest);
	text = json ? json_text(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
	if (!text)
		return error_set(err, -EINVAL,
			"error marshalling pod manifest: a flag or an argument is not UTF-8");
	r = appc_pod_manifest_parse(text, strlen(text), ret, err);
	if (r < 0)
		return error_prefix(err, r, "the pod manifest of this command line");
	*ret_text = TAKE_PTR(text);
	return 0;
}
