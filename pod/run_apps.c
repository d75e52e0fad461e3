// SPDX-License-Identifier: Apache-2.0
/*
 * run_apps.c: the supervisor of a mutable pod and who wants something of its apps.
 *
 * Theory of operation: there is one supervisor and it has one thread, so requests of several clients come one after
 * the other. What a request changes is decided when it is taken; what it has to wait for the guest for is done when the
 * guest has said so, and until then its client is kept with the name of its app. A client that has gone changes nothing but
 * that nobody is told.
 *
 * What an app's volumes begin with, a child copies; meanwhile others that are to be added wait in a queue, and all else
 * is served.
 *
 * An app that is removed is stopped where it runs, and not started any more. When it has ended it leaves the pod (and
 * s->apps, which has the same order); pod/mutable.h keeps it until the guest has let go of its mount points.
 */
#include "pod/run_parts.h"

#include "base/log.h"
#include "pod/app_request.h"

#include <string.h>
#include <sys/socket.h>

static void answer_ok(int fd)
{
	_cleanup_json_ json_t *answer = json_pack("{s:s}", "type", "ok");

	pod_request_answer(fd, answer);
}

/* message NULL: it was done. */
static void answer(int fd, const char *message)
{
	if (message)
		pod_request_refuse(fd, message);
	else
		answer_ok(fd);
}

/* ---- clients that wait */

static void waiter_clear(struct app_waiter *waiter)
{
	cleanup_close(&waiter->fd);
	free(waiter->app);
	*waiter = (struct app_waiter){.fd = -1};
}

/* Nobody listens any more. */
static bool waiter_has_gone(const struct app_waiter *waiter)
{
	char byte;

	return recv(waiter->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Takes fd where it returns 0. */
static int waiter_add(
	struct supervisor *s, int fd, enum app_action action, const char *app, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->waiters); i++) {
		struct app_waiter *waiter = &s->waiters[i];

		if (waiter->fd >= 0 && !waiter_has_gone(waiter))
			continue;
		waiter_clear(waiter);
		waiter->app = strdup(app);
		if (!waiter->app)
			return error_set(err, -ENOMEM, "out of memory");
		waiter->fd = fd;
		waiter->action = action;
		return 0;
	}
	return error_set(err, -EBUSY, "too many wait for the pod's apps already");
}

/* Answers all that wait for this of the app. */
static void waiters_answer(
	struct supervisor *s, const char *app, enum app_action action, const char *message)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->waiters); i++) {
		struct app_waiter *waiter = &s->waiters[i];

		if (waiter->fd < 0 || waiter->action != action || strcmp(waiter->app, app) != 0)
			continue;
		answer(waiter->fd, message);
		waiter_clear(waiter);
	}
}

/* ---- clients that add */

/* Neither the one that is being added, nor those behind it. */
static void additions_refuse(struct supervisor *s, const char *message)
{
	if (s->mutable.adding) {
		pod_mutable_add_abort(&s->mutable);
		pod_request_refuse(s->adding_fd, message);
		cleanup_close(&s->adding_fd);
	}
	for (size_t i = 0; i < s->addition_count; i++) {
		pod_request_refuse(s->additions[i].fd, message);
		cleanup_close(&s->additions[i].fd);
		appc_pod_manifest_free(s->additions[i].manifest);
	}
	s->addition_count = 0;
}

void supervisor_apps_init(struct supervisor *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->waiters); i++)
		s->waiters[i] = (struct app_waiter){.fd = -1};
}

static int find_app(const struct supervisor *s, const char *name, struct error *err)
{
	for (size_t i = 0; i < s->resolved->app_count; i++)
		if (!strcmp(s->resolved->apps[i].name, name))
			return (int)i;
	return error_set(err, -ENOENT, "the pod has no app \"%s\"", name);
}

void supervisor_apps_done(struct supervisor *s)
{
	const char *why = s->starts_anew ? "its machine starts anew: try again" : "it has ended";

	additions_refuse(s, why);
	pod_mutable_done(&s->mutable);
	for (size_t i = 0; i < ARRAY_SIZE(s->waiters); i++) {
		struct app_waiter *waiter = &s->waiters[i];

		/* What was taken away has gone for good, with the guest that had to let go of it. */
		if (waiter->fd >= 0)
			answer(waiter->fd,
				waiter->action == APP_RM && find_app(s, waiter->app, NULL) < 0
					? NULL
					: why);
		waiter_clear(waiter);
	}
}

/* ---- what the guest is told */

