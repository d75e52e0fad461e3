// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest that takes and never gives back can make the file server hold (the table in
 * docs/security.md), and that the server goes on for it and afterwards.
 */
#include "allocated.h"
#include "fuse_client.h"
#include "turns.h"

#include <sys/resource.h>
#include <sys/xattr.h>

/* Beside what is counted: of the request being served, and of the test. */
#define SLACK_FDS   16
#define SLACK_BYTES (512u << 10)

/* Of the table in docs/security.md: memory of this process for each. */
#define INODE_BYTES  256u
#define HANDLE_BYTES 256u
#define BUFFERS      (1024u * 4096u)

#define POD_HANDLES 65536u

static size_t fds_before, bytes_before;

static int world_begin(void **state, size_t inodes_max, size_t handles_max)
{
	assert_int_equal(world_begin_mounted(state, inodes_max, handles_max), 0);
	fds_before = open_fds();
	bytes_before = allocated_bytes();
	return 0;
}

static int world_begin_small(void **state)
{
	return world_begin(state, 1000, 200);
}

static int world_begin_wide(void **state)
{
	return world_begin(state, 4096, turns(POD_HANDLES));
}

/* With no more than so many inodes and handles, wherever their fds and memory are. */
static void expect_within(size_t inodes, size_t handles, size_t more_bytes)
{
	size_t fds = open_fds() - fds_before;
	size_t bytes = allocated_bytes() - bytes_before;
	size_t bytes_max = inodes * INODE_BYTES + handles * HANDLE_BYTES + SLACK_BYTES + more_bytes;

	if (fds > inodes + handles + SLACK_FDS || bytes > bytes_max)
		fail_msg("%zu fds and %zu bytes are held, for %zu inodes and %zu handles", fds,
			bytes, inodes, handles);
}

static void make_files(struct world *world, const char *directory, unsigned int count)
{
	char name[64];

	assert_int_equal(mkdirat(world->tree, directory, 0755), 0);
	for (unsigned int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/file-%u", directory, i);
		assert_int_equal(mknodat(world->tree, name, S_IFREG | 0644, 0), 0);
	}
}

/* A lookup without ceremony: there are many. 0 or -errno; *ret_node is what it gave. */
static int lookup_fast(
	struct virtio_fs *fs, uint64_t parent, unsigned int number, uint64_t *ret_node)
{
	struct {
		struct fuse_in_header header;
		char name[32];
	} in = {.header = {.opcode = FUSE_LOOKUP, .nodeid = parent, .unique = 1}};
	struct {
		struct fuse_out_header header;
		struct fuse_entry_out entry;
	} out;
	int length = snprintf(in.name, sizeof(in.name), "file-%u", number) + 1;

	in.header.len = (uint32_t)(sizeof(in.header) + (size_t)length);
	assert_true(virtio_fs_serve(fs, &in, in.header.len, &out, sizeof(out)) >=
		(ssize_t)sizeof(out.header));
	*ret_node = out.header.error ? 0 : out.entry.nodeid;
	return out.header.error;
}

/* FORGET of everything that was ever looked up: ids of the present generations. */
static void forget_all(struct virtio_fs *fs, const uint64_t *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		forget(fs, nodes[i], UINT64_MAX);
}

