// SPDX-License-Identifier: Apache-2.0
/*
 * The file server on a disk that becomes full, or whose owner's quota is used up: what cannot be done says so, what
 * was written in part counts, nothing is held for what failed, and with room again all works as before. And
 * the window, in which a hole that has no room would be tried to be read for ever.
 */
#include "fuse_window.h"

#include <dlfcn.h>
#include <linux/falloc.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#define PAGE      4096ull
#define CHUNK     (15 * PAGE)
#define NAMES_MAX 64u
#define WINDOW    (2 * RANGE)

/* ---- disks that are small */

/* A world on a file system that only this process sees. NULL: it cannot be had here. */
static struct world *small_world(const char *options)
{
	struct world *world;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("small", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return NULL;
	world = calloc(1, sizeof(*world));
	world_make(world);
	return world;
}

static void small_world_end(struct world *world)
{
	virtio_fs_free(world->fs);
	close(world->tree);
	close(world->top);
	free(world);
	assert_int_equal(umount2("/tmp", MNT_DETACH), 0);
}

static void disk_fill(struct world *world)
{
	_cleanup_close_ int fd =
		openat(world->top, "rest", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static const uint8_t zeros[PAGE];

	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void disk_relieve_pages(struct world *world, uint64_t pages)
{
	_cleanup_close_ int fd = openat(world->top, "rest", O_WRONLY | O_CLOEXEC);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(ftruncate(fd, status.st_size - (off_t)(pages * PAGE)), 0);
}

static void disk_relieve(struct world *world)
{
	assert_int_equal(unlinkat(world->top, "rest", 0), 0);
}

/* ---- a quota: these stand before libc's */

/* What may be written still; -1: there is no quota. */
static int quota_pages = -1;

static bool quota_is_exceeded(void)
{
	if (quota_pages < 0)
		return false;
	errno = EDQUOT;
	return true;
}

#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off64_t offset, int flags)
{
	struct iovec one;

	if (quota_pages <= 0)
		return quota_is_exceeded() ? -1
					   : NEXT(pwritev64v2)(fd, pieces, count, offset, flags);
	assert_true(pieces[0].iov_len >= PAGE);
	one = (struct iovec){pieces[0].iov_base, PAGE};
	quota_pages--;
	return NEXT(pwritev64v2)(fd, &one, 1, offset, flags);
}

/* A file system on which files share blocks, as XFS has it. */
static enum { NEVER_SHARED, SHARED, SHARED_AND_FULL } clones;

/* What happens once while room is made. */
static void (*while_room_is_made)(void);

static unsigned int holes_looked_for;

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	void (*action)(void) = while_room_is_made;
	int r;

	if (quota_is_exceeded())
		return -1;
	if (clones == SHARED && mode & FALLOC_FL_UNSHARE_RANGE)
		mode &= ~FALLOC_FL_UNSHARE_RANGE;
	if (clones == SHARED_AND_FULL) {
		if (mode & FALLOC_FL_ZERO_RANGE)
			NEXT(fallocate64)(fd, punch, offset, length);
		errno = ENOSPC;
		return -1;
	}
	r = NEXT(fallocate64)(fd, mode, offset, length);
	if (r == 0 && action) {
		while_room_is_made = NULL;
		action();
	}
	return r;
}

off64_t lseek64(int fd, off64_t offset, int whence)
{
	holes_looked_for += whence == SEEK_HOLE || whence == SEEK_DATA;
	return NEXT(lseek64)(fd, offset, whence);
}

/* Who shares a block on a full disk cannot have a page to write. */
int madvise(void *at, size_t length, int advice)
{
	if (clones == SHARED_AND_FULL && advice == MADV_POPULATE_WRITE) {
		errno = EFAULT;
		return -1;
	}
	return NEXT(madvise)(at, length, advice);
}

ssize_t copy_file_range(
	int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned int flags)
{
	if (clones != NEVER_SHARED)
		return NEXT(fallocate64)(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, *to_at,
			       (off64_t)length) < 0
			? -1
			: (ssize_t)length;
	return quota_is_exceeded() ? -1
				   : NEXT(copy_file_range)(from, from_at, to, to_at, length, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	return quota_is_exceeded() ? -1 : NEXT(fsetxattr)(fd, name, value, size, flags);
}

int mkdirat(int dirfd, const char *name, mode_t mode)
{
	return quota_is_exceeded() ? -1 : NEXT(mkdirat)(dirfd, name, mode);
}

int mknodat(int dirfd, const char *name, mode_t mode, dev_t device)
{
	return quota_is_exceeded() ? -1 : NEXT(mknodat)(dirfd, name, mode, device);
}

int symlinkat(const char *target, int dirfd, const char *name)
{
	return quota_is_exceeded() ? -1 : NEXT(symlinkat)(target, dirfd, name);
}

/* ---- requests, and what they leave */

struct held {
	size_t fds;
	struct virtio_fs_statistics statistics;
};

static struct held held(struct virtio_fs *fs)
{
	return (struct held){open_fds(), statistics(fs)};
}

static void expect_held(struct virtio_fs *fs, const struct held *before)
{
	struct held now = held(fs);

	assert_int_equal(now.statistics.inodes, before->statistics.inodes);
	assert_int_equal(now.statistics.handles, before->statistics.handles);
	assert_int_equal(now.statistics.data, before->statistics.data);
	assert_int_equal(now.fds, before->fds);
}

static int make_directory(struct virtio_fs *fs, uint64_t parent, const char *name)
{
	struct fuse_mkdir_in in = {.mode = 0755};
	int r = call(fs, FUSE_MKDIR, parent, PART(in), TEXT(name), NOTHING);

	if (r == 0)
		forget(fs, entry_out()->nodeid, 1);
	return r;
}

static int make_link(struct virtio_fs *fs, uint64_t parent, const char *name)
{
	int r = call(fs, FUSE_SYMLINK, parent, TEXT(name), TEXT("target"), NOTHING);

	if (r == 0)
		forget(fs, entry_out()->nodeid, 1);
	return r;
}

static int make_file(struct virtio_fs *fs, uint64_t parent, const char *name)
{
	uint64_t node, handle;
	int r = create(fs, parent, name, O_RDWR, 0644, &node, &handle);

	if (r == 0) {
		assert_int_equal(release(fs, node, handle), 0);
		forget(fs, node, 1);
	}
	return r;
}

static int remove_name(struct virtio_fs *fs, uint64_t parent, uint32_t opcode, const char *name)
{
	return call(fs, opcode, parent, TEXT(name), NOTHING, NOTHING);
}

/* How many bytes one WRITE wrote, or its error. */
static int write_chunk(struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t offset)
{
	static const uint8_t data[CHUNK] = {1};
	struct fuse_write_in in = {.fh = handle, .offset = offset, .size = CHUNK};
	int r = call(fs, FUSE_WRITE, node, PART(in), (struct part){data, CHUNK}, NOTHING);

	return r < 0 ? r : (int)((const struct fuse_write_out *)reply.data)->size;
}

static int allocate(struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t offset,
	uint64_t length, uint32_t mode)
{
	struct fuse_fallocate_in in = {
		.fh = handle, .offset = offset, .length = length, .mode = mode};

	return call(fs, FUSE_FALLOCATE, node, PART(in), NOTHING, NOTHING);
}

static int copy(struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t from, uint64_t to)
{
	struct fuse_copy_file_range_in in = {
		.fh_in = handle,
		.off_in = from,
		.nodeid_out = node,
		.fh_out = handle,
		.off_out = to,
		.len = CHUNK,
	};
	int r = call(fs, FUSE_COPY_FILE_RANGE, node, PART(in), NOTHING, NOTHING);

	return r < 0 ? r : (int)((const struct fuse_write_out *)reply.data)->size;
}

static int set_attribute(struct virtio_fs *fs, uint64_t node, const char *name)
{
	static const uint8_t value[1000];
	uint8_t arguments[8 + 16 + sizeof(value)] = {0};
	uint32_t size = sizeof(value);
	size_t length = 8 + strlen(name) + 1 + sizeof(value);

	memcpy(arguments, &size, sizeof(size));
	memcpy(arguments + 8, name, strlen(name) + 1);
	return call(fs, FUSE_SETXATTR, node, (struct part){arguments, length}, NOTHING, NOTHING);
}

static uint64_t size_of(struct virtio_fs *fs, uint64_t node)
{
	struct fuse_attr attr;

	assert_int_equal(getattr(fs, node, &attr), 0);
	return attr.size;
}

/* To guests that keep names for ever it is an entry without a node. */
static void expect_missing(struct virtio_fs *fs, uint64_t parent, const char *name)
{
	int r = lookup(fs, parent, name);

	assert_true(r == -ENOENT || (r == 0 && entry_out()->nodeid == 0));
}

/* ---- what becomes of them */

/* Names until there are no inodes for more; then of one each, in the place of another. */
static void names_until_full(struct virtio_fs *fs, uint64_t parent, int error)
{
	char name[16];
	unsigned int count = 0;
	int r = 0;

	for (; count < NAMES_MAX; count++) {
		snprintf(name, sizeof(name), "n%u", count);
		r = make_file(fs, parent, name);
		if (r < 0)
			break;
	}
	assert_int_equal(r, -error);
	assert_true(count > 0);
	expect_missing(fs, parent, name);
	assert_int_equal(make_directory(fs, parent, "directory"), -error);
	assert_int_equal(make_link(fs, parent, "link"), -error);
	assert_int_equal(make_file(fs, parent, "another"), -error);
	expect_missing(fs, parent, "directory");
	expect_missing(fs, parent, "link");
	assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, "n0"), 0);
	assert_int_equal(make_directory(fs, parent, "directory"), 0);
	assert_int_equal(make_link(fs, parent, "link"), -error);
	assert_int_equal(remove_name(fs, parent, FUSE_RMDIR, "directory"), 0);
	assert_int_equal(make_link(fs, parent, "link"), 0);
	assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, "link"), 0);
	assert_int_equal(make_file(fs, parent, "n0"), 0);
	while (count-- > 0) {
		snprintf(name, sizeof(name), "n%u", count);
		assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, name), 0);
	}
}

