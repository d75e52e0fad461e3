// SPDX-License-Identifier: Apache-2.0
/* wire.c: frames of the control stream, for both ends. */
#include "wire/wire.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

#include <poll.h>
#include <string.h>

#define READ_SIZE (16u << 10)

const char *const wire_etc_names[WIRE_ETC_FILES] = {
	[WIRE_ETC_HOSTS] = "hosts",
	[WIRE_ETC_HOSTNAME] = "hostname",
	[WIRE_ETC_MACHINE_ID] = "machine-id",
	[WIRE_ETC_RESOLV_CONF] = "resolv.conf",
};

void wire_reader_init(struct wire_reader *reader, uint32_t frame_max)
{
	*reader = (struct wire_reader){.frame_max = frame_max};
}

void wire_reader_done(struct wire_reader *reader)
{
	free(reader->buffer);
	*reader = (struct wire_reader){.frame_max = reader->frame_max};
}

static int wire_reader_reserve(struct wire_reader *reader, size_t size)
{
	return buffer_reserve(&reader->buffer, &reader->room, reader->length, size, READ_SIZE);
}

ssize_t wire_reader_fill(struct wire_reader *reader, int fd)
{
	ssize_t n;
	int r = wire_reader_reserve(reader, READ_SIZE);

	if (r < 0)
		return r;
	do
		n = read(fd, reader->buffer + reader->length, READ_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	reader->length += (size_t)n;
	return n;
}

int wire_reader_add(struct wire_reader *reader, const void *data, size_t length)
{
	int r = wire_reader_reserve(reader, length);

	if (r < 0)
		return r;
	memcpy(reader->buffer + reader->length, data, length);
	reader->length += length;
	return 0;
}

static uint32_t frame_length(const char *header)
{
	const uint8_t *bytes = (const uint8_t *)header;

	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
		(uint32_t)bytes[3] << 24;
}

int wire_message_decode(const char *text, size_t length, json_t **ret, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	int r = json_parse(text, length, "control message", &message, err);

	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	if (!json_is_object(message) || !wire_type(message))
		return error_set(err, -EBADMSG, "control message: not an object with a \"type\"");
	*ret = TAKE_PTR(message);
	return 0;
}

int wire_reader_next(struct wire_reader *reader, json_t **ret, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	uint32_t length;

	if (reader->length < WIRE_FRAME_HEADER_SIZE)
		return 0;
	length = frame_length(reader->buffer);
	if (length < 2 || length > reader->frame_max)
		return error_set(err, -EBADMSG, "control frame of %u bytes; 2 to %u are allowed",
			length, reader->frame_max);
	if (reader->length - WIRE_FRAME_HEADER_SIZE < length)
		return 0;
	if (wire_message_decode(reader->buffer + WIRE_FRAME_HEADER_SIZE, length, &message, err) < 0)
		return -EBADMSG;
	reader->length -= WIRE_FRAME_HEADER_SIZE + length;
	memmove(reader->buffer, reader->buffer + WIRE_FRAME_HEADER_SIZE + length, reader->length);
	*ret = TAKE_PTR(message);
	return 1;
}

int wire_frame_encode(json_t *message, uint32_t frame_max, char **ret, size_t *ret_length)
{
	size_t length = json_dumpb(message, NULL, 0, JSON_COMPACT);
	_cleanup_free_ char *frame = NULL;

	if (length == 0)
		return -EINVAL;
	if (length > frame_max)
		return -EMSGSIZE;
	frame = malloc(WIRE_FRAME_HEADER_SIZE + length);
	if (!frame)
		return -ENOMEM;
	for (int i = 0; i < WIRE_FRAME_HEADER_SIZE; i++)
		frame[i] = (char)(length >> (8 * i));
	if (json_dumpb(message, frame + WIRE_FRAME_HEADER_SIZE, length, JSON_COMPACT) != length)
		return -EINVAL;
	*ret = TAKE_PTR(frame);
	*ret_length = WIRE_FRAME_HEADER_SIZE + length;
	return 0;
}

int wire_frames_write(int fd, const char *frames, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = write(fd, frames + done, length - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno != EINTR && error_is_of_moment(-errno)) {
			struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

			poll(&poll_fd, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

const char *wire_type(json_t *message)
{
	return json_string_value(json_object_get(message, "type"));
}
