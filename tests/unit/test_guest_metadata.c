// SPDX-License-Identifier: Apache-2.0
/* test_guest_metadata.c: the metadata service's HTTP, between real sockets and a host that is the test. */
#include "guest-init/metadata.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define UUID       "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
#define ANSWER_MAX (4u << 20)
#define WAIT_MS    30000

struct fixture {
	struct guest guest;
	struct guest_metadata metadata;
	int host_fd; /* the other end of the control stream */
	struct wire_reader host;
	char text[ANSWER_MAX];
};

/* A loopback interface of each test's own: no port of the host's, or of the test before, is in use. */
static int network_enter(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
	_cleanup_close_ int fd = -1;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

static int service_open(void **state)
{
	struct guest_instance instance = {.uuid = UUID, .entropy = {1, 2, 3}};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int fds[2];

	if (network_enter() < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	fixture->host_fd = fds[0];
	fixture->guest.control_fd = fixture->guest.outbox.fd = fds[1];
	fixture->guest.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	wire_reader_init(&fixture->host, WIRE_FRAME_MAX_FROM_GUEST);
	if (guest_metadata_open(&fixture->metadata, &fixture->guest) < 0)
		return -1;
	guest_metadata_identify(&fixture->metadata, &instance);
	*state = fixture;
	return 0;
}

static int service_close(void **state)
{
	struct fixture *fixture = *state;

	guest_metadata_close(&fixture->metadata);
	wire_reader_done(&fixture->host);
	free(fixture->guest.outbox.frames);
	close(fixture->host_fd);
	close(fixture->guest.control_fd);
	close(fixture->guest.epoll_fd);
	free(fixture);
	return 0;
}

/* One turn of PID 1's loop. Returns whether something was done. */
static bool service_turn(struct fixture *fixture, int timeout)
{
	struct epoll_event events[16];
	int n = epoll_wait(fixture->guest.epoll_fd, events, 16, timeout);
	bool is_pending;

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		guest_metadata_ready(
			&fixture->metadata, (uint32_t)(events[i].data.u64 >> 32), events[i].events);
	is_pending = guest_metadata_timeout_ms(&fixture->metadata) == 0;
	guest_metadata_proceed(&fixture->metadata);
	assert_int_equal(guest_outbox_flush(&fixture->guest.outbox), 0);
	return n > 0 || is_pending;
}

/* The loop as long as there is something to do. What was sent may still be on its way. */
static void service_run(struct fixture *fixture)
{
	while (service_turn(fixture, 0))
		;
}

/* The loop until fd can be read. */
static void service_wait(struct fixture *fixture, int fd)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = POLLIN},
		{.fd = fixture->guest.epoll_fd, .events = POLLIN},
	};

	service_run(fixture);
	while (poll(fds, 1, 0) == 0) {
		if (poll(fds, 2, WAIT_MS) == 0)
			fail_msg("no answer within %d s", WAIT_MS / 1000);
		service_run(fixture);
	}
}

/* The loop until there are so many connections. */
static void expect_connections(struct fixture *fixture, size_t count)
{
	while (fixture->metadata.connection_count != count)
		if (!service_turn(fixture, WAIT_MS))
			fail_msg("%zu connections", fixture->metadata.connection_count);
}

static int client_connect(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(WIRE_METADATA_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends a request; "{}" in it stands for the token. */
static void client_send(struct fixture *fixture, int fd, const char *request)
{
	const char *mark = strstr(request, "{}");
	char text[4096];
	int n;

	if (mark)
		n = snprintf(text, sizeof(text), "%.*s%s%s", (int)(mark - request), request,
			fixture->metadata.token, mark + 2);
	else
		n = snprintf(text, sizeof(text), "%s", request);
	assert_int_equal(write(fd, text, (size_t)n), n);
	service_run(fixture);
}

/* What the client gets next, as text; NULL at the end. */
static const char *client_read(struct fixture *fixture, int fd)
{
	ssize_t n;

	service_wait(fixture, fd);
	n = recv(fd, fixture->text, ANSWER_MAX - 1, MSG_DONTWAIT);
	if (n <= 0)
		return NULL;
	fixture->text[n] = '\0';
	return fixture->text;
}

static void client_expect_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text ? text : "(end)");
}

/* The next message to the host. */
static json_t *host_read(struct fixture *fixture)
{
	struct error error;
	json_t *message = NULL;

	service_wait(fixture, fixture->host_fd);
	assert_true(wire_reader_fill(&fixture->host, fixture->host_fd) > 0);
	assert_int_equal(wire_reader_next(&fixture->host, &message, &error), 1);
	return message;
}

