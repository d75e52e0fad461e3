// SPDX-License-Identifier: Apache-2.0
/*
 * network.c: a guest program that uses the pod's network.
 *
 *   connect ADDRESS PORT   says what the server says first, or why there is none
 *   fetch ADDRESS PORT     the same, and reads to the end: how many bytes, in how many milliseconds
 *   serve PORT             answers what the next client says by "from the pod", and says that it came
 *   serve-all PORT         answers each client so, without an end, and says nothing
 *   echo PORT              sends the next client all that it sends, to its end
 *   exchange ADDRESS PORT  sends 1 MiB to such a server, as soon as there is one, and says how much came back as it was
 *   ask ADDRESS PORT       sends a datagram and says what comes back
 *   udp-serve PORT         answers the next datagram by "from the pod", and says that it came
 *   resolve NAME           asks the first name server of /etc/resolv.conf for an IPv4 address, and says both
 *   interface NAME         says its address, its MAC address and its MTU
 *   interface6 NAME        says its IPv6 addresses, but for the link alone
 *   greet PORT             speaks first to the next client
 *   shout NAME TAG         broadcasts a datagram with this text, from the pod's own addresses
 *   spoof NAME OTHER       the same from another MAC address, from the address OTHER, and what takes that from its
 *                          owner: in ARP, in neighbour discovery, as a router, in fragments; and what is neither
 *                          IP nor ARP
 *   overhear NAME          says which frames of others come that are not to this MAC address, until "end" was shouted
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <resolv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 20

struct name {
	socklen_t length;
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	};
};

static struct name address_of(const char *address, const char *port)
{
	in_port_t number = htons((uint16_t)strtoul(port, NULL, 10));
	struct name name = {.length = sizeof(name.ipv4)};

	name.ipv4.sin_family = AF_INET;
	name.ipv4.sin_port = number;
	if (inet_pton(AF_INET, address, &name.ipv4.sin_addr) == 1)
		return name;
	name.length = sizeof(name.ipv6);
	name.ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = number};
	inet_pton(AF_INET6, address, &name.ipv6.sin6_addr);
	return name;
}

static void say_answer(const char *verb, char **args, int fd)
{
	char text[256];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	printf("%s %s: %s\n", verb, args[0], n < 0 ? strerrorname_np(errno) : text);
}

static int open_socket(int family, int type)
{
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit))) {
		perror("socket");
		exit(98);
	}
	return fd;
}

static void connect_to(char **args)
{
	const struct name name = address_of(args[0], args[1]);
	int fd = open_socket(name.any.sa_family, SOCK_STREAM);

	if (connect(fd, &name.any, name.length))
		printf("connect %s: %s\n", args[0], strerrorname_np(errno));
	else
		say_answer("connect", args, fd);
	close(fd);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static void fetch(char **args)
{
	const struct name name = address_of(args[0], args[1]);
	int fd = open_socket(name.any.sa_family, SOCK_STREAM);
	int64_t start = now_ms();
	char data[16384];
	size_t total = 0;
	ssize_t n;

	if (connect(fd, &name.any, name.length)) {
		printf("fetch %s: %s\n", args[0], strerrorname_np(errno));
	} else {
		say_answer("fetch", args, fd);
		while ((n = read(fd, data, sizeof(data))) > 0)
			total += (size_t)n;
		printf("fetch %s: then %zu bytes\nfetched: %lld ms\n", args[0], total,
			(long long)(now_ms() - start));
	}
	close(fd);
}

static void ask(char **args)
{
	const struct name name = address_of(args[0], args[1]);
	int fd = open_socket(name.any.sa_family, SOCK_DGRAM);

	if (connect(fd, &name.any, name.length) || write(fd, "question\n", 9) != 9)
		printf("ask %s: %s\n", args[0], strerrorname_np(errno));
	else
		say_answer("ask", args, fd);
	close(fd);
}

static int next_client(const char *port)
{
	/* For both IPv6 and IPv4. */
	const struct name name = address_of("::", port);
	int server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	if (setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
		bind(server, &name.any, name.length) || listen(server, 1)) {
		perror("listen");
		exit(98);
	}
	puts("listening");
	client = accept(server, NULL, NULL);
	close(server);
	return client;
}

