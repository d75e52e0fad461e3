// SPDX-License-Identifier: Apache-2.0
/*
 * verify.c: whether an image is in the store as it was imported.
 *
 * The archive has the image's id for its hash. The manifest beside it, which is what everybody reads, is a copy of one of
 * its entries.
 */
#include "store/layout.h"

#include "base/file.h"
#include "base/sha512.h"
#include "store/archive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define VERIFY_BUFFER_SIZE (256u << 10)

/* -EBADMSG: the archive is not what the id says. */
static int check_hash(int fd, const char *id, struct error *err)
{
	_cleanup_free_ uint8_t *buffer = malloc(VERIFY_BUFFER_SIZE);
	char digest[SHA512_TEXT_SIZE];
	struct sha512 sha;
	ssize_t n;

	if (!buffer)
		return error_set_errno(err, -ENOMEM, "cannot verify image %s", id);
	sha512_init(&sha);
	while ((n = read(fd, buffer, VERIFY_BUFFER_SIZE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(
				err, -errno, "cannot read the archive of image %s", id);
		sha512_update(&sha, buffer, (size_t)n);
	}
	sha512_final_text(&sha, digest);
	if (strcmp(digest, id + strlen("sha512-")))
		return error_set(
			err, -EBADMSG, "image %s was changed: its hash is sha512-%s", id, digest);
	return 0;
}

/* The entry "manifest" of an archive that was valid when it was imported. */
static int read_manifest(int fd, const char *id, char **ret, size_t *ret_length, struct error *err)
{
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	struct aci_entry entry;
	int r = aci_reader_open_file(fd, 0, ACI_READER_IMAGE, id, &reader, err);

	if (r < 0)
		return r;
	while ((r = aci_reader_next(reader, &entry, err)) > 0)
		if (!strcmp(entry.path, "manifest"))
			return aci_reader_read(
				reader, &entry, APPC_MANIFEST_SIZE_MAX, ret, ret_length, err);
	return r < 0 ? r : error_set(err, -EBADMSG, "image %s: missing image manifest", id);
}

static int check_manifest(
	int image, const char *id, const char *expected, size_t expected_length, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(image, IMAGE_MANIFEST, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(err, r, "cannot read the manifest of image %s", id);
	if (length != expected_length || (length > 0 && memcmp(text, expected, length) != 0))
		return error_set(err, -EBADMSG,
			"image %s was changed: its manifest is not the archive's; import it again",
			id);
	return 0;
}

int store_verify_image(struct store *store, const char *id, struct error *err)
{
	_cleanup_close_ int image = image_open(store, id, err), fd = -1;
	_cleanup_free_ char *manifest = NULL;
	size_t length = 0;
	int r;

	if (image < 0)
		return image;
	fd = store_open_archive(store, id, err);
	if (fd < 0)
		return fd;
	r = check_hash(fd, id, err);
	if (r == 0)
		r = read_manifest(fd, id, &manifest, &length, err);
	return r < 0 ? r : check_manifest(image, id, manifest, length, err);
}

static bool files_are_equal(int a, int b, uint64_t size)
{
	_cleanup_free_ uint8_t *buffer = malloc((size_t)VERIFY_BUFFER_SIZE * 2);
	uint64_t done = 0;

	while (buffer && done < size) {
		uint64_t rest = size - done;
		size_t n = rest < VERIFY_BUFFER_SIZE ? (size_t)rest : VERIFY_BUFFER_SIZE;

		if (file_read_exactly(a, buffer, n, done) < 0 ||
			file_read_exactly(b, buffer + VERIFY_BUFFER_SIZE, n, done) < 0 ||
			memcmp(buffer, buffer + VERIFY_BUFFER_SIZE, n) != 0)
			return false;
		done += n;
	}
	return buffer != NULL;
}

bool image_is(struct store *store, const char *id, const char *manifest, size_t length,
	int archive_fd, uint64_t size)
{
	_cleanup_close_ int image = directory_open(store->images, id), stored = -1;
	struct image_info info;
	struct error ignored = {0};
	struct stat st;

	if (image < 0 || image_info_read(image, id, &info, &ignored) < 0 || info.size != size ||
		faccessat(image, IMAGE_LAST_USED, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ||
		check_manifest(image, id, manifest, length, &ignored) < 0)
		return false;
	stored = openat(image, IMAGE_ARCHIVE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return stored >= 0 && fstat(stored, &st) == 0 && (uint64_t)st.st_size == size &&
		files_are_equal(stored, archive_fd, size);
}
