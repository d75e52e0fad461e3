/* SPDX-License-Identifier: Apache-2.0 */
/* What list and status tell about a pod, read from its records. */
#ifndef APPC_CLI_POD_JSON_H
#define APPC_CLI_POD_JSON_H

#include "pod/pod.h"

/*
 * rkt's object: {"name": UUID, "state", "networks": [], "app_names": [...], "apps": [{"name", "state",
 * "created_at", "started_at", "finished_at", "exit_code", "image_id", "mounts": [{"name",
 * "container_path", "host_path", "read_only"}], "user_annotations", "user_labels"}], "created_at",
 * "started_at", "user_annotations", "user_labels"}. As in rkt, times of the pod are seconds since 1970,
 * those of apps nanoseconds. An app's state is unknown, created, running or exited.
 *
 * And ours: of the pod "finished_at", "exit_code", "reason", "flavour", "pid" (of who runs or ran it),
 * "errors" (what of its directory cannot be read: an array of texts); of apps "image_name", "message", "out_of_memory".
 *
 * What is not known is left out, except for arrays. A damaged pod gives what can be read of it. NULL: out
 * of memory.
 */
json_t *pod_json(const struct pod *pod);

/*
 * The networks of such an object as rkt's list and status write them: "default:ip4=10.0.2.15, default:ip6=fd00:a:0:2::15", safe to show.
 * The caller frees it; NULL: out of memory.
 */
char *pod_networks_text(const json_t *pod);

#endif
