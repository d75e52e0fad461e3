// SPDX-License-Identifier: Apache-2.0
/* bridge.c: see bridge.h. */
#include "pod/bridge.h"

#include "base/file.h"
#include "base/log.h"
#include "base/rtnetlink.h"
#include "base/sha256.h"
#include "pod/firewall.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Networks of our own bridges: 10.93.N.0/24, and one of RFC 4193. */
#define OWN_NETWORK  0x0a5d0000u
#define OWN_NETWORKS 256u
#define OWN_PREFIX   24
#define OWN_PREFIX6  64
#define MACHINE_ID   "/etc/machine-id"
#define TUN_DEVICE   "/dev/net/tun"
#define IPV4_FORWARD "/proc/sys/net/ipv4/ip_forward"
#define IPV6_FORWARD "/proc/sys/net/ipv6/conf/all/forwarding"
#define HEADER_SIZE  12 /* of virtio-net, before each frame of a tap */

/* A bridge that we made, or routes addresses of the host's loopback interface since we said so. */
#define MARK_BRIDGE   "bridge"
#define MARK_LOCALNET "localnet"
/* That interfaces forward IPv4 for pods (of ALL); and which did so before, and which did not. */
#define MARK_FORWARDING  "forwarding"
#define MARK_FORWARDED   "forwarded"
#define MARK_UNFORWARDED "unforwarded"

/* Switches of IPv4 that each interface has; directories beside theirs. */
#define IPV4_SWITCHES "/proc/sys/net/ipv4/conf"
#define ALL           "all"
#define DEFAULT       "default" /* what a new interface has */
#define FORWARDING    "forwarding"
#define LOCALNET      "route_localnet"

struct bridge {
	const char *name;
	int index;
	struct in_addr address;
	uint8_t prefix;
	struct in6_addr address6;
	uint8_t prefix6; /* 0: none */
};

bool bridge_name_is_valid(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && strcmp(name, ".") && strcmp(name, "..") &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		strlen(name);
}

/* ---- what the host has */

/* 0: there is none. */
static int interface_index(const char *name)
{
	return (int)if_nametoindex(name);
}

static uint8_t mask_bits(const void *mask, size_t size)
{
	const uint8_t *bytes = mask;
	uint8_t bits = 0;

	for (size_t i = 0; i < size; i++)
		bits = (uint8_t)(bits + __builtin_popcount(bytes[i]));
	return bits;
}

