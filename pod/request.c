// SPDX-License-Identifier: Apache-2.0
/*
 * request.c: see request.h.
 *
 * Theory of operation: a process is signalled only as the last resort, when it does not answer, and never
 * by a number that may be someone else's by now. The socket tells who called listen() (SO_PEERCRED); a
 * pidfd is made of that; and since the connection still stands after that, so does the only holder of
 * the listening socket: the pidfd is of that process.
 */
#include "pod/request.h"

#include "base/json.h"
#include "base/log.h"
#include "wire/wire.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#define SOCKET_NAME "requests"
#define BACKLOG     16

/* How long the process may take to answer: its loop never waits for anything. */
#define ANSWER_MS 5000
/* How long it may take to end the pod at once. */
#define KILL_NS 5000000000ll
/* A running pod that has no socket yet gets one within milliseconds. */
#define CONNECT_TRIES    250
#define CONNECT_PAUSE_NS 20000000

static const struct {
	const char *type;
	enum pod_request request;
} types[] = {
	{"stop", POD_REQUEST_STOP},
	{"kill", POD_REQUEST_KILL},
	{"attach", POD_REQUEST_ATTACH},
	{"usage", POD_REQUEST_USAGE},
	{"pause", POD_REQUEST_PAUSE},
	{"resume", POD_REQUEST_RESUME},
	{"checkpoint", POD_REQUEST_CHECKPOINT},
	{"app", POD_REQUEST_APP},
};

/* The pod's directory may be anywhere: its path is longer than an address has room for. */
static struct sockaddr_un address_of(const struct pod *pod)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME,
		pod->fd);
	return address;
}

/* ---- who runs the pod */

void pod_requests_init(struct pod_requests *requests)
{
	for (size_t i = 0; i < ARRAY_SIZE(requests->fds); i++)
		requests->fds[i] = -1;
	requests->next = 0;
}

