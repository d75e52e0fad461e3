// SPDX-License-Identifier: Apache-2.0
/* volume.c: a pod's volumes, the apps' mounts of them, and exposed ports. */
#include "appc/parse.h"

#include <arpa/inet.h>
#include <string.h>

#define VOLUME_MODE_DEFAULT 0755

void appc_volume_clear(struct appc_volume *volume)
{
	free(volume->name);
	free(volume->source);
	free(volume->mode_text);
	*volume = (struct appc_volume){0};
}

/* Octal digits, at most 7777. */
static bool mode_parse(const char *text, uint32_t *ret)
{
	uint32_t mode = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return false;
		mode = mode * 8 + (uint32_t)(*text - '0');
		if (mode > 07777)
			return false;
	}
	*ret = mode;
	return true;
}

/* An id of an empty volume's owner. */
static int read_owner(const struct field *field, const char *key, int64_t *ret, bool *ret_present)
{
	bool complete = field->strictness == APPC_COMPLETE;

	return field_read_integer(field, key, complete ? 0 : INT64_MIN,
		complete ? (int64_t)UINT32_MAX - 1 : INT64_MAX, ret, ret_present);
}

static int check_empty_volume(const struct field *field, struct appc_volume *volume)
{
	struct field source = field_member(field, "source");
	struct field mode = field_member(field, "mode");

	if (volume->source)
		return field_error(&source, "source for empty volume must be empty");
	if (volume->has_mode && !mode_parse(volume->mode_text, &volume->mode) &&
		field->strictness == APPC_COMPLETE)
		return field_error(
			&mode, "must be octal digits, at most 7777, got \"%s\"", volume->mode_text);
	return 0;
}

static int check_host_volume(const struct field *field, const struct appc_volume *volume)
{
	struct field source = field_member(field, "source");
	const struct {
		const char *key;
		bool present;
	} forbidden[] = {
		{"mode", volume->has_mode},
		{"uid", volume->has_uid},
		{"gid", volume->has_gid},
	};

	if (!volume->source)
		return field_error(&source, "source for host volume cannot be empty");
	if (volume->source[0] != '/')
		return field_error(&source, "source for host volume must be absolute path");
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		struct field member = field_member(field, forbidden[i].key);

		if (forbidden[i].present)
			return field_error(
				&member, "%s for host volume cannot be set", forbidden[i].key);
	}
	return 0;
}

int appc_volume_from_json(const struct field *field, struct appc_volume *ret)
{
	struct field name = field_member(field, "name");
	struct field kind_field = field_member(field, "kind");
	_cleanup_free_ char *kind = NULL;
	bool flag, present;
	int r;

	*ret = (struct appc_volume){.mode = VOLUME_MODE_DEFAULT};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_name_from_json(field, "name", &ret->name);
	if (r < 0)
		return r;
	if (!*ret->name)
		return field_error(&name, "name must be set");
	r = field_read_string(field, "kind", &kind);
	if (r < 0)
		return r;
	r = field_read_string(field, "source", &ret->source);
	if (r < 0)
		return r;
	if (ret->source && !*ret->source)
		free(TAKE_PTR(ret->source));
	r = field_read_bool(field, "readOnly", &flag, &present);
	if (r < 0)
		return r;
	ret->read_only = present ? flag : -1;
	r = field_read_bool(field, "recursive", &flag, &ret->has_recursive);
	if (r < 0)
		return r;
	ret->recursive = !ret->has_recursive || flag;
	r = field_read_string(field, "mode", &ret->mode_text);
	if (r < 0)
		return r;
	ret->has_mode = ret->mode_text != NULL;
	r = read_owner(field, "uid", &ret->uid, &ret->has_uid);
	if (r < 0)
		return r;
	r = read_owner(field, "gid", &ret->gid, &ret->has_gid);
	if (r < 0)
		return r;
	if (kind && strcmp(kind, "empty") == 0) {
		ret->kind = APPC_VOLUME_EMPTY;
		return check_empty_volume(field, ret);
	}
	if (kind && strcmp(kind, "host") == 0) {
		ret->kind = APPC_VOLUME_HOST;
		return check_host_volume(field, ret);
	}
	return field_error(
		&kind_field, "unrecognized volume kind: should be one of \"empty\", \"host\"");
}

