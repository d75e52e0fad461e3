/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC-SHA512 (RFC 2104, FIPS 198-1). What was computed from the key is cleared from memory at the end.
 * Plain memory: nothing to free, any thread.
 */
#ifndef APPC_BASE_HMAC_H
#define APPC_BASE_HMAC_H

#include "base/sha512.h"

#include <stdbool.h>

struct hmac_sha512 {
	struct sha512 inner, outer;
};

void hmac_sha512_init(struct hmac_sha512 *hmac, const void *key, size_t length);
void hmac_sha512_update(struct hmac_sha512 *hmac, const void *data, size_t length);
/* Ends the computation; hmac must be initialised again before its next use. */
void hmac_sha512_final(struct hmac_sha512 *hmac, uint8_t ret_code[SHA512_SIZE]);

/* Compares secrets in a time that depends on length alone. */
bool memory_is_equal(const void *a, const void *b, size_t length);

#endif