static void host_expect_get(struct fixture *fixture, const char *path)
{
	_cleanup_json_ json_t *message = host_read(fixture);

	assert_non_null(message);
	assert_string_equal(wire_type(message), "metadata");
	assert_string_equal(json_string_value(json_object_get(message, "get")), path);
}

static void host_expect_nothing(struct fixture *fixture)
{
	struct pollfd fd = {.fd = fixture->host_fd, .events = POLLIN};

	service_run(fixture);
	assert_int_equal(poll(&fd, 1, 0), 0);
}

static void host_answer(struct fixture *fixture, int status, const char *body)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:i, s:s, s:s}", "type", "metadata",
		"status", status, "content_type", "application/json", "body", body);
	struct error error;

	assert_int_equal(guest_metadata_answered(&fixture->metadata, message, &error), 0);
	service_run(fixture);
}

#define GET(path)  "GET /{}/acMetadata/v1/" path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path) "POST /{}/acMetadata/v1/" path " HTTP/1.1\r\nHost: x\r\n"
#define FORM       "Content-Type: application/x-www-form-urlencoded\r\n"

static void client_send_form(struct fixture *fixture, int fd, const char *path, const char *form)
{
	char request[1024];

	snprintf(request, sizeof(request),
		"POST /{}/acMetadata/v1/%s HTTP/1.1\r\nHost: x\r\n" FORM
		"Content-Length: %zu\r\n\r\n%s",
		path, strlen(form), form);
	client_send(fixture, fd, request);
}

static void uuid_is_answered_without_the_host(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();

	client_send(fixture, fd, GET("pod/uuid"));
	assert_string_equal(client_read(fixture, fd),
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=us-ascii\r\n"
		"Content-Length: 36\r\nMetadata-Flavor: AppContainer\r\n"
		"Connection: keep-alive\r\n\r\n" UUID);
	host_expect_nothing(fixture);
	close(fd);
	expect_connections(fixture, 0);
}

static void url_holds_a_token_of_128_bits_that_entropy_decides(void **state)
{
	struct fixture *fixture = *state;
	struct guest_instance other = {.uuid = UUID, .entropy = {1, 2, 4}};
	char before[2 * GUEST_METADATA_TOKEN_SIZE + 1];

	assert_int_equal(strlen(fixture->metadata.token), 32);
	assert_int_equal(strspn(fixture->metadata.token, "0123456789abcdef"), 32);
	expect(fixture->metadata.variable, "AC_METADATA_URL=http://127.0.0.1:18112/");
	expect(fixture->metadata.variable, fixture->metadata.token);
	memcpy(before, fixture->metadata.token, sizeof(before));
	guest_metadata_identify(&fixture->metadata, &other);
	assert_string_not_equal(fixture->metadata.token, before);
}

