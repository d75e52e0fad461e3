// SPDX-License-Identifier: Apache-2.0
/* blueprint.c: the values of the command line's flags. */
#include "pod/blueprint.h"

#include "appc/strings.h"
#include "base/checked.h"
#include "base/json.h"
#include "pod/stream_mode.h"

#include <string.h>

/* rkt's: less is most likely a mistake, such as 16m (thousandths of a byte). */
#define MEMORY_MIN 4096

static void mounts_clear(struct appc_mount **mounts, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		appc_mount_clear(&(*mounts)[i]);
	free(*mounts);
	*mounts = NULL;
	*count = 0;
}

static void image_blueprint_clear(struct image_blueprint *image)
{
	free(image->supplementary_gids);
	mounts_clear(&image->mounts, &image->mount_count);
	for (int kind = APPC_ISOLATOR_UNKNOWN; kind <= APPC_ISOLATOR_SYSCTL; kind++)
		appc_isolators_remove(&image->isolators, (enum appc_isolator_kind)kind);
	free(image->isolators.items);
	appc_pairs_clear(&image->environment);
	appc_pairs_clear(&image->annotations);
	appc_pairs_clear(&image->user_annotations);
	appc_pairs_clear(&image->user_labels);
}

void pod_blueprint_clear(struct pod_blueprint *request)
{
	for (size_t i = 0; i < request->image_count; i++)
		image_blueprint_clear(&request->images[i]);
	free(request->images);
	for (size_t i = 0; i < request->volume_count; i++)
		appc_volume_clear(&request->volumes[i]);
	free(request->volumes);
	mounts_clear(&request->mounts, &request->mount_count);
	for (size_t i = 0; i < request->port_count; i++)
		appc_exposed_port_clear(&request->ports[i]);
	free(request->ports);
	appc_pairs_clear(&request->environment);
	appc_pairs_clear(&request->file_environment);
	appc_pairs_clear(&request->annotations);
	appc_pairs_clear(&request->user_annotations);
	appc_pairs_clear(&request->user_labels);
	*request = (struct pod_blueprint){0};
}

/* Room for one more element of an array; NULL: out of memory, and nothing changed. */
static void *array_grow(void *array, size_t count, size_t size)
{
	return reallocarray(array, count + 1, size);
}

int pod_blueprint_add_image(struct pod_blueprint *request, const char *image)
{
	struct image_blueprint *images =
		array_grow(request->images, request->image_count, sizeof(*images));

	if (!images)
		return -ENOMEM;
	request->images = images;
	images[request->image_count++] = (struct image_blueprint){.image = image};
	return 0;
}

struct image_blueprint *pod_blueprint_last_image(struct pod_blueprint *request)
{
	return request->image_count > 0 ? &request->images[request->image_count - 1] : NULL;
}

int pod_blueprint_add_volume(struct pod_blueprint *request, const char *text, struct error *err)
{
	struct appc_volume *volumes =
		array_grow(request->volumes, request->volume_count, sizeof(*volumes));
	int r;

	if (!volumes)
		return error_set(err, -ENOMEM, "out of memory");
	request->volumes = volumes;
	r = appc_volume_from_string(text, APPC_COMPLETE, &volumes[request->volume_count], err);
	if (r == 0)
		request->volume_count++;
	return r;
}

/* parse is one of appc/strings.h. */
static int add_port(struct pod_blueprint *request, const char *text,
	int (*parse)(const char *text, struct appc_exposed_port *ret, struct error *err),
	struct error *err)
{
	struct appc_exposed_port *ports =
		array_grow(request->ports, request->port_count, sizeof(*ports));
	int r;

	if (!ports)
		return error_set(err, -ENOMEM, "out of memory");
	request->ports = ports;
	r = parse(text, &ports[request->port_count], err);
	if (r == 0)
		request->port_count++;
	return r;
}

int pod_blueprint_add_port(struct pod_blueprint *request, const char *text, struct error *err)
{
	return add_port(request, text, appc_exposed_port_from_string, err);
}

int pod_blueprint_add_forwarded_port(
	struct pod_blueprint *request, const char *text, struct error *err)
{
	return add_port(request, text, appc_forwarded_port_from_string, err);
}

int pod_blueprint_add_mount(struct pod_blueprint *request, struct image_blueprint *image,
	const char *text, struct error *err)
{
	struct appc_mount **mounts = image ? &image->mounts : &request->mounts, *grown;
	size_t *count = image ? &image->mount_count : &request->mount_count;
	int r;

	grown = array_grow(*mounts, *count, sizeof(*grown));
	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	*mounts = grown;
	r = appc_mount_from_string(text, &grown[*count], err);
	if (r == 0)
		(*count)++;
	return r;
}

/* ---- names and values */

/*
 * A pair from length bytes of text. -EINVAL: it is none; -EEXIST: the name, which *ret_name gets, is there
 * already; -ENOMEM.
 */
static int add_pair(
	struct appc_pairs *pairs, const char *text, size_t length, bool again, char **ret_name)
{
	_cleanup_free_ char *name = strndup(text, length);
	char *value;

