// SPDX-License-Identifier: Apache-2.0
/* timestamp.c: see timestamp.h. */
#include "base/timestamp.h"

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NANOSECONDS 1000000000

void timestamp_format(int64_t nanoseconds, char *text)
{
	int64_t seconds = nanoseconds / NANOSECONDS, rest = nanoseconds % NANOSECONDS;
	size_t length;
	time_t time;
	struct tm tm;

	if (rest < 0) {
		rest += NANOSECONDS;
		seconds--;
	}
	time = (time_t)seconds;
	gmtime_r(&time, &tm);
	/* 64 bits of nanoseconds reach from 1677 to 2262: all years have four digits. */
	length = strftime(text, TIMESTAMP_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(
		text + length, TIMESTAMP_SIZE - length, ".%09uZ", (unsigned int)rest % NANOSECONDS);
}

struct cursor {
	const char *next, *end;
};

/* Takes exactly count digits. */
static bool take_number(struct cursor *cursor, size_t count, int *ret)
{
	int value = 0;

	if ((size_t)(cursor->end - cursor->next) < count)
		return false;
	for (size_t i = 0; i < count; i++, cursor->next++) {
		if (*cursor->next < '0' || *cursor->next > '9')
			return false;
		value = 10 * value + (*cursor->next - '0');
	}
	*ret = value;
	return true;
}

static bool take_character(struct cursor *cursor, const char *any_of)
{
	if (cursor->next == cursor->end || !*cursor->next || !strchr(any_of, *cursor->next))
		return false;
	cursor->next++;
	return true;
}

/* ".123", or nothing. */
static bool take_fraction(struct cursor *cursor, int64_t *ret)
{
	int64_t unit = NANOSECONDS;

	*ret = 0;
	if (!take_character(cursor, "."))
		return true;
	for (; cursor->next < cursor->end && *cursor->next >= '0' && *cursor->next <= '9';
		cursor->next++) {
		unit /= 10;
		if (unit == 0)
			return false;
		*ret += unit * (*cursor->next - '0');
	}
	return unit < NANOSECONDS;
}

/* "Z", "+01:00": seconds east of Greenwich. */
static bool take_offset(struct cursor *cursor, int64_t *ret)
{
	int hours, minutes;
	bool is_west;

	*ret = 0;
	if (take_character(cursor, "Zz"))
		return true;
	is_west = cursor->next < cursor->end && *cursor->next == '-';
	if (!take_character(cursor, "+-") || !take_number(cursor, 2, &hours) ||
		!take_character(cursor, ":") || !take_number(cursor, 2, &minutes) || hours > 23 ||
		minutes > 59)
		return false;
	*ret = (is_west ? -1ll : 1ll) * (hours * 3600ll + minutes * 60ll);
	return true;
}

int timestamp_parse(const char *text, size_t length, int64_t *ret)
{
	struct cursor cursor = {.next = text, .end = text + length};
	int64_t fraction, offset, seconds;
	struct tm tm = {0}, given;

	if (!take_number(&cursor, 4, &tm.tm_year) || !take_character(&cursor, "-") ||
		!take_number(&cursor, 2, &tm.tm_mon) || !take_character(&cursor, "-") ||
		!take_number(&cursor, 2, &tm.tm_mday) || !take_character(&cursor, "Tt ") ||
		!take_number(&cursor, 2, &tm.tm_hour) || !take_character(&cursor, ":") ||
		!take_number(&cursor, 2, &tm.tm_min) || !take_character(&cursor, ":") ||
		!take_number(&cursor, 2, &tm.tm_sec) || !take_fraction(&cursor, &fraction) ||
		!take_offset(&cursor, &offset) || cursor.next != cursor.end)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	given = tm;
	seconds = timegm(&tm);
	/* timegm() makes a day of March of the 30th of February. */
	if (tm.tm_mon != given.tm_mon || tm.tm_mday != given.tm_mday ||
		tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min ||
		tm.tm_sec != given.tm_sec)
		return -EINVAL;
	if (__builtin_sub_overflow(seconds, offset, &seconds) ||
		__builtin_mul_overflow(seconds, NANOSECONDS, &seconds) ||
		__builtin_add_overflow(seconds, fraction, ret))
		return -ERANGE;
	return 0;
}
