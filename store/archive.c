// SPDX-License-Identifier: Apache-2.0
/* archive.c: reads the entries of an image archive and refuses those that no image may have. */
#include "store/archive.h"

#include "base/checked.h"
#include "store/libarchive.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <string.h>
#include <sys/sysmacros.h>

#define ARCHIVE_READ_SIZE (1u << 20)
#define DEVICE_MAJOR_MAX  0xfffu
#define DEVICE_MINOR_MAX  0xfffffu

/* Characters of a refused entry's name in the message. */
#define ENTRY_NAME_SHOWN_MAX 256

struct aci_reader {
	struct archive *archive;
	struct archive_entry *entry;
	enum aci_reader_kind kind;
	const char *source;
	aci_read_fn *read;
	void *context;
	int read_error; /* what read failed with, or 0 */
	/*
	 * libarchive converts names of pax headers to the thread's character set, and normalises
	 * them on the way when that is UTF-8. In the C locale it hands out the bytes as they are.
	 */
	locale_t locale;
	char path[ACI_PATH_SIZE], target[ACI_PATH_SIZE];
};

static void locale_restore(locale_t *locale)
{
	uselocale(*locale);
}
#define WITH_READER_LOCALE(reader)                       \
	__attribute__((cleanup(locale_restore), unused)) \
	locale_t old_locale = uselocale((reader)->locale)

static la_ssize_t aci_read(struct archive *archive, void *context, const void **ret_data)
{
	struct aci_reader *reader = context;
	ssize_t n = reader->read(reader->context, ret_data);

	if (n < 0) {
		reader->read_error = (int)n;
		archive_set_error(archive, (int)-n, "read failed");
		return ARCHIVE_FATAL;
	}
	return n;
}

/* Composes the message of a failed libarchive call. */
static int aci_failure(struct aci_reader *reader, struct error *err)
{
	const char *text = archive_error_string(reader->archive);
	int number = archive_errno(reader->archive);

	if (reader->read_error < 0)
		return reader->read_error;
	if (number == ENOMEM || number == EIO)
		return error_set_errno(err, -number, "%s", reader->source);
	return error_set(err, -EBADMSG, "%s: damaged archive: %s", reader->source,
		text ? text : "unknown error");
}

static int aci_reader_new(
	enum aci_reader_kind kind, const char *source, struct aci_reader **ret, struct error *err)
{
	_cleanup_aci_reader_ struct aci_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return error_set_errno(err, -ENOMEM, "%s", source);
	r = libarchive_load(err);
	if (r < 0)
		return r;
	reader->kind = kind;
	reader->source = source;
	reader->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!reader->locale)
		return error_set_errno(err, -errno, "%s: cannot make the C locale", source);
	reader->archive = archive_read_new();
	if (!reader->archive)
		return error_set_errno(err, -ENOMEM, "%s", source);
	if (archive_read_support_format_tar(reader->archive) != ARCHIVE_OK)
		return aci_failure(reader, err);
	*ret = TAKE_PTR(reader);
	return 0;
}

int aci_reader_open(enum aci_reader_kind kind, aci_read_fn *read, void *context, const char *source,
	struct aci_reader **ret, struct error *err)
{
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	int r = aci_reader_new(kind, source, &reader, err);

	if (r < 0)
		return r;
	reader->read = read;
	reader->context = context;
	WITH_READER_LOCALE(reader);
	if (archive_read_open(reader->archive, reader, NULL, aci_read, NULL) != ARCHIVE_OK)
		return aci_failure(reader, err);
	*ret = TAKE_PTR(reader);
	return 0;
}

int aci_reader_open_file(int fd, uint64_t offset, enum aci_reader_kind kind, const char *source,
	struct aci_reader **ret, struct error *err)
{
	_cleanup_aci_reader_ struct aci_reader *reader = NULL;
	int r = aci_reader_new(kind, source, &reader, err);

	if (r < 0)
		return r;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return error_set_errno(err, -errno, "%s", source);
	WITH_READER_LOCALE(reader);
	if (archive_read_open_fd(reader->archive, fd, ARCHIVE_READ_SIZE) != ARCHIVE_OK)
		return aci_failure(reader, err);
	*ret = TAKE_PTR(reader);
	return 0;
}

void aci_reader_close(struct aci_reader *reader)
{
	if (reader->archive)
		archive_read_free(reader->archive);
	if (reader->locale)
		freelocale(reader->locale);
	free(reader);
}

/*
 * Canonical form of a path in an archive. ret has room for ACI_PATH_SIZE. The root ("./") becomes
 * the empty string, that of a layer "rootfs". Absolute names in a layer begin at its root.
 */
