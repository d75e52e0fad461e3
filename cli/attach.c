// SPDX-License-Identifier: Apache-2.0
/* attach.c: appc-vm attach */
#include "pod/attach.h"

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/detach_keys.h"
#include "pod/terminal.h"

#include <endian.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define DETACH_KEYS "ctrl-p,ctrl-q"

/* How long one who leaves waits for input to be taken. */
#define LEAVING_STEPS   10
#define LEAVING_STEP_MS 100

/* ---- the conversation */

struct conversation {
	int fd;                     /* the connection */
	bool streams[STREAM_MODES]; /* that we are attached to */
	int resize_fd;              /* signalfd, where one of them is a terminal; -1 */
	struct detach_keys keys;
	bool is_detached;
	bool is_resized;             /* the size of our window is to be told */
	char input[WIRE_STREAM_MAX]; /* that the connection has no room for yet */
	size_t input_length;
};

/* Output of the app. 1; 0: it is over; -errno: standard output or error cannot take it. */
static int pass_output(int fd)
{
	struct wire_stream_header header;
	char payload[WIRE_STREAM_MAX];
	struct iovec parts[] = {{&header, sizeof(header)}, {payload, sizeof(payload)}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
	ssize_t n = recvmsg(fd, &message, 0);
	size_t length;
	uint64_t lost;

	/* The other end went with input of ours unread: that is said once, before what it had sent. */
	if (n < 0 && (errno == EINTR || errno == ECONNRESET))
		return 1;
	if (n < (ssize_t)sizeof(header))
		return 0;
	length = (size_t)n - sizeof(header);
	if (header.stream == 0 && length == sizeof(lost)) {
		memcpy(&lost, payload, sizeof(lost));
		log_warning("%" PRIu64 " bytes of output are missing here: they came too fast",
			le64toh(lost));
		return 1;
	}
	n = file_write_all(header.stream == WIRE_STREAM_STDERR ? STDERR_FILENO : STDOUT_FILENO,
		payload, length);
	return n < 0 ? (int)n : 1;
}

/* 0; -EAGAIN: there is no room now; -errno. It does not wait: whoever sends must read on. */
static int send_packet(int fd, enum wire_stream stream, const void *payload, size_t length)
{
	struct wire_stream_header header = {
		.length = htole32((uint32_t)length),
		.stream = (uint8_t)stream,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)payload, length}};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};

	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Our input for the app: as much as there is room for. Whether there may be more. */
static bool take_input(struct conversation *conversation)
{
	char typed[WIRE_STREAM_MAX];
	size_t room = sizeof(typed) - DETACH_KEYS_MAX - conversation->input_length, length;
	ssize_t n = read(STDIN_FILENO, typed, room);

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	conversation->is_detached = detach_keys_filter(&conversation->keys, typed, (size_t)n,
		conversation->input + conversation->input_length, &length);
	conversation->input_length += length;
	return !conversation->is_detached;
}

static bool has_room(const struct conversation *conversation)
{
	return conversation->input_length < sizeof(conversation->input) - DETACH_KEYS_MAX;
}

/* The app's terminal gets the size of ours. */
static int send_window(struct conversation *conversation)
{
	struct wire_window window;
	uint16_t rows, columns;
	int r;

	conversation->is_resized = false;
	if (!terminal_size(STDIN_FILENO, &rows, &columns) &&
		!terminal_size(STDOUT_FILENO, &rows, &columns))
		return 0;
	window = (struct wire_window){.rows = htole16(rows), .columns = htole16(columns)};
	r = send_packet(conversation->fd, WIRE_STREAM_WINDOW, &window, sizeof(window));
	conversation->is_resized = r == -EAGAIN;
	return r;
}

/* What there is to send, where there is room. -errno: it comes to nothing any more. */
static int send_waiting(struct conversation *conversation)
{
	int r = 0;

	/* First, for who has read what is typed may ask for the size. */
	if (conversation->is_resized)
		r = send_window(conversation);
	if (r == 0 && conversation->input_length > 0) {
		r = send_packet(conversation->fd, WIRE_STREAM_STDIN, conversation->input,
			conversation->input_length);
		if (r == 0)
			conversation->input_length = 0;
	}
	return r == -EAGAIN ? 0 : r;
}

