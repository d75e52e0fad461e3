// SPDX-License-Identifier: Apache-2.0
/* fuzz_duration.c: a duration that is read is one again when it is written in nanoseconds. */
#include "base/duration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t value = 0, again;
	char text[512], printed[32];
	int r;

	if (size >= sizeof(text))
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	r = duration_parse(text, &value);
	if (r != 0 && r != -EINVAL && r != -ERANGE)
		abort();
	if (r != 0)
		return 0;
	snprintf(printed, sizeof(printed), "%" PRId64 "ns", value);
	if (duration_parse(printed, &again) != 0 || again != value)
		abort();
	return 0;
}
