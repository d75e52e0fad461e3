// SPDX-License-Identifier: Apache-2.0
/*
 * fetch.c: images from files and URLs, with their signatures.
 *
 * Theory of operation. Whatever is verified is first copied to tmp/fetch-*, where nobody can change it
 * between the look at its signature and its import. gpgv comes before the import, so that only files of
 * signers whom we know are parsed; whether the signer may sign an image of that name is asked by the
 * import itself, before the image appears. An image that comes from a URL is then recorded with the URL
 * and the server's entity tag. A process that is killed between the two leaves an image without its
 * record, which costs one more download.
 */
#include "store/fetch.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sha512.h"
#include "store/download.h"
#include "store/keyring.h"
#include "store/layout.h"
#include "store/temporary.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define REMOTES          "remotes"
#define RECORD_MAX       (64u << 10)
#define ACI_SUFFIX       ".aci"
#define SIGNATURE_SUFFIX ".aci.asc"
#define UNSIGNED_HINT    "--insecure-options=image takes images without signatures"

/* ---- names */

static bool has_scheme(const char *text, const char *scheme)
{
	return !strncasecmp(text, scheme, strlen(scheme));
}

static bool is_http(const char *text)
{
	return has_scheme(text, "http://") || has_scheme(text, "https://");
}

/*
 * Where an image's signature is: ".aci.asc" in place of ".aci", or at the end of another name; in a URL
 * before the query. The caller frees it; NULL: out of memory.
 */
