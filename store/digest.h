/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of the OCI image specification ("Digests"): "sha256:" or "sha512:" and lower-case
 * hexadecimal digits. Plain memory.
 */
#ifndef APPC_STORE_DIGEST_H
#define APPC_STORE_DIGEST_H

#include "base/sha256.h"
#include "base/sha512.h"

#include <stdbool.h>

#define DIGEST_TEXT_SIZE (7 + 128 + 1)

struct digest {
	bool is_sha512;
	union {
		struct sha256 sha256;
		struct sha512 sha512;
	};
};

/* Whether text is a digest that can be checked here. Such a text is safe in a path. */
bool digest_is_valid(const char *text);

/* Begins to compute a digest of the same algorithm as a valid one. */
void digest_init(struct digest *digest, const char *like);
void digest_update(struct digest *digest, const void *data, size_t length);
void digest_final(struct digest *digest, char ret_text[DIGEST_TEXT_SIZE]);

#endif