	if (!name)
		return -ENOMEM;
	value = strchr(name, '=');
	if (!value || value == name)
		return -EINVAL;
	*value++ = '\0';
	if (!again && appc_pairs_get(pairs, name)) {
		*ret_name = TAKE_PTR(name);
		return -EEXIST;
	}
	return appc_pairs_set(pairs, name, value, true);
}

int pod_blueprint_add_mounted_volume(struct pod_blueprint *request, struct image_blueprint *image,
	const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text), *rest = malloc(strlen(text) + 2);
	_cleanup_free_ char *volume = NULL, *mount = NULL;
	const char *name = NULL, *target = NULL;
	char *words = copy, *word;
	size_t used = 0;
	int r;

	if (!copy || !rest)
		return error_set(err, -ENOMEM, "out of memory");
	*rest = '\0';
	while ((word = strsep(&words, ",")))
		if (!strncmp(word, "name=", strlen("name=")))
			name = word + strlen("name=");
		else if (!strncmp(word, "target=", strlen("target=")))
			target = word + strlen("target=");
		else
			used += (size_t)sprintf(rest + used, ",%s", word);
	if (!name || !target)
		return error_set(err, -EINVAL, "name= and target= are needed");
	if (asprintf(&volume, "%s%s", name, rest) < 0) {
		volume = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (asprintf(&mount, "volume=%s,target=%s", name, target) < 0) {
		mount = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	r = pod_blueprint_add_volume(request, volume, err);
	return r < 0 ? r : pod_blueprint_add_mount(request, image, mount, err);
}

int blueprint_add_pair(struct appc_pairs *pairs, const char *text, bool again, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	int r = add_pair(pairs, text, strlen(text), again, &name);

	if (r == -EEXIST)
		return error_set(err, -EINVAL, "key \"%s\" already set", name);
	if (r == -EINVAL)
		return error_set(err, r, "must be specified as key=value, not \"%s\"", text);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

int blueprint_add_environment_file(struct appc_pairs *pairs, const char *text, size_t length,
	const char *file, struct error *err)
{
	const char *end = text + length;

	if (memchr(text, '\0', length))
		return error_set(err, -EINVAL, "file \"%s\" has a NUL character", file);
	for (size_t line = 1; text < end; line++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((newline ? newline : end) - text);
		_cleanup_free_ char *name = NULL;
		int r = 0;

		/* As other readers of text files do, a carriage return at the end is let go. */
		if (size > 0 && text[size - 1] == '\r')
			size--;
		if (size > 0 && *text != '#' && *text != ';')
			r = add_pair(pairs, text, size, false, &name);
		if (r == -EEXIST)
			return error_set(err, -EINVAL,
				"environment variable \"%s\" already set (file \"%s\", line %zu)",
				name, file, line);
		if (r == -EINVAL)
			return error_set(err, r,
				"environment variable must be specified as name=value (file "
				"\"%s\", line %zu)",
				file, line);
		if (r < 0)
			return error_set(err, r, "out of memory");
		text = newline ? newline + 1 : end;
	}
	return 0;
}

/* ---- isolators */

size_t blueprint_isolator_replaces(enum appc_isolator_kind kind, enum appc_isolator_kind *kinds)
{
	switch (kind) {
	case APPC_ISOLATOR_CAPABILITIES_RETAIN:
	case APPC_ISOLATOR_CAPABILITIES_REMOVE:
		kinds[0] = APPC_ISOLATOR_CAPABILITIES_RETAIN;
		kinds[1] = APPC_ISOLATOR_CAPABILITIES_REMOVE;
		return 2;
	case APPC_ISOLATOR_SECCOMP_RETAIN:
	case APPC_ISOLATOR_SECCOMP_REMOVE:
		kinds[0] = APPC_ISOLATOR_SECCOMP_RETAIN;
		kinds[1] = APPC_ISOLATOR_SECCOMP_REMOVE;
		return 2;
	case APPC_ISOLATOR_CPU_SHARES:
	case APPC_ISOLATOR_OOM_SCORE_ADJ:
		kinds[0] = kind;
		return 1;
	default:
		return 0;
	}
}

/* Sets the request's isolator of that name; value is stolen. What was given before goes. */
static int set_isolator(
	struct image_blueprint *image, const char *name, json_t *value, struct error *err)
{
	_cleanup_json_ json_t *owned = value;
	struct appc_isolators *isolators = &image->isolators;
	struct appc_isolator last;
	int r;

	if (!value)
		return error_set(err, -EINVAL, "not UTF-8");
	r = appc_isolators_append(isolators, name, value, err);
	if (r < 0)
		return r;
	last = isolators->items[--isolators->count];
	appc_isolators_remove(isolators, last.kind);
	isolators->items[isolators->count++] = last;
	return 0;
}

/* -EINVAL: not UTF-8. */
static int set_add(json_t *set, const char *name)
{
	return json_array_append_new(set, json_string(name)) < 0 ? -EINVAL : 0;
}

int image_blueprint_set_memory(struct image_blueprint *image, const char *text, struct error *err)
{
	int64_t bytes;
	int r = appc_quantity_parse(text, &bytes, NULL, err);

	if (r < 0)
		return r;
	if (bytes < MEMORY_MIN)
		return error_set(err, -EINVAL,
			"memory limit of %lld bytes too low. Try a reasonable value, such as "
			"--memory=16M",
			(long long)bytes);
	return set_isolator(image, "resource/memory",
		json_pack("{s:s, s:s}", "request", text, "limit", text), err);
}

int image_blueprint_set_cpu(struct image_blueprint *image, const char *text, struct error *err)
{
	return set_isolator(image, "resource/cpu",
		json_pack("{s:s, s:s}", "request", text, "limit", text), err);
}

static int set_number(
	struct image_blueprint *image, const char *name, const char *text, struct error *err)
{
	bool is_negative = *text == '-';
	uint64_t number;

	/* The isolator's own range is narrower, and checked with it. */
	if (!checked_parse_u64(text + is_negative, INT32_MAX, &number))
		return error_set(err, -EINVAL, "\"%s\" is not a whole number", text);
	return set_isolator(image, name,
		json_integer(is_negative ? -(json_int_t)number : (json_int_t)number), err);
}

int image_blueprint_set_cpu_shares(
	struct image_blueprint *image, const char *text, struct error *err)
{
	return set_number(image, "os/linux/cpu-shares", text, err);
}

int image_blueprint_set_oom_score_adj(
	struct image_blueprint *image, const char *text, struct error *err)
{
	return set_number(image, "os/linux/oom-score-adj", text, err);
}

int image_blueprint_set_capabilities(
	struct image_blueprint *image, bool retain, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_json_ json_t *set = json_array();
	char *rest = copy, *name;

	if (!copy || !set)
		return error_set(err, -ENOMEM, "out of memory");
	while ((name = strsep(&rest, ","))) {
		if (!*name || set_add(set, name) < 0)
			return error_set(
				err, -EINVAL, "\"%s\" has an empty or malformed name", text);
	}
	return set_isolator(image,
		retain ? "os/linux/capabilities-retain-set" : "os/linux/capabilities-remove-set",
		json_pack("{s:O}", "set", set), err);
}

int image_blueprint_set_seccomp(struct image_blueprint *image, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_json_ json_t *set = json_array();
	const char *mode = NULL, *number = NULL;
	char *rest = copy, *item;
	enum appc_isolator_kind kinds[2];
	bool retain;

	if (!copy || !set)
		return error_set(err, -ENOMEM, "out of memory");
	while ((item = strsep(&rest, ","))) {
		const char **parameter = !strncmp(item, "mode=", 5) ? &mode
			: !strncmp(item, "errno=", 6)               ? &number
								    : NULL;

		if (parameter && *parameter)
			return error_set(err, -EINVAL, "\"%s\" says more than one %s", text,
				parameter == &mode ? "mode" : "errno");
		if (parameter)
			*parameter = strchr(item, '=') + 1;
		else if (!*item || strchr(item, '=') || set_add(set, item) < 0)
			return error_set(
				err, -EINVAL, "\"%s\" is not a system call, mode= or errno=", item);
	}
	retain = mode && !strcmp(mode, "retain");
	if (!retain && (!mode || strcmp(mode, "remove") != 0))
		return error_set(err, -EINVAL,
			"invalid seccomp mode \"%s\": mode= is retain or remove", mode ? mode : "");
	/* A filter replaces another one, whatever its mode is. */
	for (size_t i = blueprint_isolator_replaces(APPC_ISOLATOR_SECCOMP_RETAIN, kinds); i > 0;
		i--)
		appc_isolators_remove(&image->isolators, kinds[i - 1]);
	return set_isolator(image,
		retain ? "os/linux/seccomp-retain-set" : "os/linux/seccomp-remove-set",
		json_pack("{s:O, s:s*}", "set", set, "errno", number), err);
}

int image_blueprint_add_gids(struct image_blueprint *image, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *item;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	while ((item = strsep(&rest, ","))) {
		int64_t *gids;
		uint64_t gid;

		/* -1 is no group: chown() and others take it for "leave it as it is". */
		if (!checked_parse_u64(item, UINT32_MAX - 1, &gid))
			return error_set(err, -EINVAL, "must be integers of at most %u, not \"%s\"",
				UINT32_MAX - 1, item);
		gids = array_grow(
			image->supplementary_gids, image->supplementary_gid_count, sizeof(*gids));
		if (!gids)
			return error_set(err, -ENOMEM, "out of memory");
		image->supplementary_gids = gids;
		gids[image->supplementary_gid_count++] = (int64_t)gid;
	}
	return 0;
}

int image_blueprint_set_stream(
	struct image_blueprint *image, enum wire_stream stream, const char *text, struct error *err)
{
	enum stream_mode mode;
	int r = stream_mode_parse(stream, text, &mode, err);

	return r < 0 ? r : stream_mode_annotate(&image->annotations, stream, text);
}
