// SPDX-License-Identifier: Apache-2.0
/* pod_manifest.c: the pod manifest. */
#include "appc/parse.h"
#include "appc/types.h"

#include "base/json.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

static void runtime_app_clear(struct appc_runtime_app *app)
{
	free(app->name);
	free(app->image_id);
	free(app->image_name);
	appc_pairs_clear(&app->image_labels);
	appc_app_free(app->app);
	for (size_t i = 0; i < app->mount_count; i++)
		appc_mount_clear(&app->mounts[i]);
	free(app->mounts);
	appc_pairs_clear(&app->annotations);
}

void appc_pod_manifest_free(struct appc_pod_manifest *manifest)
{
	if (!manifest)
		return;
	free(manifest->ac_version);
	for (size_t i = 0; i < manifest->app_count; i++)
		runtime_app_clear(&manifest->apps[i]);
	free(manifest->apps);
	for (size_t i = 0; i < manifest->volume_count; i++)
		appc_volume_clear(&manifest->volumes[i]);
	free(manifest->volumes);
	appc_isolators_clear(&manifest->isolators);
	appc_pairs_clear(&manifest->annotations);
	for (size_t i = 0; i < manifest->port_count; i++)
		appc_exposed_port_clear(&manifest->ports[i]);
	free(manifest->ports);
	appc_pairs_clear(&manifest->user_annotations);
	appc_pairs_clear(&manifest->user_labels);
	free(manifest);
}

static int read_image(const struct field *field, struct appc_runtime_app *app)
{
	struct field image = field_member(field, "image");
	struct field id = field_member(&image, "id");
	struct field name = field_member(&image, "name");
	int r;

	if (image.value) {
		r = field_check_object(&image);
		if (r < 0)
			return r;
		r = field_read_string(&image, "id", &app->image_id);
		if (r < 0)
			return r;
		if (app->image_id) {
			r = appc_hash_check(app->image_id, field->err);
			if (r < 0)
				return field_prefix(&id, r);
		}
		r = field_read_string(&image, "name", &app->image_name);
		if (r < 0)
			return r;
		if (app->image_name) {
			r = appc_identifier_check(app->image_name, field->err);
			if (r < 0)
				return field_prefix(&name, r);
		}
		r = appc_pairs_from_json(&image, "labels", PAIR_LIST_LABELS, &app->image_labels);
		if (r < 0)
			return r;
	}
	if (!app->image_id && !app->image_name && field->strictness == APPC_COMPLETE)
		return field_error(
			&image, "no image ID for app \"%s\", and no image name", app->name);
	return 0;
}

static int read_mounts(const struct field *field, struct appc_runtime_app *app)
{
	struct field mounts = field_member(field, "mounts");
	size_t count;
	int r;

	r = field_read_count(&mounts, &count);
	if (r < 0 || count == 0)
		return r;
	app->mounts = calloc(count, sizeof(*app->mounts));
	if (!app->mounts)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&mounts, i);

		r = appc_mount_from_json(&element, &app->mounts[app->mount_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int runtime_app_from_json(const struct field *field, struct appc_runtime_app *app)
{
	int r;

	r = field_check_object(field);
	if (r == 0)
		r = appc_name_from_json(field, "name", &app->name);
	if (r == 0)
		r = read_image(field, app);
	if (r == 0)
		r = appc_app_from_json(field, "app", &app->app);
	if (r == 0)
		r = field_read_bool(field, "readOnlyRootFS", &app->read_only_rootfs, NULL);
	if (r == 0)
		r = read_mounts(field, app);
	if (r == 0)
		r = appc_pairs_from_json(
			field, "annotations", PAIR_LIST_ANNOTATIONS, &app->annotations);
	return r;
}

static int read_apps(const struct field *root, struct appc_pod_manifest *manifest)
{
	struct field apps = field_member(root, "apps");
	_cleanup_json_ json_t *seen = json_object();
	size_t count;
	int r;

	if (!seen)
		return -ENOMEM;
	r = field_read_count(&apps, &count);
	if (r < 0 || count == 0)
		return r;
	manifest->apps = calloc(count, sizeof(*manifest->apps));
	if (!manifest->apps)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&apps, i);
		struct appc_runtime_app *app = &manifest->apps[manifest->app_count++];
		bool is_new;

		r = runtime_app_from_json(&element, app);
		if (r < 0)
			return r;
		r = field_note_name(seen, app->name, &is_new);
		if (r < 0)
			return r;
		if (!is_new)
			return field_error(&element, "duplicate apps of name \"%s\"", app->name);
	}
	return 0;
}