static void serve(char **args)
{
	int client = next_client(args[0]);
	char word[64];

	printf("serve %s: %s\n", args[0],
		read(client, word, sizeof(word)) > 0 && write(client, "from the pod\n", 13) == 13
			? "ok"
			: strerrorname_np(errno));
	close(client);
}

static void serve_all(char **args)
{
	const struct name name = address_of("::", args[0]);
	int server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	if (bind(server, &name.any, name.length) || listen(server, SOMAXCONN)) {
		perror("listen");
		exit(98);
	}
	while ((client = accept(server, NULL, NULL)) >= 0) {
		dprintf(client, "from the pod\n");
		close(client);
	}
}

static void echo(char **args)
{
	/* What is on its way when the pod ends goes with the pod. */
	const struct linger linger = {.l_onoff = 1, .l_linger = 20};
	static char data[64 << 10];
	int client = next_client(args[0]);
	unsigned long total = 0;
	ssize_t n;

	while ((n = read(client, data, sizeof(data))) > 0) {
		for (ssize_t done = 0, m; done < n; done += m) {
			m = write(client, data + done, (size_t)(n - done));
			if (m < 0) {
				perror("write");
				exit(98);
			}
		}
		total += (unsigned long)n;
	}
	printf("echo %s: %lu bytes\n", args[0], total);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(client);
}

#define EXCHANGE_SIZE (1u << 20)

static uint8_t byte_at(size_t position)
{
	return (uint8_t)(position ^ position >> 8 ^ position >> 16);
}

/* What came of the answer, *received bytes so far, is as it was sent. */
static bool take_echo(int fd, size_t *received)
{
	static uint8_t piece[64 << 10];
	ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	/* Too early an end. */
	errno = EPIPE;
	for (ssize_t i = 0; i < n; i++, ++*received)
		if (*received == EXCHANGE_SIZE || piece[i] != byte_at(*received)) {
			errno = EBADMSG;
			return false;
		}
	return n > 0;
}

/* How many bytes came back as they were sent; errno says why not all. */
static size_t exchange_over(int fd)
{
	static uint8_t data[EXCHANGE_SIZE];
	struct pollfd wait = {.fd = fd, .events = POLLIN | POLLOUT};
	size_t sent = 0, received = 0;
	ssize_t n;
	int r;

	for (size_t i = 0; i < EXCHANGE_SIZE; i++)
		data[i] = byte_at(i);
	while (received < EXCHANGE_SIZE) {
		r = poll(&wait, 1, ANSWER_SECONDS * 1000);
		if (r == 0)
			errno = ETIMEDOUT;
		if (r <= 0)
			break;
		if (wait.revents & ~POLLOUT && !take_echo(fd, &received))
			break;
		if (!(wait.revents & POLLOUT))
			continue;
		n = send(fd, data + sent, EXCHANGE_SIZE - sent, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == EXCHANGE_SIZE) {
			shutdown(fd, SHUT_WR);
			wait.events = POLLIN;
		}
	}
	return received;
}

static void exchange(char **args)
{
	const struct name name = address_of(args[0], args[1]);
	const time_t end = time(NULL) + ANSWER_SECONDS;
	int fd = open_socket(name.any.sa_family, SOCK_STREAM), r;
	size_t received;

	while ((r = connect(fd, &name.any, name.length)) && errno == ECONNREFUSED &&
		time(NULL) < end) {
		close(fd);
		usleep(50000);
		fd = open_socket(name.any.sa_family, SOCK_STREAM);
	}
	if (r) {
		printf("exchange %s: %s\n", args[0], strerrorname_np(errno));
	} else {
		received = exchange_over(fd);
		printf("exchange %s: %zu bytes%s%s\n", args[0], received,
			received == EXCHANGE_SIZE ? "" : ", ",
			received == EXCHANGE_SIZE ? "" : strerrorname_np(errno));
	}
	close(fd);
}

