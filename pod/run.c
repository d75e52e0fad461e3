// SPDX-License-Identifier: Apache-2.0
/*
 * run.c: the supervisor of one pod.
 *
 * Theory of operation: one poll loop over the control socket, the stream socket, the report socket, the
 * child's pidfd, a signalfd and the socket of other processes' requests (pod/request.h). Output is
 * copied frame by frame (pod/output.h). The pod has ended when guest-init said so and the stream's end
 * marker has come; then the records are written, and only then is the guest released.
 */
#include "pod/run.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/notify.h"
#include "pod/attach.h"
#include "pod/cgroup.h"
#include "pod/input.h"
#include "pod/metadata.h"
#include "pod/output.h"
#include "pod/record.h"
#include "pod/request.h"
#include "pod/sockets.h"
#include "pod/terminal.h"
#include "pod/tree.h"
#include "pod/vmm_log.h"
#include "wire/wire.h"

#include <endian.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* How long a released guest process may take to report and exit before it is killed. */
#define RELEASE_MS 5000
/* How long the rest of the output may take to arrive after the pod's end was announced. */
#define DRAIN_MS 5000
/* How long a guest may take to its first message; an emulated kernel on a busy host boots a minute. */
#define BOOT_MS 600000
/* Warnings of guest-init that are shown. */
#define WARNINGS_MAX 100
/* How long guest-init may stay silent after the grace period of a stop. */
#define STOP_EXTRA_MS 30000
/* Messages taken in one turn of the loop: a guest that never stops talking must not keep it from its other duties. */
#define MESSAGES_PER_TURN 64
/* Requests to stop: the first is gentle, the second makes guest-init kill, one more kills the guest. */
#define STOPS_MAX 2
/* What the kernel keeps for a file that a process has open: inodes and names of an overlay and below it. */
#define KERNEL_BYTES_PER_FILE 3072ull

enum app_state { APP_WAITING, APP_STARTED, APP_EXITED };

struct app_run {
	enum app_state state;
	int64_t started_at, finished_at; /* wall clock, nanoseconds */
	int status;
	bool out_of_memory;
	char *message;
};

struct supervisor {
	struct pod *pod;
	const struct resolved_pod *resolved;
	const struct pod_run_options *options;
	struct flavour_process process;
	struct vmm_log vmm_log;
	struct flavour_report report;
	bool reported;
	int killed_by; /* the signal that ended the flavour's process, when it was not ours */
	int64_t marks[MACHINE_EVENTS]; /* as seen from here, for a flavour that does not report */

	struct wire_reader control;
	struct {
		char *data;
		size_t length, sent;
	} outgoing; /* frames for the guest; it may take its time to read them */
	struct pod_metadata metadata;
	size_t answer_end; /* of the metadata answer in outgoing; 0: none is there */
	struct app_run *apps;
	bool heard; /* a message of the guest */
	bool more;  /* messages may have been left for the next turn */
	bool ended, failed;
	int status; /* when ended */
	struct error end_error;

	struct pod_output output;
	struct pod_input input;
	struct pod_attachments attachments;
	struct pod_network network;
	struct terminal terminal; /* ours, while an app of the pod has one */

	int signal_fd;
	int vsock_fd; /* listening, for the guest's process */
	struct pod_requests requests;
	bool is_killed; /* on request */
	bool is_ending; /* the service manager was told */
	unsigned int stops, warnings;
	char cgroup[PATH_MAX]; /* of a container; empty: none */
	struct pod_cgroup vmm_cgroup;
	bool out_of_memory; /* its cgroup was, and something was killed */
	int64_t started_at;
	unsigned int walls; /* of the VMM, that stand, as it told before it ran the guest */
	bool jailed;        /* it has told */
	int64_t kill_at;    /* CLOCK_MONOTONIC; 0: no deadline */
};

static void mark(struct supervisor *s, enum machine_event event)
{
	if (s->marks[event] == 0)
		s->marks[event] = clock_monotonic();
}

