// SPDX-License-Identifier: Apache-2.0
/* The DAX window: which files it is for, what is mapped where, and what a hostile driver is refused. */
#include "fuse_window.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>

#define RANGES  4
#define WINDOW  (RANGES * RANGE)
#define INODES  256
#define HANDLES 64

/* Which changes of the window the kernel cannot make now. */
static bool no_release, no_map;

/* Stands before libc's. */
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
	bool is_change = flags & MAP_FIXED;

	if (is_change && (protection == PROT_NONE ? no_release : no_map)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return ((__typeof__(&mmap64))dlsym(RTLD_NEXT, "mmap64"))(
		at, length, protection, flags, fd, offset);
}

/* A file of size bytes, none of them a hole, that ends with text and begins with it too. */
static void make_file(struct world *world, const char *path, uint64_t size, const char *text)
{
	int fd = openat(world->tree, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	for (uint64_t done = 0; done < size;) {
		static const uint8_t zeros[65536];
		ssize_t n =
			write(fd, zeros, size - done < sizeof(zeros) ? size - done : sizeof(zeros));

		assert_true(n > 0);
		done += (uint64_t)n;
	}
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	assert_int_equal(
		pwrite(fd, text, strlen(text), (off_t)(size - strlen(text))), strlen(text));
	close(fd);
}

static int cut_file(struct world *world, const char *path, uint64_t size)
{
	_cleanup_close_ int fd = openat(world->tree, path, O_WRONLY | O_CLOEXEC);

	return ftruncate(fd, (off_t)size);
}

static int serve(struct world *world)
{
	world_serve(world, INODES, HANDLES);
	return init_with_window(world->fs);
}

static int begin_with(void **state, bool alone, enum virtio_fs_dax dax)
{
	struct world *world = calloc(1, sizeof(*world));

	world_make(world);
	world->alone = alone;
	window_make(world, WINDOW);
	world->dax = dax;
	make_file(world, "large", 5 * RANGE - 100, "large");
	make_file(world, "volumes/shared/large", 2 * RANGE, "shared");
	make_file(world, "volumes/fixed/large", 2 * RANGE, "fixed");
	caller_uid = geteuid();
	caller_gid = getegid();
	*state = world;
	return serve(world);
}

static int begin(void **state)
{
	return begin_with(state, true, VIRTIO_FS_DAX_AUTO);
}

static int begin_shared(void **state)
{
	return begin_with(state, false, VIRTIO_FS_DAX_AUTO);
}

static int begin_always(void **state)
{
	return begin_with(state, true, VIRTIO_FS_DAX_ALWAYS);
}

static int begin_never(void **state)
{
	return begin_with(state, true, VIRTIO_FS_DAX_NEVER);
}

static int end(void **state)
{
	int r = world_end(state);

	window_free();
	return r;
}

static int unmap_count(struct virtio_fs *fs, uint32_t count, uint64_t at, uint64_t length)
{
	struct fuse_removemapping_in in = {.count = count};
	struct fuse_removemapping_one one = {.moffset = at, .len = length};

	return call(fs, FUSE_REMOVEMAPPING, ROOT, PART(in), PART(one), NOTHING);
}

static int unmap(struct virtio_fs *fs, uint64_t at)
{
	return unmap_count(fs, 1, at, RANGE);
}

static bool is_for_window(struct virtio_fs *fs, const char *path)
{
	struct fuse_attr attr;
	uint64_t node = node_of(fs, path);
	bool told = entry_out()->attr.flags & FUSE_ATTR_DAX;

	/* Later answers say the same, else the guest drops the inode. */
	assert_int_equal(getattr(fs, node, &attr), 0);
	assert_int_equal(!!(attr.flags & FUSE_ATTR_DAX), told);
	return told;
}

static void expect_text(uint64_t at, const char *text)
{
	assert_memory_equal(window(at), text, strlen(text));
}

/* ---- which files */

struct elf_file {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	Elf64_Dyn dynamic[3];
};

static void make_elf(struct world *world, const char *name, uint16_t type, uint32_t segment,
	uint64_t dynamic_flags)
{
	struct elf_file file = {
		.header = {.e_ident = ELFMAG,
			.e_type = type,
			.e_phoff = offsetof(struct elf_file, segments),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2},
		.segments = {{.p_type = PT_LOAD},
			{.p_type = segment,
				.p_offset = offsetof(struct elf_file, dynamic),
				.p_filesz = sizeof(file.dynamic)}},
		.dynamic = {{.d_tag = DT_DEBUG},
			{.d_tag = DT_FLAGS_1, .d_un = {.d_val = dynamic_flags}},
			{.d_tag = DT_NULL}},
	};
	int fd;

	file.header.e_ident[EI_CLASS] = ELFCLASS64;
	make_file(world, name, 300000, "x");
	fd = openat(world->tree, name, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &file, sizeof(file), 0), sizeof(file));
	close(fd);
}

