// SPDX-License-Identifier: Apache-2.0
/*
 * convert.c: imports images whatever their format.
 *
 * Theory of operation. The first entry of an archive tells an ACI from the rest, and an ACI goes on as it
 * comes (import.c). The other formats are read by name, in an order that is not the archive's, so a pipe or
 * a compressed archive is first written down uncompressed. Then:
 *   1. oci.c or docker-save.c say where the configuration and the layers are;
 *   2. the configuration becomes an image manifest (container-config.c);
 *   3. each layer is written down uncompressed, and compared with its digest, its size and its diff id;
 *   4. squash.c makes one ACI of the manifest and all layers;
 *   5. that is imported like any other ACI, which it is validated as.
 * All of this is in one directory in tmp/; what is in it besides the ACI has no name even there. The image
 * appears with the rename at the end, or not at all.
 */
#include "store/layout.h"

#include "appc/strings.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "store/archive.h"
#include "store/container-image.h"
#include "store/decompress.h"
#include "store/digest.h"
#include "store/squash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* As much of a file as is needed to know it: whole blocks of every compression. */
#define HEAD_SIZE  (1u << 20)
#define READ_SIZE  (64u << 10)
#define SPOOL_NAME "spool"

/* Layers are read, then written into the ACI, then imported: a third of the progress each. */
#define PHASES 3

struct convert {
	struct store *store;
	const char *source;
	const struct store_import_options *options;
	struct store_limits limits;
	struct error *err;
	struct temporary directory;
	struct blob_source *blobs;
	struct container_image image;
	struct appc_image_manifest *manifest;
	struct appc_strings diff_ids;
	struct squash_layer *layers;
	size_t layer_count;
	uint64_t layers_size; /* uncompressed */
	uint64_t blobs_done, blobs_total;
};

static void cleanup_convert(struct convert *convert)
{
	for (size_t i = 0; i < convert->layer_count; i++) {
		close(convert->layers[i].fd);
		free((char *)convert->layers[i].name);
	}
	free(convert->layers);
	appc_strings_clear(&convert->diff_ids);
	cleanup_appc_image_manifest(&convert->manifest);
	container_image_clear(&convert->image);
	cleanup_blob_source(&convert->blobs);
	cleanup_temporary(&convert->directory);
}

static int out_of_memory(struct convert *convert)
{
	return error_set_errno(convert->err, -ENOMEM, "%s", convert->source);
}

/* A new file that nobody else finds. Returns the fd. */
static int spool_create(struct convert *convert)
{
	_cleanup_close_ int fd = openat(convert->directory.fd, SPOOL_NAME,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || unlinkat(convert->directory.fd, SPOOL_NAME, 0) < 0)
		return error_set_errno(
			convert->err, -errno, "cannot write %s to the store", convert->source);
	return TAKE_FD(fd);
}

static int spool_write(struct convert *convert, int fd, const void *data, size_t length)
{
	int r = file_write_all(fd, data, length);

	return r < 0
		? error_set_errno(convert->err, r, "cannot write %s to the store", convert->source)
		: 0;
}

static int too_large(struct convert *convert)
{
	return error_set(convert->err, -EFBIG,
		"%s: larger than %" PRIu64 " bytes when uncompressed", convert->source,
		convert->limits.archive_bytes);
}

/* ---- what a file is */

struct head {
	const char *source;
	struct error *err;
	int fd;
	off_t position; /* of a regular file, which is not moved in; -1: of a pipe, which is */
	uint8_t *data;  /* the first bytes of the file */
	size_t length;
	size_t next; /* given again */
};

/* The next bytes of the file, which are kept. */
static ssize_t head_read(void *context, const void **ret_data)
{
	struct head *head = context;
	uint8_t *to = head->data + head->length;
	size_t room = HEAD_SIZE - head->length;
	ssize_t n;

	if (room > READ_SIZE)
		room = READ_SIZE;
	do
		n = head->position >= 0
			? pread(head->fd, to, room, head->position + (off_t)head->length)
			: read(head->fd, to, room);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set_errno(head->err, -errno, "cannot read %s", head->source);
	head->length += (size_t)n;
	*ret_data = to;
	return n;
}

