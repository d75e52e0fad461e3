// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_detach_keys.c: a list of keys, a newline, and what is typed. Nothing that is typed gets lost or comes twice: what
 * goes on and what is held back are together what was typed, up to the end of the sequence.
 */
#include "cli/detach_keys.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* All at once, or byte by byte: that makes no difference. */
static size_t filter(struct detach_keys keys, const char *typed, size_t length, size_t piece,
	char *out, size_t *ret_held, bool *ret_is_over)
{
	size_t total = 0;

	*ret_is_over = false;
	for (size_t at = 0; !*ret_is_over && at < length; at += piece) {
		size_t passed;

		*ret_is_over = detach_keys_filter(&keys, typed + at,
			length - at < piece ? length - at : piece, out + total, &passed);
		total += passed;
	}
	*ret_held = keys.matched;
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = memchr(data, '\n', size);
	size_t text_length = newline ? (size_t)(newline - data) : size, length, whole, bytes,
	       held[2];
	_cleanup_free_ char *text = calloc(1, text_length + 1);
	const char *typed = newline ? (const char *)newline + 1 : "";
	_cleanup_free_ char *out = NULL, *again = NULL;
	struct detach_keys keys;
	struct error error = {0};
	bool is_over[2];
	int r;

	if (!text)
		return 0;
	memcpy(text, data, text_length);
	r = detach_keys_parse(text, &keys, &error);
	require(r == 0 || (r == -EINVAL && error.message[0]));
	if (r < 0)
		return 0;
	require(keys.count <= DETACH_KEYS_MAX && keys.matched == 0);
	length = newline ? size - text_length - 1 : 0;
	out = malloc(length + DETACH_KEYS_MAX);
	again = malloc(length + DETACH_KEYS_MAX);
	if (!out || !again)
		return 0;
	whole = filter(keys, typed, length, length ? length : 1, out, &held[0], &is_over[0]);
	bytes = filter(keys, typed, length, 1, again, &held[1], &is_over[1]);
	require(whole == bytes && held[0] == held[1] && is_over[0] == is_over[1]);
	require(!memcmp(out, again, whole) && whole + held[0] <= length);
	require(!memcmp(out, typed, whole) && !memcmp(typed + whole, keys.keys, held[0]));
	require(is_over[0] ? held[0] == keys.count : whole + held[0] == length);
	return 0;
}