/* It leaves with the next supervisor_control_writable(). */
static int queue_for_guest(struct supervisor *s, json_t *message, struct error *err)
{
	_cleanup_json_ json_t *owned = message;
	int r = message ? supervisor_queue_message(s, message) : -ENOMEM;

	return r < 0 ? error_set_errno(err, r, "cannot tell the guest") : 0;
}

static int tell_guest(struct supervisor *s, json_t *message, struct error *err)
{
	int r = queue_for_guest(s, message, err);

	if (r == 0)
		supervisor_control_writable(s);
	return r;
}

/* ---- apps that go */

/* Out of all that knows it by its place. */
static void forget_app(struct supervisor *s, size_t index)
{
	free(s->apps[index].message);
	memmove(&s->apps[index], &s->apps[index + 1],
		(s->resolved->app_count - index) * sizeof(s->apps[0]));
	pod_output_forget(&s->output, index);
	pod_attachments_forget(&s->attachments, index);
}

/*
 * One that does not run. Who waits for its removal is answered when the guest has let go of it, which it must be told
 * once the app is taken away: so there is room for that message first.
 */
static void take_app(struct supervisor *s, size_t index)
{
	/* Kept with the app, until the guest has. */
	const char *name = s->resolved->apps[index].name;
	const size_t queued = s->outgoing.length;
	struct error err = {0};
	int r = queue_for_guest(s, pod_mutable_remove_message(&s->mutable, index), &err);

	if (r == 0)
		r = pod_mutable_take(&s->mutable, index, &err);
	if (r < 0) {
		s->outgoing.length = queued;
		s->apps[index].is_leaving = false;
		waiters_answer(s, name, APP_RM, error_text(&err, r));
		return;
	}
	forget_app(s, index);
	supervisor_record_run(s);
	supervisor_control_writable(s);
}

/* ---- what the guest tells */

void supervisor_app_started(struct supervisor *s, size_t index)
{
	waiters_answer(s, s->resolved->apps[index].name, APP_START, NULL);
}

void supervisor_app_exited(struct supervisor *s, size_t index)
{
	const struct app_run *app = &s->apps[index];
	const char *name = s->resolved->apps[index].name;
	char message[sizeof(((struct error *)NULL)->message)];

	snprintf(message, sizeof(message), "app \"%s\" did not start: %s", name,
		app->message ? app->message : "it ended before");
	waiters_answer(s, name, APP_START, message);
	waiters_answer(s, name, APP_STOP, NULL);
	if (app->is_leaving)
		take_app(s, index);
}

int supervisor_app_removed(struct supervisor *s, const char *name)
{
	if (!name || pod_mutable_release(&s->mutable, name) < 0)
		return supervisor_protocol_error(s, "an app was removed that cannot have been");
	waiters_answer(s, name, APP_RM, NULL);
	return 0;
}

/* ---- requests; each takes the client's fd where *fd is -1 then, else the answer is its result */

/* It is the last of the resolved pod. */
static void app_added(struct supervisor *s)
{
	s->apps[s->resolved->app_count - 1] =
		(struct app_run){.state = APP_CREATED, .created_at = pod_now()};
	supervisor_record_run(s);
}

/* Takes manifest, and *fd where the answer has to wait. */
static int add_app(
	struct supervisor *s, struct appc_pod_manifest *manifest, int *fd, struct error *err)
{
	int r = pod_mutable_add(&s->mutable, manifest, err);

	if (r > 0)
		s->adding_fd = TAKE_FD(*fd);
	else if (r == 0)
		app_added(s);
	return r < 0 ? r : 0;
}

static int queue_app(struct supervisor *s, struct app_request *request, int *fd, struct error *err)
{
	struct app_addition *last = &s->additions[s->addition_count];

	if (s->addition_count == ARRAY_SIZE(s->additions))
		return error_set(err, -EBUSY, "too many apps are being added already");
	*last = (struct app_addition){0};
	last->manifest = TAKE_PTR(request->manifest);
	last->fd = TAKE_FD(*fd);
	s->addition_count++;
	return 0;
}

static void add_next(struct supervisor *s)
{
	struct app_addition next = s->additions[0];
	_cleanup_close_ int client = next.fd;
	struct error err = {0};
	int r;

	memmove(s->additions, s->additions + 1, --s->addition_count * sizeof(s->additions[0]));
	r = add_app(s, next.manifest, &client, &err);
	if (client >= 0)
		answer(client, r < 0 ? error_text(&err, r) : NULL);
}

int supervisor_adding_source(const struct supervisor *s)
{
	return s->mutable.adding ? s->mutable.fill.pid_fd : -1;
}

