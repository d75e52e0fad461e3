// SPDX-License-Identifier: Apache-2.0
/* The file server as a file system: files, names, attributes, policies, owners. */
#include "fuse_client.h"

#include <linux/fs.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define YEAR (365ull * 24 * 60 * 60)

/* A world whose file server has been mounted. */
static int world_begin(void **state)
{
	return world_begin_mounted(state, 4096, 1024);
}

/* ---- what a file system does */

static void files_are_made_written_and_read(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node, handle;
	struct fuse_fsync_in fsync_in = {0};
	struct fuse_flush_in flush_in = {0};
	struct fuse_attr attr;
	struct stat st;

	assert_int_equal(create(fs, ROOT, "new", O_RDWR | O_EXCL, 0640, &node, &handle), 0);
	assert_int_equal(entry_out()->attr.mode, S_IFREG | 0640);
	assert_int_equal(write_node(fs, node, handle, 0, "0123456789", 0), 0);
	assert_int_equal(write_node(fs, node, handle, 4, "abc", 0), 0);
	assert_int_equal(read_node(fs, node, handle, 2, 100), 0);
	assert_int_equal(reply.length, 8);
	assert_memory_equal(reply.data, "23abc789", 8);
	assert_int_equal(read_node(fs, node, handle, 10, 100), 0);
	assert_int_equal(reply.length, 0);
	flush_in.fh = fsync_in.fh = handle;
	assert_int_equal(call(fs, FUSE_FLUSH, node, PART(flush_in), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_FSYNC, node, PART(fsync_in), NOTHING, NOTHING), 0);
	fsync_in.fsync_flags = FUSE_FSYNC_FDATASYNC;
	assert_int_equal(call(fs, FUSE_FSYNC, node, PART(fsync_in), NOTHING, NOTHING), 0);
	assert_int_equal(release(fs, node, handle), 0);
	assert_int_equal(fstatat(world->tree, "new", &st, 0), 0);
	assert_int_equal(st.st_size, 10);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.size, 10);
	assert_int_equal(attr.ino, st.st_ino);
	assert_int_equal(create(fs, ROOT, "new", O_RDWR | O_EXCL, 0640, &node, &handle), -EEXIST);
	/* Without O_EXCL the file that is there is opened, and O_TRUNC holds. */
	assert_int_equal(create(fs, ROOT, "new", O_RDWR | O_TRUNC, 0600, &node, &handle), 0);
	assert_int_equal(entry_out()->attr.size, 0);
	assert_int_equal(entry_out()->attr.mode, S_IFREG | 0640);
	assert_int_equal(release(fs, node, handle), 0);
	/* O_APPEND holds on the host: another writer's data stays. */
	assert_int_equal(open_node(fs, node, O_WRONLY | O_APPEND, &handle), 0);
	write_file(world->tree, "new", "before ");
	assert_int_equal(write_node(fs, node, handle, 0, "after", 0), 0);
	assert_int_equal(release(fs, node, handle), 0);
	expect_content(fs, node, "before after");
	/* Pages of a mapping are no program's appending: they go where they belong. */
	assert_int_equal(open_node(fs, node, O_RDWR | O_APPEND, &handle), 0);
	assert_int_equal(write_node(fs, node, handle, 0, "BEFORE", FUSE_WRITE_CACHE), 0);
	assert_int_equal(release(fs, node, handle), 0);
	expect_content(fs, node, "BEFORE after");
	assert_int_equal(open_node(fs, node, O_WRONLY | O_TRUNC, &handle), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.size, 0);
	assert_int_equal(release(fs, node, handle), 0);
}

