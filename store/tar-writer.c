// SPDX-License-Identifier: Apache-2.0
/*
 * tar-writer.c: headers as POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block" have
 * them; extended attributes as "SCHILY.xattr." records, which all that reads images understands.
 */
#include "store/tar-writer.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>

#define TAR_BLOCK   512u
#define BUFFER_SIZE (1u << 20)

#define OCTAL_7_MAX  07777777ull     /* uid, gid, device numbers: seven digits */
#define OCTAL_11_MAX 077777777777ull /* size, time: eleven digits */

struct ustar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], typeflag;
	char linkname[100], magic[6], version[2], uname[32], gname[32], major[8], minor[8];
	char prefix[155], unused[12];
};
_Static_assert(sizeof(struct ustar_header) == TAR_BLOCK, "a header is one block");

int tar_writer_open(struct tar_writer *writer, int fd)
{
	*writer = (struct tar_writer){.fd = fd, .buffer = malloc(BUFFER_SIZE)};
	return writer->buffer ? 0 : -ENOMEM;
}

void tar_writer_close(struct tar_writer *writer)
{
	free(writer->buffer);
	free(writer->records);
	*writer = (struct tar_writer){.fd = -1};
}

static int writer_flush(struct tar_writer *writer)
{
	int r = file_write_all(writer->fd, writer->buffer, writer->used);

	writer->used = 0;
	return r;
}

