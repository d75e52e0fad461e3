// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest can say about files that are not its own: names of every kind, links that lead out, ids of former
 * generations, and every operation there is on a volume that is read-only.
 */
#include "fuse_client.h"

#include <dirent.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define OPCODES_END 64

static int world_begin(void **state)
{
	return world_begin_mounted(state, 4096, 1024);
}

/* ---- every operation, with arguments that would do something */

static uint64_t directory_node, file_node, link_node, target_directory;
static struct fuse_forget_in forget_in = {.nlookup = 0};
static struct fuse_getattr_in getattr_in;
static struct fuse_setattr_in mode_in = {.valid = FATTR_MODE, .mode = 0777};
static struct fuse_setattr_in owner_in = {.valid = FATTR_UID | FATTR_GID, .uid = 1, .gid = 1};
static struct fuse_setattr_in size_in = {.valid = FATTR_SIZE, .size = 1};
static struct fuse_setattr_in size_handle_in = {.valid = FATTR_SIZE | FATTR_FH, .size = 1};
static struct fuse_setattr_in times_in = {
	.valid = FATTR_ATIME | FATTR_MTIME, .atime = 1, .mtime = 1};
static struct fuse_setattr_in now_in = {.valid = FATTR_ATIME_NOW | FATTR_MTIME_NOW};
static struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0644};
static struct fuse_mkdir_in mkdir_in = {.mode = 0755};
static struct fuse_rename_in rename_in;
static struct fuse_rename2_in exchange_in = {.flags = RENAME_EXCHANGE};
static struct fuse_link_in link_in;
static struct fuse_open_in read_in = {.flags = O_RDONLY};
static struct fuse_open_in write_open_in = {.flags = O_RDWR};
static struct fuse_open_in truncate_in = {.flags = O_RDONLY | O_TRUNC};
static struct fuse_open_in append_in = {.flags = O_WRONLY | O_APPEND};
static struct fuse_read_in data_in = {.size = 100};
static struct fuse_read_in entries_in = {.size = 1000};
static struct fuse_write_in write_in = {.size = 1};
static struct fuse_release_in release_in, release_directory_in;
static struct fuse_fsync_in fsync_in, fsync_directory_in;
static struct {
	uint32_t size, flags;
} setxattr_in = {.size = 1};
static struct fuse_getxattr_in getxattr_in = {.size = 100};
static struct fuse_flush_in flush_in;
static struct fuse_create_in create_in = {.flags = O_RDWR | O_CREAT, .mode = 0644};
static struct fuse_create_in tmpfile_in = {.flags = O_RDWR | O_TMPFILE, .mode = 0644};
static struct fuse_fallocate_in allocate_in = {.length = 100};
static struct fuse_fallocate_in punch_in = {
	.length = 2, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
static struct fuse_lseek_in lseek_in = {.whence = SEEK_HOLE};
static struct fuse_copy_file_range_in copy_in = {.len = 2, .off_out = 3};
static struct fuse_syncfs_in syncfs_in;
static struct fuse_setupmapping_in setupmapping_in = {
	.len = 2u << 20, .flags = FUSE_SETUPMAPPING_FLAG_WRITE};
static struct {
	struct fuse_removemapping_in in;
	struct fuse_removemapping_one one;
} removemapping_in = {.in = {.count = 1}, .one = {.len = 2u << 20}};
static uint8_t statx_in[24];
static struct fuse_batch_forget_in batch_in;

enum target { DIRECTORY, FILE_NODE, LINK_NODE };

#define FIXED(text)                \
	{                          \
		text, sizeof(text) \
	}
#define STRUCT(name)                  \
	{                             \
		&(name), sizeof(name) \
	}

/* In an order in which the handles are still there. error: on a read-only volume. */
static const struct request {
	uint32_t opcode;
	enum target target;
	int error;
	struct part a, b, c;
} requests[] = {
	{FUSE_LOOKUP, DIRECTORY, 0, FIXED("file"), {0}, {0}},
	{FUSE_GETATTR, FILE_NODE, 0, STRUCT(getattr_in), {0}, {0}},
	{OPCODE_STATX, FILE_NODE, 0, STRUCT(statx_in), {0}, {0}},
	{FUSE_READLINK, LINK_NODE, 0, {0}, {0}, {0}},
	{FUSE_STATFS, DIRECTORY, 0, {0}, {0}, {0}},
	{FUSE_READ, FILE_NODE, 0, STRUCT(data_in), {0}, {0}},
	{FUSE_READDIR, DIRECTORY, 0, STRUCT(entries_in), {0}, {0}},
	{FUSE_READDIRPLUS, DIRECTORY, 0, STRUCT(entries_in), {0}, {0}},
	{FUSE_FSYNC, FILE_NODE, 0, STRUCT(fsync_in), {0}, {0}},
	{FUSE_FSYNCDIR, DIRECTORY, 0, STRUCT(fsync_directory_in), {0}, {0}},
	{FUSE_FLUSH, FILE_NODE, 0, STRUCT(flush_in), {0}, {0}},
	{FUSE_LSEEK, FILE_NODE, 0, STRUCT(lseek_in), {0}, {0}},
	{FUSE_GETXATTR, FILE_NODE, 0, STRUCT(getxattr_in), FIXED("user.before"), {0}},
	{FUSE_LISTXATTR, FILE_NODE, 0, STRUCT(getxattr_in), {0}, {0}},
	{FUSE_OPEN, FILE_NODE, 0, STRUCT(read_in), {0}, {0}},
	{FUSE_OPENDIR, DIRECTORY, 0, STRUCT(read_in), {0}, {0}},
	{FUSE_SYNCFS, DIRECTORY, 0, STRUCT(syncfs_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(mode_in), {0}, {0}},
	{FUSE_SETATTR, DIRECTORY, -EROFS, STRUCT(mode_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(owner_in), {0}, {0}},
	{FUSE_SETATTR, LINK_NODE, -EROFS, STRUCT(owner_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(size_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(size_handle_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(times_in), {0}, {0}},
	{FUSE_SETATTR, LINK_NODE, -EROFS, STRUCT(times_in), {0}, {0}},
	{FUSE_SETATTR, FILE_NODE, -EROFS, STRUCT(now_in), {0}, {0}},
	{FUSE_SYMLINK, DIRECTORY, -EROFS, FIXED("new"), FIXED("target"), {0}},
	{FUSE_MKNOD, DIRECTORY, -EROFS, STRUCT(mknod_in), FIXED("new"), {0}},
	{FUSE_MKDIR, DIRECTORY, -EROFS, STRUCT(mkdir_in), FIXED("new"), {0}},
	{FUSE_UNLINK, DIRECTORY, -EROFS, FIXED("file"), {0}, {0}},
	{FUSE_RMDIR, DIRECTORY, -EROFS, FIXED("inner"), {0}, {0}},
	{FUSE_RENAME, DIRECTORY, -EROFS, STRUCT(rename_in), FIXED("file"), FIXED("new")},
	{FUSE_RENAME2, DIRECTORY, -EROFS, STRUCT(exchange_in), FIXED("file"), FIXED("inner")},
	{FUSE_LINK, DIRECTORY, -EROFS, STRUCT(link_in), FIXED("new"), {0}},
	{FUSE_OPEN, FILE_NODE, -EROFS, STRUCT(write_open_in), {0}, {0}},
	{FUSE_OPEN, FILE_NODE, -EROFS, STRUCT(truncate_in), {0}, {0}},
	{FUSE_OPEN, FILE_NODE, -EROFS, STRUCT(append_in), {0}, {0}},
	{FUSE_WRITE, FILE_NODE, -EROFS, STRUCT(write_in), {"x", 1}, {0}},
	{FUSE_SETXATTR, FILE_NODE, -EROFS, STRUCT(setxattr_in), FIXED("user.new"), {"v", 1}},
	{FUSE_SETXATTR, DIRECTORY, -EROFS, STRUCT(setxattr_in), FIXED("user.new"), {"v", 1}},
	{FUSE_REMOVEXATTR, FILE_NODE, -EROFS, FIXED("user.before"), {0}, {0}},
	{FUSE_CREATE, DIRECTORY, -EROFS, STRUCT(create_in), FIXED("new"), {0}},
	{FUSE_CREATE, DIRECTORY, -EROFS, STRUCT(create_in), FIXED("file"), {0}},
	{FUSE_TMPFILE, DIRECTORY, -EROFS, STRUCT(tmpfile_in), FIXED("/"), {0}},
	{FUSE_FALLOCATE, FILE_NODE, -EROFS, STRUCT(allocate_in), {0}, {0}},
	{FUSE_FALLOCATE, FILE_NODE, -EROFS, STRUCT(punch_in), {0}, {0}},
	{FUSE_COPY_FILE_RANGE, FILE_NODE, -EROFS, STRUCT(copy_in), {0}, {0}},
	/* There is no window here; test_virtio_fs_dax.c has one. */
	{FUSE_SETUPMAPPING, FILE_NODE, -ENOSYS, STRUCT(setupmapping_in), {0}, {0}},
	{FUSE_REMOVEMAPPING, FILE_NODE, -ENOSYS, STRUCT(removemapping_in), {0}, {0}},
	{FUSE_RELEASE, FILE_NODE, 0, STRUCT(release_in), {0}, {0}},
	{FUSE_RELEASEDIR, DIRECTORY, 0, STRUCT(release_directory_in), {0}, {0}},
	{FUSE_FORGET, FILE_NODE, 0, STRUCT(forget_in), {0}, {0}},
	{FUSE_BATCH_FORGET, FILE_NODE, 0, STRUCT(batch_in), {0}, {0}},
};

static int request_send(struct virtio_fs *fs, const struct request *request)
{
	uint64_t nodes[] = {directory_node, file_node, link_node};

	return call(
		fs, request->opcode, nodes[request->target], request->a, request->b, request->c);
}

static void handles_set(uint64_t file, uint64_t directory)
{
	size_handle_in.fh = data_in.fh = write_in.fh = release_in.fh = fsync_in.fh = flush_in.fh =
		allocate_in.fh = punch_in.fh = lseek_in.fh = copy_in.fh_in = copy_in.fh_out = file;
	entries_in.fh = release_directory_in.fh = fsync_directory_in.fh = directory;
	copy_in.nodeid_out = link_in.oldnodeid = file_node;
	rename_in.newdir = exchange_in.newdir = target_directory;
}

/* An operation that the server does not know is refused before its (missing) arguments are. */
static bool opcode_is_served(struct virtio_fs *fs, uint32_t opcode)
{
	return call(fs, opcode, 0, NOTHING, NOTHING, NOTHING) != -ENOSYS;
}

static void every_operation_is_tried(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;

	for (uint32_t opcode = 0; opcode < OPCODES_END; opcode++) {
		bool tried = opcode == FUSE_INIT || opcode == FUSE_DESTROY;

		for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
			tried |= requests[i].opcode == opcode;
		if (opcode != FUSE_DESTROY && tried != opcode_is_served(fs, opcode))
			fail_msg("operation %u is %s", opcode, tried ? "not served" : "not tried");
	}
}

/* ---- what a tree is, in one number */

static uint64_t mix(uint64_t sum, const void *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ ((const uint8_t *)data)[i]) * 0x100000001b3ull;
	return sum;
}

/* Names, contents, attributes and extended attributes; access times are a reader's to change. */
static uint64_t tree_sum(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fdopendir(fd);
	uint64_t sum = 0xcbf29ce484222325ull;
	struct dirent *entry;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		struct stat status;
		uint64_t one = 0;
		char data[4096];
		int file;

		if (!strcmp(entry->d_name, ".."))
			continue;
		assert_int_equal(fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW), 0);
		status.st_atim = (struct timespec){0};
		one = mix(one, &status, sizeof(status));
		one = mix(one, entry->d_name, strlen(entry->d_name));
		if (S_ISREG(status.st_mode)) {
			ssize_t length;

			file = openat(fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
			length = read(file, data, sizeof(data));
			assert_true(length >= 0);
			one = mix(one, data, (size_t)length);
			length = flistxattr(file, data, sizeof(data));
			one = mix(one, data, length > 0 ? (size_t)length : 0);
			close(file);
		} else if (S_ISDIR(status.st_mode) && strcmp(entry->d_name, ".")) {
			one ^= tree_sum(fd, entry->d_name);
		}
		sum ^= one;
	}
	closedir(directory);
	return sum;
}

/* ---- read-only volumes */

static void fixed_nodes(struct world *world)
{
	assert_int_equal(symlinkat("file", world->tree, "volumes/fixed/link"), 0);
	directory_node = node_of(world->fs, "volumes/fixed");
	file_node = node_of(world->fs, "volumes/fixed/file");
	link_node = node_of(world->fs, "volumes/fixed/link");
}

static void fixed_file_attribute(struct world *world)
{
	int fd = openat(world->tree, "volumes/fixed/file", O_RDONLY | O_CLOEXEC);
	int r = fsetxattr(fd, "user.before", "v", 1, 0);

	close(fd);
	if (r < 0)
		skip(); /* the file system below /tmp has no user.* attributes */
}

static void read_only_volumes_stay_as_they_are_whatever_is_asked(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t handle, sum;

	fixed_file_attribute(world);
	fixed_nodes(world);
	target_directory = directory_node;
	assert_int_equal(open_node(fs, file_node, O_RDONLY, &handle), 0);
	handles_set(handle, open_directory(fs, directory_node));
	sum = tree_sum(world->tree, "volumes/fixed");
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		int r = request_send(fs, &requests[i]);

		if (r != requests[i].error)
			fail_msg("request %zu (operation %u): %s", i, requests[i].opcode,
				r ? strerror(-r) : "served");
		assert_int_equal(tree_sum(world->tree, "volumes/fixed"), sum);
	}
}

/* From outside into it, and from it to outside, by every operation with two places. */
static void read_only_volumes_are_neither_source_nor_target(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t outside, sum;
	struct fuse_rename_in into = {0}, out = {0};
	struct fuse_rename2_in exchange = {.flags = RENAME_EXCHANGE};
	struct fuse_link_in link_out = {0}, link_into = {0};
	struct fuse_copy_file_range_in copy = {.len = 1};
	uint64_t fixed_handle, own_handle;

	fixed_nodes(world);
	outside = node_of(fs, "file");
	into.newdir = exchange.newdir = directory_node;
	out.newdir = ROOT;
	link_out.oldnodeid = file_node;
	link_into.oldnodeid = outside;
	assert_int_equal(open_node(fs, file_node, O_RDONLY, &fixed_handle), 0);
	assert_int_equal(open_node(fs, outside, O_RDWR, &own_handle), 0);
	sum = tree_sum(world->tree, "volumes/fixed");
	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(into), TEXT("file"), TEXT("new")), -EROFS);
	assert_int_equal(
		call(fs, FUSE_RENAME2, ROOT, PART(exchange), TEXT("file"), TEXT("file")), -EROFS);
	assert_int_equal(
		call(fs, FUSE_RENAME, directory_node, PART(out), TEXT("file"), TEXT("new")),
		-EROFS);
	exchange.newdir = ROOT;
	assert_int_equal(
		call(fs, FUSE_RENAME2, directory_node, PART(exchange), TEXT("file"), TEXT("file")),
		-EROFS);
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link_out), TEXT("new"), NOTHING), -EROFS);
	assert_int_equal(
		call(fs, FUSE_LINK, directory_node, PART(link_into), TEXT("new"), NOTHING), -EROFS);
	copy.fh_in = own_handle;
	copy.nodeid_out = file_node;
	copy.fh_out = fixed_handle;
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, outside, PART(copy), NOTHING, NOTHING), -EROFS);
	/* A handle of another file does not make the volume writable either. */
	copy.fh_out = own_handle;
	assert_true(call(fs, FUSE_COPY_FILE_RANGE, outside, PART(copy), NOTHING, NOTHING) < 0);
	assert_int_equal(write_node(fs, file_node, own_handle, 0, "x", 0), -EROFS);
	assert_int_equal(tree_sum(world->tree, "volumes/fixed"), sum);
	/* To read out of it is what it is for. */
	copy = (struct fuse_copy_file_range_in){
		.fh_in = fixed_handle, .nodeid_out = outside, .fh_out = own_handle, .len = 5};
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, file_node, PART(copy), NOTHING, NOTHING), 0);
	assert_int_equal(tree_sum(world->tree, "volumes/fixed"), sum);
}

