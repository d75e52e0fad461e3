/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as hexadecimal digits, and back. */
#ifndef APPC_BASE_HEX_H
#define APPC_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Two lower-case hexadecimal digits for each of size bytes, and a NUL. */
void hex_write(const uint8_t *bytes, size_t size, char *ret_text);

/* size bytes from exactly twice as many lower-case digits. 0 or -EINVAL. */
int hex_read(const char *text, uint8_t *bytes, size_t size);

#endif
