// SPDX-License-Identifier: Apache-2.0
/* Directories read through the file server, whole and in part, and what happens when tables are full. */
#include "fuse_client.h"

/* A world whose file server has been mounted. */
static int world_begin(void **state)
{
	return world_begin_mounted(state, 4096, 1024);
}

static int world_begin_narrow(void **state)
{
	return world_begin_mounted(state, 8, 4);
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

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(directories_list_every_name_once),
		WORLD_TEST(directories_list_what_stays_while_entries_go),
		WORLD_TEST(directory_requests_are_checked),
		cmocka_unit_test_setup_teardown(tables_are_bounded, world_begin_narrow, world_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
