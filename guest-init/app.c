// SPDX-License-Identifier: Apache-2.0
/*
 * app.c: the states of an app.
 *
 * Theory of operation: every app walks through enum guest_app_state in order, driven by the end of
 * its processes, by its cgroup becoming empty and by its pipes becoming empty. An app is reported
 * as exited only when none of its processes lives and all its output has gone to the host.
 *
 * In a mutable pod an app has one of the places from its start to its end. Then
 * all that it had is given back before it is reported, so that the place, and the machine, are as they were.
 */
#include "base/file.h"
#include "guest-init/app_parts.h"
#include "guest-init/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

/*
 * The capabilities of an app that asks for nothing special (the appc specification's default set).
 * Dropping the others takes one system call each, so launchers that are made ready do it at once.
 */
#define USUAL_CAPABILITIES 0xa80425fbu

/* Apps that are removed until the kernel's caches are dropped: see caches_drop(). */
#define REMOVALS_PER_DROP 8

/* The end of the pod: the first failure decides its status and takes the other apps down. */
static void pod_app_failed(struct guest_pod *pod, const struct guest_app *app)
{
	/* Each of those that come and go answers for itself. */
	if (pod->config.is_mutable)
		return;
	if (pod->status == 0)
		pod->status = app->status;
	guest_pod_stop(pod, WIRE_STOP_GRACE_MS);
}

static bool app_is_stopping(const struct guest_pod *pod, const struct guest_app *app)
{
	return pod->is_stopping || app->was_terminated || app->is_hurried;
}

static void app_close_notify(struct guest_pod *pod, struct guest_app *app)
{
	if (app->notify_fd < 0)
		return;
	guest_unwatch(pod->guest, app->notify_fd);
	fd_close(&app->notify_fd);
}

/* No process of the app is left, or none was ever made: its output is next. */
static void app_drain(struct guest_pod *pod, struct guest_app *app)
{
	app->state = GUEST_APP_DRAINING;
	/* Where the machine is about to vanish, tidying up is only a delay. */
	if (pod->guest->is_vm && pod->live_count == 1 && !pod->config.is_mutable)
		pod->output.is_leaving = true;
	if (!pod->output.is_leaving) {
		app_close_notify(pod, app);
		fd_close(&app->stdin_fd);
		fd_close(&app->stdout_fd);
		fd_close(&app->stderr_fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(app->pipes); i++)
		guest_output_finish(&app->pipes[i]);
}

/* The app ends before its main process ran; app->error says why. */
static void app_fail(struct guest_pod *pod, struct guest_app *app, int status)
{
	app->status = status;
	app_drain(pod, app);
	pod_app_failed(pod, app);
}

static void app_tell_started(struct guest_pod *pod, struct guest_app *app)
{
	guest_send_started(&pod->guest->outbox, app->config->name, app->pid);
	app->was_started = true;
}

/* Takes what it says, or has said before its end; the host hears of it once. */
static void app_hear(struct guest_pod *pod, struct guest_app *app)
{
	if (app->notify_fd >= 0 && guest_notify_read(app->notify_fd) &&
		app->state == GUEST_APP_RUNNING && !app->was_started)
		app_tell_started(pod, app);
}

void guest_pod_notify_ready(struct guest_pod *pod, uint32_t app_index)
{
	app_hear(pod, &pod->apps[app_index]);
}

static void app_run(struct guest_pod *pod, struct guest_app *app)
{
	if (guest_app_launch(pod, app) < 0) {
		app_fail(pod, app, WIRE_STATUS_EXEC_FAILED);
		return;
	}
	/* With the last reader the pipe breaks. */
	fd_close(&app->stdin_fd);
	app->state = GUEST_APP_RUNNING;
	if (!pod->config.park && !app->config->notifies)
		app_tell_started(pod, app);
}

static void app_start(struct guest_pod *pod, struct guest_app *app)
{
	if (guest_app_prepare(pod, app) < 0) {
		app_fail(pod, app, WIRE_STATUS_EXEC_FAILED);
		return;
	}
	if (!app->config->pre_start[0]) {
		app_run(pod, app);
		return;
	}
	if (guest_app_launch_handler(pod, app, app->config->pre_start, &app->error) < 0) {
		error_prefix(&app->error, 0, "pre-start handler");
		app_fail(pod, app, WIRE_STATUS_EXEC_FAILED);
		return;
	}
	app->state = GUEST_APP_PRE_START;
}

struct guest_app *guest_pod_find_app(struct guest_pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->place_count; i++)
		if (pod->apps[i].config && !strcmp(pod->apps[i].config->name, name))
			return &pod->apps[i];
	return NULL;
}

