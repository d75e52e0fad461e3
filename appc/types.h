/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specification's simple types beside names (appc/manifest.h): versions, hashes, dates, URLs,
 * platforms, quantities. All functions are pure; texts are UTF-8 and end with NUL.
 * Errors: -EINVAL with the reference implementation's reason; -ENOMEM.
 */
#ifndef APPC_APPC_TYPES_H
#define APPC_APPC_TYPES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * How much a parse function demands. The reference implementation decodes a list element without
 * its name or an app without an image; nothing could run such a manifest.
 */
enum appc_strictness {
	APPC_DECODE,   /* what the reference implementation's decoder accepts */
	APPC_COMPLETE, /* the same, and all that the specification requires is there and in range */
};

/* The nearest valid AC Identifier: lower case, other characters to '_'. The caller frees *ret. */
int appc_identifier_sanitise(const char *text, char **ret, struct error *err);

/* Semantic version; *ret is its canonical form ("01.2.3-" is "1.2.3"), which the caller frees. */
int appc_semver_parse(const char *text, char **ret, struct error *err);

/*
 * Image id: "sha512-" and a value. The reference implementation does not insist on hexadecimal
 * digits; letters and digits are all that this function lets through, so that a hash is always one
 * safe path component. Comparing it with a digest is the store's work.
 */
int appc_hash_check(const char *text, struct error *err);

/* RFC 3339, as the reference implementation reads it; ret has room for 26 bytes. */
#define APPC_DATE_SIZE 26
int appc_date_parse(const char *text, char *ret, struct error *err);

/* An http or https URL. */
int appc_url_check(const char *text, struct error *err);

/* The pair of labels "os" and "arch"; either may be NULL. An arch without an os is not checked. */
int appc_platform_check(const char *os, const char *arch, struct error *err);

/* The name of an environment variable. */
bool appc_environment_name_is_valid(const char *name);

/*
 * A quantity, rounded away from zero to a whole number of units and of thousandths. What exceeds 64
 * bits is INT64_MAX or -INT64_MAX, and said to be so.
 */
struct appc_quantity {
	int64_t value, millivalue;
	bool value_exceeds, millivalue_exceeds;
};

int appc_quantity_read(const char *text, struct appc_quantity *ret, struct error *err);

/* As the command line of the reference reads booleans: 1 t T true True TRUE, 0 f F false ... */
int appc_bool_parse(const char *text, bool *ret, struct error *err);

#endif
