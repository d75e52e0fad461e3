// SPDX-License-Identifier: Apache-2.0
/*
 * libarchive.c: libarchive, loaded when it is first needed.
 *
 * Theory of operation. libarchive needs eleven other libraries (XML, Unicode, C++, compressors). To load and
 * relocate them took more than half of the time of a command that has nothing to do with archives, and left
 * their pages in each VMM, beside code that reads what strangers wrote. So the program is not linked with it. The
 * functions that the store uses are defined here, each a call through a table. The four that make an object fill
 * the table before, and no other can be called without an object.
 *
 * Declarations are the library's own, so the compiler compares each line of the list with them.
 */
#include "store/libarchive.h"

#include "base/cleanup.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libarchive.so.13"

/* What makes an object: _(type, name) */
#define CONSTRUCTORS(_)                              \
	_(struct archive *, archive_read_new)        \
	_(struct archive *, archive_write_new)       \
	_(struct archive_entry *, archive_entry_new) \
	_(struct archive_entry_linkresolver *, archive_entry_linkresolver_new)

/* What is done with one: _(type, name, (parameters), (arguments)) */
#define FUNCTIONS(_)                                                                             \
	_(int, archive_errno, (struct archive * a), (a))                                         \
	_(const char *, archive_error_string, (struct archive * a), (a))                         \
	_(int, archive_filter_code, (struct archive * a, int filter), (a, filter))               \
	_(int, archive_filter_count, (struct archive * a), (a))                                  \
	_(int, archive_format, (struct archive * a), (a))                                        \
	_(int, archive_read_data_block,                                                          \
		(struct archive * a, const void **data, size_t *size, la_int64_t *offset),       \
		(a, data, size, offset))                                                         \
	_(int, archive_read_free, (struct archive * a), (a))                                     \
	_(la_int64_t, archive_read_header_position, (struct archive * a), (a))                   \
	_(int, archive_read_next_header, (struct archive * a, struct archive_entry * *entry),    \
		(a, entry))                                                                      \
	_(int, archive_read_open,                                                                \
		(struct archive * a, void *context, archive_open_callback *opened,               \
			archive_read_callback *read, archive_close_callback *closed),            \
		(a, context, opened, read, closed))                                              \
	_(int, archive_read_open_fd, (struct archive * a, int fd, size_t size), (a, fd, size))   \
	_(int, archive_read_support_filter_bzip2, (struct archive * a), (a))                     \
	_(int, archive_read_support_filter_gzip, (struct archive * a), (a))                      \
	_(int, archive_read_support_filter_xz, (struct archive * a), (a))                        \
	_(int, archive_read_support_filter_zstd, (struct archive * a), (a))                      \
	_(int, archive_read_support_format_empty, (struct archive * a), (a))                     \
	_(int, archive_read_support_format_raw, (struct archive * a), (a))                       \
	_(int, archive_read_support_format_tar, (struct archive * a), (a))                       \
	_(int, archive_write_close, (struct archive * a), (a))                                   \
	_(la_ssize_t, archive_write_data, (struct archive * a, const void *data, size_t size),   \
		(a, data, size))                                                                 \
	_(int, archive_write_free, (struct archive * a), (a))                                    \
	_(int, archive_write_header, (struct archive * a, struct archive_entry * entry),         \
		(a, entry))                                                                      \
	_(int, archive_write_open_fd, (struct archive * a, int fd), (a, fd))                     \
	_(int, archive_write_set_format_option,                                                  \
		(struct archive * a, const char *module, const char *option, const char *value), \
		(a, module, option, value))                                                      \
	_(int, archive_write_set_format_pax, (struct archive * a), (a))                          \
	_(struct archive_entry *, archive_entry_clear, (struct archive_entry * e), (e))          \
	_(void, archive_entry_copy_pathname, (struct archive_entry * e, const char *path),       \
		(e, path))                                                                       \
	_(void, archive_entry_copy_stat, (struct archive_entry * e, const struct stat *st),      \
		(e, st))                                                                         \
	_(void, archive_entry_copy_symlink, (struct archive_entry * e, const char *target),      \
		(e, target))                                                                     \
	_(__LA_MODE_T, archive_entry_filetype, (struct archive_entry * e), (e))                  \
	_(void, archive_entry_free, (struct archive_entry * e), (e))                             \
	_(la_int64_t, archive_entry_gid, (struct archive_entry * e), (e))                        \
	_(const char *, archive_entry_hardlink, (struct archive_entry * e), (e))                 \
	_(void, archive_entry_linkify,                                                           \
		(struct archive_entry_linkresolver * resolver, struct archive_entry * *entry,    \
			struct archive_entry * *spare),                                          \
		(resolver, entry, spare))                                                        \
	_(void, archive_entry_linkresolver_free, (struct archive_entry_linkresolver * resolver), \
		(resolver))                                                                      \
	_(void, archive_entry_linkresolver_set_strategy,                                         \
		(struct archive_entry_linkresolver * resolver, int format), (resolver, format))  \
	_(time_t, archive_entry_mtime, (struct archive_entry * e), (e))                          \
	_(int, archive_entry_mtime_is_set, (struct archive_entry * e), (e))                      \
	_(long, archive_entry_mtime_nsec, (struct archive_entry * e), (e))                       \
	_(const char *, archive_entry_pathname, (struct archive_entry * e), (e))                 \
	_(__LA_MODE_T, archive_entry_perm, (struct archive_entry * e), (e))                      \
	_(dev_t, archive_entry_rdevmajor, (struct archive_entry * e), (e))                       \
	_(dev_t, archive_entry_rdevminor, (struct archive_entry * e), (e))                       \
	_(void, archive_entry_set_dev, (struct archive_entry * e, dev_t device), (e, device))    \
	_(void, archive_entry_set_filetype, (struct archive_entry * e, unsigned int type),       \
		(e, type))                                                                       \
	_(void, archive_entry_set_ino, (struct archive_entry * e, la_int64_t ino), (e, ino))     \
	_(void, archive_entry_set_nlink, (struct archive_entry * e, unsigned int count),         \
		(e, count))                                                                      \
	_(void, archive_entry_set_perm, (struct archive_entry * e, __LA_MODE_T mode), (e, mode)) \
	_(void, archive_entry_set_size, (struct archive_entry * e, la_int64_t size), (e, size))  \
	_(la_int64_t, archive_entry_size, (struct archive_entry * e), (e))                       \
	_(void, archive_entry_sparse_add_entry,                                                  \
		(struct archive_entry * e, la_int64_t offset, la_int64_t length),                \
		(e, offset, length))                                                             \
	_(const char *, archive_entry_symlink, (struct archive_entry * e), (e))                  \
	_(la_int64_t, archive_entry_uid, (struct archive_entry * e), (e))                        \
	_(void, archive_entry_unset_atime, (struct archive_entry * e), (e))                      \
	_(void, archive_entry_unset_birthtime, (struct archive_entry * e), (e))                  \
	_(void, archive_entry_unset_ctime, (struct archive_entry * e), (e))                      \
	_(void, archive_entry_xattr_add_entry,                                                   \
		(struct archive_entry * e, const char *name, const void *value, size_t size),    \
		(e, name, value, size))                                                          \
	_(int, archive_entry_xattr_next,                                                         \
		(struct archive_entry * e, const char **name, const void **value, size_t *size), \
		(e, name, value, size))                                                          \
	_(int, archive_entry_xattr_reset, (struct archive_entry * e), (e))

