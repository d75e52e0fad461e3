// SPDX-License-Identifier: Apache-2.0
/* pod_json.c: a pod's manifest and records as one object. */
#include "cli/pod_json.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NANOSECONDS 1000000000ll

struct description {
	const struct pod *pod;
	int64_t created_at; /* nanoseconds; 0: unknown */
	json_t *object, *errors;
};

/* What is missing is not worth a word where nobody can have written it yet. */
static void note_error(struct description *description, const char *path, int r, const char *detail)
{
	if (r == -ENOENT)
		return;
	json_array_append_new(description->errors,
		json_sprintf("%s: %s", path,
			detail && *detail       ? detail
				: r == -EBADMSG ? "not a JSON object"
						: strerror(-r)));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

static void set_time(json_t *object, const char *key, int64_t time, int64_t unit)
{
	if (time > 0)
		json_object_set_new(object, key, json_integer(time / unit));
}

static void set_exit_code(json_t *object, int code)
{
	if (code >= 0)
		json_object_set_new(object, "exit_code", json_integer(code));
}

static void set_pairs(json_t *object, const char *key, const struct appc_pairs *pairs)
{
	json_t *json = json_object();

	for (size_t i = 0; i < pairs->count; i++)
		json_object_set_new(json, pairs->items[i].name, json_string(pairs->items[i].value));
	json_object_set_new(object, key, json);
}

/* ---- apps */

static const char *app_state(enum pod_state pod, const struct pod_app_record *record)
{
	if (record->exit_code >= 0)
		return "exited";
	switch (pod) {
	case POD_EMBRYO:
	case POD_PREPARING:
	case POD_ABORTED_PREPARE:
		return "unknown";
	case POD_PREPARED:
		return "created";
	case POD_RUNNING:
		return record->started_at ? "running" : "created";
	default:
		/* It ran, or was about to, when the pod was ended from outside. */
		return "exited";
	}
}

static json_t *mount_json(const struct appc_pod_manifest *manifest, const struct appc_mount *mount)
{
	const struct appc_volume *volume = mount->app_volume;

	for (size_t i = 0; !volume && i < manifest->volume_count; i++)
		if (!strcmp(manifest->volumes[i].name, mount->volume))
			volume = &manifest->volumes[i];
	return json_pack("{s:s, s:s, s:s, s:b}", "name", mount->volume, "container_path",
		mount->path, "host_path", volume && volume->source ? volume->source : "",
		"read_only", volume && volume->read_only == 1);
}

static json_t *mounts_json(
	const struct appc_pod_manifest *manifest, const struct appc_runtime_app *app)
{
	json_t *mounts = json_array();

	for (size_t i = 0; i < app->mount_count; i++)
		json_array_append_new(mounts, mount_json(manifest, &app->mounts[i]));
	return mounts;
}

static json_t *app_json(struct description *description, const struct appc_pod_manifest *manifest,
	const struct appc_runtime_app *app)
{
	_cleanup_(pod_app_record_done) struct pod_app_record record = POD_APP_RECORD_NONE;
	json_t *object = json_object();
	int r = pod_app_record_read(description->pod, app->name, &record);

	if (r < 0)
		note_error(description, app->name, r, NULL);
	set_text(object, "name", app->name);
	set_text(object, "state", app_state(description->pod->state, &record));
	set_time(object, "created_at",
		record.created_at ? record.created_at : description->created_at, 1);
	set_time(object, "started_at", record.started_at, 1);
	set_time(object, "finished_at", record.finished_at, 1);
	set_exit_code(object, record.exit_code);
	set_text(object, "image_id", app->image_id ? app->image_id : "");
	set_text(object, "image_name", app->image_name ? app->image_name : "");
	json_object_set_new(object, "mounts", mounts_json(manifest, app));
	if (app->app) {
		set_pairs(object, "user_annotations", &app->app->user_annotations);
		set_pairs(object, "user_labels", &app->app->user_labels);
	}
	set_text(object, "message", record.message);
	if (record.out_of_memory)
		json_object_set_new(object, "out_of_memory", json_true());
	return object;
}

static void add_apps(struct description *description)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL;
	json_t *names = json_array(), *apps = json_array();
	enum pod_state state = description->pod->state;
	_cleanup_free_ char *text = NULL;
	struct error err = {0};
	size_t length = 0;
	int r;

	json_object_set_new(description->object, "app_names", names);
	json_object_set_new(description->object, "apps", apps);
	r = file_read(description->pod->fd, "pod", APPC_MANIFEST_SIZE_MAX, &text, &length);
	if (r == 0)
		r = appc_pod_manifest_parse(text, length, &manifest, &err);
	if (r != 0) {
		/* It is written before the pod is prepared, and it goes with the pod. */
		if (r == -ENOENT &&
			(state == POD_PREPARED || state == POD_RUNNING || state == POD_EXITED ||
				state == POD_EXITED_GARBAGE))
			r = -ENODATA;
		note_error(description, "pod manifest", r,
			r == -ENODATA ? "it is missing" : err.message);
		return;
	}
	for (size_t i = 0; i < manifest->app_count; i++) {
		json_array_append_new(names, json_string(manifest->apps[i].name));
		json_array_append_new(apps, app_json(description, manifest, &manifest->apps[i]));
	}
	set_pairs(description->object, "user_annotations", &manifest->user_annotations);
	set_pairs(description->object, "user_labels", &manifest->user_labels);
}

