// SPDX-License-Identifier: Apache-2.0
/* pod_wait.c: waiting for what becomes of a pod. */
#include "base/clock.h"
#include "pod/pod_parts.h"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/time.h>
#include <time.h>

#define NANOSECONDS 1000000000ll

/* A waiter whose time is up is woken again and again, lest it missed the first time. */
#define WAKE_AGAIN_US 10000

static void wake(int signal)
{
	(void)signal;
}

/* Interrupts system calls with SIGALRM from the deadline on. */
static void alarm_set(int64_t deadline)
{
	int64_t left = deadline - clock_monotonic();
	struct itimerval timer = {.it_interval.tv_usec = WAKE_AGAIN_US};

	if (left < 1000)
		left = 1000;
	timer.it_value.tv_sec = left / NANOSECONDS;
	timer.it_value.tv_usec = left % NANOSECONDS / 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Waits until nobody holds the byte for writing. deadline: of CLOCK_MONOTONIC; 0: none. */
static int lock_wait(int fd, enum lock_byte byte, int64_t deadline)
{
	static const struct itimerval off = {0};
	const struct sigaction action = {.sa_handler = wake};
	const struct flock lock = pod_lock_of(F_RDLCK, byte);
	struct sigaction old;
	int r;

	if (deadline) {
		sigaction(SIGALRM, &action, &old);
		alarm_set(deadline);
	}
	do
		r = fcntl(fd, F_OFD_SETLKW, &lock) < 0 ? -errno : 0;
	while (r == -EINTR && !(deadline && clock_monotonic() >= deadline));
	if (deadline) {
		setitimer(ITIMER_REAL, &off, NULL);
		sigaction(SIGALRM, &old, NULL);
	}
	if (r == 0)
		pod_lock_take(fd, F_UNLCK, byte);
	return r == -EINTR ? -ETIMEDOUT : r;
}

/* Nobody holds the lock of a prepared pod: it is its move to another place that shows. */
static int move_wait(int inotify_fd, int64_t deadline)
{
	struct pollfd fd = {.fd = inotify_fd, .events = POLLIN};
	struct timespec left = {0};
	int64_t time = deadline - clock_monotonic();
	int n;

	if (time > 0)
		left = (struct timespec){time / NANOSECONDS, time % NANOSECONDS};
	n = ppoll(&fd, 1, deadline ? &left : NULL, NULL);
	if (n < 0 && errno != EINTR)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int watch_prepared(struct pods *pods)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", pods->fds[PLACE_PREPARED]);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Waits for whatever changes the pod next. 0; 1: what was waited for is there; -errno. */
static int wait_once(struct pods *pods, const char *uuid, enum pod_event event, int64_t deadline,
	struct error *err)
{
	enum lock_byte byte = event == POD_EVENT_READY ? LOCK_READY : LOCK_END;
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_close_ int prepared = watch_prepared(pods);
	int r;

	if (prepared < 0)
		return error_set_errno(err, prepared, "cannot watch pods");
	r = pod_open(pods, uuid, &pod, err);
	if (r < 0)
		return r;
	if (pod_state_is_final(pod.state))
		return 1;
	if (pod.state == POD_PREPARED && !pod_lock_is_held(pod.lock_fd, LOCK_LIFE))
		r = move_wait(prepared, deadline);
	else if (pod.state == POD_RUNNING && event == POD_EVENT_READY &&
		!pod_lock_is_held(pod.lock_fd, LOCK_READY))
		return 1;
	else
		r = lock_wait(pod.lock_fd, byte, deadline);
	return r < 0 ? error_set_errno(err, r, "pod %s", uuid) : 0;
}

int pod_wait(struct pods *pods, const char *uuid, enum pod_event event, int64_t timeout,
	struct error *err)
{
	int64_t now = clock_monotonic();
	/* What 64 bits do not hold is as good as for ever. */
	int64_t deadline = timeout < 0 || timeout > INT64_MAX - now ? 0 : now + timeout;
	int r;

	do
		r = wait_once(pods, uuid, event, deadline, err);
	while (r == 0);
	return r < 0 ? r : 0;
}
