// SPDX-License-Identifier: Apache-2.0
/*
 * main.c: PID 1 of a pod: boot, then one event loop.
 *
 * guest-init                               in a VM: the kernel starts it
 * guest-init --control-fd=N --stream-fd=N  in fresh namespaces of a container
 *
 * One thread, one epoll: control messages, the end of processes (signalfd), the apps' pipes, the
 * stream port, cgroups that become empty. Nothing else is waited for.
 */
#include "guest-init/app.h"
#include "guest-init/boot.h"
#include "guest-init/cgroup.h"
#include "guest-init/identity.h"

#include "base/checked.h"
#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define EVENTS_MAX 16

enum phase { PHASE_UNCONFIGURED, PHASE_RUNNING, PHASE_OVER };

struct loop {
	struct guest guest;
	struct guest_pod pod;
	struct wire_reader reader;
	int signal_fd;
	enum phase phase;
};

/*
 * The end of guest-init. Nobody is left to take a VM down, so it resets itself. A container leaves
 * nothing behind: its processes must have gone before their cgroups can.
 */
static _Noreturn void loop_exit(struct loop *loop, int status)
{
	kill(-1, SIGKILL);
	if (loop->guest.is_vm)
		reboot(RB_AUTOBOOT);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	guest_cgroup_remove(&loop->guest, &loop->pod.config);
	_exit(status);
}

/* After the last message: the host takes a VM down, a container is gone with us. */
static void loop_over(struct loop *loop, int status)
{
	loop->phase = PHASE_OVER;
	if (!loop->guest.is_vm)
		loop_exit(loop, status);
}

static void loop_failed(struct loop *loop, const char *message)
{
	kill(-1, SIGKILL);
	guest_send_failed(loop->guest.control_fd, message);
	loop_over(loop, EXIT_FAILURE);
}

static void loop_ended(struct loop *loop)
{
	/*
	 * What the apps wrote is in the page cache of a VM, which is about to vanish. The files of
	 * a container are in the host's.
	 */
	if (loop->guest.is_vm)
		sync();
	guest_output_end(&loop->pod.output);
	guest_send_ended(loop->guest.control_fd, loop->pod.status);
	loop_over(loop, EXIT_SUCCESS);
}

static int loop_configure(struct loop *loop, json_t *message, struct error *err)
{
	int r;

	if (loop->phase != PHASE_UNCONFIGURED)
		return error_set(err, -EBADMSG, "configure: the pod is configured already");
	r = guest_config_parse(message, &loop->pod.config, err);
	if (r < 0)
		return r;
	r = guest_boot_configure(&loop->guest, &loop->pod.config, err);
	if (r < 0)
		return r;
	loop->phase = PHASE_RUNNING;
	r = guest_pod_start(&loop->pod);
	return r < 0 ? error_set_errno(err, r, "start the apps") : 0;
}

static int loop_message(struct loop *loop, json_t *message, struct error *err)
{
	const char *type = wire_type(message);
	unsigned int grace_ms;
	int r;

	if (!strcmp(type, "configure"))
		return loop_configure(loop, message, err);
	if (strcmp(type, "stop"))
		return error_set(err, -EBADMSG, "control message of unknown type \"%.64s\"", type);
	r = guest_stop_parse(message, &grace_ms, err);
	if (r < 0)
		return r;
	if (loop->phase == PHASE_RUNNING)
		guest_pod_stop(&loop->pod, grace_ms);
	else if (loop->phase == PHASE_UNCONFIGURED)
		loop_ended(loop);
	return 0;
}

static void loop_control_ready(struct loop *loop)
{
	struct error error = {0};
	ssize_t n = wire_reader_fill(&loop->reader, loop->guest.control_fd);
	int r;

	if (n == -EAGAIN)
		return;
	/* Without the host there is nobody to run for. */
	if (n <= 0)
		loop_exit(loop, EXIT_FAILURE);
	do {
		_cleanup_json_ json_t *message = NULL;

		r = wire_reader_next(&loop->reader, &message, &error);
		if (r > 0 && loop->phase != PHASE_OVER && loop_message(loop, message, &error) < 0)
			r = -EBADMSG;
	} while (r > 0);
	if (r < 0 && loop->phase != PHASE_OVER)
		loop_failed(loop, error.message);
}

