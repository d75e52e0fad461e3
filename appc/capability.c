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

int appc_capability_number(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (!strcmp(capability_names[i], name))
			return (int)i;
	return -1;
}

static uint64_t capability_set_mask(const struct appc_isolator *isolator)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < isolator->set.count; i++) {
		int number = appc_capability_number(isolator->set.items[i]);

		if (number >= 0)
			mask |= BIT(number);
	}
	return mask;
}

int appc_capabilities_resolve(
	const struct appc_isolators *isolators, uint64_t *ret_mask, struct error *err)
{
	const struct appc_isolator *retain =
		appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_RETAIN);
	const struct appc_isolator *remove =
		appc_isolators_find(isolators, APPC_ISOLATOR_CAPABILITIES_REMOVE);

	if (retain && remove)
		return error_set(
			err, -EINVAL, "cannot have both %s and %s", retain->name, remove->name);
	*ret_mask = retain ? capability_set_mask(retain)
		: remove   ? default_mask & ~capability_set_mask(remove)
			   : default_mask;
	return 0;
}