static void static_programs_and_large_files_are_for_the_window(void **state)
{
	struct world *world = *state;

	make_elf(world, "static", ET_EXEC, PT_NOTE, 0);
	make_elf(world, "static-pie", ET_DYN, PT_DYNAMIC, DF_1_PIE | DF_1_NOW);
	make_elf(world, "dynamic", ET_EXEC, PT_INTERP, 0);
	make_elf(world, "pie", ET_DYN, PT_INTERP, 0);
	make_elf(world, "library", ET_DYN, PT_DYNAMIC, DF_1_NOW);
	make_elf(world, "object", ET_REL, PT_NOTE, 0);
	make_file(world, "medium", 100000, "data");
	assert_true(is_for_window(world->fs, "static"));
	assert_true(is_for_window(world->fs, "static-pie"));
	assert_true(is_for_window(world->fs, "large"));
	assert_false(is_for_window(world->fs, "dynamic"));
	assert_false(is_for_window(world->fs, "pie"));
	assert_false(is_for_window(world->fs, "library"));
	assert_false(is_for_window(world->fs, "object"));
	assert_false(is_for_window(world->fs, "medium"));
	assert_false(is_for_window(world->fs, "file"));
	assert_false(is_for_window(world->fs, "directory"));
}

static void libraries_with_the_sticky_bit_are_for_the_window(void **state)
{
	struct world *world = *state;

	make_elf(world, "library", ET_DYN, PT_DYNAMIC, DF_1_NOW);
	make_elf(world, "pie", ET_DYN, PT_INTERP, 0);
	make_file(world, "medium", 100000, "data");
	make_elf(world, "small", ET_DYN, PT_DYNAMIC, DF_1_NOW);
	assert_int_equal(cut_file(world, "small", 60000), 0);
	assert_int_equal(fchmodat(world->tree, "library", 01755, 0), 0);
	assert_int_equal(fchmodat(world->tree, "pie", 01644, 0), 0);
	assert_int_equal(fchmodat(world->tree, "medium", 01755, 0), 0);
	assert_int_equal(fchmodat(world->tree, "small", 01755, 0), 0);
	assert_true(is_for_window(world->fs, "library"));
	assert_true(is_for_window(world->fs, "pie"));
	assert_false(is_for_window(world->fs, "medium"));
	assert_false(is_for_window(world->fs, "small"));
}

static void headers_that_lie_are_no_static_program(void **state)
{
	struct world *world = *state;
	struct elf_file file;
	int fd;

	make_elf(world, "lies", ET_DYN, PT_DYNAMIC, DF_1_PIE);
	fd = openat(world->tree, "lies", O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &file, sizeof(file), 0), sizeof(file));
	file.segments[1].p_offset = UINT64_MAX - 3;
	file.segments[1].p_filesz = UINT64_MAX;
	assert_int_equal(pwrite(fd, &file, sizeof(file), 0), sizeof(file));
	assert_false(is_for_window(world->fs, "lies"));
	forget(world->fs, node_of(world->fs, "lies"), 2);
	file.header.e_phoff = INT64_MAX;
	file.header.e_phnum = UINT16_MAX;
	assert_int_equal(pwrite(fd, &file, sizeof(file), 0), sizeof(file));
	assert_false(is_for_window(world->fs, "lies"));
	close(fd);
}

