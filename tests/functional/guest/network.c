// SPDX-License-Identifier: Apache-2.0
/*
 * network.c: a guest program that uses the pod's network.
 *
 *   connect ADDRESS PORT   says what the server says first, or why there is none
 *   serve PORT             answers what the next client says by "from the pod", and says that it came
 *   echo PORT              sends the next client all that it sends, to its end
 *   ask ADDRESS PORT       sends a datagram and says what comes back
 *   interface NAME         says its address, its MAC address and its MTU
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_SECONDS 20

static struct sockaddr_in address_of(const char *address, const char *port)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
	};

	inet_pton(AF_INET, address, &name.sin_addr);
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

static int open_socket(int type)
{
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit))) {
		perror("socket");
		exit(98);
	}
	return fd;
}

static void connect_to(char **args)
{
	const struct sockaddr_in name = address_of(args[0], args[1]);
	int fd = open_socket(SOCK_STREAM);

	if (connect(fd, (const struct sockaddr *)&name, sizeof(name)))
		printf("connect %s: %s\n", args[0], strerrorname_np(errno));
	else
		say_answer("connect", args, fd);
	close(fd);
}

static void ask(char **args)
{
	const struct sockaddr_in name = address_of(args[0], args[1]);
	int fd = open_socket(SOCK_DGRAM);

	if (connect(fd, (const struct sockaddr *)&name, sizeof(name)) ||
		write(fd, "question\n", 9) != 9)
		printf("ask %s: %s\n", args[0], strerrorname_np(errno));
	else
		say_answer("ask", args, fd);
	close(fd);
}

static int next_client(const char *port)
{
	const struct sockaddr_in name = address_of("0.0.0.0", port);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	if (setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
		bind(server, (const struct sockaddr *)&name, sizeof(name)) || listen(server, 1)) {
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

static void echo(char **args)
{
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
	close(client);
}

static void interface(char **args)
{
	int fd = open_socket(SOCK_DGRAM);
	struct ifreq request = {.ifr_flags = 0};
	const unsigned char *mac = (const unsigned char *)request.ifr_hwaddr.sa_data;

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
	close(fd);
}

static const struct {
	const char *verb;
	int count;
	void (*run)(char **args);
} verbs[] = {
	{"connect", 2, connect_to},
	{"ask", 2, ask},
	{"serve", 1, serve},
	{"echo", 1, echo},
	{"interface", 1, interface},
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
