// SPDX-License-Identifier: Apache-2.0
/* The file server, driven by a small FUSE client as a guest or an attacker would do it. */
#include "fuse_client.h"

#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define YEAR         (365ull * 24 * 60 * 60)
#define OPCODE_STATX 52

static int world_begin_with(void **state, size_t inodes_max, size_t handles_max)
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

/* A world whose file server has been mounted. */
static int world_begin(void **state)
{
	world_begin_with(state, 4096, 1024);
	assert_int_equal(
		init_with(((struct world *)*state)->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	return 0;
}

static int world_begin_unmounted(void **state)
{
	return world_begin_with(state, 4096, 1024);
}

static int world_begin_narrow(void **state)
{
	world_begin_with(state, 8, 4);
	assert_int_equal(
		init_with(((struct world *)*state)->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	return 0;
}

/* ---- session */

static void nothing_is_served_before_init(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;

	assert_int_equal(lookup(fs, ROOT, "file"), -EIO);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 30, 0), -EPROTO);
	assert_int_equal(init_with(fs, 6, 41, 0), -EPROTO);
	assert_int_equal(init_with(fs, 0, UINT32_MAX, 0), -EPROTO);
	assert_int_equal(lookup(fs, ROOT, "file"), -EIO);
	/* A newer major version gets ours and has to ask again. */
	assert_int_equal(init_with(fs, UINT32_MAX, UINT32_MAX, UINT32_MAX), 0);
	assert_int_equal(init_out()->major, FUSE_KERNEL_VERSION);
	assert_int_equal(lookup(fs, ROOT, "file"), -EIO);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, UINT32_MAX, 0), 0);
	assert_int_equal(lookup(fs, ROOT, "file"), 0);
}

static void init_grants_only_what_was_offered_and_is_served(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	const struct fuse_init_out *out;

	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 31, 0), 0);
	out = init_out();
	assert_int_equal(out->minor, 31);
	assert_int_equal(out->flags, 0);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	out = init_out();
	assert_true(out->flags & FUSE_SUBMOUNTS && out->flags & FUSE_ATOMIC_O_TRUNC &&
		out->flags & FUSE_HANDLE_KILLPRIV_V2 && out->flags & FUSE_DO_READDIRPLUS);
	/* This world has shared volumes. */
	assert_true(out->flags & FUSE_AUTO_INVAL_DATA);
	assert_false(out->flags &
		(FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_POSIX_ACL |
			FUSE_EXPORT_SUPPORT | FUSE_DONT_MASK | FUSE_ASYNC_READ |
			FUSE_EXPLICIT_INVAL_DATA));
	assert_int_equal(out->max_write, 1 << 20);
	assert_int_equal(out->max_pages, 256);
	assert_int_equal(out->max_readahead, 131072);
}

static void read_ahead_is_bounded_by_the_device_and_the_driver(void **state)
{
	struct world *world = *state;

	virtio_fs_free(world->fs);
	world->readahead = 32768;
	world_serve(world, 16, 16);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(init_out()->max_readahead, 32768);
	virtio_fs_free(world->fs);
	world->readahead = 262144;
	world_serve(world, 16, 16);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(init_out()->max_readahead, 131072);
}

static void second_init_and_destroy_forget_everything(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "directory/inner"), handle;

	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(statistics(fs).inodes, 3);
	assert_int_equal(statistics(fs).handles, 1);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(statistics(fs).inodes, 1);
	assert_int_equal(statistics(fs).handles, 0);
	assert_int_equal(getattr(fs, node, NULL), -ESTALE);
	assert_int_equal(read_node(fs, node, handle, 0, 10), -ESTALE);
	node_of(fs, "file");
	assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	assert_int_equal(statistics(fs).inodes, 1);
	assert_int_equal(lookup(fs, ROOT, "file"), -EIO);
}

static void unknown_operations_are_not_implemented(void **state)
{
	static const uint32_t opcodes[] = {0, 7, 19, FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW,
		FUSE_INTERRUPT, FUSE_BMAP, FUSE_IOCTL, FUSE_POLL, FUSE_NOTIFY_REPLY,
		FUSE_SETUPMAPPING, FUSE_REMOVEMAPPING, 53, 4096, 436207616, UINT32_MAX};
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint8_t arguments[64] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		assert_int_equal(
			call(fs, opcodes[i], ROOT, PART(arguments), NOTHING, NOTHING), -ENOSYS);
}

static void broken_headers_break_the_device(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_in_header header = {
		.len = sizeof(header), .opcode = FUSE_STATFS, .nodeid = ROOT};
	uint8_t out[256], in[256] = {0};

	for (size_t size = 0; size < sizeof(header); size++)
		assert_int_equal(virtio_fs_serve(fs, &header, size, out, sizeof(out)), -EBADMSG);
	assert_true(virtio_fs_serve(fs, &header, sizeof(header), out, sizeof(out)) > 0);
	/* A length that is not that of the chain. */
	for (uint32_t length = 0; length < 200; length++) {
		header.len = length == sizeof(header) ? UINT32_MAX : length;
		memcpy(in, &header, sizeof(header));
		assert_int_equal(
			virtio_fs_serve(fs, in, sizeof(header), out, sizeof(out)), -EBADMSG);
	}
	/* No room for the reply's header. */
	header.len = sizeof(header);
	for (size_t room = 0; room < sizeof(struct fuse_out_header); room++)
		assert_int_equal(virtio_fs_serve(fs, &header, sizeof(header), out, room), -EBADMSG);
}