static int aci_path_clean(enum aci_reader_kind kind, const char *path, char *ret)
{
	size_t length = 0;

	if (!*path || (*path == '/' && kind != ACI_READER_LAYER))
		return -EINVAL;
	if (kind == ACI_READER_LAYER) {
		length = strlen("rootfs");
		memcpy(ret, "rootfs", length);
	}
	while (*path) {
		size_t component = strcspn(path, "/");

		if (component == 2 && path[0] == '.' && path[1] == '.')
			return -EINVAL;
		if (component > 255)
			return -ENAMETOOLONG;
		if (component > 0 && !(component == 1 && path[0] == '.')) {
			if (length + 1 + component + 1 > ACI_PATH_SIZE)
				return -ENAMETOOLONG;
			if (length > 0)
				ret[length++] = '/';
			memcpy(ret + length, path, component);
			length += component;
		}
		path += component;
		path += *path == '/';
	}
	ret[length] = '\0';
	return 0;
}

static bool aci_path_is_below_rootfs(const char *path)
{
	return !strncmp(path, "rootfs/", strlen("rootfs/"));
}

/* A name may be longer than a message. */
static int aci_entry_refuse(
	struct aci_reader *reader, const char *path, const char *why, struct error *err)
{
	bool is_cut = strlen(path) > ENTRY_NAME_SHOWN_MAX;

	return error_set(err, -EINVAL, "%s: entry \"%.*s\"%s: %s", reader->source,
		ENTRY_NAME_SHOWN_MAX, path, is_cut ? "..." : "", why);
}

static int aci_entry_type(struct aci_reader *reader, struct aci_entry *entry, struct error *err)
{
	struct archive_entry *from = reader->entry;
	const char *hardlink = archive_entry_hardlink(from);

	if (hardlink) {
		if (aci_path_clean(reader->kind, hardlink, reader->target) < 0 ||
			(reader->kind != ACI_READER_FILES &&
				!aci_path_is_below_rootfs(reader->target)))
			return error_set(err, -EINVAL,
				"%s: entry \"%s\": hard link to \"%s\", which is not inside %s",
				reader->source, reader->path, hardlink,
				reader->kind == ACI_READER_IMAGE ? "rootfs" : "the archive");
		entry->type = ACI_HARDLINK;
		entry->target = reader->target;
		return 0;
	}
	switch (archive_entry_filetype(from)) {
	case AE_IFREG:
		entry->type = ACI_FILE;
		if (archive_entry_size(from) < 0)
			return aci_entry_refuse(reader, reader->path, "negative size", err);
		entry->size = (uint64_t)archive_entry_size(from);
		return 0;
	case AE_IFDIR:
		entry->type = ACI_DIRECTORY;
		return 0;
	case AE_IFLNK:
		entry->type = ACI_SYMLINK;
		entry->target = archive_entry_symlink(from);
		if (!entry->target || !*entry->target || strlen(entry->target) >= ACI_PATH_SIZE)
			return aci_entry_refuse(reader, reader->path,
				"symbolic link with an empty or too long target", err);
		return 0;
	case AE_IFCHR:
		entry->type = ACI_CHARACTER_DEVICE;
		break;
	case AE_IFBLK:
		entry->type = ACI_BLOCK_DEVICE;
		break;
	case AE_IFIFO:
		entry->type = ACI_FIFO;
		return 0;
	default:
		return aci_entry_refuse(reader, reader->path, "unknown type of file", err);
	}
	if ((uint64_t)archive_entry_rdevmajor(from) > DEVICE_MAJOR_MAX ||
		(uint64_t)archive_entry_rdevminor(from) > DEVICE_MINOR_MAX)
		return aci_entry_refuse(reader, reader->path, "device number out of range", err);
	entry->device = makedev((unsigned int)archive_entry_rdevmajor(from),
		(unsigned int)archive_entry_rdevminor(from));
	return 0;
}

static int aci_entry_layout(struct aci_reader *reader, struct aci_entry *entry, struct error *err)
{
	if (reader->kind == ACI_READER_FILES)
		return 0;
	if (!strcmp(reader->path, "manifest"))
		return entry->type == ACI_FILE
			? 0
			: aci_entry_refuse(reader, "manifest", "not a regular file", err);
	if (!strcmp(reader->path, "rootfs"))
		return entry->type == ACI_DIRECTORY
			? 0
			: aci_entry_refuse(reader, "rootfs", "not a directory", err);
	if (aci_path_is_below_rootfs(reader->path))
		return 0;
	return error_set(err, -EINVAL, "%s: unrecognized file path in layout: \"%s\"",
		reader->source, reader->path);
}