static void what_others_change_is_not_for_the_window(void **state)
{
	struct world *world = *state;

	assert_true(is_for_window(world->fs, "large"));
	assert_false(is_for_window(world->fs, "volumes/shared/large"));
	assert_false(is_for_window(world->fs, "volumes/fixed/large"));
	assert_int_equal(
		map(world->fs, node_of(world->fs, "volumes/fixed/large"), 0, 0, READ), -EINVAL);
	assert_int_equal(statistics(world->fs).mappings, 0);
}

static void a_file_stays_what_it_was_when_it_was_found(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "file"), handle;

	assert_int_equal(cut_file(world, "file", 3 * RANGE), 0);
	assert_false(is_for_window(world->fs, "file"));
	assert_int_equal(map(world->fs, node, 0, 0, READ), -EINVAL);
	assert_int_equal(create(world->fs, ROOT, "new", O_RDWR, 0644, &node, &handle), 0);
	assert_int_equal(setattr(world->fs, node,
				 (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 3 * RANGE}),
		0);
	assert_false(is_for_window(world->fs, "new"));
}

static void always_means_all_files_but_empty_ones(void **state)
{
	struct world *world = *state;

	write_file(world->tree, "empty", "");
	assert_true(is_for_window(world->fs, "file"));
	assert_false(is_for_window(world->fs, "empty"));
	assert_false(is_for_window(world->fs, "directory"));
	assert_int_equal(map(world->fs, node_of(world->fs, "file"), 0, RANGE, READ), 0);
	expect_text(RANGE, "hello");
}

static void without_a_window_nothing_is_for_it(void **state)
{
	struct world *world = *state;

	assert_int_equal(virtio_fs_device(world->fs)->shared_size, 0);
	assert_false(is_for_window(world->fs, "large"));
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, READ), -ENOSYS);
	assert_int_equal(unmap(world->fs, 0), -ENOSYS);
}

static void a_driver_that_knows_no_window_is_told_of_none(void **state)
{
	struct world *world = *state;

	assert_int_equal(virtio_fs_device(world->fs)->shared_size, WINDOW);
	assert_int_equal(virtio_fs_device(world->fs)->shared_start, memory.window.start);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, 0), 0);
	assert_int_equal(init_out()->map_alignment, 0);
	assert_false(is_for_window(world->fs, "large"));
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, READ), -EINVAL);
}

/* ---- mappings */

static void a_mapping_shows_the_file(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, RANGE, READ), 0);
	assert_int_equal(map(world->fs, node, 4 * RANGE, 3 * RANGE, READ), 0);
	assert_int_equal(statistics(world->fs).mappings, 2);
	expect_text(RANGE, "large");
	expect_text(4 * RANGE - 105, "large");
	/* What is mapped for reading cannot be written, nor what is not mapped be read. */
	assert_int_equal(access_signal(window(RANGE), true), SIGSEGV);
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(access_signal(window(2 * RANGE), false), SIGSEGV);
	assert_int_equal(unmap(world->fs, RANGE), 0);
	assert_int_equal(access_signal(window(RANGE), false), SIGSEGV);
	assert_int_equal(statistics(world->fs).mappings, 1);
	/* What is free may be freed again. */
	assert_int_equal(unmap(world->fs, RANGE), 0);
	assert_int_equal(unmap_count(world->fs, 1, 0, WINDOW), 0);
	assert_int_equal(statistics(world->fs).mappings, 0);
}

static void several_ranges_can_be_mapped_at_once(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map_length(world->fs, node, RANGE, 0, WINDOW, READ), 0);
	assert_int_equal(statistics(world->fs).mappings, RANGES);
	expect_text(WINDOW - 105, "large");
	assert_int_equal(unmap(world->fs, RANGE), 0);
	assert_int_equal(statistics(world->fs).mappings, RANGES - 1);
}

static void writes_reach_the_file_and_its_readers(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, 0, READ), 0);
	assert_int_equal(map(world->fs, node, RANGE, RANGE, READ), 0);
	/* The guest asks for more of a range that it has. */
	assert_int_equal(map(world->fs, node, 0, 0, WRITE), 0);
	memcpy(window(0), "LARGE", 5);
	assert_int_equal(read_node(world->fs, node, 0, 0, 5), 0);
	assert_memory_equal(reply.data, "LARGE", 5);
	assert_int_equal(write_node(world->fs, node, 0, RANGE, "written", 0), 0);
	expect_text(RANGE, "written");
	assert_int_equal(access_signal(window(RANGE), true), SIGSEGV);
	assert_int_equal(statistics(world->fs).mappings, 2);
}

