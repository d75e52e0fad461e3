/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's network interface, beside lo. */
#ifndef APPC_GUEST_INIT_NETWORK_H
#define APPC_GUEST_INIT_NETWORK_H

#include "base/error.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define GUEST_MAC_SIZE 6

/* From the "network" of a message (wire/wire.h). */
struct guest_network {
	char interface[IFNAMSIZ]; /* empty: there is none */
	uint8_t mac[GUEST_MAC_SIZE];
	uint32_t mtu;
	struct in_addr address, gateway;
	uint8_t prefix;
	/* IPv6: 0 for none; and it may be for the link alone. */
	uint8_t prefix6;
	bool has_gateway6;
	struct in6_addr address6, gateway6;
};

/* "02:00:00:00:00:01". 0 or -EINVAL. */
int guest_mac_parse(const char *text, uint8_t mac[GUEST_MAC_SIZE]);

/* Gives the interface its address and the route to everywhere, and brings it up. 0 or -errno with a message. */
int guest_network_set(const struct guest_network *network, struct error *err);

#endif
