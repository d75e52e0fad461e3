// SPDX-License-Identifier: Apache-2.0
/* app_process.c: the processes of an app. */
#include "guest-init/app_parts.h"
#include "guest-init/identity.h"
#include "guest-init/launch.h"
#include "guest-init/listen.h"
#include "guest-init/port.h"

#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

int guest_app_launch_handler(const struct guest_pod *pod, struct guest_app *app,
	const char *const *exec, struct error *err)
{
	struct guest_launch launch = app_launch_base(app, exec);

	return app_launch_transient(pod->guest, app, &launch, &app->pid, err);
}

bool guest_app_has_terminal(const struct guest_pod *pod, const struct guest_app *app)
{
	return pod->config.terminal.type && pod->config.input_app == (int)app->index;
}

int guest_app_launch(struct guest_pod *pod, struct guest_app *app)
{
	const struct guest_app_config *config = app->config;
	struct guest_launcher *launcher = &app->launcher;
	struct guest_launch launch = app_launch_base(app, config->exec);
	int r;

	app_launch_identify(app, app->uid, app->gid, &launch);
	launch.namespace_fd = -1;
	launch.stdin_fd = app->stdin_fd;
	launch.identity.present = app->bounding;
	launch.has_terminal = guest_app_has_terminal(pod, app);
	launch.socket_fds = app->socket_fds;
	launch.sockets = config->sockets;
	launch.socket_count = config->socket_count;
	launch.notify_variable = app->notify_fd >= 0 ? app->notify_variable : NULL;
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
	r = guest_launch(pod->guest, &launch, launcher, &app->pid, &app->error);
	guest_listen_close(&app->socket_fds, config->socket_count);
	return r;
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

static bool root_has_program(int root_fd, const char *path)
{
	_cleanup_close_ int fd = file_open_in_root(root_fd, path, O_PATH, 0);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111;
}

/* rkt's; in an image without it the user's, unless that is one that lets nobody in. */
static void app_choose_shell(const struct guest_app *app, uid_t uid, char *shell, size_t size)
{
	const char *name;
	gid_t gid;

	if (root_has_program(app->rootfs.root_fd, "/bin/bash")) {
		snprintf(shell, size, "/bin/bash");
		return;
	}
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
