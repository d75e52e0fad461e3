/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a pod's isolators (specification, "Isolators"): the limits and walls of each app, and the
 * report of which isolators are enforced, which in another way than they say, and which not at all.
 */
#ifndef APPC_POD_ISOLATORS_H
#define APPC_POD_ISOLATORS_H

#include "pod/resolve.h"

/*
 * The isolators of the pod as a whole, and then those of each app, which need the pod's manifest and the app's
 * name and section. Fill in the app, and the report (pod->isolators). Warn of what is ignored; with
 * options->strict_isolators that is an error. -EINVAL, -ENOTSUP with a message, or -ENOMEM.
 */
int pod_isolators_resolve(
	struct resolved_pod *pod, const struct resolve_options *options, struct error *err);
int pod_isolators_resolve_app(struct resolved_pod *pod, struct resolved_app *app,
	const struct resolve_options *options, struct error *err);

#endif
