// SPDX-License-Identifier: Apache-2.0
/* resolve.c: decides everything about a pod that the host can decide before it runs. */
#include "pod/resolve.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/isolators.h"
#include "pod/pod.h"
#include "pod/prepare.h"
#include "vmm/machine.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

/*
 * The machine's memory beside the apps' limits: kernel, guest-init, page tables of the cache. What
 * docs/performance.md measures, rounded up. An app without a limit counts with APP_MEMORY_DEFAULT.
 */
#define MEMORY_OVERHEAD    (64 * MIB)
#define APP_MEMORY_DEFAULT (64 * MIB)
#define MEMORY_FLOOR       (128 * MIB)
#define MEMORY_GRAIN       (2 * MIB)

/* Names of apps become names of files, with an ending. */
#define NAME_LENGTH_MAX 200

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

static int find_tree(struct store *store, size_t index, const struct resolve_options *options,
	struct resolved_app *resolved, struct error *err)
{
	const struct resolve_prepared *prepared = options->prepared;

	if (!prepared)
		return store_render(store, resolved->image_id, resolved->tree_id, err);
	if (index >= prepared->tree_count ||
		strlen(prepared->tree_ids[index]) >= sizeof(resolved->tree_id))
		return error_set(err, -EBADMSG, "no tree was recorded when the pod was prepared");
	snprintf(resolved->tree_id, sizeof(resolved->tree_id), "%s", prepared->tree_ids[index]);
	return 0;
}

static int resolve_image(struct store *store, struct appc_runtime_app *app, size_t index,
	const struct resolve_options *options, struct resolved_app *resolved, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *image = NULL;
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
	/* The manifest's app section replaces the image's as a whole. */
	if (!app->app) {
		if (!image->app)
			return error_set(err, -EINVAL,
				"no app section in the pod manifest or the image manifest");
		app->app = TAKE_PTR(image->app);
	}
	free(app->image_id);
	app->image_id = strdup(resolved->image_id);
	if (!app->image_name)
		app->image_name = strdup(image->name);
	if (!app->image_id || !app->image_name)
		return -ENOMEM;
	return find_tree(store, index, options, resolved, err);
}

/* ---- volumes and mounts */

static const struct resolved_volume *find_volume(const struct resolved_pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->volume_count; i++)
		if (!strcmp(pod->volumes[i].name, name))
			return &pod->volumes[i];
	return NULL;
}

static int add_volume(struct resolved_pod *pod, const struct appc_volume *volume, const char *name,
	struct error *err)
{
	struct resolved_volume *volumes, *added;
	struct stat st;

	if (strlen(name) > NAME_MAX)
		return error_set(err, -ENAMETOOLONG, "volume \"%.40s...\": longer than %d bytes",
			name, NAME_MAX);
	volumes = realloc(pod->volumes, (pod->volume_count + 1) * sizeof(*volumes));
	if (!volumes)
		return -ENOMEM;
	pod->volumes = volumes;
	added = &volumes[pod->volume_count];
	*added = (struct resolved_volume){
		.name = strdup(name),
		.kind = volume->kind,
		.recursive = volume->recursive,
		.mode = volume->mode,
		.uid = volume->uid,
		.gid = volume->gid,
	};
	if (!added->name)
		return -ENOMEM;
	pod->volume_count++;
	if (volume->kind == APPC_VOLUME_EMPTY)
		return 0;
	/* A link is followed once, here; what it points to later is of no concern. */
	added->source = realpath(volume->source, NULL);
	if (!added->source || stat(added->source, &st) < 0)
		return error_set_errno(
			err, -errno, "volume \"%s\": source \"%s\"", name, volume->source);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return error_set(err, -ENODEV,
			"volume \"%s\": source \"%s\" is a device; a pod has no devices of the host",
			name, volume->source);
	return 0;
}

/* A name for the volume of a mount point that has none. No AC Name has a dot, so that one is always free. */
static char *implicit_volume_name(
	const struct resolved_pod *pod, const char *app, const char *mount_point)
{
	char *name;

	if (asprintf(&name, "%s-%s", app, mount_point) < 0)
		return NULL;
	if (!find_volume(pod, name))
		return name;
	free(name);
	return asprintf(&name, "%s.%s", app, mount_point) < 0 ? NULL : name;
}

/* An empty volume for one mount point of one app; an app from a Docker image finds there what the image has. */
static int add_implicit_volume(struct resolved_pod *pod, const struct resolved_app *app,
	const char *name, const char *path, struct error *err)
{
	static const struct appc_volume empty = {.kind = APPC_VOLUME_EMPTY, .mode = 0755};
	struct resolved_volume *added;
	int r = add_volume(pod, &empty, name, err);

	if (r < 0 || !app->is_from_docker)
		return r;
	added = &pod->volumes[pod->volume_count - 1];
	added->copy_path = strdup(path);
	memcpy(added->copy_tree_id, app->tree_id, sizeof(added->copy_tree_id));
	return added->copy_path ? 0 : -ENOMEM;
}

