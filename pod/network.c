// SPDX-License-Identifier: Apache-2.0
/* network.c: see network.h. */
#include "pod/network.h"

#include "base/child.h"
#include "base/json.h"
#include "pod/firewall.h"
#include "pod/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* In the pod. */
#define INTERFACE_NAME "eth0"

#define BRIDGE_OPTION "tap"
#define BRIDGE_NAMED  "tap:bridge="

int network_choice_parse(const char *text, struct network_choice *ret, struct error *err)
{
	const char *bridge = BRIDGE_NAME_DEFAULT;

	*ret = (struct network_choice){.mode = NETWORK_NONE};
	if (!strcmp(text, "none"))
		return 0;
	if (!*text || !strcmp(text, "default")) {
		ret->mode = NETWORK_USER;
		return 0;
	}
	if (!strcmp(text, "host"))
		return error_set(err, -ENOTSUP,
			"flavor kvm requires private network configuration (try --net): a virtual machine "
			"cannot share the host's network");
	if (!strncmp(text, BRIDGE_NAMED, strlen(BRIDGE_NAMED)))
		bridge = text + strlen(BRIDGE_NAMED);
	else if (strcmp(text, BRIDGE_OPTION) != 0)
		return error_set(err, -EINVAL,
			"--net is none, default or tap[:bridge=NAME], not \"%s\"", text);
	if (!bridge_name_is_valid(bridge))
		return error_set(err, -EINVAL, "--net: \"%s\" is no name of an interface", bridge);
	ret->mode = NETWORK_BRIDGE;
	snprintf(ret->bridge, sizeof(ret->bridge), "%s", bridge);
	return 0;
}

enum virtio_net_kind network_device_kind(enum network_mode mode)
{
	static const enum virtio_net_kind kinds[] = {
		[NETWORK_NONE] = VIRTIO_NET_NONE,
		[NETWORK_USER] = VIRTIO_NET_STREAM,
		[NETWORK_BRIDGE] = VIRTIO_NET_TAP,
	};

	return kinds[mode];
}

/* Locally administered, and as different as random UUIDs are. */
static void make_mac(const char *uuid, uint8_t mac[VIRTIO_NET_MAC_SIZE])
{
	unsigned long long digits = strtoull(uuid, NULL, 16) << 16 | strtoul(uuid + 9, NULL, 16);

	mac[0] = 0x02;
	for (unsigned int i = 1; i < VIRTIO_NET_MAC_SIZE; i++)
		mac[i] = (uint8_t)(digits >> (8 * (VIRTIO_NET_MAC_SIZE - 1 - i)));
}

/* ---- a container's namespace */

/* One that is nobody's yet; ours is as before. */
static int make_namespace(int *ret_fd, struct error *err)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1;

	if (own < 0 || unshare(CLONE_NEWNET) < 0)
		return error_set_errno(err, -errno, "cannot make a network namespace");
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(own, CLONE_NEWNET) < 0 || fd < 0)
		return error_set_errno(err, -errno, "cannot come back from a network namespace");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A tap is in the namespace of who opens the device. */
