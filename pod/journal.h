/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has happened to pods: a journal in the data directory that all processes add to, whatever becomes of them and of
 * the pods. A line is a JSON object:
 *
 *   {"time": "2026-11-22T12:00:00.123456789Z", "event": "app-exited", "uuid": UUID, "app": NAME, "exit_code": 7}
 *
 * "message" says why, where an app or a pod did not end by itself. Lines are whole: each is written by one call.
 * events/0.log is written to; at half of JOURNAL_SIZE_MAX it becomes events/1.log in place of an older one. A crash of
 * the host may take the last lines, and what it leaves of one is passed over.
 *
 * Who adds does so under a shared lock of the directory, who moves the file under an exclusive one: once it has another
 * name nothing is added to it. Functions return 0 or -errno.
 */
#ifndef APPC_POD_JOURNAL_H
#define APPC_POD_JOURNAL_H

#include "pod/pod.h"

#define JOURNAL_DIRECTORY "events"
#define JOURNAL_CURRENT   "0.log"
#define JOURNAL_OLD       "1.log"

/* Bytes on disk; of one line with its newline. */
#define JOURNAL_SIZE_MAX (2u << 20)
#define JOURNAL_LINE_MAX 4096u

enum journal_event {
	JOURNAL_PREPARED,
	JOURNAL_STARTED, /* the pod is about to run */
	JOURNAL_APP_STARTED,
	JOURNAL_READY, /* all its apps have started */
	JOURNAL_PAUSED,
	JOURNAL_RESUMED,
	JOURNAL_APP_EXITED,
	JOURNAL_APP_ADDED, /* to a pod whose apps come and go */
	JOURNAL_APP_REMOVED,
	JOURNAL_SAVED, /* in a checkpoint */
	JOURNAL_EXITED,
	JOURNAL_GARBAGE, /* it can only be removed now */
	JOURNAL_REMOVED,
	JOURNAL_EVENTS,
};

/* "app-exited". */
const char *journal_event_name(enum journal_event event);

/* What more there is to say. */
struct journal_details {
	const char *app;     /* NULL: it is about the pod */
	int exit_code;       /* -1: none */
	const char *message; /* NULL: none; cut where it is too long for a line */
};
#define JOURNAL_NO_DETAILS (&(struct journal_details){.exit_code = -1})

/*
 * Adds an event that happens now. What cannot be written is left out: a full disk ends no pod. data_fd is the data
 * directory.
 */
void journal_add(int data_fd, const char *uuid, enum journal_event event,
	const struct journal_details *details);

struct journal_record {
	int64_t time; /* nanoseconds since 1970 */
	enum journal_event event;
	char uuid[POD_UUID_SIZE];
	const char *
		line; /* as it is in the journal, without the newline; valid until the reader is asked for more */
	size_t length;
};

/* -EBADMSG: it is no line of a journal; -ENOMEM. The record points into it. */
int journal_record_parse(const char *line, size_t length, struct journal_record *ret);

struct journal_reader;

/* Begins with the oldest line. */
int journal_reader_open(int data_fd, struct journal_reader **ret);
void journal_reader_free(struct journal_reader *reader);

/* The next record: 1; 0: there is none now. */
int journal_read(struct journal_reader *reader, struct journal_record *ret);

/* Waits until there may be more. 0, or -EINTR and others. */
int journal_wait(struct journal_reader *reader);

static inline void cleanup_journal_reader(struct journal_reader **reader)
{
	if (*reader)
		journal_reader_free(*reader);
}
#define _cleanup_journal_reader_ _cleanup_(cleanup_journal_reader)

#endif
