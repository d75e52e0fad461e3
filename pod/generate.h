/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod manifest that a command line means: rkt's rules, with the images' manifests at hand. Touches no
 * store and no file.
 */
#ifndef APPC_POD_GENERATE_H
#define APPC_POD_GENERATE_H

#include "pod/blueprint.h"

/* rkt's: whether apps may be added to the pod while it runs. */
#define POD_ANNOTATION_MUTABLE "coreos.com/rkt/stage1/mutable"

struct generate_image {
	const char *id; /* full */
	const struct appc_image_manifest *manifest;
};

/*
 * images has one element for each of request->images. *ret is what a parser makes of *ret_text, the
 * manifest as JSON; the caller frees both. -EINVAL with a message that names the image, app or field;
 * -ENOMEM.
 */
int pod_generate(const struct pod_blueprint *request, const struct generate_image *images,
	struct appc_pod_manifest **ret, char **ret_text, struct error *err);

#endif
