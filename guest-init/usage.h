/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pod and its apps use, counted by the kernel and read when somebody asks (wire/usage.h): until then it costs
 * nothing. For the one thread of PID 1.
 */
#ifndef APPC_GUEST_INIT_USAGE_H
#define APPC_GUEST_INIT_USAGE_H

#include "guest-init/app.h"
#include "wire/usage.h"

/* What cannot be read is unknown. */
void guest_usage_read(const struct guest_pod *pod, struct wire_pod_usage *ret);

/* The numbers in text of /proc/net/dev; what it does not have stays as it is. */
void guest_usage_parse_network(const char *text, struct wire_usage *usage);

#endif
