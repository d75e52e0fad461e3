/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base 64 with padding (RFC 4648, section 4). Decoding is strict: no blank, no line break, and bits
 * that encode nothing are zero, so that each text stands for different bytes.
 */
#ifndef APPC_BASE_BASE64_H
#define APPC_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters that length bytes take, without a NUL. */
#define BASE64_LENGTH(length) (((size_t)(length) + 2) / 3 * 4)

/* text has room for BASE64_LENGTH(length) + 1. */
void base64_encode(const void *data, size_t length, char *text);

/*
 * bytes has room for length / 4 * 3. Returns the number of bytes, or -EINVAL. bytes may be where text
 * is.
 */
ptrdiff_t base64_decode(const char *text, size_t length, void *bytes);

#endif
