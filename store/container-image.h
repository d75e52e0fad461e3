/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image a file of another format holds, and where its parts are. Two formats, one answer:
 *   oci.c          an OCI image layout (OCI image specification, "Image Layout"): index.json leads to a
 *                  manifest, through further indexes where an image is for several platforms
 *   docker-save.c  the archive of "docker save": manifest.json says it all
 * Everything that is read is hostile. What has a digest was compared with it, except configuration and
 * layers, which the caller reads.
 */
#ifndef APPC_STORE_CONTAINER_IMAGE_H
#define APPC_STORE_CONTAINER_IMAGE_H

#include "store/blob.h"
#include "store/container-config.h"

/* More layers than any builder makes. */
#define CONTAINER_LAYERS_MAX 1024
#define CONTAINER_SIZE_ANY   UINT64_MAX

/* A file of the source, and what its content must be. */
struct container_part {
	char *path;
	char *digest;  /* NULL: nobody says */
	uint64_t size; /* bytes; CONTAINER_SIZE_ANY */
};

struct container_image {
	/* Its image_id is not set, and its reference may lack all or all but the tag. */
	struct container_identity identity;
	struct container_part config;
	struct container_part *layers; /* the lowest first */
	size_t layer_count;
};

void container_image_clear(struct container_image *image);
#define _cleanup_container_image_ _cleanup_(container_image_clear)

/*
 * wanted: a reference, a tag or a digest, or NULL where the file holds one image. -ENOENT: no such image,
 * or none for this machine; -ENOTUNIQ: several; both messages list what there is. -EINVAL, -EBADMSG:
 * damaged or not understood. On failure nothing is owned.
 */
int oci_image_find(struct blob_source *blobs, const char *wanted, struct container_image *ret,
	struct error *err);
int docker_save_image_find(struct blob_source *blobs, const char *wanted,
	struct container_image *ret, struct error *err);

/* Whether there is one, by the files that it must have. */
bool oci_layout_exists(struct blob_source *blobs);
bool docker_save_exists(struct blob_source *blobs);

/* The digest that a path below "blobs" names; the caller frees it. NULL: no such path, or no memory. */
char *container_path_digest(const char *path);

/* For messages: appends ", " and the text, or "..." where it would not fit. */
void container_list_append(char *list, size_t size, const char *text);

#endif
