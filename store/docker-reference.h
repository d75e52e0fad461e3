/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How Docker and its kin write the name of an image, "[REGISTRY/]REPOSITORY[:TAG][@DIGEST]", and what
 * the image is called here. Without a registry it is Docker Hub's, with "library/" before a repository of
 * one component, without a tag it is "latest".
 */
#ifndef APPC_STORE_DOCKER_REFERENCE_H
#define APPC_STORE_DOCKER_REFERENCE_H

#include "base/error.h"

#include <stdbool.h>

#define DOCKER_HUB         "registry-1.docker.io"
#define DOCKER_DEFAULT_TAG "latest"

/* All owned; docker_reference_clear() frees them. */
struct docker_reference {
	char *original;   /* as it was written; NULL: the image has none */
	char *registry;   /* NULL: none */
	char *repository; /* "library/busybox" */
	char *tag;
};

/* -EINVAL: no repository; -ENOMEM. On failure nothing is owned. */
int docker_reference_parse(const char *text, struct docker_reference *ret, struct error *err);
void docker_reference_clear(struct docker_reference *reference);

static inline void cleanup_docker_reference(struct docker_reference *reference)
{
	docker_reference_clear(reference);
}
#define _cleanup_docker_reference_ _cleanup_(cleanup_docker_reference)

/* Whether text is more than a tag: it has a slash or a colon. */
bool docker_reference_has_repository(const char *text);

/* Whether both mean the same registry, repository and tag. */
bool docker_reference_equal(
	const struct docker_reference *left, const struct docker_reference *right);

#endif