/* ---- the pod */

static void add_run(struct description *description)
{
	_cleanup_(pod_run_record_done) struct pod_run_record record = {0};
	int r = pod_run_record_read(description->pod, &record);

	if (r < 0)
		note_error(description, "run.json", r, NULL);
	set_time(description->object, "started_at", record.started_at, NANOSECONDS);
	set_text(description->object, "flavour", record.flavour);
	if (record.pid > 0)
		json_object_set_new(description->object, "pid", json_integer(record.pid));
	if (record.networks)
		json_object_set(description->object, "networks", record.networks);
	if (record.walls)
		json_object_set(description->object, "walls", record.walls);
	if (record.isolators)
		json_object_set(description->object, "isolators", record.isolators);
}

static void add_end(struct description *description)
{
	_cleanup_(pod_end_record_done) struct pod_end_record record = POD_END_RECORD_NONE;
	enum pod_state state = description->pod->state;
	int r = pod_end_record_read(description->pod, &record);

	if (r < 0)
		note_error(description, "end.json", r, NULL);
	set_time(description->object, "finished_at", record.finished_at, NANOSECONDS);
	set_exit_code(description->object, record.exit_code);
	if (r == -ENOENT && (state == POD_EXITED || state == POD_EXITED_GARBAGE))
		set_text(description->object, "reason",
			"killed: appc-vm itself ended before it could record how");
	set_text(description->object, "reason", record.reason);
}

char *pod_networks_text(const json_t *pod)
{
	json_t *network;
	char *text = NULL;
	size_t size, i;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	json_array_foreach (json_object_get(pod, "networks"), i, network) {
		const char *name = json_string_value(json_object_get(network, "netName"));
		const char *ip = json_string_value(json_object_get(network, "ip"));
		const char *ip6 = json_string_value(json_object_get(network, "ip6"));

		if (name && ip)
			fprintf(stream, "%s%s:ip4=%s", i ? ", " : "", name, ip);
		if (name && ip && ip6)
			fprintf(stream, ", %s:ip6=%s", name, ip6);
	}
	if (fclose(stream) != 0) {
		free(text);
		return NULL;
	}
	return log_sanitise(text);
}

json_t *pod_json(const struct pod *pod)
{
	struct description description = {
		.pod = pod, .object = json_object(), .errors = json_array()};
	struct stat st;

	/* The lock file is made with the pod and never written. */
	if (fstatat(pod->fd, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0)
		description.created_at = st.st_mtim.tv_sec * NANOSECONDS + st.st_mtim.tv_nsec;
	set_text(description.object, "name", pod->uuid);
	set_text(description.object, "state", pod_state_text(pod));
	json_object_set_new(description.object, "networks", json_array());
	add_apps(&description);
	set_time(description.object, "created_at", description.created_at, NANOSECONDS);
	add_run(&description);
	add_end(&description);
	if (json_array_size(description.errors) > 0)
		json_object_set(description.object, "errors", description.errors);
	json_decref(description.errors);
	return description.object;
}