static void sizes_and_offsets_are_checked(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), handle;
	struct fuse_write_in write_in = {.size = 100};
	struct fuse_fallocate_in allocate = {.length = 10};
	struct fuse_lseek_in seek = {0};
	struct fuse_read_in read_in = {0};
	struct fuse_attr attr;

	assert_int_equal(open_node(fs, node, O_RDWR | O_DIRECT, &handle), 0);
	/* More than there is room for is cut to the room. */
	read_in = (struct fuse_read_in){.fh = handle, .size = UINT32_MAX};
	assert_int_equal(
		call_room(fs, FUSE_READ, node, PART(read_in), NOTHING, NOTHING, 16 + 3), 0);
	assert_int_equal(reply.length, 3);
	assert_int_equal(read_node(fs, node, handle, UINT64_MAX, 10), -EINVAL);
	assert_int_equal(read_node(fs, node, handle, INT64_MAX, 10), -EINVAL);
	assert_int_equal(read_node(fs, node, handle, 1ull << 63, 0), -EINVAL);
	/* The payload is as long as it says. */
	write_in.fh = handle;
	assert_int_equal(
		call(fs, FUSE_WRITE, node, PART(write_in), TEXT("short"), NOTHING), -EINVAL);
	write_in.size = 3;
	assert_int_equal(
		call(fs, FUSE_WRITE, node, PART(write_in), TEXT("long"), NOTHING), -EINVAL);
	write_in.size = UINT32_MAX;
	assert_int_equal(call(fs, FUSE_WRITE, node, PART(write_in), NOTHING, NOTHING), -EINVAL);
	assert_int_equal(write_node(fs, node, handle, UINT64_MAX, "x", 0), -EINVAL);
	assert_int_equal(write_node(fs, node, handle, INT64_MAX, "x", 0), -EINVAL);
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = UINT64_MAX}),
		-EINVAL);
	/* fallocate: only what leaves the rest of the file where it is. */
	allocate.fh = handle;
	allocate.mode = 0x08; /* FALLOC_FL_COLLAPSE_RANGE */
	assert_int_equal(
		call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EOPNOTSUPP);
	allocate.mode = UINT32_MAX;
	assert_int_equal(
		call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EOPNOTSUPP);
	allocate.mode = 0;
	allocate.offset = INT64_MAX;
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EINVAL);
	allocate.offset = 0;
	allocate.length = 0;
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EINVAL);
	allocate.length = 8192;
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.size, 8192);
	/* lseek: the two searches. */
	seek.fh = handle;
	for (uint32_t whence = 0; whence < 12; whence++) {
		seek.whence = whence;
		assert_int_equal(call(fs, FUSE_LSEEK, node, PART(seek), NOTHING, NOTHING),
			whence == SEEK_DATA || whence == SEEK_HOLE ? 0 : -EINVAL);
	}
	seek.whence = SEEK_DATA;
	seek.offset = UINT64_MAX; /* lseek(-1) of a program: the host's word */
	assert_int_equal(call(fs, FUSE_LSEEK, node, PART(seek), NOTHING, NOTHING), -ENXIO);
	seek.offset = 1 << 20;
	assert_int_equal(call(fs, FUSE_LSEEK, node, PART(seek), NOTHING, NOTHING), -ENXIO);
}

static void ranges_are_copied_between_files(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t source = node_of(fs, "file"), target, in_handle, out_handle;
	struct fuse_copy_file_range_in in = {.off_in = 1, .len = UINT64_MAX / 2};

	assert_int_equal(open_node(fs, source, O_RDONLY, &in_handle), 0);
	assert_int_equal(create(fs, ROOT, "copy", O_RDWR, 0644, &target, &out_handle), 0);
	in.fh_in = in_handle;
	in.fh_out = out_handle;
	in.nodeid_out = target;
	assert_int_equal(call(fs, FUSE_COPY_FILE_RANGE, source, PART(in), NOTHING, NOTHING), 0);
	assert_int_equal(((const struct fuse_write_out *)reply.data)->size, 4);
	expect_content(fs, target, "ello");
	in.flags = 1;
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, source, PART(in), NOTHING, NOTHING), -EINVAL);
	in.flags = 0;
	in.off_out = UINT64_MAX;
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, source, PART(in), NOTHING, NOTHING), -EINVAL);
	in.off_out = 0;
	in.nodeid_out = source;
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, source, PART(in), NOTHING, NOTHING), -EBADF);
	in = (struct fuse_copy_file_range_in){
		.fh_in = out_handle, .fh_out = in_handle, .nodeid_out = source, .len = 3};
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, target, PART(in), NOTHING, NOTHING), -EBADF);
}

