// SPDX-License-Identifier: Apache-2.0
/* resolve.c: decides everything about a pod that the host can decide before it runs. */
#include "pod/resolve.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/log.h"
#include "pod/isolators.h"
#include "pod/pod.h"
#include "pod/prepare.h"
#include "pod/volumes.h"
#include "vmm/machine.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <string.h>

#define MIB (1ull << 20)

/*
 * The machine's memory beside the apps' limits: kernel, guest-init, page tables of the cache. A round figure. An app
 * without a limit counts with APP_MEMORY_DEFAULT.
 */
#define MEMORY_OVERHEAD    (64 * MIB)
#define APP_MEMORY_DEFAULT (64 * MIB)
#define MEMORY_FLOOR       (128 * MIB)
#define MEMORY_GRAIN       (2 * MIB)

/* Names of apps become names of files, with an ending. */
#define NAME_LENGTH_MAX 200
/* Variables that an app has beside its own, at most (pod/configure.c, AC_METADATA_URL, NOTIFY_SOCKET, TERM), and some. */
#define VARIABLES_OWN 64
/* "true": the app says itself when it is ready (specification, "Image Manifest Schema"). */
#define NOTIFIES_ANNOTATION "appc.io/executor/supports-systemd-notify"
/* TERM of an app whose terminal nobody looks at yet. */
#define TERMINAL_TYPE "xterm"

void resolved_pod_free(struct resolved_pod *pod)
{
	for (size_t i = 0; i < pod->app_count; i++) {
		for (size_t j = 0; j < pod->apps[i].mount_count; j++) {
			free(pod->apps[i].mounts[j].volume);
			free(pod->apps[i].mounts[j].target);
		}
		free(pod->apps[i].mounts);
		free(pod->apps[i].image_manifest);
		free(pod->apps[i].sockets);
		pod_seccomp_done(&pod->apps[i].seccomp);
	}
	for (size_t i = 0; i < pod->volume_count; i++) {
		free(pod->volumes[i].name);
		free(pod->volumes[i].source);
		free(pod->volumes[i].copy_path);
	}
	free(pod->apps);
	free(pod->volumes);
	free(pod->hosts_entries);
	free(pod->resolv_conf);
	json_decref(pod->isolators);
	if (pod->manifest)
		appc_pod_manifest_free(pod->manifest);
	free(pod);
}

/* ---- images */

static int check_platform(const struct appc_image_manifest *image, struct error *err)
{
	const char *os = appc_pairs_get(&image->labels, "os");
	const char *arch = appc_pairs_get(&image->labels, "arch");

	if (!os)
		return error_set(err, -EINVAL, "missing os label in the image manifest");
	if (!arch)
		return error_set(err, -EINVAL, "missing arch label in the image manifest");
	if (strcmp(os, "linux"))
		return error_set(err, -ENOEXEC, "bad os \"%s\" (must be one of: [linux])", os);
	if (strcmp(arch, "amd64"))
		return error_set(
			err, -ENOEXEC, "bad arch \"%s\" for linux (must be one of: [amd64])", arch);
	return 0;
}

static int prepared_image(const struct resolve_prepared *prepared,
	const struct appc_runtime_app *app, struct resolved_app *resolved,
	struct appc_image_manifest **ret, struct error *err)
{
	char path[PATH_MAX];
	size_t length;
	int r;

	if (!app->image_id || strlen(app->image_id) >= sizeof(resolved->image_id))
		return error_set(err, -EBADMSG, "no image was recorded when the pod was prepared");
	snprintf(resolved->image_id, sizeof(resolved->image_id), "%s", app->image_id);
	snprintf(path, sizeof(path), POD_IMAGE_MANIFEST, app->name);
	r = file_read(
		prepared->pod_fd, path, APPC_MANIFEST_SIZE_MAX, &resolved->image_manifest, &length);
	if (r < 0)
		return error_set_errno(err, r, "the manifest of its image");
	return appc_image_manifest_parse(resolved->image_manifest, length, ret, err);
}