/* ---- former generations */

static void ids_of_former_generations_do_nothing(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t handle, directory_handle, sum;
	struct fuse_release_in in = {0};

	assert_int_equal(symlinkat("inner", world->tree, "directory/link"), 0);
	assert_int_equal(mkdirat(world->tree, "directory/empty", 0755), 0);
	directory_node = node_of(fs, "directory");
	file_node = node_of(fs, "directory/inner");
	link_node = node_of(fs, "directory/link");
	target_directory = directory_node;
	assert_int_equal(open_node(fs, file_node, O_RDWR, &handle), 0);
	directory_handle = open_directory(fs, directory_node);
	handles_set(handle, directory_handle);
	assert_int_equal(release(fs, file_node, handle), 0);
	in.fh = directory_handle;
	assert_int_equal(call(fs, FUSE_RELEASEDIR, directory_node, PART(in), NOTHING, NOTHING), 0);
	forget(fs, directory_node, UINT64_MAX);
	forget(fs, file_node, UINT64_MAX);
	forget(fs, link_node, UINT64_MAX);
	/* The same files, in the same slots of the tables. */
	assert_int_not_equal(node_of(fs, "directory"), directory_node);
	assert_int_not_equal(node_of(fs, "directory/inner"), file_node);
	assert_int_equal(open_node(fs, node_of(fs, "directory/inner"), O_RDWR, &handle), 0);
	open_directory(fs, node_of(fs, "directory"));
	assert_int_equal(statistics(fs).handles, 2);
	sum = tree_sum(world->tree, ".");
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *request = &requests[i];
		int r = request_send(fs, request);

		if (request->opcode == FUSE_RELEASE || request->opcode == FUSE_RELEASEDIR)
			assert_int_equal(r, -EBADF);
		else if (request->opcode != FUSE_FORGET && request->opcode != FUSE_BATCH_FORGET)
			assert_int_equal(r, -ESTALE);
	}
	assert_int_equal(tree_sum(world->tree, "."), sum);
	assert_int_equal(statistics(fs).handles, 2);
}

