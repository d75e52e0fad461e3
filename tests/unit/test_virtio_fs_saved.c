// SPDX-License-Identifier: Apache-2.0
/* The file server of a parked guest: what is taken up again in another tree, and what is refused. */
#include "fuse_client.h"

static int world_begin_with(void **state, bool alone)
{
	struct world *world = calloc(1, sizeof(*world));

	world_make(world);
	world->alone = alone;
	world_serve(world, 4096, 1024);
	caller_uid = geteuid();
	caller_gid = getegid();
	*state = world;
	return init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX);
}

static int world_begin(void **state)
{
	return world_begin_with(state, true);
}

static int world_begin_shared(void **state)
{
	return world_begin_with(state, false);
}

/* The guest stops here, and goes on with another device for the same tree. */
static void park(struct world *world)
{
	struct saved saved;
	struct error err;

	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	world_serve(world, 4096, 1024);
	if (restore(world->fs, saved.data, saved.length, &err) < 0)
		fail_msg("%s", err.message);
	free(saved.data);
}

static void expect_data(struct virtio_fs *fs, uint64_t node, uint64_t handle, const char *text)
{
	assert_int_equal(read_node(fs, node, handle, 0, 4096), 0);
	assert_int_equal(reply.length, strlen(text));
	assert_memory_equal(reply.data, text, strlen(text));
}

static void a_fresh_device_is_taken_up(void **state)
{
	struct world *world = *state;

	virtio_fs_free(world->fs);
	world_serve(world, 4096, 1024);
	park(world);
	assert_int_equal(lookup(world->fs, ROOT, "file"), -EIO);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	park(world);
	assert_int_equal(statistics(world->fs).inodes, 1);
	assert_int_equal(read_node(world->fs, node_of(world->fs, "file"), 0, 0, 10), 0);
}

static void inodes_keep_their_ids_and_lookups(void **state)
{
	struct world *world = *state;
	uint64_t inner = node_of(world->fs, "directory/inner"), gone, again;
	uint64_t directory = node_of(world->fs, "directory"), file = node_of(world->fs, "file");

	assert_int_equal(node_of(world->fs, "file"), file);
	assert_int_equal(
		call(world->fs, FUSE_SYMLINK, ROOT, TEXT("link"), TEXT("file"), NOTHING), 0);
	gone = node_of(world->fs, "volumes");
	forget(world->fs, gone, 1);
	expect_data(world->fs, file, 0, "hello");
	park(world);
	assert_int_equal(statistics(world->fs).inodes, 5);
	expect_data(world->fs, inner, 0, "inner");
	expect_data(world->fs, file, 0, "hello");
	assert_int_equal(node_of(world->fs, "directory/inner"), inner);
	assert_int_equal(node_of(world->fs, "file"), file);
	assert_int_equal(getattr(world->fs, gone, NULL), -ESTALE);
	/* A slot that was given back is not given out under an old id. */
	again = node_of(world->fs, "volumes");
	assert_int_not_equal(again, gone);
	assert_int_equal((uint32_t)again, (uint32_t)gone);
	/* Three lookups of the file in all: one is left. */
	forget(world->fs, file, 2);
	assert_int_equal(getattr(world->fs, file, NULL), 0);
	forget(world->fs, file, 1);
	assert_int_equal(getattr(world->fs, file, NULL), -ESTALE);
	/* Two of the directory were its own and two on the way to what is in it. */
	forget(world->fs, directory, 3);
	assert_int_equal(getattr(world->fs, directory, NULL), -ESTALE);
	assert_int_equal(write_node(world->fs, inner, 0, 0, "INNER", 0), 0);
	park(world);
	expect_data(world->fs, inner, 0, "INNER");
}

