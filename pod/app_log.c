// SPDX-License-Identifier: Apache-2.0
/*
 * app_log.c: writes the log of an app.
 *
 * Theory of operation: a record is never split between two write() calls or two files, and a file is only
 * ever appended to, so a reader that stops at the last newline has whole records. Nothing is kept in
 * memory: the beginning of a line is a record of its own, and a process that is killed loses nothing
 * that it had read.
 */
#include "pod/app_log.h"

#include "base/file.h"
#include "base/log.h"
#include "base/timestamp.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A time, a stream, a tag, three blanks and a newline. */
#define RECORD_EXTRA (TIMESTAMP_SIZE + 12)
/* Written at once. */
#define BATCH_SIZE (64u << 10)

_Static_assert(BATCH_SIZE >= WIRE_STREAM_MAX + RECORD_EXTRA, "a batch holds a whole frame");

static int open_current(struct app_log *log)
{
	struct stat st;
	int fd = file_open_beneath(log->directory_fd, APP_LOG_CURRENT,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	cleanup_close(&log->fd);
	log->fd = fd;
	log->size = (uint64_t)st.st_size;
	return 0;
}

int app_log_open(const struct pod *pod, const char *app, uint64_t size_max, struct app_log *ret)
{
	char path[sizeof(APP_LOG_DIRECTORY) + NAME_MAX + 2];
	int r;

	*ret = APP_LOG_NONE;
	ret->app = app;
	ret->size_max = size_max;
	snprintf(path, sizeof(path), APP_LOG_DIRECTORY "/%s", app);
	r = directory_create_path(pod->fd, path, 0700);
	if (r == 0)
		r = ret->directory_fd = directory_open(pod->fd, path);
	if (r >= 0)
		r = open_current(ret);
	if (r < 0)
		app_log_close(ret);
	return r;
}

void app_log_close(struct app_log *log)
{
	cleanup_close(&log->directory_fd);
	cleanup_close(&log->fd);
	log->directory_fd = log->fd = -1;
}

static int rotate(struct app_log *log)
{
	if (renameat(log->directory_fd, APP_LOG_CURRENT, log->directory_fd, APP_LOG_OLD) < 0 &&
		errno != ENOENT)
		return -errno;
	return open_current(log);
}

static int write_batch(struct app_log *log, const char *batch, size_t length)
{
	ssize_t n;
	int r;

	if (log->size > 0 && log->size + length > log->size_max / 2) {
		r = rotate(log);
		if (r < 0)
			return r;
	}
	n = write(log->fd, batch, length);
	if (n < 0)
		return -errno;
	/* A record of which only the beginning is there would swallow the next one. */
	if ((size_t)n < length && ftruncate(log->fd, (off_t)log->size) < 0)
		return -errno;
	if ((size_t)n < length)
		return -ENOSPC;
	log->size += length;
	return 0;
}

void app_log_write(struct app_log *log, enum wire_stream stream, const char *data, size_t length)
{
	const char *name = stream == WIRE_STREAM_STDERR ? "stderr" : "stdout";
	char time[TIMESTAMP_SIZE], batch[BATCH_SIZE];
	size_t used = 0;
	int r = 0;

	if (log->fd < 0)
		return;
	timestamp_format(pod_now(), time);
	while (length > 0 && r == 0) {
		const char *newline = memchr(data, '\n', length);
		size_t piece = newline ? (size_t)(newline - data) : length;

		if (used + RECORD_EXTRA + piece > sizeof(batch)) {
			r = write_batch(log, batch, used);
			used = 0;
		}
		used += (size_t)snprintf(batch + used, sizeof(batch) - used, "%s %s %c ", time,
			name, newline ? 'F' : 'P');
		memcpy(batch + used, data, piece);
		used += piece;
		batch[used++] = '\n';
		piece += newline ? 1 : 0;
		data += piece;
		length -= piece;
	}
	if (r == 0 && used > 0)
		r = write_batch(log, batch, used);
	if (r < 0 && !log->is_broken)
		log_warning("the log of app %s is incomplete: %s", log->app, strerror(-r));
	log->is_broken |= r < 0;
}
