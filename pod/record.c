// SPDX-License-Identifier: Apache-2.0
/* record.c: the records of a pod, to JSON and back. */
#include "pod/record.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

#define RECORD_MAX    (1u << 20)
#define EXIT_CODE_MAX 255

/* ---- fields; unknown where they are not what they should be */

static int64_t number_of(const json_t *object, const char *key, int64_t max)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	return json_is_integer(value) && number >= 0 && number <= max ? number : 0;
}

static int exit_code_of(const json_t *object)
{
	const json_t *value = json_object_get(object, "exit_code");
	json_int_t code = json_integer_value(value);

	return json_is_integer(value) && code >= 0 && code <= EXIT_CODE_MAX ? (int)code : -1;
}

static int text_of(const json_t *object, const char *key, char **ret)
{
	const char *text = json_string_value(json_object_get(object, key));

	*ret = text ? strdup(text) : NULL;
	if (text && !*ret)
		return -ENOMEM;
	if (*ret)
		log_sanitise(*ret);
	return 0;
}

/* A reference; NULL where it is of another type. */
static json_t *value_of(const json_t *object, const char *key, json_type type)
{
	json_t *value = json_object_get(object, key);

	return value && json_typeof(value) == type ? json_incref(value) : NULL;
}

static int set_time(json_t *object, const char *key, int64_t time)
{
	return json_object_set_new(object, key, time ? json_integer(time) : json_null());
}

/* Unknown values are left out. */
static int set_number(json_t *object, const char *key, int64_t number, int64_t unknown)
{
	return number == unknown ? 0 : json_object_set_new(object, key, json_integer(number));
}

static int set_value(json_t *object, const char *key, json_t *value)
{
	return value ? json_object_set(object, key, value) : 0;
}

/* Guests have a say in what errors say: a record with a text that is no UTF-8 is still to be written. */
static int set_text(json_t *object, const char *key, const char *text)
{
	return text ? json_object_set_new(object, key, json_string_lossy(text, strlen(text))) : 0;
}

static int parse_object(const char *text, size_t length, json_t **ret)
{
	int r = json_parse(text, length, "record", ret, NULL);

	if (r == -EINVAL)
		return -EBADMSG;
	return r == 0 && !json_is_object(*ret) ? -EBADMSG : r;
}

/* Hands the bytes of a record to its parser. */
static int read_text(const struct pod *pod, const char *path, char **ret, size_t *ret_length)
{
	int r = file_read(pod->fd, path, RECORD_MAX, ret, ret_length);

	/* Neither a directory nor what is longer than any record is one. */
	return r == -EISDIR || r == -EINVAL || r == -EFBIG ? -EBADMSG : r;
}

static int write_object(const struct pod *pod, const char *path, json_t *object)
{
	return object ? pod_write_record(pod, path, object) : -ENOMEM;
}

/* ---- run.json */

