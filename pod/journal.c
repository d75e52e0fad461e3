// SPDX-License-Identifier: Apache-2.0
/* journal.c: see journal.h. */
#include "pod/journal.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/timestamp.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define MESSAGE_MAX 500

static const char *const names[JOURNAL_EVENTS] = {
	[JOURNAL_PREPARED] = "prepared",
	[JOURNAL_STARTED] = "started",
	[JOURNAL_APP_STARTED] = "app-started",
	[JOURNAL_READY] = "ready",
	[JOURNAL_PAUSED] = "paused",
	[JOURNAL_RESUMED] = "resumed",
	[JOURNAL_APP_EXITED] = "app-exited",
	[JOURNAL_APP_ADDED] = "app-added",
	[JOURNAL_APP_REMOVED] = "app-removed",
	[JOURNAL_SAVED] = "saved",
	[JOURNAL_EXITED] = "exited",
	[JOURNAL_GARBAGE] = "garbage",
	[JOURNAL_REMOVED] = "removed",
};

const char *journal_event_name(enum journal_event event)
{
	return names[event];
}

/* A lock belongs to the open file description, so each use has one of its own. An fd, or -errno. */
static int directory_lock(int data_fd, int operation)
{
	_cleanup_close_ int fd = directory_open(data_fd, JOURNAL_DIRECTORY);

	if (fd == -ENOENT) {
		if (mkdirat(data_fd, JOURNAL_DIRECTORY, 0750) < 0 && errno != EEXIST)
			return -errno;
		fd = directory_open(data_fd, JOURNAL_DIRECTORY);
	}
	if (fd < 0)
		return fd;
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return TAKE_FD(fd);
}

/* ---- writing */