int guest_pod_prepare(struct guest_pod *pod, size_t ready_count, struct error *err)
{
	int r = 0;

	pod->apps = calloc(WIRE_APPS_MAX, sizeof(*pod->apps));
	if (!pod->apps)
		return error_set_errno(err, -ENOMEM, "prepare for the apps");
	pod->input = GUEST_INPUT_NONE;
	for (uint32_t i = 0; i < WIRE_APPS_MAX; i++)
		guest_app_init(&pod->apps[i], i, 0);
	for (size_t i = 0; r == 0 && i < ready_count; i++) {
		r = guest_app_make_ready(pod, &pod->apps[i], USUAL_CAPABILITIES, err);
		if (r == 0)
			guest_app_make_filtered(pod, &pod->apps[i]);
	}
	return r;
}

void guest_pod_start(struct guest_pod *pod)
{
	pod->output.is_shared = pod->config.app_count > 1 || pod->config.is_mutable;
	pod->place_count = pod->live_count = pod->config.app_count;
	for (size_t i = 0; i < pod->config.app_count; i++)
		pod->apps[i].config = &pod->config.apps[i];
	for (size_t i = 0; i < pod->config.app_count; i++) {
		/* An app that failed already ends the pod: the others need not start. */
		if (pod->is_stopping)
			app_drain(pod, &pod->apps[i]);
		else
			app_start(pod, &pod->apps[i]);
	}
}

/* Those that are ready come first. NULL: all are taken. */
static struct guest_app *pod_find_place(struct guest_pod *pod)
{
	for (size_t i = 0; i < WIRE_APPS_MAX; i++)
		if (!pod->apps[i].config)
			return &pod->apps[i];
	return NULL;
}

int guest_pod_add_app(struct guest_pod *pod, struct guest_start_config *config, struct error *err)
{
	struct guest_app *app = pod_find_place(pod);
	int r = 0;

	if (!pod->config.is_mutable)
		r = error_set(err, -EBADMSG, "start: the pod is not mutable");
	else if (!app || guest_pod_find_app(pod, config->app.name))
		r = error_set(
			err, -EBADMSG, "start: app %s runs, or too many others", config->app.name);
	if (r == 0 && pod->variable)
		r = guest_app_config_add_variable(&config->app, pod->variable);
	if (r == 0)
		app->added = malloc(sizeof(*app->added));
	if (r == 0 && !app->added)
		r = -ENOMEM;
	if (r < 0) {
		guest_start_done(config);
		return r == -ENOMEM ? error_set_errno(err, r, "start") : r;
	}
	*app->added = *config;
	*config = (struct guest_start_config){0};
	app->config = &app->added->app;
	app->number = app->pipes[0].app = app->pipes[1].app = app->added->number;
	if (pod->place_count <= app->index)
		pod->place_count = app->index + 1;
	pod->live_count++;
	if (pod->is_stopping)
		app_drain(pod, app);
	else
		app_start(pod, app);
	return 0;
}

/*
 * An empty directory or file, where the host has unmounted something: with the name the guest's kernel forgets all files
 * that it knows below it.
 */
