// SPDX-License-Identifier: Apache-2.0
/*
 * metadata.c: the metadata service's HTTP.
 *
 * Theory of operation: what a request costs is guest kernel instructions, so there are few system calls. The
 * listening socket is made before a machine is parked. A connection is accepted when its first bytes are
 * there (TCP_DEFER_ACCEPT), read at once, answered by one write, and only then watched, for the next request.
 * Events are edge-triggered: a connection is read when they say so, not to see whether there is more.
 *
 * The clients are hostile. A connection takes bounded memory and time, and when all places are taken the one
 * that has kept its place waiting the longest gives it up; so an app can hold up the others of its pod, but not
 * PID 1. The host gets one request at a time, and none while too many answers are waiting to be read.
 */
#include "guest-init/metadata.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/hmac.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define INPUT_ROOM   2048u
#define INPUT_MAX    (HTTP_HEAD_MAX + HTTP_BODY_MAX)
#define BACKLOG      64
#define DEFER_S      2
#define HELD_MAX     (1u << 20)
#define REQUESTS_MAX 16 /* of one connection before others have their turn */
#define UUID_MAX     64u

#define BASE_PATH  "/acMetadata/v1/"
#define JSON_TYPE  "application/json"
#define ASCII_TYPE "text/plain; charset=us-ascii"

static const struct {
	const char *path;
	enum guest_metadata_endpoint endpoint;
} endpoints[] = {
	{"pod/annotations", GUEST_METADATA_GET},
	{"pod/manifest", GUEST_METADATA_GET},
	{"pod/uuid", GUEST_METADATA_UUID},
	{"pod/hmac/sign", GUEST_METADATA_SIGN},
	{"pod/hmac/verify", GUEST_METADATA_VERIFY},
};

/* #syscalls: socket setsockopt bind listen */
int guest_metadata_open(struct guest_metadata *metadata, struct guest *guest)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(WIRE_METADATA_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int yes = 1, seconds = DEFER_S;
	int r;

	*metadata = (struct guest_metadata){.guest = guest, .listen_fd = -1};
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++)
		metadata->connections[i].fd = -1;
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) < 0 ||
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	r = guest_watch(guest, fd, EPOLLIN, GUEST_EVENT_METADATA, 0);
	if (r == 0)
		metadata->listen_fd = TAKE_FD(fd);
	return r;
}

void guest_metadata_identify(struct guest_metadata *metadata, const struct guest_instance *instance)
{
	uint8_t token[GUEST_METADATA_TOKEN_SIZE];

	guest_secret_derive(instance->entropy, "appc-vm metadata token", 0, token, sizeof(token));
	hex_write(token, sizeof(token), metadata->token);
	explicit_bzero(token, sizeof(token));
	snprintf(metadata->uuid, sizeof(metadata->uuid), "%s", instance->uuid);
	snprintf(metadata->variable, sizeof(metadata->variable),
		"AC_METADATA_URL=http://127.0.0.1:%d/%s", WIRE_METADATA_PORT, metadata->token);
}

void guest_metadata_rename(struct guest_metadata *metadata, const char *uuid)
{
	snprintf(metadata->uuid, sizeof(metadata->uuid), "%s", uuid);
}

/* ---- connections */

static void output_drop(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	metadata->held -= c->output_length;
	free(TAKE_PTR(c->output));
	c->output_length = c->written = 0;
}

static void connection_close(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	output_drop(metadata, c);
	free(c->input);
	close(c->fd);
	if (metadata->asked == c)
		metadata->asked = NULL;
	*c = (struct guest_metadata_connection){.fd = -1};
	metadata->connection_count--;
}

void guest_metadata_close(struct guest_metadata *metadata)
{
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++)
		if (metadata->connections[i].state != GUEST_METADATA_FREE)
			connection_close(metadata, &metadata->connections[i]);
	cleanup_close(&metadata->listen_fd);
	metadata->listen_fd = -1;
}

static void connection_state_set(struct guest_metadata *metadata,
	struct guest_metadata_connection *c, enum guest_metadata_state state, unsigned int ms)
{
	c->state = state;
	c->order = ++metadata->last_order;
	c->deadline_ms = ms ? metadata->now_ms + ms : 0;
}

