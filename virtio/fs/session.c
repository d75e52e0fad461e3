// SPDX-License-Identifier: Apache-2.0
/*
 * session.c: FUSE negotiation and the way of a request from its chain to its reply.
 *
 * Theory of operation: a request is parsed (header and arguments copied, lengths compared with the
 * chain), checked against the table of operations (session negotiated, structure there, room for
 * the reply), its inode resolved and held, and given to the operation. A driver whose header is
 * wrong is broken; a request whose contents are wrong gets an error reply, without having had any
 * effect. Operations that are not in the table get ENOSYS, which makes Linux do without them.
 */
#include "virtio/fs/session.h"

#include "base/file.h"
#include "virtio/fs/operations.h"

#include <errno.h>
#include <string.h>

/* The oldest protocol with submounts (FUSE_SUBMOUNTS, 7.31 and 7.32). */
#define FS_MINOR_MIN         31
#define FS_BACKGROUND_MAX    64
#define FS_CONGESTION_LIMIT  48
#define FS_INIT_IN_SIZE_7_31 16

static ssize_t op_init(struct fs_request *request);
static ssize_t op_destroy(struct fs_request *request);

#define FS_NO_INODE 1 /* header.nodeid means nothing, or is looked at by serve */
#define FS_LONG     2 /* the arguments may be longer than what is copied */
#define FS_SILENT   4 /* has no reply */
#define FS_REVEALS  8 /* the guest knows names or contents afterwards */

struct fs_operation {
	ssize_t (*serve)(struct fs_request *request);
	uint16_t arguments; /* bytes there must be */
	uint16_t reply;     /* bytes of room there must be */
	uint16_t flags;     /* FS_... */
};

#define NO_STRUCTURE 0
#define ENTRY        sizeof(struct fuse_entry_out)
#define ATTR         sizeof(struct fuse_attr_out)
#define OPEN         sizeof(struct fuse_open_out)

static const struct fs_operation operations[] = {
	[FUSE_LOOKUP] = {fs_op_lookup, NO_STRUCTURE, ENTRY, FS_REVEALS},
	[FUSE_FORGET] = {fs_op_forget, sizeof(struct fuse_forget_in), 0, FS_NO_INODE | FS_SILENT},
	[FUSE_GETATTR] = {fs_op_getattr, sizeof(struct fuse_getattr_in), ATTR, 0},
	[FUSE_SETATTR] = {fs_op_setattr, sizeof(struct fuse_setattr_in), ATTR, 0},
	[FUSE_READLINK] = {fs_op_readlink, NO_STRUCTURE, 0, FS_REVEALS},
	[FUSE_SYMLINK] = {fs_op_symlink, NO_STRUCTURE, ENTRY, FS_REVEALS},
	[FUSE_MKNOD] = {fs_op_mknod, sizeof(struct fuse_mknod_in), ENTRY, FS_REVEALS},
	[FUSE_MKDIR] = {fs_op_mkdir, sizeof(struct fuse_mkdir_in), ENTRY, FS_REVEALS},
	[FUSE_UNLINK] = {fs_op_unlink, NO_STRUCTURE, 0, FS_REVEALS},
	[FUSE_RMDIR] = {fs_op_rmdir, NO_STRUCTURE, 0, FS_REVEALS},
	[FUSE_RENAME] = {fs_op_rename, sizeof(struct fuse_rename_in), 0, FS_REVEALS},
	[FUSE_RENAME2] = {fs_op_rename2, sizeof(struct fuse_rename2_in), 0, FS_REVEALS},
	[FUSE_LINK] = {fs_op_link, sizeof(struct fuse_link_in), ENTRY, FS_REVEALS},
	[FUSE_OPEN] = {fs_op_open, sizeof(struct fuse_open_in), OPEN, FS_REVEALS},
	[FUSE_READ] = {fs_op_read, sizeof(struct fuse_read_in), 0, FS_REVEALS},
	[FUSE_WRITE] = {fs_op_write, sizeof(struct fuse_write_in), sizeof(struct fuse_write_out),
		FS_LONG | FS_REVEALS},
	[FUSE_STATFS] = {fs_op_statfs, NO_STRUCTURE, sizeof(struct fuse_statfs_out), 0},
	[FUSE_RELEASE] = {fs_op_release, sizeof(struct fuse_release_in), 0, FS_NO_INODE},
	[FUSE_FSYNC] = {fs_op_fsync, sizeof(struct fuse_fsync_in), 0, 0},
	[FUSE_SETXATTR] = {fs_op_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, 0, FS_LONG},
	[FUSE_GETXATTR] = {fs_op_getxattr, sizeof(struct fuse_getxattr_in), 0, FS_REVEALS},
	[FUSE_LISTXATTR] = {fs_op_listxattr, sizeof(struct fuse_getxattr_in), 0, FS_REVEALS},
	[FUSE_REMOVEXATTR] = {fs_op_removexattr, NO_STRUCTURE, 0, 0},
	[FUSE_FLUSH] = {fs_op_flush, sizeof(struct fuse_flush_in), 0, 0},
	[FUSE_INIT] = {op_init, FS_INIT_IN_SIZE_7_31, sizeof(struct fuse_init_out), FS_NO_INODE},
	[FUSE_OPENDIR] = {fs_op_opendir, sizeof(struct fuse_open_in), OPEN, 0},
	[FUSE_READDIR] = {fs_op_readdir, sizeof(struct fuse_read_in), 0, FS_REVEALS},
	[FUSE_READDIRPLUS] = {fs_op_readdirplus, sizeof(struct fuse_read_in), 0, FS_REVEALS},
	[FUSE_RELEASEDIR] = {fs_op_releasedir, sizeof(struct fuse_release_in), 0, FS_NO_INODE},
	[FUSE_FSYNCDIR] = {fs_op_fsyncdir, sizeof(struct fuse_fsync_in), 0, 0},
	[FUSE_CREATE] = {fs_op_create, sizeof(struct fuse_create_in), ENTRY + OPEN, FS_REVEALS},
	[FUSE_TMPFILE] = {fs_op_tmpfile, sizeof(struct fuse_create_in), ENTRY + OPEN, FS_REVEALS},
	[FUSE_DESTROY] = {op_destroy, NO_STRUCTURE, 0, FS_NO_INODE},
	[FUSE_BATCH_FORGET] = {fs_op_batch_forget, sizeof(struct fuse_batch_forget_in), 0,
		FS_NO_INODE | FS_LONG | FS_SILENT},
	[FUSE_FALLOCATE] = {fs_op_fallocate, sizeof(struct fuse_fallocate_in), 0, 0},
	[FUSE_LSEEK] = {fs_op_lseek, sizeof(struct fuse_lseek_in), sizeof(struct fuse_lseek_out),
		FS_REVEALS},
	[FUSE_COPY_FILE_RANGE] = {fs_op_copy_file_range, sizeof(struct fuse_copy_file_range_in),
		sizeof(struct fuse_write_out), FS_REVEALS},
	[FUSE_SYNCFS] = {fs_op_syncfs, sizeof(struct fuse_syncfs_in), 0, 0},
	[FUSE_SETUPMAPPING] = {fs_op_setupmapping, sizeof(struct fuse_setupmapping_in), 0,
		FS_REVEALS},
	[FUSE_REMOVEMAPPING] = {fs_op_removemapping, sizeof(struct fuse_removemapping_in), 0, 0},
	[FS_OPCODE_STATX] = {fs_op_statx, sizeof(struct fs_statx_in), sizeof(struct fs_statx_out),
		0},
};

