// SPDX-License-Identifier: Apache-2.0
/*
 * bucket.c: see bucket.h.
 *
 * #syscalls:vcpu,loop timerfd_settime(_, TFD_TIMER_ABSTIME)
 */
#include "virtio/bucket.h"

#include <stddef.h>
#include <sys/timerfd.h>

#define SECOND 1000000000ull

uint64_t bucket_take(struct bucket *bucket, uint64_t rate, uint64_t cost, uint64_t now)
{
	/* A request is a MiB at most, so that only a rate of less than one per century overflows. */
	uint64_t price = (uint64_t)((unsigned __int128)cost * SECOND / rate);

	if (bucket->paid < now)
		bucket->paid = now;
	if (__builtin_add_overflow(bucket->paid, price, &bucket->paid))
		bucket->paid = UINT64_MAX;
	return bucket->paid - now <= BUCKET_AHEAD ? now : bucket->paid - BUCKET_AHEAD;
}

void bucket_timer_set(int timer_fd, uint64_t due)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(due / SECOND), .tv_nsec = (long)(due % SECOND)}};

	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}
