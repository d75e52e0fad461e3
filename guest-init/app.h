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
#include "guest-init/input.h"
#include "guest-init/launcher.h"
#include "guest-init/notify.h"
#include "guest-init/output.h"
#include "guest-init/park.h"
#include "guest-init/rootfs.h"

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
	const struct guest_app_config *config; /* NULL: no app has this place */
	struct guest_start_config *added;      /* holds it, of an app that was added; owned */
	uint32_t generation;                   /* counts the apps that had this place */
	uint16_t number;                       /* in the stream */
	uint32_t index;
	enum guest_app_state state;
	pid_t pid; /* of the handler or main process; 0: none */
	uid_t uid;
	gid_t gid;
	/* What can be made before it is known which app it is for. */
	bool is_ready;
	struct guest_launcher launcher; /* becomes the main process */
	void *stack;                    /* of the launcher */
	uint64_t bounding;              /* capabilities that the launcher can pass on */
	/*
	 * Another in the same namespace, whose system calls the default filter restricts; it becomes the main
	 * process where that is the app's filter.
	 */
	struct guest_launcher filtered;
	void *filtered_stack;
	struct guest_rootfs rootfs;
	int cgroup_fd, cgroup_events_fd;
	struct guest_parked parked;
	int stdin_fd;             /* what its main process reads; -1: none, or it has it */
	int *socket_fds;          /* until its main process has them; NULL: none */
	int stdout_fd, stderr_fd; /* ends of the pipes that its processes write to */
	struct guest_output_pipe pipes[2];
	int notify_fd; /* where it says that it is ready; -1: it does not */
	char notify_variable[GUEST_NOTIFY_VARIABLE_SIZE];
	bool was_started; /* the host was told */
	bool is_clearing; /* what its cgroup still holds has been killed */
	bool has_late_end; /* its process ended while the pod was paused, with late_end; nobody has heard yet */
	int late_end;        /* as wait(2) has it */
	bool was_terminated; /* we sent it SIGTERM */
	bool is_hurried;     /* and SIGKILL, or it is to have no post-stop handler */
	uint64_t kill_at_ms; /* of an app that is stopped alone; 0: no time is set */
	bool had_oom_kill;
	int status;
	struct error error; /* why it failed; an empty message when there is nothing to say */
};

struct guest_pod {
	struct guest *guest;
	struct guest_config config;
	struct guest_output output;
	struct guest_input input;
	struct guest_app *apps; /* WIRE_APPS_MAX */
	size_t place_count;     /* of those, the places behind have never been used */
	size_t live_count; /* apps that have been started, or are about to be, and not been reported */
	/* What is in the environment of an app that is added: borrowed. */
	const char *variable;
	bool is_stopping, is_hurried;
	bool is_paused;        /* nothing is started in an app's cgroup, where it would not begin */
	uint64_t paused_at_ms; /* since when */
	uint64_t kill_at_ms;   /* 0: no time is set */
	int status;
	bool was_phase_marked, was_tree_marked;
	unsigned int removals; /* of apps, since the kernel's caches were last dropped */
};

/*
 * Before the pod is configured, with pod->guest and the event loop in place: makes the first ready_count
 * apps ready, as far as that is possible without knowing them. 0 or -errno with a message.
 */
int guest_pod_prepare(struct guest_pod *pod, size_t ready_count, struct error *err);

/* Starts every app. pod->config is set, and configured (boot.h). */
void guest_pod_start(struct guest_pod *pod);

/*
 * Starts one more, in a mutable pod, and takes config's content over in every case. 0, or -EBADMSG with a message
 * where the pod does not allow it. An app that cannot be started is reported as exited.
 */
int guest_pod_add_app(struct guest_pod *pod, struct guest_start_config *config, struct error *err);

/* Removes mount points in the tree, of an app that does not run. 0, or -EBADMSG with a message: it does. */
int guest_pod_remove_app(
	struct guest_pod *pod, const struct guest_remove_config *config, struct error *err);

/*
 * The same up to the first instruction of each app's program, where all are stopped. 0 or -errno with a
 * message that says why this pod cannot be parked; the pod cannot be used any more then.
 */
int guest_pod_park(struct guest_pod *pod, struct error *err);

/*
 * Has the parked apps go on, in this copy of the machine, which nobody else has the entropy of; variable is its
 * AC_METADATA_URL. 0 or -errno with a message.
 */
int guest_pod_unpark(struct guest_pod *pod, const uint8_t entropy[WIRE_ENTROPY_SIZE],
	const char *variable, struct error *err);

/* The app of that name; NULL: there is none. */
struct guest_app *guest_pod_find_app(struct guest_pod *pod, const char *name);

/* A process to be made beside the main process of an app that runs. All is borrowed. */
struct guest_app_process {
	const char *const *exec;  /* NULL-terminated; empty: a shell */
	const char *user, *group; /* NULL: the app's */
	const char *terminal;     /* NULL: it has none; else its type, and stdin_fd is it */
	int stdin_fd, stdout_fd, stderr_fd;
};

/*
 * Who such a process is going to be. 0 or -errno with a message.
 */
int guest_app_identify(const struct guest_app *app, const struct guest_app_process *process,
	uid_t *ret_uid, gid_t *ret_gid, struct error *err);

/*
 * Starts it: in the app's namespaces and cgroup, with its environment, directory, capabilities, filter and
 * limits, and at the head of a session of its own. Our child; its end is the caller's to hear of. 0 or -errno
 * with a message.
 */
int guest_app_add_process(struct guest_pod *pod, const struct guest_app *app,
	const struct guest_app_process *process, uid_t uid, gid_t gid, pid_t *ret_pid,
	struct error *err);

/* SIGTERM to all, SIGKILL after grace_ms, and at once when that is 0. A pod that is stopping already goes on with it. */
void guest_pod_stop(struct guest_pod *pod, unsigned int grace_ms);

/* The same for one app, where it runs. One that is stopping already goes on with it. */
void guest_pod_stop_app(struct guest_pod *pod, const char *name, unsigned int grace_ms);

/*
 * Has every process of a container's apps stand still, or go on: by their cgroups, or where there are none by SIGSTOP
 * and SIGCONT. What a process ends with meanwhile is heard when they go on, and no time that it has left passes.
 */
void guest_pod_pause(struct guest_pod *pod, bool is_paused);

/* A child of PID 1 was reaped; wait_status as waitpid() gave it. */
void guest_pod_child_ended(struct guest_pod *pod, pid_t pid, int wait_status);

/* The event GUEST_EVENT_CGROUP, GUEST_EVENT_NOTIFY or GUEST_EVENT_PIPE. */
void guest_pod_cgroup_ready(struct guest_pod *pod, uint32_t app_index);
void guest_pod_notify_ready(struct guest_pod *pod, uint32_t app_index);
void guest_pod_pipe_ready(struct guest_pod *pod, uint32_t pipe_index, uint32_t events);

/* After each round of events: moves output, looks at the clock, reports what has come to its end.
 */
void guest_pod_proceed(struct guest_pod *pod);

/* Milliseconds until guest_pod_proceed() is due without an event; -1: never. */
int guest_pod_timeout_ms(const struct guest_pod *pod);

bool guest_pod_has_ended(const struct guest_pod *pod);

#endif
