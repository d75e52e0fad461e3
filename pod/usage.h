/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What running pods use (wire/usage.h): in the pod, as guest-init tells it, and on the host, as the process that runs the
 * pod tells it. Nobody counts anything for this while nobody asks.
 *
 * Of the host's numbers: a machine's are those of its VMM's process and cgroup, so with the memory of the guest and what
 * the file server reads and writes; a container's those of its cgroup.
 */
#ifndef APPC_POD_USAGE_H
#define APPC_POD_USAGE_H

#include "pod/cgroup.h"
#include "pod/pod.h"
#include "wire/usage.h"

struct pod_usage {
	char uuid[POD_UUID_SIZE];
	char *flavour; /* NULL: unknown */
	int64_t at,
		started_at; /* CLOCK_MONOTONIC when it was asked; wall clock; nanoseconds; 0: unknown */
	bool has_host, has_guest; /* who has answered */
	struct wire_usage host;
	struct wire_pod_usage guest; /* apps that the pod's manifest does not have are not in it */
};

struct pod_usages {
	struct pod_usage **items; /* sorted by UUID */
	size_t count;
};
#define POD_USAGES_NONE ((struct pod_usages){0})

/*
 * Asks pods, all at once: those of uuids (whole, or their unique beginnings), or where count is 0 all that run. A guest
 * that has not answered after timeout_ms, one that is paused perhaps, has not. 0, or -errno with a message: a pod that
 * was named does not run.
 */
int pod_usages_read(struct pods *pods, char *const *uuids, size_t count, int timeout_ms,
	struct pod_usages *ret, struct error *err);
void pod_usages_done(struct pod_usages *usages);

/* ---- by the process that runs the pod */

/*
 * What the host spends: on process pid (0: none) of the flavour, which the caller has not waited for yet, and its cgroup;
 * or on the cgroup of a container, at a path of pod_cgroup_path() ("" none).
 */
void pod_usage_of_host(
	pid_t pid, const struct pod_cgroup *cgroup, const char *container, struct wire_usage *ret);

/* Text of /proc/PID/stat: its time and threads. What is not there stays as it is. */
void pod_usage_parse_stat(const char *text, struct wire_usage *usage);

/* Answers a request of type "usage". */
void pod_usage_answer(int fd, const struct wire_usage *usage);

#endif
