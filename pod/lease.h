/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pods on this host's bridges have: one file each, below /run, since bridges and firewalls do not outlive a
 * boot either. They belong to the host's network namespace, and so to pods of all data directories.
 *
 * Theory of operation: a lease is good as long as the supervisor of its pod has its file locked, which ends with the
 * process however that ends. Whoever has the directory locked sees all that is good, may remove what is not, and
 * may make the host's interfaces and rules be what is written there.
 *
 * Functions return 0 or -errno. One thread.
 */
#ifndef APPC_POD_LEASE_H
#define APPC_POD_LEASE_H

#include "base/error.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_MAC_SIZE 6

/* A port of the host that leads to one of the pod. */
struct lease_port {
	bool is_udp;
	struct in_addr host; /* INADDR_ANY: any address of the host */
	uint16_t host_port, port;
};

struct lease {
	char interface[IFNAMSIZ]; /* the host's end of the pod's; it names the lease */
	char bridge[IFNAMSIZ];
	uint8_t mac[LEASE_MAC_SIZE];
	struct in_addr address;
	uint8_t prefix;
	struct in6_addr address6; /* all zeros: none */
	uint8_t prefix6;
	struct lease_port *ports;
	size_t port_count;
};

void lease_done(struct lease *lease);
bool lease_has_ipv6(const struct lease *lease);

struct leases {
	int fd; /* the directory, which is locked */
	char path[64];
	struct lease *items;
	size_t count;
	/* Of pods that have ended: what they had is to be taken away. leases_write() does not change them. */
	struct lease *stale;
	size_t stale_count;
};
#define LEASES_NONE ((struct leases){.fd = -1})

/* Waits for the lock. The directory is made; path: where the tests have it; NULL: that of this network namespace. */
int leases_open(const char *path, struct leases *ret, struct error *err);
/* Whether this network namespace has any: else nothing needs to be opened. */
bool leases_exist(void);

/* Unlocks it, and removes it where nothing is in it any more. Also LEASES_NONE. */
void leases_close(struct leases *leases);

/*
 * The address with this number, which is in the network and free: the first after the one that was given last, since
 * others may still know whose that was. first: of the network's own address, host byte order. -ENOSPC.
 */
int leases_find_address(const struct leases *leases, const char *bridge, uint32_t first,
	uint32_t count, uint32_t *ret);

/* Writes a lease and adds it (a copy). *ret_fd: whose lock keeps it good. */
int leases_write(struct leases *leases, const struct lease *lease, int *ret_fd);

/*
 * One is no longer good: it is among the stale ones from now on, and its file stays until leases_forget_stale(). No such
 * one is fine. -ENOMEM.
 */
int leases_end(struct leases *leases, const char *interface);

/* The files of what is in stale go. */
void leases_forget_stale(struct leases *leases);

/*
 * Marks: things of the host that pods changed, to be changed back when no lease needs them. A mark is written before
 * the change. A missing one is no error.
 */
bool leases_has_mark(const struct leases *leases, const char *kind, const char *name);
int leases_set_mark(const struct leases *leases, const char *kind, const char *name);
void leases_remove_mark(const struct leases *leases, const char *kind, const char *name);
/* Calls back for each name that has a mark of this kind. */
int leases_each_mark(const struct leases *leases, const char *kind,
	void (*call)(void *context, const char *name), void *context);

#endif
