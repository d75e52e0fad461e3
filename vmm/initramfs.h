/* SPDX-License-Identifier: Apache-2.0 */
/* The initramfs: an uncompressed cpio archive (newc) that holds guest-init as /init and no more. */
#ifndef APPC_VMM_INITRAMFS_H
#define APPC_VMM_INITRAMFS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that an archive with an /init of that size (below 4 GiB) takes. */
size_t initramfs_size(size_t init_size);

/*
 * Writes the archive; the caller then copies /init's bytes to the offset returned. archive has room
 * for initramfs_size(init_size) bytes, all zero.
 */
size_t initramfs_write(uint8_t *archive, size_t init_size);

#endif
