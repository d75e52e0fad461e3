/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for the person who runs the program, one line each, to standard error: warnings always,
 * progress only when standard error is wanted for it, debug lines under --debug.
 * Control characters in arguments are shown as '?', so that text from an image or a guest cannot
 * drive the terminal. Each call is one write(): lines of several threads do not mix.
 */
#ifndef APPC_BASE_LOG_H
#define APPC_BASE_LOG_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above this level are dropped. Default: LOG_LEVEL_INFO. Set before threads start. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/*
 * How long a message may wait until standard error takes it, in milliseconds; -1, the default: for ever. One that is not taken
 * is lost; how many were is said when one is taken again. For a process that others wait for while it says what a guest
 * had it say. It has one thread. Returns what it was before.
 */
int log_set_patience(int milliseconds);

/* The name before each message, "appc-vm" by default. name must live for ever. */
void log_set_name(const char *name);

void log_message(enum log_level level, const char *format, ...) _printf_(2, 3);

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A whole line, with its newline, as it is; of at most PIPE_BUF bytes. */
void log_line(const char *line, size_t length);

/* Replaces control characters in a string from outside by '?', in place. Returns the string. */
char *log_sanitise(char *text);

#endif