static void data_until_full(struct virtio_fs *fs, uint64_t parent, int error)
{
	uint64_t node, handle, size = 0;
	bool in_part = false;
	int r;

	assert_int_equal(create(fs, parent, "data", O_RDWR, 0644, &node, &handle), 0);
	while ((r = write_chunk(fs, node, handle, size)) > 0) {
		size += (uint64_t)r;
		in_part |= (uint64_t)r < CHUNK;
		assert_int_equal(size_of(fs, node), size);
	}
	assert_int_equal(r, -error);
	assert_true(in_part);
	assert_int_equal(allocate(fs, node, handle, 0, size + 8 * PAGE, 0), -error);
	assert_int_equal(copy(fs, node, handle, 0, size), -error);
	assert_int_equal(size_of(fs, node), size);
	/* Without room for more, what is there can be read and written. */
	assert_int_equal(write_chunk(fs, node, handle, 0), CHUNK);
	assert_int_equal(read_node(fs, node, handle, 0, 10), 0);
	assert_int_equal(reply.length, 10);
	/* One page of room is one page written. */
	assert_int_equal(
		allocate(fs, node, handle, PAGE, PAGE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
		0);
	assert_int_equal(write_chunk(fs, node, handle, size), PAGE);
	assert_int_equal(size_of(fs, node), size + PAGE);
	assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, "data"), 0);
	assert_int_equal(release(fs, node, handle), 0);
	forget(fs, node, 1);
	assert_int_equal(create(fs, parent, "data", O_RDWR, 0644, &node, &handle), 0);
	assert_int_equal(allocate(fs, node, handle, 0, CHUNK, 0), 0);
	assert_int_equal(write_chunk(fs, node, handle, 0), CHUNK);
	assert_int_equal(copy(fs, node, handle, 0, CHUNK), CHUNK);
	assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, "data"), 0);
	assert_int_equal(release(fs, node, handle), 0);
	forget(fs, node, 1);
}