static void loop_signal_ready(struct loop *loop)
{
	struct signalfd_siginfo signals[8];
	ssize_t n = read(loop->signal_fd, signals, sizeof(signals));
	int status;
	pid_t pid;

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(signals[0]); i++) {
		if (signals[i].ssi_signo == SIGCHLD)
			continue;
		if (loop->phase == PHASE_RUNNING)
			guest_pod_stop(&loop->pod, WIRE_STOP_GRACE_MS);
		else if (loop->phase == PHASE_UNCONFIGURED)
			loop_ended(loop);
	}
	/* Also the orphans of all apps are our children. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (loop->phase == PHASE_RUNNING)
			guest_pod_child_ended(&loop->pod, pid, status);
}

static void loop_event(struct loop *loop, const struct epoll_event *event)
{
	uint32_t index = (uint32_t)(event->data.u64 >> 32);

	switch ((enum guest_event)(event->data.u64 & UINT32_MAX)) {
	case GUEST_EVENT_CONTROL:
		loop_control_ready(loop);
		break;
	case GUEST_EVENT_STREAM:
		guest_output_port_ready(&loop->pod.output);
		break;
	case GUEST_EVENT_SIGNAL:
		loop_signal_ready(loop);
		break;
	case GUEST_EVENT_PIPE:
		guest_pod_pipe_ready(&loop->pod, index, event->events);
		break;
	case GUEST_EVENT_CGROUP:
		guest_pod_cgroup_ready(&loop->pod, index);
		break;
	}
}

static _Noreturn void loop_run(struct loop *loop)
{
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int timeout = loop->phase == PHASE_RUNNING ? guest_pod_timeout_ms(&loop->pod) : -1;
		int n = epoll_wait(loop->guest.epoll_fd, events, EVENTS_MAX, timeout);

		for (int i = 0; i < n; i++)
			loop_event(loop, &events[i]);
		if (loop->phase != PHASE_RUNNING)
			continue;
		guest_pod_proceed(&loop->pod);
		if (guest_pod_has_ended(&loop->pod))
			loop_ended(loop);
	}
}

/* #syscalls: epoll_create1 epoll_ctl epoll_wait signalfd4 */
static int loop_prepare(struct loop *loop)
{
	struct guest *guest = &loop->guest;
	sigset_t signals;
	int r;

	guest->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	loop->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (guest->epoll_fd < 0 || loop->signal_fd < 0)
		return -errno;
	/* Only now: a port whose host end is not open yet would refuse a hello that does not wait.
	 */
	if (fcntl(guest->control_fd, F_SETFL, O_NONBLOCK) < 0 ||
		fcntl(guest->stream_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	loop->pod.guest = guest;
	loop->pod.output.fd = guest->stream_fd;
	wire_reader_init(&loop->reader, WIRE_FRAME_MAX_TO_GUEST);
	r = guest_watch(guest, guest->control_fd, EPOLLIN, GUEST_EVENT_CONTROL, 0);
	if (r == 0)
		r = guest_watch(guest, guest->stream_fd, EPOLLOUT | EPOLLET, GUEST_EVENT_STREAM, 0);
	if (r == 0)
		r = guest_watch(guest, loop->signal_fd, EPOLLIN, GUEST_EVENT_SIGNAL, 0);
	return r;
}

/* "--name=N" with an open fd. Returns it, or -1. */
static int argument_fd(const char *argument, const char *name)
{
	size_t length = strlen(name);
	uint64_t fd;

	if (strncmp(argument, name, length) || argument[length] != '=' ||
		!checked_parse_u64(argument + length + 1, INT32_MAX, &fd) ||
		fcntl((int)fd, F_GETFD) < 0)
		return -1;
	return (int)fd;
}

/*
 * A kernel hands words of its command line that it does not know to us: they are not ours.
 * #syscalls: close_range
 */
static int arguments_parse(struct guest *guest, int argc, char **argv)
{
	if (argc < 2 || strncmp(argv[1], "--", 2)) {
		guest->is_vm = true;
		return 0;
	}
	/* No fd that the host forgot may reach an app. */
	if (argc != 3 || close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		return -EINVAL;
	guest->control_fd = argument_fd(argv[1], "--control-fd");
	guest->stream_fd = argument_fd(argv[2], "--stream-fd");
	return guest->control_fd < 0 || guest->stream_fd < 0 ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
	static struct loop loop;
	struct guest *guest = &loop.guest;
	struct error error = {0};
	sigset_t all;
	int r;

	guest->control_fd = guest->stream_fd = guest->cgroup_fd = -1;
	log_set_name("guest-init");
	r = arguments_parse(guest, argc, argv);
	if (r < 0 || getpid() != 1) {
		log_error("to be started as PID 1 of a VM, or of a container's namespaces with "
			  "--control-fd=N --stream-fd=N");
		return EXIT_FAILURE;
	}
	if (guest->is_vm)
		guest_boot_mark_init(guest);
	/*
	 * All signals are blocked, so that signalfd gets those that concern us. Nobody may look
	 * into our memory: the children that share it for a moment already have an app's
	 * credentials.
	 */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/*
	 * Messages come from the host alone, so jansson's tables need no secret; a seed of our own
	 * keeps it from looking for one in files.
	 */
	json_object_seed((size_t)getauxval(AT_RANDOM) | 1);

	r = guest_boot_early(guest, &error);
	if (r == 0 && !guest->is_vm) {
		r = guest_identity_clear_inheritable();
		if (r < 0)
			error_set_errno(&error, r, "drop inheritable capabilities");
	}
	if (r < 0) {
		log_error("%s", error.message);
		if (guest->control_fd >= 0) {
			guest_send_hello(guest->control_fd);
			guest_send_failed(guest->control_fd, error.message);
		}
		loop_exit(&loop, EXIT_FAILURE);
	}
	r = guest_send_hello(guest->control_fd);
	if (r == 0)
		r = loop_prepare(&loop);
	if (r < 0) {
		error_set_errno(&error, r, "prepare the event loop");
		log_error("%s", error.message);
		loop_exit(&loop, EXIT_FAILURE);
	}
	loop_run(&loop);
}