/* data NULL: zeros. */
static int writer_put(struct tar_writer *writer, const void *data, uint64_t length)
{
	const uint8_t *bytes = data;

	while (length > 0) {
		size_t part = BUFFER_SIZE - writer->used;

		if (part > length)
			part = (size_t)length;
		if (bytes) {
			memcpy(writer->buffer + writer->used, bytes, part);
			bytes += part;
		} else {
			memset(writer->buffer + writer->used, 0, part);
		}
		writer->used += part;
		length -= part;
		if (writer->used == BUFFER_SIZE) {
			int r = writer_flush(writer);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static uint64_t padding_of(uint64_t size)
{
	return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

/* ---- extended headers */

static size_t digits_of(size_t number)
{
	size_t digits = 1;

	while (number >= 10) {
		number /= 10;
		digits++;
	}
	return digits;
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static int record_add(
	struct tar_writer *writer, const char *key, const void *value, size_t value_length)
{
	size_t rest = 1 + strlen(key) + 1 + value_length + 1, length = rest + 1, room;
	char *at;

	while (length != rest + digits_of(length))
		length = rest + digits_of(length);
	room = writer->records_length + length;
	if (room + 1 > writer->records_room) {
		char *records = realloc(writer->records, 2 * room + 1);

		if (!records)
			return -ENOMEM;
		writer->records = records;
		writer->records_room = 2 * room + 1;
	}
	at = writer->records + writer->records_length;
	at += sprintf(at, "%zu %s=", length, key);
	memcpy(at, value, value_length);
	at[value_length] = '\n';
	writer->records_length = room;
	return 0;
}

static _printf_(3, 4) int record_print(
	struct tar_writer *writer, const char *key, const char *format, ...)
{
	char text[64];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return record_add(writer, key, text, strlen(text));
}

static bool text_is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

/* ---- ustar headers */

/* A number that fits was checked before; what does not is in the extended header. */
static void field_octal(char *field, size_t size, uint64_t value)
{
	field[size - 1] = '\0';
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

/* Field and text without a terminating NUL where it fits exactly. */
static bool field_text(char *field, size_t size, const char *text)
{
	size_t length = strlen(text);

	memcpy(field, text, length < size ? length : size);
	return length <= size;
}

/* Divides a long path at a slash. */
static bool header_path(struct ustar_header *header, const char *path)
{
	size_t length = strlen(path);

	if (length <= sizeof(header->name))
		return field_text(header->name, sizeof(header->name), path);
	for (size_t i = length - sizeof(header->name) - 1; i < length - 1; i++) {
		if (i > sizeof(header->prefix))
			break;
		if (path[i] != '/' || i == 0)
			continue;
		memcpy(header->prefix, path, i);
		return field_text(header->name, sizeof(header->name), path + i + 1);
	}
	field_text(header->name, sizeof(header->name), path);
	return false;
}

static void header_finish(struct ustar_header *header)
{
	const uint8_t *bytes = (const uint8_t *)header;
	unsigned int sum = 0;

	memcpy(header->magic, "ustar", 6);
	memcpy(header->version, "00", 2);
	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	field_octal(header->checksum, 7, sum);
}

static char entry_typeflag(enum aci_entry_type type)
{
	switch (type) {
	case ACI_DIRECTORY:
		return '5';
	case ACI_SYMLINK:
		return '2';
	case ACI_HARDLINK:
		return '1';
	case ACI_CHARACTER_DEVICE:
		return '3';
	case ACI_BLOCK_DEVICE:
		return '4';
	case ACI_FIFO:
		return '6';
	case ACI_FILE:
		break;
	}
	return '0';
}

static int write_records(struct tar_writer *writer)
{
	struct ustar_header header = {.name = "././@PaxHeader", .typeflag = 'x'};
	int r;

	field_octal(header.mode, sizeof(header.mode), 0644);
	field_octal(header.uid, sizeof(header.uid), 0);
	field_octal(header.gid, sizeof(header.gid), 0);
	field_octal(header.size, sizeof(header.size), writer->records_length);
	field_octal(header.mtime, sizeof(header.mtime), 0);
	header_finish(&header);
	r = writer_put(writer, &header, sizeof(header));
	if (r == 0)
		r = writer_put(writer, writer->records, writer->records_length);
	if (r == 0)
		r = writer_put(writer, NULL, padding_of(writer->records_length));
	return r;
}

/* The time, and what a ustar header cannot say of it. */
static int put_time(struct tar_writer *writer, struct ustar_header *header, struct timespec time)
{
	if (time.tv_sec < 0) {
		field_octal(header->mtime, sizeof(header->mtime), 0);
		return record_print(writer, "mtime", "%" PRId64, (int64_t)time.tv_sec);
	}
	if (time.tv_nsec == 0 && (uint64_t)time.tv_sec <= OCTAL_11_MAX) {
		field_octal(header->mtime, sizeof(header->mtime), (uint64_t)time.tv_sec);
		return 0;
	}
	field_octal(header->mtime, sizeof(header->mtime),
		(uint64_t)time.tv_sec <= OCTAL_11_MAX ? (uint64_t)time.tv_sec : 0);
	if (time.tv_nsec == 0)
		return record_print(writer, "mtime", "%" PRId64, (int64_t)time.tv_sec);
	return record_print(
		writer, "mtime", "%" PRId64 ".%09ld", (int64_t)time.tv_sec, time.tv_nsec);
}

static int put_number(struct tar_writer *writer, char *field, size_t size, uint64_t max,
	const char *key, uint64_t value)
{
	field_octal(field, size, value <= max ? value : 0);
	return value <= max ? 0 : record_print(writer, key, "%" PRIu64, value);
}

int tar_writer_entry(struct tar_writer *writer, const struct aci_entry *entry,
	const struct tar_xattr *xattrs, size_t xattr_count)
{
	struct ustar_header header = {.typeflag = entry_typeflag(entry->type)};
	uint64_t size = entry->type == ACI_FILE ? entry->size : 0;
	const char *target = entry->target ? entry->target : "";
	char path[ACI_PATH_SIZE + 2];
	int r = 0;

	if (writer->left > 0)
		return -EINVAL;
	writer->records_length = 0;
	snprintf(path, sizeof(path), "%s%s", entry->path, entry->type == ACI_DIRECTORY ? "/" : "");
	if (!text_is_ascii(path) || !text_is_ascii(target))
		r = record_print(writer, "hdrcharset", "BINARY");
	if (!header_path(&header, path) || !text_is_ascii(path))
		r = r < 0 ? r : record_add(writer, "path", path, strlen(path));
	if (!field_text(header.linkname, sizeof(header.linkname), target) || !text_is_ascii(target))
		r = r < 0 ? r : record_add(writer, "linkpath", target, strlen(target));
	field_octal(header.mode, sizeof(header.mode), entry->mode);
	if (r == 0)
		r = put_number(
			writer, header.uid, sizeof(header.uid), OCTAL_7_MAX, "uid", entry->uid);
	if (r == 0)
		r = put_number(
			writer, header.gid, sizeof(header.gid), OCTAL_7_MAX, "gid", entry->gid);
	if (r == 0)
		r = put_number(
			writer, header.size, sizeof(header.size), OCTAL_11_MAX, "size", size);
	if (r == 0)
		r = put_time(writer, &header, entry->mtime);
	field_octal(header.major, sizeof(header.major), major(entry->device));
	field_octal(header.minor, sizeof(header.minor), minor(entry->device));
	for (size_t i = 0; r == 0 && i < xattr_count; i++) {
		char key[256 + 16];

		snprintf(key, sizeof(key), "SCHILY.xattr.%s", xattrs[i].name);
		r = record_add(writer, key, xattrs[i].value, xattrs[i].size);
	}
	if (r == 0 && writer->records_length > 0)
		r = write_records(writer);
	if (r < 0)
		return r;
	header_finish(&header);
	writer->left = size;
	writer->padding = padding_of(size);
	return writer_put(writer, &header, sizeof(header));
}

int tar_writer_data(struct tar_writer *writer, const void *data, uint64_t length)
{
	int r;

	if (length > writer->left)
		return -EFBIG;
	r = writer_put(writer, data, length);
	writer->left -= length;
	if (r == 0 && writer->left == 0) {
		r = writer_put(writer, NULL, writer->padding);
		writer->padding = 0;
	}
	return r;
}

int tar_writer_end(struct tar_writer *writer)
{
	int r;

	if (writer->left > 0)
		return -EINVAL;
	r = writer_put(writer, NULL, 2ull * TAR_BLOCK);
	return r < 0 ? r : writer_flush(writer);
}
