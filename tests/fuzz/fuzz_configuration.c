// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_configuration.c: a configuration file, after a byte that says which part it is of. What is taken of it can be
 * printed, and is taken again from what was printed.
 */
#include "cli/configuration.h"

#include "base/json.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(enum configuration_part part, const json_t *entry)
{
	_cleanup_(configuration_clear) struct configuration configuration = {0};
	_cleanup_free_ char *text = json_dumps(entry, 0);
	_cleanup_json_ json_t *json = NULL;
	struct error err = {0};

	if (!text ||
		configuration_parse(part, text, strlen(text), "again", &configuration, &err) < 0)
		abort();
	json = configuration_json(&configuration);
	if (!json || json_array_size(json) != 1 || !json_equal(json_array_get(json, 0), entry))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(configuration_clear) struct configuration configuration = {0};
	_cleanup_json_ json_t *json = NULL;
	enum configuration_part part;
	struct error err = {0};
	size_t i;
	json_t *entry;
	int r;

	if (size == 0)
		return 0;
	part = (enum configuration_part)(data[0] % CONFIGURATION_PARTS);
	r = configuration_parse(
		part, (const char *)data + 1, size - 1, "fuzz", &configuration, &err);
	if (r != 0 && r != -EINVAL)
		abort();
	if (r < 0 && !*err.message)
		abort();
	if (r < 0)
		return 0;
	json = configuration_json(&configuration);
	if (!json)
		abort();
	json_array_foreach (json, i, entry)
		again(part, entry);
	return 0;
}
