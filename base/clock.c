// SPDX-License-Identifier: Apache-2.0
/* clock.c: the monotonic clock as one number. */
#include "base/clock.h"

#include <time.h>

int64_t clock_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}
