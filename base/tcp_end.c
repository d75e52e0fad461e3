// SPDX-License-Identifier: Apache-2.0
/* tcp_end.c: see tcp_end.h. */
#include "base/tcp_end.h"

#include "base/inet_checksum.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>

/* Places in headers. */
#define IPV4_LENGTH    2u
#define IPV4_CHECKSUM  10u
#define IPV4_ADDRESSES 12u
#define IPV6_LENGTH    4u
#define IPV6_ADDRESSES 8u
#define TCP_SEQUENCE   4u
#define TCP_CHECKSUM   16u

/* A segment of TCP, and where its parts are in a frame. */
struct segment {
	struct tcp_connection connection;
	size_t tcp, data, end;
	uint32_t sequence, acknowledged;
	uint8_t flags;
};

static uint16_t get_u16(const uint8_t *place)
{
	return (uint16_t)(place[0] << 8 | place[1]);
}

static void put_u16(uint8_t *place, size_t value)
{
	place[0] = (uint8_t)(value >> 8);
	place[1] = (uint8_t)value;
}

/* What is in an IP packet that is whole: where TCP begins and all of it ends, in the frame. */
static bool parse_ipv4(const uint8_t *frame, size_t length, struct segment *segment)
{
	struct iphdr ip;

	if (length < ETH_HLEN + sizeof(ip))
		return false;
	memcpy(&ip, frame + ETH_HLEN, sizeof(ip));
	if (ip.version != 4 || ip.ihl < sizeof(ip) / 4 || ip.protocol != IPPROTO_TCP ||
		ip.frag_off & htons(IP_MF | IP_OFFMASK))
		return false;
	segment->tcp = ETH_HLEN + (size_t)ip.ihl * 4;
	segment->end = ETH_HLEN + ntohs(ip.tot_len);
	memcpy(segment->connection.addresses, frame + ETH_HLEN + IPV4_ADDRESSES, 8);
	segment->connection.version = 4;
	return true;
}

static bool parse_ipv6(const uint8_t *frame, size_t length, struct segment *segment)
{
	struct ip6_hdr ip;

	if (length < ETH_HLEN + sizeof(ip))
		return false;
	memcpy(&ip, frame + ETH_HLEN, sizeof(ip));
	if (ip.ip6_vfc >> 4 != 6 || ip.ip6_nxt != IPPROTO_TCP)
		return false;
	segment->tcp = ETH_HLEN + sizeof(ip);
	segment->end = segment->tcp + ntohs(ip.ip6_plen);
	memcpy(segment->connection.addresses, frame + ETH_HLEN + IPV6_ADDRESSES, 32);
	segment->connection.version = 6;
	return true;
}

static bool parse(const uint8_t *frame, size_t length, struct segment *ret)
{
	struct tcphdr tcp;

	*ret = (struct segment){.flags = 0};
	if (length < ETH_HLEN)
		return false;
	switch (get_u16(frame + ETH_HLEN - 2)) {
	case ETH_P_IP:
		if (!parse_ipv4(frame, length, ret))
			return false;
		break;
	case ETH_P_IPV6:
		if (!parse_ipv6(frame, length, ret))
			return false;
		break;
	default:
		return false;
	}
	if (ret->end > length || ret->end < ret->tcp + sizeof(tcp))
		return false;
	memcpy(&tcp, frame + ret->tcp, sizeof(tcp));
	ret->data = ret->tcp + (size_t)tcp.doff * 4;
	ret->sequence = ntohl(tcp.seq);
	ret->acknowledged = ntohl(tcp.ack_seq);
	ret->flags = tcp.th_flags;
	memcpy(ret->connection.ports, frame + ret->tcp, sizeof(ret->connection.ports));
	return ret->data >= ret->tcp + sizeof(tcp) && ret->data <= ret->end;
}

/* FNV-1a. */
static size_t place_of(const struct tcp_connection *connection)
{
	const uint8_t *bytes = (const uint8_t *)connection;
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof(*connection); i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash % TCP_ENDS;
}