static void udp_serve(char **args)
{
	struct name name = address_of("::", args[0]);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char word[64];

	if (fd < 0 || bind(fd, &name.any, name.length)) {
		perror("bind");
		exit(98);
	}
	puts("listening");
	printf("udp-serve %s: %s\n", args[0],
		recvfrom(fd, word, sizeof(word), 0, &name.any, &name.length) > 0 &&
				sendto(fd, "from the pod\n", 13, 0, &name.any, name.length) == 13
			? "ok"
			: strerrorname_np(errno));
	close(fd);
}

/* An answer has one record, at its end: a compressed name, type, class, time to live and the address (RFC 1035, 4.1.3). */
#define RECORD_SIZE 16

static void resolve(char **args)
{
	static const unsigned char head[] = {0, ns_t_a, 0, ns_c_in};
	unsigned char answer[NS_PACKETSZ];
	int length = res_query(args[0], ns_c_in, ns_t_a, answer, sizeof(answer));
	const unsigned char *record = answer + length - RECORD_SIZE;
	char text[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];

	if (length < 0)
		printf("resolve %s: %s\n", args[0], hstrerror(h_errno));
	else if (length < NS_HFIXEDSZ + RECORD_SIZE || memcmp(record + 2, head, sizeof(head)))
		printf("resolve %s: no address at the end of the answer\n", args[0]);
	else
		printf("resolve %s: %s by %s\n", args[0],
			inet_ntop(AF_INET, record + RECORD_SIZE - 4, text, sizeof(text)),
			inet_ntop(AF_INET, &_res.nsaddr_list[0].sin_addr, server, sizeof(server)));
}

static void interface(char **args)
{
	int fd = open_socket(AF_INET, SOCK_DGRAM);
	struct ifreq request = {.ifr_flags = 0};
	const unsigned char *mac = (const unsigned char *)request.ifr_hwaddr.sa_data;
	struct ethtool_value merging = {.cmd = ETHTOOL_GGRO};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", args[0]);
	if (ioctl(fd, SIOCGIFADDR, &request)) {
		printf("interface %s: %s\n", args[0], strerrorname_np(errno));
		close(fd);
		return;
	}
	printf("interface %s: address %s\n", args[0],
		inet_ntoa(((struct sockaddr_in *)&request.ifr_addr)->sin_addr));
	ioctl(fd, SIOCGIFMTU, &request);
	printf("interface %s: mtu %d\n", args[0], request.ifr_mtu);
	ioctl(fd, SIOCGIFHWADDR, &request);
	printf("interface %s: mac %02x:%02x:%02x:%02x:%02x:%02x\n", args[0], mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	request.ifr_data = (void *)&merging;
	if (ioctl(fd, SIOCETHTOOL, &request) == 0)
		printf("interface %s: received packets are %smerged\n", args[0],
			merging.data ? "" : "not ");
	close(fd);
}

static void greet(char **args)
{
	/* passt may forget a client that has gone, and never tell: its end is not waited for long. */
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	int client = next_client(args[0]);

	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	printf("greet %s: %s\n", args[0],
		write(client, "welcome\n", 8) == 8 ? "ok" : strerrorname_np(errno));
	shutdown(client, SHUT_WR);
	while (read(client, (char[64]){0}, 64) > 0)
		;
	close(client);
}

static void interface6(char **args)
{
	struct ifaddrs *list;

	if (getifaddrs(&list)) {
		printf("interface6 %s: %s\n", args[0], strerrorname_np(errno));
		return;
	}
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_in6 *name = (const struct sockaddr_in6 *)i->ifa_addr;
		char text[INET6_ADDRSTRLEN];

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET6 ||
			strcmp(i->ifa_name, args[0]) || IN6_IS_ADDR_LINKLOCAL(&name->sin6_addr))
			continue;
		inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof(text));
		printf("interface6 %s: address %s\n", args[0], text);
	}
	freeifaddrs(list);
}

