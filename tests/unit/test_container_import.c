// SPDX-License-Identifier: Apache-2.0
/* test_container_import.c: OCI image layouts and docker-save archives, on their way into the store. */
#include "container-builder.h"

#include "store/docker-reference.h"

#include <sched.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* A layout of one image under a reference. */
static void container_name(struct container *container, const char *reference)
{
	container_index(
		container, json_pack("[o]", named(container_manifest(container), reference)));
}

static void must_import(struct fixture *fixture, const struct container *container,
	char ret_id[STORE_IMAGE_ID_SIZE])
{
	struct error err;

	if (import_container(fixture, container, NULL, ret_id, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

/* Nothing appears, nothing is left, and the message has all that is expected, which NULL ends. */
static void must_refuse(struct fixture *fixture, const struct container *container,
	const struct store_import_options *options, int expected, const char *const *words)
{
	char id[STORE_IMAGE_ID_SIZE];
	struct error err;
	int r = import_container(fixture, container, options, id, &err);

	if (r != expected)
		fail_msg("result %d, expected %d: %s", r, expected, err.message);
	for (; *words; words++)
		if (!strstr(err.message, *words))
			fail_msg("\"%s\" lacks \"%s\"", err.message, *words);
	assert_int_equal(fixture_count(fixture, "images"), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}
#define REFUSE(fixture, container, options, expected, ...) \
	must_refuse(fixture, container, options, expected, (const char *const[]){__VA_ARGS__, NULL})

static int render(struct fixture *fixture, const char *id)
{
	char tree[STORE_TREE_ID_SIZE];
	struct error err = {0};

	if (store_render(fixture->store, id, tree, &err) < 0)
		fail_msg("%s", err.message);
	return store_open_tree(fixture->store, tree, &err);
}

static void assert_content(int dirfd, const char *path, const char *expected)
{
	_cleanup_free_ char *content = NULL;

	if (file_read(dirfd, path, 1 << 20, &content, NULL) < 0)
		fail_msg("cannot read %s", path);
	assert_string_equal(content, expected);
}

static bool exists(int dirfd, const char *path)
{
	return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static json_t *manifest_json(struct fixture *fixture, const char *id)
{
	struct appc_image_manifest *manifest;
	json_t *json;

	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	json = appc_image_manifest_json(manifest);
	appc_image_manifest_free(manifest);
	assert_non_null(json);
	return json;
}

static void one_layer(struct container *container, const char *file, const char *content)
{
	struct aci layer;

	aci_begin(&layer, ARCHIVE_FILTER_NONE);
	aci_file(&layer, file, 0644, content);
	container_layer(container, &layer, ARCHIVE_FILTER_NONE);
}

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

/* ---- configuration */

static void the_configuration_becomes_the_manifest(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], image_id[72], manifest_digest[72];
	_cleanup_json_ json_t *found = NULL, *expected = NULL, *descriptor = NULL;
	_cleanup_free_ char *found_text = NULL, *expected_text = NULL;
	struct container container;

	container_begin(&container);
	json_decref(container.config);
	container.config = json_loads(
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"A. Person\","
		"\"created\":\"2026-11-22T10:00:00.5Z\",\"comment\":\"made by hand\","
		"\"config\":{\"User\":\"33:44\",\"WorkingDir\":\"/srv\","
		"\"Env\":[\"PATH=/bin\",\"A=b=c\",\"EMPTY=\",\"A=again\",\"0bad=x\",\"NOVALUE\"],"
		"\"Entrypoint\":[\"/bin/sh\",\"-c\"],\"Cmd\":[\"echo hi\"],"
		"\"Volumes\":{\"/var/lib/data\":{},\"/Data_x\":{},\"/data.x\":{},\"relative\":{}},"
		"\"ExposedPorts\":{\"8080/tcp\":{},\"53/udp\":{},\"443\":{},\"7000-7009/tcp\":{}},"
		"\"Labels\":{\"org.example.b\":\"2\",\"org.example.a\":\"1\"},"
		"\"StopSignal\":\"SIGINT\",\"Healthcheck\":{\"Test\":[\"NONE\"]}}}",
		0, NULL);
	assert_non_null(container.config);
	descriptor = container_config_blob(&container);
	snprintf(image_id, sizeof(image_id), "%s",
		json_string_value(json_object_get(descriptor, "digest")));
	json_decref(descriptor);
	descriptor = container_manifest(&container);
	snprintf(manifest_digest, sizeof(manifest_digest), "%s",
		json_string_value(json_object_get(descriptor, "digest")));
	container_name(&container, "localhost:5000/team/some_app:v1.2");
	must_import(fixture, &container, id);
	container_free(&container);

	found = manifest_json(fixture, id);
	expected = json_pack("{s:s, s:s, s:s,"
			     "s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}",
		"acKind", "ImageManifest", "acVersion", "0.8.11", "name",
		"localhost_5000/team/some_app", "labels", "name", "os", "value", "linux", "name",
		"arch", "value", "amd64", "name", "version", "value", "v1.2");
	assert_non_null(expected);
	json_object_set_new(expected, "annotations",
		json_pack("[{s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s},"
			  "{s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}]",
			"name", "authors", "value", "A. Person", "name", "created", "value",
			"2026-11-22T10:00:00.5Z", "name", "docker-comment", "value", "made by hand",
			"name", "appc.io/docker/originalname", "value",
			"localhost:5000/team/some_app:v1.2", "name", "appc.io/docker/registryurl",
			"value", "localhost:5000", "name", "appc.io/docker/repository", "value",
			"team/some_app", "name", "appc.io/docker/tag", "value", "v1.2", "name",
			"appc.io/docker/imageid", "value", image_id, "name",
			"appc.io/docker/manifesthash", "value", manifest_digest, "name",
			"appc.io/docker/entrypoint", "value", "[\"/bin/sh\",\"-c\"]", "name",
			"appc.io/docker/cmd", "value", "[\"echo hi\"]"));
	json_object_set_new(expected, "app",
		json_loads(
			"{\"exec\":[\"/bin/sh\",\"-c\",\"echo hi\"],\"user\":\"33\",\"group\":\"44\","
			"\"workingDirectory\":\"/srv\",\"environment\":["
			"{\"name\":\"PATH\",\"value\":\"/bin\"},{\"name\":\"A\",\"value\":\"again\"},"
			"{\"name\":\"EMPTY\",\"value\":\"\"}],\"mountPoints\":["
			"{\"name\":\"volume-data-x\",\"path\":\"/Data_x\"},"
			"{\"name\":\"volume-data-x-1\",\"path\":\"/data.x\"},"
			"{\"name\":\"volume-var-lib-data\",\"path\":\"/var/lib/data\"},"
			"{\"name\":\"volume-relative\",\"path\":\"/relative\"}],\"ports\":["
			"{\"name\":\"443\",\"protocol\":\"tcp\",\"port\":443,\"count\":1,"
			"\"socketActivated\":false},"
			"{\"name\":\"53-udp\",\"protocol\":\"udp\",\"port\":53,\"count\":1,"
			"\"socketActivated\":false},"
			"{\"name\":\"7000-7009-tcp\",\"protocol\":\"tcp\",\"port\":7000,\"count\":10,"
			"\"socketActivated\":false},"
			"{\"name\":\"8080-tcp\",\"protocol\":\"tcp\",\"port\":8080,\"count\":1,"
			"\"socketActivated\":false}],\"userLabels\":{"
			"\"org.example.b\":\"2\",\"org.example.a\":\"1\"}}",
			0, NULL));
	found_text = json_dumps(found, JSON_SORT_KEYS | JSON_INDENT(1));
	expected_text = json_dumps(expected, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_string_equal(found_text, expected_text);
}

static void users_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *user, *group;
	} cases[] = {
		{"", "0", "0"},
		{"33:33", "33", "33"},
		{"www-data", "www-data", "www-data"},
		{"1000", "1000", "1000"},
		{"nobody:nogroup", "nobody", "nogroup"},
		{"nobody:", "nobody", "nobody"},
		{":5", "0", "5"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct appc_image_manifest *manifest;

		container_begin(&container);
		json_object_set_new(json_object_get(container.config, "config"), "User",
			json_string(cases[i].text));
		container_name(&container, "example.com/user:1");
		must_import(fixture, &container, id);
		container_free(&container);
		assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
		assert_string_equal(manifest->app->user, cases[i].user);
		assert_string_equal(manifest->app->group, cases[i].group);
		assert_int_equal(manifest->app->exec.count, 0);
		appc_image_manifest_free(manifest);
	}
}

static void architectures_have_the_names_of_the_specification(void **state)
{
	static const struct {
		const char *architecture, *variant, *label;
	} cases[] = {
		{"amd64", "v2", "amd64"},
		{"386", NULL, "i386"},
		{"arm64", "v8", "aarch64"},
		{"arm", "v7", "armv7l"},
		{"arm", "v6", "armv6l"},
		{"ppc64le", NULL, "ppc64le"},
		{"s390x", NULL, "s390x"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct appc_image_manifest *manifest;

		container_begin(&container);
		json_object_set_new(
			container.config, "architecture", json_string(cases[i].architecture));
		if (cases[i].variant)
			json_object_set_new(
				container.config, "variant", json_string(cases[i].variant));
		container_name(&container, "example.com/arch:1");
		must_import(fixture, &container, id);
		container_free(&container);
		assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
		assert_string_equal(appc_pairs_get(&manifest->labels, "arch"), cases[i].label);
		appc_image_manifest_free(manifest);
	}
}

static void bad_configurations_are_refused_by_field(void **state)
{
	static const struct {
		const char *config, *words;
	} cases[] = {
		{"[]", "expected an object"},
		{"{\"os\":\"windows\",\"architecture\":\"amd64\"}",
			"os: the image is for \"windows\""},
		{"{\"architecture\":\"amd64\"}", "os: the image is for \"\""},
		{"{\"os\":\"linux\",\"architecture\":\"riscv64\"}",
			"unknown architecture \"riscv64\""},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":[]}",
			"config: expected an object"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[1]}}",
			"config.Env[0]: expected a string"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":\"sh\"}}",
			"config.Cmd: expected an array"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"0/tcp\":{}}}}",
			"config.ExposedPorts: \"0/tcp\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"9-8\":{}}}}",
			"\"9-8\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"65536\":{}}}}",
			"\"65536\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Volumes\":[]}}",
			"config.Volumes: expected an object"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"md5:00\"]}}",
			"rootfs.diff_ids[0]: \"md5:00\" is not a sha256"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"../x\"]}}",
			"is not a sha256"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "rootfs: expected an object"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct container container;
		json_t *config;

		container_begin(&container);
		config = container_blob(
			&container, TYPE_CONFIG, cases[i].config, strlen(cases[i].config));
		container_index(&container,
			json_pack("[o]",
				container_json_blob(&container, TYPE_MANIFEST,
					json_pack("{s:i, s:o, s:[]}", "schemaVersion", 2, "config",
						config, "layers"))));
		REFUSE(fixture, &container, NULL, -EINVAL, "dir/some.tar: blobs/sha256/",
			cases[i].words);
		container_free(&container);
	}
}

/* ---- names */

static void references_are_completed_as_docker_does(void **state)
{
	static const struct {
		const char *text, *registry, *repository, *tag;
	} cases[] = {
		{"busybox", DOCKER_HUB, "library/busybox", "latest"},
		{"busybox:1.36", DOCKER_HUB, "library/busybox", "1.36"},
		{"team/app", DOCKER_HUB, "team/app", "latest"},
		{"docker.io/busybox", DOCKER_HUB, "library/busybox", "latest"},
		{"docker.io/library/busybox:1", DOCKER_HUB, "library/busybox", "1"},
		{"index.docker.io/team/app:x", DOCKER_HUB, "team/app", "x"},
		{"localhost/app", "localhost", "app", "latest"},
		{"localhost:5000/a/b/c:d", "localhost:5000", "a/b/c", "d"},
		{"quay.io/app@sha256:0000", "quay.io", "app", "latest"},
		{"quay.io/app:7@sha256:0000", "quay.io", "app", "7"},
	};
	struct docker_reference reference;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(docker_reference_parse(cases[i].text, &reference, NULL), 0);
		assert_string_equal(reference.original, cases[i].text);
		assert_string_equal(reference.registry, cases[i].registry);
		assert_string_equal(reference.repository, cases[i].repository);
		assert_string_equal(reference.tag, cases[i].tag);
		docker_reference_clear(&reference);
	}
	assert_int_equal(docker_reference_parse("", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse(":tag", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("quay.io/", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("app:", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("@sha256:00", &reference, NULL), -EINVAL);
}

static void assert_name(
	struct fixture *fixture, const char *id, const char *name, const char *version)
{
	struct appc_image_manifest *manifest;

	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	assert_string_equal(manifest->name, name);
	assert_string_equal(appc_pairs_get(&manifest->labels, "version"), version);
	assert_non_null(appc_pairs_get(&manifest->annotations, "appc.io/docker/repository"));
	appc_image_manifest_free(manifest);
}

static void an_image_is_called_by_its_reference_its_file_or_as_told(void **state)
{
	struct store_import_options options = {.name = "example.com/told:3,channel=beta"};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct appc_image_manifest *manifest;
	struct container container;
	struct error err;

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "busybox:9");
	must_import(fixture, &container, id);
	assert_name(fixture, id, "registry-1.docker.io/library/busybox", "9");
	container_name(&container, "edge");
	must_import(fixture, &container, id);
	assert_name(fixture, id, "some", "edge");
	container_index(&container, json_pack("[o]", container_manifest(&container)));
	must_import(fixture, &container, id);
	assert_name(fixture, id, "some", "latest");

	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/told", "3");
	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	assert_string_equal(appc_pairs_get(&manifest->labels, "channel"), "beta");
	assert_string_equal(appc_pairs_get(&manifest->annotations, "appc.io/docker/repository"),
		"example.com/told");
	appc_image_manifest_free(manifest);
	options.name = "Not A Name";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "--name=Not A Name"));
	container_free(&container);
}

static int refuse_by_name(
	void *context, const struct appc_image_manifest *manifest, struct error *err)
{
	(void)context;
	return error_set(err, -EKEYREJECTED, "nobody vouches for %s", manifest->name);
}

static void who_is_asked_for_an_aci_is_asked_for_a_converted_image(void **state)
{
	const struct store_import_options options = {.accept = refuse_by_name};
	struct fixture *fixture = *state;
	struct container container;

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "example.com/signed:1");
	REFUSE(fixture, &container, &options, -EKEYREJECTED,
		"nobody vouches for example.com/signed");
	container_free(&container);
}

static void an_aci_has_its_own_name(void **state)
{
	struct store_import_options options = {.name = "example.com/told"};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	aci_directory(&aci, "rootfs", 0755);
	aci_end(&aci);
	assert_int_equal(
		import_bytes(fixture->store, aci.data, aci.length, &options, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "--name"));
	aci_free(&aci);
}

/* ---- layouts */

static void the_order_and_the_wrapping_of_a_layout_do_not_change_the_image(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], other[STORE_IMAGE_ID_SIZE], path[80];
	_cleanup_close_ int fd = -1, directory = -1;
	struct container container;
	struct container_file swapped;
	struct aci tar, compressed;
	struct error err = {0};

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "example.com/same:1");
	must_import(fixture, &container, id);
	swapped = container.files[0];
	container.files[0] = container.files[container.file_count - 1];
	container.files[container.file_count - 1] = swapped;
	must_import(fixture, &container, other);
	assert_string_equal(id, other);

	container_tar(&container, &tar);
	bytes_compress(&compressed, ARCHIVE_FILTER_ZSTD, tar.data, tar.length);
	fd = bytes_open(compressed.data, compressed.length);
	assert_int_equal(store_import(fixture->store, fd, "dir/some.tar", NULL, other, &err), 0);
	assert_string_equal(id, other);
	aci_free(&tar);
	aci_free(&compressed);

	snprintf(path, sizeof(path), "%s/layout", fixture->path);
	assert_int_equal(directory_create_path(AT_FDCWD, path, 0700), 0);
	directory = directory_open(AT_FDCWD, path);
	assert_int_equal(directory_create_path(directory, "blobs/sha256", 0700), 0);
	for (size_t i = 0; i < container.file_count; i++)
		assert_int_equal(file_write_atomic(directory, container.files[i].path,
					 container.files[i].data, container.files[i].length, 0600),
			0);
	if (store_import(fixture->store, directory, "layout", NULL, other, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(id, other);
	container_free(&container);
}

static void blobs_of_a_directory_stay_inside_it(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], path[80];
	_cleanup_close_ int directory = -1;
	struct error err = {0};

	snprintf(path, sizeof(path), "%s/layout", fixture->path);
	assert_int_equal(directory_create_path(AT_FDCWD, path, 0700), 0);
	directory = directory_open(AT_FDCWD, path);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "without index.json"));
	assert_int_equal(symlinkat("/etc/passwd", directory, "oci-layout"), 0);
	assert_int_equal(file_write_atomic(directory, "index.json", "{}", 2, 0600), 0);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "\"oci-layout\" leads out of the directory"));
	assert_int_equal(unlinkat(directory, "oci-layout", 0), 0);
	assert_int_equal(mkfifoat(directory, "oci-layout", 0600), 0);
	assert_int_equal(
		store_import(fixture->store, directory, "layout", NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "not a regular file"));
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