/* Who leaves has typed what came before the keys, but does not wait for an app that reads nothing. */
static void send_last(struct conversation *conversation)
{
	struct pollfd pod = {.fd = conversation->fd, .events = POLLOUT};

	for (unsigned int i = 0; i < LEAVING_STEPS && conversation->input_length > 0; i++)
		if (poll(&pod, 1, LEAVING_STEP_MS) > 0 && send_waiting(conversation) < 0)
			break;
	if (conversation->input_length > 0)
		log_warning("the last %zu bytes of input are lost: the app does not read them",
			conversation->input_length);
}

/* Until the pod has ended, or there is nothing left to do here. */
static int converse(struct conversation *conversation)
{
	const bool *streams = conversation->streams;
	bool wants_output = streams[WIRE_STREAM_STDOUT] || streams[WIRE_STREAM_STDERR];
	bool has_input = streams[WIRE_STREAM_STDIN], has_to_send = conversation->is_resized;

	while ((has_input || has_to_send || wants_output) && !conversation->is_detached) {
		struct pollfd fds[] = {
			{.fd = conversation->fd, .events = POLLIN},
			{.fd = has_input && has_room(conversation) ? STDIN_FILENO : -1,
				.events = POLLIN},
			{.fd = conversation->resize_fd, .events = POLLIN},
		};
		struct signalfd_siginfo info;

		if (has_to_send)
			fds[0].events |= POLLOUT;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (fds[2].revents && read(conversation->resize_fd, &info, sizeof(info)) > 0)
			conversation->is_resized = true;
		if (fds[0].revents & ~POLLOUT) {
			int r = pass_output(conversation->fd);

			if (r <= 0)
				return r;
		}
		if (fds[1].revents)
			has_input = take_input(conversation);
		/* Where this fails, what is read next tells why. */
		if (send_waiting(conversation) < 0) {
			conversation->input_length = 0;
			has_input = false;
		}
		has_to_send = conversation->input_length > 0 || conversation->is_resized;
	}
	send_last(conversation);
	return 0;
}

/* ---- terminals */

/* What a signal that ends us has to put back. */
static struct terminal our_terminal = TERMINAL_NONE;

static void end_by_signal(int number)
{
	/* tcsetattr(3), which is safe here. */
	terminal_restore(&our_terminal); /* NOLINT(bugprone-signal-handler,cert-sig30-c) */
	signal(number, SIG_DFL);
	raise(number);
}

/* Ours shows the app's from now on: its keys and its size are ours. */
static int join_terminals(struct conversation *conversation)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	bool has_keys = conversation->streams[WIRE_STREAM_STDIN] && isatty(STDIN_FILENO);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	conversation->resize_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (conversation->resize_fd < 0)
		return -errno;
	conversation->is_resized = true;
	if (!has_keys) {
		conversation->keys.count = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], end_by_signal);
	return terminal_make_raw(&our_terminal, STDIN_FILENO);
}

/* ---- the command */

/* What --mode may ask for, as in rkt. */
static const struct {
	const char *name;
	bool is_terminal;
	bool streams[STREAM_MODES];
} endpoints[] = {
	{"stdin", false, {[WIRE_STREAM_STDIN] = true}},
	{"stderr", false, {[WIRE_STREAM_STDERR] = true}},
	{"stdout", false, {[WIRE_STREAM_STDOUT] = true}},
	{"tty-in", true, {[WIRE_STREAM_STDIN] = true}},
	{"tty-out", true, {[WIRE_STREAM_STDOUT] = true, [WIRE_STREAM_STDERR] = true}},
	{"tty", true, {true, true, true, true}},
};

struct mode {
	bool is_list, is_auto;
	bool streams[STREAM_MODES], terminal[STREAM_MODES]; /* that were asked for */
	bool has_streams, has_terminal;
};

/* "stdin,stdout": which streams; or some of a terminal's. */
static int parse_mode(struct cli *cli, const char *text, struct mode *ret)
{
	*ret = (struct mode){.is_list = !strcmp(text, "list"), .is_auto = !strcmp(text, "auto")};
	if (ret->is_list || ret->is_auto)
		return 0;
	do {
		size_t length = strcspn(text, ","), i = 0;
		bool *streams;

		while (i < ARRAY_SIZE(endpoints) &&
			(strlen(endpoints[i].name) != length ||
				strncmp(endpoints[i].name, text, length) != 0))
			i++;
		if (i == ARRAY_SIZE(endpoints))
			return cli_usage(cli,
				"--mode is auto, list, tty, or some of stdin,stdout,stderr, or of "
				"tty-in,tty-out, not \"%.*s\"",
				(int)length, text);
		streams = endpoints[i].is_terminal ? ret->terminal : ret->streams;
		for (size_t stream = 0; stream < STREAM_MODES; stream++)
			streams[stream] |= endpoints[i].streams[stream];
		ret->has_streams |= !endpoints[i].is_terminal;
		ret->has_terminal |= endpoints[i].is_terminal;
		text += length;
	} while (*text++ == ',');
	return ret->has_streams && ret->has_terminal
		? cli_usage(cli, "--mode: a terminal and streams cannot be attached to at once")
		: 0;
}

