// SPDX-License-Identifier: Apache-2.0
/*
 * network.c: configures an interface through rtnetlink(7), with one request for all of it: where each
 * instruction of the kernel is emulated, round trips count.
 */
#include "guest-init/network.h"

#include "base/cleanup.h"
#include "base/rtnetlink.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int guest_mac_parse(const char *text, uint8_t mac[GUEST_MAC_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 3 * GUEST_MAC_SIZE - 1)
		return -EINVAL;
	for (unsigned int i = 0; i < GUEST_MAC_SIZE; i++, text += 3) {
		const char *high = strchr(digits, text[0]), *low = strchr(digits, text[1]);

		if (!high || !low || (i + 1 < GUEST_MAC_SIZE && text[2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	/* One of a single interface, and not of none. */
	return mac[0] & 1 ? -EINVAL : 0;
}

static void ask_for_link(
	struct rtnetlink_request *request, const struct guest_network *network, int index)
{
	struct ifinfomsg *link =
		rtnetlink_message(request, "interface", RTM_NEWLINK, 0, sizeof(*link));

	*link = (struct ifinfomsg){.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	rtnetlink_add(request, IFLA_ADDRESS, network->mac, sizeof(network->mac));
	rtnetlink_add_number(request, IFLA_MTU, network->mtu);
}

/* Nobody else can have it: it is not asked about, and of use at once. */
static void ask_for_address(struct rtnetlink_request *request, int family, const void *bytes,
	size_t size, uint8_t prefix, int index)
{
	struct ifaddrmsg *address = rtnetlink_message(
		request, "address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*address));

	*address = (struct ifaddrmsg){
		.ifa_family = (uint8_t)family,
		.ifa_prefixlen = prefix,
		.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = (uint32_t)index,
	};
	rtnetlink_add(request, IFA_LOCAL, bytes, size);
	rtnetlink_add(request, IFA_ADDRESS, bytes, size);
}

/* A gateway of a link-local address is one of this interface. */
static void ask_for_route(
	struct rtnetlink_request *request, int family, const void *gateway, size_t size, int index)
{
	struct rtmsg *route = rtnetlink_message(
		request, "route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*route));

	*route = (struct rtmsg){
		.rtm_family = (uint8_t)family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	rtnetlink_add(request, RTA_GATEWAY, gateway, size);
	rtnetlink_add_number(request, RTA_OIF, (uint32_t)index);
}

int guest_network_set(const struct guest_network *network, struct error *err)
{
	_cleanup_close_ int fd = rtnetlink_open();
	struct rtnetlink_request request = {.length = 0};
	struct ifreq interface = {.ifr_ifindex = 0};
	struct ethtool_value merging = {.cmd = ETHTOOL_SGRO, .data = 0};
	int index;

	if (fd < 0)
		return error_set_errno(err, fd, "configure the network");
	memcpy(interface.ifr_name, network->interface, sizeof(interface.ifr_name));
	if (ioctl(fd, SIOCGIFINDEX, &interface) < 0)
		return error_set_errno(
			err, -errno, "find the network interface %s", network->interface);
	index = interface.ifr_ifindex;
	/*
	 * What can be merged the host has merged: its frames are up to 64 KiB (of a tap by VIRTIO_NET_F_GUEST_TSO4, of passt by
	 * the MTU). To look for more of it costs each packet. An interface that knows nothing of it is as good.
	 */
	interface.ifr_data = (void *)&merging;
	(void)ioctl(fd, SIOCETHTOOL, &interface);
	ask_for_link(&request, network, index);
	ask_for_address(&request, AF_INET, &network->address, sizeof(network->address),
		network->prefix, index);
	ask_for_route(&request, AF_INET, &network->gateway, sizeof(network->gateway), index);
	if (network->prefix6)
		ask_for_address(&request, AF_INET6, &network->address6, sizeof(network->address6),
			network->prefix6, index);
	if (network->has_gateway6)
		ask_for_route(
			&request, AF_INET6, &network->gateway6, sizeof(network->gateway6), index);
	return rtnetlink_do(fd, &request, err);
}
