// SPDX-License-Identifier: Apache-2.0
/* test_detach_keys.c: keys that leave a terminal, and those that only look like it. */
#include "cli/detach_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct detach_keys parsed(const char *text)
{
	struct detach_keys keys;
	struct error error;

	assert_int_equal(detach_keys_parse(text, &keys, &error), 0);
	return keys;
}

static void keys_are_characters_and_control_characters(void **state)
{
	struct detach_keys keys = parsed("ctrl-p,Q,ctrl-Z,ctrl-[,ctrl-@,~");

	(void)state;
	assert_int_equal(keys.count, 6);
	assert_memory_equal(keys.keys, "\x10Q\x1a\x1b\0~", 6);
	assert_int_equal(parsed("").count, 0);
}

static void what_is_no_key_is_refused(void **state)
{
	static const char *const texts[] = {",", "a,", "a,,b", "ab", "ctrl-", "ctrl-1", "ctrl-ab",
		"Ctrl-a", " ", "\x01", "a,b,c,d,e,f,g,h,i"};
	struct detach_keys keys;
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		error.message[0] = '\0';
		assert_int_equal(detach_keys_parse(texts[i], &keys, &error), -EINVAL);
		assert_true(error.message[0]);
	}
}

/* typed in pieces of so many bytes; expects what goes on, and whether it ends. */
static void expect(const char *text, const char *typed, size_t piece, const char *passed, bool ends)
{
	struct detach_keys keys = parsed(text);
	char out[64 + DETACH_KEYS_MAX], all[128] = "";
	bool is_over = false;

	for (size_t at = 0; !is_over && at < strlen(typed); at += piece) {
		size_t left = strlen(typed) - at, length;

		is_over = detach_keys_filter(
			&keys, typed + at, left < piece ? left : piece, out, &length);
		strncat(all, out, length);
	}
	assert_int_equal(is_over, ends);
	assert_string_equal(all, passed);
}

static void the_sequence_ends_however_it_comes(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 8; piece++) {
		expect("ctrl-p,ctrl-q", "ab\x10\x11", piece, "ab", true);
		expect("ctrl-p,ctrl-q", "a\x10\x10\x11", piece, "a\x10", true);
		expect("a,a,b", "xaaab", piece, "xa", true);
		expect("a,b,a,b,c", "ababababc", piece, "abab", true);
		expect("x", "x", piece, "", true);
	}
	expect("ctrl-p,ctrl-q", "\x10\x11more", 6, "", true);
}

static void what_does_not_become_the_sequence_goes_on(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 8; piece++) {
		expect("ctrl-p,ctrl-q",
			"\x10"
			"a\x11\x10"
			"b",
			piece,
			"\x10"
			"a\x11\x10"
			"b",
			false);
		/* Held back until it is decided. */
		expect("ctrl-p,ctrl-q", "ab\x10", piece, "ab", false);
		expect("", "\x10\x11", piece, "\x10\x11", false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_characters_and_control_characters),
		cmocka_unit_test(what_is_no_key_is_refused),
		cmocka_unit_test(the_sequence_ends_however_it_comes),
		cmocka_unit_test(what_does_not_become_the_sequence_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
