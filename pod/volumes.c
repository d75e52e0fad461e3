// SPDX-License-Identifier: Apache-2.0
/* volumes.c: see volumes.h. */
#include "pod/volumes.h"

#include "base/file.h"
#include "base/log.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* As many as the kernel follows (path_resolution(7)). */
#define LINKS_MAX 40

/* ---- volumes */

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
	/* Where the pod already runs, a link may be its own doing. */
	if (pod->is_mutable && strcmp(added->source, volume->source) != 0)
		return error_set(err, -ELOOP,
			"volume \"%s\": source \"%s\" leads through a link, to \"%s\": name that",
			name, volume->source, added->source);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return error_set(err, -ENODEV,
			"volume \"%s\": source \"%s\" is a device; a pod has no devices of the host",
			name, volume->source);
	return 0;
}

int volumes_resolve_listed(struct resolved_pod *pod, struct error *err)
{
	const struct appc_pod_manifest *manifest = pod->manifest;

	for (size_t i = 0; i < manifest->volume_count; i++) {
		int r = add_volume(pod, &manifest->volumes[i], manifest->volumes[i].name, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A name for the volume of a mount point that has none. No AC Name has a dot, so that one with two is free but for other
 * mount points of the same name.
 */
static char *implicit_volume_name(
	const struct resolved_pod *pod, const char *app, const char *mount_point)
{
	char *name;

	if (asprintf(&name, "%s-%s", app, mount_point) < 0)
		return NULL;
	/* Whoever comes later must find his free, too. */
	if (!pod->is_mutable && !find_volume(pod, name))
		return name;
	free(name);
	if (asprintf(&name, "%s.%s", app, mount_point) < 0)
		return NULL;
	/* From a number that this resolving has not had: an image may have thousands of them. */
	for (size_t i = pod->volume_count; find_volume(pod, name); i++) {
		free(name);
		if (asprintf(&name, "%s.%s.%zu", app, mount_point, i) < 0)
			return NULL;
	}
	return name;
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

/* ---- mounts */

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

static bool volumes_are_equal(const struct appc_volume *a, const struct appc_volume *b)
{
	return a->kind == b->kind && a->read_only == b->read_only && a->recursive == b->recursive &&
		a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
		(a->kind == APPC_VOLUME_EMPTY || !strcmp(a->source, b->source));
}

/* An app may mount a volume of its own more than once: it is the same one then. Looks at the first count mounts. */
static int check_own_volume(const struct appc_runtime_app *app, size_t count,
	const struct appc_volume *volume, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct appc_volume *other = app->mounts[i].app_volume;

		if (other && !strcmp(other->name, volume->name) &&
			!volumes_are_equal(other, volume))
			return error_set(err, -EINVAL,
				"two volumes of its own have the name \"%s\"", volume->name);
	}
	return 0;
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
			 * Name has a dot, and those of mount points are named later, so that APP.VOLUME
			 * is no other volume's name.
			 */
			r = check_own_volume(app, i, volume, err);
			if (r < 0)
				return r;
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

int volumes_resolve_mounts(struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err)
{
	int r = resolve_listed_mounts(pod, app, resolved, err);

	if (r < 0)
		return r;
	r = resolve_mount_points(pod, app, resolved, err);
	if (r < 0)
		return r;
	if (resolved->mount_count > 0)
		qsort(resolved->mounts, resolved->mount_count, sizeof(resolved->mounts[0]),
			compare_mounts);
	return 0;
}

/* ---- when all are known */

void volumes_resolve_access(struct resolved_pod *pod)
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

/* The volume that the pod can write to and that a directory of the host lies in; NULL: none. */
static const struct resolved_volume *writable_around(
	const struct resolved_pod *pod, const char *directory)
{
	for (size_t i = 0; i < pod->volume_count; i++) {
		const char *source = pod->volumes[i].source;
		size_t length = source ? strlen(source) : 0;

		if (!source || pod->volumes[i].read_only || strncmp(directory, source, length) != 0)
			continue;
		if (source[length - 1] == '/' || directory[length] == '/' || !directory[length])
			return &pod->volumes[i];
	}
	return NULL;
}

/* A path that is walked: where it has led to, without links, and what is still to be walked. */
struct walk {
	char *here, *rest;
	unsigned int links;
};

static void walk_done(struct walk *walk)
{
	free(walk->here);
	free(walk->rest);
}

/* Follows a link with the text. */
static int walk_follow(struct walk *walk, const char *text)
{
	char *rest;

	if (walk->links++ == LINKS_MAX)
		return -ELOOP;
	if (asprintf(&rest, "%s/%s", text, walk->rest) < 0)
		return -ENOMEM;
	free(walk->rest);
	walk->rest = rest;
	if (*text == '/')
		*walk->here = '\0';
	return 0;
}

/* One component. 1: its name is a link, which *ret_text is what it says, and has not been followed. */
static int walk_step(struct walk *walk, char *ret_text, size_t size)
{
	size_t skipped = strspn(walk->rest, "/"), length = strcspn(walk->rest + skipped, "/");
	const char *name = walk->rest + skipped;
	char *next, *slash;
	ssize_t n = -1;

	if (asprintf(&next, "%s/%.*s", walk->here, (int)length, name) < 0)
		return -ENOMEM;
	if (length == 2 && !strncmp(name, "..", 2)) {
		slash = strrchr(walk->here, '/');
		if (slash)
			*slash = '\0';
		free(next);
	} else if (length == 0 || (length == 1 && *name == '.')) {
		free(next);
	} else {
		n = readlink(next, ret_text, size);
		free(n < 0 ? walk->here : next);
		if (n < 0)
			walk->here = next;
	}
	memmove(walk->rest, name + length, strlen(name + length) + 1);
	if (n >= (ssize_t)size)
		return -ENAMETOOLONG;
	if (n >= 0)
		ret_text[n] = '\0';
	return n >= 0;
}

/*
 * An app that ran before may have put a link in the place of a source that lies in another volume of the pod, or of what
 * leads there: it would get what it chose of the host.
 */
static int check_links(
	const struct resolved_pod *pod, const char *name, const char *source, struct error *err)
{
	_cleanup_(walk_done) struct walk walk = {.here = strdup(""), .rest = strdup(source)};
	const struct resolved_volume *volume;
	char text[PATH_MAX];

	if (!walk.here || !walk.rest)
		return -ENOMEM;
	while (*walk.rest) {
		int r = walk_step(&walk, text, sizeof(text));

		if (r > 0) {
			volume = writable_around(pod, *walk.here ? walk.here : "/");
			if (volume)
				return error_set(err, -ELOOP,
					"volume \"%s\": source \"%s\" leads through a link in \"%s\", "
					"which the pod can write to as volume \"%s\"",
					name, source, *walk.here ? walk.here : "/", volume->name);
			r = walk_follow(&walk, text);
		}
		if (r < 0)
			return error_set_errno(
				err, r, "volume \"%s\": source \"%s\"", name, source);
	}
	return 0;
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
	if (!options->prepared) {
		int r = check_links(pod, name, volume->source, err);

		if (r < 0)
			return r;
	}
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

int volumes_record_sources(
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
