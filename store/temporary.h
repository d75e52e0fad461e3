/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories in the store's tmp/: what is being written or removed. The process that works on one
 * holds an exclusive flock() on it, which the kernel drops when the process dies however it dies;
 * an entry that can be locked is rubbish. Making and locking an entry happens under a shared lock
 * on tmp/ itself, looking for rubbish under an exclusive one, so that no entry is taken for rubbish
 * between the two steps.
 */
#ifndef APPC_STORE_TEMPORARY_H
#define APPC_STORE_TEMPORARY_H

#include "base/cleanup.h"

struct temporary {
	int tmp_dirfd; /* borrowed */
	int fd;        /* the directory, locked; -1: nothing is owned */
	char name[48];
};
#define TEMPORARY_NONE ((struct temporary){.tmp_dirfd = -1, .fd = -1})

/* Makes a new empty directory. prefix says in a listing what it is. */
int temporary_create(int tmp_dirfd, const char *prefix, struct temporary *ret);

/*
 * Moves the directory dirfd/name into tmp/, for removal. -ENOENT: there is none, or another process
 * took it first.
 */
int temporary_take(
	int tmp_dirfd, const char *prefix, int dirfd, const char *name, struct temporary *ret);

/*
 * Renames to dirfd/name and lets go of it, with the directories synced. The content must have been
 * synced before. -EEXIST: the name is taken; the temporary is still owned.
 */
int temporary_publish(struct temporary *temporary, int dirfd, const char *name);

/*
 * The same where the name is taken by another directory, with which it changes places: at every instant one of the two
 * is there. That one is the temporary afterwards. -ENOENT: the name is free.
 */
int temporary_exchange(struct temporary *temporary, int dirfd, const char *name);

/* Removes the directory with all in it. */
int temporary_discard(struct temporary *temporary);

static inline void cleanup_temporary(struct temporary *temporary)
{
	if (temporary->fd >= 0)
		temporary_discard(temporary);
}
#define _cleanup_temporary_ _cleanup_(cleanup_temporary)

/* Removes what killed processes left. */
int temporary_clean(int tmp_dirfd);

#endif