/* The whole file: of a pipe what was kept first. */
static ssize_t head_next(void *context, const void **ret_data)
{
	struct head *head = context;
	ssize_t n;

	if (head->next < head->length) {
		n = (ssize_t)(head->length - head->next);
		*ret_data = head->data + head->next;
		head->next = head->length;
		return n;
	}
	do
		n = read(head->fd, head->data, HEAD_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set_errno(head->err, -errno, "cannot read %s", head->source);
	*ret_data = head->data;
	return n;
}

struct peek {
	struct decompressor decompressor;
	struct error err;
};

static void cleanup_peek(struct peek *peek)
{
	decompressor_close(&peek->decompressor);
}

static ssize_t peek_next(void *context, const void **ret_data)
{
	struct peek *peek = context;

	return decompressor_next(&peek->decompressor, ret_data, &peek->err);
}

#define DECOMPRESS_ALL (DECOMPRESS_GZIP | DECOMPRESS_BZIP2 | DECOMPRESS_XZ | DECOMPRESS_ZSTD)

/*
 * Whether the file begins like an archive that is not an ACI. What is damaged counts as an ACI, whose
 * import says what is wrong with it.
 */
static bool head_is_foreign(struct head *head, bool *ret_is_compressed)
{
	_cleanup_(cleanup_peek) struct peek peek = {0};
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	struct error *err = head->err;
	struct aci_entry entry = {.path = ""};
	size_t length;
	int r;

	head->err = &peek.err;
	r = decompressor_open(
		&peek.decompressor, DECOMPRESS_ALL, head_read, head, head->source, &peek.err);
	if (r == 0)
		r = aci_reader_open(
			ACI_READER_FILES, peek_next, &peek, head->source, &reader, &peek.err);
	if (r == 0)
		r = aci_reader_next(reader, &entry, &peek.err);
	head->err = err;
	if (r <= 0)
		return false;
	*ret_is_compressed = peek.decompressor.is_compressed;
	length = strcspn(entry.path, "/");
	return !(length == strlen("manifest") && !strncmp(entry.path, "manifest", length)) &&
		!(length == strlen("rootfs") && !strncmp(entry.path, "rootfs", length));
}

/* Writes the whole file down, uncompressed. Returns the fd. */
static int archive_spool(struct convert *convert, struct head *head)
{
	_cleanup_decompressor_ struct decompressor decompressor = {0};
	_cleanup_close_ int fd = spool_create(convert);
	uint64_t done = 0;
	const void *data;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	r = decompressor_open(
		&decompressor, DECOMPRESS_ALL, head_next, head, convert->source, convert->err);
	decompressor.ratio = convert->limits.ratio;
	if (r < 0)
		return r;
	while ((n = decompressor_next(&decompressor, &data, convert->err)) > 0) {
		done += (uint64_t)n;
		if (done > convert->limits.archive_bytes)
			return too_large(convert);
		r = spool_write(convert, fd, data, (size_t)n);
		if (r < 0)
			return r;
	}
	if (n < 0)
		return (int)n;
	r = decompressor_check(&decompressor, fd, convert->err);
	return r < 0 ? r : TAKE_FD(fd);
}

/* ---- what the image is called */

/* The last component of the file's name, without the endings of archives; the caller frees it. */
static char *name_from_source(const char *source)
{
	static const char *const endings[] = {
		".gz", ".bz2", ".xz", ".zst", ".tgz", ".tar", ".oci", ".docker"};
	size_t length = strlen(source), begin;
	bool shorter = true;

	while (length > 0 && source[length - 1] == '/')
		length--;
	begin = length;
	while (begin > 0 && source[begin - 1] != '/')
		begin--;
	while (shorter) {
		shorter = false;
		for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
			size_t ending = strlen(endings[i]);

			if (length - begin > ending &&
				!strncmp(source + length - ending, endings[i], ending)) {
				length -= ending;
				shorter = true;
			}
		}
	}
	return strndup(source + begin, length - begin);
}

