// SPDX-License-Identifier: Apache-2.0
/* network.c: see network.h. */
#include "pod/network.h"

#include "base/child.h"
#include "base/json.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define INTERFACE_NAME "eth0"

/* Frames as long as IP allows (passt(1)), so that a guest need not cut its data. */
#define USER_MTU      65520
#define USER_MTU_TEXT "65520"

/* How long passt may take; it is ready within milliseconds. */
#define READY_MS 30000

/* Ports below are for those with CAP_NET_BIND_SERVICE. */
#define UNPRIVILEGED_PORT 1024

/* Its own words and a few of every exposed port. */
#define USER_ARGUMENTS 24

/* In the child: fds of passt. */
enum { USER_SOCKET = CHILD_FIRST_FD, USER_READY, USER_ERRORS };

int network_mode_parse(const char *text, enum network_mode *ret, struct error *err)
{
	if (!strcmp(text, "none"))
		*ret = NETWORK_NONE;
	else if (!*text || !strcmp(text, "default"))
		*ret = NETWORK_USER;
	else if (!strcmp(text, "host"))
		return error_set(err, -ENOTSUP,
			"flavor kvm requires private network configuration (try --net): a virtual machine "
			"cannot share the host's network");
	else
		return error_set(err, -EINVAL, "--net is none or default, not \"%s\"", text);
	return 0;
}

enum virtio_net_kind network_device_kind(enum network_mode mode)
{
	return mode == NETWORK_USER ? VIRTIO_NET_STREAM : VIRTIO_NET_NONE;
}

/* ---- the words that passt is started with */

struct arguments {
	char **items;
	size_t count;
};

static void arguments_free(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->count; i++)
		free(arguments->items[i]);
	free(arguments->items);
}

/* There is room for it, and for a NULL behind all. */
static int arguments_add(struct arguments *arguments, char *item)
{
	if (!item)
		return -ENOMEM;
	arguments->items[arguments->count++] = item;
	return 0;
}

static int add_port(struct arguments *arguments, const struct appc_exposed_port *exposed,
	const struct appc_port *port)
{
	bool is_udp = !strcmp(port->protocol, "udp");
	char *mapping;

	if (asprintf(&mapping, "%s/%" PRIu32 ":%" PRIu32,
		    exposed->host_ip ? exposed->host_ip : "0.0.0.0", exposed->host_port,
		    port->port) < 0)
		return -ENOMEM;
	if (arguments_add(arguments, strdup(is_udp ? "-u" : "-t")) < 0) {
		free(mapping);
		return -ENOMEM;
	}
	return arguments_add(arguments, mapping);
}

static int add_ports(struct arguments *arguments, const struct appc_pod_manifest *manifest,
	bool *ret_privileged, struct error *err)
{
	int r = 0;

	*ret_privileged = false;
	for (size_t i = 0; r == 0 && i < manifest->port_count; i++) {
		const struct appc_exposed_port *exposed = &manifest->ports[i];
		const struct appc_port *port;

		r = appc_exposed_port_find(manifest, exposed, &port, err);
		if (r < 0)
			return r;
		if (strcmp(port->protocol, "tcp") && strcmp(port->protocol, "udp"))
			return error_set(err, -EINVAL, "port \"%s\": unrecognized protocol: %s",
				exposed->name, port->protocol);
		*ret_privileged |= exposed->host_port < UNPRIVILEGED_PORT;
		r = add_port(arguments, exposed, port);
	}
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int make_arguments(const struct appc_pod_manifest *manifest, struct arguments *ret,
	bool *ret_privileged, struct error *err)
{
	static const char *const words[] = {"passt", "--foreground", "--quiet", "--fd", "3",
		"--pid", "/proc/self/fd/4", "--address", NETWORK_USER_ADDRESS, "--netmask", "24",
		"--gateway", NETWORK_USER_GATEWAY, "--dns-forward", NETWORK_USER_NAME_SERVER,
		"--no-map-gw", "--mtu", USER_MTU_TEXT};
	int r = 0;

	_Static_assert(USER_SOCKET == 3 && USER_READY == 4, "as the words say");
	_Static_assert(ARRAY_SIZE(words) < USER_ARGUMENTS, "there is room for them");
	ret->items = calloc(USER_ARGUMENTS + 2 * manifest->port_count, sizeof(ret->items[0]));
	if (!ret->items)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++)
		r = arguments_add(ret, strdup(words[i]));
	if (r < 0)
		return error_set(err, r, "out of memory");
	return add_ports(ret, manifest, ret_privileged, err);
}

/* ---- passt */

/* As nobody, who has nothing but the socket. What it says on standard error is kept for us. */
static _Noreturn void run_passt(const struct arguments *arguments)
{
	dup2(USER_ERRORS, STDERR_FILENO);
	close(USER_ERRORS);
	execvp(arguments->items[0], arguments->items);
	dprintf(STDERR_FILENO, "cannot execute passt: %s (install the package passt)\n",
		strerror(errno));
	_exit(127);
}

