/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON for hostile input, on top of jansson: duplicate keys, bytes that are not UTF-8,
 * NUL characters, nesting deeper than JSON_DEPTH_MAX and input after the value are errors.
 */
#ifndef APPC_BASE_JSON_H
#define APPC_BASE_JSON_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 64

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

/*
 * Parses length bytes. what names the source in the message ("pod manifest"). The caller owns the
 * reference. -EINVAL: not JSON by the rules above; -ENOMEM.
 */
int json_parse(const char *data, size_t length, const char *what, json_t **ret, struct error *err);

/*
 * A string of any bytes: those that are not UTF-8 become U+FFFD each. NULL: out of memory.
 */
json_t *json_string_lossy(const char *data, size_t length);

/*
 * How many allocations of this thread's values have failed. Who composes a value of many compares the
 * number before and after: where it has grown, members or elements may be missing, even though every
 * function that was asked for the whole gave something.
 */
uint64_t json_failures(void);

/*
 * The value as text, with jansson's flags; the caller frees it. NULL: out of memory, or no JSON. (jansson's
 * own json_dumps() gives a text with holes where memory was short.)
 */
char *json_text(const json_t *json, size_t flags);

#endif
