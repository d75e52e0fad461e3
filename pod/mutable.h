/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apps of a mutable pod that runs (rkt: app sandbox), as the process that runs it adds them and takes them away:
 * in what is known of the pod, in its directory and in its tree. What the guest has to hear of it is the caller's
 * to send.
 *
 * The resolved pod (pod/resolve.h) and the list of apps below always have the same apps in the same order; one that
 * is taken away has those behind it move up. The record of the pod in its directory has an app from the end of
 * pod_mutable_add() to the beginning of pod_mutable_take(): in between everything that it needs is there.
 *
 * Nothing here waits, but for the file system, and for that no longer than mounts and a few files take: who asks for an
 * app has its tree rendered. One thread; in the mount namespace of pod_tree_enter_namespace().
 */
#ifndef APPC_POD_MUTABLE_H
#define APPC_POD_MUTABLE_H

#include "pod/pod.h"
#include "pod/resolve.h"
#include "pod/tree.h"
#include "pod/volume_fill.h"

struct pod_mutable {
	/* By the caller; borrowed. */
	const struct pod *pod;
	struct resolved_pod *resolved; /* is_mutable */
	struct store *store;
	const struct resolve_options *options;
	struct pod_tree_places places; /* of the tree, from before the guest ran */
	bool is_vm;

	unsigned int etc_files[WIRE_APPS_MAX]; /* of each app: see pod_tree_mount() */
	uint16_t last_number;                  /* in the stream, of the app that was added last */
	/* Taken away, and not released yet. */
	struct resolved_pod *gone[WIRE_APPS_MAX];
	size_t gone_count;
	/* Being added, while a child copies what its volumes begin with. */
	struct resolved_pod *adding; /* NULL: none */
	struct volume_fill fill;
};

/*
 * When the guest is no more: an app that is being added is not, and what was taken away is released. Frees what is not
 * the caller's.
 */
void pod_mutable_done(struct pod_mutable *mutable);

/*
 * Adds the one app of a pod manifest, which it takes in every case, as the last. 0; 1: it is being added, and
 * pod_mutable_add_end() is called when fill.pid_fd is readable, until when no other can be (-EBUSY). -errno with a
 * message; then the pod is as it was.
 */
int pod_mutable_add(
	struct pod_mutable *mutable, struct appc_pod_manifest *manifest, struct error *err);

/* 0: it is added. -errno with a message, as above. */
int pod_mutable_add_end(struct pod_mutable *mutable, struct error *err);

/* It is not added after all; nothing happens where none is being. */
void pod_mutable_add_abort(struct pod_mutable *mutable);

/*
 * Takes an app away: it is in no record any more, and not in the tree but for its mount points, which are the guest's
 * to remove. -errno with a message; then it is still there.
 */
int pod_mutable_take(struct pod_mutable *mutable, size_t index, struct error *err);

/*
 * The guest has done it: what the app had in the directory is moved to where pod_mutable_sweep() removes it.
 * -ENOENT: no such app was taken away.
 */
int pod_mutable_release(struct pod_mutable *mutable, const char *name);

/*
 * The messages by which the guest starts an app, and removes the mount points of one that is going to be taken
 * away. NULL: out of memory.
 */
json_t *pod_mutable_start_message(const struct pod_mutable *mutable, size_t index);
json_t *pod_mutable_remove_message(const struct pod_mutable *mutable, size_t index);

/*
 * Removes for good what was released, or not added after all, by whoever has time for it: there may be millions of
 * files. 0 or -errno; -EAGAIN, -ENOTEMPTY: there is more of it than is removed at a time, or it becomes more. It ends whatever the
 * guest does; what is left goes the next time, or with the pod.
 */
int pod_mutable_sweep(const struct pod *pod);

#endif
