// SPDX-License-Identifier: Apache-2.0
/* app.c: the app section, the same in image manifests and pod manifests. */
#include "appc/parse.h"
#include "appc/types.h"

#include <string.h>

#define PORT_MAX 65535

void appc_mount_point_clear(struct appc_mount_point *point)
{
	free(point->name);
	free(point->path);
	*point = (struct appc_mount_point){0};
}

int appc_mount_point_from_json(const struct field *field, struct appc_mount_point *ret)
{
	int r;

	*ret = (struct appc_mount_point){0};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_name_from_json(field, "name", &ret->name);
	if (r < 0)
		return r;
	r = field_read_required_string(field, "path", &ret->path);
	if (r < 0)
		return r;
	return field_read_bool(field, "readOnly", &ret->read_only, NULL);
}

json_t *appc_mount_point_json(const struct appc_mount_point *point)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	if (*point->name)
		json_put(object, "name", json_string(point->name), &ok);
	json_put(object, "path", json_string(point->path), &ok);
	if (point->read_only)
		json_put(object, "readOnly", json_true(), &ok);
	return json_finish(object, ok);
}

void appc_port_clear(struct appc_port *port)
{
	free(port->name);
	free(port->protocol);
	*port = (struct appc_port){0};
}

int appc_port_from_json(const struct field *field, struct appc_port *ret)
{
	struct field port_field = field_member(field, "port");
	struct field count_field = field_member(field, "count");
	int64_t port, count;
	int r;

	*ret = (struct appc_port){0};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_name_from_json(field, "name", &ret->name);
	if (r < 0)
		return r;
	r = field_read_string(field, "protocol", &ret->protocol);
	if (r < 0)
		return r;
	if (!ret->protocol) {
		ret->protocol = strdup("");
		if (!ret->protocol)
			return -ENOMEM;
	}
	r = field_read_integer(field, "port", INT64_MIN, INT64_MAX, &port, NULL);
	if (r < 0)
		return r;
	r = field_read_integer(field, "count", INT64_MIN, INT64_MAX, &count, NULL);
	if (r < 0)
		return r;
	if (port < 1 || port > PORT_MAX)
		return field_error(&port_field, "port must be in 1-65535 range");
	if (count < 0 || count > PORT_MAX + 1 - port)
		return field_error(&count_field, "end of port range must be in 1-65535 range");
	ret->port = (uint32_t)port;
	ret->count = count == 0 ? 1 : (uint32_t)count;
	return field_read_bool(field, "socketActivated", &ret->socket_activated, NULL);
}

json_t *appc_port_json(const struct appc_port *port)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	if (*port->name)
		json_put(object, "name", json_string(port->name), &ok);
	json_put(object, "protocol", json_string(port->protocol), &ok);
	json_put(object, "port", json_integer(port->port), &ok);
	json_put(object, "count", json_integer(port->count), &ok);
	json_put(object, "socketActivated", json_boolean(port->socket_activated), &ok);
	return json_finish(object, ok);
}

static void event_handler_clear(struct appc_event_handler *handler)
{
	free(handler->name);
	appc_strings_clear(&handler->exec);
}

static int event_handler_from_json(const struct field *field, struct appc_event_handler *ret)
{
	struct field name = field_member(field, "name");
	int r;

	r = field_check_object(field);
	if (r < 0)
		return r;
	r = field_read_string(field, "name", &ret->name);
	if (r < 0)
		return r;
	if (!ret->name || !*ret->name)
		return field_error(&name, "eventHandler \"name\" cannot be empty");
	if (strcmp(ret->name, "pre-start") != 0 && strcmp(ret->name, "post-stop") != 0)
		return field_error(&name, "bad eventHandler \"name\": \"%s\"", ret->name);
	return field_read_strings(field, "exec", &ret->exec);
}

static json_t *event_handler_json(const struct appc_event_handler *handler)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	json_put(object, "name", json_string(handler->name), &ok);
	json_put(object, "exec", json_from_strings(&handler->exec), &ok);
	return json_finish(object, ok);
}

