// SPDX-License-Identifier: Apache-2.0
/*
 * ops_name.c: FUSE operations on the name space.
 *
 * Theory of operation: a file is reached as one name below the O_PATH fd of its parent, and no
 * symbolic link is ever followed: whoever swaps a directory for a link, on either side, gets an
 * error or the link itself. Mount points are crossed, which is how volumes appear in the tree.
 *
 * #syscalls:vcpu openat2 openat(_, _, ~(O_CREAT | (O_TMPFILE ^ O_DIRECTORY))) mkdirat mknodat symlinkat fstatfs close
 * #syscalls:vcpu linkat(_, _, _, _, AT_SYMLINK_FOLLOW) renameat2(_, _, _, _, ~RENAME_WHITEOUT)
 * #syscalls:vcpu unlinkat(_, _, ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
 */
#include "virtio/fs/credentials.h"
#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define YEAR_SECONDS (365ull * 24 * 60 * 60)
/* In one request: each walks the chain, and whoever wants to end or pause the pod waits for all. */
#define FORGETS_MAX 8192

uint64_t fs_policy_timeout(enum virtio_fs_policy policy)
{
	return policy == VIRTIO_FS_EXCLUSIVE ? YEAR_SECONDS : 0;
}

/* Opens name in parent; flags without O_CREAT need no mode. Returns the fd or -errno. */
static int name_open(const struct fs_inode *parent, const char *name, uint64_t flags, mode_t mode)
{
	struct open_how how = {
		.flags = flags | O_NOFOLLOW | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, parent->fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static void entry_fill(struct virtio_fs *fs, const struct fs_inode *parent, struct fs_inode *inode,
	const struct statx *status, struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){
		.nodeid = inode->id,
		.entry_valid = fs_policy_timeout(fs_inode_policy(parent)),
		.attr_valid = fs_policy_timeout(fs_inode_policy(inode)),
	};
	fs_attributes_fill(fs, &ret->attr, status);
	ret->attr.flags |= fs_attribute_dax(fs, inode, status->stx_size);
	/* Linux makes a file system of its own out of a directory only. */
	if (fs->features & FUSE_SUBMOUNTS && !fs->is_flat && inode->type == S_IFDIR &&
		inode->key.mount != parent->key.mount)
		ret->attr.flags |= FUSE_ATTR_SUBMOUNT;
}

/* Enters the file of fd (O_PATH, taken over) and fills its entry; *ret_inode is referenced. */
static int entry_enter(struct virtio_fs *fs, struct fs_inode *parent, int fd,
	struct fuse_entry_out *ret, struct fs_inode **ret_inode)
{
	struct statx status;
	int r = fs_inode_enter(&fs->inodes, parent, fd, ret_inode, &status);

	if (r < 0)
		return r;
	entry_fill(fs, parent, *ret_inode, &status, ret);
	return 0;
}

int fs_entry_lookup(
	struct virtio_fs *fs, struct fs_inode *parent, const char *name, struct fuse_entry_out *ret)
{
	struct fs_inode *inode = NULL;
	struct statx status;
	int fd, r;

	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	/* A file that the guest knows needs no new fd. */
	if (atomic_load_explicit(&parent->known, memory_order_relaxed)) {
		r = fs_inode_name_status(parent, name, &status);
		if (r < 0)
			return r;
		inode = fs_inode_enter_known(&fs->inodes, parent, &status);
		if (inode)
			entry_fill(fs, parent, inode, &status, ret);
	}
	if (!inode) {
		fd = name_open(parent, name, O_PATH, 0);
		if (fd < 0)
			return fd;
		r = entry_enter(fs, parent, fd, ret, &inode);
		if (r < 0)
			return r;
	}
	fs_inode_put(&fs->inodes, inode);
	return 0;
}

static ssize_t reply_lookup(struct fs_request *request, struct fs_inode *parent, const char *name)
{
	struct fuse_entry_out entry;
	int r = fs_entry_lookup(request->fs, parent, name, &entry);

	return r < 0 ? r : fs_request_reply(request, &entry, sizeof(entry));
}

ssize_t fs_op_lookup(struct fs_request *request)
{
	uint64_t timeout = fs_policy_timeout(fs_inode_policy(request->inode));
	const char *name;
	ssize_t r = fs_request_last_name(request, 0, &name);

	if (r < 0)
		return r;
	r = reply_lookup(request, request->inode, name);
	/* Nobody but the guest can make the name exist: the guest may remember that it does not. */
	if (r == -ENOENT && timeout > 0) {
		struct fuse_entry_out entry = {.entry_valid = timeout};

		return fs_request_reply(request, &entry, sizeof(entry));
	}
	return r;
}

ssize_t fs_op_forget(struct fs_request *request)
{
	struct fuse_forget_in in;

	memcpy(&in, request->arguments, sizeof(in));
	fs_inode_forget(&request->fs->inodes, request->header.nodeid, in.nlookup);
	return 0;
}

ssize_t fs_op_batch_forget(struct fs_request *request)
{
	struct fuse_batch_forget_in in;
	size_t offset = sizeof(struct fuse_in_header) + sizeof(in);
	struct fuse_forget_one one;

	memcpy(&in, request->arguments, sizeof(in));
	/* The count may lie: the chain's end is the end. */
	for (uint32_t i = 0; i < in.count && i < FORGETS_MAX; i++, offset += sizeof(one)) {
		if (virtqueue_chain_read(request->chain, offset, &one, sizeof(one)) != sizeof(one))
			break;
		fs_inode_forget(&request->fs->inodes, one.nodeid, one.nlookup);
	}
	return 0;
}

/* What every operation that adds a name to request->inode needs first: 0 or -errno. */
static int parent_check(const struct fs_inode *parent)
{
	return parent->type == S_IFDIR ? fs_inode_writable(parent) : -ENOTDIR;
}

/* A structure of size bytes, one name, and nothing more. */
static int create_check(const struct fs_request *request, size_t size, const char **ret_name)
{
	int r = fs_request_last_name(request, size, ret_name);

	return r < 0 ? r : parent_check(request->inode);
}

/* Device nodes: harmless only where the host does not take them for devices either. */
static int device_node_check(const struct fs_inode *parent, mode_t mode, dev_t device)
{
	struct statfs status;

	if (!S_ISCHR(mode) && !S_ISBLK(mode))
		return 0;
	/* Other mounts of a shared volume may lack nodev; 0:0 is a deletion mark to overlayfs. */
	if (fs_inode_policy(parent) != VIRTIO_FS_EXCLUSIVE || device == 0)
		return -EPERM;
	if (fstatfs(parent->fd, &status) < 0)
		return -errno;
	return status.f_flags & ST_NODEV ? 0 : -EPERM;
}

static dev_t device_decode(uint32_t device)
{
	return makedev((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));
}

static int node_make(
	const struct fs_request *request, const char *name, const struct fuse_mknod_in *in)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	dev_t device = device_decode(in->rdev);
	mode_t type = in->mode & S_IFMT;
	int r;

	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR &&
		type != S_IFBLK)
		return -EINVAL;
	r = device_node_check(request->inode, in->mode, device);
	if (r < 0)
		return r;
	r = fs_credentials_assume(&credentials, request->header.uid, request->header.gid);
	if (r < 0)
		return r;
	if (mknodat(request->inode->fd, name, in->mode & (S_IFMT | 07777),
		    S_ISCHR(in->mode) || S_ISBLK(in->mode) ? device : 0) < 0)
		return -errno;
	return 0;
}

