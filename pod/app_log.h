/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the apps of a pod have written: logs/APP/0.log in the pod's directory, in the
 * format of the Kubernetes container runtime interface, which log collectors read:
 *
 *   2026-11-22T12:00:00.123456789Z stdout F a line
 *   2026-11-22T12:00:00.123456790Z stderr P the beginning of a line, its rest comes in a later one
 *
 * The time is the host's, when the text came from the guest. A file that has grown to half of its app's bound
 * becomes 1.log in place of an older one, so the last lines are always there. Whoever writes never waits for a
 * reader; readers follow by inotify(7).
 *
 * A text is an app's: any bytes but newlines, NUL included. Functions return 0 or -errno.
 */
#ifndef APPC_POD_APP_LOG_H
#define APPC_POD_APP_LOG_H

#include "pod/pod.h"
#include "wire/wire.h"

#include <stddef.h>
#include <sys/types.h>

#define APP_LOG_DIRECTORY "logs"
#define APP_LOG_CURRENT   "0.log"
#define APP_LOG_OLD       "1.log"

/* Bytes on disk for each app. */
#define APP_LOG_SIZE_DEFAULT (16ull << 20)
#define APP_LOG_SIZE_MIN     (1ull << 20)

/* ---- by the process that runs the pod */

struct app_log {
	int directory_fd, fd; /* of logs/APP and its 0.log; -1: none */
	const char *app;      /* borrowed */
	uint64_t size, size_max;
	bool is_broken; /* it cannot be written; said once */
};
#define APP_LOG_NONE ((struct app_log){.directory_fd = -1, .fd = -1})

/* Opens the log of an app for more to be added; app lives as long. size_max is at least APP_LOG_SIZE_MIN. */
int app_log_open(const struct pod *pod, const char *app, uint64_t size_max, struct app_log *ret);
void app_log_close(struct app_log *log);

/*
 * Adds what an app wrote at once, at most WIRE_STREAM_MAX bytes. What cannot be written is left out, with one warning in all: a full disk
 * ends no pod.
 */
void app_log_write(struct app_log *log, enum wire_stream stream, const char *data, size_t length);

/* ---- by anybody who may read the pod's directory */

struct app_log_record {
	const char *app; /* borrowed of the reader */
	int64_t time;    /* nanoseconds since 1970 */
	enum wire_stream stream;
	bool is_partial;  /* the line goes on in the app's next record of this stream */
	const char *text; /* without the newline; valid until the reader is asked for more */
	size_t length;
};

/* A line of a log, without its newline. The record points into it. -EBADMSG: it is none. */
int app_log_record_parse(const char *line, size_t length, struct app_log_record *ret);

struct app_log_reader;

/* Reads the logs of one app, or of all (app NULL), those that come later included. */
int app_log_reader_open(const struct pod *pod, const char *app, struct app_log_reader **ret);
void app_log_reader_free(struct app_log_reader *reader);

/*
 * The oldest record that has not been read, of all apps: 1 and the record; 0: there is none now. What is no
 * record (a damaged file, or a line that is being written) is passed over.
 */
int app_log_read(struct app_log_reader *reader, struct app_log_record *ret);

/* Waits until there may be more, or for timeout_ms. */
int app_log_wait(struct app_log_reader *reader, int timeout_ms);

static inline void cleanup_app_log_reader(struct app_log_reader **reader)
{
	if (*reader)
		app_log_reader_free(*reader);
}
#define _cleanup_app_log_reader_ _cleanup_(cleanup_app_log_reader)

#endif