static void mount_point_remove(struct guest *guest, const char *path)
{
	if (unlinkat(guest->tree_fd, path, AT_REMOVEDIR) < 0 &&
		(errno != ENOTDIR || unlinkat(guest->tree_fd, path, 0) < 0) && errno != ENOENT)
		guest_warn(guest, GUEST_WARNING_ANY, "cannot remove %s: %s", path, strerror(errno));
}

/*
 * A main process's memory goes a quarter of a second after its end, or later: the files that it had mapped are in use until
 * then, and what is in use when its name is removed stays in the kernel's caches, with the directories above, until memory
 * is short. So long has the host a file open for each. Dropping what nobody uses makes other apps' next lookups slower, too:
 * it is done once for several apps.
 */
static void caches_drop(struct guest_pod *pod)
{
	_cleanup_close_ int fd = -1;

	if (!pod->guest->is_vm || ++pod->removals < REMOVALS_PER_DROP)
		return;
	pod->removals = 0;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	/* 4: from now on without a line in the log; 2: dentries and inodes. */
	if (fd < 0 || pwrite(fd, "4", 1, 0) < 0 || pwrite(fd, "2", 1, 0) < 0)
		guest_warn(
			pod->guest, GUEST_WARNING_ANY, "cannot drop caches: %s", strerror(errno));
}

int guest_pod_remove_app(
	struct guest_pod *pod, const struct guest_remove_config *config, struct error *err)
{
	char path[NAME_MAX + 32];

	if (!pod->config.is_mutable || guest_pod_find_app(pod, config->app))
		return error_set(
			err, -EBADMSG, "remove: app %s runs, or is of the pod", config->app);
	snprintf(path, sizeof(path), "apps/%s/rootfs", config->app);
	mount_point_remove(pod->guest, path);
	snprintf(path, sizeof(path), "apps/%s", config->app);
	mount_point_remove(pod->guest, path);
	for (const char **volume = config->volumes; *volume; volume++) {
		snprintf(path, sizeof(path), "volumes/%s", *volume);
		mount_point_remove(pod->guest, path);
	}
	guest_send_removed(&pod->guest->outbox, config->app);
	caches_drop(pod);
	return 0;
}

static int app_park(struct guest_app *app, struct error *err)
{
	int r;

	if (app->state != GUEST_APP_RUNNING)
		return error_set(err, -ECHILD, "app %s: %s", app->config->name,
			app->error.message[0] ? app->error.message : "not started");
	r = guest_park(app->pid, &app->parked, err);
	return r < 0 ? error_prefix(err, r, "app %s", app->config->name) : 0;
}

int guest_pod_park(struct guest_pod *pod, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < pod->config.app_count; i++)
		if (pod->config.apps[i].pre_start[0])
			return error_set(err, -ENOTSUP,
				"app %s: it has a pre-start handler, which must run anew in each pod",
				pod->config.apps[i].name);
	guest_pod_start(pod);
	for (size_t i = 0; r == 0 && i < pod->config.app_count; i++)
		r = app_park(&pod->apps[i], err);
	return r;
}

int guest_pod_unpark(struct guest_pod *pod, const uint8_t entropy[WIRE_ENTROPY_SIZE],
	const char *variable, struct error *err)
{
	for (size_t i = 0; i < pod->config.app_count; i++) {
		struct guest_app *app = &pod->apps[i];
		uint8_t random[GUEST_PARKED_RANDOM_SIZE];
		int r;

		guest_secret_derive(
			entropy, "appc-vm AT_RANDOM", app->index, random, sizeof(random));
		r = guest_parked_renew(&app->parked, random, variable);
		explicit_bzero(random, sizeof(random));
		if (r == 0)
			r = guest_parked_release(&app->parked);
		if (r < 0)
			return error_set_errno(err, r, "app %s: continue it", app->config->name);
		if (!app->config->notifies)
			app_tell_started(pod, app);
	}
	return 0;
}

/* Makes an end of what the process that has just ended left behind. */
static void app_clear(struct guest_pod *pod, struct guest_app *app);