static void supervisor_done(struct supervisor *s)
{
	for (size_t i = 0; s->apps && i < s->resolved->app_count; i++)
		free(s->apps[i].message);
	free(s->apps);
	wire_reader_done(&s->control);
	pod_output_done(&s->output);
	pod_attachments_close(&s->attachments);
	pod_network_stop(&s->network);
	pod_metadata_done(&s->metadata);
	free(s->outgoing.data);
	cleanup_close(&s->process.control_fd);
	cleanup_close(&s->process.stream_fd);
	cleanup_close(&s->process.connect_fd);
	cleanup_close(&s->vsock_fd);
	cleanup_close(&s->process.report_fd);
	vmm_log_done(&s->vmm_log);
	cleanup_close(&s->process.pid_fd);
	terminal_restore(&s->terminal);
	cleanup_close(&s->signal_fd);
	pod_requests_close(&s->requests);
	pod_cgroup_done(&s->vmm_cgroup);
}

/* ---- records */

static void record_app(struct supervisor *s, size_t index)
{
	const struct app_run *app = &s->apps[index];
	const struct pod_app_record record = {
		.started_at = app->started_at,
		.finished_at = app->finished_at,
		.exit_code = app->state == APP_EXITED ? app->status : -1,
		.out_of_memory = app->out_of_memory,
		.message = app->message,
	};
	const char *name = s->resolved->apps[index].name;
	int r = pod_app_record_write(s->pod, name, &record);

	if (r < 0)
		log_warning("cannot record the state of app %s: %s", name, strerror(-r));
}

/* Before anything is made: whoever finds the pod dead reads in its record what is to be removed. */
static void plan_cgroup(struct supervisor *s)
{
	int r = 0;

	if (s->options->flavour == FLAVOUR_CONTAINER) {
		if (pod_cgroup_path(s->pod->uuid, s->cgroup, sizeof(s->cgroup)) < 0)
			*s->cgroup = '\0';
	} else if (!(s->options->omitted_walls & 1u << JAIL_CGROUP)) {
		r = pod_cgroup_plan(s->pod->uuid, &s->vmm_cgroup);
	}
	if (r < 0)
		log_warning("cannot find a cgroup for the VMM: %s", strerror(-r));
}

/* An object of all walls, {"tree": true, ...}. */
static json_t *walls_json(unsigned int walls)
{
	json_t *object = json_object();

	for (int i = 0; i < JAIL_WALLS; i++)
		json_object_set_new(
			object, jail_wall_name((enum jail_wall)i), json_boolean(walls & 1u << i));
	return object;
}

/* When the pod is about to start; and again when the VMM's walls are known. */
static void record_run(struct supervisor *s)
{
	bool is_vm = s->options->flavour == FLAVOUR_VM;
	_cleanup_json_ json_t *cgroups = is_vm ? pod_cgroup_json(&s->vmm_cgroup) : NULL;
	_cleanup_json_ json_t *walls = s->jailed ? walls_json(s->walls) : NULL;
	_cleanup_json_ json_t *networks = pod_network_describe(s->options->network);
	const struct pod_run_record record = {
		.flavour = (char *)flavour_name(s->options->flavour),
		.cgroup = *s->cgroup ? s->cgroup : NULL,
		.cgroups = cgroups,
		.walls = walls,
		.pid = getpid(),
		.started_at = s->started_at,
		.vcpus = s->resolved->vcpus,
		.memory = (int64_t)s->resolved->memory,
		.networks = networks,
		.isolators = s->resolved->isolators,
	};
	int r = pod_run_record_write(s->pod, &record);

	if (r < 0)
		log_warning("cannot record the start of pod %s: %s", s->pod->uuid, strerror(-r));
}

static void record_end(struct supervisor *s, int status, const char *reason)
{
	const struct pod_end_record record = {
		.finished_at = pod_now(), .exit_code = status, .reason = (char *)reason};
	int r = pod_end_record_write(s->pod, &record);

	if (r < 0)
		log_warning("cannot record the end of pod %s: %s", s->pod->uuid, strerror(-r));
}

/* ---- control messages; all that comes from the guest is checked as device input */

static int protocol_error(struct supervisor *s, const char *what)
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

/* Queues a message; the loop sends it when the guest takes it. */
static int queue_message(struct supervisor *s, json_t *message)
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

static void control_writable(struct supervisor *s)
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

/* What a service manager hears of us. */
static void manager_tell(const char *state)
{
	int r = notify_manager(state);

	if (r < 0)
		log_warning("cannot tell the service manager: NOTIFY_SOCKET=%s: %s",
			getenv("NOTIFY_SOCKET"), strerror(-r));
}

static void manager_tell_ready(const struct supervisor *s)
{
	char state[128];

	snprintf(state, sizeof(state), "READY=1\nMAINPID=%d\nSTATUS=pod %s is running",
		(int)getpid(), s->pod->uuid);
	manager_tell(state);
}

