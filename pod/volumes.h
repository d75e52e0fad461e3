/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes of a pod and their mounts in its apps (specification, "Pod Manifest": volumes and mounts; rkt's implicit
 * volumes): a part of pod_resolve(), in the order of these functions. Errors name the volume.
 */
#ifndef APPC_POD_VOLUMES_H
#define APPC_POD_VOLUMES_H

#include "pod/resolve.h"

/* The volumes that the pod manifest lists; links of their sources are followed here, once. */
int volumes_resolve_listed(struct resolved_pod *pod, struct error *err);

/* The mounts of an app: those that the manifest lists, and its image's mount points, with a volume for each. */
int volumes_resolve_mounts(struct resolved_pod *pod, const struct appc_runtime_app *app,
	struct resolved_app *resolved, struct error *err);

/* A volume that every mount of it has read-only is read-only for the whole machine. */
void volumes_resolve_access(struct resolved_pod *pod);

/*
 * Writes into the manifest where the links of the sources led to. -ELOOP: a link lies in a directory that the pod itself
 * can write to, as another volume.
 */
int volumes_record_sources(
	struct resolved_pod *pod, const struct resolve_options *options, struct error *err);

#endif