static json_t *arch_manifest(struct container *container, const char *file)
{
	json_array_clear(container->layers);
	json_array_clear(container->diff_ids);
	one_layer(container, file, "x");
	return container_manifest(container);
}

static void the_image_for_this_machine_is_taken_from_nested_indexes(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	_cleanup_close_ int root = -1;
	json_t *inner, *attestation;

	container_begin(&container);
	attestation =
		for_platform(arch_manifest(&container, "attestation"), "unknown", "unknown", NULL);
	json_object_set_new(attestation, "annotations",
		json_pack("{s:s}", "vnd.docker.reference.type", "attestation-manifest"));
	inner = json_pack("[o, o, o, o]", attestation,
		for_platform(arch_manifest(&container, "arm64"), "linux", "arm64", "v8"),
		for_platform(arch_manifest(&container, "v3"), "linux", "amd64", "v3"),
		for_platform(arch_manifest(&container, "amd64"), "linux", "amd64", NULL));
	container_index(&container,
		json_pack("[o]",
			named(container_json_blob(&container, TYPE_INDEX,
				      index_of(json_pack("[o]",
					      container_json_blob(
						      &container, TYPE_INDEX, index_of(inner))))),
				"example.com/multi:1")));
	must_import(fixture, &container, id);
	assert_name(fixture, id, "example.com/multi", "1");
	root = render(fixture, id);
	assert_true(exists(root, "amd64"));
	assert_false(exists(root, "v3"));
	container_free(&container);
}

