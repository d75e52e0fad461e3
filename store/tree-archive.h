/* SPDX-License-Identifier: Apache-2.0 */
/* Makes an app container image of a directory tree and a manifest: the opposite of import and render. */
#ifndef APPC_STORE_TREE_ARCHIVE_H
#define APPC_STORE_TREE_ARCHIVE_H

#include "base/error.h"

#include <stddef.h>

/*
 * Writes an uncompressed ACI to output_fd: the manifest's bytes as they are, and the tree below root_fd as
 * rootfs, sorted by name, so that equal trees make equal images. Owners, modes, times of change, hard
 * links, holes, device nodes and the extended attributes that an image may have (store/archive.h) are
 * kept; sockets, which no archive can hold, are left out with a warning, and so is without one the file at the path
 * left_out (relative; may be NULL). Follows no symbolic link. Nobody may change the tree meanwhile. 0 or
 * -errno with a message that names the file; what was written then is of no use. -EFBIG: more bytes of files, holes
 * included, than STORE_LIMITS_DEFAULT has for an image.
 */
int tree_archive_write(int root_fd, const char *manifest, size_t manifest_length,
	const char *left_out, int output_fd, struct error *err);

#endif