static const struct fs_operation *operation_find(uint32_t opcode)
{
	if (opcode >= ARRAY_SIZE(operations) || !operations[opcode].serve)
		return NULL;
	return &operations[opcode];
}

void fs_session_reset(struct virtio_fs *fs)
{
	fs->initialised = false;
	fs->features = 0;
	fs_dax_clear(fs);
	fs_handle_table_clear(&fs->handles);
	fs_inode_table_clear(&fs->inodes);
}

/*
 * FUSE_ASYNC_READ and FUSE_ASYNC_DIO are not among them: queues would be deeper, and each request would cost an interrupt
 * where now the guest finds the answer when its notification returns.
 */
uint64_t fs_session_features(const struct virtio_fs *fs, uint64_t offered)
{
	uint64_t wanted = FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
		FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS |
		FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT;

	/*
	 * The guest drops its pages when it sees a new modification time: needed where others
	 * write, and a waste where the only writer is the guest.
	 */
	wanted |= fs->shared ? FUSE_AUTO_INVAL_DATA : FUSE_EXPLICIT_INVAL_DATA;
	/* An OPEN that is not sent truncates nothing. */
	wanted |= !fs->shared && offered & FUSE_NO_OPEN_SUPPORT ? FUSE_NO_OPEN_SUPPORT
								: FUSE_ATOMIC_O_TRUNC;
	if (fs->dax.host)
		wanted |= FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;
	return offered & wanted;
}

static ssize_t op_init(struct fs_request *request)
{
	struct virtio_fs *fs = request->fs;
	struct fuse_init_in in = {0};
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
	};
	uint64_t offered;

	memcpy(&in, request->arguments,
		request->length < sizeof(in) ? request->length : sizeof(in));
	/* A newer major version: the driver sends INIT again with ours. */
	if (in.major > FUSE_KERNEL_VERSION)
		return fs_request_reply(request, &out, sizeof(out));
	if (in.major < FUSE_KERNEL_VERSION || in.minor < FS_MINOR_MIN)
		return -EPROTO;
	/* A second INIT starts a new session: what the old one knew is gone. */
	fs_session_reset(fs);
	if (in.minor < out.minor)
		out.minor = in.minor;
	offered = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		offered |= (uint64_t)in.flags2 << 32;
	fs->features = fs_session_features(fs, offered);
	out.flags = (uint32_t)fs->features;
	out.flags2 = (uint32_t)(fs->features >> 32);
	out.max_readahead = in.max_readahead < fs->readahead ? in.max_readahead : fs->readahead;
	out.max_background = FS_BACKGROUND_MAX;
	out.congestion_threshold = FS_CONGESTION_LIMIT;
	out.max_write = FS_DATA_MAX;
	out.max_pages = FS_DATA_MAX / 4096;
	out.time_gran = 1;
	out.map_alignment = fs->features & FUSE_MAP_ALIGNMENT ? FS_DAX_RANGE_SHIFT : 0;
	fs->initialised = true;
	return fs_request_reply(request, &out, sizeof(out));
}

