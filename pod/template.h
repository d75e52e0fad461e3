/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a template: a machine with an empty tree boots, and is parked before it asks who it is.
 */
#ifndef APPC_POD_TEMPLATE_H
#define APPC_POD_TEMPLATE_H

#include "vmm/template.h"

/*
 * Boots and parks the machine of a subject without a pod, unless there is a good template already;
 * while another process builds it, waits. What takes longer than a second is told on standard
 * error. 0: there is one now. -errno with a message otherwise.
 *
 * A stop signal ends the build: -EINTR, or no return at all, since the signal is delivered when all
 * is cleaned up. After SIGKILL nothing of the machine is left, and the files are for
 * templates_collect(). The process must be in a mount namespace of its own, and have opened the
 * templates there (pod_tree_enter_namespace()).
 */
int pod_template_build(
	struct templates *templates, const struct template_subject *subject, struct error *err);

/*
 * template_open() for a machine: its memory file is one that not even a captured VMM can change (file_reopen_read_only()),
 * since other pods start from it, too. Checkpoints are opened so as well. The same process.
 */
int pod_template_open(
	struct templates *templates, const char *key, struct template *ret, struct error *err);

#endif
