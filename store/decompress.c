// SPDX-License-Identifier: Apache-2.0
/* decompress.c: libarchive's filters, without a format. */
#include "store/decompress.h"

#include "store/libarchive.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>

static la_ssize_t decompressor_read(struct archive *archive, void *context, const void **ret_data)
{
	struct decompressor *decompressor = context;
	ssize_t n = decompressor->read(decompressor->context, ret_data);

	if (n < 0) {
		decompressor->read_error = (int)n;
		archive_set_error(archive, (int)-n, "read failed");
		return ARCHIVE_FATAL;
	}
	gzip_check_input(&decompressor->gzip, *ret_data, (size_t)n);
	decompressor->input_done += (uint64_t)n;
	return n;
}

static int decompressor_failure(struct decompressor *decompressor, struct error *err)
{
	const char *text = archive_error_string(decompressor->archive);

	if (decompressor->read_error < 0)
		return decompressor->read_error;
	if (archive_errno(decompressor->archive) == ENOMEM)
		return error_set_errno(err, -ENOMEM, "%s", decompressor->source);
	return error_set(err, -EBADMSG, "%s: damaged compression: %s", decompressor->source,
		text ? text : "unknown error");
}

int decompressor_open(struct decompressor *decompressor, unsigned int formats, aci_read_fn *read,
	void *context, const char *source, struct error *err)
{
	struct archive *archive;
	struct archive_entry *entry;
	int r = libarchive_load(err);

	archive = r < 0 ? NULL : archive_read_new();
	*decompressor = (struct decompressor){
		.archive = archive,
		.source = source,
		.read = read,
		.context = context,
	};
	if (r < 0)
		return r;
	if (!archive)
		return error_set_errno(err, -ENOMEM, "%s", source);
	r = archive_read_support_format_raw(archive);
	if (r == ARCHIVE_OK)
		r = archive_read_support_format_empty(archive);
	if (r == ARCHIVE_OK && formats & DECOMPRESS_GZIP)
		r = archive_read_support_filter_gzip(archive);
	if (r == ARCHIVE_OK && formats & DECOMPRESS_BZIP2)
		r = archive_read_support_filter_bzip2(archive);
	if (r == ARCHIVE_OK && formats & DECOMPRESS_XZ)
		r = archive_read_support_filter_xz(archive);
	if (r == ARCHIVE_OK && formats & DECOMPRESS_ZSTD)
		r = archive_read_support_filter_zstd(archive);
	if (r != ARCHIVE_OK)
		return decompressor_failure(decompressor, err);
	r = archive_read_open(archive, decompressor, NULL, decompressor_read, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(archive, &entry);
	if (decompressor->read_error == 0 && (r == ARCHIVE_EOF || decompressor->input_done == 0))
		return error_set(err, -ENODATA, "%s is empty", source);
	if (r != ARCHIVE_OK)
		return decompressor_failure(decompressor, err);
	/* The filters count the file itself. */
	if (archive_filter_count(archive) > 2)
		return error_set(err, -EINVAL, "%s: compressed more than once", source);
	decompressor->is_compressed = archive_filter_count(archive) > 1;
	decompressor->is_gzip = archive_filter_code(archive, 0) == ARCHIVE_FILTER_GZIP;
	return 0;
}

void decompressor_close(struct decompressor *decompressor)
{
	if (decompressor->archive)
		archive_read_free(decompressor->archive);
	decompressor->archive = NULL;
}

static bool ratio_is_exceeded(const struct decompressor *decompressor)
{
	return decompressor->ratio > 0 && decompressor->output_done > STORE_RATIO_FREE_BYTES &&
		decompressor->output_done / decompressor->ratio > decompressor->input_done;
}

ssize_t decompressor_next(
	struct decompressor *decompressor, const void **ret_data, struct error *err)
{
	size_t length = 0;

	do {
		la_int64_t offset;
		int r = archive_read_data_block(decompressor->archive, ret_data, &length, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return decompressor_failure(decompressor, err);
	} while (length == 0);
	decompressor->output_done += length;
	if (ratio_is_exceeded(decompressor))
		return error_set(err, -EFBIG,
			"%s: more than %" PRIu64
			" times as large when uncompressed: a decompression bomb? --max-size says "
			"how large it may become",
			decompressor->source, decompressor->ratio);
	if (decompressor->is_gzip)
		gzip_check_output(&decompressor->gzip, *ret_data, length);
	return (ssize_t)length;
}

int decompressor_check(struct decompressor *decompressor, int output_fd, struct error *err)
{
	int r = decompressor->is_gzip ? gzip_check_end(&decompressor->gzip, output_fd) : 0;

	if (r == -EBADMSG)
		return error_set(err, r,
			"%s: damaged compression: the gzip checksum does not match",
			decompressor->source);
	return r < 0 ? error_set_errno(err, r, "%s", decompressor->source) : 0;
}