/* ---- whole frames: for an app with CAP_NET_RAW */

#define SHOUT_PORT 4000

/* What is known of an interface. */
struct link {
	int fd, index;
	uint8_t mac[ETH_ALEN];
	struct in_addr address;
};

struct shout {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
	char tag[32];
} __attribute__((packed));

static struct link open_link(const char *name)
{
	struct ifreq request = {.ifr_flags = 0};
	struct link link = {.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))};
	int fd = open_socket(AF_INET, SOCK_DGRAM);
	struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		perror("SIOCGIFHWADDR");
	memcpy(link.mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFADDR, &request))
		perror("SIOCGIFADDR");
	link.address = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr;
	close(fd);
	where.sll_ifindex = link.index = (int)if_nametoindex(name);
	if (link.fd < 0 || bind(link.fd, (const struct sockaddr *)&where, sizeof(where))) {
		perror("packet socket");
		exit(98);
	}
	return link;
}

static void send_frame(const struct link *link, const void *frame, size_t length)
{
	if (send(link->fd, frame, length, 0) != (ssize_t)length)
		perror("send a frame");
}

static uint16_t ip_checksum(const void *header, size_t length)
{
	const uint16_t *words = header;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static void shout_from(const struct link *link, const uint8_t *mac, struct in_addr address,
	uint16_t type, const char *tag)
{
	struct shout shout = {
		.ethernet.h_proto = htons(type),
		.ip = {.version = 4,
			.ihl = 5,
			.ttl = 1,
			.protocol = IPPROTO_UDP,
			.saddr = address.s_addr,
			.daddr = INADDR_BROADCAST,
			.tot_len = htons(sizeof(shout) - sizeof(shout.ethernet))},
		.udp = {.source = htons(SHOUT_PORT),
			.dest = htons(SHOUT_PORT),
			.len = htons(sizeof(shout.udp) + sizeof(shout.tag))},
	};

	memset(shout.ethernet.h_dest, 0xff, ETH_ALEN);
	memcpy(shout.ethernet.h_source, mac, ETH_ALEN);
	shout.ip.check = ip_checksum(&shout.ip, sizeof(shout.ip));
	snprintf(shout.tag, sizeof(shout.tag), "%s", tag);
	send_frame(link, &shout, sizeof(shout));
}

static void shout(char **args)
{
	const struct link link = open_link(args[0]);

	shout_from(&link, link.mac, link.address, ETH_P_IP, args[1]);
	printf("shout %s: %s\n", args[0], args[1]);
	close(link.fd);
}

/* "other is at": an answer that nobody asked for. */
static void spoof_arp(const struct link *link, struct in_addr other)
{
	struct {
		struct ethhdr ethernet;
		uint16_t hardware, protocol;
		uint8_t hardware_size, protocol_size;
		uint16_t operation;
		uint8_t sender[ETH_ALEN];
		struct in_addr sender_address;
		uint8_t target[ETH_ALEN];
		struct in_addr target_address;
	} __attribute__((packed)) arp = {
		.ethernet.h_proto = htons(ETH_P_ARP),
		.hardware = htons(1),
		.protocol = htons(ETH_P_IP),
		.hardware_size = ETH_ALEN,
		.protocol_size = 4,
		.operation = htons(2),
		.sender_address = other,
		.target_address = other,
	};

	memset(arp.ethernet.h_dest, 0xff, ETH_ALEN);
	memcpy(arp.ethernet.h_source, link->mac, ETH_ALEN);
	memcpy(arp.sender, link->mac, ETH_ALEN);
	send_frame(link, &arp, sizeof(arp));
}

static struct in6_addr link_local(const uint8_t *mac)
{
	return (struct in6_addr){.s6_addr = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff,
					 0xfe, mac[3], mac[4], mac[5]}};
}