/* For every operation: every length of arguments up to 300 bytes, every room of the reply. */
static void short_requests_and_short_replies_are_refused_or_fit(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint8_t arguments[300];
	uint64_t handle;

	node_of(fs, "file");
	assert_int_equal(open_node(fs, ROOT + 1, O_RDWR, &handle), 0);
	for (uint32_t opcode = 0; opcode < 56; opcode++) {
		if (opcode == FUSE_DESTROY || opcode == FUSE_INIT)
			continue;
		for (size_t length = 0; length <= sizeof(arguments); length += 3) {
			memset(arguments, length & 1 ? 0xff : 0, sizeof(arguments));
			for (size_t room = 16; room < 400; room += 37)
				call_room(fs, opcode, opcode & 1 ? ROOT : ROOT + 1,
					(struct part){arguments, length}, NOTHING, NOTHING, room);
		}
	}
	/* Nothing of that counted or left something behind. */
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	expect_content(fs, node_of(fs, "file"), "hello");
}

/* ---- names */

static void names_are_one_component(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	char long_name[301], longest_name[257], huge_name[5001];
	static const char unterminated[] = {'f', 'i', 'l', 'e'};
	static const char inside[] = "fi\0le";
	struct {
		struct part name;
		int error;
	} names[] = {
		{TEXT(""), -EINVAL},
		{TEXT("."), -EINVAL},
		{TEXT(".."), -EINVAL},
		{TEXT("/"), -EINVAL},
		{TEXT("/secret"), -EINVAL},
		{TEXT("../secret"), -EINVAL},
		{TEXT("directory/inner"), -EINVAL},
		{TEXT("directory/"), -EINVAL},
		{{unterminated, sizeof(unterminated)}, -EINVAL},
		{{inside, sizeof(inside)}, -EINVAL},
		{NOTHING, -EINVAL},
		{{long_name, sizeof(long_name)}, -ENAMETOOLONG},
		{{longest_name, sizeof(longest_name)}, -ENAMETOOLONG},
		{{huge_name, sizeof(huge_name)}, -ENAMETOOLONG},
	};
	struct fuse_mknod_in node = {.mode = S_IFREG | 0644};
	struct fuse_mkdir_in directory = {.mode = 0755};
	struct fuse_create_in create_in = {.flags = O_RDWR | O_CREAT, .mode = 0644};
	struct fuse_rename_in rename = {.newdir = ROOT};
	struct fuse_rename2_in rename2 = {.newdir = ROOT};
	struct fuse_link_in link = {.oldnodeid = node_of(fs, "file")};

	memset(long_name, 'a', 300);
	memset(longest_name, 'a', 256);
	memset(huge_name, 'a', 5000);
	long_name[300] = longest_name[256] = huge_name[5000] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct part name = names[i].name, good = TEXT("good");
		int error = names[i].error;

		assert_int_equal(call(fs, FUSE_LOOKUP, ROOT, name, NOTHING, NOTHING), error);
		assert_int_equal(call(fs, FUSE_UNLINK, ROOT, name, NOTHING, NOTHING), error);
		assert_int_equal(call(fs, FUSE_RMDIR, ROOT, name, NOTHING, NOTHING), error);
		assert_int_equal(call(fs, FUSE_MKNOD, ROOT, PART(node), name, NOTHING), error);
		assert_int_equal(call(fs, FUSE_MKDIR, ROOT, PART(directory), name, NOTHING), error);
		assert_int_equal(
			call(fs, FUSE_CREATE, ROOT, PART(create_in), name, NOTHING), error);
		assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link), name, NOTHING), error);
		assert_int_equal(call(fs, FUSE_RENAME2, ROOT, PART(rename2), good, name), error);
		assert_int_equal(call(fs, FUSE_RENAME, ROOT, PART(rename), good, name), error);
		/* As the first of two, a name without an end runs into the second. */
		if (name.data == unterminated || name.data == inside || !name.data)
			continue;
		assert_int_equal(call(fs, FUSE_RENAME, ROOT, PART(rename), name, good), error);
		assert_int_equal(
			call(fs, FUSE_SYMLINK, ROOT, name, TEXT("target"), NOTHING), error);
	}
	/* Bytes that are not text are a name like any other, and 255 bytes fit. */
	assert_int_equal(
		call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT("\xff\xfe\n"), NOTHING), 0);
	longest_name[255] = '\0';
	assert_int_equal(
		call(fs, FUSE_MKDIR, ROOT, PART(directory), TEXT(longest_name), NOTHING), 0);
}

