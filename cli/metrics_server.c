// SPDX-License-Identifier: Apache-2.0
/* metrics_server.c: see metrics_server.h. */
#include "cli/metrics_server.h"

#include "base/clock.h"
#include "base/http.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/signals.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 16
/* How long a client may take, with its request and with the answer. */
#define CLIENT_MS 5000

/* ---- one client */

/* Waits for the client. false: it has had its time. */
static bool client_wait(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int64_t left;
	int n;

	do {
		left = (deadline - clock_monotonic()) / 1000000;
		n = left <= 0 ? 0 : poll(&poll_fd, 1, (int)left);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

static void client_send(int fd, const char *data, size_t length, int64_t deadline)
{
	while (length > 0 && client_wait(fd, POLLOUT, deadline)) {
		ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
	}
}

/* Of the request that has come. 0; -EAGAIN: it is not whole yet; another -errno: there is none. */
static int client_read(int fd, char *head, size_t *length, int64_t deadline,
	struct http_request *ret, enum http_status *ret_status)
{
	int r = -EAGAIN;

	while (r == -EAGAIN && *length < HTTP_HEAD_MAX && client_wait(fd, POLLIN, deadline)) {
		ssize_t n = recv(fd, head + *length, HTTP_HEAD_MAX - *length, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -ECONNRESET;
		if (n > 0)
			*length += (size_t)n;
		r = http_request_parse(head, *length, ret, ret_status);
	}
	if (r == -EAGAIN && *length == HTTP_HEAD_MAX) {
		*ret_status = HTTP_FIELDS_TOO_LARGE;
		r = -EBADMSG;
	}
	return r;
}

static enum http_status request_judge(const struct http_request *request, const char *head)
{
	static const char *const paths[] = {"/metrics", "/"};

	if (request->method != HTTP_GET && request->method != HTTP_HEAD)
		return HTTP_METHOD_NOT_ALLOWED;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (request->path_length == strlen(paths[i]) &&
			!memcmp(head + request->path_offset, paths[i], request->path_length))
			return HTTP_OK;
	return HTTP_NOT_FOUND;
}

void metrics_answer(int fd, metrics_source source, void *context)
{
	int64_t deadline = clock_monotonic() + CLIENT_MS * 1000000ll;
	_cleanup_free_ char *body = NULL;
	enum http_status status = HTTP_OK;
	struct http_request request = {.method = HTTP_GET};
	char head[HTTP_HEAD_MAX], answer[256];
	size_t length = 0, body_length = 0;
	struct error error = {0};
	int r = client_read(fd, head, &length, deadline, &request, &status);

	if (r < 0 && r != -EBADMSG)
		return;
	if (r == 0)
		status = request_judge(&request, head);
	if (status == HTTP_OK && source(context, &body, &body_length, &error) < 0) {
		log_warning("%s", error.message);
		status = HTTP_INTERNAL_ERROR;
		body_length = 0;
	}
	/* The guests' time is not the client's. */
	deadline = clock_monotonic() + CLIENT_MS * 1000000ll;
	snprintf(answer, sizeof(answer),
		"HTTP/1.1 %u %s\r\n"
		"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
		"Content-Length: %zu\r\n%s"
		"Connection: close\r\n\r\n",
		(unsigned int)status, http_reason(status), body_length,
		status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "");
	client_send(fd, answer, strlen(answer), deadline);
	if (request.method != HTTP_HEAD && body)
		client_send(fd, body, body_length, deadline);
}

/* ---- the socket */

/* Whether path is a socket that nobody listens at any more. */
static bool is_abandoned(const char *path, const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	return fd >= 0 && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
		connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		errno == ECONNREFUSED;
}

static int socket_open(const char *path, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG, "%s: a socket's path has at most %zu bytes",
			path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* bind() makes the socket with the mode of the descriptor. */
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return error_set_errno(err, -errno, "cannot make a socket");
	if (is_abandoned(path, &address))
		unlink(path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return error_set_errno(err, -errno, "%s: cannot listen there", path);
	return TAKE_FD(fd);
}

static int signals_open(void)
{
	static const int stops[] = {SIGTERM, SIGINT};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	signals_add_wanted(&set, stops, ARRAY_SIZE(stops));
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int metrics_serve(const char *path, metrics_source source, void *context, struct error *err)
{
	_cleanup_close_ int signals = signals_open(), fd = -1;

	if (signals < 0)
		return error_set_errno(err, signals, "cannot take over signals");
	fd = socket_open(path, err);
	if (fd < 0)
		return fd;
	notify_manager("READY=1");
	for (;;) {
		struct pollfd fds[] = {
			{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
		_cleanup_close_ int client = -1;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return error_set_errno(err, -errno, "poll");
		if (fds[1].revents)
			break;
		/* cppcheck-suppress nullPointer */
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (client >= 0)
			metrics_answer(client, source, context);
	}
	unlink(path);
	return 0;
}