/* ---- names */

static void names_of_any_bytes_are_kept_to_the_byte(void **state)
{
	static const char *const names[] = {"...", "..a", ". ", " ", "\n", "\t", "*", "?", "-rf",
		"\\", "a\\b", "\x01", "\x7f", "\xff", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80",
		"\xc0\xaf", "\xe2\x80\x8d", "caf\xc3\xa9", "cafe\xcc\x81", "CAFE", "cafe",
		".wh.name", ".wh..wh..opq", "#whiteout", "lost+found", "file:stream", "con",
		"%2e%2e%2f", "~"};
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_mkdir_in in = {.mode = 0755};
	struct fuse_rename_in rename = {0};
	uint64_t parent, node;
	char other[256];
	struct stat st;

	parent = node_of(fs, "volumes/shared");
	rename.newdir = parent;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct part name = TEXT(names[i]);
		char path[300];

		snprintf(path, sizeof(path), "volumes/shared/%s", names[i]);
		assert_int_equal(call(fs, FUSE_MKDIR, parent, PART(in), name, NOTHING), 0);
		node = entry_out()->nodeid;
		assert_int_equal(fstatat(world->tree, path, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(lookup(fs, parent, names[i]), 0);
		assert_int_equal(entry_out()->nodeid, node);
		memset(other, 'o', 255);
		other[255] = '\0';
		assert_int_equal(call(fs, FUSE_RENAME, parent, PART(rename), name, TEXT(other)), 0);
		assert_int_equal(lookup(fs, parent, names[i]), -ENOENT);
		assert_int_equal(call(fs, FUSE_RENAME, parent, PART(rename), TEXT(other), name), 0);
	}
	/* All of them are listed, and nothing else. */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(call(fs, FUSE_RMDIR, parent, TEXT(names[i]), NOTHING, NOTHING), 0);
}

static void names_that_are_none_are_refused_before_anything_else(void **state)
{
	static const char zero[] = "fi\0le", behind[] = "file\0x", twice[] = "file\0";
	static char long_name[5000];
	const struct {
		struct part name;
		int error;
	} names[] = {
		{TEXT(""), -EINVAL},
		{TEXT("."), -EINVAL},
		{TEXT(".."), -EINVAL},
		{TEXT("/"), -EINVAL},
		{TEXT("//"), -EINVAL},
		{TEXT("file/"), -EINVAL},
		{TEXT("/file"), -EINVAL},
		{TEXT("./file"), -EINVAL},
		{TEXT("../file"), -EINVAL},
		{TEXT("inner/../file"), -EINVAL},
		{TEXT("/proc/self/root"), -EINVAL},
		{{"file", 4}, -EINVAL},
		{{zero, sizeof(zero)}, -EINVAL},
		{{behind, sizeof(behind)}, -EINVAL},
		{{twice, sizeof(twice)}, -EINVAL},
		{NOTHING, -EINVAL},
		{{long_name + sizeof(long_name) - 257, 257}, -ENAMETOOLONG},
		{{long_name + sizeof(long_name) - 1025, 1025}, -ENAMETOOLONG},
		{{long_name + sizeof(long_name) - 4097, 4097}, -ENAMETOOLONG},
		{{long_name, sizeof(long_name)}, -ENAMETOOLONG},
		{{long_name, sizeof(long_name) - 1}, -EINVAL},
	};
	static const char *const places[] = {"directory", "volumes/shared", "volumes/fixed"};
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t sum;

	memset(long_name, 'n', sizeof(long_name) - 1);
	sum = tree_sum(world->tree, ".");
	for (size_t place = 0; place < ARRAY_SIZE(places); place++) {
		directory_node = target_directory = node_of(fs, places[place]);
		file_node = node_of(fs, "file");
		handles_set(0, 0);
		for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
			struct request request = requests[i];

			if (request.target != DIRECTORY || !request.a.length)
				continue;
			for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
				/* In place of the last name the request has. */
				if (request.opcode == FUSE_LOOKUP ||
					request.opcode == FUSE_UNLINK ||
					request.opcode == FUSE_RMDIR)
					request.a = names[j].name;
				else if (request.opcode == FUSE_MKNOD ||
					request.opcode == FUSE_MKDIR ||
					request.opcode == FUSE_LINK ||
					request.opcode == FUSE_CREATE)
					request.b = names[j].name;
				else if (request.opcode == FUSE_RENAME ||
					request.opcode == FUSE_RENAME2)
					request.c = names[j].name;
				else
					continue;
				assert_int_equal(request_send(fs, &request), names[j].error);
			}
		}
	}
	assert_int_equal(tree_sum(world->tree, "."), sum);
}

