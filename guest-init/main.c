// SPDX-License-Identifier: Apache-2.0
/*
 * main.c: PID 1 of a pod: boot, then one event loop.
 *
 * guest-init                               in a VM: the kernel starts it
 * guest-init --control-fd=N --stream-fd=N --session-fd=N
 *                                          in fresh namespaces of a container
 *
 * In a VM everything that needs no message is done before the first one is asked for, because there the
 * VM is parked: its copies begin with the message. In a container the message comes by the control
 * stream.
 *
 * One thread, one epoll: control messages, the end of processes (signalfd), the apps' pipes, the
 * stream port, cgroups that become empty, apps that say that they are ready, clients of the metadata service, sessions.
 * Nothing else is waited for.
 */
#include "guest-init/app.h"
#include "guest-init/boot.h"
#include "guest-init/cgroup.h"
#include "guest-init/identity.h"
#include "guest-init/metadata.h"
#include "guest-init/port.h"
#include "guest-init/session.h"

#include "base/checked.h"
#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <linux/random.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/rseq.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define EVENTS_MAX 16

/* Before a machine is parked: longer than the longest time between two ticks; and for what they wake. */
#define REST_BUSY_MS 150
#define REST_LAST_MS 30

/* Apps that are made ready before a VM is parked. */
#define APPS_READY 2
/* Memory that a VM has at hand: enough to parse most configure messages and start their apps. */
#define HEAP_SIZE (1u << 20)

enum phase { PHASE_UNCONFIGURED, PHASE_RUNNING, PHASE_OVER };

struct loop {
	struct guest guest;
	struct guest_pod pod;
	struct guest_metadata metadata;
	struct guest_sessions sessions;
	struct wire_reader reader;
	int signal_fd;
	int session_fd; /* of a container: where its clients come in */
	enum phase phase;
	bool is_to_park; /* for a checkpoint, as soon as nothing is under way */
};

static void loop_wait(struct loop *loop, int timeout);

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

/*
 * After the last message: the host takes a VM down, a container is gone with us. A host that does not know
 * that phase has us wait for its end.
 */
static void loop_over(struct loop *loop, int status)
{
	loop->phase = PHASE_OVER;
	if (!loop->guest.is_vm)
		loop_exit(loop, status);
	guest_port_mark(&loop->guest, WIRE_PHASE_OVER);
}

static void loop_failed(struct loop *loop, const char *message)
{
	kill(-1, SIGKILL);
	guest_send_failed(&loop->guest.outbox, message);
	guest_outbox_flush(&loop->guest.outbox);
	loop_over(loop, EXIT_FAILURE);
}

static void loop_ended(struct loop *loop)
{
	/*
	 * A VM is about to vanish with its page cache, but what apps wrote is not only there: writes go through, and
	 * shared mappings are written back when a process that has them ends. All have ended, where
	 * there are cgroups to tell.
	 */
	if (loop->guest.is_vm && loop->guest.cgroup_fd < 0)
		sync();
	guest_output_end(&loop->pod.output);
	guest_send_ended(&loop->guest.outbox, loop->pod.status);
	guest_outbox_flush(&loop->guest.outbox);
	loop_over(loop, EXIT_SUCCESS);
}

static void sleep_ns(uint64_t duration)
{
	const struct timespec pause = {.tv_sec = (time_t)(duration / 1000000000),
		.tv_nsec = (long)(duration % 1000000000)};

	nanosleep(&pause, NULL);
}

/*
 * What has happened until now is dealt with before the machine is parked, or each copy would do it anew: events
 * by us, by the kernel what it has put off. An idle CPU does most of that, but timers that can wait are only
 * looked at by the tick of a busy one; what they wake then has its turn in the last pause.
 * #syscalls: sync membarrier nanosleep ioctl
 */
static void loop_rest(struct loop *loop, uint64_t duration)
{
	uint64_t busy_until_ms;

	loop_wait(loop, 0);
	sync();
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	sleep_ns(duration);
	busy_until_ms = guest_now_ms() + REST_BUSY_MS;
	while (guest_now_ms() < busy_until_ms)
		;
	/* What the random generator was fed it digests now, and not again within the next seconds. */
	if (ioctl(loop->guest.random_fd, RNDRESEEDCRNG) < 0)
		errno = 0;
	sleep_ns(REST_LAST_MS * UINT64_C(1000000));
}

