// SPDX-License-Identifier: Apache-2.0
/*
 * app_setup.c: what an app has of the machine: made, and given back.
 *
 * Theory of operation: a launcher in a mount namespace and cgroup of its own, and pipes, are made ready by
 * the same function for all, for the first apps of a VM before the VM is parked.
 *
 * A system call filter cannot be taken off, and to install one costs as many instructions as all of an app's
 * start, where the guest's kernel is emulated. So those apps have a second launcher, with the filter that nearly
 * all apps get, which cannot mount and so on; it takes over when the first has done that.
 */
#include "base/file.h"
#include "guest-init/app_parts.h"
#include "guest-init/cgroup.h"
#include "guest-init/identity.h"
#include "guest-init/listen.h"
#include "guest-init/port.h"
#include "guest-init/pty.h"
#include "guest-init/seccomp.h"
#include "wire/filter.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>

void guest_app_init(struct guest_app *app, uint32_t index, uint32_t generation)
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
		.notify_fd = -1,
		.pipes = {{.fd = -1}, {.fd = -1}},
	};
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

static void app_make_cgroup(struct guest_pod *pod, struct guest_app *app)
{
	app->cgroup_fd = guest_cgroup_create(pod->guest, app->index);
	if (app->cgroup_fd >= 0)
		app->cgroup_events_fd =
			openat(app->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
}

/* An app that was made ready before anybody knew of limits of the pod comes under them. */
static int app_bound(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	int old_fd = app->cgroup_fd, r = 0;

	fd_close(&app->cgroup_events_fd);
	app_make_cgroup(pod, app);
	if (app->cgroup_fd >= 0 && app->launcher.pid > 0)
		r = guest_cgroup_move(app->cgroup_fd, app->launcher.pid);
	if (r == 0 && app->cgroup_fd >= 0 && app->filtered.pid > 0)
		r = guest_cgroup_move(app->cgroup_fd, app->filtered.pid);
	guest_cgroup_destroy(pod->guest, app->index, old_fd);
	return r < 0 ? error_set_errno(err, r, "move it to its cgroup") : 0;
}

int guest_app_make_ready(
	struct guest_pod *pod, struct guest_app *app, uint64_t bounding, struct error *err)
{
	int r;

	app->is_ready = true;
	app->bounding = bounding;
	app_make_cgroup(pod, app);
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

void guest_app_make_filtered(struct guest_pod *pod, struct guest_app *app)
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
	if (fd < 0 || (guest_app_has_terminal(pod, app) && pod->config.terminal.streams[stream]))
		return 0;
	return fchown(fd, app->uid, app->gid);
}

/* What the app reads, and who may open its streams by their names. */
static int app_prepare_streams(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	bool has_terminal = guest_app_has_terminal(pod, app);
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

static int app_open_notify(struct guest_pod *pod, struct guest_app *app, struct error *err)
{
	int r = app->notify_fd = guest_notify_open(app->notify_variable);

	if (r >= 0)
		r = guest_watch(
			pod->guest, app->notify_fd, EPOLLIN, GUEST_EVENT_NOTIFY, app->index);
	return r < 0 ? error_set_errno(err, r, "listen for its readiness") : 0;
}

int guest_app_prepare(struct guest_pod *pod, struct guest_app *app)
{
	const struct guest_app_config *config = app->config;
	struct error *err = &app->error;
	int r = 0;

	if (app->is_ready && pod->guest->cgroup_is_bound)
		r = app_bound(pod, app, err);
	if (r < 0)
		return r;
	if (!app->is_ready)
		r = guest_app_make_ready(pod, app, config->capabilities, err);
	else if (app->launcher.pid == 0 || config->capabilities & ~app->bounding)
		r = app_renew_launcher(pod, app, err);
	if (r == 0)
		r = guest_rootfs_open(pod->guest, config, &app->rootfs, err);
	if (r == 0)
		r = app_order(pod, app, order_build, err);
	if (r == 0)
		r = guest_user_resolve(app->rootfs.root_fd, config->user, &app->uid, err);
	if (r == 0)
		r = config->group_is_users
			? guest_group_of_user(
				  app->rootfs.root_fd, config->group, app->uid, &app->gid, err)
			: guest_group_resolve(app->rootfs.root_fd, config->group, &app->gid, err);
	if (r < 0)
		return r;
	r = app_prepare_streams(pod, app, err);
	if (r == 0 && config->socket_count > 0)
		r = guest_listen(config, &app->socket_fds, err);
	if (r == 0 && config->notifies)
		r = app_open_notify(pod, app, err);
	if (r < 0)
		return r;
	if (app->cgroup_fd >= 0)
		guest_cgroup_limit(pod->guest, app->cgroup_fd, config);
	if (!pod->was_tree_marked)
		guest_port_mark(pod->guest, WIRE_PHASE_TREE);
	pod->was_tree_marked = true;
	return 0;
}

void guest_app_release(struct guest_pod *pod, struct guest_app *app)
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
	fd_close(&app->cgroup_events_fd);
	guest_cgroup_destroy(pod->guest, index, app->cgroup_fd);
	free(app->stack);
	free(app->filtered_stack);
	guest_start_done(app->added);
	free(app->added);
	guest_app_init(app, index, generation);
}
