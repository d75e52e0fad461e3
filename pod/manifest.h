/* SPDX-License-Identifier: Apache-2.0 */
/* The resolved manifest of a pod, from its directory. */
#ifndef APPC_POD_MANIFEST_H
#define APPC_POD_MANIFEST_H

#include "appc/manifest.h"
#include "pod/pod.h"

/* 0 or -errno with a message that names the pod. The caller frees it. */
int pod_manifest_read(const struct pod *pod, struct appc_pod_manifest **ret, struct error *err);

/*
 * Which app has that name; NULL: the only one. -ENOENT, or -EINVAL: there are several; with a message.
 */
int pod_manifest_find_app(const struct pod *pod, const struct appc_pod_manifest *manifest,
	const char *name, size_t *ret, struct error *err);

#endif