/* Composes the answer; the caller has it written. Without memory the connection ends. */
static void connection_answer(struct guest_metadata *metadata, struct guest_metadata_connection *c,
	unsigned int status, const char *content_type, const char *body, size_t length,
	const char *fields)
{
	bool has_body = c->request.method != HTTP_HEAD;
	char head[512];
	int n;

	n = snprintf(head, sizeof(head),
		"HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Metadata-Flavor: AppContainer\r\n%sConnection: %s\r\n\r\n",
		status, http_reason(status), content_type, length, fields,
		c->closes ? "close" : "keep-alive");
	c->output = malloc((size_t)n + length);
	if (!c->output) {
		connection_close(metadata, c);
		return;
	}
	memcpy(c->output, head, (size_t)n);
	c->output_length = (size_t)n;
	if (has_body) {
		memcpy(c->output + n, body, length);
		c->output_length += length;
	}
	metadata->held += c->output_length;
	connection_state_set(metadata, c, GUEST_METADATA_WRITING, GUEST_METADATA_REQUEST_MS);
}

static void connection_refuse(struct guest_metadata *metadata, struct guest_metadata_connection *c,
	enum http_status status, const char *why, const char *fields)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "%s\n", why);

	connection_answer(metadata, c, status, ASCII_TYPE, body, (size_t)n, fields);
}

/* ---- requests */

/*
 * What follows the token and the base path in metadata->path; NULL where the token is wrong, "" where the
 * rest is.
 */
static const char *path_authorize(const struct guest_metadata *metadata)
{
	const size_t length = sizeof(metadata->token) - 1;
	const char *path = metadata->path;

	if (!metadata->token[0] || strlen(path) < 1 + length ||
		!memory_is_equal(path + 1, metadata->token, length))
		return NULL;
	path += 1 + length;
	if (*path && *path != '/')
		return NULL;
	return strncmp(path, BASE_PATH, strlen(BASE_PATH)) ? "" : path + strlen(BASE_PATH);
}

static bool endpoint_find(const char *path, enum guest_metadata_endpoint *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		if (strcmp(path, endpoints[i].path))
			continue;
		*ret = endpoints[i].endpoint;
		return true;
	}
	if (strncmp(path, "apps/", 5))
		return false;
	/* App names and the names of annotations are printable; which of them exist the host knows. */
	for (const char *c = path; *c; c++)
		if (*c < '!' || *c > '~')
			return false;
	*ret = GUEST_METADATA_GET;
	return true;
}

/* The request's path, decoded, in metadata->path. */
static int path_read(struct guest_metadata *metadata, const struct guest_metadata_connection *c)
{
	return http_path_decode(c->input + c->request.path_offset, c->request.path_length,
		metadata->path, sizeof(metadata->path));
}

/* A whole request: answers it, or queues it for the host. */
static void request_handle(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	const char *rest;

	if (path_read(metadata, c) < 0) {
		connection_refuse(metadata, c, HTTP_BAD_REQUEST, "the path is not well-formed", "");
		return;
	}
	rest = path_authorize(metadata);
	if (!rest) {
		connection_refuse(metadata, c, HTTP_UNAUTHORIZED,
			"the path does not begin with this pod's token", "");
		return;
	}
	if (!endpoint_find(rest, &c->endpoint)) {
		connection_refuse(metadata, c, HTTP_NOT_FOUND, "there is no such entry", "");
		return;
	}
	if (c->endpoint == GUEST_METADATA_SIGN || c->endpoint == GUEST_METADATA_VERIFY) {
		if (c->request.method != HTTP_POST) {
			connection_refuse(metadata, c, HTTP_METHOD_NOT_ALLOWED,
				"this entry is for POST", "Allow: POST\r\n");
			return;
		}
	} else if (c->request.method != HTTP_GET && c->request.method != HTTP_HEAD) {
		connection_refuse(metadata, c, HTTP_METHOD_NOT_ALLOWED, "this entry is for GET",
			"Allow: GET, HEAD\r\n");
		return;
	}
	if (c->endpoint == GUEST_METADATA_UUID)
		connection_answer(metadata, c, HTTP_OK, ASCII_TYPE, metadata->uuid,
			strlen(metadata->uuid), "");
	else
		connection_state_set(metadata, c, GUEST_METADATA_QUEUED, 0);
}

