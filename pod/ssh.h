/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh into a running pod, without a network: the ssh client's connection is a session (wire/session.h), and the host
 * knows both keys.
 *
 *   DATA/ssh/identity/id_ed25519, .pub   the client's, one pair for the data directory, made with ssh-keygen
 *   POD/ssh/host_key, host_key.pub       the server's, one for each pod, made with dropbearkey; it travels to the
 *                                        guest with each session
 *
 * Each is made once, by the first who needs it: a directory that is renamed when it is complete and on disk.
 */
#ifndef APPC_POD_SSH_H
#define APPC_POD_SSH_H

#include "pod/pod.h"

/* Hosts' names are a pod's UUID, or its beginning, and this. */
#define POD_SSH_DOMAIN ".pod"

#define POD_SSH_IDENTITY "ssh/identity/id_ed25519" /* below the data directory */

/* Makes the client's key pair where there is none yet. 0 or -errno with a message. */
int pod_ssh_make_identity(int data_dirfd, struct error *err);

/* A pod's public host key, "ssh-ed25519 AAAA..."; the caller frees it. The pod is running. */
int pod_ssh_host_key(const struct pod *pod, char **ret, struct error *err);

/*
 * Connects standard input and output to an ssh server in the pod, until it ends. 0; 128 + SIGPIPE: nobody reads what it
 * says; -errno with a message: there is no server.
 */
int pod_ssh(struct pod *pod, struct error *err);

#endif
