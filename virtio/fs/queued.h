/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's own io_uring for data requests.
 *
 * The ring is restricted to the four operations it needs before it is enabled, since seccomp cannot
 * look into it. Its state has its own lock, taken after none and before the device's.
 */
#ifndef APPC_VIRTIO_FS_QUEUED_H
#define APPC_VIRTIO_FS_QUEUED_H

#include "virtio/fs/session.h"

/* -errno where the host has no io_uring or does not let us. */
int fs_queue_create(struct virtio_fs *fs, struct fs_queue **ret);
void fs_queue_free(struct fs_queue *queue); /* nothing may be in flight; queue may be NULL */

int fs_queue_completion_fd(const struct fs_queue *queue);

/*
 * Takes over a READ, WRITE, FSYNC or FALLOCATE of virtqueue index, to be sent with the next
 * fs_queue_submit(). The chain is copied. False: serve it inline.
 */
bool fs_queue_add(struct fs_queue *queue, struct fs_request *request, unsigned int index);

/* Sends what was added. Not under the device's lock. */
void fs_queue_submit(struct fs_queue *queue);

/* Delivers what has completed. Not under the device's lock, which it takes. */
void fs_queue_reap(struct fs_queue *queue);

/* Waits until something may have completed, a tenth of a second at most. Not under a lock. */
void fs_queue_wait(const struct fs_queue *queue);

#endif