static int set_identity(struct convert *convert)
{
	struct container_identity *identity = &convert->image.identity;
	struct docker_reference *reference = &identity->reference;
	_cleanup_(appc_image_reference_clear) struct appc_image_reference given = {0};
	int r;

	if (convert->options && convert->options->name) {
		r = appc_image_reference_from_string(convert->options->name, &given, convert->err);
		if (r < 0)
			return error_prefix(convert->err, r, "--name=%s", convert->options->name);
		identity->name = TAKE_PTR(given.name);
		identity->labels = given.labels;
		given.labels = (struct appc_pairs){0};
	}
	if (!reference->repository && identity->name) {
		reference->repository = strdup(identity->name);
	} else if (!reference->repository) {
		_cleanup_free_ char *name = name_from_source(convert->source), *checked = NULL;

		if (name && appc_identifier_sanitise(name, &checked, NULL) == -EINVAL)
			return error_set(convert->err, -EINVAL,
				"%s: the image has no name; give it one with --name",
				convert->source);
		reference->repository = TAKE_PTR(name);
	}
	if (!reference->tag)
		reference->tag = strdup(DOCKER_DEFAULT_TAG);
	return reference->repository && reference->tag ? 0 : out_of_memory(convert);
}

/* ---- configuration */

static int read_config(struct convert *convert)
{
	struct container_part *part = &convert->image.config;
	char digest_text[DIGEST_TEXT_SIZE];
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *data = NULL;
	struct digest digest;
	size_t length;
	int r;

	r = blob_read(convert->blobs, part->path, part->digest, BLOB_DOCUMENT_SIZE_MAX, &data,
		&length, convert->err);
	if (r < 0)
		return r;
	if (part->size != CONTAINER_SIZE_ANY && part->size != length)
		return error_set(convert->err, -EBADMSG,
			"%s: \"%s\" has %zu bytes, its descriptor says %" PRIu64, convert->source,
			part->path, length, part->size);
	digest_init(&digest, part->digest ? part->digest : "");
	digest_update(&digest, data, length);
	digest_final(&digest, digest_text);
	convert->image.identity.image_id = strdup(digest_text);
	if (!convert->image.identity.image_id)
		return out_of_memory(convert);
	r = json_parse(data, length, part->path, &json, convert->err);
	if (r < 0)
		return error_prefix(convert->err, r, "%s", convert->source);
	r = container_config_read(json, &convert->image.identity, &convert->manifest,
		&convert->diff_ids, convert->err);
	if (r < 0)
		return error_prefix(convert->err, r, "%s: %s", convert->source, part->path);
	if (convert->diff_ids.count != convert->image.layer_count)
		return error_set(convert->err, -EINVAL,
			"%s: %zu layers, but %zu diff_ids in the configuration \"%s\"",
			convert->source, convert->image.layer_count, convert->diff_ids.count,
			part->path);
	return 0;
}

/* ---- layers */

static void show_progress(
	struct convert *convert, unsigned int phase, uint64_t done, uint64_t total)
{
	const uint64_t whole = 1000;

	if (convert->options && convert->options->progress && total > 0)
		convert->options->progress(convert->options->progress_context,
			phase * whole + (uint64_t)((double)done / (double)total * (double)whole),
			PHASES * whole);
}

struct layer_input {
	struct convert *convert;
	struct digest digest;
	bool has_digest;
	uint64_t done;
};

static ssize_t layer_next(void *context, const void **ret_data)
{
	struct layer_input *input = context;
	struct convert *convert = input->convert;
	ssize_t n = blob_next(convert->blobs, ret_data);

	if (n <= 0)
		return n;
	if (input->has_digest)
		digest_update(&input->digest, *ret_data, (size_t)n);
	input->done += (uint64_t)n;
	convert->blobs_done += (uint64_t)n;
	show_progress(convert, 0, convert->blobs_done, convert->blobs_total);
	return n;
}