static void manager_tell_ending(struct supervisor *s)
{
	if (!s->is_ending)
		manager_tell("STOPPING=1");
	s->is_ending = true;
}

/* A pod is ready when each of its apps has been executed. */
static void ready_check(struct supervisor *s)
{
	int r;

	for (size_t i = 0; i < s->resolved->app_count; i++)
		if (!s->apps[i].started_at)
			return;
	r = pod_set_ready(s->pod);
	if (r < 0)
		log_warning("cannot tell that the pod is ready: %s", strerror(-r));
	manager_tell_ready(s);
}

static void window_tell(struct supervisor *s)
{
	uint16_t rows, columns;

	if (s->resolved->terminal && terminal_size(STDIN_FILENO, &rows, &columns))
		pod_input_set_window(&s->input, rows, columns);
}

/* From now on keys are the app's. Until then they were ours, to stop a pod that does not start. */
static void terminal_take(struct supervisor *s)
{
	int r;

	if (!s->resolved->terminal)
		return;
	r = terminal_make_raw(&s->terminal, STDIN_FILENO);
	if (r < 0)
		log_warning("cannot set up the terminal: %s", strerror(-r));
	window_tell(s);
}

static int handle_started(struct supervisor *s, json_t *message)
{
	ssize_t index = message_app(s, message);

	if (index < 0 || s->apps[index].state != APP_WAITING)
		return protocol_error(s, "an app started that cannot have");
	s->apps[index].state = APP_STARTED;
	s->apps[index].started_at = pod_now();
	mark(s, MACHINE_EVENT_APP_EXEC);
	terminal_take(s);
	record_app(s, (size_t)index);
	ready_check(s);
	return 0;
}

static int handle_exited(struct supervisor *s, json_t *message)
{
	ssize_t index = message_app(s, message);
	int status = message_status(message);
	struct app_run *app;

	if (index < 0 || status < 0 || s->apps[index].state == APP_EXITED)
		return protocol_error(s, "an app exited that cannot have");
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
	record_app(s, (size_t)index);
	return 0;
}

static int handle_ended(struct supervisor *s, json_t *message)
{
	int status = message_status(message);

	for (size_t i = 0; i < s->resolved->app_count; i++)
		if (s->apps[i].state != APP_EXITED)
			return protocol_error(s, "the pod ended before its apps");
	if (status < 0)
		return protocol_error(s, "the pod ended without a status");
	s->ended = true;
	s->status = status;
	manager_tell_ending(s);
	return 0;
}

/* One at a time: what waits for a guest that does not read its answers stays bounded. */
static int handle_metadata(struct supervisor *s, json_t *message)
{
	_cleanup_json_ json_t *answer = NULL;
	int r;

	if (s->answer_end > s->outgoing.sent)
		return protocol_error(s, "a metadata request before the last one was answered");
	answer = pod_metadata_answer(&s->metadata, message, clock_monotonic());
	if (!answer)
		return protocol_error(s, "a malformed metadata request");
	r = queue_message(s, answer);
	if (r < 0)
		return error_set_errno(&s->end_error, r, "metadata request");
	s->answer_end = s->outgoing.length;
	control_writable(s);
	return 0;
}

static int handle_message(struct supervisor *s, json_t *message)
{
	const char *type = wire_type(message);
	_cleanup_free_ char *text = NULL;

	if (s->ended)
		return protocol_error(s, "a message out of its turn");
	/* It runs: from now on it is asked before it is killed. */
	s->heard = true;
	if (s->stops == 0)
		s->kill_at = 0;
	if (!strcmp(type, "started"))
		return handle_started(s, message);
	if (!strcmp(type, "exited"))
		return handle_exited(s, message);
	if (!strcmp(type, "ended"))
		return handle_ended(s, message);
	if (!strcmp(type, "metadata"))
		return handle_metadata(s, message);
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
	return protocol_error(s, "a message of unknown type");
}

