// SPDX-License-Identifier: Apache-2.0
/*
 * app.c: the states of an app.
 *
 * Theory of operation: every app walks through enum guest_app_state in order, driven by the end of
 * its processes, by its cgroup becoming empty and by its pipes becoming empty. An app is reported
 * as exited only when none of its processes lives and all its output has gone to the host.
 *
 * What an app needs - a launcher in a mount namespace and cgroup of its own, pipes - is made ready by
 * the same function for all, for the first apps of a VM before the VM is parked.
 *
 * A system call filter cannot be taken off, and to install one costs as many instructions as all of an app's
 * start, where the guest's kernel is emulated. So those apps have a second launcher, with the filter that nearly
 * all apps get, which cannot mount and so on; it takes over when the first has done that.
 *
 * In a mutable pod an app has one of the places from its start to its end. Then
 * all that it had is given back before it is reported, so that the place, and the machine, are as they were.
 */
#include "guest-init/app.h"

#include "guest-init/cgroup.h"
#include "guest-init/launch.h"
#include "guest-init/listen.h"
#include "guest-init/port.h"
#include "guest-init/pty.h"
#include "guest-init/seccomp.h"
#include "wire/filter.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

/*
 * The capabilities of an app that asks for nothing special (the appc specification's default set).
 * Dropping the others takes one system call each, so launchers that are made ready do it at once.
 */
#define USUAL_CAPABILITIES 0xa80425fbu

static void app_close(int *fd)
{
	if (*fd >= 0)
		close(TAKE_FD(*fd));
}

/* The end of the pod: the first failure decides its status and takes the other apps down. */
static void pod_app_failed(struct guest_pod *pod, const struct guest_app *app)
{
	/* Each of those that come and go answers for itself. */
	if (pod->config.is_mutable)
		return;
	if (pod->status == 0)
		pod->status = app->status;
	if (!pod->is_stopping)
		guest_pod_stop(pod, WIRE_STOP_GRACE_MS);
}

static bool app_is_stopping(const struct guest_pod *pod, const struct guest_app *app)
{
	return pod->is_stopping || app->was_terminated || app->is_hurried;
}