/* ---- links */

/* No operation on a link reaches what it leads to. sum: of all that must stay as it is. */
static void link_is_harmless(struct world *world, uint64_t parent, const char *name)
{
	struct virtio_fs *fs = world->fs;

	assert_int_equal(lookup(fs, parent, name), 0);
	assert_true(S_ISLNK(entry_out()->attr.mode));
	directory_node = file_node = link_node = entry_out()->nodeid;
	target_directory = directory_node;
	handles_set(0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *request = &requests[i];
		int r;

		if (request->opcode == FUSE_LINK || request->opcode == FUSE_SETATTR)
			continue; /* of the link itself; below */
		r = request_send(fs, request);
		switch (request->opcode) {
		case FUSE_GETATTR:
		case OPCODE_STATX:
		case FUSE_READLINK:
		case FUSE_STATFS:
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_LISTXATTR:
		case FUSE_SETXATTR:
			break;
		default:
			assert_true(r < 0);
		}
	}
	assert_true(setattr(fs, link_node, mode_in) < 0);
	assert_true(setattr(fs, link_node, size_in) < 0);
	/* What was set is the link's own, or nothing. */
	setattr(fs, link_node, owner_in);
	setattr(fs, link_node, times_in);
	forget(fs, link_node, UINT64_MAX);
}