static int stored_image(struct store *store, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct appc_image_manifest **ret, struct error *err)
{
	int r;

	if (app->image_id)
		r = store_find_id(store, app->image_id, resolved->image_id, err);
	else
		r = store_find_name(
			store, app->image_name, &app->image_labels, resolved->image_id, err);
	if (r < 0)
		return r;
	r = store_image_manifest(store, resolved->image_id, ret, err);
	if (r == 0)
		r = store_image_manifest_text(
			store, resolved->image_id, &resolved->image_manifest, err);
	return r < 0 ? error_prefix(err, r, "error getting the image manifest from store") : 0;
}

/* A prepared pod's tree is gone, which its image may bring back. The pod lists it: `gc` leaves it alone. */
static int render_prepared(
	struct store *store, const struct resolved_app *resolved, struct error *err)
{
	char tree_id[STORE_TREE_ID_SIZE] = "";
	int r = store_tree_id(store, resolved->image_id, tree_id, err);

	if (r < 0)
		return error_prefix(err, r, "tree %s is gone", resolved->tree_id);
	if (strcmp(tree_id, resolved->tree_id) != 0)
		return error_set(err, -ENOENT,
			"tree %s is gone, and image %s with what it depends on now makes another",
			resolved->tree_id, resolved->image_id);
	return store_render(store, resolved->image_id, tree_id, err);
}

/* Somebody has rendered it before. */
static int find_rendered(struct store *store, struct resolved_app *resolved, struct error *err)
{
	int r = store_tree_id(store, resolved->image_id, resolved->tree_id, err);

	if (r == 0 && !store_has_tree(store, resolved->tree_id))
		r = error_set(err, -ENOENT, "tree %s of image %s is gone", resolved->tree_id,
			resolved->image_id);
	return r;
}

static int find_tree(struct store *store, size_t index, const struct resolve_options *options,
	struct resolved_app *resolved, struct error *err)
{
	const struct resolve_prepared *prepared = options->prepared;

	if (!prepared && options->renders_nothing)
		return find_rendered(store, resolved, err);
	if (!prepared)
		return store_render(store, resolved->image_id, resolved->tree_id, err);
	if (index >= prepared->tree_count ||
		strlen(prepared->tree_ids[index]) >= sizeof(resolved->tree_id))
		return error_set(err, -EBADMSG, "no tree was recorded when the pod was prepared");
	snprintf(resolved->tree_id, sizeof(resolved->tree_id), "%s", prepared->tree_ids[index]);
	return store_has_tree(store, resolved->tree_id) ? 0 : render_prepared(store, resolved, err);
}

/* The pod manifest's annotations are over the image's, as the metadata service tells them. */
static bool notifies(const struct appc_runtime_app *app, const struct appc_image_manifest *image)
{
	const char *value = appc_pairs_get(&app->annotations, NOTIFIES_ANNOTATION);

	if (!value)
		value = appc_pairs_get(&image->annotations, NOTIFIES_ANNOTATION);
	return value && !strcmp(value, "true");
}

static int resolve_image(struct store *store, struct appc_runtime_app *app, size_t index,
	const struct resolve_options *options, struct resolved_app *resolved, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *image = NULL;
	bool is_derived;
	int r;

	/* From the store, or what prepare had found there. */
	if (options->prepared)
		r = prepared_image(options->prepared, app, resolved, &image, err);
	else
		r = stored_image(store, app, resolved, &image, err);
	if (r < 0)
		return r;
	r = check_platform(image, err);
	if (r < 0)
		return r;
	resolved->is_from_docker =
		appc_pairs_get(&image->annotations, "appc.io/docker/repository") != NULL;
	resolved->notifies = notifies(app, image);
	is_derived = appc_pairs_get(&image->annotations, CONTAINER_ANNOTATION_GROUP) != NULL;
	/* The manifest's app section replaces the image's as a whole. */
	if (!app->app) {
		if (!image->app)
			return error_set(err, -EINVAL,
				"no app section in the pod manifest or the image manifest");
		app->app = TAKE_PTR(image->app);
	}
	/* With another user, or a group that was asked for, the image has no say. */
	resolved->group_is_users = is_derived && !strcmp(app->app->user, app->app->group);
	free(app->image_id);
	app->image_id = strdup(resolved->image_id);
	if (!app->image_name)
		app->image_name = strdup(image->name);
	if (!app->image_id || !app->image_name)
		return -ENOMEM;
	return find_tree(store, index, options, resolved, err);
}

