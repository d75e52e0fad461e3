/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of an app container image: what import validates and render extracts, read by the
 * same code, so that both see the same names.
 *
 * An entry returned here has a canonical path below "rootfs" (or is the manifest), an owner and a
 * device number that fit, and a type that we render. What lies between entries (duplicates, files
 * below symbolic links, links to nowhere) is the caller's affair.
 * A reader belongs to one thread.
 */
#ifndef APPC_STORE_ARCHIVE_H
#define APPC_STORE_ARCHIVE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Longest path of an entry, with its NUL; the kernel takes no longer one. */
#define ACI_PATH_SIZE 4096

enum aci_entry_type {
	ACI_DIRECTORY,
	ACI_FILE,
	ACI_SYMLINK,
	ACI_HARDLINK,
	ACI_CHARACTER_DEVICE,
	ACI_BLOCK_DEVICE,
	ACI_FIFO,
};

/* Strings belong to the reader and live until its next call. */
struct aci_entry {
	enum aci_entry_type type;
	const char *path;   /* "manifest", "rootfs" or "rootfs/...": no "." nor "..", no "//" */
	const char *target; /* ACI_HARDLINK: canonical path; ACI_SYMLINK: the text */
	uint64_t size;      /* ACI_FILE: logical size, holes included */
	mode_t mode;        /* permission bits, 07777 */
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
	dev_t device;
};

struct aci_reader;

/* What an archive is, and therefore which paths it may have. */
enum aci_reader_kind {
	ACI_READER_IMAGE, /* "manifest" and what lies in "rootfs" */
	ACI_READER_LAYER, /* of an OCI or Docker image: a root; its paths get "rootfs/" in front */
	ACI_READER_FILES, /* any names */
};

/* Gives the next piece of the uncompressed archive: its length, 0 at the end, or -errno. */
typedef ssize_t aci_read_fn(void *context, const void **ret_data);

/*
 * source names the archive in messages and must live as long as the reader. When read fails, the
 * reader's functions return its -errno and leave err to it.
 */
int aci_reader_open(enum aci_reader_kind kind, aci_read_fn *read, void *context, const char *source,
	struct aci_reader **ret, struct error *err);

/*
 * Reads an uncompressed archive of any kind in a file, from the offset to its end, skipping what nobody
 * asks for. The offset may be any entry's.
 */
int aci_reader_open_file(int fd, uint64_t offset, enum aci_reader_kind kind, const char *source,
	struct aci_reader **ret, struct error *err);

void aci_reader_close(struct aci_reader *reader);

static inline void cleanup_aci_reader(struct aci_reader **reader)
{
	if (*reader)
		aci_reader_close(*reader);
}
#define _cleanup_aci_reader_ _cleanup_(cleanup_aci_reader)

/*
 * The next entry: 1, or 0 at the end of the archive, or -errno: -EBADMSG for a damaged archive,
 * -EINVAL for an entry that an image must not have.
 */
int aci_reader_next(struct aci_reader *reader, struct aci_entry *ret, struct error *err);

/* The next piece of the present entry's content, and its offset in the file: 1, 0 or -errno. */
int aci_reader_data(struct aci_reader *reader, const void **ret_data, size_t *ret_length,
	uint64_t *ret_offset, struct error *err);

/*
 * The present entry's content, whole, and a NUL behind it that is not counted; the caller frees it. -EINVAL: it is larger
 * than max bytes.
 */
int aci_reader_read(struct aci_reader *reader, const struct aci_entry *entry, size_t max,
	char **ret_data, size_t *ret_length, struct error *err);

/*
 * Whether an image may set the extended attribute: user and trusted ones except those of overlayfs,
 * and security.capability.
 */
bool aci_xattr_is_allowed(const char *name);

/* The next allowed extended attribute of the present entry. False: no more. */
bool aci_reader_xattr(
	struct aci_reader *reader, const char **ret_name, const void **ret_value, size_t *ret_size);

/*
 * Where the present entry begins, with all its headers, from where the reader began; after the end, where
 * the end-of-archive mark does.
 */
uint64_t aci_reader_offset(struct aci_reader *reader);

#endif
