/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds image archives in memory, well-formed and hostile ones, and a store in a temporary
 * directory to import them into. For tests only: everything is checked with assertions.
 */
#ifndef APPC_TESTS_UNIT_ACI_BUILDER_H
#define APPC_TESTS_UNIT_ACI_BUILDER_H

#include "base/file.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct aci {
	struct archive *writer;
	char *data;
	size_t length, room;
};

static inline la_ssize_t aci_write(
	struct archive *writer, void *context, const void *data, size_t length)
{
	struct aci *aci = context;

	(void)writer;
	if (aci->length + length > aci->room) {
		aci->room = (aci->length + length) * 2;
		aci->data = realloc(aci->data, aci->room);
		assert_non_null(aci->data);
	}
	memcpy(aci->data + aci->length, data, length);
	aci->length += length;
	return (la_ssize_t)length;
}

/* filter is an ARCHIVE_FILTER_ constant. */
static inline void aci_begin(struct aci *aci, int filter)
{
	*aci = (struct aci){.writer = archive_write_new()};
	assert_non_null(aci->writer);
	assert_int_equal(archive_write_set_format_pax_restricted(aci->writer), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter(aci->writer, filter), ARCHIVE_OK);
	/* Else the compressed file would be padded, not the archive inside. */
	assert_int_equal(archive_write_set_bytes_in_last_block(aci->writer, 1), ARCHIVE_OK);
	assert_int_equal(archive_write_open(aci->writer, aci, NULL, aci_write, NULL), ARCHIVE_OK);
}

static inline void aci_put(
	struct aci *aci, struct archive_entry *entry, const void *content, size_t length)
{
	if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_size_is_set(entry))
		archive_entry_set_size(entry, (la_int64_t)length);
	assert_in_range(archive_write_header(aci->writer, entry) - ARCHIVE_WARN, 0, -ARCHIVE_WARN);
	if (length > 0)
		assert_int_equal(archive_write_data(aci->writer, content, length), length);
	archive_entry_free(entry);
}

static inline struct archive_entry *aci_entry_make(const char *name, unsigned int type, mode_t mode)
{
	struct archive_entry *entry = archive_entry_new();

	assert_non_null(entry);
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, mode);
	archive_entry_set_uid(entry, getuid());
	archive_entry_set_gid(entry, getgid());
	archive_entry_set_mtime(entry, 1000000000, 0);
	return entry;
}

static inline void aci_file(struct aci *aci, const char *name, mode_t mode, const char *content)
{
	aci_put(aci, aci_entry_make(name, AE_IFREG, mode), content, strlen(content));
}

static inline void aci_directory(struct aci *aci, const char *name, mode_t mode)
{
	aci_put(aci, aci_entry_make(name, AE_IFDIR, mode), NULL, 0);
}

static inline void aci_symlink(struct aci *aci, const char *name, const char *target)
{
	struct archive_entry *entry = aci_entry_make(name, AE_IFLNK, 0777);

	archive_entry_set_symlink(entry, target);
	aci_put(aci, entry, NULL, 0);
}

static inline void aci_hardlink(struct aci *aci, const char *name, const char *target)
{
	struct archive_entry *entry = aci_entry_make(name, AE_IFREG, 0644);

	archive_entry_set_hardlink(entry, target);
	archive_entry_set_size(entry, 0);
	aci_put(aci, entry, NULL, 0);
}

/* A manifest of that name; more is JSON to add after it, beginning with a comma, or "". */
static inline void aci_manifest(struct aci *aci, const char *name, const char *more)
{
	char text[4096];

	snprintf(text, sizeof(text),
		"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"%s\"%s}", name,
		more);
	aci_file(aci, "manifest", 0644, text);
}

static inline void aci_end(struct aci *aci)
{
	assert_int_equal(archive_write_close(aci->writer), ARCHIVE_OK);
	archive_write_free(aci->writer);
	aci->writer = NULL;
}

static inline void aci_free(struct aci *aci)
{
	free(aci->data);
	*aci = (struct aci){0};
}

/* A file descriptor at the beginning of the bytes. */
static inline int bytes_open(const void *data, size_t length)
{
	int fd = memfd_create("aci", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, length), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static inline int import_bytes(struct store *store, const void *data, size_t length,
	const struct store_import_options *options, char *ret_id, struct error *err)
{
	_cleanup_close_ int fd = bytes_open(data, length);

	return store_import(store, fd, "test.aci", options, ret_id, err);
}

/* ---- a store to try things on */

struct fixture {
	char path[64];
	int dirfd;
	struct store *store;
};

static inline int fixture_set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct error err = {0};

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-store-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_true(fixture->dirfd >= 0);
	if (store_open(fixture->dirfd, &fixture->store, &err) < 0)
		fail_msg("%s", err.message);
	*state = fixture;
	return 0;
}

static inline int fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

/* The number of entries of a directory of the store. */
static inline size_t fixture_count(const struct fixture *fixture, const char *name)
{
	_cleanup_closedir_ DIR *directory = fdopendir(directory_open(fixture->dirfd, name));
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		count += entry->d_name[0] != '.';
	return count;
}

static inline void import_aci(struct fixture *fixture, struct aci *aci, char *ret_id)
{
	struct error err = {0};

	aci_end(aci);
	if (import_bytes(fixture->store, aci->data, aci->length, NULL, ret_id, &err) < 0)
		fail_msg("%s", err.message);
	aci_free(aci);
}

#endif