/* An advertisement from the pod's own link-local address, of an address or a router that it is not. */
static void spoof_discovery(const struct link *link, uint8_t type)
{
	struct {
		struct ethhdr ethernet;
		struct ip6_hdr ip;
		struct nd_neighbor_advert advert;
	} __attribute__((packed)) frame = {
		.ethernet = {.h_dest = {0x33, 0x33, 0, 0, 0, 1}, .h_proto = htons(ETH_P_IPV6)},
		.ip = {.ip6_plen = htons(sizeof(frame.advert)),
			.ip6_nxt = IPPROTO_ICMPV6,
			.ip6_hlim = 255},
	};

	frame.ip.ip6_vfc = 6 << 4;
	frame.advert.nd_na_type = type;
	inet_pton(AF_INET6, "ff02::1", &frame.ip.ip6_dst);
	inet_pton(AF_INET6, "fd00::bad", &frame.advert.nd_na_target);
	frame.ip.ip6_src = link_local(link->mac);
	memcpy(frame.ethernet.h_source, link->mac, ETH_ALEN);
	send_frame(link, &frame, sizeof(frame));
}

/* The same advertisement in two fragments, the first of which has so many of its bytes. */
static void spoof_fragments(const struct link *link, bool behind_options, size_t first)
{
	struct {
		uint8_t options[8]; /* padding, and what comes behind it */
		struct nd_neighbor_advert advert;
	} __attribute__((packed)) whole = {.options = {IPPROTO_ICMPV6, [2] = 1, 4}};
	const uint8_t *bytes = behind_options ? whole.options : (const uint8_t *)&whole.advert;
	size_t length = sizeof(whole) - (behind_options ? 0 : sizeof(whole.options));
	struct in6_addr local = link_local(link->mac);

	whole.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
	inet_pton(AF_INET6, "fd00::bad", &whole.advert.nd_na_target);
	for (size_t start = 0; start < length; start += first) {
		struct {
			struct ethhdr ethernet;
			struct ip6_hdr ip;
			struct ip6_frag fragment;
			uint8_t bytes[sizeof(whole)];
		} __attribute__((packed)) frame = {
			.ethernet = {.h_dest = {0x33, 0x33, 0, 0, 0, 1},
				.h_proto = htons(ETH_P_IPV6)},
			.ip = {.ip6_nxt = IPPROTO_FRAGMENT, .ip6_hlim = 255},
			.fragment = {.ip6f_ident = htonl(7)},
		};
		size_t size = start ? length - start : first;

		frame.ip.ip6_vfc = 6 << 4;
		frame.ip.ip6_plen = htons((uint16_t)(sizeof(frame.fragment) + size));
		frame.ip.ip6_src = local;
		inet_pton(AF_INET6, "ff02::1", &frame.ip.ip6_dst);
		frame.fragment.ip6f_nxt = behind_options ? IPPROTO_DSTOPTS : IPPROTO_ICMPV6;
		frame.fragment.ip6f_offlg = htons((uint16_t)start) | (start ? 0 : IP6F_MORE_FRAG);
		memcpy(frame.ethernet.h_source, link->mac, ETH_ALEN);
		memcpy(frame.bytes, bytes + start, size);
		send_frame(link, &frame, sizeof(frame) - sizeof(frame.bytes) + size);
		if (start)
			break;
	}
}

static void spoof(char **args)
{
	static const uint8_t other_mac[ETH_ALEN] = {2, 0, 0, 0, 0, 1};
	const struct link link = open_link(args[0]);
	struct in_addr other;

	inet_pton(AF_INET, args[1], &other);
	shout_from(&link, other_mac, link.address, ETH_P_IP, "wrong MAC");
	shout_from(&link, link.mac, other, ETH_P_IP, "wrong address");
	shout_from(&link, link.mac, link.address, 0x88b5, "wrong type");
	spoof_arp(&link, other);
	spoof_discovery(&link, ND_NEIGHBOR_ADVERT);
	spoof_discovery(&link, ND_ROUTER_ADVERT);
	/* The type in the second; the type in the first, but the address in the second. */
	spoof_fragments(&link, true, 8);
	spoof_fragments(&link, false, 8);
	printf("spoof %s: done\n", args[0]);
	close(link.fd);
}