void appc_app_free(struct appc_app *app)
{
	if (!app)
		return;
	appc_strings_clear(&app->exec);
	free(app->user);
	free(app->group);
	free(app->supplementary_gids);
	for (size_t i = 0; i < app->event_handler_count; i++)
		event_handler_clear(&app->event_handlers[i]);
	free(app->event_handlers);
	free(app->working_directory);
	appc_pairs_clear(&app->environment);
	for (size_t i = 0; i < app->mount_point_count; i++)
		appc_mount_point_clear(&app->mount_points[i]);
	free(app->mount_points);
	for (size_t i = 0; i < app->port_count; i++)
		appc_port_clear(&app->ports[i]);
	free(app->ports);
	appc_isolators_clear(&app->isolators);
	appc_pairs_clear(&app->user_annotations);
	appc_pairs_clear(&app->user_labels);
	free(app);
}

/* user or group */
static int read_identity(const struct field *field, const char *key, char **ret)
{
	struct field member = field_member(field, key);
	int r;

	r = field_read_string(field, key, ret);
	if (r < 0)
		return r;
	if (!*ret || !**ret)
		return field_error(&member, "%s is required", key);
	return 0;
}

static int read_supplementary_gids(const struct field *field, struct appc_app *app)
{
	struct field gids = field_member(field, "supplementaryGIDs");
	/* The spelling of the specification's own example. */
	struct field alias = field_member(field, "supplementaryGids");
	size_t count;
	int r;

	if (alias.value && gids.value)
		return field_error(&alias,
			"is another spelling of supplementaryGIDs, "
			"which is also set");
	if (alias.value)
		gids = alias;
	r = field_read_count(&gids, &count);
	if (r < 0 || count == 0)
		return r;
	app->supplementary_gids = calloc(count, sizeof(*app->supplementary_gids));
	if (!app->supplementary_gids)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field gid = field_element(&gids, i);

		if (!json_is_integer(gid.value))
			return field_error(&gid, "expected an integer");
		app->supplementary_gids[i] = json_integer_value(gid.value);
		/* (gid_t)-1 means "no group" to the kernel. */
		if (gid.strictness == APPC_COMPLETE &&
			(app->supplementary_gids[i] < 0 ||
				app->supplementary_gids[i] >= UINT32_MAX))
			return field_error(&gid, "must be between 0 and %u, got %lld",
				UINT32_MAX - 1, (long long)app->supplementary_gids[i]);
		app->supplementary_gid_count++;
	}
	return 0;
}

static int read_event_handlers(const struct field *field, struct appc_app *app)
{
	struct field handlers = field_member(field, "eventHandlers");
	size_t count;
	int r;

	r = field_read_count(&handlers, &count);
	if (r < 0 || count == 0)
		return r;
	app->event_handlers = calloc(count, sizeof(*app->event_handlers));
	if (!app->event_handlers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&handlers, i);
		struct appc_event_handler *handler =
			&app->event_handlers[app->event_handler_count++];

		r = event_handler_from_json(&element, handler);
		if (r < 0)
			return r;
		/* There are two names: a third handler is a duplicate, so this is not quadratic. */
		for (size_t j = 0; j < i; j++) {
			if (strcmp(app->event_handlers[j].name, handler->name) == 0)
				return field_error(&element,
					"Only one eventHandler of name \"%s\" allowed",
					handler->name);
		}
	}
	return 0;
}

