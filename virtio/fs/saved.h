/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session of a parked guest: what it negotiated, which inodes it knows and what it has open.
 *
 * Inodes are saved by their paths; restoring opens each path again. Under the device's lock, while no
 * request is served.
 */
#ifndef APPC_VIRTIO_FS_SAVED_H
#define APPC_VIRTIO_FS_SAVED_H

#include "virtio/fs/session.h"

/* Into the open section. -EBUSY where something cannot be found again, with a message. */
int fs_session_save(struct virtio_fs *fs, struct state_writer *writer, struct error *err);

/*
 * Into a device just made. -EBADMSG: the state is not one of ours, or of a tree of another shape; -errno
 * of what could not be opened. With a message; the device is of no use then.
 */
int fs_session_restore(struct virtio_fs *fs, struct state_reader *reader, struct error *err);

#endif