static int start_passt(
	const struct appc_pod_manifest *manifest, struct pod_network *network, struct error *err)
{
	_cleanup_(arguments_free) struct arguments arguments = {0};
	_cleanup_close_ int theirs = -1, ready = -1;
	int sockets[2], pipes[2];
	bool is_privileged = false;
	pid_t pid;
	int r;

	r = make_arguments(manifest, &arguments, &is_privileged, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_set_errno(err, -errno, "cannot make a socket for the network");
	network->fd = sockets[0];
	theirs = sockets[1];
	if (fcntl(network->fd, F_SETFL, O_NONBLOCK) < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe for the network");
	network->ready_fd = pipes[0];
	ready = pipes[1];
	network->errors_fd = memfd_create("passt", MFD_CLOEXEC);
	/* It opens the pipe by a name, as who it is by then. */
	if (network->errors_fd < 0 || fchmod(ready, 0666) < 0)
		return error_set_errno(err, -errno, "cannot prepare the network");
	pid = child_fork_with_capability((const int[]){theirs, ready, network->errors_fd}, 3,
		is_privileged ? CAP_NET_BIND_SERVICE : -1);
	if (pid == 0)
		run_passt(&arguments);
	if (pid < 0)
		return error_set_errno(err, (int)pid, "cannot make a process for the network");
	network->helper = pid;
	return 0;
}

/* The last line of what passt said, without those that complain of a missing system log. */
static void last_words(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);
	char *last = NULL, *rest = text;

	text[n > 0 ? n : 0] = '\0';
	for (char *line; (line = strsep(&rest, "\n"));)
		if (*line && !strstr(line, "syslog"))
			last = line;
	memmove(text, last ? last : "", last ? strlen(last) + 1 : 1);
}

int pod_network_wait(struct pod_network *network, struct error *err)
{
	struct pollfd fd = {.fd = network->ready_fd, .events = POLLIN};
	char words[1024];
	int r;

	if (network->mode == NETWORK_NONE)
		return 0;
	do
		r = poll(&fd, 1, READY_MS);
	while (r < 0 && errno == EINTR);
	/* It writes its process id there; an end without that is its own. */
	if (r > 0 && read(network->ready_fd, words, sizeof(words)) > 0)
		return 0;
	if (r == 0)
		return error_set(
			err, -ETIMEDOUT, "the network is not ready after %d s", READY_MS / 1000);
	last_words(network->errors_fd, words, sizeof(words));
	return error_set(
		err, -EIO, "no network: %s", *words ? words : "passt ended without a word");
}

/* ---- any mode */

/* Locally administered, and as different as random UUIDs are. */
static void make_mac(const char *uuid, uint8_t mac[VIRTIO_NET_MAC_SIZE])
{
	unsigned long long digits = strtoull(uuid, NULL, 16) << 16 | strtoul(uuid + 9, NULL, 16);

	mac[0] = 0x02;
	for (unsigned int i = 1; i < VIRTIO_NET_MAC_SIZE; i++)
		mac[i] = (uint8_t)(digits >> (8 * (VIRTIO_NET_MAC_SIZE - 1 - i)));
}

int pod_network_start(enum network_mode mode, const struct resolved_pod *resolved, const char *uuid,
	struct pod_network *ret, struct error *err)
{
	int r;

	*ret = POD_NETWORK_NONE;
	if (mode == NETWORK_NONE)
		return 0;
	ret->mode = mode;
	make_mac(uuid, ret->mac);
	r = start_passt(resolved->manifest, ret, err);
	if (r < 0)
		pod_network_stop(ret);
	return r;
}

void pod_network_handed_over(struct pod_network *network)
{
	cleanup_close(&network->fd);
	cleanup_close(&network->ready_fd);
	cleanup_close(&network->errors_fd);
	network->fd = network->ready_fd = network->errors_fd = -1;
}

void pod_network_stop(struct pod_network *network)
{
	pod_network_handed_over(network);
	if (network->helper > 0) {
		kill(network->helper, SIGKILL);
		child_wait(network->helper);
	}
	*network = POD_NETWORK_NONE;
}

json_t *pod_network_configure(const struct pod_network *network)
{
	const uint8_t *mac = network->mac;
	char text[3 * VIRTIO_NET_MAC_SIZE];

	if (network->mode == NETWORK_NONE)
		return NULL;
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	return json_pack("{s:s, s:s, s:i, s:s, s:i, s:s}", "interface", INTERFACE_NAME, "mac", text,
		"mtu", USER_MTU, "address", NETWORK_USER_ADDRESS, "prefix", NETWORK_USER_PREFIX,
		"gateway", NETWORK_USER_GATEWAY);
}

json_t *pod_network_describe(enum network_mode mode)
{
	if (mode == NETWORK_NONE)
		return json_array();
	return json_pack("[{s:s, s:s, s:s, s:s}]", "netName", "default", "ifName", INTERFACE_NAME,
		"ip", NETWORK_USER_ADDRESS, "mask", "255.255.255.0");
}
