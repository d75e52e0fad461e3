/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File data in sessions without OPEN: the fds that READ, WRITE and their kind use when the guest opens
 * files without asking (FUSE_NO_OPEN_SUPPORT).
 *
 * An inode has one such fd at most, opened when it is first needed: for reading, until the guest
 * writes; on overlayfs a file that was opened before it was copied up is not the one that
 * is written to, so the first write replaces the fd. When there are too many, the one that was
 * not used for longest is closed. Requests in flight keep theirs.
 * All functions may be called from any thread; each takes the table lock itself.
 */
#ifndef APPC_VIRTIO_FS_DATA_H
#define APPC_VIRTIO_FS_DATA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct fs_inode;

struct fs_data {
	/* Constant. */
	int fd;
	bool writable; /* and readable; else only that */

	/* Under the table lock. */
	struct fs_inode *inode; /* NULL: in the table no more */
	unsigned int references;
	struct fs_data *newer, *older;
};

struct fs_data_table {
	pthread_mutex_t lock;
	struct fs_data *newest, *oldest; /* by last use */
	size_t count, max;
};

void fs_data_table_init(struct fs_data_table *table, size_t max);
void fs_data_table_free(struct fs_data_table *table); /* every inode has been freed */

size_t fs_data_table_count(struct fs_data_table *table);

/* What the inode has, if it will do, with a reference for the caller; else NULL. */
struct fs_data *fs_data_find(struct fs_data_table *table, struct fs_inode *inode, bool writable);

/*
 * Gives the inode an fd, which is taken over in any case, and the caller a reference to it, or to a
 * better one that came in between. -ENOMEM.
 */
int fs_data_enter(struct fs_data_table *table, struct fs_inode *inode, int fd, bool writable,
	struct fs_data **ret);

/* data may be NULL. */
void fs_data_put(struct fs_data_table *table, struct fs_data *data);

/* The inode goes away. */
void fs_data_forget(struct fs_data_table *table, struct fs_inode *inode);

#endif
