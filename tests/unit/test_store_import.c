// SPDX-License-Identifier: Apache-2.0
/* test_store_import.c: what gets into the store, under which name, and what does not. */
#include "aci-builder.h"

#include "base/sha512.h"
#include "turns.h"

#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static void build_plain(struct aci *aci, int filter, const char *name, const char *more)
{
	aci_begin(aci, filter);
	aci_manifest(aci, name, more);
	aci_directory(aci, "rootfs", 0755);
	aci_file(aci, "rootfs/file", 0644, "content");
	aci_end(aci);
}

static void expect_id(const struct aci *aci, char *ret_id)
{
	struct sha512 sha;

	sha512_init(&sha);
	sha512_update(&sha, aci->data, aci->length);
	memcpy(ret_id, "sha512-", 7);
	sha512_final_text(&sha, ret_id + 7);
}

/* Nothing of a failed import is left. */
static void assert_refused(struct fixture *fixture, const void *data, size_t length,
	const struct store_import_options *options, int expected, const char *message)
{
	char id[STORE_IMAGE_ID_SIZE] = "untouched";
	size_t before = fixture_count(fixture, "images");
	struct error err = {0};
	int r = import_bytes(fixture->store, data, length, options, id, &err);

	if (r != expected || !strstr(err.message, message))
		fail_msg("result %d \"%s\", expected %d \"%s\"", r, err.message, expected, message);
	assert_non_null(strstr(err.message, "test.aci"));
	assert_string_equal(id, "untouched");
	assert_int_equal(fixture_count(fixture, "images"), before);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

static void the_id_is_the_hash_of_the_uncompressed_archive(void **state)
{
	static const int filters[] = {
		ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ};
	struct fixture *fixture = *state;
	char expected[STORE_IMAGE_ID_SIZE];
	struct store_image *images;
	struct error err = {0};
	struct aci aci;
	size_t count;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	expect_id(&aci, expected);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct aci compressed;

		build_plain(&compressed, filters[i], "example.com/a", "");
		assert_int_equal(import_bytes(fixture->store, compressed.data, compressed.length,
					 NULL, id, &err),
			0);
		assert_string_equal(id, expected);
		assert_int_equal(store_list(fixture->store, &images, &count, &err), 0);
		assert_int_equal(count, 1);
		assert_string_equal(images[0].id, expected);
		assert_string_equal(images[0].manifest->name, "example.com/a");
		assert_int_equal(images[0].size, aci.length);
		store_images_free(images, count);
		/* The next filter has to do it all again. */
		if (i + 1 < ARRAY_SIZE(filters))
			assert_int_equal(store_remove(fixture->store, id, &err), 0);
		aci_free(&compressed);
	}
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
	aci_free(&aci);
}

static void padding_counts_for_the_id(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], expected[STORE_IMAGE_ID_SIZE];
	struct aci aci;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	aci_write(NULL, &aci, (char[20480]){0}, 20480);
	expect_id(&aci, expected);
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, NULL), 0);
	assert_string_equal(id, expected);
	aci_free(&aci);
}

static void importing_twice_leaves_the_image_as_it_was(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], again[STORE_IMAGE_ID_SIZE], path[256];
	struct stat before, after;
	struct aci aci;

	build_plain(&aci, ARCHIVE_FILTER_GZIP, "example.com/a", "");
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, NULL), 0);
	snprintf(path, sizeof(path), "images/%s/info.json", id);
	assert_int_equal(fstatat(fixture->dirfd, path, &before, 0), 0);
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, again, NULL), 0);
	assert_int_equal(fstatat(fixture->dirfd, path, &after, 0), 0);
	assert_string_equal(id, again);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(fixture_count(fixture, "images"), 1);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
	aci_free(&aci);
}

struct progress {
	uint64_t done, total, calls;
};

static void count_progress(void *context, uint64_t done, uint64_t total)
{
	struct progress *progress = context;

	assert_true(done > progress->done);
	progress->done = done;
	progress->total = total;
	progress->calls++;
}