/* The first addresses that an interface has, but for the link alone. */
static int read_addresses(struct bridge *bridge)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !i->ifa_netmask || strcmp(i->ifa_name, bridge->name) != 0)
			continue;
		if (i->ifa_addr->sa_family == AF_INET && bridge->prefix == 0) {
			bridge->address = ((const struct sockaddr_in *)i->ifa_addr)->sin_addr;
			bridge->prefix = mask_bits(
				&((const struct sockaddr_in *)i->ifa_netmask)->sin_addr, 4);
		} else if (i->ifa_addr->sa_family == AF_INET6 && bridge->prefix6 == 0) {
			const struct in6_addr *address =
				&((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;

			if (IN6_IS_ADDR_LINKLOCAL(address))
				continue;
			bridge->address6 = *address;
			bridge->prefix6 = mask_bits(
				&((const struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr, 16);
		}
	}
	freeifaddrs(list);
	return 0;
}

/* Whether an interface of the host is in this network, or the network in one of its. */
static bool overlaps(uint32_t network, uint8_t prefix)
{
	bool found = false;
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return true;
	for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
		uint32_t address, mask;

		if (!i->ifa_addr || !i->ifa_netmask || i->ifa_addr->sa_family != AF_INET)
			continue;
		address = ntohl(((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr);
		mask = ntohl(((const struct sockaddr_in *)i->ifa_netmask)->sin_addr.s_addr);
		mask &= ~0u << (32 - prefix);
		found = (address & mask) == (network & mask);
	}
	freeifaddrs(list);
	return found;
}

static bool is_switched_on(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t length;

	return file_read(AT_FDCWD, path, 16, &text, &length) == 0 && *text != '0';
}

static int write_switch(const char *path, bool value)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return file_write_all(fd, value ? "1" : "0", 1);
}

/* One of an interface. */
#define SWITCH_PATH_SIZE (64 + NAME_MAX)

static void switch_path(const char *interface, const char *name, char path[SWITCH_PATH_SIZE])
{
	snprintf(path, SWITCH_PATH_SIZE, IPV4_SWITCHES "/%s/%s", interface, name);
}

/* ---- a bridge of our own */

/* Names lead to the same networks again and again, as far as those are free. */
static void digest_name(const struct bridge *bridge, uint8_t digest[SHA256_SIZE])
{
	_cleanup_free_ char *machine = NULL;
	struct sha256 sha;
	size_t length = 0;

	if (file_read(AT_FDCWD, MACHINE_ID, 64, &machine, &length) < 0)
		length = 0;
	sha256_init(&sha);
	if (length > 0)
		sha256_update(&sha, machine, length);
	sha256_update(&sha, bridge->name, strlen(bridge->name));
	sha256_final(&sha, digest);
}

static int choose_network(struct bridge *bridge, struct error *err)
{
	uint8_t digest[SHA256_SIZE];

	digest_name(bridge, digest);
	bridge->prefix = OWN_PREFIX;
	for (uint32_t i = 0; i < OWN_NETWORKS; i++) {
		uint32_t network = OWN_NETWORK + (((digest[5] + i) % OWN_NETWORKS) << 8);

		if (overlaps(network, OWN_PREFIX))
			continue;
		bridge->address.s_addr = htonl(network + 1);
		return 0;
	}
	return error_set(
		err, -EADDRNOTAVAIL, "bridge %s: no network of 10.93.0.0/16 is free", bridge->name);
}

static void ask_for_address(struct rtnetlink_request *request, int family, const void *bytes,
	size_t size, uint8_t prefix, int index)
{
	struct ifaddrmsg *message = rtnetlink_message(request, "address of the bridge", RTM_NEWADDR,
		NLM_F_CREATE | NLM_F_REPLACE, sizeof(*message));

	*message = (struct ifaddrmsg){
		.ifa_family = (uint8_t)family,
		.ifa_prefixlen = prefix,
		.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = (uint32_t)index,
	};
	rtnetlink_add(request, IFA_LOCAL, bytes, size);
	rtnetlink_add(request, IFA_ADDRESS, bytes, size);
}

static struct ifinfomsg *ask_for_link(
	struct rtnetlink_request *request, const char *what, uint16_t flags, int index)
{
	struct ifinfomsg *message =
		rtnetlink_message(request, what, RTM_NEWLINK, flags, sizeof(*message));

	message->ifi_index = index;
	return message;
}

static void ask_to_bring_up(struct rtnetlink_request *request, const char *what, int index)
{
	struct ifinfomsg *message = ask_for_link(request, what, 0, index);

	message->ifi_flags = message->ifi_change = IFF_UP;
}

/* A host may be without IPv6. */
static void add_network6(int fd, struct bridge *bridge)
{
	struct rtnetlink_request request = {.length = 0};
	uint8_t digest[SHA256_SIZE];

	digest_name(bridge, digest);
	bridge->address6 = (struct in6_addr){
		.s6_addr = {0xfd, digest[0], digest[1], digest[2], digest[3], digest[4], [15] = 1}};
	ask_for_address(&request, AF_INET6, &bridge->address6, sizeof(bridge->address6),
		OWN_PREFIX6, bridge->index);
	bridge->prefix6 = rtnetlink_do(fd, &request, NULL) < 0 ? 0 : OWN_PREFIX6;
}

static int create_bridge(int fd, struct bridge *bridge, struct error *err)
{
	/* Its own, since a bridge otherwise takes that of a port, and another when that goes. */
	uint8_t mac[LEASE_MAC_SIZE] = {0x02, 0x61};
	struct rtnetlink_request request = {.length = 0};
	struct rtattr *info;
	int r = choose_network(bridge, err);

	if (r < 0)
		return r;
	memcpy(mac + 2, &bridge->address, sizeof(bridge->address));
	ask_for_link(&request, "bridge", NLM_F_CREATE | NLM_F_EXCL, 0);
	rtnetlink_add_text(&request, IFLA_IFNAME, bridge->name);
	rtnetlink_add(&request, IFLA_ADDRESS, mac, sizeof(mac));
	info = rtnetlink_begin(&request, IFLA_LINKINFO, NULL, 0);
	rtnetlink_add_text(&request, IFLA_INFO_KIND, "bridge");
	rtnetlink_end(&request, info);
	r = rtnetlink_do(fd, &request, err);
	if (r < 0)
		return r;
	bridge->index = interface_index(bridge->name);
	request = (struct rtnetlink_request){.length = 0};
	ask_for_address(&request, AF_INET, &bridge->address, sizeof(bridge->address),
		bridge->prefix, bridge->index);
	ask_to_bring_up(&request, "bridge", bridge->index);
	r = rtnetlink_do(fd, &request, err);
	if (r == 0)
		add_network6(fd, bridge);
	return r;
}

/* No such one is fine. */
static int delete_interface(int fd, const char *name, struct error *err)
{
	struct rtnetlink_request request = {.length = 0};
	struct ifinfomsg *message =
		rtnetlink_message(&request, "interface", RTM_DELLINK, 0, sizeof(*message));
	int r = 0;

	message->ifi_index = interface_index(name);
	if (message->ifi_index > 0)
		r = rtnetlink_do(fd, &request, err);
	return r == -ENODEV ? 0 : r;
}

static bool is_bridge(const char *name)
{
	char path[64 + IFNAMSIZ];

	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", name);
	if (access(path, F_OK) == 0)
		return true;
	/* /sys may be another network namespace's: then the kernel says so when the first port comes. */
	snprintf(path, sizeof(path), "/sys/class/net/%s", name);
	return access(path, F_OK) < 0;
}

/* The bridge as it is, or as it then is. */
static int find_bridge(
	const struct leases *leases, int fd, struct bridge *bridge, struct error *err)
{
	int r;

	bridge->index = interface_index(bridge->name);
	if (bridge->index == 0) {
		r = leases_set_mark(leases, MARK_BRIDGE, bridge->name);
		return r < 0 ? error_set_errno(err, r, "note that bridge %s is ours", bridge->name)
			     : create_bridge(fd, bridge, err);
	}
	if (!is_bridge(bridge->name))
		return error_set(err, -EINVAL, "%s is no bridge", bridge->name);
	r = read_addresses(bridge);
	if (r < 0)
		return error_set_errno(err, r, "addresses of bridge %s", bridge->name);
	/* A killed run may have left one without, or with half of them. */
	if (leases_has_mark(leases, MARK_BRIDGE, bridge->name)) {
		if (bridge->prefix == 0) {
			r = delete_interface(fd, bridge->name, err);
			return r < 0 ? r : create_bridge(fd, bridge, err);
		}
		if (bridge->prefix6 == 0)
			add_network6(fd, bridge);
	}
	if (bridge->prefix < 8 || bridge->prefix > 30)
		return error_set(err, -EADDRNOTAVAIL,
			"bridge %s has no IPv4 network that pods could be in", bridge->name);
	return 0;
}

/*
 * ---- forwarding of IPv4
 *
 * Each interface's own switch is turned on. That of them all (ip_forward) is left alone: the kernel changes more with
 * it, as whether the host heeds redirects, and one that is on later was turned on by somebody else, who wants it so.
 */

/* For each interface, and for those to come. Negative results end it. */
static int each_interface(
	int (*call)(const struct leases *leases, const char *name), const struct leases *leases)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(AT_FDCWD, IPV4_SWITCHES, &directory);

	while (r >= 0 && (entry = readdir(directory)))
		if (*entry->d_name != '.' && strcmp(entry->d_name, ALL) != 0)
			r = call(leases, entry->d_name);
	return r;
}

static int note_forwarding_of(const struct leases *leases, const char *name)
{
	char path[SWITCH_PATH_SIZE];

	switch_path(name, FORWARDING, path);
	return leases_set_mark(
		leases, is_switched_on(path) ? MARK_FORWARDED : MARK_UNFORWARDED, name);
}

static int start_forwarding_of(const struct leases *leases, const char *name)
{
	char path[SWITCH_PATH_SIZE];
	int r;

	(void)leases;
	switch_path(name, FORWARDING, path);
	r = is_switched_on(path) ? 0 : write_switch(path, true);
	return r == -ENOENT ? 0 : r; /* it has gone meanwhile */
}

/* One that came later is as new ones were to be. */
static int restore_forwarding_of(const struct leases *leases, const char *name)
{
	bool forwarded = leases_has_mark(leases, MARK_FORWARDED, name) ||
		(!leases_has_mark(leases, MARK_UNFORWARDED, name) &&
			leases_has_mark(leases, MARK_FORWARDED, DEFAULT));
	char path[SWITCH_PATH_SIZE];
	int r;

	switch_path(name, FORWARDING, path);
	r = is_switched_on(path) == forwarded ? 0 : write_switch(path, forwarded);
	return r == -ENOENT ? 0 : r; /* it has gone meanwhile */
}

static void forget_forwarded(void *context, const char *name)
{
	leases_remove_mark(context, MARK_FORWARDED, name);
}

static void forget_unforwarded(void *context, const char *name)
{
	leases_remove_mark(context, MARK_UNFORWARDED, name);
}

static void forget_forwarding(struct leases *leases)
{
	/* First: without it the others say nothing. */
	leases_remove_mark(leases, MARK_FORWARDING, ALL);
	leases_each_mark(leases, MARK_FORWARDED, forget_forwarded, leases);
	leases_each_mark(leases, MARK_UNFORWARDED, forget_unforwarded, leases);
}

/* What is to be as before some time, where that is not noted yet. */
static int note_forwarding(struct leases *leases)
{
	int r;

	if (leases_has_mark(leases, MARK_FORWARDING, ALL))
		return 0;
	forget_forwarding(leases);
	r = each_interface(note_forwarding_of, leases);
	return r < 0 ? r : leases_set_mark(leases, MARK_FORWARDING, ALL);
}

static int restore_forwarding(struct leases *leases, struct error *err)
{
	int r = 0;

	if (leases_has_mark(leases, MARK_FORWARDING, ALL) && !is_switched_on(IPV4_FORWARD))
		r = each_interface(restore_forwarding_of, leases);
	if (r < 0)
		return error_set_errno(err, r, "cannot stop to forward IPv4");
	forget_forwarding(leases);
	return 0;
}

static void add_name(void *context, const char *name)
{
	FILE *out = context;

	/* Others cannot be written there. */
	if (bridge_name_is_valid(name))
		fprintf(out, "%s\"%s\"", ftell(out) > 0 ? ", " : "", name);
}

/* Who may pass through the host: see firewall_set(). *ret: NULL: whoever could before. */
static int read_transit(const struct leases *leases, char **ret)
{
	size_t size;
	FILE *out;
	int r;

	*ret = NULL;
	if (!leases_has_mark(leases, MARK_FORWARDING, ALL) || is_switched_on(IPV4_FORWARD))
		return 0;
	out = open_memstream(ret, &size);
	if (!out)
		return -ENOMEM;
	r = leases_each_mark(leases, MARK_FORWARDED, add_name, out);
	return fclose(out) == 0 ? r : -ENOMEM;
}

/* ---- the host as the leases say */

struct settling {
	const struct leases *leases;
	int fd, r;
	struct error *err;
};

static bool bridge_is_used(const struct leases *leases, const char *name)
{
	for (size_t i = 0; i < leases->count; i++)
		if (!strcmp(leases->items[i].bridge, name))
			return true;
	return false;
}

/* A mark stays where what it says cannot be changed back. */
static void settle_bridge(void *context, const char *name)
{
	struct settling *settling = context;

	if (settling->r < 0 || bridge_is_used(settling->leases, name))
		return;
	settling->r = delete_interface(settling->fd, name, settling->err);
	if (settling->r == 0)
		leases_remove_mark(settling->leases, MARK_BRIDGE, name);
}

static void settle_localnet(void *context, const char *name)
{
	struct settling *settling = context;
	char path[SWITCH_PATH_SIZE];
	int r;

	if (settling->r < 0 || bridge_is_used(settling->leases, name))
		return;
	switch_path(name, LOCALNET, path);
	r = write_switch(path, false);
	if (r < 0 && r != -ENOENT)
		settling->r = error_set_errno(settling->err, r, "%s", path);
	else
		leases_remove_mark(settling->leases, MARK_LOCALNET, name);
}

/* For each mark of a kind that no lease needs any more. */
static int settle_marks(
	struct settling *settling, const char *kind, void (*call)(void *context, const char *name))
{
	int r = leases_each_mark(settling->leases, kind, call, settling);

	if (r < 0)
		return error_set_errno(settling->err, r, "%s", settling->leases->path);
	return settling->r;
}

static void ask_for_neighbour(struct rtnetlink_request *request, uint16_t type, int family,
	const void *address, size_t size, const struct lease *lease, int index)
{
	struct ndmsg *message = rtnetlink_message(request, "neighbour", type,
		type == RTM_NEWNEIGH ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*message));

	*message = (struct ndmsg){
		.ndm_family = (uint8_t)family,
		.ndm_ifindex = index,
		.ndm_state = NUD_PERMANENT,
	};
	rtnetlink_add(request, NDA_DST, address, size);
	if (type == RTM_NEWNEIGH)
		rtnetlink_add(request, NDA_LLADDR, lease->mac, sizeof(lease->mac));
}