/* Comes to rest, is parked, and takes the next message. */
static int loop_park(struct loop *loop, json_t **ret, struct error *err)
{
	uint64_t rest = guest_port_rest_time(&loop->guest);

	if (rest > 0)
		loop_rest(loop, rest);
	return guest_port_park(&loop->guest, ret, err);
}

/* The pod ends, and the host starts it in another way. */
static void loop_unparkable(struct loop *loop, const char *message)
{
	kill(-1, SIGKILL);
	guest_send_unparkable(&loop->guest.outbox, message);
	loop_ended(loop);
}

/* The apps are started up to their first instruction; from "renew" on each copy has its own life. */
static int loop_park_apps(struct loop *loop, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	struct guest_instance instance;
	struct error reason;
	int r;

	if (guest_pod_park(&loop->pod, &reason) < 0) {
		loop_unparkable(loop, reason.message);
		return 0;
	}
	/* What their dynamic linkers ran may have been theirs. */
	guest_boot_check_files(&loop->guest);
	r = loop_park(loop, &message, err);
	if (r < 0)
		return r;
	if (strcmp(wire_type(message), "renew"))
		return error_set(err, -EBADMSG,
			"a parked guest expects a renew message, not \"%.64s\"",
			wire_type(message));
	r = guest_renew_parse(message, &instance, err);
	if (r == 0)
		r = guest_boot_identify(&loop->guest, &instance, err);
	guest_metadata_identify(&loop->metadata, &instance);
	guest_port_mark(&loop->guest, WIRE_PHASE_CONFIGURED);
	return r < 0 ? r
		     : guest_pod_unpark(&loop->pod, instance.entropy, loop->metadata.variable, err);
}

static int loop_configure(struct loop *loop, json_t *message, struct error *err)
{
	struct guest_config *config = &loop->pod.config;
	int r;

	if (loop->phase != PHASE_UNCONFIGURED)
		return error_set(err, -EBADMSG, "configure: the pod is configured already");
	r = guest_config_parse(message, config, err);
	if (r < 0)
		return r;
	guest_metadata_identify(&loop->metadata, &config->instance);
	loop->pod.variable = loop->metadata.variable;
	r = guest_config_add_variable(config, loop->metadata.variable);
	if (r < 0)
		return error_set_errno(err, r, "configure");
	if (config->park && !loop->guest.is_vm)
		return error_set(err, -EBADMSG, "configure: only a VM can be parked");
	r = guest_boot_configure(&loop->guest, config, err);
	if (r < 0)
		return r;
	if (loop->guest.is_vm)
		guest_cgroup_bound(&loop->guest, config);
	else
		guest_cgroup_prepare(&loop->guest, config);
	guest_port_mark(&loop->guest, WIRE_PHASE_CONFIGURED);
	loop->phase = PHASE_RUNNING;
	if (config->park)
		return loop_park_apps(loop, err);
	guest_pod_start(&loop->pod);
	if (config->is_mutable)
		guest_send_ready(&loop->guest.outbox);
	return 0;
}

static int loop_stop(struct loop *loop, json_t *message, struct error *err)
{
	unsigned int grace_ms;
	const char *app;
	int r = guest_stop_parse(message, &grace_ms, &app, err);

	if (r < 0)
		return r;
	if (loop->phase == PHASE_RUNNING && app)
		guest_pod_stop_app(&loop->pod, app, grace_ms);
	else if (loop->phase == PHASE_RUNNING)
		guest_pod_stop(&loop->pod, grace_ms);
	else if (loop->phase == PHASE_UNCONFIGURED)
		loop_ended(loop);
	return 0;
}

static int loop_start_app(struct loop *loop, json_t *message, struct error *err)
{
	struct guest_start_config config;
	int r = guest_start_parse(message, &config, err);

	if (r < 0) {
		guest_start_done(&config);
		return r;
	}
	return guest_pod_add_app(&loop->pod, &config, err);
}

