// SPDX-License-Identifier: Apache-2.0
/* state.c: sections of saved state. */
#include "base/state.h"

#include "base/checked.h"

#include <string.h>

struct section_header {
	uint32_t tag, version;
	uint64_t length; /* of what follows */
};

void state_writer_done(struct state_writer *writer)
{
	free(writer->data);
	*writer = (struct state_writer){0};
}

void state_put(struct state_writer *writer, const void *data, size_t length)
{
	size_t needed;

	if (writer->error)
		return;
	if (!checked_add_size(writer->length, length, &needed) || needed > STATE_SIZE_MAX) {
		writer->error = -EFBIG;
		return;
	}
	if (needed > writer->room) {
		size_t room = writer->room ? 2 * writer->room : 64u << 10;
		uint8_t *grown;

		while (room < needed)
			room *= 2;
		grown = realloc(writer->data, room);
		if (!grown) {
			writer->error = -ENOMEM;
			return;
		}
		writer->data = grown;
		writer->room = room;
	}
	if (length > 0)
		memcpy(writer->data + writer->length, data, length);
	writer->length = needed;
}

void state_begin(struct state_writer *writer, uint32_t tag, uint32_t version)
{
	struct section_header header = {.tag = tag, .version = version};

	writer->section = writer->length;
	state_put(writer, &header, sizeof(header));
}

void state_end(struct state_writer *writer)
{
	struct section_header header;

	if (writer->error)
		return;
	memcpy(&header, writer->data + writer->section, sizeof(header));
	header.length = writer->length - writer->section - sizeof(header);
	memcpy(writer->data + writer->section, &header, sizeof(header));
}

void state_put_u32(struct state_writer *writer, uint32_t value)
{
	state_put(writer, &value, sizeof(value));
}

void state_put_u64(struct state_writer *writer, uint64_t value)
{
	state_put(writer, &value, sizeof(value));
}

void state_put_bytes(struct state_writer *writer, const void *data, size_t length)
{
	state_put_u64(writer, length);
	state_put(writer, data, length);
}

void state_reader_init(struct state_reader *reader, const void *data, size_t length)
{
	*reader = (struct state_reader){.data = data, .length = length};
}

/* The tag as text, whatever its bytes are. */
static void tag_text(uint32_t tag, char text[5])
{
	for (unsigned int i = 0; i < 4; i++) {
		char c = (char)(tag >> (8 * i));

		text[i] = c > ' ' && c <= '~' ? c : '?';
	}
	text[4] = '\0';
}

int state_open(struct state_reader *reader, uint32_t tag, uint32_t version, struct error *err)
{
	struct section_header header;
	char expected[5], found[5];

	tag_text(tag, expected);
	if (reader->error)
		return error_set(
			err, reader->error, "saved state: damaged before section %s", expected);
	reader->error = -EBADMSG; /* until the section is found good */
	if (!checked_range(reader->next, sizeof(header), reader->length))
		return error_set(err, -EBADMSG, "saved state: ends before section %s", expected);
	memcpy(&header, reader->data + reader->next, sizeof(header));
	tag_text(header.tag, found);
	if (header.tag != tag)
		return error_set(err, -EBADMSG, "saved state: section %s where %s is expected",
			found, expected);
	if (header.version != version)
		return error_set(err, -EBADMSG,
			"saved state: section %s has version %u, this program writes version %u",
			expected, header.version, version);
	if (header.length > reader->length - reader->next - sizeof(header))
		return error_set(err, -EBADMSG, "saved state: section %s is cut short", expected);
	reader->next += sizeof(header);
	reader->end = reader->next + (size_t)header.length;
	reader->error = 0;
	return 0;
}

int state_close(struct state_reader *reader, struct error *err)
{
	if (reader->error)
		return error_set(
			err, reader->error, "saved state: a section is shorter than its content");
	if (reader->next != reader->end) {
		reader->error = -EBADMSG;
		return error_set(err, -EBADMSG,
			"saved state: %zu bytes at the end of a section that nobody expects",
			reader->end - reader->next);
	}
	return 0;
}

/* The next length bytes of the section, in place; NULL and the error when there are not so many. */
static const uint8_t *take(struct state_reader *reader, size_t length)
{
	const uint8_t *bytes;

	if (reader->error)
		return NULL;
	if (length > reader->end - reader->next) {
		reader->error = -EBADMSG;
		return NULL;
	}
	bytes = reader->data + reader->next;
	reader->next += length;
	return bytes;
}

void state_get(struct state_reader *reader, void *data, size_t length)
{
	const uint8_t *bytes = take(reader, length);

	if (length == 0)
		return;
	if (bytes)
		memcpy(data, bytes, length);
	else
		memset(data, 0, length);
}

uint32_t state_get_u32(struct state_reader *reader)
{
	uint32_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

uint64_t state_get_u64(struct state_reader *reader)
{
	uint64_t value;

	state_get(reader, &value, sizeof(value));
	return value;
}

size_t state_get_bytes(struct state_reader *reader, size_t max, const void **ret)
{
	uint64_t length = state_get_u64(reader);
	const uint8_t *bytes;

	*ret = NULL;
	if (length > max)
		reader->error = -EBADMSG;
	bytes = reader->error ? NULL : take(reader, (size_t)length);
	if (!bytes)
		return 0;
	*ret = bytes;
	return (size_t)length;
}
