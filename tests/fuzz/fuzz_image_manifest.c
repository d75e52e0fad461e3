// SPDX-License-Identifier: Apache-2.0
/* fuzz_image_manifest.c: an image manifest that is read can be printed, and reads the same again.
 */
#include "appc/manifest.h"
#include "base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL, *again = NULL;
	_cleanup_json_ json_t *json = NULL, *again_json = NULL;
	_cleanup_free_ char *text = NULL;
	struct error err = {0};

	if (appc_image_manifest_parse((const char *)data, size, &manifest, &err) < 0) {
		if (manifest || !*err.message)
			abort();
		return 0;
	}
	json = appc_image_manifest_json(manifest);
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		abort();
	/* The canonical form may be longer than the limit for input. */
	if (strlen(text) > APPC_MANIFEST_SIZE_MAX)
		return 0;
	if (appc_image_manifest_parse(text, strlen(text), &again, &err) < 0)
		abort();
	again_json = appc_image_manifest_json(again);
	if (!json_equal(json, again_json))
		abort();
	return 0;
}
