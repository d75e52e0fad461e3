/* SPDX-License-Identifier: Apache-2.0 */
/* Who an app's processes are: user, groups, capabilities. */
#ifndef APPC_GUEST_INIT_IDENTITY_H
#define APPC_GUEST_INIT_IDENTITY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct guest_identity {
	uid_t uid;
	gid_t gid;
	const gid_t *supplementary_gids; /* borrowed */
	size_t supplementary_gid_count;
	uint64_t capabilities; /* bounding set */
	uint64_t present;      /* the calling process's own bounding set; ~0: unknown, so all */
	bool no_new_privileges;
};

/*
 * Resolves "root", a number, an absolute path of a file whose owner is meant, or a name in the root
 * filesystem's own /etc/passwd and /etc/group. root_fd is that root filesystem; no link in it leads
 * out of it. 0 or -errno with a message.
 */
int guest_user_resolve(int root_fd, const char *user, uid_t *ret_uid, struct error *err);
int guest_group_resolve(int root_fd, const char *group, gid_t *ret_gid, struct error *err);

/*
 * The same for the name that a group has from a user: where there is no such group, what /etc/passwd gives the user, and
 * without a line there the user's number.
 */
int guest_group_of_user(
	int root_fd, const char *group, uid_t uid, gid_t *ret_gid, struct error *err);

/*
 * What the root filesystem's /etc/passwd says of the first user with this number: the group and the shell; shell has
 * room for size bytes and may be empty. 0; -ESRCH: nothing; or another -errno.
 */
int guest_user_describe(int root_fd, uid_t uid, gid_t *ret_gid, char *shell, size_t size);

/*
 * Takes all but these capabilities out of the calling process's bounding set. 0 or -errno.
 */
int guest_identity_bound(uint64_t present, uint64_t capabilities);

/*
 * Makes the calling process, which is root without supplementary groups, this identity for its next execve(): root keeps the bounding set,
 * others have no capabilities. Touches nothing but the calling task (raw system calls, no
 * allocation), so that a process that shares our memory may call it. 0 or -errno.
 */
int guest_identity_assume(const struct guest_identity *identity);

/* Drops groups, inheritable and ambient capabilities that our parent may have left us. 0 or -errno. */
int guest_identity_clear_inherited(void);

#endif