static void many_inodes_are_taken_up(void **state)
{
	struct world *world = *state;
	uint64_t nodes[300];
	char name[16];

	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		write_file(world->tree, name, name);
		nodes[i] = node_of(world->fs, name);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i += 3)
		forget(world->fs, nodes[i], 1);
	park(world);
	assert_int_equal(statistics(world->fs).inodes, 201);
	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		if (i % 3 == 0)
			assert_int_equal(getattr(world->fs, nodes[i], NULL), -ESTALE);
		else
			expect_data(world->fs, nodes[i], 0, name);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(nodes); i += 3) {
		snprintf(name, sizeof(name), "file-%u", i);
		nodes[i] = node_of(world->fs, name);
		expect_data(world->fs, nodes[i], 0, name);
	}
	assert_int_equal(statistics(world->fs).inodes, 301);
}

static void open_files_and_directories_stay_open(void **state)
{
	struct world *world = *state;
	uint64_t file = node_of(world->fs, "file"),
		 shared = node_of(world->fs, "volumes/shared/file");
	uint64_t fixed = node_of(world->fs, "volumes/fixed"), handles[6];
	struct fuse_read_in read_in = {.size = 4096};
	struct fuse_release_in release_in = {0};

	/* With what Linux adds when a program is executed: O_LARGEFILE and FMODE_EXEC. */
	assert_int_equal(open_node(world->fs, file, O_RDONLY | 0100000 | 0x20, &handles[0]), 0);
	assert_int_equal(open_node(world->fs, file, O_RDWR, &handles[1]), 0);
	assert_int_equal(
		open_node(world->fs, shared, O_WRONLY | O_APPEND | O_TRUNC, &handles[2]), 0);
	assert_int_equal(write_node(world->fs, shared, handles[2], 0, "one ", 0), 0);
	assert_int_equal(open_node(world->fs, file, O_RDONLY, &handles[3]), 0);
	assert_int_equal(release(world->fs, file, handles[3]), 0);
	handles[4] = open_directory(world->fs, fixed);
	park(world);
	assert_int_equal(statistics(world->fs).handles, 4);
	expect_data(world->fs, file, handles[0], "hello");
	assert_int_equal(write_node(world->fs, file, handles[0], 0, "H", 0), -EBADF);
	assert_int_equal(write_node(world->fs, file, handles[1], 0, "H", 0), 0);
	assert_int_equal(write_node(world->fs, shared, handles[2], 0, "two", 0), 0);
	assert_int_equal(read_node(world->fs, shared, handles[2], 0, 10), -EBADF);
	assert_int_equal(read_node(world->fs, file, handles[3], 0, 10), -EBADF);
	assert_int_equal(release(world->fs, shared, handles[2]), 0);
	expect_content(world->fs, shared, "one two");
	read_in.fh = handles[4];
	assert_int_equal(call(world->fs, FUSE_READDIR, fixed, PART(read_in), NOTHING, NOTHING), 0);
	assert_true(reply.length > 4 * FUSE_NAME_OFFSET);
	/* What it read to the end of can be parked again. */
	read_in.offset = ((const struct fuse_dirent *)reply.data)->off;
	assert_int_equal(call(world->fs, FUSE_READDIR, fixed, PART(read_in), NOTHING, NOTHING), 0);
	for (size_t next = 0; next < reply.length;) {
		const struct fuse_dirent *entry = (const void *)(reply.data + next);

		read_in.offset = entry->off;
		next += FUSE_DIRENT_SIZE(entry);
	}
	assert_int_equal(call(world->fs, FUSE_READDIR, fixed, PART(read_in), NOTHING, NOTHING), 0);
	assert_int_equal(reply.length, 0);
	assert_int_equal(open_node(world->fs, file, O_RDONLY, &handles[5]), 0);
	assert_int_not_equal(handles[5], handles[3]);
	park(world);
	expect_data(world->fs, file, handles[1], "Hello");
	release_in.fh = handles[4];
	assert_int_equal(
		call(world->fs, FUSE_RELEASEDIR, fixed, PART(release_in), NOTHING, NOTHING), 0);
	assert_int_equal(statistics(world->fs).handles, 3);
}

