// SPDX-License-Identifier: Apache-2.0
/* template_build.c: a template in the making, from the lock of its key to the rename that makes it one. */
#include "base/file.h"
#include "base/json.h"
#include "vmm/template_parts.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NANOSECONDS 1000000000ull

/* While another process builds. */
#define RETRY_MS 100

static uint64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return template_time_ns(&now);
}

static void builder_done(struct template_builder *builder)
{
	cleanup_close(&builder->memory_fd);
	cleanup_close(&builder->state_fd);
	cleanup_close(&builder->directory_fd);
	if (builder->lock_fd >= 0)
		template_lock_release(builder->templates, builder->key, builder->lock_fd);
	*builder = TEMPLATE_BUILDER_NONE;
}

void template_build_abort(struct template_builder *builder)
{
	if (builder->lock_fd >= 0 && *builder->name)
		directory_remove(builder->templates->fd, builder->name);
	builder_done(builder);
}
#define _cleanup_builder_ _cleanup_(template_build_abort)

/* Waits for the lock. */
static int lock_wait(struct templates *templates, const char *key, bool wait,
	int (*tell)(void *context, unsigned int seconds), void *context, struct error *err)
{
	uint64_t start = clock_now(CLOCK_MONOTONIC);

	for (;;) {
		int fd = template_lock_try(templates, key);

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
	r = template_open_and_mark(templates, key, true, &present, err);
	template_close(&present);
	if (r == 0)
		return error_set(err, -EEXIST, "there is a template %.12s already", key);
	if (r != -ENOENT && r != -EBADMSG)
		return r;
	r = template_remove_temporaries(templates, key);
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
		if (r == -EEXIST &&
			(r = template_move_aside(builder->templates, builder->key)) == 0)
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
