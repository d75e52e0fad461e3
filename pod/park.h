/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parking a pod's apps: a pod like it is started from a template, its apps are brought to the first
 * instruction of their programs, and the machine is saved there with what guest-init had written
 * to the pod's tree. A later run of the pod gets a copy of both.
 */
#ifndef APPC_POD_PARK_H
#define APPC_POD_PARK_H

#include "pod/parking.h"
#include "pod/pod.h"
#include "pod/resolve.h"

struct pod_park_options {
	int kernel_fd, init_fd;          /* borrowed */
	const struct template *template; /* where the machine starts from */
	enum virtio_fs_dax dax;          /* its */
	enum virtio_net_kind net_kind;
	struct template_builder *builder; /* what it is parked into; the caller commits it */
	struct parking *parking;          /* begun */
};

/*
 * Parks. 0, or -errno with the reason why these apps cannot be parked. The pod that was made for
 * it is gone afterwards; after SIGKILL `gc` removes it. As pod_run() needs a mount namespace.
 */
int pod_park(struct pods *pods, const struct resolved_pod *resolved, struct store *store,
	const struct pod_park_options *options, struct error *err);

/*
 * Puts what the parked pod had written into the directory of a new pod, after pod_tree_prepare() and before
 * the tree is mounted. -ESTALE: the template has no such thing any more, and nothing has changed.
 */
int pod_park_restore_tree(const struct pod *pod, const struct resolved_pod *resolved,
	const struct template *template, struct error *err);

#endif
