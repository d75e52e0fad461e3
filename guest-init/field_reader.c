// SPDX-License-Identifier: Apache-2.0
/* field_reader.c: the fields of one JSON object, strictly. */
#include "guest-init/field_reader.h"

#include "wire/wire.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void reader_fail(struct field_reader *reader, const char *field, const char *expected)
{
	if (reader->r < 0)
		return;
	reader->r = error_set(reader->err, -EBADMSG, "%s: field \"%s\": %s expected", reader->where,
		field, expected);
}

json_t *reader_take(struct field_reader *reader, const char *field, enum field_presence presence,
	json_type type, const char *expected)
{
	json_t *value;

	if (reader->r < 0)
		return NULL;
	value = json_object_get(reader->object, field);
	if (!value && presence == FIELD_OPTIONAL)
		return NULL;
	if (!value || json_typeof(value) != type) {
		reader_fail(reader, field, expected);
		return NULL;
	}
	return value;
}

const char *reader_string(struct field_reader *reader, const char *field, size_t min, size_t max)
{
	json_t *value = reader_take(reader, field, FIELD_REQUIRED, JSON_STRING, "a string");

	if (!value)
		return "";
	if (json_string_length(value) < min || json_string_length(value) > max)
		reader_fail(reader, field, "a string of fitting length");
	return json_string_value(value);
}

bool text_is_made_of(const char *text, const char *characters)
{
	return text[strspn(text, characters)] == '\0';
}

/* An AC name: the own files of a cgroup, beside which it stands, all have a dot in their names. */
static bool name_is_valid(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= NAME_MAX && name[0] != '-' && name[length - 1] != '-' &&
		text_is_made_of(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
}

const char *reader_name(struct field_reader *reader, const char *field)
{
	const char *name = reader_string(reader, field, 1, NAME_MAX);

	if (!name_is_valid(name))
		reader_fail(reader, field, "lower-case letters, digits and dashes");
	return name;
}

const char *reader_text(struct field_reader *reader, const char *field, size_t max)
{
	json_t *value = reader_take(reader, field, FIELD_OPTIONAL, JSON_STRING, "a string");

	if (value && json_string_length(value) > max)
		reader_fail(reader, field, "a string of fitting length");
	return json_string_value(value);
}

bool reader_boolean(struct field_reader *reader, const char *field)
{
	json_t *value;

	if (reader->r < 0)
		return false;
	value = json_object_get(reader->object, field);
	if (!json_is_boolean(value))
		reader_fail(reader, field, "true or false");
	return json_is_true(value);
}

bool reader_integer(struct field_reader *reader, const char *field, enum field_presence presence,
	json_int_t min, json_int_t max, json_int_t *ret)
{
	json_t *value = reader_take(reader, field, presence, JSON_INTEGER, "an integer");

	if (!value)
		return false;
	if (json_integer_value(value) < min || json_integer_value(value) > max) {
		reader_fail(reader, field, "an integer in its range");
		return false;
	}
	*ret = json_integer_value(value);
	return true;
}

uint64_t reader_limit(struct field_reader *reader, const char *field, json_int_t min)
{
	json_int_t value;

	if (!reader_integer(reader, field, FIELD_OPTIONAL, min, INT64_MAX, &value))
		return GUEST_UNLIMITED;
	return (uint64_t)value;
}

json_t *reader_array(struct field_reader *reader, const char *field, size_t min, size_t max)
{
	json_t *value = reader_take(reader, field, FIELD_REQUIRED, JSON_ARRAY, "an array");

	if (value && (json_array_size(value) < min || json_array_size(value) > max)) {
		reader_fail(reader, field, "an array of fitting length");
		return NULL;
	}
	return value;
}

void *reader_allocate(struct field_reader *reader, size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		reader->r = error_set(reader->err, -ENOMEM, "%s: out of memory", reader->where);
	return memory;
}

const char **reader_strings(struct field_reader *reader, const char *field, size_t min)
{
	json_t *array = reader_array(reader, field, min, WIRE_STRINGS_MAX), *value;
	const char **strings;
	size_t i;

	if (!array)
		return NULL;
	strings = reader_allocate(reader, json_array_size(array) + 1, sizeof(*strings));
	if (!strings)
		return NULL;
	json_array_foreach (array, i, value) {
		if (!json_is_string(value)) {
			reader_fail(reader, field, "an array of strings");
			break;
		}
		strings[i] = json_string_value(value);
	}
	return strings;
}

void reader_check_known(struct field_reader *reader, const char *const *names)
{
	const char *key;
	json_t *value;

	if (reader->r < 0)
		return;
	json_object_foreach (reader->object, key, value) {
		const char *const *name = names;

		while (*name && strcmp(*name, key))
			name++;
		if (*name)
			continue;
		reader->r = error_set(reader->err, -EBADMSG, "%s: field \"%.64s\" is unknown",
			reader->where, key);
		return;
	}
}