static int loop_remove_app(struct loop *loop, json_t *message, struct error *err)
{
	struct guest_remove_config config;
	int r = guest_remove_parse(message, &config, err);

	if (r == 0)
		r = guest_pod_remove_app(&loop->pod, &config, err);
	guest_remove_done(&config);
	return r;
}

static int loop_pause(struct loop *loop, struct error *err)
{
	if (loop->guest.is_vm || loop->phase != PHASE_RUNNING)
		return error_set(err, -EBADMSG, "pause: only a container that runs can be paused");
	guest_pod_pause(&loop->pod, true);
	guest_send_paused(&loop->guest.outbox);
	return 0;
}

static int loop_resume(struct loop *loop, struct error *err)
{
	int r = guest_boot_set_clock(&loop->guest, err);

	loop->is_to_park = false;
	if (!loop->guest.is_vm && loop->phase == PHASE_RUNNING)
		guest_pod_pause(&loop->pod, false);
	guest_send_resumed(&loop->guest.outbox);
	return r;
}

static int loop_checkpoint(struct loop *loop, struct error *err)
{
	if (!loop->guest.is_vm || loop->phase != PHASE_RUNNING)
		return error_set(
			err, -EBADMSG, "checkpoint: only a machine that runs can be saved");
	loop->is_to_park = true;
	return 0;
}

/* No message or frame is on its way: a copy of the machine has another host to talk to. */
static bool loop_is_quiet(const struct loop *loop)
{
	return !loop->metadata.is_asked && !loop->pod.output.current &&
		loop->guest.outbox.length == 0;
}

/* Where the machine is saved. Afterwards it is the same, or a copy of it: only that finds a message. */
static void loop_park_running(struct loop *loop)
{
	_cleanup_json_ json_t *message = NULL;
	struct guest_instance instance = {0};
	struct error error = {0};
	int r;

	loop->is_to_park = false;
	r = guest_port_park(&loop->guest, &message, &error);
	if (r == -ENOMSG)
		return;
	if (r == 0)
		r = guest_renew_parse(message, &instance, &error);
	if (r == 0) {
		guest_boot_release_files(&loop->guest);
		r = guest_boot_identify(&loop->guest, &instance, &error);
	}
	if (r < 0) {
		loop_failed(loop, error_text(&error, r));
		return;
	}
	guest_metadata_rename(&loop->metadata, instance.uuid);
	guest_send_resumed(&loop->guest.outbox);
}

