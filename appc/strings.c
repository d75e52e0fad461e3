// SPDX-License-Identifier: Apache-2.0
/*
 * strings.c: the command line's forms of volumes, mounts, ports and image names.
 *
 * Theory of operation: a string is turned into the JSON object that a manifest would hold, which
 * then goes through the same function as the manifest's. So each rule is written once.
 */
#include "appc/strings.h"

#include "appc/parse.h"

#include "base/json.h"

#include <string.h>

enum parameter_type {
	PARAMETER_TEXT,
	PARAMETER_BOOLEAN,
	PARAMETER_NUMBER,
	PARAMETER_UNSIGNED, /* no sign, not even '+' */
};

struct parameter {
	const char *key;
	enum parameter_type type;
	const char *member; /* of the JSON object; NULL: the same as key */
};

static int parameter_value(const char *key, const char *text, enum parameter_type type,
	json_t **ret, struct error *err)
{
	long long number;
	bool flag;
	char *end;
	int r;

	switch (type) {
	case PARAMETER_TEXT:
		*ret = json_string(text);
		if (!*ret)
			return error_set(err, -EINVAL, "%s: not UTF-8", key);
		return 0;
	case PARAMETER_BOOLEAN:
		r = appc_bool_parse(text, &flag, err);
		if (r < 0)
			return error_prefix(err, r, "%s", key);
		*ret = json_boolean(flag);
		return 0;
	case PARAMETER_NUMBER:
	case PARAMETER_UNSIGNED:
		errno = 0;
		number = strtoll(text, &end, 10);
		if (errno != 0 || end == text || *end ||
			!strchr(type == PARAMETER_NUMBER ? "+-0123456789" : "0123456789", text[0]))
			return error_set(
				err, -EINVAL, "%s: \"%s\" is not a whole number", key, text);
		*ret = json_integer(number);
		return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	return -EINVAL;
}

/* Whether each item of KEY=VALUE,KEY=VALUE... is one; the reference names the first that is not. */
static int items_check(const char *text, struct error *err)
{
	for (const char *item = text;; item++) {
		size_t length = strcspn(item, ",");

		if (!memchr(item, '=', length))
			return error_set(err, -EINVAL,
				"malformed string \"%s\" - has a label without a value: %.*s", text,
				(int)length, item);
		item += length;
		if (!*item)
			return 0;
	}
}

/* The error of a key that KEY=VALUE,KEY=VALUE... has more than once, with its values. */
static int multiple_values(const char *text, const char *key, struct error *err)
{
	char values[768] = "";
	size_t used = 0;

	for (const char *item = text; used < sizeof(values); item++) {
		size_t length = strcspn(item, ","), name = strcspn(item, "=");

		if (name == strlen(key) && strncmp(item, key, name) == 0)
			used += (size_t)snprintf(values + used, sizeof(values) - used, "%s\"%.*s\"",
				used > 0 ? " " : "", (int)(length - name - 1), item + name + 1);
		item += length;
		if (!*item)
			break;
	}
	return error_set(err, -EINVAL, "label %s with multiple values [%s]", key, values);
}

/* KEY=VALUE,KEY=VALUE... of the known keys into a JSON object. */
static int parameters_parse(const char *text, const char *what, const struct parameter *known,
	size_t known_count, json_t **ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object();
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *item;
	int r;

	if (!object || !copy)
		return error_set(err, -ENOMEM, "out of memory");
	r = items_check(text, err);
	if (r < 0)
		return r;
	while ((item = strsep(&rest, ","))) {
		char *equals = strchr(item, '=');
		const struct parameter *parameter = NULL;
		const char *member;
		json_t *value;

		*equals = '\0';
		for (size_t i = 0; i < known_count; i++) {
			if (strcmp(known[i].key, item) == 0)
				parameter = &known[i];
		}
		if (!parameter)
			return error_set(err, -EINVAL, "unknown %s parameter \"%s\"", what, item);
		member = parameter->member ? parameter->member : parameter->key;
		if (json_object_get(object, member))
			return multiple_values(text, item, err);
		r = parameter_value(item, equals + 1, parameter->type, &value, err);
		if (r < 0)
			return r;
		if (json_object_set_new(object, member, value) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = TAKE_PTR(object);
	return 0;
}

/* The same for a text that begins with the bare value of "name". */
static int named_parameters_parse(const char *text, const char *what, const struct parameter *known,
	size_t known_count, json_t **ret, struct error *err)
{
	_cleanup_free_ char *copy = NULL;

	if (asprintf(&copy, "name=%s", text) < 0) {
		copy = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return parameters_parse(copy, what, known, known_count, ret, err);
}

/* The functions that read JSON say nothing about lack of memory. */
static int parsed(int r, struct error *err)
{
	return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
}

int appc_volume_from_string(const char *text, enum appc_strictness strictness,
	struct appc_volume *ret, struct error *err)
{
	static const struct parameter known[] = {
		{"name", PARAMETER_TEXT, NULL},
		{"kind", PARAMETER_TEXT, NULL},
		{"source", PARAMETER_TEXT, NULL},
		{"readOnly", PARAMETER_BOOLEAN, NULL},
		{"recursive", PARAMETER_BOOLEAN, NULL},
		{"mode", PARAMETER_TEXT, NULL},
		{"uid", PARAMETER_NUMBER, NULL},
		{"gid", PARAMETER_NUMBER, NULL},
	};
	_cleanup_json_ json_t *object = NULL;
	struct field root;
	int r;

	r = named_parameters_parse(text, "volume", known, ARRAY_SIZE(known), &object, err);
	if (r < 0)
		return r;
	root = field_root(object, strictness, err);
	r = parsed(appc_volume_from_json(&root, ret), err);
	if (r < 0)
		appc_volume_clear(ret);
	return r;
}

int appc_mount_point_from_string(const char *text, enum appc_strictness strictness,
	struct appc_mount_point *ret, struct error *err)
{
	static const struct parameter known[] = {
		{"name", PARAMETER_TEXT, NULL},
		{"path", PARAMETER_TEXT, NULL},
		{"readOnly", PARAMETER_BOOLEAN, NULL},
	};
	_cleanup_json_ json_t *object = NULL;
	struct field root;
	int r;

	r = named_parameters_parse(text, "mountpoint", known, ARRAY_SIZE(known), &object, err);
	if (r < 0)
		return r;
	root = field_root(object, strictness, err);
	r = parsed(appc_mount_point_from_json(&root, ret), err);
	if (r == 0 && !*ret->path)
		r = error_set(err, -EINVAL, "path must be set");
	if (r < 0)
		appc_mount_point_clear(ret);
	return r;
}

int appc_port_from_string(
	const char *text, enum appc_strictness strictness, struct appc_port *ret, struct error *err)
{
	static const struct parameter known[] = {
		{"name", PARAMETER_TEXT, NULL},
		{"protocol", PARAMETER_TEXT, NULL},
		{"port", PARAMETER_UNSIGNED, NULL},
		{"count", PARAMETER_UNSIGNED, NULL},
		{"socketActivated", PARAMETER_BOOLEAN, NULL},
	};
	_cleanup_json_ json_t *object = NULL;
	struct field root;
	int r;

	r = named_parameters_parse(text, "port", known, ARRAY_SIZE(known), &object, err);
	if (r < 0)
		return r;
	root = field_root(object, strictness, err);
	r = parsed(appc_port_from_json(&root, ret), err);
	if (r < 0)
		appc_port_clear(ret);
	return r;
}

int appc_mount_from_string(const char *text, struct appc_mount *ret, struct error *err)
{
	static const struct parameter known[] = {
		{"volume", PARAMETER_TEXT, NULL},
		{"target", PARAMETER_TEXT, "path"},
	};
	_cleanup_json_ json_t *object = NULL;
	struct field root;
	int r;

	r = parameters_parse(text, "mount", known, ARRAY_SIZE(known), &object, err);
	if (r < 0)
		return r;
	root = field_root(object, APPC_COMPLETE, err);
	r = parsed(appc_mount_from_json(&root, ret), err);
	if (r < 0)
		appc_mount_clear(ret);
	return r;
}

/* "[HOSTIP:]HOSTPORT", which is cut up, into an exposed port's object; text is all of it. */
static int put_host_side(json_t *object, char *host, const char *text, struct error *err)
{
	char *port = strrchr(host, ':');
	bool ok = true;
	json_t *number;
	int r;

	if (port) {
		size_t length;

		*port++ = '\0';
		length = strlen(host);
		if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
			host[length - 1] = '\0';
			host++;
		}
		if (!*host)
			return error_set(err, -EINVAL, "port \"%s\": the host IP is empty", text);
		json_put(object, "hostIP", json_string(host), &ok);
	}
	if (!ok)
		return error_set(err, -EINVAL, "port \"%s\" is not UTF-8", text);
	r = parameter_value("hostPort", port ? port : host, PARAMETER_UNSIGNED, &number, err);
	if (r < 0)
		return r;
	return json_object_set_new(object, "hostPort", number) < 0
		? error_set(err, -ENOMEM, "out of memory")
		: 0;
}

static int exposed_port_parse(json_t *object, struct appc_exposed_port *ret, struct error *err)
{
	struct field root = field_root(object, APPC_COMPLETE, err);
	int r = parsed(appc_exposed_port_from_json(&root, ret), err);

	if (r < 0)
		appc_exposed_port_clear(ret);
	return r;
}

int appc_exposed_port_from_string(
	const char *text, struct appc_exposed_port *ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object();
	_cleanup_free_ char *copy = strdup(text);
	char *host = copy, *name;
	bool ok = object != NULL;
	int r;

	if (!copy || !object)
		return error_set(err, -ENOMEM, "out of memory");
	name = strsep(&host, ":");
	if (!host)
		return error_set(
			err, -EINVAL, "port \"%s\" is not of the form NAME:[HOSTIP:]PORT", text);
	json_put(object, "name", json_string(name), &ok);
	if (!ok)
		return error_set(err, -EINVAL, "port \"%s\" is not UTF-8", text);
	r = put_host_side(object, host, text, err);
	return r < 0 ? r : exposed_port_parse(object, ret, err);
}

int appc_forwarded_port_from_string(
	const char *text, struct appc_exposed_port *ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object();
	_cleanup_free_ char *copy = strdup(text);
	char *host = copy, *name, *protocol, *port;
	json_t *pod_port = json_object(), *number;
	bool ok = object != NULL;
	int r;

	json_put(object, "podPort", pod_port, &ok);
	if (!copy || !ok)
		return error_set(err, -ENOMEM, "out of memory");
	name = strsep(&host, ":");
	protocol = strsep(&host, ":");
	port = strsep(&host, ":");
	if (!host)
		return error_set(err, -EINVAL,
			"port \"%s\" is not of the form NAME:PROTOCOL:PODPORT:[HOSTIP:]HOSTPORT",
			text);
	if (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
		return error_set(
			err, -EINVAL, "port \"%s\": unrecognized protocol: %s", text, protocol);
	json_put(object, "name", json_string(name), &ok);
	json_put(pod_port, "name", json_string(name), &ok);
	json_put(pod_port, "protocol", json_string(protocol), &ok);
	if (!ok)
		return error_set(err, -EINVAL, "port \"%s\" is not UTF-8", text);
	r = parameter_value("podPort", port, PARAMETER_UNSIGNED, &number, err);
	if (r < 0)
		return r;
	if (json_object_set_new(pod_port, "port", number) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = put_host_side(object, host, text, err);
	return r < 0 ? r : exposed_port_parse(object, ret, err);
}

void appc_image_reference_clear(struct appc_image_reference *reference)
{
	free(reference->name);
	appc_pairs_clear(&reference->labels);
	*reference = (struct appc_image_reference){0};
}

/* NAME[:VERSION][,LABEL=VALUE...] as "name=NAME,version=VERSION,LABEL=VALUE...". */
static int image_reference_items(const char *text, char **ret, struct error *err)
{
	size_t name_end = strcspn(text, ":,");
	const char *rest = text + name_end;
	bool has_version = *rest == ':';

	if (strchr(rest + has_version, ':'))
		return error_set(err, -EINVAL,
			has_version
				? "malformed app string - colon may appear at most once"
				: "malformed app string - colon may appear only right after the app "
				  "name");
	if (asprintf(ret, "name=%.*s%s%s", (int)name_end, text, has_version ? ",version=" : "",
		    rest + has_version) < 0) {
		*ret = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return items_check(*ret, err);
}

static int image_reference_read(
	const char *text, struct appc_image_reference *reference, struct error *err)
{
	_cleanup_free_ char *items = NULL, *copy = NULL;
	char *rest, *item;
	int r;

	r = image_reference_items(text, &items, err);
	if (r < 0)
		return r;
	copy = strdup(items);
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	rest = copy;
	while ((item = strsep(&rest, ","))) {
		char *value = strchr(item, '=');

		*value++ = '\0';
		r = appc_identifier_check(reference->name ? item : value, err);
		if (r < 0)
			return r;
		if (!reference->name) {
			reference->name = strdup(value);
			r = reference->name ? 0 : -ENOMEM;
		} else if (!strcmp(item, "name") || appc_pairs_get(&reference->labels, item)) {
			return multiple_values(items, item, err);
		} else {
			r = appc_pairs_set(&reference->labels, item, value, false);
		}
		if (r < 0)
			return error_set(err, r, "out of memory");
	}
	return 0;
}

int appc_image_reference_from_string(
	const char *text, struct appc_image_reference *ret, struct error *err)
{
	int r;

	*ret = (struct appc_image_reference){0};
	r = image_reference_read(text, ret, err);
	if (r < 0)
		appc_image_reference_clear(ret);
	return r;
}
