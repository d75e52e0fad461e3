/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: running pods parked on disk, with their memory, to go on later.
 *
 *   DATA/checkpoints/KEY/       a template (vmm/template.h) that belongs to one moment of one pod:
 *     memory, state, info       the machine
 *     checkpoint                JSON: whose it is, and what the machine has to be like (struct pod_checkpoint_info)
 *     pod/                      of the pod's directory (pod/pod.h): manifest, pod, trees, appsinfo, apps, and copies of
 *                               what its apps had written: overlay/APP/upper, volumes/NAME
 *
 * It appears whole or not at all, is never changed, and stays until somebody removes it, or `gc` when it has not been
 * used for long. It holds whatever was in the pod's memory, keys and passwords too: its owner alone can read it.
 * What goes on from it is a new pod, as often as it is wanted: with a UUID, a directory and random numbers of its
 * own, and with the apps where they were.
 *
 * Functions return 0 or -errno with a message.
 */
#ifndef APPC_POD_CHECKPOINT_H
#define APPC_POD_CHECKPOINT_H

#include "pod/pod.h"
#include "pod/resolve.h"
#include "vmm/template.h"

/* No more are made. */
#define CHECKPOINTS_MAX 64

#define CHECKPOINT_HOSTNAME_SIZE 65

struct pod_checkpoint_info {
	char uuid[POD_UUID_SIZE];
	char id[33]; /* of the checkpoint, random: no other pod has its key */
	unsigned int vcpus;
	uint64_t memory; /* bytes */
	bool shared;     /* see struct template_subject */
	enum virtio_fs_dax dax;
	char hostname[CHECKPOINT_HOSTNAME_SIZE]; /* that was asked for; empty: the default */
};

/* The directory of checkpoints below the data directory: templates_close() it. */
int pod_checkpoints_open(int data_fd, struct templates **ret, struct error *err);

/*
 * Makes one of a running pod, which stands still meanwhile: it goes on then, or ends. ret_key names it. Whatever
 * happens to this process, the pod goes on or has ended, and the checkpoint is there whole or not at all.
 * -ENOTCONN: the pod cannot be saved, and goes on; the message says why.
 */
int pod_checkpoint_make(const struct pod *pod, struct templates *checkpoints, bool keep_running,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err);

/* What a "checkpoint" file says, which is not to be trusted. -EBADMSG. */
int pod_checkpoint_parse(const char *text, size_t length, struct pod_checkpoint_info *ret);

/* The same of the one with this key. -EBADMSG, -ENOENT: it does not say. */
int pod_checkpoint_read(int data_fd, const char *key, struct pod_checkpoint_info *ret);

/* ---- going on from one */

struct pod_checkpoint {
	char key[TEMPLATE_KEY_SIZE];
	struct template template;
	struct pod_checkpoint_info info;
	struct pod saved; /* its pod/, as a pod of the old UUID */
};
#define POD_CHECKPOINT_NONE ((struct pod_checkpoint){.template = TEMPLATE_NONE, .saved = POD_NONE})
void pod_checkpoint_done(struct pod_checkpoint *checkpoint);

/*
 * Opens the one whose key begins with prefix. -EBADMSG: it is damaged, or was made by another version of this program or
 * on another host.
 */
int pod_checkpoint_open(struct pods *pods, struct templates *checkpoints, const char *prefix,
	struct pod_checkpoint *ret, struct error *err);

/* Fills a new pod's directory, after pod_prepare(). */
int pod_checkpoint_restore_tree(const struct pod_checkpoint *checkpoint, const struct pod *pod,
	const struct resolved_pod *resolved, struct error *err);

/* ---- removal */

/* Removes what killed makers left, and checkpoints that have not been used for age_max nanoseconds. */
int pod_checkpoints_collect(
	struct templates *checkpoints, int64_t age_max, size_t *ret_removed, struct error *err);

#endif