static void an_index_without_this_machine_says_what_it_has(void **state)
{
	struct fixture *fixture = *state;
	struct container container;

	container_begin(&container);
	container_index(&container,
		json_pack("[o]",
			container_json_blob(&container, TYPE_INDEX,
				index_of(json_pack("[o, o]",
					for_platform(arch_manifest(&container, "a"), "linux", "arm",
						"v7"),
					for_platform(arch_manifest(&container, "b"), "windows",
						"amd64", NULL))))));
	REFUSE(fixture, &container, NULL, -ENOENT, "no image for linux/amd64",
		"linux/arm/v7, windows/amd64");
	container_free(&container);
}

static void of_several_images_one_must_be_chosen(void **state)
{
	struct store_import_options options = {0};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], digest[72];
	struct container container;
	struct error err;
	json_t *first;

	container_begin(&container);
	first = arch_manifest(&container, "one");
	snprintf(digest, sizeof(digest), "%s", json_string_value(json_object_get(first, "digest")));
	container_index(&container,
		json_pack("[o, o]", named(first, "example.com/one:1"),
			named(arch_manifest(&container, "two"), "example.com/two:2")));
	REFUSE(fixture, &container, NULL, -ENOTUNIQ, "choose one with --ref",
		"example.com/one:1, example.com/two:2");
	options.reference = "3";
	REFUSE(fixture, &container, &options, -ENOENT, "no image \"3\"", "example.com/one:1");
	options.reference = "2";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/two", "2");
	options.reference = "example.com/one:1";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/one", "1");
	options.reference = digest;
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/one", "1");
	container_free(&container);
}

