// SPDX-License-Identifier: Apache-2.0
/*
 * run_loop.c: the supervisor's poll loop, and what comes after it.
 *
 * Theory of operation: one poll loop over the control socket, the stream socket, the report socket, the
 * child's pidfd, a signalfd and the socket of other processes' requests (pod/request.h). Output is
 * copied frame by frame (pod/output.h). The pod has ended when guest-init said so and the stream's end
 * marker has come; then the records are written, and only then is the guest released.
 *
 * In a turn the machine's reports are taken before the guest's messages are: what the machine did is known when its
 * socket ends. A report that the machine is saved counts only when the messages from before are taken, too
 * (pod/run_pause.c).
 */
#include "pod/run_parts.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/sockets.h"
#include "pod/usage.h"

#include <endian.h>
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
/* How long guest-init may stay silent after the grace period of a stop. */
#define STOP_EXTRA_MS 30000
/* Requests to stop: the first is gentle, the second makes guest-init kill, one more kills the guest. */
#define STOPS_MAX 2
/* Reports taken in one turn: a machine has a few to make, and one that never ends must not keep the loop. */
#define REPORTS_PER_TURN 16

/* ---- what happens in a turn */

static void window_tell(struct supervisor *s)
{
	uint16_t rows, columns;

	if (s->resolved->interactive && s->resolved->terminal &&
		terminal_size(STDIN_FILENO, &rows, &columns))
		pod_input_set_window(&s->input, rows, columns);
}

void supervisor_take_terminal(struct supervisor *s)
{
	int r;

	/* One that is attached to is not ours; one that was taken stays so. */
	if (!s->resolved->interactive || !s->resolved->terminal || s->terminal.fd >= 0)
		return;
	r = terminal_make_raw(&s->terminal, STDIN_FILENO);
	if (r < 0)
		log_warning("cannot set up the terminal: %s", strerror(-r));
	window_tell(s);
}

static int stream_ready(struct supervisor *s)
{
	struct error error;
	int r = pod_output_read(&s->output, s->process.stream_fd, &error);

	s->marks[MACHINE_EVENT_OUTPUT] = s->output.first_at;
	/* Who speaks to a person listens, too, ready or not. */
	if (s->output.first_at)
		supervisor_take_terminal(s);
	return r < 0 ? supervisor_protocol_error(s, error.message) : 0;
}

