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
 *   lock              its locks (F_OFD_SETLK) are the pod's: see below; never written
 *   manifest          the pod manifest, byte by byte as it was given or generated
 *   pod               the resolved pod manifest: with each app's section and image id
 *   appsinfo/APP/manifest   the manifest of the app's image
 *   prepared.json     what `run-prepared` has to know of `prepare`
 *   trees             the ids of the rendered trees in use, one a line
 *   overlay/APP/      upper and work directories of the app's root filesystem
 *   volumes/NAME      empty volumes
 *   tree/             where the pod's tree is mounted, in the supervisor's mount namespace only
 *   run.json          what a run was started with
 *   apps/APP.json     what became of each app
 *   logs/APP/         what it wrote (pod/app_log.h)
 *   end.json          what became of the pod; absent in an exited pod: it was killed
 *   requests          socket of the process that runs it (pod/request.h)
 *   vsock, vsock_PORT sockets by which programs of the host and of the pod reach each other (pod/sockets.h)
 *   ssh/              its host key, once somebody has asked for it (pod/ssh.h)
 *   debug             the names of the debug trees that it uses, one a line (pod/debug_tree.h)
 *
 * Each byte of the lock file is a lock. Whoever makes or runs a pod holds all of them for writing, in one
 * open file description that the VMM shares, so that they go with the last of its processes.
 *   0   "locked" in the table above. Held for reading by who must not have the pod removed meanwhile
 *   1   let go of when the pod is ready: those who wait for that wait for a read lock
 *   2   held to the end, for those who wait for the end; nobody who removes a pod takes it
 *   3   let go of while the pod is paused
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

struct pod;
/* The same, or "paused". */
const char *pod_state_text(const struct pod *pod);

struct pods; /* the pods directory of a data directory */

int pods_open(int data_dirfd, struct pods **ret, struct error *err);
void pods_close(struct pods *pods);

/* The data directory that they are in; borrowed. */
int pods_data_fd(const struct pods *pods);

static inline void cleanup_pods(struct pods **pods)
{
	if (*pods)
		pods_close(*pods);
}
#define _cleanup_pods_ _cleanup_(cleanup_pods)

struct pod {
	char uuid[POD_UUID_SIZE];
	enum pod_state state; /* when it was opened */
	bool is_paused;       /* then; of a running one */
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

/*
 * preparing or prepared (locked) to running. What was written with file_write_atomic() is on disk.
 * -ENOENT: a prepared pod that somebody else has run or removed.
 */
int pod_start(struct pod *pod, struct error *err);

/* preparing (locked) to prepared, and lets go of it: everything written so far is on disk. */
int pod_finish_prepare(struct pod *pod, struct error *err);

/* Locks a prepared pod, to run it. -EBUSY: somebody else has it; -EINVAL: it is not prepared. */
int pod_take_prepared(struct pod *pod, struct error *err);

/*
 * Opens the pod whose UUID is uuid, or the only one whose UUID begins with it.
 * -ENOENT: "no matches found"; -ENOTUNIQ: several.
 */
int pod_open(struct pods *pods, const char *uuid, struct pod *ret, struct error *err);

/* All UUIDs, sorted; the caller frees the array and its strings. */
int pods_list(struct pods *pods, char ***ret_uuids, size_t *ret_count, struct error *err);

/* Removes a pod that is not running. -EBUSY: it is in use. */
int pod_remove(struct pod *pod, struct error *err);

/* Keeps others from removing the pod as long as it is open. -EBUSY: it is in use. */
int pod_share(struct pod *pod, struct error *err);

/* By the process that runs it: all its apps are there; the pod stands still, or goes on. 0 or -errno. */
int pod_set_ready(const struct pod *pod);
int pod_set_paused(const struct pod *pod, bool is_paused);

/*
 * Waits until the pod with this whole UUID has come to its end, or is ready or has come to its end; without
 * polling, for at most timeout nanoseconds (negative: for ever). -ETIMEDOUT; -ENOENT: it was removed.
 * Takes SIGALRM for itself meanwhile.
 */
enum pod_event { POD_EVENT_END, POD_EVENT_READY };
int pod_wait(struct pods *pods, const char *uuid, enum pod_event event, int64_t timeout,
	struct error *err);

/* Whether a pod in this state can only be removed: it will never run, or not again. */
bool pod_state_is_final(enum pod_state state);

/*
 * Collects garbage in two passes, as rkt does. The first marks: exited pods move to "exited-garbage", from
 * where their grace counts; aborted prepares, and pods that have been prepared for longer than
 * expire_prepared, move to "garbage". The second removes what is in "garbage", and what has been in
 * "exited-garbage" for longer than grace. mark_only: pods that are exited or aborted are marked, no more.
 */
enum pods_gc_event {
	PODS_GC_MARKED,  /* exited, now garbage */
	PODS_GC_ABORTED, /* an aborted prepare, now garbage */
	PODS_GC_EXPIRED, /* prepared too long ago, now garbage */
	PODS_GC_REMOVED,
	PODS_GC_KEPT, /* still within its grace */
};

struct pods_gc_options {
	int64_t grace, expire_prepared; /* seconds */
	bool mark_only;
	/* What is done, pod by pod; may be NULL. */
	void (*report)(void *context, const char *uuid, enum pods_gc_event event);
	void *context;
};
int pods_gc(struct pods *pods, const struct pods_gc_options *options, size_t *ret_removed,
	struct error *err);

/* Of a pod's directory: the ids of its apps' trees, one a line. */
#define POD_TREES "trees"

/* The ids of all trees that pods and checkpoints (pod/checkpoint.h) use. The caller frees the array and its strings. */
int pods_trees_in_use(struct pods *pods, char ***ret_ids, size_t *ret_count, struct error *err);

/* The names of all debug trees that checkpoints use, and pods that have not ended; the same. */
#define POD_DEBUG_TREE "debug"
int pods_debug_trees_in_use(
	struct pods *pods, char ***ret_names, size_t *ret_count, struct error *err);

void pods_strings_free(char **strings, size_t count);

/* Records: JSON files in the pod's directory, replaced as a whole (file_replace()). */
int pod_write_record(const struct pod *pod, const char *path, json_t *record);
/* The names in the pod's directory, and its own name in its place, are on disk then. */
int pod_sync_place(const struct pod *pod);
/* -ENOENT when there is none; -EINVAL when it is not JSON. */
int pod_read_record(const struct pod *pod, const char *path, json_t **ret);

/* Wall clock, nanoseconds since 1970. */
int64_t pod_now(void);

#endif
