// SPDX-License-Identifier: Apache-2.0
/* handshake.c: see handshake.h. */
#include "base/handshake.h"

#include "base/inet_checksum.h"

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

#define IPV4_SIZE sizeof(struct iphdr)
#define IPV6_SIZE sizeof(struct ip6_hdr)
#define TCP_SIZE  sizeof(struct tcphdr)

/* addresses: both, as they stand in the IP header. */
static void write_segment(
	uint8_t *place, const struct tcphdr *from, const uint8_t *addresses, size_t addresses_size)
{
	uint32_t acknowledged = htonl(ntohl(from->seq) + 1);
	uint8_t tcp[TCP_SIZE] = {
		[12] = TCP_SIZE / 4 << 4, [13] = TH_ACK, [14] = WINDOW >> 8, [15] = WINDOW & 0xff};

	memcpy(tcp, &from->dest, sizeof(from->dest));
	memcpy(tcp + 2, &from->source, sizeof(from->source));
	memcpy(tcp + 4, &from->ack_seq, sizeof(from->ack_seq));
	memcpy(tcp + 8, &acknowledged, sizeof(acknowledged));
	inet_checksum_put(tcp + 16,
		inet_checksum_add(
			inet_checksum_add(IPPROTO_TCP + TCP_SIZE, addresses, addresses_size), tcp,
			TCP_SIZE));
	memcpy(place, tcp, TCP_SIZE);
}

static bool is_second_part(const struct tcphdr *tcp)
{
	return tcp->syn && tcp->ack && !tcp->rst && !tcp->fin;
}

static size_t answer_ipv4(const uint8_t *packet, size_t length, uint8_t *answer)
{
	uint8_t ip[IPV4_SIZE] = {0x45, [3] = IPV4_SIZE + TCP_SIZE, [8] = TTL, [9] = IPPROTO_TCP};
	struct iphdr from;
	struct tcphdr tcp;

	if (length < IPV4_SIZE + TCP_SIZE)
		return 0;
	memcpy(&from, packet, sizeof(from));
	memcpy(&tcp, packet + IPV4_SIZE, sizeof(tcp));
	if (packet[0] != ip[0] || from.protocol != IPPROTO_TCP ||
		from.frag_off & htons(IP_MF | IP_OFFMASK) || !is_second_part(&tcp))
		return 0;
	memcpy(ip + 12, &from.daddr, sizeof(from.daddr));
	memcpy(ip + 16, &from.saddr, sizeof(from.saddr));
	inet_checksum_put(ip + 10, inet_checksum_add(0, ip, sizeof(ip)));
	memcpy(answer, ip, sizeof(ip));
	write_segment(answer + sizeof(ip), &tcp, ip + 12, 8);
	return IPV4_SIZE + TCP_SIZE;
}

static size_t answer_ipv6(const uint8_t *packet, size_t length, uint8_t *answer)
{
	uint8_t ip[IPV6_SIZE] = {0x60, [5] = TCP_SIZE, [6] = IPPROTO_TCP, [7] = TTL};
	struct ip6_hdr from;
	struct tcphdr tcp;

	if (length < IPV6_SIZE + TCP_SIZE)
		return 0;
	memcpy(&from, packet, sizeof(from));
	memcpy(&tcp, packet + IPV6_SIZE, sizeof(tcp));
	if (packet[0] >> 4 != 6 || from.ip6_nxt != IPPROTO_TCP || !is_second_part(&tcp))
		return 0;
	memcpy(ip + 8, &from.ip6_dst, sizeof(from.ip6_dst));
	memcpy(ip + 24, &from.ip6_src, sizeof(from.ip6_src));
	memcpy(answer, ip, sizeof(ip));
	write_segment(answer + sizeof(ip), &tcp, ip + 8, 32);
	return IPV6_SIZE + TCP_SIZE;
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