static void links_are_never_followed(void **state)
{
	static const char *const targets[] = {"/", "..", "../..", "../secret", "/proc/self/root",
		"/proc/self/fd/0", "/proc/self/cwd", "directory", "file", "."};
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct fuse_link_in link;
		uint64_t node, handle;
		struct fuse_attr attr;
		struct stat st;
		struct fuse_open_in open_in = {.flags = O_RDONLY};

		assert_int_equal(
			call(fs, FUSE_SYMLINK, ROOT, TEXT("link"), TEXT(targets[i]), NOTHING), 0);
		node = entry_out()->nodeid;
		assert_true(S_ISLNK(entry_out()->attr.mode));
		assert_int_equal(call(fs, FUSE_READLINK, node, NOTHING, NOTHING, NOTHING), 0);
		assert_int_equal(reply.length, strlen(targets[i]));
		assert_memory_equal(reply.data, targets[i], strlen(targets[i]));
		assert_int_equal(lookup(fs, node, "secret"), -ENOTDIR);
		assert_int_equal(lookup(fs, node, "inner"), -ENOTDIR);
		assert_int_equal(open_node(fs, node, O_RDONLY, &handle), -ELOOP);
		assert_int_equal(open_node(fs, node, O_RDWR | O_TRUNC, &handle), -ELOOP);
		assert_int_equal(
			call(fs, FUSE_OPENDIR, node, PART(open_in), NOTHING, NOTHING), -ENOTDIR);
		assert_int_equal(
			setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0}),
			-EOPNOTSUPP);
		assert_int_equal(
			setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EINVAL);
		/* Times are the link's own. */
		assert_int_equal(
			setattr(fs, node,
				(struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 7}),
			0);
		assert_int_equal(getattr(fs, node, &attr), 0);
		assert_int_equal(attr.mtime, 7);
		assert_int_equal(fstatat(world->top, "secret", &st, 0), 0);
		assert_int_not_equal(st.st_mtime, 7);
		/* A hard link to it is a hard link to it. */
		link.oldnodeid = node;
		assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link), TEXT("second"), NOTHING), 0);
		assert_int_equal(entry_out()->nodeid, node);
		assert_int_equal(fstatat(world->tree, "second", &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_true(S_ISLNK(st.st_mode));
		/* Creating where a link is does not go through it. */
		assert_int_equal(create(fs, ROOT, "link", O_RDWR, 0644, &node, &handle), -EEXIST);
		assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("link"), NOTHING, NOTHING), 0);
		assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("second"), NOTHING, NOTHING), 0);
	}
}

/* ---- ids */

static void forgotten_and_invented_ids_are_stale(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), again;

	assert_int_equal(node_of(fs, "file"), node);
	forget(fs, node, 1);
	assert_int_equal(getattr(fs, node, NULL), 0);
	forget(fs, node, 1);
	assert_int_equal(getattr(fs, node, NULL), -ESTALE);
	again = node_of(fs, "file");
	assert_int_not_equal(again, node);
	assert_int_equal(getattr(fs, node, NULL), -ESTALE);
	forget(fs, node, 1);
	assert_int_equal(getattr(fs, again, NULL), 0);
	for (unsigned int bit = 0; bit < 64; bit++)
		if ((again ^ 1ull << bit) != ROOT)
			assert_int_equal(getattr(fs, again ^ 1ull << bit, NULL), -ESTALE);
	assert_int_equal(getattr(fs, 0, NULL), -ESTALE);
	assert_int_equal(getattr(fs, UINT64_MAX, NULL), -ESTALE);
}

static void forgetting_too_much_forgets_once(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file");
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[2];
	} batch = {.in = {.count = UINT32_MAX}};

	forget(fs, node, UINT64_MAX);
	assert_int_equal(statistics(fs).inodes, 1);
	forget(fs, ROOT, UINT64_MAX);
	assert_int_equal(getattr(fs, ROOT, NULL), 0);
	/* A batch ends with its message, whatever its count says. */
	batch.one[0] = (struct fuse_forget_one){node_of(fs, "file"), 1};
	batch.one[1] = (struct fuse_forget_one){node_of(fs, "directory"), 77};
	assert_int_equal(call_room(fs, FUSE_BATCH_FORGET, 0, PART(batch), NOTHING, NOTHING, 0), 0);
	assert_int_equal(statistics(fs).inodes, 1);
}

