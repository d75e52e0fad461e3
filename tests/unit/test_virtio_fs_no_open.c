// SPDX-License-Identifier: Apache-2.0
/* Sessions in which the guest opens files without asking: no subtree of the tree is shared. */
#include "fuse_client.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>

static int world_begin_with(void **state, size_t handles_max, uint32_t features)
{
	struct world *world = calloc(1, sizeof(*world));

	world_make(world);
	world->alone = true;
	world_serve(world, 4096, handles_max);
	caller_uid = geteuid();
	caller_gid = getegid();
	*state = world;
	return init_with(world->fs, FUSE_KERNEL_VERSION, 41, features);
}

static int world_begin(void **state)
{
	return world_begin_with(state, 1024, UINT32_MAX);
}

static int world_begin_narrow(void **state)
{
	return world_begin_with(state, 8, UINT32_MAX);
}

static int world_begin_old_driver(void **state)
{
	return world_begin_with(state, 1024, UINT32_MAX & ~(uint32_t)FUSE_NO_OPEN_SUPPORT);
}

/* What is in a file, asked for without an OPEN. */
static void expect_data(struct virtio_fs *fs, uint64_t node, const char *text)
{
	assert_int_equal(read_node(fs, node, 0, 0, 4096), 0);
	assert_int_equal(reply.length, strlen(text));
	assert_memory_equal(reply.data, text, strlen(text));
}

static void open_and_flush_are_not_implemented(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_flush_in flush_in = {0};
	uint64_t node = node_of(fs, "file"), handle;
	uint32_t flags;

	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	flags = init_out()->flags;
	/* The guest has to truncate by SETATTR what it does not open. */
	assert_false(flags & FUSE_ATOMIC_O_TRUNC);
	assert_true(flags & FUSE_NO_OPEN_SUPPORT && flags & FUSE_EXPLICIT_INVAL_DATA);
	node = node_of(fs, "file");
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), -ENOSYS);
	assert_int_equal(open_node(fs, node, O_RDWR | O_TRUNC, &handle), -ENOSYS);
	assert_int_equal(call(fs, FUSE_FLUSH, node, PART(flush_in), NOTHING, NOTHING), -ENOSYS);
	expect_data(fs, node, "hello");
	assert_int_equal(release(fs, node, 0), 0);
	assert_int_equal(release(fs, node, 1), -EBADF);
	/* Directories are opened as ever. */
	open_directory(fs, node_of(fs, "directory"));
	assert_int_equal(statistics(fs).handles, 1);
}

static void drivers_that_cannot_do_without_get_open(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	uint64_t node = node_of(fs, "file"), handle;

	expect_content(fs, node, "hello");
	assert_int_equal(read_node(fs, node, 0, 0, 10), -EBADF);
	assert_int_equal(open_node(fs, node, O_RDONLY, &handle), 0);
	assert_int_equal(statistics(fs).handles, 1);
	assert_int_equal(statistics(fs).data, 0);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41,
				 UINT32_MAX & ~(uint32_t)FUSE_NO_OPEN_SUPPORT),
		0);
	assert_true(init_out()->flags & FUSE_ATOMIC_O_TRUNC);
}

