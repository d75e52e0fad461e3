// SPDX-License-Identifier: Apache-2.0
/*
 * saved.c: the session of a parked guest, saved and taken up again.
 *
 * Theory of operation: an fd cannot be saved, a path can: the kernel tells it (/proc/self/fd), and it counts
 * only if opening it again, through no link and not above the tree, leads to the very file. Files
 * without such a path (deleted ones) make the guest impossible to park. Restoring opens each path in
 * the new tree. The new file gets the old id, because the guest's kernel knows it by that; slots keep
 * their generations, so that no id is ever given out twice. The guest relies on how long it may
 * remember what: a file that has come under a stricter policy than it had is refused. So is one of a subtree that
 * others change too, if they have, once the guest has seen what is in such a subtree.
 *
 * The layout, after the version: what must be equal in both devices; the negotiated features; the
 * generations of all inode slots; the inodes; the same for handles; what is mapped.
 *
 * #syscalls:park readlinkat openat2 close
 */
#include "virtio/fs/saved.h"

#include "virtio/fs/operations.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define STATE_LAYOUT 4

/* What shows that a file was changed. Of one width, to be compared as bytes. */
struct file_state {
	int64_t inode, size, modified, modified_ns, changed, changed_ns;
};

/* #syscalls:park newfstatat(_, _, _, AT_EMPTY_PATH) */
static int file_state_of(int fd, struct file_state *ret)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	*ret = (struct file_state){
		.inode = (int64_t)status.st_ino,
		.size = status.st_size,
		.modified = status.st_mtim.tv_sec,
		.modified_ns = status.st_mtim.tv_nsec,
		.changed = status.st_ctim.tv_sec,
		.changed_ns = status.st_ctim.tv_nsec,
	};
	return 0;
}

/* ---- saving */

/* No bytes: nobody else changes it, or the guest has seen nothing of it. */
static int save_file_state(
	const struct virtio_fs *fs, const struct fs_inode *inode, struct state_writer *writer)
{
	bool is_told = fs->shared_read && fs_inode_policy(inode) != VIRTIO_FS_EXCLUSIVE;
	struct file_state state;
	int r = is_told ? file_state_of(inode->fd, &state) : 0;

	state_put_bytes(writer, &state, is_told && r == 0 ? sizeof(state) : 0);
	return r;
}

static int save_inode(const struct virtio_fs *fs, struct fs_inode *inode,
	struct state_writer *writer, struct error *err)
{
	int root_fd = fs->inodes.slots[FUSE_ROOT_ID].inode->fd;
	char path[FS_PATH_ROOM];
	_cleanup_close_ int fd = -1;
	int r = fs_path_of(fs->proc_fd, root_fd, inode->fd, path);

	if (r == 0)
		fd = fs_path_open(root_fd, path);
	if (r < 0 || fd < 0 || !fs_inode_is(inode, fd))
		return error_set(err, -EBUSY, "the guest uses a file that has no name any more%s%s",
			r == 0 ? ": " : "", r == 0 ? path : "");
	state_put_u64(writer, inode->id);
	state_put_u64(writer, inode->lookups);
	state_put_u32(writer, inode->type);
	state_put_u32(writer, fs_inode_policy(inode));
	state_put_u32(writer, (uint32_t)inode->dax);
	state_put_u32(writer, fs_dax_may_have_holes(inode));
	state_put_bytes(writer, path, strlen(path));
	r = save_file_state(fs, inode, writer);
	return r < 0 ? error_set_errno(err, r, "cannot look at %s", path) : 0;
}

static int save_inodes(const struct virtio_fs *fs, struct state_writer *writer, struct error *err)
{
	const struct fs_inode_table *table = &fs->inodes;
	int r = 0;

	state_put_u32(writer, table->slot_count);
	for (uint32_t i = 0; i < table->slot_count; i++)
		state_put_u32(writer, table->slots[i].generation);
	/* The root is there without being told. */
	state_put_u32(writer, (uint32_t)table->count - 1);
	for (uint32_t i = FUSE_ROOT_ID + 1; r == 0 && i < table->slot_count; i++)
		if (table->slots[i].inode)
			r = save_inode(fs, table->slots[i].inode, writer, err);
	return r;
}

static int save_handle(const struct virtio_fs *fs, const struct fs_handle *handle,
	struct state_writer *writer, struct error *err)
{
	uint32_t index = (uint32_t)handle->inode->id;