static char *signature_place(const char *image)
{
	size_t length = is_http(image) ? strcspn(image, "?#") : strlen(image);
	size_t stem = length, suffix = strlen(ACI_SUFFIX);
	char *place;

	if (length > suffix && !strncmp(image + length - suffix, ACI_SUFFIX, suffix))
		stem -= suffix;
	if (asprintf(&place, "%.*s%s%s", (int)stem, image, SIGNATURE_SUFFIX, image + length) < 0)
		return NULL;
	return place;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

/* The path in file:///PATH or file://localhost/PATH, its percent signs decoded. */
static int file_url_path(const char *url, char **ret, struct error *err)
{
	const char *rest = url + strlen("file://");
	_cleanup_free_ char *path = NULL;
	size_t length = 0;

	if (has_scheme(rest, "localhost/"))
		rest += strlen("localhost");
	if (*rest != '/')
		return error_set(
			err, -EINVAL, "%s: a file's URL is file:// and an absolute path", url);
	path = malloc(strlen(rest) + 1);
	if (!path)
		return error_set_errno(err, -ENOMEM, "%s", url);
	while (*rest && *rest != '?' && *rest != '#') {
		int high = 0, low = 0;

		if (*rest == '%') {
			high = hex_value(rest[1]);
			low = high < 0 ? -1 : hex_value(rest[2]);
			if (low < 0 || (high == 0 && low == 0))
				return error_set(err, -EINVAL,
					"%s: a '%%' that is not followed by a byte", url);
		}
		path[length++] = *rest == '%' ? (char)(high << 4 | low) : *rest;
		rest += *rest == '%' ? 3 : 1;
	}
	path[length] = '\0';
	*ret = TAKE_PTR(path);
	return 0;
}

/* ---- what came from a URL */

struct record {
	char id[STORE_IMAGE_ID_SIZE];
	char etag[DOWNLOAD_ETAG_SIZE];
	bool is_signed; /* its signature was verified */
};

static void record_name(const char *url, char ret[SHA512_TEXT_SIZE])
{
	struct sha512 sha;

	sha512_init(&sha);
	sha512_update(&sha, url, strlen(url));
	sha512_final_text(&sha, ret);
}

/* False: there is none, or its image is gone, or it is damaged. */
static bool record_read(struct store *store, const char *url, struct record *ret)
{
	_cleanup_close_ int remotes = directory_open(store->data, REMOTES);
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	char name[SHA512_TEXT_SIZE];
	const char *recorded, *id, *etag;
	int is_signed;
	size_t length;

	record_name(url, name);
	if (remotes < 0 || file_read(remotes, name, RECORD_MAX, &text, &length) < 0 ||
		json_parse(text, length, "record of a URL", &json, NULL) < 0 ||
		json_unpack(json, "{s:s, s:s, s:s, s:b}", "url", &recorded, "id", &id, "etag",
			&etag, "signed", &is_signed) < 0)
		return false;
	if (strcmp(recorded, url) || !image_id_is_valid(id) || strlen(etag) >= sizeof(ret->etag) ||
		faccessat(store->images, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*ret = (struct record){.is_signed = is_signed};
	memcpy(ret->id, id, sizeof(ret->id));
	memcpy(ret->etag, etag, strlen(etag));
	return true;
}

/* Without a record the image is fetched again next time: that is all. */
static void record_write(struct store *store, const char *url, const struct record *record)
{
	_cleanup_json_ json_t *json = json_pack("{s:s, s:s, s:s, s:b}", "url", url, "id",
		record->id, "etag", record->etag, "signed", record->is_signed);
	_cleanup_free_ char *text = json ? json_text(json, JSON_INDENT(1)) : NULL;
	_cleanup_close_ int remotes = -1;
	char name[SHA512_TEXT_SIZE];
	int r = text ? directory_create_path(store->data, REMOTES, 0700) : -ENOMEM;

	record_name(url, name);
	if (r == 0)
		remotes = r = directory_open(store->data, REMOTES);
	if (r >= 0)
		r = file_write_atomic(remotes, name, text, strlen(text), 0600);
	if (r < 0)
		log_debug("cannot record where %s came from: %s", record->id, strerror(-r));
}

int store_fetch_clean(struct store *store, struct error *err)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(store->data, REMOTES, &directory);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set_errno(err, r, "cannot open %s in the data directory", REMOTES);
	while ((entry = readdir(directory))) {
		_cleanup_free_ char *text = NULL;
		_cleanup_json_ json_t *json = NULL;
		struct record record;
		const char *url;
		size_t length;

		/* A temporary name is a writer's. */
		if (strlen(entry->d_name) != SHA512_TEXT_SIZE - 1)
			continue;
		if (file_read(dirfd(directory), entry->d_name, RECORD_MAX, &text, &length) == 0 &&
			json_parse(text, length, "record of a URL", &json, NULL) == 0 &&
			(url = json_string_value(json_object_get(json, "url"))) &&
			record_read(store, url, &record))
			continue;
		unlinkat(dirfd(directory), entry->d_name, 0);
	}
	return 0;
}

/* ---- files of tmp/fetch-* */

struct work {
	struct store *store;
	const struct store_fetch_options *options;
	struct temporary directory;
	struct error *err;
};

static void cleanup_work(struct work *work)
{
	cleanup_temporary(&work->directory);
}
#define _cleanup_work_ _cleanup_(cleanup_work)

static int work_begin(struct work *work)
{
	int r = temporary_clean(work->store->tmp);

	if (r == 0)
		r = temporary_create(work->store->tmp, "fetch-", &work->directory);
	return r < 0
		? error_set_errno(work->err, r, "cannot make a temporary directory in the store")
		: 0;
}

static int work_create(struct work *work, const char *name)
{
	int fd = openat(
		work->directory.fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? error_set_errno(work->err, -errno, "cannot create a file in the store")
		      : fd;
}

static int work_download(struct work *work, const char *url, int fd, uint64_t size_max,
	const char *etag, bool is_image, struct download_result *ret)
{
	const struct store_fetch_options *options = work->options;
	const struct download_options download = {
		.size_max = size_max,
		.etag = etag,
		.any_certificate = options->any_certificate,
		.allow_http = options->allow_http,
		.credentials = options->credentials,
		.progress = is_image ? options->progress : NULL,
		.progress_context = options->progress_context,
	};

	return download_url(url, fd, &download, ret, work->err);
}

/* Of an image's file: what is compressed is not longer than what it holds. */
static uint64_t size_max(const struct store_fetch_options *options)
{
	return options->limits.archive_bytes ? options->limits.archive_bytes
					     : STORE_LIMITS_DEFAULT.archive_bytes;
}

/* A private copy of the signature. Its fd, or -1 when none is wanted, or another -errno. */
static int signature_get(struct work *work, const char *image, int *ret)
{
	const char *given = work->options->signature;
	_cleanup_free_ char *usual = NULL;
	_cleanup_close_ int fd = -1, file = -1;
	struct download_result ignored;
	const char *place;
	int r;

	*ret = -1;
	if (work->options->allow_unsigned)
		return 0;
	usual = signature_place(image);
	if (!usual)
		return error_set_errno(work->err, -ENOMEM, "%s", image);
	place = given ? given : usual;
	fd = work_create(work, "signature");
	if (fd < 0)
		return fd;
	if (is_http(place)) {
		r = work_download(
			work, place, fd, KEYRING_SIGNATURE_SIZE_MAX, NULL, false, &ignored);
		if (r < 0)
			return error_prefix(work->err, r,
				"%s: cannot get its signature (" UNSIGNED_HINT ")", image);
	} else {
		file = open(place, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		r = file < 0 ? -errno : file_copy(file, fd, KEYRING_SIGNATURE_SIZE_MAX);
		if (r < 0)
			return error_set_errno(work->err, r,
				"%s: cannot read its signature \"%s\" (" UNSIGNED_HINT ")", image,
				place);
	}
	*ret = TAKE_FD(fd);
	return 0;
}

struct signer {
	int data_dirfd;
	char fingerprint[OPENPGP_FINGERPRINT_SIZE];
};

static int signer_may_sign(
	void *context, const struct appc_image_manifest *manifest, struct error *err)
{
	const struct signer *signer = context;

	return keyring_check_name(signer->data_dirfd, signer->fingerprint, manifest->name, err);
}

/* Verifies, if there is a signature, and imports. */
static int import_file(struct work *work, int file, int signature, const char *source, char *ret_id)
{
	struct signer signer = {.data_dirfd = work->store->data};
	const struct store_import_options import = {
		.limits = work->options->limits,
		.progress = work->options->progress,
		.progress_context = work->options->progress_context,
		.accept = signature >= 0 ? signer_may_sign : NULL,
		.accept_context = &signer,
	};
	int r;

	if (signature >= 0) {
		r = keyring_verify(
			signer.data_dirfd, file, signature, source, signer.fingerprint, work->err);
		if (r < 0)
			return r;
		if (lseek(file, 0, SEEK_SET) < 0)
			return error_set_errno(work->err, -errno, "%s", source);
	}
	return store_import(work->store, file, source, &import, ret_id, work->err);
}

int store_fetch_path(struct store *store, const char *path,
	const struct store_fetch_options *options, char *ret_id, struct error *err)
{
	_cleanup_work_ struct work work = {store, options, TEMPORARY_NONE, err};
	_cleanup_close_ int file = -1, copy = -1, signature = -1;
	int r;

	file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (file < 0)
		return error_set_errno(err, -errno, "cannot open \"%s\"", path);
	log_debug("using image from file %s", path);
	if (options->allow_unsigned)
		return import_file(&work, file, -1, path, ret_id);
	r = work_begin(&work);
	if (r == 0)
		r = signature_get(&work, path, &signature);
	if (r < 0)
		return r;
	copy = work_create(&work, "image");
	if (copy < 0)
		return copy;
	r = file_copy(file, copy, size_max(options));
	if (r < 0)
		return error_set_errno(err, r, "cannot copy \"%s\" to the store", path);
	return import_file(&work, copy, signature, path, ret_id);
}

static int fetch_http(struct work *work, const char *url, const char *etag, struct record *record,
	bool *ret_not_modified)
{
	_cleanup_close_ int file = -1, signature = -1;
	struct download_result result;
	int r = work_begin(work);

	log_debug("remote fetching from URL \"%s\"", url);
	if (r == 0)
		r = signature_get(work, url, &signature);
	if (r < 0)
		return r;
	file = work_create(work, "image");
	if (file < 0)
		return file;
	r = work_download(work, url, file, size_max(work->options), etag, true, &result);
	if (r < 0)
		return r;
	*ret_not_modified = result.not_modified;
	if (result.not_modified)
		return 0;
	if (lseek(file, 0, SEEK_SET) < 0)
		return error_set_errno(work->err, -errno, "%s", url);
	r = import_file(work, file, signature, url, record->id);
	if (r < 0)
		return r;
	record->is_signed = signature >= 0;
	memcpy(record->etag, result.etag, sizeof(record->etag));
	return 0;
}

int store_fetch_url(struct store *store, const char *url, const struct store_fetch_options *options,
	char *ret_id, struct error *err)
{
	_cleanup_work_ struct work work = {store, options, TEMPORARY_NONE, err};
	_cleanup_free_ char *path = NULL;
	struct record record = {0};
	bool known, not_modified = false;
	int r;

	if (has_scheme(url, "file://")) {
		r = file_url_path(url, &path, err);
		return r < 0 ? r : store_fetch_path(store, path, options, ret_id, err);
	}
	if (!is_http(url))
		return error_set(err, -EPROTONOSUPPORT,
			"unable to fetch image from URL \"%s\": images are fetched from http, https and "
			"file URLs only",
			url);
	known = record_read(store, url, &record);
	if (options->policy == PULL_NEVER && !known)
		return error_set(err, -ENOENT,
			"%s: no image from this URL in the store, and the pull policy is never",
			url);
	/* What came without a signature is fetched anew when one is wanted. */
	known = known &&
		(record.is_signed || options->allow_unsigned || options->policy == PULL_NEVER);
	if (!known || options->policy == PULL_UPDATE) {
		r = fetch_http(&work, url, known && *record.etag ? record.etag : NULL, &record,
			&not_modified);
		if (r < 0)
			return r;
		if (!not_modified)
			record_write(store, url, &record);
	}
	if (known && (not_modified || options->policy != PULL_UPDATE))
		log_debug("using image from local store for URL %s", url);
	memcpy(ret_id, record.id, sizeof(record.id));
	return 0;
}

int store_fetch_key(const char *place, bool any_certificate, bool allow_http, char **ret_data,
	size_t *ret_length, struct error *err)
{
	const struct download_options options = {
		.size_max = OPENPGP_KEY_SIZE_MAX,
		.any_certificate = any_certificate,
		.allow_http = allow_http,
	};
	_cleanup_close_ int fd = -1;
	struct download_result ignored;
	int r;

	if (!is_http(place)) {
		r = file_read(AT_FDCWD, place, OPENPGP_KEY_SIZE_MAX, ret_data, ret_length);
		return r < 0 ? error_set_errno(err, r, "cannot read key \"%s\"", place) : 0;
	}
	if (has_scheme(place, "http://") && !allow_http)
		return error_set(err, -EPROTONOSUPPORT,
			"%s: keys are fetched over https only (--insecure-allow-http)", place);
	fd = memfd_create("key", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, -errno, "%s", place);
	r = download_url(place, fd, &options, &ignored, err);
	if (r < 0)
		return r;
	r = lseek(fd, 0, SEEK_SET) < 0
		? -errno
		: file_read_fd(fd, OPENPGP_KEY_SIZE_MAX, ret_data, ret_length);
	return r < 0 ? error_set_errno(err, r, "%s", place) : 0;
}
