/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a pod, beside the loopback interface that each has: how it is joined to the host's.
 *
 *   none      not at all
 *   default   through passt(1) (pod/passt.h): the pod reaches what the host reaches, but nothing that listens on the
 *             host's own loopback addresses
 *   tap       on a bridge of the host (pod/bridge.h), with other pods; for root
 *
 * Exposed ports of the manifest are the host's. Functions return 0 or -errno. One thread.
 */
#ifndef APPC_POD_NETWORK_H
#define APPC_POD_NETWORK_H

#include "pod/bridge.h"
#include "pod/cgroup.h"
#include "pod/passt.h"
#include "pod/resolve.h"
#include "virtio/net.h"

#include <sys/types.h>

enum network_mode { NETWORK_NONE, NETWORK_USER, NETWORK_BRIDGE };

struct network_choice {
	enum network_mode mode;
	char bridge[IFNAMSIZ]; /* NETWORK_BRIDGE */
};

/* --net's value; "" is the default network. -ENOTSUP, -EINVAL with a message. */
int network_choice_parse(const char *text, struct network_choice *ret, struct error *err);

/* What kind of device a machine has for it. */
enum virtio_net_kind network_device_kind(enum network_mode mode);

struct pod_network {
	enum network_mode mode;
	uint8_t mac[VIRTIO_NET_MAC_SIZE];
	int fd;       /* for a machine's device; borrowed from what follows; -1: none */
	int netns_fd; /* of a container, whose interface is in it; -1: it has none but its own */
	struct passt passt;
	pid_t relay; /* between passt and a container; 0: none */
	struct bridge_port port;
	/* Sockets that keep published ports from others. */
	int *port_fds;
	size_t port_count;
};
#define POD_NETWORK_NONE       \
	((struct pod_network){ \
		.fd = -1, .netns_fd = -1, .passt = PASST_NONE, .port = BRIDGE_PORT_NONE})

/*
 * Begins to make the network of a pod. Processes that carry it are in their part of the pod's cgroup; NULL: there is
 * none. Messages name the program that is missing.
 */
int pod_network_start(const struct network_choice *choice, bool is_container,
	const struct resolved_pod *resolved, const char *uuid, const struct pod_cgroup *cgroup,
	struct pod_network *ret, struct error *err);

/* Waits until all is there: ports that cannot be had are named. */
int pod_network_wait(struct pod_network *network, struct error *err);

/* The pod has its end; ours is closed, so that what carries the network ends with it. */
void pod_network_handed_over(struct pod_network *network);

/* Ends it. Also for one that was not started. */
void pod_network_stop(struct pod_network *network);

/* What guest-init is told (wire/wire.h, "network"). NULL: there is none, or no memory. */
json_t *pod_network_configure(const struct pod_network *network);

/* What list and status tell: rkt's array of objects. NULL: out of memory. */
json_t *pod_network_describe(const struct pod_network *network);

#endif