/* No process of the app is left, or none was ever made: its output is next. */
static void app_drain(struct guest_pod *pod, struct guest_app *app)
{
	app->state = GUEST_APP_DRAINING;
	/* Where the machine is about to vanish, tidying up is only a delay. */
	if (pod->guest->is_vm && pod->live_count == 1 && !pod->config.is_mutable)
		pod->output.is_leaving = true;
	if (!pod->output.is_leaving) {
		app_close(&app->stdin_fd);
		app_close(&app->stdout_fd);
		app_close(&app->stderr_fd);
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

static bool app_has_terminal(const struct guest_pod *pod, const struct guest_app *app)
{
	return pod->config.terminal.type && pod->config.input_app == (int)app->index;
}

/* Of launchers that are made for one program and execute it at once. */
static char transient_stack[GUEST_LAUNCHER_STACK_SIZE] __attribute__((aligned(16)));

/* What all processes of an app have in common. */
static struct guest_launch app_launch_base(const struct guest_app *app, const char *const *exec)
{
	const struct guest_app_config *config = app->config;

	return (struct guest_launch){
		.exec = exec,
		.environment = config->environment,
		.working_directory = config->working_directory,
		.identity =
			{
				.capabilities = config->capabilities,
				.present = UINT64_MAX,
				.no_new_privileges = config->no_new_privileges,
			},
		.seccomp = config->seccomp,
		.seccomp_count = config->seccomp_count,
		.has_oom_score_adj = config->has_oom_score_adj,
		.oom_score_adj = config->oom_score_adj,
		.namespace_fd = app->rootfs.namespace_fd,
		.root_fd = app->rootfs.root_fd,
		.stdin_fd = -1,
		.stdout_fd = app->stdout_fd,
		.stderr_fd = app->stderr_fd,
	};
}

/* Who a process of the app is that is not its handler. */
static void app_launch_identify(
	const struct guest_app *app, uid_t uid, gid_t gid, struct guest_launch *launch)
{
	launch->identity.uid = uid;
	launch->identity.gid = gid;
	launch->identity.supplementary_gids = app->config->supplementary_gids;
	launch->identity.supplementary_gid_count = app->config->supplementary_gid_count;
	/* Without this a process that is not root may not filter its own calls. */
	if (app->config->seccomp && uid != 0)
		launch->identity.no_new_privileges = true;
}

/* In a new launcher. */
static int app_launch_transient(const struct guest *guest, const struct guest_app *app,
	const struct guest_launch *launch, pid_t *ret_pid, struct error *err)
{
	struct guest_launcher launcher;
	int r = guest_launcher_start(&launcher, transient_stack, app->cgroup_fd);

	if (r < 0)
		return error_set_errno(
			err, r, "Unable to make a process for \"%s\"", launch->exec[0]);
	return guest_launch(guest, launch, &launcher, ret_pid, err);
}

static int app_launch(struct guest_pod *pod, struct guest_app *app, const char *const *exec,
	bool is_handler, struct error *err)
{
	const struct guest_app_config *config = app->config;
	struct guest_launcher *launcher = &app->launcher;
	struct guest_launch launch = app_launch_base(app, exec);
	int r;

	if (is_handler)
		return app_launch_transient(pod->guest, app, &launch, &app->pid, err);
	app_launch_identify(app, app->uid, app->gid, &launch);
	launch.namespace_fd = -1;
	launch.stdin_fd = app->stdin_fd;
	launch.identity.present = app->bounding;
	launch.has_terminal = app_has_terminal(pod, app);
	launch.socket_fds = app->socket_fds;
	launch.sockets = config->sockets;
	launch.socket_count = config->socket_count;
	launch.trace = pod->config.park;
	if (app->filtered.pid > 0 && config->seccomp_is_default && !pod->config.park) {
		guest_launcher_stop(&app->launcher);
		launcher = &app->filtered;
		launch.is_filtered = true;
		launch.seccomp = NULL;
		/* It has given up the ports. */
		if (!pod->was_phase_marked)
			guest_port_mark(pod->guest, WIRE_PHASE_APP_EXEC);
	} else {
		/* Not each copy of a parked app is to end it anew. */
		if (pod->config.park)
			guest_launcher_stop(&app->filtered);
		launch.mark_phase = !pod->was_phase_marked;
	}
	pod->was_phase_marked = true;
	r = guest_launch(pod->guest, &launch, launcher, &app->pid, err);
	guest_listen_close(&app->socket_fds, config->socket_count);
	return r;
}

static void app_run(struct guest_pod *pod, struct guest_app *app)
{
	if (app_launch(pod, app, app->config->exec, false, &app->error) < 0) {
		app_fail(pod, app, WIRE_STATUS_EXEC_FAILED);
		return;
	}
	/* With the last reader the pipe breaks. */
	app_close(&app->stdin_fd);
	app->state = GUEST_APP_RUNNING;
	if (!pod->config.park)
		guest_send_started(&pod->guest->outbox, app->config->name, app->pid);
}

/* A pipe from the app to us, written to as file descriptor *ret_write_fd. */
static int app_pipe_make(struct guest_pod *pod, struct guest_app *app, uint8_t stream,
	int *ret_write_fd, struct error *err)
{
	struct guest_output_pipe *pipe = &app->pipes[stream - 1];
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "make a pipe for its output");
	*ret_write_fd = fds[1];
	r = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (r == 0)
		r = guest_output_add(&pod->output, pipe, fds[0], app->number, stream);
	if (r < 0) {
		close(fds[0]);
		return error_set_errno(err, r, "read its output");
	}
	r = guest_watch(pod->guest, fds[0], EPOLLIN | EPOLLET, GUEST_EVENT_PIPE,
		2 * app->index + stream - 1);
	return r < 0 ? error_set_errno(err, r, "watch its output") : 0;
}

/* Orders of the launcher; each argument is a struct order. */
struct order {
	struct guest *guest;
	struct guest_app *app;
	struct error *err;
};

/* #syscalls: setsid */
static int order_prepare(void *argument)
{
	struct order *order = argument;
	int r = guest_rootfs_prepare(order->guest, &order->app->rootfs, order->err);

	if (r == 0)
		r = guest_identity_bound(UINT64_MAX, order->app->bounding);
	setsid();
	return r;
}

static int order_make_filtered(void *argument)
{
	struct guest_app *app = ((struct order *)argument)->app;

	return guest_launcher_start_sibling(&app->filtered, app->filtered_stack);
}

static int order_filter(void *argument)
{
	struct order *order = argument;
	int r = guest_port_renounce(order->guest);

	setsid();
	return r < 0 ? r : guest_seccomp_install(wire_default_filter, wire_default_filter_count);
}

static int order_build(void *argument)
{
	struct order *order = argument;

	return guest_rootfs_build(
		order->guest, order->app->config, &order->app->rootfs, order->err);
}

static int app_order(
	struct guest_pod *pod, struct guest_app *app, int (*function)(void *), struct error *err)
{
	struct order order = {.guest = pod->guest, .app = app, .err = err};
	int result;

	if (guest_launcher_run(&app->launcher, function, &order, &result) > 0)
		return error_set(err, -ESRCH, "the process that was to become the app was killed");
	return result;
}

/* Everything that needs no knowledge of the app but the capabilities that it may have at most. */
static int app_make_ready(
	struct guest_pod *pod, struct guest_app *app, uint64_t bounding, struct error *err)
{
	int r;

	app->is_ready = true;
	app->bounding = bounding;
	app->cgroup_fd = guest_cgroup_create(pod->guest, app->index);
	if (app->cgroup_fd >= 0)
		app->cgroup_events_fd =
			openat(app->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = app_pipe_make(pod, app, WIRE_STREAM_STDOUT, &app->stdout_fd, err);
	if (r == 0)
		r = app_pipe_make(pod, app, WIRE_STREAM_STDERR, &app->stderr_fd, err);
	if (r < 0)
		return r;
	app->stack = aligned_alloc(16, GUEST_LAUNCHER_STACK_SIZE);
	r = app->stack ? guest_launcher_start(&app->launcher, app->stack, app->cgroup_fd) : -ENOMEM;
	if (r < 0)
		return error_set_errno(err, r, "make a process");
	return app_order(pod, app, order_prepare, err);
}

/* Without it an app starts later, and in the same way. */
static void app_make_filtered(struct guest_pod *pod, struct guest_app *app)
{
	struct order order = {.guest = pod->guest, .app = app};
	int result = -ENOMEM;

	app->filtered_stack = aligned_alloc(16, GUEST_LAUNCHER_STACK_SIZE);
	if (!app->filtered_stack ||
		guest_launcher_run(&app->launcher, order_make_filtered, &order, &result) > 0 ||
		result < 0)
		return;
	if (guest_launcher_run(&app->filtered, order_filter, &order, &result) > 0 || result < 0)
		guest_launcher_stop(&app->filtered);
}

/* A launcher that can do less than this app may is replaced. */
static int app_renew_launcher(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	int r;

	guest_launcher_stop(&app->launcher);
	guest_launcher_stop(&app->filtered);
	guest_rootfs_done(&app->rootfs);
	app->bounding = UINT64_MAX;
	r = guest_launcher_start(&app->launcher, app->stack, app->cgroup_fd);
	if (r < 0)
		return error_set_errno(err, r, "make a process");
	return app_order(pod, app, order_prepare, err);
}

/* Its streams that are the terminal end there, and ours of what the terminal shows begins there. */
static int app_connect_terminal(
	struct guest_pod *pod, struct guest_app *app, int master, int terminal)
{
	const bool *streams = pod->config.terminal.streams;
	uint8_t shown = streams[WIRE_STREAM_STDOUT] ? WIRE_STREAM_STDOUT : WIRE_STREAM_STDERR;
	_cleanup_close_ int output = fcntl(master, F_DUPFD_CLOEXEC, 0);
	int r;

	if (output < 0 ||
		(streams[WIRE_STREAM_STDOUT] && dup3(terminal, app->stdout_fd, O_CLOEXEC) < 0) ||
		(streams[WIRE_STREAM_STDERR] && dup3(terminal, app->stderr_fd, O_CLOEXEC) < 0))
		return -errno;
	r = guest_watch(pod->guest, output, EPOLLIN | EPOLLET, GUEST_EVENT_PIPE,
		2 * app->index + shown - 1);
	if (r < 0)
		return r;
	guest_output_set_terminal(&app->pipes[shown - 1], TAKE_FD(output));
	return guest_input_open_terminal(&pod->input, pod->guest, master);
}

/* Its terminal, as its standard streams. The parked pipes are of no use then. */
static int app_make_terminal(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	_cleanup_close_ int master = -1, terminal = -1;
	int r = guest_pty_open(
		app->rootfs.root_fd, app->uid, pod->config.terminal.size, &master, &terminal, err);

	if (r < 0)
		return r;
	r = app_connect_terminal(pod, app, master, terminal);
	if (r < 0)
		return error_set_errno(err, r, "connect its terminal");
	TAKE_FD(master);
	if (pod->config.terminal.streams[WIRE_STREAM_STDIN])
		app->stdin_fd = TAKE_FD(terminal);
	return 0;
}

static int app_own_stream(
	const struct guest_pod *pod, const struct guest_app *app, enum wire_stream stream, int fd)
{
	if (fd < 0 || (app_has_terminal(pod, app) && pod->config.terminal.streams[stream]))
		return 0;
	return fchown(fd, app->uid, app->gid);
}

/* What the app reads, and who may open its streams by their names. */
static int app_prepare_streams(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	bool has_terminal = app_has_terminal(pod, app);
	bool has_input = !has_terminal && pod->config.input_app == (int)app->index;
	int r;

	if (has_terminal) {
		r = app_make_terminal(pod, app, err);
		if (r < 0)
			return r;
	}
	if (has_input)
		app->stdin_fd = guest_input_open(&pod->input, pod->guest);
	if (has_input && app->stdin_fd < 0)
		return error_set_errno(err, app->stdin_fd, "make a pipe for its input");
	/* So that an app without privileges can open /dev/stdout. A terminal is its user's already, and tty's. */
	if (app->uid != 0 &&
		(app_own_stream(pod, app, WIRE_STREAM_STDIN, app->stdin_fd) < 0 ||
			app_own_stream(pod, app, WIRE_STREAM_STDOUT, app->stdout_fd) < 0 ||
			app_own_stream(pod, app, WIRE_STREAM_STDERR, app->stderr_fd) < 0))
		return error_set_errno(err, -errno, "give the app its pipes");
	return 0;
}

static int app_prepare(struct guest_pod *pod, struct guest_app *app)
{
	const struct guest_app_config *config = app->config;
	struct error *err = &app->error;
	int r = 0;

	if (!app->is_ready)
		r = app_make_ready(pod, app, config->capabilities, err);
	else if (app->launcher.pid == 0 || config->capabilities & ~app->bounding)
		r = app_renew_launcher(pod, app, err);
	if (r == 0)
		r = guest_rootfs_open(pod->guest, config, &app->rootfs, err);
	if (r == 0)
		r = app_order(pod, app, order_build, err);
	if (r == 0)
		r = guest_user_resolve(app->rootfs.root_fd, config->user, &app->uid, err);
	if (r == 0)
		r = guest_group_resolve(app->rootfs.root_fd, config->group, &app->gid, err);
	if (r < 0)
		return r;
	r = app_prepare_streams(pod, app, err);
	if (r == 0 && config->socket_count > 0)
		r = guest_listen(config, &app->socket_fds, err);
	if (r < 0)
		return r;
	if (app->cgroup_fd >= 0)
		guest_cgroup_limit(pod->guest, app->cgroup_fd, config);
	if (!pod->was_tree_marked)
		guest_port_mark(pod->guest, WIRE_PHASE_TREE);
	pod->was_tree_marked = true;
	return 0;
}

static void app_start(struct guest_pod *pod, struct guest_app *app)
{
	if (app_prepare(pod, app) < 0) {
		app_fail(pod, app, WIRE_STATUS_EXEC_FAILED);
		return;
	}
	if (!app->config->pre_start[0]) {
		app_run(pod, app);
		return;
	}
	if (app_launch(pod, app, app->config->pre_start, true, &app->error) < 0) {
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

int guest_app_identify(const struct guest_app *app, const struct guest_app_process *process,
	uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
	char shell[PATH_MAX];
	int r = 0;

	*ret_uid = app->uid;
	*ret_gid = app->gid;
	if (process->user)
		r = guest_user_resolve(app->rootfs.root_fd, process->user, ret_uid, err);
	if (r == 0 && process->group)
		return guest_group_resolve(app->rootfs.root_fd, process->group, ret_gid, err);
	if (r == 0 && process->user &&
		guest_user_describe(app->rootfs.root_fd, *ret_uid, ret_gid, shell, sizeof(shell)) <
			0)
		*ret_gid = app->gid;
	return r;
}

/* The user's, unless it is one that lets nobody in. */
static void app_choose_shell(const struct guest_app *app, uid_t uid, char *shell, size_t size)
{
	const char *name;
	gid_t gid;

	if (guest_user_describe(app->rootfs.root_fd, uid, &gid, shell, size) < 0)
		shell[0] = '\0';
	name = strrchr(shell, '/');
	if (!name || shell[0] != '/' || !strcmp(name, "/nologin") || !strcmp(name, "/false") ||
		!strcmp(name, "/sync"))
		snprintf(shell, size, "/bin/sh");
}

/* The app's environment with another TERM. The caller frees the array. */
static const char **environment_with_terminal(const char *const *environment, const char *variable)
{
	const char **result;
	size_t count = 0, used = 0;

	while (environment[count])
		count++;
	result = calloc(count + 2, sizeof(*result));
	if (!result)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environment[i], "TERM=", strlen("TERM=")) != 0)
			result[used++] = environment[i];
	result[used] = variable;
	return result;
}

int guest_app_add_process(struct guest_pod *pod, const struct guest_app *app,
	const struct guest_app_process *process, uid_t uid, gid_t gid, pid_t *ret_pid,
	struct error *err)
{
	_cleanup_free_ const char **environment = NULL;
	char shell[PATH_MAX], variable[128];
	const char *default_exec[] = {shell, NULL};
	struct guest_launch launch = app_launch_base(app, process->exec);

	if (!process->exec[0]) {
		app_choose_shell(app, uid, shell, sizeof(shell));
		launch.exec = default_exec;
	}
	if (process->terminal) {
		snprintf(variable, sizeof(variable), "TERM=%s", process->terminal);
		environment = environment_with_terminal(launch.environment, variable);
		if (!environment)
			return error_set_errno(err, -ENOMEM, "make its environment");
		launch.environment = environment;
	}
	app_launch_identify(app, uid, gid, &launch);
	/* They are the app's user's. */
	if (uid != app->uid)
		launch.identity.supplementary_gid_count = 0;
	launch.new_session = true;
	launch.has_terminal = process->terminal;
	launch.stdin_fd = process->stdin_fd;
	launch.stdout_fd = process->stdout_fd;
	launch.stderr_fd = process->stderr_fd;
	return app_launch_transient(pod->guest, app, &launch, ret_pid, err);
}

/* A place without an app. */
static void app_init(struct guest_app *app, uint32_t index, uint32_t generation)
{
	*app = (struct guest_app){
		.index = index,
		.number = (uint16_t)index,
		.generation = generation,
		.rootfs = GUEST_ROOTFS_NONE,
		.cgroup_fd = -1,
		.cgroup_events_fd = -1,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.pipes = {{.fd = -1}, {.fd = -1}},
	};
}

int guest_pod_prepare(struct guest_pod *pod, size_t ready_count, struct error *err)
{
	int r = 0;

	pod->apps = calloc(WIRE_APPS_MAX, sizeof(*pod->apps));
	if (!pod->apps)
		return error_set_errno(err, -ENOMEM, "prepare for the apps");
	pod->input = GUEST_INPUT_NONE;
	for (uint32_t i = 0; i < WIRE_APPS_MAX; i++)
		app_init(&pod->apps[i], i, 0);
	for (size_t i = 0; r == 0 && i < ready_count; i++) {
		r = app_make_ready(pod, &pod->apps[i], USUAL_CAPABILITIES, err);
		if (r == 0)
			app_make_filtered(pod, &pod->apps[i]);
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
		r = guest_start_add_variable(config, pod->variable);
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
		guest_send_started(&pod->guest->outbox, app->config->name, app->pid);
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
		if (app_launch(pod, app, app->config->post_stop, true, &error) == 0) {
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

	if (app->is_clearing && !guest_cgroup_is_populated(app->cgroup_events_fd))
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
	if (app->cgroup_fd >= 0 && app->config->memory_max != GUEST_UNLIMITED)
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

void guest_pod_pause(const struct guest_pod *pod, bool is_paused)
{
	bool is_whole = true;

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
}

void guest_pod_child_ended(struct guest_pod *pod, pid_t pid, int wait_status)
{
	int status = status_of(wait_status);

	for (size_t i = 0; i < WIRE_APPS_MAX; i++) {
		struct guest_app *app = &pod->apps[i];

		if (app->launcher.pid == pid)
			app->launcher.pid = 0;
		if (app->filtered.pid == pid)
			app->filtered.pid = 0;
		if (app->pid != pid)
			continue;
		app->pid = 0;
		if (app->state == GUEST_APP_PRE_START)
			app_pre_start_ended(pod, app, status);
		else if (app->state == GUEST_APP_RUNNING)
			app_main_ended(pod, app, status);
		else if (app->state == GUEST_APP_POST_STOP)
			app_post_stop_ended(pod, app, status);
		return;
	}
}

/* SIGKILL to whatever runs. Where there is no cgroup, only the process that we know of. */
static void app_kill(struct guest_app *app)
{
	if (app->pid == 0 && !app->is_clearing)
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
	kill(app->pid, SIGTERM);
}

void guest_pod_stop(struct guest_pod *pod, unsigned int grace_ms)
{
	if (pod->is_stopping || grace_ms == 0) {
		pod->is_stopping = pod->is_hurried = true;
		pod->kill_at_ms = 0;
		pod_kill(pod);
		return;
	}
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
	if (app->kill_at_ms || grace_ms == 0) {
		app->is_hurried = true;
		app_kill(app);
		return;
	}
	app->kill_at_ms = guest_now_ms() + grace_ms;
	app_terminate(app);
}

void guest_pod_pipe_ready(struct guest_pod *pod, uint32_t pipe_index, uint32_t events)
{
	struct guest_app *app = &pod->apps[pipe_index / 2];

	guest_output_pipe_ready(&app->pipes[pipe_index % 2], events);
}

/* All that an app had of the machine. It has no process. */
static void app_release(struct guest_pod *pod, struct guest_app *app)
{
	const struct guest_app_config *config = app->config;
	const uint32_t index = app->index, generation = app->generation + 1;

	/* Where it failed before it was launched. */
	guest_launcher_stop(&app->launcher);
	guest_launcher_stop(&app->filtered);
	guest_rootfs_done(&app->rootfs);
	for (size_t i = 0; i < ARRAY_SIZE(app->pipes); i++)
		guest_output_remove(&pod->output, &app->pipes[i]);
	guest_listen_close(&app->socket_fds, config->socket_count);
	app_close(&app->cgroup_events_fd);
	guest_cgroup_destroy(pod->guest, index, app->cgroup_fd);
	free(app->stack);
	free(app->filtered_stack);
	guest_start_done(app->added);
	free(app->added);
	app_init(app, index, generation);
}

static void app_report(struct guest_pod *pod, struct guest_app *app)
{
	app->state = GUEST_APP_EXITED;
	pod->live_count--;
	guest_send_exited(&pod->guest->outbox, app->config->name, app->status, app->had_oom_kill,
		app->error.message[0] ? app->error.message : NULL);
	if (app->added)
		app_release(pod, app);
}

/* Those of apps that are stopped alone. */
static void pod_kill_late(struct guest_pod *pod)
{
	uint64_t now = guest_now_ms();

	for (size_t i = 0; i < pod->place_count; i++) {
		struct guest_app *app = &pod->apps[i];

		if (!app->kill_at_ms || now < app->kill_at_ms)
			continue;
		/* A post-stop handler that follows gets the same time once more. */
		app->kill_at_ms = now + WIRE_STOP_GRACE_MS;
		app_kill(app);
	}
}

void guest_pod_proceed(struct guest_pod *pod)
{
	if (pod->kill_at_ms && guest_now_ms() >= pod->kill_at_ms) {
		/* Post-stop handlers that follow get the same time once more. */
		pod->kill_at_ms = guest_now_ms() + WIRE_STOP_GRACE_MS;
		pod_kill(pod);
	}
	if (pod->config.is_mutable)
		pod_kill_late(pod);
	guest_output_pump(&pod->output);
	for (size_t i = 0; i < pod->place_count; i++) {
		struct guest_app *app = &pod->apps[i];

		if (app->state == GUEST_APP_DRAINING && guest_output_is_finished(&app->pipes[0]) &&
			guest_output_is_finished(&app->pipes[1]))
			app_report(pod, app);
	}
}

/* When somebody is to be killed next; 0: never. */
static uint64_t pod_kill_time(const struct guest_pod *pod)
{
	uint64_t first = pod->kill_at_ms;

	for (size_t i = 0; pod->config.is_mutable && i < pod->place_count; i++) {
		uint64_t time = pod->apps[i].kill_at_ms;

		if (time && (!first || time < first))
			first = time;
	}
	return first;
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
