// SPDX-License-Identifier: Apache-2.0
/* test_pod_request.c: a running pod is stopped through its socket, or through nothing at all. */
#include "base/file.h"
#include "base/json.h"
#include "pod/request.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

struct request_fixture {
	char path[64];
	int dirfd;
	struct pods *pods;
	struct pod pod; /* running, by us */
	struct pod_requests requests;
};

static int set_up(void **state)
{
	struct request_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-request-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(pods_open(fixture->dirfd, &fixture->pods, NULL), 0);
	fixture->pod = POD_NONE;
	assert_int_equal(pod_create(fixture->pods, &fixture->pod, NULL), 0);
	assert_int_equal(pod_start(&fixture->pod, NULL), 0);
	assert_int_equal(pod_requests_open(&fixture->pod, &fixture->requests), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct request_fixture *fixture = *state;

	pod_requests_close(&fixture->requests);
	pod_close(&fixture->pod);
	pods_close(fixture->pods);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

/* What a process that runs the pod holds, which who asks must not. */
static void let_go(struct request_fixture *fixture)
{
	pod_requests_close(&fixture->requests);
	close(TAKE_FD(fixture->pod.lock_fd));
}

/* pod_stop() in a process of its own, whose exit status is what it returned. */
static pid_t stop_elsewhere(struct request_fixture *fixture, bool force)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_pod_ struct pod pod = POD_NONE;
		int r;

		let_go(fixture);
		r = pod_open(fixture->pods, fixture->pod.uuid, &pod, NULL);
		_exit(-(r < 0 ? r : pod_stop(&pod, force, NULL)));
	}
	return pid;
}

static int waited(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As the loop of pod_run() does. */
static enum pod_request take(struct request_fixture *fixture)
{
	struct pod_request_taken taken;
	int r;

	do {
		struct pollfd fds[ARRAY_SIZE(fixture->requests.fds)];

		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i] = (struct pollfd){.fd = fixture->requests.fds[i], .events = POLLIN};
		assert_true(poll(fds, ARRAY_SIZE(fds), -1) > 0);
		r = pod_requests_take(&fixture->requests, &taken);
	} while (r == 0);
	assert_int_equal(r, 1);
	return taken.request;
}

static int connect_raw(const struct request_fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/requests",
		fixture->pod.fd);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void stop_is_a_request_and_returns_when_it_is_taken(void **state)
{
	struct request_fixture *fixture = *state;
	pid_t stop = stop_elsewhere(fixture, false);
	struct pod_request_taken taken;

	assert_int_equal(take(fixture), POD_REQUEST_STOP);
	assert_int_equal(waited(stop), 0);
	assert_int_equal(pod_requests_take(&fixture->requests, &taken), 0);
}

static void forced_stop_returns_when_the_pod_has_ended(void **state)
{
	struct request_fixture *fixture = *state;
	pid_t stop = stop_elsewhere(fixture, true);

	assert_int_equal(take(fixture), POD_REQUEST_KILL);
	assert_int_equal(waitpid(stop, NULL, WNOHANG), 0);
	let_go(fixture);
	assert_int_equal(waited(stop), 0);
}

static void process_that_does_not_answer_is_killed_by_a_forced_stop(void **state)
{
	struct request_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	int status;
	pid_t deaf;

	/* Another process runs the pod, and never looks at its socket. */
	pod_requests_close(&fixture->requests);
	deaf = fork();
	if (deaf == 0) {
		if (pod_requests_open(&fixture->pod, &fixture->requests) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(TAKE_FD(fixture->pod.lock_fd));
	assert_int_equal(pod_open(fixture->pods, fixture->pod.uuid, &pod, NULL), 0);
	assert_int_equal(pod.state, POD_RUNNING);
	assert_int_equal(pod_stop(&pod, true, NULL), 0);
	assert_int_equal(waitpid(deaf, &status, 0), deaf);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	pod_close(&pod);
	assert_int_equal(pod_open(fixture->pods, fixture->pod.uuid, &pod, NULL), 0);
	assert_int_equal(pod.state, POD_EXITED);
	pod_close(&pod);
}

static void pod_that_has_ended_is_not_stopped(void **state)
{
	struct request_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	struct error err;

	/* Its socket is still there, and nobody listens. */
	let_go(fixture);
	assert_int_equal(pod_open(fixture->pods, fixture->pod.uuid, &pod, NULL), 0);
	assert_int_equal(pod_stop(&pod, false, &err), -ESRCH);
	assert_non_null(strstr(err.message, "is not running"));
	assert_int_equal(pod_stop(&pod, true, &err), -ESRCH);
	/* It ended after it was opened. */
	pod.state = POD_RUNNING;
	assert_int_equal(pod_stop(&pod, true, &err), -ESRCH);
	pod_close(&pod);
}

static void silent_and_senseless_clients_keep_nobody_out(void **state)
{
	static const char *const messages[] = {"", "stop", "{}", "{\"type\": 5}",
		"{\"type\": \"halt\"}", "[\"stop\"]", "{\"type\": \"stop\"", "\xff\xfe"};
	struct request_fixture *fixture = *state;
	_cleanup_close_ int silent = connect_raw(fixture);
	struct pod_request_taken taken;
	static char text[POD_REQUEST_MAX + 1];
	pid_t stop;

	assert_int_equal(pod_requests_take(&fixture->requests, &taken), 0);
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		_cleanup_close_ int fd = connect_raw(fixture);

		assert_int_equal(send(fd, messages[i], strlen(messages[i]), MSG_NOSIGNAL),
			strlen(messages[i]));
		assert_int_equal(pod_requests_take(&fixture->requests, &taken), 0);
		if (*messages[i])
			assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
	}
	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"type\": \"kill\"", 15);
	text[sizeof(text) - 1] = '}';
	{
		_cleanup_close_ int fd = connect_raw(fixture);

		/* Longer than a request may be. */
		assert_int_equal(send(fd, text, sizeof(text), MSG_NOSIGNAL), sizeof(text));
		assert_int_equal(pod_requests_take(&fixture->requests, &taken), 0);
	}
	stop = stop_elsewhere(fixture, false);
	assert_int_equal(take(fixture), POD_REQUEST_STOP);
	assert_int_equal(waited(stop), 0);
}