static void what_is_mapped_outlives_the_last_lookup(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, 0, READ), 0);
	assert_int_equal(call(world->fs, FUSE_UNLINK, ROOT, TEXT("large"), NOTHING, NOTHING), 0);
	forget(world->fs, node, 1);
	expect_text(0, "large");
	assert_int_equal(map(world->fs, node, 0, RANGE, READ), -ESTALE);
	assert_int_equal(unmap(world->fs, 0), 0);
	assert_int_equal(statistics(world->fs).mappings, 0);
}

static void a_new_session_has_an_empty_window(void **state)
{
	struct world *world = *state;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, WRITE), 0);
	assert_int_equal(init_with(world->fs, FUSE_KERNEL_VERSION, 41, UINT32_MAX), 0);
	assert_int_equal(statistics(world->fs).mappings, 0);
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
}

static void a_file_that_is_cut_is_found(void **state)
{
	struct world *world = *state;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 4 * RANGE, 0, READ), 0);
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(cut_file(world, "large", 4 * RANGE + 5000), 0);
	assert_int_equal(access_signal(window(8192), false), SIGBUS);
	assert_true(virtio_fs_watch(world->fs));
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(access_signal(window(4096), false), 0);
	assert_int_equal(access_signal(window(8192), false), SIGSEGV);
	assert_int_equal(access_signal(window(RANGE - 1), false), SIGSEGV);
	/* All of it is gone; a file that grows again does not come back by itself. */
	assert_int_equal(cut_file(world, "large", 0), 0);
	assert_true(virtio_fs_watch(world->fs));
	assert_int_equal(cut_file(world, "large", 5 * RANGE), 0);
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 4 * RANGE, 0, READ), 0);
	assert_int_equal(access_signal(window(8192), false), 0);
	assert_int_equal(unmap(world->fs, 0), 0);
	assert_false(virtio_fs_window_was_cut(world->fs));
}

/* An access is faster than the timer. */
static void a_file_that_was_cut_just_now_is_found_when_asked_for(void **state)
{
	struct world *world = *state;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, READ), 0);
	assert_false(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(cut_file(world, "large", 5000), 0);
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(access_signal(window(8192), false), SIGSEGV);
	/* It is told all the same, once. */
	assert_true(virtio_fs_watch(world->fs));
	assert_false(virtio_fs_watch(world->fs));
}

static void the_guest_may_cut_its_file_and_make_it_longer(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, 0, WRITE), 0);
	assert_int_equal(
		setattr(world->fs, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 10}),
		0);
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(write_node(world->fs, node, 0, RANGE - 7, "written", 0), 0);
	assert_false(virtio_fs_watch(world->fs));
	expect_text(RANGE - 7, "written");
	/* Now it is not the guest that cuts it. */
	assert_int_equal(cut_file(world, "large", 10), 0);
	assert_true(virtio_fs_watch(world->fs));
	assert_int_equal(access_signal(window(RANGE - 7), false), SIGSEGV);
}

/* ---- a kernel without memory for the tables of this process */

static void what_cannot_be_taken_away_is_tried_again(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, 0, READ), 0);
	assert_int_equal(map(world->fs, node, RANGE, RANGE, READ), 0);
	no_release = true;
	/* A part that was cut. */
	assert_int_equal(cut_file(world, "large", RANGE + 5000), 0);
	assert_true(virtio_fs_watch(world->fs));
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(access_signal(window(RANGE + 8192), false), SIGBUS);
	/* A range that the guest gives back: its own word on it counts. */
	assert_int_equal(unmap(world->fs, 0), 0);
	assert_int_equal(access_signal(window(0), false), 0);
	assert_int_equal(statistics(world->fs).mappings, 2);
	no_release = false;
	/* No file has become shorter since. */
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(access_signal(window(RANGE + 4096), false), 0);
	assert_int_equal(access_signal(window(RANGE + 8192), false), SIGSEGV);
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(statistics(world->fs).mappings, 1);
}

