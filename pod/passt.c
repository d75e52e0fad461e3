// SPDX-License-Identifier: Apache-2.0
/* passt.c: see passt.h. */
#include "pod/passt.h"

#include "base/child.h"
#include "base/file.h"
#include "base/frame_stream.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <net/route.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* How long passt may take; it is ready within milliseconds. */
#define READY_MS 30000

/* Ports below are for those with CAP_NET_BIND_SERVICE. */
#define UNPRIVILEGED_PORT 1024

/* Its own words; every exposed port has two more. */
#define ARGUMENTS_MAX 32

#define ROUTES6          "/proc/net/ipv6_route"
#define ROUTES6_SIZE_MAX (16u << 20)
#define FLAGS_FIELD      8 /* of a line, the first is 0 */

/* In the child: fds of passt. */
enum { PASST_SOCKET = CHILD_FIRST_FD, PASST_READY, PASST_ERRORS };

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
	const struct appc_port *port, uint32_t index)
{
	bool is_udp = !strcmp(port->protocol, "udp");
	char *mapping;

	if (asprintf(&mapping, "%s/%" PRIu32 ":%" PRIu32,
		    exposed->host_ip ? exposed->host_ip : "0.0.0.0", exposed->host_port + index,
		    port->port + index) < 0)
		return -ENOMEM;
	if (arguments_add(arguments, strdup(is_udp ? "-u" : "-t")) < 0) {
		free(mapping);
		return -ENOMEM;
	}
	return arguments_add(arguments, mapping);
}

/* To passt who asks there is the gateway, to which --no-map-gw lets no answer through. */
static bool is_loopback(const char *host_ip)
{
	return host_ip && (!strncmp(host_ip, "127.", 4) || !strcmp(host_ip, "::1"));
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
		if (!strcmp(port->protocol, "udp") && is_loopback(exposed->host_ip))
			log_warning("port \"%s\": who asks at %s gets no answer, since it is UDP: "
				    "expose it at another address, or use --net=tap",
				exposed->name, exposed->host_ip);
		*ret_privileged |= exposed->host_port < UNPRIVILEGED_PORT;
		/* Of a range in one word passt is content with any part that is free. */
		for (uint32_t j = 0; r == 0 && j < port->count; j++)
			r = add_port(arguments, exposed, port, j);
	}
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int make_arguments(const struct appc_pod_manifest *manifest, bool has_ipv6,
	struct arguments *ret, bool *ret_privileged, struct error *err)
{
	static const char *const words[] = {"passt", "--foreground", "--quiet", "--fd", "3",
		"--pid", "/proc/self/fd/4", "--address", PASST_ADDRESS, "--netmask", PASST_NETMASK,
		"--gateway", PASST_GATEWAY, "--dns-forward", PASST_NAME_SERVER, "--no-map-gw",
		"--mtu", PASST_MTU_TEXT};
	static const char *const words6[] = {
		"--address", PASST_ADDRESS6, "--gateway", PASST_GATEWAY6};
	static const char *const without[] = {"--ipv4-only"};
	const char *const *more = has_ipv6 ? words6 : without;
	size_t more_count = has_ipv6 ? ARRAY_SIZE(words6) : ARRAY_SIZE(without);
	int r = 0;

	_Static_assert(PASST_SOCKET == 3 && PASST_READY == 4, "as the words say");
	_Static_assert(
		ARRAY_SIZE(words) + ARRAY_SIZE(words6) < ARGUMENTS_MAX, "there is room for them");
	ret->items = calloc(ARGUMENTS_MAX + 2 * APPC_EXPOSED_PORTS_MAX, sizeof(ret->items[0]));
	if (!ret->items)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++)
		r = arguments_add(ret, strdup(words[i]));
	for (size_t i = 0; r == 0 && i < more_count; i++)
		r = arguments_add(ret, strdup(more[i]));
	if (r < 0)
		return error_set(err, r, "out of memory");
	return add_ports(ret, manifest, ret_privileged, err);
}

/*
 * passt(1) speaks IPv6 where the host has a route to everywhere: destination and its length are all zeros
 * (proc(5), /proc/net/ipv6_route), and it is one that rejects nothing.
 */
static bool host_routes_ipv6(void)
{
	static const char everywhere[] = "00000000000000000000000000000000 00 ";
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t length;

	if (file_read(AT_FDCWD, ROUTES6, ROUTES6_SIZE_MAX, &text, &length) < 0)
		return false;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		const char *flags = NULL;

		if (strncmp(line, everywhere, strlen(everywhere)) != 0)
			continue;
		for (unsigned int i = 0; i <= FLAGS_FIELD && line; i++)
			flags = strsep(&line, " ");
		if (flags && !(strtoul(flags, NULL, 16) & RTF_REJECT))
			return true;
	}
	return false;
}