/* Uncompresses the open blob to fd and into diff. */
static int layer_uncompress(struct convert *convert, struct layer_input *input, const char *name,
	int fd, struct digest *diff)
{
	_cleanup_decompressor_ struct decompressor decompressor = {0};
	const void *data;
	ssize_t n;
	int r = decompressor_open(
		&decompressor, DECOMPRESS_ALL, layer_next, input, name, convert->err);
	decompressor.ratio = convert->limits.ratio;

	/* A layer may be empty, and so may be what is compressed. */
	if (r < 0)
		return r == -ENODATA ? 0 : r;
	while ((n = decompressor_next(&decompressor, &data, convert->err)) > 0) {
		if (!checked_add_u64(convert->layers_size, (uint64_t)n, &convert->layers_size) ||
			convert->layers_size > convert->limits.archive_bytes)
			return too_large(convert);
		digest_update(diff, data, (size_t)n);
		r = spool_write(convert, fd, data, (size_t)n);
		if (r < 0)
			return r;
	}
	return (int)n;
}

static bool digest_matches(
	struct digest *digest, const char *expected, char ret_found[DIGEST_TEXT_SIZE])
{
	digest_final(digest, ret_found);
	return !strcmp(ret_found, expected);
}

static int digest_failure(struct convert *convert, const char *name, const char *what,
	const char *found, const char *expected)
{
	return error_set(convert->err, -EBADMSG, "%s has the %s %s, expected %s", name, what, found,
		expected);
}

/* Writes a layer down, uncompressed, and checks that it is the one. */
static int layer_spool(struct convert *convert, const struct container_part *part,
	const char *diff_id, const char *name, int fd)
{
	struct layer_input input = {.convert = convert, .has_digest = part->digest != NULL};
	char found[DIGEST_TEXT_SIZE];
	struct digest diff;
	const void *data;
	uint64_t size;
	ssize_t n;
	int r = blob_open(convert->blobs, part->path, &size, convert->err);

	if (r < 0)
		return r;
	if (part->size != CONTAINER_SIZE_ANY && part->size != size)
		return error_set(convert->err, -EBADMSG,
			"%s has %" PRIu64 " bytes, its descriptor says %" PRIu64, name, size,
			part->size);
	if (part->digest)
		digest_init(&input.digest, part->digest);
	digest_init(&diff, diff_id);
	r = layer_uncompress(convert, &input, name, fd, &diff);
	if (r < 0 && r != -EBADMSG)
		return r;
	/*
	 * A decompressor need not read to the end. And that the blob is not the one that was asked for says
	 * more than how it is damaged.
	 */
	if (part->digest) {
		struct error *err = convert->err, other = {0};

		if (r < 0)
			convert->err = &other;
		while ((n = layer_next(&input, &data)) > 0)
			;
		convert->err = err;
		if (n < 0)
			return r < 0 ? r : (int)n;
		if (!digest_matches(&input.digest, part->digest, found))
			return digest_failure(convert, name, "digest", found, part->digest);
	}
	if (r == 0 && !digest_matches(&diff, diff_id, found))
		return digest_failure(convert, name, "diff id", found, diff_id);
	return r;
}

