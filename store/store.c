// SPDX-License-Identifier: Apache-2.0
/* store.c: the directories of the store; listing, finding and removing what is in them. */
#include "store/layout.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "store/temporary.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define IMAGE_ID_PREFIX "sha512-"
#define IMAGE_ID_DIGITS 128
#define TREE_ID_PREFIX  "deps-sha512-"
#define TREE_ID_DIGITS  64

/* ---- names */

static bool name_is(const char *name, const char *prefix, size_t digits)
{
	size_t length = strlen(prefix);

	return !strncmp(name, prefix, length) && strlen(name + length) == digits &&
		strspn(name + length, "0123456789abcdef") == digits;
}

bool image_id_is_valid(const char *name)
{
	return name_is(name, IMAGE_ID_PREFIX, IMAGE_ID_DIGITS);
}

bool tree_id_is_valid(const char *name)
{
	return name_is(name, TREE_ID_PREFIX, TREE_ID_DIGITS);
}

/* The tree that trees/NAME was before it was replaced: TREE-ID of "TREE-ID.HEX". False: no such name. */
static bool tree_replaced_of(const char *name, char tree_id[STORE_TREE_ID_SIZE])
{
	snprintf(tree_id, STORE_TREE_ID_SIZE, "%.*s", STORE_TREE_ID_SIZE - 1, name);
	return tree_id_is_valid(tree_id) && name[STORE_TREE_ID_SIZE - 1] == '.';
}

/* ---- files */

int file_create_synced(int dirfd, const char *name, const void *data, size_t length)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = file_write_all(fd, data, length);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

int json_create_synced(int dirfd, const char *name, json_t *json)
{
	_cleanup_json_ json_t *owned = json;
	_cleanup_free_ char *text = owned ? json_text(owned, JSON_INDENT(1)) : NULL;

	if (!text)
		return -ENOMEM;
	return file_create_synced(dirfd, name, text, strlen(text));
}

