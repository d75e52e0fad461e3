/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations as the command line of rkt writes and reads them: "30m0s", "1h30m", "1.5s", "250ms", "0".
 */
#ifndef APPC_BASE_DURATION_H
#define APPC_BASE_DURATION_H

#include <stdint.h>

/*
 * Reads an optional sign and a sequence of decimal numbers, each with a fraction or without and with one
 * of the units h, m, s, ms, us (or µs), ns; the number 0 needs no unit. *ret is in nanoseconds, what is
 * smaller is cut off. -EINVAL: not a duration; -ERANGE: longer than 64 bits hold (292 years).
 */
int duration_parse(const char *text, int64_t *ret);

#endif
