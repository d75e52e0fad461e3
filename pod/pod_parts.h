/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of pod directories share, and nobody else: pod.c has their places, locks and records, pod_wait.c waits
 * for what becomes of a pod, pod_gc.c removes pods and knows what those that are there need.
 */
#ifndef APPC_POD_POD_PARTS_H
#define APPC_POD_POD_PARTS_H

#include "pod/pod.h"

#include <fcntl.h>

/* The directories that pods are in, in the order in which they move. */
enum pod_place {
	PLACE_EMBRYO,
	PLACE_PREPARE,
	PLACE_PREPARED,
	PLACE_RUN,
	PLACE_EXITED_GARBAGE,
	PLACE_GARBAGE,
	PLACES,
};

/*
 * Bytes of the lock file, see pod.h. Open file description locks live as long as any process that inherited
 * the fd, and, unlike those of flock(2), others can ask for them without taking them.
 */
enum lock_byte { LOCK_LIFE, LOCK_READY, LOCK_END, LOCK_MOVES };

struct pods {
	int data_fd;
	int fds[PLACES];
};

/* Names that are owned: UUIDs, or those of trees. */
struct pods_strings {
	char **items;
	size_t count;
};

/* A lock of that byte. */
struct flock pod_lock_of(short type, enum lock_byte byte);

/* 0 or -errno; -EAGAIN: someone else has it. */
int pod_lock_take(int fd, short type, enum lock_byte byte);

/* Whether another open file description holds the byte for writing. */
bool pod_lock_is_held(int fd, enum lock_byte byte);

/* The pod's life; a pod without a lock file died before it had one: nobody contends for it. -EBUSY with a message. */
int pod_lock(struct pod *pod, short type, struct error *err);

/* Which of the places the pod is in. */
int pod_place_of(const struct pod *pod);

/* Moves it from one place to another, on disk at once where the move lasts. 0 or -errno; -ENOENT: another was quicker. */
int pod_move(struct pod *pod, int from, int to, bool lasts);

/* Adds a copy. 0 or -ENOMEM. */
int pods_strings_add(struct pods_strings *strings, const char *text);
void pods_strings_done(struct pods_strings *strings);

#endif