/* What of it is not there is fine. */
static int delete_port(int fd, const struct lease *lease, struct error *err)
{
	int index = interface_index(lease->bridge);
	int r = delete_interface(fd, lease->interface, err);

	for (int family = AF_INET; r == 0 && index > 0;) {
		struct rtnetlink_request request = {.length = 0};
		bool is_ipv6 = family == AF_INET6;

		ask_for_neighbour(&request, RTM_DELNEIGH, family,
			is_ipv6 ? (const void *)&lease->address6 : &lease->address,
			is_ipv6 ? sizeof(lease->address6) : sizeof(lease->address), lease, index);
		r = rtnetlink_do(fd, &request, err);
		if (r == -ENOENT || r == -ENODEV)
			r = 0;
		if (is_ipv6 || !lease_has_ipv6(lease))
			break;
		family = AF_INET6;
	}
	return r;
}

/*
 * After leases came or went: rules, bridges and forwarding are as they now need. Rules come first where something opens, and
 * last where it closes: nothing is open that they do not know. What cannot be done is left to whoever settles next, for whom
 * stale leases and marks stay.
 */
static int settle(struct leases *leases, int fd, struct error *err)
{
	struct settling settling = {.leases = leases, .fd = fd, .err = err};
	_cleanup_free_ char *transit = NULL;
	int r = read_transit(leases, &transit);

	if (r < 0)
		return error_set_errno(err, r, "who may pass through the host");
	for (size_t i = 0; r == 0 && i < leases->stale_count; i++)
		r = delete_port(fd, &leases->stale[i], err);
	if (r == 0)
		r = settle_marks(&settling, MARK_LOCALNET, settle_localnet);
	if (r == 0 && leases->count == 0)
		r = restore_forwarding(leases, err);
	if (r == 0)
		r = firewall_set(leases, transit, err);
	if (r < 0)
		return r;
	leases_forget_stale(leases);
	return settle_marks(&settling, MARK_BRIDGE, settle_bridge);
}

