// SPDX-License-Identifier: Apache-2.0
/* json.c: strict parsing; the depth is checked before jansson recurses into the input. */
#include "base/json.h"

#include <stdbool.h>

/* Brackets outside strings; the parser rejects anything that this simple scan misjudges. */
static bool json_depth_is_bounded(const char *data, size_t length)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < length; i++) {
		char c = data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

int json_parse(const char *data, size_t length, const char *what, json_t **ret, struct error *err)
{
	json_error_t error;
	json_t *json;

	if (!json_depth_is_bounded(data, length))
		return error_set(
			err, -EINVAL, "%s: nested deeper than %d levels", what, JSON_DEPTH_MAX);
	json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return error_set(err, -EINVAL, "%s: line %d, column %d: %s", what, error.line,
			error.column, error.text);
	*ret = json;
	return 0;
}