static void paths_methods_and_tokens_that_are_wrong_never_reach_the_host(void **state)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "401 Unauthorized"},
		{"GET /00000000000000000000000000000000/acMetadata/v1/pod/uuid HTTP/1.1\r\n"
		 "Host: x\r\n\r\n",
			"401 Unauthorized"},
		{"GET /{}0/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", "401 Unauthorized"},
		{"GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
		{"GET /{}/acMetadata/v2/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
		{GET(""), "404 Not Found"},
		{GET("pod"), "404 Not Found"},
		{GET("pod/uuid/"), "404 Not Found"},
		{GET("apps/a%0ab/image/id"), "404 Not Found"},
		{GET("%"), "400 Bad Request"},
		{GET("pod/hmac/sign"), "405 Method Not Allowed"},
		{POST("pod/uuid") "\r\n", "405 Method Not Allowed"},
		{"DELETE /{}/acMetadata/v1/pod/manifest HTTP/1.1\r\nHost: x\r\n\r\n",
			"405 Method Not Allowed"},
		{"nonsense\r\n\r\n", "400 Bad Request"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int fd = client_connect();

		client_send(fixture, fd, cases[i].request);
		expect(client_read(fixture, fd), cases[i].status);
		close(fd);
		service_run(fixture);
	}
	host_expect_nothing(fixture);
}

static void nobody_is_let_in_before_the_pod_has_an_identity(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();

	fixture->metadata.token[0] = '\0';
	client_send(fixture, fd, "GET //acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(client_read(fixture, fd), "401 Unauthorized");
	close(fd);
}

static void not_allowed_methods_name_those_that_are(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();

	client_send(fixture, fd, GET("pod/hmac/verify"));
	expect(client_read(fixture, fd), "\r\nAllow: POST\r\n");
	client_send(fixture, fd, POST("pod/manifest") "\r\n");
	expect(client_read(fixture, fd), "\r\nAllow: GET, HEAD\r\n");
	close(fd);
}

static void host_is_asked_one_request_at_a_time_in_order(void **state)
{
	struct fixture *fixture = *state;
	int one = client_connect(), two = client_connect();

	client_send(fixture, one, GET("pod/manifest"));
	client_send(fixture, two, GET("apps/a%2Db/annotations"));
	host_expect_get(fixture, "pod/manifest");
	host_expect_nothing(fixture);
	host_answer(fixture, 200, "{\"of\":\"one\"}");
	expect(client_read(fixture, one), "application/json");
	client_expect_nothing(two);
	host_expect_get(fixture, "apps/a-b/annotations");
	host_answer(fixture, 404, "none");
	expect(client_read(fixture, two), "404 Not Found");
	close(one);
	close(two);
}

static void head_has_the_length_and_no_body(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();
	const char *text;

	client_send(fixture, fd, "HEAD /{}/acMetadata/v1/pod/manifest HTTP/1.1\r\nHost: x\r\n\r\n");
	host_expect_get(fixture, "pod/manifest");
	host_answer(fixture, 200, "12345");
	text = client_read(fixture, fd);
	expect(text, "Content-Length: 5\r\n");
	assert_string_equal(text + strlen(text) - 4, "\r\n\r\n");
	close(fd);
}

static void answer_for_a_client_that_has_gone_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	int one = client_connect(), two = client_connect();
	struct linger reset = {.l_onoff = 1};

	client_send(fixture, one, GET("pod/manifest"));
	client_send(fixture, two, GET("pod/annotations"));
	host_expect_get(fixture, "pod/manifest");
	setsockopt(one, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(one);
	service_run(fixture);
	host_expect_nothing(fixture);
	host_answer(fixture, 200, "for one");
	host_expect_get(fixture, "pod/annotations");
	host_answer(fixture, 200, "for two");
	expect(client_read(fixture, two), "for two");
	close(two);
	expect_connections(fixture, 0);
	assert_int_equal(fixture->metadata.held, 0);
}

static void answer_that_nobody_asked_for_breaks_the_protocol(void **state)
{
	static const char *const texts[] = {
		"{\"type\":\"metadata\",\"status\":200,\"content_type\":\"a/b\",\"body\":\"\"}",
		"{\"type\":\"metadata\",\"status\":99,\"content_type\":\"a/b\",\"body\":\"\"}",
		"{\"type\":\"metadata\",\"status\":200,\"content_type\":\"a\\r\\nb\",\"body\":\"\"}",
		"{\"type\":\"metadata\",\"status\":200,\"content_type\":\"a/b\"}",
		"{\"type\":\"metadata\",\"status\":200,\"content_type\":\"a/b\",\"body\":\"\",\"x\":1}",
	};
	struct fixture *fixture = *state;
	struct error error;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		_cleanup_json_ json_t *message = NULL;

		assert_int_equal(
			wire_message_decode(texts[i], strlen(texts[i]), &message, &error), 0);
		assert_int_equal(
			guest_metadata_answered(&fixture->metadata, message, &error), -EBADMSG);
	}
}

static void forms_go_to_the_host_as_bytes(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_json_ json_t *sign = NULL, *verify = NULL;
	int fd = client_connect();

	client_send_form(fixture, fd, "pod/hmac/sign", "content=foo%00%");
	expect(client_read(fixture, fd), "400 Bad Request");
	client_send_form(fixture, fd, "pod/hmac/sign", "content=foo%00bar");
	sign = host_read(fixture);
	assert_string_equal(json_string_value(json_object_get(sign, "sign")), "Zm9vAGJhcg==");
	host_answer(fixture, 200, "signed");
	expect(client_read(fixture, fd), "signed");
	/* "uid" is what early versions of the specification had. */
	client_send_form(fixture, fd, "pod/hmac/verify",
		"content=foo&uid=F81d4fae-7dec-11d0-a765-00a0c91e6bf6&signature=Zm9v%2Bg%3D%3D");
	verify = host_read(fixture);
	assert_string_equal(json_string_value(json_object_get(verify, "verify")), "Zm9v");
	assert_string_equal(json_string_value(json_object_get(verify, "uuid")),
		"F81d4fae-7dec-11d0-a765-00a0c91e6bf6");
	assert_string_equal(json_string_value(json_object_get(verify, "signature")), "Zm9v+g==");
	close(fd);
}

static void forms_that_are_wrong_never_reach_the_host(void **state)
{
	static const char *const forms[][2] = {
		{"pod/hmac/sign", ""},
		{"pod/hmac/sign", "a=bc"},
		{"pod/hmac/sign", "content=%4"},
		{"pod/hmac/verify", "content=a"},
		{"pod/hmac/verify", "content=a&uuid=1&signatur="},
		{"pod/hmac/verify", "content=a&uuid=x&signature="},
		{"pod/hmac/verify", "content=a&uuid=1&signature=A"},
		{"pod/hmac/verify", "content=a&uuid=1%00&signature="},
		{"pod/hmac/verify", "uuid=1&signature="},
	};
	struct fixture *fixture = *state;
	int fd = client_connect();

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		client_send_form(fixture, fd, forms[i][0], forms[i][1]);
		expect(client_read(fixture, fd), "400 Bad Request");
	}
	client_send(fixture, fd, POST("pod/hmac/sign") "Content-Length: 9\r\n\r\ncontent=a");
	expect(client_read(fixture, fd), "400 Bad Request");
	close(fd);
	host_expect_nothing(fixture);
}

