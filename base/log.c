// SPDX-License-Identifier: Apache-2.0
/* log.c: one-line messages to standard error. */
#include "base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

static enum log_level log_limit = LOG_LEVEL_INFO;
static const char *log_name = "appc-vm";
static int log_patience = -1;
static uint64_t log_lost; /* lines */

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

/* A pipe that can be written to takes PIPE_BUF bytes without blocking (pipe(7)). A VMM waits for ever. */
static bool may_write(void)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	int n;

	if (log_patience < 0)
		return true;
	do
		n = poll(&fd, 1, log_patience);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* #syscalls:vcpu,loop write */
static void write_line(const char *line, size_t length)
{
	/* Nobody is left to tell when standard error itself fails. */
	ssize_t written = write(STDERR_FILENO, line, length);

	(void)written;
}

/* Whether a line may follow. */
static bool tell_lost(void)
{
	char line[128];
	int length;

	if (log_lost == 0)
		return true;
	if (!may_write())
		return false;
	length = snprintf(line, sizeof(line),
		"%.20s: %" PRIu64 " line%s lost here, since nobody read standard error\n", log_name,
		log_lost, log_lost == 1 ? " was" : "s were");
	write_line(line, (size_t)length);
	log_lost = 0;
	return true;
}

int log_set_patience(int milliseconds)
{
	int old = log_patience;

	log_patience = milliseconds;
	tell_lost();
	return old;
}

void log_line(const char *line, size_t length)
{
	if (tell_lost() && may_write())
		write_line(line, length);
	else
		log_lost++;
}

void log_message(enum log_level level, const char *format, ...)
{
	static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
	char line[2048];
	size_t length;
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
	log_line(line, length);
}
