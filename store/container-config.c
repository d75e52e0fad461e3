// SPDX-License-Identifier: Apache-2.0
/* container-config.c: from an OCI or Docker image configuration to an image manifest. */
#include "store/container-config.h"

#include "appc/field.h"
#include "appc/types.h"
#include "base/checked.h"
#include "base/json.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/store.h"

#include <string.h>

#define ANNOTATION_PREFIX CONTAINER_ANNOTATION_PREFIX
#define PORT_MAX          65535

void container_identity_clear(struct container_identity *identity)
{
	docker_reference_clear(&identity->reference);
	free(identity->name);
	appc_pairs_clear(&identity->labels);
	free(identity->image_id);
	free(identity->manifest_digest);
	*identity = (struct container_identity){0};
}

/* ---- members that are objects used as sets */

static int string_compare(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The sorted keys of an object; the array is the caller's, the texts are the object's. */
static int read_keys(
	const struct field *object, const char *key, const char ***ret, size_t *ret_count)
{
	struct field field = field_member(object, key);
	const char **keys, *name;
	size_t count = 0;
	json_t *value;
	int r;

	*ret = NULL;
	*ret_count = 0;
	if (!field.value)
		return 0;
	r = field_check_object(&field);
	if (r < 0 || json_object_size(field.value) == 0)
		return r;
	keys = calloc(json_object_size(field.value), sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	json_object_foreach (field.value, name, value)
		keys[count++] = name;
	qsort(keys, count, sizeof(*keys), string_compare);
	*ret = keys;
	*ret_count = count;
	return 0;
}

static bool mount_point_exists(const struct appc_app *app, const char *name)
{
	for (size_t i = 0; i < app->mount_point_count; i++)
		if (!strcmp(app->mount_points[i].name, name))
			return true;
	return false;
}

/* "/var/lib/data" is "volume-var-lib-data"; of several that come out alike the later get a number. */
static int volume_add(struct appc_app *app, const char *path)
{
	struct appc_mount_point *point = &app->mount_points[app->mount_point_count];
	_cleanup_free_ char *long_name = NULL, *name = NULL, *numbered = NULL;
	int r;

	while (*path == '/')
		path++;
	if (asprintf(&long_name, "volume-%s", path) < 0)
		return -ENOMEM;
	r = appc_name_sanitise(long_name, &name, NULL);
	if (r < 0)
		return r;
	numbered = strdup(name);
	for (size_t i = 1; numbered && mount_point_exists(app, numbered); i++) {
		free(numbered);
		if (asprintf(&numbered, "%s-%zu", name, i) < 0)
			numbered = NULL;
	}
	if (!numbered || asprintf(&point->path, "/%s", path) < 0) {
		point->path = NULL;
		return -ENOMEM;
	}
	point->name = TAKE_PTR(numbered);
	app->mount_point_count++;
	return 0;
}

static int read_volumes(const struct field *config, struct appc_app *app)
{
	_cleanup_free_ const char **paths = NULL;
	size_t count;
	int r = read_keys(config, "Volumes", &paths, &count);

	if (r < 0 || count == 0)
		return r;
	app->mount_point_count = 0;
	app->mount_points = calloc(count, sizeof(*app->mount_points));
	if (!app->mount_points)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i++)
		if (paths[i][strspn(paths[i], "/")])
			r = volume_add(app, paths[i]);
	return r;
}

/* "8080", "8080/udp", "8000-8010/tcp" */
static int port_parse(const char *text, struct appc_port *port)
{
	size_t length = strcspn(text, "/"), first = strcspn(text, "-/");
	char number[16];
	uint64_t low, high;

	if (length >= sizeof(number))
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)first, text);
	if (!checked_parse_u64(number, PORT_MAX, &low) || low == 0)
		return -EINVAL;
	high = low;
	if (first < length) {
		snprintf(number, sizeof(number), "%.*s", (int)(length - first - 1),
			text + first + 1);
		if (!checked_parse_u64(number, PORT_MAX, &high) || high < low)
			return -EINVAL;
	}
	port->port = (uint32_t)low;
	port->count = (uint32_t)(high - low + 1);
	port->protocol = strdup(text[length] && text[length + 1] ? text + length + 1 : "tcp");
	return port->protocol ? appc_name_sanitise(text, &port->name, NULL) : -ENOMEM;
}

