// SPDX-License-Identifier: Apache-2.0
/* park.c: see park.h. */
#include "pod/park.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tree_copy.h"
#include "pod/configure.h"
#include "pod/run.h"
#include "pod/tree.h"
#include "wire/wire.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

/* What guest-init writes before the apps run is a few mount points. */
#define ENTRIES_MAX 4096
#define BYTES_MAX   (16u << 20)

#define PARKED_TREE "pod"

static int park_machine(const struct pod *pod, const struct resolved_pod *resolved,
	const struct pod_park_options *options, int tree_fd, const unsigned int *etc_files,
	struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct machine_message message;
	struct flavour_options flavour = {
		.tree_fd = tree_fd,
		.lock_fd = pod->lock_fd,
		.vsock_fd = -1,
		.init_fd = options->init_fd,
		.kernel_fd = options->kernel_fd,
		.vcpus = resolved->vcpus,
		.memory = resolved->memory,
		.dax = options->dax,
		.net_kind = options->net_kind,
		.net_fd = -1,
		.messages = &message,
		.message_count = 1,
		.template = options->template,
		.park = options->builder,
		.user = jail_user(pod->uuid),
	};
	struct virtio_fs_export *exports = NULL;
	char hostname[POD_HOSTNAME_SIZE];
	int r;

	pod_default_hostname(pod, hostname);
	json = resolved_pod_configure(resolved, etc_files, pod->uuid, hostname, true);
	text = json ? json_text(json, JSON_COMPACT) : NULL;
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	message = (struct machine_message){.data = text, .size = strlen(text)};
	r = pod_tree_exports(resolved, &exports, &flavour.export_count);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the volumes");
	flavour.exports = exports;
	r = parking_run(options->parking, &flavour, err);
	pod_tree_exports_free(exports, flavour.export_count);
	return r;
}

/* ---- what the parked pod had written */

/* A directory by path in both trees; made in the target when it is not there. */
static int copy_directory(
	int source_fd, int target_fd, const char *path, struct tree_copy_limits *limits)
{
	_cleanup_close_ int source = directory_open(source_fd, path), target = -1;
	int r;

	if (source < 0)
		return source;
	r = directory_create_path(target_fd, path, 0700);
	if (r < 0)
		return r;
	target = directory_open(target_fd, path);
	return target < 0 ? target : tree_copy(source, target, limits);
}

static int copy_pod_tree(const struct resolved_pod *resolved, int source_fd, int target_fd)
{
	struct tree_copy_limits limits = {.entries = ENTRIES_MAX, .bytes = BYTES_MAX};
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < resolved->app_count; i++) {
		snprintf(path, sizeof(path), "overlay/%s/upper", resolved->apps[i].name);
		r = copy_directory(source_fd, target_fd, path, &limits);
	}
	for (size_t i = 0; r == 0 && i < resolved->volume_count; i++) {
		if (resolved->volumes[i].kind != APPC_VOLUME_EMPTY)
			continue;
		snprintf(path, sizeof(path), "volumes/%s", resolved->volumes[i].name);
		r = copy_directory(source_fd, target_fd, path, &limits);
	}
	return r;
}

/* Volumes that began with what their image has: the parked pod's are as complete. */
static int remove_copied_volumes(const struct pod *pod, const struct resolved_pod *resolved)
{
	_cleanup_close_ int volumes = directory_open(pod->fd, "volumes");
	int r = volumes < 0 ? volumes : 0;

	for (size_t i = 0; r == 0 && i < resolved->volume_count; i++)
		if (resolved->volumes[i].copy_path)
			r = directory_remove(volumes, resolved->volumes[i].name);
	return r;
}

int pod_park_restore_tree(const struct pod *pod, const struct resolved_pod *resolved,
	const struct template *template, struct error *err)
{
	_cleanup_close_ int source = directory_open(template->directory_fd, PARKED_TREE);
	int r;

	if (source < 0)
		return error_set(err, -ESTALE, "cannot open what the parked pod had written: %s",
			strerror(-source));
	r = remove_copied_volumes(pod, resolved);
	if (r == 0)
		r = copy_pod_tree(resolved, source, pod->fd);
	return r < 0 ? error_set_errno(err, r, "cannot copy what the parked pod had written") : 0;
}

static int save_tree(const struct pod *pod, const struct resolved_pod *resolved,
	const struct template_builder *builder, struct error *err)
{
	_cleanup_close_ int target = -1;
	int r = directory_create_path(builder->directory_fd, PARKED_TREE, 0700);

	if (r == 0)
		r = target = directory_open(builder->directory_fd, PARKED_TREE);
	if (r >= 0)
		r = copy_pod_tree(resolved, pod->fd, target);
	if (r >= 0 && syncfs(target) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "cannot keep what its apps' mounts had made") : 0;
}

int pod_park(struct pods *pods, const struct resolved_pod *resolved, struct store *store,
	const struct pod_park_options *options, struct error *err)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_close_ int tree_fd = -1;
	unsigned int etc_files[WIRE_APPS_MAX];
	struct error ignored;
	int r;

	r = pod_create(pods, &pod, err);
	if (r < 0)
		return r;
	r = pod_tree_prepare(&pod, resolved, store, err);
	if (r == 0)
		r = pod_tree_mount(&pod, resolved, store, true, &tree_fd, etc_files, err);
	if (r == 0)
		r = park_machine(&pod, resolved, options, tree_fd, etc_files, err);
	if (r == 0)
		r = save_tree(&pod, resolved, options->builder, err);
	if (tree_fd >= 0)
		pod_tree_unmount(&pod);
	if (pod_remove(&pod, &ignored) < 0)
		log_warning("%s", ignored.message);
	return r;
}
