/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods on disk: their directories, their states, and what is recorded of them.
 *
 * A pod is the directory DATA/pods/STATE/UUID. STATE and whether some process holds the pod's lock say
 * in which state it is, as in rkt (pod-lifecycle): nothing else needs to be written when a process
 * dies, so the answer is true after SIGKILL.
 *
 *   directory         locked              not locked
 *   embryo            embryo              garbage: removed by gc
 *   prepare           preparing           aborted prepare
 *   prepared          prepared            prepared
 *   run               running             exited
 *   exited-garbage    exited deleting     exited garbage
 *   garbage           deleting            garbage
 *
 * In the directory:
 *   lock              its write lock (F_OFD_SETLK) is the lock; the VMM holds it as well as we do
 *   pod               the resolved pod manifest
 *   trees             the ids of the rendered trees in use, one a line
 *   overlay/APP/      upper and work directories of the app's root filesystem
 *   volumes/NAME      empty volumes
 *   tree/             where the pod's tree is mounted, in the supervisor's mount namespace only
 *   run.json          what a run was started with
 *   apps/APP.json     what became of each app
 *   end.json          what became of the pod; absent in an exited pod: it was killed
 *
 * All functions return 0 or -errno. A struct pod belongs to one thread.
 */
#ifndef APPC_POD_POD_H
#define APPC_POD_POD_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define POD_UUID_SIZE 37

enum pod_state {
	POD_EMBRYO,
	POD_PREPARING,
	POD_ABORTED_PREPARE,
	POD_PREPARED,
	POD_RUNNING,
	POD_EXITED,
	POD_EXITED_DELETING,
	POD_EXITED_GARBAGE,
	POD_DELETING,
	POD_GARBAGE,
};

/* The state's name as rkt prints it. */
const char *pod_state_name(enum pod_state state);

struct pods; /* the pods directory of a data directory */

int pods_open(int data_dirfd, struct pods **ret, struct error *err);
void pods_close(struct pods *pods);

static inline void cleanup_pods(struct pods **pods)
{
	if (*pods)
		pods_close(*pods);
}
#define _cleanup_pods_ _cleanup_(cleanup_pods)

struct pod {
	char uuid[POD_UUID_SIZE];
	enum pod_state state; /* when it was opened */
	struct pods *pods;    /* borrowed */
	int fd;               /* its directory */
	int lock_fd;       /* held exclusively when >= 0 and the pod was created or locked by us */
	const char *place; /* the name of the directory it is in */
};

void pod_close(struct pod *pod);

#define _cleanup_pod_ _cleanup_(pod_close)
#define POD_NONE      ((struct pod){.fd = -1, .lock_fd = -1})

/* A new pod with a new UUID, in state preparing and locked. */
int pod_create(struct pods *pods, struct pod *ret, struct error *err);

/* preparing (locked) to running: everything written so far is on disk. */
int pod_start(struct pod *pod, struct error *err);

/*
 * Opens the pod whose UUID is uuid, or the only one whose UUID begins with it.
 * -ENOENT: "no matches found"; -ENOTUNIQ: several.
 */
int pod_open(struct pods *pods, const char *uuid, struct pod *ret, struct error *err);

/* All UUIDs, sorted; the caller frees the array and its strings. */
int pods_list(struct pods *pods, char ***ret_uuids, size_t *ret_count, struct error *err);

/* Removes a pod that is not running. -EBUSY: it is in use. */
int pod_remove(struct pod *pod, struct error *err);

/*
 * Collects garbage: dead embryos and aborted prepares at once; prepared pods older than
 * expire_prepared seconds; exited pods whose end is longer ago than grace seconds.
 */
struct pods_gc_options {
	int64_t grace, expire_prepared; /* seconds */
};
int pods_gc(struct pods *pods, const struct pods_gc_options *options, size_t *ret_removed,
	struct error *err);

/* The ids of all trees that pods use. The caller frees the array and its strings. */
int pods_trees_in_use(struct pods *pods, char ***ret_ids, size_t *ret_count, struct error *err);

void pods_strings_free(char **strings, size_t count);

/* Records: JSON files in the pod's directory, written atomically. */
int pod_write_record(const struct pod *pod, const char *path, json_t *record);
/* -ENOENT when there is none; -EINVAL when it is not JSON. */
int pod_read_record(const struct pod *pod, const char *path, json_t **ret);

/* Wall clock, nanoseconds since 1970. */
int64_t pod_now(void);

#endif