static ssize_t op_destroy(struct fs_request *request)
{
	fs_session_reset(request->fs);
	return 0;
}

uint32_t fs_reply_write(const struct virtqueue_chain *chain, uint64_t unique, ssize_t result)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + (result > 0 ? (uint32_t)result : 0),
		.error = result < 0 ? (int32_t)result : 0,
		.unique = unique,
	};

	virtqueue_chain_write(chain, 0, &out, sizeof(out));
	return out.len;
}

ssize_t fs_request_reply(const struct fs_request *request, const void *payload, size_t length)
{
	size_t written = virtqueue_chain_write(
		request->chain, sizeof(struct fuse_out_header), payload, length);

	return written == length ? (ssize_t)length : -EIO;
}

int fs_request_string(const struct fs_request *request, size_t *offset, const char **ret)
{
	const char *string = (const char *)request->arguments + *offset;
	size_t left = *offset < request->length ? request->length - *offset : 0;
	size_t length = left ? strnlen(string, left) : 0;

	if (length == left)
		return -EINVAL;
	*offset += length + 1;
	*ret = string;
	return 0;
}

int fs_request_name(const struct fs_request *request, size_t *offset, const char **ret)
{
	int r = fs_request_string(request, offset, ret);

	if (r < 0)
		return r;
	if (strlen(*ret) > 255)
		return -ENAMETOOLONG;
	return file_name_is_safe(*ret) ? 0 : -EINVAL;
}

int fs_request_last_name(const struct fs_request *request, size_t offset, const char **ret)
{
	int r = fs_request_name(request, &offset, ret);

	if (r < 0)
		return r;
	return offset == request->length ? 0 : -EINVAL;
}

int fs_request_parse(
	struct fs_request *request, struct virtio_fs *fs, const struct virtqueue_chain *chain)
{
	const struct fs_operation *operation;

	request->fs = fs;
	request->chain = chain;
	request->inode = NULL;
	request->copied = 0;
	if (virtqueue_chain_read(chain, 0, &request->header, sizeof(request->header)) !=
			sizeof(request->header) ||
		request->header.len != chain->readable_bytes ||
		chain->readable_bytes > FS_ARGUMENTS_MAX + FS_DATA_MAX)
		return -EBADMSG;
	operation = operation_find(request->header.opcode);
	if (chain->writable_bytes < sizeof(struct fuse_out_header)) {
		/* Only a driver that wants no reply may leave no room for one. */
		if (chain->writable_bytes > 0 || !operation || !(operation->flags & FS_SILENT))
			return -EBADMSG;
		request->room = 0;
	} else {
		request->room = chain->writable_bytes - sizeof(struct fuse_out_header);
	}
	request->argument_bytes = chain->readable_bytes - sizeof(request->header);
	request->length = virtqueue_chain_read(chain, sizeof(request->header), request->arguments,
		request->argument_bytes < FS_ARGUMENTS_MAX ? request->argument_bytes
							   : FS_ARGUMENTS_MAX);
	return 0;
}

int fs_request_check(const struct fs_request *request)
{
	const struct fs_operation *operation = operation_find(request->header.opcode);

	if (!operation)
		return -ENOSYS;
	if (!request->fs->initialised && request->header.opcode != FUSE_INIT)
		return -EIO;
	/* What was read may end before the chain does: it goes no further than memory that is no window. */
	if (request->length < operation->arguments || request->room < operation->reply)
		return -EINVAL;
	if (request->argument_bytes > FS_ARGUMENTS_MAX && !(operation->flags & FS_LONG))
		return -EINVAL;
	return 0;
}

static ssize_t request_run(struct fs_request *request)
{
	const struct fs_operation *operation = operation_find(request->header.opcode);
	struct fs_inode_table *inodes = &request->fs->inodes;
	ssize_t r = fs_request_check(request);

	if (r < 0 || !operation)
		return r;
	if (!(operation->flags & FS_NO_INODE)) {
		request->inode = fs_inode_get(inodes, request->header.nodeid);
		if (!request->inode)
			return -ESTALE;
		if (operation->flags & FS_REVEALS)
			fs_session_reveal(request->fs, request->inode);
	}
	r = operation->serve(request);
	fs_inode_put(inodes, request->inode);
	request->inode = NULL;
	return r;
}

uint32_t fs_request_serve(struct fs_request *request)
{
	const struct fs_operation *operation = operation_find(request->header.opcode);
	ssize_t r = request_run(request);

	if ((operation && operation->flags & FS_SILENT) || request->chain->writable_bytes == 0)
		return 0;
	return fs_reply_write(request->chain, request->header.unique, r);
}
