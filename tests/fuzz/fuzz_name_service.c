// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_name_service.c: the flags for resolv.conf and hosts, one value on each line, whose first character
 * says which flag it is of; and files of environment variables ('f', then the whole text).
 */
#include "pod/blueprint.h"
#include "pod/name_service.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_environment_file(const char *text, size_t length)
{
	struct appc_pairs pairs = {0};
	struct error err;

	if (blueprint_add_environment_file(&pairs, text, length, "file", &err) == 0)
		for (size_t i = 0; i < pairs.count; i++)
			if (!*pairs.items[i].name || strchr(pairs.items[i].name, '=') ||
				strchr(pairs.items[i].value, '\n'))
				abort();
	appc_pairs_clear(&pairs);
}

/* Every line begins as a flag can make it begin, so that no value makes a line of its own. */
static void check_lines(const char *text, const char *const *keys)
{
	while (*text) {
		bool is_known = !keys;

		for (size_t i = 0; keys && keys[i]; i++)
			is_known |= !strncmp(text, keys[i], strlen(keys[i]));
		if (!is_known || !strchr(text, '\n'))
			abort();
		text = strchr(text, '\n') + 1;
	}
}

static void fuzz_flags(char *text)
{
	static const char *const keys[] = {
		"nameserver ", "search ", "options ", "domain ", "#", "\n", NULL};
	struct name_service_flags flags = {0};
	struct name_service service;
	struct error err;

	for (char *line; (line = strsep(&text, "\n"));) {
		int r = 0;

		if (*line == 's')
			r = appc_strings_append(&flags.servers, line + 1);
		else if (*line == 'd')
			r = appc_strings_append(&flags.searches, line + 1);
		else if (*line == 'o')
			r = appc_strings_append(&flags.options, line + 1);
		else if (*line == 'h')
			r = appc_strings_append(&flags.hosts, line + 1);
		else if (*line == 'm')
			flags.domain = line + 1;
		if (r < 0)
			abort();
	}
	if (name_service_resolve(&flags, "/dev/null/none", "/dev/null/none", &service, &err) == 0) {
		if (service.resolv_conf)
			check_lines(service.resolv_conf, keys);
		if (service.hosts_entries)
			check_lines(service.hosts_entries, NULL);
	} else if (!*err.message) {
		abort();
	}
	name_service_clear(&service);
	name_service_flags_clear(&flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (size > 0 && text[0] == 'f')
		fuzz_environment_file(text + 1, size - 1);
	else
		fuzz_flags(text);
	return 0;
}
