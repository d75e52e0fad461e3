// SPDX-License-Identifier: Apache-2.0
/* test_container_layers.c: the layers of converted images become one tree. */
#include "container_import.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* ---- layers */

static void upper_layers_replace_and_remove_what_lower_ones_have(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer;
	struct stat st, other;

	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_directory(&layer, "./", 0755);
	aci_directory(&layer, "etc/", 0700);
	aci_file(&layer, "./etc/replaced", 0644, "lower");
	aci_file(&layer, "etc/removed", 0644, "lower");
	aci_file(&layer, "etc/kept", 0644, "lower");
	aci_hardlink(&layer, "etc/link", "etc/replaced");
	aci_hardlink(&layer, "second", "./etc/link");
	aci_file(&layer, "tree/deep/er/file", 0644, "lower");
	aci_file(&layer, "opaque/lower/file", 0644, "lower");
	aci_file(&layer, "becomes-directory", 0644, "lower");
	aci_file(&layer, "becomes-file/inside", 0644, "lower");
	aci_symlink(&layer, "becomes-real", "etc");
	container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);

	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_directory(&layer, "etc", 0750);
	aci_file(&layer, "etc/replaced", 0600, "upper");
	aci_file(&layer, "etc/.wh.removed", 0644, "");
	aci_file(&layer, "etc/.wh.was-never-there", 0644, "");
	aci_file(&layer, "tree/.wh.deep", 0644, "");
	aci_file(&layer, "opaque/upper", 0644, "upper");
	aci_file(&layer, "opaque/.wh..wh..opq", 0644, "");
	aci_file(&layer, "becomes-directory/inside", 0644, "upper");
	aci_file(&layer, "becomes-file", 0644, "upper");
	aci_file(&layer, "becomes-real/inside", 0644, "upper");
	container_layer(&container, &layer, ARCHIVE_FILTER_ZSTD);

	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, "tree/deep/again", 0644, "top");
	aci_hardlink(&layer, "to-lower", "etc/kept");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);

	root = render(fixture, id);
	assert_content(root, "etc/replaced", "upper");
	assert_content(root, "etc/link", "lower");
	assert_content(root, "second", "lower");
	assert_int_equal(fstatat(root, "etc/link", &st, 0), 0);
	assert_int_equal(fstatat(root, "second", &other, 0), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_false(exists(root, "etc/removed"));
	assert_int_equal(fstatat(root, "etc", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_false(exists(root, "tree/deep/er"));
	assert_content(root, "tree/deep/again", "top");
	assert_false(exists(root, "opaque/lower"));
	assert_content(root, "opaque/upper", "upper");
	assert_content(root, "becomes-directory/inside", "upper");
	assert_content(root, "becomes-file", "upper");
	assert_int_equal(fstatat(root, "becomes-real", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_false(exists(root, "etc/inside"));
	assert_int_equal(fstatat(root, "etc/kept", &st, 0), 0);
	assert_int_equal(fstatat(root, "to-lower", &other, 0), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_false(exists(root, "etc/.wh.removed"));
	assert_false(exists(root, "opaque/.wh..wh..opq"));
}

static void whiteouts_are_about_lower_layers_only(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer;

	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, "a/lower", 0644, "lower");
	aci_file(&layer, "b/lower", 0644, "lower");
	aci_file(&layer, "c", 0644, "lower");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	/* Whether the marks come before or after what the same layer brings is the same. */
	aci_file(&layer, "a/before", 0644, "upper");
	aci_file(&layer, ".wh.a", 0644, "");
	aci_file(&layer, "a/after", 0644, "upper");
	aci_directory(&layer, "b", 0755);
	aci_file(&layer, "b/before", 0644, "upper");
	aci_file(&layer, "b/.wh..wh..opq", 0644, "");
	aci_file(&layer, "c", 0644, "upper");
	aci_file(&layer, ".wh.c", 0644, "");
	aci_file(&layer, "d/.wh..wh..opq", 0644, "");
	aci_directory(&layer, ".wh..wh.plnk", 0755);
	aci_file(&layer, ".wh..wh.plnk/123.456", 0644, "of aufs");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);

	root = render(fixture, id);
	assert_content(root, "a/before", "upper");
	assert_content(root, "a/after", "upper");
	assert_false(exists(root, "a/lower"));
	assert_content(root, "b/before", "upper");
	assert_false(exists(root, "b/lower"));
	assert_content(root, "c", "upper");
	assert_false(exists(root, "d"));
	assert_false(exists(root, ".wh..wh.plnk"));
}

static void an_opaque_root_hides_all_lower_layers(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer;

	container_begin(&container);
	one_layer(&container, "lower/file", "lower");
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, ".wh..wh..opq", 0644, "");
	aci_file(&layer, "upper", 0644, "upper");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	assert_false(exists(root, "lower"));
	assert_content(root, "upper", "upper");
}

static void the_last_of_several_entries_of_a_layer_counts(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer;
	struct stat st;

	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_directory(&layer, "dir", 0700);
	aci_file(&layer, "dir/file", 0644, "first");
	aci_hardlink(&layer, "dir/link", "dir/file");
	aci_directory(&layer, "dir", 0755);
	aci_file(&layer, "dir/file", 0644, "second");
	aci_file(&layer, "gone/below", 0644, "first");
	aci_symlink(&layer, "gone", "dir");
	aci_symlink(&layer, "there", "dir");
	aci_directory(&layer, "there", 0755);
	aci_file(&layer, "there/below", 0644, "second");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	assert_content(root, "dir/file", "second");
	assert_content(root, "dir/link", "first");
	assert_int_equal(fstatat(root, "dir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fstatat(root, "gone", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_content(root, "there/below", "second");
	assert_false(exists(root, "dir/below"));
}

static void what_a_layer_says_of_a_file_is_kept(void **state)
{
	static const uint8_t capability[20] = {0x01, 0, 0, 0x02, 0, 0x20};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], deep[600] = "", name[300], value[64];
	_cleanup_close_ int root = -1, file = -1;
	struct archive_entry *entry;
	struct container container;
	bool is_root = geteuid() == 0;
	struct aci layer;
	struct stat st;

	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	entry = aci_entry_make("file", AE_IFREG, 06751);
	archive_entry_set_uid(entry, is_root ? 3000000000 : getuid());
	archive_entry_set_gid(entry, is_root ? 2097152 : getgid());
	archive_entry_set_mtime(entry, 1234567890, 123456789);
	archive_entry_xattr_add_entry(entry, "user.note", "a\0=\nb", 5);
	archive_entry_xattr_add_entry(entry, "security.capability", capability, 20);
	archive_entry_xattr_add_entry(entry, "trusted.overlay.opaque", "y", 1);
	aci_put(&layer, entry, "content", 7);
	entry = aci_entry_make("old", AE_IFREG, 0644);
	archive_entry_set_mtime(entry, -86400, 0);
	aci_put(&layer, entry, "", 0);
	entry = aci_entry_make("null", AE_IFCHR, 0666);
	archive_entry_set_rdevmajor(entry, 1);
	archive_entry_set_rdevminor(entry, 3);
	aci_put(&layer, entry, NULL, 0);
	aci_put(&layer, aci_entry_make("fifo", AE_IFIFO, 0620), NULL, 0);
	aci_symlink(&layer, "link", "/else/where/../\xff");
	aci_file(&layer, "\xc3\xa9-\xff", 0600, "not ascii");
	for (int i = 0; i < 5; i++)
		strcat(deep,
			"a-directory-with-a-name-that-is-far-longer-than-any-header-has-room-for-in-its-"
			"fields-for-names/");
	strcat(deep, "file");
	aci_file(&layer, deep, 0644, "deep");
	memset(name, 'n', 255);
	name[255] = '\0';
	aci_file(&layer, name, 0644, "long");
	aci_symlink(&layer, "long-link", deep);
	container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);
	container_name(&container, "example.com/files:1");
	must_import(fixture, &container, id);
	container_free(&container);

	root = render(fixture, id);
	assert_int_equal(fstatat(root, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 06751);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(fstatat(root, "old", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, -86400);
	assert_content(root, "\xc3\xa9-\xff", "not ascii");
	assert_content(root, deep, "deep");
	assert_content(root, name, "long");
	assert_int_equal(readlinkat(root, "link", value, sizeof(value)), 16);
	assert_memory_equal(value, "/else/where/../\xff", 16);
	assert_int_equal(fstatat(root, "long-link", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_size, strlen(deep));
	assert_int_equal(fstatat(root, "fifo", &st, 0), 0);
	assert_true(S_ISFIFO(st.st_mode));
	if (!is_root)
		return;
	assert_int_equal(fstatat(root, "null", &st, 0), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	file = openat(root, "file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_uid, 3000000000);
	assert_int_equal(st.st_gid, 2097152);
	assert_int_equal(fgetxattr(file, "user.note", value, sizeof(value)), 5);
	assert_memory_equal(value, "a\0=\nb", 5);
	assert_int_equal(fgetxattr(file, "security.capability", value, sizeof(value)), 20);
	assert_memory_equal(value, capability, 20);
	assert_true(fgetxattr(file, "trusted.overlay.opaque", value, sizeof(value)) < 0);
}

static void holes_of_sparse_files_are_zeros(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], end[4096] = {0}, text[4];
	_cleanup_close_ int root = -1, file = -1;
	struct archive_entry *entry;
	struct container container;
	struct aci layer;
	struct stat st;

	memcpy(end + 4092, "end", 3);
	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	entry = aci_entry_make("sparse", AE_IFREG, 0644);
	archive_entry_set_size(entry, 4 << 20);
	archive_entry_sparse_add_entry(entry, (4 << 20) - 4096, 4096);
	assert_int_equal(archive_write_header(layer.writer, entry), ARCHIVE_OK);
	for (int i = 0; i < (4 << 20) / 4096 - 1; i++)
		assert_int_equal(archive_write_data(layer.writer, (char[4096]){0}, 4096), 4096);
	assert_int_equal(archive_write_data(layer.writer, end, 4096), 4096);
	archive_entry_free(entry);
	assert_true(layer.length < 1 << 20);
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/files:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	file = openat(root, "sparse", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_size, 4 << 20);
	assert_int_equal(pread(file, text, 4, (4 << 20) - 4), 4);
	assert_memory_equal(text, "end", 4);
	assert_int_equal(pread(file, text, 4, 1 << 20), 4);
	assert_memory_equal(text, "\0\0\0", 4);
}

/* Frames and members that follow each other, as makers of seekable layers write them. */
static void layers_of_several_frames_are_read(void **state)
{
	static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'd', 'a', 't', 'a'};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		char id[STORE_IMAGE_ID_SIZE], digest[72];
		_cleanup_free_ char *both = NULL;
		_cleanup_close_ int root = -1;
		struct container container;
		struct aci layer, first, second;
		size_t length, half;

		container_begin(&container);
		aci_begin(&layer, ARCHIVE_FILTER_NONE);
		aci_file(&layer, "file", 0644, "content");
		aci_file(&layer, i ? "zstd" : "gzip", 0644, "other");
		aci_end(&layer);
		half = layer.length / 2;
		digest_text(layer.data, layer.length, digest);
		json_array_append_new(container.diff_ids, json_string(digest));
		bytes_compress(&first, filters[i], layer.data, half);
		bytes_compress(&second, filters[i], layer.data + half, layer.length - half);
		length = first.length + second.length;
		both = malloc(length + sizeof(skippable));
		memcpy(both, first.data, first.length);
		memcpy(both + first.length, second.data, second.length);
		if (filters[i] == ARCHIVE_FILTER_ZSTD) {
			memcpy(both + length, skippable, sizeof(skippable));
			length += sizeof(skippable);
		}
		json_array_append_new(
			container.layers, container_blob(&container, TYPE_LAYER, both, length));
		container_name(&container, "example.com/frames:1");
		must_import(fixture, &container, id);
		root = render(fixture, id);
		assert_content(root, "file", "content");
		assert_content(root, i ? "zstd" : "gzip", "other");
		container_free(&container);
		aci_free(&layer);
		aci_free(&first);
		aci_free(&second);
	}
}

static void empty_layers_are_layers(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], digest[72];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer, nothing;

	container_begin(&container);
	one_layer(&container, "file", "content");
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);
	digest_text("", 0, digest);
	json_array_append_new(container.diff_ids, json_string(digest));
	json_array_append_new(container.layers, container_blob(&container, TYPE_LAYER, "", 0));
	json_array_append_new(container.diff_ids, json_string(digest));
	bytes_compress(&nothing, ARCHIVE_FILTER_GZIP, "", 0);
	json_array_append_new(container.layers,
		container_blob(&container, TYPE_LAYER "+gzip", nothing.data, nothing.length));
	aci_free(&nothing);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	assert_content(root, "file", "content");
}

static void an_image_may_have_no_layer(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;

	container_begin(&container);
	container_name(&container, "example.com/scratch:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	assert_true(root >= 0);
}

static void hostile_layers_are_refused(void **state)
{
	static const struct {
		const char *entries
			[3]; /* "+PATH" file, "/PATH" directory, "@PATH>TARGET" symbolic, "=..." hard link */
		const char *words[3];
	} cases[] = {
		{{"+../outside"}, {"entry \"../outside\"", "leaves the archive's root"}},
		{{"+a/../../outside"}, {"leaves the archive's root"}},
		{{"=link>../../etc/passwd"}, {"hard link to \"../../etc/passwd\""}},
		{{"=link>missing"}, {"\"rootfs/link\"", "hard link to \"rootfs/missing\""}},
		{{"/dir", "=link>dir"}, {"hard link to a directory"}},
		{{"@link>/etc", "+link/passwd"},
			{"\"rootfs/link/passwd\"", "lies below an entry that is not a directory"}},
		{{"+file", "/file/dir"}, {"lies below an entry that is not a directory"}},
		{{"+.wh."}, {"a whiteout that names no file"}},
		{{"+dir/.wh.."}, {"a whiteout that names no file"}},
		{{"+dir/.wh..."}, {"a whiteout that names no file"}},
		{{"+.wh.dir/file"}, {"lies below a whiteout"}},
		{{"@rootfs-link>", "+a"}, {"symbolic link with an empty"}},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *words[5] = {"dir/some.tar: layer \"blobs/sha256/"};
		struct container container;
		struct aci layer;

		for (size_t j = 0; j < 3; j++)
			words[j + 1] = cases[i].words[j];
		container_begin(&container);
		aci_begin(&layer, ARCHIVE_FILTER_NONE);
		for (size_t j = 0; j < 3 && cases[i].entries[j]; j++) {
			_cleanup_free_ char *path = strdup(cases[i].entries[j] + 1);
			char *target = strchr(path, '>');

			if (target)
				*target++ = '\0';
			if (cases[i].entries[j][0] == '/')
				aci_directory(&layer, path, 0755);
			else if (cases[i].entries[j][0] == '@')
				aci_symlink(&layer, path, target);
			else if (cases[i].entries[j][0] == '=')
				aci_hardlink(&layer, path, target);
			else
				aci_file(&layer, path, 0644, "x");
		}
		container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
		container_name(&container, "example.com/hostile:1");
		must_refuse(fixture, &container, NULL, -EINVAL, words);
		container_free(&container);
	}
}

static void a_link_of_a_lower_layer_is_not_followed_by_a_whiteout(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct aci layer;

	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, "etc/passwd", 0644, "root");
	aci_symlink(&layer, "link", "etc");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, "link/.wh.passwd", 0644, "");
	aci_file(&layer, "link/.wh..wh..opq", 0644, "");
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/layers:1");
	must_import(fixture, &container, id);
	container_free(&container);
	root = render(fixture, id);
	assert_content(root, "etc/passwd", "root");
}

static void limits_hold_for_all_layers_together(void **state)
{
	struct store_import_options options = {.limits = {.archive_bytes = 64 << 10, .entries = 8}};
	struct fixture *fixture = *state;
	struct container container;
	char *large = calloc(1, 40 << 10);
	struct aci layer;

	memset(large, 'x', (40 << 10) - 1);
	container_begin(&container);
	for (int i = 0; i < 2; i++)
		one_layer(&container, i ? "a" : "b", large);
	container_name(&container, "example.com/bomb:1");
	REFUSE(fixture, &container, &options, -EFBIG, "larger than 65536 bytes");
	container_free(&container);
	free(large);

	container_begin(&container);
	for (int i = 0; i < 3; i++) {
		aci_begin(&layer, ARCHIVE_FILTER_NONE);
		aci_file(&layer, "a", 0644, "");
		aci_file(&layer, "b", 0644, "");
		aci_file(&layer, ".wh.c", 0644, "");
		container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);
	}
	container_name(&container, "example.com/bomb:1");
	REFUSE(fixture, &container, &options, -EFBIG, "more than 8 entries");
	container_free(&container);

	/* A file that is large only in its header. */
	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	{
		struct archive_entry *entry = aci_entry_make("sparse", AE_IFREG, 0644);

		archive_entry_set_size(entry, 1ll << 40);
		archive_entry_sparse_add_entry(entry, 0, 1);
		assert_int_equal(archive_write_header(layer.writer, entry), ARCHIVE_OK);
		assert_int_equal(archive_write_data(layer.writer, "x", 1), 1);
		archive_entry_free(entry);
	}
	container_layer(&container, &layer, ARCHIVE_FILTER_NONE);
	container_name(&container, "example.com/bomb:1");
	REFUSE(fixture, &container, &options, -EFBIG, "entry \"rootfs/sparse\"",
		"larger than 65536 bytes");
	container_free(&container);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(upper_layers_replace_and_remove_what_lower_ones_have),
		store_test(whiteouts_are_about_lower_layers_only),
		store_test(an_opaque_root_hides_all_lower_layers),
		store_test(the_last_of_several_entries_of_a_layer_counts),
		store_test(what_a_layer_says_of_a_file_is_kept),
		store_test(holes_of_sparse_files_are_zeros),
		store_test(layers_of_several_frames_are_read),
		store_test(empty_layers_are_layers),
		store_test(an_image_may_have_no_layer),
		store_test(hostile_layers_are_refused),
		store_test(a_link_of_a_lower_layer_is_not_followed_by_a_whiteout),
		store_test(limits_hold_for_all_layers_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
