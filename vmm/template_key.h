/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of a template: a digest of all that the state of a parked machine depends on. The
 * contents of kernel and guest-init are large; their digests are kept in files named by device and
 * inode.
 */
#ifndef APPC_VMM_TEMPLATE_KEY_H
#define APPC_VMM_TEMPLATE_KEY_H

#include "base/sha512.h"
#include "vmm/template.h"

/* template_key(), with the directory of digests. */
int template_key_compute(int digests_fd, const struct template_subject *subject,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err);

/* Forgets the digests of files that are long gone. 0 or -errno. */
int template_digests_collect(int digests_fd);

/* What identifies the content of a file without reading it. */
struct template_file_identity {
	uint64_t size, modified, changed; /* bytes; nanoseconds since 1970 */
};

/* A file in digests. -ESTALE: of another content. -EBADMSG. */
int template_digest_parse(const char *text, size_t length,
	const struct template_file_identity *identity, char ret_digest[SHA512_TEXT_SIZE]);

#endif
