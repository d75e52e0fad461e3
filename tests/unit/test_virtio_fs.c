// SPDX-License-Identifier: Apache-2.0
/* The session of the file server: negotiation, requests, ids, threads, options. */
#include "fuse_client.h"
#include "turns.h"

#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>

/* A world whose file server has been mounted. */
static int world_begin(void **state)
{
	return world_begin_mounted(state, 4096, 1024);
}

static int world_begin_unmounted(void **state)
{
	return world_begin_served(state, 4096, 1024);
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
	for (unsigned int i = 0; i < turns(5000); i++) {
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
	assert_true(found + links == turns(5000));
}

/* Serves from several threads at once what one guest with several vCPUs sends. */
static void *hammer(void *context)
{
	struct world *world = context;
	unsigned int failures = 0;
	uint8_t out[4096] = {0};

	for (unsigned int i = 0; i < turns(2000); i++) {
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

static uint64_t number_of(struct virtio_fs *fs, const char *name)
{
	assert_int_equal(lookup(fs, ROOT, name), 0);
	assert_int_equal(entry_out()->attr.flags, 0);
	return entry_out()->attr.ino;
}

static void mounts_of_a_flat_tree_are_not_announced_and_may_go_again(void **state)
{
	struct world *world = *state;
	char paths[2][128];

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* needs root for a mount namespace */
	snprintf(paths[0], sizeof(paths[0]), "%s/tree/directory", world->path);
	snprintf(paths[1], sizeof(paths[1]), "%s/tree/volumes", world->path);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_int_equal(mount("tmpfs", paths[i], "tmpfs", MS_NODEV | MS_NOSUID, NULL), 0);
	virtio_fs_free(world->fs);
	close(world->tree);
	snprintf(paths[1], sizeof(paths[1]), "%s/tree", world->path);
	world->tree = open(paths[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world->alone = world->is_flat = true;
	world_serve(world, 4096, 16);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);

	/* Their roots have the same number on the host. */
	assert_int_not_equal(number_of(world->fs, "directory"), number_of(world->fs, "volumes"));
	assert_int_equal(
		call(world->fs, FUSE_RMDIR, ROOT, TEXT("directory"), NOTHING, NOTHING), -EBUSY);
	assert_int_equal(umount2(paths[0], MNT_DETACH), 0);
	assert_int_equal(unlinkat(world->tree, "directory/inner", 0), 0);
	assert_int_equal(call(world->fs, FUSE_RMDIR, ROOT, TEXT("directory"), NOTHING, NOTHING), 0);
	assert_int_equal(lookup(world->fs, ROOT, "directory"), 0);
	assert_int_equal(entry_out()->nodeid, 0);
	snprintf(paths[1], sizeof(paths[1]), "%s/tree/volumes", world->path);
	assert_int_equal(umount2(paths[1], MNT_DETACH), 0);
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
		WORLD_TEST(swapped_links_lead_nowhere),
		WORLD_TEST(threads_share_the_tables),
		WORLD_TEST(sessions_end_while_requests_run),
		WORLD_TEST(options_are_checked),
		WORLD_TEST(mount_points_are_announced_and_crossed),
		WORLD_TEST(mounts_of_a_flat_tree_are_not_announced_and_may_go_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