/* Replaces the first occurrence of a text in a file of the container by one of any length. */
static void container_edit(
	struct container *container, const char *path, const char *from, const char *to)
{
	for (size_t i = 0; i < container->file_count; i++) {
		_cleanup_free_ char *text = NULL, *edited = NULL;
		char *at;

		if (strcmp(container->files[i].path, path))
			continue;
		text = calloc(1, container->files[i].length + 1);
		assert_non_null(text);
		memcpy(text, container->files[i].data, container->files[i].length);
		at = strstr(text, from);
		assert_non_null(at);
		assert_true(asprintf(&edited, "%.*s%s%s", (int)(at - text), text, to,
				    at + strlen(from)) >= 0);
		container_text(container, path, edited);
		return;
	}
	fail_msg("no file %s", path);
}

static void damaged_layouts_are_refused(void **state)
{
	static const struct {
		const char *path, *from,
			*to; /* an edit of a file; path NULL: of the layer's blob */
		int expected;
		const char *words;
	} cases[] = {
		{"oci-layout", "1.0.0", "2.0.0", -EINVAL,
			"imageLayoutVersion: \"2.0.0\" is not known"},
		{"oci-layout", "{", "[", -EINVAL, "oci-layout"},
		{"index.json", "{", "{\"schemaVersion\":2,", -EINVAL, "index.json"},
		{"index.json", ":2", ":1", -EINVAL, "index.json: schemaVersion: must be 2"},
		{"index.json", "sha256:", "sha256:../../", -EINVAL, "manifests[0].digest"},
		{"index.json", "sha256:", "md5:", -EINVAL, "is not a sha256 or sha512 digest"},
		{"index.json", "\"size\":", "\"size\":1", -EBADMSG, "its descriptor says 1"},
		{"index.json", "\"size\":", "\"size\":-", -EINVAL, "size"},
		{"index.json", "manifest.v1+json", "manifest.v9+json", -ENOENT, "lists no image"},
		{"index.json", "index.v1+json", "manifest.v1+json", -EINVAL,
			"is not what its descriptor says"},
		{"index.json", "\"manifests\"", "\"layers\":[],\"manifests\"", -EINVAL,
			"layers: has no place"},
		{NULL, "content", "CONTENT", -EBADMSG, "has the digest sha256:"},
		{NULL, "content", "contents", -EBADMSG, "its descriptor says"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct container container;

		container_begin(&container);
		one_layer(&container, "file", "content");
		container_name(&container, "example.com/damaged:1");
		if (cases[i].path) {
			container_edit(&container, cases[i].path, cases[i].from, cases[i].to);
		} else {
			struct container_file *layer = &container.files[0];
			char *at = memmem(
				layer->data, layer->length, cases[i].from, strlen(cases[i].from));

			assert_non_null(at);
			memcpy(at, cases[i].to, strlen(cases[i].from));
			if (strlen(cases[i].to) > strlen(cases[i].from))
				layer->length--;
		}
		REFUSE(fixture, &container, NULL, cases[i].expected, "dir/some.tar",
			cases[i].words);
		container_free(&container);
	}
}

static void wrong_digests_sizes_and_types_of_parts_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char zeros[72], digest[72];
	struct container container;
	struct aci layer;

	snprintf(zeros, sizeof(zeros), "sha256:%064d", 0);
	/* A blob that is not there. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_object_set_new(json_array_get(container.layers, 0), "digest", json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -ENOENT, zeros + 7, "is not in the archive");
	container_free(&container);
	/* A layer that is not what the configuration says. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_set_new(container.diff_ids, 0, json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EBADMSG, "has the diff id sha256:", zeros);
	container_free(&container);
	/* More layers than the configuration knows. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_append_new(container.diff_ids, json_string(zeros));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "1 layers, but 2 diff_ids");
	container_free(&container);
	/* Media types. */
	container_begin(&container);
	one_layer(&container, "file", "content");
	json_object_set_new(json_array_get(container.layers, 0), "mediaType",
		json_string(TYPE_LAYER "+encrypted"));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "layers[0]", "+encrypted\" is not a layer");
	container_free(&container);
	container_begin(&container);
	container_index(&container,
		json_pack("[o]",
			container_json_blob(&container, TYPE_MANIFEST,
				json_pack("{s:i, s:o, s:[]}", "schemaVersion", 2, "config",
					container_blob(&container,
						"application/vnd.oci.empty.v1+json", "{}", 2),
					"layers"))));
	REFUSE(fixture, &container, NULL, -EINVAL, "config: ", "not the configuration of an image");
	container_free(&container);
	/* A layer that is compressed twice, one that is no archive, and one that is cut off. */
	container_begin(&container);
	aci_begin(&layer, ARCHIVE_FILTER_GZIP);
	aci_file(&layer, "file", 0644, "x");
	container_layer(&container, &layer, ARCHIVE_FILTER_GZIP);
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EINVAL, "layer", "compressed more than once");
	container_free(&container);
	container_begin(&container);
	digest_text("not a tar", 9, digest);
	json_array_append_new(container.diff_ids, json_string(digest));
	json_array_append_new(
		container.layers, container_blob(&container, TYPE_LAYER, "not a tar", 9));
	container_name(&container, "example.com/a:1");
	REFUSE(fixture, &container, NULL, -EBADMSG, "layer \"blobs/", "damaged archive");
	container_free(&container);
}

