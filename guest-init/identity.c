// SPDX-License-Identifier: Apache-2.0
/* identity.c: users and groups of an app's root filesystem; credentials of its processes. */
#include "guest-init/identity.h"

#include "base/checked.h"
#include "base/file.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ID_MAX            (UINT32_MAX - 1)
#define DATABASE_SIZE_MAX (4u << 20)
#define CAPABILITY_MAX    63

/* A regular file of the root filesystem, whole. */
static int database_read(int root_fd, const char *path, char **ret)
{
	_cleanup_close_ int fd =
		file_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return file_read_fd(fd, DATABASE_SIZE_MAX, ret, NULL);
}

/* The third field of the line whose first field is name, in "name:x:number:..." lines. */
static int database_find(char *text, const char *name, uint32_t *ret)
{
	char *line, *lines = text;

	while ((line = strsep(&lines, "\n"))) {
		char *field = strsep(&line, ":");
		uint64_t id;

		if (!line || strcmp(field, name))
			continue;
		strsep(&line, ":");
		field = strsep(&line, ":");
		if (!field || !checked_parse_u64(field, ID_MAX, &id))
			return -EINVAL;
		*ret = (uint32_t)id;
		return 0;
	}
	return -ESRCH;
}

/* What differs between users and groups, for the resolution that is the same. */
struct id_kind {
	const char *noun, *short_noun, *database;
};

static const struct id_kind user_kind = {"user", "uid", "/etc/passwd"};
static const struct id_kind group_kind = {"group", "gid", "/etc/group"};

static int id_resolve(
	int root_fd, const struct id_kind *kind, const char *text, uint32_t *ret, struct error *err)
{
	_cleanup_free_ char *database = NULL;
	uint64_t number;
	int r;

	if (!strcmp(text, "root")) {
		*ret = 0;
		return 0;
	}
	if (text[0] == '/') {
		_cleanup_close_ int fd = file_open_in_root(root_fd, text, O_PATH | O_NOFOLLOW, 0);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			return error_set_errno(err, fd < 0 ? fd : -errno,
				"unable to get %s from file \"%s\"", kind->short_noun, text);
		*ret = kind == &user_kind ? st.st_uid : st.st_gid;
		return 0;
	}
	if (checked_parse_u64(text, ID_MAX, &number)) {
		*ret = (uint32_t)number;
		return 0;
	}
	r = database_read(root_fd, kind->database, &database);
	if (r < 0)
		return error_set_errno(
			err, r, "cannot lookup %s \"%s\": %s", kind->noun, text, kind->database);
	r = database_find(database, text, ret);
	if (r == -ESRCH)
		return error_set(err, r, "cannot lookup %s \"%s\": \"%s\" %s not found", kind->noun,
			text, text, kind->noun);
	if (r < 0)
		return error_set(err, r, "cannot lookup %s \"%s\": its line in %s has no number",
			kind->noun, text, kind->database);
	return 0;
}

int guest_user_resolve(int root_fd, const char *user, uid_t *ret_uid, struct error *err)
{
	return id_resolve(root_fd, &user_kind, user, ret_uid, err);
}

int guest_group_resolve(int root_fd, const char *group, gid_t *ret_gid, struct error *err)
{
	return id_resolve(root_fd, &group_kind, group, ret_gid, err);
}

int guest_group_of_user(
	int root_fd, const char *group, uid_t uid, gid_t *ret_gid, struct error *err)
{
	char shell[PATH_MAX];
	struct error why = {0};
	int r = guest_group_resolve(root_fd, group, ret_gid, &why);

	if (r != -ESRCH && r != -ENOENT)
		return r < 0 ? error_set(err, r, "%s", error_text(&why, r)) : 0;
	if (guest_user_describe(root_fd, uid, ret_gid, shell, sizeof(shell)) < 0)
		*ret_gid = uid;
	return 0;
}

int guest_user_describe(int root_fd, uid_t uid, gid_t *ret_gid, char *shell, size_t size)
{
	enum { NAME, PASSWORD, UID, GID, COMMENT, HOME, SHELL, FIELDS };
	_cleanup_free_ char *database = NULL;
	char *line, *lines;
	int r = database_read(root_fd, user_kind.database, &database);

	lines = database;
	while (r == 0 && (line = strsep(&lines, "\n"))) {
		char *fields[FIELDS];
		uint64_t id, group;
		size_t count = 0;

		while (count < FIELDS && line)
			fields[count++] = strsep(&line, ":");
		if (count <= GID || !checked_parse_u64(fields[UID], ID_MAX, &id) || id != uid ||
			!checked_parse_u64(fields[GID], ID_MAX, &group))
			continue;
		*ret_gid = (gid_t)group;
		if (snprintf(shell, size, "%s", count == FIELDS ? fields[SHELL] : "") >= (int)size)
			shell[0] = '\0';
		return 0;
	}
	return r < 0 ? r : -ESRCH;
}

/* #syscalls: prctl */
int guest_identity_bound(uint64_t present, uint64_t capabilities)
{
	uint64_t drop = present & ~capabilities;

	for (unsigned int i = 0; i <= CAPABILITY_MAX; i++) {
		if (!(drop >> i & 1) || prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0)
			continue;
		if (errno != EINVAL)
			return -errno;
		break; /* the kernel knows no more capabilities */
	}
	return 0;
}

/* What is so already is not asked for again. #syscalls: setgroups setresgid setresuid */
int guest_identity_assume(const struct guest_identity *identity)
{
	int r = guest_identity_bound(identity->present, identity->capabilities);

	if (r < 0)
		return r;
	/* Raw calls: the C library's set the ids of every thread that shares our memory. */
	if ((identity->supplementary_gid_count > 0 &&
		    syscall(SYS_setgroups, identity->supplementary_gid_count,
			    identity->supplementary_gids) < 0) ||
		(identity->gid != 0 &&
			syscall(SYS_setresgid, identity->gid, identity->gid, identity->gid) < 0) ||
		(identity->uid != 0 &&
			syscall(SYS_setresuid, identity->uid, identity->uid, identity->uid) < 0))
		return -errno;
	if (identity->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* #syscalls: capget capset */
int guest_identity_clear_inherited(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_setgroups, 0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
		setresuid(0, 0, 0) < 0 || syscall(SYS_capget, &header, data) < 0)
		return -errno;
	/* Ambient capabilities go with the inheritable ones that they need. */
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		data[i].inheritable = 0;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