static int open_tap(int netns_fd, int *ret_fd, struct error *err)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1;
	struct ifreq request = {
		.ifr_name = INTERFACE_NAME, .ifr_flags = (short)(IFF_TAP | IFF_NO_PI)};
	int r = 0;

	if (own < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return error_set_errno(err, -errno, "cannot enter a network namespace");
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		r = error_set_errno(err, -errno, "/dev/net/tun");
	if (setns(own, CLONE_NEWNET) < 0)
		return error_set_errno(err, -errno, "cannot come back from a network namespace");
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/* ---- through passt */

static int start_user(const struct resolved_pod *resolved, const struct pod_cgroup *cgroup,
	struct pod_network *network, struct error *err)
{
	const struct child_cgroup own = pod_cgroup_of_network(cgroup);
	_cleanup_close_ int tap = -1;
	int r;

	r = passt_start(resolved->manifest, network->mac, &own, &network->passt, err);
	if (r == 0 && network->netns_fd >= 0) {
		r = open_tap(network->netns_fd, &tap, err);
		if (r == 0)
			r = relay_start(tap, network->passt.fd, &network->relay, err);
	}
	network->fd = network->passt.fd;
	return r;
}

/* ---- on a bridge */

/* The ports of the host that lead to one of an app's, which may be a range. There is room for them. */
static int read_ports(const struct appc_pod_manifest *manifest,
	const struct appc_exposed_port *exposed, struct lease_port *ret, size_t *count,
	struct error *err)
{
	const struct appc_port *port;
	struct in_addr host = {.s_addr = htonl(INADDR_ANY)};
	int r = appc_exposed_port_find(manifest, exposed, &port, err);

	if (r < 0)
		return r;
	if (strcmp(port->protocol, "tcp") && strcmp(port->protocol, "udp"))
		return error_set(err, -EINVAL, "port \"%s\": unrecognized protocol: %s",
			exposed->name, port->protocol);
	if (exposed->host_ip && inet_pton(AF_INET, exposed->host_ip, &host) != 1)
		return error_set(err, -ENOTSUP,
			"port \"%s\": %s: a bridge publishes ports at IPv4 addresses",
			exposed->name, exposed->host_ip);
	for (uint32_t i = 0; i < port->count; i++)
		ret[(*count)++] = (struct lease_port){
			.is_udp = !strcmp(port->protocol, "udp"),
			.host = host,
			.host_port = (uint16_t)(exposed->host_port + i),
			.port = (uint16_t)(port->port + i),
		};
	return 0;
}

/* Bound and not listened to: nobody else can have it, and what comes there goes to the pod before it is looked at. */
static int reserve_port(const struct lease_port *port, int *ret_fd, struct error *err)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port->host_port),
		.sin_addr = port->host,
	};
	_cleanup_close_ int fd =
		socket(AF_INET, (port->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	char text[INET_ADDRSTRLEN];

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(err, -errno, "no network: port %s/%u:%u",
			inet_ntop(AF_INET, &port->host, text, sizeof(text)), port->host_port,
			port->port);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int publish_ports(const struct appc_pod_manifest *manifest, struct lease_port *ports,
	size_t *ret_count, struct pod_network *network, struct error *err)
{
	int r = 0;

	*ret_count = 0;
	network->port_fds = calloc(APPC_EXPOSED_PORTS_MAX, sizeof(network->port_fds[0]));
	if (!network->port_fds)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < manifest->port_count; i++)
		r = read_ports(manifest, &manifest->ports[i], ports, ret_count, err);
	for (size_t i = 0; r == 0 && i < *ret_count; i++) {
		r = reserve_port(&ports[i], &network->port_fds[i], err);
		network->port_count += r == 0;
	}
	return r;
}

static int start_bridge(const struct network_choice *choice, const struct resolved_pod *resolved,
	const char *uuid, struct pod_network *network, struct error *err)
{
	const struct appc_pod_manifest *manifest = resolved->manifest;
	_cleanup_free_ struct lease_port *ports = calloc(APPC_EXPOSED_PORTS_MAX, sizeof(ports[0]));
	char interface[IFNAMSIZ];
	struct bridge_request request = {
		.bridge = choice->bridge,
		.interface = interface,
		.ports = ports,
		.netns_fd = network->netns_fd,
		.name_in_pod = INTERFACE_NAME,
	};
	int r;

	if (!ports)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(
		interface, sizeof(interface), FIREWALL_INTERFACE_PREFIX "%.8s%.3s", uuid, uuid + 9);
	memcpy(request.mac, network->mac, sizeof(request.mac));
	r = publish_ports(manifest, ports, &request.port_count, network, err);
	if (r == 0)
		r = bridge_join(&request, &network->port, err);
	network->fd = network->port.tap_fd;
	return r;
}

/* ---- any */

int pod_network_start(const struct network_choice *choice, bool is_container,
	const struct resolved_pod *resolved, const char *uuid, const struct pod_cgroup *cgroup,
	struct pod_network *ret, struct error *err)
{
	int r = 0;

	*ret = POD_NETWORK_NONE;
	if (choice->mode == NETWORK_NONE)
		return 0;
	ret->mode = choice->mode;
	make_mac(uuid, ret->mac);
	if (is_container)
		r = make_namespace(&ret->netns_fd, err);
	if (r == 0)
		r = choice->mode == NETWORK_USER ? start_user(resolved, cgroup, ret, err)
						 : start_bridge(choice, resolved, uuid, ret, err);
	if (r < 0)
		pod_network_stop(ret);
	return r;
}

int pod_network_wait(struct pod_network *network, struct error *err)
{
	return network->mode == NETWORK_USER ? passt_wait(&network->passt, err) : 0;
}

void pod_network_handed_over(struct pod_network *network)
{
	passt_handed_over(&network->passt);
	cleanup_close(&network->port.tap_fd);
	cleanup_close(&network->netns_fd);
	network->port.tap_fd = network->netns_fd = network->fd = -1;
}

void pod_network_stop(struct pod_network *network)
{
	pod_network_handed_over(network);
	if (network->relay > 0) {
		kill(network->relay, SIGKILL);
		child_wait(network->relay);
	}
	passt_stop(&network->passt);
	bridge_leave(&network->port);
	for (size_t i = 0; i < network->port_count; i++)
		close(network->port_fds[i]);
	free(network->port_fds);
	*network = POD_NETWORK_NONE;
}

/* What the pod's interface has, as texts. */
struct addresses {
	char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
	char address6[INET6_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN]; /* empty: none */
	int prefix, prefix6, mtu;
};

static struct addresses user_addresses(const struct pod_network *network)
{
	struct addresses addresses = {
		.address = PASST_ADDRESS,
		.gateway = PASST_GATEWAY,
		.mask = PASST_NETMASK,
		.prefix = PASST_PREFIX,
		.mtu = PASST_MTU,
	};

	if (!network->passt.has_ipv6)
		return addresses;
	strcpy(addresses.address6, PASST_ADDRESS6);
	strcpy(addresses.gateway6, PASST_GATEWAY6);
	addresses.prefix6 = PASST_PREFIX6;
	return addresses;
}

static struct addresses bridge_addresses(const struct pod_network *network)
{
	const struct bridge_port *port = &network->port;
	const struct in_addr mask = {.s_addr = htonl(~0u << (32 - port->lease.prefix))};
	struct addresses addresses = {
		.prefix = port->lease.prefix,
		.mtu = BRIDGE_MTU,
	};

	inet_ntop(AF_INET, &port->lease.address, addresses.address, INET_ADDRSTRLEN);
	inet_ntop(AF_INET, &port->gateway, addresses.gateway, INET_ADDRSTRLEN);
	inet_ntop(AF_INET, &mask, addresses.mask, INET_ADDRSTRLEN);
	if (!port->has_ipv6)
		return addresses;
	inet_ntop(AF_INET6, &port->lease.address6, addresses.address6, INET6_ADDRSTRLEN);
	addresses.prefix6 = port->lease.prefix6;
	if (port->routes_ipv6)
		inet_ntop(AF_INET6, &port->gateway6, addresses.gateway6, INET6_ADDRSTRLEN);
	return addresses;
}

static struct addresses addresses_of(const struct pod_network *network)
{
	return network->mode == NETWORK_USER ? user_addresses(network) : bridge_addresses(network);
}

json_t *pod_network_configure(const struct pod_network *network)
{
	const uint8_t *mac = network->mac;
	char text[3 * VIRTIO_NET_MAC_SIZE];
	struct addresses addresses;
	json_t *object;

	if (network->mode == NETWORK_NONE)
		return NULL;
	addresses = addresses_of(network);
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	object = json_pack("{s:s, s:s, s:i, s:s, s:i, s:s}", "interface", INTERFACE_NAME, "mac",
		text, "mtu", addresses.mtu, "address", addresses.address, "prefix",
		addresses.prefix, "gateway", addresses.gateway);
	if (object && *addresses.address6) {
		json_object_set_new(object, "address6", json_string(addresses.address6));
		json_object_set_new(object, "prefix6", json_integer(addresses.prefix6));
	}
	if (object && *addresses.gateway6)
		json_object_set_new(object, "gateway6", json_string(addresses.gateway6));
	return object;
}

json_t *pod_network_describe(const struct pod_network *network)
{
	struct addresses addresses;
	json_t *object;

	if (network->mode == NETWORK_NONE)
		return json_array();
	addresses = addresses_of(network);
	object = json_pack("{s:s, s:s, s:s, s:s}", "netName",
		network->mode == NETWORK_USER ? "default" : network->port.lease.bridge, "ifName",
		INTERFACE_NAME, "ip", addresses.address, "mask", addresses.mask);
	if (object && *addresses.address6)
		json_object_set_new(object, "ip6", json_string(addresses.address6));
	return object ? json_pack("[o]", object) : NULL;
}
