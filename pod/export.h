/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root filesystem of an app that has exited, as an image: what its image had, with what the app
 * changed.
 */
#ifndef APPC_POD_EXPORT_H
#define APPC_POD_EXPORT_H

#include "pod/pod.h"
#include "store/store.h"

/*
 * Writes an uncompressed ACI to output_fd. app may be NULL in a pod with one app. The manifest is that of the app's
 * image, less its dependencies and path whitelist, whose files are in the new image; where the image is no longer
 * in the store, what the pod's manifest knows of it. Volumes are not part of it. The pod is not removed meanwhile. Needs the
 * privilege to mount. 0 or -errno with a message; -EBUSY: the pod has not exited.
 */
int pod_export(
	struct pod *pod, struct store *store, const char *app, int output_fd, struct error *err);

#endif