static void app_cleared(struct guest_pod *pod, struct guest_app *app)
{
	struct error error;

	if (app->is_clearing)
		guest_unwatch(pod->guest, app->cgroup_events_fd);
	app->is_clearing = false;
	if (app->state == GUEST_APP_ENDING && app->config->post_stop[0] && !pod->is_hurried &&
		!app->is_hurried) {
		if (guest_app_launch_handler(pod, app, app->config->post_stop, &error) == 0) {
			app->state = GUEST_APP_POST_STOP;
			return;
		}
		guest_warn(pod->guest, GUEST_WARNING_ANY, "app %s: post-stop handler: %s",
			app->config->name, error.message);
	}
	app_drain(pod, app);
}

static void app_clear(struct guest_pod *pod, struct guest_app *app)
{
	/* A launcher that its pre-start handler left without work is in the cgroup, too. */
	guest_launcher_stop(&app->launcher);
	guest_launcher_stop(&app->filtered);
	if (app->cgroup_events_fd < 0 || !guest_cgroup_is_populated(app->cgroup_events_fd)) {
		app_cleared(pod, app);
		return;
	}
	if (guest_cgroup_kill(app->cgroup_fd) == 0 &&
		guest_watch(pod->guest, app->cgroup_events_fd, EPOLLPRI, GUEST_EVENT_CGROUP,
			app->index) == 0)
		app->is_clearing = true;
	if (!app->is_clearing || !guest_cgroup_is_populated(app->cgroup_events_fd))
		app_cleared(pod, app);
}

void guest_pod_cgroup_ready(struct guest_pod *pod, uint32_t app_index)
{
	struct guest_app *app = &pod->apps[app_index];

	/* A post-stop handler would stand still before its first instruction, and we with it. */
	if (app->is_clearing && !guest_cgroup_is_populated(app->cgroup_events_fd) &&
		!pod->is_paused)
		app_cleared(pod, app);
}

static int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? WIRE_STATUS_SIGNAL(WTERMSIG(wait_status))
					: WEXITSTATUS(wait_status);
}

static void app_pre_start_ended(struct guest_pod *pod, struct guest_app *app, int status)
{
	if (status == 0 && !app_is_stopping(pod, app)) {
		app_run(pod, app);
		return;
	}
	if (status != 0) {
		error_set(&app->error, 0, "the pre-start handler ended with status %d", status);
		app->status = status;
	}
	app->state = GUEST_APP_POST_STOP_ENDING;
	app_clear(pod, app);
	if (status != 0 && !(app->was_terminated && status == WIRE_STATUS_SIGNAL(SIGTERM)))
		pod_app_failed(pod, app);
}

static void app_main_ended(struct guest_pod *pod, struct guest_app *app, int status)
{
	app->status = status;
	if (app->cgroup_fd >= 0 &&
		(app->config->memory_max != GUEST_UNLIMITED ||
			pod->config.memory_max != GUEST_UNLIMITED))
		app->had_oom_kill = guest_cgroup_had_oom_kill(app->cgroup_fd);
	app->state = GUEST_APP_ENDING;
	app_clear(pod, app);
	/* An app that ends because we asked it to has not failed. */
	if (status != 0 && !(app->was_terminated && status == WIRE_STATUS_SIGNAL(SIGTERM)))
		pod_app_failed(pod, app);
}

static void app_post_stop_ended(struct guest_pod *pod, struct guest_app *app, int status)
{
	if (status != 0)
		guest_warn(pod->guest, GUEST_WARNING_ANY,
			"app %s: the post-stop handler ended with status %d", app->config->name,
			status);
	app->state = GUEST_APP_POST_STOP_ENDING;
	app_clear(pod, app);
}

