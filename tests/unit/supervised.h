/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervised.h: a supervisor in the middle of its work, whose guest, machine and client a test plays. One app, "main",
 * runs; there is no process and no stream unless the test adds them.
 */
#ifndef APPC_TESTS_UNIT_SUPERVISED_H
#define APPC_TESTS_UNIT_SUPERVISED_H

#include "base/file.h"
#include "base/json.h"
#include "pod/run_parts.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct fixture {
	char path[64];
	int dirfd;
	struct pods *pods;
	struct pod pod;
	struct resolved_app app;
	struct resolved_pod resolved;
	struct pod_run_options options;
	struct app_run run;
	struct supervisor s;
	int guest, machine, client; /* the other ends of control, report and pause */
};

static inline int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int control[2], report[2], client[2];
	struct supervisor *s;
	struct error err;

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-run-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(pods_open(fixture->dirfd, &fixture->pods, &err), 0);
	assert_int_equal(pod_create(fixture->pods, &fixture->pod, &err), 0);
	assert_int_equal(directory_create_path(fixture->pod.fd, "apps", 0750), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, report), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, client), 0);
	fixture->guest = control[1];
	fixture->machine = report[1];
	fixture->client = client[1];
	fixture->app.name = "main";
	fixture->resolved.apps = &fixture->app;
	fixture->resolved.app_count = 1;
	fixture->resolved.input_app = -1;
	fixture->options.flavour = FLAVOUR_VM;
	fixture->run.state = APP_STARTED;
	s = &fixture->s;
	*s = (struct supervisor){
		.pod = &fixture->pod,
		.resolved = &fixture->resolved,
		.options = &fixture->options,
		.process = FLAVOUR_PROCESS_NONE,
		.vmm_log = VMM_LOG_NONE,
		.apps = &fixture->run,
		.signal_fd = -1,
		.vsock_fd = -1,
		.pause_fd = client[0],
		.vmm_cgroup = POD_CGROUP_NONE,
		.network = POD_NETWORK_NONE,
		/* The first is shown, and so many are not. */
		.warnings = 1000,
		.heard = true,
		.jailed = true,
	};
	s->process.control_fd = control[0];
	s->process.report_fd = report[0];
	s->output.resolved = &fixture->resolved;
	pod_attachments_init(&s->attachments);
	pod_requests_init(&s->requests);
	wire_reader_init(&s->control, WIRE_FRAME_MAX_FROM_GUEST);
	supervisor_apps_init(s);
	*state = fixture;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *fixture = *state;

	wire_reader_done(&fixture->s.control);
	free(fixture->s.outgoing.data);
	cleanup_close(&fixture->s.process.control_fd);
	cleanup_close(&fixture->s.process.report_fd);
	cleanup_close(&fixture->s.pause_fd);
	cleanup_close(&fixture->guest);
	cleanup_close(&fixture->machine);
	cleanup_close(&fixture->client);
	pod_close(&fixture->pod);
	pods_close(fixture->pods);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static inline void guest_says(struct fixture *fixture, json_t *message)
{
	_cleanup_free_ char *frame = NULL;
	size_t length;

	assert_non_null(message);
	assert_int_equal(wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length), 0);
	assert_int_equal(file_write_all(fixture->guest, frame, length), 0);
	json_decref(message);
}

static inline void machine_reports(
	struct fixture *fixture, enum flavour_event event, enum machine_answer answer)
{
	const struct flavour_report report = {.event = event, .answer = answer};

	assert_int_equal(
		send(fixture->machine, &report, sizeof(report), MSG_NOSIGNAL), (int)sizeof(report));
}

#define RUN_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