/* Who asks a second time does not wait for what the apps make of it. */
static void request_stop(struct supervisor *s)
{
	_cleanup_json_ json_t *message = json_pack(
		"{s:s, s:i}", "type", "stop", "grace_ms", s->stops == 0 ? WIRE_STOP_GRACE_MS : 0);
	int64_t now = clock_monotonic();

	supervisor_tell_ending(s);
	supervisor_unpause(s);
	s->stops++;
	/* Before it has said anything there is nothing to stop gently. */
	if (!s->heard || s->stops > STOPS_MAX || !message ||
		supervisor_queue_message(s, message) < 0) {
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

static void usage_tell(struct supervisor *s, int fd)
{
	struct wire_usage usage;

	pod_usage_of_host(s->process.pid, &s->vmm_cgroup, s->cgroup, &usage);
	pod_usage_answer(fd, &usage);
}

static void requests_ready(struct supervisor *s)
{
	struct pod_request_taken taken;

	while (pod_requests_take(&s->requests, &taken) > 0) {
		switch (taken.request) {
		case POD_REQUEST_KILL:
			supervisor_tell_ending(s);
			s->is_killed = true;
			s->kill_at = clock_monotonic();
			break;
		case POD_REQUEST_ATTACH:
			pod_attachments_add(&s->attachments, s->resolved, taken.message, taken.fd);
			json_decref(taken.message);
			break;
		case POD_REQUEST_USAGE:
			usage_tell(s, taken.fd);
			close(taken.fd);
			json_decref(taken.message);
			break;
		case POD_REQUEST_PAUSE:
		case POD_REQUEST_RESUME:
		case POD_REQUEST_CHECKPOINT:
			supervisor_pause_request(s, &taken);
			break;
		case POD_REQUEST_APP:
			supervisor_app_request(s, taken.message, taken.fd);
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

/* Whether there was one. */
static bool report_take(struct supervisor *s)
{
	struct flavour_report report;

	int r = flavour_report_read(s->process.report_fd, &report);

	/* A machine that breaks this protocol is not listened to any more. */
	if (r < 0 && r != -EAGAIN && r != -EINTR)
		close(TAKE_FD(s->process.report_fd));
	if (r < 0)
		return false;
	if (report.event == FLAVOUR_ENDED) {
		s->report = report;
		s->reported = true;
	} else if (report.event == FLAVOUR_ANSWERED) {
		supervisor_pause_answered(s, &report);
	} else if (!s->jailed) {
		/* The first is true: no guest has run. */
		s->jailed = true;
		s->walls = report.walls;
		supervisor_record_run(s);
	}
	return true;
}

static void reports_take(struct supervisor *s)
{
	for (unsigned int i = 0; i < REPORTS_PER_TURN && !s->reported && report_take(s); i++)
		;
}

/* ---- the loop */

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

/*
 * Who sends input waits until what came before is on its way, and who has missed output is told when there is room. One
 * who waits for both is not polled at all: that he has gone would be said again and again.
 */
static struct pollfd attachment_source(
	const struct supervisor *s, const struct attachment *attachment)
{
	bool waits = attachment->streams[WIRE_STREAM_STDIN] && !pod_input_can_read(&s->input);
	int events = (waits ? 0 : POLLIN) | (attachment->lost > 0 ? POLLOUT : 0);

	return (struct pollfd){.fd = events ? attachment->fd : -1, .events = (short)events};
}

/* polled: the place may be another's by now. */
static void attachment_ready(
	struct supervisor *s, struct attachment *attachment, const struct pollfd *polled)
{
	char payload[WIRE_STREAM_MAX];
	struct wire_window window;
	enum wire_stream stream;
	size_t length;

	if (attachment->fd != polled->fd)
		return;
	if (polled->events & POLLOUT)
		pod_attachment_tell_lost(attachment);
	/* Another that came first in this turn may have filled the frame. */
	if (attachment->streams[WIRE_STREAM_STDIN] && !pod_input_can_read(&s->input))
		return;
	stream = pod_attachment_read(attachment, payload, &length);
	if (stream == WIRE_STREAM_STDIN) {
		memcpy(s->input.frame.payload, payload, length);
		pod_input_put(&s->input, length);
	} else if (stream == WIRE_STREAM_WINDOW) {
		memcpy(&window, payload, sizeof(window));
		pod_input_set_window(&s->input, le16toh(window.rows), le16toh(window.columns));
	}
}

int supervisor_turn(struct supervisor *s)
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
		PAUSE,
		ADDING,
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
		[PAUSE] = {.fd = supervisor_pause_source(s), .events = POLLIN},
		[ADDING] = {.fd = supervisor_adding_source(s), .events = POLLIN},
		[CONNECT] = {.fd = s->ended ? -1 : s->process.connect_fd, .events = POLLIN},
	};
	bool is_asked = false, hears;
	int r = 0, n;

	if (s->ended && s->output.is_at_end && !pod_output_waits(&s->output))
		return 1;
	for (unsigned int i = REQUESTS; i < ATTACHED; i++)
		fds[i] = (struct pollfd){.fd = s->requests.fds[i - REQUESTS], .events = POLLIN};
	for (unsigned int i = ATTACHED; i < SOURCES; i++)
		fds[i] = attachment_source(s, &s->attachments.items[i - ATTACHED]);
	n = poll(fds, SOURCES,
		s->more || (s->is_parked && !pod_output_waits(&s->output)) ? 0 : timeout_ms(s));
	if (n < 0)
		return errno == EINTR ? 0 : error_set_errno(&s->end_error, -errno, "poll");
	if (n == 0 && s->ended && !s->more && !pod_output_waits(&s->output))
		s->output.is_at_end = true;
	/* It stands still, or should: what it had said before comes first. */
	if (s->is_parked && !s->more && !fds[STREAM].revents && !fds[CONTROL].revents &&
		!pod_output_waits(&s->output))
		return 1;
	if (s->kill_at && clock_monotonic() >= s->kill_at)
		return s->is_parked ? 1 : kill_reason(s);
	if (fds[SIGNAL].revents)
		signal_ready(s);
	for (unsigned int i = REQUESTS; i < ATTACHED && !is_asked; i++)
		is_asked = fds[i].revents;
	if (is_asked)
		requests_ready(s);
	if (fds[PAUSE].revents && fds[PAUSE].fd == supervisor_pause_source(s))
		supervisor_pause_source_ready(s);
	if (fds[ADDING].revents)
		supervisor_adding_ready(s);
	if (fds[REPORT].revents)
		reports_take(s);
	if (fds[LOG].revents)
		vmm_log_pass(&s->vmm_log);
	if (fds[OUTPUT].revents)
		pod_output_write(&s->output);
	/* A machine that breaks this protocol is not listened to any more. */
	if (fds[CONNECT].revents && pod_vsock_answer(s->pod, s->process.connect_fd) < 0)
		close(TAKE_FD(s->process.connect_fd));
	if (fds[INPUT].revents && fds[INPUT].fd == STDIN_FILENO)
		pod_input_read(&s->input, STDIN_FILENO);
	else if (fds[INPUT].revents)
		pod_input_send(&s->input, s->process.stream_fd);
	for (unsigned int i = ATTACHED; i < SOURCES; i++)
		if (fds[i].revents)
			attachment_ready(s, &s->attachments.items[i - ATTACHED], &fds[i]);
	if (fds[STREAM].revents)
		r = stream_ready(s);
	if (fds[CONTROL].revents & POLLOUT)
		supervisor_control_writable(s);
	hears = s->more || fds[CONTROL].revents & ~POLLOUT ||
		(s->pause == PAUSE_TAKEN && !s->ended);
	if (r == 0 && hears)
		r = supervisor_control_ready(s);
	if (r == 0 && !s->more)
		supervisor_pause_settle(s);
	/* Output and messages that are still in the sockets come first. */
	if (r == 0 && !s->ended && !s->more && (s->reported || fds[CHILD].revents) &&
		!(fds[CONTROL].revents & POLLIN) && !fds[STREAM].revents &&
		!pod_output_waits(&s->output))
		r = error_set(&s->end_error, -EPIPE, "the guest's process ended");
	/* The checkpoint is there: that its machine has gone before it was let go is no failure. */
	return s->is_parked && r == -EPIPE ? 1 : r;
}

/* ---- after it */

/* Lets the process go, hears its report, and makes sure that it is gone. */
static void release_process(struct supervisor *s)
{
	int64_t deadline = clock_monotonic() + (s->is_killed ? 0 : RELEASE_MS * 1000000ll);
	siginfo_t info = {0};
	bool was_gone = false;

	shutdown(s->process.control_fd, SHUT_RDWR);
	/* Both take their time, and need not wait for each other. */
	if (s->ended || s->is_parked)
		supervisor_sync_records(s);
	for (;;) {
		struct pollfd fds[] = {
			{.fd = s->reported ? -1 : s->process.report_fd, .events = POLLIN},
			{.fd = s->process.pid_fd, .events = POLLIN},
			{.fd = s->vmm_log.fd, .events = POLLIN},
		};
		int64_t left = (deadline - clock_monotonic()) / 1000000;

		if (left <= 0 || (poll(fds, ARRAY_SIZE(fds), (int)left) < 0 && errno != EINTR))
			break;
		if (fds[0].revents)
			reports_take(s);
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
	reports_take(s);
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

/* Whether somebody has asked for the pod's end; all else is too late. */
static bool is_end_asked(struct supervisor *s)
{
	struct pod_request_taken taken;

	while (pod_requests_take(&s->requests, &taken) > 0) {
		if (taken.request == POD_REQUEST_STOP || taken.request == POD_REQUEST_KILL)
			return true;
		pod_request_refuse(taken.fd, "it has ended");
		close(taken.fd);
		json_decref(taken.message);
	}
	return false;
}

/*
 * What a guest that died left in the sockets still belongs to the person. A slow reader is waited for, unless the pod
 * was told to stop, or is now. The process has gone, so all there is has come: the stream's end need not, where a copy
 * of its socket is left somewhere.
 */
static void drain_output(struct supervisor *s)
{
	enum { SOURCE, SIGNAL, REQUESTS, SOURCES = REQUESTS + ARRAY_SIZE(s->requests.fds) };

	while (!s->output.is_at_end || pod_output_waits(&s->output)) {
		bool waits = pod_output_waits(&s->output);
		struct pollfd fds[SOURCES] = {
			[SOURCE] = {.fd = waits ? pod_output_fd(&s->output) : s->process.stream_fd,
				.events = waits ? POLLOUT : POLLIN},
			[SIGNAL] = {.fd = s->signal_fd, .events = POLLIN},
		};
		int n;

		for (unsigned int i = REQUESTS; i < SOURCES; i++)
			fds[i] = (struct pollfd){
				.fd = s->requests.fds[i - REQUESTS], .events = POLLIN};
		n = poll(fds, SOURCES, waits && s->stops == 0 ? -1 : 0);
		if (n == 0 || (n < 0 && errno != EINTR) || fds[SIGNAL].revents || is_end_asked(s))
			return;
		if (fds[SOURCE].revents && waits)
			pod_output_write(&s->output);
		else if (fds[SOURCE].revents && stream_ready(s) < 0)
			return;
	}
}

int supervisor_run(struct supervisor *s, int *ret_status, struct error *err)
{
	int r;

	s->kill_at = clock_monotonic() + BOOT_MS * 1000000ll;
	do
		r = supervisor_turn(s);
	while (r == 0);
	/* The records are there before the guest goes. */
	if (r > 0) {
		supervisor_record_end(
			s, s->status, s->is_parked ? "it was saved, to go on later" : NULL);
		release_process(s);
		/* What was in the socket of a machine that had gone already. */
		if (s->is_parked && !s->is_killed)
			drain_output(s);
		*ret_status = s->status;
		return 0;
	}
	release_process(s);
	/*
	 * Nothing has happened yet, and it is still wanted: the caller starts from elsewhere. Once it has told its
	 * walls the machine runs its guest, and what it says then is not believed.
	 */
	if (s->options->template && !s->jailed && !s->heard && s->reported && !s->report.started &&
		s->stops == 0 && !s->is_killed) {
		s->starts_anew = true;
		return error_set(
			err, s->report.is_refused ? -ESTALE : -EHOSTDOWN, "%s", s->report.message);
	}
	r = explain_end(s, r, err);
	supervisor_record_end(s, POD_STATUS_ERROR, err->message);
	supervisor_sync_records(s);
	/* Who kills does not wait for a slow reader. */
	if (!s->is_killed)
		drain_output(s);
	return r;
}