/* A field of the form as a string; NULL where it is missing or not one. The caller frees it. */
static char *form_string(const struct guest_metadata_connection *c, const char *name)
{
	size_t room = c->request.body_length + 1;
	_cleanup_free_ char *value = malloc(room);
	ssize_t length = value ? http_form_get(c->input + c->request.head_length,
					 c->request.body_length, name, value)
			       : -ENOMEM;

	if (length < 0 || memchr(value, '\0', (size_t)length))
		return NULL;
	value[length] = '\0';
	return TAKE_PTR(value);
}

/* What is wrong with a request to verify, or NULL. */
static const char *verify_check(const char *uuid, char *signature)
{
	_cleanup_free_ char *bytes = NULL;

	if (!uuid || strlen(uuid) > UUID_MAX || uuid[strspn(uuid, "0123456789abcdefABCDEF-")])
		return "the form has no \"uuid\" that is one";
	bytes = signature ? strdup(signature) : NULL;
	if (!bytes || base64_decode(signature, strlen(signature), bytes) < 0)
		return "the form has no \"signature\" in base 64";
	return NULL;
}

static int verify_send(struct guest_outbox *outbox, const struct guest_metadata_connection *c,
	const char *content, size_t length, const char **ret_why)
{
	/* The specification says uuid, clients of its early versions uid. */
	_cleanup_free_ char *uuid = form_string(c, "uuid"), *uid = form_string(c, "uid");
	_cleanup_free_ char *signature = form_string(c, "signature");

	if (!uuid)
		uuid = TAKE_PTR(uid);
	*ret_why = verify_check(uuid, signature);
	if (*ret_why)
		return -EINVAL;
	return guest_send_metadata_verify(outbox, content, length, uuid, signature);
}

/* -EINVAL: the form is not right, *ret_why says why. Other errors: it could not be sent. */
static int form_send(struct guest_outbox *outbox, const struct guest_metadata_connection *c,
	const char **ret_why)
{
	_cleanup_free_ char *content = malloc(c->request.body_length + 1);
	ssize_t length;

	if (!content)
		return -ENOMEM;
	*ret_why = "the body is not a form (Content-Type: application/x-www-form-urlencoded)";
	if (!c->request.is_form)
		return -EINVAL;
	length = http_form_get(
		c->input + c->request.head_length, c->request.body_length, "content", content);
	*ret_why = "the form has no \"content\"";
	if (length < 0)
		return -EINVAL;
	if (c->endpoint == GUEST_METADATA_VERIFY)
		return verify_send(outbox, c, content, (size_t)length, ret_why);
	return guest_send_metadata_sign(outbox, content, (size_t)length);
}

static int get_send(struct guest_metadata *metadata, const struct guest_metadata_connection *c)
{
	int r = path_read(metadata, c);

	return r < 0 ? r
		     : guest_send_metadata_get(&metadata->guest->outbox, path_authorize(metadata));
}

/* Asks the host, or refuses what need not be asked. */
static void request_ask(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	struct guest_outbox *outbox = &metadata->guest->outbox;
	const char *why = "the request is not well-formed";
	int r;

	r = c->endpoint == GUEST_METADATA_GET ? get_send(metadata, c) : form_send(outbox, c, &why);
	if (r == -EINVAL) {
		connection_refuse(metadata, c, HTTP_BAD_REQUEST, why, "");
		return;
	}
	if (r < 0) {
		connection_refuse(metadata, c, HTTP_INTERNAL_ERROR, strerror(-r), "");
		return;
	}
	connection_state_set(metadata, c, GUEST_METADATA_ASKED, 0);
	metadata->is_asked = true;
	metadata->asked = c;
}

/* ---- reading and writing */

static int input_reserve(struct guest_metadata_connection *c)
{
	size_t room = c->room ? 2 * c->room : INPUT_ROOM;
	char *input;

	if (c->length < c->room)
		return 0;
	if (room > INPUT_MAX)
		room = INPUT_MAX;
	if (room == c->room)
		return -EMSGSIZE;
	input = realloc(c->input, room);
	if (!input)
		return -ENOMEM;
	c->input = input;
	c->room = room;
	return 0;
}