static int read_exposed_ports(const struct field *config, struct appc_app *app)
{
	struct field field = field_member(config, "ExposedPorts");
	_cleanup_free_ const char **texts = NULL;
	size_t count;
	int r = read_keys(config, "ExposedPorts", &texts, &count);

	if (r < 0 || count == 0)
		return r;
	app->ports = calloc(count, sizeof(*app->ports));
	if (!app->ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		r = port_parse(texts[i], &app->ports[app->port_count++]);
		if (r == -EINVAL)
			return field_error(&field, "\"%s\" is not a port", texts[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the rest of "config" */

static int read_command(const struct field *config, struct appc_app *app,
	struct appc_strings *entrypoint, struct appc_strings *command)
{
	int r = field_read_strings(config, "Entrypoint", entrypoint);

	if (r == 0)
		r = field_read_strings(config, "Cmd", command);
	for (size_t i = 0; r == 0 && i < entrypoint->count; i++)
		r = appc_strings_append(&app->exec, entrypoint->items[i]);
	for (size_t i = 0; r == 0 && i < command->count; i++)
		r = appc_strings_append(&app->exec, command->items[i]);
	return r;
}

/*
 * "USER", "USER:GROUP"; the group of a user alone has the same name or number. Whether there is a group of that name
 * only the root filesystem knows: that it was not asked for is said.
 */
static int read_user(
	const struct field *config, struct appc_app *app, struct appc_image_manifest *manifest)
{
	_cleanup_free_ char *text = NULL;
	const char *user, *group = NULL;
	char *colon;
	int r = field_read_string(config, "User", &text);

	if (r < 0)
		return r;
	colon = text ? strchr(text, ':') : NULL;
	if (colon) {
		*colon = '\0';
		group = colon[1] ? colon + 1 : NULL;
	}
	user = text && *text ? text : "0";
	app->user = strdup(user);
	app->group = strdup(group ? group : user);
	if (!app->user || !app->group)
		return -ENOMEM;
	return group || !strcmp(user, "root") || strspn(user, "0123456789") == strlen(user)
		? 0
		: appc_pairs_set(&manifest->annotations, CONTAINER_ANNOTATION_GROUP, "user", true);
}

static int read_environment(const struct field *config, struct appc_app *app)
{
	_cleanup_(appc_strings_clear) struct appc_strings texts = {0};
	int r = field_read_strings(config, "Env", &texts);

	for (size_t i = 0; r == 0 && i < texts.count; i++) {
		char *name = texts.items[i], *value = strchr(name, '=');

		if (value)
			*value++ = '\0';
		if (!value || !appc_environment_name_is_valid(name)) {
			log_warning("the image's environment variable \"%s\" is left out: %s", name,
				value ? "not a valid name" : "it has no value");
			continue;
		}
		r = appc_pairs_set(&app->environment, name, value, true);
	}
	return r;
}

static int read_working_directory(const struct field *config, struct appc_app *app)
{
	_cleanup_free_ char *path = NULL;
	int r = field_read_string(config, "WorkingDir", &path);

	if (r < 0 || !path || !*path)
		return r;
	if (path[0] == '/')
		app->working_directory = TAKE_PTR(path);
	else if (asprintf(&app->working_directory, "/%s", path) < 0)
		app->working_directory = NULL;
	return app->working_directory ? 0 : -ENOMEM;
}

static int annotate(struct appc_image_manifest *manifest, const char *name, const char *value)
{
	return value && *value ? appc_pairs_set(&manifest->annotations, name, value, true) : 0;
}

static int annotate_strings(
	struct appc_image_manifest *manifest, const char *name, const struct appc_strings *strings)
{
	_cleanup_json_ json_t *array = json_from_strings(strings);
	_cleanup_free_ char *text = array ? json_text(array, JSON_COMPACT) : NULL;

	if (strings->count == 0)
		return 0;
	return text ? annotate(manifest, name, text) : -ENOMEM;
}

static int read_app(const struct field *root, struct appc_image_manifest *manifest)
{
	_cleanup_(appc_strings_clear) struct appc_strings entrypoint = {0}, command = {0};
	struct field config = field_member(root, "config");
	struct appc_app *app;
	int r;

	if (!config.value)
		return 0;
	r = field_check_object(&config);
	if (r < 0)
		return r;
	app = manifest->app = calloc(1, sizeof(*app));
	if (!app)
		return -ENOMEM;
	r = read_command(&config, app, &entrypoint, &command);
	if (r == 0)
		r = read_user(&config, app, manifest);
	if (r == 0)
		r = read_environment(&config, app);
	if (r == 0)
		r = read_working_directory(&config, app);
	if (r == 0)
		r = read_volumes(&config, app);
	if (r == 0)
		r = read_exposed_ports(&config, app);
	if (r == 0)
		r = field_read_string_map(&config, "Labels", &app->user_labels);
	if (r == 0)
		r = annotate_strings(manifest, ANNOTATION_PREFIX "entrypoint", &entrypoint);
	if (r == 0)
		r = annotate_strings(manifest, ANNOTATION_PREFIX "cmd", &command);
	return r;
}

/* ---- labels and annotations */

/* Go's name of an architecture, with its variant ("v7"), in the specification's words; NULL: it has none. */
static const char *architecture_name(const char *architecture, const char *variant)
{
	static const struct {
		const char *go, *variant, *name;
	} architectures[] = {
		{"amd64", NULL, "amd64"},
		{"386", NULL, "i386"},
		{"arm64", NULL, "aarch64"},
		{"arm64be", NULL, "aarch64_be"},
		{"arm", "v7", "armv7l"},
		{"arm", "v8", "armv7l"},
		{"arm", NULL, "armv6l"},
		{"armbe", NULL, "armv7b"},
		{"ppc64", NULL, "ppc64"},
		{"ppc64le", NULL, "ppc64le"},
		{"s390x", NULL, "s390x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		if (!strcmp(architecture, architectures[i].go) &&
			(!architectures[i].variant ||
				(variant && !strcmp(variant, architectures[i].variant))))
			return architectures[i].name;
	return NULL;
}

static int read_platform(const struct field *root, struct appc_image_manifest *manifest)
{
	struct field os_field = field_member(root, "os");
	struct field architecture_field = field_member(root, "architecture");
	_cleanup_free_ char *os = NULL, *architecture = NULL, *variant = NULL;
	const char *name;
	int r = field_read_string(root, "os", &os);

	if (r == 0)
		r = field_read_string(root, "architecture", &architecture);
	if (r == 0)
		r = field_read_string(root, "variant", &variant);
	if (r < 0)
		return r;
	if (!os || strcmp(os, CONTAINER_HOST_OS))
		return field_error(&os_field, "the image is for \"%s\", expected \"%s\"",
			os ? os : "", CONTAINER_HOST_OS);
	name = architecture ? architecture_name(architecture, variant) : NULL;
	if (!architecture || !name)
		return field_error(&architecture_field, "unknown architecture \"%s\"",
			architecture ? architecture : "");
	if (strcmp(architecture, CONTAINER_HOST_ARCHITECTURE))
		log_warning("the image is for %s/%s, which does not run on this machine", os,
			architecture);
	r = appc_pairs_set(&manifest->labels, "os", os, true);
	return r < 0 ? r : appc_pairs_set(&manifest->labels, "arch", name, true);
}

static int read_annotations(const struct field *root, const struct container_identity *identity,
	struct appc_image_manifest *manifest)
{
	const struct docker_reference *reference = &identity->reference;
	_cleanup_free_ char *author = NULL, *created = NULL, *comment = NULL, *parent = NULL;
	char date[APPC_DATE_SIZE];
	int r = field_read_string(root, "author", &author);

	if (r == 0)
		r = field_read_string(root, "created", &created);
	if (r == 0)
		r = field_read_string(root, "comment", &comment);
	if (r == 0)
		r = field_read_string(root, "parent", &parent);
	if (r == 0)
		r = annotate(manifest, "authors", author);
	if (r == 0 && created && appc_date_parse(created, date, NULL) == 0)
		r = annotate(manifest, "created", created);
	if (r == 0)
		r = annotate(manifest, "docker-comment", comment);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "originalname", reference->original);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "registryurl", reference->registry);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "repository", reference->repository);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "tag", reference->tag);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "imageid", identity->image_id);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "parentimageid", parent);
	if (r == 0)
		r = annotate(manifest, ANNOTATION_PREFIX "manifesthash", identity->manifest_digest);
	return r;
}