/* Of a tmpfs they count as inodes. */
static void attributes_until_full(struct virtio_fs *fs, uint64_t parent, int error)
{
	uint64_t node, handle;
	char name[16];
	int r = 0;

	assert_int_equal(create(fs, parent, "marked", O_RDWR, 0644, &node, &handle), 0);
	for (unsigned int i = 0; i < NAMES_MAX && r == 0; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		r = set_attribute(fs, node, name);
	}
	/* Older kernels have none of users there. */
	if (r != -EOPNOTSUPP) {
		assert_int_equal(r, -error);
		assert_int_equal(
			call(fs, FUSE_REMOVEXATTR, node, TEXT("user.0"), NOTHING, NOTHING), 0);
		assert_int_equal(set_attribute(fs, node, name), 0);
	}
	assert_int_equal(remove_name(fs, parent, FUSE_UNLINK, "marked"), 0);
	assert_int_equal(release(fs, node, handle), 0);
	forget(fs, node, 1);
}

static void disk_becomes_full(bool alone)
{
	struct world *world = small_world("size=256k,nr_inodes=32");
	struct held before;
	uint64_t parent;

	if (!world)
		skip(); /* needs root, for a small disk */
	world->alone = alone;
	world_serve(world, 256, 64);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	parent = node_of(world->fs, alone ? "directory" : "volumes/shared");
	before = held(world->fs);
	for (unsigned int i = 0; i < 3; i++) {
		names_until_full(world->fs, parent, ENOSPC);
		expect_held(world->fs, &before);
		data_until_full(world->fs, parent, ENOSPC);
		expect_held(world->fs, &before);
		attributes_until_full(world->fs, parent, ENOSPC);
		expect_held(world->fs, &before);
	}
	small_world_end(world);
}

