/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moved_clock.h: time for one thread that waits with poll() and looks at clock_monotonic(). Nothing in such a test happens
 * by itself: where no event is there to wait for, the clock goes on to the end of the wait, and a wait without end fails
 * the test. To be linked with --wrap=poll,--wrap=clock_monotonic.
 */
#ifndef APPC_TESTS_UNIT_MOVED_CLOCK_H
#define APPC_TESTS_UNIT_MOVED_CLOCK_H

#include "base/clock.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static int64_t now = SECOND;
/* What happens elsewhere while this thread waits, one thing at a time; false: nothing more. */
static bool (*elsewhere)(void);

int64_t __wrap_clock_monotonic(void);
int64_t __wrap_clock_monotonic(void)
{
	return now;
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int n = __real_poll(fds, count, 0);

	while (n == 0 && elsewhere && elsewhere())
		n = __real_poll(fds, count, 0);
	if (n != 0)
		return n;
	if (timeout < 0)
		fail_msg("waits for ever");
	now += timeout * INT64_C(1000000);
	return 0;
}

#endif
