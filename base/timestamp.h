/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time as RFC 3339 writes them: "2026-11-22T12:00:00.123456789Z". Times are nanoseconds since 1970.
 */
#ifndef APPC_BASE_TIMESTAMP_H
#define APPC_BASE_TIMESTAMP_H

#include <stddef.h>
#include <stdint.h>

#define TIMESTAMP_SIZE 31 /* with nanoseconds and a terminating NUL */

/* text has room for TIMESTAMP_SIZE bytes; always of this length, in UTC. */
void timestamp_format(int64_t nanoseconds, char *text);

/*
 * Reads length bytes, all of them a timestamp: with a fraction of up to nine digits or without, with an
 * offset or Z. -EINVAL: it is none; -ERANGE: 64 bits do not hold it.
 */
int timestamp_parse(const char *text, size_t length, int64_t *ret);

#endif
