// SPDX-License-Identifier: Apache-2.0
/* usage.c: see usage.h. */
#include "wire/usage.h"

#include "base/counter.h"
#include "base/json.h"

#include <string.h>

static const char *const names[WIRE_USAGE_KINDS] = {
	[WIRE_USAGE_CPU] = "cpu_us",
	[WIRE_USAGE_CPU_USER] = "cpu_user_us",
	[WIRE_USAGE_CPU_SYSTEM] = "cpu_system_us",
	[WIRE_USAGE_THROTTLED] = "throttled_us",
	[WIRE_USAGE_MEMORY] = "memory_bytes",
	[WIRE_USAGE_MEMORY_PEAK] = "memory_peak_bytes",
	[WIRE_USAGE_MEMORY_ANONYMOUS] = "memory_anonymous_bytes",
	[WIRE_USAGE_MEMORY_LIMIT] = "memory_limit_bytes",
	[WIRE_USAGE_RESIDENT] = "resident_bytes",
	[WIRE_USAGE_OOM_KILLS] = "oom_kills",
	[WIRE_USAGE_TASKS] = "tasks",
	[WIRE_USAGE_READ] = "read_bytes",
	[WIRE_USAGE_WRITTEN] = "written_bytes",
	[WIRE_USAGE_RECEIVED] = "received_bytes",
	[WIRE_USAGE_RECEIVED_PACKETS] = "received_packets",
	[WIRE_USAGE_RECEIVED_DROPS] = "received_drops",
	[WIRE_USAGE_SENT] = "sent_bytes",
	[WIRE_USAGE_SENT_PACKETS] = "sent_packets",
	[WIRE_USAGE_SENT_DROPS] = "sent_drops",
};

void wire_usage_init(struct wire_usage *usage)
{
	for (size_t i = 0; i < WIRE_USAGE_KINDS; i++)
		usage->values[i] = WIRE_USAGE_UNKNOWN;
}

void wire_usage_parse_cpu(const char *text, struct wire_usage *usage)
{
	counter_find(text, "usage_usec", &usage->values[WIRE_USAGE_CPU]);
	counter_find(text, "user_usec", &usage->values[WIRE_USAGE_CPU_USER]);
	counter_find(text, "system_usec", &usage->values[WIRE_USAGE_CPU_SYSTEM]);
	counter_find(text, "throttled_usec", &usage->values[WIRE_USAGE_THROTTLED]);
}

json_t *wire_usage_json(const struct wire_usage *usage)
{
	json_t *object = json_object();

	for (size_t i = 0; i < WIRE_USAGE_KINDS; i++)
		if (usage->values[i] <= INT64_MAX)
			json_object_set_new(
				object, names[i], json_integer((json_int_t)usage->values[i]));
	return object;
}

int wire_usage_parse(const json_t *object, struct wire_usage *ret, struct error *err)
{
	wire_usage_init(ret);
	if (!json_is_object(object))
		return error_set(err, -EBADMSG, "usage: an object expected");
	for (size_t i = 0; i < WIRE_USAGE_KINDS; i++) {
		const json_t *value = json_object_get(object, names[i]);

		if (!value)
			continue;
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return error_set(
				err, -EBADMSG, "usage: field \"%s\": a number expected", names[i]);
		ret->values[i] = (uint64_t)json_integer_value(value);
	}
	return 0;
}

json_t *wire_pod_usage_json(const struct wire_pod_usage *usage)
{
	json_t *apps = json_array();

	for (size_t i = 0; i < usage->app_count; i++) {
		json_t *app = wire_usage_json(&usage->apps[i].usage);

		json_object_set_new(app, "app", json_string(usage->apps[i].name));
		json_object_set_new(app, "running", json_boolean(usage->apps[i].is_running));
		json_array_append_new(apps, app);
	}
	return json_pack("{s:o, s:o}", "pod", wire_usage_json(&usage->pod), "apps", apps);
}

/* The characters of the specification's AC Name. */
static bool is_app_name(const char *name)
{
	size_t length = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") : 0;

	return length > 0 && length < WIRE_APP_NAME_SIZE && !name[length];
}

int wire_pod_usage_parse(
	const char *text, size_t length, struct wire_pod_usage *ret, struct error *err)
{
	_cleanup_json_ json_t *object = NULL;
	json_t *apps, *value;
	size_t i;
	int r = json_parse(text, length, "usage", &object, err);

	ret->app_count = 0;
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	apps = json_object_get(object, "apps");
	if (!json_is_array(apps) || json_array_size(apps) > WIRE_APPS_MAX)
		return error_set(err, -EBADMSG, "usage: field \"apps\": an array of at most %d",
			WIRE_APPS_MAX);
	r = wire_usage_parse(json_object_get(object, "pod"), &ret->pod, err);
	json_array_foreach (apps, i, value) {
		const char *name = json_string_value(json_object_get(value, "app"));
		struct wire_app_usage *app = &ret->apps[ret->app_count];

		if (r < 0)
			return r;
		if (!is_app_name(name))
			return error_set(err, -EBADMSG, "usage: apps[%zu]: no name of an app", i);
		memcpy(app->name, name, strlen(name) + 1);
		app->is_running = json_is_true(json_object_get(value, "running"));
		r = wire_usage_parse(value, &app->usage, err);
		ret->app_count++;
	}
	return r;
}