static void what_is_mapped_anew_owes_nothing(void **state)
{
	struct world *world = *state;

	make_file(world, "other", RANGE, "other");
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, READ), 0);
	no_release = true;
	assert_int_equal(unmap(world->fs, 0), 0);
	assert_int_equal(map(world->fs, node_of(world->fs, "other"), 0, 0, READ), 0);
	no_release = false;
	assert_false(virtio_fs_watch(world->fs));
	expect_text(0, "other");
	assert_false(virtio_fs_window_was_cut(world->fs));
}

static void a_new_session_gets_its_window_in_the_end(void **state)
{
	struct world *world = *state;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, WRITE), 0);
	no_release = true;
	assert_int_equal(init_with_window(world->fs), 0);
	assert_int_equal(access_signal(window(0), false), 0);
	no_release = false;
	assert_false(virtio_fs_watch(world->fs));
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(statistics(world->fs).mappings, 0);
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), RANGE, 0, READ), 0);
}

static void a_range_that_became_read_only_is_in_the_end(void **state)
{
	struct world *world = *state;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, WRITE), 0);
	no_release = true;
	assert_int_equal(linkat(world->tree, "large", world->tree, "volumes/fixed/link", 0), 0);
	node_of(world->fs, "volumes/fixed/link");
	assert_int_equal(access_signal(window(0), true), 0);
	no_release = false;
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(access_signal(window(0), true), SIGSEGV);
}

/* The kernel may have taken the old away before it found that it cannot have the new. */
static void what_cannot_be_mapped_leaves_nothing_there(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	assert_int_equal(map(world->fs, node, 0, 0, READ), 0);
	assert_int_equal(map(world->fs, node, RANGE, RANGE, READ), 0);
	no_map = true;
	assert_int_equal(map(world->fs, node, 0, 0, WRITE), -ENOMEM);
	/* That has opened it for writing, which is when what is mapped for reading is mapped anew. */
	no_map = false;
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(access_signal(window(RANGE), false), SIGSEGV);
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(map(world->fs, node, 0, 0, WRITE), 0);
	no_map = true;
	assert_int_equal(map(world->fs, node, 0, 0, WRITE), -ENOMEM);
	assert_int_equal(map(world->fs, node, 0, 2 * RANGE, READ), -ENOMEM);
	no_map = false;
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(map(world->fs, node, 0, 0, WRITE), 0);
	assert_int_equal(map(world->fs, node, RANGE, RANGE, READ), 0);
	assert_false(virtio_fs_window_was_cut(world->fs));
	expect_text(0, "large");
	assert_int_equal(statistics(world->fs).mappings, 2);
}

/* ---- hostile drivers */

static void fields_out_of_bounds_are_refused(void **state)
{
	static const uint64_t odd[] = {1, 4096, RANGE - 1, RANGE + 1, RANGE / 2};
	static const uint64_t far[] = {WINDOW, WINDOW + RANGE, 1ull << 63, UINT64_MAX - RANGE + 1};
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		assert_int_equal(map(world->fs, node, odd[i], 0, READ), -EINVAL);
		assert_int_equal(map(world->fs, node, 0, odd[i], READ), -EINVAL);
		assert_int_equal(map_length(world->fs, node, 0, 0, odd[i], READ), -EINVAL);
		assert_int_equal(unmap_count(world->fs, 1, odd[i], RANGE), -EINVAL);
		assert_int_equal(unmap_count(world->fs, 1, 0, odd[i]), -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		assert_int_equal(map(world->fs, node, 0, far[i], READ), -EINVAL);
		assert_int_equal(map_length(world->fs, node, 0, RANGE, far[i], READ), -EINVAL);
		assert_int_equal(unmap(world->fs, far[i]), -EINVAL);
		assert_int_equal(unmap_count(world->fs, 1, RANGE, far[i]), -EINVAL);
	}
	/* Behind the end of the file: the last range only begins before it. */
	assert_int_equal(map(world->fs, node, 5 * RANGE, 0, READ), -EINVAL);
	assert_int_equal(map_length(world->fs, node, 4 * RANGE, 0, 2 * RANGE, READ), -EINVAL);
	assert_int_equal(map(world->fs, node, 1ull << 62, 0, READ), -EINVAL);
	assert_int_equal(map(world->fs, node, UINT64_MAX - RANGE + 1, 0, READ), -EINVAL);
	assert_int_equal(map_length(world->fs, node, 0, 0, 0, READ), -EINVAL);
	assert_int_equal(map(world->fs, node, 0, 0, 1ull << 40 | READ), -EINVAL);
	assert_int_equal(map(world->fs, ROOT, 0, 0, READ), -EINVAL);
	assert_int_equal(map(world->fs, 12345, 0, 0, READ), -ESTALE);
	assert_int_equal(statistics(world->fs).mappings, 0);
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
}

