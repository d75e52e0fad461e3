// SPDX-License-Identifier: Apache-2.0
/* configure.c: see configure.h. */
#include "pod/configure.h"

#include "base/hex.h"
#include "base/json.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static json_t *strings_json(const struct appc_strings *strings)
{
	json_t *array = json_array();

	for (size_t i = 0; strings && i < strings->count; i++)
		json_array_append_new(array, json_string(strings->items[i]));
	return array;
}

/* Adds NAME=VALUE unless the environment has NAME already. */
static void add_default(
	json_t *array, const struct appc_pairs *environment, const char *name, const char *value)
{
	if (!appc_pairs_get(environment, name))
		json_array_append_new(array, json_sprintf("%s=%s", name, value));
}

static json_t *environment_json(const struct resolved_app *resolved)
{
	const struct appc_pairs *environment = &resolved->app->environment;
	json_t *array = json_array();

	add_default(array, environment, "PATH", default_path);
	add_default(array, environment, "SHELL", "/bin/sh");
	add_default(array, environment, "USER", "root");
	add_default(array, environment, "LOGNAME", "root");
	add_default(array, environment, "HOME", "/root");
	for (size_t i = 0; i < environment->count; i++) {
		const struct appc_pair *pair = &environment->items[i];

		/* These are the executor's to say; AC_METADATA_URL and this NOTIFY_SOCKET are guest-init's. */
		if (strcmp(pair->name, "AC_APP_NAME") && strcmp(pair->name, "container") &&
			strcmp(pair->name, "AC_METADATA_URL") &&
			(!resolved->notifies || strcmp(pair->name, "NOTIFY_SOCKET") != 0))
			json_array_append_new(
				array, json_sprintf("%s=%s", pair->name, pair->value));
	}
	json_array_append_new(array, json_sprintf("AC_APP_NAME=%s", resolved->name));
	json_array_append_new(array, json_string("container=appc-vm"));
	return array;
}

static json_t *handler_json(const struct appc_app *app, const char *name)
{
	for (size_t i = 0; i < app->event_handler_count; i++)
		if (!strcmp(app->event_handlers[i].name, name))
			return strings_json(&app->event_handlers[i].exec);
	return json_array();
}

static void set_number(json_t *object, const char *key, bool present, int64_t value)
{
	if (present)
		json_object_set_new(object, key, json_integer(value));
}

static json_t *etc_files_json(unsigned int files)
{
	json_t *names = json_array();

	for (unsigned int i = 0; i < WIRE_ETC_FILES; i++)
		if (files >> i & 1)
			json_array_append_new(names, json_string(wire_etc_names[i]));
	return names;
}

/* NULL: out of memory. */
static json_t *seccomp_json(const struct pod_seccomp *seccomp)
{
	/* guest-init knows it, and may have it installed before it hears of the app. */
	if (seccomp->is_default)
		return json_string(WIRE_SECCOMP_DEFAULT);
	size_t size = seccomp->count * sizeof(seccomp->program[0]);
	_cleanup_free_ char *text = malloc(2 * size + 1);

	if (!text)
		return NULL;
	hex_write((const uint8_t *)seccomp->program, size, text);
	return json_string(text);
}

static json_t *sockets_json(const struct resolved_app *resolved)
{
	json_t *array = json_array();

	for (size_t i = 0; i < resolved->socket_count; i++) {
		const struct resolved_socket *socket = &resolved->sockets[i];

		json_array_append_new(array,
			json_pack("{s:s, s:s, s:i}", "name", socket->port->name, "protocol",
				socket->port->protocol, "port", (int)socket->number));
	}
	return array;
}

