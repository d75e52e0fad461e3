// SPDX-License-Identifier: Apache-2.0
/* checked.c: numbers from text. */
#include "base/checked.h"

bool checked_parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return false;
		if (!checked_mul_u64(value, 10, &value) ||
			!checked_add_u64(value, (uint64_t)(*c - '0'), &value))
			return false;
	}
	if (value > max)
		return false;
	*ret = value;
	return true;
}
