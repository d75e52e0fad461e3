// SPDX-License-Identifier: Apache-2.0
/*
 * enter.c: see enter.h.
 *
 * Theory of operation: one poll loop over standard input, the connection, the stream that output waits for, and a
 * signalfd. What is to be sent is collected in one buffer; standard input is read when it is empty and the guest has
 * given credit, so there is always room for a signal or a change of the window. One frame of output is
 * copied at a time, in pieces that do not block.
 *
 * The guest may be silent for ever, and signals are its program's: so the pod has a limited time to let us in, and the
 * program one to end in, from the moment on when it is told to go (SIGHUP, SIGTERM) or nobody reads what it writes. Until
 * then it may still tell its status.
 */
#include "pod/enter.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/signals.h"
#include "pod/manifest.h"
#include "pod/session.h"
#include "pod/sockets.h"
#include "pod/terminal.h"
#include "wire/wire.h"

#include <endian.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

/* Bytes written at once: with POLLOUT a pipe takes that many without blocking (pipe(7)). */
#define OUTPUT_CHUNK PIPE_BUF

/* How long the pod may take to let us in, and how long the program to end. */
#define ANSWER_SECONDS 30
#define END_SECONDS    15

/* Where nobody says what kind of terminal it is. */
#define TERMINAL_DEFAULT "xterm"

struct client {
	bool passes_window;
	struct pod_session session;
	int signal_fd;
	struct terminal terminal;
	sigset_t old_signals;
	bool has_old_signals;

	struct wire_session_frame frame; /* being copied; length 0: none */
	size_t copied;

	struct {
		char *data;
		size_t length, sent, room;
	} outgoing;
	uint32_t credit; /* bytes of input that the guest has room for */
	bool input_ended;

	int64_t answer_by, end_by; /* CLOCK_MONOTONIC; 0: whenever it likes */
	int end_status;            /* ours, where the program has not ended by then */
	bool is_over, reader_gone;
	int status;
};

static void client_done(struct client *client)
{
	terminal_restore(&client->terminal);
	if (client->has_old_signals)
		sigprocmask(SIG_SETMASK, &client->old_signals, NULL);
	pod_session_close(&client->session);
	cleanup_close(&client->signal_fd);
	free(client->outgoing.data);
}

/* ---- time */

static int64_t seconds_from_now(int seconds)
{
	return clock_monotonic() + seconds * INT64_C(1000000000);
}

/* From now on the program has to come to its end. */
static void client_hurry(struct client *client, int status)
{
	if (client->end_by)
		return;
	client->end_by = seconds_from_now(END_SECONDS);
	client->end_status = status;
}

static bool is_let_in(const struct client *client)
{
	return client->session.answered == SIZE_MAX;
}

/* When the guest has had its time; 0: never. */
static int64_t deadline(const struct client *client)
{
	if (is_let_in(client) || (client->end_by && client->end_by < client->answer_by))
		return client->end_by;
	return client->answer_by;
}

static int timeout_ms(const struct client *client)
{
	int64_t until = deadline(client), left = until - clock_monotonic();

	if (until == 0)
		return -1;
	return left <= 0 ? 0 : (int)(left / 1000000) + 1;
}

/* What it runs is killed when we hang up. */
static int give_up(struct client *client, struct error *err)
{
	if (!is_let_in(client))
		return pod_session_silent(&client->session, err);
	client->status = client->end_status;
	client->is_over = true;
	return 0;
}

/* ---- to the guest */

static int client_queue(struct client *client, const void *data, size_t length)
{
	size_t end = client->outgoing.length + length;

	if (end > client->outgoing.room) {
		char *larger = realloc(client->outgoing.data, end);

		if (!larger)
			return -ENOMEM;
		client->outgoing.data = larger;
		client->outgoing.room = end;
	}
	memcpy(client->outgoing.data + client->outgoing.length, data, length);
	client->outgoing.length = end;
	return 0;
}

static int client_queue_frame(
	struct client *client, enum wire_session_kind kind, const void *data, size_t length)
{
	const struct wire_session_header header = wire_session_header(kind, length);
	int r = client_queue(client, &header, sizeof(header));

	return r < 0 || length == 0 ? r : client_queue(client, data, length);
}

static void client_send(struct client *client)
{
	ssize_t n = send(client->session.fd, client->outgoing.data + client->outgoing.sent,
		client->outgoing.length - client->outgoing.sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* Where the other end is gone, what it said before tells why: that shows when we read. */
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		client->outgoing.sent = client->outgoing.length;
	if (n > 0)
		client->outgoing.sent += (size_t)n;
	if (client->outgoing.sent == client->outgoing.length)
		client->outgoing.sent = client->outgoing.length = 0;
}

static int queue_request(struct client *client, const json_t *request)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = pod_session_compose(request, &text, &length);

	return r < 0 ? r : client_queue(client, text, length);
}

