/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the metadata service for the functional tests: runs the commands it is given, one after the
 * other, each a request or several, and prints one line for each answer: "PATH: STATUS [CONTENT-TYPE] BODY".
 * Newlines of a body are printed as blanks. The end of a connection without an answer is status 0.
 *
 *   metadata COMMAND ARGUMENT... COMMAND ARGUMENT... ...
 *
 * Paths are below $AC_METADATA_URL; one that begins with '!' is below the server. In the words of a request
 * {token} stands for the URL's path, {last} for the body of the last answer, percent-encoded, {n} for CRLF.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SCHEME     "http://"
#define BASE       "/acMetadata/v1"
#define TEXT_MAX   (1u << 20)
#define ENCODED    (3 * TEXT_MAX + 1)
#define NANOSECOND 1000000000ll

struct answer {
	unsigned int status;
	char type[128];
	char *body; /* in text */
	size_t length;
	char text[TEXT_MAX];
};

#define HTTP_VERSION "HTTP/1.1 "

static char host[64], token[256], last[ENCODED];
static unsigned int port;
static struct answer answer;
static unsigned int limit_ms; /* 0: none */
static int64_t slowest;       /* nanoseconds */

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NANOSECOND + time.tv_nsec;
}

static bool url_parse(void)
{
	const char *url = getenv("AC_METADATA_URL");

	char *rest;
	size_t length;

	if (!url || strncmp(url, SCHEME, strlen(SCHEME)))
		return false;
	url += strlen(SCHEME);
	length = strcspn(url, ":/");
	if (url[length] != ':' || length >= sizeof(host))
		return false;
	memcpy(host, url, length);
	port = (unsigned int)strtoul(url + length + 1, &rest, 10);
	snprintf(token, sizeof(token), "%s", rest);
	return *token == '/';
}

