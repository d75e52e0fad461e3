/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that a person trusts to sign images, and the verification of detached signatures by gpgv.
 *
 * Layout below the data directory; a key is a binary OpenPGP public key, called by the fingerprint of
 * its primary key:
 *   trusted-keys/root.d/FINGERPRINT            for images of any name
 *   trusted-keys/prefix.d/PREFIX/FINGERPRINT   for the image PREFIX and those below it; '/' is ','
 * Whoever wants to trust a key no more removes its file. Keys are written whole or not at all.
 * A prefix covers whole components: "example.com/app" stands for "example.com/app/db", not for
 * "example.com/application".
 */
#ifndef APPC_STORE_KEYRING_H
#define APPC_STORE_KEYRING_H

#include "store/openpgp.h"

#define KEYRING_SIGNATURE_SIZE_MAX (1u << 20)

/*
 * Trusts the key: for the prefix, or if that is NULL for all images. ret_path, which the caller frees,
 * is the key's file below the data directory.
 */
int keyring_add(int data_dirfd, const char *prefix, const struct openpgp_key *key, char **ret_path,
	struct error *err);

/*
 * Verifies the detached signature (armored or binary, a regular file) of the regular file file_fd with
 * all trusted keys; both from their beginning. source names the file in messages. ret_fingerprint is
 * the signer's primary key, which keyring_check_name() must be asked about. -EKEYREJECTED: no trusted
 * key, or no good signature of one; another -errno: could not be tried.
 */
int keyring_verify(int data_dirfd, int file_fd, int signature_fd, const char *source,
	char ret_fingerprint[OPENPGP_FINGERPRINT_SIZE], struct error *err);

/* -EKEYREJECTED: the key is not trusted for the image's name. */
int keyring_check_name(
	int data_dirfd, const char *fingerprint, const char *name, struct error *err);

/*
 * What gpgv wrote to its --status-fd: exactly one signature, good, of a key that is neither expired nor
 * revoked. ret_fingerprint is that of the primary key. -EKEYREJECTED with the reason in err.
 */
int keyring_parse_status(const char *text, size_t length,
	char ret_fingerprint[OPENPGP_FINGERPRINT_SIZE], struct error *err);

#endif
