/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the volumes of a pod begin with: implicit volumes of apps from Docker images get content, mode and owner of the
 * image's directory (copy_path in pod/resolve.h). The directories of the volumes are there, and nothing of the pod runs
 * that could reach them.
 *
 * An image may have millions of files there. Who has nothing else to do copies them himself; the supervisor of a
 * running pod has a child do it. One thread; the child dies with its parent, and holds the pod's lock until then.
 */
#ifndef APPC_POD_VOLUME_FILL_H
#define APPC_POD_VOLUME_FILL_H

#include "pod/pod.h"
#include "pod/resolve.h"

/* Whether there is anything to copy. */
bool volume_fill_is_needed(const struct resolved_pod *resolved);

/* Copies it. -errno with a message; what is there then is incomplete. */
int volume_fill(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	struct error *err);

struct volume_fill {
	pid_t pid;
	int pid_fd;     /* readable when the child has ended; -1: there is none */
	int message_fd; /* why it failed */
};
#define VOLUME_FILL_NONE ((struct volume_fill){.pid_fd = -1, .message_fd = -1})

/* Begins to copy it in a child. resolved has to stay until then. -errno with a message: there is no child. */
int volume_fill_begin(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, struct volume_fill *ret, struct error *err);

/* Waits for the child's end. 0: all is copied; -errno with a message. */
int volume_fill_end(struct volume_fill *fill, struct error *err);

/* Kills it, where there is one. */
void volume_fill_abort(struct volume_fill *fill);

#endif
