/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's one file tree, assembled from mounts in a private mount namespace:
 *
 *   /apps/APP/rootfs   overlayfs: the rendered tree below, the pod's own changes above
 *   /volumes/NAME      bind mount of the host's file or directory, or of the pod's own directory
 *   /debug             bind mount of all debug trees, read-only (pod/debug_tree.h)
 *
 * It vanishes with the last process in the namespace: a killed pod leaves no mount behind.
 *
 * The flavour's process has mounts of its own, copies of these. In a mutable pod those of the copied tree are slaves of
 * ours: what is mounted or unmounted here later is so there, too. What it mounts itself never comes back.
 */
#ifndef APPC_POD_TREE_H
#define APPC_POD_TREE_H

#include "pod/pod.h"
#include "pod/resolve.h"
#include "virtio/fs/fs.h"

/*
 * Writes what the tree needs into the pod's directory: overlay and volume directories, the ids; copies what
 * implicit volumes begin with from the images.
 */
int pod_tree_prepare(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, struct error *err);

/*
 * Leaves the host's mount namespace for a private one. Before any thread is started, and before the
 * data directory is opened: fds from the old namespace cannot be mounted on, or from, in the new.
 */
int pod_tree_enter_namespace(struct error *err);

/*
 * Mounts the tree. *ret_fd is its root; ret_etc_files has one mask of enum wire_etc_file for each app: those
 * that are to be covered. for_vm: the host itself never runs or trusts what is in the
 * tree, so devices, set-user-id programs and execution are off.
 */
int pod_tree_mount(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	bool for_vm, int *ret_fd, unsigned int *ret_etc_files, struct error *err);

/*
 * The directories of the tree that mounts come into. A guest may rename and link in the tree: they are opened before it
 * runs, and later are gone below one name at a time, through no link.
 */
struct pod_tree_places {
	int apps, volumes;
};
#define POD_TREE_PLACES_NONE ((struct pod_tree_places){-1, -1})

int pod_tree_places_open(int tree_fd, struct pod_tree_places *ret);
void pod_tree_places_close(struct pod_tree_places *places);

/*
 * The same for one more app, with its volumes, of a mutable pod that runs: all of the pod added, which has just that
 * app. Its list of trees has to be written first, and becomes the one of pod_tree_write_ids(). What its volumes begin
 * with comes in between (pod/volume_fill.h).
 */
int pod_tree_prepare_app(
	const struct pod *pod, const struct resolved_pod *added, struct error *err);
int pod_tree_mount_app(const struct pod *pod, const struct resolved_pod *added, struct store *store,
	bool for_vm, const struct pod_tree_places *places, unsigned int *ret_etc_files,
	struct error *err);

/* Takes that out of the tree again, as far as it is there; the mount points stay. */
void pod_tree_unmount_app(const struct resolved_pod *added, const struct pod_tree_places *places);

/* Removes the mount points that are left, of what is unmounted. */
void pod_tree_remove_app(const struct resolved_pod *added, const struct pod_tree_places *places);

/* Records the trees that a pod uses, which is made of so many parts. 0 or -errno. */
int pod_tree_write_ids(
	const struct pod *pod, const struct resolved_pod *const *parts, size_t part_count);

/* Takes the tree away again; for a process that goes on without the pod. */
void pod_tree_unmount(const struct pod *pod);

/* How the file server is to treat the volumes. The caller frees *ret with pod_tree_exports_free(). */
int pod_tree_exports(
	const struct resolved_pod *resolved, struct virtio_fs_export **ret, size_t *ret_count);
void pod_tree_exports_free(struct virtio_fs_export *exports, size_t count);

#endif