static void a_full_disk_takes_what_it_can_and_says_so(void **state)
{
	(void)state;
	disk_becomes_full(false);
}

static void the_same_without_open(void **state)
{
	(void)state;
	disk_becomes_full(true);
}

/* Quotas need a host that has them: the calls say what they would say there. */
static void a_quota_is_as_good_as_a_full_disk(void **state)
{
	struct world *world = small_world("size=1m");
	struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0644};
	uint64_t parent, node, handle;
	struct held before;

	(void)state;
	if (!world)
		skip(); /* needs root, for a small disk */
	world_serve(world, 256, 64);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	parent = node_of(world->fs, "volumes/shared");
	assert_int_equal(create(world->fs, parent, "data", O_RDWR, 0644, &node, &handle), 0);
	before = held(world->fs);
	quota_pages = 2;
	assert_int_equal(write_chunk(world->fs, node, handle, 0), 2 * PAGE);
	assert_int_equal(write_chunk(world->fs, node, handle, 2 * PAGE), -EDQUOT);
	assert_int_equal(size_of(world->fs, node), 2 * PAGE);
	assert_int_equal(allocate(world->fs, node, handle, 0, CHUNK, 0), -EDQUOT);
	assert_int_equal(copy(world->fs, node, handle, 0, 2 * PAGE), -EDQUOT);
	assert_int_equal(set_attribute(world->fs, node, "user.quota"), -EDQUOT);
	assert_int_equal(make_directory(world->fs, parent, "directory"), -EDQUOT);
	assert_int_equal(make_link(world->fs, parent, "link"), -EDQUOT);
	assert_int_equal(call(world->fs, FUSE_MKNOD, parent, PART(mknod_in), TEXT("node"), NOTHING),
		-EDQUOT);
	expect_held(world->fs, &before);
	quota_pages = -1;
	assert_int_equal(write_chunk(world->fs, node, handle, 2 * PAGE), CHUNK);
	assert_int_equal(make_directory(world->fs, parent, "directory"), 0);
	expect_held(world->fs, &before);
	small_world_end(world);
}

/* ---- the window */

static struct world *window_world(void)
{
	struct world *world = small_world("size=16m");
	_cleanup_free_ uint8_t *data = calloc(1, WINDOW);
	_cleanup_close_ int fd = -1;

	if (!world)
		skip(); /* needs root, for a small disk */
	window_make(world, WINDOW);
	world->alone = true;
	fd = openat(world->tree, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, data, WINDOW), WINDOW);
	world_serve(world, 256, 64);
	assert_int_equal(init_with_window(world->fs), 0);
	return world;
}

static void window_world_end(struct world *world)
{
	small_world_end(world);
	window_free();
}

static int map_writable(struct virtio_fs *fs, uint64_t node, uint64_t offset)
{
	return map(fs, node, offset, offset, WRITE);
}

static int map_readable(struct virtio_fs *fs, uint64_t node, uint64_t offset)
{
	return map(fs, node, offset, offset, READ);
}

static int punch(struct virtio_fs *fs, uint64_t node, uint64_t offset, uint64_t length)
{
	return allocate(fs, node, 0, offset, length, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int resize(struct virtio_fs *fs, uint64_t node, uint64_t size)
{
	return setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = size});
}

/* The signal that ends a process which does it, or 0. */
static int write_signal(uint64_t offset)
{
	return access_signal(window(offset), true);
}

static int read_signal(uint64_t offset)
{
	return access_signal(window(offset), false);
}

