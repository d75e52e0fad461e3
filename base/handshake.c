// SPDX-License-Identifier: Apache-2.0
/* handshake.c: see handshake.h. */
#include "base/handshake.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>

#define TTL 64
/* Of whatever unit was agreed on: enough to begin with, and the next segment of the peer tells its own. */
#define WINDOW 512

/* The sum of RFC 1071 over an even number of bytes, not folded and not inverted. */
static uint32_t sum_add(uint32_t sum, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return sum;
}

static uint16_t sum_finish(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* addresses: both, as they stand in the IP header. */
static void write_segment(
	uint8_t *place, const struct tcphdr *from, const void *addresses, size_t addresses_size)
{
	struct tcphdr tcp = {
		.source = from->dest,
		.dest = from->source,
		.seq = from->ack_seq,
		.ack_seq = htonl(ntohl(from->seq) + 1),
		.doff = sizeof(tcp) / 4,
		.ack = 1,
		.window = htons(WINDOW),
	};
	uint32_t sum = sum_add(IPPROTO_TCP + sizeof(tcp), addresses, addresses_size);

	tcp.check = sum_finish(sum_add(sum, &tcp, sizeof(tcp)));
	memcpy(place, &tcp, sizeof(tcp));
}

static bool is_second_part(const struct tcphdr *tcp)
{
	return tcp->syn && tcp->ack && !tcp->rst && !tcp->fin;
}

static size_t answer_ipv4(const uint8_t *packet, size_t length, uint8_t *answer)
{
	struct iphdr from, ip = {.version = 4, .ihl = sizeof(ip) / 4, .ttl = TTL};
	struct tcphdr tcp;

	if (length < sizeof(from) + sizeof(tcp))
		return 0;
	memcpy(&from, packet, sizeof(from));
	memcpy(&tcp, packet + sizeof(from), sizeof(tcp));
	if (from.version != 4 || from.ihl != ip.ihl || from.protocol != IPPROTO_TCP ||
		from.frag_off & htons(IP_MF | IP_OFFMASK) || !is_second_part(&tcp))
		return 0;
	ip.protocol = IPPROTO_TCP;
	ip.tot_len = htons(sizeof(ip) + sizeof(tcp));
	ip.saddr = from.daddr;
	ip.daddr = from.saddr;
	ip.check = sum_finish(sum_add(0, &ip, sizeof(ip)));
	memcpy(answer, &ip, sizeof(ip));
	write_segment(answer + sizeof(ip), &tcp, answer + offsetof(struct iphdr, saddr),
		2 * sizeof(ip.saddr));
	return sizeof(ip) + sizeof(tcp);
}

static size_t answer_ipv6(const uint8_t *packet, size_t length, uint8_t *answer)
{
	struct ip6_hdr from, ip = {.ip6_dst = {.s6_addr = {0}}};
	struct tcphdr tcp;

	if (length < sizeof(from) + sizeof(tcp))
		return 0;
	memcpy(&from, packet, sizeof(from));
	memcpy(&tcp, packet + sizeof(from), sizeof(tcp));
	if (from.ip6_vfc >> 4 != 6 || from.ip6_nxt != IPPROTO_TCP || !is_second_part(&tcp))
		return 0;
	ip.ip6_vfc = 6 << 4;
	ip.ip6_plen = htons(sizeof(tcp));
	ip.ip6_nxt = IPPROTO_TCP;
	ip.ip6_hlim = TTL;
	ip.ip6_src = from.ip6_dst;
	ip.ip6_dst = from.ip6_src;
	memcpy(answer, &ip, sizeof(ip));
	write_segment(answer + sizeof(ip), &tcp, answer + offsetof(struct ip6_hdr, ip6_src),
		2 * sizeof(ip.ip6_src));
	return sizeof(ip) + sizeof(tcp);
}

size_t handshake_answer(
	const uint8_t *frame, size_t length, uint8_t ret_answer[HANDSHAKE_FRAME_MAX])
{
	struct ethhdr from, ethernet;
	size_t done = 0;

	if (length < sizeof(from))
		return 0;
	memcpy(&from, frame, sizeof(from));
	if (from.h_proto == htons(ETH_P_IP))
		done = answer_ipv4(
			frame + sizeof(from), length - sizeof(from), ret_answer + sizeof(from));
	else if (from.h_proto == htons(ETH_P_IPV6))
		done = answer_ipv6(
			frame + sizeof(from), length - sizeof(from), ret_answer + sizeof(from));
	if (done == 0)
		return 0;
	ethernet = (struct ethhdr){.h_proto = from.h_proto};
	memcpy(ethernet.h_dest, from.h_source, ETH_ALEN);
	memcpy(ethernet.h_source, from.h_dest, ETH_ALEN);
	memcpy(ret_answer, &ethernet, sizeof(ethernet));
	return sizeof(ethernet) + done;
}