static void handles_are_of_their_kind_and_inode(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t file = node_of(fs, "file"), directory = node_of(fs, "directory");
	uint64_t inner = node_of(fs, "directory/inner"), fh, dh, gone;
	struct fuse_read_in read_in = {.size = 4096};
	struct fuse_release_in release_in = {0};
	struct fuse_fsync_in fsync_in = {0};

	assert_int_equal(open_node(fs, file, O_RDONLY, &fh), 0);
	dh = open_directory(fs, directory);
	assert_int_equal(open_node(fs, file, O_RDWR, &gone), 0);
	assert_int_equal(release(fs, file, gone), 0);
	assert_int_equal(release(fs, file, gone), -EBADF);
	assert_int_equal(read_node(fs, file, gone, 0, 1), -EBADF);
	assert_int_equal(read_node(fs, directory, dh, 0, 1), -EBADF);
	assert_int_equal(read_node(fs, inner, fh, 0, 1), -EBADF);
	assert_int_equal(read_node(fs, file, 0, 0, 1), -EBADF);
	assert_int_equal(read_node(fs, file, fh ^ 1ull << 40, 0, 1), -EBADF);
	assert_int_equal(read_node(fs, file, UINT64_MAX, 0, 1), -EBADF);
	read_in.fh = fh;
	assert_int_equal(call(fs, FUSE_READDIR, file, PART(read_in), NOTHING, NOTHING), -EBADF);
	assert_int_equal(
		call(fs, FUSE_READDIRPLUS, directory, PART(read_in), NOTHING, NOTHING), -EBADF);
	release_in.fh = fh;
	assert_int_equal(
		call(fs, FUSE_RELEASEDIR, file, PART(release_in), NOTHING, NOTHING), -EBADF);
	fsync_in.fh = fh;
	assert_int_equal(call(fs, FUSE_FSYNCDIR, file, PART(fsync_in), NOTHING, NOTHING), -EBADF);
	fsync_in.fh = dh;
	assert_int_equal(call(fs, FUSE_FSYNC, directory, PART(fsync_in), NOTHING, NOTHING), -EBADF);
	assert_int_equal(call(fs, FUSE_FSYNCDIR, directory, PART(fsync_in), NOTHING, NOTHING), 0);
	/* Opened for reading is not opened for writing, and the other way round. */
	assert_int_equal(write_node(fs, file, fh, 0, "x", 0), -EBADF);
	assert_int_equal(
		setattr(fs, file,
			(struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh}),
		-EINVAL);
	assert_int_equal(release(fs, file, fh), 0);
	assert_int_equal(open_node(fs, file, O_WRONLY, &fh), 0);
	assert_int_equal(read_node(fs, file, fh, 0, 1), -EBADF);
	expect_content(fs, file, "hello");
	assert_int_equal(open_node(fs, file, O_ACCMODE, &fh), -EINVAL);
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

static void read_only_volumes_cannot_be_changed_by_any_operation(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t fixed = node_of(fs, "volumes/fixed"), node = node_of(fs, "volumes/fixed/file");
	uint64_t inner = node_of(fs, "volumes/fixed/inner"), outside = node_of(fs, "file");
	struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0644};
	struct fuse_mkdir_in mkdir_in = {.mode = 0755};
	struct fuse_create_in create_in = {.flags = O_RDWR | O_CREAT, .mode = 0644};
	struct fuse_rename_in rename_in = {0};
	struct fuse_rename2_in rename2_in = {0};
	struct fuse_link_in link_in = {0};
	struct fuse_syncfs_in sync_in = {0};
	struct {
		struct fuse_setxattr_in in;
	} xattr = {.in = {.size = 1}};
	static const uint32_t valid[] = {FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME,
		FATTR_MTIME, FATTR_ATIME_NOW, FATTR_MTIME_NOW};
	uint64_t handle;

	assert_int_equal(open_node(fs, node, O_WRONLY, &handle), -EROFS);
	assert_int_equal(open_node(fs, node, O_RDWR, &handle), -EROFS);
	assert_int_equal(open_node(fs, node, O_RDONLY | O_TRUNC, &handle), -EROFS);
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		assert_int_equal(
			setattr(fs, node, (struct fuse_setattr_in){.valid = valid[i]}), -EROFS);
		assert_int_equal(
			setattr(fs, fixed, (struct fuse_setattr_in){.valid = valid[i]}), -EROFS);
	}
	assert_int_equal(call(fs, FUSE_MKNOD, fixed, PART(mknod_in), TEXT("x"), NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_MKDIR, inner, PART(mkdir_in), TEXT("x"), NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_SYMLINK, fixed, TEXT("x"), TEXT("y"), NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_CREATE, fixed, PART(create_in), TEXT("x"), NOTHING), -EROFS);
	assert_int_equal(
		call(fs, FUSE_CREATE, fixed, PART(create_in), TEXT("file"), NOTHING), -EROFS);
	assert_int_equal(
		call(fs, FUSE_TMPFILE, fixed, PART(create_in), TEXT("/"), NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_UNLINK, fixed, TEXT("file"), NOTHING, NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_RMDIR, fixed, TEXT("inner"), NOTHING, NOTHING), -EROFS);
	rename_in.newdir = rename2_in.newdir = fixed;
	rename2_in.flags = RENAME_EXCHANGE;
	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(rename_in), TEXT("file"), TEXT("x")), -EROFS);
	assert_int_equal(
		call(fs, FUSE_RENAME2, ROOT, PART(rename2_in), TEXT("file"), TEXT("file")), -EROFS);
	rename_in.newdir = ROOT;
	assert_int_equal(
		call(fs, FUSE_RENAME, fixed, PART(rename_in), TEXT("file"), TEXT("x")), -EROFS);
	link_in.oldnodeid = node;
	assert_int_equal(call(fs, FUSE_LINK, ROOT, PART(link_in), TEXT("x"), NOTHING), -EROFS);
	link_in.oldnodeid = outside;
	assert_int_equal(call(fs, FUSE_LINK, fixed, PART(link_in), TEXT("x"), NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_SETXATTR, node, (struct part){&xattr, 8}, TEXT("user.a"),
				 (struct part){"v", 1}),
		-EROFS);
	assert_int_equal(
		call(fs, FUSE_REMOVEXATTR, node, TEXT("user.a"), NOTHING, NOTHING), -EROFS);
	assert_int_equal(call(fs, FUSE_SYNCFS, fixed, PART(sync_in), NOTHING, NOTHING), 0);

	/* What has a handle must have it for writing. */
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(write_node(fs, node, handle, 0, "x", 0), -EROFS);
	struct fuse_fallocate_in allocate = {.fh = handle, .length = 100};

	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EROFS);
	struct fuse_copy_file_range_in copy = {
		.fh_in = handle, .fh_out = handle, .nodeid_out = node, .len = 1};

	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, node, PART(copy), NOTHING, NOTHING), -EROFS);
	assert_int_equal(release(fs, node, handle), 0);
	expect_content(fs, node, "fixed");
	assert_int_equal(lookup(fs, fixed, "x"), -ENOENT);
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

