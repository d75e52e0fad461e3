// SPDX-License-Identifier: Apache-2.0
/*
 * template.c: the directory of parked machines.
 *
 * Theory of operation: names do the work that a database would. A whole template is a directory
 * whose name is its key; it gets that name by one rename, and loses it by one. Whoever builds KEY
 * holds a lock on KEY.lock, so the leftovers of a killed builder are those whose lock can be had.
 * The lock file is unlinked by who holds it, just before the lock is let go; so who gets a lock
 * looks whether the file still has its name, and tries again when it has not.
 */
#include "vmm/template_parts.h"

#include "base/file.h"
#include "vmm/template_key.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define DIGESTS "digests"

/* ---- the directory */

int templates_open(int dirfd, const char *path, struct templates **ret, struct error *err)
{
	_cleanup_close_ int fd = -1, digests_fd = -1;
	struct templates *templates;
	struct stat st;
	int r;

	r = directory_create_path(dirfd, path, 0700);
	if (r < 0)
		return error_set_errno(
			err, r, "cannot create the directory of templates \"%s\"", path);
	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(
			err, -errno, "cannot open the directory of templates \"%s\"", path);
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(err, -EPERM,
			"the directory of templates \"%s\" can be written by others; pods would run "
			"what they put there",
			path);
	if (mkdirat(fd, DIGESTS, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "cannot create \"%s/" DIGESTS "\"", path);
	digests_fd = directory_open(fd, DIGESTS);
	if (digests_fd < 0)
		return error_set_errno(err, digests_fd, "cannot open \"%s/" DIGESTS "\"", path);
	templates = malloc(sizeof(*templates));
	if (!templates)
		return error_set_errno(err, -ENOMEM, "cannot open the directory of templates");
	*templates = (struct templates){
		.fd = TAKE_FD(fd), .digests_fd = TAKE_FD(digests_fd), .noun = "template"};
	*ret = templates;
	return 0;
}

void templates_keep(struct templates *templates, const char *noun)
{
	templates->keeps = true;
	templates->noun = noun;
}

void templates_close(struct templates *templates)
{
	if (!templates)
		return;
	close(templates->digests_fd);
	close(templates->fd);
	free(templates);
}

/* ---- locks */

/* The name of a key's lock file. name has room for TEMPLATE_KEY_SIZE + 8 bytes. */
static void lock_name(const char *key, char *name)
{
	snprintf(name, TEMPLATE_KEY_SIZE + 8, "%s" LOCK_SUFFIX, key);
}

int template_lock_try(const struct templates *templates, const char *key)
{
	char name[TEMPLATE_KEY_SIZE + 8];

	lock_name(key, name);
	for (;;) {
		_cleanup_close_ int fd = openat(
			templates->fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		struct stat mine, there;

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		if (fstat(fd, &mine) < 0)
			return -errno;
		/* Who had it before us may have unlinked it after we opened it. */
		if (fstatat(templates->fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
			there.st_ino == mine.st_ino && there.st_dev == mine.st_dev)
			return TAKE_FD(fd);
	}
}

void template_lock_release(const struct templates *templates, const char *key, int fd)
{
	char name[TEMPLATE_KEY_SIZE + 8];

	lock_name(key, name);
	unlinkat(templates->fd, name, 0);
	/* Not by close() alone: a child may have inherited it. */
	flock(fd, LOCK_UN);
	close(fd);
}
/* ---- keys */

int template_key(struct templates *templates, const struct template_subject *subject,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err)
{
	return template_key_compute(templates->digests_fd, subject, ret_key, err);
}

/* ---- opening */

void template_close(struct template *template)
{
	cleanup_close(&template->directory_fd);
	cleanup_close(&template->memory_fd);
	free(template->state);
	*template = TEMPLATE_NONE;
}

/* Errors of the process or the host rather than of the template. */
static bool error_is_ours(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EINTR || r == -EACCES ||
		r == -EPERM;
}

int template_load_failed(struct error *err, const char *key, const char *file, int r)
{
	return error_set_errno(err, error_is_ours(r) ? r : -EBADMSG,
		"template %.12s: cannot read its %s", key, file);
}

static int open_file(int directory_fd, const char *name, struct stat *ret)
{
	/* O_NONBLOCK: it might be a FIFO. */
	_cleanup_close_ int fd =
		openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*ret = (struct stat){0};
	if (fd < 0 || fstat(fd, ret) < 0)
		return -errno;
	return S_ISREG(ret->st_mode) ? TAKE_FD(fd) : -EBADMSG;
}

int template_load(int directory_fd, const char *key, struct template *ret,
	uint8_t ret_memory_digest[SHA512_SIZE], struct error *err)
{
	_cleanup_close_ int state_fd = -1, memory_fd = -1;
	_cleanup_free_ char *data = NULL;
	struct template_state state;
	struct stat st;
	size_t size;
	int r;

	state_fd = open_file(directory_fd, TEMPLATE_STATE, &st);
	if (state_fd < 0)
		return template_load_failed(err, key, TEMPLATE_STATE, state_fd);
	r = file_read_fd(state_fd, TEMPLATE_STATE_SIZE_MAX, &data, &size);
	if (r < 0)
		return template_load_failed(err, key, TEMPLATE_STATE, r);
	r = template_state_parse(data, size, key, &state, err);
	if (r < 0)
		return r;
	memory_fd = open_file(directory_fd, "memory", &st);
	if (memory_fd < 0)
		return template_load_failed(err, key, "memory", memory_fd);
	if ((uint64_t)st.st_size != state.memory_size)
		return template_damaged(err, key, "its memory file has another length");
	if ((uint64_t)st.st_ino != state.memory_inode ||
		template_time_ns(&st.st_mtim) != state.memory_modified ||
		template_time_ns(&st.st_ctim) != state.memory_changed)
		return template_damaged(err, key, "its memory file was changed or replaced");
	memcpy(ret_memory_digest, state.memory_digest, SHA512_SIZE);
	memmove(data, state.sections, state.sections_size);
	*ret = (struct template){
		.directory_fd = -1,
		.memory_fd = TAKE_FD(memory_fd),
		.state = TAKE_PTR(data),
		.state_size = state.sections_size,
	};
	return 0;
}

int template_move_aside(const struct templates *templates, const char *name)
{
	char dead[64];
	int r = file_make_unique_name(dead, sizeof(dead), DEAD_PREFIX);

	if (r < 0)
		return r;
	if (renameat(templates->fd, name, templates->fd, dead) < 0)
		return -errno;
	/* What cannot be removed now is templates_collect()'s. */
	directory_remove(templates->fd, dead);
	return 0;
}

/*
 * Removes a template that was found damaged, unless another process has replaced it since. locked:
 * the caller holds its lock. Returns whether KEY names another one now.
 */
static bool discard_damaged(
	const struct templates *templates, const char *key, int directory_fd, bool locked)
{
	int lock_fd = locked ? -1 : template_lock_try(templates, key);
	struct stat mine, there;
	bool replaced = false;

	if (!locked && lock_fd < 0)
		return false; /* who builds it takes the old one away */
	if (fstat(directory_fd, &mine) == 0 &&
		fstatat(templates->fd, key, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		replaced = mine.st_ino != there.st_ino || mine.st_dev != there.st_dev;
		if (!replaced)
			template_move_aside(templates, key);
	} else {
		replaced = true;
	}
	if (!locked)
		template_lock_release(templates, key, lock_fd);
	return replaced;
}

int template_open_and_mark(const struct templates *templates, const char *key, bool locked,
	struct template *ret, struct error *err)
{
	uint8_t memory_digest[SHA512_SIZE];

	for (;;) {
		_cleanup_close_ int fd =
			openat(templates->fd, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r;

		if (fd < 0 && errno == ENOENT)
			return -ENOENT;
		if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
			template_move_aside(templates, key);
			return template_damaged(err, key, "it is not a directory");
		}
		if (fd < 0)
			return error_set_errno(err, -errno, "cannot open template %.12s", key);
		r = template_load(fd, key, ret, memory_digest, err);
		if (r == -EBADMSG && !templates->keeps &&
			discard_damaged(templates, key, fd, locked))
			continue;
		if (r < 0)
			return r;
		/* When it was used last; on a read-only file system it just stays as it is. */
		futimens(fd, NULL);
		ret->directory_fd = TAKE_FD(fd);
		return 0;
	}
}

int template_open(
	struct templates *templates, const char *key, struct template *ret, struct error *err)
{
	*ret = TEMPLATE_NONE;
	if (!template_key_is_valid(key))
		return error_set(err, -EINVAL, "\"%s\" is not the key of a template", key);
	return template_open_and_mark(templates, key, false, ret, err);
}