static void directories_and_names_change(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_mkdir_in directory = {.mode = 01777};
	struct fuse_rename_in rename = {.newdir = ROOT};
	struct fuse_rename2_in rename2 = {.newdir = ROOT};
	struct fuse_link_in link = {0};
	uint64_t node;
	struct stat st;

	assert_int_equal(call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT("d"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.mode, S_IFDIR | 01777);
	node = entry_out()->nodeid;
	assert_int_equal(call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT("d"), NOTHING), -EEXIST);
	rename.newdir = node;
	assert_int_equal(call(fs, FUSE_RENAME, ROOT, PART(rename), TEXT("file"), TEXT("moved")), 0);
	assert_int_equal(fstatat(world->tree, "d/moved", &st, 0), 0);
	assert_int_equal(call(fs, FUSE_RMDIR, ROOT, TEXT("d"), NOTHING, NOTHING), -ENOTEMPTY);
	assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("d"), NOTHING, NOTHING), -EISDIR);
	link.oldnodeid = node_of(fs, "d/moved");
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link), TEXT("second"), NOTHING), 0);
	assert_int_equal(entry_out()->nodeid, link.oldnodeid);
	assert_int_equal(entry_out()->attr.nlink, 2);
	link.oldnodeid = node;
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link), TEXT("no"), NOTHING), -EPERM);
	rename2.newdir = node;
	rename2.flags = RENAME_NOREPLACE;
	write_file(world->tree, "third", "3");
	assert_int_equal(
		call(fs, FUSE_RENAME2, ROOT, PART(rename2), TEXT("third"), TEXT("moved")), -EEXIST);
	rename2.flags = RENAME_EXCHANGE;
	assert_int_equal(
		call(fs, FUSE_RENAME2, ROOT, PART(rename2), TEXT("third"), TEXT("moved")), 0);
	expect_content(fs, node_of(fs, "third"), "hello");
	expect_content(fs, node_of(fs, "d/moved"), "3");
	/* A whiteout would be a deletion mark in the overlay below. */
	for (unsigned int bit = 2; bit < 32; bit++) {
		rename2.flags = 1u << bit;
		assert_int_equal(
			call(fs, FUSE_RENAME2, ROOT, PART(rename2), TEXT("third"), TEXT("x")),
			-EINVAL);
	}
	assert_int_equal(call(fs, FUSE_UNLINK, node, TEXT("moved"), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_RMDIR, ROOT, TEXT("d"), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_RMDIR, ROOT, TEXT("d"), NOTHING, NOTHING), -ENOENT);
	/* Files have no names in them. */
	node = node_of(fs, "third");
	assert_int_equal(lookup(fs, node, "x"), -ENOTDIR);
	assert_int_equal(call(fs, FUSE_MKDIR, node, PART(directory), TEXT("x"), NOTHING), -ENOTDIR);
	rename.newdir = node;
	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(rename), TEXT("second"), TEXT("x")), -ENOTDIR);
	rename.newdir = 12345;
	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(rename), TEXT("second"), TEXT("x")), -ESTALE);
}

