// SPDX-License-Identifier: Apache-2.0
/*
 * app_log_reader.c: reads the logs of a pod's apps, in the order of time.
 *
 * Theory of operation: the reader of an app has one file open at a time and a window of its bytes. At the
 * end of a file that is the current one no longer, it goes on with the next: the old one, if that is not
 * the one it has just read (two rotations went by), or else the current one. So no record is read
 * twice, and one is missed only where a file was rotated away unread. An app that was removed and added again has
 * another directory, and another reader: the first one's goes on until it is at its end.
 */
#include "pod/app_log.h"

#include "base/file.h"
#include "base/timestamp.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* Longer than any record that we write. */
#define WINDOW_SIZE (32u << 10)

struct app_reader {
	char *app;
	int directory_fd, fd;
	ino_t inode; /* of fd */
	char window[WINDOW_SIZE];
	size_t start, length; /* of what is in the window and has not been given out */
	bool is_passing;      /* to the end of a line that is no record */
	bool is_gone;         /* its directory has lost its name */
	bool has_record;
	struct app_log_record record;
	size_t record_size; /* in the window, with its newline */
};

struct app_log_reader {
	int pod_fd, logs_fd, inotify_fd;
	char *only; /* this app; NULL: all */
	struct app_reader **apps;
	size_t count;
};

/* ---- one record */