static void pipelined_requests_are_all_answered(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();
	char one[512], all[16384] = "";
	size_t count = 0;

	snprintf(one, sizeof(one), "GET /%s/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n",
		fixture->metadata.token);
	for (int i = 0; i < 100; i++)
		strcat(all, one);
	assert_int_equal(write(fd, all, strlen(all)), strlen(all));
	service_run(fixture);
	/* An answer is not torn: it was written at once. */
	while (count < 100)
		for (const char *at = client_read(fixture, fd); (at = strstr(at, UUID)); at++)
			count++;
	assert_int_equal(count, 100);
	close(fd);
}

static void request_that_comes_byte_by_byte_is_answered(void **state)
{
	struct fixture *fixture = *state;
	char text[512];
	int fd = client_connect();

	snprintf(text, sizeof(text), "GET /%s/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n",
		fixture->metadata.token);
	for (const char *c = text; *c; c++) {
		client_expect_nothing(fd);
		assert_int_equal(write(fd, c, 1), 1);
		service_run(fixture);
	}
	expect(client_read(fixture, fd), UUID);
	close(fd);
}

static void body_is_asked_for_where_the_client_waits_for_that(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_json_ json_t *sign = NULL;
	int fd = client_connect();

	client_send(fixture, fd,
		POST("pod/hmac/sign") FORM "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n");
	assert_string_equal(client_read(fixture, fd), "HTTP/1.1 100 Continue\r\n\r\n");
	client_send(fixture, fd, "content=");
	client_expect_nothing(fd);
	client_send(fixture, fd, "a");
	sign = host_read(fixture);
	assert_string_equal(json_string_value(json_object_get(sign, "sign")), "YQ==");
	host_answer(fixture, 200, "signed");
	expect(client_read(fixture, fd), "signed");
	close(fd);
}

static void client_that_sends_no_more_gets_its_answer_and_the_end(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();
	char text[512];

	snprintf(text, sizeof(text), "GET /%s/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n",
		fixture->metadata.token);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	shutdown(fd, SHUT_WR);
	service_run(fixture);
	expect(client_read(fixture, fd), UUID);
	assert_null(client_read(fixture, fd));
	close(fd);
}

static void connection_is_closed_where_that_was_asked_for(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();

	client_send(fixture, fd,
		"GET /{}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	expect(client_read(fixture, fd), "\r\nConnection: close\r\n");
	assert_null(client_read(fixture, fd));
	close(fd);
}

static void slow_clients_give_up_their_places(void **state)
{
	struct fixture *fixture = *state;
	int slow[GUEST_METADATA_CONNECTIONS], fd;

	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		slow[i] = client_connect();
		client_send(fixture, slow[i], "GET /");
		expect_connections(fixture, i + 1);
	}
	fd = client_connect();
	client_send(fixture, fd, GET("pod/uuid"));
	expect(client_read(fixture, fd), UUID);
	assert_null(client_read(fixture, slow[0]));
	client_expect_nothing(slow[1]);
	close(fd);
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++)
		close(slow[i]);
	expect_connections(fixture, 0);
}

