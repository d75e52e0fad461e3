// SPDX-License-Identifier: Apache-2.0
/*
 * export.c: see export.h.
 *
 * Theory of operation: the kernel that wrote the upper directory reads it, too. A read-only overlayfs of
 * the app's changes above the rendered tree resolves whiteouts, opaque and renamed directories; it is
 * mounted nowhere, so nobody else sees it and it goes with its descriptor.
 */
#include "pod/export.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "pod/manifest.h"
#include "store/tree-archive.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TREES_SIZE_MAX (64u << 10)

/* The id of the rendered tree of app number index: that line of the file "trees". */
static int read_tree_id(const struct pod *pod, size_t index, char *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	int r = file_read(pod->fd, POD_TREES, TREES_SIZE_MAX, &text, NULL);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read its list of trees", pod->uuid);
	rest = text;
	do
		line = strsep(&rest, "\n");
	while (line && index-- > 0);
	if (!line || strlen(line) >= STORE_TREE_ID_SIZE)
		return error_set(err, -EBADMSG, "pod %s: its list of trees is damaged", pod->uuid);
	memcpy(ret, line, strlen(line) + 1);
	return 0;
}

/* An app's files: what its image has, what it changed, and both in one. */
struct layers {
	int lower, upper, merged;
};

static void layers_close(struct layers *layers)
{
	cleanup_close(&layers->lower);
	cleanup_close(&layers->upper);
	cleanup_close(&layers->merged);
}

static int mount_merged(const struct layers *layers)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	char directories[64];
	int fd;

	snprintf(directories, sizeof(directories), "/proc/self/fd/%d:/proc/self/fd/%d",
		layers->upper, layers->lower);
	if (context < 0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "lowerdir", directories, 0) <
			0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "redirect_dir", "follow", 0) <
			0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

static int layers_open(const struct pod *pod, struct store *store, const char *app,
	const char *tree_id, struct layers *ret, struct error *err)
{
	char path[PATH_MAX];

	ret->lower = store_open_tree(store, tree_id, err);
	if (ret->lower < 0)
		return ret->lower;
	snprintf(path, sizeof(path), "overlay/%s/upper", app);
	ret->upper = file_open_beneath(pod->fd, path, O_PATH | O_DIRECTORY, 0);
	if (ret->upper < 0)
		return error_set_errno(err, ret->upper, "app \"%s\": its changes", app);
	ret->merged = mount_merged(ret);
	if (ret->merged < 0)
		return error_set_errno(err, ret->merged, "app \"%s\": cannot mount its files", app);
	return 0;
}

/*
 * The empty file that a run makes where an image has none, to cover it by the pod's own: in an image it
 * would keep later pods from doing so. NULL: the app has written it.
 */
static const char *covered_file(const struct layers *layers)
{
	static const char path[] = "etc/hosts";
	_cleanup_close_ int below = file_open_beneath(layers->lower, path, O_PATH | O_NOFOLLOW, 0);
	_cleanup_close_ int fd = file_open_beneath(layers->merged, path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (below != -ENOENT || fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	return S_ISREG(st.st_mode) && st.st_size == 0 ? path : NULL;
}

/* ---- the manifest */

/* All that the pod's manifest knows of an image that is gone; and it did run on this platform. */
static json_t *manifest_from_pod(const struct appc_pod_manifest *pod, size_t index)
{
	static const char *const platform[][2] = {{"os", "linux"}, {"arch", "amd64"}};
	_cleanup_json_ json_t *json = appc_pod_manifest_json(pod), *labels = NULL;
	json_t *app = json_array_get(json_object_get(json, "apps"), index);
	const struct appc_runtime_app *runtime = &pod->apps[index];

	labels = json_deep_copy(json_object_get(json_object_get(app, "image"), "labels"));
	if (!labels)
		labels = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(platform); i++)
		if (!appc_pairs_get(&runtime->image_labels, platform[i][0]))
			json_array_append_new(labels,
				json_pack("{s:s, s:s}", "name", platform[i][0], "value",
					platform[i][1]));
	return json_pack("{s:s, s:s, s:s, s:O, s:O*}", "acKind", "ImageManifest", "acVersion",
		APPC_VERSION, "name", runtime->image_name ? runtime->image_name : runtime->name,
		"labels", labels, "app", json_object_get(app, "app"));
}

static int image_manifest(struct store *store, const struct appc_pod_manifest *pod, size_t index,
	json_t **ret, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *image = NULL;
	const char *id = pod->apps[index].image_id;
	int r = id ? store_image_manifest(store, id, &image, err) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return r;
	*ret = r == 0 ? appc_image_manifest_json(image) : manifest_from_pod(pod, index);
	if (!*ret)
		return error_set(err, -ENOMEM, "out of memory");
	json_object_del(*ret, "dependencies");
	json_object_del(*ret, "pathWhitelist");
	return 0;
}

int pod_export(
	struct pod *pod, struct store *store, const char *app, int output_fd, struct error *err)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL;
	_cleanup_json_ json_t *image = NULL;
	_cleanup_(layers_close) struct layers layers = {-1, -1, -1};
	char tree_id[STORE_TREE_ID_SIZE];
	_cleanup_free_ char *text = NULL;
	size_t index = 0;
	int r;

	if (pod->state != POD_EXITED && pod->state != POD_EXITED_GARBAGE)
		return error_set(err, -EBUSY, "pod \"%s\" is %s. Only exited pods are supported.",
			pod->uuid, pod_state_name(pod->state));
	r = pod_share(pod, err);
	if (r == 0)
		r = pod_manifest_read(pod, &manifest, err);
	if (r == 0)
		r = pod_manifest_find_app(pod, manifest, app, &index, err);
	if (r == 0)
		r = read_tree_id(pod, index, tree_id, err);
	if (r == 0)
		r = image_manifest(store, manifest, index, &image, err);
	if (r != 0)
		return r;
	text = json_text(image, JSON_COMPACT);
	if (!text || json_failures() > 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = layers_open(pod, store, manifest->apps[index].name, tree_id, &layers, err);
	return r < 0 ? r
		     : tree_archive_write(layers.merged, text, strlen(text), covered_file(&layers),
			       output_fd, err);
}