static void a_million_lookups_hold_no_more_than_the_bound(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	static uint64_t nodes[3000];
	size_t known = 0, refused = 0;
	uint64_t directory, file = node_of(fs, "file"), handle;

	make_files(world, "many", 3000);
	directory = node_of(fs, "many");
	for (unsigned int i = 0; i < turns(1000000); i++) {
		uint64_t node;
		int r = lookup_fast(fs, directory, i % 3000, &node);

		if (i >= 3000) {
			/* Who is known stays known under the same id, who is not is refused again. */
			assert_int_equal(r, nodes[i % 3000] ? 0 : -ENFILE);
			assert_int_equal(node, nodes[i % 3000]);
			continue;
		}
		nodes[i] = node;
		known += r == 0;
		refused += r == -ENFILE;
	}
	/* The root, "file" and "many" are known too. */
	assert_int_equal(known, 1000 - 3);
	assert_int_equal(refused, 3000 - known);
	assert_int_equal(statistics(fs).inodes, 1000);
	expect_within(1000, 0, 0);
	/* What the guest has goes on. */
	assert_int_equal(open_node(fs, file, O_RDONLY, &handle), 0);
	assert_int_equal(read_node(fs, file, handle, 0, 10), 0);
	assert_int_equal(reply.length, 5);
	assert_int_equal(release(fs, file, handle), 0);
	/* One given back is one to have. */
	forget(fs, nodes[0], UINT64_MAX);
	assert_int_equal(lookup_fast(fs, directory, 2999, &nodes[0]), 0);
	forget_all(fs, nodes, known);
	assert_int_equal(statistics(fs).inodes, 3);
	expect_within(3, 0, 0);
	assert_int_equal(lookup_fast(fs, directory, 1500, &nodes[0]), 0);
	assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	expect_within(1, 0, 0);
}

/* The guest forgets a file that it has open: two fds, and neither may be lost from sight. */
static void files_open_and_forgotten_count(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	static uint64_t handles[3000], nodes[3000];
	uint64_t directory;
	unsigned int opened = 0;

	make_files(world, "many", 3000);
	directory = node_of(fs, "many");
	for (unsigned int i = 0; i < 3000; i++) {
		if (lookup_fast(fs, directory, i, &nodes[opened]) < 0)
			continue;
		if (opened < 100 && open_node(fs, nodes[opened], O_RDONLY, &handles[opened]) == 0) {
			forget(fs, nodes[opened], 1);
			opened++;
		}
	}
	assert_int_equal(opened, 100);
	/* A hundred are held by their handles alone. */
	assert_int_equal(statistics(fs).inodes, 1000 - 100);
	expect_within(1000, 200, 0);
	assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	expect_within(1, 0, 0);
}

static void a_hundred_thousand_opens_hold_no_more_than_the_bound(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file"), first, handle;
	struct fuse_open_in in = {.flags = O_RDWR};
	unsigned int opened = 1, refused = 0;

	assert_int_equal(open_node(fs, node, O_RDWR, &first), 0);
	for (unsigned int i = 1; i < turns(100000); i++) {
		int r = call_room(fs, FUSE_OPEN, node, PART(in), NOTHING, NOTHING, 64);

		opened += r == 0;
		refused += r == -ENFILE;
	}
	/* Fewer where the host's limit on open files is low. */
	assert_true(opened <= turns(POD_HANDLES));
	assert_int_equal(refused, turns(100000) - opened);
	assert_int_equal(statistics(fs).handles, opened);
	expect_within(2, opened, 0);
	/* The first one still reads, another file's attributes are told, a directory cannot be opened. */
	assert_int_equal(read_node(fs, node, first, 0, 10), 0);
	assert_int_equal(reply.length, 5);
	assert_int_equal(getattr(fs, node_of(fs, "directory/inner"), NULL), 0);
	assert_int_equal(call(fs, FUSE_OPENDIR, ROOT, PART(in), NOTHING, NOTHING), -ENFILE);
	assert_int_equal(create(fs, ROOT, "new", O_RDWR, 0644, &node, &handle), -ENFILE);
	node = node_of(fs, "file");
	assert_int_equal(release(fs, node, first), 0);
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	expect_within(1, 0, 2u << 20); /* the table of ids stays */
}

