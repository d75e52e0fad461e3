// SPDX-License-Identifier: Apache-2.0
/* pod_json.c: a pod's records as one object. */
#include "cli/pod_json.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NANOSECONDS 1000000000ll

/* A time in nanoseconds from a record becomes seconds in the output. */
static void copy_time(json_t *to, const json_t *from, const char *key)
{
	json_int_t time = json_integer_value(json_object_get(from, key));

	if (time > 0)
		json_object_set_new(to, key, json_integer(time / NANOSECONDS));
}

static void copy_value(json_t *to, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);

	if (value)
		json_object_set(to, key, value);
}

static const char *app_state(const struct pod *pod, const json_t *record)
{
	if (json_object_get(record, "exit_code"))
		return "exited";
	/* It ran, or was about to, when the pod was ended from outside. */
	if (pod->state != POD_RUNNING)
		return pod->state < POD_RUNNING ? "created" : "exited";
	return json_is_integer(json_object_get(record, "started_at")) ? "running" : "created";
}

static json_t *app_json(const struct pod *pod, const struct appc_runtime_app *app)
{
	_cleanup_json_ json_t *record = NULL;
	json_t *object = json_object();
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "apps/%s.json", app->name);
	if (pod_read_record(pod, path, &record) < 0)
		record = json_object();
	json_object_set_new(object, "name", json_string(app->name));
	json_object_set_new(object, "state", json_string(app_state(pod, record)));
	json_object_set_new(object, "image_id", json_string(app->image_id ? app->image_id : ""));
	json_object_set_new(
		object, "image_name", json_string(app->image_name ? app->image_name : ""));
	copy_time(object, record, "started_at");
	copy_time(object, record, "finished_at");
	copy_value(object, record, "exit_code");
	copy_value(object, record, "message");
	if (json_is_true(json_object_get(record, "out_of_memory")))
		json_object_set_new(object, "out_of_memory", json_true());
	return object;
}

static json_t *pairs_json(const struct appc_pairs *pairs)
{
	json_t *object = json_object();

	for (size_t i = 0; i < pairs->count; i++)
		json_object_set_new(
			object, pairs->items[i].name, json_string(pairs->items[i].value));
	return object;
}

static void add_apps(json_t *object, const struct pod *pod)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL;
	_cleanup_free_ char *text = NULL;
	json_t *names = json_array(), *apps = json_array();
	size_t length;

	if (file_read(pod->fd, "pod", APPC_MANIFEST_SIZE_MAX, &text, &length) == 0 &&
		appc_pod_manifest_parse(text, length, &manifest, NULL) == 0) {
		for (size_t i = 0; i < manifest->app_count; i++) {
			json_array_append_new(names, json_string(manifest->apps[i].name));
			json_array_append_new(apps, app_json(pod, &manifest->apps[i]));
		}
		json_object_set_new(
			object, "user_annotations", pairs_json(&manifest->user_annotations));
		json_object_set_new(object, "user_labels", pairs_json(&manifest->user_labels));
	}
	json_object_set_new(object, "app_names", names);
	json_object_set_new(object, "apps", apps);
}

json_t *pod_json(const struct pod *pod)
{
	_cleanup_json_ json_t *run = NULL, *end = NULL;
	json_t *object = json_object();
	struct stat st;

	json_object_set_new(object, "name", json_string(pod->uuid));
	json_object_set_new(object, "state", json_string(pod_state_name(pod->state)));
	/* The lock file is made with the pod and never written. */
	if (fstatat(pod->fd, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0)
		json_object_set_new(object, "created_at", json_integer(st.st_mtim.tv_sec));
	if (pod_read_record(pod, "run.json", &run) == 0) {
		copy_time(object, run, "started_at");
		copy_value(object, run, "flavour");
		if (pod->state == POD_RUNNING)
			copy_value(object, run, "pid");
	}
	if (pod_read_record(pod, "end.json", &end) == 0) {
		copy_time(object, end, "finished_at");
		copy_value(object, end, "exit_code");
		copy_value(object, end, "reason");
	} else if (pod->state == POD_EXITED) {
		json_object_set_new(object, "reason",
			json_string("killed: appc-vm itself ended before it could record how"));
	}
	add_apps(object, pod);
	return object;
}