static void counts_that_lie_are_refused(void **state)
{
	struct world *world = *state;
	struct fuse_removemapping_in in = {.count = 2};
	struct fuse_removemapping_one two[2] = {{0, RANGE}, {WINDOW, RANGE}};

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, 0, READ), 0);
	assert_int_equal(unmap_count(world->fs, 0, 0, RANGE), -EINVAL);
	assert_int_equal(unmap_count(world->fs, 2, 0, RANGE), -EINVAL);
	assert_int_equal(unmap_count(world->fs, RANGES + 1, 0, RANGE), -EINVAL);
	assert_int_equal(unmap_count(world->fs, UINT32_MAX, 0, RANGE), -EINVAL);
	/* One that is wrong undoes nothing of the others. */
	assert_int_equal(
		call(world->fs, FUSE_REMOVEMAPPING, ROOT, PART(in), PART(two), NOTHING), -EINVAL);
	assert_int_equal(statistics(world->fs).mappings, 1);
	two[1].moffset = RANGE;
	assert_int_equal(
		call(world->fs, FUSE_REMOVEMAPPING, ROOT, PART(in), PART(two), NOTHING), 0);
	assert_int_equal(statistics(world->fs).mappings, 0);
}

static void a_range_in_use_is_not_given_to_another_file(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large"), other;

	make_file(world, "other", 2 * RANGE, "other");
	other = node_of(world->fs, "other");
	assert_int_equal(map(world->fs, node, 0, RANGE, READ), 0);
	assert_int_equal(map(world->fs, other, 0, RANGE, READ), -EINVAL);
	assert_int_equal(map(world->fs, node, RANGE, RANGE, READ), -EINVAL);
	assert_int_equal(map_length(world->fs, other, 0, 0, 2 * RANGE, READ), -EINVAL);
	assert_int_equal(statistics(world->fs).mappings, 1);
	expect_text(RANGE, "large");
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
}

/* ---- parking */

static void taken_up(struct world *world, const struct saved *saved)
{
	struct error err;

	world_serve(world, INODES, HANDLES);
	if (restore(world->fs, saved->data, saved->length, &err) < 0)
		fail_msg("%s", err.message);
	free(saved->data);
}

