/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON value together with the place where it stands, so that every message about a manifest can
 * name its field ("apps[0].app.user"). Fields live on the stack of the parsing functions; a child
 * points at its parent and must not outlive it. The JSON values are borrowed from the parsed tree.
 *
 * JSON null is the same as absent everywhere. Readers store a default (NULL, 0, false) for an
 * absent field and return 0; they return -EINVAL with a message for a value of another type, or
 * -ENOMEM.
 */
#ifndef APPC_APPC_FIELD_H
#define APPC_APPC_FIELD_H

#include "appc/manifest.h"
#include "appc/types.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct field {
	const struct field *parent;
	const char *key; /* member of an object; NULL: an array element, or the root */
	size_t index;
	json_t *value; /* NULL: absent or null */
	enum appc_strictness strictness;
	struct error *err;
};

struct field field_root(json_t *value, enum appc_strictness strictness, struct error *err);
struct field field_member(const struct field *object, const char *key);
struct field field_element(const struct field *array, size_t index);

/* Composes "PATH: message" and returns -EINVAL. */
int field_error(const struct field *field, const char *format, ...) _printf_(2, 3);

/* Puts the field's path before a message that a check without a field composed; returns r. */
int field_prefix(const struct field *field, int r);

/* -EINVAL "must be set" if the field is absent or an empty string and completeness is demanded. */
int field_require(const struct field *field);

/* An object must be there: list elements and the root have no default. */
int field_check_object(const struct field *field);

/* Number of elements of an array, 0 when absent. */
int field_read_count(const struct field *field, size_t *ret);

int field_read_string(const struct field *object, const char *key, char **ret);
/* field_require() with it; "" where it is absent all the same. */
int field_read_required_string(const struct field *object, const char *key, char **ret);
int field_read_bool(const struct field *object, const char *key, bool *ret, bool *ret_present);
int field_read_integer(const struct field *object, const char *key, int64_t minimum,
	int64_t maximum, int64_t *ret, bool *ret_present);

/* An array of strings. */
int field_read_strings(const struct field *object, const char *key, struct appc_strings *ret);

/* An object whose values are strings. */
int field_read_string_map(const struct field *object, const char *key, struct appc_pairs *ret);

/* Whether name is new in the set; set is an empty JSON object at first. Errors: -ENOMEM. */
int field_note_name(json_t *set, const char *name, bool *ret_new);

/*
 * Builds JSON objects without an error check per line: value is stolen, and NULL or a failure to
 * add it clears *ok.
 */
void json_put(json_t *object, const char *key, json_t *value, bool *ok);
void json_append(json_t *array, json_t *value, bool *ok);

/* The object if ok, else NULL and the object is released. */
json_t *json_finish(json_t *object, bool ok);

json_t *json_from_strings(const struct appc_strings *strings);
json_t *json_from_string_map(const struct appc_pairs *pairs);

#endif