/* ---- a port */

static int open_tap(const char *interface, int *ret_fd, struct error *err)
{
	_cleanup_close_ int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};

	if (fd < 0)
		return error_set_errno(err, -errno, TUN_DEVICE);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, TUNSETIFF, &request) < 0 ||
		ioctl(fd, TUNSETVNETHDRSZ, &(int){HEADER_SIZE}) < 0 ||
		ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return error_set_errno(err, -errno, "cannot make the tap interface %s", interface);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Its other end is in the pod from the first. */
static int create_veth(int fd, const struct bridge_request *want, struct error *err)
{
	const struct ifinfomsg peer_link = {.ifi_family = AF_UNSPEC};
	struct rtnetlink_request request = {.length = 0};
	struct rtattr *info, *data, *peer;

	ask_for_link(&request, "veth", NLM_F_CREATE | NLM_F_EXCL, 0);
	rtnetlink_add_text(&request, IFLA_IFNAME, want->interface);
	info = rtnetlink_begin(&request, IFLA_LINKINFO, NULL, 0);
	rtnetlink_add_text(&request, IFLA_INFO_KIND, "veth");
	data = rtnetlink_begin(&request, IFLA_INFO_DATA, NULL, 0);
	peer = rtnetlink_begin(&request, VETH_INFO_PEER, &peer_link, sizeof(peer_link));
	rtnetlink_add_text(&request, IFLA_IFNAME, want->name_in_pod);
	rtnetlink_add(&request, IFLA_ADDRESS, want->mac, sizeof(want->mac));
	rtnetlink_add_number(&request, IFLA_NET_NS_FD, (uint32_t)want->netns_fd);
	rtnetlink_end(&request, peer);
	rtnetlink_end(&request, data);
	rtnetlink_end(&request, info);
	return rtnetlink_do(fd, &request, err);
}