static int server_connect(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval limit = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &address.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Replaces the words in braces. */
static char *words_replace(const char *text)
{
	static char out[ENCODED + TEXT_MAX];
	size_t length = 0;

	while (*text) {
		const char *word = NULL;
		size_t used = 1;

		if (!strncmp(text, "{token}", 7)) {
			word = token;
			used = 7;
		} else if (!strncmp(text, "{last}", 6)) {
			word = last;
			used = 6;
		} else if (!strncmp(text, "{n}", 3)) {
			word = "\r\n";
			used = 3;
		}
		if (word) {
			memcpy(out + length, word, strlen(word));
			length += strlen(word);
		} else {
			out[length++] = *text;
		}
		text += used;
	}
	out[length] = '\0';
	return out;
}

static void last_set(void)
{
	char *out = last;

	for (size_t i = 0; i < answer.length; i++)
		out += sprintf(out, "%%%02X", (unsigned char)answer.body[i]);
	*out = '\0';
}

/* Reads one answer, with a body unless it is one to HEAD. */
static void answer_read(int fd, bool has_body)
{
	size_t have = 0, head = 0, length = 0;
	char *field;

	answer.status = 0;
	answer.type[0] = '\0';
	answer.body = answer.text;
	answer.length = 0;
	for (;;) {
		ssize_t n = read(fd, answer.text + have, TEXT_MAX - 1 - have);

		if (n <= 0)
			return;
		have += (size_t)n;
		answer.text[have] = '\0';
		if (!head && (field = strstr(answer.text, "\r\n\r\n")))
			head = (size_t)(field - answer.text) + 4;
		if (!head)
			continue;
		field = strcasestr(answer.text, "\r\nContent-Length: ");
		length = field && has_body ? strtoul(field + 18, NULL, 10) : 0;
		if (have >= head + length)
			break;
	}
	if (!strncmp(answer.text, HTTP_VERSION, strlen(HTTP_VERSION)))
		answer.status = (unsigned int)strtoul(answer.text + strlen(HTTP_VERSION), NULL, 10);
	field = strcasestr(answer.text, "\r\nContent-Type: ");
	if (field && field < answer.text + head)
		sscanf(field, "\r\nContent-Type: %127[^\r]", answer.type);
	answer.body = answer.text + head;
	answer.length = length;
}

static void answer_show(const char *what)
{
	printf("%s: %u [%s] ", what, answer.status, answer.type);
	for (size_t i = 0; i < answer.length; i++)
		putchar(answer.body[i] == '\n' ? ' ' : answer.body[i]);
	putchar('\n');
}

/* Sends a request and takes its answer, on fd, or on a connection of its own. */
static void request_send(int fd, const char *request, bool has_body)
{
	int64_t start = now();
	int own = fd < 0 ? server_connect() : fd;

	answer.status = 0;
	answer.length = 0;
	if (own < 0)
		return;
	if (write(own, request, strlen(request)) == (ssize_t)strlen(request))
		answer_read(own, has_body);
	if (fd < 0)
		close(own);
	if (now() - start > slowest)
		slowest = now() - start;
	last_set();
}

static void request_method(int fd, const char *method, const char *path)
{
	char request[4096];

	snprintf(request, sizeof(request),
		"%s %s%s%s HTTP/1.1\r\nHost: %s:%u\r\nMetadata-Flavor: AppContainer\r\n\r\n",
		method, *path == '!' ? "" : token, *path == '!' ? "" : BASE,
		*path == '!' ? path + 1 : path, host, port);
	request_send(fd, request, strcmp(method, "HEAD") != 0);
}

static void request_form(const char *path, const char *form)
{
	static char request[ENCODED + TEXT_MAX + 4096];
	const char *body = words_replace(form);

	snprintf(request, sizeof(request),
		"POST %s" BASE "%s HTTP/1.1\r\nHost: %s:%u\r\nContent-Length: %zu\r\n"
		"Content-Type: application/x-www-form-urlencoded\r\n\r\n%s",
		token, path, host, port, strlen(body), body);
	request_send(-1, request, true);
}

/* url: without the token's digits. */
static void url(char **args)
{
	size_t digits = strspn(token + 1, "0123456789abcdef");

	(void)args;
	printf("url: " SCHEME "%s:%u/ and %zu digits%s\n", host, port, digits, token + 1 + digits);
}

static void get(char **args)
{
	request_method(-1, "GET", args[0]);
	answer_show(args[0]);
}

/* method METHOD PATH */
static void method(char **args)
{
	request_method(-1, args[0], args[1]);
	answer_show(args[1]);
}

/* form PATH FORM */
static void form(char **args)
{
	request_form(args[0], args[1]);
	answer_show(args[0]);
}

/* raw REQUEST */
static void raw(char **args)
{
	request_send(-1, words_replace(args[0]), true);
	answer_show("raw");
}

/* repeat N PATH: each on a connection of its own; keep N PATH: all on one. */
static void repeat_on(int fd, char **args)
{
	long count = strtol(args[0], NULL, 10), right = 0;

	for (long i = 0; i < count; i++) {
		request_method(fd, "GET", args[1]);
		right += answer.status == 200;
	}
	printf("%ld of %ld answered\n", right, count);
}

static void repeat(char **args)
{
	repeat_on(-1, args);
}

static void keep(char **args)
{
	int fd = server_connect();

	repeat_on(fd, args);
	close(fd);
}

/* hold N: so many connections that begin a request and never end it. */
static void hold(char **args)
{
	for (long i = strtol(args[0], NULL, 10); i > 0; i--) {
		int fd = server_connect();

		if (fd < 0 || write(fd, "GET /", 5) != 5)
			perror("hold");
	}
}

/* within MS: from now on an answer must come in that time. */
static void within(char **args)
{
	limit_ms = (unsigned int)strtoul(args[0], NULL, 10);
}

static void show_slowest(char **args)
{
	(void)args;
	printf("slowest: %lld us\n", (long long)(slowest / 1000));
}

/* listen PORT: as a server of the pod would, on all addresses. */
static void listen_on(char **args)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(args[0], NULL, 10)),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	printf("listen %s: %s\n", args[0],
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0
			? "refused"
			: "ok");
	close(fd);
}

static void say(char **args)
{
	puts(args[0]);
}

static const struct command {
	const char *name;
	int arguments;
	void (*run)(char **args);
} commands[] = {
	{"url", 0, url},
	{"get", 1, get},
	{"method", 2, method},
	{"form", 2, form},
	{"raw", 1, raw},
	{"repeat", 2, repeat},
	{"keep", 2, keep},
	{"hold", 1, hold},
	{"within", 1, within},
	{"slowest", 0, show_slowest},
	{"listen", 1, listen_on},
	{"say", 1, say},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	if (!url_parse()) {
		fprintf(stderr, "metadata: no AC_METADATA_URL\n");
		return 97;
	}
	for (int i = 1; i < argc;) {
		const struct command *command = NULL;

		for (size_t j = 0; j < sizeof(commands) / sizeof(*commands); j++)
			if (!strcmp(argv[i], commands[j].name))
				command = &commands[j];
		if (!command || i + command->arguments >= argc) {
			fprintf(stderr, "metadata: %s: no such command, or too few arguments\n",
				argv[i]);
			return 97;
		}
		command->run(&argv[i + 1]);
		i += 1 + command->arguments;
	}
	return 0;
}