/*
 * What a bridge has to tell all: questions of ARP and of neighbour discovery, and who is in which multicast group. And
 * fragments that are not the first: without that they are nothing.
 */
static bool is_for_everybody(const uint8_t *frame, size_t length)
{
	const struct ethhdr *ethernet = (const struct ethhdr *)frame;
	size_t icmp = sizeof(*ethernet) + sizeof(struct ip6_hdr);

	if (ethernet->h_proto == htons(ETH_P_ARP))
		return frame[21] == 1;
	if (ethernet->h_proto == htons(ETH_P_IP))
		return ethernet->h_dest[0] & 1 && frame[23] == IPPROTO_IGMP;
	if (ethernet->h_proto != htons(ETH_P_IPV6) || !(ethernet->h_dest[0] & 1) ||
		length <= icmp + sizeof(struct ip6_frag))
		return false;
	if (frame[20] == IPPROTO_FRAGMENT)
		return (frame[icmp + 2] << 8 | frame[icmp + 3]) & 0xfff8;
	return frame[20] != IPPROTO_ICMPV6 ||
		(frame[icmp] != ND_NEIGHBOR_ADVERT && frame[icmp] != ND_ROUTER_ADVERT);
}

/* True: it was "end". */
static bool say_overheard(const struct link *link, const void *data, size_t length)
{
	const struct shout *shout = data;

	if (length < sizeof(shout->ethernet) ||
		!memcmp(shout->ethernet.h_source, link->mac, ETH_ALEN) ||
		!memcmp(shout->ethernet.h_dest, link->mac, ETH_ALEN))
		return false;
	if (length == sizeof(*shout) && shout->udp.dest == htons(SHOUT_PORT)) {
		printf("overheard: %.*s\n", (int)sizeof(shout->tag), shout->tag);
		return !strcmp(shout->tag, "end");
	}
	if (is_for_everybody(data, length))
		return false;
	printf("overheard: a frame of type %04x to %s\n", ntohs(shout->ethernet.h_proto),
		shout->ethernet.h_dest[0] & 1 ? "all" : "another");
	return false;
}

static void overhear(char **args)
{
	const struct link link = open_link(args[0]);
	static uint8_t frame[65536];
	ssize_t n;

	printf("overhear %s: listening\n", args[0]);
	do
		n = recv(link.fd, frame, sizeof(frame), 0);
	while (n > 0 && !say_overheard(&link, frame, (size_t)n));
	close(link.fd);
}

static const struct {
	const char *verb;
	int count;
	void (*run)(char **args);
} verbs[] = {
	{"connect", 2, connect_to},
	{"fetch", 2, fetch},
	{"ask", 2, ask},
	{"resolve", 1, resolve},
	{"serve", 1, serve},
	{"serve-all", 1, serve_all},
	{"udp-serve", 1, udp_serve},
	{"echo", 1, echo},
	{"exchange", 2, exchange},
	{"interface", 1, interface},
	{"interface6", 1, interface6},
	{"greet", 1, greet},
	{"shout", 2, shout},
	{"spoof", 2, spoof},
	{"overhear", 1, overhear},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc;) {
		size_t verb = 0;

		while (verb < sizeof(verbs) / sizeof(verbs[0]) && strcmp(verbs[verb].verb, argv[i]))
			verb++;
		if (verb == sizeof(verbs) / sizeof(verbs[0]) || i + verbs[verb].count >= argc) {
			fprintf(stderr, "network: no such verb, or too few words: %s\n", argv[i]);
			return 97;
		}
		verbs[verb].run(argv + i + 1);
		i += 1 + verbs[verb].count;
	}
	return 0;
}
