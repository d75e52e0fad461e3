/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running pod that stands still, or is saved: what its supervisor is asked for (pod/request.h).
 *
 * For a checkpoint the client keeps his connection. The answer "ok" has "program" (pod_program_identity()), "shared" and
 * "dax" (struct template_subject), and "hostname", where one was asked for. Then he sends steps, each a packet with its name:
 * first "save" with two fds (SCM_RIGHTS), of empty files for the machine's memory and its state (enum machine_order).
 * The answer is "saved" or "refused". Then the pod stands still, until he says "go on", which is answered "ok" when it
 * does, or "end", which ends it there. When he hangs up it goes on.
 *
 * Functions return 0 or -errno.
 */
#ifndef APPC_POD_PAUSE_H
#define APPC_POD_PAUSE_H

#include "pod/pod.h"

/* Has a running pod stand still, or go on: returns when it does. -errno with a message. */
int pod_pause(const struct pod *pod, struct error *err);
int pod_resume(const struct pod *pod, struct error *err);

/* What tells this executable from others on this host: who saves a pod has to be of the same as who runs it. */
#define POD_PROGRAM_SIZE 96
int pod_program_identity(char ret[POD_PROGRAM_SIZE]);

enum pod_checkpoint_step { POD_CHECKPOINT_SAVE, POD_CHECKPOINT_GO_ON, POD_CHECKPOINT_END };

/* fds: with POD_CHECKPOINT_SAVE, which stay ours; else NULL. */
int pod_checkpoint_send(int fd, enum pod_checkpoint_step step, const int fds[2]);

/*
 * The next step, and with POD_CHECKPOINT_SAVE its fds, which are the caller's then. -EAGAIN: nothing now; -EPIPE: the
 * client has gone, or made no sense.
 */
int pod_checkpoint_receive(int fd, enum pod_checkpoint_step *ret, int fds[2]);

#endif