/* Every directory is half read, so that the server would keep what comes next. */
static void a_flood_of_directories_holds_few_buffers(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_read_in in = {.size = 200};
	struct fuse_open_in open_in = {.flags = O_RDONLY};
	static uint64_t handles[20000];
	uint64_t directory, offset;
	unsigned int names = 0;
	size_t count;

	make_files(world, "many", 60);
	directory = node_of(fs, "many");
	for (count = 0; count < turns(ARRAY_SIZE(handles)); count++) {
		/* The host's limit on open files can be low. */
		if (call_room(fs, FUSE_OPENDIR, directory, PART(open_in), NOTHING, NOTHING, 64) < 0)
			break;
		in.fh = handles[count] = ((const struct fuse_open_out *)reply.data)->fh;
		assert_int_equal(
			call_room(fs, FUSE_READDIR, directory, PART(in), NOTHING, NOTHING, 216), 0);
		assert_true(reply.length > 0);
	}
	assert_true(count > turns(2000));
	expect_within(2, count, BUFFERS);
	/* The last one, without a buffer, and the first one, with, list every name once. */
	for (int last = 0; last < 2; last++) {
		in.fh = handles[last ? count - 1 : 0];
		in.offset = 0;
		do {
			offset = in.offset;
			assert_int_equal(call_room(fs, FUSE_READDIR, directory, PART(in), NOTHING,
						 NOTHING, 216),
				0);
			for (size_t next = 0; next < reply.length;) {
				const struct fuse_dirent *entry = (const void *)(reply.data + next);

				in.offset = entry->off;
				names++;
				next += FUSE_DIRENT_SIZE(entry);
			}
		} while (in.offset != offset);
	}
	assert_int_equal(names, 2 * 62);
	assert_int_equal(call(fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	expect_within(1, 0, 1u << 20);
}

/* However much room the guest has for an answer, ours is that of one buffer. */
static void giant_answers_take_no_memory_of_ours(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	size_t room = 64ull << 20;
	_cleanup_free_ uint8_t *out = malloc(room);
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} in = {.header = {.len = sizeof(in), .unique = 1}};
	static const uint32_t opcodes[] = {FUSE_READDIR, FUSE_READDIRPLUS};

	make_files(world, "many", 900);
	in.header.nodeid = node_of(fs, "many");
	in.read = (struct fuse_read_in){
		.fh = open_directory(fs, in.header.nodeid),
		.size = UINT32_MAX,
	};
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		size_t before = allocated_bytes();
		ssize_t length;

		in.header.opcode = opcodes[i];
		length = virtio_fs_serve(fs, &in, sizeof(in), out, room);
		assert_true(length > 900 * 24 && length < 900 * 200);
		/* The buffer, and inodes where they were asked for. */
		assert_true(allocated_bytes() - before < 4096 + 16 + (i ? 900 * INODE_BYTES : 0));
	}
	expect_within(903, 1, room + 4096);
}

static void huge_attributes_are_refused_before_they_are_copied(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file");
	static char value[XATTR_SIZE_MAX + 1];
	struct {
		uint32_t size, flags;
	} set = {0};
	struct fuse_getxattr_in get = {.size = UINT32_MAX};
	static const uint32_t sizes[] = {XATTR_SIZE_MAX + 1, 1u << 20, 1u << 31, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		set.size = sizes[i];
		assert_int_equal(call(fs, FUSE_SETXATTR, node, PART(set), TEXT("user.a"),
					 (struct part){value, sizeof(value)}),
			-E2BIG);
	}
	for (unsigned int i = 0; i < turns(1000); i++) {
		assert_int_equal(call(fs, FUSE_GETXATTR, node, PART(get), TEXT("user.a"), NOTHING),
			-ENODATA);
		assert_int_equal(call(fs, FUSE_LISTXATTR, node, PART(get), NOTHING, NOTHING), 0);
		/* The file system's own word on how much it takes. */
		set.size = XATTR_SIZE_MAX;
		call(fs, FUSE_SETXATTR, node, PART(set), TEXT("user.a"),
			(struct part){value, XATTR_SIZE_MAX});
		call(fs, FUSE_REMOVEXATTR, node, TEXT("user.a"), NOTHING, NOTHING);
	}
	expect_within(2, 0, 0);
}