void supervisor_adding_ready(struct supervisor *s)
{
	struct error err = {0};
	int r;

	if (s->stops > 0 || s->ended) {
		additions_refuse(s, "it is stopping");
		return;
	}
	r = pod_mutable_add_end(&s->mutable, &err);
	if (r == 0)
		app_added(s);
	answer(s->adding_fd, r < 0 ? error_text(&err, r) : NULL);
	cleanup_close(&s->adding_fd);
	while (s->addition_count > 0 && !s->mutable.adding)
		add_next(s);
}

static int start_app(struct supervisor *s, size_t index, int *fd, struct error *err)
{
	struct app_run *app = &s->apps[index];
	const char *name = s->resolved->apps[index].name;
	int r;

	if (app->is_leaving)
		return error_set(err, -EBUSY, "app \"%s\" is being removed", name);
	if (app->state == APP_STARTED)
		return error_set(err, -EALREADY, "app \"%s\" is running", name);
	r = waiter_add(s, *fd, APP_START, name, err);
	if (r < 0)
		return r;
	*fd = -1;
	/* Another asked already, who may have gone. */
	if (app->state == APP_WAITING)
		return 0;
	r = tell_guest(s, pod_mutable_start_message(&s->mutable, index), err);
	if (r < 0) {
		waiters_answer(s, name, APP_START, error_text(err, r));
		return 0;
	}
	/* What became of it before is of no interest any more. */
	free(app->message);
	*app = (struct app_run){.state = APP_WAITING, .created_at = app->created_at};
	supervisor_record_app(s, index);
	return 0;
}

/* Once for each start: who asks again, since the first was killed, say, waits for the same end. */
static int tell_to_stop(struct supervisor *s, size_t index, struct error *err)
{
	struct app_run *app = &s->apps[index];
	int r;

	if (app->is_stopping)
		return 0;
	r = tell_guest(s,
		json_pack("{s:s, s:i, s:s}", "type", "stop", "grace_ms", WIRE_STOP_GRACE_MS, "app",
			s->resolved->apps[index].name),
		err);
	app->is_stopping = r == 0;
	return r;
}

static int stop_app(struct supervisor *s, size_t index, int *fd, struct error *err)
{
	const char *name = s->resolved->apps[index].name;
	int r;

	/* Nothing is to be done for an app that does not run. */
	if (!app_is_live(&s->apps[index]))
		return 0;
	r = waiter_add(s, *fd, APP_STOP, name, err);
	if (r < 0)
		return r;
	*fd = -1;
	r = tell_to_stop(s, index, err);
	if (r < 0)
		waiters_answer(s, name, APP_STOP, error_text(err, r));
	return 0;
}

static int remove_app(struct supervisor *s, size_t index, int *fd, struct error *err)
{
	const char *name = s->resolved->apps[index].name;
	int r = waiter_add(s, *fd, APP_RM, name, err);

	if (r < 0)
		return r;
	*fd = -1;
	if (!app_is_live(&s->apps[index])) {
		take_app(s, index);
		return 0;
	}
	r = tell_to_stop(s, index, err);
	if (r < 0)
		waiters_answer(s, name, APP_RM, error_text(err, r));
	else
		s->apps[index].is_leaving = true;
	return 0;
}

static int serve(struct supervisor *s, struct app_request *request, int *fd, struct error *err)
{
	int index;

	if (!s->resolved->is_mutable)
		return error_set(err, -EPERM, "immutable pod: cannot %s application",
			request->action == APP_ADD             ? "add"
				: request->action == APP_START ? "start"
				: request->action == APP_STOP  ? "stop"
							       : "remove");
	if (s->stops > 0 || s->ended)
		return error_set(err, -ESHUTDOWN, "it is stopping");
	/* What is frozen cannot come to life, nor take its leave. */
	if (s->pause != PAUSE_NONE)
		return error_set(err, -EBUSY, "it is paused, or about to be or to go on");
	if (request->action == APP_ADD)
		return s->mutable.adding ? queue_app(s, request, fd, err)
					 : add_app(s, TAKE_PTR(request->manifest), fd, err);
	index = find_app(s, request->app, err);
	if (index < 0)
		return index;
	if (request->action == APP_START)
		return start_app(s, (size_t)index, fd, err);
	if (request->action == APP_STOP)
		return stop_app(s, (size_t)index, fd, err);
	return remove_app(s, (size_t)index, fd, err);
}

void supervisor_app_request(struct supervisor *s, json_t *message, int fd)
{
	_cleanup_(app_request_clear) struct app_request request = {0};
	_cleanup_close_ int client = fd;
	struct error err = {0};
	int r = app_request_parse(message, &request, &err);

	if (r == 0)
		r = serve(s, &request, &client, &err);
	if (client >= 0)
		answer(client, r < 0 ? error_text(&err, r) : NULL);
}
