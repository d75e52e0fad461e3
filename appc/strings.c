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

/* KEY=VALUE,KEY=VALUE... of the known keys into a JSON object; text is cut up. */
static int parameters_parse(char *text, const char *what, const struct parameter *known,
	size_t known_count, json_t **ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object();
	char *item;

	if (!object)
		return error_set(err, -ENOMEM, "out of memory");
	while ((item = strsep(&text, ","))) {
		char *equals = strchr(item, '=');
		const struct parameter *parameter = NULL;
		const char *member;
		json_t *value;
		int r;

		if (!equals)
			return error_set(err, -EINVAL,
				"malformed %s - has a label without a value: %s", what, item);
		*equals = '\0';
		for (size_t i = 0; i < known_count; i++) {
			if (strcmp(known[i].key, item) == 0)
				parameter = &known[i];
		}
		if (!parameter)
			return error_set(err, -EINVAL, "unknown %s parameter \"%s\"", what, item);
		member = parameter->member ? parameter->member : parameter->key;
		if (json_object_get(object, member))
			return error_set(err, -EINVAL, "label %s with multiple values", item);
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
	_cleanup_free_ char *copy = strdup(text);
	struct field root;
	int r;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	r = parameters_parse(copy, "mount", known, ARRAY_SIZE(known), &object, err);
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

static int image_reference_add_label(struct appc_image_reference *reference, const char *name,
	const char *value, struct error *err)
{
	int r;

	r = appc_identifier_check(name, err);
	if (r < 0)
		return r;
	if (strcmp(name, "name") == 0 || appc_pairs_get(&reference->labels, name))
		return error_set(err, -EINVAL, "label %s with multiple values", name);
	r = appc_pairs_set(&reference->labels, name, value, false);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int image_reference_read(
	char *text, struct appc_image_reference *reference, struct error *err)
{
	char *rest = text;
	char *name, *version, *label;
	int r;

	name = strsep(&rest, ",");
	version = strchr(name, ':');
	if (rest && strchr(rest, ':'))
		return error_set(err, -EINVAL,
			version ? "malformed app string - colon may appear at most once"
				: "malformed app string - colon may appear only right after the app "
				  "name");
	if (version) {
		*version++ = '\0';
		if (strchr(version, ':'))
			return error_set(err, -EINVAL,
				"malformed app string - colon may appear at most once");
	}
	r = appc_identifier_check(name, err);
	if (r < 0)
		return r;
	reference->name = strdup(name);
	if (!reference->name)
		return error_set(err, -ENOMEM, "out of memory");
	if (version) {
		r = image_reference_add_label(reference, "version", version, err);
		if (r < 0)
			return r;
	}
	while ((label = strsep(&rest, ","))) {
		char *value = strchr(label, '=');

		if (!value)
			return error_set(err, -EINVAL,
				"malformed image name - has a label without a value: %s", label);
		*value++ = '\0';
		r = image_reference_add_label(reference, label, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int appc_image_reference_from_string(
	const char *text, struct appc_image_reference *ret, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	int r;

	*ret = (struct appc_image_reference){0};
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	r = image_reference_read(copy, ret, err);
	if (r < 0)
		appc_image_reference_clear(ret);
	return r;
}