static void an_index_that_never_ends_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct container container;
	json_t *descriptor;

	container_begin(&container);
	descriptor = container_manifest(&container);
	for (int i = 0; i < 12; i++)
		descriptor = container_json_blob(
			&container, TYPE_INDEX, index_of(json_pack("[o]", descriptor)));
	container_index(&container, json_pack("[o]", descriptor));
	REFUSE(fixture, &container, NULL, -ELOOP, "nested deeper than");
	container_free(&container);
}

static void huge_and_deep_documents_are_refused(void **state)
{
	struct fixture *fixture = *state;
	const size_t size = (4 << 20) + 1;
	char *text = malloc(size + 1);
	struct container container;

	container_begin(&container);
	container_name(&container, "example.com/a:1");
	memset(text, ' ', size);
	text[size] = '\0';
	container_text(&container, "index.json", text);
	REFUSE(fixture, &container, NULL, -EFBIG, "\"index.json\" is larger than 4194304 bytes");
	memset(text, '[', 100000);
	text[100000] = '\0';
	container_text(&container, "index.json", text);
	REFUSE(fixture, &container, NULL, -EINVAL, "index.json");
	container_free(&container);
	free(text);
}

static void outer_archives_that_are_ambiguous_or_cut_off_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	struct error err = {0};
	struct aci tar;

	container_begin(&container);
	container_name(&container, "example.com/a:1");
	aci_begin(&tar, ARCHIVE_FILTER_NONE);
	for (int i = 0; i < 2; i++)
		aci_file(&tar, i ? "./index.json" : "index.json", 0644, "{}");
	aci_end(&tar);
	assert_int_equal(
		import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "duplicate file entry in archive: \"index.json\""));
	aci_free(&tar);
	container_tar(&container, &tar);
	for (size_t length = 512; length < tar.length - 1024; length += 700) {
		err = (struct error){0};
		assert_true(import_bytes(fixture->store, tar.data, length, NULL, id, &err) < 0);
		assert_true(err.message[0]);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
	}
	aci_free(&tar);
	container_free(&container);
	aci_begin(&tar, ARCHIVE_FILTER_NONE);
	aci_file(&tar, "some/file", 0644, "x");
	aci_end(&tar);
	assert_int_equal(
		import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "unrecognized file path in layout: \"some/file\""));
	aci_free(&tar);
	assert_int_equal(fixture_count(fixture, "images"), 0);
}

