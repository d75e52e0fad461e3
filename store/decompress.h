/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoes the compression of a file that comes piece by piece. What it is compressed with is told from
 * its content, and must be among what the caller allows; without compression the bytes go through.
 * Only bombs are compressed twice: that is an error. Belongs to one thread.
 */
#ifndef APPC_STORE_DECOMPRESS_H
#define APPC_STORE_DECOMPRESS_H

#include "store/archive.h"
#include "store/gzip.h"
#include "store/store.h"

enum decompress_format {
	DECOMPRESS_GZIP = 1 << 0,
	DECOMPRESS_BZIP2 = 1 << 1,
	DECOMPRESS_XZ = 1 << 2,
	DECOMPRESS_ZSTD = 1 << 3,
};

struct archive;

struct decompressor {
	struct archive *archive;
	const char *source;
	aci_read_fn *read;
	void *context;
	uint64_t input_done, output_done; /* bytes */
	uint64_t ratio; /* may be set after the beginning: limit of output to input; 0: none */
	int read_error; /* what read failed with, or 0 */
	bool is_gzip, is_compressed;
	struct gzip_check gzip;
};

/*
 * Begins; the struct may not move afterwards. formats is a set of enum decompress_format. read gives
 * the file; when it fails with -errno, that is returned and err is left to it. source names the file in
 * messages. -ENODATA: the file is empty; -EBADMSG: damaged.
 */
int decompressor_open(struct decompressor *decompressor, unsigned int formats, aci_read_fn *read,
	void *context, const char *source, struct error *err);
void decompressor_close(struct decompressor *decompressor);
#define _cleanup_decompressor_ _cleanup_(decompressor_close)

/*
 * The next piece: its length, which is not 0, or 0 at the end, or -errno. -EFBIG: more than
 * STORE_RATIO_FREE_BYTES came out, and more than ratio times as much as went in.
 */
ssize_t decompressor_next(
	struct decompressor *decompressor, const void **ret_data, struct error *err);

/*
 * After the end: whether the checksum of a gzip file matches. output_fd holds all that
 * decompressor_next() gave.
 */
int decompressor_check(struct decompressor *decompressor, int output_fd, struct error *err);

#endif