/* Returns false where the connection has come to its end. */
static bool input_read(struct guest_metadata_connection *c)
{
	size_t wanted;
	ssize_t n;

	if (input_reserve(c) < 0)
		return false;
	wanted = c->room - c->length;
	n = read(c->fd, c->input + c->length, wanted);
	if (n < 0) {
		c->is_readable = false;
		return errno == EAGAIN || errno == EINTR;
	}
	c->length += (size_t)n;
	/* The end of a stream that came with its last bytes is not told again. */
	if ((size_t)n < wanted && !c->is_ended)
		c->is_readable = false;
	return n > 0;
}

/* Reads what has come of a request; false: that is not all of it yet. */
static bool request_read(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
	enum http_status status;
	int r = http_request_parse(c->input, c->length, &c->request, &status);

	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		c->closes = true;
		connection_refuse(metadata, c, status, http_reason(status), "");
		return true;
	}
	if (c->length - c->request.head_length < c->request.body_length) {
		/* That the client has gone shows when we read. */
		if (c->request.expects_continue && !c->was_continued &&
			send(c->fd, proceed, sizeof(proceed) - 1, MSG_NOSIGNAL) < 0)
			errno = 0;
		c->was_continued = true;
		return false;
	}
	c->closes = !c->request.keep_alive;
	request_handle(metadata, c);
	return true;
}

/* Takes the answered request out of the input. */
static void request_finish(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	size_t used = c->request.head_length + c->request.body_length;

	output_drop(metadata, c);
	if (c->closes) {
		connection_close(metadata, c);
		return;
	}
	c->length -= used;
	memmove(c->input, c->input + used, c->length);
	c->was_continued = false;
	connection_state_set(metadata, c, GUEST_METADATA_READING,
		c->length ? GUEST_METADATA_REQUEST_MS : GUEST_METADATA_IDLE_MS);
}

/* Returns false when the client takes no more for now. */
static bool output_write(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	ssize_t n = send(c->fd, c->output + c->written, c->output_length - c->written,
		MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		connection_close(metadata, c);
		return true;
	}
	if (n > 0) {
		c->written += (size_t)n;
		c->deadline_ms = metadata->now_ms + GUEST_METADATA_REQUEST_MS;
	}
	if (c->written < c->output_length)
		return false;
	request_finish(metadata, c);
	return true;
}

static void connection_watch(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET;
	bool needs_room = c->state == GUEST_METADATA_WRITING;

	if (c->is_watched && (c->is_watched_for_room || !needs_room))
		return;
	if (c->is_watched)
		guest_unwatch(metadata->guest, c->fd);
	c->is_watched = true;
	c->is_watched_for_room = needs_room;
	if (guest_watch(metadata->guest, c->fd, needs_room ? events | EPOLLOUT : events,
		    GUEST_EVENT_METADATA, (uint32_t)(c - metadata->connections) + 1) < 0)
		connection_close(metadata, c);
}

/* Goes as far as it can without the host and without waiting. */
static void connection_proceed(struct guest_metadata *metadata, struct guest_metadata_connection *c)
{
	bool is_going = true;
	int answers = 0;

	c->is_pending = false;
	while (is_going && answers < REQUESTS_MAX) {
		switch (c->state) {
		case GUEST_METADATA_READING:
			if (c->length > 0 && request_read(metadata, c))
				break;
			is_going = c->is_readable;
			if (is_going && c->length == 0)
				c->deadline_ms = metadata->now_ms + GUEST_METADATA_REQUEST_MS;
			if (is_going && !input_read(c))
				connection_close(metadata, c);
			break;
		case GUEST_METADATA_WRITING:
			is_going = output_write(metadata, c);
			answers++;
			break;
		case GUEST_METADATA_FREE:
			return;
		default:
			is_going = false;
		}
	}
	if (c->state == GUEST_METADATA_FREE)
		return;
	c->is_pending = is_going;
	connection_watch(metadata, c);
}

/* ---- all connections */

