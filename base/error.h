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

struct error {
	char message[1024]; /* always terminated; longer messages are cut */
};

/* Sets the message and returns r, which must be negative, so that "return error_set(...)" reads. */
int error_set(struct error *err, int r, const char *format, ...) _printf_(3, 4);

/* As error_set(), with ": " and the text of errno value -r appended. */
int error_set_errno(struct error *err, int r, const char *format, ...) _printf_(3, 4);

/* Puts "prefix: " before the present message and returns r. */
int error_prefix(struct error *err, int r, const char *format, ...) _printf_(3, 4);

#endif