static int input_ready(struct client *client)
{
	char data[WIRE_SESSION_DATA_MAX];
	size_t size = client->credit < sizeof(data) ? client->credit : sizeof(data);
	ssize_t n = read(STDIN_FILENO, data, size);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	/* What cannot be read has ended. */
	if (n <= 0) {
		client->input_ended = true;
		n = 0;
	}
	client->credit -= (uint32_t)n;
	return client_queue_frame(client, WIRE_SESSION_INPUT, data, (size_t)n);
}

static int signals_ready(struct client *client)
{
	struct signalfd_siginfo info;
	int r = 0;

	while (r == 0 && read(client->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		uint8_t number = (uint8_t)info.ssi_signo;
		struct wire_session_size size;
		uint16_t rows, columns;

		if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGTERM)
			client_hurry(client, WIRE_STATUS_SIGNAL(number));
		if (info.ssi_signo != SIGWINCH) {
			r = client_queue_frame(
				client, WIRE_SESSION_SIGNAL, &number, sizeof(number));
		} else if (client->passes_window && terminal_size(STDIN_FILENO, &rows, &columns)) {
			size.rows = htole16(rows);
			size.columns = htole16(columns);
			r = client_queue_frame(client, WIRE_SESSION_RESIZE, &size, sizeof(size));
		}
	}
	return r;
}

/* ---- from the guest; all of it is checked as device input */

static int output_fd(const struct client *client)
{
	return client->frame.kind == WIRE_SESSION_ERRORS ? STDERR_FILENO : STDOUT_FILENO;
}

/* The stream can take a piece. */
static void output_ready(struct client *client)
{
	size_t left = client->frame.length - client->copied;
	ssize_t n = write(output_fd(client), client->frame.data + client->copied,
		left < OUTPUT_CHUNK ? left : OUTPUT_CHUNK);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		/* As a local process that writes to a pipe nobody reads. */
		client->is_over = true;
		client->status = WIRE_STATUS_SIGNAL(SIGPIPE);
		return;
	}
	client->copied += (size_t)n;
	if (client->copied == client->frame.length)
		client->frame.length = 0;
}

static int frame_take(
	struct client *client, const struct wire_session_frame *frame, struct error *err)
{
	uint32_t credit;

	switch (frame->kind) {
	case WIRE_SESSION_OUTPUT:
	case WIRE_SESSION_ERRORS:
		client->frame = *frame;
		client->copied = 0;
		return 0;
	case WIRE_SESSION_CREDIT:
		memcpy(&credit, frame->data, sizeof(credit));
		credit = le32toh(credit);
		if (credit > WIRE_SESSION_INPUT_MAX - client->credit)
			return pod_session_broken(err);
		client->credit += credit;
		return 0;
	case WIRE_SESSION_RESULT:
		client->is_over = true;
		return pod_session_result(frame, &client->status, err);
	default:
		return pod_session_broken(err);
	}
}

