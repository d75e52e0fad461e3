// SPDX-License-Identifier: Apache-2.0
/* fuzz_app_log.c: a log of any bytes gives only records that lie in it, with times that can be written. */
#include "base/json.h"
#include "base/timestamp.h"
#include "pod/app_log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read is written again as it was, but for what RFC 3339 leaves open of the time. */
static void check_record(const char *line, size_t length)
{
	char time[TIMESTAMP_SIZE];
	struct app_log_record record;
	json_t *text;
	int64_t again;
	int r = app_log_record_parse(line, length, &record);

	if (r != 0 && r != -EBADMSG)
		abort();
	if (r != 0)
		return;
	if (record.text + record.length != line + length || record.text < line)
		abort();
	timestamp_format(record.time, time);
	if (timestamp_parse(time, strlen(time), &again) != 0 || again != record.time)
		abort();
	text = json_string_lossy(record.text, record.length);
	if (!text || json_string_length(text) < record.length)
		abort();
	json_decref(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	while (size > 0) {
		const char *newline = memchr(text, '\n', size);
		size_t length = newline ? (size_t)(newline - text) : size;

		check_record(text, length);
		length += newline ? 1 : 0;
		text += length;
		size -= length;
	}
	return 0;
}
