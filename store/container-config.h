/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of an OCI or Docker image (OCI image specification, "Image Configuration"), and the
 * image manifest that it is mapped to; docs/images.md has the table.
 */
#ifndef APPC_STORE_CONTAINER_CONFIG_H
#define APPC_STORE_CONTAINER_CONFIG_H

#include "appc/manifest.h"
#include "store/docker-reference.h"

/* What is known of an image besides its configuration. */
struct container_identity {
	struct docker_reference reference; /* owned */
	char *name;               /* AC Identifier that overrules the reference's; or NULL */
	struct appc_pairs labels; /* these too */
	char *image_id;           /* digest of the configuration, or NULL */
	char *manifest_digest;    /* or NULL */
};

void container_identity_clear(struct container_identity *identity);

/*
 * config is hostile. ret_diff_ids: the digests of the uncompressed layers, the lowest first; the caller
 * clears them. -EINVAL: a message names the field.
 */
int container_config_read(const json_t *config, const struct container_identity *identity,
	struct appc_image_manifest **ret_manifest, struct appc_strings *ret_diff_ids,
	struct error *err);

/* What OCI images call the machine that pods run on. */
#define CONTAINER_HOST_OS           "linux"
#define CONTAINER_HOST_ARCHITECTURE "amd64"

#endif