ssize_t fs_op_mknod(struct fs_request *request)
{
	struct fuse_mknod_in in;
	const char *name;
	int r = create_check(request, sizeof(in), &name);

	if (r < 0)
		return r;
	memcpy(&in, request->arguments, sizeof(in));
	r = node_make(request, name, &in);
	return r < 0 ? r : reply_lookup(request, request->inode, name);
}

static int directory_make(const struct fs_request *request, const char *name, mode_t mode)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	int r = fs_credentials_assume(&credentials, request->header.uid, request->header.gid);

	if (r < 0)
		return r;
	return mkdirat(request->inode->fd, name, mode & 07777) < 0 ? -errno : 0;
}

ssize_t fs_op_mkdir(struct fs_request *request)
{
	struct fuse_mkdir_in in;
	const char *name;
	int r = create_check(request, sizeof(in), &name);

	if (r < 0)
		return r;
	memcpy(&in, request->arguments, sizeof(in));
	r = directory_make(request, name, in.mode);
	return r < 0 ? r : reply_lookup(request, request->inode, name);
}

static int link_make(const struct fs_request *request, const char *target, const char *name)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	int r = fs_credentials_assume(&credentials, request->header.uid, request->header.gid);

	if (r < 0)
		return r;
	return symlinkat(target, request->inode->fd, name) < 0 ? -errno : 0;
}