static void policies_are_those_of_the_exports(void **state)
{
	struct world *world = *state;
	uint64_t shared = node_of(world->fs, "volumes/shared"), handle;
	uint64_t inner = node_of(world->fs, "volumes/fixed/inner");
	uint64_t fixed = node_of(world->fs, "volumes/fixed/file");
	struct fuse_mkdir_in in = {.mode = 0755};

	park(world);
	assert_int_equal(open_node(world->fs, fixed, O_RDWR, &handle), -EROFS);
	assert_int_equal(
		call(world->fs, FUSE_MKDIR, inner, PART(in), TEXT("new"), NOTHING), -EROFS);
	assert_int_equal(lookup(world->fs, shared, "file"), 0);
	assert_int_equal(entry_out()->entry_valid, 0);
	assert_int_equal(entry_out()->attr_valid, 0);
	assert_int_equal(lookup(world->fs, ROOT, "file"), 0);
	assert_true(entry_out()->entry_valid > 0);
	/* The export itself, which the guest had not asked for. */
	assert_int_equal(lookup(world->fs, node_of(world->fs, "volumes/fixed"), "file"), 0);
	assert_int_equal(entry_out()->nodeid, fixed);
}

static void what_cannot_be_found_again_cannot_be_parked(void **state)
{
	struct world *world = *state;
	struct fuse_read_in in = {.size = 200};
	struct fuse_release_in release_in;
	uint64_t handle, node;
	struct saved saved;
	struct error err;

	node = node_of(world->fs, "file");
	assert_int_equal(call(world->fs, FUSE_UNLINK, ROOT, TEXT("file"), NOTHING, NOTHING), 0);
	assert_int_equal(save(world->fs, &saved, &err), -EBUSY);
	assert_non_null(
		strstr(err.message, "/file (deleted)") ?: strstr(err.message, "file (deleted)"));
	/* Nor when another file has the very name that the kernel tells of it. */
	write_file(world->tree, "file (deleted)", "no");
	assert_int_equal(save(world->fs, &saved, &err), -EBUSY);
	forget(world->fs, node, 1);
	/* A directory in the middle. */
	handle = open_directory(world->fs, ROOT);
	in.fh = handle;
	assert_int_equal(
		call_room(world->fs, FUSE_READDIR, ROOT, PART(in), NOTHING, NOTHING, 80), 0);
	assert_int_equal(save(world->fs, &saved, &err), -EBUSY);
	assert_non_null(strstr(err.message, "directory"));
	release_in = (struct fuse_release_in){.fh = handle};
	assert_int_equal(
		call(world->fs, FUSE_RELEASEDIR, ROOT, PART(release_in), NOTHING, NOTHING), 0);
	/* A file that left the tree. */
	node = node_of(world->fs, "directory/inner");
	assert_int_equal(renameat(world->tree, "directory/inner", world->top, "inner"), 0);
	assert_int_equal(save(world->fs, &saved, &err), -EBUSY);
	assert_int_equal(renameat(world->top, "inner", world->tree, "inner"), 0);
	park(world);
	expect_data(world->fs, node, 0, "inner");
}

/* Saves, changes the world, and expects the restore to fail with words. */
static void expect_refusal(struct world *world, int error, const char *words,
	void (*change)(struct world *world, bool undo))
{
	struct saved saved;
	struct error err;

	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	change(world, false);
	world_serve(world, 4096, 1024);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), error);
	if (!strstr(err.message, words))
		fail_msg("\"%s\" does not say \"%s\"", err.message, words);
	virtio_fs_free(world->fs);
	change(world, true);
	world_serve(world, 4096, 1024);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), 0);
	free(saved.data);
}

static void file_missing(struct world *world, bool undo)
{
	assert_int_equal(renameat(world->tree, undo ? "other" : "file", world->tree,
				 undo ? "file" : "other"),
		0);
}

static void file_is_a_link(struct world *world, bool undo)
{
	if (undo)
		assert_int_equal(unlinkat(world->tree, "file", 0), 0);
	file_missing(world, undo);
	if (!undo)
		assert_int_equal(symlinkat("other", world->tree, "file"), 0);
}

