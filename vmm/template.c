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
#include "vmm/template.h"

#include "base/file.h"
#include "base/json.h"
#include "vmm/machine.h"
#include "vmm/template_key.h"
#include "vmm/template_state.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define DIGESTS          "digests"
#define LOCK_SUFFIX      ".lock"
#define TEMPORARY_PREFIX ".tmp-"
#define DEAD_PREFIX      ".dead-"

#define KEY_DIGITS (TEMPLATE_KEY_SIZE - 1)
#define PREFIX_MIN 4 /* digits of a key that a person may abbreviate it to */

#define NANOSECONDS 1000000000ull

/* While another process builds. */
#define RETRY_MS 100

#define INFO_SIZE_MAX (64u << 10)

/* Levels of a parked pod's directory that are counted for its size; a guest can nest deeper. */
#define USAGE_DEPTH_MAX 32

struct templates {
	int fd;
	int digests_fd;
	bool keeps;       /* templates_keep() */
	const char *noun; /* "template" */
};

static uint64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return template_time_ns(&now);
}

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

struct name_list {
	char **names;
	size_t count;
};

static void name_list_done(struct name_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i]);
	free(list->names);
}
#define _cleanup_name_list_ _cleanup_(name_list_done)

/* All names of a directory, so that it can be changed while they are gone through. */
static int directory_list(int dirfd, struct name_list *ret)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(dirfd, ".", &directory);

	if (r < 0)
		return r;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		char **more, *name;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		more = reallocarray(ret->names, ret->count + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		ret->names = more;
		name = strdup(entry->d_name);
		if (!name)
			return -ENOMEM;
		ret->names[ret->count++] = name;
	}
	return -errno;
}

/* ---- locks */

/* The name of a key's lock file. name has room for TEMPLATE_KEY_SIZE + 8 bytes. */
static void lock_name(const char *key, char *name)
{
	snprintf(name, TEMPLATE_KEY_SIZE + 8, "%s" LOCK_SUFFIX, key);
}

/* Returns the fd of the locked file. -EAGAIN: another has it. */
static int lock_try(const struct templates *templates, const char *key)
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

static void lock_release(const struct templates *templates, const char *key, int fd)
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

static int load_failed(struct error *err, const char *key, const char *file, int r)
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

/*
 * Opens what is in directory_fd and checks all but the memory's content. -EBADMSG with a message,
 * or an error of our own with a message. ret->directory_fd is not set.
 */
static int template_load(int directory_fd, const char *key, struct template *ret,
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
		return load_failed(err, key, TEMPLATE_STATE, state_fd);
	r = file_read_fd(state_fd, TEMPLATE_STATE_SIZE_MAX, &data, &size);
	if (r < 0)
		return load_failed(err, key, TEMPLATE_STATE, r);
	r = template_state_parse(data, size, key, &state, err);
	if (r < 0)
		return r;
	memory_fd = open_file(directory_fd, "memory", &st);
	if (memory_fd < 0)
		return load_failed(err, key, "memory", memory_fd);
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

/* Takes a template's name away at once, then what it named. */
static int move_aside(const struct templates *templates, const char *name)
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
	int lock_fd = locked ? -1 : lock_try(templates, key);
	struct stat mine, there;
	bool replaced = false;

	if (!locked && lock_fd < 0)
		return false; /* who builds it takes the old one away */
	if (fstat(directory_fd, &mine) == 0 &&
		fstatat(templates->fd, key, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		replaced = mine.st_ino != there.st_ino || mine.st_dev != there.st_dev;
		if (!replaced)
			move_aside(templates, key);
	} else {
		replaced = true;
	}
	if (!locked)
		lock_release(templates, key, lock_fd);
	return replaced;
}

static int open_and_mark(const struct templates *templates, const char *key, bool locked,
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
			move_aside(templates, key);
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
	return open_and_mark(templates, key, false, ret, err);
}

/* ---- building */

static void builder_done(struct template_builder *builder)
{
	cleanup_close(&builder->memory_fd);
	cleanup_close(&builder->state_fd);
	cleanup_close(&builder->directory_fd);
	if (builder->lock_fd >= 0)
		lock_release(builder->templates, builder->key, builder->lock_fd);
	*builder = TEMPLATE_BUILDER_NONE;
}

void template_build_abort(struct template_builder *builder)
{
	if (builder->lock_fd >= 0 && *builder->name)
		directory_remove(builder->templates->fd, builder->name);
	builder_done(builder);
}
#define _cleanup_builder_ _cleanup_(template_build_abort)

/* Whether name is a directory in which key was being built. */
static bool name_is_temporary(const char *name, const char *key)
{
	return !strncmp(name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) &&
		!strncmp(name + strlen(TEMPORARY_PREFIX), key, KEY_DIGITS) &&
		name[strlen(TEMPORARY_PREFIX) + KEY_DIGITS] == '-';
}

/* What builders of this key left; the caller holds its lock. */
static int remove_temporaries(const struct templates *templates, const char *key)
{
	_cleanup_name_list_ struct name_list list = {0};
	int r = directory_list(templates->fd, &list), result = r;

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		int removed = name_is_temporary(list.names[i], key)
			? directory_remove(templates->fd, list.names[i])
			: 0;

		if (removed < 0 && result == 0)
			result = removed;
	}
	return result;
}

