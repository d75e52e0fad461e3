// SPDX-License-Identifier: Apache-2.0
/*
 * ops_attr.c: FUSE operations on attributes.
 *
 * Theory of operation: an attribute is read and written through the inode's O_PATH fd with
 * AT_EMPTY_PATH, or through its magic link in /proc/self/fd, which leads to the very inode and no
 * further; both work for files that were unlinked, and neither can be diverted by a link.
 *
 * #syscalls:vcpu fchownat(_, _, _, _, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) fchmodat ftruncate
 * #syscalls:vcpu utimensat(_, _, _, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) readlinkat fstatfs syncfs close
 */
#include "virtio/fs/credentials.h"
#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define SETATTR_KNOWN                                                                             \
	(FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME | FATTR_FH | \
		FATTR_ATIME_NOW | FATTR_MTIME_NOW | FATTR_LOCKOWNER | FATTR_CTIME |               \
		FATTR_KILL_SUIDGID)

static uint32_t device_encode(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
}

uint64_t fs_inode_number(const struct virtio_fs *fs, uint64_t mount, uint64_t inode)
{
	/* File systems number from below: the upper bits are free. */
	return fs->is_flat ? inode ^ mount << 40 : inode;
}

void fs_attributes_fill(
	const struct virtio_fs *fs, struct fuse_attr *attr, const struct statx *status)
{
	*attr = (struct fuse_attr){
		.ino = fs_inode_number(fs, status->stx_mnt_id, status->stx_ino),
		.size = status->stx_size,
		.blocks = status->stx_blocks,
		.atime = (uint64_t)status->stx_atime.tv_sec,
		.mtime = (uint64_t)status->stx_mtime.tv_sec,
		.ctime = (uint64_t)status->stx_ctime.tv_sec,
		.atimensec = status->stx_atime.tv_nsec,
		.mtimensec = status->stx_mtime.tv_nsec,
		.ctimensec = status->stx_ctime.tv_nsec,
		.mode = status->stx_mode,
		.nlink = status->stx_nlink,
		.uid = status->stx_uid,
		.gid = status->stx_gid,
		.rdev = device_encode(status->stx_rdev_major, status->stx_rdev_minor),
		.blksize = status->stx_blksize,
	};
}

uint32_t fs_attribute_dax(struct virtio_fs *fs, struct fs_inode *inode, uint64_t size)
{
	if (!fs_dax_decide(fs, inode, size))
		return 0;
	fs_dax_restrict(fs, inode);
	return FUSE_ATTR_DAX;
}

static ssize_t reply_attributes(struct fs_request *request)
{
	struct fuse_attr_out out = {
		.attr_valid = fs_policy_timeout(fs_inode_policy(request->inode)),
	};
	struct statx status;
	int r = fs_inode_status(request->inode, &status);

	if (r < 0)
		return r;
	fs_attributes_fill(request->fs, &out.attr, &status);
	out.attr.flags |= fs_attribute_dax(request->fs, request->inode, status.stx_size);
	return fs_request_reply(request, &out, sizeof(out));
}

/* A handle in the request adds nothing: the inode's own fd tells the same. */
ssize_t fs_op_getattr(struct fs_request *request)
{
	return reply_attributes(request);
}

static struct fs_statx_time statx_time(const struct statx_timestamp *time)
{
	return (struct fs_statx_time){.seconds = time->tv_sec, .nanoseconds = time->tv_nsec};
}

ssize_t fs_op_statx(struct fs_request *request)
{
	struct fs_statx_out out = {
		.attr_valid = fs_policy_timeout(fs_inode_policy(request->inode)),
	};
	struct statx status;
	int r = fs_inode_status(request->inode, &status);

	if (r < 0)
		return r;
	/* Attribute flags (immutable and the like) cannot be set through FUSE: not told either. */
	out.stat.mask = status.stx_mask & (STATX_BASIC_STATS | STATX_BTIME);
	out.stat.blksize = status.stx_blksize;
	out.stat.nlink = status.stx_nlink;
	out.stat.uid = status.stx_uid;
	out.stat.gid = status.stx_gid;
	out.stat.mode = status.stx_mode;
	out.stat.ino = fs_inode_number(request->fs, status.stx_mnt_id, status.stx_ino);
	out.stat.size = status.stx_size;
	out.stat.blocks = status.stx_blocks;
	out.stat.atime = statx_time(&status.stx_atime);
	out.stat.btime = statx_time(&status.stx_btime);
	out.stat.ctime = statx_time(&status.stx_ctime);
	out.stat.mtime = statx_time(&status.stx_mtime);
	out.stat.rdev_major = status.stx_rdev_major;
	out.stat.rdev_minor = status.stx_rdev_minor;
	return fs_request_reply(request, &out, sizeof(out));
}

