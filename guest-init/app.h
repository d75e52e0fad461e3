/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the pod's apps: start, event handlers, end; and of the pod as their sum.
 *
 * All functions belong to the one thread of PID 1 and never wait, save for the execve() of a new
 * process.
 */
#ifndef APPC_GUEST_INIT_APP_H
#define APPC_GUEST_INIT_APP_H

#include "guest-init/control.h"
#include "guest-init/guest.h"
#include "guest-init/output.h"

enum guest_app_state {
	GUEST_APP_NEW,
	GUEST_APP_PRE_START,        /* its pre-start handler runs */
	GUEST_APP_RUNNING,          /* its main process runs */
	GUEST_APP_ENDING,           /* the main process has ended, what it left behind is killed */
	GUEST_APP_POST_STOP,        /* its post-stop handler runs */
	GUEST_APP_POST_STOP_ENDING, /* what the handler left behind is killed */
	GUEST_APP_DRAINING,         /* no process is left, output is */
	GUEST_APP_EXITED,           /* reported */
};

struct guest_app {
	const struct guest_app_config *config;
	uint32_t index;
	enum guest_app_state state;
	pid_t pid; /* of the handler or main process; 0: none */
	uid_t uid;
	gid_t gid;
	int namespace_fd, root_fd, cgroup_fd, cgroup_events_fd;
	int stdout_fd, stderr_fd; /* ends of the pipes that its processes write to */
	struct guest_output_pipe pipes[2];
	bool was_terminated; /* we sent it SIGTERM */
	bool had_oom_kill;
	int status;
	struct error error; /* why it failed; an empty message when there is nothing to say */
};

struct guest_pod {
	struct guest *guest;
	struct guest_config config;
	struct guest_output output;
	struct guest_app *apps; /* config.app_count of them */
	size_t exited_count;
	bool is_stopping, is_hurried;
	uint64_t kill_at_ms; /* 0: no time is set */
	int status;
	bool was_phase_marked;
};

/* Starts every app. pod->guest and pod->config are set, and configured (boot.h). 0 or -ENOMEM. */
int guest_pod_start(struct guest_pod *pod);

/* SIGTERM to all, SIGKILL after grace_ms; at once when the pod is stopping already. */
void guest_pod_stop(struct guest_pod *pod, unsigned int grace_ms);

/* A child of PID 1 was reaped; wait_status as waitpid() gave it. */
void guest_pod_child_ended(struct guest_pod *pod, pid_t pid, int wait_status);

/* The event GUEST_EVENT_CGROUP or GUEST_EVENT_PIPE. */
void guest_pod_cgroup_ready(struct guest_pod *pod, uint32_t app_index);
void guest_pod_pipe_ready(struct guest_pod *pod, uint32_t pipe_index, uint32_t events);

/* After each round of events: moves output, looks at the clock, reports what has come to its end.
 */
void guest_pod_proceed(struct guest_pod *pod);

/* Milliseconds until guest_pod_proceed() is due without an event; -1: never. */
int guest_pod_timeout_ms(const struct guest_pod *pod);

bool guest_pod_has_ended(const struct guest_pod *pod);

#endif