/* Deeper than any path the host's kernel takes: names are looked up one by one. */
static void directories_can_be_as_deep_as_there_are_inodes(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_mkdir_in in = {.mode = 0755};
	static uint64_t nodes[1000];
	uint64_t handle, node;
	size_t depth = 0;
	char name[251];

	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	nodes[0] = ROOT;
	while (depth < 990) {
		assert_int_equal(
			call(fs, FUSE_MKDIR, nodes[depth], PART(in), TEXT(name), NOTHING), 0);
		nodes[++depth] = entry_out()->nodeid;
	}
	assert_int_equal(create(fs, nodes[depth], "file", O_RDWR, 0644, &node, &handle), 0);
	assert_int_equal(write_node(fs, node, handle, 0, "deep", 0), 0);
	expect_content(fs, node, "deep");
	expect_within(993, 1, 0);
	assert_int_equal(call(fs, FUSE_UNLINK, nodes[depth], TEXT("file"), NOTHING, NOTHING), 0);
	for (; depth > 0; depth--) {
		assert_int_equal(
			call(fs, FUSE_RMDIR, nodes[depth - 1], TEXT(name), NOTHING, NOTHING), 0);
		forget(fs, nodes[depth], 1);
	}
	assert_int_equal(release(fs, node, handle), 0);
	forget(fs, node, 1);
	expect_within(1, 0, 0);
}

/* The host has no fds to give: everything that needs one fails, and nothing else does. */
static void a_host_without_fds_is_survived(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file"), inner, handle, other;
	struct fuse_open_in open_in = {.flags = O_RDONLY};
	struct rlimit before, none = {0};

	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(lookup(fs, ROOT, "directory"), -EMFILE);
		assert_int_equal(open_node(fs, node, O_RDONLY, &other), -EMFILE);
		assert_int_equal(
			call(fs, FUSE_OPENDIR, ROOT, PART(open_in), NOTHING, NOTHING), -EMFILE);
		assert_int_equal(create(fs, ROOT, "new", O_RDWR, 0644, &inner, &other), -EMFILE);
		assert_int_equal(
			setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 5}),
			-EMFILE);
	}
	assert_int_equal(getattr(fs, node, NULL), 0);
	assert_int_equal(read_node(fs, node, handle, 0, 10), 0);
	assert_int_equal(write_node(fs, node, handle, 0, "HELLO", 0), 0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0600}), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(release(fs, node, handle), 0);
	expect_content(fs, node, "HELLO");
	node_of(fs, "directory/inner");
	expect_within(5, 0, 0);
}

/* RLIMIT_FSIZE, of a person or a jail: beyond it the kernel sends a signal that ends a process. */
static void a_limit_on_file_sizes_is_an_error_of_the_request(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), handle;
	struct fuse_fallocate_in allocate = {.offset = 1u << 20, .length = 4096};
	struct rlimit before, low = {.rlim_cur = 65536};

	assert_int_equal(open_node(fs, node, O_RDWR, &handle), 0);
	allocate.fh = handle;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	low.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(write_node(fs, node, handle, 1u << 20, "x", 0), -EFBIG);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 1u << 20}),
		-EFBIG);
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), -EFBIG);
	assert_int_equal(write_node(fs, node, handle, 1000, "x", 0), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(write_node(fs, node, handle, 1u << 20, "x", 0), 0);
}

#define SMALL(name) cmocka_unit_test_setup_teardown(name, world_begin_small, world_end)
#define WIDE(name)  cmocka_unit_test_setup_teardown(name, world_begin_wide, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SMALL(a_million_lookups_hold_no_more_than_the_bound),
		SMALL(files_open_and_forgotten_count),
		WIDE(a_hundred_thousand_opens_hold_no_more_than_the_bound),
		WIDE(a_flood_of_directories_holds_few_buffers),
		SMALL(giant_answers_take_no_memory_of_ours),
		SMALL(huge_attributes_are_refused_before_they_are_copied),
		SMALL(directories_can_be_as_deep_as_there_are_inodes),
		SMALL(a_host_without_fds_is_survived),
		SMALL(a_limit_on_file_sizes_is_an_error_of_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
