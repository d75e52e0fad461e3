// SPDX-License-Identifier: Apache-2.0
/* session_request.c: what a client asks for, and what is made for it: a process in an app, an ssh server, an answer. */
#include "guest-init/session_request.h"

#include "base/base64.h"
#include "base/file.h"
#include "guest-init/pty.h"
#include "guest-init/session_parts.h"
#include "guest-init/usage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

int guest_enter_parse(json_t *message, struct guest_enter_config *config, struct error *err)
{
	static const char *const names[] = {
		"type", "app", "exec", "user", "group", "terminal", NULL};
	struct field_reader reader = {.object = message, .where = "enter", .err = err};

	*config = (struct guest_enter_config){.message = json_incref(message)};
	if (strcmp(wire_type(message), "enter") != 0)
		return error_set(
			err, -EBADMSG, "session of unknown type \"%.64s\"", wire_type(message));
	config->app = reader_string(&reader, "app", 1, NAME_MAX);
	config->exec = reader_strings(&reader, "exec", 0);
	config->user = reader_text(&reader, "user", PATH_MAX - 1);
	config->group = reader_text(&reader, "group", PATH_MAX - 1);
	guest_terminal_parse(&reader, "enter: terminal", false, &config->terminal);
	reader_check_known(&reader, names);
	return reader.r;
}

void guest_enter_done(struct guest_enter_config *config)
{
	free(config->exec);
	json_decref(config->message);
	*config = (struct guest_enter_config){0};
}

int guest_ssh_parse(json_t *message, struct guest_ssh_config *config, struct error *err)
{
	static const char *const names[] = {"type", "tree", "host_key", "authorized_keys", NULL};
	struct field_reader reader = {.object = message, .where = "ssh", .err = err};

	config->tree = reader_string(&reader, "tree", 1, NAME_MAX);
	config->host_key =
		reader_string(&reader, "host_key", 1, BASE64_LENGTH(WIRE_SESSION_HOST_KEY_MAX));
	config->authorized_keys =
		reader_string(&reader, "authorized_keys", 1, WIRE_SESSION_AUTHORIZED_MAX);
	if (!file_name_is_safe(config->tree))
		reader_fail(&reader, "tree", "a file name");
	reader_check_known(&reader, names);
	return reader.r;
}

/* Pipes for its standard streams; ends[i] becomes its fd i. */
static int session_make_pipes(struct guest_session *session, uid_t uid, gid_t gid, int ends[3])
{
	for (int i = 0; i < 3; i++) {
		int fds[2], ours = i == 0 ? 1 : 0;

		if (pipe2(fds, O_CLOEXEC) < 0)
			return -errno;
		ends[i] = fds[1 - ours];
		if (i == 0)
			session->input_fd = fds[ours];
		else
			session->outputs[i - 1].fd = fds[ours];
		/* So that a process without privileges can open /dev/stdout. */
		if (fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0 ||
			(uid != 0 && fchown(ends[i], uid, gid) < 0))
			return -errno;
	}
	return 0;
}

static int session_make_terminal(struct guest_session *session,
	const struct guest_enter_config *config, uid_t uid, int ends[3], struct error *err)
{
	int r = guest_pty_open(session->app->rootfs.root_fd, uid, config->terminal.size,
		&session->input_fd, &ends[0], err);

	if (r < 0)
		return r;
	session->outputs[0].fd = session->input_fd;
	session->has_terminal = true;
	ends[1] = ends[2] = ends[0];
	return 0;
}

static int session_watch_streams(struct guest_sessions *sessions, struct guest_session *session)
{
	static const enum session_source sources[] = {SOURCE_OUTPUT, SOURCE_ERRORS};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sources); i++)
		if (session->outputs[i].fd >= 0)
			r = guest_session_watch(sessions, session, session->outputs[i].fd,
				EPOLLIN | (session->has_terminal ? EPOLLOUT : 0u), sources[i]);
	session->is_input_writable = true;
	session->is_input_watched = session->has_terminal;
	return r;
}

