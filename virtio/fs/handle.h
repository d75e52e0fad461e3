/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files and directories that the guest has open: ids with generations, as for inodes.
 *
 * A handle object lives until it was released and no request uses it any more. All functions may be
 * called from any thread; each takes the table lock itself.
 */
#ifndef APPC_VIRTIO_FS_HANDLE_H
#define APPC_VIRTIO_FS_HANDLE_H

#include "virtio/fs/inode.h"

enum fs_handle_kind { FS_HANDLE_FILE, FS_HANDLE_DIRECTORY };

/* Host entries read but not yet given to the guest: one system call serves several replies. */
#define FS_DIRECTORY_BUFFER 4096
/* So many directories keep them between two requests; what others have read is read again. */
#define FS_DIRECTORY_BUFFERS_MAX 1024

struct fs_handle {
	/* Constant. */
	uint64_t id;
	enum fs_handle_kind kind;
	int fd;
	int flags;                        /* of its open() */
	bool readable, writable, appends; /* files */
	struct fs_inode *inode;

	/* Directories: under this lock, for a hostile guest may read one directory twice at once.
	 */
	pthread_mutex_t lock;
	uint8_t *entries; /* NULL, or FS_DIRECTORY_BUFFER bytes */
	size_t entries_next, entries_end;
	int64_t position; /* the offset of the entry at entries_next */

	/* Under the table lock. */
	unsigned int references;
};

struct fs_handle_slot {
	struct fs_handle *handle;
	uint32_t generation;
	uint32_t next_free;
};

struct fs_handle_table {
	pthread_mutex_t lock;
	struct fs_handle_slot *slots; /* slot 0 is never used */
	uint32_t slot_count, first_free;
	size_t count, max;
	struct fs_inode_table *inodes;
	atomic_uint buffers; /* entries of handles that are not NULL */
};

void fs_handle_table_init(struct fs_handle_table *table, struct fs_inode_table *inodes, size_t max);
void fs_handle_table_free(struct fs_handle_table *table);

/* As if the guest had released every handle. */
void fs_handle_table_clear(struct fs_handle_table *table);

size_t fs_handle_table_count(struct fs_handle_table *table);

/*
 * Enters fd, which it takes over in any case; flags are those of open(). The inode gets a reference
 * of its own. -ENFILE: the table is full.
 */
int fs_handle_enter(struct fs_handle_table *table, enum fs_handle_kind kind, int fd, int flags,
	struct fs_inode *inode, uint64_t *ret_id);

/*
 * The handle with that id, of that kind and of the inode with that id, with a reference for the
 * caller; else NULL.
 */
struct fs_handle *fs_handle_get(
	struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, uint64_t inode_id);
/* handle may be NULL. */
void fs_handle_put(struct fs_handle_table *table, struct fs_handle *handle);

/* Under the handle's lock: its buffer of entries, made where there is none (-ENOMEM), and the end of it. */
int fs_handle_entries_make(struct fs_handle_table *table, struct fs_handle *handle);
void fs_handle_entries_free(struct fs_handle_table *table, struct fs_handle *handle);

/* ---- parking (saved.c). Nobody else uses the table meanwhile. */

/* As for inodes (inode.h): the slots of the saved table, its handles, and the end of them. */
int fs_handle_table_resume(
	struct fs_handle_table *table, const uint32_t *generations, uint32_t slot_count);
int fs_handle_resume(struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, int fd,
	int flags, struct fs_inode *inode);
void fs_handle_table_resumed(struct fs_handle_table *table);

/* 0, or -EBADF when there is no such handle. */
int fs_handle_release(
	struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, uint64_t inode_id);

#endif
