/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file of a template (vmm/template.h), and the digest of the memory that belongs to it.
 * Nothing that is read is trusted. template_write_state() is declared in vmm/template.h.
 */
#ifndef APPC_VMM_TEMPLATE_STATE_H
#define APPC_VMM_TEMPLATE_STATE_H

#include "base/sha512.h"
#include "base/state.h"
#include "vmm/template.h"

#include <time.h>

/* Of the whole file, bytes. */
#define TEMPLATE_STATE_FORMAT   1
#define TEMPLATE_STATE_SIZE_MAX (STATE_SIZE_MAX + 4096)

/* A state file. sections points into its data. */
struct template_state {
	uint64_t memory_inode, memory_size;
	uint64_t memory_modified, memory_changed; /* nanoseconds since 1970 */
	uint8_t memory_digest[SHA512_SIZE];       /* of its pages that are not zero */
	const void *sections;
	size_t sections_size;
};

/* -EBADMSG with a message. */
int template_state_parse(const void *data, size_t size, const char *key, struct template_state *ret,
	struct error *err);

/* A message about a damaged template. Returns -EBADMSG. */
int template_damaged(struct error *err, const char *key, const char *what);

/*
 * The digest of the pages of a memory file that are not zero, with their places: however a file
 * system stores them, holes or not, it is the same, and holes cost nothing. size is the file's.
 * -ENODATA: it was cut off meanwhile.
 */
int template_memory_hash(int fd, uint64_t size, uint8_t ret_digest[SHA512_SIZE]);

/* Whether name is a key: 64 hexadecimal digits. */
bool template_key_is_valid(const char *name);

/* Nanoseconds since 1970. Wraps around for the times that a broken file system may tell. */
static inline uint64_t template_time_ns(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000ull + (uint64_t)time->tv_nsec;
}

#endif
