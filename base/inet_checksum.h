/* SPDX-License-Identifier: Apache-2.0 */
/* The checksum of IP, TCP and UDP (RFC 1071). */
#ifndef APPC_BASE_INET_CHECKSUM_H
#define APPC_BASE_INET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* A sum, not folded and not inverted, with more bytes; of odd length only the last ones may be. */
uint64_t inet_checksum_add(uint64_t sum, const uint8_t *bytes, size_t length);

/* Folded to 16 bits. */
uint16_t inet_checksum_fold(uint64_t sum);

/* Folded and inverted, as it stands in a header. */
void inet_checksum_put(uint8_t place[2], uint64_t sum);

#endif