static void attributes_change(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), handle;
	struct fuse_setattr_in in = {
		.valid = FATTR_MODE | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME,
		.mode = 0600,
		.size = 2,
		.atime = 11,
		.atimensec = 12,
		.mtime = 13,
		.mtimensec = 14,
	};
	struct fuse_attr attr;
	struct {
		uint32_t getattr_flags, reserved;
		uint64_t fh;
		uint32_t sx_flags, sx_mask;
	} statx_in = {.sx_mask = 0xfff};
	struct fuse_access_in access_in = {.mask = R_OK | W_OK};
	struct fuse_syncfs_in sync_in = {0};

	assert_int_equal(setattr(fs, node, in), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0600);
	assert_int_equal(attr.size, 2);
	assert_int_equal(attr.atime, 11);
	assert_int_equal(attr.atimensec, 12);
	assert_int_equal(attr.mtime, 13);
	assert_int_equal(attr.mtimensec, 14);
	in = (struct fuse_setattr_in){.valid = FATTR_MTIME_NOW | FATTR_MTIME, .mtime = 5};
	assert_int_equal(setattr(fs, node, in), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_true(attr.mtime > 1000000);
	assert_int_equal(attr.atime, 11);
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	in = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = handle, .size = 9};
	assert_int_equal(setattr(fs, node, in), 0);
	assert_int_equal(((const struct fuse_attr_out *)reply.data)->attr.size, 9);
	in.fh = 99;
	assert_int_equal(setattr(fs, node, in), -EBADF);
	/* What nobody defined, and values that mean something else to the host. */
	assert_int_equal(setattr(fs, node, (struct fuse_setattr_in){.valid = 1u << 20}), -EINVAL);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = UINT32_MAX}),
		-EINVAL);
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){.valid = FATTR_MTIME,
					 .mtimensec = 0x3ffffffe /* UTIME_OMIT */}),
		-EINVAL);
	assert_int_equal(setattr(fs, ROOT, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EISDIR);
	assert_int_equal(call(fs, OPCODE_STATX, node, PART(statx_in), NOTHING, NOTHING), 0);
	assert_int_equal(reply.length, 288);
	assert_int_equal(call(fs, FUSE_STATFS, node, NOTHING, NOTHING, NOTHING), 0);
	assert_int_equal(((const struct fuse_statfs_out *)reply.data)->st.namelen, 255);
	/* With default_permissions Linux does not ask; whoever does is told that it need not. */
	assert_int_equal(call(fs, FUSE_ACCESS, node, PART(access_in), NOTHING, NOTHING), -ENOSYS);
	assert_int_equal(call(fs, FUSE_SYNCFS, ROOT, PART(sync_in), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_READLINK, node, NOTHING, NOTHING, NOTHING), -EINVAL);
}

static void unlinked_files_go_on_while_they_are_open(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file"), handle, again;
	struct fuse_attr attr;

	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("file"), NOTHING, NOTHING), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.nlink, 0);
	assert_int_equal(write_node(fs, node, handle, 5, " world", 0), 0);
	/* By handle and without one. */
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){
					 .valid = FATTR_SIZE | FATTR_FH, .fh = handle, .size = 8}),
		0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 7}), 0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0400}), 0);
	expect_content(fs, node, "hello w");
	/* A new file of that name is another one. */
	write_file(world->tree, "file", "new");
	again = node_of(fs, "file");
	assert_int_not_equal(again, node);
	expect_content(fs, again, "new");
	expect_content(fs, node, "hello w");
	/* The handle outlives the guest's memory of the inode. */
	forget(fs, node, 1);
	assert_int_equal(getattr(fs, node, NULL), -ESTALE);
	assert_int_equal(statistics(fs).handles, 1);
	assert_int_equal(release(fs, node, handle), 0);
	assert_int_equal(statistics(fs).handles, 0);
}

static void temporary_files_can_get_a_name(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_create_in in = {.flags = O_RDWR | O_TMPFILE, .mode = 0600};
	struct fuse_link_in link;
	uint64_t node, handle;
	int r = call(fs, FUSE_TMPFILE, ROOT, PART(in), TEXT("/"), NOTHING);

	if (r == -EOPNOTSUPP)
		skip(); /* the file system below /tmp has no O_TMPFILE */
	assert_int_equal(r, 0);
	node = entry_out()->nodeid;
	handle = ((const struct fuse_open_out *)(reply.data + sizeof(struct fuse_entry_out)))->fh;
	assert_int_equal(entry_out()->attr.nlink, 0);
	assert_int_equal(write_node(fs, node, handle, 0, "temporary", 0), 0);
	link.oldnodeid = node;
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link), TEXT("named"), NOTHING), 0);
	assert_int_equal(entry_out()->nodeid, node);
	expect_content(fs, node_of(fs, "named"), "temporary");
	in.flags = O_RDONLY;
	assert_int_equal(call(fs, FUSE_TMPFILE, ROOT, PART(in), TEXT("/"), NOTHING), -EINVAL);
	in.flags = O_RDWR;
	assert_int_equal(call(fs, FUSE_TMPFILE, node, PART(in), TEXT("/"), NOTHING), -ENOTDIR);
}

