// SPDX-License-Identifier: Apache-2.0
/* test_duration.c: durations are read as Go writes them. */
#include "base/duration.h"

#include "base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND 1000000000ll

static void durations_are_sums_of_numbers_with_units(void **state)
{
	static const struct {
		const char *text;
		int64_t nanoseconds;
	} cases[] = {
		{"0", 0},
		{"+0", 0},
		{"-0", 0},
		{"0s", 0},
		{"5s", 5 * SECOND},
		{"30m0s", 1800 * SECOND},
		{"24h0m0s", 86400 * SECOND},
		{"1h30m", 5400 * SECOND},
		{"1m1h", 3660 * SECOND},
		{"1.5s", SECOND + SECOND / 2},
		{".5h", 1800 * SECOND},
		{"5.s", 5 * SECOND},
		{"-1.5h", -5400 * SECOND},
		{"+3ms", 3000000},
		{"7us", 7000},
		{"7\xc2\xb5s", 7000},
		{"7\xce\xbcs", 7000},
		{"11ns", 11},
		{"0.9ns", 0},
		{"0.000000001s", 1},
		{"0.0000000001s", 0},
		{"0.33333333333333333333h", 1199999999999},
		{"2562047h47m16.854775807s", INT64_MAX},
		{"9223372036854775807ns", INT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t value = 77;

		if (duration_parse(cases[i].text, &value) != 0 || value != cases[i].nanoseconds)
			fail_msg("\"%s\" is %lld, expected %lld", cases[i].text, (long long)value,
				(long long)cases[i].nanoseconds);
	}
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const texts[] = {"", "3", "-", "+", "s", ".", ".s", "-.s", "+.s", "1x",
		"1.5", "1h 30m", " 1s", "1s ", "1sec", "1,5s", "0x5s", "1e3s", "--1s", "1h-30m",
		"00", "h", "1hm", "true", "5d"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t value;

		if (duration_parse(texts[i], &value) != -EINVAL)
			fail_msg("\"%s\" was taken", texts[i]);
	}
}

static void what_64_bits_do_not_hold_is_out_of_range(void **state)
{
	static const char *const texts[] = {"9223372036854775808ns", "2562047h47m16.854775808s",
		"3000000h", "99999999999999999999999999999999s", "18446744073709551616ns",
		"9223372036854775807ns1ns", "-9223372036854775808ns"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t value;

		if (duration_parse(texts[i], &value) != -ERANGE)
			fail_msg("\"%s\" was taken", texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_sums_of_numbers_with_units),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(what_64_bits_do_not_hold_is_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