/* ---- directories */

#define MANY 1000

struct listing {
	unsigned int seen[MANY], others;
	uint64_t nodes[MANY];
	size_t node_count, without_node;
};

static void listing_add(struct listing *listing, const struct fuse_dirent *dirent)
{
	char name[256];
	unsigned long number;

	assert_true(dirent->namelen > 0 && dirent->namelen < sizeof(name));
	memcpy(name, dirent->name, dirent->namelen);
	name[dirent->namelen] = '\0';
	if (strncmp(name, "entry-", 6) == 0) {
		number = strtoul(name + 6, NULL, 10);
		assert_true(number < MANY);
		listing->seen[number]++;
	} else {
		listing->others++;
	}
}

/* One READDIR or READDIRPLUS; returns the next offset, or offset itself at the end. */
static uint64_t list_some(struct virtio_fs *fs, uint64_t node, uint64_t handle, uint64_t offset,
	uint32_t size, bool plus, struct listing *listing)
{
	struct fuse_read_in in = {.fh = handle, .offset = offset, .size = size};

	assert_int_equal(
		call(fs, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, PART(in), NOTHING, NOTHING),
		0);
	assert_true(reply.length <= size);
	for (size_t next = 0; next < reply.length;) {
		const struct fuse_direntplus *entry = (const void *)(reply.data + next);
		const struct fuse_dirent *dirent = plus ? &entry->dirent
							: (const void *)(reply.data + next);

		listing_add(listing, dirent);
		if (plus && entry->entry_out.nodeid)
			listing->nodes[listing->node_count++] = entry->entry_out.nodeid;
		else if (plus)
			listing->without_node++;
		offset = dirent->off;
		next += plus ? FUSE_DIRENTPLUS_SIZE(entry) : FUSE_DIRENT_SIZE(dirent);
	}
	return offset;
}

static uint64_t make_many(struct world *world)
{
	char name[32];

	assert_int_equal(mkdirat(world->tree, "many", 0755), 0);
	for (unsigned int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/entry-%u", i);
		write_file(world->tree, name, "");
	}
	return node_of(world->fs, "many");
}

static void directories_list_every_name_once(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = make_many(world), handle = open_directory(fs, node);
	static const uint32_t sizes[] = {320, 4096, 65536 - 64};

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * 2; i++) {
		struct listing listing = {0};
		bool plus = i & 1;
		uint64_t offset = 0, next;

		while ((next = list_some(fs, node, handle, offset, sizes[i / 2], plus, &listing)) !=
			offset)
			offset = next;
		for (unsigned int j = 0; j < MANY; j++)
			assert_int_equal(listing.seen[j], 1);
		assert_int_equal(listing.others, 2);
		assert_int_equal(listing.node_count, plus ? MANY : 0);
		assert_int_equal(listing.without_node, plus ? 2 : 0);
		/* Each entry counted one lookup. */
		for (size_t j = 0; j < listing.node_count; j++)
			forget(fs, listing.nodes[j], 1);
		assert_int_equal(statistics(fs).inodes, 2);
	}
}

