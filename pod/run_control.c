// SPDX-License-Identifier: Apache-2.0
/*
 * run_control.c: the supervisor's side of the control protocol (wire/wire.h). All that comes from the guest is checked
 * as device input.
 */
#include "pod/run_parts.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#include <string.h>
#include <sys/socket.h>

/* Warnings of guest-init that are shown. */
#define WARNINGS_MAX 100
/* Messages taken in one turn of the loop: a guest that never stops talking must not keep it from its other duties. */
#define MESSAGES_PER_TURN 64

int supervisor_protocol_error(struct supervisor *s, const char *what)
{
	return error_set(&s->end_error, -EBADMSG, "guest-init broke the protocol: %s", what);
}

/* The app that a message is about, or -1. */
static ssize_t message_app(const struct supervisor *s, json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "app"));

	for (size_t i = 0; name && i < s->resolved->app_count; i++)
		if (!strcmp(name, s->resolved->apps[i].name))
			return (ssize_t)i;
	return -1;
}

/* A copy of a message's text, safe to show; NULL when there is none. */
static char *message_text(json_t *message, const char *key)
{
	const char *text = json_string_value(json_object_get(message, key));
	char *copy = text ? strndup(text, 1000) : NULL;

	return copy ? log_sanitise(copy) : NULL;
}

int supervisor_queue_message(struct supervisor *s, json_t *message)
{
	_cleanup_free_ char *frame = NULL;
	size_t length;
	char *data;
	int r = wire_frame_encode(message, WIRE_FRAME_MAX_TO_GUEST, &frame, &length);

	if (r < 0)
		return r;
	data = realloc(s->outgoing.data, s->outgoing.length + length);
	if (!data)
		return -ENOMEM;
	memcpy(data + s->outgoing.length, frame, length);
	s->outgoing.data = data;
	s->outgoing.length += length;
	return 0;
}