	if (fs->inodes.slots[index].inode != handle->inode)
		return error_set(
			err, -EBUSY, "the guest has a file open that it does not know any more");
	/* Where the host's entry was cut off means nothing in another tree. */
	if (handle->entries && handle->position != 0)
		return error_set(err, -EBUSY, "the guest is reading a directory just now");
	state_put_u64(writer, handle->id);
	state_put_u32(writer, handle->kind);
	/* What fs_inode_open() took of what the guest had said. */
	state_put_u32(writer,
		handle->kind == FS_HANDLE_DIRECTORY
			? O_RDONLY
			: (uint32_t)handle->flags & FS_OPEN_FLAGS & ~(uint32_t)O_TRUNC);
	state_put_u64(writer, handle->inode->id);
	return 0;
}

static int save_handles(const struct virtio_fs *fs, struct state_writer *writer, struct error *err)
{
	const struct fs_handle_table *table = &fs->handles;
	int r = 0;

	state_put_u32(writer, table->slot_count);
	for (uint32_t i = 0; i < table->slot_count; i++)
		state_put_u32(writer, table->slots[i].generation);
	state_put_u32(writer, (uint32_t)table->count);
	for (uint32_t i = 1; r == 0 && i < table->slot_count; i++)
		if (table->slots[i].handle)
			r = save_handle(fs, table->slots[i].handle, writer, err);
	return r;
}

int fs_session_save(struct virtio_fs *fs, struct state_writer *writer, struct error *err)
{
	int r;

	state_put_u32(writer, STATE_LAYOUT);
	state_put_u32(writer, fs->shared);
	state_put_u32(writer, fs->readahead);
	state_put_u32(writer, fs->initialised);
	state_put_u64(writer, fs->features);
	r = save_inodes(fs, writer, err);
	if (r == 0)
		r = save_handles(fs, writer, err);
	return r < 0 ? r : fs_dax_save(fs, writer, err);
}

/* ---- restoring */

static int damaged(struct error *err)
{
	return error_set(err, -EBADMSG, "the saved state of the file server is damaged");
}

/* Generations of slots. The caller frees *ret. */
static int restore_generations(
	struct state_reader *reader, uint32_t **ret, uint32_t *ret_count, struct error *err)
{
	uint32_t count = state_get_u32(reader);
	uint32_t *generations;

	if (reader->error || count > (reader->end - reader->next) / sizeof(uint32_t))
		return damaged(err);
	generations = malloc((count + 1) * sizeof(*generations));
	if (!generations)
		return error_set(err, -ENOMEM, "out of memory");
	state_get(reader, generations, count * sizeof(*generations));
	*ret = generations;
	*ret_count = count;
	return 0;
}

static int restore_inode(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	uint64_t id = state_get_u64(reader), lookups = state_get_u64(reader);
	uint32_t type = state_get_u32(reader), policy = state_get_u32(reader), now;
	uint32_t dax = state_get_u32(reader), punched = state_get_u32(reader);
	char path[FS_PATH_ROOM];
	const void *bytes, *state_bytes;
	size_t length = state_get_bytes(reader, sizeof(path) - 1, &bytes);
	size_t state_size = state_get_bytes(reader, sizeof(struct file_state), &state_bytes);
	struct file_state state;
	struct stat status;
	int fd, r;

	if (reader->error || (state_size != 0 && state_size != sizeof(state)) || length == 0 ||
		memchr(bytes, '\0', length) || lookups == 0 ||
		policy > VIRTIO_FS_READ_ONLY_SHARED || dax > FS_DAX_YES ||
		punched > (dax == FS_DAX_YES) ||
		(dax == FS_DAX_YES && (type != S_IFREG || !(fs->features & FUSE_HAS_INODE_DAX))))
		return damaged(err);
	memcpy(path, bytes, length);
	path[length] = '\0';
	now = fs_path_policy(&fs->inodes, path);
	if (now > policy)
		return error_set(err, -EBADMSG,
			"the guest knows %s as its own, and others may change it now", path);
	fd = fs_path_open(fs->inodes.slots[FUSE_ROOT_ID].inode->fd, path);
	if (fd < 0)
		return error_set_errno(
			err, fd, "cannot open %s, which the parked guest knows", path);
	if (fstat(fd, &status) < 0 || (status.st_mode & S_IFMT) != type) {
		close(fd);
		return error_set(err, -EBADMSG,
			"%s is not the kind of file that the parked guest knows", path);
	}
	if (state_size > 0 &&
		(file_state_of(fd, &state) < 0 || memcmp(&state, state_bytes, sizeof(state)))) {
		close(fd);
		return error_set(err, -EBADMSG,
			"%s was changed since the guest was parked, which knows it as it was",
			path);
	}
	fs->shared_read |= state_size > 0;
	r = fs_inode_resume(&fs->inodes, id, fd, type, policy, lookups, (int)dax, punched);
	if (r == -EEXIST)
		return error_set(err, -EBADMSG,
			"%s is a file that the parked guest knows by another name too", path);
	if (r == -EINVAL)
		return damaged(err);
	return r < 0 ? error_set_errno(err, r, "cannot take up %s again", path) : 0;
}

