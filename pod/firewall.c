// SPDX-License-Identifier: Apache-2.0
/* firewall.c: see firewall.h. nft(8) runs as nobody, with CAP_NET_ADMIN and its input alone. */
#include "pod/firewall.h"

#include "base/child.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE "appc_vm"

/* In the child: fds of nft. */
enum { NFT_INPUT = CHILD_FIRST_FD, NFT_ERRORS };

/* Root's own, whatever path the caller has. */
#define NFT_PATH "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

/* The bridge's network, in which the lease's address is. */
struct network {
	char text4[INET_ADDRSTRLEN + 4], text6[INET6_ADDRSTRLEN + 5];
};

static const char *address_text(struct in_addr address, char text[INET_ADDRSTRLEN])
{
	return inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
}

static struct network network_of(const struct lease *lease)
{
	struct in_addr base = {
		.s_addr = lease->address.s_addr & htonl(~0u << (32 - lease->prefix))};
	struct in6_addr base6 = lease->address6;
	char text[INET_ADDRSTRLEN], text6[INET6_ADDRSTRLEN];
	struct network network = {.text6 = ""};

	snprintf(network.text4, sizeof(network.text4), "%s/%u", address_text(base, text),
		lease->prefix);
	if (!lease_has_ipv6(lease))
		return network;
	for (unsigned int bit = lease->prefix6; bit < 128; bit++)
		base6.s6_addr[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	snprintf(network.text6, sizeof(network.text6), "%s/%u",
		inet_ntop(AF_INET6, &base6, text6, sizeof(text6)), lease->prefix6);
	return network;
}

/* The link-local address that a kernel makes of a MAC address (RFC 4291, appendix A). */
static struct in6_addr link_local(const uint8_t mac[LEASE_MAC_SIZE])
{
	return (struct in6_addr){.s6_addr = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff,
					 0xfe, mac[3], mac[4], mac[5]}};
}

/* ---- the table of the family bridge */

static void write_number(FILE *out, const struct in6_addr *address)
{
	fputs("0x", out);
	for (unsigned int i = 0; i < sizeof(address->s6_addr); i++)
		fprintf(out, "%02x", address->s6_addr[i]);
}

/*
 * Nobody sends a part of neighbour discovery in fragments (RFC 6980), where what is looked at here can stand in another
 * one than that which tells the protocol. So whatever ICMPv6 is in one has to be an echo, by its first fragment: without
 * that the others are nothing. What has no protocol that can be told, since headers go on in a later fragment, is not
 * accepted either.
 */
static void write_source_ipv6(FILE *out, const struct lease *lease)
{
	const struct in6_addr local = link_local(lease->mac);
	char text[INET6_ADDRSTRLEN], local_text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, &lease->address6, text, sizeof(text));
	inet_ntop(AF_INET6, &local, local_text, sizeof(local_text));
	fputs("\t\tether type ip6 icmpv6 type { nd-router-advert, nd-redirect } drop\n"
	      "\t\tether type ip6 icmpv6 type nd-neighbor-advert @th,64,128 != { ",
		out);
	write_number(out, &lease->address6);
	fputs(", ", out);
	write_number(out, &local);
	fputs(" } drop\n", out);
	fprintf(out,
		"\t\tether type ip6 frag frag-off 0 icmpv6 type { echo-request, echo-reply } "
		"ip6 saddr { %s, %s } accept\n"
		"\t\tether type ip6 frag frag-off 0 meta l4proto ipv6-icmp drop\n"
		"\t\tether type ip6 meta l4proto 0-255 ip6 saddr { %s, %s } accept\n",
		text, local_text, text, local_text);
}

