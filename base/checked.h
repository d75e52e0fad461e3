/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked arithmetic for every number that a guest, an image or a manifest gave us. Each function
 * returns true and stores the result, or returns false where it would not fit.
 */
#ifndef APPC_BASE_CHECKED_H
#define APPC_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool checked_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

static inline bool checked_add_size(size_t a, size_t b, size_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool checked_mul_size(size_t a, size_t b, size_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

/* Whether [offset, offset + length) lies within [0, limit). */
static inline bool checked_range(uint64_t offset, uint64_t length, uint64_t limit)
{
	return length <= limit && offset <= limit - length;
}

/* Parses a whole decimal number: digits only, no sign, no blank, at most max. */
bool checked_parse_u64(const char *text, uint64_t max, uint64_t *ret);

#endif