/* ---- the machine */

/* memory and cpu_millis are what the apps may use; the options override both. */
static int size_machine(uint64_t memory, uint64_t cpu_millis, const struct resolve_options *options,
	unsigned int *ret_vcpus, uint64_t *ret_memory, struct error *err)
{
	long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!checked_add_u64(memory, MEMORY_OVERHEAD + MEMORY_GRAIN - 1, &memory))
		memory = UINT64_MAX;
	if (options->memory)
		memory = options->memory + MEMORY_GRAIN - 1; /* an int64_t at first: no overflow */
	else if (memory < MEMORY_FLOOR)
		memory = MEMORY_FLOOR;
	*ret_memory = memory / MEMORY_GRAIN * MEMORY_GRAIN;
	if (*ret_memory < MACHINE_MEMORY_MIN || *ret_memory > MACHINE_MEMORY_MAX)
		return error_set(err, -ERANGE,
			"the pod's machine would have %" PRIu64 " MiB of memory; %llu to %llu are "
			"possible",
			(uint64_t)(*ret_memory / MIB), MACHINE_MEMORY_MIN / MIB,
			MACHINE_MEMORY_MAX / MIB);

	/* More vCPUs than the host has CPUs help nobody. */
	if (host_cpus < 1 || host_cpus > MACHINE_VCPUS_MAX)
		host_cpus = MACHINE_VCPUS_MAX;
	if (cpu_millis > (uint64_t)host_cpus * 1000)
		cpu_millis = (uint64_t)host_cpus * 1000;
	*ret_vcpus = options->vcpus ? options->vcpus : (unsigned int)((cpu_millis + 999) / 1000);
	if (*ret_vcpus == 0)
		*ret_vcpus = 1;
	return 0;
}

static int resolve_machine(
	struct resolved_pod *pod, const struct resolve_options *options, struct error *err)
{
	uint64_t memory = 0, cpu_millis = 0;

	for (size_t i = 0; i < pod->app_count; i++) {
		const struct resolved_app *app = &pod->apps[i];

		if (!checked_add_u64(memory,
			    app->memory_max >= 0 ? (uint64_t)app->memory_max : APP_MEMORY_DEFAULT,
			    &memory) ||
			!checked_add_u64(cpu_millis,
				app->cpu_millis > 0 ? (uint64_t)app->cpu_millis : 0, &cpu_millis))
			return error_set(err, -ERANGE, "the apps' limits add up to too much");
	}
	/* Limits of the pod as a whole bound those of its apps. */
	if (pod->memory_max >= 0)
		memory = (uint64_t)pod->memory_max;
	if (pod->cpu_millis > 0)
		cpu_millis = (uint64_t)pod->cpu_millis;

	return size_machine(memory, cpu_millis, options, &pod->vcpus, &pod->memory, err);
}

int resolve_default_machine(const struct resolve_options *options, unsigned int *ret_vcpus,
	uint64_t *ret_memory, struct error *err)
{
	return size_machine(APP_MEMORY_DEFAULT, 0, options, ret_vcpus, ret_memory, err);
}

/* ---- sockets */

/* The host's port that leads to an app's port; 0: none. */
static uint32_t find_host_port(const struct appc_pod_manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->port_count; i++)
		if (!strcmp(manifest->ports[i].name, name))
			return manifest->ports[i].host_port;
	return 0;
}

/*
 * Socket activation: rkt's rules for the port, and its words. A port that stands for several has a socket for
 * each; all have its name.
 */
static int resolve_socket(const struct resolved_pod *pod, const struct appc_port *port,
	struct resolved_app *resolved, struct error *err)
{
	uint32_t first = find_host_port(pod->manifest, port->name);