static int set_owner(const struct fs_inode *inode, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	/* -1 would silently mean "as it is". */
	if ((in->valid & FATTR_UID && uid == (uid_t)-1) ||
		(in->valid & FATTR_GID && gid == (gid_t)-1))
		return -EINVAL;
	return fchownat(inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno
											  : 0;
}

static int set_mode(const struct virtio_fs *fs, const struct fs_inode *inode, mode_t mode)
{
	char path[16];

	if (inode->type == S_IFLNK)
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "%d", inode->fd);
	return fchmodat(fs->proc_fd, path, mode & 07777, 0) < 0 ? -errno : 0;
}

/* Truncates what fd has open, which loses setuid bits where the guest says so. */
static int size_change(const struct fs_request *request, int fd, const struct fuse_setattr_in *in)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};

	if (in->valid & FATTR_KILL_SUIDGID)
		fs_credentials_drop_fsetid(&credentials, request->header.gid);
	return ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
}

static int size_set(struct fs_request *request, const struct fuse_setattr_in *in)
{
	struct virtio_fs *fs = request->fs;
	_cleanup_close_ int fd = -1;
	struct fs_handle *handle;
	struct fs_data *data;
	int r;

	if (in->size > INT64_MAX)
		return -EINVAL;
	if (request->inode->type != S_IFREG)
		return request->inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (fs_session_opens_nothing(fs) && (!(in->valid & FATTR_FH) || in->fh == 0)) {
		r = fs_inode_data(fs, request->inode, true, &data);
		if (r < 0)
			return r;
		r = size_change(request, data->fd, in);
		fs_data_put(&fs->data, data);
		return r;
	}
	if (in->valid & FATTR_FH) {
		handle =
			fs_handle_get(&fs->handles, in->fh, FS_HANDLE_FILE, request->header.nodeid);
		if (!handle)
			return -EBADF;
		r = handle->writable ? size_change(request, handle->fd, in) : -EINVAL;
		fs_handle_put(&fs->handles, handle);
		return r;
	}
	fd = fs_inode_open(fs, request->inode, O_WRONLY);
	return fd < 0 ? fd : size_change(request, fd, in);
}

static int set_size(struct fs_request *request, const struct fuse_setattr_in *in)
{
	int r;

	fs_dax_resize_begin(request->fs, request->inode);
	r = size_set(request, in);
	fs_dax_resize_end(request->fs, request->inode);
	return r;
}

static struct timespec setattr_time(
	uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds, uint32_t nanoseconds)
{
	if (!(valid & (set | now)))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds};
}

static int set_times(const struct fs_inode *inode, const struct fuse_setattr_in *in)
{
	struct timespec times[2] = {
		setattr_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		setattr_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	/* UTIME_NOW and UTIME_OMIT are the kernel's to use, not the driver's. */
	if (in->atimensec >= 1000000000 || in->mtimensec >= 1000000000)
		return -EINVAL;
	if (utimensat(inode->fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

ssize_t fs_op_setattr(struct fs_request *request)
{
	const struct fs_inode *inode = request->inode;
	struct fuse_setattr_in in;
	int r;

	memcpy(&in, request->arguments, sizeof(in));
	if (in.valid & ~(uint32_t)SETATTR_KNOWN)
		return -EINVAL;
	r = fs_inode_writable(inode);
	/* The owner first: changing it clears the setuid bit that a new mode may ask for. */
	if (r == 0 && in.valid & (FATTR_UID | FATTR_GID))
		r = set_owner(inode, &in);
	if (r == 0 && in.valid & FATTR_SIZE)
		r = set_size(request, &in);
	if (r == 0 && in.valid & FATTR_MODE)
		r = set_mode(request->fs, inode, in.mode);
	if (r == 0 && in.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
		r = set_times(inode, &in);
	return r < 0 ? r : reply_attributes(request);
}

ssize_t fs_op_readlink(struct fs_request *request)
{
	char target[PATH_MAX];
	ssize_t length;

	if (request->inode->type != S_IFLNK)
		return -EINVAL;
	length = readlinkat(request->inode->fd, "", target, sizeof(target));
	if (length < 0)
		return -errno;
	if ((size_t)length > request->room)
		return -ENAMETOOLONG;
	return fs_request_reply(request, target, (size_t)length);
}

ssize_t fs_op_statfs(struct fs_request *request)
{
	struct fuse_statfs_out out = {0};
	struct statfs status;

	if (fstatfs(request->inode->fd, &status) < 0)
		return -errno;
	out.st.blocks = status.f_blocks;
	out.st.bfree = status.f_bfree;
	out.st.bavail = status.f_bavail;
	out.st.files = status.f_files;
	out.st.ffree = status.f_ffree;
	out.st.bsize = (uint32_t)status.f_bsize;
	out.st.namelen = (uint32_t)status.f_namelen;
	out.st.frsize = (uint32_t)status.f_frsize;
	return fs_request_reply(request, &out, sizeof(out));
}

ssize_t fs_op_syncfs(struct fs_request *request)
{
	int fd, r = 0;

	if (fs_inode_writable(request->inode) < 0)
		return 0; /* nothing of the guest's is there */
	fd = fs_inode_open(request->fs, request->inode, O_RDONLY);
	if (fd < 0)
		return fd;
	if (syncfs(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}
