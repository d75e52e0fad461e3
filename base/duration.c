// SPDX-License-Identifier: Apache-2.0
/* duration.c: see duration.h. */
#include "base/duration.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FRACTION_SCALE_MAX 1000000000000000000ull

/* Longer units first where one begins like another. */
static const struct {
	const char *name;
	uint64_t nanoseconds;
} units[] = {
	{"h", 3600ull * 1000000000},
	{"ms", 1000000},
	{"m", 60ull * 1000000000},
	{"s", 1000000000},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
	{"\xce\xbcs", 1000}, /* U+03BC, Greek mu */
	{"ns", 1},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int take_unit(const char **text, uint64_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t length = strlen(units[i].name);

		if (strncmp(*text, units[i].name, length))
			continue;
		*text += length;
		*ret = units[i].nanoseconds;
		return 0;
	}
	return -EINVAL;
}

/* Digits behind the point; what 18 of them say is finer than any nanosecond. */
static uint64_t fraction_of(const char *digits, uint64_t unit)
{
	unsigned __int128 numerator = 0;
	uint64_t scale = 1;

	for (; is_digit(*digits) && scale < FRACTION_SCALE_MAX; digits++, scale *= 10)
		numerator = numerator * 10 + (unsigned int)(*digits - '0');
	return (uint64_t)(numerator * unit / scale);
}

/* One number with its unit. */
static int take_term(const char **text, uint64_t *ret)
{
	const char *fraction = NULL, *at = *text;
	uint64_t whole = 0, unit;
	size_t digits = 0;
	bool fits = true;
	int r;

	for (; is_digit(*at); at++, digits++)
		fits = fits && checked_mul_u64(whole, 10, &whole) &&
			checked_add_u64(whole, (uint64_t)(*at - '0'), &whole);
	if (*at == '.') {
		fraction = ++at;
		for (; is_digit(*at); at++)
			digits++;
	}
	if (digits == 0)
		return -EINVAL;
	r = take_unit(&at, &unit);
	if (r < 0)
		return r;
	*text = at;
	if (!fits || !checked_mul_u64(whole, unit, ret))
		return -ERANGE;
	return !fraction || checked_add_u64(*ret, fraction_of(fraction, unit), ret) ? 0 : -ERANGE;
}

int duration_parse(const char *text, int64_t *ret)
{
	bool negative = *text == '-';
	uint64_t sum = 0, term;
	int r;

	if (*text == '-' || *text == '+')
		text++;
	if (!strcmp(text, "0")) {
		*ret = 0;
		return 0;
	}
	if (!*text)
		return -EINVAL;
	while (*text) {
		r = take_term(&text, &term);
		if (r < 0)
			return r;
		if (!checked_add_u64(sum, term, &sum) || sum > INT64_MAX)
			return -ERANGE;
	}
	*ret = negative ? -(int64_t)sum : (int64_t)sum;
	return 0;
}