	/* As guest-init has it. */
	if (strlen(port->name) > NAME_MAX)
		return error_set(err, -E2BIG,
			"socket-activated port \"%.40s...\": its name is longer than %d bytes",
			port->name, NAME_MAX);
	if (strcmp(port->protocol, "tcp") && strcmp(port->protocol, "udp"))
		return error_set(err, -EINVAL, "port \"%s\": unrecognized protocol: %s", port->name,
			port->protocol);
	if (port->count > WIRE_SOCKETS_MAX - resolved->socket_count)
		return error_set(err, -E2BIG, "port \"%s\": more than %d socket-activated ports",
			port->name, WIRE_SOCKETS_MAX);
	if (first == 0) {
		log_warning(
			"no --port option for socket-activated port \"%s\", assuming port %" PRIu32
			" as specified in the manifest",
			port->name, port->port);
		first = port->port;
	}
	if (port->count - 1 > UINT16_MAX - first)
		return error_set(err, -ERANGE,
			"port \"%s\": %" PRIu32 " ports from %" PRIu32 " on go beyond %d",
			port->name, port->count, first, UINT16_MAX);
	for (uint32_t i = 0; i < port->count; i++)
		resolved->sockets[resolved->socket_count++] =
			(struct resolved_socket){.port = port, .number = first + i};
	return 0;
}

static int resolve_sockets(const struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err)
{
	int r = 0;

	resolved->sockets = calloc(WIRE_SOCKETS_MAX, sizeof(resolved->sockets[0]));
	if (!resolved->sockets)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < app->app->port_count; i++)
		if (app->app->ports[i].socket_activated)
			r = resolve_socket(pod, &app->app->ports[i], resolved, err);
	return r;
}

/* ---- all of it */

static int copy_texts(struct resolved_pod *pod, const struct resolve_options *options)
{
	if (options->hosts_entries)
		pod->hosts_entries = strdup(options->hosts_entries);
	if (options->resolv_conf)
		pod->resolv_conf = strdup(options->resolv_conf);
	return (options->hosts_entries && !pod->hosts_entries) ||
			(options->resolv_conf && !pod->resolv_conf)
		? -ENOMEM
		: 0;
}

static int resolve_streams(struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err)
{
	bool has_terminal = false;
	int r = stream_modes_read(&app->annotations, resolved->stream_modes, err);

	if (r == 0)
		r = stream_modes_check(resolved->stream_modes, &has_terminal, err);
	if (r < 0 ||
		(!has_terminal && resolved->stream_modes[WIRE_STREAM_STDIN] != STREAM_MODE_STREAM))
		return r;
	if (pod->input_app >= 0)
		return error_set(err, -EINVAL,
			"only one app of a pod can have input, and app \"%s\" has it",
			pod->apps[pod->input_app].name);
	pod->input_app = (int)(resolved - pod->apps);
	if (!has_terminal)
		return 0;
	/* Who will look at it nobody knows yet. */
	pod->terminal = TERMINAL_TYPE;
	for (size_t i = 0; i < STREAM_MODES; i++)
		pod->terminal_streams[i] = resolved->stream_modes[i] == STREAM_MODE_TTY;
	return 0;
}

static bool is_too_long(const struct resolved_app *resolved)
{
	const struct appc_app *app = resolved->app;
	const char *const texts[] = {app->user, app->group, app->working_directory};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i] && strlen(texts[i]) >= PATH_MAX)
			return true;
	for (size_t i = 0; i < resolved->mount_count; i++)
		if (strlen(resolved->mounts[i].target) >= PATH_MAX)
			return true;
	return false;
}

/* Some variables are not the app's own. */
static bool is_too_much(const struct resolved_app *resolved)
{
	const struct appc_app *app = resolved->app;

	for (size_t i = 0; i < app->event_handler_count; i++)
		if (app->event_handlers[i].exec.count > WIRE_STRINGS_MAX)
			return true;
	return app->exec.count > WIRE_STRINGS_MAX ||
		app->environment.count > WIRE_STRINGS_MAX - VARIABLES_OWN ||
		app->supplementary_gid_count > WIRE_GIDS_MAX ||
		resolved->mount_count > WIRE_MOUNTS_MAX;
}