ssize_t fs_op_symlink(struct fs_request *request)
{
	const char *name, *target;
	size_t offset = 0;
	int r = fs_request_name(request, &offset, &name);

	if (r == 0)
		r = fs_request_string(request, &offset, &target);
	if (r == 0 && offset != request->length)
		r = -EINVAL;
	if (r == 0)
		r = parent_check(request->inode);
	/* The target may be anything: only the guest follows it. */
	if (r == 0)
		r = link_make(request, target, name);
	return r < 0 ? r : reply_lookup(request, request->inode, name);
}

ssize_t fs_op_link(struct fs_request *request)
{
	struct virtio_fs *fs = request->fs;
	struct fuse_link_in in;
	struct fs_inode *old;
	char source[16];
	const char *name;
	int r = create_check(request, sizeof(in), &name);

	if (r < 0)
		return r;
	memcpy(&in, request->arguments, sizeof(in));
	old = fs_inode_get(&fs->inodes, in.oldnodeid);
	if (!old)
		return -ESTALE;
	r = fs_inode_writable(old);
	if (r == 0 && fs_inode_policy(old) != fs_inode_policy(request->inode))
		r = -EXDEV;
	if (r == 0 && old->type == S_IFDIR)
		r = -EPERM;
	if (r == 0) {
		/* The magic link leads to the inode itself, also when it is a symbolic link. */
		snprintf(source, sizeof(source), "%d", old->fd);
		if (linkat(fs->proc_fd, source, request->inode->fd, name, AT_SYMLINK_FOLLOW) < 0)
			r = -errno;
	}
	fs_inode_put(&fs->inodes, old);
	return r < 0 ? r : reply_lookup(request, request->inode, name);
}

static ssize_t remove_name(struct fs_request *request, int flags)
{
	const char *name;
	int r = create_check(request, 0, &name);

	if (r < 0)
		return r;
	return unlinkat(request->inode->fd, name, flags) < 0 ? -errno : 0;
}

ssize_t fs_op_unlink(struct fs_request *request)
{
	return remove_name(request, 0);
}

ssize_t fs_op_rmdir(struct fs_request *request)
{
	return remove_name(request, AT_REMOVEDIR);
}

static ssize_t rename_names(
	struct fs_request *request, size_t size, uint64_t new_directory, uint32_t flags)
{
	struct virtio_fs *fs = request->fs;
	const char *old_name = NULL, *new_name = NULL;
	struct fs_inode *directory;
	size_t offset = size;
	int r;

	/* RENAME_WHITEOUT would leave a deletion mark of overlayfs behind. */
	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	r = fs_request_name(request, &offset, &old_name);
	if (r == 0)
		r = fs_request_last_name(request, offset, &new_name);
	if (r == 0)
		r = parent_check(request->inode);
	if (r < 0)
		return r;
	directory = fs_inode_get(&fs->inodes, new_directory);
	if (!directory)
		return -ESTALE;
	r = parent_check(directory);
	if (r == 0 && fs_inode_policy(directory) != fs_inode_policy(request->inode))
		r = -EXDEV;
	/* The C library makes another system call where there are no flags. */
	if (r == 0 &&
		syscall(SYS_renameat2, request->inode->fd, old_name, directory->fd, new_name,
			flags) < 0)
		r = -errno;
	fs_inode_put(&fs->inodes, directory);
	return r;
}

ssize_t fs_op_rename(struct fs_request *request)
{
	struct fuse_rename_in in;

	memcpy(&in, request->arguments, sizeof(in));
	return rename_names(request, sizeof(in), in.newdir, 0);
}

