// SPDX-License-Identifier: Apache-2.0
/* tree.c: mounts the pod's tree. */
#include "pod/tree.h"

#include "base/file.h"
#include "base/log.h"
#include "pod/debug_tree.h"
#include "pod/volume_fill.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define TREE_NAME "tree"

/* And what the host mounts there later stays out. */
static int set_mount_attributes(int fd, bool recursive, uint64_t attributes)
{
	struct mount_attr attr = {.attr_set = attributes, .propagation = MS_PRIVATE};

	return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
		       &attr, sizeof(attr)) < 0
		? -errno
		: 0;
}

/* A line for each app; gc takes what is here for in use. */
int pod_tree_write_ids(
	const struct pod *pod, const struct resolved_pod *const *parts, size_t part_count)
{
	_cleanup_free_ char *text = NULL;
	size_t count = 0, length = 0;

	for (size_t i = 0; i < part_count; i++)
		count += parts[i]->app_count;
	text = malloc(count * STORE_TREE_ID_SIZE + 1);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < part_count; i++)
		for (size_t j = 0; j < parts[i]->app_count; j++)
			length += (size_t)snprintf(text + length, STORE_TREE_ID_SIZE + 1, "%s\n",
				parts[i]->apps[j].tree_id);
	return file_replace(pod->fd, POD_TREES, text, length, 0640);
}

static int create_empty_volume(
	const struct pod *pod, const struct resolved_volume *volume, struct error *err)
{
	_cleanup_close_ int parent = -1, fd = -1;

	parent = directory_open(pod->fd, "volumes");
	if (parent >= 0 && mkdirat(parent, volume->name, 0700) == 0)
		fd = directory_open(parent, volume->name);
	if (fd < 0 || fchown(fd, (uid_t)volume->uid, (gid_t)volume->gid) < 0 ||
		fchmod(fd, volume->mode & 07777) < 0)
		return error_set_errno(err, parent < 0 ? parent : -errno,
			"volume \"%s\": cannot create it", volume->name);
	return 0;
}

static int create_overlay(const struct pod *pod, const struct resolved_app *app, struct error *err)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "overlay/%s/upper", app->name);
	r = directory_create_path(pod->fd, path, 0750);
	if (r == 0) {
		snprintf(path, sizeof(path), "overlay/%s/work", app->name);
		r = directory_create_path(pod->fd, path, 0750);
	}
	return r < 0 ? error_set_errno(err, r, "app \"%s\": cannot create %s", app->name, path) : 0;
}