static void directories_list_what_stays_while_entries_go(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = make_many(world), handle = open_directory(fs, node), offset = 0, next;
	struct listing listing = {0};
	unsigned int removed = 0;
	char name[32];

	/* Every second entry goes while the directory is read. */
	while ((next = list_some(fs, node, handle, offset, 2048, true, &listing)) != offset) {
		offset = next;
		for (unsigned int i = 0; i < 20 && removed < MANY; i++, removed += 2) {
			snprintf(name, sizeof(name), "entry-%u", removed);
			assert_int_equal(
				call(fs, FUSE_UNLINK, node, TEXT(name), NOTHING, NOTHING), 0);
		}
	}
	for (unsigned int i = 0; i < MANY; i++) {
		assert_true(listing.seen[i] <= 1);
		if (i % 2)
			assert_int_equal(listing.seen[i], 1);
	}
}

static void directory_requests_are_checked(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t handle = open_directory(fs, ROOT);
	static const uint64_t offsets[] = {1, 7, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX};
	struct fuse_read_in in = {.fh = handle};

	/* An answer without an entry would mean the end. */
	for (in.size = 0; in.size < 32; in.size++) {
		assert_int_equal(call(fs, FUSE_READDIR, ROOT, PART(in), NOTHING, NOTHING), -EINVAL);
		assert_int_equal(
			call(fs, FUSE_READDIRPLUS, ROOT, PART(in), NOTHING, NOTHING), -EINVAL);
	}
	in.size = UINT32_MAX;
	assert_int_equal(
		call_room(fs, FUSE_READDIR, ROOT, PART(in), NOTHING, NOTHING, 16 + 100), 0);
	assert_true(reply.length > 0 && reply.length <= 100);
	/* Any answer, but one; and afterwards the directory is still there. */
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		in.offset = offsets[i];
		call(fs, FUSE_READDIRPLUS, ROOT, PART(in), NOTHING, NOTHING);
	}
	in.offset = 0;
	assert_int_equal(call(fs, FUSE_READDIR, ROOT, PART(in), NOTHING, NOTHING), 0);
	assert_true(reply.length > 100);
}

/* ---- bounds */

static void tables_are_bounded(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node, handle, handles[4];
	struct listing listing = {0};
	struct fuse_open_in in = {.flags = O_RDONLY};
	char name[32];

	/* Eight inodes with the root; the rest does not fit, and names go on being listed. */
	assert_int_equal(mkdirat(world->tree, "many", 0755), 0);
	for (unsigned int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "many/entry-%u", i);
		write_file(world->tree, name, "");
	}
	node = node_of(fs, "many");
	handle = open_directory(fs, node);
	list_some(fs, node, handle, 0, 32768, true, &listing);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(listing.seen[i], 1);
	assert_int_equal(listing.node_count, 6);
	assert_int_equal(statistics(fs).inodes, 8);
	assert_int_equal(lookup(fs, ROOT, "file"), -ENFILE);
	/* Nothing can be made that could not be answered for, as far as the guest can tell. */
	assert_int_equal(create(fs, ROOT, "new", O_RDWR, 0644, &node, &handle), -ENFILE);
	for (size_t i = 0; i < listing.node_count; i++)
		forget(fs, listing.nodes[i], 1);
	node = node_of(fs, "file");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(open_node(fs, node, O_RDONLY, &handles[i]), 0);
	assert_int_equal(open_node(fs, node, O_RDONLY, &handles[3]), -ENFILE);
	assert_int_equal(call(fs, FUSE_OPENDIR, ROOT, PART(in), NOTHING, NOTHING), -ENFILE);
	assert_int_equal(release(fs, node, handles[0]), 0);
	assert_int_equal(open_node(fs, node, O_RDONLY, &handles[3]), 0);
	assert_int_equal(statistics(fs).handles, 4);
}

/* ---- races */

struct race {
	struct world *world;
	atomic_bool stop;
};

/* Swaps a directory of the tree with a link to the outside, over and over. */
static void *swap_directory_and_link(void *context)
{
	struct race *race = context;

	while (!race->stop)
		if (renameat2(race->world->tree, "volumes/shared/swap", race->world->tree,
			    "volumes/shared/link", RENAME_EXCHANGE) < 0)
			return context;
	return NULL;
}

static void swapped_links_lead_nowhere(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct race race = {.world = world};
	unsigned int found = 0, links = 0;
	uint64_t shared = node_of(fs, "volumes/shared");
	pthread_t thread;
	void *result;

	assert_int_equal(mkdirat(world->tree, "volumes/shared/swap", 0755), 0);
	write_file(world->tree, "volumes/shared/swap/secret", "inside");
	assert_int_equal(symlinkat("../../..", world->tree, "volumes/shared/link"), 0);
	assert_int_equal(pthread_create(&thread, NULL, swap_directory_and_link, &race), 0);
	for (unsigned int i = 0; i < 5000; i++) {
		uint64_t node, inner;
		bool directory;

		assert_int_equal(lookup(fs, shared, "swap"), 0);
		node = entry_out()->nodeid;
		directory = S_ISDIR(entry_out()->attr.mode);
		if (!directory) {
			links++;
			assert_int_equal(lookup(fs, node, "secret"), -ENOTDIR);
		} else {
			assert_int_equal(lookup(fs, node, "secret"), 0);
			inner = entry_out()->nodeid;
			expect_content(fs, inner, "inside");
			forget(fs, inner, 1);
			found++;
		}
		forget(fs, node, 1);
	}
	race.stop = true;
	pthread_join(thread, &result);
	assert_null(result);
	assert_true(found + links == 5000);
}