/* Returns 0, or -errno when the conversation is over with s->end_error. */
static int control_ready(struct supervisor *s)
{
	s->more = false;
	for (unsigned int taken = 0; taken < MESSAGES_PER_TURN; taken++) {
		_cleanup_json_ json_t *message = NULL;
		struct error error = {0};
		ssize_t n;
		int r;

		r = wire_reader_next(&s->control, &message, &error);
		if (r < 0)
			return protocol_error(s, error_text(&error, r));
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

/* ---- output */

static void output_attached(
	void *context, const struct wire_stream_header *header, const char *payload)
{
	struct supervisor *s = context;

	pod_attachments_write(&s->attachments, header, payload);
}

static int stream_ready(struct supervisor *s)
{
	struct error error;
	int r = pod_output_read(&s->output, s->process.stream_fd, &error);

	s->marks[MACHINE_EVENT_OUTPUT] = s->output.first_at;
	return r < 0 ? protocol_error(s, error.message) : 0;
}

/* ---- the loop */

static void request_stop(struct supervisor *s)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:i}", "type", "stop", "grace_ms", WIRE_STOP_GRACE_MS);
	int64_t now = clock_monotonic();

	manager_tell_ending(s);
	s->stops++;
	/* Before it has said anything there is nothing to stop gently. */
	if (!s->heard || s->stops > STOPS_MAX || !message || queue_message(s, message) < 0) {
		s->kill_at = now;
		return;
	}
	/* A guest that does not come to its end is ended. */
	if (s->kill_at == 0)
		s->kill_at = now + (WIRE_STOP_GRACE_MS + STOP_EXTRA_MS) * 1000000ll;
}

static void signal_ready(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			window_tell(s);
			continue;
		}
		log_debug("signal %u: stopping the pod", info.ssi_signo);
		request_stop(s);
	}
}

static void requests_ready(struct supervisor *s)
{
	struct pod_request_taken taken;

	while (pod_requests_take(&s->requests, &taken) > 0) {
		switch (taken.request) {
		case POD_REQUEST_KILL:
			manager_tell_ending(s);
			s->is_killed = true;
			s->kill_at = clock_monotonic();
			break;
		case POD_REQUEST_ATTACH:
			pod_attachments_add(&s->attachments, s->resolved, taken.message, taken.fd);
			json_decref(taken.message);
			break;
		case POD_REQUEST_STOP:
			if (s->stops > 0)
				break;
			log_debug("stopping the pod on request");
			request_stop(s);
		}
	}
}

static void report_ready(struct supervisor *s)
{
	struct flavour_report report;

	if (flavour_report_read(s->process.report_fd, &report) < 0)
		return;
	if (report.event == FLAVOUR_ENDED) {
		s->report = report;
		s->reported = true;
	} else if (!s->jailed) {
		/* The first is true: no guest has run. */
		s->jailed = true;
		s->walls = report.walls;
		record_run(s);
	}
}

static int timeout_ms(const struct supervisor *s)
{
	int64_t left;

	if (s->kill_at == 0)
		return s->ended && !pod_output_waits(&s->output) ? DRAIN_MS : -1;
	left = s->kill_at - clock_monotonic();
	return left <= 0 ? 0 : (int)(left / 1000000) + 1;
}

/* Why the guest is killed now. */
static int kill_reason(struct supervisor *s)
{
	if (s->is_killed)
		return error_set(&s->end_error, -ETIMEDOUT, "the pod was killed on request");
	if (s->stops && !s->heard)
		return error_set(
			&s->end_error, -ETIMEDOUT, "the pod was stopped before its apps started");
	if (s->stops || s->heard)
		return error_set(&s->end_error, -ETIMEDOUT, "the pod did not stop and was killed");
	return error_set(&s->end_error, -ETIMEDOUT,
		"the guest did not start within %d s and was killed", BOOT_MS / 1000);
}

