// SPDX-License-Identifier: Apache-2.0
/* test_parking.c: what a machine that is to be parked may do, while a process of the host waits for it. */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/parking.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cmocka.h>

/* As many as are taken in one turn, and more. */
#define MANY_MESSAGES 200
/* A wait that has no end is one. */
#define LIMIT_SECONDS 120

/* The machine: what it does, in a process of its own, with its ends of the sockets. */
static void (*machine)(int control_fd, int report_fd);

/* For flavour_start(), which would need a kernel and KVM. */
int __wrap_flavour_start(enum flavour flavour, const struct flavour_options *options,
	struct flavour_process *ret, struct error *err);
int __wrap_flavour_start(enum flavour flavour, const struct flavour_options *options,
	struct flavour_process *ret, struct error *err)
{
	int control[2], report[2];
	pid_t pid;

	(void)options;
	(void)err;
	assert_int_equal(flavour, FLAVOUR_VM);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(control[0]);
		close(report[0]);
		machine(control[1], report[1]);
		_exit(0);
	}
	close(control[1]);
	close(report[1]);
	assert_int_equal(fcntl(control[0], F_SETFL, O_NONBLOCK), 0);
	*ret = FLAVOUR_PROCESS_NONE;
	ret->pid = pid;
	ret->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	ret->control_fd = control[0];
	ret->report_fd = report[0];
	ret->log_fd = -1;
	assert_true(ret->pid_fd >= 0);
	return 0;
}

static void say(int control_fd, const char *type, const char *text)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:s}", "type", type, "message", text);
	_cleanup_free_ char *frame = NULL;
	size_t length;

	if (wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length) < 0 ||
		file_write_all(control_fd, frame, length) < 0)
		_exit(1);
}

/* Faster than anybody can read. */
static void warn_for_ever_after(int control_fd, void (*after_first)(void))
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:s}", "type", "warning", "message", "once more");
	_cleanup_free_ char *frame = NULL;
	static char frames[256 << 10];
	size_t length, end = 0;

	if (wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length) < 0)
		_exit(1);
	for (; end + length <= sizeof(frames); end += length)
		memcpy(frames + end, frame, length);
	while (file_write_all(control_fd, frames, end) == 0) {
		if (after_first)
			after_first();
		after_first = NULL;
	}
	_exit(1);
}

static void warn_for_ever(int control_fd, int report_fd)
{
	(void)report_fd;
	warn_for_ever_after(control_fd, NULL);
}

static void stop_who_waits(void)
{
	kill(getppid(), SIGTERM);
}

static void warn_for_ever_and_have_us_stopped(int control_fd, int report_fd)
{
	(void)report_fd;
	warn_for_ever_after(control_fd, stop_who_waits);
}

static void warn_often_and_fail(int control_fd, int report_fd)
{
	const struct flavour_report report = {
		.event = FLAVOUR_ENDED, .end = MACHINE_END_FAILED, .message = "it ended"};

	for (unsigned int i = 0; i < MANY_MESSAGES; i++)
		say(control_fd, "warning", "once more");
	say(control_fd, "failed", "no disk");
	if (write(report_fd, &report, sizeof(report)) != sizeof(report))
		_exit(1);
}

static int run(void (*what)(int, int), int limit_ms, struct error *err)
{
	static const struct template_subject subject = {.vcpus = 1, .memory = 128u << 20};
	const struct flavour_options options = {.init_fd = -1};
	struct parking parking = {.subject = &subject, .doing = "booting", .limit_ms = limit_ms};
	const struct timespec now = {0};
	sigset_t stop;
	int r;

	machine = what;
	alarm(LIMIT_SECONDS);
	assert_int_equal(parking_begin(&parking, err), 0);
	r = parking_run(&parking, &options, err);
	/* It would end us when the old mask is back. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	assert_true(sigtimedwait(&stop, NULL, &now) == (r == -EINTR ? SIGTERM : -1));
	parking_end(&parking);
	alarm(0);
	return r;
}

static void a_guest_that_never_stops_talking_is_ended_at_the_limit(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(run(warn_for_ever, 300, &err), -ETIMEDOUT);
}

static void a_signal_ends_the_wait_for_a_guest_that_never_stops_talking(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(run(warn_for_ever_and_have_us_stopped, INT_MAX, &err), -EINTR);
}

static void what_a_guest_said_counts_before_its_machines_report(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(run(warn_often_and_fail, INT_MAX, &err), -EIO);
	assert_string_equal(err.message, "guest-init failed: no disk");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_that_never_stops_talking_is_ended_at_the_limit),
		cmocka_unit_test(a_signal_ends_the_wait_for_a_guest_that_never_stops_talking),
		cmocka_unit_test(what_a_guest_said_counts_before_its_machines_report),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