/* Serves from several threads at once what one guest with several vCPUs sends. */
static void *hammer(void *context)
{
	struct world *world = context;
	unsigned int failures = 0;
	uint8_t out[4096] = {0};

	for (unsigned int i = 0; i < 2000; i++) {
		struct {
			struct fuse_in_header header;
			union {
				char name[8];
				struct fuse_forget_in forget;
				struct fuse_open_in open;
				struct fuse_release_in release;
				struct fuse_read_in read;
			};
		} in = {.header = {.unique = i, .nodeid = ROOT}};
		struct fuse_entry_out entry;
		struct fuse_open_out opened;

		in.header.opcode = FUSE_LOOKUP;
		strcpy(in.name, "file");
		in.header.len = sizeof(in.header) + 5;
		if (virtio_fs_serve(world->fs, &in, in.header.len, out, sizeof(out)) !=
			sizeof(struct fuse_out_header) + sizeof(entry))
			failures++;
		memcpy(&entry, out + sizeof(struct fuse_out_header), sizeof(entry));
		in.header.nodeid = entry.nodeid;
		in.header.opcode = FUSE_OPEN;
		in.open = (struct fuse_open_in){.flags = O_RDONLY};
		in.header.len = sizeof(in.header) + sizeof(in.open);
		if (virtio_fs_serve(world->fs, &in, in.header.len, out, sizeof(out)) !=
			sizeof(struct fuse_out_header) + sizeof(opened))
			failures++;
		memcpy(&opened, out + sizeof(struct fuse_out_header), sizeof(opened));
		/* The inode goes before its handle. */
		in.header.opcode = FUSE_FORGET;
		in.forget.nlookup = 1;
		in.header.len = sizeof(in.header) + sizeof(in.forget);
		virtio_fs_serve(world->fs, &in, in.header.len, NULL, 0);
		in.header.opcode = FUSE_READ;
		in.read = (struct fuse_read_in){.fh = opened.fh, .size = 100};
		in.header.len = sizeof(in.header) + sizeof(in.read);
		virtio_fs_serve(world->fs, &in, in.header.len, out, sizeof(out));
		in.header.opcode = FUSE_RELEASE;
		in.release = (struct fuse_release_in){.fh = opened.fh};
		in.header.len = sizeof(in.header) + sizeof(in.release);
		virtio_fs_serve(world->fs, &in, in.header.len, out, sizeof(out));
	}
	return failures ? context : NULL;
}

static void threads_share_the_tables(void **state)
{
	struct world *world = *state;
	pthread_t threads[4];
	void *result;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, world), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	assert_int_equal(statistics(world->fs).inodes, 1);
	assert_int_equal(statistics(world->fs).handles, 0);
}

/* Ends and begins the session under the feet of the others. */
static void *renegotiate(void *context)
{
	struct race *race = context;
	struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} in = {
		.header = {.len = sizeof(in), .opcode = FUSE_INIT},
		.init = {.major = 7, .minor = 41, .flags = UINT32_MAX},
	};
	uint8_t out[256];

	while (!race->stop)
		if (virtio_fs_serve(race->world->fs, &in, sizeof(in), out, sizeof(out)) <= 0)
			return context;
	return NULL;
}

static void sessions_end_while_requests_run(void **state)
{
	struct world *world = *state;
	struct race race = {.world = world};
	pthread_t threads[3], other;
	void *result;

	assert_int_equal(pthread_create(&other, NULL, renegotiate, &race), 0);
	/* They may fail in any way but one. */
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, world), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], &result);
	race.stop = true;
	pthread_join(other, &result);
	assert_null(result);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(statistics(world->fs).inodes, 1);
	assert_int_equal(statistics(world->fs).handles, 0);
	expect_content(world->fs, node_of(world->fs, "file"), "hello");
}

/* ---- options */

static void options_are_checked(void **state)
{
	struct world *world = *state;
	static const struct guest_memory no_memory;
	struct virtio_fs_export export = {"volumes/shared", VIRTIO_FS_SHARED};
	struct virtio_fs_options options = {
		.tag = "0123456789012345678901234567890123456",
		.tree_fd = world->tree,
		.exports = &export,
		.export_count = 1,
		.inodes_max = 16,
		.handles_max = 16,
	};
	struct virtio_fs *fs;
	struct error err;
	int fd;

	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -EINVAL);
	options.tag = "";
	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -EINVAL);
	options.tag = "pod";
	export.path = "volumes/missing";
	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -ENOENT);
	assert_non_null(strstr(err.message, "volumes/missing"));
	export.path = "../secret";
	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -EXDEV);
	assert_int_equal(symlinkat("volumes", world->tree, "link"), 0);
	export.path = "link/shared";
	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -ELOOP);
	fd = openat(world->tree, "file", O_RDONLY | O_CLOEXEC);
	export.path = "volumes/shared";
	options.tree_fd = fd;
	assert_int_equal(virtio_fs_create(&no_memory, &options, &fs, &err), -EINVAL);
	close(fd);
}

