// SPDX-License-Identifier: Apache-2.0
/* fuzz_openpgp_key.c: public keys, armored or not; what is accepted is the same key in binary form. */
#include "store/openpgp.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_openpgp_key_ struct openpgp_key key = {0}, again = {0};
	struct error err = {0};

	if (openpgp_key_parse(data, size, "key", &key, &err) < 0) {
		if (key.data || !*err.message)
			abort();
		return 0;
	}
	if (openpgp_key_parse(key.data, key.length, "key", &again, &err) < 0 ||
		strcmp(key.fingerprint, again.fingerprint) || key.length != again.length ||
		key.user_ids.count != again.user_ids.count)
		abort();
	return 0;
}
