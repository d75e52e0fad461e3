/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of OpenPGP (RFC 4880) as trusting a key takes: what is its fingerprint, whose is it. Signatures
 * are gpgv's affair (store/keyring.h).
 */
#ifndef APPC_STORE_OPENPGP_H
#define APPC_STORE_OPENPGP_H

#include "appc/manifest.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define OPENPGP_FINGERPRINT_SIZE (40 + 1)
#define OPENPGP_KEY_SIZE_MAX     (1u << 20)

/* One transferable public key (section 11.1). */
struct openpgp_key {
	uint8_t *data; /* binary packets, as a keyring has them; owned */
	size_t length;
	char fingerprint[OPENPGP_FINGERPRINT_SIZE]; /* of the primary key, lower case */
	struct appc_strings user_ids; /* control characters are '?'; not proven to be true */
};

/*
 * Reads a key, binary or armored. what names it in messages. -EINVAL: not exactly one public key of
 * version 4, damaged, or with something in it that a public key does not have; -ENOMEM.
 */
int openpgp_key_parse(const void *data, size_t length, const char *what, struct openpgp_key *ret,
	struct error *err);
void openpgp_key_clear(struct openpgp_key *key);
#define _cleanup_openpgp_key_ _cleanup_(openpgp_key_clear)

#endif
