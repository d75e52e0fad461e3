// SPDX-License-Identifier: Apache-2.0
/* fuzz_gpgv_status.c: gpgv's status lines; a fingerprint comes out only when one is accepted. */
#include "store/keyring.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char fingerprint[OPENPGP_FINGERPRINT_SIZE] = "";
	struct error err = {0};

	if (keyring_parse_status((const char *)data, size, fingerprint, &err) < 0) {
		if (*fingerprint || !*err.message)
			abort();
		return 0;
	}
	if (strlen(fingerprint) != sizeof(fingerprint) - 1 ||
		strspn(fingerprint, "0123456789abcdef") != sizeof(fingerprint) - 1)
		abort();
	if (!memmem(data, size, "[GNUPG:] GOODSIG", 16) ||
		memmem(data, size, "\n[GNUPG:] BADSIG ", 17))
		abort();
	return 0;
}
