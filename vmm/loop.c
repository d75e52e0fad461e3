// SPDX-License-Identifier: Apache-2.0
/*
 * loop.c: one-shot event sources on epoll.
 *
 * #syscalls:loop epoll_wait close
 * #syscalls:vcpu,loop epoll_ctl(_, EPOLL_CTL_MOD) write
 */
#include "vmm/loop.h"

#include "base/cleanup.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static void stop_ready(struct loop_source *source, uint32_t events)
{
	struct loop *loop = source->context;

	(void)events;
	loop->stopped = true;
}

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll_fd = -1, .stop_fd = -1};
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->stop_fd < 0)
		return -errno;
	loop->stop_source = (struct loop_source){
		.fd = loop->stop_fd,
		.ready = stop_ready,
		.context = loop,
	};
	return loop_add(loop, &loop->stop_source, EPOLLIN);
}

void loop_done(struct loop *loop)
{
	cleanup_close(&loop->epoll_fd);
	cleanup_close(&loop->stop_fd);
}

/* #syscalls:loop epoll_ctl(_, EPOLL_CTL_ADD) */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = source};

	if (events == 0)
		event.events = EPOLLONESHOT;
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

/* #syscalls:vcpu,loop epoll_ctl(_, EPOLL_CTL_DEL) */
void loop_remove(struct loop *loop, struct loop_source *source)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
}

void loop_arm(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = source};

	/* Cannot fail for an fd that was added: no memory is taken, no limit is counted. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

int loop_run(struct loop *loop)
{
	while (!loop->stopped) {
		struct epoll_event events[16];
		int n = epoll_wait(loop->epoll_fd, events, ARRAY_SIZE(events), -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct loop_source *source = events[i].data.ptr;

			source->ready(source, events[i].events);
		}
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	uint64_t one = 1;
	/* An eventfd that is full wakes the loop as well as one more. */
	ssize_t n = write(loop->stop_fd, &one, sizeof(one));

	(void)n;
}
