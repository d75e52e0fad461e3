/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the machine of a pod starts from: a template, made when there is none yet; the pod's own apps,
 * parked at their first instruction (warm); or a boot, where nothing better is to be had.
 */
#ifndef APPC_POD_ORIGIN_H
#define APPC_POD_ORIGIN_H

#include "pod/pod.h"
#include "pod/resolve.h"
#include "vmm/template.h"

struct pod_origin_options {
	struct templates *templates;
	int kernel_fd, init_fd; /* borrowed */
	bool warm;
	enum virtio_fs_dax dax;
	enum virtio_net_kind net_kind;
	bool kernel_messages;
	const char *extra_command_line;
};

struct pod_origin {
	char key[TEMPLATE_KEY_SIZE]; /* empty: the machine boots */
	struct template template;    /* open when there is a key */
	bool was_built;              /* just now */
	bool is_warm;                /* this pod's apps are parked in it */
};
#define POD_ORIGIN_NONE ((struct pod_origin){.template = TEMPLATE_NONE})

/*
 * Finds or makes it. What cannot be had is said in a warning, and the next best is taken: this never
 * fails. Makes pods of its own for a while (and removes them) when apps are to be parked. The process must
 * be in a mount namespace of its own.
 */
void pod_origin_find(const struct pod_origin_options *options, struct pods *pods,
	const struct resolved_pod *resolved, struct store *store, struct pod_origin *ret);

/*
 * The machine could not start from *origin: the next best takes its place, after the parked apps the plain template,
 * after that a boot; useless: its template is removed. As pod_origin_find() it never fails.
 */
void pod_origin_fall_back(const struct pod_origin_options *options,
	const struct resolved_pod *resolved, struct pod_origin *origin, bool useless);

void pod_origin_done(struct pod_origin *origin);

/* Whether the pod has subtrees that others change too (struct template_subject). */
bool pod_is_shared(const struct resolved_pod *resolved);

#endif
