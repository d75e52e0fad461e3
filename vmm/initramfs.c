// SPDX-License-Identifier: Apache-2.0
/* initramfs.c: the cpio archive that the kernel unpacks (Documentation/driver-api/early-userspace). */
#include "vmm/initramfs.h"

#include <stdio.h>
#include <string.h>

#define HEADER_SIZE 110
#define INIT_NAME   "init"
#define END_NAME    "TRAILER!!!"
#define MODE_INIT   0100755u

static size_t pad4(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

static size_t entry_size(const char *name, size_t data)
{
	return pad4(HEADER_SIZE + strlen(name) + 1) + pad4(data);
}

size_t initramfs_size(size_t init_size)
{
	return entry_size(INIT_NAME, init_size) + entry_size(END_NAME, 0);
}

/* Writes an entry's header and name; returns where its data goes. */
static uint8_t *entry_write(
	uint8_t *at, const char *name, uint32_t inode, uint32_t mode, size_t size)
{
	/* ino, mode, uid, gid, nlink, mtime, filesize, 4 device numbers, namesize, check */
	const uint32_t fields[] = {
		inode, mode, 0, 0, 1, 0, (uint32_t)size, 0, 0, 0, 0, (uint32_t)strlen(name) + 1, 0};
	char number[9];

	memcpy(at, "070701", 6);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		snprintf(number, sizeof(number), "%08x", fields[i]);
		memcpy(at + 6 + 8 * i, number, 8);
	}
	memcpy(at + HEADER_SIZE, name, strlen(name) + 1);
	return at + pad4(HEADER_SIZE + strlen(name) + 1);
}

size_t initramfs_write(uint8_t *archive, size_t init_size)
{
	uint8_t *data = entry_write(archive, INIT_NAME, 1, MODE_INIT, init_size);

	entry_write(data + pad4(init_size), END_NAME, 0, 0, 0);
	return (size_t)(data - archive);
}
