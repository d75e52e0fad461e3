/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroups of the host.
 *
 * A container's: guest-init makes "appc-UUID" with one child per app below the cgroup that it finds
 * itself in (one level further down where the pod has limits), and removes it at its end. When it is killed, this module
 * does.
 *
 * A VMM's: this module makes it, with the limits of the pod as a whole, and removes it. In version 1 it is a directory
 * "appc-UUID" below this process's own in each hierarchy with a controller that is wanted. In version 2, where a
 * cgroup with processes cannot have limited children, it stands beside this process's own.
 *
 * The process that carries a machine's network does so on the pod's CPU time. Its memory is none of the guest's, for
 * the lack of which the VMM would be killed: in version 1 it joins the hierarchy of the controller "cpu" alone, and in
 * version 2 the cgroup has two children, "vmm" with the limits on memory and threads, and "network" without.
 */
#ifndef APPC_POD_CGROUP_H
#define APPC_POD_CGROUP_H

#include "base/child.h"
#include "base/error.h"
#include "base/json.h"
#include "wire/usage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The path, in the version 2 hierarchy, of the cgroup that guest-init will make when this process starts
 * it. 0, or -ENOENT where there is no such hierarchy.
 */
int pod_cgroup_path(const char *uuid, char *path, size_t size);

/* What it has used, as far as it is known: into usage. */
void pod_cgroup_read_container(const char *path, struct wire_usage *usage);

/* Removes that cgroup and what is below it. They must be empty; one that is not, or is gone, stays so. */
void pod_cgroup_remove(const char *path);

/* ---- of a VMM */

struct pod_cgroup_limits {
	uint64_t memory;         /* bytes */
	unsigned int cpu_millis; /* thousandths of a CPU */
	unsigned int threads;
	uint64_t disk_bytes,
		disk_operations; /* per second, reading and writing each; 0: no limit */
	int disk_fd;             /* a file on the disk that is meant; borrowed */
};

/* memory, cpu, pids, blkio can have a hierarchy each. */
#define POD_CGROUP_HIERARCHIES 4

struct pod_cgroup_hierarchy {
	char *controllers; /* of version 1, "cpu,cpuacct"; "": version 2 */
	char *path;        /* of the cgroup, absolute in the hierarchy */
	int fd;            /* the cgroup's directory, once it was made; -1 */
	int join_fd;       /* version 1: its file "tasks"; -1 */
};

struct pod_cgroup {
	struct pod_cgroup_hierarchy hierarchies[POD_CGROUP_HIERARCHIES];
	size_t count;
	/* Of version 2, for CLONE_INTO_CGROUP: the VMM's, and that of who carries the network; -1: there is none. */
	int unified_fd, network_fd;
};
#define POD_CGROUP_NONE ((struct pod_cgroup){.unified_fd = -1, .network_fd = -1})

/*
 * Where the cgroup would be: nothing is made yet, so that it can be written down before. An empty plan (count is
 * 0): the host has no controllers. 0 or -errno.
 */
int pod_cgroup_plan(const char *uuid, struct pod_cgroup *ret);

/* The plan as a record has it: an array of strings "CONTROLLERS:PATH". NULL: out of memory. */
json_t *pod_cgroup_json(const struct pod_cgroup *cgroup);

/*
 * Makes what was planned and sets the limits. What the host does not have is left out, but for the limit on memory:
 * without it there is no cgroup. -errno with a message; then nothing is left.
 */
int pod_cgroup_create(
	struct pod_cgroup *cgroup, const struct pod_cgroup_limits *limits, struct error *err);

/* What of it is for the process that carries the network; it lives as long as the cgroup. NULL: nothing. */
struct child_cgroup pod_cgroup_of_network(const struct pod_cgroup *cgroup);

/* What it has been charged for, as far as it is known: into usage. */
void pod_cgroup_read(const struct pod_cgroup *cgroup, struct wire_usage *usage);

/* Whether the kernel has killed a process in it, for lack of memory. */
bool pod_cgroup_was_out_of_memory(const struct pod_cgroup *cgroup);

/* Removes the directories. What is gone, or has processes still, stays as it is. */
void pod_cgroup_destroy(struct pod_cgroup *cgroup);
/* The same from a record, which may be damaged. */
void pod_cgroup_remove_recorded(const json_t *recorded);

/* Frees the plan and closes; nothing is removed. */
void pod_cgroup_done(struct pod_cgroup *cgroup);

#endif