json_t *resolved_app_configure(const struct resolved_app *resolved, unsigned int etc_files)
{
	const struct appc_app *app = resolved->app;
	uint64_t failures = json_failures();
	json_t *object = json_object(), *gids = json_array(), *mounts = json_array();
	char mask[17];

	for (size_t i = 0; i < app->supplementary_gid_count; i++)
		json_array_append_new(gids, json_integer(app->supplementary_gids[i]));
	for (size_t i = 0; i < resolved->mount_count; i++) {
		const struct resolved_mount *mount = &resolved->mounts[i];

		json_array_append_new(mounts,
			json_pack("{s:s, s:s, s:b}", "volume", mount->volume, "target",
				mount->target, "read_only", mount->read_only));
	}
	snprintf(mask, sizeof(mask), "%016" PRIx64, resolved->capabilities);
	json_object_set_new(object, "name", json_string(resolved->name));
	json_object_set_new(object, "exec", strings_json(&app->exec));
	json_object_set_new(object, "user", json_string(app->user));
	json_object_set_new(object, "group", json_string(app->group));
	if (resolved->group_is_users)
		json_object_set_new(object, "group_is_users", json_true());
	if (resolved->notifies)
		json_object_set_new(object, "notifies", json_true());
	json_object_set_new(object, "supplementary_gids", gids);
	json_object_set_new(object, "working_directory",
		json_string(app->working_directory ? app->working_directory : "/"));
	json_object_set_new(object, "environment", environment_json(resolved));
	json_object_set_new(object, "etc_files", etc_files_json(etc_files));
	json_object_set_new(object, "pre_start", handler_json(app, "pre-start"));
	json_object_set_new(object, "post_stop", handler_json(app, "post-stop"));
	json_object_set_new(object, "read_only_rootfs", json_boolean(resolved->read_only_rootfs));
	json_object_set_new(object, "mounts", mounts);
	json_object_set_new(object, "capabilities", json_string(mask));
	json_object_set_new(object, "no_new_privileges", json_boolean(resolved->no_new_privileges));
	json_object_set_new(object, "protect_paths", json_boolean(resolved->protect_paths));
	json_object_set_new(object, "sockets", sockets_json(resolved));
	set_number(object, "memory_max", resolved->memory_max >= 0, resolved->memory_max);
	set_number(object, "memory_low", resolved->memory_low >= 0, resolved->memory_low);
	set_number(object, "cpu_max_millis", resolved->cpu_millis > 0, resolved->cpu_millis);
	set_number(object, "cpu_weight", resolved->has_cpu_weight, resolved->cpu_weight);
	set_number(object, "oom_score_adj", resolved->has_oom_score_adj, resolved->oom_score_adj);
	/* An app must not run without its filter, or another of its walls, or of its arguments. */
	if ((resolved->seccomp.program &&
		    json_object_set_new(object, "seccomp", seccomp_json(&resolved->seccomp)) < 0) ||
		json_failures() != failures) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* Who a guest is: what no two pods share. NULL: out of memory or no entropy. */
static json_t *identity_json(const char *type, const char *uuid, const char *hostname)
{
	uint8_t entropy[WIRE_ENTROPY_SIZE];
	char entropy_text[2 * WIRE_ENTROPY_SIZE + 1], machine_id[33], *end = machine_id;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return NULL;
	hex_write(entropy, sizeof(entropy), entropy_text);
	explicit_bzero(entropy, sizeof(entropy));
	/* machine-id(5): the UUID without its dashes. */
	for (const char *c = uuid; *c && end < machine_id + 32; c++)
		if (*c != '-')
			*end++ = *c;
	*end = '\0';
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", type, "uuid", uuid, "hostname",
		hostname, "machine_id", machine_id, "entropy", entropy_text);
}

json_t *resolved_pod_configure(const struct resolved_pod *pod, const unsigned int *etc_files,
	const char *uuid, const char *hostname, bool park)
{
	const struct appc_isolator *sysctl =
		appc_isolators_find(&pod->manifest->isolators, APPC_ISOLATOR_SYSCTL);
	/* Those of a mutable pod wait for "start". */
	const size_t app_count = pod->is_mutable ? 0 : pod->app_count;
	uint64_t failures = json_failures();
	json_t *message = identity_json("configure", uuid, hostname);
	json_t *apps = json_array(), *sysctls = json_object();

	if (pod->hosts_entries)
		json_object_set_new(message, "hosts_entries", json_string(pod->hosts_entries));
	if (pod->resolv_conf)
		json_object_set_new(message, "resolv_conf", json_string(pod->resolv_conf));
	for (size_t i = 0; i < app_count; i++)
		json_array_append_new(
			apps, resolved_app_configure(&pod->apps[i], etc_files ? etc_files[i] : 0));
	if (pod->is_mutable)
		json_object_set_new(message, "mutable", json_true());
	set_number(message, "memory_max", pod->memory_max >= 0, pod->memory_max);
	set_number(message, "cpu_max_millis", pod->cpu_millis > 0, pod->cpu_millis);
	for (size_t i = 0; sysctl && i < sysctl->sysctls.count; i++)
		json_object_set_new(sysctls, sysctl->sysctls.items[i].name,
			json_string(sysctl->sysctls.items[i].value));
	if (pod->input_app >= 0)
		json_object_set_new(message, "input", json_integer(pod->input_app));
	if (pod->terminal)
		json_object_set_new(message, "terminal",
			json_pack("{s:s, s:i, s:i, s:o}", "type", pod->terminal, "rows",
				pod->terminal_rows, "columns", pod->terminal_columns, "streams",
				stream_names_json(pod->terminal_streams)));
	if (json_array_size(apps) != app_count || json_failures() != failures ||
		json_object_set_new(message, "version", json_integer(WIRE_VERSION)) < 0 ||
		json_object_set_new(message, "park", json_boolean(park)) < 0 ||
		json_object_set_new(message, "apps", apps) < 0 ||
		json_object_set_new(message, "sysctls", sysctls) < 0) {
		json_decref(message);
		return NULL;
	}
	return message;
}

json_t *resolved_pod_renew(const char *uuid, const char *hostname)
{
	return identity_json("renew", uuid, hostname);
}
