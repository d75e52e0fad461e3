// SPDX-License-Identifier: Apache-2.0
/* attach.c: see attach.h. */
#include "pod/attach.h"

#include "base/json.h"
#include "base/log.h"
#include "pod/request.h"

#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* What waits in the socket of a client that is slow, and with the last word: how much it missed. */
#define CLIENT_BUFFER      (128 << 10)
#define CLIENT_BUFFER_LAST (CLIENT_BUFFER + (16 << 10))
/* How long the process that runs the pod may take to answer: its loop never waits for anything. */
#define ANSWER_MS 5000

/* ---- the process that runs the pod */

void pod_attachments_init(struct pod_attachments *attachments)
{
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		attachments->items[i] = (struct attachment){.fd = -1};
}

/* ---- output */

/* Whether the client took the packet. */
static bool send_packet(
	struct attachment *attachment, uint8_t stream, const void *payload, size_t length)
{
	struct wire_stream_header header = {
		.length = htole32((uint32_t)length),
		.stream = stream,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)payload, length}};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};

	if (sendmsg(attachment->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	/* Nobody is there to miss anything. What he sent before is still to be read. */
	attachment->has_gone |= errno == EPIPE || errno == ECONNRESET;
	return false;
}

void pod_attachment_tell_lost(struct attachment *attachment)
{
	uint64_t lost = htole64(attachment->lost);

	if (lost == 0 || send_packet(attachment, 0, &lost, sizeof(lost)) || attachment->has_gone)
		attachment->lost = 0;
}

static void write_to(
	struct attachment *attachment, uint8_t stream, const char *payload, size_t length)
{
	pod_attachment_tell_lost(attachment);
	if (attachment->has_gone)
		return;
	if (attachment->lost > 0 || !send_packet(attachment, stream, payload, length))
		attachment->lost += length;
}

/* Its reader, who may be slow, finds how much is missing behind what is there. */
static void attachment_end(struct attachment *attachment)
{
	const int size = CLIENT_BUFFER_LAST;

	if (attachment->fd >= 0 && attachment->lost > 0) {
		setsockopt(attachment->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		pod_attachment_tell_lost(attachment);
	}
	cleanup_close(&attachment->fd);
	*attachment = (struct attachment){.fd = -1};
}

void pod_attachments_close(struct pod_attachments *attachments)
{
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		attachment_end(&attachments->items[i]);
}

void pod_attachments_forget(struct pod_attachments *attachments, size_t app)
{
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++) {
		struct attachment *attachment = &attachments->items[i];

		if (attachment->fd < 0 || attachment->app < app)
			continue;
		if (attachment->app > app) {
			attachment->app--;
			continue;
		}
		attachment_end(attachment);
	}
}

static int find_app(const struct resolved_pod *resolved, const char *name, size_t *ret)
{
	for (size_t i = 0; i < resolved->app_count; i++) {
		if (name ? strcmp(resolved->apps[i].name, name) : resolved->app_count > 1)
			continue;
		*ret = i;
		return 0;
	}
	return -ENOENT;
}

/* Whether an app's stream is there to be attached to. */
static bool can_attach(const struct resolved_pod *resolved, size_t app, enum wire_stream stream)
{
	enum stream_mode mode = resolved->apps[app].stream_modes[stream];

	if (stream == WIRE_STREAM_STDIN)
		return mode == STREAM_MODE_STREAM || mode == STREAM_MODE_TTY;
	return mode != STREAM_MODE_NULL;
}

static bool is_terminal(const struct resolved_pod *resolved, size_t app, enum wire_stream stream)
{
	return resolved->apps[app].stream_modes[stream] == STREAM_MODE_TTY;
}

static bool streams_have(json_t *names, enum wire_stream stream)
{
	json_t *value;
	size_t i;

	json_array_foreach (names, i, value) {
		const char *name = json_string_value(value);

		if (name && !strcmp(name, stream_name(stream)))
			return true;
	}
	return false;
}

static int parse_streams(const struct resolved_pod *resolved, json_t *message,
	struct attachment *attachment, struct error *err)
{
	json_t *names = json_object_get(message, "streams");
	size_t count = 0;

	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++) {
		const char *name = stream_name(stream);

		attachment->streams[stream] = streams_have(names, stream);
		count += attachment->streams[stream];
		attachment->has_terminal |= attachment->streams[stream] &&
			is_terminal(resolved, attachment->app, stream);
		if (attachment->streams[stream] && !can_attach(resolved, attachment->app, stream))
			return error_set(err, -ENOTCONN,
				"app \"%s\" has no %s to attach to (--%s=stream or tty when the pod is started)",
				resolved->apps[attachment->app].name, name, name);
	}
	return count == json_array_size(names)
		? 0
		: error_set(err, -EINVAL, "a stream that does not exist");
}

/*
 * NULL: there is none. One who has gone, and whose input the app has not taken yet, keeps his place until another wants
 * it: the rest of it is lost then.
 */
static struct attachment *find_place(struct pod_attachments *attachments)
{
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		if (attachments->items[i].fd < 0)
			return &attachments->items[i];
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++) {
		struct pollfd client = {.fd = attachments->items[i].fd};

		if (poll(&client, 1, 0) > 0 && client.revents & POLLHUP) {
			log_warning(
				"input of a client that has gone is lost: the app does not read it, "
				"and another attaches");
			attachment_end(&attachments->items[i]);
			return &attachments->items[i];
		}
	}
	return NULL;
}

