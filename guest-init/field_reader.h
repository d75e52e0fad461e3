/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of one JSON object of a message from the host. A field that is missing, of the wrong type or out of its
 * range is an error that names it; so is one that nobody knows. The first error sticks, and the calls after it do
 * nothing and return an empty value, so that a list of fields reads as a list. What is read is borrowed from the object.
 */
#ifndef APPC_GUEST_INIT_FIELD_READER_H
#define APPC_GUEST_INIT_FIELD_READER_H

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

struct field_reader {
	json_t *object;
	const char *where; /* names it in messages */
	struct error *err;
	int r; /* 0, -EBADMSG with a message, or -ENOMEM */
};

enum field_presence { FIELD_REQUIRED, FIELD_OPTIONAL };

/* The field is not what was expected. */
void reader_fail(struct field_reader *reader, const char *field, const char *expected);

/* The field, of this type; NULL after an error or where an optional one is absent. */
json_t *reader_take(struct field_reader *reader, const char *field, enum field_presence presence,
	json_type type, const char *expected);

/* A string of min to max bytes; "" where it is not. */
const char *reader_string(struct field_reader *reader, const char *field, size_t min, size_t max);

/* An AC name, which can be a path component and the name of a cgroup. */
const char *reader_name(struct field_reader *reader, const char *field);

/* A string that may be absent: NULL. */
const char *reader_text(struct field_reader *reader, const char *field, size_t max);

bool reader_boolean(struct field_reader *reader, const char *field);

/* Returns whether the field is there and right. */
bool reader_integer(struct field_reader *reader, const char *field, enum field_presence presence,
	json_int_t min, json_int_t max, json_int_t *ret);

/* A limit that the message leaves out. */
#define GUEST_UNLIMITED UINT64_MAX

/* An integer of at least min that may be absent: GUEST_UNLIMITED. */
uint64_t reader_limit(struct field_reader *reader, const char *field, json_int_t min);

/* NULL after an error. */
json_t *reader_array(struct field_reader *reader, const char *field, size_t min, size_t max);

/* An array of at least min strings, with NULL at its end. The caller frees it; after an error it may be NULL. */
const char **reader_strings(struct field_reader *reader, const char *field, size_t min);

/* Zeroed memory for count things, never NULL without an error. */
void *reader_allocate(struct field_reader *reader, size_t count, size_t size);

/* Every key of the object is one of names, which ends with NULL. */
void reader_check_known(struct field_reader *reader, const char *const *names);

/* Whether text has no other character. */
bool text_is_made_of(const char *text, const char *characters);

#endif