static void links_out_of_the_tree_are_only_text(void **state)
{
	struct world *world = *state;
	char absolute[80];
	const char *const targets[] = {absolute, "../secret", "../../secret", "/", "..", ".",
		"/proc", "/proc/self/root", "/proc/self/cwd", "/proc/self/exe", "/proc/self/fd/0",
		"/dev/zero", "/dev/stdin"};
	struct stat before, now;

	snprintf(absolute, sizeof(absolute), "%s/secret", world->path);
	assert_int_equal(fstatat(world->top, "secret", &before, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		assert_int_equal(symlinkat(targets[i], world->tree, "volumes/shared/out"), 0);
		link_is_harmless(world, node_of(world->fs, "volumes/shared"), "out");
		assert_int_equal(unlinkat(world->tree, "volumes/shared/out", 0), 0);
	}
	assert_int_equal(fstatat(world->top, "secret", &now, 0), 0);
	assert_memory_equal(&before, &now, sizeof(now));
}

/*
 * A tree that has a /proc in it: its links are no text, they lead to what is open, wherever that is. (Nobody
 * should export it; the server does not rely on that.)
 */
static void magic_links_lead_nowhere(void **state)
{
	static const char *const names[] = {"fd", "root", "cwd", "exe"};
	struct world *world = *state;
	struct stat before, now;
	char path[128], name[16];
	uint64_t process;
	int secret;

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* needs root for a mount namespace */
	snprintf(path, sizeof(path), "%s/tree/volumes/shared/proc", world->path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("proc", path, "proc", 0, NULL), 0);
	/* The tree as this namespace has it. */
	virtio_fs_free(world->fs);
	close(world->tree);
	snprintf(path, sizeof(path), "%s/tree", world->path);
	world->tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world_serve(world, 4096, 1024);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);

	secret = openat(world->top, "secret", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(secret, &before), 0);
	snprintf(path, sizeof(path), "volumes/shared/proc/%d", getpid());
	process = node_of(world->fs, path);
	for (size_t i = 1; i < ARRAY_SIZE(names); i++) {
		link_is_harmless(world, process, names[i]);
		assert_int_equal(lookup(world->fs, process, names[i]), 0);
	}
	assert_int_equal(lookup(world->fs, process, "fd"), 0);
	snprintf(name, sizeof(name), "%d", secret);
	link_is_harmless(world, entry_out()->nodeid, name);
	assert_int_equal(fstat(secret, &now), 0);
	assert_memory_equal(&before, &now, sizeof(now));
	close(secret);
	virtio_fs_free(world->fs);
	world->fs = NULL;
	snprintf(path, sizeof(path), "%s/tree/volumes/shared/proc", world->path);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}