static int set_name(const struct container_identity *identity, struct appc_image_manifest *manifest,
	struct error *err)
{
	const struct docker_reference *reference = &identity->reference;
	_cleanup_free_ char *text = NULL;
	int r;

	if (identity->name) {
		manifest->name = strdup(identity->name);
		r = manifest->name ? 0 : -ENOMEM;
	} else if (asprintf(&text, "%s%s%s", reference->registry ? reference->registry : "",
			   reference->registry ? "/" : "", reference->repository) < 0) {
		text = NULL;
		r = -ENOMEM;
	} else {
		r = appc_identifier_sanitise(text, &manifest->name, err);
		if (r == -EINVAL)
			return error_prefix(err, r, "image name \"%s\"", text);
	}
	if (r == 0)
		r = appc_pairs_set(&manifest->labels, "version", reference->tag, true);
	for (size_t i = 0; r == 0 && i < identity->labels.count; i++)
		r = appc_pairs_set(&manifest->labels, identity->labels.items[i].name,
			identity->labels.items[i].value, true);
	return r;
}

static int read_diff_ids(const struct field *root, struct appc_strings *ret)
{
	struct field rootfs = field_member(root, "rootfs");
	struct field ids = field_member(&rootfs, "diff_ids");
	int r = field_check_object(&rootfs);

	if (r == 0)
		r = field_read_strings(&rootfs, "diff_ids", ret);
	for (size_t i = 0; r == 0 && i < ret->count; i++)
		if (!digest_is_valid(ret->items[i])) {
			struct field id = field_element(&ids, i);

			r = field_error(
				&id, "\"%s\" is not a sha256 or sha512 digest", ret->items[i]);
		}
	return r;
}

int container_config_read(const json_t *config, const struct container_identity *identity,
	struct appc_image_manifest **ret_manifest, struct appc_strings *ret_diff_ids,
	struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest =
		calloc(1, sizeof(*manifest));
	_cleanup_(appc_strings_clear) struct appc_strings diff_ids = {0};
	struct field root = field_root((json_t *)config, APPC_DECODE, err);
	int r = manifest ? field_check_object(&root) : -ENOMEM;

	if (r == 0) {
		manifest->ac_version = strdup(APPC_VERSION);
		r = manifest->ac_version ? read_platform(&root, manifest) : -ENOMEM;
	}
	if (r == 0)
		r = set_name(identity, manifest, err);
	if (r == 0)
		r = read_annotations(&root, identity, manifest);
	if (r == 0)
		r = read_app(&root, manifest);
	if (r == 0)
		r = read_diff_ids(&root, &diff_ids);
	if (r == -ENOMEM)
		return error_set_errno(err, r, "image configuration");
	if (r < 0)
		return r;
	*ret_manifest = TAKE_PTR(manifest);
	*ret_diff_ids = diff_ids;
	diff_ids = (struct appc_strings){0};
	return 0;
}
