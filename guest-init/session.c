// SPDX-License-Identifier: Apache-2.0
/*
 * session.c: the life of a session, from the connection to the result.
 *
 * Theory of operation: events set flags and session_proceed() does what the flags allow: it reads the client's
 * frames, which never has to wait, since the client sends no more input than there is room for; moves input to the
 * process; and fills one frame after the other with output. A frame that the connection does not take whole stops
 * all output of that session, and so its process, until there is room.
 *
 * The process's pipes, or its terminal's master, have an end when nobody has the other end any more; but what it
 * leaves behind in the app may keep them for ever. So once the process has ended, they are read until they
 * are empty, and that is the end.
 */
#include "base/file.h"
#include "guest-init/pty.h"
#include "guest-init/session_parts.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define BACKLOG 128
/* Frames of one session, before others have their turn. */
#define FRAMES_MAX 4

/* #syscalls: socket bind listen */
static int vsock_listen(void)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = WIRE_SESSION_PORT,
	};
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int guest_sessions_open(
	struct guest_sessions *sessions, struct guest *guest, struct guest_pod *pod, int listen_fd)
{
	sessions->guest = guest;
	sessions->pod = pod;
	sessions->debug = GUEST_DEBUG_NONE;
	sessions->listen_fd = guest->is_vm ? vsock_listen() : listen_fd;
	if (sessions->listen_fd < 0)
		return sessions->listen_fd;
	return guest_watch(guest, sessions->listen_fd, EPOLLIN | EPOLLET, GUEST_EVENT_SESSIONS, 0);
}

/* ---- begin and end */

int guest_session_watch(struct guest_sessions *sessions, const struct guest_session *session,
	int fd, uint32_t events, enum session_source source)
{
	return guest_watch(sessions->guest, fd, events | EPOLLET, GUEST_EVENT_SESSION,
		session->index * SOURCES + source);
}

static void session_close_input(struct guest_session *session)
{
	if (session->has_terminal)
		session->input_fd = -1; /* the output's as well */
	fd_close(&session->input_fd);
	free(TAKE_PTR(session->input));
	session->consumed += (uint32_t)session->input_length;
	session->input_length = 0;
}

static void session_free(struct guest_sessions *sessions, struct guest_session *session)
{
	sessions->sessions[session->index] = NULL;
	sessions->count--;
	session_close_input(session);
	fd_close(&session->outputs[0].fd);
	fd_close(&session->outputs[1].fd);
	fd_close(&session->fd);
	wire_session_reader_done(&session->reader);
	free(session->frame);
	free(session);
}

/* Nobody hears of it any more: its process group ends, and a terminal hangs up on the others. */
static void session_abandon(struct guest_sessions *sessions, struct guest_session *session)
{
	if (session->pid > 0 && kill(-session->pid, SIGKILL) < 0)
		kill(session->pid, SIGKILL);
	session_free(sessions, session);
}

static void session_add(struct guest_sessions *sessions, int fd)
{
	struct guest_session *session = calloc(1, sizeof(*session));
	uint32_t index = 0;

	while (index < WIRE_SESSIONS_MAX && sessions->sessions[index])
		index++;
	if (!session || index == WIRE_SESSIONS_MAX) {
		free(session);
		close(fd);
		return;
	}
	session->state = sessions->guest->is_vm ? GUEST_SESSION_REQUEST : GUEST_SESSION_GREETING;
	session->index = index;
	session->fd = fd;
	session->is_readable = session->is_writable = true;
	session->input_fd = session->outputs[0].fd = session->outputs[1].fd = -1;
	wire_session_reader_init(&session->reader, WIRE_SESSION_CLIENT);
	sessions->sessions[index] = session;
	sessions->count++;
	if (guest_session_watch(
		    sessions, session, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, SOURCE_CONNECTION) < 0)
		session_free(sessions, session);
}

