// SPDX-License-Identifier: Apache-2.0
/* environment.c: see environment.h. */
#include "guest-init/environment.h"

#include "base/file.h"

#include <fcntl.h>
#include <string.h>

/* The kernel gives a program at most a quarter of its stack, and a string of it at most 128 KiB. */
#define ENVIRONMENT_MAX (6u << 20)
#define STAT_MAX        4096
/* Fields of /proc/PID/stat, counted from 1; the second, the program's name, may hold anything. */
#define STAT_AFTER_NAME 3
#define STAT_ENV_START  50

static int process_file_open(int proc_fd, pid_t pid, const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int process_file_read(
	int proc_fd, pid_t pid, const char *name, size_t max, char **ret, size_t *ret_length)
{
	_cleanup_close_ int fd = process_file_open(proc_fd, pid, name);

	return fd < 0 ? fd : file_read_fd(fd, max, ret, ret_length);
}

static int environment_start(int proc_fd, pid_t pid, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = process_file_read(proc_fd, pid, "stat", STAT_MAX, &text, NULL);
	char *field;

	if (r < 0)
		return r;
	field = strrchr(text, ')');
	for (int i = STAT_AFTER_NAME; field && i <= STAT_ENV_START; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return -EBADMSG;
	*ret = strtoull(field, NULL, 10);
	return *ret ? 0 : -EPERM;
}

int guest_environment_find(int proc_fd, pid_t pid, const char *name, uint64_t *ret_address)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0, name_length = strlen(name);
	uint64_t start;
	int r;

	r = environment_start(proc_fd, pid, &start);
	if (r == 0)
		r = process_file_read(proc_fd, pid, "environ", ENVIRONMENT_MAX, &text, &length);
	if (r < 0)
		return r;
	for (size_t at = 0; at < length; at += strlen(text + at) + 1) {
		if (length - at < name_length || memcmp(text + at, name, name_length))
			continue;
		*ret_address = start + at;
		return 0;
	}
	return -ENOENT;
}