/* ---- who asks */

static void capabilities_read(struct __user_cap_data_struct data[static 2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
}

/* Whatever a request came to, the thread is itself again. */
static void no_request_leaves_another_identity_behind(void **state)
{
	static const uint32_t callers[] = {
		0, 1, 1000, 65534, 65536, INT32_MAX, UINT32_MAX - 1, UINT32_MAX};
	struct __user_cap_data_struct before[2], now[2];
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;

	capabilities_read(before);
	directory_node = target_directory = node_of(fs, "directory");
	file_node = link_node = node_of(fs, "directory/inner");
	for (size_t i = 0; i < ARRAY_SIZE(callers) * ARRAY_SIZE(callers); i++) {
		uint64_t handle;

		caller_uid = caller_gid = geteuid();
		assert_int_equal(open_node(fs, file_node, O_RDWR, &handle), 0);
		handles_set(handle, open_directory(fs, directory_node));
		caller_uid = callers[i / ARRAY_SIZE(callers)];
		caller_gid = callers[i % ARRAY_SIZE(callers)];
		for (size_t j = 0; j < ARRAY_SIZE(requests); j++) {
			request_send(fs, &requests[j]);
			assert_int_equal(setfsuid((uid_t)-1), geteuid());
			assert_int_equal(setfsgid((gid_t)-1), getegid());
			capabilities_read(now);
			assert_memory_equal(before, now, sizeof(now));
		}
		caller_uid = caller_gid = geteuid();
		assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
		assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
		/* As it was, for the next one. */
		assert_int_equal(directory_remove(world->tree, "directory"), 0);
		assert_int_equal(mkdirat(world->tree, "directory", 0755), 0);
		write_file(world->tree, "directory/inner", "inner");
		directory_node = target_directory = node_of(fs, "directory");
		file_node = link_node = node_of(fs, "directory/inner");
	}
}

/* VFS_CAP_REVISION_2, effective, CAP_NET_RAW. */
static const uint8_t capability[20] = {1, 0, 0, 2, 0, 0x20};

static bool has_capability(struct virtio_fs *fs, uint64_t node)
{
	struct fuse_getxattr_in in = {.size = 100};

	return call(fs, FUSE_GETXATTR, node, PART(in), TEXT("security.capability"), NOTHING) == 0;
}

/* Every way to change what a program is takes its capabilities away, whoever does it. */
static void capabilities_of_a_program_go_with_its_content(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	static const uint32_t callers[] = {0, 1000};
	uint64_t node = node_of(fs, "volumes/shared/file"), source = node_of(fs, "file"), handle,
		 from;
	struct {
		uint32_t size, flags;
	} in = {.size = sizeof(capability)};
	struct fuse_open_in truncate = {.flags = O_WRONLY | O_TRUNC};
	struct fuse_fallocate_in punch = {.length = 1, .mode = 3};
	struct fuse_copy_file_range_in copy = {.len = 1, .nodeid_out = node};

	if (geteuid() != 0)
		skip(); /* only root gives capabilities to files */
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(open_node(fs, source, O_RDONLY, &from), 0);
	punch.fh = copy.fh_out = handle;
	copy.fh_in = from;
	for (size_t i = 0; i < ARRAY_SIZE(callers) * 6; i++) {
		int r = -1;

		caller_uid = caller_gid = 0;
		assert_int_equal(call(fs, FUSE_SETXATTR, node, PART(in),
					 TEXT("security.capability"), PART(capability)),
			0);
		assert_true(has_capability(fs, node));
		/* To read it, and to change its mode or times, is no change of the program. */
		assert_int_equal(read_node(fs, node, handle, 0, 10), 0);
		assert_int_equal(setattr(fs, node, mode_in), 0);
		assert_int_equal(setattr(fs, node, times_in), 0);
		assert_true(has_capability(fs, node));
		caller_uid = caller_gid = callers[i % ARRAY_SIZE(callers)];
		switch (i / ARRAY_SIZE(callers)) {
		case 0:
			r = write_node(fs, node, handle, 0, "x", FUSE_WRITE_KILL_SUIDGID);
			break;
		case 1:
			r = setattr(fs, node, size_in);
			break;
		case 2:
			r = call(fs, FUSE_OPEN, node, PART(truncate), NOTHING, NOTHING);
			break;
		case 3:
			r = setattr(fs, node, owner_in);
			break;
		case 4:
			r = call(fs, FUSE_FALLOCATE, node, PART(punch), NOTHING, NOTHING);
			break;
		case 5:
			r = call(fs, FUSE_COPY_FILE_RANGE, source, PART(copy), NOTHING, NOTHING);
			break;
		}
		assert_int_equal(r, 0);
		assert_false(has_capability(fs, node));
	}
}

static void attributes_of_the_host_are_neither_set_nor_seen(void **state)
{
	static const char *const names[] = {"trusted.overlay.opaque", "trusted.overlay.redirect",
		"trusted.overlay.whiteout", "trusted.overlay.overlay.opaque", "trusted.overlay.",
		"trusted.a", "trusted.SGI_ACL_FILE", "user.overlay.opaque", "user.overlay.",
		"system.posix_acl_access", "system.posix_acl_default", "system.nfs4_acl",
		"security.selinux", "security.apparmor", "security.ima", "security.evm",
		"security.SMACK64", "security.", "btrfs.compression", "x", "", ".", "user",
		"trusted"};
	static const char *const paths[] = {
		"file", "directory", "volumes/shared/file", "link", "fifo"};
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct {
		uint32_t size, flags;
	} in = {.size = 1};
	struct fuse_getxattr_in get = {.size = 1000};

	assert_int_equal(symlinkat("file", world->tree, "link"), 0);
	assert_int_equal(mkfifoat(world->tree, "fifo", 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		uint64_t node = node_of(fs, paths[i]);

		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			struct part name = TEXT(names[j]);

			assert_true(call(fs, FUSE_SETXATTR, node, PART(in), name,
					    (struct part){"y", 1}) < 0);
			assert_true(call(fs, FUSE_GETXATTR, node, PART(get), name, NOTHING) < 0);
			assert_true(call(fs, FUSE_REMOVEXATTR, node, name, NOTHING, NOTHING) < 0);
		}
		/* Not followed: user.* is for files and directories. */
		if (i >= 3)
			assert_true(call(fs, FUSE_SETXATTR, node, PART(in), TEXT("user.a"),
					    (struct part){"y", 1}) < 0);
		assert_int_equal(call(fs, FUSE_LISTXATTR, node, PART(get), NOTHING, NOTHING), 0);
		assert_int_equal(reply.length, 0);
	}
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(every_operation_is_tried),
		WORLD_TEST(read_only_volumes_stay_as_they_are_whatever_is_asked),
		WORLD_TEST(read_only_volumes_are_neither_source_nor_target),
		WORLD_TEST(ids_of_former_generations_do_nothing),
		WORLD_TEST(names_of_any_bytes_are_kept_to_the_byte),
		WORLD_TEST(names_that_are_none_are_refused_before_anything_else),
		WORLD_TEST(links_out_of_the_tree_are_only_text),
		WORLD_TEST(magic_links_lead_nowhere),
		WORLD_TEST(no_request_leaves_another_identity_behind),
		WORLD_TEST(capabilities_of_a_program_go_with_its_content),
		WORLD_TEST(attributes_of_the_host_are_neither_set_nor_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