static int directory_make(int data_dirfd, const char *name, int *ret, struct error *err)
{
	int fd;

	if (mkdirat(data_dirfd, name, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "cannot create %s in the data directory", name);
	fd = directory_open(data_dirfd, name);
	if (fd < 0)
		return error_set_errno(err, fd, "cannot open %s in the data directory", name);
	*ret = fd;
	return 0;
}

int store_open(int data_dirfd, struct store **ret, struct error *err)
{
	_cleanup_store_ struct store *store = malloc(sizeof(*store));
	int r;

	if (!store)
		return error_set_errno(err, -ENOMEM, "cannot open the image store");
	*store = (struct store){.data = data_dirfd, .images = -1, .trees = -1, .tmp = -1};
	r = directory_make(data_dirfd, "images", &store->images, err);
	if (r == 0)
		r = directory_make(data_dirfd, "trees", &store->trees, err);
	if (r == 0)
		r = directory_make(data_dirfd, "tmp", &store->tmp, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}

void store_close(struct store *store)
{
	cleanup_close(&store->images);
	cleanup_close(&store->trees);
	cleanup_close(&store->tmp);
	free(store);
}

/* ---- images */

int image_open(struct store *store, const char *id, struct error *err)
{
	int fd;

	if (!image_id_is_valid(id))
		return error_set(err, -EINVAL, "\"%s\" is not a whole image id", id);
	fd = directory_open(store->images, id);
	if (fd == -ENOENT)
		return error_set(err, fd, "image ID \"%s\" doesn't exist", id);
	if (fd < 0)
		return error_set_errno(err, fd, "cannot open image %s", id);
	return fd;
}

static bool json_u64(const json_t *object, const char *key, uint64_t max, uint64_t *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		(uint64_t)json_integer_value(value) > max)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static int info_read(int dirfd, const char *name, const char *id, json_t **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(dirfd, name, INFO_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(err, r, "cannot read %s of %s", name, id);
	r = json_parse(text, length, name, ret, err);
	return r < 0 ? error_prefix(err, r, "%s", id) : 0;
}

int image_info_read(int image_fd, const char *id, struct image_info *ret, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	uint64_t seconds, nanoseconds;
	int r = info_read(image_fd, IMAGE_INFO, id, &json, err);

	if (r < 0)
		return r;
	if (!json_u64(json, "import-time", INT64_MAX, &seconds) ||
		!json_u64(json, "import-nanoseconds", 999999999, &nanoseconds) ||
		!json_u64(json, "size", INT64_MAX, &ret->size) ||
		!json_u64(json, "file-size", INT64_MAX, &ret->file_size))
		return error_set(err, -EBADMSG, "%s of image %s is damaged", IMAGE_INFO, id);
	ret->import_time = (int64_t)seconds;
	ret->import_nanoseconds = (uint32_t)nanoseconds;
	return 0;
}

static int image_manifest_read(
	int image_fd, const char *id, struct appc_image_manifest **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(image_fd, IMAGE_MANIFEST, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(err, r, "cannot read the manifest of image %s", id);
	r = appc_image_manifest_parse(text, length, ret, err);
	return r < 0 ? error_prefix(err, r, "image %s", id) : 0;
}

int store_image_manifest(
	struct store *store, const char *id, struct appc_image_manifest **ret, struct error *err)
{
	_cleanup_close_ int fd = image_open(store, id, err);

	return fd < 0 ? fd : image_manifest_read(fd, id, ret, err);
}

int store_open_archive(struct store *store, const char *id, struct error *err)
{
	_cleanup_close_ int image = image_open(store, id, err);
	int fd;

	if (image < 0)
		return image;
	fd = openat(image, IMAGE_ARCHIVE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set_errno(err, -errno, "cannot open the archive of image %s", id)
		      : fd;
}

int store_image_manifest_text(struct store *store, const char *id, char **ret, struct error *err)
{
	_cleanup_close_ int fd = image_open(store, id, err);
	int r;

	if (fd < 0)
		return fd;
	r = file_read(fd, IMAGE_MANIFEST, APPC_MANIFEST_SIZE_MAX, ret, NULL);
	return r < 0 ? error_set_errno(err, r, "cannot read the manifest of image %s", id) : 0;
}

static int image_load(
	struct store *store, const char *id, struct store_image *ret, struct error *err)
{
	_cleanup_close_ int fd = image_open(store, id, err);
	struct image_info info;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	r = image_info_read(fd, id, &info, err);
	if (r < 0)
		return r;
	if (fstatat(fd, IMAGE_LAST_USED, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set_errno(err, -errno, "cannot read the last use of image %s", id);
	*ret = (struct store_image){
		.size = info.size,
		.import_time = info.import_time,
		.import_nanoseconds = info.import_nanoseconds,
		.last_used = st.st_mtim.tv_sec,
	};
	memcpy(ret->id, id, STORE_IMAGE_ID_SIZE);
	return image_manifest_read(fd, id, &ret->manifest, err);
}

void store_images_free(struct store_image *images, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (images[i].manifest)
			appc_image_manifest_free(images[i].manifest);
	free(images);
}

struct image_list {
	struct store_image *images;
	size_t count;
};

static void cleanup_image_list(struct image_list *list)
{
	store_images_free(list->images, list->count);
}
#define _cleanup_image_list_ _cleanup_(cleanup_image_list)

static int image_compare(const void *left, const void *right)
{
	const struct store_image *a = left, *b = right;

	if (a->import_time != b->import_time)
		return a->import_time < b->import_time ? -1 : 1;
	if (a->import_nanoseconds != b->import_nanoseconds)
		return a->import_nanoseconds < b->import_nanoseconds ? -1 : 1;
	return strcmp(a->id, b->id);
}

int store_list(struct store *store, struct store_image **ret, size_t *ret_count, struct error *err)
{
	_cleanup_image_list_ struct image_list list = {0};
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	size_t room = 0;
	int r = directory_open_stream(store->images, ".", &directory);

	if (r < 0)
		return error_set_errno(err, r, "cannot list the images");
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		struct error failure = {0};

		if (!image_id_is_valid(entry->d_name))
			continue;
		if (list.count == room) {
			size_t more = room ? room * 2 : 16;
			void *images = reallocarray(list.images, more, sizeof(*list.images));

			if (!images)
				return error_set_errno(err, -ENOMEM, "cannot list the images");
			list.images = images;
			room = more;
		}
		r = image_load(store, entry->d_name, &list.images[list.count], &failure);
		if (r == -ENOMEM)
			return error_set_errno(err, r, "cannot list the images");
		if (r < 0 && faccessat(store->images, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* removed meanwhile */
		if (r < 0) {
			log_warning("%s", failure.message);
			continue;
		}
		list.count++;
	}
	if (errno)
		return error_set_errno(err, -errno, "cannot list the images");
	if (list.count > 0)
		qsort(list.images, list.count, sizeof(*list.images), image_compare);
	*ret_count = list.count;
	*ret = TAKE_PTR(list.images);
	list.count = 0;
	return 0;
}

int store_find_id(struct store *store, const char *prefix, char *ret_id, struct error *err)
{
	const size_t fixed = strlen(IMAGE_ID_PREFIX);
	_cleanup_closedir_ DIR *directory = NULL;
	char wanted[STORE_IMAGE_ID_SIZE] = "";
	size_t length = strlen(prefix);
	struct dirent *entry;
	size_t found = 0;
	int r;

	if (strncmp(prefix, IMAGE_ID_PREFIX, fixed) || length >= sizeof(wanted) ||
		strspn(prefix + fixed, "0123456789abcdefABCDEF") != length - fixed)
		return error_set(err, -EINVAL,
			"\"%s\" is not a valid hash: expected \"sha512-\" and 2 to 128 hexadecimal "
			"digits",
			prefix);
	if (length < fixed + 2)
		return error_set(err, -EINVAL,
			"could not resolve image \"%s\": image ID too short, it needs 2 digits",
			prefix);
	for (size_t i = 0; i < length; i++)
		wanted[i] = prefix[i] >= 'A' && prefix[i] <= 'F' ? (char)(prefix[i] - 'A' + 'a')
								 : prefix[i];
	r = directory_open_stream(store->images, ".", &directory);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the images");
	for (errno = 0; (entry = readdir(directory)); errno = 0)
		if (image_id_is_valid(entry->d_name) && !strncmp(entry->d_name, wanted, length)) {
			memcpy(ret_id, entry->d_name, STORE_IMAGE_ID_SIZE);
			found++;
		}
	if (errno)
		return error_set_errno(err, -errno, "cannot list the images");
	if (found == 0)
		return error_set(
			err, -ENOENT, "could not resolve image \"%s\": no image IDs found", prefix);
	if (found > 1)
		return error_set(err, -ENOTUNIQ,
			"could not resolve image \"%s\": ambiguous image ID, %zu images have one that "
			"begins so",
			prefix, found);
	return 0;
}

bool labels_include(const struct appc_pairs *labels, const struct appc_pairs *wanted)
{
	for (size_t i = 0; wanted && i < wanted->count; i++) {
		const char *value = appc_pairs_get(labels, wanted->items[i].name);

		if (!value || strcmp(value, wanted->items[i].value))
			return false;
	}
	return true;
}

bool store_image_matches(
	const struct store_image *image, const char *name, const struct appc_pairs *labels)
{
	return !strcmp(image->manifest->name, name) &&
		labels_include(&image->manifest->labels, labels);
}

/* "name=value,name=value"; cut where text ends. */
static const char *labels_text(const struct appc_pairs *labels, char *text, size_t size)
{
	size_t length = 0;

	snprintf(text, size, "no labels");
	for (size_t i = 0; labels && i < labels->count && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%s%s=%s", i ? "," : "",
			labels->items[i].name, labels->items[i].value);
	return text;
}

int store_find_name(struct store *store, const char *name, const struct appc_pairs *labels,
	char *ret_id, struct error *err)
{
	_cleanup_image_list_ struct image_list list = {0};
	char wanted[256], there[512] = "";
	size_t length = 0;
	int r = store_list(store, &list.images, &list.count, err);

	if (r < 0)
		return r;
	for (size_t i = list.count; i-- > 0;) {
		const struct store_image *image = &list.images[i];
		char text[256];

		if (strcmp(image->manifest->name, name))
			continue;
		if (labels_include(&image->manifest->labels, labels)) {
			memcpy(ret_id, image->id, STORE_IMAGE_ID_SIZE);
			return 0;
		}
		if (length < sizeof(there))
			length += (size_t)snprintf(there + length, sizeof(there) - length,
				"%s%.19s (%s)", length ? ", " : "", image->id,
				labels_text(&image->manifest->labels, text, sizeof(text)));
	}
	if (length > 0)
		return error_set(err, -ENOENT,
			"no image \"%s\" with labels %s in the store; of that name there is: %s",
			name, labels_text(labels, wanted, sizeof(wanted)), there);
	return error_set(err, -ENOENT, "image name \"%s\" not found in the store", name);
}

int store_remove(struct store *store, const char *id, struct error *err)
{
	_cleanup_temporary_ struct temporary temporary = TEMPORARY_NONE;
	int r;

	if (!image_id_is_valid(id))
		return error_set(err, -EINVAL, "\"%s\" is not a whole image id", id);
	r = temporary_take(store->tmp, "remove-", store->images, id, &temporary);
	if (r == -ENOENT)
		return error_set(err, r, "image ID \"%s\" doesn't exist", id);
	if (r == 0)
		r = temporary_discard(&temporary);
	if (r == 0)
		r = temporary_clean(store->tmp);
	return r < 0 ? error_set_errno(err, r, "cannot remove image %s", id) : 0;
}

/* ---- trees */

int tree_open(struct store *store, const char *tree_id, struct error *err)
{
	int fd;

	if (!tree_id_is_valid(tree_id))
		return error_set(err, -EINVAL, "\"%s\" is not a tree id", tree_id);
	fd = directory_open(store->trees, tree_id);
	if (fd < 0)
		return error_set_errno(err, fd, "cannot open tree %s", tree_id);
	return fd;
}

int tree_info_read(int tree_fd, const char *tree_id, json_t **ret, struct error *err)
{
	return info_read(tree_fd, TREE_INFO, tree_id, ret, err);
}

int store_open_tree(struct store *store, const char *tree_id, struct error *err)
{
	_cleanup_close_ int tree = tree_open(store, tree_id, err);
	int fd;

	if (tree < 0)
		return tree;
	fd = openat(tree, TREE_ROOTFS, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, -errno, "cannot open rootfs of tree %s", tree_id);
	return fd;
}

/* An open file description for each: two locks of one process are two locks as well. #syscalls: flock */
static int trees_lock(struct store *store, int operation, struct error *err)
{
	_cleanup_close_ int fd = directory_open(store->trees, ".");
	int r = fd < 0 ? fd : 0;

	while (r == 0 && flock(fd, operation) < 0)
		r = errno == EINTR ? 0 : -errno;
	if (r == -EWOULDBLOCK)
		return error_set(err, r,
			"what nobody uses is being removed from the image store: try again");
	if (r < 0)
		return error_set_errno(err, r, "cannot lock the trees of the image store");
	return TAKE_FD(fd);
}

int store_keep_trees(struct store *store, struct error *err)
{
	return trees_lock(store, LOCK_SH, err);
}

int store_keep_trees_now(struct store *store, struct error *err)
{
	return trees_lock(store, LOCK_SH | LOCK_NB, err);
}

int store_claim_trees(struct store *store, struct error *err)
{
	return trees_lock(store, LOCK_EX, err);
}

bool store_has_tree(struct store *store, const char *tree_id)
{
	return faccessat(store->trees, tree_id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Any name in trees/. */
static int tree_remove(struct store *store, const char *name, struct error *err)
{
	_cleanup_temporary_ struct temporary temporary = TEMPORARY_NONE;
	int r = temporary_take(store->tmp, "remove-", store->trees, name, &temporary);

	if (r == 0)
		r = temporary_discard(&temporary);
	return r < 0 ? error_set_errno(err, r, "cannot remove tree %s", name) : 0;
}

static int tree_find_info(struct store *store, const char *tree_id, json_t **ret, struct error *err)
{
	_cleanup_close_ int tree = tree_open(store, tree_id, err);

	return tree < 0 ? tree : tree_info_read(tree, tree_id, ret, err);
}

/* Whether the image that the tree was rendered for is still there, or may be. */
static bool tree_has_image(struct store *store, const char *tree_id)
{
	_cleanup_json_ json_t *info = NULL;
	struct error failure = {0};
	const char *image;
	int r = tree_find_info(store, tree_id, &info, &failure);

	if (error_is_of_host(r)) {
		log_warning("%s", error_text(&failure, r));
		return true;
	}
	if (r < 0) {
		log_warning("%s; removing the tree", error_text(&failure, r));
		return false;
	}
	image = json_string_value(json_array_get(json_object_get(info, "images"), 0));
	return image && image_id_is_valid(image) &&
		faccessat(store->images, image, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_trees_images(struct store *store, char *const *tree_ids, size_t count,
	struct appc_strings *ret, struct error *err)
{
	struct appc_strings ids = {0};

	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *info = NULL;
		struct error failure = {0};
		json_t *image;
		size_t n;
		int r = tree_find_info(store, tree_ids[i], &info, &failure);

		/* Who does not know which images are in use had better remove none. */
		if (error_is_of_host(r)) {
			appc_strings_clear(&ids);
			return error_set(err, r, "%s", error_text(&failure, r));
		}
		if (r < 0) {
			log_warning("%s", error_text(&failure, r));
			continue;
		}
		json_array_foreach (json_object_get(info, "images"), n, image) {
			r = json_is_string(image)
				? appc_strings_append(&ids, json_string_value(image))
				: 0;
			if (r < 0) {
				appc_strings_clear(&ids);
				return error_set_errno(err, r, "cannot list the images in use");
			}
		}
	}
	*ret = ids;
	return 0;
}

static bool tree_is_in_use(const char *tree_id, char *const *in_use, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(tree_id, in_use[i]))
			return true;
	return false;
}

/* Whether nobody needs what trees/ has under this name. */
static bool tree_is_garbage(
	struct store *store, const char *name, char *const *in_use, size_t in_use_count)
{
	char tree_id[STORE_TREE_ID_SIZE];

	if (tree_id_is_valid(name))
		return !tree_is_in_use(name, in_use, in_use_count) && !tree_has_image(store, name);
	if (!tree_replaced_of(name, tree_id))
		return false;
	return !tree_is_in_use(tree_id, in_use, in_use_count);
}

int store_gc(struct store *store, char *const *tree_ids_in_use, size_t in_use_count,
	size_t *ret_removed, struct error *err)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	size_t removed = 0;
	int r;

	r = temporary_clean(store->tmp);
	if (r < 0)
		return error_set_errno(err, r, "cannot remove what killed processes left in tmp");
	r = directory_open_stream(store->trees, ".", &directory);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the trees");
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		if (!tree_is_garbage(store, entry->d_name, tree_ids_in_use, in_use_count))
			continue;
		r = tree_remove(store, entry->d_name, err);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		removed++;
	}
	if (errno)
		return error_set_errno(err, -errno, "cannot list the trees");
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}
