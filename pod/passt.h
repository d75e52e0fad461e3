/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt(1), which makes connections and datagrams of its own for those of a pod: no privileges, no interface and no
 * route of the host are needed. It runs as nobody, with no file, and ends with us.
 *
 * Functions return 0 or -errno. One thread.
 */
#ifndef APPC_POD_PASST_H
#define APPC_POD_PASST_H

#include "appc/manifest.h"
#include "base/child.h"

#include <net/ethernet.h>
#include <stdint.h>
#include <sys/types.h>

#define PASST_ADDRESS     "10.0.2.15"
#define PASST_PREFIX      24
#define PASST_NETMASK     "255.255.255.0" /* the same */
#define PASST_GATEWAY     "10.0.2.2"
#define PASST_NAME_SERVER "10.0.2.3"
/* Of a network of its own (RFC 4193), so that who has both chooses IPv4 by RFC 6724; every pod's is the same. */
#define PASST_ADDRESS6 "fd00:a:0:2::15"
#define PASST_PREFIX6  64
#define PASST_GATEWAY6 "fe80::2"

/* Frames as long as IP allows, so that a pod need not cut its data. */
#define PASST_MTU      65520
#define PASST_MTU_TEXT "65520"

struct passt {
	pid_t pid; /* 0: none */
	int fd;    /* of frames, each behind its length, 4 bytes big-endian; non-blocking; -1 */
	int ready_fd, errors_fd; /* where it says that it is ready, and why not; -1 */
	bool has_ipv6;           /* the host has, so that the pod may have */
};
#define PASST_NONE ((struct passt){.fd = -1, .ready_fd = -1, .errors_fd = -1})

/*
 * It listens to the manifest's exposed ports, and is in the cgroup. mac: the pod's, which it knows from the first, so
 * that the first connection to the pod need not wait for a frame of it. Messages name the program that is missing.
 */
int passt_start(const struct appc_pod_manifest *manifest, const uint8_t mac[ETH_ALEN],
	const struct child_cgroup *cgroup, struct passt *ret, struct error *err);

/* Waits until all is there: ports that cannot be had are named. */
int passt_wait(struct passt *passt, struct error *err);

/* Another has the fd: ours is closed, so that passt ends with that. */
void passt_handed_over(struct passt *passt);

/* Also PASST_NONE. */
void passt_stop(struct passt *passt);

#endif