/* Input comes in, or goes out; until the pod has ended. */
static struct pollfd input_source(const struct supervisor *s)
{
	if (s->ended || s->output.is_at_end)
		return (struct pollfd){.fd = -1};
	if (s->resolved->interactive && pod_input_can_read(&s->input))
		return (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	if (pod_input_can_send(&s->input))
		return (struct pollfd){.fd = s->process.stream_fd, .events = POLLOUT};
	return (struct pollfd){.fd = -1};
}

/* Who sends input waits until what came before is on its way. */
static struct pollfd attachment_source(
	const struct supervisor *s, const struct attachment *attachment)
{
	bool waits = attachment->streams[WIRE_STREAM_STDIN] && !pod_input_can_read(&s->input);

	return (struct pollfd){.fd = waits ? -1 : attachment->fd, .events = POLLIN};
}

/* fd is what was polled: the place may be another's by now. */
static void attachment_ready(struct supervisor *s, struct attachment *attachment, int fd)
{
	char nothing[WIRE_STREAM_MAX];
	size_t length;

	if (attachment->fd != fd)
		return;
	if (!attachment->streams[WIRE_STREAM_STDIN]) {
		pod_attachment_read(attachment, nothing); /* it can only be its end */
		return;
	}
	/* Another that came first in this turn may have filled the frame. */
	if (!pod_input_can_read(&s->input))
		return;
	length = pod_attachment_read(attachment, s->input.frame.payload);
	if (length > 0)
		pod_input_put(&s->input, length);
}

/* One turn. 0: go on; 1: the pod has ended; -errno: it broke, see s->end_error. */
static int supervise_once(struct supervisor *s)
{
	enum {
		CONTROL,
		STREAM,
		OUTPUT,
		REPORT,
		LOG,
		CHILD,
		SIGNAL,
		INPUT,
		CONNECT,
		REQUESTS,
		ATTACHED = REQUESTS + ARRAY_SIZE(s->requests.fds),
		SOURCES = ATTACHED + ATTACHMENTS_MAX
	};
	struct pollfd fds[SOURCES] = {
		[CONTROL] = {.fd = s->ended ? -1 : s->process.control_fd,
			.events = (short)(s->outgoing.length ? POLLIN | POLLOUT : POLLIN)},
		[STREAM] = {.fd = s->output.is_at_end || pod_output_waits(&s->output)
				? -1
				: s->process.stream_fd,
			.events = POLLIN},
		[OUTPUT] = {.fd = pod_output_waits(&s->output) ? pod_output_fd(&s->output) : -1,
			.events = POLLOUT},
		[REPORT] = {.fd = s->reported ? -1 : s->process.report_fd, .events = POLLIN},
		[LOG] = {.fd = s->vmm_log.fd, .events = POLLIN},
		[CHILD] = {.fd = s->process.pid_fd, .events = POLLIN},
		[SIGNAL] = {.fd = s->signal_fd, .events = POLLIN},
		[INPUT] = input_source(s),
		[CONNECT] = {.fd = s->ended ? -1 : s->process.connect_fd, .events = POLLIN},
	};
	bool is_asked = false;
	int r = 0, n;

	if (s->ended && s->output.is_at_end && !pod_output_waits(&s->output))
		return 1;
	for (unsigned int i = REQUESTS; i < ATTACHED; i++)
		fds[i] = (struct pollfd){.fd = s->requests.fds[i - REQUESTS], .events = POLLIN};
	for (unsigned int i = ATTACHED; i < SOURCES; i++)
		fds[i] = attachment_source(s, &s->attachments.items[i - ATTACHED]);
	n = poll(fds, SOURCES, s->more ? 0 : timeout_ms(s));
	if (n < 0)
		return errno == EINTR ? 0 : error_set_errno(&s->end_error, -errno, "poll");
	if (n == 0 && s->ended && !s->more && !pod_output_waits(&s->output))
		s->output.is_at_end = true;
	if (s->kill_at && clock_monotonic() >= s->kill_at)
		return kill_reason(s);
	if (fds[SIGNAL].revents)
		signal_ready(s);
	for (unsigned int i = REQUESTS; i < ATTACHED && !is_asked; i++)
		is_asked = fds[i].revents;
	if (is_asked)
		requests_ready(s);
	if (fds[REPORT].revents)
		report_ready(s);
	if (fds[LOG].revents)
		vmm_log_pass(&s->vmm_log);
	if (fds[OUTPUT].revents)
		pod_output_write(&s->output);
	if (fds[INPUT].revents && fds[INPUT].fd == STDIN_FILENO)
		pod_input_read(&s->input, STDIN_FILENO);
	else if (fds[INPUT].revents)
		pod_input_send(&s->input, s->process.stream_fd);
	for (unsigned int i = ATTACHED; i < SOURCES; i++)
		if (fds[i].revents)
			attachment_ready(s, &s->attachments.items[i - ATTACHED], fds[i].fd);
	if (fds[STREAM].revents)
		r = stream_ready(s);
	if (fds[CONTROL].revents & POLLOUT)
		control_writable(s);
	if (r == 0 && (s->more || fds[CONTROL].revents & ~POLLOUT))
		r = control_ready(s);
	/* Output and messages that are still in the sockets come first. */
	if (r == 0 && !s->ended && !s->more && (s->reported || fds[CHILD].revents) &&
		!(fds[CONTROL].revents & POLLIN) && !fds[STREAM].revents &&
		!pod_output_waits(&s->output))
		r = error_set(&s->end_error, -EPIPE, "the guest's process ended");
	return r;
}

/* Lets the process go, hears its report, and makes sure that it is gone. */
static void release_process(struct supervisor *s)
{
	int64_t deadline = clock_monotonic() + (s->is_killed ? 0 : RELEASE_MS * 1000000ll);
	siginfo_t info = {0};
	bool was_gone = false;

	shutdown(s->process.control_fd, SHUT_RDWR);
	for (;;) {
		struct pollfd fds[] = {
			{.fd = s->reported ? -1 : s->process.report_fd, .events = POLLIN},
			{.fd = s->process.pid_fd, .events = POLLIN},
			{.fd = s->vmm_log.fd, .events = POLLIN},
		};
		int64_t left = (deadline - clock_monotonic()) / 1000000;

		if (left <= 0 || (poll(fds, ARRAY_SIZE(fds), (int)left) < 0 && errno != EINTR))
			break;
		if (fds[0].revents && !s->reported)
			report_ready(s);
		if (fds[2].revents)
			vmm_log_pass(&s->vmm_log);
		was_gone = fds[1].revents;
		if (was_gone)
			break;
	}
	kill(s->process.pid, SIGKILL);
	while (waitid(P_PIDFD, (id_t)s->process.pid_fd, &info, WEXITED) < 0 && errno == EINTR)
		;
	vmm_log_pass(&s->vmm_log);
	if (*s->cgroup)
		pod_cgroup_remove(s->cgroup);
	s->out_of_memory = pod_cgroup_was_out_of_memory(&s->vmm_cgroup);
	pod_cgroup_destroy(&s->vmm_cgroup);
	if (!s->reported)
		report_ready(s);
	if (was_gone && info.si_code != CLD_EXITED)
		s->killed_by = info.si_status;
}

/* The message that explains why a pod ended without a word of guest-init. */
static int explain_end(struct supervisor *s, int r, struct error *err)
{
	/* What the machine knows of its own death says more than a socket that was closed. */
	if (s->reported && (!s->report.started || s->report.end != MACHINE_END_RELEASED) &&
		r != -ETIMEDOUT)
		return error_set(err, -EIO, "%s", s->report.message);
	if (s->killed_by == SIGKILL && s->out_of_memory)
		return error_set(err, -ENOMEM,
			"the pod's VMM was killed at the memory limit of its cgroup on the host");
	if (s->killed_by && r != -ETIMEDOUT)
		return error_set(err, -EIO, "the pod's process was killed by signal %d (%s)",
			s->killed_by, strsignal(s->killed_by));
	return error_set(err, r, "%s", s->end_error.message);
}

static int64_t since(int64_t start, int64_t event)
{
	return event ? event - start : -1;
}

static void fill_timing(const struct supervisor *s, struct pod_timing *timing)
{
	int64_t start = s->options->process_start;

	*timing = (struct pod_timing){
		.flavour = s->options->flavour,
		.vcpus = s->resolved->vcpus,
		.memory = s->resolved->memory,
		.resident_kib = s->reported ? s->report.resident_kib : -1,
	};
	for (int i = 0; i < MACHINE_EVENTS; i++) {
		const struct machine_mark *mark = &s->report.marks[i];

		timing->at[i] = since(start, s->reported ? mark->nanoseconds : s->marks[i]);
		timing->instructions[i] = s->report.counts_instructions && mark->nanoseconds
			? mark->instructions
			: -1;
	}
	timing->at[MACHINE_EVENT_NOW] = clock_monotonic() - start;
}

static int block_signals(int *ret_fd)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* What a guest that died left in the sockets still belongs to the person; a signal ends the wait. */
static void drain_output(struct supervisor *s)
{
	while (!s->output.is_at_end || pod_output_waits(&s->output)) {
		struct pollfd fds[] = {
			{.fd = pod_output_waits(&s->output) ? pod_output_fd(&s->output)
							    : s->process.stream_fd,
				.events = pod_output_waits(&s->output) ? POLLOUT : POLLIN},
			{.fd = s->signal_fd, .events = POLLIN},
		};

		if ((poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR) || fds[1].revents)
			return;
		if (pod_output_waits(&s->output))
			pod_output_write(&s->output);
		else if (stream_ready(s) < 0)
			return;
	}
}

static int supervise(struct supervisor *s, int *ret_status, struct error *err)
{
	int r;

	s->kill_at = clock_monotonic() + BOOT_MS * 1000000ll;
	do
		r = supervise_once(s);
	while (r == 0);
	/* The records are on disk before the guest goes. */
	if (r > 0) {
		record_end(s, s->status, NULL);
		release_process(s);
		*ret_status = s->status;
		return 0;
	}
	release_process(s);
	/* Nothing has happened yet: the caller starts from elsewhere. */
	if (s->options->template && !s->heard && s->reported && !s->report.started)
		return error_set(err, -ESTALE, "%s", s->report.message);
	/* Who kills does not wait for a slow reader. */
	if (!s->is_killed)
		drain_output(s);
	r = explain_end(s, r, err);
	record_end(s, POD_STATUS_ERROR, err->message);
	return r;
}

void pod_default_hostname(const struct pod *pod, char *name)
{
	snprintf(name, POD_HOSTNAME_SIZE, "appc-%s", pod->uuid);
}

/* The frame that tells the guest what to do; it is kept in outgoing. */
static int compose_message(struct supervisor *s, const unsigned int *etc_files, struct error *err)
{
	char default_name[POD_HOSTNAME_SIZE];
	const char *hostname = s->options->hostname;
	_cleanup_json_ json_t *message = NULL, *network = NULL;
	int r;

	pod_default_hostname(s->pod, default_name);
	if (!hostname)
		hostname = default_name;
	message = s->options->apps_are_parked
		? resolved_pod_renew(s->pod->uuid, hostname)
		: resolved_pod_configure(s->resolved, etc_files, s->pod->uuid, hostname, false);
	network = pod_network_configure(&s->network);
	if (network && message)
		json_object_set(message, "network", network);
	r = message ? queue_message(s, message) : -ENOMEM;
	return r < 0 ? error_set_errno(err, r, "cannot compose the guest's instructions") : 0;
}

/*
 * What the machine of this pod can need of the host at most. Memory: its RAM; page tables and KVM's own, a sixteenth
 * of it; the window, the VMM and its caches of files, 192 MiB; and what the kernel keeps for each file that the
 * file server may hold for the guest. CPUs: the apps' limits, where all have one, else the vCPUs; and one for the
 * event loop and for workers of the kernel.
 */
static struct pod_cgroup_limits vmm_limits(const struct supervisor *s)
{
	const struct resolved_pod *resolved = s->resolved;
	int64_t millis = 0;

