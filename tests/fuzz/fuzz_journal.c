// SPDX-License-Identifier: Apache-2.0
/* fuzz_journal.c: a line of a damaged journal. What is read of it is in range. */
#include "pod/journal.h"

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
	struct journal_record record;
	int r = journal_record_parse((const char *)data, size, &record);

	require(r == 0 || r == -EBADMSG);
	if (r < 0)
		return 0;
	require(record.event < JOURNAL_EVENTS && journal_event_name(record.event));
	require(strlen(record.uuid) == POD_UUID_SIZE - 1);
	require(record.line == (const char *)data && record.length == size);
	return 0;
}
