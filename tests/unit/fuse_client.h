/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small FUSE client for tests of the file server: a tree to serve, requests as a driver or an attacker
 * would make them, and what came back (in reply). Failures end the test.
 */
#ifndef APPC_TESTS_UNIT_FUSE_CLIENT_H
#define APPC_TESTS_UNIT_FUSE_CLIENT_H

#include "base/file.h"
#include "base/state.h"
#include "virtio/fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ROOT         FUSE_ROOT_ID
#define REPLY_ROOM   (256ull * 1024)
#define REQUEST_ROOM (64ull * 1024)
#define OPCODE_STATX 52 /* FUSE_STATX of Linux 6.6 */

/* ---- the world: a directory with a tree and something outside of it */

struct world {
	char path[64];
	int top, tree;
	bool alone; /* no subtree is shared: a session without OPEN */
	bool is_flat;
	uint32_t readahead;                /* 0: the device's own bound */
	const struct guest_memory *memory; /* with a window; NULL: without any memory */
	enum virtio_fs_dax dax;
	struct virtio_fs *fs;
};

/* One request's reply. */
struct reply {
	int error;
	size_t length;
	_Alignas(8) uint8_t data[REPLY_ROOM];
};

static struct reply reply;
static uint64_t unique = 1;
static uint32_t caller_uid, caller_gid;

static inline void write_file(int dirfd, const char *path, const char *text)
{
	int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static inline void world_make(struct world *world)
{
	*world = (struct world){0};
	strcpy(world->path, "/tmp/virtio-fs-XXXXXX");
	assert_non_null(mkdtemp(world->path));
	world->top = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(world->top >= 0);
	write_file(world->top, "secret", "outside");
	assert_int_equal(mkdirat(world->top, "tree", 0755), 0);
	world->tree = openat(world->top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(world->tree, "volumes", 0755), 0);
	assert_int_equal(mkdirat(world->tree, "volumes/shared", 0755), 0);
	assert_int_equal(mkdirat(world->tree, "volumes/fixed", 0755), 0);
	assert_int_equal(mkdirat(world->tree, "volumes/fixed/inner", 0755), 0);
	write_file(world->tree, "volumes/shared/file", "shared");
	write_file(world->tree, "volumes/fixed/file", "fixed");
	write_file(world->tree, "file", "hello");
	assert_int_equal(mkdirat(world->tree, "directory", 0755), 0);
	write_file(world->tree, "directory/inner", "inner");
}

static inline void world_serve(struct world *world, size_t inodes_max, size_t handles_max)
{
	static const struct virtio_fs_export exports[] = {
		{"volumes/shared", VIRTIO_FS_SHARED},
		{"volumes/fixed", VIRTIO_FS_READ_ONLY_SHARED},
	};
	static const struct guest_memory no_memory;
	struct virtio_fs_options options = {
		.tag = "pod",
		.tree_fd = dup(world->tree),
		.policy = VIRTIO_FS_EXCLUSIVE,
		.exports = exports,
		.export_count = world->alone ? 0 : ARRAY_SIZE(exports),
		.is_flat = world->is_flat,
		.readahead = world->readahead,
		.dax = world->dax,
		.inodes_max = inodes_max,
		.handles_max = handles_max,
	};
	struct error err;

	assert_int_equal(virtio_fs_create(world->memory ? world->memory : &no_memory, &options,
				 &world->fs, &err),
		0);
}

static inline int world_end(void **state)
{
	struct world *world = *state;

	virtio_fs_free(world->fs);
	close(world->tree);
	close(world->top);
	assert_int_equal(directory_remove(AT_FDCWD, world->path), 0);
	free(world);
	return 0;
}

/* ---- the client */

struct part {
	const void *data;
	size_t length;
};
#define PART(object) ((struct part){&(object), sizeof(object)})
#define TEXT(string) ((struct part){(string), strlen(string) + 1})
#define NOTHING      ((struct part){NULL, 0})

/* Sends a request of up to three parts; returns 0 or the -errno in the reply. */
static inline int call_room(struct virtio_fs *fs, uint32_t opcode, uint64_t node, struct part a,
	struct part b, struct part c, size_t room)
{
	size_t size = sizeof(struct fuse_in_header) + a.length + b.length + c.length;
	_cleanup_free_ uint8_t *in = malloc(size);
	struct fuse_in_header header = {
		.len = (uint32_t)size,
		.opcode = opcode,
		.unique = unique,
		.nodeid = node,
		.uid = caller_uid,
		.gid = caller_gid,
	};
	/* Exactly as long as promised: what is written behind it is found by the sanitizer. */
	_cleanup_free_ uint8_t *out = malloc(room);
	struct fuse_out_header out_header;
	ssize_t length;
	uint8_t *next = in + sizeof(header);

	unique++;
	memcpy(in, &header, sizeof(header));
	for (int i = 0; i < 3; i++) {
		struct part part = i == 0 ? a : i == 1 ? b : c;

		if (part.length)
			memcpy(next, part.data, part.length);
		next += part.length;
	}
	reply.length = 0;
	length = virtio_fs_serve(fs, in, size, out, room);
	if (length <= 0)
		return reply.error = (int)length;
	assert_true((size_t)length >= sizeof(out_header) && (size_t)length <= room);
	memcpy(&out_header, out, sizeof(out_header));
	assert_int_equal(out_header.len, length);
	assert_int_equal(out_header.unique, header.unique);
	assert_true(out_header.error <= 0 && out_header.error > -512);
	if (out_header.error)
		assert_int_equal(length, sizeof(out_header));
	reply.error = out_header.error;
	reply.length = (size_t)length - sizeof(out_header);
	assert_true(reply.length <= sizeof(reply.data));
	memcpy(reply.data, out + sizeof(out_header), reply.length);
	return reply.error;
}

static inline int call(struct virtio_fs *fs, uint32_t opcode, uint64_t node, struct part a,
	struct part b, struct part c)
{
	return call_room(fs, opcode, node, a, b, c, REQUEST_ROOM);
}

static inline int init_with(struct virtio_fs *fs, uint32_t major, uint32_t minor, uint32_t flags)
{
	struct fuse_init_in in = {
		.major = major,
		.minor = minor,
		.max_readahead = 131072,
		.flags = flags,
	};

	return call(fs, FUSE_INIT, 0, PART(in), NOTHING, NOTHING);
}

static inline const struct fuse_init_out *init_out(void)
{
	assert_int_equal(reply.length, sizeof(struct fuse_init_out));
	return (const struct fuse_init_out *)reply.data;
}

static inline const struct fuse_entry_out *entry_out(void)
{
	assert_true(reply.length >= sizeof(struct fuse_entry_out));
	return (const struct fuse_entry_out *)reply.data;
}

static inline int lookup(struct virtio_fs *fs, uint64_t parent, const char *name)
{
	return call(fs, FUSE_LOOKUP, parent, TEXT(name), NOTHING, NOTHING);
}

/* Looks up a path of several names, each of which must be there. */
static inline uint64_t node_of(struct virtio_fs *fs, const char *path)
{
	char copy[256], *save = NULL;
	uint64_t node = ROOT;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		assert_int_equal(lookup(fs, node, name), 0);
		node = entry_out()->nodeid;
		assert_true(node != 0);
	}
	return node;
}