static int session_start(struct guest_sessions *sessions, struct guest_session *session,
	const struct guest_enter_config *config, int ends[3], struct error *err)
{
	struct guest_app_process process = {
		.exec = config->exec,
		.user = config->user,
		.group = config->group,
		.terminal = config->terminal.type,
	};
	uid_t uid;
	gid_t gid;
	int r;

	session->app = guest_pod_find_app(sessions->pod, config->app);
	if (!session->app)
		return error_set(err, -ENOENT, "the pod has no app \"%s\"", config->app);
	if (session->app->state != GUEST_APP_RUNNING || sessions->pod->is_stopping)
		return error_set(err, -ESRCH, "app \"%s\" is not running", config->app);
	if (sessions->pod->is_paused)
		return error_set(err, -EAGAIN, "the pod is paused");
	session->app_generation = session->app->generation;
	snprintf(session->app_name, sizeof(session->app_name), "%s", config->app);
	r = guest_app_identify(session->app, &process, &uid, &gid, err);
	if (r < 0)
		return r;
	if (config->terminal.type) {
		r = session_make_terminal(session, config, uid, ends, err);
	} else {
		r = session_make_pipes(session, uid, gid, ends);
		if (r < 0)
			error_set_errno(err, r, "make its pipes");
	}
	if (r < 0)
		return r;
	r = session_watch_streams(sessions, session);
	if (r < 0)
		return error_set_errno(err, r, "watch its streams");
	process.stdin_fd = ends[0];
	process.stdout_fd = ends[1];
	process.stderr_fd = ends[2];
	return guest_app_add_process(
		sessions->pod, session->app, &process, uid, gid, &session->pid, err);
}

/* The process's ends of its streams are its own from here on. */
static void ends_close(int ends[3])
{
	/* Those of a terminal are one. */
	for (int i = 2; i >= 0; i--)
		if (i == 0 || ends[i] != ends[0])
			fd_close(&ends[i]);
}

static int session_enter(struct guest_sessions *sessions, struct guest_session *session,
	json_t *message, struct error *err)
{
	struct guest_enter_config config;
	int ends[3] = {-1, -1, -1};
	int r = guest_enter_parse(message, &config, err);

	if (r == 0) {
		session->state = GUEST_SESSION_RUNNING;
		r = session_start(sessions, session, &config, ends, err);
	}
	ends_close(ends);
	guest_enter_done(&config);
	return r;
}

/*
 * What comes from here on are bytes of a server. No word of ours can follow: one that does not start closes the connection.
 */
static int session_begin_stream(struct guest_session *session, struct error *err)
{
	const struct wire_session_header header = wire_session_header(WIRE_SESSION_STREAM, 0);
	const char *rest;

	if (wire_session_reader_rest(&session->reader, &rest) > 0)
		return error_set(err, -EBADMSG, "ssh: the client speaks before the server");
	if (send(session->fd, &header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) !=
		sizeof(header))
		return error_set(err, -EPIPE, "ssh: the client is gone");
	return 0;
}

static int session_ssh(struct guest_sessions *sessions, struct guest_session *session,
	json_t *message, struct error *err)
{
	struct guest_ssh_config config;
	int r = guest_ssh_parse(message, &config, err);

	if (r == 0 && sessions->pod->is_stopping)
		r = error_set(err, -ESRCH, "the pod is being stopped");
	if (r == 0)
		r = guest_debug_prepare(sessions->guest, &sessions->debug, &config, err);
	if (r == 0)
		r = session_begin_stream(session, err);
	if (r < 0)
		return r;
	session->state = GUEST_SESSION_STREAM;
	r = guest_debug_serve(sessions->guest, &sessions->debug, session->fd, &session->pid, err);
	if (r < 0)
		guest_warn(sessions->guest, GUEST_WARNING_ANY, "ssh: %s", err->message);
	session->has_ended = r < 0;
	/* The server has it open: it would be watched on. */
	guest_unwatch(sessions->guest, session->fd);
	fd_close(&session->fd);
	return 0;
}

static void session_usage(const struct guest_sessions *sessions, struct guest_session *session)
{
	_cleanup_free_ struct wire_pod_usage *usage = malloc(sizeof(*usage));
	_cleanup_json_ json_t *object = NULL;

	if (usage) {
		guest_usage_read(sessions->pod, usage);
		object = wire_pod_usage_json(usage);
	}
	guest_session_finish(session, WIRE_SESSION_USAGE,
		guest_session_reserve(session, WIRE_SESSION_USAGE_MAX), WIRE_SESSION_USAGE_MAX,
		object);
}

void guest_session_request(struct guest_sessions *sessions, struct guest_session *session,
	const struct wire_session_frame *frame)
{
	_cleanup_json_ json_t *message = NULL;
	struct error error = {0};
	int r = wire_message_decode(frame->data, frame->length, &message, &error);

	if (r == 0 && !strcmp(wire_type(message), "usage")) {
		session_usage(sessions, session);
		return;
	}
	if (r == 0)
		r = !strcmp(wire_type(message), "ssh")
			? session_ssh(sessions, session, message, &error)
			: session_enter(sessions, session, message, &error);
	if (r < 0)
		guest_session_fail(session, error.message[0] ? error.message : "out of memory");
}