static void app_process_ended(struct guest_pod *pod, struct guest_app *app, int wait_status)
{
	int status = status_of(wait_status);

	if (app->state == GUEST_APP_PRE_START)
		app_pre_start_ended(pod, app, status);
	else if (app->state == GUEST_APP_RUNNING)
		app_main_ended(pod, app, status);
	else if (app->state == GUEST_APP_POST_STOP)
		app_post_stop_ended(pod, app, status);
}

/* Goes on with what could not be gone on with while the pod was paused. */
static void pod_catch_up(struct guest_pod *pod)
{
	for (uint32_t i = 0; i < pod->place_count; i++) {
		struct guest_app *app = &pod->apps[i];

		if (!app->config)
			continue;
		if (app->has_late_end) {
			app->has_late_end = false;
			app_process_ended(pod, app, app->late_end);
		} else {
			guest_pod_cgroup_ready(pod, i);
		}
	}
}

static void postpone(uint64_t *at_ms, uint64_t by_ms)
{
	if (*at_ms)
		*at_ms += by_ms;
}

/* Who is to end by himself, and stood still, has the rest of his time. */
static void pod_postpone_kills(struct guest_pod *pod)
{
	const uint64_t by_ms = guest_now_ms() - pod->paused_at_ms;

	postpone(&pod->kill_at_ms, by_ms);
	for (size_t i = 0; i < pod->place_count; i++)
		postpone(&pod->apps[i].kill_at_ms, by_ms);
}

void guest_pod_pause(struct guest_pod *pod, bool is_paused)
{
	bool is_whole = true;

	if (is_paused && !pod->is_paused)
		pod->paused_at_ms = guest_now_ms();
	else if (!is_paused && pod->is_paused)
		pod_postpone_kills(pod);
	pod->is_paused = is_paused;
	for (size_t i = 0; i < pod->place_count; i++) {
		const struct guest_app *app = &pod->apps[i];
		int r;

		if (!app->config || app->state == GUEST_APP_NEW || app->state == GUEST_APP_EXITED)
			continue;
		r = app->cgroup_fd < 0
			? -ENOENT
			: guest_cgroup_freeze(app->cgroup_fd, app->cgroup_events_fd, is_paused);

		/* What takes longer stands still when it comes out of the kernel. */
		is_whole = is_whole && (r == 0 || r == -ETIMEDOUT);
	}
	if (!is_whole)
		kill(-1, is_paused ? SIGSTOP : SIGCONT);
	if (!is_paused)
		pod_catch_up(pod);
}

void guest_pod_child_ended(struct guest_pod *pod, pid_t pid, int wait_status)
{
	for (size_t i = 0; i < WIRE_APPS_MAX; i++) {
		struct guest_app *app = &pod->apps[i];

		if (app->launcher.pid == pid)
			app->launcher.pid = 0;
		if (app->filtered.pid == pid)
			app->filtered.pid = 0;
		if (app->pid != pid)
			continue;
		app_hear(pod, app);
		app->pid = 0;
		if (pod->is_paused) {
			app->has_late_end = true;
			app->late_end = wait_status;
			return;
		}
		app_process_ended(pod, app, wait_status);
		return;
	}
}

/* SIGKILL to whatever runs. Where there is no cgroup, only the process that we know of. */
static void app_kill(struct guest_app *app)
{
	if (app->pid == 0 && !app->is_clearing && !app->has_late_end)
		return;
	if (app->cgroup_fd >= 0 && guest_cgroup_kill(app->cgroup_fd) == 0)
		return;
	if (app->pid > 0)
		kill(app->pid, SIGKILL);
}

static void pod_kill(struct guest_pod *pod)
{
	for (size_t i = 0; i < pod->place_count; i++)
		app_kill(&pod->apps[i]);
}

static void app_terminate(struct guest_app *app)
{
	if (app->state != GUEST_APP_PRE_START && app->state != GUEST_APP_RUNNING)
		return;
	app->was_terminated = true;
	if (app->pid > 0)
		kill(app->pid, SIGTERM);
}