static void add_flag(struct rtnetlink_request *request, uint16_t type, uint8_t value)
{
	rtnetlink_add(request, type, &value, sizeof(value));
}

/* The host's own IPv6 says nothing on it. */
static void ask_for_no_address(struct rtnetlink_request *request)
{
	struct rtattr *all = rtnetlink_begin(request, IFLA_AF_SPEC, NULL, 0);
	struct rtattr *family = rtnetlink_begin(request, AF_INET6, NULL, 0);

	add_flag(request, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	rtnetlink_end(request, family);
	rtnetlink_end(request, all);
}

static int set_up_port(
	int fd, const struct bridge *bridge, const struct lease *lease, struct error *err)
{
	struct rtnetlink_request request = {.length = 0};
	int index = interface_index(lease->interface);
	struct rtattr *info, *data;
	struct ndmsg *station;

	ask_for_link(&request, "port of the bridge", 0, index);
	rtnetlink_add_number(&request, IFLA_MASTER, (uint32_t)bridge->index);
	if (bridge->prefix6)
		ask_for_no_address(&request);
	ask_for_link(&request, "flags of the bridge's port", 0, index);
	info = rtnetlink_begin(&request, IFLA_LINKINFO, NULL, 0);
	rtnetlink_add_text(&request, IFLA_INFO_SLAVE_KIND, "bridge");
	data = rtnetlink_begin(&request, IFLA_INFO_SLAVE_DATA, NULL, 0);
	add_flag(&request, IFLA_BRPORT_LEARNING, 0);
	add_flag(&request, IFLA_BRPORT_UNICAST_FLOOD, 0);
	add_flag(&request, IFLA_BRPORT_NEIGH_SUPPRESS, 1);
	rtnetlink_end(&request, data);
	rtnetlink_end(&request, info);
	station = rtnetlink_message(
		&request, "station", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*station));
	*station = (struct ndmsg){
		.ndm_family = AF_BRIDGE,
		.ndm_ifindex = index,
		.ndm_state = NUD_NOARP,
		.ndm_flags = NTF_MASTER,
	};
	rtnetlink_add(&request, NDA_LLADDR, lease->mac, sizeof(lease->mac));
	ask_for_neighbour(&request, RTM_NEWNEIGH, AF_INET, &lease->address, sizeof(lease->address),
		lease, bridge->index);
	if (lease_has_ipv6(lease))
		ask_for_neighbour(&request, RTM_NEWNEIGH, AF_INET6, &lease->address6,
			sizeof(lease->address6), lease, bridge->index);
	ask_to_bring_up(&request, "port of the bridge", index);
	return rtnetlink_do(fd, &request, err);
}