static int read_mount_points(const struct field *field, struct appc_app *app)
{
	struct field points = field_member(field, "mountPoints");
	size_t count;
	int r;

	r = field_read_count(&points, &count);
	if (r < 0 || count == 0)
		return r;
	app->mount_points = calloc(count, sizeof(*app->mount_points));
	if (!app->mount_points)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&points, i);

		r = appc_mount_point_from_json(
			&element, &app->mount_points[app->mount_point_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_ports(const struct field *field, struct appc_app *app)
{
	struct field ports = field_member(field, "ports");
	size_t count;
	int r;

	r = field_read_count(&ports, &count);
	if (r < 0 || count == 0)
		return r;
	app->ports = calloc(count, sizeof(*app->ports));
	if (!app->ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&ports, i);

		r = appc_port_from_json(&element, &app->ports[app->port_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_working_directory(const struct field *field, struct appc_app *app)
{
	struct field member = field_member(field, "workingDirectory");
	int r;

	r = field_read_string(field, "workingDirectory", &app->working_directory);
	if (r < 0 || !app->working_directory)
		return r;
	if (!*app->working_directory) {
		free(TAKE_PTR(app->working_directory));
		return 0;
	}
	if (app->working_directory[0] != '/')
		return field_error(&member, "workingDirectory must be an absolute path");
	return 0;
}

static int app_read(const struct field *field, struct appc_app *app)
{
	int r;

	r = field_check_object(field);
	if (r == 0)
		r = field_read_strings(field, "exec", &app->exec);
	if (r == 0)
		r = read_identity(field, "user", &app->user);
	if (r == 0)
		r = read_identity(field, "group", &app->group);
	if (r == 0)
		r = read_supplementary_gids(field, app);
	if (r == 0)
		r = read_event_handlers(field, app);
	if (r == 0)
		r = read_working_directory(field, app);
	if (r == 0)
		r = appc_pairs_from_json(
			field, "environment", PAIR_LIST_ENVIRONMENT, &app->environment);
	if (r == 0)
		r = read_mount_points(field, app);
	if (r == 0)
		r = read_ports(field, app);
	if (r == 0)
		r = appc_isolators_from_json(
			field, "isolators", ISOLATOR_SCOPE_APP, &app->isolators);
	if (r == 0)
		r = field_read_string_map(field, "userAnnotations", &app->user_annotations);
	if (r == 0)
		r = field_read_string_map(field, "userLabels", &app->user_labels);
	return r;
}

int appc_app_from_json(const struct field *object, const char *key, struct appc_app **ret)
{
	struct field field = field_member(object, key);

	*ret = NULL;
	if (!field.value)
		return 0;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	return app_read(&field, *ret);
}

json_t *appc_app_json(const struct appc_app *app)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	json_put(object, "exec", json_from_strings(&app->exec), &ok);
	if (app->event_handler_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < app->event_handler_count; i++)
			json_append(array, event_handler_json(&app->event_handlers[i]), &ok);
		json_put(object, "eventHandlers", array, &ok);
	}
	json_put(object, "user", json_string(app->user), &ok);
	json_put(object, "group", json_string(app->group), &ok);
	if (app->supplementary_gid_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < app->supplementary_gid_count; i++)
			json_append(array, json_integer(app->supplementary_gids[i]), &ok);
		json_put(object, "supplementaryGIDs", array, &ok);
	}
	if (app->working_directory)
		json_put(object, "workingDirectory", json_string(app->working_directory), &ok);
	if (app->environment.count > 0)
		json_put(object, "environment", appc_pairs_json(&app->environment), &ok);
	if (app->mount_point_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < app->mount_point_count; i++)
			json_append(array, appc_mount_point_json(&app->mount_points[i]), &ok);
		json_put(object, "mountPoints", array, &ok);
	}
	if (app->port_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < app->port_count; i++)
			json_append(array, appc_port_json(&app->ports[i]), &ok);
		json_put(object, "ports", array, &ok);
	}
	if (app->isolators.count > 0)
		json_put(object, "isolators", appc_isolators_json(&app->isolators), &ok);
	if (app->user_annotations.count > 0)
		json_put(object, "userAnnotations", json_from_string_map(&app->user_annotations),
			&ok);
	if (app->user_labels.count > 0)
		json_put(object, "userLabels", json_from_string_map(&app->user_labels), &ok);
	return json_finish(object, ok);
}