static void what_a_killed_conversion_left_is_removed(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct container container;
	int pipe_fds[2], status;
	struct aci tar;
	pid_t child;

	container_begin(&container);
	one_layer(&container, "file", "content");
	container_name(&container, "example.com/killed:1");
	container_tar(&container, &tar);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* The pipe never ends: its writing end is open here too. */
		store_import(fixture->store, pipe_fds[0], "pipe", NULL, id, NULL);
		_exit(1);
	}
	assert_int_equal(file_write_all(pipe_fds[1], tar.data, 2048), 0);
	while (fixture_count(fixture, "tmp") == 0)
		sched_yield();
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(fixture_count(fixture, "tmp"), 1);
	assert_int_equal(fixture_count(fixture, "images"), 0);
	must_import(fixture, &container, id);
	assert_int_equal(fixture_count(fixture, "images"), 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	aci_free(&tar);
	container_free(&container);
}

/* ---- docker save */

/* The files of an archive: CONFIG.json, manifest.json, and layers by the names given. */
static void saved_begin(
	struct container *container, struct aci *tar, const char *tags, const char *layers)
{
	json_t *descriptor = container_config_blob(container);
	const struct container_file *config = &container->files[container->file_count - 1];
	char text[1024], name[80];

	snprintf(name, sizeof(name), "%s.json",
		json_string_value(json_object_get(descriptor, "digest")) + 7);
	snprintf(text, sizeof(text), "[{\"Config\":\"%s\",\"RepoTags\":%s,\"Layers\":%s}]", name,
		tags, layers);
	aci_begin(tar, ARCHIVE_FILTER_NONE);
	aci_put(tar, aci_entry_make(name, AE_IFREG, 0644), config->data, config->length);
	aci_file(tar, "manifest.json", 0644, text);
	json_decref(descriptor);
}