static void a_pipe_will_do_and_progress_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct progress progress = {0};
	struct store_import_options options = {
		.limits = STORE_LIMITS_DEFAULT,
		.progress = count_progress,
		.progress_context = &progress,
	};
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	struct aci aci;
	int fds[2];

	build_plain(&aci, ARCHIVE_FILTER_XZ, "example.com/a", "");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(file_write_all(fds[1], aci.data, aci.length), 0);
	close(fds[1]);
	assert_int_equal(store_import(fixture->store, fds[0], "pipe", &options, id, &err), 0);
	close(fds[0]);
	assert_int_equal(progress.done, aci.length);
	assert_int_equal(progress.total, 0);
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	progress = (struct progress){0};
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, &options, id, &err), 0);
	assert_int_equal(progress.total, aci.length);
	aci_free(&aci);
}

/* ---- hostile archives: each adds what must not be there to a good image */

static void dotdot(struct aci *aci)
{
	aci_file(aci, "rootfs/../../escape", 0644, "x");
}

static void dotdot_inside(struct aci *aci)
{
	aci_file(aci, "rootfs/a/../b", 0644, "x");
}

static void absolute(struct aci *aci)
{
	aci_file(aci, "/rootfs/escape", 0644, "x");
}

static void outside_rootfs(struct aci *aci)
{
	aci_file(aci, "etc/passwd", 0644, "x");
}

static void rootfs_prefix(struct aci *aci)
{
	aci_file(aci, "rootfsx", 0644, "x");
}

static void file_below_symlink(struct aci *aci)
{
	aci_symlink(aci, "rootfs/link", "/etc");
	aci_file(aci, "rootfs/link/passwd", 0644, "x");
}

static void symlink_above_file(struct aci *aci)
{
	aci_file(aci, "rootfs/link/passwd", 0644, "x");
	aci_symlink(aci, "rootfs/link", "/etc");
}

static void file_below_file(struct aci *aci)
{
	aci_file(aci, "rootfs/file/below", 0644, "x");
}

static void rootfs_is_a_symlink(struct aci *aci)
{
	aci_symlink(aci, "rootfs", "/");
}

static void rootfs_is_a_file(struct aci *aci)
{
	aci_file(aci, "./rootfs", 0755, "x");
}

static void hardlink_out(struct aci *aci)
{
	aci_hardlink(aci, "rootfs/shadow", "../../../etc/shadow");
}

static void hardlink_absolute(struct aci *aci)
{
	aci_hardlink(aci, "rootfs/shadow", "/etc/shadow");
}

static void hardlink_manifest(struct aci *aci)
{
	aci_hardlink(aci, "rootfs/shadow", "manifest");
}

static void hardlink_nowhere(struct aci *aci)
{
	aci_hardlink(aci, "rootfs/shadow", "rootfs/nowhere");
}

static void hardlink_itself(struct aci *aci)
{
	aci_hardlink(aci, "rootfs/shadow", "rootfs/shadow");
}

static void hardlink_directory(struct aci *aci)
{
	aci_directory(aci, "rootfs/directory", 0755);
	aci_hardlink(aci, "rootfs/shadow", "rootfs/directory");
}

static void duplicate(struct aci *aci)
{
	aci_file(aci, "rootfs/./file", 0644, "x");
}

static void duplicate_directory(struct aci *aci)
{
	aci_directory(aci, "rootfs/d", 0755);
	aci_directory(aci, "rootfs//d/", 0700);
}

static void duplicate_manifest(struct aci *aci)
{
	aci_manifest(aci, "example.com/other", "");
}