json_t *appc_volume_json(const struct appc_volume *volume)
{
	bool empty = volume->kind == APPC_VOLUME_EMPTY;
	json_t *object = json_object();
	bool ok = object != NULL;
	char mode[16];

	json_put(object, "name", json_string(volume->name), &ok);
	json_put(object, "kind", json_string(empty ? "empty" : "host"), &ok);
	if (volume->source)
		json_put(object, "source", json_string(volume->source), &ok);
	if (volume->read_only >= 0)
		json_put(object, "readOnly", json_boolean(volume->read_only), &ok);
	if (volume->has_recursive)
		json_put(object, "recursive", json_boolean(volume->recursive), &ok);
	if (empty) {
		snprintf(mode, sizeof(mode), "%04o", volume->mode);
		json_put(object, "mode", json_string(volume->mode_text ? volume->mode_text : mode),
			&ok);
		json_put(object, "uid", json_integer(volume->uid), &ok);
		json_put(object, "gid", json_integer(volume->gid), &ok);
	}
	return json_finish(object, ok);
}

void appc_mount_clear(struct appc_mount *mount)
{
	free(mount->volume);
	free(mount->path);
	if (mount->app_volume) {
		appc_volume_clear(mount->app_volume);
		free(mount->app_volume);
	}
	*mount = (struct appc_mount){0};
}

int appc_mount_from_json(const struct field *field, struct appc_mount *ret)
{
	struct field app_volume = field_member(field, "appVolume");
	int r;

	*ret = (struct appc_mount){0};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_name_from_json(field, "volume", &ret->volume);
	if (r < 0)
		return r;
	r = field_read_required_string(field, "path", &ret->path);
	if (r < 0)
		return r;
	if (!app_volume.value)
		return 0;
	ret->app_volume = calloc(1, sizeof(*ret->app_volume));
	if (!ret->app_volume)
		return -ENOMEM;
	return appc_volume_from_json(&app_volume, ret->app_volume);
}

json_t *appc_mount_json(const struct appc_mount *mount)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	if (*mount->volume)
		json_put(object, "volume", json_string(mount->volume), &ok);
	json_put(object, "path", json_string(mount->path), &ok);
	if (mount->app_volume)
		json_put(object, "appVolume", appc_volume_json(mount->app_volume), &ok);
	return json_finish(object, ok);
}

void appc_exposed_port_clear(struct appc_exposed_port *port)
{
	free(port->name);
	free(port->host_ip);
	if (port->pod_port) {
		appc_port_clear(port->pod_port);
		free(port->pod_port);
	}
	*port = (struct appc_exposed_port){0};
}

int appc_exposed_port_from_json(const struct field *field, struct appc_exposed_port *ret)
{
	struct field host_port_field = field_member(field, "hostPort");
	struct field host_ip = field_member(field, "hostIP");
	struct field pod_port = field_member(field, "podPort");
	struct in6_addr address;
	int64_t host_port;
	int r;

	*ret = (struct appc_exposed_port){0};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_name_from_json(field, "name", &ret->name);
	if (r < 0)
		return r;
	r = field_read_integer(field, "hostPort", 0, UINT32_MAX, &host_port, NULL);
	if (r < 0)
		return r;
	if (field->strictness == APPC_COMPLETE && (host_port < 1 || host_port > 65535))
		return field_error(&host_port_field, "hostPort must be in 1-65535 range");
	ret->host_port = (uint32_t)host_port;
	r = field_read_string(field, "hostIP", &ret->host_ip);
	if (r < 0)
		return r;
	if (ret->host_ip && !*ret->host_ip)
		free(TAKE_PTR(ret->host_ip));
	if (ret->host_ip && inet_pton(AF_INET, ret->host_ip, &address) != 1 &&
		inet_pton(AF_INET6, ret->host_ip, &address) != 1)
		return field_error(&host_ip, "invalid IP address: %s", ret->host_ip);
	if (!pod_port.value)
		return 0;
	ret->pod_port = calloc(1, sizeof(*ret->pod_port));
	if (!ret->pod_port)
		return -ENOMEM;
	return appc_port_from_json(&pod_port, ret->pod_port);
}

json_t *appc_exposed_port_json(const struct appc_exposed_port *port)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	if (*port->name)
		json_put(object, "name", json_string(port->name), &ok);
	json_put(object, "hostPort", json_integer(port->host_port), &ok);
	if (port->host_ip)
		json_put(object, "hostIP", json_string(port->host_ip), &ok);
	if (port->pod_port)
		json_put(object, "podPort", appc_port_json(port->pod_port), &ok);
	return json_finish(object, ok);
}