/* The names of what is there: "tty-in" and "tty-out" stand for the streams that are a terminal. */
static void print_list(const bool *there, const bool *terminal)
{
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		bool is_there = false;

		/* "tty" is the two before it. */
		if (!strcmp(endpoints[i].name, "tty"))
			continue;
		for (size_t stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
			is_there |= there[stream] && endpoints[i].streams[stream] &&
				terminal[stream] == endpoints[i].is_terminal;
		if (is_there)
			printf("%s\n", endpoints[i].name);
	}
}

/* Which streams that means, of those that are there. */
static int choose_streams(struct cli *cli, const struct mode *mode, const bool *there,
	const bool *terminal, bool *ret)
{
	bool any = false;

	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++) {
		ret[stream] = mode->is_auto ? there[stream]
			: mode->has_terminal
			? mode->terminal[stream] && terminal[stream] && there[stream]
			: mode->streams[stream];
		any |= ret[stream];
	}
	return any || mode->is_auto
		? 0
		: error_set(&cli->error, -ENOTCONN,
			  "the app has no such terminal to attach to (--stdin=tty --stdout=tty when the "
			  "pod is started)");
}

static int attach(struct cli *cli, const struct pod *pod, const char *app, const struct mode *mode,
	struct conversation *conversation)
{
	bool terminal[STREAM_MODES] = {false}, has_terminal = false;
	struct attach_request request = {.app = app};
	int r = 0;

	if (!mode->has_streams)
		r = pod_attach_list(pod, &request, terminal, &cli->error);
	if (r < 0)
		return r;
	if (mode->is_list) {
		print_list(request.streams, terminal);
		return 0;
	}
	r = choose_streams(cli, mode, request.streams, terminal, conversation->streams);
	if (r < 0)
		return r;
	memcpy(request.streams, conversation->streams, sizeof(request.streams));
	conversation->fd = pod_attach(pod, &request, terminal, &cli->error);
	if (conversation->fd < 0)
		return conversation->fd;
	for (size_t stream = 0; stream < STREAM_MODES; stream++)
		has_terminal |= conversation->streams[stream] && terminal[stream];
	if (has_terminal)
		r = join_terminals(conversation);
	else
		conversation->keys.count = 0;
	if (r < 0)
		return error_set_errno(&cli->error, r, "cannot set up the terminal");
	r = converse(conversation);
	terminal_restore(&our_terminal);
	if (conversation->is_detached)
		log_info("detached; the app goes on");
	return r < 0 ? error_set_errno(&cli->error, r, "cannot pass the streams on") : 0;
}

static void conversation_done(struct conversation *conversation)
{
	cleanup_close(&conversation->fd);
	cleanup_close(&conversation->resize_fd);
}

int command_attach(struct cli *cli, int argc, char **argv)
{
	const char *mode_text = "auto", *uuid_file = NULL, *keys = DETACH_KEYS, *app = NULL;
	_cleanup_(conversation_done) struct conversation conversation = {.fd = -1, .resize_fd = -1};
	const struct cli_option options[] = {
		{"app", CLI_STRING, &app, "NAME", "the app (default: the only one of the pod)"},
		{"detach-keys", CLI_STRING, &keys, "KEY,...",
			"keys that leave a terminal (default: " DETACH_KEYS "); empty for none"},
		{"mode", CLI_STRING, &mode_text, "auto|list|tty|STREAM,...",
			"some of stdin, stdout and stderr, or of tty-in and tty-out; auto is all that are "
			"there, list says which"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	struct cli_uuids uuids;
	struct mode mode = {0};
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_parse_uuid(cli, uuid_file, argc, argv, at, &uuids);
	if (r == 0)
		r = parse_mode(cli, mode_text, &mode);
	if (r == 0 && detach_keys_parse(keys, &conversation.keys, &cli->error) < 0)
		r = error_prefix(&cli->error, -EINVAL, "--detach-keys");
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = pod_open(pods, uuids.items[0], &pod, &cli->error);
	return r < 0 ? r : attach(cli, &pod, app, &mode, &conversation);
}
