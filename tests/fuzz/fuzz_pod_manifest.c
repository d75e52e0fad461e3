// SPDX-License-Identifier: Apache-2.0
/* fuzz_pod_manifest.c: a pod manifest that is read can be printed, and reads the same again. */
#include "appc/manifest.h"
#include "base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct appc_pod_manifest *manifest)
{
	struct error err;
	uint64_t mask;

	appc_pod_ports_check(manifest, &err);
	for (size_t i = 0; i < manifest->app_count; i++) {
		const struct appc_app *app = manifest->apps[i].app;
		struct appc_app *copy;

		/* What a run relies on. */
		if (!*manifest->apps[i].name ||
			(!manifest->apps[i].image_id && !manifest->apps[i].image_name))
			abort();
		if (!app)
			continue;
		appc_capabilities_resolve(&app->isolators, &mask, &err);
		copy = appc_app_copy(app);
		if (!copy)
			abort();
		appc_app_free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL, *again = NULL;
	_cleanup_json_ json_t *json = NULL, *again_json = NULL;
	_cleanup_free_ char *text = NULL;
	struct error err = {0};

	if (appc_pod_manifest_parse((const char *)data, size, &manifest, &err) < 0) {
		if (manifest || !*err.message)
			abort();
		return 0;
	}
	use(manifest);
	json = appc_pod_manifest_json(manifest);
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		abort();
	/* The canonical form may be longer than the limit for input. */
	if (strlen(text) > APPC_MANIFEST_SIZE_MAX)
		return 0;
	if (appc_pod_manifest_parse(text, strlen(text), &again, &err) < 0)
		abort();
	again_json = appc_pod_manifest_json(again);
	if (!json_equal(json, again_json))
		abort();
	return 0;
}
