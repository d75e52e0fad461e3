/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership: a variable marked _cleanup_close_ and the like releases what it owns when
 * it goes out of scope, unless TAKE_FD() or TAKE_PTR() handed it on before.
 */
#ifndef APPC_BASE_CLEANUP_H
#define APPC_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function)    __attribute__((cleanup(function)))
#define _printf_(string, rest) __attribute__((format(printf, string, rest)))

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

#define _cleanup_free_     _cleanup_(cleanup_free)
#define _cleanup_close_    _cleanup_(cleanup_close)
#define _cleanup_fclose_   _cleanup_(cleanup_fclose)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir)

/* Hands the owned value to someone else; the variable no longer owns anything. */
#define TAKE_FD(fd)                \
	({                         \
		int *_fd = &(fd);  \
		int _taken = *_fd; \
		*_fd = -1;         \
		_taken;            \
	})

#define TAKE_PTR(pointer)                                   \
	({                                                  \
		__typeof__(pointer) *_pointer = &(pointer); \
		__typeof__(pointer) _taken = *_pointer;     \
		*_pointer = NULL;                           \
		_taken;                                     \
	})

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