/*
 * What guest-init would refuse (wire/wire.h), and the whole pod with it, which may have run for long, is refused before
 * it is told.
 */
static int check_bounds(const struct resolved_app *resolved, struct error *err)
{
	if (is_too_long(resolved))
		return error_set(err, -E2BIG,
			"its user, group, working directory or a mount is longer than a path can be (%d bytes)",
			PATH_MAX - 1);
	if (is_too_much(resolved))
		return error_set(err, -E2BIG,
			"it has over %d mounts, %d supplementary groups, or %d arguments or variables",
			WIRE_MOUNTS_MAX, WIRE_GIDS_MAX, WIRE_STRINGS_MAX - VARIABLES_OWN);
	return 0;
}

static int resolve_app(struct store *store, struct resolved_pod *pod, struct appc_runtime_app *app,
	struct resolved_app *resolved, const struct resolve_options *options, struct error *err)
{
	int r;

	resolved->name = app->name;
	resolved->number = (uint16_t)(resolved - pod->apps);
	resolved->read_only_rootfs = app->read_only_rootfs;
	r = resolve_image(store, app, (size_t)(resolved - pod->apps), options, resolved, err);
	if (r < 0)
		return r;
	resolved->app = app->app;
	if (app->app->exec.count == 0)
		return error_set(err, -EINVAL,
			"image \"%s\" has an empty \"exec\" (try --exec=BINARY)", app->image_name);
	r = resolve_streams(pod, app, resolved, err);
	if (r < 0)
		return r;
	r = volumes_resolve_mounts(pod, app, resolved, err);
	if (r < 0)
		return r;
	r = resolve_sockets(pod, app, resolved, err);
	if (r < 0)
		return r;
	r = check_bounds(resolved, err);
	if (r < 0)
		return r;
	resolved->protect_paths = !options->insecure_paths;
	return pod_isolators_resolve_app(pod, resolved, options, err);
}

int pod_resolve(struct store *store, struct appc_pod_manifest *manifest,
	const struct resolve_options *options, struct resolved_pod **ret, struct error *err)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod = calloc(1, sizeof(*pod));
	int r;

	if (!pod) {
		appc_pod_manifest_free(manifest);
		return -ENOMEM;
	}
	pod->manifest = manifest;
	pod->is_mutable = options->is_mutable;
	pod->input_app = -1;
	if (manifest->app_count == 0 && !pod->is_mutable)
		return error_set(err, -EINVAL,
			"pod manifest: apps: pod must contain at least one application");
	if (manifest->app_count > WIRE_APPS_MAX)
		return error_set(err, -E2BIG, "pod manifest: %zu apps; at most %d are possible",
			manifest->app_count, WIRE_APPS_MAX);
	pod->apps =
		calloc(pod->is_mutable ? WIRE_APPS_MAX : manifest->app_count, sizeof(pod->apps[0]));
	if (!pod->apps)
		return -ENOMEM;
	r = copy_texts(pod, options);
	if (r == 0)
		r = pod_isolators_resolve(pod, options, err);
	if (r == 0)
		r = volumes_resolve_listed(pod, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < manifest->app_count; i++) {
		pod->app_count = i + 1;
		if (strlen(manifest->apps[i].name) > NAME_LENGTH_MAX)
			return error_set(err, -ENAMETOOLONG,
				"pod manifest: apps[%zu].name: longer than %d bytes", i,
				NAME_LENGTH_MAX);
		r = resolve_app(store, pod, &manifest->apps[i], &pod->apps[i], options, err);
		if (r < 0)
			return error_prefix(err, r, "app \"%s\"", manifest->apps[i].name);
	}
	volumes_resolve_access(pod);
	r = volumes_record_sources(pod, options, err);
	if (r == 0)
		r = appc_pod_ports_check(manifest, err);
	if (r < 0)
		return r;
	r = resolve_machine(pod, options, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pod);
	return 0;
}
