// SPDX-License-Identifier: Apache-2.0
/* test_timestamp.c: RFC 3339, to the nanosecond. */
#include "base/cleanup.h"
#include "base/timestamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_time_is_written_and_read_again(void **state)
{
	static const struct {
		int64_t time;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000000000Z"},
		{1, "1970-01-01T00:00:00.000000001Z"},
		{-1, "1969-12-31T23:59:59.999999999Z"},
		{1795348800123456789, "2026-11-22T12:00:00.123456789Z"},
		{1709164799999999999, "2024-02-28T23:59:59.999999999Z"},
		{INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
		{-9223372036000000000, "1677-09-21T00:12:44.000000000Z"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TIMESTAMP_SIZE];
		int64_t time = 5;

		timestamp_format(cases[i].time, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(strlen(text), TIMESTAMP_SIZE - 1);
		assert_int_equal(timestamp_parse(text, strlen(text), &time), 0);
		assert_true(time == cases[i].time);
	}
}

static void other_forms_of_a_time_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t time;
	} cases[] = {
		{"2026-11-22T12:00:00Z", 1795348800000000000},
		{"2026-11-22t12:00:00z", 1795348800000000000},
		{"2026-11-22 12:00:00Z", 1795348800000000000},
		{"2026-11-22T12:00:00.5Z", 1795348800500000000},
		{"2026-11-22T13:30:00+01:30", 1795348800000000000},
		{"2026-11-22T06:00:00-06:00", 1795348800000000000},
		{"2024-02-29T00:00:00Z", 1709164800000000000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t time;

		assert_int_equal(timestamp_parse(cases[i].text, strlen(cases[i].text), &time), 0);
		assert_true(time == cases[i].time);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const texts[] = {"", "2026", "2026-11-22", "2026-11-22T12:00:00",
		"2026-11-22T12:00Z", "2026-13-22T12:00:00Z", "2026-00-22T12:00:00Z",
		"2026-02-29T12:00:00Z", "2026-11-31T12:00:00Z", "2026-11-22T24:00:00Z",
		"2026-11-22T12:60:00Z", "2026-11-22T12:00:61Z", "2026-11-22T12:00:00.Z",
		"2026-11-22T12:00:00.1234567890Z", "2026-11-22T12:00:00+1:00",
		"2026-11-22T12:00:00+24:00", "2026-11-22T12:00:00+01:60", "2026-11-22T12:00:00ZZ",
		" 2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z ", "+026-11-22T12:00:00Z"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t time;

		assert_int_equal(timestamp_parse(texts[i], strlen(texts[i]), &time), -EINVAL);
	}
}

static void a_time_beyond_64_bits_is_out_of_range(void **state)
{
	static const char *const texts[] = {
		"2262-04-11T23:47:16.854775808Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t time;

		assert_int_equal(timestamp_parse(texts[i], strlen(texts[i]), &time), -ERANGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_is_written_and_read_again),
		cmocka_unit_test(other_forms_of_a_time_are_read),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(a_time_beyond_64_bits_is_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