/* The volume of the pod manifest by that name. */
static const struct appc_volume *manifest_volume(
	const struct appc_pod_manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->volume_count; i++)
		if (!strcmp(manifest->volumes[i].name, name))
			return &manifest->volumes[i];
	return NULL;
}

/* volume.readOnly, where it is set, beats the mount point's. */
static bool mount_is_read_only(const struct appc_volume *volume, const struct appc_app *app)
{
	if (volume->read_only >= 0)
		return volume->read_only;
	for (size_t i = 0; i < app->mount_point_count; i++)
		if (!strcmp(app->mount_points[i].name, volume->name))
			return app->mount_points[i].read_only;
	return false;
}

static int add_mount(struct resolved_app *app, const char *volume, const char *path, bool read_only)
{
	struct resolved_mount *mounts, *added;
	_cleanup_free_ char *target = file_path_clean(path);

	if (!target)
		return -ENOMEM;
	for (size_t i = 0; i < app->mount_count; i++) {
		if (strcmp(app->mounts[i].target, target))
			continue;
		log_warning("app %s: two mounts at \"%s\": the one of volume \"%s\" is used",
			app->name, target, app->mounts[i].volume);
		return 0;
	}
	mounts = realloc(app->mounts, (app->mount_count + 1) * sizeof(*mounts));
	if (!mounts)
		return -ENOMEM;
	app->mounts = mounts;
	added = &mounts[app->mount_count];
	added->volume = strdup(volume);
	if (!added->volume)
		return -ENOMEM;
	added->target = TAKE_PTR(target);
	added->read_only = read_only;
	app->mount_count++;
	return 0;
}

static bool mounts_contain(const struct appc_runtime_app *app, const char *path)
{
	_cleanup_free_ char *wanted = file_path_clean(path);

	for (size_t i = 0; wanted && i < app->mount_count; i++) {
		_cleanup_free_ char *there = file_path_clean(app->mounts[i].path);

		if (there && !strcmp(there, wanted))
			return true;
	}
	return false;
}

