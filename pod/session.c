// SPDX-License-Identifier: Apache-2.0
/* session.c: see session.h. */
#include "pod/session.h"

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
