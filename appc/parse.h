/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the modules of this folder: each section of a manifest from JSON and back.
 *
 * *_from_json() fill a structure that need not be initialised. On failure it holds what was read so
 * far, and the caller clears it as after success. The enclosing object and a key are given for
 * optional sections (absent: all zero), the field itself for list elements.
 * *_json() return a new reference, or NULL.
 */
#ifndef APPC_APPC_PARSE_H
#define APPC_APPC_PARSE_H

#include "appc/field.h"
#include "appc/manifest.h"

/* Arrays of {"name", "value"} objects, and what their names and values mean. */
enum pair_list { PAIR_LIST_LABELS, PAIR_LIST_ANNOTATIONS, PAIR_LIST_ENVIRONMENT };

int appc_pairs_from_json(
	const struct field *object, const char *key, enum pair_list list, struct appc_pairs *ret);
json_t *appc_pairs_json(const struct appc_pairs *pairs);
int appc_pairs_copy(struct appc_pairs *ret, const struct appc_pairs *pairs);
int appc_strings_copy(struct appc_strings *ret, const struct appc_strings *strings);

/* A member that is an AC Name or AC Identifier; absent: "", or an error if completeness is
 * demanded. */
int appc_name_from_json(const struct field *object, const char *key, char **ret);
int appc_identifier_from_json(const struct field *object, const char *key, char **ret);

/* The set rules (one instance, no conflicts) hold for the isolators of one app. */
enum isolator_scope { ISOLATOR_SCOPE_POD, ISOLATOR_SCOPE_APP };

int appc_isolator_from_json(const struct field *field, struct appc_isolator *ret);
int appc_isolators_from_json(const struct field *object, const char *key, enum isolator_scope scope,
	struct appc_isolators *ret);
json_t *appc_isolators_json(const struct appc_isolators *isolators);
int appc_isolators_copy(struct appc_isolators *ret, const struct appc_isolators *isolators);
void appc_isolator_clear(struct appc_isolator *isolator);
void appc_isolators_clear(struct appc_isolators *isolators);

int appc_mount_point_from_json(const struct field *field, struct appc_mount_point *ret);
json_t *appc_mount_point_json(const struct appc_mount_point *point);
int appc_port_from_json(const struct field *field, struct appc_port *ret);
json_t *appc_port_json(const struct appc_port *port);

/* *ret is NULL when the section is absent. */
int appc_app_from_json(const struct field *object, const char *key, struct appc_app **ret);
json_t *appc_app_json(const struct appc_app *app);

int appc_volume_from_json(const struct field *field, struct appc_volume *ret);
json_t *appc_volume_json(const struct appc_volume *volume);
int appc_mount_from_json(const struct field *field, struct appc_mount *ret);
json_t *appc_mount_json(const struct appc_mount *mount);
int appc_exposed_port_from_json(const struct field *field, struct appc_exposed_port *ret);
json_t *appc_exposed_port_json(const struct appc_exposed_port *port);

int appc_image_manifest_from_json(const struct field *root, struct appc_image_manifest **ret);
int appc_pod_manifest_from_json(const struct field *root, struct appc_pod_manifest **ret);

/* acKind and acVersion; *ret_version is NULL when absent. */
int appc_header_from_json(const struct field *root, const char *kind, char **ret_version);

/* Length limit and JSON syntax of a whole manifest. */
int appc_manifest_load(
	const char *data, size_t length, const char *what, json_t **ret, struct error *err);

#endif
