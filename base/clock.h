/* SPDX-License-Identifier: Apache-2.0 */
/* The clock for deadlines and durations. */
#ifndef APPC_BASE_CLOCK_H
#define APPC_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in nanoseconds. */
int64_t clock_monotonic(void);

#endif
