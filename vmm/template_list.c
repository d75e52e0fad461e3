// SPDX-License-Identifier: Apache-2.0
/* template_list.c: all templates of a directory: listed, found, checked and collected. */
#include "base/file.h"
#include "base/json.h"
#include "vmm/machine.h"
#include "vmm/template_key.h"
#include "vmm/template_parts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PREFIX_MIN 4 /* digits of a key that a person may abbreviate it to */

#define INFO_SIZE_MAX (64u << 10)

/* Levels of a parked pod's directory that are counted for its size; a guest can nest deeper. */
#define USAGE_DEPTH_MAX 32

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
	int r = template_key_is_valid(key) ? template_move_aside(templates, key) : -ENOENT;

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
		return template_load_failed(err, key, "memory", -errno);
	r = template_memory_hash(template.memory_fd, (uint64_t)st.st_size, digest);
	if (r < 0)
		return template_load_failed(err, key, "memory", r);
	if (memcmp(digest, expected, sizeof(digest)) != 0)
		return template_damaged(err, key, "the checksum of its memory is wrong");
	return 0;
}

/* ---- collection */

/* Whether name is a directory in which key was being built. */
static bool name_is_temporary(const char *name, const char *key)
{
	return !strncmp(name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) &&
		!strncmp(name + strlen(TEMPORARY_PREFIX), key, KEY_DIGITS) &&
		name[strlen(TEMPORARY_PREFIX) + KEY_DIGITS] == '-';
}

int template_remove_temporaries(const struct templates *templates, const char *key)
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
			lock_fd = template_lock_try(templates, key);
			if (lock_fd < 0)
				continue;
			removed = template_remove_temporaries(templates, key);
			template_lock_release(templates, key, lock_fd);
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
		r = template_move_aside(templates, infos[count].key);
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
