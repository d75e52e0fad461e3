/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved state: tagged, versioned sections in one buffer.
 *
 * Each part of a machine writes one section and reads it back. A section says its tag, the version of
 * its layout and its length; the reader takes exactly what the writer put, no more and no less. Numbers
 * are little-endian, structures are stored as they lie in memory: state goes back to the same program
 * on the same kind of host (vmm/template.h sees to that), yet it is never trusted: lengths are checked
 * and every value is checked by who restores it.
 * A writer and a reader belong to one thread each.
 */
#ifndef APPC_BASE_STATE_H
#define APPC_BASE_STATE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Tags are four characters, readable in a hex dump. */
#define STATE_TAG(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Longest state that is read or written, bytes: thousands of inodes with long paths fit. */
#define STATE_SIZE_MAX (64u << 20)

struct state_writer {
	uint8_t *data; /* the caller takes it over, or state_writer_done() frees it */
	size_t length, room;
	size_t section; /* where the open section's header is */
	int error;      /* 0 or the first -errno (-ENOMEM, -EFBIG); later calls do nothing */
};

void state_writer_done(struct state_writer *writer);

/* Sections do not nest. */
void state_begin(struct state_writer *writer, uint32_t tag, uint32_t version);
void state_end(struct state_writer *writer);

void state_put(struct state_writer *writer, const void *data, size_t length);
void state_put_u32(struct state_writer *writer, uint32_t value);
void state_put_u64(struct state_writer *writer, uint64_t value);
/* A length and that many bytes. */
void state_put_bytes(struct state_writer *writer, const void *data, size_t length);

struct state_reader {
	const uint8_t *data; /* borrowed */
	size_t length;       /* of all */
	size_t next, end;    /* inside the open section */
	int error;           /* 0 or -EBADMSG, sticky; values read after it are zero */
};

void state_reader_init(struct state_reader *reader, const void *data, size_t length);

/*
 * Opens the next section, which must have this tag and version. -EBADMSG with a message otherwise.
 */
int state_open(struct state_reader *reader, uint32_t tag, uint32_t version, struct error *err);
/* -EBADMSG with a message when a read in the section failed or something of it is left. */
int state_close(struct state_reader *reader, struct error *err);

void state_get(struct state_reader *reader, void *data, size_t length);
uint32_t state_get_u32(struct state_reader *reader);
uint64_t state_get_u64(struct state_reader *reader);
/*
 * What state_put_bytes() put, in place: *ret points into the reader's data. Its length, which is at most
 * max; 0 after an error.
 */
size_t state_get_bytes(struct state_reader *reader, size_t max, const void **ret);

#endif