static void sparse_bomb(struct aci *aci)
{
	struct archive_entry *entry = aci_entry_make("rootfs/bomb", AE_IFREG, 0644);

	archive_entry_set_size(entry, INT64_C(1) << 50);
	archive_entry_sparse_add_entry(entry, 0, 1);
	assert_int_equal(archive_write_header(aci->writer, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(aci->writer, "x", 1), 1);
	archive_entry_free(entry);
}

static void long_name(struct aci *aci)
{
	char name[300] = "rootfs/";

	memset(name + 7, 'n', 256);
	aci_file(aci, name, 0644, "x");
}

static void owner_minus_one(struct aci *aci)
{
	struct archive_entry *entry = aci_entry_make("rootfs/x", AE_IFREG, 0644);

	archive_entry_set_uid(entry, UINT32_MAX);
	aci_put(aci, entry, "x", 1);
}

static void hostile_archives_are_refused(void **state)
{
	static const struct {
		void (*add)(struct aci *aci);
		int r;
		const char *message;
	} kinds[] = {
		{dotdot, -EINVAL, "leaves the archive"},
		{dotdot_inside, -EINVAL, "leaves the archive"},
		{absolute, -EINVAL, "leaves the archive"},
		{outside_rootfs, -EINVAL, "unrecognized file path in layout: \"etc/passwd\""},
		{rootfs_prefix, -EINVAL, "unrecognized file path in layout"},
		{file_below_symlink, -EINVAL, "lies below an entry that is not a directory"},
		{symlink_above_file, -EINVAL, "earlier entries lie below it"},
		{file_below_file, -EINVAL, "lies below an entry that is not a directory"},
		{rootfs_is_a_symlink, -EINVAL, "\"rootfs\": not a directory"},
		{rootfs_is_a_file, -EINVAL, "\"rootfs\": not a directory"},
		{hardlink_out, -EINVAL, "not inside rootfs"},
		{hardlink_absolute, -EINVAL, "not inside rootfs"},
		{hardlink_manifest, -EINVAL, "not inside rootfs"},
		{hardlink_nowhere, -EINVAL, "not in the archive before it"},
		{hardlink_itself, -EINVAL, "hard link to itself"},
		{hardlink_directory, -EINVAL, "hard link to a directory"},
		{duplicate, -EINVAL, "duplicate file entry in archive: \"rootfs/file\""},
		{duplicate_directory, -EINVAL, "duplicate file entry in archive: \"rootfs/d\""},
		{duplicate_manifest, -EINVAL, "duplicate file entry in archive: \"manifest\""},
		{sparse_bomb, -EFBIG, "larger than"},
		{long_name, -EINVAL, "name too long"},
		{owner_minus_one, -EINVAL, "out of range"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct aci aci;

		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_manifest(&aci, "example.com/a", "");
		aci_file(&aci, "rootfs/file", 0644, "content");
		kinds[i].add(&aci);
		aci_end(&aci);
		assert_refused(*state, aci.data, aci.length, NULL, kinds[i].r, kinds[i].message);
		aci_free(&aci);
	}
}

static void bad_manifests_are_refused(void **state)
{
	static const char *const manifests[] = {"", "{", "[]", "{\"acKind\":\"PodManifest\"}",
		"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"Not Valid\"}"};
	struct aci aci;

	for (size_t i = 0; i < ARRAY_SIZE(manifests); i++) {
		aci_begin(&aci, ARCHIVE_FILTER_NONE);
		aci_file(&aci, "manifest", 0644, manifests[i]);
		aci_end(&aci);
		assert_refused(*state, aci.data, aci.length, NULL, -EINVAL, "manifest");
		aci_free(&aci);
	}
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_directory(&aci, "rootfs", 0755);
	aci_end(&aci);
	assert_refused(*state, aci.data, aci.length, NULL, -EINVAL, "missing image manifest");
	aci_free(&aci);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_symlink(&aci, "manifest", "/etc/passwd");
	aci_end(&aci);
	assert_refused(*state, aci.data, aci.length, NULL, -EINVAL, "not a regular file");
	aci_free(&aci);
}

static void truncated_archives_are_refused(void **state)
{
	static const int filters[] = {
		ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		/* Plain archives: behind the end-of-archive mark there is padding to lose. */
		size_t steps = filters[i] == ARCHIVE_FILTER_NONE ? 512 : 13, end;
		struct aci aci;

		build_plain(&aci, filters[i], "example.com/a", "");
		end = filters[i] == ARCHIVE_FILTER_NONE ? 5 * 512 : aci.length - 1;
		for (size_t length = 0; length <= end; length += steps) {
			char id[STORE_IMAGE_ID_SIZE];
			struct fixture *fixture = *state;
			struct error err = {0};
			int r = import_bytes(fixture->store, aci.data, length, NULL, id, &err);

			if (r != -EBADMSG)
				fail_msg("filter %d cut to %zu: %d %s", filters[i], length, r,
					err.message);
			assert_int_equal(fixture_count(fixture, "images"), 0);
			assert_int_equal(fixture_count(fixture, "tmp"), 0);
		}
		aci_free(&aci);
	}
}

static void corrupt_compression_is_refused(void **state)
{
	static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ};
	char noise[8192];
	uint32_t seed = 1;

	for (size_t i = 0; i < sizeof(noise) - 1; i++) {
		seed = seed * 1103515245 + 12345;
		noise[i] = (char)('!' + (seed >> 16) % 90);
	}
	noise[sizeof(noise) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct aci aci;

		aci_begin(&aci, filters[i]);
		aci_manifest(&aci, "example.com/a", "");
		aci_file(&aci, "rootfs/noise", 0644, noise);
		aci_end(&aci);
		/* In the middle, and thus in the noise: only a checksum can tell. */
		aci.data[aci.length / 2] ^= 4;
		assert_refused(*state, aci.data, aci.length, NULL, -EBADMSG, "damaged");
		if (filters[i] == ARCHIVE_FILTER_GZIP) {
			/* Padding, as on tapes, must neither hide that nor matter otherwise. */
			struct fixture *fixture = *state;
			char id[STORE_IMAGE_ID_SIZE];

			aci_write(NULL, &aci, (char[512]){0}, 512);
			assert_refused(*state, aci.data, aci.length, NULL, -EBADMSG, "checksum");
			aci.data[(aci.length - 512) / 2] ^= 4;
			assert_int_equal(
				import_bytes(fixture->store, aci.data, aci.length, NULL, id, NULL),
				0);
		}
		aci_free(&aci);
	}
}

static void two_gzip_members_are_one_archive(void **state)
{
	struct fixture *fixture = *state;
	struct aci plain, members = {0};
	char id[STORE_IMAGE_ID_SIZE], expected[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	build_plain(&plain, ARCHIVE_FILTER_NONE, "example.com/a", "");
	expect_id(&plain, expected);
	for (int half = 0; half < 2; half++) {
		struct archive_entry *entry = aci_entry_make("raw", AE_IFREG, 0644);
		size_t middle = 1000;

		members.writer = archive_write_new();
		archive_write_set_format_raw(members.writer);
		archive_write_add_filter_gzip(members.writer);
		archive_write_set_bytes_in_last_block(members.writer, 1);
		archive_write_open(members.writer, &members, NULL, aci_write, NULL);
		aci_put(&members, entry, plain.data + (half ? middle : 0),
			half ? plain.length - middle : middle);
		aci_end(&members);
	}
	if (import_bytes(fixture->store, members.data, members.length, NULL, id, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(id, expected);
	members.data[members.length - 8] ^= 1;
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	assert_refused(fixture, members.data, members.length, NULL, -EBADMSG, "checksum");
	aci_free(&members);
	aci_free(&plain);
}

static void what_is_no_archive_is_refused(void **state)
{
	char text[2048];
	struct aci aci, twice = {0};

	assert_refused(*state, "", 0, NULL, -EBADMSG, "empty");
	memset(text, 'x', sizeof(text));
	assert_refused(*state, text, sizeof(text), NULL, -EBADMSG, "damaged archive");
	assert_refused(*state, text, 5, NULL, -EBADMSG, "damaged archive");
	build_plain(&aci, ARCHIVE_FILTER_GZIP, "example.com/a", "");
	twice.writer = archive_write_new();
	archive_write_set_format_raw(twice.writer);
	archive_write_add_filter_xz(twice.writer);
	archive_write_open(twice.writer, &twice, NULL, aci_write, NULL);
	aci_put(&twice, aci_entry_make("raw", AE_IFREG, 0644), aci.data, aci.length);
	aci_end(&twice);
	assert_refused(*state, twice.data, twice.length, NULL, -EINVAL, "more than once");
	aci_free(&aci);
	aci_free(&twice);
}

static void limits_stop_bombs(void **state)
{
	struct store_import_options options = {.limits = {.archive_bytes = 1 << 20}};
	struct store_import_options few = {.limits = {.entries = 10}};
	char *zeros = calloc(1, 4 << 20);
	struct aci aci;

	assert_non_null(zeros);
	aci_begin(&aci, ARCHIVE_FILTER_XZ);
	aci_manifest(&aci, "example.com/a", "");
	aci_put(&aci, aci_entry_make("rootfs/zeros", AE_IFREG, 0644), zeros, 4 << 20);
	aci_end(&aci);
	assert_true(aci.length < 16384);
	assert_refused(*state, aci.data, aci.length, &options, -EFBIG, "larger than 1048576 bytes");
	aci_free(&aci);
	/* Zeros behind the end-of-archive mark. */
	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	aci_write(NULL, &aci, zeros, 4 << 20);
	assert_refused(*state, aci.data, aci.length, &options, -EFBIG, "larger than 1048576 bytes");
	aci_free(&aci);
	free(zeros);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	for (int i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "rootfs/%d", i);
		aci_file(&aci, name, 0644, "");
	}
	aci_end(&aci);
	assert_refused(*state, aci.data, aci.length, &few, -EFBIG, "more than 10 entries");
	aci_free(&aci);
}

static void a_ratio_that_only_bombs_have_is_refused(void **state)
{
	const size_t size = STORE_RATIO_FREE_BYTES + (16u << 20);
	struct store_import_options large = {.limits = {.archive_bytes = 1ull << 30}};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	struct aci aci;
	char *zeros;

	/* More than a quarter of a gigabyte, three times. */
	if (turns_divisor() > 1)
		skip();
	zeros = calloc(1, size);
	assert_non_null(zeros);
	aci_begin(&aci, ARCHIVE_FILTER_GZIP);
	aci_manifest(&aci, "example.com/a", "");
	aci_put(&aci, aci_entry_make("rootfs/zeros", AE_IFREG, 0644), zeros, size);
	aci_end(&aci);
	assert_refused(fixture, aci.data, aci.length, NULL, -EFBIG, "more than 100 times as large");
	/* Who says how large it may become means it. */
	if (import_bytes(fixture->store, aci.data, aci.length, &large, id, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	aci_free(&aci);
	free(zeros);
}

/* As small as an image is as a rule. */
static void the_ratio_of_a_small_image_says_nothing(void **state)
{
	const size_t size = 4 << 20;
	struct store_import_options low = {.limits = {.ratio = 10}};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	char *zeros = calloc(1, size);
	struct error err = {0};
	struct aci aci;

	assert_non_null(zeros);
	aci_begin(&aci, ARCHIVE_FILTER_XZ);
	aci_manifest(&aci, "example.com/a", "");
	aci_put(&aci, aci_entry_make("rootfs/zeros", AE_IFREG, 0644), zeros, size);
	aci_end(&aci);
	free(zeros);
	assert_true(aci.length < size / 100);
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, &low, id, &err), 0);
	aci_free(&aci);
}

/* ---- finding */

static void ids_are_found_by_prefix(void **state)
{
	struct fixture *fixture = *state;
	char ids[17][STORE_IMAGE_ID_SIZE], found[STORE_IMAGE_ID_SIZE], prefix[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	/* Among 17 images two begin with the same digit; two digits are the shortest prefix. */
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct aci aci;
		char name[32];

		snprintf(name, sizeof(name), "example.com/%zu", i);
		build_plain(&aci, ARCHIVE_FILTER_NONE, name, "");
		assert_int_equal(
			import_bytes(fixture->store, aci.data, aci.length, NULL, ids[i], &err), 0);
		aci_free(&aci);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(store_find_id(fixture->store, ids[i], found, &err), 0);
		assert_string_equal(found, ids[i]);
		for (size_t length = 9; length <= 71; length += 31) {
			size_t same = 0;
			int r;

			for (size_t j = 0; j < ARRAY_SIZE(ids); j++)
				same += !strncmp(ids[i], ids[j], length);
			snprintf(prefix, sizeof(prefix), "%.*s", (int)length, ids[i]);
			r = store_find_id(fixture->store, prefix, found, &err);
			assert_int_equal(r, same == 1 ? 0 : -ENOTUNIQ);
			if (r == 0)
				assert_string_equal(found, ids[i]);
		}
	}
	assert_int_equal(store_find_id(fixture->store, "sha512-0", found, &err), -EINVAL);
	assert_int_equal(store_find_id(fixture->store, "sha512-zz", found, &err), -EINVAL);
	assert_int_equal(store_find_id(fixture->store, "sha256-00", found, &err), -EINVAL);
	assert_int_equal(store_find_id(fixture->store, "sha512-../../x", found, &err), -EINVAL);
	assert_int_equal(
		store_find_id(fixture->store, "sha512-000000000000000000", found, &err), -ENOENT);
}

/* Two directories that begin alike: the store only looks at names. */
static void an_ambiguous_prefix_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	char found[STORE_IMAGE_ID_SIZE], path[256];
	struct error err = {0};

	for (char last = '0'; last <= '1'; last++) {
		snprintf(path, sizeof(path), "images/sha512-%0127d%c", 0, last);
		assert_int_equal(mkdirat(fixture->dirfd, path, 0700), 0);
	}
	assert_int_equal(store_find_id(fixture->store, "sha512-00", found, &err), -ENOTUNIQ);
	assert_int_equal(store_find_id(fixture->store, path + strlen("images/"), found, &err), 0);
	assert_string_equal(found, path + strlen("images/"));
}

static void names_are_found_newest_first(void **state)
{
	struct fixture *fixture = *state;
	char ids[3][STORE_IMAGE_ID_SIZE], found[STORE_IMAGE_ID_SIZE];
	static const char *const versions[] = {"1", "2", "2"},
				 *const arches[] = {"amd64", "amd64", "aarch64"};
	struct appc_pair wanted[] = {
		{(char *)"version", (char *)"2"}, {(char *)"arch", (char *)"amd64"}};
	struct appc_pairs labels = {wanted, 0};
	struct error err = {0};
	struct aci aci;

	for (size_t i = 0; i < 3; i++) {
		char more[256];

		snprintf(more, sizeof(more),
			",\"labels\":[{\"name\":\"version\",\"value\":\"%s\"},"
			"{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":\"%s\"}]",
			versions[i], arches[i]);
		build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", more);
		assert_int_equal(
			import_bytes(fixture->store, aci.data, aci.length, NULL, ids[i], &err), 0);
		aci_free(&aci);
	}
	assert_int_equal(store_find_name(fixture->store, "example.com/a", NULL, found, &err), 0);
	assert_string_equal(found, ids[2]);
	labels.count = 1;
	assert_int_equal(store_find_name(fixture->store, "example.com/a", &labels, found, &err), 0);
	assert_string_equal(found, ids[2]);
	labels.count = 2;
	assert_int_equal(store_find_name(fixture->store, "example.com/a", &labels, found, &err), 0);
	assert_string_equal(found, ids[1]);
	wanted[0].value = (char *)"3";
	assert_int_equal(
		store_find_name(fixture->store, "example.com/a", &labels, found, &err), -ENOENT);
	assert_non_null(strstr(err.message, "version=1"));
	assert_int_equal(
		store_find_name(fixture->store, "example.com/b", NULL, found, &err), -ENOENT);
	assert_non_null(strstr(err.message, "image name \"example.com/b\" not found"));
}

static void a_damaged_image_does_not_hide_the_others(void **state)
{
	struct fixture *fixture = *state;
	char good[STORE_IMAGE_ID_SIZE], bad[STORE_IMAGE_ID_SIZE], path[256];
	struct store_image *images;
	struct error err = {0};
	struct aci aci;
	size_t count;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, bad, &err), 0);
	aci_free(&aci);
	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/b", "");
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, good, &err), 0);
	aci_free(&aci);
	snprintf(path, sizeof(path), "images/%s/manifest", bad);
	assert_int_equal(file_write_atomic(fixture->dirfd, path, "{", 1, 0600), 0);
	assert_int_equal(store_list(fixture->store, &images, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_string_equal(images[0].id, good);
	store_images_free(images, count);
}

static void importing_again_mends_what_was_damaged(void **state)
{
	static const struct {
		const char *file, *text; /* NULL: it is removed */
	} cases[] = {
		{"manifest", "{"},
		{"manifest", NULL},
		{"image.tar", "short"},
		{"image.tar", NULL},
		{"info.json", "{}"},
		{"last-used", NULL},
	};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], path[256];
	struct store_image *images;
	struct error err = {0};
	struct aci aci;
	size_t count;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, &err), 0);
	for (size_t i = 0; i <= ARRAY_SIZE(cases); i++) {
		snprintf(path, sizeof(path), "images/%s/%s", id,
			i < ARRAY_SIZE(cases) ? cases[i].file : "image.tar");
		if (i == ARRAY_SIZE(cases)) {
			/* One bit of an archive that has its size. */
			_cleanup_close_ int fd = openat(fixture->dirfd, path, O_WRONLY | O_CLOEXEC);

			assert_int_equal(pwrite(fd, "x", 1, 700), 1);
		} else if (cases[i].text) {
			assert_int_equal(file_write_atomic(fixture->dirfd, path, cases[i].text,
						 strlen(cases[i].text), 0600),
				0);
		} else {
			assert_int_equal(unlinkat(fixture->dirfd, path, 0), 0);
		}
		assert_int_equal(
			import_bytes(fixture->store, aci.data, aci.length, NULL, id, &err), 0);
		assert_int_equal(store_verify_image(fixture->store, id, &err), 0);
		assert_int_equal(store_list(fixture->store, &images, &count, &err), 0);
		assert_int_equal(count, 1);
		store_images_free(images, count);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
	}
	aci_free(&aci);
}

