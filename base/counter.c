// SPDX-License-Identifier: Apache-2.0
/* counter.c: see counter.h. */
#include "base/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool counter_take(const char **text, uint64_t *ret)
{
	uint64_t value;
	char *end;

	*text += strspn(*text, " \t");
	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	value = strtoull(*text, &end, 10);
	if (errno || value > INT64_MAX)
		return false;
	*text = end;
	*ret = value;
	return true;
}

bool counter_find(const char *text, const char *key, uint64_t *ret)
{
	size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *at;

		line += *line == '\n';
		if (strncmp(line, key, length) != 0)
			continue;
		at = line + length;
		if ((*at == ' ' || *at == '\t') && counter_take(&at, ret))
			return true;
	}
	return false;
}