static void saved_layer(struct container *container, struct aci *tar, const char *name)
{
	aci_put(tar, aci_entry_make(name, AE_IFREG, 0644), container->files[0].data,
		container->files[0].length);
}

static void layers_of_docker_save_may_be_links(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int root = -1;
	struct container container;
	struct error err = {0};
	struct aci tar;

	container_begin(&container);
	one_layer(&container, "file", "content");
	json_array_append(container.diff_ids, json_array_get(container.diff_ids, 0));
	json_array_append(container.diff_ids, json_array_get(container.diff_ids, 0));
	saved_begin(&container, &tar, "[\"busybox:1\",\"quay.io/other:2\"]",
		"[\"a/layer.tar\",\"b/layer.tar\",\"c/layer.tar\"]");
	aci_symlink(&tar, "a/layer.tar", "../b/./layer.tar");
	aci_symlink(&tar, "b/layer.tar", "../c/layer.tar");
	aci_hardlink(&tar, "c/layer.tar", "data.tar");
	saved_layer(&container, &tar, "data.tar");
	aci_end(&tar);
	if (import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err) < 0)
		fail_msg("%s", err.message);
	aci_free(&tar);
	container_free(&container);
	assert_name(fixture, id, "registry-1.docker.io/library/busybox", "1");
	root = render(fixture, id);
	assert_content(root, "file", "content");
}