/* Makes the answer; whether the connection is kept. -errno with a message. */
static int accept_attachment(struct pod_attachments *attachments,
	const struct resolved_pod *resolved, json_t *message, int fd, json_t **ret_answer,
	struct error *err)
{
	const char *name = json_string_value(json_object_get(message, "app"));
	struct attachment attachment = {.fd = fd}, *place = NULL;
	bool terminal[STREAM_MODES] = {false};
	int size = CLIENT_BUFFER, r;

	if (find_app(resolved, name, &attachment.app) < 0)
		return name ? error_set(err, -ENOENT, "the pod has no app \"%s\"", name)
			    : error_set(err, -EINVAL,
				      "the pod has several apps: --app says which is meant");
	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
		terminal[stream] = is_terminal(resolved, attachment.app, stream);
	if (json_array_size(json_object_get(message, "streams")) == 0) {
		for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
			attachment.streams[stream] = can_attach(resolved, attachment.app, stream);
		*ret_answer = json_pack("{s:s, s:o, s:o}", "type", "streams", "streams",
			stream_names_json(attachment.streams), "terminal",
			stream_names_json(terminal));
		return 0;
	}
	r = parse_streams(resolved, message, &attachment, err);
	if (r < 0)
		return r;
	place = find_place(attachments);
	if (!place)
		return error_set(
			err, -EBUSY, "%d are attached to the pod already", ATTACHMENTS_MAX);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return error_set_errno(err, -errno, "cannot set the size of a buffer");
	*place = attachment;
	*ret_answer = json_pack(
		"{s:s, s:o}", "type", "attached", "terminal", stream_names_json(terminal));
	return 1;
}

void pod_attachments_add(struct pod_attachments *attachments, const struct resolved_pod *resolved,
	json_t *message, int fd)
{
	_cleanup_json_ json_t *answer = NULL;
	struct error error;
	int r = accept_attachment(attachments, resolved, message, fd, &answer, &error);

	if (r < 0)
		pod_request_refuse(fd, error.message);
	else
		pod_request_answer(fd, answer);
	if (r <= 0)
		close(fd);
}

void pod_attachments_write(struct pod_attachments *attachments,
	const struct wire_stream_header *header, const char *payload)
{
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++) {
		struct attachment *attachment = &attachments->items[i];

		if (attachment->fd >= 0 && attachment->app == le16toh(header->app) &&
			attachment->streams[header->stream])
			write_to(attachment, header->stream, payload, le32toh(header->length));
	}
}

/* Whether a packet of the client is one that it may send. */
static bool packet_is_allowed(
	const struct attachment *attachment, const struct wire_stream_header *header, size_t length)
{
	if (length == 0 || length != le32toh(header->length))
		return false;
	if (header->stream == WIRE_STREAM_WINDOW)
		return attachment->has_terminal && length == sizeof(struct wire_window);
	return header->stream == WIRE_STREAM_STDIN && attachment->streams[WIRE_STREAM_STDIN];
}

enum wire_stream pod_attachment_read(
	struct attachment *attachment, char *buffer, size_t *ret_length)
{
	struct wire_stream_header header;
	struct iovec parts[] = {{&header, sizeof(header)}, {buffer, WIRE_STREAM_MAX}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
	ssize_t n = recvmsg(attachment->fd, &message, MSG_DONTWAIT);

	*ret_length = n > (ssize_t)sizeof(header) ? (size_t)n - sizeof(header) : 0;
	/* That it went with output unread is said once, before what it had sent. */
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
		return 0;
	/* Its end, or nothing that who attached may say. */
	if (message.msg_flags & MSG_TRUNC || !packet_is_allowed(attachment, &header, *ret_length)) {
		attachment_end(attachment);
		return 0;
	}
	return header.stream;
}

/* ---- the other end */

/* The connection, and the answer of this type. -errno with a message. */
static int ask(const struct pod *pod, const struct attach_request *request, const char *type,
	json_t **ret_answer, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:s*, s:o}", "type", "attach", "app",
		request->app, "streams", stream_names_json(request->streams));
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = pod_request_ask(pod, message, ANSWER_MS, &answer, err);

	if (fd < 0)
		return fd;
	if (strcmp(wire_type(answer), type) != 0)
		return error_set(
			err, -EBADMSG, "pod %s: not the answer to a request to attach", pod->uuid);
	*ret_answer = TAKE_PTR(answer);
	return TAKE_FD(fd);
}

static void streams_read(json_t *names, bool *ret)
{
	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
		ret[stream] = streams_have(names, stream);
}

int pod_attach(const struct pod *pod, const struct attach_request *request,
	bool ret_terminal[STREAM_MODES], struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int fd = ask(pod, request, "attached", &answer, err);

	if (fd >= 0)
		streams_read(json_object_get(answer, "terminal"), ret_terminal);
	return fd;
}

int pod_attach_list(const struct pod *pod, struct attach_request *request,
	bool ret_terminal[STREAM_MODES], struct error *err)
{
	const struct attach_request nothing = {.app = request->app};
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = ask(pod, &nothing, "streams", &answer, err);

	if (fd < 0)
		return fd;
	streams_read(json_object_get(answer, "streams"), request->streams);
	streams_read(json_object_get(answer, "terminal"), ret_terminal);
	return 0;
}