static int read_volumes(const struct field *root, struct appc_pod_manifest *manifest)
{
	struct field volumes = field_member(root, "volumes");
	_cleanup_json_ json_t *seen = json_object();
	size_t count;
	int r;

	if (!seen)
		return -ENOMEM;
	r = field_read_count(&volumes, &count);
	if (r < 0 || count == 0)
		return r;
	manifest->volumes = calloc(count, sizeof(*manifest->volumes));
	if (!manifest->volumes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&volumes, i);
		struct appc_volume *volume = &manifest->volumes[manifest->volume_count++];
		bool is_new;

		r = appc_volume_from_json(&element, volume);
		if (r < 0)
			return r;
		r = field_note_name(seen, volume->name, &is_new);
		if (r < 0)
			return r;
		if (!is_new)
			return field_error(&element, "duplicate volume name \"%s\"", volume->name);
	}
	return 0;
}

static int read_exposed_ports(const struct field *root, struct appc_pod_manifest *manifest)
{
	struct field ports = field_member(root, "ports");
	size_t count;
	int r;

	r = field_read_count(&ports, &count);
	if (r < 0 || count == 0)
		return r;
	manifest->ports = calloc(count, sizeof(*manifest->ports));
	if (!manifest->ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&ports, i);

		r = appc_exposed_port_from_json(&element, &manifest->ports[manifest->port_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pod_manifest_read(const struct field *root, struct appc_pod_manifest *manifest)
{
	int r;

	r = appc_header_from_json(root, "PodManifest", &manifest->ac_version);
	if (r < 0)
		return r;
	if (!manifest->ac_version) {
		manifest->ac_version = strdup(APPC_VERSION);
		if (!manifest->ac_version)
			return -ENOMEM;
	}
	r = read_apps(root, manifest);
	if (r == 0)
		r = read_volumes(root, manifest);
	if (r == 0)
		r = appc_isolators_from_json(
			root, "isolators", ISOLATOR_SCOPE_POD, &manifest->isolators);
	if (r == 0)
		r = appc_pairs_from_json(
			root, "annotations", PAIR_LIST_ANNOTATIONS, &manifest->annotations);
	if (r == 0)
		r = read_exposed_ports(root, manifest);
	if (r == 0)
		r = field_read_string_map(root, "userAnnotations", &manifest->user_annotations);
	if (r == 0)
		r = field_read_string_map(root, "userLabels", &manifest->user_labels);
	return r;
}

int appc_pod_manifest_from_json(const struct field *root, struct appc_pod_manifest **ret)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = calloc(1, sizeof(*manifest));
	int r = manifest ? pod_manifest_read(root, manifest) : -ENOMEM;

	if (r == -ENOMEM)
		return error_set(root->err, r, "out of memory");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(manifest);
	return 0;
}

int appc_pod_manifest_parse(
	const char *data, size_t length, struct appc_pod_manifest **ret, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	struct field root;
	int r;

	r = appc_manifest_load(data, length, "pod manifest", &json, err);
	if (r < 0)
		return r;
	root = field_root(json, APPC_COMPLETE, err);
	return appc_pod_manifest_from_json(&root, ret);
}

static json_t *runtime_app_json(const struct appc_runtime_app *app)
{
	json_t *object = json_object();
	json_t *image = json_object();
	bool ok = object != NULL && image != NULL;

	if (*app->name)
		json_put(object, "name", json_string(app->name), &ok);
	if (app->image_name)
		json_put(image, "name", json_string(app->image_name), &ok);
	if (app->image_id)
		json_put(image, "id", json_string(app->image_id), &ok);
	if (app->image_labels.count > 0)
		json_put(image, "labels", appc_pairs_json(&app->image_labels), &ok);
	json_put(object, "image", image, &ok);
	if (app->app)
		json_put(object, "app", appc_app_json(app->app), &ok);
	if (app->read_only_rootfs)
		json_put(object, "readOnlyRootFS", json_true(), &ok);
	if (app->mount_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < app->mount_count; i++)
			json_append(array, appc_mount_json(&app->mounts[i]), &ok);
		json_put(object, "mounts", array, &ok);
	}
	if (app->annotations.count > 0)
		json_put(object, "annotations", appc_pairs_json(&app->annotations), &ok);
	return json_finish(object, ok);
}

json_t *appc_pod_manifest_json(const struct appc_pod_manifest *manifest)
{
	json_t *object = json_object();
	json_t *apps = json_array();
	bool ok = object != NULL && apps != NULL;

	json_put(object, "acVersion", json_string(manifest->ac_version), &ok);
	json_put(object, "acKind", json_string("PodManifest"), &ok);
	for (size_t i = 0; ok && i < manifest->app_count; i++)
		json_append(apps, runtime_app_json(&manifest->apps[i]), &ok);
	json_put(object, "apps", apps, &ok);
	if (manifest->volume_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < manifest->volume_count; i++)
			json_append(array, appc_volume_json(&manifest->volumes[i]), &ok);
		json_put(object, "volumes", array, &ok);
	}
	if (manifest->isolators.count > 0)
		json_put(object, "isolators", appc_isolators_json(&manifest->isolators), &ok);
	if (manifest->annotations.count > 0)
		json_put(object, "annotations", appc_pairs_json(&manifest->annotations), &ok);
	if (manifest->port_count > 0) {
		json_t *array = json_array();

		for (size_t i = 0; ok && i < manifest->port_count; i++)
			json_append(array, appc_exposed_port_json(&manifest->ports[i]), &ok);
		json_put(object, "ports", array, &ok);
	}
	if (manifest->user_annotations.count > 0)
		json_put(object, "userAnnotations",
			json_from_string_map(&manifest->user_annotations), &ok);
	if (manifest->user_labels.count > 0)
		json_put(object, "userLabels", json_from_string_map(&manifest->user_labels), &ok);
	return json_finish(object, ok);
}

