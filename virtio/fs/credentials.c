// SPDX-License-Identifier: Apache-2.0
/*
 * credentials.c: the caller's uid and gid on the serving thread.
 *
 * Theory of operation: glibc's setfsuid() and capset wrappers are avoided only where they would act
 * on all threads; the kernel's own calls change the calling thread. Leaving uid 0 clears the
 * thread's file capabilities (capabilities(7), "Effect of user ID changes"); they are raised again,
 * since an override that the guest's kernel has granted must work here too. In the jail they stay
 * (vmm/jail.c, SECBIT_NO_SETUID_FIXUP).
 *
 * #syscalls:vcpu setfsuid setfsgid capget capset
 */
#include "virtio/fs/credentials.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INVALID_ID UINT32_MAX

static uint32_t thread_set_uid(uint32_t uid)
{
	return (uint32_t)syscall(SYS_setfsuid, uid);
}

static uint32_t thread_set_gid(uint32_t gid)
{
	return (uint32_t)syscall(SYS_setfsgid, gid);
}

static int capabilities_get(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int capabilities_set(const struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int identity_assume(struct fs_credentials *credentials, uint32_t uid, uint32_t gid)
{
	*credentials = (struct fs_credentials){
		/* An invalid id changes nothing: this asks for the present one. */
		.uid = thread_set_uid(INVALID_ID),
		.gid = thread_set_gid(INVALID_ID),
	};
	if (uid == INVALID_ID || gid == INVALID_ID)
		return -EPERM;
	if (uid == credentials->uid && gid == credentials->gid)
		return 0;
	credentials->identity = true;
	thread_set_gid(gid);
	thread_set_uid(uid);
	/* These calls do not report failure. */
	if (thread_set_uid(INVALID_ID) != uid || thread_set_gid(INVALID_ID) != gid) {
		fs_credentials_restore(credentials);
		return -EPERM;
	}
	return 0;
}

int fs_credentials_assume(struct fs_credentials *credentials, uint32_t uid, uint32_t gid)
{
	struct __user_cap_data_struct before[_LINUX_CAPABILITY_U32S_3];
	int r;

	r = capabilities_get(before);
	if (r < 0)
		memset(before, 0, sizeof(before));
	r = identity_assume(credentials, uid, gid);
	if (r < 0 || !credentials->identity)
		return r;
	/* Without capabilities of our own there is nothing to raise, and the host's word counts. */
	if (before[0].effective || before[1].effective)
		capabilities_set(before);
	memcpy(credentials->saved, before, sizeof(before));
	credentials->capabilities = true;
	return 0;
}

void fs_credentials_drop_fsetid(struct fs_credentials *credentials, uint32_t gid)
{
	struct __user_cap_data_struct without[_LINUX_CAPABILITY_U32S_3];

	*credentials = (struct fs_credentials){
		.uid = thread_set_uid(INVALID_ID),
		.gid = thread_set_gid(gid),
	};
	credentials->identity = gid != credentials->gid;
	if (capabilities_get(without) < 0 || !(without[0].effective & CAP_TO_MASK(CAP_FSETID)))
		return;
	memcpy(credentials->saved, without, sizeof(without));
	without[0].effective &= ~(uint32_t)CAP_TO_MASK(CAP_FSETID);
	credentials->capabilities = capabilities_set(without) == 0;
}

void fs_credentials_restore(struct fs_credentials *credentials)
{
	if (credentials->identity) {
		thread_set_uid(credentials->uid);
		thread_set_gid(credentials->gid);
	}
	if (credentials->capabilities)
		capabilities_set(credentials->saved);
	credentials->identity = credentials->capabilities = false;
}