ssize_t fs_op_rename2(struct fs_request *request)
{
	struct fuse_rename2_in in;

	memcpy(&in, request->arguments, sizeof(in));
	return rename_names(request, sizeof(in), in.newdir, in.flags);
}

/* What open() flags a new file is opened with; the others have done their work. */
#define CREATE_FLAGS (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)

/* Opens a new file as the caller. Returns the fd or -errno. */
static int file_make(
	const struct fs_request *request, const char *name, uint64_t flags, uint32_t mode)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	int r = fs_credentials_assume(&credentials, request->header.uid, request->header.gid);

	return r < 0 ? r : name_open(request->inode, name, flags, mode & 07777);
}

/*
 * Enters what fd has open as inode and handle and replies. Takes over fd. New: the guest cannot have
 * pages of it.
 */
static ssize_t reply_created(struct fs_request *request, int fd, uint32_t flags, bool new)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = {0};
	struct virtio_fs *fs = request->fs;
	_cleanup_close_ int owned = fd;
	struct fs_inode *inode;
	char source[16];
	int path_fd, r;

	snprintf(source, sizeof(source), "%d", fd);
	path_fd = openat(fs->proc_fd, source, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	r = entry_enter(fs, request->inode, path_fd, &out.entry, &inode);
	if (r < 0)
		return r;
	r = fs_open_finish(fs, inode, TAKE_FD(owned), flags, &out.open);
	fs_inode_put(&fs->inodes, inode);
	if (r < 0) {
		fs_inode_forget(&fs->inodes, out.entry.nodeid, 1);
		return r;
	}
	if (!new)
		out.open.open_flags &= ~(uint32_t)FOPEN_KEEP_CACHE;
	return fs_request_reply(request, &out, sizeof(out));
}

/* Someone else was faster: opens the file that is there, as open() without O_EXCL does. */
static ssize_t create_open_existing(
	struct fs_request *request, const char *name, const struct fuse_create_in *in)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	struct virtio_fs *fs = request->fs;
	struct fuse_entry_out entry;
	struct fs_inode *inode;
	ssize_t r;
	int fd;

	r = fs_entry_lookup(fs, request->inode, name, &entry);
	if (r < 0)
		return r;
	inode = fs_inode_get(&fs->inodes, entry.nodeid);
	/* Linux looks again when it is told that the name exists. */
	r = inode && inode->type == S_IFREG ? fs_inode_writable(inode) : -EEXIST;
	if (r == 0) {
		if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
			fs_credentials_drop_fsetid(&credentials, request->header.gid);
		fd = fs_inode_open(fs, inode, in->flags);
		fs_credentials_restore(&credentials);
		r = fd < 0 ? fd : reply_created(request, fd, in->flags, false);
	}
	fs_inode_put(&fs->inodes, inode);
	fs_inode_forget(&fs->inodes, entry.nodeid, 1);
	return r;
}

ssize_t fs_op_create(struct fs_request *request)
{
	struct fuse_create_in in;
	const char *name;
	int fd, r = create_check(request, sizeof(in), &name);

	if (r < 0)
		return r;
	memcpy(&in, request->arguments, sizeof(in));
	if ((in.flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	fd = file_make(request, name, (in.flags & CREATE_FLAGS) | O_CREAT | O_EXCL, in.mode);
	if (fd == -EEXIST && !(in.flags & O_EXCL))
		return create_open_existing(request, name, &in);
	return fd < 0 ? fd : reply_created(request, fd, in.flags, true);
}

ssize_t fs_op_tmpfile(struct fs_request *request)
{
	size_t offset = sizeof(struct fuse_create_in);
	struct fuse_create_in in;
	const char *name;
	int fd, r;

	/* Linux sends "/" for a name, and nobody needs it. */
	r = fs_request_string(request, &offset, &name);
	if (r == 0)
		r = parent_check(request->inode);
	if (r < 0)
		return r;
	memcpy(&in, request->arguments, sizeof(in));
	if ((in.flags & O_ACCMODE) != O_WRONLY && (in.flags & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	/* O_EXCL: the file is never to get a name. */
	fd = file_make(request, ".", (in.flags & (CREATE_FLAGS | O_EXCL)) | O_TMPFILE, in.mode);
	return fd < 0 ? fd : reply_created(request, fd, in.flags, true);
}