static void a_file_with_holes_is_not_for_the_window(void **state)
{
	struct world *world = window_world();
	int fd = openat(world->tree, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	(void)state;
	assert_int_equal(ftruncate(fd, 2 * RANGE), 0);
	close(fd);
	assert_int_equal(lookup(world->fs, ROOT, "large"), 0);
	assert_true(entry_out()->attr.flags & FUSE_ATTR_DAX);
	assert_int_equal(lookup(world->fs, ROOT, "sparse"), 0);
	assert_false(entry_out()->attr.flags & FUSE_ATTR_DAX);
	window_world_end(world);
}

static void what_is_mapped_for_writing_has_its_room(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(resize(fs, node, 0), 0);
	assert_int_equal(resize(fs, node, WINDOW), 0);
	assert_int_equal(map_writable(fs, node, 0), 0);
	disk_fill(world);
	assert_int_equal(map_writable(fs, node, RANGE), -ENOSPC);
	assert_int_equal(write_signal(0), 0);
	assert_int_equal(write_signal(RANGE - 1), 0);
	assert_int_equal(write_signal(RANGE), SIGSEGV);
	disk_relieve(world);
	assert_int_equal(map_writable(fs, node, RANGE), 0);
	assert_int_equal(write_signal(RANGE), 0);
	window_world_end(world);
}

static void a_hole_that_the_guest_punches_has_its_room_again(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(map_writable(fs, node, 0), 0);
	window(0)[2 * PAGE] = 1;
	/* From the range that is mapped into one that is not. */
	assert_int_equal(punch(fs, node, PAGE, RANGE), 0);
	assert_int_equal(window(0)[2 * PAGE], 0);
	disk_fill(world);
	assert_int_equal(write_signal(PAGE), 0);
	assert_int_equal(write_signal(RANGE - PAGE), 0);
	assert_int_equal(map_writable(fs, node, RANGE), -ENOSPC);
	assert_false(virtio_fs_window_was_cut(fs));
	window_world_end(world);
}

static void what_a_file_gains_without_room_is_without_access(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(resize(fs, node, PAGE + 10), 0);
	assert_int_equal(map_writable(fs, node, 0), 0);
	/* By a larger size, by a write behind the end, by a copy. */
	assert_int_equal(resize(fs, node, 5 * PAGE), 0);
	assert_int_equal(write_node(fs, node, 0, 9 * PAGE, "written", 0), 0);
	assert_int_equal(copy(fs, node, 0, 0, 11 * PAGE), 9 * PAGE + strlen("written"));
	disk_fill(world);
	for (uint64_t page = 0; page <= 20; page++)
		assert_int_equal(write_signal(page * PAGE), 0);
	assert_false(virtio_fs_window_was_cut(fs));
	assert_int_equal(resize(fs, node, RANGE), 0);
	assert_true(virtio_fs_window_was_cut(fs));
	assert_int_equal(write_signal(RANGE - PAGE), SIGSEGV);
	assert_int_equal(write_signal(PAGE), 0);
	assert_false(virtio_fs_watch(fs));
	disk_relieve(world);
	assert_int_equal(map_writable(fs, node, 0), 0);
	assert_int_equal(write_signal(RANGE - PAGE), 0);
	assert_false(virtio_fs_window_was_cut(fs));
	window_world_end(world);
}

static void what_there_is_room_for_can_be_written(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");
	unsigned int written = 0;

	(void)state;
	assert_int_equal(resize(fs, node, PAGE), 0);
	assert_int_equal(map_writable(fs, node, 0), 0);
	disk_fill(world);
	disk_relieve_pages(world, 3);
	assert_int_equal(resize(fs, node, 10 * PAGE), 0);
	assert_true(virtio_fs_window_was_cut(fs));
	for (uint64_t page = 0; page < 10; page++)
		written += write_signal(page * PAGE) == 0;
	assert_int_equal(written, 1 + 3);
	window_world_end(world);
}

static struct virtio_fs *busy;
static uint64_t busy_node;

/* It would wait for ever. */
static void ask_for_what_is_mapped(void)
{
	alarm(30);
	assert_true(statistics(busy).mappings <= 1);
	assert_false(virtio_fs_watch(busy));
	alarm(0);
}

static void punch_a_page(void)
{
	alarm(30);
	assert_int_equal(punch(busy, busy_node, PAGE, PAGE), 0);
	alarm(0);
}

static void nobody_waits_for_the_disk_of_another_request(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = busy = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(resize(fs, node, PAGE), 0);
	assert_int_equal(resize(fs, node, 2 * PAGE), 0);
	while_room_is_made = ask_for_what_is_mapped;
	assert_int_equal(map_writable(fs, node, 0), 0);
	assert_null(while_room_is_made);
	while_room_is_made = ask_for_what_is_mapped;
	assert_int_equal(resize(fs, node, RANGE), 0);
	assert_null(while_room_is_made);
	window_world_end(world);
}

/* After there was room, and before the range is mapped. */
static void a_hole_that_is_punched_meanwhile_has_its_room(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = busy = world->fs;
	uint64_t node = busy_node = node_of(fs, "large");

	(void)state;
	while_room_is_made = punch_a_page;
	assert_int_equal(map_writable(fs, node, 0), 0);
	assert_null(while_room_is_made);
	disk_fill(world);
	assert_int_equal(write_signal(PAGE), 0);
	window_world_end(world);
}

/* The next hole, or what is behind it, may be anywhere in a file of any length. */
static void nobody_looks_through_the_rest_of_a_file(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	holes_looked_for = 0;
	assert_int_equal(map_writable(fs, node, 0), 0);
	assert_int_equal(punch(fs, node, PAGE, PAGE), 0);
	assert_int_equal(holes_looked_for, 0);
	window_world_end(world);
}

/* Of a tmpfs: other file systems need none for that. */
static void a_hole_has_room_to_be_read_or_is_without_access(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(punch(fs, node, 2 * PAGE, 10 * PAGE), 0);
	disk_fill(world);
	disk_relieve_pages(world, 3);
	assert_int_equal(map_readable(fs, node, 0), 0);
	assert_int_equal(map_readable(fs, node, RANGE), 0);
	assert_true(virtio_fs_window_was_cut(fs));
	assert_int_equal(read_signal(PAGE), 0);
	assert_int_equal(read_signal(2 * PAGE), 0);
	assert_int_equal(read_signal(4 * PAGE), 0);
	assert_int_equal(read_signal(5 * PAGE), SIGSEGV);
	assert_int_equal(read_signal(11 * PAGE), SIGSEGV);
	assert_int_equal(read_signal(12 * PAGE), 0);
	assert_int_equal(read_signal(WINDOW - 1), 0);
	disk_relieve(world);
	assert_int_equal(map_readable(fs, node, 0), 0);
	assert_int_equal(read_signal(5 * PAGE), 0);
	assert_false(virtio_fs_window_was_cut(fs));
	window_world_end(world);
}

static void a_hole_that_comes_later_has_room_to_be_read(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(resize(fs, node, RANGE + PAGE), 0);
	assert_int_equal(map_readable(fs, node, 0), 0);
	assert_int_equal(map_readable(fs, node, RANGE), 0);
	assert_int_equal(punch(fs, node, 2 * PAGE, 10 * PAGE), 0);
	assert_int_equal(resize(fs, node, RANGE + 3 * PAGE), 0);
	disk_fill(world);
	for (uint64_t page = 0; page < 15; page++)
		assert_int_equal(read_signal(page * PAGE), 0);
	for (uint64_t page = 0; page < 3; page++)
		assert_int_equal(read_signal(RANGE + page * PAGE), 0);
	assert_false(virtio_fs_window_was_cut(fs));
	assert_int_equal(resize(fs, node, WINDOW), 0);
	assert_true(virtio_fs_window_was_cut(fs));
	assert_int_equal(read_signal(RANGE + 2 * PAGE), 0);
	assert_int_equal(read_signal(RANGE + 3 * PAGE), SIGSEGV);
	assert_int_equal(read_signal(WINDOW - 1), SIGSEGV);
	assert_int_equal(read_signal(PAGE), 0);
	window_world_end(world);
}

/* The file has as many blocks as one of its length without holes. */
static void blocks_behind_the_end_hide_no_hole(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	assert_int_equal(resize(fs, node, PAGE), 0);
	assert_int_equal(allocate(fs, node, 0, WINDOW, RANGE + RANGE / 2, FALLOC_FL_KEEP_SIZE), 0);
	assert_int_equal(resize(fs, node, RANGE), 0);
	disk_fill(world);
	assert_int_equal(map_readable(fs, node, 0), 0);
	assert_int_equal(read_signal(0), 0);
	assert_int_equal(read_signal(PAGE), SIGSEGV);
	window_world_end(world);
}

/* By a copy of the tree, for example, that leaves zeros out. */
static void what_has_no_room_after_parking_is_without_access(void **state)
{
	struct world *world = window_world();
	uint64_t node = node_of(world->fs, "large");
	_cleanup_close_ int fd = openat(world->tree, "large", O_RDWR | O_CLOEXEC);
	struct saved saved;
	struct error err;

	(void)state;
	assert_int_equal(map_writable(world->fs, node, 0), 0);
	assert_int_equal(map_writable(world->fs, node, RANGE), 0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	assert_int_equal(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 3 * PAGE), 0);
	disk_fill(world);
	disk_relieve_pages(world, 1);
	world_serve(world, 256, 64);
	if (restore(world->fs, saved.data, saved.length, &err) < 0)
		fail_msg("%s", err.message);
	free(saved.data);
	assert_int_equal(statistics(world->fs).mappings, 2);
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(write_signal(0), 0);
	assert_int_equal(write_signal(PAGE), 0);
	assert_int_equal(write_signal(2 * PAGE), SIGSEGV);
	assert_int_equal(write_signal(3 * PAGE), SIGSEGV);
	assert_int_equal(write_signal(4 * PAGE), 0);
	assert_int_equal(write_signal(WINDOW - 1), 0);
	window_world_end(world);
}

static void holes_are_known_after_parking(void **state)
{
	struct world *world = window_world();
	uint64_t node = node_of(world->fs, "large");
	struct saved saved;
	struct error err;

	(void)state;
	assert_int_equal(map_readable(world->fs, node, 0), 0);
	assert_int_equal(punch(world->fs, node, RANGE + PAGE, PAGE), 0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	disk_fill(world);
	world_serve(world, 256, 64);
	if (restore(world->fs, saved.data, saved.length, &err) < 0)
		fail_msg("%s", err.message);
	free(saved.data);
	assert_int_equal(map_readable(world->fs, node, RANGE), 0);
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(read_signal(RANGE), 0);
	assert_int_equal(read_signal(RANGE + PAGE), SIGSEGV);
	window_world_end(world);
}

static void what_shares_blocks_with_another_file_gets_its_own(void **state)
{
	struct world *world = window_world();
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "large");

	(void)state;
	clones = SHARED_AND_FULL;
	assert_int_equal(map_writable(fs, node, 0), -ENOSPC);
	clones = SHARED;
	assert_int_equal(map_writable(fs, node, 0), 0);
	/* A copy of a hole is a hole. */
	assert_true(copy(fs, node, 0, RANGE, 0) > 0);
	disk_fill(world);
	assert_int_equal(write_signal(0), 0);
	assert_int_equal(write_signal(2 * PAGE), 0);
	assert_false(virtio_fs_window_was_cut(fs));
	/* A request that fails has punched, and nothing gives it room. */
	clones = SHARED_AND_FULL;
	assert_int_equal(allocate(fs, node, 0, PAGE, PAGE, FALLOC_FL_ZERO_RANGE), -ENOSPC);
	assert_true(virtio_fs_window_was_cut(fs));
	assert_int_equal(write_signal(PAGE), SIGSEGV);
	assert_int_equal(write_signal(2 * PAGE), 0);
	clones = NEVER_SHARED;
	window_world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_disk_takes_what_it_can_and_says_so),
		cmocka_unit_test(the_same_without_open),
		cmocka_unit_test(a_quota_is_as_good_as_a_full_disk),
		cmocka_unit_test(a_file_with_holes_is_not_for_the_window),
		cmocka_unit_test(what_is_mapped_for_writing_has_its_room),
		cmocka_unit_test(a_hole_that_the_guest_punches_has_its_room_again),
		cmocka_unit_test(what_a_file_gains_without_room_is_without_access),
		cmocka_unit_test(what_there_is_room_for_can_be_written),
		cmocka_unit_test(nobody_waits_for_the_disk_of_another_request),
		cmocka_unit_test(a_hole_that_is_punched_meanwhile_has_its_room),
		cmocka_unit_test(nobody_looks_through_the_rest_of_a_file),
		cmocka_unit_test(a_hole_has_room_to_be_read_or_is_without_access),
		cmocka_unit_test(a_hole_that_comes_later_has_room_to_be_read),
		cmocka_unit_test(blocks_behind_the_end_hide_no_hole),
		cmocka_unit_test(what_has_no_room_after_parking_is_without_access),
		cmocka_unit_test(holes_are_known_after_parking),
		cmocka_unit_test(what_shares_blocks_with_another_file_gets_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
