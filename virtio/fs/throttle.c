// SPDX-License-Identifier: Apache-2.0
/*
 * throttle.c: a token bucket and a list of answers that wait.
 *
 * Theory of operation: a bucket is one number, the time up to which everything is paid for. Each request moves it
 * on by its cost; while it is no more than BUCKET_AHEAD ahead of the clock, answers go out at once. It only
 * ever moves on, so answers become due in the order in which they were served, and the list is a queue. One
 * timer stands at the first answer's time; whoever waits for it hands out what is due.
 *
 * #syscalls: timerfd_create
 */
#include "virtio/fs/throttle.h"

#include "base/clock.h"
#include "virtio/bucket.h"
#include "virtio/fs/operations.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct held_answer {
	struct held_answer *next;
	uint64_t due;
	unsigned int index;
	uint16_t head;
	uint32_t written;
};

struct fs_throttle {
	struct virtio_fs *fs;
	struct fs_throttle_limits limits;
	int timer_fd;
	pthread_mutex_t lock; /* protects all below; the device's may be held when it is taken */
	struct bucket bytes, operations;
	struct held_answer *first, **last;
	unsigned int flushing;
};

/* Under the lock: the timer for the first answer that is held; none is: it stays quiet. */
static void timer_set(struct fs_throttle *throttle)
{
	bucket_timer_set(throttle->timer_fd, throttle->first ? throttle->first->due : 0);
}

/* The next answer that is due, or any, taken from the list; NULL: there is none. */
static struct held_answer *answer_take(struct fs_throttle *throttle, bool all)
{
	struct held_answer *answer;

	pthread_mutex_lock(&throttle->lock);
	answer = throttle->first;
	if (answer && !all && answer->due > (uint64_t)clock_monotonic())
		answer = NULL;
	if (answer) {
		throttle->first = answer->next;
		if (!throttle->first)
			throttle->last = &throttle->first;
	} else {
		timer_set(throttle);
	}
	pthread_mutex_unlock(&throttle->lock);
	return answer;
}

void fs_throttle_answer(struct fs_throttle *throttle, bool all)
{
	struct held_answer *answer;

	while ((answer = answer_take(throttle, all))) {
		fs_answer(throttle->fs, answer->index, answer->head, answer->written);
		free(answer);
	}
}

int fs_throttle_create(
	struct virtio_fs *fs, const struct fs_throttle_limits *limits, struct fs_throttle **ret)
{
	struct fs_throttle *throttle;
	int r;

	*ret = NULL;
	if (!limits->bytes && !limits->operations)
		return 0;
	throttle = calloc(1, sizeof(*throttle));
	if (!throttle)
		return -ENOMEM;
	throttle->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (throttle->timer_fd < 0) {
		r = -errno;
		free(throttle);
		return r;
	}
	throttle->fs = fs;
	throttle->limits = *limits;
	throttle->last = &throttle->first;
	pthread_mutex_init(&throttle->lock, NULL);
	*ret = throttle;
	return 0;
}

void fs_throttle_free(struct fs_throttle *throttle)
{
	if (!throttle)
		return;
	close(throttle->timer_fd);
	pthread_mutex_destroy(&throttle->lock);
	free(throttle);
}

int fs_throttle_fd(const struct fs_throttle *throttle)
{
	return throttle->timer_fd;
}

/* Bytes that the request moved; whether it is one that counts. */
static bool request_counts(const struct fs_request *request, uint32_t written, uint64_t *ret_bytes)
{
	*ret_bytes = 0;
	switch (request->header.opcode) {
	case FUSE_READ:
		if (written > sizeof(struct fuse_out_header))
			*ret_bytes = written - sizeof(struct fuse_out_header);
		return true;
	case FUSE_WRITE:
		if (request->chain->readable_bytes > FS_WRITE_PAYLOAD)
			*ret_bytes = request->chain->readable_bytes - FS_WRITE_PAYLOAD;
		return true;
	case FUSE_COPY_FILE_RANGE:
		*ret_bytes = 2 * request->copied; /* read and written */
		return true;
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_SYNCFS:
	case FUSE_FALLOCATE:
		return true;
	default:
		return false;
	}
}

bool fs_throttle_hold(struct fs_throttle *throttle, const struct fs_request *request,
	unsigned int index, uint32_t written)
{
	uint64_t now = (uint64_t)clock_monotonic(), due = now, other, bytes;
	struct held_answer *answer;

	if (!request_counts(request, written, &bytes))
		return false;
	pthread_mutex_lock(&throttle->lock);
	if (throttle->limits.bytes)
		due = bucket_take(&throttle->bytes, throttle->limits.bytes, bytes, now);
	if (throttle->limits.operations) {
		other = bucket_take(&throttle->operations, throttle->limits.operations, 1, now);
		due = other > due ? other : due;
	}
	answer = due > now && !throttle->flushing ? malloc(sizeof(*answer)) : NULL;
	if (answer) {
		*answer = (struct held_answer){
			.due = due,
			.index = index,
			.head = request->chain->head,
			.written = written,
		};
		*throttle->last = answer;
		throttle->last = &answer->next;
		if (throttle->first == answer)
			timer_set(throttle);
	}
	pthread_mutex_unlock(&throttle->lock);
	return answer != NULL;
}

void fs_throttle_flush(struct fs_throttle *throttle, bool flush)
{
	if (!throttle)
		return;
	pthread_mutex_lock(&throttle->lock);
	throttle->flushing = flush ? throttle->flushing + 1 : throttle->flushing - 1;
	pthread_mutex_unlock(&throttle->lock);
}