static void directory_is_a_link(struct world *world, bool undo)
{
	if (undo)
		assert_int_equal(unlinkat(world->tree, "directory", 0), 0);
	assert_int_equal(renameat(world->tree, undo ? "moved" : "directory", world->tree,
				 undo ? "directory" : "moved"),
		0);
	if (!undo)
		assert_int_equal(symlinkat("moved", world->tree, "directory"), 0);
}

static void files_are_one(struct world *world, bool undo)
{
	if (!undo) {
		file_missing(world, false);
		assert_int_equal(linkat(world->tree, "directory/inner", world->tree, "file", 0), 0);
		return;
	}
	assert_int_equal(unlinkat(world->tree, "file", 0), 0);
	file_missing(world, true);
}

static void readahead_differs(struct world *world, bool undo)
{
	world->readahead = undo ? 0 : 65536;
}

static void tree_is_shared(struct world *world, bool undo)
{
	world->alone = undo;
}

static void another_tree_is_refused_with_the_reason(void **state)
{
	struct world *world = *state;

	node_of(world->fs, "file");
	node_of(world->fs, "directory/inner");
	expect_refusal(world, -ENOENT, "cannot open file", file_missing);
	expect_refusal(world, -EBADMSG, "file is not the kind of file", file_is_a_link);
	expect_refusal(world, -EBADMSG, "directory is not the kind of file", directory_is_a_link);
	expect_refusal(world, -EBADMSG, "by another name too", files_are_one);
	expect_refusal(world, -EBADMSG, "another kind of file server", readahead_differs);
	expect_refusal(world, -EBADMSG, "another kind of file server", tree_is_shared);
}

/* A state with something of everything. */
static struct saved rich_state(struct world *world)
{
	uint64_t file = node_of(world->fs, "file"), handle;
	struct saved saved;
	struct error err;

	node_of(world->fs, "volumes/shared/file");
	node_of(world->fs, "volumes/fixed/inner");
	forget(world->fs, node_of(world->fs, "directory"), 1);
	assert_int_equal(open_node(world->fs, file, O_RDWR, &handle), 0);
	assert_int_equal(open_node(world->fs, file, O_RDONLY, &handle), 0);
	open_directory(world->fs, ROOT);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	return saved;
}

/* What a damaged state may bring about: an error, or a device that keeps its bounds and rules. */
static void expect_harmless(struct world *world, const uint8_t *data, size_t length)
{
	struct error err = {0};
	uint64_t handle;
	int r;

	virtio_fs_free(world->fs);
	world_serve(world, 64, 16);
	r = restore(world->fs, data, length, &err);
	if (r < 0) {
		assert_true(err.message[0] != '\0');
		return;
	}
	assert_true(statistics(world->fs).inodes <= 64 && statistics(world->fs).handles <= 16);
	for (uint64_t node = 1; node < 16; node++)
		if (getattr(world->fs, node, NULL) == 0 &&
			open_node(world->fs, node, O_RDONLY, &handle) == 0)
			read_node(world->fs, node, handle, 0, 10);
}

static void damaged_states_are_refused_or_harmless(void **state)
{
	struct world *world = *state;
	struct saved saved = rich_state(world);
	uint8_t *copy = malloc(saved.length);

	for (size_t length = 0; length < saved.length; length++) {
		uint8_t *exact = malloc(length ? length : 1);
		struct error err;

		memcpy(exact, saved.data, length);
		virtio_fs_free(world->fs);
		world_serve(world, 64, 16);
		assert_int_equal(restore(world->fs, exact, length, &err), -EBADMSG);
		free(exact);
	}
	for (size_t i = 16; i < saved.length; i++) {
		static const uint8_t changes[] = {0x01, 0x80, 0xff};

		for (size_t j = 0; j < ARRAY_SIZE(changes); j++) {
			memcpy(copy, saved.data, saved.length);
			copy[i] ^= changes[j];
			expect_harmless(world, copy, saved.length);
		}
	}
	free(copy);
	free(saved.data);
	virtio_fs_free(world->fs);
	world_serve(world, 4096, 1024);
}

