/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet filter of pods on bridges: two tables of nftables(8) of our own, "appc_vm" of the families inet and bridge.
 *
 *   bridge   a frame of a pod has the pod's own MAC and IP addresses, also in what ARP and neighbour discovery say; it
 *            routes for nobody
 *   inet     what leaves the bridge has the host's address; published ports lead to pods; nothing else enters a bridge
 *            that does not answer, and nothing goes from one bridge to another
 *
 * Theory of operation: both are made anew from all leases, in one transaction, whenever a lease comes or goes. So there
 * is nothing to repair after a crash but to do that again, and rules never half belong to a pod.
 */
#ifndef APPC_POD_FIREWALL_H
#define APPC_POD_FIREWALL_H

#include "pod/lease.h"

/* Names of interfaces of ours start so; one whose lease is gone says nothing. */
#define FIREWALL_INTERFACE_PREFIX "appc"

/*
 * What nft(8) is told; the caller frees it. NULL: out of memory. transit: where the host forwards IPv4 for pods alone,
 * the interfaces (each quoted, separated by ", ") from which it forwards as it did before there were any; NULL: it
 * forwards what it would without pods.
 */
char *firewall_rules(const struct leases *leases, const char *transit);

/* Makes the host's be so; no leases: removes them. 0 or -errno with nft's own words. Needs CAP_NET_ADMIN. */
int firewall_set(const struct leases *leases, const char *transit, struct error *err);

#endif
