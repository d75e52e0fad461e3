/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket, as one number: the time up to which what was let through so far is paid for. It may be
 * BUCKET_AHEAD ahead of the clock without anybody waiting. The caller has a lock.
 */
#ifndef APPC_VIRTIO_BUCKET_H
#define APPC_VIRTIO_BUCKET_H

#include <stdint.h>

struct bucket {
	uint64_t paid; /* CLOCK_MONOTONIC, nanoseconds */
};
#define BUCKET_AHEAD 100000000ull

/*
 * Lets cost units through at a rate of units per second (not 0), now. Returns when that is due; a time that is
 * not after now: at once.
 */
uint64_t bucket_take(struct bucket *bucket, uint64_t rate, uint64_t cost, uint64_t now);

/* Sets a timerfd of CLOCK_MONOTONIC to this time; 0: it stays quiet. */
void bucket_timer_set(int timer_fd, uint64_t due);

#endif