/* ---- special files */

static void special_files_are_never_opened(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	static const mode_t types[] = {S_IFIFO, S_IFSOCK};
	uint64_t node, handle;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct fuse_mknod_in in = {.mode = types[i] | 0666};

		assert_int_equal(call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("special"), NOTHING), 0);
		node = entry_out()->nodeid;
		assert_int_equal(entry_out()->attr.mode, types[i] | 0666);
		assert_int_equal(open_node(fs, node, O_RDONLY, &handle), -EINVAL);
		assert_int_equal(open_node(fs, node, O_RDWR, &handle), -EINVAL);
		assert_int_equal(
			setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EINVAL);
		assert_int_equal(
			setattr(fs, node,
				(struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0600}),
			0);
		assert_int_equal(
			create(fs, ROOT, "special", O_RDWR, 0644, &node, &handle), -EEXIST);
		assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("special"), NOTHING, NOTHING), 0);
	}
	assert_int_equal(statistics(fs).handles, 0);
	/* A directory is opened as such, and only for reading. */
	node = node_of(fs, "directory");
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), -EISDIR);
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), -EISDIR);
}

static void device_nodes_are_refused_where_the_host_would_obey_them(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	static const mode_t types[] = {S_IFCHR, S_IFBLK};
	struct statfs status;

	assert_int_equal(fstatfs(world->tree, &status), 0);
	if (status.f_flags & ST_NODEV)
		skip(); /* then they are harmless: see the test with mounts */
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct fuse_mknod_in in = {.mode = types[i] | 0666, .rdev = 0x103};

		assert_int_equal(
			call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("node"), NOTHING), -EPERM);
		in.rdev = 0;
		assert_int_equal(
			call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("node"), NOTHING), -EPERM);
		in.mode = S_IFDIR | 0755;
		assert_int_equal(
			call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("node"), NOTHING), -EINVAL);
		in.mode = 0644;
		assert_int_equal(
			call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("node"), NOTHING), -EINVAL);
	}
}

/* ---- policies */

static void the_policy_says_what_the_guest_may_remember(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_open_in directory_in = {.flags = O_RDONLY};
	uint64_t node, handle, shared;

	assert_int_equal(lookup(fs, ROOT, "file"), 0);
	assert_int_equal(entry_out()->entry_valid, YEAR);
	assert_int_equal(entry_out()->attr_valid, YEAR);
	node = entry_out()->nodeid;
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(((const struct fuse_open_out *)reply.data)->open_flags,
		FOPEN_KEEP_CACHE | FOPEN_NOFLUSH);
	open_directory(fs, ROOT);
	assert_int_equal(((const struct fuse_open_out *)reply.data)->open_flags,
		FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
	/* A name that is not there is remembered too. */
	assert_int_equal(lookup(fs, ROOT, "missing"), 0);
	assert_int_equal(entry_out()->nodeid, 0);
	assert_int_equal(entry_out()->entry_valid, YEAR);

	/* The volume's name is the pod's, what is in it everyone's. */
	node = node_of(fs, "volumes");
	assert_int_equal(lookup(fs, node, "shared"), 0);
	assert_int_equal(entry_out()->entry_valid, YEAR);
	assert_int_equal(entry_out()->attr_valid, 0);
	shared = entry_out()->nodeid;
	assert_int_equal(lookup(fs, shared, "file"), 0);
	assert_int_equal(entry_out()->entry_valid, 0);
	assert_int_equal(entry_out()->attr_valid, 0);
	node = entry_out()->nodeid;
	assert_int_equal(lookup(fs, shared, "missing"), -ENOENT);
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(((const struct fuse_open_out *)reply.data)->open_flags, 0);
	assert_int_equal(call(fs, FUSE_OPENDIR, shared, PART(directory_in), NOTHING, NOTHING), 0);
	assert_int_equal(((const struct fuse_open_out *)reply.data)->open_flags, 0);
}

static void names_do_not_cross_policies(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_rename_in rename_in = {.newdir = node_of(fs, "volumes/shared")};
	struct fuse_link_in link_in = {.oldnodeid = node_of(fs, "file")};

	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(rename_in), TEXT("file"), TEXT("x")), -EXDEV);
	assert_int_equal(
		call(fs, FUSE_LINK, rename_in.newdir, PART(link_in), TEXT("x"), NOTHING), -EXDEV);
	link_in.oldnodeid = node_of(fs, "volumes/shared/file");
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link_in), TEXT("x"), NOTHING), -EXDEV);
}

