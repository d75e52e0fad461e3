// SPDX-License-Identifier: Apache-2.0
/* session.c: see session.h. */
#include "pod/session.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

int pod_session_open(const struct pod *pod, int fd, struct pod_session *ret, struct error *err)
{
	*ret = POD_SESSION_NONE;
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return error_set(err, -ESRCH,
			"pod \"%s\" lets nobody in: it is starting, or ending", pod->uuid);
	if (fd < 0)
		return error_set_errno(err, fd, "pod %s: cannot connect to it", pod->uuid);
	ret->fd = fd;
	memcpy(ret->uuid, pod->uuid, sizeof(ret->uuid));
	return 0;
}

void pod_session_close(struct pod_session *session)
{
	cleanup_close(&session->fd);
	wire_session_reader_done(&session->reader);
	*session = POD_SESSION_NONE;
}

int pod_session_broken(struct error *err)
{
	return error_set(err, -EBADMSG, "guest-init broke the protocol of sessions");
}

int pod_session_silent(const struct pod_session *session, struct error *err)
{
	return error_set(
		err, -ETIMEDOUT, "pod \"%s\" lets nobody in: it does not answer", session->uuid);
}

int pod_session_compose(const json_t *request, char **ret, size_t *ret_length)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	const size_t greeting = strlen(WIRE_SESSION_GREETING);
	struct wire_session_header header;
	size_t length;

	if (!text)
		return -ENOMEM;
	length = strlen(text);
	if (length > WIRE_SESSION_REQUEST_MAX)
		return -E2BIG;
	*ret_length = greeting + sizeof(header) + length;
	*ret = malloc(*ret_length);
	if (!*ret)
		return -ENOMEM;
	header = wire_session_header(WIRE_SESSION_REQUEST, length);
	memcpy(*ret, WIRE_SESSION_GREETING, greeting);
	memcpy(*ret + greeting, &header, sizeof(header));
	memcpy(*ret + greeting + sizeof(header), text, length);
	return 0;
}

int pod_session_ask(const struct pod_session *session, const json_t *request)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	ssize_t n;
	int r = pod_session_compose(request, &text, &length);

	if (r < 0)
		return r;
	n = send(session->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -EAGAIN;
}

/* The line that answers the greeting. Nothing behind it is read. */
static int take_answer(struct pod_session *session, struct error *err)
{
	ssize_t n;

	while ((n = recv(session->fd, session->answer + session->answered, 1, MSG_DONTWAIT)) == 1 &&
		session->answer[session->answered] != '\n')
		if (++session->answered == sizeof(session->answer))
			return pod_session_broken(err);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return error_set(err, -ECONNREFUSED,
			"pod \"%s\" lets nobody in: its apps have not started yet, or have ended, or "
			"too many have entered",
			session->uuid);
	if (session->answered < strlen(WIRE_SESSION_ANSWER) ||
		memcmp(session->answer, WIRE_SESSION_ANSWER, strlen(WIRE_SESSION_ANSWER)) != 0)
		return pod_session_broken(err);
	session->answered = SIZE_MAX;
	return 0;
}

int pod_session_fill(struct pod_session *session, struct error *err)
{
	ssize_t n;

	if (session->answered != SIZE_MAX)
		return take_answer(session, err);
	n = wire_session_reader_fill(&session->reader, session->fd);
	if (n == -EAGAIN)
		return 0;
	return n > 0 ? 0 : error_set(err, -ECONNRESET, "pod \"%s\" has ended", session->uuid);
}

int pod_session_next(struct pod_session *session, struct wire_session_frame *ret, struct error *err)
{
	int r = wire_session_reader_next(&session->reader, ret);

	return r < 0 ? pod_session_broken(err) : r;
}

int pod_session_await(struct pod_session *session, int limit_ms, struct wire_session_frame *ret,
	struct error *err)
{
	const int64_t deadline = clock_monotonic() + limit_ms * INT64_C(1000000);
	int r;

	while ((r = pod_session_next(session, ret, err)) == 0) {
		struct pollfd fd = {.fd = session->fd, .events = POLLIN};
		int64_t left = deadline - clock_monotonic();
		bool is_let_in = session->answered == SIZE_MAX;

		if (!is_let_in && left <= 0)
			return pod_session_silent(session, err);
		if (poll(&fd, 1, is_let_in ? -1 : (int)(left / 1000000) + 1) < 0 && errno != EINTR)
			return error_set_errno(err, -errno, "poll");
		r = fd.revents ? pod_session_fill(session, err) : 0;
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}

int pod_session_result(const struct wire_session_frame *frame, int *ret_status, struct error *err)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *status;
	const char *message;

	if (json_parse(frame->data, frame->length, "result", &result, NULL) < 0)
		return pod_session_broken(err);
	status = json_object_get(result, "status");
	message = json_string_value(json_object_get(result, "message"));
	if (json_is_integer(status) && json_integer_value(status) >= 0 &&
		json_integer_value(status) <= 255) {
		*ret_status = (int)json_integer_value(status);
		return 0;
	}
	if (!message)
		return pod_session_broken(err);
	error_set(err, -ECHILD, "%s", message);
	log_sanitise(err->message);
	return -ECHILD;
}
