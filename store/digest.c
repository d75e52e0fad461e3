// SPDX-License-Identifier: Apache-2.0
/* digest.c: content digests with their algorithm in front. */
#include "store/digest.h"

#include <string.h>

#define PREFIX_LENGTH 7 /* of both */

bool digest_is_valid(const char *text)
{
	size_t digits;

	if (!strncmp(text, "sha256:", PREFIX_LENGTH))
		digits = SHA256_TEXT_SIZE - 1;
	else if (!strncmp(text, "sha512:", PREFIX_LENGTH))
		digits = SHA512_TEXT_SIZE - 1;
	else
		return false;
	text += PREFIX_LENGTH;
	return strspn(text, "0123456789abcdef") == digits && !text[digits];
}

void digest_init(struct digest *digest, const char *like)
{
	digest->is_sha512 = !strncmp(like, "sha512:", PREFIX_LENGTH);
	if (digest->is_sha512)
		sha512_init(&digest->sha512);
	else
		sha256_init(&digest->sha256);
}

void digest_update(struct digest *digest, const void *data, size_t length)
{
	if (digest->is_sha512)
		sha512_update(&digest->sha512, data, length);
	else
		sha256_update(&digest->sha256, data, length);
}

void digest_final(struct digest *digest, char ret_text[DIGEST_TEXT_SIZE])
{
	if (digest->is_sha512) {
		memcpy(ret_text, "sha512:", PREFIX_LENGTH);
		sha512_final_text(&digest->sha512, ret_text + PREFIX_LENGTH);
	} else {
		memcpy(ret_text, "sha256:", PREFIX_LENGTH);
		sha256_final_text(&digest->sha256, ret_text + PREFIX_LENGTH);
	}
}