static void files_are_made_written_and_read_without_a_handle(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	struct fuse_fallocate_in allocate = {.offset = 10, .length = 90};
	struct fuse_lseek_in seek = {.whence = SEEK_HOLE};
	struct fuse_copy_file_range_in copy = {.len = 4};
	struct fuse_fsync_in fsync_in = {0};
	uint64_t node, handle, other;
	struct stat st;

	/* No RELEASE will come: there is no handle, whatever the flags are. */
	assert_int_equal(create(fs, ROOT, "new", O_WRONLY | O_EXCL, 0640, &node, &handle), 0);
	assert_int_equal(handle, 0);
	assert_int_equal(statistics(fs).handles, 0);
	assert_int_equal(write_node(fs, node, 0, 0, "0123456789", 0), 0);
	expect_data(fs, node, "0123456789");
	assert_int_equal(write_node(fs, node, 0, 4, "abc", 0), 0);
	expect_data(fs, node, "0123abc789");
	assert_int_equal(call(fs, FUSE_FSYNC, node, PART(fsync_in), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_FALLOCATE, node, PART(allocate), NOTHING, NOTHING), 0);
	assert_int_equal(call(fs, FUSE_LSEEK, node, PART(seek), NOTHING, NOTHING), 0);
	assert_int_equal(
		setattr(fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 3}), 0);
	expect_data(fs, node, "012");
	assert_int_equal(
		setattr(fs, node,
			(struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .size = 2}),
		0);
	expect_data(fs, node, "01");
	assert_int_equal(setattr(fs, node,
				 (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = 7}),
		-EBADF);
	other = node_of(fs, "file");
	copy.nodeid_out = node;
	assert_int_equal(call(fs, FUSE_COPY_FILE_RANGE, other, PART(copy), NOTHING, NOTHING), 0);
	expect_data(fs, node, "hell");
	copy.nodeid_out = 12345;
	assert_int_equal(
		call(fs, FUSE_COPY_FILE_RANGE, other, PART(copy), NOTHING, NOTHING), -EBADF);
	/* A created file that only appends is not what later writes go through. */
	assert_int_equal(create(fs, ROOT, "log", O_RDWR | O_APPEND, 0640, &node, &handle), 0);
	assert_int_equal(write_node(fs, node, 0, 0, "first", 0), 0);
	assert_int_equal(write_node(fs, node, 0, 0, "F", 0), 0);
	expect_data(fs, node, "First");
	/* A name that exists is opened, and O_TRUNC holds, since the guest takes the file for new. */
	assert_int_equal(create(fs, ROOT, "log", O_RDWR | O_TRUNC, 0600, &node, &handle), 0);
	assert_int_equal(entry_out()->attr.size, 0);
	expect_data(fs, node, "");
	assert_int_equal(fstatat(world->tree, "log", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(statistics(fs).handles, 0);
	assert_int_equal(statistics(fs).data, 3);
	forget(fs, node, 99);
	assert_int_equal(statistics(fs).data, 2);
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(statistics(fs).data, 0);
}

static void sync_flags_travel_with_each_write(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	static const uint32_t flags[] = {0, O_DSYNC, O_SYNC, UINT32_MAX};
	uint64_t node = node_of(fs, "file");

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct fuse_write_in in = {.size = 3, .offset = i, .flags = flags[i]};

		assert_int_equal(
			call(fs, FUSE_WRITE, node, PART(in), (struct part){"abc", 3}, NOTHING), 0);
	}
	/* O_APPEND among them: the offset is the guest's. */
	expect_data(fs, node, "aaaabc");
}

static void only_regular_files_have_data(void **state)
{
	struct virtio_fs *fs = ((struct world *)*state)->fs;
	struct fuse_mknod_in in = {.mode = S_IFIFO | 0666};
	struct fuse_write_in write_in = {.size = 1};
	uint64_t node;

	assert_int_equal(call(fs, FUSE_MKNOD, ROOT, PART(in), TEXT("fifo"), NOTHING), 0);
	node = entry_out()->nodeid;
	assert_int_equal(read_node(fs, node, 0, 0, 10), -EINVAL);
	assert_int_equal(call(fs, FUSE_WRITE, node, PART(write_in), TEXT(""), NOTHING), -EINVAL);
	assert_int_equal(call(fs, FUSE_SYMLINK, ROOT, TEXT("link"), TEXT("file"), NOTHING), 0);
	node = entry_out()->nodeid;
	assert_int_equal(read_node(fs, node, 0, 0, 10), -EINVAL);
	assert_int_equal(call(fs, FUSE_WRITE, node, PART(write_in), TEXT(""), NOTHING), -EINVAL);
	assert_int_equal(read_node(fs, ROOT, 0, 0, 10), -EISDIR);
	assert_int_equal(read_node(fs, 999, 0, 0, 10), -ESTALE);
	assert_int_equal(read_node(fs, node_of(fs, "file"), 1, 0, 10), -EBADF);
	assert_int_equal(statistics(fs).data, 0);
}

static void deleted_files_go_on(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t node = node_of(fs, "file"), again;

	assert_int_equal(call(fs, FUSE_UNLINK, ROOT, TEXT("file"), NOTHING, NOTHING), 0);
	expect_data(fs, node, "hello");
	assert_int_equal(write_node(fs, node, 0, 5, " world", 0), 0);
	write_file(world->tree, "file", "new");
	again = node_of(fs, "file");
	expect_data(fs, again, "new");
	expect_data(fs, node, "hello world");
}

static void the_oldest_files_are_closed_when_there_are_many(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs = world->fs;
	uint64_t nodes[20];
	char name[16];

	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		write_file(world->tree, name, name);
		nodes[i] = node_of(fs, name);
	}
	for (unsigned int round = 0; round < 3; round++)
		for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++) {
			snprintf(name, sizeof(name), "file-%u", i);
			expect_data(fs, nodes[i], name);
			assert_true(statistics(fs).data <= 4);
			/* One of them is used all the time. */
			expect_data(fs, nodes[0], "file-0");
		}
	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++)
		assert_int_equal(write_node(fs, nodes[i], 0, 0, "F", 0), 0);
	assert_int_equal(statistics(fs).data, 4);
	expect_data(fs, nodes[0], "File-0");
}

static const struct fuse_open_out *created_out(void)
{
	return (const struct fuse_open_out *)(reply.data + sizeof(struct fuse_entry_out));
}