static inline int open_node(struct virtio_fs *fs, uint64_t node, uint32_t flags, uint64_t *ret)
{
	struct fuse_open_in in = {.flags = flags};
	int r = call(fs, FUSE_OPEN, node, PART(in), NOTHING, NOTHING);

	*ret = 0;
	if (r == 0)
		*ret = ((const struct fuse_open_out *)reply.data)->fh;
	return r;
}

static inline uint64_t open_directory(struct virtio_fs *fs, uint64_t node)
{
	struct fuse_open_in in = {.flags = O_RDONLY};

	assert_int_equal(call(fs, FUSE_OPENDIR, node, PART(in), NOTHING, NOTHING), 0);
	return ((const struct fuse_open_out *)reply.data)->fh;
}

static inline int read_node(
	struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = {.fh = handle, .offset = offset, .size = size};

	return call(fs, FUSE_READ, node, PART(in), NOTHING, NOTHING);
}

static inline int write_node(struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t offset,
	const char *text, uint32_t flags)
{
	struct fuse_write_in in = {
		.fh = handle,
		.offset = offset,
		.size = (uint32_t)strlen(text),
		.write_flags = flags,
	};
	int r = call(fs, FUSE_WRITE, node, PART(in), (struct part){text, strlen(text)}, NOTHING);

	if (r == 0)
		assert_int_equal(((const struct fuse_write_out *)reply.data)->size, strlen(text));
	return r;
}