void guest_pod_stop(struct guest_pod *pod, unsigned int grace_ms)
{
	if (grace_ms == 0) {
		pod->is_stopping = pod->is_hurried = true;
		pod->kill_at_ms = 0;
		pod_kill(pod);
		return;
	}
	/* Because an app has failed, say. */
	if (pod->is_stopping)
		return;
	pod->is_stopping = true;
	pod->kill_at_ms = guest_now_ms() + grace_ms;
	for (size_t i = 0; i < pod->place_count; i++)
		app_terminate(&pod->apps[i]);
}

void guest_pod_stop_app(struct guest_pod *pod, const char *name, unsigned int grace_ms)
{
	struct guest_app *app = guest_pod_find_app(pod, name);

	/* It may have ended while the message was on its way. */
	if (!app)
		return;
	if (grace_ms == 0) {
		app->is_hurried = true;
		app_kill(app);
		return;
	}
	if (app->kill_at_ms)
		return;
	app->kill_at_ms = guest_now_ms() + grace_ms;
	app_terminate(app);
}

void guest_pod_pipe_ready(struct guest_pod *pod, uint32_t pipe_index, uint32_t events)
{
	struct guest_app *app = &pod->apps[pipe_index / 2];

	guest_output_pipe_ready(&app->pipes[pipe_index % 2], events);
}

static void app_report(struct guest_pod *pod, struct guest_app *app)
{
	app->state = GUEST_APP_EXITED;
	pod->live_count--;
	guest_send_exited(&pod->guest->outbox, app->config->name, app->status, app->had_oom_kill,
		app->error.message[0] ? app->error.message : NULL);
	if (app->added)
		guest_app_release(pod, app);
}

/* When somebody is to be killed next; 0: never, or not while the pod stands still. */
static uint64_t pod_kill_time(const struct guest_pod *pod)
{
	uint64_t first = pod->kill_at_ms;

	if (pod->is_paused)
		return 0;
	for (size_t i = 0; pod->config.is_mutable && i < pod->place_count; i++) {
		uint64_t time = pod->apps[i].kill_at_ms;

		if (time && (!first || time < first))
			first = time;
	}
	return first;
}

static void pod_kill_late(struct guest_pod *pod)
{
	uint64_t now = guest_now_ms();

	if (pod->kill_at_ms && now >= pod->kill_at_ms) {
		/* Post-stop handlers that follow get the same time once more. */
		pod->kill_at_ms = now + WIRE_STOP_GRACE_MS;
		pod_kill(pod);
	}
	/* Apps that are stopped alone. */
	for (size_t i = 0; i < pod->place_count; i++) {
		struct guest_app *app = &pod->apps[i];

		if (!app->kill_at_ms || now < app->kill_at_ms)
			continue;
		app->kill_at_ms = now + WIRE_STOP_GRACE_MS;
		app_kill(app);
	}
}

void guest_pod_proceed(struct guest_pod *pod)
{
	if (pod_kill_time(pod))
		pod_kill_late(pod);
	guest_output_pump(&pod->output);
	for (size_t i = 0; i < pod->place_count; i++) {
		struct guest_app *app = &pod->apps[i];

		if (app->state == GUEST_APP_DRAINING && guest_output_is_finished(&app->pipes[0]) &&
			guest_output_is_finished(&app->pipes[1]))
			app_report(pod, app);
	}
}

int guest_pod_timeout_ms(const struct guest_pod *pod)
{
	int timeout = guest_output_timeout_ms(&pod->output);
	uint64_t kill_at_ms = pod_kill_time(pod), now, left;

	if (!kill_at_ms || guest_pod_has_ended(pod) || timeout == 0)
		return timeout;
	now = guest_now_ms();
	left = kill_at_ms > now ? kill_at_ms - now : 0;
	return timeout < 0 || left < (uint64_t)timeout ? (int)left : timeout;
}

bool guest_pod_has_ended(const struct guest_pod *pod)
{
	return pod->live_count == 0 && (pod->is_stopping || !pod->config.is_mutable);
}
