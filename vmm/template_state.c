// SPDX-License-Identifier: Apache-2.0
/*
 * template_state.c: state files.
 *
 * The checksum finds accidents. It does not stop an attacker, who would have to be root, or the
 * owner of the directory, anyway; yet the sections come out of a process that a guest had its hands
 * on, and who restores them checks every value.
 */
#include "vmm/template_state.h"

#include "base/file.h"

#include <string.h>
#include <sys/stat.h>

#define STATE_MAGIC "APPCTMPL"

#define PAGE_SIZE  4096u
#define CHUNK_SIZE (1u << 20) /* of files that are read to be hashed; whole pages */

/* Numbers lie as they do in memory: the state goes back to the same kind of host. */
struct state_header {
	char magic[8];
	uint32_t format, header_size;
	char key[TEMPLATE_KEY_SIZE - 1];
	uint64_t sections_size;
	uint64_t memory_inode, memory_size, memory_modified, memory_changed;
	uint8_t memory_digest[SHA512_SIZE];
};
_Static_assert(sizeof(struct state_header) == 8 + 8 + 64 + 5 * 8 + 64, "no padding");

bool template_key_is_valid(const char *name)
{
	return strlen(name) == TEMPLATE_KEY_SIZE - 1 &&
		strspn(name, "0123456789abcdef") == TEMPLATE_KEY_SIZE - 1;
}

/* ---- memory files */

static bool page_is_zero(const uint8_t page[PAGE_SIZE])
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE - 1) == 0;
}

/* #syscalls:park lseek(_, _, SEEK_DATA) pread64 */
int template_memory_hash(int fd, uint64_t size, uint8_t ret_digest[SHA512_SIZE])
{
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK_SIZE);
	struct sha512 sha;

	if (!chunk)
		return -ENOMEM;
	sha512_init(&sha);
	for (uint64_t offset = 0; offset < size;) {
		off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
		size_t length, padded;
		int r;

		if (data < 0 && errno == ENXIO)
			break;
		/* -EINVAL: this file system cannot tell; then all of it is data. */
		if (data < 0 && errno != EINVAL)
			return -errno;
		if (data > (off_t)offset)
			offset = (uint64_t)data / PAGE_SIZE * PAGE_SIZE;
		if (offset >= size)
			break;
		length = size - offset < CHUNK_SIZE ? (size_t)(size - offset) : CHUNK_SIZE;
		r = file_read_exactly(fd, chunk, length, offset);
		if (r < 0)
			return r;
		padded = (length + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
		memset(chunk + length, 0, padded - length);
		for (size_t page = 0; page < padded; page += PAGE_SIZE) {
			uint64_t place = offset + page;

			if (page_is_zero(chunk + page))
				continue;
			sha512_update(&sha, &place, sizeof(place));
			sha512_update(&sha, chunk + page, PAGE_SIZE);
		}
		offset += padded;
	}
	sha512_update(&sha, &size, sizeof(size));
	sha512_final(&sha, ret_digest);
	return 0;
}

/* ---- state files */

int template_damaged(struct error *err, const char *key, const char *what)
{
	return error_set(err, -EBADMSG, "template %.12s is damaged: %s", key, what);
}

int template_state_parse(const void *data, size_t size, const char *key, struct template_state *ret,
	struct error *err)
{
	const uint8_t *bytes = data;
	uint8_t digest[SHA512_SIZE];
	struct state_header header;
	struct sha512 sha;

	if (size < sizeof(header) + sizeof(digest))
		return template_damaged(err, key, "its state file is cut off");
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.magic, STATE_MAGIC, sizeof(header.magic)) != 0)
		return template_damaged(err, key, "its state file is something else");
	if (header.format != TEMPLATE_STATE_FORMAT || header.header_size != sizeof(header))
		return template_damaged(err, key, "its state file is of another version");
	if (header.sections_size > STATE_SIZE_MAX ||
		size != sizeof(header) + header.sections_size + sizeof(digest))
		return template_damaged(err, key, "its state file has another length than it says");
	sha512_init(&sha);
	sha512_update(&sha, bytes, size - sizeof(digest));
	sha512_final(&sha, digest);
	if (memcmp(digest, bytes + size - sizeof(digest), sizeof(digest)) != 0)
		return template_damaged(err, key, "the checksum of its state file is wrong");
	if (!template_key_is_valid(key) || memcmp(header.key, key, TEMPLATE_KEY_SIZE - 1) != 0)
		return template_damaged(err, key, "its state file belongs to another template");
	*ret = (struct template_state){
		.memory_inode = header.memory_inode,
		.memory_size = header.memory_size,
		.memory_modified = header.memory_modified,
		.memory_changed = header.memory_changed,
		.sections = bytes + sizeof(header),
		.sections_size = (size_t)header.sections_size,
	};
	memcpy(ret->memory_digest, header.memory_digest, sizeof(ret->memory_digest));
	return 0;
}

/* #syscalls:park fsync newfstatat(_, _, _, AT_EMPTY_PATH) lseek(_, _, SEEK_SET) ftruncate write */
int template_write_state(int state_fd, int memory_fd, const char *key, const void *state,
	size_t state_size, struct error *err)
{
	struct state_header header = {
		.magic = STATE_MAGIC,
		.format = TEMPLATE_STATE_FORMAT,
		.header_size = sizeof(header),
		.sections_size = state_size,
	};
	uint8_t digest[SHA512_SIZE];
	struct sha512 sha;
	struct stat st;
	int r;

	if (!template_key_is_valid(key) || state_size > STATE_SIZE_MAX)
		return error_set(
			err, -EINVAL, "template %.12s: a state of %zu bytes", key, state_size);
	/* What is written back later could change the times that we are about to write down. */
	if (fsync(memory_fd) < 0 || fstat(memory_fd, &st) < 0)
		return error_set_errno(err, -errno, "template %.12s: cannot write its memory", key);
	memcpy(header.key, key, sizeof(header.key));
	header.memory_inode = (uint64_t)st.st_ino;
	header.memory_size = (uint64_t)st.st_size;
	header.memory_modified = template_time_ns(&st.st_mtim);
	header.memory_changed = template_time_ns(&st.st_ctim);
	r = template_memory_hash(memory_fd, header.memory_size, header.memory_digest);
	if (r < 0)
		return error_set_errno(err, r, "template %.12s: cannot read its memory", key);
	sha512_init(&sha);
	sha512_update(&sha, &header, sizeof(header));
	sha512_update(&sha, state, state_size);
	sha512_final(&sha, digest);
	if (lseek(state_fd, 0, SEEK_SET) < 0 || ftruncate(state_fd, 0) < 0)
		r = -errno;
	if (r == 0)
		r = file_write_all(state_fd, &header, sizeof(header));
	if (r == 0)
		r = file_write_all(state_fd, state, state_size);
	if (r == 0)
		r = file_write_all(state_fd, digest, sizeof(digest));
	if (r == 0 && fsync(state_fd) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "template %.12s: cannot write its state", key) : 0;
}
