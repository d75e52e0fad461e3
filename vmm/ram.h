/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: where it is mapped from, and how it is written to a file.
 *
 * A file of RAM has the bytes below the hole of the address space, then those above it, and holes where
 * pages are zero. Machines that go on from it map it privately: they share the pages that they do not
 * change, with each other and with the page cache.
 */
#ifndef APPC_VMM_RAM_H
#define APPC_VMM_RAM_H

#include "base/error.h"
#include "virtio/guest_memory.h"

#include <stdint.h>

/*
 * Maps size bytes of RAM: empty, or from a file of exactly that size (fd -1: none). It costs nothing
 * before it is used. -errno with a message; what was mapped is in *ret even then.
 */
int ram_map(uint64_t size, int fd, struct guest_memory *ret, struct error *err);
void ram_unmap(struct guest_memory *memory);

/*
 * Adds the window for files, of size bytes (a multiple of 2 MiB): addresses without access, of the
 * alignment that large pages need. It goes with ram_unmap().
 */
int ram_add_window(struct guest_memory *memory, uint64_t size, struct error *err);

/*
 * Writes the RAM into fd, an empty file. source_fd is the file it was mapped from (-1: none), pagemap_fd
 * an open /proc/self/pagemap, or -1: then every page is read, also those that were never used.
 * No vCPU runs. -errno with a message.
 */
int ram_save(const struct guest_memory *memory, int source_fd, int pagemap_fd, int fd,
	struct error *err);

#endif
