/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preparing a pod: all that a run of it needs is decided and written into its directory (pod/pod.h has the
 * list), so that a run later needs no image of the store, only rendered trees, which `gc` keeps for it.
 *
 * Any step may be the last one before a SIGKILL: a pod that is not prepared to the end is garbage.
 */
#ifndef APPC_POD_PREPARE_H
#define APPC_POD_PREPARE_H

#include "pod/pod.h"
#include "pod/resolve.h"

/* The pod manifest as it was given or generated, byte by byte. */
#define POD_MANIFEST_GIVEN "manifest"

/* What it was resolved to. */
#define POD_MANIFEST_RESOLVED "pod"

/* Where the manifest of an app's image is in the pod's directory: a format for the app's name. */
#define POD_IMAGE_MANIFEST "appsinfo/%s/manifest"

/* What a run of a prepared pod takes from its preparation. */
struct pod_prepared {
	bool warm;
	unsigned int vcpus; /* as in struct resolve_options */
	uint64_t memory;
	bool strict_isolators;
	bool exposes_ports; /* for a person: its run has a network unless another is asked for */
};

/*
 * Compares the apps' rendered trees with what was rendered, which reads all of them, and renders those anew
 * that were changed since, with a warning. The caller keeps the trees (store/store.h).
 */
int pod_verify_trees(struct store *store, const struct resolved_pod *resolved, struct error *err);

/*
 * Writes the directory of a new pod (preparing, locked): its manifest, which are length bytes of text, what
 * it was resolved to, the tree (pod_tree_prepare()). prepared is NULL for a pod that is run at once.
 */
int pod_prepare(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	const char *text, size_t length, const struct pod_prepared *prepared, struct error *err);

/* Writes the image manifests of a pod's apps into the directory. */
int pod_prepare_image_manifests(
	const struct pod *pod, const struct resolved_pod *resolved, struct error *err);

/* What pod_prepare() was given. */
int pod_prepared_read(const struct pod *pod, struct pod_prepared *ret, struct error *err);

/*
 * Resolves a prepared pod again, from what its directory says. options->prepared is not looked at.
 */
int pod_prepared_resolve(const struct pod *pod, struct store *store,
	const struct resolve_options *options, struct resolved_pod **ret, struct error *err);

#endif
