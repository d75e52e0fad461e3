/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that carry a message for a person.
 *
 * A function returns 0 or -errno. One that knows enough to explain the failure also takes a
 * struct error *, and fills it with one sentence that names the file, field or app, what was found
 * and what was expected. The message is composed once, where the context is known, and printed once,
 * by the program's main function. Callers may put words in front of it (error_prefix()).
 * A struct error is plain memory: no ownership, any thread, nothing to free. err may be NULL.
 */
#ifndef APPC_BASE_ERROR_H
#define APPC_BASE_ERROR_H

#include "base/cleanup.h"

#include <stdbool.h>

struct error {
	char message[1024]; /* always terminated; longer messages are cut */
};

/* Sets the message and returns r, which must be negative, so that "return error_set(...)" reads. */
int error_set(struct error *err, int r, const char *format, ...) _printf_(3, 4);

/* As error_set(), with ": " and the text of errno value -r appended. */
int error_set_errno(struct error *err, int r, const char *format, ...) _printf_(3, 4);

/* The message, or the text of errno value -r: lack of memory says nothing of itself. */
const char *error_text(const struct error *err, int r);

/*
 * Whether -errno value r tells of the machine's state and not of what was looked at, which then may be
 * whole: too little memory, too few fds, a disk that fails, a library that is not there.
 */
bool error_is_of_host(int r);

/* Whether a write or send that failed with -errno value r may go on later: the other end has no room now, or the kernel. */
bool error_is_of_moment(int r);

/* Puts "prefix: " before the present message, as error_text() gives it, and returns r. */
int error_prefix(struct error *err, int r, const char *format, ...) _printf_(3, 4);

#endif