/* The number of the pod in the bridge's IPv4 network is that in its IPv6 network, too. */
static int choose_address(const struct leases *leases, const struct bridge *bridge,
	struct lease *lease, struct error *err)
{
	uint32_t own = ntohl(bridge->address.s_addr), mask = ~0u << (32 - bridge->prefix);
	uint32_t network = own & mask, count = ~mask - 1, address = own, own6 = own;
	int r = 0;

	/* All but the network's, the bridge's in either network, and that of everybody. */
	if (bridge->prefix6 && bridge->prefix6 <= 96) {
		memcpy(&own6, &bridge->address6.s6_addr[12], sizeof(own6));
		own6 = network + ntohl(own6);
	}
	for (int i = 0; i < 3 && r == 0 && (address == own || address == own6); i++)
		r = leases_find_address(leases, bridge->name, network + 1, count, &address);
	if (r == 0 && (address == own || address == own6))
		r = -ENOSPC;
	if (r < 0)
		return error_set_errno(err, r, "bridge %s has no address left", bridge->name);
	lease->address.s_addr = htonl(address);
	lease->prefix = bridge->prefix;
	if (bridge->prefix6 == 0 || bridge->prefix6 > 96)
		return 0;
	lease->address6 = bridge->address6;
	lease->prefix6 = bridge->prefix6;
	address = htonl(address - network);
	memcpy(&lease->address6.s6_addr[12], &address, sizeof(address));
	return 0;
}