/* Waits for the lock. */
static int lock_wait(struct templates *templates, const char *key, bool wait,
	int (*tell)(void *context, unsigned int seconds), void *context, struct error *err)
{
	uint64_t start = clock_now(CLOCK_MONOTONIC);

	for (;;) {
		int fd = lock_try(templates, key);

		if (fd >= 0)
			return fd;
		if (fd != -EAGAIN)
			return error_set_errno(err, fd, "template %.12s: cannot lock it", key);
		if (!wait)
			return error_set(err, -EAGAIN,
				"template %.12s is being built by another process", key);
		if (tell &&
			tell(context,
				(unsigned int)((clock_now(CLOCK_MONOTONIC) - start) / NANOSECONDS)))
			return error_set(err, -ECANCELED,
				"gave up waiting for another process to build template %.12s", key);
		poll(NULL, 0, RETRY_MS);
	}
}

static int create_files(struct template_builder *builder)
{
	char prefix[sizeof(TEMPORARY_PREFIX) + TEMPLATE_KEY_SIZE];
	int r;

	snprintf(prefix, sizeof(prefix), TEMPORARY_PREFIX "%s-", builder->key);
	r = file_make_unique_name(builder->name, sizeof(builder->name), prefix);
	if (r < 0)
		return r;
	if (mkdirat(builder->templates->fd, builder->name, 0700) < 0)
		return -errno;
	builder->directory_fd = directory_open(builder->templates->fd, builder->name);
	if (builder->directory_fd < 0)
		return builder->directory_fd;
	/* Nobody has a reason to write them ever again. */
	builder->memory_fd = openat(
		builder->directory_fd, "memory", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	builder->state_fd = openat(
		builder->directory_fd, TEMPLATE_STATE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	return builder->memory_fd < 0 || builder->state_fd < 0 ? -errno : 0;
}

int template_build_begin(struct templates *templates, const char *key, bool wait,
	int (*tell)(void *context, unsigned int seconds), void *context,
	struct template_builder *ret, struct error *err)
{
	_cleanup_builder_ struct template_builder builder = TEMPLATE_BUILDER_NONE;
	struct template present = TEMPLATE_NONE;
	int r;

	if (!template_key_is_valid(key))
		return error_set(err, -EINVAL, "\"%s\" is not the key of a template", key);
	r = lock_wait(templates, key, wait, tell, context, err);
	if (r < 0)
		return r;
	builder.lock_fd = r;
	builder.templates = templates;
	memcpy(builder.key, key, sizeof(builder.key));
	r = open_and_mark(templates, key, true, &present, err);
	template_close(&present);
	if (r == 0)
		return error_set(err, -EEXIST, "there is a template %.12s already", key);
	if (r != -ENOENT && r != -EBADMSG)
		return r;
	r = remove_temporaries(templates, key);
	if (r == 0)
		r = create_files(&builder);
	if (r < 0)
		return error_set_errno(err, r, "template %.12s: cannot create its files", key);
	*ret = builder;
	builder = TEMPLATE_BUILDER_NONE;
	return 0;
}

/* JSON strings are UTF-8; what is not is left out: the key has it all. */
static void set_text(json_t *object, const char *name, const char *text)
{
	if (text)
		json_object_set_new(object, name, json_string(text));
}

static int write_info(
	const struct template_builder *builder, const struct template_subject *subject)
{
	_cleanup_json_ json_t *info = json_pack("{s:I, s:i, s:I, s:b, s:b}", "created_at",
		(json_int_t)clock_now(CLOCK_REALTIME), "vcpus", (int)subject->vcpus, "memory",
		(json_int_t)subject->memory, "shared", (int)subject->shared, "kernel_messages",
		(int)subject->kernel_messages);
	_cleanup_free_ char *text = NULL;

	if (!info)
		return -ENOMEM;
	set_text(info, "extra_command_line", subject->extra_command_line);
	set_text(info, "pod", subject->pod);
	text = json_text(info, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	return text ? file_write_atomic(builder->directory_fd, "info", text, strlen(text), 0600)
		    : -ENOMEM;
}

static int rename_into_place(const struct template_builder *builder)
{
	int dirfd = builder->templates->fd, r;

	do {
		r = directory_rename_new(dirfd, builder->name, dirfd, builder->key);
		/* A damaged one that came to light while we built, or somebody's mischief. */
		if (r == -EEXIST && (r = move_aside(builder->templates, builder->key)) == 0)
			r = -EEXIST;
	} while (r == -EEXIST || r == -ENOTEMPTY);
	return r;
}

int template_build_commit(
	struct template_builder *given, const struct template_subject *subject, struct error *err)
{
	_cleanup_builder_ struct template_builder builder = *given;
	struct template built = TEMPLATE_NONE;
	uint8_t memory_digest[SHA512_SIZE];
	int r;

	*given = TEMPLATE_BUILDER_NONE;
	r = template_load(builder.directory_fd, builder.key, &built, memory_digest, err);
	template_close(&built);
	if (r < 0)
		return r;
	r = write_info(&builder, subject);
	if (r == 0 && fsync(builder.directory_fd) < 0)
		r = -errno;
	if (r == 0)
		r = rename_into_place(&builder);
	if (r < 0)
		return error_set_errno(
			err, r, "template %.12s: cannot put it in its place", builder.key);
	*builder.name = '\0';
	/* The bounds hold without `gc`, too. That they could not be kept is not our caller's trouble. */
	if (!builder.templates->keeps)
		templates_collect(
			builder.templates, TEMPLATES_COUNT_MAX, TEMPLATES_BYTES_MAX, NULL, NULL);
	return 0;
}

/* ---- all templates */

int template_info_parse(const char *text, size_t length, struct template_info *ret)
{
	_cleanup_json_ json_t *info = NULL;
	json_t *created, *vcpus, *memory, *shared, *pod;
	struct error ignored;

	if (length > INFO_SIZE_MAX || json_parse(text, length, "info", &info, &ignored) < 0)
		return -EBADMSG;
	created = json_object_get(info, "created_at");
	vcpus = json_object_get(info, "vcpus");
	memory = json_object_get(info, "memory");
	shared = json_object_get(info, "shared");
	pod = json_object_get(info, "pod");
	if (!json_is_integer(created) || json_integer_value(created) < 0 ||
		!json_is_integer(vcpus) || json_integer_value(vcpus) < 1 ||
		json_integer_value(vcpus) > MACHINE_VCPUS_MAX || !json_is_integer(memory) ||
		json_integer_value(memory) < (json_int_t)MACHINE_MEMORY_MIN ||
		json_integer_value(memory) > (json_int_t)MACHINE_MEMORY_MAX ||
		!json_is_boolean(shared) || (pod && !json_is_string(pod)))
		return -EBADMSG;
	ret->created_at = json_integer_value(created);
	ret->vcpus = (unsigned int)json_integer_value(vcpus);
	ret->memory = (uint64_t)json_integer_value(memory);
	ret->shared = json_is_true(shared);
	ret->is_pod = pod != NULL;
	return 0;
}

/* Disk space below a directory, as far as it can be seen. */
static uint64_t directory_usage(int dirfd, unsigned int depth)
{
	_cleanup_name_list_ struct name_list list = {0};
	uint64_t sum = 0;

	if (depth > USAGE_DEPTH_MAX || directory_list(dirfd, &list) < 0)
		return 0;
	for (size_t i = 0; i < list.count; i++) {
		struct stat st;

		if (fstatat(dirfd, list.names[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		sum += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode)) {
			_cleanup_close_ int fd = directory_open(dirfd, list.names[i]);

			if (fd >= 0)
				sum += directory_usage(fd, depth + 1);
		}
	}
	return sum;
}

/* -ENOENT: it has just been removed. */
static int template_describe(
	const struct templates *templates, const char *key, struct template_info *ret)
{
	_cleanup_close_ int fd = directory_open(templates->fd, key);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t length;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (struct template_info){.used_at = (int64_t)template_time_ns(&st.st_mtim)};
	memcpy(ret->key, key, sizeof(ret->key));
	ret->bytes = directory_usage(fd, 0);
	/* It is told of, and can be removed, even if this file is damaged. */
	if (file_read(fd, "info", INFO_SIZE_MAX, &text, &length) == 0)
		template_info_parse(text, length, ret);
	return 0;
}

static int compare_use(const void *a, const void *b)
{
	const struct template_info *x = a, *y = b;

	if (x->used_at != y->used_at)
		return x->used_at > y->used_at ? -1 : 1;
	return strcmp(x->key, y->key);
}

int templates_list(struct templates *templates, struct template_info **ret, size_t *ret_count,
	struct error *err)
{
	_cleanup_name_list_ struct name_list list = {0};
	_cleanup_free_ struct template_info *infos = NULL;
	size_t count = 0;
	int r = directory_list(templates->fd, &list);

	if (r < 0)
		return error_set_errno(err, r, "cannot list the templates");
	infos = calloc(list.count + 1, sizeof(*infos));
	if (!infos)
		return error_set_errno(err, -ENOMEM, "cannot list the templates");
	for (size_t i = 0; i < list.count; i++)
		if (template_key_is_valid(list.names[i]) &&
			template_describe(templates, list.names[i], &infos[count]) == 0)
			count++;
	qsort(infos, count, sizeof(infos[0]), compare_use);
	*ret = TAKE_PTR(infos);
	*ret_count = count;
	return 0;
}

int templates_find(struct templates *templates, const char *prefix, char ret_key[TEMPLATE_KEY_SIZE],
	struct error *err)
{
	_cleanup_name_list_ struct name_list list = {0};
	const char *found = NULL;
	size_t length = strlen(prefix);
	int r;

	if (length < PREFIX_MIN || length > KEY_DIGITS ||
		strspn(prefix, "0123456789abcdef") != length)
		return error_set(err, -ENOENT,
			"\"%s\" is not the key of a %s, nor its first %d or more digits", prefix,
			templates->noun, PREFIX_MIN);
	r = directory_list(templates->fd, &list);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the templates");
	for (size_t i = 0; i < list.count; i++) {
		if (!template_key_is_valid(list.names[i]) ||
			strncmp(list.names[i], prefix, length) != 0)
			continue;
		if (found)
			return error_set(err, -EEXIST, "several %ss begin with \"%s\"",
				templates->noun, prefix);
		found = list.names[i];
	}
	if (!found)
		return error_set(err, -ENOENT, "there is no %s \"%s\"", templates->noun, prefix);
	memcpy(ret_key, found, TEMPLATE_KEY_SIZE);
	return 0;
}

int templates_remove(struct templates *templates, const char *key, struct error *err)
{
	int r = template_key_is_valid(key) ? move_aside(templates, key) : -ENOENT;

	if (r == -ENOENT)
		return error_set(err, r, "there is no %s \"%s\"", templates->noun, key);
	return r < 0 ? error_set_errno(err, r, "cannot remove template %.12s", key) : 0;
}

int templates_verify(struct templates *templates, const char *key, struct error *err)
{
	uint8_t expected[SHA512_SIZE], digest[SHA512_SIZE];
	_cleanup_(template_close) struct template template = TEMPLATE_NONE;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	fd = template_key_is_valid(key) ? directory_open(templates->fd, key) : -ENOENT;
	if (fd == -ENOENT)
		return error_set(err, fd, "there is no %s \"%s\"", templates->noun, key);
	if (fd < 0)
		return error_set_errno(err, fd, "cannot open template %.12s", key);
	r = template_load(fd, key, &template, expected, err);
	if (r < 0)
		return r;
	if (fstat(template.memory_fd, &st) < 0)
		return load_failed(err, key, "memory", -errno);
	r = template_memory_hash(template.memory_fd, (uint64_t)st.st_size, digest);
	if (r < 0)
		return load_failed(err, key, "memory", r);
	if (memcmp(digest, expected, sizeof(digest)) != 0)
		return template_damaged(err, key, "the checksum of its memory is wrong");
	return 0;
}

/* ---- collection */

/* The key in ".tmp-KEY-..." or "KEY.lock"; false for other names. */
static bool leftover_key(const char *name, char key[TEMPLATE_KEY_SIZE])
{
	const char *start = name, *suffix;

	if (!strncmp(name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)))
		start += strlen(TEMPORARY_PREFIX);
	if (strlen(start) < KEY_DIGITS)
		return false;
	memcpy(key, start, KEY_DIGITS);
	key[KEY_DIGITS] = '\0';
	suffix = start + KEY_DIGITS;
	return template_key_is_valid(key) &&
		(start == name ? !strcmp(suffix, LOCK_SUFFIX) : *suffix == '-');
}

static int collect_leftovers(const struct templates *templates)
{
	_cleanup_name_list_ struct name_list list = {0};
	int r = directory_list(templates->fd, &list), result = r;

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		const char *name = list.names[i];
		char key[TEMPLATE_KEY_SIZE];
		int removed = 0, lock_fd;

		if (!strncmp(name, DEAD_PREFIX, strlen(DEAD_PREFIX))) {
			removed = directory_remove(templates->fd, name);
		} else if (leftover_key(name, key)) {
			lock_fd = lock_try(templates, key);
			if (lock_fd < 0)
				continue;
			removed = remove_temporaries(templates, key);
			lock_release(templates, key, lock_fd);
		}
		if (removed < 0 && result == 0)
			result = removed;
	}
	return result;
}

int templates_collect(struct templates *templates, size_t count_max, uint64_t bytes_max,
	size_t *ret_removed, struct error *err)
{
	_cleanup_free_ struct template_info *infos = NULL;
	size_t count = 0, removed = 0;
	uint64_t bytes = 0;
	int result, r;

	result = collect_leftovers(templates);
	if (result == 0)
		result = template_digests_collect(templates->digests_fd);
	if (result < 0)
		error_set_errno(err, result, "cannot remove what is left of templates");
	r = templates_list(templates, &infos, &count, result < 0 ? NULL : err);
	if (r < 0)
		return result < 0 ? result : r;
	for (size_t i = 0; i < count; i++)
		bytes += infos[i].bytes;
	while (count > 0 && (count > count_max || bytes > bytes_max)) {
		count--;
		bytes -= infos[count].bytes;
		r = move_aside(templates, infos[count].key);
		if (r == 0)
			removed++;
		else if (r != -ENOENT && result == 0)
			result = error_set_errno(
				err, r, "cannot remove template %.12s", infos[count].key);
	}
	if (ret_removed)
		*ret_removed = removed;
	return result;
}