static int aci_entry_owner(struct aci_reader *reader, struct aci_entry *entry, struct error *err)
{
	int64_t uid = archive_entry_uid(reader->entry), gid = archive_entry_gid(reader->entry);

	/* The largest number means "leave it" to chown(). */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return aci_entry_refuse(reader, reader->path, "user or group id out of range", err);
	entry->uid = (uid_t)uid;
	entry->gid = (gid_t)gid;
	return 0;
}

/*
 * ARCHIVE_WARN means that something in the header was ignored, which could be its path. The one
 * warning that loses nothing says that a name is not ASCII.
 */
static bool warning_is_harmless(struct aci_reader *reader)
{
	const char *text = archive_error_string(reader->archive);

	return text && strstr(text, " can't be converted from ");
}

int aci_reader_next(struct aci_reader *reader, struct aci_entry *ret, struct error *err)
{
	WITH_READER_LOCALE(reader);

	for (;;) {
		struct aci_entry entry = {.path = reader->path};
		const char *path;
		int r = archive_read_next_header(reader->archive, &reader->entry);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && warning_is_harmless(reader)))
			return aci_failure(reader, err);
		path = archive_entry_pathname(reader->entry);
		if (!path)
			return error_set(err, -EBADMSG, "%s: an entry has no name", reader->source);
		r = aci_path_clean(reader->kind, path, reader->path);
		if (r < 0)
			return aci_entry_refuse(reader, path,
				r == -ENAMETOOLONG ? "name too long"
						   : "name leaves the archive's root",
				err);
		r = aci_entry_type(reader, &entry, err);
		if (r < 0)
			return r;
		if (!*reader->path && entry.type == ACI_DIRECTORY)
			continue;
		r = aci_entry_layout(reader, &entry, err);
		if (r < 0)
			return r;
		r = aci_entry_owner(reader, &entry, err);
		if (r < 0)
			return r;
		entry.mode = archive_entry_perm(reader->entry) & 07777;
		if (archive_entry_mtime_is_set(reader->entry)) {
			long nanoseconds = archive_entry_mtime_nsec(reader->entry);

			entry.mtime.tv_sec = archive_entry_mtime(reader->entry);
			if (nanoseconds >= 0 && nanoseconds < 1000000000)
				entry.mtime.tv_nsec = nanoseconds;
		}
		archive_entry_xattr_reset(reader->entry);
		*ret = entry;
		return 1;
	}
}

int aci_reader_data(struct aci_reader *reader, const void **ret_data, size_t *ret_length,
	uint64_t *ret_offset, struct error *err)
{
	WITH_READER_LOCALE(reader);
	la_int64_t offset = 0;
	int r = archive_read_data_block(reader->archive, ret_data, ret_length, &offset);

	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK)
		return aci_failure(reader, err);
	if (offset < 0)
		return error_set(err, -EBADMSG, "%s: entry \"%s\": content at a negative offset",
			reader->source, reader->path);
	*ret_offset = (uint64_t)offset;
	return 1;
}

int aci_reader_read(struct aci_reader *reader, const struct aci_entry *entry, size_t max,
	char **ret_data, size_t *ret_length, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	uint64_t offset;
	const void *data;
	size_t length;
	int r;

	if (entry->size > max)
		return error_set(err, -EINVAL, "%s: entry \"%s\": larger than %zu bytes",
			reader->source, entry->path, max);
	text = calloc(1, (size_t)entry->size + 1);
	if (!text)
		return error_set_errno(err, -ENOMEM, "%s", reader->source);
	while ((r = aci_reader_data(reader, &data, &length, &offset, err)) > 0) {
		if (!checked_range(offset, length, entry->size))
			return error_set(err, -EINVAL, "%s: entry \"%s\": content beyond its size",
				reader->source, entry->path);
		if (length > 0)
			memcpy(text + offset, data, length);
	}
	if (r < 0)
		return r;
	*ret_length = (size_t)entry->size;
	*ret_data = TAKE_PTR(text);
	return 0;
}

bool aci_xattr_is_allowed(const char *name)
{
	/* Overlayfs would take its own attributes in a lower layer for orders. */
	if (!strncmp(name, "trusted.overlay.", 16) || !strncmp(name, "user.overlay.", 13))
		return false;
	return !strncmp(name, "user.", 5) || !strncmp(name, "trusted.", 8) ||
		!strcmp(name, "security.capability");
}

bool aci_reader_xattr(
	struct aci_reader *reader, const char **ret_name, const void **ret_value, size_t *ret_size)
{
	while (archive_entry_xattr_next(reader->entry, ret_name, ret_value, ret_size) == ARCHIVE_OK)
		if (*ret_name && aci_xattr_is_allowed(*ret_name))
			return true;
	return false;
}

uint64_t aci_reader_offset(struct aci_reader *reader)
{
	la_int64_t offset = archive_read_header_position(reader->archive);

	return offset > 0 ? (uint64_t)offset : 0;
}