static int restore_inodes(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	_cleanup_free_ uint32_t *generations = NULL;
	uint32_t slot_count, count;
	int r = restore_generations(reader, &generations, &slot_count, err);

	if (r < 0)
		return r;
	r = fs_inode_table_resume(&fs->inodes, generations, slot_count);
	if (r < 0)
		return r == -EINVAL ? damaged(err) : error_set(err, r, "out of memory");
	count = state_get_u32(reader);
	if (!fs->initialised && count > 0)
		return damaged(err);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = restore_inode(fs, reader, err);
	fs_inode_table_resumed(&fs->inodes);
	return r;
}

/* 0, or -EINVAL for what this device would not have opened for the guest. */
static int handle_check(
	const struct virtio_fs *fs, const struct fs_inode *inode, uint32_t kind, uint32_t flags)
{
	if (kind == FS_HANDLE_DIRECTORY)
		return inode->type == S_IFDIR && flags == O_RDONLY ? 0 : -EINVAL;
	if (kind != FS_HANDLE_FILE || inode->type != S_IFREG || fs_session_opens_nothing(fs) ||
		flags & ~(uint32_t)(FS_OPEN_FLAGS & ~O_TRUNC) || (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return (flags & O_ACCMODE) == O_RDONLY || fs_inode_writable(inode) == 0 ? 0 : -EINVAL;
}

static int restore_handle(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	uint64_t id = state_get_u64(reader);
	uint32_t kind = state_get_u32(reader), flags = state_get_u32(reader);
	uint64_t inode_id = state_get_u64(reader);
	struct fs_inode *inode = reader->error ? NULL : fs_inode_get(&fs->inodes, inode_id);
	int fd, r = inode ? handle_check(fs, inode, kind, flags) : -EINVAL;

	if (r == 0) {
		fd = fs_inode_open(fs, inode, flags);
		r = fd < 0 ? fd
			   : fs_handle_resume(&fs->handles, id, (enum fs_handle_kind)kind, fd,
				     (int)flags, inode);
	}
	fs_inode_put(&fs->inodes, inode);
	if (r == -EINVAL)
		return damaged(err);
	return r < 0 ? error_set_errno(err, r, "cannot open a file that the parked guest has open")
		     : 0;
}

static int restore_handles(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	_cleanup_free_ uint32_t *generations = NULL;
	uint32_t slot_count, count;
	int r = restore_generations(reader, &generations, &slot_count, err);

	if (r < 0)
		return r;
	r = fs_handle_table_resume(&fs->handles, generations, slot_count);
	if (r < 0)
		return r == -EINVAL ? damaged(err) : error_set(err, r, "out of memory");
	count = state_get_u32(reader);
	if (reader->error || (!fs->initialised && count > 0))
		return damaged(err);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = restore_handle(fs, reader, err);
	fs_handle_table_resumed(&fs->handles);
	return r;
}

int fs_session_restore(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	uint32_t layout = state_get_u32(reader), shared = state_get_u32(reader);
	uint32_t readahead = state_get_u32(reader), initialised = state_get_u32(reader);
	uint64_t features = state_get_u64(reader);
	int r;

	if (reader->error || layout != STATE_LAYOUT || initialised > 1)
		return damaged(err);
	if (shared != fs->shared || readahead != fs->readahead)
		return error_set(
			err, -EBADMSG, "the parked guest was promised another kind of file server");
	if (initialised ? features != fs_session_features(fs, features) : features != 0)
		return damaged(err);
	fs->features = features;
	fs->initialised = initialised;
	r = restore_inodes(fs, reader, err);
	if (r == 0)
		r = restore_handles(fs, reader, err);
	return r < 0 ? r : fs_dax_restore(fs, reader, err);
}
