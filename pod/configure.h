/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages for guest-init (wire/wire.h) that say what a resolved pod is: whole, or NULL: out of memory.
 */
#ifndef APPC_POD_CONFIGURE_H
#define APPC_POD_CONFIGURE_H

#include "pod/resolve.h"

/* configure, which parks the apps at their start when park is set. etc_files: see pod_tree_mount(); NULL: none. */
json_t *resolved_pod_configure(const struct resolved_pod *pod, const unsigned int *etc_files,
	const char *uuid, const char *hostname, bool park);

/* An app as it is in configure and start. */
json_t *resolved_app_configure(const struct resolved_app *app, unsigned int etc_files);

/* renew, for a pod that was parked so. */
json_t *resolved_pod_renew(const char *uuid, const char *hostname);

#endif