int pod_requests_open(const struct pod *pod, struct pod_requests *ret)
{
	const struct sockaddr_un address = address_of(pod);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	pod_requests_init(ret);
	if (fd < 0)
		return -errno;
	if (unlinkat(pod->fd, SOCKET_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	/* bind() makes the socket with the mode of the descriptor, and nobody connects before listen(). */
	if (fchmod(fd, 0600) < 0 ||
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	ret->fds[0] = TAKE_FD(fd);
	return 0;
}

void pod_requests_close(struct pod_requests *requests)
{
	for (size_t i = 0; i < ARRAY_SIZE(requests->fds); i++)
		cleanup_close(&requests->fds[i]);
	pod_requests_init(requests);
}

int pod_request_parse(const char *text, size_t length, struct pod_request_taken *ret)
{
	_cleanup_json_ json_t *message = NULL;
	int r = wire_message_decode(text, length, &message, NULL);

	*ret = (struct pod_request_taken){.fd = -1};
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(types); i++) {
		if (strcmp(wire_type(message), types[i].type))
			continue;
		ret->request = types[i].request;
		if (ret->request != POD_REQUEST_STOP && ret->request != POD_REQUEST_KILL)
			ret->message = TAKE_PTR(message);
		return 0;
	}
	return r < 0 ? r : -EBADMSG;
}

void pod_request_answer(int fd, json_t *answer)
{
	_cleanup_free_ char *text = answer ? json_text(answer, JSON_COMPACT) : NULL;

	/* One that has gone already shows when it is read. */
	if (text)
		send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void pod_request_refuse(int fd, const char *message)
{
	_cleanup_json_ json_t *answer = json_pack("{s:s, s:o}", "type", "refused", "message",
		json_string_lossy(message, strlen(message)));

	pod_request_answer(fd, answer);
}

/* Into a place that is free, or in turn one of those that have been kept for nothing. */
static void accept_client(struct pod_requests *requests)
{
	int *place = &requests->fds[1 + requests->next];
	int fd;

	for (size_t i = 1; i < ARRAY_SIZE(requests->fds); i++)
		if (requests->fds[i] < 0)
			place = &requests->fds[i];
	/* cppcheck-suppress nullPointer */
	fd = accept4(requests->fds[0], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (*place >= 0)
		requests->next = (requests->next + 1) % POD_REQUEST_CLIENTS;
	cleanup_close(place);
	*place = fd;
}

/* 1: the client's request; 0: it has said nothing; -errno: it has gone, or made no sense. */
static int take_from(int fd, struct pod_request_taken *ret)
{
	char text[POD_REQUEST_MAX];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 || (size_t)n > sizeof(text))
		return -EPIPE;
	return pod_request_parse(text, (size_t)n, ret) == 0 ? 1 : -EPIPE;
}

int pod_requests_take(struct pod_requests *requests, struct pod_request_taken *ret)
{
	static const char answer[] = "{\"type\":\"ok\"}";

	accept_client(requests);
	*ret = (struct pod_request_taken){.fd = -1};
	for (size_t i = 1; i < ARRAY_SIZE(requests->fds); i++) {
		int r = requests->fds[i] < 0 ? 0 : take_from(requests->fds[i], ret);

		if (r > 0 && ret->message) {
			ret->fd = TAKE_FD(requests->fds[i]);
			return 1;
		}
		if (r > 0)
			send(requests->fds[i], answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r != 0)
			close(TAKE_FD(requests->fds[i]));
		if (r > 0)
			return 1;
	}
	return 0;
}

/* ---- who asks */

static bool pod_still_runs(const struct pod *pod)
{
	_cleanup_pod_ struct pod now = POD_NONE;

	return pod_open(pod->pods, pod->uuid, &now, NULL) == 0 && now.state == POD_RUNNING;
}

/* Returns the connection or -errno; -ESRCH: the pod has ended. */
static int connect_to(const struct pod *pod)
{
	const struct sockaddr_un address = address_of(pod);
	const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
	const struct timeval limit = {.tv_sec = ANSWER_MS / 1000};
	int r = -ETIMEDOUT;

	for (unsigned int i = 0; i < CONNECT_TRIES; i++) {
		_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return -errno;
		/* One that accepts nobody keeps nobody waiting for ever. */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
			return TAKE_FD(fd);
		r = -errno;
		if (r != -ENOENT && r != -ECONNREFUSED)
			return r;
		if (!pod_still_runs(pod))
			return -ESRCH;
		nanosleep(&pause, NULL);
	}
	return r;
}

static int requests_connect(const struct pod *pod, struct error *err)
{
	int fd = pod->state == POD_RUNNING ? connect_to(pod) : -ESRCH;

	if (fd == -ESRCH)
		return error_set(err, -ESRCH, "pod \"%s\" is not running", pod->uuid);
	return fd < 0 ? error_set_errno(
				err, fd, "pod %s: cannot reach the process that runs it", pod->uuid)
		      : fd;
}

/* The answer to a message. 0 or -errno. */
static int exchange(int fd, json_t *message, int timeout_ms, json_t **ret_answer)
{
	_cleanup_free_ char *text = message ? json_text(message, JSON_COMPACT) : NULL;
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char answer[POD_REQUEST_MAX];
	ssize_t n;

	if (!text)
		return -ENOMEM;
	if (strlen(text) > POD_REQUEST_MAX)
		return -EMSGSIZE;
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = poll(&poll_fd, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -ETIMEDOUT;
	n = recv(fd, answer, sizeof(answer), MSG_TRUNC);
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	return (size_t)n > sizeof(answer)
		? -EMSGSIZE
		: wire_message_decode(answer, (size_t)n, ret_answer, NULL);
}

int pod_request_ask(const struct pod *pod, json_t *message, int timeout_ms, json_t **ret_answer,
	struct error *err)
{
	_cleanup_close_ int fd = requests_connect(pod, err);
	_cleanup_json_ json_t *answer = NULL;
	const char *reason;
	int r;

	if (fd < 0)
		return fd;
	r = exchange(fd, message, timeout_ms, &answer);
	if (r < 0)
		return error_set_errno(
			err, r, "pod %s: the process that runs it does not answer", pod->uuid);
	if (!strcmp(wire_type(answer), "refused")) {
		reason = json_string_value(json_object_get(answer, "message"));
		return error_set(
			err, -ENOTCONN, "pod %s: %s", pod->uuid, reason ? reason : "refused");
	}
	*ret_answer = TAKE_PTR(answer);
	return TAKE_FD(fd);
}

/* 0: the request was taken. */
static int request_send(int fd, enum pod_request request)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "type", types[request].type);
	_cleanup_json_ json_t *answer = NULL;

	return exchange(fd, message, ANSWER_MS, &answer);
}

/* A pidfd of who listens at the other end, and its number; see the theory above. -errno. */
static int listener_open(int fd, pid_t *ret_pid)
{
	struct pollfd poll_fd = {.fd = fd};
	socklen_t size = sizeof(struct ucred);
	_cleanup_close_ int pid_fd = -1;
	struct ucred peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	pid_fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	if (pid_fd < 0)
		return -errno;
	if (poll(&poll_fd, 1, 0) < 0)
		return -errno;
	if (poll_fd.revents & (POLLHUP | POLLERR))
		return -ESRCH;
	*ret_pid = peer.pid;
	return TAKE_FD(pid_fd);
}

static int wait_for_end(struct pod *pod, struct error *err)
{
	int r = pod_wait(pod->pods, pod->uuid, POD_EVENT_END, KILL_NS, err);

	/* Another has removed it already. */
	return r == -ENOENT ? 0 : r;
}

int pod_stop(struct pod *pod, bool force, struct error *err)
{
	_cleanup_close_ int fd = -1, pid_fd = -1;
	pid_t pid = 0;
	int r;

	fd = requests_connect(pod, err);
	if (fd < 0)
		return fd;
	pid_fd = listener_open(fd, &pid);
	r = request_send(fd, force ? POD_REQUEST_KILL : POD_REQUEST_STOP);
	if (r < 0 && !pod_still_runs(pod))
		return 0;
	if (!force)
		return r < 0 ? error_set_errno(err, r,
				       "pod %s: the process that runs it (%d) does not answer; "
				       "--force kills it",
				       pod->uuid, pid)
			     : 0;
	if (r == 0 && wait_for_end(pod, err) == 0)
		return 0;
	if (pid_fd < 0)
		return error_set_errno(
			err, pid_fd, "pod %s: cannot kill the process that runs it", pod->uuid);
	if (syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return error_set_errno(
			err, -errno, "pod %s: cannot kill process %d", pod->uuid, pid);
	log_warning(
		"pod %s: the process that runs it (%d) did not end it within %d s, and was killed",
		pod->uuid, pid, ANSWER_MS / 1000);
	return wait_for_end(pod, err);
}