static int join_locked(const struct bridge_request *request, struct leases *leases, int fd,
	struct bridge_port *ret, struct error *err)
{
	struct bridge bridge = {.name = request->bridge};
	struct lease lease = {
		.ports = (struct lease_port *)request->ports, .port_count = request->port_count};
	char path[SWITCH_PATH_SIZE];
	bool forwards;
	int r;

	r = find_bridge(leases, fd, &bridge, err);
	if (r < 0)
		return r;
	snprintf(lease.interface, sizeof(lease.interface), "%s", request->interface);
	snprintf(lease.bridge, sizeof(lease.bridge), "%s", request->bridge);
	memcpy(lease.mac, request->mac, sizeof(lease.mac));
	r = choose_address(leases, &bridge, &lease, err);
	if (r < 0)
		return r;
	r = leases_write(leases, &lease, &ret->lease_fd);
	if (r < 0)
		return error_set_errno(err, r, "cannot write the lease of an address");
	/* From here on bridge_leave() takes it back. */
	ret->lease = lease;
	ret->lease.ports = NULL;
	ret->lease.port_count = 0;
	ret->gateway = bridge.address;
	ret->gateway6 = bridge.address6;
	ret->has_ipv6 = lease_has_ipv6(&lease);
	ret->routes_ipv6 = ret->has_ipv6 && is_switched_on(IPV6_FORWARD);
	/*
	 * Rules come before it: see settle(). IPv6's is its administrator's business: a host that forwards it no longer
	 * listens to its routers.
	 */
	forwards = is_switched_on(IPV4_FORWARD);
	r = forwards ? 0 : note_forwarding(leases);
	if (r < 0)
		return error_set_errno(err, r, "cannot note what forwards IPv4");
	r = settle(leases, fd, err);
	if (r < 0)
		return r;
	/* Those to come first: one may come in between. */
	r = forwards ? 0 : start_forwarding_of(leases, DEFAULT);
	if (r == 0 && !forwards)
		r = each_interface(start_forwarding_of, leases);
	if (r < 0)
		return error_set_errno(err, r, "cannot forward IPv4");
	/* Ports are published at the host's loopback addresses, too; the firewall keeps all others from using that. */
	switch_path(bridge.name, LOCALNET, path);
	r = is_switched_on(path) ? 0 : leases_set_mark(leases, MARK_LOCALNET, bridge.name);
	if (r == 0)
		r = write_switch(path, true);
	if (r < 0)
		return error_set_errno(err, r, "%s", path);
	r = request->netns_fd < 0 ? open_tap(request->interface, &ret->tap_fd, err)
				  : create_veth(fd, request, err);
	return r < 0 ? r : set_up_port(fd, &bridge, &lease, err);
}