int app_log_record_parse(const char *line, size_t length, struct app_log_record *ret)
{
	static const struct {
		const char *text;
		enum wire_stream stream;
	} streams[] = {{" stdout ", WIRE_STREAM_STDOUT}, {" stderr ", WIRE_STREAM_STDERR}};
	const size_t time_length = TIMESTAMP_SIZE - 1, name_length = strlen(streams[0].text);
	const size_t text_at = time_length + name_length + 2; /* the tag and its blank */

	*ret = (struct app_log_record){0};
	if (length < text_at || timestamp_parse(line, time_length, &ret->time) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		if (!memcmp(line + time_length, streams[i].text, name_length))
			ret->stream = streams[i].stream;
	if (!ret->stream || (line[text_at - 2] != 'F' && line[text_at - 2] != 'P') ||
		line[text_at - 1] != ' ')
		return -EBADMSG;
	ret->is_partial = line[text_at - 2] == 'P';
	ret->text = line + text_at;
	ret->length = length - text_at;
	return 0;
}

/* ---- one app */

static void app_reader_free(struct app_reader *app)
{
	cleanup_close(&app->directory_fd);
	cleanup_close(&app->fd);
	free(app->app);
	free(app);
}

/* Whether the named file is another than the one that is open; false where it does not exist. */
static bool is_another(const struct app_reader *app, const char *name)
{
	struct stat st;

	return fstatat(app->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		(app->fd < 0 || st.st_ino != app->inode);
}

static int open_file(struct app_reader *app, const char *name)
{
	struct stat st;
	int fd = file_open_beneath(app->directory_fd, name, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EBADMSG;
	}
	cleanup_close(&app->fd);
	app->fd = fd;
	app->inode = st.st_ino;
	app->start = app->length = 0;
	app->is_passing = false;
	return 0;
}

static bool fill_window(struct app_reader *app)
{
	ssize_t n;

	if (app->start > 0) {
		memmove(app->window, app->window + app->start, app->length);
		app->start = 0;
	}
	/* Longer than a record can be: none. */
	if (app->length == sizeof(app->window)) {
		app->length = 0;
		app->is_passing = true;
	}
	n = read(app->fd, app->window + app->length, sizeof(app->window) - app->length);
	if (n > 0)
		app->length += (size_t)n;
	return n > 0;
}

/* More of the file that is open, or of the one after it; false at the end of all. */
static bool read_on(struct app_reader *app)
{
	if (app->fd >= 0) {
		if (fill_window(app))
			return true;
		if (!is_another(app, APP_LOG_CURRENT))
			return false;
		/* It was rotated away: what came between our read and that is its end. */
		if (fill_window(app))
			return true;
	}
	if (is_another(app, APP_LOG_OLD) && open_file(app, APP_LOG_OLD) == 0)
		return true;
	return is_another(app, APP_LOG_CURRENT) && open_file(app, APP_LOG_CURRENT) == 0;
}

static void take_line(struct app_reader *app, size_t size)
{
	app->start += size;
	app->length -= size;
}

/* Makes app->record the next of this app, if there is one. */
static bool find_record(struct app_reader *app)
{
	while (!app->has_record) {
		const char *line = app->window + app->start;
		const char *newline = app->fd >= 0 ? memchr(line, '\n', app->length) : NULL;
		size_t size = newline ? (size_t)(newline + 1 - line) : 0;

		if (!newline) {
			if (!read_on(app))
				return false;
			continue;
		}
		if (!app->is_passing && app_log_record_parse(line, size - 1, &app->record) == 0) {
			app->record.app = app->app;
			app->record_size = size;
			app->has_record = true;
		} else {
			take_line(app, size);
		}
		app->is_passing = false;
	}
	return true;
}

/* ---- all apps */

static bool is_known(struct app_log_reader *reader, const char *name)
{
	struct stat named, st;

	if (fstatat(reader->logs_fd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	for (size_t i = 0; i < reader->count; i++) {
		struct app_reader *app = reader->apps[i];

		if (app->is_gone || strcmp(app->app, name) != 0)
			continue;
		if (fstat(app->directory_fd, &st) == 0 && st.st_ino == named.st_ino &&
			st.st_dev == named.st_dev)
			return true;
		app->is_gone = true;
	}
	return false;
}

/* By its fd, so that no path of the host's is needed. Before the first wait nothing is watched. */
static int watch(const struct app_log_reader *reader, int directory_fd, uint32_t events)
{
	char path[64];

	if (reader->inotify_fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", directory_fd);
	return inotify_add_watch(reader->inotify_fd, path, events) < 0 ? -errno : 0;
}

static int add_app(struct app_log_reader *reader, const char *name)
{
	struct app_reader **apps, *app;

	apps = reallocarray(reader->apps, reader->count + 1, sizeof(*apps));
	if (!apps)
		return -ENOMEM;
	reader->apps = apps;
	app = malloc(sizeof(*app));
	if (!app)
		return -ENOMEM;
	*app = (struct app_reader){.directory_fd = -1, .fd = -1};
	app->app = strdup(name);
	app->directory_fd = directory_open(reader->logs_fd, name);
	if (!app->app || app->directory_fd < 0) {
		int r = app->app ? app->directory_fd : -ENOMEM;

		app_reader_free(app);
		return r;
	}
	reader->apps[reader->count++] = app;
	return watch(reader, app->directory_fd, IN_MODIFY | IN_CREATE);
}

/* Apps whose log has appeared since. */
static int find_apps(struct app_log_reader *reader)
{
	_cleanup_closedir_ DIR *directory = NULL;
	int fd, r;

	if (reader->logs_fd < 0) {
		fd = directory_open(reader->pod_fd, APP_LOG_DIRECTORY);
		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
		reader->logs_fd = fd;
		r = watch(reader, fd, IN_CREATE);
		if (r < 0)
			return r;
	}
	r = directory_open_stream(reader->logs_fd, ".", &directory);
	for (struct dirent *entry; r == 0 && (entry = readdir(directory));) {
		if (!file_name_is_safe(entry->d_name) || is_known(reader, entry->d_name) ||
			(reader->only && strcmp(reader->only, entry->d_name)))
			continue;
		r = add_app(reader, entry->d_name);
	}
	return r;
}

int app_log_reader_open(const struct pod *pod, const char *app, struct app_log_reader **ret)
{
	_cleanup_app_log_reader_ struct app_log_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return -ENOMEM;
	reader->pod_fd = reader->logs_fd = reader->inotify_fd = -1;
	reader->pod_fd = fcntl(pod->fd, F_DUPFD_CLOEXEC, 0);
	if (reader->pod_fd < 0)
		return -errno;
	if (app) {
		reader->only = strdup(app);
		if (!reader->only)
			return -ENOMEM;
	}
	r = find_apps(reader);
	if (r == 0)
		*ret = TAKE_PTR(reader);
	return r;
}

void app_log_reader_free(struct app_log_reader *reader)
{
	for (size_t i = 0; i < reader->count; i++)
		app_reader_free(reader->apps[i]);
	free(reader->apps);
	free(reader->only);
	cleanup_close(&reader->inotify_fd);
	cleanup_close(&reader->logs_fd);
	cleanup_close(&reader->pod_fd);
	free(reader);
}

int app_log_read(struct app_log_reader *reader, struct app_log_record *ret)
{
	struct app_reader *oldest = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < reader->count; i++) {
		struct app_reader *app = reader->apps[i];

		if (!find_record(app) && app->is_gone) {
			app_reader_free(app);
			continue;
		}
		reader->apps[kept++] = app;
		if (app->has_record && (!oldest || app->record.time < oldest->record.time))
			oldest = app;
	}
	reader->count = kept;
	if (!oldest)
		return 0;
	*ret = oldest->record;
	oldest->has_record = false;
	take_line(oldest, oldest->record_size);
	return 1;
}

/* Begins to watch: what happened before is to be read first, so the caller is sent to do that. */
static int start_watching(struct app_log_reader *reader)
{
	int r;

	reader->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (reader->inotify_fd < 0)
		return -errno;
	r = watch(reader, reader->pod_fd, IN_CREATE | IN_MOVED_TO);
	if (r == 0 && reader->logs_fd >= 0)
		r = watch(reader, reader->logs_fd, IN_CREATE);
	for (size_t i = 0; r == 0 && i < reader->count; i++)
		r = watch(reader, reader->apps[i]->directory_fd, IN_MODIFY | IN_CREATE);
	return r;
}

int app_log_wait(struct app_log_reader *reader, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = reader->inotify_fd, .events = POLLIN};
	char events[4096];
	int r;

	if (reader->inotify_fd < 0) {
		r = start_watching(reader);
		return r < 0 ? r : find_apps(reader);
	}
	r = poll(&poll_fd, 1, timeout_ms) < 0 ? -errno : 0;
	if (r < 0)
		return r == -EINTR ? 0 : r;
	while (read(reader->inotify_fd, events, sizeof(events)) > 0)
		;
	return find_apps(reader);
}