static int loop_message(struct loop *loop, json_t *message, struct error *err)
{
	const char *type = wire_type(message);

	if (!strcmp(type, "configure"))
		return loop_configure(loop, message, err);
	if (!strcmp(type, "metadata"))
		return guest_metadata_answered(&loop->metadata, message, err);
	if (!strcmp(type, "stop"))
		return loop_stop(loop, message, err);
	if (!strcmp(type, "start"))
		return loop_start_app(loop, message, err);
	if (!strcmp(type, "remove"))
		return loop_remove_app(loop, message, err);
	if (!strcmp(type, "pause"))
		return loop_pause(loop, err);
	if (!strcmp(type, "resume"))
		return loop_resume(loop, err);
	if (!strcmp(type, "checkpoint"))
		return loop_checkpoint(loop, err);
	return error_set(err, -EBADMSG, "control message of unknown type \"%.64s\"", type);
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

/* What waitpid() would have given. */
static int wait_status_of(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED ? W_EXITCODE(info->si_status, 0)
					   : W_EXITCODE(0, info->si_status);
}

/*
 * Also the orphans of all apps are our children. That a process has ended is told before it is reaped: of the
 * last one the machine does without. #syscalls: waitid wait4
 */
static void loop_children_ended(struct loop *loop)
{
	siginfo_t info = {0};

	while (!loop->pod.output.is_leaving &&
		waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		if (loop->phase == PHASE_RUNNING) {
			guest_sessions_child_ended(
				&loop->sessions, info.si_pid, wait_status_of(&info));
			guest_pod_child_ended(&loop->pod, info.si_pid, wait_status_of(&info));
		}
		if (!loop->pod.output.is_leaving)
			waitpid(info.si_pid, NULL, 0);
		info.si_pid = 0;
	}
}

static void loop_signal_ready(struct loop *loop)
{
	struct signalfd_siginfo signals[8];
	ssize_t n;

	/* With the last app the machine goes too: its signal is not taken before what it tells of. */
	if (loop->guest.is_vm && !loop->pod.output.is_leaving) {
		loop_children_ended(loop);
		if (loop->pod.output.is_leaving)
			return;
	}
	n = read(loop->signal_fd, signals, sizeof(signals));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(signals[0]); i++) {
		if (signals[i].ssi_signo == SIGCHLD)
			continue;
		if (loop->phase == PHASE_RUNNING)
			guest_pod_stop(&loop->pod, WIRE_STOP_GRACE_MS);
		else if (loop->phase == PHASE_UNCONFIGURED)
			loop_ended(loop);
	}
	loop_children_ended(loop);
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
		guest_input_port_ready(&loop->pod.input);
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
	case GUEST_EVENT_NOTIFY:
		if (loop->phase == PHASE_RUNNING)
			guest_pod_notify_ready(&loop->pod, index);
		break;
	case GUEST_EVENT_METADATA:
		if (loop->phase == PHASE_RUNNING)
			guest_metadata_ready(&loop->metadata, index, event->events);
		break;
	case GUEST_EVENT_INPUT:
		guest_input_pipe_ready(&loop->pod.input);
		break;
	case GUEST_EVENT_SESSIONS:
		if (loop->phase != PHASE_OVER)
			guest_sessions_accept(&loop->sessions);
		break;
	case GUEST_EVENT_SESSION:
		guest_sessions_ready(&loop->sessions, index, event->events);
		break;
	}
}

static void loop_wait(struct loop *loop, int timeout)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(loop->guest.epoll_fd, events, EVENTS_MAX, timeout);

	for (int i = 0; i < n; i++)
		loop_event(loop, &events[i]);
}