static void who_connects_is_heard_after_others_have_connected_too(void **state)
{
	struct request_fixture *fixture = *state;
	int fds[POD_REQUEST_CLIENTS];
	struct pod_request_taken taken;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_raw(fixture);
		assert_int_equal(pod_requests_take(&fixture->requests, &taken), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		char answer[64];

		assert_int_equal(send(fds[i], "{\"type\":\"stop\"}", 15, MSG_NOSIGNAL), 15);
		assert_int_equal(take(fixture), POD_REQUEST_STOP);
		assert_true(recv(fds[i], answer, sizeof(answer), 0) > 0);
		close(fds[i]);
	}
}

static void who_attaches_keeps_the_connection(void **state)
{
	static const char message[] = "{\"type\":\"attach\",\"streams\":[]}";
	struct request_fixture *fixture = *state;
	_cleanup_close_ int fd = connect_raw(fixture);
	struct pod_request_taken taken;
	char byte;

	assert_int_equal(send(fd, message, strlen(message), MSG_NOSIGNAL), strlen(message));
	assert_int_equal(pod_requests_take(&fixture->requests, &taken), 1);
	assert_int_equal(taken.request, POD_REQUEST_ATTACH);
	assert_int_equal(send(taken.fd, "!", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	json_decref(taken.message);
	close(taken.fd);
}

/* pod_request_ask() in a process of its own, which tells what it got: the type, or the error. */
static pid_t ask_elsewhere(struct request_fixture *fixture, int timeout_ms, int out)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_json_ json_t *message =
			json_pack("{s:s, s:[]}", "type", "attach", "streams");
		_cleanup_pod_ struct pod pod = POD_NONE;
		_cleanup_json_ json_t *answer = NULL;
		struct error err = {0};
		int fd;

		let_go(fixture);
		if (pod_open(fixture->pods, fixture->pod.uuid, &pod, &err) < 0)
			_exit(1);
		fd = pod_request_ask(&pod, message, timeout_ms, &answer, &err);
		dprintf(out, "%s", fd < 0 ? err.message : wire_type(answer));
		_exit(fd == -ETIMEDOUT ? 2 : fd < 0);
	}
	return pid;
}

static void take_message(struct request_fixture *fixture, struct pod_request_taken *ret)
{
	struct pollfd listening = {.fd = fixture->requests.fds[0], .events = POLLIN};

	do
		poll(&listening, 1, 10);
	while (pod_requests_take(&fixture->requests, ret) == 0);
	assert_non_null(ret->message);
}

static void who_asks_gets_the_answer_or_learns_why_not(void **state)
{
	struct request_fixture *fixture = *state;
	struct pod_request_taken taken;
	char text[256] = "";
	int pipe_fds[2];

	assert_int_equal(pipe(pipe_fds), 0);
	for (int refuse = 0; refuse < 2; refuse++) {
		_cleanup_json_ json_t *answer = json_pack("{s:s}", "type", "streams");
		pid_t pid = ask_elsewhere(fixture, -1, pipe_fds[1]);
		ssize_t n;

		take_message(fixture, &taken);
		if (refuse)
			pod_request_refuse(taken.fd, "because");
		else
			pod_request_answer(taken.fd, answer);
		json_decref(taken.message);
		close(taken.fd);
		assert_int_equal(waited(pid), refuse);
		n = read(pipe_fds[0], text, sizeof(text) - 1);
		assert_true(n > 0);
		text[n] = '\0';
		if (refuse)
			assert_non_null(strstr(text, ": because"));
		else
			assert_string_equal(text, "streams");
	}
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void who_gets_no_answer_waits_no_longer_than_he_wanted(void **state)
{
	struct request_fixture *fixture = *state;
	pid_t pid = ask_elsewhere(fixture, 1, -1);

	assert_int_equal(waited(pid), 2);
}

static void socket_is_its_owners_alone(void **state)
{
	struct request_fixture *fixture = *state;
	struct stat st;

	assert_int_equal(fstatat(fixture->pod.fd, "requests", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

#define REQUEST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REQUEST_TEST(stop_is_a_request_and_returns_when_it_is_taken),
		REQUEST_TEST(forced_stop_returns_when_the_pod_has_ended),
		REQUEST_TEST(process_that_does_not_answer_is_killed_by_a_forced_stop),
		REQUEST_TEST(pod_that_has_ended_is_not_stopped),
		REQUEST_TEST(silent_and_senseless_clients_keep_nobody_out),
		REQUEST_TEST(who_connects_is_heard_after_others_have_connected_too),
		REQUEST_TEST(who_attaches_keeps_the_connection),
		REQUEST_TEST(who_asks_gets_the_answer_or_learns_why_not),
		REQUEST_TEST(who_gets_no_answer_waits_no_longer_than_he_wanted),
		REQUEST_TEST(socket_is_its_owners_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