static void clients_wait_when_all_places_wait_for_the_host(void **state)
{
	struct fixture *fixture = *state;
	int fds[GUEST_METADATA_CONNECTIONS], late;

	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		fds[i] = client_connect();
		client_send(fixture, fds[i], GET("pod/manifest"));
		expect_connections(fixture, i + 1);
	}
	late = client_connect();
	client_send(fixture, late, GET("pod/uuid"));
	assert_null(client_read(fixture, late));
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++) {
		host_expect_get(fixture, "pod/manifest");
		host_answer(fixture, 200, "{}");
		expect(client_read(fixture, fds[i]), "200 OK");
		close(fds[i]);
	}
	close(late);
}

static void connection_ends_when_its_time_is_over(void **state)
{
	struct fixture *fixture = *state;
	int fd = client_connect();

	assert_int_equal(guest_metadata_timeout_ms(&fixture->metadata), -1);
	client_send(fixture, fd, "GET /");
	expect_connections(fixture, 1);
	assert_in_range(
		guest_metadata_timeout_ms(&fixture->metadata), 1, GUEST_METADATA_REQUEST_MS);
	for (size_t i = 0; i < GUEST_METADATA_CONNECTIONS; i++)
		if (fixture->metadata.connections[i].deadline_ms)
			fixture->metadata.connections[i].deadline_ms = 1;
	assert_int_equal(guest_metadata_timeout_ms(&fixture->metadata), 0);
	guest_metadata_proceed(&fixture->metadata);
	assert_int_equal(fixture->metadata.connection_count, 0);
	assert_null(client_read(fixture, fd));
	close(fd);
}

/* What does not fit the socket's buffers goes on when the client reads; until then the host is not asked. */
static void long_answers_wait_for_their_clients(void **state)
{
	struct fixture *fixture = *state;
	int one = client_connect(), two = client_connect(), small = 256 << 10;
	size_t size = 8u << 20, got = 0;
	char *body = malloc(size + 1);
	ssize_t n;

	setsockopt(one, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	memset(body, 'x', size);
	body[size] = '\0';
	client_send(fixture, one, GET("apps/a/image/manifest"));
	host_expect_get(fixture, "apps/a/image/manifest");
	host_answer(fixture, 200, body);
	client_send(fixture, two, GET("pod/manifest"));
	host_expect_nothing(fixture);
	while (got < size) {
		service_wait(fixture, one);
		n = recv(one, fixture->text, ANSWER_MAX, MSG_DONTWAIT);
		assert_true(n != 0);
		if (n > 0)
			got += (size_t)n;
	}
	host_expect_get(fixture, "pod/manifest");
	host_answer(fixture, 200, "{}");
	expect(client_read(fixture, two), "200 OK");
	free(body);
	close(one);
	close(two);
	expect_connections(fixture, 0);
	assert_int_equal(fixture->metadata.held, 0);
}

#define SERVICE_TEST(name) cmocka_unit_test_setup_teardown(name, service_open, service_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVICE_TEST(uuid_is_answered_without_the_host),
		SERVICE_TEST(url_holds_a_token_of_128_bits_that_entropy_decides),
		SERVICE_TEST(paths_methods_and_tokens_that_are_wrong_never_reach_the_host),
		SERVICE_TEST(nobody_is_let_in_before_the_pod_has_an_identity),
		SERVICE_TEST(not_allowed_methods_name_those_that_are),
		SERVICE_TEST(host_is_asked_one_request_at_a_time_in_order),
		SERVICE_TEST(head_has_the_length_and_no_body),
		SERVICE_TEST(answer_for_a_client_that_has_gone_is_dropped),
		SERVICE_TEST(answer_that_nobody_asked_for_breaks_the_protocol),
		SERVICE_TEST(forms_go_to_the_host_as_bytes),
		SERVICE_TEST(forms_that_are_wrong_never_reach_the_host),
		SERVICE_TEST(pipelined_requests_are_all_answered),
		SERVICE_TEST(request_that_comes_byte_by_byte_is_answered),
		SERVICE_TEST(body_is_asked_for_where_the_client_waits_for_that),
		SERVICE_TEST(client_that_sends_no_more_gets_its_answer_and_the_end),
		SERVICE_TEST(connection_is_closed_where_that_was_asked_for),
		SERVICE_TEST(slow_clients_give_up_their_places),
		SERVICE_TEST(clients_wait_when_all_places_wait_for_the_host),
		SERVICE_TEST(connection_ends_when_its_time_is_over),
		SERVICE_TEST(long_answers_wait_for_their_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
