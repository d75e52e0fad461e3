// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_pod_record.c: the records in a damaged pod directory. The first byte chooses which. What is read is
 * in range and safe to show, and reads the same again when it is written.
 */
#include "base/json.h"
#include "pod/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void require_safe(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; c && *c; c++) {
		require(*c >= ' ' || *c == '\t');
		require(*c != 0x7f && !(*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0));
	}
}

static bool texts_equal(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static char *print(json_t *json)
{
	char *text;

	require(json != NULL);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	require(text != NULL);
	return text;
}

static bool values_equal(const json_t *a, const json_t *b)
{
	return a && b ? json_equal(a, b) : a == b;
}

static void fuzz_run(const char *text, size_t length)
{
	_cleanup_(pod_run_record_done) struct pod_run_record record = {0}, again = {0};
	_cleanup_free_ char *printed = NULL;
	int r = pod_run_record_parse(text, length, &record);

	require(r == 0 || r == -EBADMSG);
	require(record.pid >= 0 && record.started_at >= 0 && record.vcpus >= 0 &&
		record.memory >= 0);
	require_safe(record.flavour);
	require_safe(record.cgroup);
	printed = print(pod_run_record_json(&record));
	require(pod_run_record_parse(printed, strlen(printed), &again) == 0);
	require(again.pid == record.pid && again.started_at == record.started_at &&
		again.vcpus == record.vcpus && again.memory == record.memory &&
		texts_equal(again.flavour, record.flavour) &&
		texts_equal(again.cgroup, record.cgroup) &&
		values_equal(again.cgroups, record.cgroups) &&
		values_equal(again.walls, record.walls));
}

static void fuzz_app(const char *text, size_t length)
{
	_cleanup_(pod_app_record_done) struct pod_app_record record = POD_APP_RECORD_NONE,
							     again = POD_APP_RECORD_NONE;
	_cleanup_free_ char *printed = NULL;
	int r = pod_app_record_parse(text, length, &record);

	require(r == 0 || r == -EBADMSG);
	require(record.started_at >= 0 && record.finished_at >= 0 && record.exit_code >= -1 &&
		record.exit_code <= 255);
	require_safe(record.message);
	printed = print(pod_app_record_json(&record));
	require(pod_app_record_parse(printed, strlen(printed), &again) == 0);
	require(again.started_at == record.started_at && again.finished_at == record.finished_at &&
		again.exit_code == record.exit_code &&
		again.out_of_memory == record.out_of_memory &&
		texts_equal(again.message, record.message));
}

static void fuzz_end(const char *text, size_t length)
{
	_cleanup_(pod_end_record_done) struct pod_end_record record = POD_END_RECORD_NONE,
							     again = POD_END_RECORD_NONE;
	_cleanup_free_ char *printed = NULL;
	int r = pod_end_record_parse(text, length, &record);

	require(r == 0 || r == -EBADMSG);
	require(record.finished_at >= 0 && record.exit_code >= -1 && record.exit_code <= 255);
	require_safe(record.reason);
	printed = print(pod_end_record_json(&record));
	require(pod_end_record_parse(printed, strlen(printed), &again) == 0);
	require(again.finished_at == record.finished_at && again.exit_code == record.exit_code &&
		texts_equal(again.reason, record.reason));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'R':
		fuzz_run(text, size - 1);
		break;
	case 'A':
		fuzz_app(text, size - 1);
		break;
	case 'E':
		fuzz_end(text, size - 1);
		break;
	}
	return 0;
}
