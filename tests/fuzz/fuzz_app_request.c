// SPDX-License-Identifier: Apache-2.0
/* fuzz_app_request.c: what is asked about the apps of a mutable pod, as the process that runs it reads it. */
#include "pod/app_request.h"

#include "base/json.h"
#include "pod/request.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pod_request_taken taken;
	_cleanup_json_ json_t *message = NULL;
	struct app_request request;
	struct error err = {0};
	int r;

	if (size > POD_REQUEST_MAX || pod_request_parse((const char *)data, size, &taken) < 0)
		return 0;
	message = taken.message;
	if (taken.request != POD_REQUEST_APP)
		return 0;
	r = app_request_parse(message, &request, &err);
	if (r < 0 && !err.message[0])
		__builtin_trap();
	/* An app to be added, or the name of one; never both. */
	if (r == 0 &&
		(request.action == APP_ADD ? !request.manifest || request.manifest->app_count != 1
					   : !request.app || request.manifest))
		__builtin_trap();
	app_request_clear(&request);
	return 0;
}
