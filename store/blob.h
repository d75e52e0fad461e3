/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an OCI image layout or a docker-save archive, by path: in a directory, or inside an
 * uncompressed tar. Nothing outside is reached: in a directory no path and no symbolic link leads out of
 * it, in a tar links are resolved among its entries.
 *
 * Contents are hostile until their digest was checked. Belongs to one thread; one blob is open at a time.
 * Errors have a message that begins with the source's name.
 */
#ifndef APPC_STORE_BLOB_H
#define APPC_STORE_BLOB_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longest index, manifest or configuration, bytes; OCI's distribution specification says 4 MiB. */
#define BLOB_DOCUMENT_SIZE_MAX (4u << 20)
/* Files in an archive: images have hundreds of layers at most. */
#define BLOB_FILES_MAX 65536u

struct blob_source;

/* source must live as long as what is opened here, dirfd and fd too. */
int blob_source_open_directory(
	int dirfd, const char *source, struct blob_source **ret, struct error *err);
/* Reads all headers of the tar that begins at offset. */
int blob_source_open_archive(
	int fd, uint64_t offset, const char *source, struct blob_source **ret, struct error *err);
void blob_source_close(struct blob_source *blobs);

static inline void cleanup_blob_source(struct blob_source **blobs)
{
	if (*blobs)
		blob_source_close(*blobs);
}
#define _cleanup_blob_source_ _cleanup_(cleanup_blob_source)

/* The name for messages. */
const char *blob_source_name(const struct blob_source *blobs);

/* Whether there is a regular file of that path, links resolved. */
bool blob_exists(struct blob_source *blobs, const char *path);

/*
 * Opens a file. ret_size is what its header says. -ENOENT: there is none; -ELOOP: links without end;
 * -EINVAL: not a regular file, or a path or link that leads out.
 */
int blob_open(struct blob_source *blobs, const char *path, uint64_t *ret_size, struct error *err);

/*
 * The next piece of the open file: its length, 0 at the end, or -errno with the message in the err of
 * blob_open(). An aci_read_fn: context is the struct blob_source.
 */
ssize_t blob_next(void *context, const void **ret_data);

/*
 * Reads a whole file of at most max bytes; the caller frees *ret_data, which ends with a NUL that is not
 * counted. digest: what its content must have, or NULL. -EBADMSG: it has another; -EFBIG.
 */
int blob_read(struct blob_source *blobs, const char *path, const char *digest, size_t max,
	char **ret_data, size_t *ret_length, struct error *err);

/* The same for a JSON value of at most BLOB_DOCUMENT_SIZE_MAX bytes. */
int blob_read_document(struct blob_source *blobs, const char *path, const char *digest,
	json_t **ret, struct error *err);

#endif
