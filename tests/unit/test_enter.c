// SPDX-License-Identifier: Apache-2.0
/* test_enter.c: a client of a pod whose guest does not do what it should, and what ends it all the same. */
#include "base/file.h"
#include "base/json.h"
#include "pod/enter.h"
#include "pod/prepare.h"
#include "pod/sockets.h"
#include "tests/unit/moved_clock.h"
#include "wire/session.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* Much less than what is waited for in vain. */
#define SOON SECOND

static const char manifest[] =
	"{\"acVersion\": \"0.8.11\", \"acKind\": \"PodManifest\", \"apps\": ["
	"{\"name\": \"web\", \"image\": {\"id\": \"sha512-0123\"},"
	" \"app\": {\"exec\": [\"/web\"], \"user\": \"0\", \"group\": \"0\"}}]}";

struct fixture {
	char path[64];
	int dirfd;
	struct pods *pods;
	struct pod pod;
	int listen_fd, guest_fd; /* the latter -1: it has not let the client in */
	int output[2];           /* the client's standard output, and who reads it */
	unsigned int turns;
	bool lets_in;
	int signal; /* that the client gets; 0: none */
	bool has_reader_go;
	const char *result;        /* of its program; NULL: never */
	int heard_signal;          /* of the client */
	int old_input, old_output; /* ours */
};
static struct fixture fixture;

static void guest_hears(const struct wire_session_frame *frame)
{
	if (frame->kind == WIRE_SESSION_SIGNAL)
		fixture.heard_signal = (unsigned char)frame->data[0];
}

/* What the client says, from its greeting on. */
static void guest_listens(void)
{
	_cleanup_(wire_session_reader_done) struct wire_session_reader reader = {0};
	struct wire_session_frame frame;
	char greeting[sizeof(WIRE_SESSION_GREETING) - 1];

	wire_session_reader_init(&reader, WIRE_SESSION_CLIENT);
	assert_int_equal(recv(fixture.guest_fd, greeting, sizeof(greeting), 0), sizeof(greeting));
	while (wire_session_reader_fill(&reader, fixture.guest_fd) > 0)
		while (wire_session_reader_next(&reader, &frame) > 0)
			guest_hears(&frame);
}

static void guest_says(const char *text, size_t length)
{
	assert_int_equal(send(fixture.guest_fd, text, length, MSG_NOSIGNAL), length);
}

static void guest_says_result(void)
{
	const struct wire_session_header header =
		wire_session_header(WIRE_SESSION_RESULT, strlen(fixture.result));

	guest_says((const char *)&header, sizeof(header));
	guest_says(fixture.result, strlen(fixture.result));
}

static void guest_lets_in(void)
{
	int fd = accept(fixture.listen_fd, NULL, NULL);

	assert_true(fd >= 0);
	fixture.guest_fd = fd;
	guest_says("OK 1\n", 5);
}

/* It lets the client in; then what comes to the client; then its last word. */
static bool guest_turn(void)
{
	switch (fixture.turns++) {
	case 0:
		if (!fixture.lets_in)
			return false;
		guest_lets_in();
		return true;
	case 1:
		if (fixture.signal)
			raise(fixture.signal);
		if (fixture.has_reader_go) {
			cleanup_close(&fixture.output[0]);
			fixture.output[0] = -1;
		}
		return true;
	case 2:
		if (fixture.result)
			guest_says_result();
		return fixture.result;
	default:
		return false;
	}
}

static int set_up(void **state)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct error err;
	sigset_t set;

	fixture =
		(struct fixture){.path = "/tmp/appc-enter-XXXXXX", .guest_fd = -1, .pod = POD_NONE};
	assert_non_null(mkdtemp(fixture.path));
	fixture.dirfd = directory_open(AT_FDCWD, fixture.path);
	assert_int_equal(pods_open(fixture.dirfd, &fixture.pods, &err), 0);
	assert_int_equal(pod_create(fixture.pods, &fixture.pod, &err), 0);
	assert_int_equal(file_write_atomic(fixture.pod.fd, POD_MANIFEST_RESOLVED, manifest,
				 strlen(manifest), 0600),
		0);
	fixture.pod.state = POD_RUNNING;
	fixture.listen_fd = pod_vsock_listen(&fixture.pod);
	assert_true(fixture.listen_fd >= 0);
	assert_int_equal(pipe2(fixture.output, O_CLOEXEC), 0);
	/* Whichever is raised, the client takes. */
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	/* Input has ended. */
	fixture.old_input = dup(STDIN_FILENO);
	dup2(null, STDIN_FILENO);
	close(null);
	fflush(stdout);
	fixture.old_output = dup(STDOUT_FILENO);
	dup2(fixture.output[1], STDOUT_FILENO);
	close(fixture.output[1]);
	elsewhere = guest_turn;
	*state = &fixture;
	return 0;
}

