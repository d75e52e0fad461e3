// SPDX-License-Identifier: Apache-2.0
/* json.c: strict parsing; the depth is checked before jansson recurses into the input. */
#include "base/json.h"

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Brackets outside strings; the parser rejects anything that this simple scan misjudges. */
static bool json_depth_is_bounded(const char *data, size_t length)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < length; i++) {
		char c = data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

int json_parse(const char *data, size_t length, const char *what, json_t **ret, struct error *err)
{
	const uint64_t failures = json_failures();
	json_error_t error;
	json_t *json;

	if (!json_depth_is_bounded(data, length))
		return error_set(
			err, -EINVAL, "%s: nested deeper than %d levels", what, JSON_DEPTH_MAX);
	json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &error);
	/* When memory is short it says nothing of itself, or that the text is wrong. */
	if (!json && (!*error.text || json_failures() != failures))
		return error_set_errno(err, -ENOMEM, "%s", what);
	if (!json)
		return error_set(err, -EINVAL, "%s: line %d, column %d: %s", what, error.line,
			error.column, error.text);
	*ret = json;
	return 0;
}

/* Bytes of the character at the beginning, 0 where there is none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *data, size_t length)
{
	unsigned char first = data[0], low = 0x80, high = 0xbf;
	size_t size = first < 0x80 ? 1
		: first < 0xc2     ? 0
		: first < 0xe0     ? 2
		: first < 0xf0     ? 3
		: first < 0xf5     ? 4
				   : 0;

	if (size > length)
		return 0;
	/* What a shorter form can say, surrogates, and what is above U+10FFFF. */
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < size; i++, low = 0x80, high = 0xbf)
		if (data[i] < low || data[i] > high)
			return 0;
	return size;
}

json_t *json_string_lossy(const char *data, size_t length)
{
	static const char replacement[] = "\xef\xbf\xbd";
	_cleanup_free_ char *text = NULL;
	size_t used = 0, room;

	if (__builtin_mul_overflow(length, sizeof(replacement) - 1, &room))
		return NULL;
	text = malloc(room + 1);
	if (!text)
		return NULL;
	while (length > 0) {
		size_t size = utf8_length((const unsigned char *)data, length);

		memcpy(text + used, size ? data : replacement,
			size ? size : sizeof(replacement) - 1);
		used += size ? size : sizeof(replacement) - 1;
		data += size ? size : 1;
		length -= size ? size : 1;
	}
	return json_stringn_nocheck(text, used);
}

static _Thread_local uint64_t failures;

static void *json_allocate(size_t size)
{
	void *memory = malloc(size);

	failures += !memory;
	return memory;
}

__attribute__((constructor)) static void json_count_failures(void)
{
	json_set_alloc_funcs(json_allocate, free);
}

uint64_t json_failures(void)
{
	return failures;
}

struct text {
	char *data;
	size_t length, room;
	bool failed;
};

static int text_append(const char *data, size_t length, void *context)
{
	struct text *text = context;

	if (length >= text->room - text->length && !text->failed) {
		size_t room = 2 * (text->length + length) + 256;
		char *more = realloc(text->data, room);

		if (more) {
			text->data = more;
			text->room = room;
		}
		text->failed = !more;
	}
	if (text->failed)
		return -1;
	memcpy(text->data + text->length, data, length);
	text->length += length;
	text->data[text->length] = '\0';
	return 0;
}

char *json_text(const json_t *json, size_t flags)
{
	struct text text = {0};

	/* jansson does not pass on what we return, everywhere. */
	if (json_dump_callback(json, text_append, &text, flags) < 0 || text.failed) {
		free(text.data);
		return NULL;
	}
	return text.data;
}
