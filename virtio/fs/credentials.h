/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's identity on the serving thread: file system uid and gid, and the capability that
 * keeps setuid bits alive. Only the calling thread is changed; restore on the same thread, whatever
 * happened in between.
 */
#ifndef APPC_VIRTIO_FS_CREDENTIALS_H
#define APPC_VIRTIO_FS_CREDENTIALS_H

#include "base/cleanup.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

struct fs_credentials {
	bool identity, capabilities; /* changed: to be restored */
	uint32_t uid, gid;           /* the thread's own */
	struct __user_cap_data_struct saved[_LINUX_CAPABILITY_U32S_3];
};

/*
 * What is created next belongs to uid and gid. The thread keeps its capabilities: the guest's
 * kernel has checked the caller's permissions. -EPERM: this process cannot act for that uid or gid.
 */
int fs_credentials_assume(struct fs_credentials *credentials, uint32_t uid, uint32_t gid);

/*
 * Writes and truncations clear setuid and setgid bits, as for a caller of that group without CAP_FSETID
 * (whom Linux lets keep a setgid bit without execute permission of its own group's files; of other
 * groups that he is in we are not told).
 */
void fs_credentials_drop_fsetid(struct fs_credentials *credentials, uint32_t gid);

void fs_credentials_restore(struct fs_credentials *credentials);

#define _cleanup_credentials_ _cleanup_(fs_credentials_restore)

#endif
