/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a tar archive (POSIX.1-2001 pax interchange format) that depends on nothing but what it is
 * given: equal entries in equal order make equal bytes, with every version of this program. Extended
 * headers are written only where a ustar header cannot say it.
 * A writer belongs to one thread and buffers; tar_writer_end() writes what is left.
 */
#ifndef APPC_STORE_TAR_WRITER_H
#define APPC_STORE_TAR_WRITER_H

#include "store/archive.h"

struct tar_xattr {
	const char *name;
	const void *value;
	size_t size;
};

struct tar_writer {
	int fd; /* borrowed */
	uint8_t *buffer;
	size_t used;
	uint64_t left;    /* bytes of the present entry's content that are not written yet */
	uint64_t padding; /* and the zeros after them */
	char *records;    /* the extended header being made */
	size_t records_length, records_room;
};

/* -ENOMEM. The writer must be closed all the same. */
int tar_writer_open(struct tar_writer *writer, int fd);
void tar_writer_close(struct tar_writer *writer);

/*
 * Begins an entry with entry's attributes; extended ones in the order given. path and target are
 * canonical; a directory's path gets its slash here. A file's content of entry->size bytes must
 * follow before the next call. 0 or -errno.
 */
int tar_writer_entry(struct tar_writer *writer, const struct aci_entry *entry,
	const struct tar_xattr *xattrs, size_t xattr_count);

/* The next bytes of the content. -EFBIG: more than the entry's size. data NULL: zeros. */
int tar_writer_data(struct tar_writer *writer, const void *data, uint64_t length);

/* The end of the archive. -EINVAL: content is missing. Does not sync. */
int tar_writer_end(struct tar_writer *writer);

#endif