/* strdup() that knows absent strings. */
static int copy_string(char **ret, const char *text)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int copy_event_handlers(struct appc_app *copy, const struct appc_app *app)
{
	if (app->event_handler_count == 0)
		return 0;
	copy->event_handlers = calloc(app->event_handler_count, sizeof(*copy->event_handlers));
	if (!copy->event_handlers)
		return -ENOMEM;
	for (size_t i = 0; i < app->event_handler_count; i++) {
		struct appc_event_handler *handler =
			&copy->event_handlers[copy->event_handler_count++];
		int r;

		r = copy_string(&handler->name, app->event_handlers[i].name);
		if (r == 0)
			r = appc_strings_copy(&handler->exec, &app->event_handlers[i].exec);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_mount_points(struct appc_app *copy, const struct appc_app *app)
{
	if (app->mount_point_count == 0)
		return 0;
	copy->mount_points = calloc(app->mount_point_count, sizeof(*copy->mount_points));
	if (!copy->mount_points)
		return -ENOMEM;
	for (size_t i = 0; i < app->mount_point_count; i++) {
		struct appc_mount_point *point = &copy->mount_points[copy->mount_point_count++];
		int r;

		point->read_only = app->mount_points[i].read_only;
		r = copy_string(&point->name, app->mount_points[i].name);
		if (r == 0)
			r = copy_string(&point->path, app->mount_points[i].path);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_ports(struct appc_app *copy, const struct appc_app *app)
{
	if (app->port_count == 0)
		return 0;
	copy->ports = calloc(app->port_count, sizeof(*copy->ports));
	if (!copy->ports)
		return -ENOMEM;
	for (size_t i = 0; i < app->port_count; i++) {
		struct appc_port *port = &copy->ports[copy->port_count++];
		int r;

		port->port = app->ports[i].port;
		port->count = app->ports[i].count;
		port->socket_activated = app->ports[i].socket_activated;
		r = copy_string(&port->name, app->ports[i].name);
		if (r == 0)
			r = copy_string(&port->protocol, app->ports[i].protocol);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_supplementary_gids(struct appc_app *copy, const struct appc_app *app)
{
	if (app->supplementary_gid_count == 0)
		return 0;
	copy->supplementary_gids =
		calloc(app->supplementary_gid_count, sizeof(*copy->supplementary_gids));
	if (!copy->supplementary_gids)
		return -ENOMEM;
	memcpy(copy->supplementary_gids, app->supplementary_gids,
		app->supplementary_gid_count * sizeof(*copy->supplementary_gids));
	copy->supplementary_gid_count = app->supplementary_gid_count;
	return 0;
}

struct appc_app *appc_app_copy(const struct appc_app *app)
{
	struct appc_app *copy = calloc(1, sizeof(*copy));
	int r;

	if (!copy)
		return NULL;
	r = appc_strings_copy(&copy->exec, &app->exec);
	if (r == 0)
		r = copy_string(&copy->user, app->user);
	if (r == 0)
		r = copy_string(&copy->group, app->group);
	if (r == 0)
		r = copy_supplementary_gids(copy, app);
	if (r == 0)
		r = copy_event_handlers(copy, app);
	if (r == 0)
		r = copy_string(&copy->working_directory, app->working_directory);
	if (r == 0)
		r = appc_pairs_copy(&copy->environment, &app->environment);
	if (r == 0)
		r = copy_mount_points(copy, app);
	if (r == 0)
		r = copy_ports(copy, app);
	if (r == 0)
		r = appc_isolators_copy(&copy->isolators, &app->isolators);
	if (r == 0)
		r = appc_pairs_copy(&copy->user_annotations, &app->user_annotations);
	if (r == 0)
		r = appc_pairs_copy(&copy->user_labels, &app->user_labels);
	if (r < 0) {
		appc_app_free(copy);
		return NULL;
	}
	return copy;
}