/* ---- passt */

/* As nobody, who has nothing but the socket. What it says on standard error is kept for us. */
static _Noreturn void run_passt(const struct arguments *arguments)
{
	dup2(PASST_ERRORS, STDERR_FILENO);
	close(PASST_ERRORS);
	execvp(arguments->items[0], arguments->items);
	dprintf(STDERR_FILENO, "cannot execute passt: %s (install the package passt)\n",
		strerror(errno));
	_exit(127);
}

/*
 * The pod's announcement of its address (RFC 5227, section 3) in its place. Until passt has seen a frame of the pod it
 * sends to a MAC address of zeros, which no pod hears; the first connection to one that had said nothing yet was reset
 * after 10 s.
 */
static int announce_pod(int fd, const uint8_t mac[ETH_ALEN])
{
	struct __attribute__((packed)) {
		uint8_t length[FRAME_STREAM_PREFIX_SIZE];
		struct ether_header header;
		struct ether_arp arp;
	} frame = {
		.header = {.ether_type = htons(ETHERTYPE_ARP)},
		.arp.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
			.ar_pro = htons(ETHERTYPE_IP),
			.ar_hln = ETH_ALEN,
			.ar_pln = sizeof(struct in_addr),
			.ar_op = htons(ARPOP_REQUEST)},
	};

	frame_stream_put_length(frame.length, sizeof(frame) - sizeof(frame.length));
	memset(frame.header.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.header.ether_shost, mac, ETH_ALEN);
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	inet_pton(AF_INET, PASST_ADDRESS, frame.arp.arp_spa);
	inet_pton(AF_INET, PASST_ADDRESS, frame.arp.arp_tpa);
	return send(fd, &frame, sizeof(frame), MSG_NOSIGNAL) == (ssize_t)sizeof(frame) ? 0 : -errno;
}

int passt_start(const struct appc_pod_manifest *manifest, const uint8_t mac[ETH_ALEN],
	const struct child_cgroup *cgroup, struct passt *ret, struct error *err)
{
	_cleanup_(arguments_free) struct arguments arguments = {0};
	_cleanup_close_ int theirs = -1, ready = -1;
	int sockets[2], pipes[2];
	bool is_privileged = false;
	pid_t pid;
	int r;

	*ret = PASST_NONE;
	ret->has_ipv6 = host_routes_ipv6();
	r = make_arguments(manifest, ret->has_ipv6, &arguments, &is_privileged, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_set_errno(err, -errno, "cannot make a socket for the network");
	ret->fd = sockets[0];
	theirs = sockets[1];
	r = announce_pod(ret->fd, mac);
	if (r < 0)
		return error_set_errno(err, r, "cannot announce the pod to its network");
	if (fcntl(ret->fd, F_SETFL, O_NONBLOCK) < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe for the network");
	ret->ready_fd = pipes[0];
	ready = pipes[1];
	ret->errors_fd = memfd_create("passt", MFD_CLOEXEC);
	/* It opens the pipe by a name, as who it is by then. */
	if (ret->errors_fd < 0 || fchmod(ready, 0666) < 0)
		return error_set_errno(err, -errno, "cannot prepare the network");
	pid = child_fork_in_cgroup((const int[]){theirs, ready, ret->errors_fd}, 3,
		is_privileged ? CAP_NET_BIND_SERVICE : -1, cgroup);
	if (pid == 0)
		run_passt(&arguments);
	if (pid < 0)
		return error_set_errno(err, (int)pid, "cannot make a process for the network");
	ret->pid = pid;
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

int passt_wait(struct passt *passt, struct error *err)
{
	struct pollfd fd = {.fd = passt->ready_fd, .events = POLLIN};
	char words[1024];
	int r;

	do
		r = poll(&fd, 1, READY_MS);
	while (r < 0 && errno == EINTR);
	/* It writes its process id there; an end without that is its own. */
	if (r > 0 && read(passt->ready_fd, words, sizeof(words)) > 0)
		return 0;
	if (r == 0)
		return error_set(
			err, -ETIMEDOUT, "the network is not ready after %d s", READY_MS / 1000);
	last_words(passt->errors_fd, words, sizeof(words));
	return error_set(
		err, -EIO, "no network: %s", *words ? words : "passt ended without a word");
}

void passt_handed_over(struct passt *passt)
{
	cleanup_close(&passt->fd);
	cleanup_close(&passt->ready_fd);
	cleanup_close(&passt->errors_fd);
	passt->fd = passt->ready_fd = passt->errors_fd = -1;
}

void passt_stop(struct passt *passt)
{
	passt_handed_over(passt);
	if (passt->pid > 0) {
		kill(passt->pid, SIGKILL);
		child_wait(passt->pid);
	}
	*passt = PASST_NONE;
}
