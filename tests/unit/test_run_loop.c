// SPDX-License-Identifier: Apache-2.0
/* test_run_loop.c: how a supervisor comes to the end of a pod whose machine is in the hands of its guest. */
#include "base/descriptors.h"
#include "pod/record.h"
#include "pod/request.h"
#include "tests/unit/supervised.h"

#include <endian.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A wait that has no end is one. */
#define LIMIT_SECONDS 120
/* More than is read of a socket at once. */
#define MUCH (20u << 10)

static void not_attached(
	void *context, const struct wire_stream_header *header, const char *payload)
{
	(void)context;
	(void)header;
	(void)payload;
}

/* The process of the machine, which has done all that it does; and its stream. Returns the stream's other end. */
static int add_process(struct fixture *fixture)
{
	struct supervisor *s = &fixture->s;
	int stream[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, stream), 0);
	s->process.stream_fd = stream[0];
	s->process.pid = fork();
	assert_true(s->process.pid >= 0);
	if (s->process.pid == 0)
		_exit(0);
	s->process.pid_fd = (int)syscall(SYS_pidfd_open, s->process.pid, 0);
	assert_true(s->process.pid_fd >= 0);
	s->output.attached = not_attached;
	assert_int_equal(pod_output_init(&s->output), 0);
	return stream[1];
}

static void remove_process(struct fixture *fixture)
{
	pod_output_done(&fixture->s.output);
	cleanup_close(&fixture->s.process.stream_fd);
	cleanup_close(&fixture->s.process.pid_fd);
}

/* To the end of the pod; what its apps wrote is in *ret_output. is_full: nobody reads it, and there is no room for more. */
static int run(
	struct fixture *fixture, bool is_full, char *ret_output, size_t size, struct error *err)
{
	int output[2], old = dup(STDOUT_FILENO), status = -1, r;
	ssize_t n;

	assert_true(old >= 0);
	assert_int_equal(pipe2(output, O_CLOEXEC | O_NONBLOCK), 0);
	fflush(stdout);
	while (is_full && write(output[1], "full", 4) > 0)
		;
	dup2(output[1], STDOUT_FILENO);
	alarm(LIMIT_SECONDS);
	r = supervisor_run(&fixture->s, &status, err);
	alarm(0);
	dup2(old, STDOUT_FILENO);
	n = read(output[0], ret_output, size - 1);
	ret_output[n > 0 ? n : 0] = '\0';
	close(output[0]);
	close(output[1]);
	close(old);
	return r;
}

static void say(int stream_fd, const char *text)
{
	const struct wire_stream_header header = {
		.length = htole32((uint32_t)strlen(text)), .stream = WIRE_STREAM_STDOUT};

	assert_int_equal(send(stream_fd, &header, sizeof(header), 0), (int)sizeof(header));
	assert_int_equal(send(stream_fd, text, strlen(text), 0), (int)strlen(text));
}

static void expect_end(struct fixture *fixture, const char *reason)
{
	struct pod_end_record record = POD_END_RECORD_NONE;

	assert_int_equal(pod_end_record_read(&fixture->pod, &record), 0);
	assert_string_equal(record.reason, reason);
	pod_end_record_done(&record);
}

static void a_copy_of_the_stream_that_nobody_took_keeps_no_pod_alive(void **state)
{
	static const char rubbish[MUCH] = {'\xff', '\xff', '\xff', '\xff'};
	struct fixture *fixture = *state;
	int stream_fd = add_process(fixture);
	struct error err = {0};
	char output[256];

	say(stream_fd, "last words\n");
	/* It is not read on behind what breaks the rules. */
	assert_int_equal(send(fixture->guest, rubbish, sizeof(rubbish), 0), (int)sizeof(rubbish));
	assert_int_equal(descriptors_send(fixture->guest, "x", 1, &stream_fd, 1, 0), 0);
	close(stream_fd);
	assert_int_equal(run(fixture, false, output, sizeof(output), &err), -EBADMSG);
	assert_string_equal(output, "last words\n");
	expect_end(fixture, err.message);
	remove_process(fixture);
}

/* With last words, which have no room, and a guest that has gone. */
static void run_with_unread_output(struct fixture *fixture)
{
	struct error err = {0};
	char output[8];

	close(fixture->guest);
	fixture->guest = -1;
	assert_int_equal(run(fixture, true, output, sizeof(output), &err), -EPIPE);
	expect_end(fixture, err.message);
	remove_process(fixture);
}

