/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of an OCI or Docker image, one above the other, as one ACI: what extracting them in order
 * would leave, with whiteouts and opaque directories obeyed (OCI image specification, "Image Layer
 * Filesystem Changeset"). Equal layers and equal manifests make equal bytes.
 */
#ifndef APPC_STORE_SQUASH_H
#define APPC_STORE_SQUASH_H

#include "store/store.h"

struct squash_layer {
	int fd;           /* an uncompressed tar, read from its beginning; or an empty file */
	const char *name; /* for messages */
};

/*
 * Writes the ACI to output_fd. layers: the lowest first. -EINVAL with a message that names the layer
 * and the entry: a name that leads out, an entry below something that is not a directory, a hard link to
 * what is not there, a damaged whiteout; -EFBIG: over the limits, of all layers together.
 */
int squash_layers(const struct squash_layer *layers, size_t count,
	const struct store_limits *limits, const char *manifest, size_t manifest_length,
	int output_fd, struct error *err);

#endif