static void links_of_docker_save_stay_inside_the_archive(void **state)
{
	static const struct {
		const char *target, *words;
	} cases[] = {
		{"../../etc/passwd", "leads out of the archive"},
		{"/etc/passwd", "leads out of the archive"},
		{"layer.tar", "too many links"},
		{"../missing.tar", "is a link to what is not in the archive"},
		{"../a", "is a link to what is not in the archive"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct error err = {0};
		struct aci tar;

		container_begin(&container);
		one_layer(&container, "file", "content");
		saved_begin(&container, &tar, "null", "[\"a/layer.tar\"]");
		aci_symlink(&tar, "a/layer.tar", cases[i].target);
		aci_end(&tar);
		assert_true(import_bytes(fixture->store, tar.data, tar.length, NULL, id, &err) < 0);
		if (!strstr(err.message, cases[i].words) || !strstr(err.message, "a/layer.tar"))
			fail_msg("%s", err.message);
		assert_int_equal(fixture_count(fixture, "images"), 0);
		assert_int_equal(fixture_count(fixture, "tmp"), 0);
		aci_free(&tar);
		container_free(&container);
	}
}

static void the_blobs_of_docker_save_are_checked(void **state)
{
	struct store_import_options options = {0};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], text[1024];
	struct container container;
	json_t *config;
	struct error err;

	container_begin(&container);
	one_layer(&container, "file", "content");
	config = container_config_blob(&container);
	snprintf(text, sizeof(text),
		"[{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"a/b:1\"],\"Layers\":[\"%s\"]},"
		"{\"Config\":\"none\",\"RepoTags\":[\"a/b:2\"],\"Layers\":null}]",
		json_string_value(json_object_get(config, "digest")) + 7, container.files[0].path);
	json_decref(config);
	container_text(&container, "manifest.json", text);
	REFUSE(fixture, &container, NULL, -ENOTUNIQ, "it holds 2 images", "a/b:1, a/b:2");
	options.reference = "docker.io/a/b:1";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "registry-1.docker.io/a/b", "1");
	assert_int_equal(store_remove(fixture->store, id, NULL), 0);
	options.reference = "2";
	REFUSE(fixture, &container, &options, -ENOENT, "\"none\" is not in the archive");
	options.reference = "1";
	((char *)container.files[0].data)[600] ^= 1;
	REFUSE(fixture, &container, &options, -EBADMSG, "has the digest");
	((char *)container.files[0].data)[600] ^= 1;
	((char *)container.files[1].data)[2] ^= 1;
	REFUSE(fixture, &container, &options, -EBADMSG, "has the digest");
	container_text(&container, "manifest.json", "[]");
	REFUSE(fixture, &container, NULL, -ENOENT, "manifest.json: it lists no image");
	container_text(&container, "manifest.json", "[{\"RepoTags\":[]}]");
	REFUSE(fixture, &container, NULL, -EINVAL, "manifest.json: [0].Config: must be set");
	container_free(&container);
}

#define store_test(function) \
	cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

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
		store_test(the_configuration_becomes_the_manifest),
		store_test(users_are_taken_apart),
		store_test(architectures_have_the_names_of_the_specification),
		store_test(bad_configurations_are_refused_by_field),
		store_test(references_are_completed_as_docker_does),
		store_test(an_image_is_called_by_its_reference_its_file_or_as_told),
		store_test(who_is_asked_for_an_aci_is_asked_for_a_converted_image),
		store_test(an_aci_has_its_own_name),
		store_test(the_order_and_the_wrapping_of_a_layout_do_not_change_the_image),
		store_test(blobs_of_a_directory_stay_inside_it),
		store_test(the_image_for_this_machine_is_taken_from_nested_indexes),
		store_test(an_index_without_this_machine_says_what_it_has),
		store_test(of_several_images_one_must_be_chosen),
		store_test(damaged_layouts_are_refused),
		store_test(wrong_digests_sizes_and_types_of_parts_are_refused),
		store_test(an_index_that_never_ends_is_refused),
		store_test(huge_and_deep_documents_are_refused),
		store_test(outer_archives_that_are_ambiguous_or_cut_off_are_refused),
		store_test(what_a_killed_conversion_left_is_removed),
		store_test(layers_of_docker_save_may_be_links),
		store_test(links_of_docker_save_stay_inside_the_archive),
		store_test(the_blobs_of_docker_save_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
