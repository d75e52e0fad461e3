// SPDX-License-Identifier: Apache-2.0
/*
 * ops_dir.c: FUSE operations on open directories.
 *
 * Theory of operation: an entry's offset is the host's (d_off), so that the guest can go on at any
 * entry it has seen, also after others were removed. Entries read from the host and not yet given
 * out wait in the handle; a request for another offset throws them away and seeks. An entry that
 * the tables have no room for is still listed, without an inode.
 *
 * #syscalls:vcpu getdents64 lseek(_, _, SEEK_SET) fsync fdatasync
 */
#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's struct linux_dirent64, as it lies in the buffer. */
struct host_entry {
	uint64_t inode;
	int64_t offset; /* of the next entry */
	uint16_t length;
	uint8_t type;
	char name[];
} __attribute__((packed));

ssize_t fs_op_opendir(struct fs_request *request)
{
	struct fuse_open_out out;
	int fd, r;

	if (request->inode->type != S_IFDIR)
		return -ENOTDIR;
	fd = fs_inode_open(request->fs, request->inode, O_RDONLY);
	if (fd < 0)
		return fd;
	r = fs_open_finish(request->fs, request->inode, fd, O_RDONLY, &out);
	return r < 0 ? r : fs_request_reply(request, &out, sizeof(out));
}

/* Under the handle's lock: makes the buffer stand at offset. */
static int directory_seek(struct fs_handle_table *handles, struct fs_handle *handle, int64_t offset)
{
	int r;

	if (handle->entries && handle->position == offset)
		return 0;
	/* Unless nothing was read yet, the kernel's own position is another one. */
	if (lseek(handle->fd, offset, SEEK_SET) < 0)
		return -errno;
	r = fs_handle_entries_make(handles, handle);
	if (r < 0)
		return r;
	handle->entries_next = handle->entries_end = 0;
	handle->position = offset;
	return 0;
}

/* Under the handle's lock: the next entry, NULL at the end of the directory, or an error. */
static int directory_next(struct fs_handle *handle, const struct host_entry **ret)
{
	if (handle->entries_next == handle->entries_end) {
		long n = syscall(SYS_getdents64, handle->fd, handle->entries, FS_DIRECTORY_BUFFER);

		if (n < 0)
			return -errno;
		handle->entries_next = 0;
		handle->entries_end = (size_t)n;
	}
	*ret = NULL;
	if (handle->entries_next < handle->entries_end)
		*ret = (const struct host_entry *)(handle->entries + handle->entries_next);
	return 0;
}

static void directory_advance(struct fs_handle *handle, const struct host_entry *entry)
{
	handle->entries_next += entry->length;
	handle->position = entry->offset;
}

static bool is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/*
 * Puts one entry at *length of the reply's payload. False when it would not fit into size bytes:
 * then nothing has happened.
 */
static bool entry_put(struct fs_request *request, const struct fs_handle *handle,
	const struct host_entry *host, bool plus, size_t size, size_t *length)
{
	static const uint8_t padding[8];
	size_t name_length = strlen(host->name);
	size_t offset = sizeof(struct fuse_out_header) + *length;
	size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	size_t whole = FUSE_DIRENT_ALIGN(head + name_length);
	struct fuse_entry_out entry = {0};
	struct fuse_dirent dirent = {
		/* What is above the tree is no business of the guest's. */
		.ino = fs_inode_number(request->fs, handle->inode->key.mount,
			strcmp(host->name, "..") ? host->inode : handle->inode->key.inode),
		.off = (uint64_t)host->offset,
		.namelen = (uint32_t)name_length,
		.type = host->type,
	};

	if (whole > size - *length)
		return false;
	if (plus) {
		if (!is_dot(host->name)) {
			/* Whatever it is, the name was there: the guest asks again if it matters.
			 */
			if (fs_entry_lookup(request->fs, handle->inode, host->name, &entry) < 0)
				entry = (struct fuse_entry_out){0};
		}
		virtqueue_chain_write(request->chain, offset, &entry, sizeof(entry));
		offset += sizeof(entry);
	}
	virtqueue_chain_write(request->chain, offset, &dirent, FUSE_NAME_OFFSET);
	offset += FUSE_NAME_OFFSET;
	virtqueue_chain_write(request->chain, offset, host->name, name_length);
	virtqueue_chain_write(
		request->chain, offset + name_length, padding, whole - head - name_length);
	*length += whole;
	return true;
}

/* Under the handle's lock. */
static ssize_t directory_read(struct fs_request *request, struct fs_handle *handle,
	int64_t position, size_t size, bool plus)
{
	size_t length = 0;
	int r = directory_seek(&request->fs->handles, handle, position);

	while (r == 0) {
		const struct host_entry *entry = NULL;

		r = directory_next(handle, &entry);
		if (r < 0 || !entry)
			break;
		if (!entry_put(request, handle, entry, plus, size, &length)) {
			/* Linux takes an empty answer for the end. */
			if (length == 0)
				r = -EINVAL;
			break;
		}
		directory_advance(handle, entry);
	}
	/* What is in the reply counts; the error comes back with the next request. */
	return length > 0 ? (ssize_t)length : r;
}

static ssize_t read_entries(struct fs_request *request, bool plus)
{
	struct fs_handle_table *handles = &request->fs->handles;
	struct fs_handle *handle;
	struct fuse_read_in in;
	ssize_t r;

	memcpy(&in, request->arguments, sizeof(in));
	handle = fs_handle_get(handles, in.fh, FS_HANDLE_DIRECTORY, request->header.nodeid);
	if (!handle)
		return -EBADF;
	pthread_mutex_lock(&handle->lock);
	r = directory_read(request, handle, (int64_t)in.offset,
		in.size < request->room ? in.size : request->room, plus);
	/* At the end, or after an error: the memory is better used elsewhere. */
	if (r <= 0 || handles->buffers > FS_DIRECTORY_BUFFERS_MAX)
		fs_handle_entries_free(handles, handle);
	pthread_mutex_unlock(&handle->lock);
	fs_handle_put(handles, handle);
	return r;
}

ssize_t fs_op_readdir(struct fs_request *request)
{
	return read_entries(request, false);
}

ssize_t fs_op_readdirplus(struct fs_request *request)
{
	return read_entries(request, true);
}

ssize_t fs_op_releasedir(struct fs_request *request)
{
	struct fuse_release_in in;

	memcpy(&in, request->arguments, sizeof(in));
	return fs_handle_release(
		&request->fs->handles, in.fh, FS_HANDLE_DIRECTORY, request->header.nodeid);
}

ssize_t fs_op_fsyncdir(struct fs_request *request)
{
	struct fs_handle_table *handles = &request->fs->handles;
	struct fs_handle *handle;
	struct fuse_fsync_in in;
	int r = 0;

	memcpy(&in, request->arguments, sizeof(in));
	handle = fs_handle_get(handles, in.fh, FS_HANDLE_DIRECTORY, request->header.nodeid);
	if (!handle)
		return -EBADF;
	if ((in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd)) < 0)
		r = -errno;
	fs_handle_put(handles, handle);
	return r;
}