static void a_pod_that_was_told_to_stop_waits_for_no_reader(void **state)
{
	struct fixture *fixture = *state;
	int stream_fd = add_process(fixture);

	fixture->s.stops = 1;
	say(stream_fd, "last words\n");
	close(stream_fd);
	run_with_unread_output(fixture);
}

static void a_pod_that_has_ended_and_waits_for_a_reader_can_be_stopped(void **state)
{
	struct fixture *fixture = *state;
	int stream_fd = add_process(fixture), status = -1;
	pid_t client;

	assert_int_equal(pod_requests_open(&fixture->pod, &fixture->s.requests), 0);
	say(stream_fd, "last words\n");
	close(stream_fd);
	fixture->pod.state = POD_RUNNING;
	client = fork();
	if (client == 0) {
		struct pod_end_record record = POD_END_RECORD_NONE;
		struct error err;

		alarm(LIMIT_SECONDS);
		close(fixture->guest);
		/* Not before the end is written down, after which nothing but the wait is left. */
		while (pod_end_record_read(&fixture->pod, &record) == -ENOENT)
			usleep(1000);
		_exit(pod_stop(&fixture->pod, false, &err) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	run_with_unread_output(fixture);
	/* It has been answered. */
	assert_int_equal(waitpid(client, &status, 0), client);
	assert_int_equal(status, 0);
	pod_requests_close(&fixture->s.requests);
}

/* The machine reports that it could not be made, from a template that is of no use, and is gone. */
static int run_to_refusal(struct fixture *fixture, struct error *err)
{
	static const struct template template = TEMPLATE_NONE;
	const struct flavour_report report = {.event = FLAVOUR_ENDED,
		.end = MACHINE_END_FAILED,
		.is_refused = true,
		.message = "it is of no use"};
	char output[256];
	int r;

	close(add_process(fixture));
	fixture->options.template = &template;
	fixture->s.heard = false;
	assert_int_equal(
		send(fixture->machine, &report, sizeof(report), MSG_NOSIGNAL), (int)sizeof(report));
	cleanup_close(&fixture->guest);
	fixture->guest = -1;
	r = run(fixture, false, output, sizeof(output), err);
	remove_process(fixture);
	return r;
}

static void a_machine_that_could_not_be_made_is_made_in_another_way(void **state)
{
	struct fixture *fixture = *state;
	struct pod_end_record record = POD_END_RECORD_NONE;
	struct error err = {0};

	fixture->s.jailed = false;
	assert_int_equal(run_to_refusal(fixture, &err), -ESTALE);
	assert_string_equal(err.message, "it is of no use");
	assert_int_equal(pod_end_record_read(&fixture->pod, &record), -ENOENT);
}

static void a_machine_whose_guest_ran_cannot_say_that_it_was_never_made(void **state)
{
	struct fixture *fixture = *state;
	struct error err = {0};

	fixture->s.jailed = false;
	machine_reports(fixture, FLAVOUR_JAILED, 0);
	assert_int_equal(run_to_refusal(fixture, &err), -EIO);
	expect_end(fixture, "it is of no use");
}

static void a_guest_that_speaks_puts_off_no_end_but_that_of_its_start(void **state)
{
	struct fixture *fixture = *state;
	struct supervisor *s = &fixture->s;

	s->heard = false;
	s->kill_at = 1;
	guest_says(fixture, json_pack("{s:s, s:s}", "type", "warning", "message", "it runs"));
	assert_int_equal(supervisor_control_ready(s), 0);
	assert_true(s->heard);
	assert_int_equal(s->kill_at, 0);
	/* It is to be killed now. */
	s->kill_at = 1;
	guest_says(fixture, json_pack("{s:s, s:s}", "type", "warning", "message", "not yet"));
	assert_int_equal(supervisor_control_ready(s), 0);
	assert_int_equal(s->kill_at, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(a_copy_of_the_stream_that_nobody_took_keeps_no_pod_alive),
		RUN_TEST(a_pod_that_was_told_to_stop_waits_for_no_reader),
		RUN_TEST(a_pod_that_has_ended_and_waits_for_a_reader_can_be_stopped),
		RUN_TEST(a_machine_that_could_not_be_made_is_made_in_another_way),
		RUN_TEST(a_machine_whose_guest_ran_cannot_say_that_it_was_never_made),
		RUN_TEST(a_guest_that_speaks_puts_off_no_end_but_that_of_its_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