static void the_stricter_policy_of_a_hard_link_holds(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node, handle;

	assert_int_equal(linkat(world->tree, "volumes/fixed/file", world->tree, "way-in", 0), 0);
	node = node_of(fs, "way-in");
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(node_of(fs, "volumes/fixed/file"), node);
	assert_int_equal(write_node(fs, node, handle, 0, "x", 0), -EROFS);
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), -EROFS);
	expect_content(fs, node, "fixed");
}

static void changes_by_others_are_seen_in_shared_volumes(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t shared = node_of(fs, "volumes/shared"), node = node_of(fs, "volumes/shared/file");
	struct fuse_attr attr;

	write_file(world->tree, "volumes/shared/file", "changed by the host");
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.size, 19);
	expect_content(fs, node, "changed by the host");
	/* Replaced by rename: another file. */
	write_file(world->tree, "volumes/shared/next", "next");
	assert_int_equal(
		renameat(world->tree, "volumes/shared/next", world->tree, "volumes/shared/file"),
		0);
	assert_int_equal(lookup(fs, shared, "file"), 0);
	assert_int_not_equal(entry_out()->nodeid, node);
	expect_content(fs, entry_out()->nodeid, "next");
	assert_int_equal(unlinkat(world->tree, "volumes/shared/file", 0), 0);
	assert_int_equal(lookup(fs, shared, "file"), -ENOENT);
}

/* ---- extended attributes */

static int set_attribute(
	struct virtio_fs *fs, uint64_t node, const char *name, const char *value, uint32_t flags)
{
	struct {
		uint32_t size, flags;
	} in = {.size = (uint32_t)strlen(value), .flags = flags};

	return call(
		fs, FUSE_SETXATTR, node, PART(in), TEXT(name), (struct part){value, strlen(value)});
}

static int get_attribute(struct virtio_fs *fs, uint64_t node, const char *name, uint32_t size)
{
	struct fuse_getxattr_in in = {.size = size};

	return call(fs, FUSE_GETXATTR, node, PART(in), TEXT(name), NOTHING);
}