static int layers_spool(struct convert *convert)
{
	const struct container_image *image = &convert->image;
	int r;

	convert->layers = calloc(image->layer_count + 1, sizeof(*convert->layers));
	if (!convert->layers)
		return out_of_memory(convert);
	for (size_t i = 0; i < image->layer_count; i++) {
		uint64_t size;

		r = blob_open(convert->blobs, image->layers[i].path, &size, convert->err);
		if (r < 0)
			return r;
		if (!checked_add_u64(convert->blobs_total, size, &convert->blobs_total))
			return too_large(convert);
	}
	for (size_t i = 0; i < image->layer_count; i++) {
		const struct container_part *part = &image->layers[i];
		char *name;
		int fd;

		if (asprintf(&name, "%s: layer \"%s\"", convert->source, part->path) < 0)
			return out_of_memory(convert);
		fd = spool_create(convert);
		if (fd < 0) {
			free(name);
			return fd;
		}
		convert->layers[convert->layer_count++] =
			(struct squash_layer){.fd = fd, .name = name};
		r = layer_spool(convert, part, convert->diff_ids.items[i], name, fd);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the ACI */

static int write_aci(struct convert *convert)
{
	_cleanup_json_ json_t *json = appc_image_manifest_json(convert->manifest);
	_cleanup_free_ char *text = json ? json_text(json, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd = -1;

	if (!text)
		return out_of_memory(convert);
	fd = openat(convert->directory.fd, IMAGE_ARCHIVE,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(
			convert->err, -errno, "cannot write %s to the store", convert->source);
	return squash_layers(convert->layers, convert->layer_count, &convert->limits, text,
		strlen(text), fd, convert->err);
}

static void show_last_phase(void *context, uint64_t done, uint64_t total)
{
	show_progress(context, PHASES - 1, done, total);
}

static int convert_image(struct convert *convert, char *ret_id)
{
	const char *wanted = convert->options ? convert->options->reference : NULL;
	struct store_import_options last = {0};
	int r;

	/* Who asks for a signature asks for that of a converted image too. */
	if (convert->options)
		last = *convert->options;
	last.progress = show_last_phase;
	last.progress_context = convert;
	r = docker_save_exists(convert->blobs)
		? docker_save_image_find(convert->blobs, wanted, &convert->image, convert->err)
		: oci_image_find(convert->blobs, wanted, &convert->image, convert->err);
	if (r == 0)
		r = set_identity(convert);
	if (r == 0)
		r = read_config(convert);
	if (r == 0)
		r = layers_spool(convert);
	if (r == 0)
		r = write_aci(convert);
	if (r < 0)
		return r;
	show_progress(convert, PHASES - 2, 1, 1);
	return import_written(
		convert->store, &convert->directory, convert->source, &last, ret_id, convert->err);
}

/* ---- all formats */

static int import_aci(struct store *store, int fd, const struct head *head, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	if (options && (options->name || options->reference))
		return error_set(err, -EINVAL,
			"%s: an app container image has a name of its own and is one image: --name and "
			"--ref are for OCI and Docker images",
			source);
	return import_stream(store, fd, head ? head->data : NULL, head ? head->length : 0, source,
		options, ret_id, err);
}

static void cleanup_head(struct head *head)
{
	free(head->data);
}

int store_import(struct store *store, int fd, const char *source,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	_cleanup_close_ int spool = -1;
	_cleanup_(cleanup_convert) struct convert convert = {
		.store = store,
		.source = source,
		.options = options,
		.limits = store_limits_of(options),
		.err = err,
		.directory = TEMPORARY_NONE,
	};
	_cleanup_(cleanup_head) struct head head = {
		.source = source,
		.err = err,
		.fd = fd,
		.position = -1,
	};
	bool is_regular, is_compressed = false;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot read %s", source);
	if (S_ISDIR(st.st_mode)) {
		r = blob_source_open_directory(fd, source, &convert.blobs, err);
		if (r < 0)
			return r;
		if (!oci_layout_exists(convert.blobs))
			return error_set(err, -EINVAL,
				"%s: a directory without index.json is not an OCI image layout",
				source);
		r = import_directory_create(store, &convert.directory, err);
		return r < 0 ? r : convert_image(&convert, ret_id);
	}
	is_regular = S_ISREG(st.st_mode);
	if (is_regular)
		head.position = lseek(fd, 0, SEEK_CUR);
	if (is_regular && head.position < 0)
		return error_set_errno(err, -errno, "cannot read %s", source);
	head.data = malloc(HEAD_SIZE);
	if (!head.data)
		return error_set_errno(err, -ENOMEM, "%s", source);
	if (!head_is_foreign(&head, &is_compressed))
		return import_aci(
			store, fd, is_regular ? NULL : &head, source, options, ret_id, err);

	r = import_directory_create(store, &convert.directory, err);
	if (r < 0)
		return r;
	if (!is_regular || is_compressed) {
		if (is_regular)
			head.length = 0;
		spool = archive_spool(&convert, &head);
		if (spool < 0)
			return spool;
		fd = spool;
		head.position = 0;
	}
	r = blob_source_open_archive(fd, (uint64_t)head.position, source, &convert.blobs, err);
	if (r < 0)
		return r;
	if (docker_save_exists(convert.blobs) || oci_layout_exists(convert.blobs))
		return convert_image(&convert, ret_id);
	/* Not one of these either. As an ACI it is refused, with the message that its makers know. */
	if (lseek(fd, head.position, SEEK_SET) < 0)
		return error_set_errno(err, -errno, "cannot read %s", source);
	return import_aci(store, fd, NULL, source, options, ret_id, err);
}