static void a_state_for_more_than_there_may_be_is_refused(void **state)
{
	struct world *world = *state;
	struct saved saved = rich_state(world);
	struct error err;

	virtio_fs_free(world->fs);
	world_serve(world, 4, 16);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), -ENFILE);
	virtio_fs_free(world->fs);
	world_serve(world, 64, 2);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), -ENFILE);
	free(saved.data);
}

static void reading_shared_volumes_is_noted(void **state)
{
	struct world *world = *state;
	uint64_t shared = node_of(world->fs, "volumes/shared"), file;
	struct fuse_open_in open_in = {.flags = O_RDONLY};
	struct fuse_read_in in = {.size = 4096};

	node_of(world->fs, "file");
	getattr(world->fs, shared, NULL);
	assert_int_equal(call(world->fs, FUSE_STATFS, shared, NOTHING, NOTHING, NOTHING), 0);
	assert_int_equal(call(world->fs, FUSE_OPENDIR, shared, PART(open_in), NOTHING, NOTHING), 0);
	assert_false(virtio_fs_shared_was_read(world->fs));
	in.fh = ((const struct fuse_open_out *)reply.data)->fh;
	assert_int_equal(call(world->fs, FUSE_READDIR, shared, PART(in), NOTHING, NOTHING), 0);
	assert_true(virtio_fs_shared_was_read(world->fs));
	virtio_fs_free(world->fs);
	world_serve(world, 4096, 1024);
	assert_false(virtio_fs_shared_was_read(world->fs));
	init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX);
	assert_int_equal(lookup(world->fs, node_of(world->fs, "volumes/fixed"), "no"), -ENOENT);
	assert_true(virtio_fs_shared_was_read(world->fs));
	virtio_fs_free(world->fs);
	world_serve(world, 4096, 1024);
	init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX);
	file = node_of(world->fs, "directory/inner");
	expect_content(world->fs, file, "inner");
	assert_false(virtio_fs_shared_was_read(world->fs));
}

static void put_shared(const struct world *world, const char *name, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "volumes/shared/%s", name);
	fd = openat(world->tree, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void a_shared_file_that_others_changed_meanwhile_is_refused(void **state)
{
	struct world *world = *state;
	uint64_t file = node_of(world->fs, "volumes/shared/file");
	struct saved saved;
	struct error err;

	read_node(world->fs, file, 0, 0, 10);
	assert_true(virtio_fs_shared_was_read(world->fs));
	/* Untouched: taken up, and still known to have been seen. */
	park(world);
	assert_true(virtio_fs_shared_was_read(world->fs));
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	put_shared(world, "file", "changed");
	world_serve(world, 4096, 1024);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "volumes/shared/file was changed"));
	free(saved.data);
}

static void what_changed_in_a_shared_directory_unseen_is_no_matter(void **state)
{
	struct world *world = *state;
	struct saved saved;
	struct error err;

	node_of(world->fs, "volumes/shared");
	assert_false(virtio_fs_shared_was_read(world->fs));
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	put_shared(world, "new", "text");
	world_serve(world, 4096, 1024);
	assert_int_equal(restore(world->fs, saved.data, saved.length, &err), 0);
	free(saved.data);
}

#define ALONE_TEST(name)  cmocka_unit_test_setup_teardown(name, world_begin, world_end)
#define SHARED_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin_shared, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE_TEST(a_fresh_device_is_taken_up),
		ALONE_TEST(inodes_keep_their_ids_and_lookups),
		ALONE_TEST(many_inodes_are_taken_up),
		SHARED_TEST(open_files_and_directories_stay_open),
		SHARED_TEST(policies_are_those_of_the_exports),
		ALONE_TEST(what_cannot_be_found_again_cannot_be_parked),
		ALONE_TEST(another_tree_is_refused_with_the_reason),
		SHARED_TEST(damaged_states_are_refused_or_harmless),
		SHARED_TEST(a_state_for_more_than_there_may_be_is_refused),
		SHARED_TEST(reading_shared_volumes_is_noted),
		SHARED_TEST(a_shared_file_that_others_changed_meanwhile_is_refused),
		SHARED_TEST(what_changed_in_a_shared_directory_unseen_is_no_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