/* The one of those in a state that has been in it the longest; NULL: none is. */
static struct guest_metadata_connection *connection_oldest(
	struct guest_metadata *metadata, enum guest_metadata_state state)
{
	struct guest_metadata_connection *oldest = NULL;

	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		struct guest_metadata_connection *c = &metadata->connections[i];

		if (c->state == state && (!oldest || c->order < oldest->order))
			oldest = c;
	}
	return oldest;
}

static void metadata_ask(struct guest_metadata *metadata)
{
	struct guest_metadata_connection *c;

	while (!metadata->is_asked && metadata->held <= HELD_MAX &&
		(c = connection_oldest(metadata, GUEST_METADATA_QUEUED))) {
		request_ask(metadata, c);
		connection_proceed(metadata, c);
	}
}

/* A free place, which another may have to give up; NULL: all wait for the host. */
static struct guest_metadata_connection *place_take(struct guest_metadata *metadata)
{
	struct guest_metadata_connection *c = connection_oldest(metadata, GUEST_METADATA_FREE);

	if (c)
		return c;
	c = connection_oldest(metadata, GUEST_METADATA_READING);
	if (!c)
		c = connection_oldest(metadata, GUEST_METADATA_WRITING);
	if (c)
		connection_close(metadata, c);
	return c;
}

/* #syscalls: accept4 */
static void connection_accept(struct guest_metadata *metadata)
{
	/* cppcheck-suppress nullPointer */
	int fd = accept4(metadata->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct guest_metadata_connection *c;

	if (fd < 0)
		return;
	c = place_take(metadata);
	if (!c) {
		close(fd);
		return;
	}
	*c = (struct guest_metadata_connection){.fd = fd, .is_readable = true};
	metadata->connection_count++;
	connection_state_set(metadata, c, GUEST_METADATA_READING, GUEST_METADATA_REQUEST_MS);
	connection_proceed(metadata, c);
}

void guest_metadata_ready(struct guest_metadata *metadata, uint32_t index, uint32_t events)
{
	metadata->now_ms = guest_now_ms();
	if (index == 0) {
		connection_accept(metadata);
	} else {
		struct guest_metadata_connection *c = &metadata->connections[index - 1];

		/* Its place may have been given away since. */
		if (c->state == GUEST_METADATA_FREE)
			return;
		if (events & ~(uint32_t)EPOLLOUT)
			c->is_readable = true;
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->is_ended = true;
		connection_proceed(metadata, c);
	}
	metadata_ask(metadata);
}

int guest_metadata_answered(struct guest_metadata *metadata, json_t *message, struct error *err)
{
	struct guest_metadata_connection *c = metadata->asked;
	struct guest_metadata_answer answer;
	int r = guest_metadata_parse(message, &answer, err);

	if (r < 0)
		return r;
	metadata->now_ms = guest_now_ms();
	if (!metadata->is_asked)
		return error_set(err, -EBADMSG, "metadata: an answer that nobody asked for");
	metadata->is_asked = false;
	metadata->asked = NULL;
	if (c) {
		connection_answer(metadata, c, answer.status, answer.content_type, answer.body,
			answer.body_length, "");
		connection_proceed(metadata, c);
	}
	metadata_ask(metadata);
	return 0;
}

void guest_metadata_proceed(struct guest_metadata *metadata)
{
	if (metadata->connection_count == 0)
		return;
	metadata->now_ms = guest_now_ms();
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		struct guest_metadata_connection *c = &metadata->connections[i];

		if (c->is_pending)
			connection_proceed(metadata, c);
		if (c->deadline_ms && metadata->now_ms >= c->deadline_ms)
			connection_close(metadata, c);
	}
	metadata_ask(metadata);
}

int guest_metadata_timeout_ms(const struct guest_metadata *metadata)
{
	uint64_t soonest = UINT64_MAX;

	if (metadata->connection_count == 0)
		return -1;
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		const struct guest_metadata_connection *c = &metadata->connections[i];

		if (c->is_pending)
			return 0;
		if (c->deadline_ms && c->deadline_ms < soonest)
			soonest = c->deadline_ms;
	}
	if (soonest == UINT64_MAX)
		return -1;
	return soonest > metadata->now_ms ? (int)(soonest - metadata->now_ms) : 0;
}