	for (size_t i = 0; i < resolved->app_count; i++) {
		if (resolved->apps[i].cpu_millis < 0) {
			millis = INT64_MAX;
			break;
		}
		millis += resolved->apps[i].cpu_millis;
	}
	if (millis > resolved->vcpus * 1000ll)
		millis = resolved->vcpus * 1000ll;
	return (struct pod_cgroup_limits){
		.memory = resolved->memory + resolved->memory / 16 + (192ull << 20) +
			(MACHINE_INODES_MAX + MACHINE_HANDLES_MAX) * KERNEL_BYTES_PER_FILE,
		.cpu_millis = (unsigned int)millis + 1000,
		.threads = JAIL_THREADS_MAX,
		.disk_bytes = resolved->file_limits.bytes,
		.disk_operations = resolved->file_limits.operations,
		.disk_fd = s->pod->fd,
	};
}

/* Where the host has no cgroup for it the VMM does without, and status tells. */
static const struct pod_cgroup *create_vmm_cgroup(struct supervisor *s)
{
	struct pod_cgroup_limits limits = vmm_limits(s);
	struct error error;
	int r;

	if (s->vmm_cgroup.count == 0)
		return NULL;
	r = pod_cgroup_create(&s->vmm_cgroup, &limits, &error);
	if (r < 0)
		log_debug("the VMM has no cgroup of its own: %s", error.message);
	return r < 0 ? NULL : &s->vmm_cgroup;
}

static int start_flavour(struct supervisor *s, int tree_fd, struct error *err)
{
	const struct pod_run_options *options = s->options;
	struct machine_message message = {
		.data = s->outgoing.data + WIRE_FRAME_HEADER_SIZE,
		.size = s->outgoing.length - WIRE_FRAME_HEADER_SIZE,
	};
	struct flavour_options flavour = {
		.tree_fd = tree_fd,
		.lock_fd = s->pod->lock_fd,
		.init_fd = options->init_fd,
		.vsock_fd = s->vsock_fd,
		.kernel_fd = options->kernel_fd,
		.vcpus = s->resolved->vcpus,
		.memory = s->resolved->memory,
		.file_limits = s->resolved->file_limits,
		.messages = &message,
		.message_count = 1,
		.template = options->template,
		.dax = options->dax,
		.has_net = options->network != NETWORK_NONE,
		.net_fd = s->network.fd,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
		.omitted_walls = options->omitted_walls,
		.user = jail_user(s->pod->uuid),
		.cgroup = create_vmm_cgroup(s),
	};
	struct virtio_fs_export *exports = NULL;
	int r;

	r = pod_tree_exports(s->resolved, &exports, &flavour.export_count);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the volumes");
	flavour.exports = exports;
	memcpy(flavour.net_mac, s->network.mac, sizeof(flavour.net_mac));
	r = flavour_start(options->flavour, &flavour, &s->process, err);
	if (r < 0)
		pod_cgroup_destroy(&s->vmm_cgroup);
	else
		s->vmm_log.fd = s->process.log_fd;
	/* Who comes when the guest has gone is refused. */
	cleanup_close(&s->vsock_fd);
	s->vsock_fd = -1;
	pod_tree_exports_free(exports, flavour.export_count);
	/* A machine takes its message from a port, a container from its socket. */
	if (options->flavour == FLAVOUR_VM)
		s->outgoing.length = 0;
	mark(s, MACHINE_EVENT_RUN);
	return r;
}

int pod_run(struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	const struct pod_run_options *options, int *ret_status, struct pod_timing *ret_timing,
	struct error *err)
{
	_cleanup_(supervisor_done) struct supervisor s = {
		.pod = pod,
		.resolved = resolved,
		.options = options,
		.process = FLAVOUR_PROCESS_NONE,
		.signal_fd = -1,
		.vsock_fd = -1,
		.vmm_cgroup = POD_CGROUP_NONE,
		.vmm_log = VMM_LOG_NONE,
		.started_at = pod_now(),
		.terminal = TERMINAL_NONE,
		.metadata =
			{
				.uuid = pod->uuid,
				.resolved = resolved,
				.data_fd = pods_data_fd(pod->pods),
			},
	};
	unsigned int etc_files[WIRE_APPS_MAX];
	_cleanup_close_ int tree = -1;
	int r;