/* Frames that have come, up to one that is to be copied. */
static int frames_take(struct client *client, struct error *err)
{
	while (!client->is_over && client->frame.length == 0) {
		struct wire_session_frame frame;
		int r = pod_session_next(&client->session, &frame, err);

		if (r > 0)
			r = frame_take(client, &frame, err);
		else if (r == 0)
			return 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the loop */

static int client_turn(struct client *client, struct error *err)
{
	enum { CONNECTION, INPUT, OUTPUT, READER, SIGNALS, SOURCES };
	bool copies = client->frame.length > 0, sends = client->outgoing.length > 0;
	struct pollfd fds[SOURCES] = {
		[CONNECTION] = {.fd = client->session.fd,
			.events = (short)((copies ? 0 : POLLIN) | (sends ? POLLOUT : 0))},
		[INPUT] = {.fd = client->input_ended || sends || client->credit == 0 ? -1
										     : STDIN_FILENO,
			.events = POLLIN},
		[OUTPUT] = {.fd = copies ? output_fd(client) : -1, .events = POLLOUT},
		[READER] = {.fd = client->reader_gone ? -1 : STDOUT_FILENO},
		[SIGNALS] = {.fd = client->signal_fd, .events = POLLIN},
	};
	int64_t until;
	int r = 0;

	/* A connection that has ended would be told again and again while its last words are copied. */
	if (copies && !sends)
		fds[CONNECTION].fd = -1;
	if (poll(fds, SOURCES, timeout_ms(client)) < 0)
		return errno == EINTR ? 0 : error_set_errno(err, -errno, "poll");
	until = deadline(client);
	if (until && clock_monotonic() >= until)
		return give_up(client, err);
	if (fds[READER].revents) {
		client->reader_gone = true;
		if (fds[READER].revents & (POLLERR | POLLHUP))
			client_hurry(client, WIRE_STATUS_SIGNAL(SIGPIPE));
	}
	if (fds[SIGNALS].revents)
		r = signals_ready(client);
	if (r == 0 && fds[INPUT].revents)
		r = input_ready(client);
	if (r < 0)
		return error_set_errno(err, r, "cannot send to the pod");
	if (fds[OUTPUT].revents)
		output_ready(client);
	if (fds[CONNECTION].revents & ~(POLLIN | POLLRDHUP) && sends)
		client_send(client);
	if (!copies && fds[CONNECTION].revents & ~POLLOUT)
		r = pod_session_fill(&client->session, err);
	return r < 0 ? r : frames_take(client, err);
}

static int signals_block(struct client *client)
{
	static const int passed[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	signals_add_wanted(&set, passed, ARRAY_SIZE(passed));
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, &client->old_signals) < 0)
		return -errno;
	client->has_old_signals = true;
	client->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return client->signal_fd < 0 ? -errno : 0;
}

static int choose_app(const struct pod *pod, const char *name, char *app, struct error *err)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL;
	size_t index;
	int r = pod_manifest_read(pod, &manifest, err);

	if (r == 0 && !name && manifest->app_count > 1)
		return error_set(err, -EINVAL,
			"Unable to determine app name: specify app using \"appc-vm enter --app= ...\"");
	if (r == 0)
		r = pod_manifest_find_app(pod, manifest, name, &index, err);
	if (r == 0)
		snprintf(app, NAME_MAX + 1, "%s", manifest->apps[index].name);
	return r;
}

static int run_client(const struct pod *pod, const json_t *request, bool passes_window,
	int *ret_status, struct error *err)
{
	_cleanup_(client_done) struct client client = {
		.passes_window = passes_window,
		.session = POD_SESSION_NONE,
		.signal_fd = -1,
		.terminal = TERMINAL_NONE,
		.credit = WIRE_SESSION_INPUT_MAX,
		.answer_by = seconds_from_now(ANSWER_SECONDS),
	};
	int r;

	r = pod_session_open(
		pod, pod_vsock_connect(pod, ANSWER_SECONDS * 1000), &client.session, err);
	if (r < 0)
		return r;
	r = queue_request(&client, request);
	if (r < 0)
		return error_set_errno(err, r, "cannot compose the request");
	r = signals_block(&client);
	if (r == 0 && passes_window)
		r = terminal_make_raw(&client.terminal, STDIN_FILENO);
	if (r < 0)
		return error_set_errno(err, r, "cannot take over signals and the terminal");
	do
		r = client_turn(&client, err);
	while (r == 0 && !client.is_over);
	*ret_status = client.status;
	return r;
}

static int make_request(const struct pod_enter_options *options, const char *app, json_t **ret)
{
	_cleanup_json_ json_t *request = json_pack("{s:s, s:s, s:[], s:s*, s:s*}", "type", "enter",
		"app", app, "exec", "user", options->user, "group", options->group);

	for (char *const *word = options->exec; request && *word; word++)
		if (json_array_append_new(json_object_get(request, "exec"), json_string(*word)) < 0)
			return -EILSEQ;
	if (request && options->has_terminal) {
		const char *type = getenv("TERM");
		uint16_t rows = 24, columns = 80; /* as ever */

		if (!terminal_size(STDIN_FILENO, &rows, &columns))
			terminal_size(STDOUT_FILENO, &rows, &columns);
		json_object_set_new(request, "terminal",
			json_pack("{s:s, s:i, s:i}", "type",
				type && *type ? type : TERMINAL_DEFAULT, "rows", rows, "columns",
				columns));
	}
	*ret = TAKE_PTR(request);
	return *ret ? 0 : -ENOMEM;
}

int pod_enter(struct pod *pod, const struct pod_enter_options *options, int *ret_status,
	struct error *err)
{
	_cleanup_json_ json_t *request = NULL;
	char app[NAME_MAX + 1];
	int r;

	if (pod->state != POD_RUNNING)
		return error_set(err, -ESRCH, "pod \"%s\" is not running", pod->uuid);
	r = choose_app(pod, options->app, app, err);
	if (r < 0)
		return r;
	r = make_request(options, app, &request);
	return r < 0 ? error_set_errno(err, r, "cannot compose the request")
		     : run_client(pod, request, options->has_terminal, ret_status, err);
}