json_t *pod_run_record_json(const struct pod_run_record *record)
{
	json_t *object = json_object();

	if (set_text(object, "flavour", record->flavour) < 0 ||
		set_text(object, "cgroup", record->cgroup) < 0 ||
		set_number(object, "pid", record->pid, 0) < 0 ||
		set_time(object, "started_at", record->started_at) < 0 ||
		set_number(object, "vcpus", record->vcpus, 0) < 0 ||
		set_number(object, "memory", record->memory, 0) < 0 ||
		set_value(object, "cgroups", record->cgroups) < 0 ||
		set_value(object, "walls", record->walls) < 0 ||
		set_value(object, "networks", record->networks) < 0 ||
		set_value(object, "isolators", record->isolators) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int pod_run_record_write(const struct pod *pod, const struct pod_run_record *record)
{
	_cleanup_json_ json_t *object = pod_run_record_json(record);

	return write_object(pod, "run.json", object);
}

int pod_run_record_parse(const char *text, size_t length, struct pod_run_record *ret)
{
	_cleanup_(pod_run_record_done) struct pod_run_record record = {0};
	_cleanup_json_ json_t *object = NULL;
	int r = parse_object(text, length, &object);

	if (r == 0)
		r = text_of(object, "flavour", &record.flavour);
	if (r == 0)
		r = text_of(object, "cgroup", &record.cgroup);
	if (r < 0)
		return r;
	record.pid = (pid_t)number_of(object, "pid", INT_MAX);
	record.started_at = number_of(object, "started_at", INT64_MAX);
	record.vcpus = number_of(object, "vcpus", INT64_MAX);
	record.memory = number_of(object, "memory", INT64_MAX);
	record.cgroups = value_of(object, "cgroups", JSON_ARRAY);
	record.walls = value_of(object, "walls", JSON_OBJECT);
	record.networks = value_of(object, "networks", JSON_ARRAY);
	record.isolators = value_of(object, "isolators", JSON_OBJECT);
	*ret = record;
	record = (struct pod_run_record){0};
	return 0;
}

int pod_run_record_read(const struct pod *pod, struct pod_run_record *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = read_text(pod, "run.json", &text, &length);

	return r < 0 ? r : pod_run_record_parse(text, length, ret);
}

void pod_run_record_done(struct pod_run_record *record)
{
	free(record->flavour);
	free(record->cgroup);
	json_decref(record->cgroups);
	json_decref(record->walls);
	json_decref(record->networks);
	json_decref(record->isolators);
	*record = (struct pod_run_record){0};
}

/* ---- apps/APP.json */

static void app_path(const char *app, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "apps/%s.json", app);
}

json_t *pod_app_record_json(const struct pod_app_record *record)
{
	json_t *object = json_object();

	if (set_number(object, "created_at", record->created_at, 0) < 0 ||
		set_time(object, "started_at", record->started_at) < 0 ||
		set_time(object, "finished_at", record->finished_at) < 0 ||
		set_number(object, "exit_code", record->exit_code, -1) < 0 ||
		json_object_set_new(object, "out_of_memory", json_boolean(record->out_of_memory)) <
			0 ||
		set_text(object, "message", record->message) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int pod_app_record_write(
	const struct pod *pod, const char *app, const struct pod_app_record *record)
{
	_cleanup_json_ json_t *object = pod_app_record_json(record);
	char path[PATH_MAX];

	app_path(app, path);
	return write_object(pod, path, object);
}

int pod_app_record_parse(const char *text, size_t length, struct pod_app_record *ret)
{
	struct pod_app_record record = POD_APP_RECORD_NONE;
	_cleanup_json_ json_t *object = NULL;
	int r = parse_object(text, length, &object);

	if (r == 0)
		r = text_of(object, "message", &record.message);
	if (r < 0)
		return r;
	record.created_at = number_of(object, "created_at", INT64_MAX);
	record.started_at = number_of(object, "started_at", INT64_MAX);
	record.finished_at = number_of(object, "finished_at", INT64_MAX);
	record.exit_code = exit_code_of(object);
	record.out_of_memory = json_is_true(json_object_get(object, "out_of_memory"));
	*ret = record;
	return 0;
}

int pod_app_record_read(const struct pod *pod, const char *app, struct pod_app_record *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t length;
	int r;

	app_path(app, path);
	r = read_text(pod, path, &text, &length);
	return r < 0 ? r : pod_app_record_parse(text, length, ret);
}

void pod_app_record_done(struct pod_app_record *record)
{
	free(record->message);
	*record = POD_APP_RECORD_NONE;
}

/* ---- end.json */

json_t *pod_end_record_json(const struct pod_end_record *record)
{
	json_t *object = json_object();

	if (set_number(object, "exit_code", record->exit_code, -1) < 0 ||
		set_time(object, "finished_at", record->finished_at) < 0 ||
		set_text(object, "reason", record->reason) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int pod_end_record_write(const struct pod *pod, const struct pod_end_record *record)
{
	_cleanup_json_ json_t *object = pod_end_record_json(record);

	return write_object(pod, "end.json", object);
}

int pod_end_record_parse(const char *text, size_t length, struct pod_end_record *ret)
{
	struct pod_end_record record = POD_END_RECORD_NONE;
	_cleanup_json_ json_t *object = NULL;
	int r = parse_object(text, length, &object);

	if (r == 0)
		r = text_of(object, "reason", &record.reason);
	if (r < 0)
		return r;
	record.finished_at = number_of(object, "finished_at", INT64_MAX);
	record.exit_code = exit_code_of(object);
	*ret = record;
	return 0;
}

int pod_end_record_read(const struct pod *pod, struct pod_end_record *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = read_text(pod, "end.json", &text, &length);

	return r < 0 ? r : pod_end_record_parse(text, length, ret);
}

void pod_end_record_done(struct pod_end_record *record)
{
	free(record->reason);
	*record = POD_END_RECORD_NONE;
}

/* ---- the disk */

int pod_records_sync(const struct pod *pod)
{
	_cleanup_closedir_ DIR *apps = NULL;
	struct dirent *entry;
	int r = directory_open_stream(pod->fd, "apps", &apps);

	if (r < 0)
		return r;
	while ((entry = readdir(apps))) {
		r = *entry->d_name == '.' ? 0 : file_sync(dirfd(apps), entry->d_name);
		if (r < 0)
			return r;
	}
	r = file_sync(pod->fd, "run.json");
	if (r == 0)
		r = file_sync(pod->fd, "end.json");
	if (r == 0 && fsync(dirfd(apps)) < 0)
		r = -errno;
	return r < 0 ? r : pod_sync_place(pod);
}