/* ---- with a mount of our own */

static void mount_points_are_announced_and_crossed(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_mknod_in in = {.mode = S_IFCHR | 0666, .rdev = 0x103};
	struct fuse_rename_in rename_in = {0};
	char path[128];
	uint64_t node, root_ino;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* needs root for a mount namespace */
	snprintf(path, sizeof(path), "%s/tree/directory", world->path);
	assert_int_equal(mount("tmpfs", path, "tmpfs", MS_NODEV | MS_NOSUID, NULL), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_file(fd, "inner", "mounted");
	/* A tree opened before the namespace was left would not see it: serve the one here. */
	virtio_fs_free(world->fs);
	close(world->tree);
	snprintf(path, sizeof(path), "%s/tree", world->path);
	world->tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world_serve(world, 4096, 16);
	fs = world->fs;
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);

	assert_int_equal(lookup(fs, ROOT, "directory"), 0);
	node = entry_out()->nodeid;
	root_ino = entry_out()->attr.ino;
	assert_int_equal(entry_out()->attr.flags, FUSE_ATTR_SUBMOUNT);
	assert_int_equal(lookup(fs, node, "inner"), 0);
	assert_int_equal(entry_out()->attr.flags, 0);
	assert_true(root_ino != 0);
	expect_content(fs, entry_out()->nodeid, "mounted");
	assert_int_equal(lookup(fs, ROOT, "volumes"), 0);
	assert_int_equal(entry_out()->attr.flags, 0);
	/* A mount with nodev takes device nodes, but no whiteouts. */
	assert_int_equal(call(fs, FUSE_MKNOD, node, PART(in), TEXT("null"), NOTHING), 0);
	assert_int_equal(entry_out()->attr.rdev, 0x103);
	assert_true(S_ISCHR(entry_out()->attr.mode));
	in.rdev = 0;
	assert_int_equal(call(fs, FUSE_MKNOD, node, PART(in), TEXT("white"), NOTHING), -EPERM);
	rename_in.newdir = node;
	assert_int_equal(
		call(fs, FUSE_RENAME, ROOT, PART(rename_in), TEXT("file"), TEXT("x")), -EXDEV);
	assert_int_equal(call(fs, FUSE_RMDIR, ROOT, TEXT("directory"), NOTHING, NOTHING), -EBUSY);
	/* A driver that does not know submounts is not told. */
	assert_int_equal(
		init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX & ~(uint32_t)FUSE_SUBMOUNTS), 0);
	assert_int_equal(lookup(fs, ROOT, "directory"), 0);
	assert_int_equal(entry_out()->attr.flags, 0);
	close(fd);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	snprintf(path, sizeof(path), "%s/tree/directory", world->path);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nothing_is_served_before_init, world_begin_unmounted, world_end),
		cmocka_unit_test_setup_teardown(init_grants_only_what_was_offered_and_is_served,
			world_begin_unmounted, world_end),
		cmocka_unit_test_setup_teardown(read_ahead_is_bounded_by_the_device_and_the_driver,
			world_begin_unmounted, world_end),
		WORLD_TEST(second_init_and_destroy_forget_everything),
		WORLD_TEST(unknown_operations_are_not_implemented),
		WORLD_TEST(broken_headers_break_the_device),
		WORLD_TEST(short_requests_and_short_replies_are_refused_or_fit),
		WORLD_TEST(names_are_one_component),
		WORLD_TEST(links_are_never_followed),
		WORLD_TEST(forgotten_and_invented_ids_are_stale),
		WORLD_TEST(forgetting_too_much_forgets_once),
		WORLD_TEST(handles_are_of_their_kind_and_inode),
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
		WORLD_TEST(read_only_volumes_cannot_be_changed_by_any_operation),
		WORLD_TEST(names_do_not_cross_policies),
		WORLD_TEST(the_stricter_policy_of_a_hard_link_holds),
		WORLD_TEST(changes_by_others_are_seen_in_shared_volumes),
		WORLD_TEST(extended_attributes_follow_the_policy),
		WORLD_TEST(files_belong_to_who_made_them),
		WORLD_TEST(setuid_bits_go_when_the_guest_says_so),
		WORLD_TEST(directories_list_every_name_once),
		WORLD_TEST(directories_list_what_stays_while_entries_go),
		WORLD_TEST(directory_requests_are_checked),
		cmocka_unit_test_setup_teardown(tables_are_bounded, world_begin_narrow, world_end),
		WORLD_TEST(swapped_links_lead_nowhere),
		WORLD_TEST(threads_share_the_tables),
		WORLD_TEST(sessions_end_while_requests_run),
		WORLD_TEST(options_are_checked),
		WORLD_TEST(mount_points_are_announced_and_crossed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
