// SPDX-License-Identifier: Apache-2.0
/* session.c: frames of a session, for both ends. */
#include "wire/session.h"

#include "base/buffer.h"

#include <endian.h>
#include <string.h>

static const struct {
	enum wire_session_sender sender;
	size_t min, max; /* bytes of payload */
} kinds[WIRE_SESSION_KINDS] = {
	[WIRE_SESSION_REQUEST] = {WIRE_SESSION_CLIENT, 2, WIRE_SESSION_REQUEST_MAX},
	[WIRE_SESSION_INPUT] = {WIRE_SESSION_CLIENT, 0, WIRE_SESSION_DATA_MAX},
	[WIRE_SESSION_RESIZE] = {WIRE_SESSION_CLIENT, sizeof(struct wire_session_size),
		sizeof(struct wire_session_size)},
	[WIRE_SESSION_SIGNAL] = {WIRE_SESSION_CLIENT, 1, 1},
	[WIRE_SESSION_OUTPUT] = {WIRE_SESSION_GUEST, 1, WIRE_SESSION_DATA_MAX},
	[WIRE_SESSION_ERRORS] = {WIRE_SESSION_GUEST, 1, WIRE_SESSION_DATA_MAX},
	[WIRE_SESSION_CREDIT] = {WIRE_SESSION_GUEST, sizeof(uint32_t), sizeof(uint32_t)},
	[WIRE_SESSION_RESULT] = {WIRE_SESSION_GUEST, 2, WIRE_SESSION_RESULT_MAX},
	[WIRE_SESSION_USAGE] = {WIRE_SESSION_GUEST, 2, WIRE_SESSION_USAGE_MAX},
	[WIRE_SESSION_STREAM] = {WIRE_SESSION_GUEST, 0, 0},
};

struct wire_session_header wire_session_header(enum wire_session_kind kind, size_t length)
{
	return (struct wire_session_header){
		.length = htole32((uint32_t)length), .kind = (uint8_t)kind};
}

void wire_session_reader_init(struct wire_session_reader *reader, enum wire_session_sender sender)
{
	*reader = (struct wire_session_reader){.sender = sender};
}

void wire_session_reader_done(struct wire_session_reader *reader)
{
	free(reader->buffer);
	*reader = (struct wire_session_reader){.sender = reader->sender};
}

/* Makes room for WIRE_SESSION_READ_MIN bytes more. */
static int reader_reserve(struct wire_session_reader *reader)
{
	/* What was taken makes room first. */
	if (reader->start > 0)
		memmove(reader->buffer, reader->buffer + reader->start, reader->length);
	reader->start = 0;
	return buffer_reserve(&reader->buffer, &reader->room, reader->length, WIRE_SESSION_READ_MIN,
		WIRE_SESSION_READ_MIN);
}

ssize_t wire_session_reader_fill(struct wire_session_reader *reader, int fd)
{
	ssize_t n;
	int r = reader_reserve(reader);

	if (r < 0)
		return r;
	do
		n = read(fd, reader->buffer + reader->length, reader->room - reader->length);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	reader->length += (size_t)n;
	return n;
}

int wire_session_reader_next(struct wire_session_reader *reader, struct wire_session_frame *ret)
{
	static const uint8_t zeros[sizeof(((struct wire_session_header *)NULL)->reserved)];
	struct wire_session_header header;
	size_t length;

	if (reader->length < sizeof(header))
		return 0;
	memcpy(&header, reader->buffer + reader->start, sizeof(header));
	length = le32toh(header.length);
	if (header.kind < WIRE_SESSION_REQUEST || header.kind >= WIRE_SESSION_KINDS ||
		kinds[header.kind].sender != reader->sender || length < kinds[header.kind].min ||
		length > kinds[header.kind].max ||
		memcmp(header.reserved, zeros, sizeof(zeros)) != 0)
		return -EBADMSG;
	if (reader->length - sizeof(header) < length)
		return 0;
	*ret = (struct wire_session_frame){
		.kind = (enum wire_session_kind)header.kind,
		.data = reader->buffer + reader->start + sizeof(header),
		.length = length,
	};
	reader->start += sizeof(header) + length;
	reader->length -= sizeof(header) + length;
	return 1;
}

size_t wire_session_reader_rest(const struct wire_session_reader *reader, const char **ret)
{
	*ret = reader->buffer + reader->start;
	return reader->length;
}