static void an_image_whose_manifest_is_not_the_archives_fails_verification(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], path[256];
	_cleanup_free_ char *text = NULL;
	struct error err = {0};
	struct aci aci;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, &err), 0);
	assert_int_equal(store_verify_image(fixture->store, id, &err), 0);
	assert_int_equal(store_image_manifest_text(fixture->store, id, &text, &err), 0);
	/* As valid as before. */
	*strstr(text, "example.com/a") = 'a';
	snprintf(path, sizeof(path), "images/%s/manifest", id);
	assert_int_equal(file_write_atomic(fixture->dirfd, path, text, strlen(text), 0600), 0);
	assert_int_equal(store_verify_image(fixture->store, id, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "its manifest is not the archive's"));
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, &err), 0);
	assert_int_equal(store_verify_image(fixture->store, id, &err), 0);
	aci_free(&aci);
}

/* ---- killed processes */

static void what_a_killed_import_left_is_removed(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	struct aci aci;
	int pipe_fds[2], status;
	pid_t child;

	build_plain(&aci, ARCHIVE_FILTER_NONE, "example.com/a", "");
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* The pipe never ends: its writing end is open here too. */
		store_import(fixture->store, pipe_fds[0], "pipe", NULL, id, NULL);
		_exit(1);
	}
	assert_int_equal(file_write_all(pipe_fds[1], aci.data, 2048), 0);
	while (fixture_count(fixture, "tmp") == 0)
		sched_yield();
	/* Alive, and thus left alone. */
	assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, &err), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(fixture_count(fixture, "tmp"), 1);
	assert_int_equal(import_bytes(fixture->store, aci.data, aci.length, NULL, id, &err), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
	assert_int_equal(fixture_count(fixture, "images"), 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	aci_free(&aci);
}

static void rubbish_in_tmp_is_removed_and_live_work_is_not(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_close_ int live = -1;
	struct error err = {0};

	assert_int_equal(mkdirat(fixture->dirfd, "tmp/import-dead", 0700), 0);
	assert_int_equal(mkdirat(fixture->dirfd, "tmp/import-dead/sub", 0700), 0);
	assert_int_equal(symlinkat("/etc", fixture->dirfd, "tmp/render-link"), 0);
	assert_int_equal(mkdirat(fixture->dirfd, "tmp/import-live", 0700), 0);
	live = directory_open(fixture->dirfd, "tmp/import-live");
	assert_int_equal(flock(live, LOCK_EX), 0);
	assert_int_equal(store_gc(fixture->store, NULL, 0, NULL, &err), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 1);
	assert_int_equal(faccessat(fixture->dirfd, "tmp/import-live", F_OK, 0), 0);
}

#define store_test(function) \
	cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(the_id_is_the_hash_of_the_uncompressed_archive),
		store_test(padding_counts_for_the_id),
		store_test(importing_twice_leaves_the_image_as_it_was),
		store_test(a_pipe_will_do_and_progress_is_told),
		store_test(hostile_archives_are_refused),
		store_test(bad_manifests_are_refused),
		store_test(truncated_archives_are_refused),
		store_test(corrupt_compression_is_refused),
		store_test(two_gzip_members_are_one_archive),
		store_test(what_is_no_archive_is_refused),
		store_test(limits_stop_bombs),
		store_test(a_ratio_that_only_bombs_have_is_refused),
		store_test(the_ratio_of_a_small_image_says_nothing),
		store_test(ids_are_found_by_prefix),
		store_test(an_ambiguous_prefix_is_an_error),
		store_test(names_are_found_newest_first),
		store_test(a_damaged_image_does_not_hide_the_others),
		store_test(importing_again_mends_what_was_damaged),
		store_test(an_image_whose_manifest_is_not_the_archives_fails_verification),
		store_test(what_a_killed_import_left_is_removed),
		store_test(rubbish_in_tmp_is_removed_and_live_work_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
