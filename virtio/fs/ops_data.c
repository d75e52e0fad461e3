// SPDX-License-Identifier: Apache-2.0
/*
 * ops_data.c: FUSE operations on open files.
 *
 * Theory of operation: only regular files are opened for data, through the magic link of their
 * O_PATH fd. The guest's kernel opens FIFOs, sockets and devices itself and never asks for them; a
 * hostile one that does gets nothing, so that no open of ours blocks or reaches a host device. The
 * payload goes between the guest's spans and the file without a copy of ours.
 *
 * Where nobody but the guest changes files, OPEN and FLUSH are answered with ENOSYS: Linux then opens and
 * closes files without a word and names no handle. Its own flags for a file travel with each WRITE
 * (O_SYNC), or are done by it (O_APPEND: it knows the size; O_TRUNC: SETATTR).
 *
 * #syscalls:vcpu openat(_, _, ~(O_CREAT | (O_TMPFILE ^ O_DIRECTORY))) close fcntl(_, F_DUPFD_CLOEXEC) fsync fdatasync
 * #syscalls:vcpu fallocate(_, ~(FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
 * #syscalls:vcpu lseek(_, _, SEEK_DATA) lseek(_, _, SEEK_HOLE) copy_file_range(_, _, _, _, _, 0)
 * #syscalls:vcpu,loop preadv pwritev2(_, _, _, _, _, ~(RWF_HIPRI | RWF_NOWAIT | RWF_APPEND))
 */
#include "base/checked.h"
#include "virtio/fs/credentials.h"
#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Those that leave the rest of the file where it is; the guest's cache knows no others. */
#define FALLOCATE_MODES                                                      \
	(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | \
		FALLOC_FL_UNSHARE_RANGE)

/* Bounds the time one request takes; the caller gets a short copy and goes on. */
#define COPY_MAX (16ull << 20)