#define DECLARE(type, name, ...) __typeof__(name) *name;
static struct {
	CONSTRUCTORS(DECLARE)
	FUNCTIONS(DECLARE)
	__typeof__(archive_set_error) *archive_set_error;
} library;

static bool is_loaded;
static char failure[256]; /* what the dynamic linker said */

static void library_load(void)
{
#define SYMBOL(type, name, ...) {#name, &library.name},
	static const struct {
		const char *name;
		void *function;
	} symbols[] = {CONSTRUCTORS(SYMBOL) FUNCTIONS(SYMBOL) SYMBOL(void, archive_set_error)};
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *reason;

	for (size_t i = 0; handle && i < ARRAY_SIZE(symbols); i++) {
		void *address = dlsym(handle, symbols[i].name);

		if (!address)
			handle = NULL;
		else
			memcpy(symbols[i].function, &address, sizeof(address));
	}
	is_loaded = handle;
	reason = is_loaded ? NULL : dlerror();
	if (reason)
		snprintf(failure, sizeof(failure), "%s", reason);
}

int libarchive_load(struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, library_load);
	if (is_loaded)
		return 0;
	return error_set(err, -ELIBACC, "cannot load the library that reads and writes images: %s",
		*failure ? failure : LIBRARY);
}

#define CONSTRUCT(type, name)                                             \
	type name(void)                                                   \
	{                                                                 \
		return libarchive_load(NULL) < 0 ? NULL : library.name(); \
	}
CONSTRUCTORS(CONSTRUCT)

#define FORWARD(type, name, parameters, arguments) \
	type name parameters                       \
	{                                          \
		return library.name arguments;     \
	}
FUNCTIONS(FORWARD)

void archive_set_error(struct archive *a, int number, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	library.archive_set_error(a, number, "%s", text);
}
