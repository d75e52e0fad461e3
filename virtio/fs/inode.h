/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes of the tree that the guest knows (inode ids, lookup counts), and the fds behind them.
 *
 * An id is a slot of the table and the slot's generation, never a pointer; an id that was not
 * given out, or was given back, resolves to nothing. An inode object lives while someone refers to
 * it: the table (as long as the guest's lookup count is not 0), a handle, a request being served.
 * All functions may be called from any thread; each takes the table lock itself.
 */
#ifndef APPC_VIRTIO_FS_INODE_H
#define APPC_VIRTIO_FS_INODE_H

#include "virtio/fs/data.h"
#include "virtio/fs/fs.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* What identifies a file on the host, as statx() tells it, while an fd keeps it in being. */
struct fs_key {
	uint64_t mount, inode;
	uint32_t major, minor;
};

static inline bool fs_key_equal(const struct fs_key *a, const struct fs_key *b)
{
	return a->mount == b->mount && a->inode == b->inode && a->major == b->major &&
		a->minor == b->minor;
}

/* Whether the guest has a file in the window, see dax.h. */
enum { FS_DAX_UNDECIDED, FS_DAX_NO, FS_DAX_YES };

struct fs_inode {
	/* Constant. */
	uint64_t id;
	struct fs_key key;
	int fd;             /* O_PATH, or the tree's own fd for the root */
	mode_t type;        /* S_IFMT bits */
	_Atomic int policy; /* enum virtio_fs_policy; only ever becomes stricter */
	/* A directory: the name looked up last was known already, as the next will be. A guess. */
	atomic_bool known;
	atomic_int dax;       /* FS_DAX_...; decided once */
	atomic_bool written;  /* dax: it was opened for writing */
	atomic_bool punched;  /* dax: its size does not tell how many blocks it has without holes */
	unsigned int resizes; /* dax: by the guest, in progress; under the lock of the window */

	/* Under the table lock. */
	uint64_t lookups; /* what the guest has to forget */
	unsigned int references;
	struct fs_inode *next; /* of the same hash */

	struct fs_data *data; /* or NULL; under the lock of its table */
};

struct fs_slot {
	struct fs_inode *inode; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct fs_export {
	struct fs_key key;
	char *path; /* below the tree, as the host tells it: no ".", no empty components */
	enum virtio_fs_policy policy;
};

struct fs_inode_table {
	pthread_mutex_t lock;
	struct fs_slot *slots; /* the index is the low half of an id; slot 0 is never used */
	uint32_t slot_count;
	uint32_t first_free; /* 0: none */
	size_t count;
	size_t max;          /* of alive: each has an fd */
	atomic_size_t alive; /* with those that are in the table no more and still in use */
	struct fs_inode **buckets;
	size_t bucket_count;       /* a power of two */
	struct fs_export *exports; /* constant */
	size_t export_count;
	struct fs_data_table *data; /* of whose fds the inodes have some */
};

/*
 * Makes the table with the root (id FUSE_ROOT_ID), whose fd it owns when it succeeds, and resolves
 * the exports; proc_fd is /proc/self/fd. -EINVAL, -ENOMEM, or what opening an export gave, with a
 * message.
 */
int fs_inode_table_init(struct fs_inode_table *table, int tree_fd, int proc_fd,
	const struct virtio_fs_options *options, size_t max, struct fs_data_table *data,
	struct error *err);
/* Frees all; no inode may be in use. */
void fs_inode_table_free(struct fs_inode_table *table);

/* As if the guest had forgotten every inode but the root. */
void fs_inode_table_clear(struct fs_inode_table *table);

size_t fs_inode_table_count(struct fs_inode_table *table);

/* The inode of an id with a reference for the caller, or NULL. */
struct fs_inode *fs_inode_get(struct fs_inode_table *table, uint64_t id);
struct fs_inode *fs_inode_reference(struct fs_inode_table *table, struct fs_inode *inode);
/* inode may be NULL. */
void fs_inode_put(struct fs_inode_table *table, struct fs_inode *inode);

/*
 * Enters the file that fd (O_PATH) names, found in parent, and counts one lookup. Takes over fd in
 * any case. *ret has a reference for the caller; *ret_status the file's present attributes.
 * -ENFILE: there are as many as may be. -ENOMEM, -errno of statx().
 */
int fs_inode_enter(struct fs_inode_table *table, struct fs_inode *parent, int fd,
	struct fs_inode **ret, struct statx *ret_status);

/*
 * The same for a file of parent's whose attributes are known but not its fd; NULL where the guest does
 * not know it yet.
 */
struct fs_inode *fs_inode_enter_known(
	struct fs_inode_table *table, struct fs_inode *parent, const struct statx *status);

/* The guest forgets count lookups of an id; more than it had counts as all. */
void fs_inode_forget(struct fs_inode_table *table, uint64_t id, uint64_t count);

static inline enum virtio_fs_policy fs_inode_policy(const struct fs_inode *inode)
{
	return (enum virtio_fs_policy)inode->policy;
}

/* 0, or -EROFS where the guest may not change anything. */
static inline int fs_inode_writable(const struct fs_inode *inode)
{
	return inode->policy == VIRTIO_FS_READ_ONLY_SHARED ? -EROFS : 0;
}

/* statx() of an fd, the inode, or of a name in it, as every request needs it. 0 or -errno. */
int fs_fd_status(int fd, struct statx *ret);
int fs_inode_status(const struct fs_inode *inode, struct statx *ret);
int fs_inode_name_status(const struct fs_inode *parent, const char *name, struct statx *ret);

/* ---- parking (saved.c). Nobody else uses the table meanwhile. */

#define FS_PATH_ROOM 4096

/*
 * Where the file of an fd is below the root: "" for the root itself. -ENOENT: it has no name there any
 * more. -ENAMETOOLONG.
 */
int fs_path_of(int proc_fd, int root_fd, int fd, char ret[static FS_PATH_ROOM]);

/* Opens a path that fs_path_of() gave (O_PATH), through no link. The fd or -errno. */
int fs_path_open(int root_fd, const char *path);

/* The policy that a path comes under. */
enum virtio_fs_policy fs_path_policy(const struct fs_inode_table *table, const char *path);

/*
 * Gives a table that has only its root the slots of the saved one: the generation of each, free or not.
 * -EINVAL: more than the bound allows, or the root's is not 0. -ENOMEM.
 */
int fs_inode_table_resume(
	struct fs_inode_table *table, const uint32_t *generations, uint32_t slot_count);
/*
 * Enters fd (O_PATH, taken over in any case) under its old id. -EEXIST: the file has an id already.
 * -EINVAL: the id is not that of a free slot. -ENFILE, -ENOMEM, -errno of statx().
 */
int fs_inode_resume(struct fs_inode_table *table, uint64_t id, int fd, mode_t type,
	enum virtio_fs_policy policy, uint64_t lookups, int dax, bool punched);
/* After the last: what is free can be given out. */
void fs_inode_table_resumed(struct fs_inode_table *table);

/* Whether fd is the very file behind the inode. */
bool fs_inode_is(const struct fs_inode *inode, int fd);

#endif
