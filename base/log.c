// SPDX-License-Identifier: Apache-2.0
/* log.c: one-line messages to standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <string.h>

static enum log_level log_limit = LOG_LEVEL_INFO;
static const char *log_name = "appc-vm";

void log_set_level(enum log_level level)
{
	log_limit = level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_limit;
}

void log_set_name(const char *name)
{
	log_name = name;
}

char *log_sanitise(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
			*c = '?';
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 to U+009F */
			c[0] = c[1] = '?';
	}
	return text;
}

/* #syscalls:vcpu,loop write */
void log_message(enum log_level level, const char *format, ...)
{
	static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
	char line[2048];
	size_t length;
	ssize_t written;
	va_list arguments;

	if (!log_enabled(level))
		return;
	snprintf(line, sizeof(line), "%s: %s", log_name, words[level]);
	length = strlen(line);
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	log_sanitise(line);
	length = strlen(line);
	line[length++] = '\n';
	/* Nobody is left to tell when standard error itself fails. */
	written = write(STDERR_FILENO, line, length);
	(void)written;
}