/* Null: nothing is known of the connection. ret_last: its place, where another one may be. */
static struct tcp_last_byte *find(struct tcp_ends *ends, const struct tcp_connection *connection,
	struct tcp_last_byte **ret_last)
{
	struct tcp_last_byte *last = &ends->items[place_of(connection)];

	if (ret_last)
		*ret_last = last;
	return last->is_known && !memcmp(&last->connection, connection, sizeof(*connection)) ? last
											     : NULL;
}

/* The byte comes behind the headers, which tell of it. */
static size_t add_byte(uint8_t *frame, const struct segment *segment, uint8_t byte)
{
	uint32_t sequence = htonl(segment->sequence - 1);
	uint8_t *ip = frame + ETH_HLEN, *tcp = frame + segment->tcp;
	size_t tcp_length = segment->end + 1 - segment->tcp;
	bool is_ipv4 = segment->connection.version == 4;
	uint64_t sum;

	frame[segment->end] = byte;
	memcpy(tcp + TCP_SEQUENCE, &sequence, sizeof(sequence));
	if (is_ipv4) {
		put_u16(ip + IPV4_LENGTH, segment->end + 1 - ETH_HLEN);
		put_u16(ip + IPV4_CHECKSUM, 0);
		inet_checksum_put(
			ip + IPV4_CHECKSUM, inet_checksum_add(0, ip, segment->tcp - ETH_HLEN));
	} else {
		put_u16(ip + IPV6_LENGTH, tcp_length);
	}
	put_u16(tcp + TCP_CHECKSUM, 0);
	sum = inet_checksum_add(
		IPPROTO_TCP + tcp_length, segment->connection.addresses, is_ipv4 ? 8 : 32);
	inet_checksum_put(tcp + TCP_CHECKSUM, inet_checksum_add(sum, tcp, tcp_length));
	return segment->end + 1;
}

size_t tcp_end_carry(struct tcp_ends *ends, uint8_t *frame, size_t length, size_t size)
{
	struct tcp_last_byte *known, *place;
	struct segment segment;
	uint32_t next;

	if (!parse(frame, length, &segment))
		return length;
	known = find(ends, &segment.connection, &place);
	/* Another connection of the same name. */
	if (segment.flags & (TH_SYN | TH_RST)) {
		if (known)
			known->is_known = false;
		return length;
	}
	if (segment.data == segment.end)
		return segment.flags & TH_FIN && known && !known->is_acknowledged &&
				known->next == segment.sequence && segment.end < size
			? add_byte(frame, &segment, known->byte)
			: length;
	next = segment.sequence + (uint32_t)(segment.end - segment.data);
	/* What is sent again is not new. */
	if (known && (int32_t)(next - known->next) <= 0)
		return length;
	*place = (struct tcp_last_byte){
		.connection = segment.connection,
		.byte = frame[segment.end - 1],
		.is_known = true,
		.next = next,
	};
	return length;
}

/* The connection as its other end sees it. */
static void turn_round(struct tcp_connection *connection)
{
	size_t size = connection->version == 4 ? 4 : 16;
	const struct tcp_connection other = *connection;

	memcpy(connection->addresses, other.addresses + size, size);
	memcpy(connection->addresses + size, other.addresses, size);
	memcpy(connection->ports, other.ports + 2, 2);
	memcpy(connection->ports + 2, other.ports, 2);
}

void tcp_end_hear(struct tcp_ends *ends, const uint8_t *frame, size_t length)
{
	struct tcp_last_byte *known;
	struct segment segment;

	if (!parse(frame, length, &segment) || !(segment.flags & TH_ACK))
		return;
	turn_round(&segment.connection);
	known = find(ends, &segment.connection, NULL);
	if (known && (int32_t)(segment.acknowledged - known->next) >= 0)
		known->is_acknowledged = true;
}
