/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod and its apps have used, in numbers: guest-init tells them when it is asked (wire/session.h, "usage"), and
 * the process that runs the pod tells what the host spends on it (pod/request.h).
 *
 * As JSON the numbers of one subject are an object of integers by name; one that is not known is not there. What a
 * guest tells is its word: it is bounded and of the right form, and may be a lie.
 */
#ifndef APPC_WIRE_USAGE_H
#define APPC_WIRE_USAGE_H

#include "wire/wire.h"

enum wire_usage_kind {
	/* microseconds; they only grow, as long as the subject lives */
	WIRE_USAGE_CPU,
	WIRE_USAGE_CPU_USER,
	WIRE_USAGE_CPU_SYSTEM,
	WIRE_USAGE_THROTTLED, /* that it could not run for, at its limit */
	/* bytes */
	WIRE_USAGE_MEMORY,           /* that it is charged for, with its page cache */
	WIRE_USAGE_MEMORY_PEAK,      /* the most of it so far */
	WIRE_USAGE_MEMORY_ANONYMOUS, /* of it: what no file backs */
	WIRE_USAGE_MEMORY_LIMIT,
	WIRE_USAGE_RESIDENT, /* of its processes, where what they share counts for each */
	WIRE_USAGE_OOM_KILLS,
	WIRE_USAGE_TASKS, /* threads and processes */
	/* bytes that its processes have read and written, of files, pipes and sockets alike; they may shrink */
	WIRE_USAGE_READ,
	WIRE_USAGE_WRITTEN,
	/* by its network interfaces, the loopback not counted */
	WIRE_USAGE_RECEIVED, /* bytes */
	WIRE_USAGE_RECEIVED_PACKETS,
	WIRE_USAGE_RECEIVED_DROPS,
	WIRE_USAGE_SENT, /* bytes */
	WIRE_USAGE_SENT_PACKETS,
	WIRE_USAGE_SENT_DROPS,
	WIRE_USAGE_KINDS,
};

#define WIRE_USAGE_UNKNOWN UINT64_MAX

struct wire_usage {
	uint64_t values[WIRE_USAGE_KINDS]; /* at most INT64_MAX, or WIRE_USAGE_UNKNOWN */
};

/* Nothing is known. */
void wire_usage_init(struct wire_usage *usage);

/* Text of the cpu.stat of a cgroup of version 2. What it does not have stays as it is. */
void wire_usage_parse_cpu(const char *text, struct wire_usage *usage);

/* NULL: out of memory. */
json_t *wire_usage_json(const struct wire_usage *usage);

/* Other members of the object are passed over. 0, or -EBADMSG with a message. */
int wire_usage_parse(const json_t *object, struct wire_usage *ret, struct error *err);

/* With its NUL; longer than any that a pod can have. */
#define WIRE_APP_NAME_SIZE 256

struct wire_app_usage {
	char name[WIRE_APP_NAME_SIZE];
	bool is_running;
	struct wire_usage usage;
};

/* {"pod": {numbers}, "apps": [{"app": name, "running": boolean, numbers}, ...]} */
struct wire_pod_usage {
	struct wire_usage pod;
	size_t app_count;
	struct wire_app_usage apps[WIRE_APPS_MAX];
};

json_t *wire_pod_usage_json(const struct wire_pod_usage *usage);

/* length bytes of such a text. Names are those that an app can have. 0, -EBADMSG with a message, or -ENOMEM. */
int wire_pod_usage_parse(
	const char *text, size_t length, struct wire_pod_usage *ret, struct error *err);

#endif