static bool is_full(int directory_fd)
{
	struct stat st;

	return fstatat(directory_fd, JOURNAL_CURRENT, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_size > (off_t)(JOURNAL_SIZE_MAX / 2 - JOURNAL_LINE_MAX);
}

/* While others add this is for them to do, or for who comes next. */
static void rotate(int data_fd)
{
	_cleanup_close_ int fd = directory_lock(data_fd, LOCK_EX | LOCK_NB);

	if (fd >= 0 && is_full(fd))
		renameat(fd, JOURNAL_CURRENT, fd, JOURNAL_OLD);
}

/* The caller frees it. NULL: out of memory, or not for a line. */
static char *compose(const char *uuid, enum journal_event event,
	const struct journal_details *details, const char *message)
{
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *text = NULL, *shown = message ? strndup(message, MESSAGE_MAX) : NULL;
	char time[TIMESTAMP_SIZE];
	char *line;

	timestamp_format(pod_now(), time);
	object = json_pack("{s:s, s:s, s:s, s:s*}", "time", time, "event", names[event], "uuid",
		uuid, "app", details->app);
	if (object && details->exit_code >= 0)
		json_object_set_new(object, "exit_code", json_integer(details->exit_code));
	/* Lines are shown as they are, and a guest may have chosen the words. */
	if (object && shown)
		json_object_set_new(
			object, "message", json_string_lossy(log_sanitise(shown), strlen(shown)));
	text = object ? json_text(object, JSON_COMPACT) : NULL;
	if (!text || strlen(text) >= JOURNAL_LINE_MAX - 2 || asprintf(&line, "\n%s\n", text) < 0)
		return NULL;
	return line;
}

/* Whether what a crash left of a line has no end. */
static bool ends_in_line(int fd)
{
	struct stat st;
	char last;

	return fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
		last != '\n';
}

void journal_add(int data_fd, const char *uuid, enum journal_event event,
	const struct journal_details *details)
{
	_cleanup_free_ char *line = compose(uuid, event, details, details->message);
	_cleanup_close_ int directory_fd = -1, fd = -1;
	const char *text = line;
	size_t length;

	if (!line)
		return;
	directory_fd = directory_lock(data_fd, LOCK_SH);
	if (directory_fd >= 0 && is_full(directory_fd)) {
		close(directory_fd);
		rotate(data_fd);
		directory_fd = directory_lock(data_fd, LOCK_SH);
	}
	if (directory_fd >= 0)
		fd = openat(directory_fd, JOURNAL_CURRENT,
			O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd >= 0 && !ends_in_line(fd))
		text++;
	length = strlen(text);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		log_debug("the journal lacks an event of pod %s: %s", uuid, strerror(errno));
}

/* ---- reading */

int journal_record_parse(const char *line, size_t length, struct journal_record *ret)
{
	_cleanup_json_ json_t *object = NULL;
	const char *time, *event, *uuid;
	int r = json_parse(line, length, "event", &object, NULL);

	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	time = json_string_value(json_object_get(object, "time"));
	event = json_string_value(json_object_get(object, "event"));
	uuid = json_string_value(json_object_get(object, "uuid"));
	*ret = (struct journal_record){.line = line, .length = length};
	while (event && ret->event < JOURNAL_EVENTS && strcmp(event, names[ret->event]) != 0)
		ret->event++;
	return time && event && uuid && ret->event < JOURNAL_EVENTS &&
			timestamp_parse(time, strlen(time), &ret->time) == 0 &&
			appc_uuid_parse(uuid, ret->uuid, NULL) == 0
		? 0
		: -EBADMSG;
}

struct journal_reader {
	int data_fd, inotify_fd;
	int fd; /* that is being read; -1: there was none yet */
	char buffer[2 * JOURNAL_LINE_MAX];
	size_t start, length; /* of what was read and not taken */
};

static ino_t inode_of(int directory_fd, const char *name)
{
	struct stat st;

	return fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : st.st_ino;
}

/*
 * What comes behind the file that is being read, which was read to its end under the lock: while it is the current one
 * nothing. 1: there is another; 0; -errno.
 */
static int next_file(struct journal_reader *reader, int directory_fd)
{
	ino_t old = inode_of(directory_fd, JOURNAL_OLD),
	      current = inode_of(directory_fd, JOURNAL_CURRENT);
	struct stat st = {0};
	bool is_next;
	int fd;

	if (reader->fd >= 0 && fstat(reader->fd, &st) < 0)
		return -errno;
	if (current != 0 && st.st_ino == current)
		return 0;
	/* The first one, or the one after one that is gone, is the oldest that is there. */
	is_next = old == 0 || st.st_ino == old;
	if (is_next && current == 0)
		return 0;
	fd = openat(directory_fd, is_next ? JOURNAL_CURRENT : JOURNAL_OLD,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	cleanup_close(&reader->fd);
	reader->fd = fd;
	reader->start = reader->length = 0;
	return 1;
}

int journal_reader_open(int data_fd, struct journal_reader **ret)
{
	_cleanup_journal_reader_ struct journal_reader *reader = calloc(1, sizeof(*reader));
	_cleanup_close_ int directory_fd = directory_lock(data_fd, LOCK_SH);
	char path[64];

	if (directory_fd < 0)
		return directory_fd;
	if (!reader)
		return -ENOMEM;
	reader->fd = reader->inotify_fd = -1;
	reader->data_fd = fcntl(data_fd, F_DUPFD_CLOEXEC, 0);
	if (reader->data_fd < 0)
		return -errno;
	reader->inotify_fd = inotify_init1(IN_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", directory_fd);
	if (reader->inotify_fd < 0 ||
		inotify_add_watch(reader->inotify_fd, path,
			IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return -errno;
	*ret = TAKE_PTR(reader);
	return 0;
}

void journal_reader_free(struct journal_reader *reader)
{
	cleanup_close(&reader->data_fd);
	cleanup_close(&reader->inotify_fd);
	cleanup_close(&reader->fd);
	free(reader);
}

/* Reads more behind what is there. 1; 0: there is no more; -errno. */
static int fill(struct journal_reader *reader)
{
	ssize_t n;

	if (reader->fd < 0)
		return 0;
	memmove(reader->buffer, reader->buffer + reader->start, reader->length);
	reader->start = 0;
	/* No line is that long. */
	if (reader->length == sizeof(reader->buffer))
		reader->length = 0;
	do
		n = read(reader->fd, reader->buffer + reader->length,
			sizeof(reader->buffer) - reader->length);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	reader->length += (size_t)n;
	return n > 0;
}

/* The next line of what was read: true. */
static bool take_line(struct journal_reader *reader, const char **ret_line, size_t *ret_length)
{
	const char *line = reader->buffer + reader->start;
	const char *end = memchr(line, '\n', reader->length);

	if (!end)
		return false;
	*ret_line = line;
	*ret_length = (size_t)(end - line);
	reader->start += *ret_length + 1;
	reader->length -= *ret_length + 1;
	return true;
}

int journal_read(struct journal_reader *reader, struct journal_record *ret)
{
	for (;;) {
		_cleanup_close_ int directory_fd = -1;
		const char *line;
		size_t length;
		int r;

		while (take_line(reader, &line, &length))
			if (journal_record_parse(line, length, ret) == 0)
				return 1;
		r = fill(reader);
		if (r != 0) {
			if (r < 0)
				return r;
			continue;
		}
		/* With the lock a file that is not the current one any more is whole: once more, then the next. */
		directory_fd = directory_lock(reader->data_fd, LOCK_SH);
		if (directory_fd < 0)
			return directory_fd;
		r = fill(reader);
		if (r == 0)
			r = next_file(reader, directory_fd);
		if (r <= 0)
			return r;
	}
}

int journal_wait(struct journal_reader *reader)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	return read(reader->inotify_fd, events, sizeof(events)) < 0 ? -errno : 0;
}
