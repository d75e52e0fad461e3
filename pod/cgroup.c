// SPDX-License-Identifier: Apache-2.0
/* cgroup.c: clears away what a killed container left in the cgroup hierarchy. */
#include "pod/cgroup.h"

#include "base/file.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/syscall.h>

#define OWN_CGROUP_MAX 65536

int pod_cgroup_path(const char *uuid, char *path, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	int n, r;

	r = file_read(AT_FDCWD, "/proc/self/cgroup", OWN_CGROUP_MAX, &text, NULL);
	if (r < 0)
		return r;
	/* cgroups(7): the line of version 2 is "0::PATH". */
	line = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/') + 1;
	n = snprintf(path, size, "%.*s/appc-%s", (int)strcspn(line, "\n"), line, uuid);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The root of the hierarchy, wherever and whether it is mounted. */
static int open_hierarchy(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

void pod_cgroup_remove(const char *path)
{
	_cleanup_close_ int root = open_hierarchy(), fd = -1;
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;

	while (*path == '/')
		path++;
	if (root < 0)
		return;
	fd = file_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return;
	directory = fdopendir(fd);
	if (!directory)
		return;
	TAKE_FD(fd); /* the stream closes it */
	while ((entry = readdir(directory)))
		if (entry->d_type == DT_DIR && file_name_is_safe(entry->d_name))
			unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
	unlinkat(root, path, AT_REMOVEDIR);
}