int fs_inode_open(struct virtio_fs *fs, struct fs_inode *inode, uint32_t flags)
{
	char path[16];
	int fd, r = 0;

	if (inode->type == S_IFDIR)
		flags = O_RDONLY | O_DIRECTORY;
	else if (inode->type == S_IFREG)
		flags &= FS_OPEN_FLAGS;
	else
		return inode->type == S_IFLNK ? -ELOOP : -EINVAL;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	snprintf(path, sizeof(path), "%d", inode->fd);
	if (flags & O_TRUNC)
		fs_dax_resize_begin(fs, inode);
	fd = openat(fs->proc_fd, path, (int)flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		r = -errno;
	if (flags & O_TRUNC)
		fs_dax_resize_end(fs, inode);
	if (r < 0)
		return r;
	if ((flags & O_ACCMODE) != O_RDONLY)
		r = fs_dax_opened_for_writing(fs, inode);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int fs_inode_data(struct virtio_fs *fs, struct fs_inode *inode, bool writable, struct fs_data **ret)
{
	int fd;

	*ret = fs_data_find(&fs->data, inode, writable);
	if (*ret)
		return 0;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	fd = fs_inode_open(fs, inode, writable ? O_RDWR : O_RDONLY);
	return fd < 0 ? fd : fs_data_enter(&fs->data, inode, fd, writable, ret);
}

/* What CREATE opened: the guest's next request finds it, and no RELEASE will come. */
static int data_finish(struct virtio_fs *fs, struct fs_inode *inode, int fd, uint32_t flags)
{
	struct fs_data *data;
	int r;

	/* One that cannot read, always appends or always syncs does not serve everybody. */
	if ((flags & O_ACCMODE) == O_WRONLY || flags & (O_APPEND | O_SYNC)) {
		close(fd);
		return 0;
	}
	r = fs_data_enter(&fs->data, inode, fd, (flags & O_ACCMODE) == O_RDWR, &data);
	if (r == 0)
		fs_data_put(&fs->data, data);
	return r;
}

int fs_open_finish(struct virtio_fs *fs, struct fs_inode *inode, int fd, uint32_t flags,
	struct fuse_open_out *ret)
{
	bool directory = inode->type == S_IFDIR;

	*ret = (struct fuse_open_out){0};
	if (fs_inode_policy(inode) == VIRTIO_FS_EXCLUSIVE) {
		/* Closing a file tells nothing here that fsync() did not. */
		ret->open_flags = FOPEN_KEEP_CACHE | (directory ? FOPEN_CACHE_DIR : FOPEN_NOFLUSH);
	} else if (!directory && (flags & O_ACCMODE) == O_RDONLY) {
		ret->open_flags = FOPEN_NOFLUSH;
	}
	if (!directory && fs_session_opens_nothing(fs))
		return data_finish(fs, inode, fd, flags);
	return fs_handle_enter(&fs->handles, directory ? FS_HANDLE_DIRECTORY : FS_HANDLE_FILE, fd,
		(int)flags, inode, &ret->fh);
}

ssize_t fs_op_open(struct fs_request *request)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	struct fuse_open_out out;
	struct fuse_open_in in;
	int fd, r;

	if (fs_session_opens_nothing(request->fs))
		return -ENOSYS;
	memcpy(&in, request->arguments, sizeof(in));
	if (request->inode->type == S_IFDIR)
		return -EISDIR;
	if ((in.flags & O_ACCMODE) != O_RDONLY || in.flags & O_TRUNC) {
		r = fs_inode_writable(request->inode);
		if (r < 0)
			return r;
	}
	if (in.open_flags & FUSE_OPEN_KILL_SUIDGID)
		fs_credentials_drop_fsetid(&credentials, request->header.gid);
	fd = fs_inode_open(request->fs, request->inode, in.flags);
	if (fd < 0)
		return fd;
	r = fs_open_finish(request->fs, request->inode, fd, in.flags, &out);
	return r < 0 ? r : fs_request_reply(request, &out, sizeof(out));
}

static int prepare_read(
	const struct fs_request *request, struct fs_transfer *transfer, uint64_t *ret_handle)
{
	struct fuse_read_in in;

	memcpy(&in, request->arguments, sizeof(in));
	transfer->offset = (int64_t)in.offset;
	transfer->length = in.size < request->room ? in.size : request->room;
	/* INIT has said how many pages a request may have. */
	if (transfer->length > FS_DATA_MAX || !checked_range(in.offset, in.size, INT64_MAX))
		return -EINVAL;
	*ret_handle = in.fh;
	return 0;
}

static int prepare_write(
	const struct fs_request *request, struct fs_transfer *transfer, uint64_t *ret_handle)
{
	struct fuse_write_in in;

	memcpy(&in, request->arguments, sizeof(in));
	if (in.size != request->argument_bytes - sizeof(in) || in.size > FS_DATA_MAX ||
		!checked_range(in.offset, in.size, INT64_MAX))
		return -EINVAL;
	transfer->offset = (int64_t)in.offset;
	transfer->length = in.size;
	transfer->flags = in.write_flags;
	transfer->mapped = in.write_flags & FUSE_WRITE_CACHE;
	if (fs_session_opens_nothing(request->fs))
		transfer->sync = (in.flags & O_SYNC) == O_SYNC ? RWF_SYNC
			: in.flags & O_DSYNC                   ? RWF_DSYNC
							       : 0;
	*ret_handle = in.fh;
	return 0;
}

static int prepare_fsync(
	const struct fs_request *request, struct fs_transfer *transfer, uint64_t *ret_handle)
{
	struct fuse_fsync_in in;

	memcpy(&in, request->arguments, sizeof(in));
	transfer->flags = in.fsync_flags;
	*ret_handle = in.fh;
	return 0;
}

static int prepare_fallocate(
	const struct fs_request *request, struct fs_transfer *transfer, uint64_t *ret_handle)
{
	struct fuse_fallocate_in in;

	memcpy(&in, request->arguments, sizeof(in));
	if (in.mode & ~(uint32_t)FALLOCATE_MODES)
		return -EOPNOTSUPP;
	if (in.length == 0 || !checked_range(in.offset, in.length, INT64_MAX))
		return -EINVAL;
	transfer->offset = (int64_t)in.offset;
	transfer->allocate_length = (int64_t)in.length;
	transfer->flags = in.mode;
	*ret_handle = in.fh;
	return 0;
}

/* The fd of an open file, or of an inode that the guest names no handle for. */
static int transfer_open(struct virtio_fs *fs, struct fs_inode *inode, uint64_t id, bool read,
	bool write, struct fs_transfer *transfer)
{
	struct fs_handle *handle;
	int r = write ? fs_inode_writable(inode) : 0;

	/* A file cannot have been opened for writing under a read-only policy, but it may have
	   changed to one since (table_find_key()). */
	if (r < 0)
		return r;
	if (id == 0 && fs_session_opens_nothing(fs)) {
		r = fs_inode_data(fs, inode, write, &transfer->data);
		if (r == 0)
			transfer->fd = transfer->data->fd;
		return r;
	}
	handle = fs_handle_get(&fs->handles, id, FS_HANDLE_FILE, inode->id);
	if (!handle)
		return -EBADF;
	if ((write && !handle->writable) || (read && !handle->readable)) {
		fs_handle_put(&fs->handles, handle);
		return -EBADF;
	}
	/* Pages of a mapping go where they belong, whatever handle the guest's kernel found for them. */
	if (transfer->mapped && handle->appends) {
		fs_handle_put(&fs->handles, handle);
		r = fs_inode_open(fs, inode, O_WRONLY);
		transfer->owns_fd = r >= 0;
		transfer->fd = r;
		return r < 0 ? r : 0;
	}
	transfer->handle = handle;
	transfer->fd = handle->fd;
	return 0;
}

void fs_transfer_done(struct virtio_fs *fs, struct fs_transfer *transfer)
{
	if (transfer->owns_fd)
		close(transfer->fd);
	fs_handle_put(&fs->handles, transfer->handle);
	fs_data_put(&fs->data, transfer->data);
}

int fs_transfer_prepare(const struct fs_request *request, struct fs_transfer *ret)
{
	bool write = request->header.opcode == FUSE_WRITE ||
		request->header.opcode == FUSE_FALLOCATE;
	uint64_t id;
	int r;

	*ret = (struct fs_transfer){0};
	switch (request->header.opcode) {
	case FUSE_READ:
		r = prepare_read(request, ret, &id);
		break;
	case FUSE_WRITE:
		r = prepare_write(request, ret, &id);
		break;
	case FUSE_FSYNC:
		r = prepare_fsync(request, ret, &id);
		break;
	case FUSE_FALLOCATE:
		r = prepare_fallocate(request, ret, &id);
		break;
	default:
		return -EINVAL;
	}
	if (r < 0)
		return r;
	ret->distant = fs_inode_policy(request->inode) != VIRTIO_FS_EXCLUSIVE;
	return transfer_open(
		request->fs, request->inode, id, request->header.opcode == FUSE_READ, write, ret);
}

bool fs_transfer_kills_bits(const struct fs_request *request, const struct fs_transfer *transfer)
{
	struct statx status;
	/* FALLOCATE has no flag for it: whoever is not root loses the bits, as on any file. */
	bool kill = request->header.opcode == FUSE_WRITE
		? transfer->flags & FUSE_WRITE_KILL_SUIDGID
		: request->header.opcode == FUSE_FALLOCATE && request->header.uid != 0;

	return kill &&
		(fs_fd_status(transfer->fd, &status) < 0 || status.stx_mode & (S_ISUID | S_ISGID));
}

ssize_t fs_transfer_read(
	const struct fs_transfer *transfer, const struct virtqueue_chain *chain, size_t done)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];

	/* A short answer means the end of the file to the guest, and must mean it here as well. */
	while (done < transfer->length) {
		size_t count = virtqueue_chain_slice(
			chain, true, FS_READ_PAYLOAD + done, transfer->length - done, spans);
		ssize_t n =
			preadv(transfer->fd, spans, (int)count, transfer->offset + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t fs_transfer_write(
	const struct fs_transfer *transfer, const struct virtqueue_chain *chain, size_t done)
{
	struct iovec spans[VIRTQUEUE_SPANS_MAX];

	while (done < transfer->length) {
		size_t count = virtqueue_chain_slice(
			chain, false, FS_WRITE_PAYLOAD + done, transfer->length - done, spans);
		ssize_t n = pwritev2(transfer->fd, spans, (int)count,
			transfer->offset + (int64_t)done, transfer->sync);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done == 0)
			return -errno;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t fs_op_read(struct fs_request *request)
{
	struct fs_transfer transfer;
	ssize_t r = fs_transfer_prepare(request, &transfer);

	if (r < 0)
		return r;
	r = fs_transfer_read(&transfer, request->chain, 0);
	fs_transfer_done(request->fs, &transfer);
	return r;
}

ssize_t fs_op_write(struct fs_request *request)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	struct fs_transfer transfer;
	struct fuse_write_out out = {0};
	ssize_t r = fs_transfer_prepare(request, &transfer);

	if (r < 0)
		return r;
	if (fs_transfer_kills_bits(request, &transfer))
		fs_credentials_drop_fsetid(&credentials, request->header.gid);
	fs_dax_resize_begin(request->fs, request->inode);
	r = fs_transfer_write(&transfer, request->chain, 0);
	fs_dax_resize_end(request->fs, request->inode);
	fs_transfer_done(request->fs, &transfer);
	if (r < 0)
		return r;
	out.size = (uint32_t)r;
	return fs_request_reply(request, &out, sizeof(out));
}

ssize_t fs_op_fsync(struct fs_request *request)
{
	struct fs_transfer transfer;
	int r = fs_transfer_prepare(request, &transfer);

	if (r < 0)
		return r;
	r = transfer.flags & FUSE_FSYNC_FDATASYNC ? fdatasync(transfer.fd) : fsync(transfer.fd);
	if (r < 0)
		r = -errno;
	fs_transfer_done(request->fs, &transfer);
	return r;
}

int fs_transfer_allocate(const struct fs_transfer *transfer)
{
	int r;

	/* A tmpfs gives up at any signal, and one comes when the machine is paused. */
	do
		r = fallocate(transfer->fd, (int)transfer->flags, transfer->offset,
			transfer->allocate_length);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

ssize_t fs_op_fallocate(struct fs_request *request)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	struct fs_transfer transfer;
	int r = fs_transfer_prepare(request, &transfer);

	if (r < 0)
		return r;
	if (fs_transfer_kills_bits(request, &transfer))
		fs_credentials_drop_fsetid(&credentials, request->header.gid);
	fs_dax_resize_begin(request->fs, request->inode);
	r = fs_transfer_allocate(&transfer);
	fs_dax_resize_end(request->fs, request->inode);
	/*
	 * Whatever it says: it may have made holes, or blocks behind the end of the file. One that failed, too: to write zeros is to
	 * punch and to allocate on some file systems.
	 */
	if (transfer.flags)
		fs_dax_punched(request->fs, request->inode, (uint64_t)transfer.offset,
			(uint64_t)transfer.allocate_length);
	fs_transfer_done(request->fs, &transfer);
	return r;
}

ssize_t fs_op_flush(struct fs_request *request)
{
	struct fs_handle_table *handles = &request->fs->handles;
	struct fs_handle *handle;
	struct fuse_flush_in in;
	int fd, r = 0;

	/* There is nothing to hear at the end of what was not opened. */
	if (fs_session_opens_nothing(request->fs))
		return -ENOSYS;
	memcpy(&in, request->arguments, sizeof(in));
	handle = fs_handle_get(handles, in.fh, FS_HANDLE_FILE, request->header.nodeid);
	if (!handle)
		return -EBADF;
	/* Closing one of two fds reports what the file system has to report at close(). */
	fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || close(fd) < 0)
		r = -errno;
	fs_handle_put(handles, handle);
	return r;
}

ssize_t fs_op_release(struct fs_request *request)
{
	struct fuse_release_in in;

	memcpy(&in, request->arguments, sizeof(in));
	/* Of a file that was created before the guest knew that there is no OPEN. */
	if (in.fh == 0 && fs_session_opens_nothing(request->fs))
		return 0;
	return fs_handle_release(
		&request->fs->handles, in.fh, FS_HANDLE_FILE, request->header.nodeid);
}

ssize_t fs_op_lseek(struct fs_request *request)
{
	struct fuse_lseek_out out = {0};
	struct fs_transfer transfer = {0};
	struct fuse_lseek_in in;
	off_t offset;
	int r;

	memcpy(&in, request->arguments, sizeof(in));
	/* The file position is the guest's business; only the two searches concern the file. */
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	r = transfer_open(request->fs, request->inode, in.fh, false, false, &transfer);
	if (r < 0)
		return r;
	offset = lseek(transfer.fd, (off_t)in.offset, (int)in.whence);
	if (offset < 0)
		r = -errno;
	fs_transfer_done(request->fs, &transfer);
	if (r < 0)
		return r;
	out.offset = (uint64_t)offset;
	return fs_request_reply(request, &out, sizeof(out));
}

static ssize_t copy_range(const struct fs_request *request,
	const struct fuse_copy_file_range_in *in, int from, int to)
{
	_cleanup_credentials_ struct fs_credentials credentials = {0};
	uint64_t length = in->len < COPY_MAX ? in->len : COPY_MAX;
	off_t source_offset = (off_t)in->off_in, target_offset = (off_t)in->off_out;
	ssize_t n;

	if (in->flags || !checked_range(in->off_in, length, INT64_MAX) ||
		!checked_range(in->off_out, length, INT64_MAX))
		return -EINVAL;
	if (request->header.uid != 0)
		fs_credentials_drop_fsetid(&credentials, request->header.gid);
	n = copy_file_range(from, &source_offset, to, &target_offset, length, 0);
	return n < 0 ? -errno : n;
}

ssize_t fs_op_copy_file_range(struct fs_request *request)
{
	struct fs_transfer source = {0}, target = {0};
	struct virtio_fs *fs = request->fs;
	struct fuse_copy_file_range_in in;
	struct fuse_write_out out = {0};
	struct fs_inode *to;
	ssize_t n;

	memcpy(&in, request->arguments, sizeof(in));
	to = fs_inode_get(&fs->inodes, in.nodeid_out);
	if (!to)
		return -EBADF;
	n = transfer_open(fs, request->inode, in.fh_in, true, false, &source);
	if (n == 0)
		n = transfer_open(fs, to, in.fh_out, false, true, &target);
	if (n == 0) {
		fs_dax_resize_begin(fs, to);
		n = copy_range(request, &in, source.fd, target.fd);
		fs_dax_resize_end(fs, to);
		/* It may be a clone: with the source's holes, or in blocks of the source's. */
		if (n > 0)
			fs_dax_punched(fs, to, in.off_out, (uint64_t)n);
	}
	fs_transfer_done(fs, &source);
	fs_transfer_done(fs, &target);
	fs_inode_put(&fs->inodes, to);
	if (n < 0)
		return n;
	request->copied = (uint64_t)n;
	out.size = (uint32_t)n;
	return fs_request_reply(request, &out, sizeof(out));
}
