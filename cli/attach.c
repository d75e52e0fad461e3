// SPDX-License-Identifier: Apache-2.0
/* attach.c: appc-vm attach */
#include "pod/attach.h"

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"

#include <endian.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PACKET_MAX (sizeof(struct wire_stream_header) + WIRE_STREAM_MAX)

/* ---- the conversation */

/* Output of the app. 1; 0: it is over; -errno: standard output or error cannot take it. */
static int pass_output(int fd)
{
	struct wire_stream_header header;
	char payload[WIRE_STREAM_MAX];
	struct iovec parts[] = {{&header, sizeof(header)}, {payload, sizeof(payload)}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
	ssize_t n = recvmsg(fd, &message, 0);
	size_t length = n > (ssize_t)sizeof(header) ? (size_t)n - sizeof(header) : 0;
	uint64_t lost;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return 0;
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

/* Our input for the app. Whether there may be more. */
static bool pass_input(int fd)
{
	struct {
		struct wire_stream_header header;
		char payload[WIRE_STREAM_MAX];
	} packet;
	ssize_t n = read(STDIN_FILENO, packet.payload, sizeof(packet.payload));

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	packet.header = (struct wire_stream_header){
		.length = htole32((uint32_t)n),
		.stream = WIRE_STREAM_STDIN,
	};
	return send(fd, &packet, sizeof(packet.header) + (size_t)n, MSG_NOSIGNAL) >= 0;
}

/* Until the pod has ended, or there is nothing left to do here. */
static int converse(int fd, const bool *streams)
{
	bool wants_output = streams[WIRE_STREAM_STDOUT] || streams[WIRE_STREAM_STDERR];
	bool has_input = streams[WIRE_STREAM_STDIN];

	while (has_input || wants_output) {
		struct pollfd fds[] = {
			{.fd = fd, .events = POLLIN},
			{.fd = has_input ? STDIN_FILENO : -1, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents) {
			int r = pass_output(fd);

			if (r <= 0)
				return r;
		}
		if (fds[1].revents)
			has_input = pass_input(fd);
	}
	return 0;
}

/* ---- the command */

/* "stdin,stdout": which streams. */
static int parse_mode(struct cli *cli, const char *text, struct attach_request *request)
{
	while (*text) {
		enum wire_stream stream = WIRE_STREAM_STDOUT;
		size_t length = strcspn(text, ",");

		while (stream < STREAM_MODES &&
			(strlen(stream_name(stream)) != length ||
				strncmp(stream_name(stream), text, length) != 0))
			stream++;
		if (stream == STREAM_MODES)
			return cli_usage(cli,
				"--mode is auto, list, or some of stdin,stdout,stderr, not \"%.*s\"",
				(int)length, text);
		request->streams[stream] = true;
		text += length;
		text += *text == ',';
	}
	return 0;
}

static int attach(
	struct cli *cli, const struct pod *pod, const char *mode, struct attach_request *request)
{
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (!strcmp(mode, "auto") || !strcmp(mode, "list"))
		r = pod_attach_list(pod, request, &cli->error);
	if (r < 0)
		return r;
	if (!strcmp(mode, "list")) {
		for (enum wire_stream stream = STREAM_MODES; stream-- > WIRE_STREAM_STDOUT;)
			if (request->streams[stream])
				printf("%s\n", stream_name(stream));
		return 0;
	}
	fd = pod_attach(pod, request, &cli->error);
	if (fd < 0)
		return fd;
	r = converse(fd, request->streams);
	return r < 0 ? error_set_errno(&cli->error, r, "cannot pass the streams on") : 0;
}

int command_attach(struct cli *cli, int argc, char **argv)
{
	const char *mode = "auto", *uuid_file = NULL;
	struct attach_request request = {0};
	const struct cli_option options[] = {
		{"app", CLI_STRING, &request.app, "NAME",
			"the app (default: the only one of the pod)"},
		{"mode", CLI_STRING, &mode, "auto|list|STREAM,...",
			"some of stdin, stdout and stderr; auto is all that are there, list says which"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	struct cli_uuids uuids;
	int at, r = 0;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at > 1)
		return cli_usage(cli, "needs the UUID of one pod");
	if (strcmp(mode, "auto") != 0 && strcmp(mode, "list") != 0)
		r = parse_mode(cli, *mode ? mode : ",", &request);
	if (r == 0)
		r = cli_parse_uuids(cli, uuid_file, argc, argv, at, &uuids);
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = pod_open(pods, uuids.items[0], &pod, &cli->error);
	return r < 0 ? r : attach(cli, &pod, mode, &request);
}