static void extended_attributes_follow_the_policy(void **state)
{
	static const char *const refused[] = {
		"trusted.overlay.opaque", "trusted.overlay.", "user.overlay.opaque"};
	static const char *const unsupported[] = {"system.posix_acl_access",
		"system.posix_acl_default", "security.selinux", "security.ima", "security.evm",
		"security.capability2", "security.SMACK64", "user", "", "other.thing"};
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file"), fifo;
	struct fuse_getxattr_in list = {.size = 0};
	struct {
		uint32_t size, flags;
	} huge = {.size = UINT32_MAX};
	struct fuse_mknod_in mknod_in = {.mode = S_IFIFO | 0600};
	char name[300] = "user.";
	int r = set_attribute(fs, node, "user.a", "value", 0);

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(set_attribute(fs, node, refused[i], "y", 0), -EPERM);
		assert_int_equal(set_attribute(fs, ROOT, refused[i], "y", 0), -EPERM);
		assert_int_equal(get_attribute(fs, node, refused[i], 10), -ENODATA);
		assert_int_equal(
			call(fs, FUSE_REMOVEXATTR, node, TEXT(refused[i]), NOTHING, NOTHING),
			-EPERM);
	}
	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
		assert_int_equal(set_attribute(fs, node, unsupported[i], "y", 0), -EOPNOTSUPP);
		assert_int_equal(get_attribute(fs, node, unsupported[i], 10), -EOPNOTSUPP);
	}
	if (r == -EOPNOTSUPP)
		skip(); /* the file system below /tmp has no user.* attributes */
	assert_int_equal(r, 0);
	assert_int_equal(get_attribute(fs, node, "user.a", 0), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)reply.data)->size, 5);
	assert_int_equal(get_attribute(fs, node, "user.a", 3), -ERANGE);
	assert_int_equal(get_attribute(fs, node, "user.a", UINT32_MAX), 0);
	assert_int_equal(reply.length, 5);
	assert_memory_equal(reply.data, "value", 5);
	assert_int_equal(set_attribute(fs, node, "user.a", "w", XATTR_CREATE), -EEXIST);
	assert_int_equal(set_attribute(fs, node, "user.b", "w", XATTR_REPLACE), -ENODATA);
	assert_int_equal(set_attribute(fs, node, "user.b", "w", 0xff), -EINVAL);
	assert_int_equal(
		call(fs, FUSE_SETXATTR, node, PART(huge), TEXT("user.b"), NOTHING), -E2BIG);
	huge.size = 100;
	assert_int_equal(
		call(fs, FUSE_SETXATTR, node, PART(huge), TEXT("user.b"), TEXT("short")), -EINVAL);
	memset(name + 5, 'n', 290);
	assert_int_equal(set_attribute(fs, node, name, "w", 0), -ERANGE);
	/* The list leaves out what the guest cannot have. */
	if (geteuid() == 0) {
		int fd = openat(world->tree, "file", O_RDONLY | O_CLOEXEC);

		assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
		close(fd);
	}
	assert_int_equal(call(fs, FUSE_LISTXATTR, node, PART(list), NOTHING, NOTHING), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)reply.data)->size, 7);
	list.size = 6;
	assert_int_equal(call(fs, FUSE_LISTXATTR, node, PART(list), NOTHING, NOTHING), -ERANGE);
	list.size = UINT32_MAX;
	assert_int_equal(call(fs, FUSE_LISTXATTR, node, PART(list), NOTHING, NOTHING), 0);
	assert_int_equal(reply.length, 7);
	assert_memory_equal(reply.data, "user.a", 7);
	assert_int_equal(call(fs, FUSE_REMOVEXATTR, node, TEXT("user.a"), NOTHING, NOTHING), 0);
	assert_int_equal(get_attribute(fs, node, "user.a", 100), -ENODATA);
	/* Special files have none, and are not opened to find out. */
	assert_int_equal(call(fs, FUSE_MKNOD, ROOT, PART(mknod_in), TEXT("fifo"), NOTHING), 0);
	fifo = entry_out()->nodeid;
	assert_true(set_attribute(fs, fifo, "user.a", "v", 0) < 0);
	assert_int_equal(call(fs, FUSE_LISTXATTR, fifo, PART(list), NOTHING, NOTHING), 0);
	assert_int_equal(reply.length, 0);
}

/* ---- identity */