/* Mounts that the pod manifest lists for the app. */
static int resolve_listed_mounts(struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err)
{
	for (size_t i = 0; i < app->mount_count; i++) {
		const struct appc_mount *mount = &app->mounts[i];
		const struct appc_volume *volume = mount->app_volume;
		_cleanup_free_ char *own_name = NULL;
		const char *name = mount->volume;
		int r;

		if (volume) {
			/*
			 * The app's own volume: it may share its name with one of the pod's. No AC
			 * Name has a dot, so that APP.VOLUME is no other volume's name.
			 */
			if (asprintf(&own_name, "%s.%s", app->name, volume->name) < 0)
				return -ENOMEM;
			name = own_name;
			if (!find_volume(pod, name)) {
				r = add_volume(pod, volume, name, err);
				if (r < 0)
					return r;
			}
		} else {
			volume = manifest_volume(pod->manifest, mount->volume);
			if (!volume)
				return error_set(err, -EINVAL, "could not find volume \"%s\"",
					mount->volume);
		}
		r = add_mount(resolved, name, mount->path, mount_is_read_only(volume, app->app));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Mount points of the image that no listed mount covers: a volume of that name, or a new one. */
static int resolve_mount_points(struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err)
{
	for (size_t i = 0; i < app->app->mount_point_count; i++) {
		const struct appc_mount_point *point = &app->app->mount_points[i];
		const struct appc_volume *volume = manifest_volume(pod->manifest, point->name);
		_cleanup_free_ char *implicit = NULL;
		int r;

		if (mounts_contain(app, point->path))
			continue;
		if (!volume) {
			log_warning(
				"no volume specified for mount point \"%s\", implicitly creating "
				"an \"empty\" volume. This volume will be removed when the pod is "
				"garbage-collected.",
				point->name);
			implicit = implicit_volume_name(pod, app->name, point->name);
			if (!implicit)
				return -ENOMEM;
			r = add_implicit_volume(pod, resolved, implicit, point->path, err);
			if (r < 0)
				return r;
		}
		r = add_mount(resolved, implicit ? implicit : point->name, point->path,
			volume && volume->read_only >= 0 ? volume->read_only : point->read_only);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_mounts(const void *a, const void *b)
{
	/* A parent is a prefix of its children and so sorts before them. */
	return strcmp(((const struct resolved_mount *)a)->target,
		((const struct resolved_mount *)b)->target);
}

/* A volume that every mount of it has read-only is read-only for the whole machine. */
static void resolve_volume_access(struct resolved_pod *pod)
{
	for (size_t i = 0; i < pod->volume_count; i++) {
		struct resolved_volume *volume = &pod->volumes[i];

		volume->read_only = true;
		for (size_t j = 0; j < pod->app_count; j++)
			for (size_t k = 0; k < pod->apps[j].mount_count; k++)
				if (!strcmp(pod->apps[j].mounts[k].volume, volume->name) &&
					!pod->apps[j].mounts[k].read_only)
					volume->read_only = false;
	}
}

/* Gives the volume the source that its links led to. */
static int record_source(const struct resolved_pod *pod, const char *name,
	struct appc_volume *volume, const struct resolve_options *options, struct error *err)
{
	const struct resolved_volume *resolved = find_volume(pod, name);
	char *source;

	if (volume->kind != APPC_VOLUME_HOST || !resolved ||
		!strcmp(volume->source, resolved->source))
		return 0;
	/* What was found when the pod was prepared is what it gets. */
	if (options->prepared)
		return error_set(err, -ESTALE,
			"volume \"%s\": source \"%s\" has become a link to \"%s\" since the pod was "
			"prepared",
			volume->name, volume->source, resolved->source);
	source = strdup(resolved->source);
	if (!source)
		return -ENOMEM;
	free(volume->source);
	volume->source = source;
	return 0;
}

static int record_sources(
	struct resolved_pod *pod, const struct resolve_options *options, struct error *err)
{
	struct appc_pod_manifest *manifest = pod->manifest;
	int r = 0;

	for (size_t i = 0; r == 0 && i < manifest->volume_count; i++)
		r = record_source(
			pod, manifest->volumes[i].name, &manifest->volumes[i], options, err);
	for (size_t i = 0; r == 0 && i < manifest->app_count; i++) {
		const struct appc_runtime_app *app = &manifest->apps[i];

		for (size_t j = 0; r == 0 && j < app->mount_count; j++) {
			struct appc_volume *volume = app->mounts[j].app_volume;
			_cleanup_free_ char *name = NULL;

			if (volume && asprintf(&name, "%s.%s", app->name, volume->name) < 0)
				return -ENOMEM;
			if (volume)
				r = record_source(pod, name, volume, options, err);
		}
	}
	return r;
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
	const struct appc_isolator *pod_memory =
		appc_isolators_find(&pod->manifest->isolators, APPC_ISOLATOR_MEMORY);
	const struct appc_isolator *pod_cpu =
		appc_isolators_find(&pod->manifest->isolators, APPC_ISOLATOR_CPU);
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
	if (pod_memory && pod_memory->limit >= 0)
		memory = (uint64_t)pod_memory->limit;
	if (pod_cpu && pod_cpu->limit > 0)
		cpu_millis = (uint64_t)pod_cpu->limit;

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
	int r = stream_modes_read(&app->annotations, resolved->stream_modes, err);

	if (r < 0 || resolved->stream_modes[WIRE_STREAM_STDIN] != STREAM_MODE_STREAM)
		return r;
	if (pod->input_app >= 0)
		return error_set(err, -EINVAL,
			"only one app of a pod can have input, and app \"%s\" has it",
			pod->apps[pod->input_app].name);
	pod->input_app = (int)(resolved - pod->apps);
	return 0;
}

static int resolve_app(struct store *store, struct resolved_pod *pod, struct appc_runtime_app *app,
	struct resolved_app *resolved, const struct resolve_options *options, struct error *err)
{
	int r;

	resolved->name = app->name;
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
	r = resolve_listed_mounts(pod, app, resolved, err);
	if (r < 0)
		return r;
	r = resolve_mount_points(pod, app, resolved, err);
	if (r < 0)
		return r;
	if (resolved->mount_count > 0)
		qsort(resolved->mounts, resolved->mount_count, sizeof(resolved->mounts[0]),
			compare_mounts);
	r = resolve_sockets(pod, app, resolved, err);
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
	pod->input_app = -1;
	if (manifest->app_count == 0)
		return error_set(err, -EINVAL,
			"pod manifest: apps: pod must contain at least one application");
	if (manifest->app_count > WIRE_APPS_MAX)
		return error_set(err, -E2BIG, "pod manifest: %zu apps; at most %d are possible",
			manifest->app_count, WIRE_APPS_MAX);
	pod->apps = calloc(manifest->app_count, sizeof(pod->apps[0]));
	if (!pod->apps)
		return -ENOMEM;
	r = copy_texts(pod, options);
	if (r == 0)
		r = pod_isolators_resolve(pod, options, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < manifest->volume_count; i++) {
		r = add_volume(pod, &manifest->volumes[i], manifest->volumes[i].name, err);
		if (r < 0)
			return r;
	}
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
	r = record_sources(pod, options, err);
	if (r == 0)
		r = appc_pod_ports_check(manifest, err);
	if (r < 0)
		return r;
	resolve_volume_access(pod);
	r = resolve_machine(pod, options, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pod);
	return 0;
}

/* ---- the configure message */

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

static json_t *environment_json(const struct appc_app *app, const char *name)
{
	const struct appc_pairs *environment = &app->environment;
	json_t *array = json_array();

	add_default(array, environment, "PATH", default_path);
	add_default(array, environment, "SHELL", "/bin/sh");
	add_default(array, environment, "USER", "root");
	add_default(array, environment, "LOGNAME", "root");
	add_default(array, environment, "HOME", "/root");
	for (size_t i = 0; i < environment->count; i++) {
		const struct appc_pair *pair = &environment->items[i];

		/* These are the executor's to say; AC_METADATA_URL is guest-init's. */
		if (strcmp(pair->name, "AC_APP_NAME") && strcmp(pair->name, "container") &&
			strcmp(pair->name, "AC_METADATA_URL"))
			json_array_append_new(
				array, json_sprintf("%s=%s", pair->name, pair->value));
	}
	json_array_append_new(array, json_sprintf("AC_APP_NAME=%s", name));
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

static json_t *app_json(const struct resolved_app *resolved, unsigned int etc_files)
{
	const struct appc_app *app = resolved->app;
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
	json_object_set_new(object, "supplementary_gids", gids);
	json_object_set_new(object, "working_directory",
		json_string(app->working_directory ? app->working_directory : "/"));
	json_object_set_new(object, "environment", environment_json(app, resolved->name));
	json_object_set_new(object, "etc_files", etc_files_json(etc_files));
	json_object_set_new(object, "pre_start", handler_json(app, "pre-start"));
	json_object_set_new(object, "post_stop", handler_json(app, "post-stop"));
	json_object_set_new(object, "read_only_rootfs", json_boolean(resolved->read_only_rootfs));
	json_object_set_new(object, "mounts", mounts);
	json_object_set_new(object, "capabilities", json_string(mask));
	json_object_set_new(object, "no_new_privileges", json_boolean(resolved->no_new_privileges));
	json_object_set_new(object, "protect_paths", json_boolean(resolved->protect_paths));
	json_object_set_new(object, "sockets", sockets_json(resolved));
	/* An app must not run without its filter: without memory for it there is no app. */
	if (resolved->seccomp.program &&
		json_object_set_new(object, "seccomp", seccomp_json(&resolved->seccomp)) < 0) {
		json_decref(object);
		return NULL;
	}
	set_number(object, "memory_max", resolved->memory_max >= 0, resolved->memory_max);
	set_number(object, "memory_low", resolved->memory_low >= 0, resolved->memory_low);
	set_number(object, "cpu_max_millis", resolved->cpu_millis > 0, resolved->cpu_millis);
	set_number(object, "cpu_weight", resolved->has_cpu_weight, resolved->cpu_weight);
	set_number(object, "oom_score_adj", resolved->has_oom_score_adj, resolved->oom_score_adj);
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
	uint64_t failures = json_failures();
	json_t *message = identity_json("configure", uuid, hostname);
	json_t *apps = json_array(), *sysctls = json_object();

	if (pod->hosts_entries)
		json_object_set_new(message, "hosts_entries", json_string(pod->hosts_entries));
	if (pod->resolv_conf)
		json_object_set_new(message, "resolv_conf", json_string(pod->resolv_conf));
	for (size_t i = 0; i < pod->app_count; i++)
		json_array_append_new(apps, app_json(&pod->apps[i], etc_files ? etc_files[i] : 0));
	for (size_t i = 0; sysctl && i < sysctl->sysctls.count; i++)
		json_object_set_new(sysctls, sysctl->sysctls.items[i].name,
			json_string(sysctl->sysctls.items[i].value));
	if (pod->input_app >= 0)
		json_object_set_new(message, "input", json_integer(pod->input_app));
	if (pod->terminal)
		json_object_set_new(message, "terminal",
			json_pack("{s:s, s:i, s:i}", "type", pod->terminal, "rows",
				pod->terminal_rows, "columns", pod->terminal_columns));
	/* An app without one of its walls, or of its arguments, must not start. */
	if (json_array_size(apps) != pod->app_count || json_failures() != failures ||
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