void supervisor_control_writable(struct supervisor *s)
{
	ssize_t n = send(s->process.control_fd, s->outgoing.data + s->outgoing.sent,
		s->outgoing.length - s->outgoing.sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* That the other end is gone shows when we read. */
	if (n > 0)
		s->outgoing.sent += (size_t)n;
	if (s->outgoing.sent == s->outgoing.length)
		s->outgoing.sent = s->outgoing.length = s->answer_end = 0;
}

/* An exit status from the guest; -1 when it is none. */
static int message_status(json_t *message)
{
	json_t *status = json_object_get(message, "status");
	json_int_t value = json_integer_value(status);

	return json_is_integer(status) && value >= 0 && value <= 255 ? (int)value : -1;
}

static int handle_started(struct supervisor *s, json_t *message)
{
	ssize_t index = message_app(s, message);

	if (index < 0 || s->apps[index].state != APP_WAITING)
		return supervisor_protocol_error(s, "an app started that cannot have");
	s->apps[index].state = APP_STARTED;
	s->apps[index].started_at = pod_now();
	supervisor_mark(s, MACHINE_EVENT_APP_EXEC);
	supervisor_take_terminal(s);
	supervisor_record_app(s, (size_t)index);
	if (s->resolved->is_mutable)
		supervisor_app_started(s, (size_t)index);
	else
		supervisor_check_ready(s);
	return 0;
}

static int handle_exited(struct supervisor *s, json_t *message)
{
	ssize_t index = message_app(s, message);
	int status = message_status(message);
	struct app_run *app;

	if (index < 0 || status < 0 || !app_is_live(&s->apps[index]))
		return supervisor_protocol_error(s, "an app exited that cannot have");
	app = &s->apps[index];
	app->state = APP_EXITED;
	app->finished_at = pod_now();
	app->status = status;
	app->out_of_memory = json_is_true(json_object_get(message, "oom"));
	app->message = message_text(message, "message");
	if (app->message)
		log_error("app %s: %s", s->resolved->apps[index].name, app->message);
	if (app->out_of_memory)
		log_warning("app %s ran out of memory", s->resolved->apps[index].name);
	supervisor_record_app(s, (size_t)index);
	supervisor_app_exited(s, (size_t)index);
	return 0;
}

/* The first message of a mutable pod; it has no app to wait for. */
static int handle_ready(struct supervisor *s)
{
	if (!s->resolved->is_mutable || s->is_ready)
		return supervisor_protocol_error(s, "a pod is ready that cannot be");
	s->is_ready = true;
	supervisor_check_ready(s);
	return 0;
}

static int handle_ended(struct supervisor *s, json_t *message)
{
	int status = message_status(message);

	for (size_t i = 0; i < s->resolved->app_count; i++)
		if (app_is_live(&s->apps[i]))
			return supervisor_protocol_error(s, "the pod ended before its apps");
	if (status < 0)
		return supervisor_protocol_error(s, "the pod ended without a status");
	s->ended = true;
	s->status = status;
	supervisor_tell_ending(s);
	return 0;
}

/* One at a time: what waits for a guest that does not read its answers stays bounded. */
static int handle_metadata(struct supervisor *s, json_t *message)
{
	_cleanup_json_ json_t *answer = NULL;
	int r;

	if (s->answer_end > s->outgoing.sent)
		return supervisor_protocol_error(
			s, "a metadata request before the last one was answered");
	answer = pod_metadata_answer(&s->metadata, message, clock_monotonic());
	if (!answer)
		return supervisor_protocol_error(s, "a malformed metadata request");
	r = supervisor_queue_message(s, answer);
	if (r < 0)
		return error_set_errno(&s->end_error, r, "metadata request");
	s->answer_end = s->outgoing.length;
	supervisor_control_writable(s);
	return 0;
}

static int handle_message(struct supervisor *s, json_t *message)
{
	const char *type = wire_type(message);
	_cleanup_free_ char *text = NULL;

	if (s->ended)
		return supervisor_protocol_error(s, "a message out of its turn");
	/* It runs: from now on it is asked before it is killed. Any other deadline is none of its business. */
	if (!s->heard && s->stops == 0 && !s->is_killed)
		s->kill_at = 0;
	s->heard = true;
	if (!strcmp(type, "started"))
		return handle_started(s, message);
	if (!strcmp(type, "exited"))
		return handle_exited(s, message);
	if (!strcmp(type, "ended"))
		return handle_ended(s, message);
	if (!strcmp(type, "metadata"))
		return handle_metadata(s, message);
	if (!strcmp(type, "resumed") ||
		(!strcmp(type, "paused") && s->options->flavour == FLAVOUR_CONTAINER))
		return supervisor_pause_told(s, !strcmp(type, "paused"));
	if (!strcmp(type, "ready"))
		return handle_ready(s);
	if (!strcmp(type, "removed"))
		return supervisor_app_removed(
			s, json_string_value(json_object_get(message, "app")));
	text = message_text(message, "message");
	if (!strcmp(type, "warning")) {
		/* The guest must not fill the log. */
		if (s->warnings < WARNINGS_MAX)
			log_warning("%s", text ? text : "guest-init warns without words");
		else if (s->warnings == WARNINGS_MAX)
			log_warning("guest-init warns on; no more of it is shown");
		if (s->warnings <= WARNINGS_MAX)
			s->warnings++;
		return 0;
	}
	if (!strcmp(type, "failed"))
		return error_set(&s->end_error, -EIO, "guest-init failed: %s",
			text ? text : "no reason given");
	return supervisor_protocol_error(s, "a message of unknown type");
}

int supervisor_control_ready(struct supervisor *s)
{
	s->more = false;
	for (unsigned int taken = 0; taken < MESSAGES_PER_TURN; taken++) {
		_cleanup_json_ json_t *message = NULL;
		struct error error = {0};
		ssize_t n;
		int r;

		r = wire_reader_next(&s->control, &message, &error);
		if (r < 0)
			return supervisor_protocol_error(s, error_text(&error, r));
		if (r > 0) {
			r = handle_message(s, message);
			if (r < 0)
				return r;
			continue;
		}
		n = wire_reader_fill(&s->control, s->process.control_fd);
		if (n == -EAGAIN)
			return 0;
		/* A container's init exits after its last word. */
		if (n == 0 && s->ended)
			return 0;
		if (n == 0)
			return error_set(&s->end_error, -EPIPE, "the guest hung up");
		if (n < 0)
			return error_set_errno(&s->end_error, (int)n, "control socket");
	}
	s->more = true;
	return 0;
}