/* From here on words of the test are for who runs it. */
static void give_streams_back(void)
{
	dup2(fixture.old_input, STDIN_FILENO);
	dup2(fixture.old_output, STDOUT_FILENO);
}

static int tear_down(void **state)
{
	(void)state;
	elsewhere = NULL;
	give_streams_back();
	close(fixture.old_input);
	close(fixture.old_output);
	cleanup_close(&fixture.output[0]);
	cleanup_close(&fixture.listen_fd);
	cleanup_close(&fixture.guest_fd);
	pod_close(&fixture.pod);
	pods_close(fixture.pods);
	close(fixture.dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture.path), 0);
	return 0;
}

/* *ret_duration is how long it took. */
static int enter(int *ret_status, int64_t *ret_duration)
{
	char *const exec[] = {NULL};
	const struct pod_enter_options options = {.exec = exec};
	struct error err = {0};
	int64_t start = now;
	int r = pod_enter(&fixture.pod, &options, ret_status, &err);

	give_streams_back();
	*ret_duration = now - start;
	if (fixture.guest_fd >= 0)
		guest_listens();
	return r;
}

static void a_guest_that_does_not_answer_is_not_waited_for_for_ever(void **state)
{
	int64_t duration;
	int status;

	(void)state;
	assert_int_equal(enter(&status, &duration), -ETIMEDOUT);
	assert_in_range(duration, 30 * SECOND, 31 * SECOND);
}

static void a_pod_whose_queue_of_clients_is_full_is_not_waited_for_for_ever(void **state)
{
	int fds[3] = {-1, -1, -1};

	(void)state;
	/* Room for one. */
	assert_int_equal(listen(fixture.listen_fd, 0), 0);
	for (size_t i = 0; i < 3; i++)
		fds[i] = pod_vsock_connect(&fixture.pod, 100);
	give_streams_back();
	assert_true(fds[0] >= 0);
	assert_int_equal(fds[2], -ETIMEDOUT);
	for (size_t i = 0; i < 3; i++)
		cleanup_close(&fds[i]);
}

static void expect_signal_to_end_it(int number)
{
	int64_t duration;
	int status;

	fixture.lets_in = true;
	fixture.signal = number;
	assert_int_equal(enter(&status, &duration), 0);
	assert_int_equal(status, WIRE_STATUS_SIGNAL(number));
	assert_in_range(duration, 15 * SECOND, 16 * SECOND);
	assert_int_equal(fixture.heard_signal, number);
}

static void sigterm_ends_a_client_whose_guest_is_silent(void **state)
{
	(void)state;
	expect_signal_to_end_it(SIGTERM);
}

static void sighup_ends_a_client_whose_guest_is_silent(void **state)
{
	(void)state;
	expect_signal_to_end_it(SIGHUP);
}

static void a_program_that_comes_to_its_end_after_sigterm_has_its_own_status(void **state)
{
	int64_t duration;
	int status;

	(void)state;
	fixture.lets_in = true;
	fixture.signal = SIGTERM;
	fixture.result = "{\"status\":9}";
	assert_int_equal(enter(&status, &duration), 0);
	assert_int_equal(status, 9);
	assert_in_range(duration, 0, SOON);
}

static void a_client_whose_output_nobody_reads_ends(void **state)
{
	int64_t duration;
	int status;

	(void)state;
	fixture.lets_in = fixture.has_reader_go = true;
	assert_int_equal(enter(&status, &duration), 0);
	assert_int_equal(status, WIRE_STATUS_SIGNAL(SIGPIPE));
	assert_in_range(duration, 15 * SECOND, 16 * SECOND);
}

static void a_program_that_ends_after_its_reader_has_its_own_status(void **state)
{
	int64_t duration;
	int status;

	(void)state;
	fixture.lets_in = fixture.has_reader_go = true;
	fixture.result = "{\"status\":3}";
	assert_int_equal(enter(&status, &duration), 0);
	assert_int_equal(status, 3);
	assert_in_range(duration, 0, SOON);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_that_does_not_answer_is_not_waited_for_for_ever),
		TEST(a_pod_whose_queue_of_clients_is_full_is_not_waited_for_for_ever),
		TEST(sigterm_ends_a_client_whose_guest_is_silent),
		TEST(sighup_ends_a_client_whose_guest_is_silent),
		TEST(a_program_that_comes_to_its_end_after_sigterm_has_its_own_status),
		TEST(a_client_whose_output_nobody_reads_ends),
		TEST(a_program_that_ends_after_its_reader_has_its_own_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