int bridge_join(const struct bridge_request *request, struct bridge_port *ret, struct error *err)
{
	_cleanup_(leases_close) struct leases leases = LEASES_NONE;
	_cleanup_close_ int fd = rtnetlink_open();
	int r;

	*ret = BRIDGE_PORT_NONE;
	if (fd < 0)
		return error_set_errno(err, fd, "configure the network");
	r = leases_open(NULL, &leases, err);
	if (r < 0)
		return r;
	r = join_locked(request, &leases, fd, ret, err);
	/* Without a lease there is nothing to leave, but perhaps a bridge. */
	if (r < 0 && ret->lease_fd < 0)
		settle(&leases, fd, NULL);
	leases_close(&leases);
	if (r < 0)
		bridge_leave(ret);
	return r;
}

void bridge_leave(struct bridge_port *port)
{
	_cleanup_(leases_close) struct leases leases = LEASES_NONE;
	_cleanup_close_ int fd = -1;
	struct error error = {0};
	int r;

	cleanup_close(&port->tap_fd);
	if (port->lease_fd >= 0) {
		fd = rtnetlink_open();
		r = fd < 0 ? error_set_errno(&error, fd, "cannot speak to the kernel")
			   : leases_open(NULL, &leases, &error);
		if (r == 0) {
			r = leases_end(&leases, port->lease.interface);
			if (r < 0)
				error_set_errno(&error, r, "%s", leases.path);
		}
		if (r == 0)
			r = settle(&leases, fd, &error);
		if (r < 0)
			log_warning(
				"what the pod's network was made of stays until \"appc-vm gc\": %s",
				error.message);
	}
	cleanup_close(&port->lease_fd);
	*port = BRIDGE_PORT_NONE;
}

static void note_mark(void *context, const char *name)
{
	(void)name;
	*(bool *)context = true;
}

/* Without leases and marks there never was anything. */
static int is_untouched(const struct leases *leases, bool *ret)
{
	static const char *const kinds[] = {
		MARK_BRIDGE, MARK_FORWARDING, MARK_FORWARDED, MARK_UNFORWARDED, MARK_LOCALNET};
	bool is_marked = leases->count > 0 || leases->stale_count > 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++)
		r = leases_each_mark(leases, kinds[i], note_mark, &is_marked);
	*ret = !is_marked;
	return r;
}

int bridge_collect(struct error *err)
{
	_cleanup_(leases_close) struct leases leases = LEASES_NONE;
	_cleanup_close_ int fd = -1;
	bool untouched;
	int r;

	if (geteuid() != 0 || !leases_exist())
		return 0;
	r = leases_open(NULL, &leases, err);
	if (r < 0)
		return r;
	r = is_untouched(&leases, &untouched);
	if (r < 0)
		return error_set_errno(err, r, "%s", leases.path);
	if (untouched)
		return 0;
	fd = rtnetlink_open();
	return fd < 0 ? error_set_errno(err, fd, "configure the network")
		      : settle(&leases, fd, err);
}
