/* SPDX-License-Identifier: Apache-2.0 */
/* What list and status tell about a pod, read from its records. */
#ifndef APPC_CLI_POD_JSON_H
#define APPC_CLI_POD_JSON_H

#include "pod/pod.h"

/*
 * {"name": UUID, "state", "created_at", "started_at", "finished_at", "exit_code", "reason",
 * "app_names": [...], "apps": [{"name", "state", "image_id", "image_name", "started_at",
 * "finished_at", "exit_code", "message"}], "user_annotations", "user_labels"}. Times are seconds since
 * 1970, as rkt prints them; what is not known is left out. A pod whose manifest cannot be read has no
 * apps. NULL: out of memory.
 */
json_t *pod_json(const struct pod *pod);

#endif
