/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checksum at the end of a gzip file, which libarchive reads over. Both sides of the
 * decompressor are shown to the check; at the end it compares. Of a file made of several gzip
 * members only the last one is checked.
 */
#ifndef APPC_STORE_GZIP_H
#define APPC_STORE_GZIP_H

#include <stddef.h>
#include <stdint.h>

struct gzip_check {
	/* The last bytes of the input up to one that is not zero, and how many zeros follow it. */
	uint8_t tail[8];
	size_t tail_length;
	uint64_t zeros;
	uint32_t crc;
	uint64_t output_length;
};

/* A zero struct is ready to begin. */
void gzip_check_input(struct gzip_check *check, const void *data, size_t length);
void gzip_check_output(struct gzip_check *check, const void *data, size_t length);

/* output_fd holds the whole output. 0, -EBADMSG: the checksum does not match, or a read error. */
int gzip_check_end(const struct gzip_check *check, int output_fd);

#endif
