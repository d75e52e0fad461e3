// SPDX-License-Identifier: Apache-2.0
/* capability.c: from capability isolators to a bounding set. */
#include "appc/manifest.h"

#include <linux/capability.h>
#include <string.h>

#define NAME(capability) [capability] = #capability

static const char *const capability_names[] = {
	NAME(CAP_CHOWN),
	NAME(CAP_DAC_OVERRIDE),
	NAME(CAP_DAC_READ_SEARCH),
	NAME(CAP_FOWNER),
	NAME(CAP_FSETID),
	NAME(CAP_KILL),
	NAME(CAP_SETGID),
	NAME(CAP_SETUID),
	NAME(CAP_SETPCAP),
	NAME(CAP_LINUX_IMMUTABLE),
	NAME(CAP_NET_BIND_SERVICE),
	NAME(CAP_NET_BROADCAST),
	NAME(CAP_NET_ADMIN),
	NAME(CAP_NET_RAW),
	NAME(CAP_IPC_LOCK),
	NAME(CAP_IPC_OWNER),
	NAME(CAP_SYS_MODULE),
	NAME(CAP_SYS_RAWIO),
	NAME(CAP_SYS_CHROOT),
	NAME(CAP_SYS_PTRACE),
	NAME(CAP_SYS_PACCT),
	NAME(CAP_SYS_ADMIN),
	NAME(CAP_SYS_BOOT),
	NAME(CAP_SYS_NICE),
	NAME(CAP_SYS_RESOURCE),
	NAME(CAP_SYS_TIME),
	NAME(CAP_SYS_TTY_CONFIG),
	NAME(CAP_MKNOD),
	NAME(CAP_LEASE),
	NAME(CAP_AUDIT_WRITE),
	NAME(CAP_AUDIT_CONTROL),
	NAME(CAP_SETFCAP),
	NAME(CAP_MAC_OVERRIDE),
	NAME(CAP_MAC_ADMIN),
	NAME(CAP_SYSLOG),
	NAME(CAP_WAKE_ALARM),
	NAME(CAP_BLOCK_SUSPEND),
	NAME(CAP_AUDIT_READ),
	NAME(CAP_PERFMON),
	NAME(CAP_BPF),
	NAME(CAP_CHECKPOINT_RESTORE),
};

#define BIT(capability) (1ull << (capability))

/* rkt's default. */
static const uint64_t default_mask = BIT(CAP_AUDIT_WRITE) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) |
	BIT(CAP_FSETID) | BIT(CAP_FOWNER) | BIT(CAP_KILL) | BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) |
	BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |
	BIT(CAP_SETFCAP) | BIT(CAP_SYS_CHROOT);

static int capability_set_mask(
	const struct appc_isolator *isolator, uint64_t *ret, struct error *err)
{
	*ret = 0;
	for (size_t i = 0; i < isolator->set.count; i++) {
		const char *name = isolator->set.items[i];
		size_t number = 0;

		while (number < ARRAY_SIZE(capability_names) &&
			strcmp(capability_names[number], name) != 0)
			number++;
		if (number == ARRAY_SIZE(capability_names))
			return error_set(err, -EINVAL, "%s: unknown capability \"%s\"",
				isolator->name, name);
		*ret |= BIT(number);
	}
	return 0;
}

int appc_capabilities_resolve(
	const struct appc_isolators *isolators, uint64_t *ret_mask, struct error *err)
{
	const struct appc_isolator *retain =
		appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_RETAIN);
	const struct appc_isolator *remove =
		appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_REMOVE);
	uint64_t mask;
	int r;

	if (retain && remove)
		return error_set(
			err, -EINVAL, "cannot have both %s and %s", retain->name, remove->name);
	if (!retain && !remove) {
		*ret_mask = default_mask;
		return 0;
	}
	r = capability_set_mask(retain ? retain : remove, &mask, err);
	if (r < 0)
		return r;
	*ret_mask = retain ? mask : default_mask & ~mask;
	return 0;
}
