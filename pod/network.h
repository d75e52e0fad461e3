/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a pod, beside the loopback interface that each has: how it is joined to the host's.
 *
 *   none      not at all
 *   default   through passt(1), which makes connections of its own for those of the pod: no privileges, no
 *             interface and no route of the host are needed. The pod has NETWORK_USER_ADDRESS, and reaches what
 *             the host reaches, but nothing that listens on the host's own loopback addresses
 *
 * Exposed ports of the manifest are listened on by the host. Functions return 0 or -errno. One thread.
 */
#ifndef APPC_POD_NETWORK_H
#define APPC_POD_NETWORK_H

#include "pod/resolve.h"
#include "virtio/net.h"

#include <sys/types.h>

#define NETWORK_USER_ADDRESS     "10.0.2.15"
#define NETWORK_USER_PREFIX      24
#define NETWORK_USER_GATEWAY     "10.0.2.2"
#define NETWORK_USER_NAME_SERVER "10.0.2.3"

enum network_mode { NETWORK_NONE, NETWORK_USER };

/* --net's value; "" is the default network. -ENOTSUP, -EINVAL with a message. */
int network_mode_parse(const char *text, enum network_mode *ret, struct error *err);

/* What kind of device the machine has for it. */
enum virtio_net_kind network_device_kind(enum network_mode mode);

struct pod_network {
	enum network_mode mode;
	int fd; /* for the machine's device; -1: none */
	uint8_t mac[VIRTIO_NET_MAC_SIZE];
	pid_t helper;            /* the process that carries it; 0: none */
	int ready_fd, errors_fd; /* where it says that it is ready, and why not; -1 */
};
#define POD_NETWORK_NONE ((struct pod_network){.fd = -1, .ready_fd = -1, .errors_fd = -1})

/* Begins to make the network of a pod. Messages name the program that is missing. */
int pod_network_start(enum network_mode mode, const struct resolved_pod *resolved, const char *uuid,
	struct pod_network *ret, struct error *err);

/* Waits until all is there: ports that cannot be had are named. */
int pod_network_wait(struct pod_network *network, struct error *err);

/* The machine has its end; ours is closed, so that what carries the network ends with it. */
void pod_network_handed_over(struct pod_network *network);

/* Ends it. Also for one that was not started. */
void pod_network_stop(struct pod_network *network);

/* What guest-init is told (wire/wire.h, "network"). NULL: there is none, or no memory. */
json_t *pod_network_configure(const struct pod_network *network);

/* What list and status tell: rkt's array of objects. NULL: out of memory. */
json_t *pod_network_describe(enum network_mode mode);

#endif
