// SPDX-License-Identifier: Apache-2.0
/* buffer.c: memory that grows with what is put into it. */
#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>

int buffer_reserve(char **buffer, size_t *room, size_t length, size_t more, size_t least)
{
	size_t size = *room ? *room : least;
	char *grown;

	while (size - length < more)
		size *= 2;
	if (size == *room)
		return 0;
	grown = realloc(*buffer, size);
	if (!grown)
		return -ENOMEM;
	*buffer = grown;
	*room = size;
	return 0;
}
