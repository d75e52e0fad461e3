// SPDX-License-Identifier: Apache-2.0
/* mutable.c: see mutable.h. */
#include "pod/mutable.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/app_log.h"
#include "pod/configure.h"
#include "pod/journal.h"
#include "pod/prepare.h"
#include "pod/record.h"
#include "pod/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* In the pod's directory: what is to be removed, under names that mean nothing. */
#define REMOVED_NAME "removed"

/*
 * Names that are removed of a directory at a time. The guest may have it open still, where its file server is not held
 * back by landlock, and make one for each that we remove.
 */
#define SWEEP_NAMES_MAX (1u << 20)

/* ---- records */

/* The resolved manifest, which without is left out of: NULL for none. */
static int write_manifest(const struct pod_mutable *mutable, const char *without)
{
	_cleanup_json_ json_t *manifest = appc_pod_manifest_json(mutable->resolved->manifest);
	json_t *apps = json_object_get(manifest, "apps"), *app;
	_cleanup_free_ char *text = NULL;
	size_t i;

	if (!manifest)
		return -ENOMEM;
	json_array_foreach (apps, i, app) {
		if (!without || strcmp(json_string_value(json_object_get(app, "name")), without))
			continue;
		json_array_remove(apps, i);
		break;
	}
	text = json_text(manifest, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	if (!text)
		return -ENOMEM;
	/* Nobody would read more. */
	if (strlen(text) > APPC_MANIFEST_SIZE_MAX)
		return -EFBIG;
	return file_replace(mutable->pod->fd, POD_MANIFEST_RESOLVED, text, strlen(text), 0640);
}

/* ---- the directory */

/* A directory that is not there need not be moved. */
static void discard(const struct pod *pod, const char *format, const char *name)
{
	char path[PATH_MAX], target[64] = "";

	snprintf(path, sizeof(path), format, name);
	if (file_make_unique_name(target, sizeof(target), REMOVED_NAME "/") < 0 ||
		(renameat(pod->fd, path, pod->fd, target) < 0 && errno != ENOENT))
		log_warning("pod %s: cannot discard %s: %s", pod->uuid, path, strerror(errno));
}

static void discard_all(const struct pod *pod, const struct resolved_pod *gone)
{
	const char *name = gone->apps[0].name;
	char path[PATH_MAX];

	if (mkdirat(pod->fd, REMOVED_NAME, 0700) < 0 && errno != EEXIST)
		log_warning("pod %s: cannot make %s: %s", pod->uuid, REMOVED_NAME, strerror(errno));
	discard(pod, "overlay/%s", name);
	discard(pod, "appsinfo/%s", name);
	discard(pod, APP_LOG_DIRECTORY "/%s", name);
	for (size_t i = 0; i < gone->volume_count; i++)
		if (gone->volumes[i].kind == APPC_VOLUME_EMPTY)
			discard(pod, "volumes/%s", gone->volumes[i].name);
	snprintf(path, sizeof(path), "apps/%s.json", name);
	unlinkat(pod->fd, path, 0);
}

int pod_mutable_sweep(const struct pod *pod)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int fd = directory_open(pod->fd, REMOVED_NAME), result = 0, r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	directory = fdopendir(fd);
	if (!directory) {
		r = -errno;
		close(fd);
		return r;
	}
	/* One at a time: another that is at it removes ours, too. */
	if (flock(fd, LOCK_EX) < 0)
		return -errno;
	/* What a guest still writes to is no reason to keep the rest. */
	while ((entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = directory_remove_bounded(fd, entry->d_name, SWEEP_NAMES_MAX);
		result = result == 0 ? r : result;
	}
	return result;
}

/* ---- coming */

static bool has_app(const struct pod_mutable *mutable, const char *name)
{
	for (size_t i = 0; i < mutable->resolved->app_count; i++)
		if (!strcmp(mutable->resolved->apps[i].name, name))
			return true;
	for (size_t i = 0; i < mutable->gone_count; i++)
		if (!strcmp(mutable->gone[i]->apps[0].name, name))
			return true;
	return false;
}

static int check_manifest(const struct pod_mutable *mutable,
	const struct appc_pod_manifest *manifest, struct error *err)
{
	if (manifest->app_count != 1)
		return error_set(
			err, -EINVAL, "one app at a time is added, not %zu", manifest->app_count);
	if (mutable->resolved->app_count + mutable->gone_count == WIRE_APPS_MAX)
		return error_set(
			err, -E2BIG, "the pod has %d apps already, the most it can", WIRE_APPS_MAX);
	if (has_app(mutable, manifest->apps[0].name))
		return error_set(
			err, -EEXIST, "error: multiple apps with name %s", manifest->apps[0].name);
	return 0;
}

/* What cannot be had by an app that comes later. */
static int check_resolved(
	const struct pod_mutable *mutable, const struct resolved_pod *added, struct error *err)
{
	const struct resolved_app *app = &added->apps[0];

	if (added->input_app >= 0)
		return error_set(err, -ENOTSUP,
			"app \"%s\": an app that is added to a running pod has no input (--stdin=stream)",
			app->name);
	if (added->file_limits.bytes || added->file_limits.operations) {
		if (mutable->options->strict_isolators)
			return error_set(err, -ENOTSUP,
				"app \"%s\": limits on files are set when the pod starts",
				app->name);
		log_warning("app %s: limits on files are set when the pod starts: its are ignored",
			app->name);
	}
	if (mutable->is_vm && app->memory_max > 0 &&
		(uint64_t)app->memory_max > mutable->resolved->memory)
		log_warning(
			"app %s: its memory limit is %lld MiB, the pod's machine has %llu MiB (app sandbox --memory)",
			app->name, (long long)app->memory_max >> 20,
			(unsigned long long)mutable->resolved->memory >> 20);
	return 0;
}

/* The trees of all apps, with one that is being added, and those that the guest still has in use. */
static int write_ids(const struct pod_mutable *mutable)
{
	const struct resolved_pod *parts[WIRE_APPS_MAX + 2] = {mutable->resolved};
	size_t count = 1;

	if (mutable->adding)
		parts[count++] = mutable->adding;
	for (size_t i = 0; i < mutable->gone_count; i++)
		parts[count++] = mutable->gone[i];
	return pod_tree_write_ids(mutable->pod, parts, count);
}

/* Out of the directory. */
static void forget(const struct pod_mutable *mutable, const struct resolved_pod *added)
{
	discard_all(mutable->pod, added);
	/* One tree too many in the list keeps a tree too long; that is all. */
	write_ids(mutable);
}

/* As if it had never been. */
static void displace(const struct pod_mutable *mutable, const struct resolved_pod *added)
{
	pod_tree_unmount_app(added, &mutable->places);
	pod_tree_remove_app(added, &mutable->places);
	forget(mutable, added);
}

static void adding_displace(struct pod_mutable *mutable)
{
	_cleanup_resolved_pod_ struct resolved_pod *added = TAKE_PTR(mutable->adding);

	displace(mutable, added);
}

/* In the directory; the tree comes when its volumes are complete. */
static int adding_prepare(const struct pod_mutable *mutable, struct error *err)
{
	const struct pod *pod = mutable->pod;
	int r = write_ids(mutable);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot write its list of trees", pod->uuid);
	r = pod_tree_prepare_app(pod, mutable->adding, err);
	return r < 0 ? r : pod_prepare_image_manifests(pod, mutable->adding, err);
}

static void tell(const struct pod_mutable *mutable, enum journal_event event, const char *name)
{
	journal_add(pods_data_fd(mutable->pod->pods), mutable->pod->uuid, event,
		&(struct journal_details){.app = name, .exit_code = -1});
}

/* The app is the pod's last; now it is told of. */
static int record(struct pod_mutable *mutable, const char *name, struct error *err)
{
	struct pod_app_record created = POD_APP_RECORD_NONE;
	int r;

	created.created_at = pod_now();
	r = pod_app_record_write(mutable->pod, name, &created);
	if (r == 0)
		r = write_manifest(mutable, NULL);
	if (r < 0)
		return error_set_errno(err, r, "app \"%s\": cannot record it", name);
	tell(mutable, JOURNAL_APP_ADDED, name);
	return 0;
}

static bool number_is_used(const struct pod_mutable *mutable, uint16_t number)
{
	for (size_t i = 0; i < mutable->resolved->app_count; i++)
		if (mutable->resolved->apps[i].number == number)
			return true;
	return false;
}

/* In the stream an app keeps its number from start to start, and another, of the same name too, never has it soon. */
static void give_number(struct pod_mutable *mutable, struct resolved_app *app)
{
	do
		mutable->last_number++;
	while (number_is_used(mutable, mutable->last_number));
	app->number = mutable->last_number;
}

/* Its volumes have what they begin with: it becomes one of the pod's. */
static int adding_finish(struct pod_mutable *mutable, struct error *err)
{
	struct resolved_pod *added = mutable->adding;
	unsigned int etc_files = 0;
	size_t index;
	int r = pod_tree_mount_app(mutable->pod, added, mutable->store, mutable->is_vm,
		&mutable->places, &etc_files, err);

	if (r == 0)
		r = resolved_pod_adopt(mutable->resolved, added);
	if (r < 0)
		return r;
	index = mutable->resolved->app_count - 1;
	mutable->etc_files[index] = etc_files;
	give_number(mutable, &mutable->resolved->apps[index]);
	resolved_pod_free(TAKE_PTR(mutable->adding));
	r = record(mutable, mutable->resolved->apps[index].name, err);
	/* It was adopted just now: there is memory for the way back. */
	if (r < 0 && resolved_pod_disown(mutable->resolved, index, &added) == 0)
		mutable->adding = added;
	return r;
}

int pod_mutable_add(
	struct pod_mutable *mutable, struct appc_pod_manifest *manifest, struct error *err)
{
	_cleanup_resolved_pod_ struct resolved_pod *added = NULL;
	struct resolve_options options = *mutable->options;
	_cleanup_close_ int keep = -1;
	int r = mutable->adding ? error_set(err, -EBUSY, "another app is being added")
				: check_manifest(mutable, manifest, err);

	/* Who asks keeps them already, unless it has gone: the supervisor waits for nobody. */
	if (r == 0)
		r = keep = store_keep_trees_now(mutable->store, err);
	if (r < 0) {
		appc_pod_manifest_free(manifest);
		return r;
	}
	/* Who asks has rendered its tree, and keeps it until the answer. */
	options.renders_nothing = true;
	r = pod_resolve(mutable->store, manifest, &options, &added, err);
	if (r == 0)
		r = check_resolved(mutable, added, err);
	if (r < 0)
		return r;
	mutable->adding = TAKE_PTR(added);
	r = adding_prepare(mutable, err);
	/* They are listed; and what fills volumes is not to inherit it. */
	fd_close(&keep);
	if (r == 0 && volume_fill_is_needed(mutable->adding)) {
		r = volume_fill_begin(
			mutable->pod, mutable->adding, mutable->store, &mutable->fill, err);
		if (r == 0)
			return 1;
	}
	if (r == 0)
		r = adding_finish(mutable, err);
	if (r < 0 && mutable->adding)
		adding_displace(mutable);
	return r;
}

int pod_mutable_add_end(struct pod_mutable *mutable, struct error *err)
{
	int r = volume_fill_end(&mutable->fill, err);

	if (r == 0)
		r = adding_finish(mutable, err);
	if (r < 0 && mutable->adding)
		adding_displace(mutable);
	return r;
}

void pod_mutable_add_abort(struct pod_mutable *mutable)
{
	_cleanup_resolved_pod_ struct resolved_pod *added = TAKE_PTR(mutable->adding);

	if (!added)
		return;
	volume_fill_abort(&mutable->fill);
	/* It is not in the tree yet, which may have gone. */
	forget(mutable, added);
}

/* ---- going */

int pod_mutable_take(struct pod_mutable *mutable, size_t index, struct error *err)
{
	const char *name = mutable->resolved->apps[index].name; /* stays its own, wherever it is */
	struct resolved_pod *gone;
	int r = write_manifest(mutable, name);

	if (r >= 0) {
		r = resolved_pod_disown(mutable->resolved, index, &gone);
		if (r < 0)
			write_manifest(mutable, NULL);
	}
	if (r < 0)
		return error_set_errno(err, r, "app \"%s\": cannot remove it", name);
	memmove(&mutable->etc_files[index], &mutable->etc_files[index + 1],
		(mutable->resolved->app_count - index) * sizeof(mutable->etc_files[0]));
	mutable->gone[mutable->gone_count++] = gone;
	pod_tree_unmount_app(gone, &mutable->places);
	tell(mutable, JOURNAL_APP_REMOVED, name);
	return 0;
}

int pod_mutable_release(struct pod_mutable *mutable, const char *name)
{
	_cleanup_resolved_pod_ struct resolved_pod *gone = NULL;
	size_t i = 0;

	while (i < mutable->gone_count && strcmp(mutable->gone[i]->apps[0].name, name) != 0)
		i++;
	if (i == mutable->gone_count)
		return -ENOENT;
	gone = mutable->gone[i];
	mutable->gone[i] = mutable->gone[--mutable->gone_count];
	displace(mutable, gone);
	return 0;
}

/* ---- what the guest is told */

json_t *pod_mutable_start_message(const struct pod_mutable *mutable, size_t index)
{
	const struct resolved_app *app = &mutable->resolved->apps[index];
	_cleanup_json_ json_t *config = resolved_app_configure(app, mutable->etc_files[index]);

	return config ? json_pack("{s:s, s:i, s:O}", "type", "start", "number", (int)app->number,
				"app", config)
		      : NULL;
}

json_t *pod_mutable_remove_message(const struct pod_mutable *mutable, size_t index)
{
	const struct resolved_pod *pod = mutable->resolved;
	const struct resolved_app *app = &pod->apps[index];
	_cleanup_json_ json_t *volumes = json_array();
	const uint64_t failures = json_failures();

	for (size_t i = 0; i < pod->volume_count; i++)
		if (resolved_app_mounts(app, pod->volumes[i].name))
			json_array_append_new(volumes, json_string(pod->volumes[i].name));
	/* With a mount point that stays the guest would keep all that it knows of what was there. */
	return json_failures() == failures ? json_pack("{s:s, s:s, s:O}", "type", "remove", "app",
						     app->name, "volumes", volumes)
					   : NULL;
}

/* ---- the end */

void pod_mutable_done(struct pod_mutable *mutable)
{
	pod_mutable_add_abort(mutable);
	while (mutable->gone_count > 0) {
		_cleanup_resolved_pod_ struct resolved_pod *gone =
			mutable->gone[--mutable->gone_count];

		/* The tree, of which it is not any more, may have gone. */
		forget(mutable, gone);
	}
}
