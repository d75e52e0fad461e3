// SPDX-License-Identifier: Apache-2.0
/* detach_keys.c: see detach_keys.h. */
#include "cli/detach_keys.h"

#include <string.h>

#define CONTROL_PREFIX "ctrl-"

/* The byte of a key; -1: it is none. */
static int key_parse(const char *text, size_t length)
{
	size_t prefix = strlen(CONTROL_PREFIX);
	char c;

	if (length == 1 && *text > ' ' && *text <= '~')
		return *text;
	if (length != prefix + 1 || strncmp(text, CONTROL_PREFIX, prefix) != 0)
		return -1;
	c = text[prefix];
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	return c >= '@' && c <= '_' ? c - '@' : -1;
}

int detach_keys_parse(const char *text, struct detach_keys *ret, struct error *err)
{
	*ret = (struct detach_keys){0};
	while (*text) {
		size_t length = strcspn(text, ",");
		int key = key_parse(text, length);

		if (key < 0)
			return error_set(err, -EINVAL,
				"\"%.*s\" is no key: a character, or ctrl- and a letter or one of @[\\]^_",
				(int)(length < 64 ? length : 64), text);
		if (ret->count == DETACH_KEYS_MAX)
			return error_set(err, -EINVAL, "more than %d keys", DETACH_KEYS_MAX);
		ret->keys[ret->count++] = (char)key;
		text += length;
		if (*text && !*++text)
			return error_set(err, -EINVAL, "no key after the last comma");
	}
	return 0;
}

bool detach_keys_filter(
	struct detach_keys *keys, const char *typed, size_t length, char *out, size_t *ret_length)
{
	*ret_length = 0;
	for (size_t i = 0; i < length; i++) {
		char held[DETACH_KEYS_MAX + 1];
		size_t count = keys->matched, start = 0;

		memcpy(held, keys->keys, count);
		held[count++] = typed[i];
		/* What can not be the beginning any more goes on, one after the other. */
		while (start < count &&
			(count - start > keys->count ||
				memcmp(held + start, keys->keys, count - start) != 0))
			out[(*ret_length)++] = held[start++];
		keys->matched = count - start;
		if (keys->count > 0 && keys->matched == keys->count)
			return true;
	}
	return false;
}
