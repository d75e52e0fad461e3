/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of the VMM: file descriptors and what to do when they become ready.
 *
 * A source fires once and is then disarmed until loop_arm(), which any thread may call: a vCPU thread
 * that has just been given a buffer arms the socket it belongs to with one system call and no lock.
 * (That is why this is epoll; io_uring serves file data, see virtio/fs.) Callbacks run on the thread
 * that called loop_run().
 */
#ifndef APPC_VMM_LOOP_H
#define APPC_VMM_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop_source {
	int fd; /* borrowed */
	void (*ready)(struct loop_source *source, uint32_t events);
	void *context;
};

struct loop {
	int epoll_fd;
	int stop_fd; /* eventfd */
	struct loop_source stop_source;
	bool stopped;
};

int loop_init(struct loop *loop);
void loop_done(struct loop *loop);

/* Adds a source, armed for these poll events (0: hang-up and errors only). It must outlive the loop. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);

/*
 * Takes a source out of the loop, before its fd is closed. Any thread: a firing that has been noticed already may
 * still come, so the source itself must outlive the loop all the same.
 */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Arms a source for one firing. Any thread. */
void loop_arm(struct loop *loop, struct loop_source *source, uint32_t events);

/* Runs callbacks until loop_stop(). 0 or -errno. */
int loop_run(struct loop *loop);

/* Ends loop_run(), now or when it is next called. Any thread. */
void loop_stop(struct loop *loop);

#endif
