/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE operations. Each takes a request whose arguments are at least as long as the operation's
 * structure, whose room holds at least the operation's fixed reply, and whose inode is resolved;
 * each returns the number of payload bytes it put into the reply, or -errno.
 */
#ifndef APPC_VIRTIO_FS_OPERATIONS_H
#define APPC_VIRTIO_FS_OPERATIONS_H

#include "virtio/fs/session.h"

/* Protocol 7.39 and later; the distribution's header may be older. */
#define FS_OPCODE_STATX 52

struct fs_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct fs_statx_time {
	int64_t seconds;
	uint32_t nanoseconds;
	int32_t reserved;
};

struct fs_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct {
		uint32_t mask, blksize;
		uint64_t attributes;
		uint32_t nlink, uid, gid;
		uint16_t mode, spare0;
		uint64_t ino, size, blocks, attributes_mask;
		struct fs_statx_time atime, btime, ctime, mtime;
		uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
		uint64_t spare2[14];
	} stat;
};

/* ops_name.c: the name space */
ssize_t fs_op_lookup(struct fs_request *request);
ssize_t fs_op_forget(struct fs_request *request);
ssize_t fs_op_batch_forget(struct fs_request *request);
ssize_t fs_op_mknod(struct fs_request *request);
ssize_t fs_op_mkdir(struct fs_request *request);
ssize_t fs_op_symlink(struct fs_request *request);
ssize_t fs_op_link(struct fs_request *request);
ssize_t fs_op_unlink(struct fs_request *request);
ssize_t fs_op_rmdir(struct fs_request *request);
ssize_t fs_op_rename(struct fs_request *request);
ssize_t fs_op_rename2(struct fs_request *request);
ssize_t fs_op_create(struct fs_request *request);
ssize_t fs_op_tmpfile(struct fs_request *request);

/* ops_attr.c: attributes */
ssize_t fs_op_getattr(struct fs_request *request);
ssize_t fs_op_statx(struct fs_request *request);
ssize_t fs_op_setattr(struct fs_request *request);
ssize_t fs_op_readlink(struct fs_request *request);
ssize_t fs_op_statfs(struct fs_request *request);
ssize_t fs_op_syncfs(struct fs_request *request);

/* ops_xattr.c: extended attributes */
ssize_t fs_op_setxattr(struct fs_request *request);
ssize_t fs_op_getxattr(struct fs_request *request);
ssize_t fs_op_listxattr(struct fs_request *request);
ssize_t fs_op_removexattr(struct fs_request *request);

/* ops_data.c: open files */
ssize_t fs_op_open(struct fs_request *request);
ssize_t fs_op_read(struct fs_request *request);
ssize_t fs_op_write(struct fs_request *request);
ssize_t fs_op_flush(struct fs_request *request);
ssize_t fs_op_release(struct fs_request *request);
ssize_t fs_op_fsync(struct fs_request *request);
ssize_t fs_op_fallocate(struct fs_request *request);
ssize_t fs_op_lseek(struct fs_request *request);
ssize_t fs_op_copy_file_range(struct fs_request *request);

/* ops_dir.c: open directories */
ssize_t fs_op_opendir(struct fs_request *request);
ssize_t fs_op_readdir(struct fs_request *request);
ssize_t fs_op_readdirplus(struct fs_request *request);
ssize_t fs_op_releasedir(struct fs_request *request);
ssize_t fs_op_fsyncdir(struct fs_request *request);

/* ops_dax.c: the window */
ssize_t fs_op_setupmapping(struct fs_request *request);
ssize_t fs_op_removemapping(struct fs_request *request);

/* Parts that several operations share. */

/* Looks name up in parent, counts the lookup and fills the entry. -ENOENT, -ENFILE, ... */
int fs_entry_lookup(struct virtio_fs *fs, struct fs_inode *parent, const char *name,
	struct fuse_entry_out *ret);

/* FUSE_ATTR_DAX where the inode, of this size, is one of the window; else 0. */
uint32_t fs_attribute_dax(struct virtio_fs *fs, struct fs_inode *inode, uint64_t size);

/* Fills in attributes and, for fs_entry_lookup() and attribute replies, how long they hold. */
void fs_attributes_fill(
	const struct virtio_fs *fs, struct fuse_attr *attr, const struct statx *status);

/* The inode number that the guest is told of a file with this number in the host's mount. */
uint64_t fs_inode_number(const struct virtio_fs *fs, uint64_t mount, uint64_t inode);
uint64_t fs_policy_timeout(enum virtio_fs_policy policy); /* seconds */

/*
 * Opens the regular file or directory behind an inode again, for data. flags are those of the
 * guest; what is not on the list of known ones is dropped. Returns the fd, -errno; -EINVAL for
 * other types.
 */
int fs_inode_open(struct virtio_fs *fs, struct fs_inode *inode, uint32_t flags);

/* What an open file keeps of the guest's flags; O_DIRECT is for the guest's own cache to honour. */
#define FS_OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC)

/*
 * The fd for the data of a regular file in a session without OPEN, referenced; to be given back with
 * fs_data_put(). -EISDIR, -EINVAL for other files, -errno of opening.
 */
int fs_inode_data(
	struct virtio_fs *fs, struct fs_inode *inode, bool writable, struct fs_data **ret);

/*
 * Fills the reply for a file or directory that is open now, and enters fd, which it takes over in any
 * case, into the handle table; in a session without OPEN, that of a file becomes the inode's.
 */
int fs_open_finish(struct virtio_fs *fs, struct fs_inode *inode, int fd, uint32_t flags,
	struct fuse_open_out *ret);

/*
 * A data request whose arguments are checked: what the inline and the queued path have in common.
 */
struct fs_transfer {
	int fd; /* of one of the next two, which is referenced, or the transfer's own */
	bool owns_fd;
	struct fs_handle *handle; /* or NULL */
	struct fs_data *data;
	int64_t offset;
	size_t length;
	uint32_t flags;          /* FSYNC: fsync_flags, FALLOCATE: mode, WRITE: write_flags */
	int sync;                /* WRITE: RWF_SYNC and RWF_DSYNC */
	bool mapped;             /* WRITE: pages of a mapping, not what a program appends */
	int64_t allocate_length; /* FALLOCATE */
	bool distant;            /* of a volume: its file system may be slow, or not answer */
};

/* request->inode is resolved. */
int fs_transfer_prepare(const struct fs_request *request, struct fs_transfer *ret);
void fs_transfer_done(struct virtio_fs *fs, struct fs_transfer *transfer);

/*
 * Whether setuid and setgid bits have to go with this WRITE or FALLOCATE. That takes the serving thread's
 * credentials, and happens about never.
 */
bool fs_transfer_kills_bits(const struct fs_request *request, const struct fs_transfer *transfer);

/* Reads or writes until its length or the end of the file, from done on. Bytes or -errno. */
ssize_t fs_transfer_read(
	const struct fs_transfer *transfer, const struct virtqueue_chain *chain, size_t done);
ssize_t fs_transfer_write(
	const struct fs_transfer *transfer, const struct virtqueue_chain *chain, size_t done);

/* Carries out a FALLOCATE. 0 or -errno. */
int fs_transfer_allocate(const struct fs_transfer *transfer);

/* Where the payload of a WRITE starts in its chain, and that of a READ's reply. */
#define FS_WRITE_PAYLOAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define FS_READ_PAYLOAD  sizeof(struct fuse_out_header)

#endif
