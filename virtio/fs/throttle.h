/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on what the guest reads and writes (isolators resource/block-bandwidth and block-iops): a request is
 * served at once, but its answer is held back until the bucket has room for it and a timer tells so. So
 * nobody else waits, neither the vCPU nor the event loop.
 */
#ifndef APPC_VIRTIO_FS_THROTTLE_H
#define APPC_VIRTIO_FS_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_request;
struct virtio_fs;

/* Per second; 0: no limit. */
struct fs_throttle_limits {
	uint64_t bytes, operations;
};

struct fs_throttle;

/* 0 or -errno. *ret is NULL where nothing is limited. */
int fs_throttle_create(
	struct virtio_fs *fs, const struct fs_throttle_limits *limits, struct fs_throttle **ret);
/* All answers have been given. throttle may be NULL. */
void fs_throttle_free(struct fs_throttle *throttle);

/*
 * A request of queue index was served with an answer of written bytes. True: the answer will be given later, by
 * fs_answer() (session.h); false: the caller gives it. Under the device's lock or not.
 */
bool fs_throttle_hold(struct fs_throttle *throttle, const struct fs_request *request,
	unsigned int index, uint32_t written);

/* A timerfd, readable when it is time for fs_throttle_answer(). */
int fs_throttle_fd(const struct fs_throttle *throttle);

/* Gives the answers that are due, or all. No lock is held. */
void fs_throttle_answer(struct fs_throttle *throttle, bool all);

/* Holds no answer back from now on, until it is called with false. throttle may be NULL. */
void fs_throttle_flush(struct fs_throttle *throttle, bool flush);

#endif