int pod_tree_prepare_app(const struct pod *pod, const struct resolved_pod *added, struct error *err)
{
	for (size_t i = 0; i < added->app_count; i++) {
		int r = create_overlay(pod, &added->apps[i], err);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < added->volume_count; i++) {
		int r = added->volumes[i].kind == APPC_VOLUME_EMPTY
			? create_empty_volume(pod, &added->volumes[i], err)
			: 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int pod_tree_prepare(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, struct error *err)
{
	int r;

	r = pod_tree_write_ids(pod, &resolved, 1);
	if (r == 0)
		r = directory_create_path(pod->fd, TREE_NAME, 0750);
	if (r == 0)
		r = directory_create_path(pod->fd, "volumes", 0750);
	if (r == 0)
		r = directory_create_path(pod->fd, "apps", 0750);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot write its directory", pod->uuid);
	r = pod_tree_prepare_app(pod, resolved, err);
	return r < 0 ? r : volume_fill(pod, resolved, store, err);
}

/* The upper directory is the root of the mounted tree: it takes over the lower root's mode and owner. */
static int copy_root_attributes(int lower, int upper)
{
	struct stat st;

	if (fstat(lower, &st) < 0 || fchown(upper, st.st_uid, st.st_gid) < 0 ||
		fchmod(upper, st.st_mode & 07777) < 0)
		return -errno;
	return 0;
}

/* A regular file to be covered. What stands there and is none, like a link to a service's file, gives way. */
static bool create_etc_file(int etc, enum wire_etc_file file)
{
	const char *name = wire_etc_names[file];
	struct stat st;

	if (fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISREG(st.st_mode))
			return true;
		if (unlinkat(etc, name, 0) < 0)
			return false;
	}
	return mknodat(etc, name, S_IFREG | 0644, 0) == 0;
}

/* Whether a volume of the app is mounted on this path. */
static bool is_mounted(const struct resolved_app *app, const char *path)
{
	for (size_t i = 0; i < app->mount_count; i++)
		if (!strcmp(app->mounts[i].target, path))
			return true;
	return false;
}

/* Whether a file of /etc that nobody asked for would hide one of a volume. */
static bool is_of_volume(const struct resolved_app *app, enum wire_etc_file file)
{
	char path[64];

	snprintf(path, sizeof(path), "/etc/%s", wire_etc_names[file]);
	return is_mounted(app, "/etc") || is_mounted(app, path);
}

/*
 * Host name and machine id are the pod's where the image has such files at all; so are the hosts where it
 * has none or the pod has entries of its own, and the resolver's configuration where the pod has one.
 */
static unsigned int create_etc_files(
	const struct resolved_pod *resolved, const struct resolved_app *app, int root, int lower)
{
	_cleanup_close_ int etc = directory_open(root, "etc");
	unsigned int files = 0;
	struct stat st;

	if (etc < 0)
		return 0;
	if ((resolved->hosts_entries ||
		    (!is_of_volume(app, WIRE_ETC_HOSTS) &&
			    fstatat(lower, "etc/hosts", &st, AT_SYMLINK_NOFOLLOW) < 0 &&
			    errno == ENOENT)) &&
		create_etc_file(etc, WIRE_ETC_HOSTS))
		files |= 1u << WIRE_ETC_HOSTS;
	if (resolved->resolv_conf && create_etc_file(etc, WIRE_ETC_RESOLV_CONF))
		files |= 1u << WIRE_ETC_RESOLV_CONF;
	for (unsigned int i = WIRE_ETC_HOSTNAME; i <= WIRE_ETC_MACHINE_ID; i++)
		if (!is_of_volume(app, i) &&
			fstatat(etc, wire_etc_names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			files |= 1u << i;
	if (symlinkat("../proc/self/mounts", etc, "mtab") < 0 && errno != EEXIST)
		log_debug("cannot make /etc/mtab: %s", strerror(errno));
	return files;
}

/*
 * What guest-init mounts on in every root filesystem: to make it here costs next to nothing. Only
 * where nothing stands in the way; what an image has made a link is guest-init's to follow.
 */
static unsigned int create_mount_points(
	const struct resolved_pod *resolved, const struct resolved_app *app, int root, int lower)
{
	static const char *const directories[] = {"proc", "sys", "dev", "etc"};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (mkdirat(root, directories[i], 0755) < 0 && errno != EEXIST)
			log_debug("cannot make /%s: %s", directories[i], strerror(errno));
	return create_etc_files(resolved, app, root, lower);
}

#define ROOTFS_NAME "rootfs"

/* A directory, made if there is none; no link. */
static int directory_of(int parent, const char *name)
{
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	return directory_open(parent, name);
}

/* The root filesystem that is mounted in an app's place, and nothing else that the guest may have put there. */
static int rootfs_open(int place)
{
	_cleanup_close_ int root = directory_open(place, ROOTFS_NAME);
	struct statfs st;

	if (root < 0)
		return root;
	if (fstatfs(root, &st) < 0)
		return -errno;
	return st.f_type == OVERLAYFS_SUPER_MAGIC ? TAKE_FD(root) : -ESTALE;
}

static int mount_app(const struct pod *pod, const struct resolved_pod *resolved, size_t index,
	struct store *store, int apps, unsigned long flags, unsigned int *ret_etc_files,
	struct error *err)
{
	const struct resolved_app *app = &resolved->apps[index];
	_cleanup_close_ int lower = -1, upper = -1, work = -1, place = -1, point = -1, root = -1;
	char path[PATH_MAX], target[64], options[512];
	int r;

	lower = store_open_tree(store, app->tree_id, err);
	if (lower < 0)
		return lower;
	snprintf(path, sizeof(path), "overlay/%s/upper", app->name);
	upper = openat(pod->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "overlay/%s/work", app->name);
	work = openat(pod->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (upper < 0 || work < 0)
		return error_set_errno(err, -errno, "app \"%s\": its overlay", app->name);
	r = copy_root_attributes(lower, upper);
	if (r < 0)
		return error_set_errno(err, r, "app \"%s\": its overlay", app->name);
	place = directory_of(apps, app->name);
	point = place < 0 ? place : directory_of(place, ROOTFS_NAME);
	if (point < 0)
		return error_set_errno(err, point, "app \"%s\": its root filesystem", app->name);
	/* Paths through descriptors: names with commas or colons mean nothing to overlayfs then. */
	snprintf(options, sizeof(options),
		"lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,"
		"redirect_dir=on,metacopy=off",
		lower, upper, work);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", point);
	if (mount("overlay", target, "overlay", flags, options) < 0)
		return error_set_errno(
			err, -errno, "app \"%s\": cannot mount its root filesystem", app->name);
	root = rootfs_open(place);
	if (root < 0)
		return error_set_errno(
			err, root, "app \"%s\": cannot open its root filesystem", app->name);
	*ret_etc_files = create_mount_points(resolved, &resolved->apps[index], root, lower);
	return 0;
}

/* An empty file or directory to mount on, of the source's kind. */
static int create_mount_target(int volumes, const char *name, int source)
{
	struct stat st;
	int fd;

	if (fstat(source, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return mkdirat(volumes, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
	fd = openat(volumes, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int mount_volume(const struct pod *pod, const struct resolved_volume *volume, int volumes,
	uint64_t attributes, struct error *err)
{
	bool empty = volume->kind == APPC_VOLUME_EMPTY;
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	_cleanup_close_ int source = -1, mount_fd = -1;
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "volumes/%s", volume->name);
	source = empty ? openat(pod->fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC)
		       : file_open_without_links(AT_FDCWD, volume->source, O_PATH);
	if (source < 0)
		return error_set_errno(err, empty ? -errno : source, "volume \"%s\": source \"%s\"",
			volume->name, empty ? path : volume->source);
	r = create_mount_target(volumes, volume->name, source);
	if (r < 0)
		return error_set_errno(
			err, r, "volume \"%s\": cannot make its mount point", volume->name);
	if (volume->recursive)
		flags |= AT_RECURSIVE;
	mount_fd = (int)syscall(SYS_open_tree, source, "", flags | AT_EMPTY_PATH);
	if (mount_fd < 0)
		return error_set_errno(err, -errno, "volume \"%s\": cannot mount it", volume->name);
	if (volume->read_only)
		attributes |= MOUNT_ATTR_RDONLY;
	r = set_mount_attributes(mount_fd, true, attributes);
	if (r < 0)
		return error_set_errno(
			err, r, "volume \"%s\": cannot restrict its mount", volume->name);
	/* It follows no link. */
	if (syscall(SYS_move_mount, mount_fd, "", volumes, volume->name, MOVE_MOUNT_F_EMPTY_PATH) <
		0)
		return error_set_errno(err, -errno, "volume \"%s\": cannot mount it", volume->name);
	return 0;
}

/*
 * The directory of debug trees, not one of them: it is there whether somebody has used one before or not, and
 * what is made in it while the pod runs shows in the pod without anybody's doing.
 */
static int mount_debug(const struct pod *pod, int tree, bool for_vm, struct error *err)
{
	const uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
		(for_vm ? MOUNT_ATTR_NOEXEC : 0);
	_cleanup_close_ int source = debug_trees_open(pods_data_fd(pod->pods)), mount_fd = -1;
	int r = source < 0 ? source : directory_create_path(tree, WIRE_DEBUG, 0755);

	if (r == 0) {
		mount_fd = (int)syscall(SYS_open_tree, source, "",
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		r = mount_fd < 0 ? -errno : set_mount_attributes(mount_fd, false, attributes);
	}
	if (r == 0 &&
		syscall(SYS_move_mount, mount_fd, "", tree, WIRE_DEBUG, MOVE_MOUNT_F_EMPTY_PATH) <
			0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "cannot mount the debug trees") : 0;
}

int pod_tree_enter_namespace(struct error *err)
{
	if (unshare(CLONE_NEWNS) < 0)
		return error_set_errno(err, -errno, "%scannot create a mount namespace",
			errno == EPERM ? "cannot run as unprivileged user: " : "");
	/* Mounts of the host still come in, ours never go out. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_set_errno(err, -errno, "cannot detach from the host's mounts");
	return 0;
}

int pod_tree_places_open(int tree_fd, struct pod_tree_places *ret)
{
	*ret = (struct pod_tree_places){
		directory_open(tree_fd, "apps"), directory_open(tree_fd, "volumes")};
	return ret->apps < 0 ? ret->apps : ret->volumes < 0 ? ret->volumes : 0;
}

void pod_tree_places_close(struct pod_tree_places *places)
{
	cleanup_close(&places->apps);
	cleanup_close(&places->volumes);
	*places = POD_TREE_PLACES_NONE;
}

/* All apps and volumes of a pod into the tree. */
static int mount_all(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, bool for_vm, const struct pod_tree_places *places,
	unsigned int *ret_etc_files, struct error *err)
{
	unsigned long flags = for_vm ? MS_NODEV | MS_NOSUID | MS_NOEXEC : MS_NODEV;
	uint64_t attributes = for_vm ? MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
				     : MOUNT_ATTR_NODEV;
	int r = 0;

	for (size_t i = 0; r == 0 && i < resolved->app_count; i++)
		r = mount_app(pod, resolved, i, store, places->apps, flags, &ret_etc_files[i], err);
	for (size_t i = 0; r == 0 && i < resolved->volume_count; i++)
		r = mount_volume(pod, &resolved->volumes[i], places->volumes, attributes, err);
	return r;
}

/* Makes what is in the tree that is mounted. */
static int fill_tree(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, bool for_vm, int *ret_fd, unsigned int *ret_etc_files,
	struct error *err)
{
	_cleanup_(pod_tree_places_close) struct pod_tree_places places = POD_TREE_PLACES_NONE;
	_cleanup_close_ int tree = directory_open(pod->fd, TREE_NAME);
	int r;

	if (tree < 0)
		return error_set_errno(err, tree, "cannot open the pod's tree");
	r = directory_create_path(tree, "apps", 0755);
	if (r == 0)
		r = directory_create_path(tree, "volumes", 0755);
	if (r == 0)
		r = pod_tree_places_open(tree, &places);
	if (r < 0)
		return error_set_errno(err, r, "cannot write the pod's tree");
	r = mount_all(pod, resolved, store, for_vm, &places, ret_etc_files, err);
	if (r == 0)
		r = mount_debug(pod, tree, for_vm, err);
	if (r == 0)
		*ret_fd = TAKE_FD(tree);
	return r;
}

int pod_tree_mount(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	bool for_vm, int *ret_fd, unsigned int *ret_etc_files, struct error *err)
{
	unsigned long flags = for_vm ? MS_NODEV | MS_NOSUID | MS_NOEXEC : MS_NODEV;
	char target[64];
	int r = 0;

	snprintf(target, sizeof(target), "/proc/self/fd/%d/" TREE_NAME, pod->fd);
	if (mount("pod", target, "tmpfs", flags, "mode=0755,size=1m") < 0)
		return error_set_errno(err, -errno, "cannot mount the pod's tree");
	if (resolved->is_mutable && mount(NULL, target, NULL, MS_SHARED, NULL) < 0)
		r = error_set_errno(err, -errno, "cannot share the pod's tree");
	if (r == 0)
		r = fill_tree(pod, resolved, store, for_vm, ret_fd, ret_etc_files, err);
	if (r < 0)
		umount2(target, MNT_DETACH);
	return r;
}

int pod_tree_mount_app(const struct pod *pod, const struct resolved_pod *added, struct store *store,
	bool for_vm, const struct pod_tree_places *places, unsigned int *ret_etc_files,
	struct error *err)
{
	return mount_all(pod, added, store, for_vm, places, ret_etc_files, err);
}

/* What is not mounted need not be unmounted. */
static void unmount_at(int directory, const char *name)
{
	char target[64 + NAME_MAX];

	snprintf(target, sizeof(target), "/proc/self/fd/%d/%s", directory, name);
	if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		log_warning("cannot unmount %s: %s", name, strerror(errno));
}

void pod_tree_unmount_app(const struct resolved_pod *added, const struct pod_tree_places *places)
{
	for (size_t i = 0; i < added->app_count; i++) {
		_cleanup_close_ int place = directory_open(places->apps, added->apps[i].name);

		if (place >= 0)
			unmount_at(place, ROOTFS_NAME);
	}
	for (size_t i = 0; i < added->volume_count; i++)
		unmount_at(places->volumes, added->volumes[i].name);
}

static void remove_at(int directory, const char *name)
{
	if (unlinkat(directory, name, AT_REMOVEDIR) < 0 &&
		(errno != ENOTDIR || unlinkat(directory, name, 0) < 0) && errno != ENOENT)
		log_debug("cannot remove %s from the tree: %s", name, strerror(errno));
}

void pod_tree_remove_app(const struct resolved_pod *added, const struct pod_tree_places *places)
{
	for (size_t i = 0; i < added->app_count; i++) {
		_cleanup_close_ int place = directory_open(places->apps, added->apps[i].name);

		if (place >= 0)
			remove_at(place, ROOTFS_NAME);
		remove_at(places->apps, added->apps[i].name);
	}
	for (size_t i = 0; i < added->volume_count; i++)
		remove_at(places->volumes, added->volumes[i].name);
}

void pod_tree_unmount(const struct pod *pod)
{
	char target[64];

	snprintf(target, sizeof(target), "/proc/self/fd/%d/" TREE_NAME, pod->fd);
	if (umount2(target, MNT_DETACH) < 0)
		log_warning("cannot unmount the tree of pod %s: %s", pod->uuid, strerror(errno));
}

int pod_tree_exports(
	const struct resolved_pod *resolved, struct virtio_fs_export **ret, size_t *ret_count)
{
	struct virtio_fs_export *exports = calloc(resolved->volume_count + 2, sizeof(*exports));
	size_t count = 0;

	if (!exports)
		return -ENOMEM;
	if (resolved->is_mutable) {
		/* Whatever comes there may be others', too. */
		exports[0].path = strdup("volumes");
		exports[0].policy = VIRTIO_FS_SHARED;
		count = 1;
		if (!exports[0].path) {
			free(exports);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < resolved->volume_count; i++) {
		const struct resolved_volume *volume = &resolved->volumes[i];
		char *path;

		/* A read-only mount suffices for the pod's own; on it nothing ever changes. */
		if (volume->kind == APPC_VOLUME_EMPTY)
			continue;
		if (asprintf(&path, "volumes/%s", volume->name) < 0) {
			pod_tree_exports_free(exports, count);
			return -ENOMEM;
		}
		exports[count++] = (struct virtio_fs_export){
			.path = path,
			.policy = volume->read_only ? VIRTIO_FS_READ_ONLY_SHARED : VIRTIO_FS_SHARED,
		};
	}
	*ret = exports;
	*ret_count = count;
	return 0;
}

void pod_tree_exports_free(struct virtio_fs_export *exports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)exports[i].path);
	free(exports);
}
