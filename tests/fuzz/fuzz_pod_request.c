// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_pod_request.c: what other processes send to the one that runs a pod. It is one of the known requests, with its
 * message where that is the caller's, or refused.
 */
#include "base/json.h"
#include "pod/request.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pod_request_taken taken;
	int r = pod_request_parse((const char *)data, size, &taken);

	require(taken.fd == -1);
	if (r < 0) {
		require(r == -EBADMSG && !taken.message);
		return 0;
	}
	if (taken.request == POD_REQUEST_STOP || taken.request == POD_REQUEST_KILL)
		require(!taken.message);
	else
		require(taken.message && *wire_type(taken.message));
	json_decref(taken.message);
	return 0;
}