/* The port that an exposed port names: its own podPort, or the one of the only app that has it. */
int appc_exposed_port_find(const struct appc_pod_manifest *manifest,
	const struct appc_exposed_port *exposed, const struct appc_port **ret, struct error *err)
{
	*ret = exposed->pod_port;
	if (*ret)
		return 0;
	for (size_t i = 0; i < manifest->app_count; i++) {
		const struct appc_app *app = manifest->apps[i].app;

		for (size_t j = 0; app && j < app->port_count; j++) {
			if (strcmp(app->ports[j].name, exposed->name) != 0)
				continue;
			if (*ret)
				return error_set(err, -EINVAL,
					"port name \"%s\" defined multiple apps", exposed->name);
			*ret = &app->ports[j];
		}
	}
	if (!*ret)
		return error_set(err, -EINVAL, "port name \"%s\" could not be found in any apps",
			exposed->name);
	return 0;
}

/* What a port of the pod takes of the host. */
struct host_range {
	const char *protocol, *address; /* the latter as text */
	int family;
	struct in6_addr binary; /* the IPv4 address is in the beginning */
	bool is_any;
	uint32_t first, count, pod_port;
};

static void host_range_read(const struct appc_exposed_port *exposed, const struct appc_port *port,
	struct host_range *ret)
{
	static const struct in6_addr any;

	*ret = (struct host_range){
		.protocol = port->protocol,
		.address = exposed->host_ip ? exposed->host_ip : "0.0.0.0",
		.first = exposed->host_port,
		.count = port->count,
		.pod_port = port->port,
	};
	ret->family = strchr(ret->address, ':') ? AF_INET6 : AF_INET;
	inet_pton(ret->family, ret->address, &ret->binary);
	ret->is_any = !memcmp(&ret->binary, &any, sizeof(any));
}

/* The first port that both take; 0: none. */
static uint32_t host_ranges_meet(const struct host_range *a, const struct host_range *b)
{
	uint32_t first = a->first > b->first ? a->first : b->first;

	if (a->family != b->family || strcmp(a->protocol, b->protocol) != 0)
		return 0;
	if (!a->is_any && !b->is_any && memcmp(&a->binary, &b->binary, sizeof(a->binary)) != 0)
		return 0;
	return first < a->first + a->count && first < b->first + b->count ? first : 0;
}

/* Those before it are in the beginning of ranges. *total counts ports. */
static int check_exposed_port(const struct appc_pod_manifest *manifest, size_t index,
	struct host_range *ranges, uint32_t *total, struct error *err)
{
	const struct appc_exposed_port *exposed = &manifest->ports[index];
	struct host_range *range = &ranges[index];
	const struct appc_port *port;
	int r;

	r = appc_exposed_port_find(manifest, exposed, &port, err);
	if (r < 0)
		return r;
	host_range_read(exposed, port, range);
	if ((uint64_t)range->first + range->count - 1 > UINT16_MAX)
		return error_set(err, -ERANGE,
			"port \"%s\": %" PRIu32 " ports from %" PRIu32 " on go beyond %d",
			exposed->name, range->count, range->first, UINT16_MAX);
	*total += range->count;
	if (*total > APPC_EXPOSED_PORTS_MAX)
		return error_set(err, -E2BIG, "port \"%s\": a pod has at most %d ports of the host",
			exposed->name, APPC_EXPOSED_PORTS_MAX);
	for (size_t i = 0; i < index; i++) {
		uint32_t number = host_ranges_meet(&ranges[i], range);

		if (number > 0)
			return error_set(err, -EINVAL,
				"port %s-%s:%" PRIu32 " already mapped to pod port %" PRIu32,
				range->protocol, range->address, number,
				ranges[i].pod_port + number - ranges[i].first);
	}
	return 0;
}

int appc_pod_ports_check(const struct appc_pod_manifest *manifest, struct error *err)
{
	struct host_range ranges[APPC_EXPOSED_PORTS_MAX];
	uint32_t total = 0;
	int r = 0;

	if (manifest->port_count > APPC_EXPOSED_PORTS_MAX)
		return error_set(err, -E2BIG, "a pod has at most %d ports of the host",
			APPC_EXPOSED_PORTS_MAX);
	for (size_t i = 0; r == 0 && i < manifest->port_count; i++)
		r = check_exposed_port(manifest, i, ranges, &total, err);
	return r;
}
