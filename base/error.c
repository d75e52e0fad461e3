// SPDX-License-Identifier: Apache-2.0
/* error.c: composes the one message that a failed command prints. */
#include "base/error.h"

#include <stdarg.h>
#include <string.h>

int error_set(struct error *err, int r, const char *format, ...)
{
	va_list arguments;

	if (!err)
		return r;
	va_start(arguments, format);
	vsnprintf(err->message, sizeof(err->message), format, arguments);
	va_end(arguments);
	return r;
}

int error_set_errno(struct error *err, int r, const char *format, ...)
{
	va_list arguments;
	size_t length;

	if (!err)
		return r;
	va_start(arguments, format);
	vsnprintf(err->message, sizeof(err->message), format, arguments);
	va_end(arguments);
	length = strlen(err->message);
	snprintf(err->message + length, sizeof(err->message) - length, ": %s", strerror(-r));
	return r;
}

const char *error_text(const struct error *err, int r)
{
	return *err->message ? err->message : strerror(-r);
}

bool error_is_of_host(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EIO || r == -ENOSPC ||
		r == -ELIBACC;
}

bool error_is_of_moment(int r)
{
	return r == -EAGAIN || r == -EINTR || r == -ENOBUFS || r == -ENOMEM;
}

int error_prefix(struct error *err, int r, const char *format, ...)
{
	struct error old;
	va_list arguments;
	size_t length;

	if (!err)
		return r;
	old = *err;
	va_start(arguments, format);
	vsnprintf(err->message, sizeof(err->message), format, arguments);
	va_end(arguments);
	length = strlen(err->message);
	snprintf(err->message + length, sizeof(err->message) - length, ": %s", error_text(&old, r));
	return r;
}
