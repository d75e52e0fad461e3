// SPDX-License-Identifier: Apache-2.0
/*
 * network.c: configures an interface through rtnetlink(7), with one request for all of it: where each
 * instruction of the kernel is emulated, round trips count.
 */
#include "guest-init/network.h"

#include "base/cleanup.h"

#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The messages and their attributes, and the kernel's answers to them. */
#define REQUEST_SIZE 512
#define ANSWER_SIZE  4096

struct request {
	uint8_t data[REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	size_t length;
	struct nlmsghdr *message; /* the last one */
	uint32_t count;
};

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

/* Room behind what is there, zeroed. REQUEST_SIZE is enough for all that this file asks. */
static void *append(struct request *request, size_t size)
{
	void *place = request->data + request->length;

	request->length += NLMSG_ALIGN(size);
	return place;
}

static void *begin_message(struct request *request, uint16_t type, uint16_t flags, size_t size)
{
	request->message = append(request, sizeof(*request->message));
	*request->message = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags),
		.nlmsg_seq = ++request->count,
	};
	return append(request, size);
}

static void add_attribute(struct request *request, uint16_t type, const void *data, size_t size)
{
	struct rtattr *attribute = append(request, sizeof(*attribute));

	*attribute = (struct rtattr){.rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = type};
	memcpy(append(request, size), data, size);
	request->message->nlmsg_len =
		(uint32_t)(request->data + request->length - (uint8_t *)request->message);
}

static void ask_for_link(struct request *request, const struct guest_network *network, int index)
{
	struct ifinfomsg *link = begin_message(request, RTM_NEWLINK, 0, sizeof(*link));

	*link = (struct ifinfomsg){.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	add_attribute(request, IFLA_ADDRESS, network->mac, sizeof(network->mac));
	add_attribute(request, IFLA_MTU, &network->mtu, sizeof(network->mtu));
}

static void ask_for_address(struct request *request, const struct guest_network *network, int index)
{
	struct ifaddrmsg *address =
		begin_message(request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*address));

	*address = (struct ifaddrmsg){
		.ifa_family = AF_INET,
		.ifa_prefixlen = network->prefix,
		.ifa_index = (uint32_t)index,
	};
	add_attribute(request, IFA_LOCAL, &network->address, sizeof(network->address));
	add_attribute(request, IFA_ADDRESS, &network->address, sizeof(network->address));
}

static void ask_for_route(struct request *request, const struct guest_network *network)
{
	struct rtmsg *route =
		begin_message(request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*route));

	*route = (struct rtmsg){
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	add_attribute(request, RTA_GATEWAY, &network->gateway, sizeof(network->gateway));
}

/* The kernel has answered each message when send() returns. */
static int take_answers(int fd, uint32_t count, struct error *err)
{
	static const char *const what[] = {"interface", "address", "route"};

	for (uint32_t answered = 0; answered < count;) {
		uint8_t data[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
		ssize_t n = recv(fd, data, sizeof(data), 0);
		const struct nlmsghdr *message = (const struct nlmsghdr *)data;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, -errno, "configure the network");
		for (size_t left = (size_t)n; NLMSG_OK(message, left);
			message = NLMSG_NEXT(message, left), answered++) {
			const struct nlmsgerr *answer = NLMSG_DATA(message);

			if (message->nlmsg_type == NLMSG_ERROR && answer->error < 0)
				return error_set_errno(err, answer->error,
					"configure the network: %s",
					answer->msg.nlmsg_seq - 1 < ARRAY_SIZE(what)
						? what[answer->msg.nlmsg_seq - 1]
						: "answer");
		}
	}
	return 0;
}

int guest_network_set(const struct guest_network *network, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct request request = {.length = 0};
	struct ifreq interface = {.ifr_ifindex = 0};

	if (fd < 0)
		return error_set_errno(err, -errno, "configure the network");
	memcpy(interface.ifr_name, network->interface, sizeof(interface.ifr_name));
	if (ioctl(fd, SIOCGIFINDEX, &interface) < 0)
		return error_set_errno(
			err, -errno, "find the network interface %s", network->interface);
	ask_for_link(&request, network, interface.ifr_ifindex);
	ask_for_address(&request, network, interface.ifr_ifindex);
	ask_for_route(&request, network);
	if (send(fd, request.data, request.length, 0) < 0)
		return error_set_errno(err, -errno, "configure the network");
	return take_answers(fd, request.count, err);
}