static void pages_of_a_file_that_was_there_are_dropped_at_create(void **state)
{
	struct world *world = *state;
	uint64_t node, handle;

	assert_int_equal(create(world->fs, ROOT, "new", O_RDWR, 0644, &node, &handle), 0);
	assert_int_equal(created_out()->open_flags, FOPEN_KEEP_CACHE | FOPEN_NOFLUSH);
	assert_int_equal(
		create(world->fs, ROOT, "file", O_RDWR | O_TRUNC, 0644, &node, &handle), 0);
	assert_int_equal(created_out()->open_flags, FOPEN_NOFLUSH);
}

/* A read-only layer of an image, and what the pod writes above it. */
static void files_are_read_as_they_were_written_above_an_image(void **state)
{
	struct world *world = *state;
	struct virtio_fs *fs;
	char options[512], path[128];
	uint64_t node;

	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* needs root for a mount namespace */
	snprintf(path, sizeof(path), "%s/tree", world->path);
	if (mount("tmpfs", path, "tmpfs", 0, NULL) < 0)
		skip();
	virtio_fs_free(world->fs);
	world->fs = NULL;
	close(world->tree);
	world->tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(
			mkdirat(world->tree, (const char *[]){"lower", "upper", "work", "root"}[i],
				0755),
			0);
	write_file(world->tree, "lower/file", "from the image");
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		path, path, path);
	strcat(path, "/root");
	if (mount("overlay", path, "overlay", 0, options) < 0)
		skip();
	world_serve(world, 4096, 64);
	fs = world->fs;
	assert_int_equal(init_with(fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	node = node_of(fs, "root/file");
	expect_data(fs, node, "from the image");
	assert_int_equal(write_node(fs, node, 0, 0, "FROM", 0), 0);
	expect_data(fs, node, "FROM the image");
	assert_int_equal(statistics(fs).data, 1);
	assert_int_equal(node_of(fs, "root/file"), node);
	virtio_fs_free(fs);
	world_serve(world, 4096, 64);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	close(world->tree);
	snprintf(path, sizeof(path), "%s/tree", world->path);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	world->tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

struct hammer {
	struct virtio_fs *fs;
	uint64_t nodes[8];
	atomic_uint failures;
};

/* Reads and writes files whose fds come and go, as one vCPU of several. */
static void *hammer(void *context)
{
	struct hammer *hammer = context;
	uint8_t out[4096] = {0};

	for (unsigned int i = 0; i < 2000; i++) {
		struct {
			struct fuse_in_header header;
			union {
				struct fuse_read_in read;
				struct {
					struct fuse_write_in write;
					char byte;
				};
			};
		} in = {.header = {.unique = i, .nodeid = hammer->nodes[i % 8]}};
		struct fuse_out_header header;

		if (i % 7 == 0) {
			in.header.opcode = FUSE_WRITE;
			in.write = (struct fuse_write_in){.size = 1};
			in.byte = 'F';
			in.header.len = sizeof(in.header) + sizeof(in.write) + 1;
		} else {
			in.header.opcode = FUSE_READ;
			in.read = (struct fuse_read_in){.size = 100};
			in.header.len = sizeof(in.header) + sizeof(in.read);
		}
		if (virtio_fs_serve(hammer->fs, &in, in.header.len, out, sizeof(out)) < 16)
			hammer->failures++;
		memcpy(&header, out, sizeof(header));
		if (header.error)
			hammer->failures++;
	}
	return NULL;
}

static void threads_share_the_open_files(void **state)
{
	struct world *world = *state;
	struct hammer context = {.fs = world->fs};
	pthread_t threads[4];
	char name[16];

	for (unsigned int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		write_file(world->tree, name, name);
		context.nodes[i] = node_of(world->fs, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &context), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(context.failures, 0);
	assert_int_equal(statistics(world->fs).data, 4);
	for (unsigned int i = 0; i < 8; i++)
		forget(world->fs, context.nodes[i], 1);
	assert_int_equal(statistics(world->fs).data, 0);
}

#define WORLD_TEST(name)  cmocka_unit_test_setup_teardown(name, world_begin, world_end)
#define NARROW_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin_narrow, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(open_and_flush_are_not_implemented),
		cmocka_unit_test_setup_teardown(
			drivers_that_cannot_do_without_get_open, world_begin_old_driver, world_end),
		WORLD_TEST(files_are_made_written_and_read_without_a_handle),
		WORLD_TEST(sync_flags_travel_with_each_write),
		WORLD_TEST(only_regular_files_have_data),
		WORLD_TEST(deleted_files_go_on),
		WORLD_TEST(pages_of_a_file_that_was_there_are_dropped_at_create),
		NARROW_TEST(the_oldest_files_are_closed_when_there_are_many),
		NARROW_TEST(threads_share_the_open_files),
		WORLD_TEST(files_are_read_as_they_were_written_above_an_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