static void mappings_are_made_again(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");
	struct saved saved;
	struct error err;

	assert_int_equal(map(world->fs, node, 4 * RANGE, 0, READ), 0);
	assert_int_equal(map(world->fs, node, 0, 2 * RANGE, WRITE), 0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	assert_int_equal(access_signal(window(2 * RANGE), false), SIGSEGV);
	taken_up(world, &saved);
	assert_int_equal(statistics(world->fs).mappings, 2);
	expect_text(RANGE - 105, "large");
	assert_int_equal(access_signal(window(0), true), SIGSEGV);
	memcpy(window(2 * RANGE), "LARGE", 5);
	assert_int_equal(read_node(world->fs, node, 0, 0, 5), 0);
	assert_memory_equal(reply.data, "LARGE", 5);
	assert_true(is_for_window(world->fs, "large"));
}

/* Before it was parked: the guest has that range still, and may make the file longer again. */
static void what_the_guest_has_cut_is_taken_up(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");
	struct saved saved;
	struct error err;

	assert_int_equal(map(world->fs, node, RANGE, 0, READ), 0);
	assert_int_equal(map(world->fs, node, 2 * RANGE, RANGE, WRITE), 0);
	assert_int_equal(setattr(world->fs, node,
				 (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = RANGE + 10}),
		0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	taken_up(world, &saved);
	assert_int_equal(statistics(world->fs).mappings, 2);
	assert_false(virtio_fs_watch(world->fs));
	assert_false(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(access_signal(window(RANGE), false), SIGBUS);
	assert_int_equal(write_node(world->fs, node, 0, 2 * RANGE, "written", 0), 0);
	expect_text(RANGE, "written");
	assert_int_equal(access_signal(window(RANGE - 1), false), 0);
	assert_int_equal(access_signal(window(RANGE), true), 0);
	assert_int_equal(access_signal(window(0), true), SIGSEGV);
}

static void a_file_that_was_cut_meanwhile_is_found(void **state)
{
	struct world *world = *state;
	struct saved saved;
	struct error err;

	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 4 * RANGE, 0, READ), 0);
	assert_int_equal(map(world->fs, node_of(world->fs, "large"), 0, RANGE, WRITE), 0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	virtio_fs_free(world->fs);
	assert_int_equal(cut_file(world, "large", 5000), 0);
	taken_up(world, &saved);
	assert_true(virtio_fs_watch(world->fs));
	assert_true(virtio_fs_window_was_cut(world->fs));
	assert_int_equal(access_signal(window(0), false), SIGSEGV);
	assert_int_equal(access_signal(window(RANGE + 4096), true), 0);
	assert_int_equal(access_signal(window(RANGE + 8192), false), SIGSEGV);
}

static void damage_of_the_state_is_found_or_harmless(void **state)
{
	struct world *world = *state;
	uint64_t node = node_of(world->fs, "large");
	struct saved saved;
	struct error err;

	assert_int_equal(map(world->fs, node, 0, RANGE, WRITE), 0);
	assert_int_equal(save(world->fs, &saved, &err), 0);
	/* The mapping is what comes last: count, range, writable, inode, offset, end, and what ends it. */
	for (size_t i = 0; i < 40 && i < saved.length; i++) {
		uint8_t *byte = &saved.data[saved.length - 1 - i], before = *byte;

		for (unsigned int bit = 0; bit < 8; bit++) {
			*byte = before ^ (uint8_t)(1u << bit);
			virtio_fs_free(world->fs);
			world_serve(world, INODES, HANDLES);
			if (restore(world->fs, saved.data, saved.length, &err) == 0)
				assert_true(statistics(world->fs).mappings <= RANGES);
		}
		*byte = before;
	}
	free(saved.data);
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, end)
	const struct CMUnitTest tests[] = {
		TEST(static_programs_and_large_files_are_for_the_window, begin),
		TEST(libraries_with_the_sticky_bit_are_for_the_window, begin),
		TEST(headers_that_lie_are_no_static_program, begin),
		TEST(what_others_change_is_not_for_the_window, begin_shared),
		TEST(a_file_stays_what_it_was_when_it_was_found, begin),
		TEST(always_means_all_files_but_empty_ones, begin_always),
		TEST(without_a_window_nothing_is_for_it, begin_never),
		TEST(a_driver_that_knows_no_window_is_told_of_none, begin),
		TEST(a_mapping_shows_the_file, begin),
		TEST(several_ranges_can_be_mapped_at_once, begin),
		TEST(writes_reach_the_file_and_its_readers, begin),
		TEST(what_is_mapped_outlives_the_last_lookup, begin),
		TEST(a_new_session_has_an_empty_window, begin),
		TEST(a_file_that_was_cut_just_now_is_found_when_asked_for, begin),
		TEST(a_file_that_is_cut_is_found, begin),
		TEST(the_guest_may_cut_its_file_and_make_it_longer, begin),
		TEST(what_cannot_be_taken_away_is_tried_again, begin),
		TEST(what_is_mapped_anew_owes_nothing, begin),
		TEST(a_new_session_gets_its_window_in_the_end, begin),
		TEST(a_range_that_became_read_only_is_in_the_end, begin_shared),
		TEST(what_cannot_be_mapped_leaves_nothing_there, begin),
		TEST(fields_out_of_bounds_are_refused, begin),
		TEST(counts_that_lie_are_refused, begin),
		TEST(a_range_in_use_is_not_given_to_another_file, begin),
		TEST(mappings_are_made_again, begin),
		TEST(what_the_guest_has_cut_is_taken_up, begin),
		TEST(a_file_that_was_cut_meanwhile_is_found, begin),
		TEST(damage_of_the_state_is_found_or_harmless, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
