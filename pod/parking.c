// SPDX-License-Identifier: Apache-2.0
/* parking.c: see parking.h. */
#include "pod/parking.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "pod/vmm_log.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Between two words to a person who sees no terminal. */
#define TELL_SECONDS 60
/* Warnings of guest-init that are shown. */
#define WARNINGS_MAX 20
/* Messages taken in one turn of the loop: a guest that never stops talking must keep neither a signal nor the limit. */
#define MESSAGES_PER_TURN 64

struct machine_wait {
	struct flavour_process process;
	struct wire_reader control;
	struct flavour_report report;
	struct vmm_log log;
	bool more; /* messages may have been left for the next turn */
	bool reported;
	struct parking *parking;
	unsigned int warnings;
	struct error failure; /* what guest-init said */
};

static int64_t monotonic_ms(void)
{
	return clock_monotonic() / 1000000;
}

/* ---- signals and progress */

/*
 * The signal is only looked at, not taken: when the old mask is back it does what it would have
 * done.
 */
static bool is_stopped(const struct parking *parking)
{
	struct pollfd fd = {.fd = parking->signal_fd, .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static int block_signals(sigset_t *ret_old, int *ret_fd)
{
	static const int stops[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	signals_add_wanted(&set, stops, ARRAY_SIZE(stops));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (sigprocmask(SIG_BLOCK, &set, ret_old) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* From the first second on: a line that says what it is about, then the seconds. */
static void progress_tell(struct parking *parking, unsigned int seconds, const char *doing)
{
	const struct template_subject *subject = parking->subject;

	if (seconds == parking->told)
		return;
	if (parking->told == 0)
		log_info("%s a template for %u vCPU%s, %" PRIu64 " MiB; this happens once", doing,
			subject->vcpus, subject->vcpus == 1 ? "" : "s", subject->memory >> 20);
	else if (isatty(STDERR_FILENO) && !subject->kernel_messages)
		parking->drawn = fprintf(stderr, "\r%u s", seconds) > 0;
	else if (seconds / TELL_SECONDS != parking->told / TELL_SECONDS)
		log_info("still %s a template after %u s", doing, seconds);
	parking->told = seconds;
}

void parking_end_line(struct parking *parking)
{
	if (parking->drawn)
		fputs("\r\033[K", stderr);
	parking->drawn = false;
	parking->told = 0;
}

int parking_tell_waiting(void *context, unsigned int seconds)
{
	struct parking *parking = context;

	progress_tell(parking, seconds, "waiting for another process to make");
	return is_stopped(parking);
}

/* ---- the machine */

static void machine_wait_done(struct machine_wait *wait)
{
	if (wait->process.pid > 0) {
		kill(wait->process.pid, SIGKILL);
		while (waitpid(wait->process.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	wire_reader_done(&wait->control);
	cleanup_close(&wait->process.control_fd);
	cleanup_close(&wait->process.stream_fd);
	cleanup_close(&wait->process.connect_fd);
	cleanup_close(&wait->process.report_fd);
	vmm_log_pass(&wait->log);
	vmm_log_done(&wait->log);
	cleanup_close(&wait->process.pid_fd);
}

/* Before it has a pod, guest-init speaks only of what went wrong. */
static int read_control(struct machine_wait *wait)
{
	wait->more = false;
	for (unsigned int taken = 0; taken < MESSAGES_PER_TURN; taken++) {
		_cleanup_json_ json_t *message = NULL;
		_cleanup_free_ char *text = NULL;
		struct error error = {0};
		const char *said;
		int r = wire_reader_next(&wait->control, &message, &error);

		if (r < 0)
			return error_set(&wait->failure, r, "guest-init broke the protocol: %s",
				error_text(&error, r));
		if (r == 0) {
			ssize_t n = wire_reader_fill(&wait->control, wait->process.control_fd);

			/* When it hangs up, the report says why. */
			if (n <= 0)
				return 0;
			continue;
		}
		said = json_string_value(json_object_get(message, "message"));
		text = strndup(said ? said : "no reason given", 500);
		if (!text)
			return -ENOMEM;
		log_sanitise(text);
		if (strcmp(wire_type(message), "warning") != 0)
			return error_set(&wait->failure, -EIO, "guest-init failed: %s", text);
		if (wait->warnings < WARNINGS_MAX) {
			log_warning("%s", text);
			wait->warnings++;
		}
	}
	wait->more = true;
	return 0;
}

static int read_report(struct machine_wait *wait, struct error *err)
{
	siginfo_t info = {0};

	if (flavour_report_read(wait->process.report_fd, &wait->report) == 0) {
		wait->reported = wait->report.event == FLAVOUR_ENDED;
		return 0;
	}
	if (waitid(P_PIDFD, (id_t)wait->process.pid_fd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		info.si_pid != 0 && info.si_code != CLD_EXITED)
		return error_set(err, -EIO, "its process was killed by signal %d (%s)",
			info.si_status, strsignal(info.si_status));
	return error_set(err, -EIO, "its process ended without a word");
}

/* Waits for the machine's end, whatever it is. */
static int machine_wait(struct machine_wait *wait, struct error *err)
{
	int64_t start = monotonic_ms();
	bool hears = true;

	while (!wait->reported) {
		struct pollfd fds[] = {
			{.fd = wait->parking->signal_fd, .events = POLLIN},
			{.fd = hears ? wait->process.control_fd : -1, .events = POLLIN},
			{.fd = wait->process.report_fd, .events = POLLIN},
			{.fd = wait->process.pid_fd, .events = POLLIN},
			{.fd = wait->log.fd, .events = POLLIN},
		};
		int64_t passed = monotonic_ms() - start;
		int r = 0;

		if (passed >= wait->parking->limit_ms)
			return error_set(err, -ETIMEDOUT,
				"it was not ready to be parked within %d s",
				wait->parking->limit_ms / 1000);
		progress_tell(wait->parking, (unsigned int)(passed / 1000), wait->parking->doing);
		if (poll(fds, ARRAY_SIZE(fds), wait->more ? 0 : (int)(1000 - passed % 1000)) < 0 &&
			errno != EINTR)
			return error_set_errno(err, -errno, "poll");
		if (fds[0].revents)
			return error_set(err, -EINTR, "it was stopped by a signal");
		if (fds[4].revents)
			vmm_log_pass(&wait->log);
		if (fds[1].revents & POLLHUP)
			hears = false;
		if (fds[1].revents || wait->more)
			r = read_control(wait);
		if (r == -ENOMEM)
			return error_set_errno(err, r, "cannot read what guest-init says");
		if (r < 0)
			return error_set(err, r, "%s", wait->failure.message);
		/*
		 * The report is the child's last act: it is there when the child is gone. What its guest had said
		 * before comes first.
		 */
		if (!wait->more && (fds[2].revents || fds[3].revents))
			r = read_report(wait, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int parking_run(struct parking *parking, const struct flavour_options *options, struct error *err)
{
	_cleanup_(machine_wait_done) struct machine_wait wait = {
		.process = FLAVOUR_PROCESS_NONE,
		.parking = parking,
		.log = VMM_LOG_NONE,
	};
	int r;

	wire_reader_init(&wait.control, WIRE_FRAME_MAX_FROM_GUEST);
	r = flavour_start(FLAVOUR_VM, options, &wait.process, err);
	if (r == 0) {
		wait.log.fd = wait.process.log_fd;
		r = machine_wait(&wait, err);
	}
	parking_end_line(parking);
	if (r < 0)
		return r;
	if (wait.report.end != MACHINE_END_PARKED)
		return error_set(err, -EIO, "%s",
			*wait.report.message ? wait.report.message
					     : "it went past the place where it parks");
	return 0;
}

int parking_begin(struct parking *parking, struct error *err)
{
	int r = block_signals(&parking->old_signals, &parking->signal_fd);

	/* Guests have us say things, and whoever reads them may stand still. */
	if (r == 0)
		parking->old_patience = log_set_patience(0);
	return r < 0 ? error_set_errno(err, r, "cannot take over signals") : 0;
}

void parking_end(struct parking *parking)
{
	cleanup_close(&parking->signal_fd);
	sigprocmask(SIG_SETMASK, &parking->old_signals, NULL);
	log_set_patience(parking->old_patience);
}