static void write_source(FILE *out, const struct lease *lease)
{
	const uint8_t *mac = lease->mac;
	char mac_text[3 * LEASE_MAC_SIZE], address[INET_ADDRSTRLEN];

	snprintf(mac_text, sizeof(mac_text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		mac[2], mac[3], mac[4], mac[5]);
	address_text(lease->address, address);
	fprintf(out, "\tchain %s {\n\t\tether saddr != %s drop\n", lease->interface, mac_text);
	fprintf(out, "\t\tether type arp arp saddr ether %s arp saddr ip %s accept\n", mac_text,
		address);
	/* The host has its loopback addresses reachable from here, for published ports; the pods do not. */
	fprintf(out, "\t\tether type ip ip saddr %s ip daddr != 127.0.0.0/8 accept\n", address);
	if (lease_has_ipv6(lease))
		write_source_ipv6(out, lease);
	fputs("\t\tdrop\n\t}\n", out);
}

static void write_bridge_table(FILE *out, const struct leases *leases)
{
	fputs("table bridge " TABLE " {\n", out);
	for (size_t i = 0; i < leases->count; i++)
		write_source(out, &leases->items[i]);
	fputs("\tchain sources {\n\t\ttype filter hook prerouting priority -300; policy accept;\n"
	      "\t\tiifname vmap { ",
		out);
	for (size_t i = 0; i < leases->count; i++)
		fprintf(out, "%s\"%s\" : goto %s", i ? ", " : "", leases->items[i].interface,
			leases->items[i].interface);
	fputs(" }\n\t\tiifname \"" FIREWALL_INTERFACE_PREFIX "*\" drop\n\t}\n}\n", out);
}

/* ---- the table of the family inet */

static bool is_first_of_bridge(const struct leases *leases, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (!strcmp(leases->items[i].bridge, leases->items[index].bridge))
			return false;
	return true;
}

/* Ports at one address of the host, or at any. */
static void write_ports(
	FILE *out, const struct leases *leases, bool any, const char *name, const char *type)
{
	char host[INET_ADDRSTRLEN], address[INET_ADDRSTRLEN];
	bool is_empty = true;

	fprintf(out, "\tmap %s {\n\t\ttype %s : ipv4_addr . inet_service\n", name, type);
	for (size_t i = 0; i < leases->count; i++) {
		const struct lease *lease = &leases->items[i];

		for (size_t j = 0; j < lease->port_count; j++) {
			const struct lease_port *port = &lease->ports[j];

			if ((port->host.s_addr == htonl(INADDR_ANY)) != any)
				continue;
			fputs(is_empty ? "\t\telements = { " : ", ", out);
			is_empty = false;
			if (!any)
				fprintf(out, "%s . ", address_text(port->host, host));
			fprintf(out, "%s . %u : %s . %u", port->is_udp ? "udp" : "tcp",
				port->host_port, address_text(lease->address, address), port->port);
		}
	}
	fputs(is_empty ? "\t}\n" : " }\n\t}\n", out);
}

/* The pods' own addresses are nobody's elsewhere. */
static void write_hiding(FILE *out, const struct leases *leases)
{
	fputs("\tchain hide {\n\t\ttype nat hook postrouting priority 100; policy accept;\n", out);
	for (size_t i = 0; i < leases->count; i++) {
		const struct lease *lease = &leases->items[i];
		const struct network network = network_of(lease);

		if (!is_first_of_bridge(leases, i))
			continue;
		fprintf(out, "\t\tip saddr %s oifname != \"%s\" masquerade\n", network.text4,
			lease->bridge);
		if (lease_has_ipv6(lease))
			fprintf(out, "\t\tip6 saddr %s oifname != \"%s\" masquerade\n",
				network.text6, lease->bridge);
		/* Through a published port, from the host or a pod: the answers have to come back here. */
		fprintf(out,
			"\t\toifname \"%s\" ct status dnat ip saddr { 127.0.0.0/8, %s } masquerade\n",
			lease->bridge, network.text4);
	}
	fputs("\t}\n", out);
}

/*
 * What a bridge does not bridge, frames to link-local groups, is heard at its port: no address is. And since published
 * ports make loopback addresses routable, nothing comes to them from outside.
 */
static void write_strangers(FILE *out, const struct leases *leases)
{
	fputs("\tchain strangers {\n\t\ttype filter hook prerouting priority -300; policy accept;\n"
	      "\t\tiifname != \"lo\" ip daddr 127.0.0.0/8 drop\n\t\tiifname { ",
		out);
	for (size_t i = 0; i < leases->count; i++)
		fprintf(out, "%s\"%s\"", i ? ", " : "", leases->items[i].interface);
	fputs(" } drop\n\t}\n", out);
}

static void write_bounds(FILE *out, const struct leases *leases, const char *transit)
{
	fputs("\tset bridges {\n\t\ttype ifname\n\t\telements = { ", out);
	for (size_t i = 0; i < leases->count; i++)
		if (is_first_of_bridge(leases, i))
			fprintf(out, "%s\"%s\"", i ? ", " : "", leases->items[i].bridge);
	fputs(" }\n\t}\n\tchain bounds {\n"
	      "\t\ttype filter hook forward priority 0; policy accept;\n"
	      "\t\tct state established,related accept\n"
	      "\t\toifname @bridges ct status dnat accept\n",
		out);
	/* Where the host filters bridged frames like forwarded ones. */
	for (size_t i = 0; i < leases->count; i++)
		if (is_first_of_bridge(leases, i))
			fprintf(out, "\t\tiifname \"%s\" oifname \"%s\" accept\n",
				leases->items[i].bridge, leases->items[i].bridge);
	fputs("\t\toifname @bridges reject with icmpx host-unreachable\n\t\tiifname @bridges accept\n",
		out);
	if (transit && *transit)
		fprintf(out, "\t\tmeta nfproto ipv4 iifname != { %s } drop\n", transit);
	else if (transit)
		fputs("\t\tmeta nfproto ipv4 drop\n", out);
	fputs("\t}\n", out);
}

static void write_inet_table(FILE *out, const struct leases *leases, const char *transit)
{
	fputs("table inet " TABLE " {\n", out);
	write_ports(out, leases, true, "ports", "inet_proto . inet_service");
	write_ports(out, leases, false, "ports_at", "ipv4_addr . inet_proto . inet_service");
	fputs("\tchain publish {\n"
	      "\t\tdnat ip to ip daddr . meta l4proto . th dport map @ports_at\n"
	      "\t\tdnat ip to meta l4proto . th dport map @ports\n\t}\n"
	      "\tchain from_others {\n\t\ttype nat hook prerouting priority -100; policy accept;\n"
	      "\t\tfib daddr type local jump publish\n\t}\n"
	      "\tchain from_host {\n\t\ttype nat hook output priority -100; policy accept;\n"
	      "\t\tfib daddr type local jump publish\n\t}\n",
		out);
	write_strangers(out, leases);
	write_hiding(out, leases);
	write_bounds(out, leases, transit);
	fputs("}\n", out);
}

char *firewall_rules(const struct leases *leases, const char *transit)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	/* One that is not there cannot be deleted. */
	fputs("add table bridge " TABLE "\ndelete table bridge " TABLE "\n"
	      "add table inet " TABLE "\ndelete table inet " TABLE "\n",
		out);
	if (leases->count > 0) {
		write_bridge_table(out, leases);
		write_inet_table(out, leases, transit);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- nft */

static _Noreturn void run_nft(void)
{
	static char *const arguments[] = {(char *)"nft", (char *)"-f", (char *)"-", NULL};

	dup2(NFT_INPUT, STDIN_FILENO);
	dup2(NFT_ERRORS, STDERR_FILENO);
	close(NFT_INPUT);
	close(NFT_ERRORS);
	setenv("PATH", NFT_PATH, 1);
	execvp(arguments[0], arguments);
	dprintf(STDERR_FILENO, "cannot execute nft: %s (install the package nftables)\n",
		strerror(errno));
	_exit(127);
}

int firewall_set(const struct leases *leases, const char *transit, struct error *err)
{
	_cleanup_close_ int input = memfd_create("rules", MFD_CLOEXEC),
			    errors = memfd_create("errors", MFD_CLOEXEC);
	_cleanup_free_ char *rules = firewall_rules(leases, transit);
	char words[512];
	ssize_t n;
	pid_t pid;
	int r;

	if (!rules)
		return error_set(err, -ENOMEM, "out of memory");
	if (input < 0 || errors < 0 || file_write_all(input, rules, strlen(rules)) < 0 ||
		lseek(input, 0, SEEK_SET) < 0)
		return error_set_errno(err, -errno, "cannot write the rules of the firewall");
	pid = child_fork_with_capability((const int[]){input, errors}, 2, CAP_NET_ADMIN);
	if (pid == 0)
		run_nft();
	if (pid < 0)
		return error_set_errno(err, (int)pid, "cannot make a process for the firewall");
	r = child_wait(pid);
	if (r == 0)
		return 0;
	n = pread(errors, words, sizeof(words) - 1, 0);
	words[n > 0 ? n : 0] = '\0';
	words[strcspn(words, "\n")] = '\0';
	return error_set(err, -EIO, "nft: %s", *words ? words : "it failed without a word");
}
