// SPDX-License-Identifier: Apache-2.0
/* sysctl.c: see sysctl.h. */
#include "base/sysctl.h"

#include "base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Every component is a name, so that the path stays below /proc/sys. */
static bool path_is_valid(const char *path)
{
	for (const char *c = path;; c++) {
		size_t length = strcspn(c, "/");

		if (length == 0 || length > NAME_MAX || (length == 1 && c[0] == '.') ||
			(length == 2 && c[0] == '.' && c[1] == '.'))
			return false;
		c += length;
		if (!*c)
			return true;
	}
}

int sysctl_path(const char *name, char **ret)
{
	_cleanup_free_ char *path = strdup(name);
	size_t first = strcspn(name, "./");

	if (!path)
		return -ENOMEM;
	for (char *c = path; *c && name[first] == '.'; c++)
		if (*c == '.' || *c == '/')
			*c = *c == '.' ? '/' : '.';
	if (!path_is_valid(path))
		return -EINVAL;
	*ret = TAKE_PTR(path);
	return 0;
}