/* The sooner of two timeouts, of which -1 is never. */
static int timeout_min(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static _Noreturn void loop_run(struct loop *loop)
{
	for (;;) {
		int timeout = -1;

		if (loop->phase == PHASE_RUNNING) {
			guest_pod_proceed(&loop->pod);
			guest_sessions_proceed(&loop->sessions);
			guest_metadata_proceed(&loop->metadata);
			if (guest_input_pump(&loop->pod.input, loop->guest.stream_fd) < 0)
				loop_failed(loop, "a malformed frame of input");
		}
		if (loop->phase == PHASE_RUNNING) {
			if (guest_pod_has_ended(&loop->pod))
				loop_ended(loop);
		}
		if (loop->phase == PHASE_RUNNING)
			timeout = timeout_min(guest_sessions_timeout_ms(&loop->sessions),
				timeout_min(guest_pod_timeout_ms(&loop->pod),
					guest_metadata_timeout_ms(&loop->metadata)));
		guest_outbox_flush(&loop->guest.outbox);
		if (loop->is_to_park && loop->phase == PHASE_RUNNING && loop_is_quiet(loop)) {
			loop_park_running(loop);
			timeout = 0;
		}
		loop_wait(loop, timeout);
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
	if (fcntl(guest->control_fd, F_SETFL, O_NONBLOCK) < 0 ||
		fcntl(guest->stream_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	guest->outbox.fd = guest->control_fd;
	loop->pod.guest = guest;
	loop->pod.output.fd = guest->stream_fd;
	if (guest->has_ports) {
		guest->outbox.console_port = WIRE_PORT_CONTROL;
		loop->pod.output.console_port = WIRE_PORT_STREAM;
	}
	wire_reader_init(&loop->reader, WIRE_FRAME_MAX_TO_GUEST);
	r = guest_watch(guest, guest->control_fd, EPOLLIN, GUEST_EVENT_CONTROL, 0);
	if (r == 0)
		r = guest_watch(guest, guest->stream_fd, EPOLLIN | EPOLLOUT | EPOLLET,
			GUEST_EVENT_STREAM, 0);
	if (r == 0)
		r = guest_watch(guest, loop->signal_fd, EPOLLIN, GUEST_EVENT_SIGNAL, 0);
	return r;
}

/*
 * Our own memory is what a VM keeps: page faults would cost each of its copies anew. A container's goes
 * back to the host. #syscalls: mlockall
 */
static int memory_settle(void)
{
	void *heap;

	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_THRESHOLD, 2 * HEAP_SIZE);
	heap = malloc(HEAP_SIZE);
	if (!heap)
		return -ENOMEM;
	explicit_bzero(heap, HEAP_SIZE);
	free(heap);
	return mlockall(MCL_CURRENT) < 0 ? -errno : 0;
}

/*
 * The C library has the kernel note in our memory on which CPU we are, each time that we get it. Nobody asks.
 * #syscalls: rseq
 */
static void rseq_unregister(void)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	if (__rseq_size > 0)
		syscall(SYS_rseq, area, sizeof(*area), RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

/* All that needs no message. */
static int loop_boot(struct loop *loop, struct error *err)
{
	struct guest *guest = &loop->guest;
	int r;

	r = guest_boot_early(guest, err);
	if (r < 0)
		return r;
	r = guest_identity_clear_inherited();
	if (r < 0)
		return error_set_errno(err, r, "drop inherited groups and capabilities");
	r = loop_prepare(loop);
	if (r < 0)
		return error_set_errno(err, r, "prepare the event loop");
	r = guest_metadata_open(&loop->metadata, guest);
	if (r < 0)
		return error_set_errno(err, r, "listen for the metadata service");
	r = guest_sessions_open(&loop->sessions, guest, &loop->pod, loop->session_fd);
	if (r < 0)
		return error_set_errno(err, r, "listen for sessions");
	if (guest->is_vm) {
		guest_cgroup_prepare(guest, NULL);
		r = memory_settle();
	}
	if (r < 0)
		return error_set_errno(err, r, "reserve memory");
	return guest_pod_prepare(&loop->pod, guest->is_vm ? APPS_READY : 0, err);
}

/* The first message of a VM. */
static int loop_start(struct loop *loop, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	int r;

	if (!loop->guest.has_ports)
		return error_set(err, -ENOSYS,
			"the kernel gives no access to I/O ports (CONFIG_X86_IOPL_IOPERM)");
	r = loop_park(loop, &message, err);
	return r < 0 ? r : loop_message(loop, message, err);
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
static int arguments_parse(struct loop *loop, int argc, char **argv)
{
	struct guest *guest = &loop->guest;

	if (argc < 2 || strncmp(argv[1], "--", 2)) {
		guest->is_vm = true;
		return 0;
	}
	/* No fd that the host forgot may reach an app. */
	if (argc != 4 || close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		return -EINVAL;
	guest->control_fd = argument_fd(argv[1], "--control-fd");
	guest->stream_fd = argument_fd(argv[2], "--stream-fd");
	loop->session_fd = argument_fd(argv[3], "--session-fd");
	return guest->control_fd < 0 || guest->stream_fd < 0 || loop->session_fd < 0 ? -EINVAL : 0;
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
	rseq_unregister();
	r = arguments_parse(&loop, argc, argv);
	if (r < 0 || getpid() != 1) {
		log_error("to be started as PID 1 of a VM, or of a container's namespaces with "
			  "--control-fd=N --stream-fd=N --session-fd=N");
		return EXIT_FAILURE;
	}
	if (guest->is_vm && guest_port_open(guest) == 0)
		guest_port_mark(guest, WIRE_PHASE_INIT);
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

	r = loop_boot(&loop, &error);
	if (r < 0) {
		log_error("%s", error.message);
		if (guest->control_fd >= 0) {
			guest->outbox.fd = guest->control_fd;
			guest_send_failed(&guest->outbox, error.message);
			guest_outbox_flush(&guest->outbox);
		}
		loop_exit(&loop, EXIT_FAILURE);
	}
	if (guest->is_vm && loop_start(&loop, &error) < 0)
		loop_failed(&loop, error.message);
	loop_run(&loop);
}