/* #syscalls: accept4 */
void guest_sessions_accept(struct guest_sessions *sessions)
{
	for (;;) {
		/* cppcheck-suppress nullPointer */
		int fd = accept4(sessions->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
		session_add(sessions, fd);
	}
}

/* ---- frames to the client */

/* The frame buffer is free. */
static void session_frame(struct guest_session *session, enum wire_session_kind kind, size_t length)
{
	const struct wire_session_header header = wire_session_header(kind, length);

	memcpy(session->frame, &header, sizeof(header));
	session->frame_length = sizeof(header) + length;
	session->frame_written = 0;
}

char *guest_session_reserve(struct guest_session *session, size_t size)
{
	if (!session->frame)
		session->frame = malloc(sizeof(struct wire_session_header) + size);
	return session->frame ? session->frame + sizeof(struct wire_session_header) : NULL;
}

/* The same for the next frame of a session with a process. */
static char *session_payload(struct guest_session *session)
{
	return guest_session_reserve(session, WIRE_SESSION_DATA_MAX);
}

/* Whether the frame is out of the way. -EPIPE: nobody takes it. */
static int session_write_frame(struct guest_session *session)
{
	while (session->frame_written < session->frame_length) {
		ssize_t n = send(session->fd, session->frame + session->frame_written,
			session->frame_length - session->frame_written,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -EPIPE;
		if (n < 0) {
			session->is_writable = false;
			return 0;
		}
		session->frame_written += (size_t)n;
	}
	session->frame_length = 0;
	return 1;
}

void guest_session_finish(struct guest_session *session, enum wire_session_kind kind, char *payload,
	size_t max, json_t *object)
{
	size_t length = 0;

	session->state = GUEST_SESSION_ENDING;
	session->frame_length = 0;
	if (payload && object)
		length = json_dumpb(object, payload, max, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (length > 0 && length <= max)
		session_frame(session, kind, length);
}

static void session_result(struct guest_session *session, json_t *result)
{
	guest_session_finish(session, WIRE_SESSION_RESULT, session_payload(session),
		WIRE_SESSION_RESULT_MAX, result);
}

static void session_end_status(struct guest_session *session)
{
	_cleanup_json_ json_t *result = json_pack("{s:i}", "status", session->status);

	session_result(session, result);
}

void guest_session_fail(struct guest_session *session, const char *message)
{
	/* What is in it may come from an image. */
	_cleanup_json_ json_t *text = json_string(message), *result = NULL;

	result = text ? json_pack("{s:O}", "message", text)
		      : json_pack("{s:s}", "message", "the reason cannot be told");
	session_result(session, result);
}

/* ---- input */

/* The client keeps to its credit; -EBADMSG: this one does not. */
static int session_take_input(struct guest_session *session, const char *data, size_t length)
{
	if (session->has_input_ended)
		return -EBADMSG;
	if (length == 0) {
		session->has_input_ended = true;
		return 0;
	}
	if (length > WIRE_SESSION_INPUT_MAX - session->consumed - session->input_length)
		return -EBADMSG;
	/* Nobody reads it any more. */
	if (session->input_fd < 0) {
		session->consumed += (uint32_t)length;
		return 0;
	}
	if (!session->input)
		session->input = malloc(WIRE_SESSION_INPUT_MAX);
	if (!session->input)
		return -ENOMEM;
	if (session->input_start + session->input_length + length > WIRE_SESSION_INPUT_MAX) {
		memmove(session->input, session->input + session->input_start,
			session->input_length);
		session->input_start = 0;
	}
	memcpy(session->input + session->input_start + session->input_length, data, length);
	session->input_length += length;
	return 0;
}

/* A terminal has no end; its user types one. */
static void session_end_input(struct guest_session *session)
{
	char end;
	int character;

	if (!session->has_terminal) {
		session_close_input(session);
		return;
	}
	character = guest_pty_end_character(session->input_fd);
	end = (char)character;
	if (character >= 0 && write(session->input_fd, &end, 1) < 0)
		errno = 0;
	session_close_input(session);
}

static void session_write_input(struct guest_sessions *sessions, struct guest_session *session)
{
	while (session->input_length > 0 && session->is_input_writable) {
		ssize_t n = write(session->input_fd, session->input + session->input_start,
			session->input_length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			session->is_input_writable = false;
			/* Most input fits at once: it is watched when it did not. */
			if (!session->is_input_watched &&
				guest_session_watch(sessions, session, session->input_fd, EPOLLOUT,
					SOURCE_INPUT) < 0)
				session_close_input(session);
			session->is_input_watched = true;
			return;
		}
		if (n < 0) {
			session_close_input(session);
			return;
		}
		session->input_start += (size_t)n;
		session->input_length -= (size_t)n;
		session->consumed += (uint32_t)n;
	}
	if (session->input_length > 0)
		return;
	session->input_start = 0;
	if (session->has_input_ended && session->input_fd >= 0)
		session_end_input(session);
}

static void session_signal(const struct guest_session *session, int signal)
{
	if (session->pid > 0 && signal > 0 && signal <= SIGRTMAX && kill(-session->pid, signal) < 0)
		kill(session->pid, signal);
}

static void session_resize(const struct guest_session *session, const char *data)
{
	struct wire_session_size size;

	memcpy(&size, data, sizeof(size));
	if (session->has_terminal && session->outputs[0].fd >= 0)
		guest_pty_resize(session->outputs[0].fd,
			(struct guest_pty_size){
				.rows = le16toh(size.rows), .columns = le16toh(size.columns)});
}

static int session_frame_in(struct guest_sessions *sessions, struct guest_session *session,
	const struct wire_session_frame *frame)
{
	if ((frame->kind == WIRE_SESSION_REQUEST) != (session->state == GUEST_SESSION_REQUEST))
		return -EBADMSG;
	switch (frame->kind) {
	case WIRE_SESSION_REQUEST:
		guest_session_request(sessions, session, frame);
		return 0;
	case WIRE_SESSION_INPUT:
		return session_take_input(session, frame->data, frame->length);
	case WIRE_SESSION_RESIZE:
		session_resize(session, frame->data);
		return 0;
	case WIRE_SESSION_SIGNAL:
		session_signal(session, (unsigned char)frame->data[0]);
		return 0;
	default:
		return -EBADMSG;
	}
}

/* 0; -EAGAIN: not all of it has come; another -errno: that is no greeting. */
static int session_greet(struct guest_session *session)
{
	const size_t length = strlen(WIRE_SESSION_GREETING);
	char text[sizeof(WIRE_SESSION_GREETING)];
	ssize_t n = recv(session->fd, text, length - session->greeted, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
	if (n == 0 || memcmp(text, &WIRE_SESSION_GREETING[session->greeted], (size_t)n) != 0)
		return -EBADMSG;
	session->greeted += (size_t)n;
	if (session->greeted < length)
		return -EAGAIN;
	session->state = GUEST_SESSION_REQUEST;
	return send(session->fd, WIRE_SESSION_ANSWER "0\n", strlen(WIRE_SESSION_ANSWER "0\n"),
		       MSG_DONTWAIT | MSG_NOSIGNAL) < 0
		? -errno
		: 0;
}

/* Takes what has come from the client. -errno: it is gone, or broke the rules. */
static int session_read(struct guest_sessions *sessions, struct guest_session *session)
{
	int r = session->state == GUEST_SESSION_GREETING ? session_greet(session) : 0;

	if (r == -EAGAIN)
		session->is_readable = session->is_hung_up;
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	while (session->is_readable && session->fd >= 0) {
		struct wire_session_frame frame;
		ssize_t n = wire_session_reader_fill(&session->reader, session->fd);

		if (n == 0)
			return -EPIPE;
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		/* A short read has emptied the socket, but its end may have been announced already. */
		if (n == -EAGAIN || ((size_t)n < WIRE_SESSION_READ_MIN && !session->is_hung_up))
			session->is_readable = false;
		while (session->state != GUEST_SESSION_ENDING &&
			(r = wire_session_reader_next(&session->reader, &frame)) > 0) {
			r = session_frame_in(sessions, session, &frame);
			if (r < 0)
				return r;
		}
		if (r < 0)
			return r;
		/* What was on its way when it ended does not matter, whatever it is. */
		if (session->state == GUEST_SESSION_ENDING)
			wire_session_reader_done(&session->reader);
	}
	return 0;
}

/* ---- output */

/* Reads a frame of one stream. Whether there is one. */
static bool session_read_output(struct guest_session *session, size_t index, char *payload)
{
	ssize_t n;

	if (session->outputs[index].fd < 0 || !session->outputs[index].is_readable)
		return false;
	do
		n = read(session->outputs[index].fd, payload, WIRE_SESSION_DATA_MAX);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		session_frame(
			session, index == 0 ? WIRE_SESSION_OUTPUT : WIRE_SESSION_ERRORS, (size_t)n);
		/* A pipe that gave less is empty; a terminal gives a piece at a time. */
		if (!session->has_terminal && (size_t)n < WIRE_SESSION_DATA_MAX &&
			!session->outputs[index].is_hung_up && !session->has_ended)
			session->outputs[index].is_readable = false;
		return true;
	}
	session->outputs[index].is_readable = false;
	if (n < 0 && errno == EAGAIN && !session->has_ended)
		return false;
	/* A terminal that nobody has open may be opened again while the process lives. */
	if (session->has_terminal && !session->has_ended)
		return false;
	if (session->has_terminal)
		session->input_fd = -1;
	fd_close(&session->outputs[index].fd);
	return false;
}

/* Fills the frame buffer with what is to be said next. Whether there is something. */
static bool session_next_frame(struct guest_session *session)
{
	char *payload = session_payload(session);
	uint32_t credit;

	if (!payload) {
		guest_session_fail(session, "out of memory");
		return false;
	}
	if (session->consumed >= WIRE_SESSION_INPUT_MAX / 2) {
		credit = htole32(session->consumed);
		memcpy(payload, &credit, sizeof(credit));
		session_frame(session, WIRE_SESSION_CREDIT, sizeof(credit));
		session->consumed = 0;
		return true;
	}
	if (session_read_output(session, 0, payload) || session_read_output(session, 1, payload))
		return true;
	if (session->has_ended && session->outputs[0].fd < 0 && session->outputs[1].fd < 0) {
		session_end_status(session);
		return session->frame_length > 0;
	}
	return false;
}

/* -errno: the session is over. */
static int session_write(struct guest_sessions *sessions, struct guest_session *session)
{
	for (unsigned int i = 0; session->is_writable; i++) {
		int r = session_write_frame(session);

		if (r <= 0)
			return r;
		if (session->state == GUEST_SESSION_ENDING)
			return -ESHUTDOWN;
		if (session->state != GUEST_SESSION_RUNNING)
			return 0;
		if (i == FRAMES_MAX) {
			sessions->is_pending = true;
			return 0;
		}
		if (!session_next_frame(session))
			return session->state == GUEST_SESSION_ENDING ? -ENOMEM : 0;
	}
	return 0;
}

/* Whether the session is to end with an app that has ended. Its place may be another's by now. */
static bool session_app_is_gone(const struct guest_session *session)
{
	return session->app &&
		(session->app->state != GUEST_APP_RUNNING ||
			session->app->generation != session->app_generation);
}

static void session_proceed(struct guest_sessions *sessions, struct guest_session *session)
{
	int r;

	if (session->state == GUEST_SESSION_STREAM) {
		if (session->has_ended)
			session_free(sessions, session);
		return;
	}
	r = session_read(sessions, session);

	/* The app takes all of its processes along. */
	if (r == 0 && session->state == GUEST_SESSION_RUNNING && session_app_is_gone(session) &&
		session->frame_written == 0 &&
		(!session->has_ended || session->status == WIRE_STATUS_SIGNAL(SIGKILL))) {
		char message[NAME_MAX + 64];

		if (session->pid > 0 && kill(-session->pid, SIGKILL) < 0)
			kill(session->pid, SIGKILL);
		snprintf(message, sizeof(message),
			"app \"%s\" has ended, and its processes with it", session->app_name);
		guest_session_fail(session, message);
	}
	if (r == 0 && session->state == GUEST_SESSION_RUNNING && session->input_fd >= 0)
		session_write_input(sessions, session);
	if (r == 0)
		r = session_write(sessions, session);
	if (r < 0)
		session_abandon(sessions, session);
}

/* ---- events */

void guest_sessions_ready(struct guest_sessions *sessions, uint32_t index, uint32_t events)
{
	struct guest_session *session = sessions->sessions[index / SOURCES];

	/* Its place may have been given away since. */
	if (!session)
		return;
	switch ((enum session_source)(index % SOURCES)) {
	case SOURCE_CONNECTION:
		session->is_readable = true;
		session->is_writable |= (events & EPOLLOUT) != 0;
		session->is_hung_up |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
		break;
	case SOURCE_INPUT:
		session->is_input_writable = true;
		break;
	case SOURCE_OUTPUT:
	case SOURCE_ERRORS:
		session->outputs[index % SOURCES - SOURCE_OUTPUT].is_readable = true;
		if (events & (EPOLLHUP | EPOLLERR))
			session->outputs[index % SOURCES - SOURCE_OUTPUT].is_hung_up = true;
		if (events & EPOLLOUT)
			session->is_input_writable = true;
		break;
	case SOURCES:
		break;
	}
}

void guest_sessions_child_ended(struct guest_sessions *sessions, pid_t pid, int wait_status)
{
	for (size_t i = 0; sessions->count > 0 && i < WIRE_SESSIONS_MAX; i++) {
		struct guest_session *session = sessions->sessions[i];

		if (!session || session->pid != pid)
			continue;
		session->pid = 0;
		session->has_ended = true;
		session->status = WIFSIGNALED(wait_status)
			? WIRE_STATUS_SIGNAL(WTERMSIG(wait_status))
			: WEXITSTATUS(wait_status);
		session->outputs[0].is_readable = session->outputs[1].is_readable = true;
		return;
	}
}

void guest_sessions_proceed(struct guest_sessions *sessions)
{
	sessions->is_pending = false;
	for (size_t i = 0; sessions->count > 0 && i < WIRE_SESSIONS_MAX; i++)
		if (sessions->sessions[i])
			session_proceed(sessions, sessions->sessions[i]);
}

int guest_sessions_timeout_ms(const struct guest_sessions *sessions)
{
	return sessions->is_pending ? 0 : -1;
}