static inline int release(struct virtio_fs *fs, uint64_t node, uint64_t handle)
{
	struct fuse_release_in in = {.fh = handle};

	return call(fs, FUSE_RELEASE, node, PART(in), NOTHING, NOTHING);
}

static inline void forget(struct virtio_fs *fs, uint64_t node, uint64_t count)
{
	struct fuse_forget_in in = {.nlookup = count};

	assert_int_equal(call_room(fs, FUSE_FORGET, node, PART(in), NOTHING, NOTHING, 0), 0);
}

static inline int getattr(struct virtio_fs *fs, uint64_t node, struct fuse_attr *ret)
{
	struct fuse_getattr_in in = {0};
	int r = call(fs, FUSE_GETATTR, node, PART(in), NOTHING, NOTHING);

	if (ret)
		*ret = (struct fuse_attr){0};
	if (r == 0 && ret)
		*ret = ((const struct fuse_attr_out *)reply.data)->attr;
	return r;
}

static inline int create(struct virtio_fs *fs, uint64_t parent, const char *name, uint32_t flags,
	uint32_t mode, uint64_t *ret_node, uint64_t *ret_handle)
{
	struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = mode};
	int r = call(fs, FUSE_CREATE, parent, PART(in), TEXT(name), NOTHING);

	*ret_node = *ret_handle = 0;
	if (r == 0) {
		assert_int_equal(
			reply.length, sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out));
		*ret_node = entry_out()->nodeid;
		*ret_handle =
			((const struct fuse_open_out *)(reply.data + sizeof(struct fuse_entry_out)))
				->fh;
	}
	return r;
}

static inline int setattr(struct virtio_fs *fs, uint64_t node, struct fuse_setattr_in in)
{
	return call(fs, FUSE_SETATTR, node, PART(in), NOTHING, NOTHING);
}

static inline struct virtio_fs_statistics statistics(struct virtio_fs *fs)
{
	struct virtio_fs_statistics result;

	virtio_fs_statistics(fs, &result);
	return result;
}

static inline void expect_content(struct virtio_fs *fs, uint64_t node, const char *text)
{
	uint64_t handle;

	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(read_node(fs, node, handle, 0, 4096), 0);
	assert_int_equal(reply.length, strlen(text));
	assert_memory_equal(reply.data, text, strlen(text));
	assert_int_equal(release(fs, node, handle), 0);
}

/* How many fds this process has. */
static inline size_t open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* ---- parking */

#define SAVED_TAG STATE_TAG('t', 'e', 's', 't')

struct saved {
	uint8_t *data;
	size_t length;
};

static inline int save(struct virtio_fs *fs, struct saved *ret, struct error *err)
{
	struct virtio_device *device = virtio_fs_device(fs);
	struct state_writer writer = {0};
	int r;

	pthread_mutex_lock(&device->lock);
	state_begin(&writer, SAVED_TAG, 1);
	r = device->operations->save(device, &writer, err);
	state_end(&writer);
	pthread_mutex_unlock(&device->lock);
	assert_int_equal(writer.error, 0);
	if (r < 0)
		state_writer_done(&writer);
	*ret = (struct saved){writer.data, writer.length};
	return r;
}

static inline int restore(struct virtio_fs *fs, const void *data, size_t length, struct error *err)
{
	struct virtio_device *device = virtio_fs_device(fs);
	struct state_reader reader;
	int r;

	state_reader_init(&reader, data, length);
	pthread_mutex_lock(&device->lock);
	r = state_open(&reader, SAVED_TAG, 1, err);
	if (r == 0)
		r = device->operations->restore(device, &reader, err);
	pthread_mutex_unlock(&device->lock);
	return r < 0 ? r : state_close(&reader, err);
}

/* ---- what most tests begin with */

/* For tests of groups: a world in *state, its file server not mounted yet. */
static inline int world_begin_served(void **state, size_t inodes_max, size_t handles_max)
{
	struct world *world = calloc(1, sizeof(*world));

	world_make(world);
	world_serve(world, inodes_max, handles_max);
	/* Who is not root acts for nobody else. */
	caller_uid = geteuid();
	caller_gid = getegid();
	*state = world;
	return 0;
}

static inline int world_begin_mounted(void **state, size_t inodes_max, size_t handles_max)
{
	world_begin_served(state, inodes_max, handles_max);
	return init_with(((struct world *)*state)->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX);
}

#endif
