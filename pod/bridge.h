/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod on a bridge of the host: the bridge, which is made for the first pod and goes with the last; the pod's port,
 * which is a tap for a machine and one end of a veth pair for a container; its addresses (pod/lease.h); and the packet
 * filter (pod/firewall.h). Needs CAP_NET_ADMIN in the host's network namespace.
 *
 * A bridge that was there before is used with the addresses that it has, and stays.
 *
 * Theory of operation: bridges learn nothing and flood nothing here. Each port has the one MAC address of its pod, and
 * the host knows by itself which IP addresses have which MAC address, and tells the pods: no pod is asked, and frames
 * for one are seen by that one alone.
 *
 * Functions return 0 or -errno. One thread.
 */
#ifndef APPC_POD_BRIDGE_H
#define APPC_POD_BRIDGE_H

#include "pod/lease.h"

#define BRIDGE_NAME_DEFAULT "appcbr0"
#define BRIDGE_MTU          1500

struct bridge_request {
	const char *bridge;    /* name */
	const char *interface; /* of the pod's port: unique on this host */
	uint8_t mac[LEASE_MAC_SIZE];
	const struct lease_port *ports; /* borrowed */
	size_t port_count;
	/* Of a container: the network namespace in which the pod's end is to be; -1: it is a tap. */
	int netns_fd;
	const char *name_in_pod; /* of the pod's end; a container's only */
};

struct bridge_port {
	struct lease lease;
	struct in_addr gateway;
	struct in6_addr gateway6;
	bool has_ipv6, routes_ipv6; /* routes: beyond the bridge, too */
	int lease_fd;               /* keeps all of it */
	int tap_fd; /* non-blocking; frames with a header of virtio-net; -1: there is none */
};
#define BRIDGE_PORT_NONE ((struct bridge_port){.lease_fd = -1, .tap_fd = -1})

/* A name of a bridge that may be asked for. */
bool bridge_name_is_valid(const char *name);

int bridge_join(const struct bridge_request *request, struct bridge_port *ret, struct error *err);

/* Gives all back. Also BRIDGE_PORT_NONE. */
void bridge_leave(struct bridge_port *port);

/* Removes what killed processes left. Nothing was: 0. */
int bridge_collect(struct error *err);

#endif