	s.input.is_open = resolved->input_app >= 0;
	s.output.pod = pod;
	s.output.resolved = resolved;
	s.output.log_size = options->log_size;
	s.output.attached = output_attached;
	s.output.context = &s;
	pod_attachments_init(&s.attachments);
	pod_requests_init(&s.requests);
	s.network = POD_NETWORK_NONE;
	wire_reader_init(&s.control, WIRE_FRAME_MAX_FROM_GUEST);
	s.apps = calloc(resolved->app_count, sizeof(s.apps[0]));
	if (!s.apps || pod_output_init(&s.output) < 0)
		return -ENOMEM;
	r = block_signals(&s.signal_fd);
	if (r < 0)
		return error_set_errno(err, r, "cannot take over signals");
	r = pod_requests_open(pod, &s.requests);
	if (r < 0)
		return error_set_errno(err, r, "cannot listen to requests");
	s.vsock_fd = pod_vsock_listen(pod);
	if (s.vsock_fd < 0)
		return error_set_errno(err, s.vsock_fd, "cannot listen to clients of the pod");
	plan_cgroup(&s);
	record_run(&s);
	r = pod_network_start(options->network, resolved, pod->uuid, &s.network, err);
	if (r == 0)
		r = pod_tree_mount(pod, resolved, store, options->flavour == FLAVOUR_VM, &tree,
			etc_files, err);
	if (r == 0)
		r = compose_message(&s, etc_files, err);
	if (r == 0)
		r = pod_network_wait(&s.network, err);
	if (r == 0)
		r = start_flavour(&s, tree, err);
	pod_network_handed_over(&s.network);
	if (r < 0) {
		record_end(&s, POD_STATUS_ERROR, err->message);
		return r;
	}
	r = supervise(&s, ret_status, err);
	fill_timing(&s, ret_timing);
	if (r == -ESTALE)
		pod_tree_unmount(pod);
	return r;
}