static void files_belong_to_who_made_them(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_mkdir_in directory = {.mode = 0700};
	struct fuse_mknod_in mknod_in = {.mode = S_IFIFO | 0600};
	uint64_t node, handle;
	struct stat st;

	if (geteuid() != 0)
		skip(); /* only root acts for others */
	caller_uid = 1234;
	caller_gid = 5678;
	/* The directory is not theirs: the guest's kernel has let them (capabilities of its own).
	 */
	assert_int_equal(call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT("mine"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.uid, 1234);
	assert_int_equal(entry_out()->attr.gid, 5678);
	assert_int_equal(create(fs, ROOT, "made", O_RDWR, 0644, &node, &handle), 0);
	assert_int_equal(entry_out()->attr.uid, 1234);
	assert_int_equal(call(fs, FUSE_SYMLINK, ROOT, TEXT("link"), TEXT("x"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.gid, 5678);
	assert_int_equal(call(fs, FUSE_MKNOD, ROOT, PART(mknod_in), TEXT("fifo"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.uid, 1234);
	/* -1 is nobody. */
	caller_uid = UINT32_MAX;
	assert_int_equal(
		call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT("none"), NOTHING), -EPERM);
	/* In a setgid directory the group is the directory's. */
	assert_int_equal(mkdirat(world->tree, "group", 0777), 0);
	assert_int_equal(fchownat(world->tree, "group", 0, 4321, 0), 0);
	assert_int_equal(fchmodat(world->tree, "group", 02777, 0), 0);
	caller_uid = 1234;
	assert_int_equal(
		call(fs, FUSE_MKDIR, node_of(fs, "group"), PART(directory), TEXT("d"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.gid, 4321);
	assert_int_equal(entry_out()->attr.mode, S_IFDIR | 02700);
	/* We are ourselves again. */
	assert_int_equal(mkdirat(world->tree, "ours", 0700), 0);
	assert_int_equal(fstatat(world->tree, "ours", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, 0);
	caller_uid = caller_gid = 0;
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){
					 .valid = FATTR_UID | FATTR_GID, .uid = 42, .gid = 43}),
		0);
	assert_int_equal(fstatat(world->tree, "made", &st, 0), 0);
	assert_int_equal(st.st_uid, 42);
	assert_int_equal(st.st_gid, 43);
}

static void setuid_bits_go_when_the_guest_says_so(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), handle;
	struct fuse_setattr_in suid = {.valid = FATTR_MODE, .mode = 06755};
	struct fuse_open_in open_in = {
		.flags = O_WRONLY | O_TRUNC,
		.open_flags = FUSE_OPEN_KILL_SUIDGID,
	};
	struct fuse_fallocate_in allocate = {.length = 10};
	struct fuse_attr attr;

	if (geteuid() != 0)
		skip(); /* others lose the bits at every write */
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(setattr(fs, node, suid), 0);
	assert_int_equal(write_node(fs, node, handle, 0, "x", 0), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 06755);
	assert_int_equal(write_node(fs, node, handle, 0, "x", FUSE_WRITE_KILL_SUIDGID), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
	assert_int_equal(setattr(fs, node, suid), 0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 1}), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 06755);
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){
					 .valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 2}),
		0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
	assert_int_equal(setattr(fs, node, suid), 0);
	assert_int_equal(call(fs, FUSE_OPEN, node, PART(open_in), NOTHING, NOTHING), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
	assert_int_equal(setattr(fs, node, suid), 0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 9}), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
	assert_int_equal(setattr(fs, node, suid), 0);
	allocate.fh = handle;
	caller_uid = 1234;
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), 0);
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(files_are_made_written_and_read),
		WORLD_TEST(sizes_and_offsets_are_checked),
		WORLD_TEST(ranges_are_copied_between_files),
		WORLD_TEST(directories_and_names_change),
		WORLD_TEST(attributes_change),
		WORLD_TEST(unlinked_files_go_on_while_they_are_open),
		WORLD_TEST(temporary_files_can_get_a_name),
		WORLD_TEST(special_files_are_never_opened),
		WORLD_TEST(device_nodes_are_refused_where_the_host_would_obey_them),
		WORLD_TEST(the_policy_says_what_the_guest_may_remember),
		WORLD_TEST(names_do_not_cross_policies),
		WORLD_TEST(the_stricter_policy_of_a_hard_link_holds),
		WORLD_TEST(changes_by_others_are_seen_in_shared_volumes),
		WORLD_TEST(extended_attributes_follow_the_policy),
		WORLD_TEST(files_belong_to_who_made_them),
		WORLD_TEST(setuid_bits_go_when_the_guest_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
