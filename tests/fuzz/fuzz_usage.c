// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_usage.c: what a guest tells of its usage, and texts of a kernel that is the guest's. What is heard is in range and
 * reads the same again when it is told.
 */
#include "base/json.h"
#include "guest-init/usage.h"
#include "pod/usage.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void require_range(const struct wire_usage *usage)
{
	for (size_t i = 0; i < WIRE_USAGE_KINDS; i++)
		require(usage->values[i] <= INT64_MAX || usage->values[i] == WIRE_USAGE_UNKNOWN);
}

static void hear(const char *text, size_t size)
{
	static struct wire_pod_usage usage, again;
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *told = NULL;
	struct error error = {0};
	int r = wire_pod_usage_parse(text, size, &usage, &error);

	require(r == 0 || (r == -EBADMSG && error.message[0]));
	if (r < 0)
		return;
	require(usage.app_count <= WIRE_APPS_MAX);
	require_range(&usage.pod);
	for (size_t i = 0; i < usage.app_count; i++) {
		require(usage.apps[i].name[0] && !strpbrk(usage.apps[i].name, "\"\\\n "));
		require_range(&usage.apps[i].usage);
	}
	object = wire_pod_usage_json(&usage);
	told = json_text(object, JSON_COMPACT);
	require(told && wire_pod_usage_parse(told, strlen(told), &again, NULL) == 0);
	require(again.app_count == usage.app_count);
	require(!memcmp(&again.pod, &usage.pod, sizeof(usage.pod)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);
	struct wire_usage usage;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	hear(text, size);
	wire_usage_init(&usage);
	guest_usage_parse_network(text, &usage);
	wire_usage_parse_cpu(text, &usage);
	pod_usage_parse_stat(text, &usage);
	require_range(&usage);
	return 0;
}
