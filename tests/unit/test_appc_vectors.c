// SPDX-License-Identifier: Apache-2.0
/*
 * test_appc_vectors.c: the verdicts of the specification's reference implementation, type by type.
 *
 * Theory of operation: vectors.json holds groups of vectors: an input, whether the reference
 * accepts it, its canonical form and its error. A group's judge passes the input to the function that
 * reads the type. The verdicts must agree but for the differences listed below; the canonical forms
 * must agree but for absent fields, which the reference sometimes writes as null or []. What is printed
 * must be read again with the same result. Our message must have the reference's words in it, unless
 * they are those of the library it is written with.
 */
#include "appc/parse.h"
#include "appc/strings.h"
#include "appc/types.h"
#include "base/file.h"
#include "base/json.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* 0 and what it canonically is (*out may stay NULL), or a negative errno. */
typedef int judge_fn(const json_t *in, json_t **out, struct error *err);

/* ---- where this project decides otherwise than the reference */

/* A quantity anywhere in the input. */
static bool is_kilo_quantity(const char *group, const json_t *vector)
{
	const char *error = json_string_value(json_object_get(vector, "err"));
	_cleanup_free_ char *in = json_dumps(json_object_get(vector, "in"), JSON_ENCODE_ANY);
	const char *kilo = strstr(in, "K\"");

	(void)group;
	return error && strstr(error, "suffix") && kilo && strchr("0123456789.", kilo[-1]);
}

static bool has_unknown_isolator(const char *group, const json_t *vector)
{
	const char *error = json_string_value(json_object_get(vector, "err"));

	(void)group;
	return error && strcmp(error, "invalid isolator") == 0;
}

static bool has_key_in_other_case(const char *group, const json_t *vector)
{
	const char *note = json_string_value(json_object_get(vector, "note"));

	(void)group;
	return note && strstr(note, "case-insensitively");
}

static bool has_both_capability_sets(const char *group, const json_t *vector)
{
	_cleanup_free_ char *in = json_dumps(json_object_get(vector, "in"), JSON_ENCODE_ANY);

	(void)group;
	return strstr(in, "os/linux/capabilities-retain-set") &&
		strstr(in, "os/linux/capabilities-remove-set");
}

static const struct difference {
	bool (*applies)(const char *group, const json_t *vector);
	bool valid;
	const char *reason;
} differences[] = {
	{is_kilo_quantity, true, "the specification lists K beside k"},
	{has_unknown_isolator, true, "unknown isolators are kept, ignored and reported"},
	{has_both_capability_sets, false, "the two sets together mean nothing"},
	{has_key_in_other_case, false, "JSON keys are case-sensitive"},
};

/* ---- JSON inputs are given as JSON, or as text where that is not JSON */

static int read_json(const json_t *in, json_t **ret, struct error *err)
{
	_cleanup_free_ char *dump = NULL, *text = NULL;
	_cleanup_json_ json_t *array = NULL;
	int r;

	if (!json_is_string(in))
		dump = json_dumps(in, JSON_ENCODE_ANY);
	/* In an array, because some types are a bare string and a document is not. */
	assert_true(asprintf(&text, "[%s]", dump ? dump : json_string_value(in)) > 0);
	r = json_parse(text, strlen(text), "vector", &array, err);
	if (r < 0)
		return r;
	if (json_array_size(array) != 1)
		return error_set(err, -EINVAL, "vector: not one value");
	*ret = json_incref(json_array_get(array, 0));
	return 0;
}

/* The input as the member "value" of an object, for readers of sections. */
static int read_section(const json_t *in, bool in_list, json_t **ret, struct error *err)
{
	json_t *value;
	int r;

	r = read_json(in, &value, err);
	if (r < 0)
		return r;
	*ret = in_list ? json_pack("{s:[o]}", "value", value) : json_pack("{s:o}", "value", value);
	assert_non_null(*ret);
	return 0;
}

static int judge_pairs(const json_t *in, enum pair_list list, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *section = NULL;
	struct appc_pairs pairs = {0};
	struct field root;
	int r;

	r = read_section(in, false, &section, err);
	if (r < 0)
		return r;
	root = field_root(section, APPC_DECODE, err);
	r = appc_pairs_from_json(&root, "value", list, &pairs);
	if (r == 0)
		*out = appc_pairs_json(&pairs);
	appc_pairs_clear(&pairs);
	return r;
}

static int judge_annotations(const json_t *in, json_t **out, struct error *err)
{
	return judge_pairs(in, PAIR_LIST_ANNOTATIONS, out, err);
}

static int judge_labels(const json_t *in, json_t **out, struct error *err)
{
	return judge_pairs(in, PAIR_LIST_LABELS, out, err);
}

static int judge_app(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *section = NULL;
	struct appc_app *app = NULL, *copy;
	struct field root;
	int r;

	r = read_section(in, false, &section, err);
	if (r < 0)
		return r;
	root = field_root(section, APPC_DECODE, err);
	r = appc_app_from_json(&root, "value", &app);
	if (r == 0) {
		assert_non_null(app);
		copy = appc_app_copy(app);
		assert_non_null(copy);
		*out = appc_app_json(copy);
		appc_app_free(copy);
	}
	appc_app_free(app);
	return r;
}

static int judge_isolator(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *section = NULL, *list = NULL;
	struct appc_isolators isolators = {0};
	struct field root;
	int r;

	r = read_section(in, true, &section, err);
	if (r < 0)
		return r;
	root = field_root(section, APPC_DECODE, err);
	r = appc_isolators_from_json(&root, "value", ISOLATOR_SCOPE_POD, &isolators);
	if (r == 0) {
		list = appc_isolators_json(&isolators);
		*out = json_incref(json_array_get(list, 0));
	}
	appc_isolators_clear(&isolators);
	return r;
}

static int judge_port(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *value = NULL;
	struct appc_port port;
	struct field root;
	int r;

	r = read_json(in, &value, err);
	if (r < 0)
		return r;
	root = field_root(value, APPC_DECODE, err);
	r = appc_port_from_json(&root, &port);
	if (r == 0)
		*out = appc_port_json(&port);
	appc_port_clear(&port);
	return r;
}

static int judge_exposed_port(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *value = NULL;
	struct appc_exposed_port port;
	struct field root;
	int r;

	r = read_json(in, &value, err);
	if (r < 0)
		return r;
	root = field_root(value, APPC_DECODE, err);
	r = appc_exposed_port_from_json(&root, &port);
	if (r == 0)
		*out = appc_exposed_port_json(&port);
	appc_exposed_port_clear(&port);
	return r;
}

static int judge_volume(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *value = NULL;
	struct appc_volume volume;
	struct field root;
	int r;

	r = read_json(in, &value, err);
	if (r < 0)
		return r;
	root = field_root(value, APPC_DECODE, err);
	r = appc_volume_from_json(&root, &volume);
	if (r == 0)
		*out = appc_volume_json(&volume);
	appc_volume_clear(&volume);
	return r;
}

static int judge_date(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *value = NULL;
	char date[APPC_DATE_SIZE];
	int r;

	r = read_json(in, &value, err);
	if (r < 0)
		return r;
	if (!json_is_string(value))
		return error_set(err, -EINVAL, "not a string");
	r = appc_date_parse(json_string_value(value), date, err);
	if (r == 0)
		*out = json_string(date);
	return r;
}

/* A program parses more strictly than the reference decodes, but never less. */
static int judge_image_manifest(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL, *program = NULL;
	_cleanup_json_ json_t *value = NULL;
	_cleanup_free_ char *text = json_dumps(in, JSON_ENCODE_ANY);
	struct field root;
	int parsed, r;

	parsed = appc_image_manifest_parse(text, strlen(text), &program, err);
	r = read_json(in, &value, err);
	if (r == 0) {
		root = field_root(value, APPC_DECODE, err);
		r = appc_image_manifest_from_json(&root, &manifest);
	}
	assert_true(r == 0 || parsed < 0);
	if (r == 0)
		*out = appc_image_manifest_json(manifest);
	return r;
}

static int judge_pod_manifest(const json_t *in, json_t **out, struct error *err)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL, *program = NULL;
	_cleanup_json_ json_t *value = NULL;
	_cleanup_free_ char *text = json_dumps(in, JSON_ENCODE_ANY);
	struct field root;
	int parsed, r;

	parsed = appc_pod_manifest_parse(text, strlen(text), &program, err);
	r = read_json(in, &value, err);
	if (r == 0) {
		root = field_root(value, APPC_DECODE, err);
		r = appc_pod_manifest_from_json(&root, &manifest);
	}
	assert_true(r == 0 || parsed < 0);
	if (r == 0)
		*out = appc_pod_manifest_json(manifest);
	return r;
}

/* ---- inputs that are strings */

static int judge_check(const json_t *in, int (*check)(const char *text, struct error *err),
	json_t **out, struct error *err)
{
	int r;

	r = check(json_string_value(in), err);
	if (r == 0)
		*out = json_string(json_string_value(in));
	return r;
}

static int judge_name(const json_t *in, json_t **out, struct error *err)
{
	return judge_check(in, appc_name_check, out, err);
}

static int judge_identifier(const json_t *in, json_t **out, struct error *err)
{
	return judge_check(in, appc_identifier_check, out, err);
}

static int judge_hash(const json_t *in, json_t **out, struct error *err)
{
	return judge_check(in, appc_hash_check, out, err);
}

/* URLs are kept as they are written: no canonical form. */
static int judge_url(const json_t *in, json_t **out, struct error *err)
{
	(void)out;
	return appc_url_check(json_string_value(in), err);
}

static int judge_text(const json_t *in,
	int (*read)(const char *text, char **ret, struct error *err), json_t **out,
	struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = read(json_string_value(in), &text, err);
	if (r == 0)
		*out = json_string(text);
	return r;
}

static int judge_name_sanitise(const json_t *in, json_t **out, struct error *err)
{
	return judge_text(in, appc_name_sanitise, out, err);
}

static int judge_identifier_sanitise(const json_t *in, json_t **out, struct error *err)
{
	return judge_text(in, appc_identifier_sanitise, out, err);
}

static int judge_semver(const json_t *in, json_t **out, struct error *err)
{
	return judge_text(in, appc_semver_parse, out, err);
}

static int judge_uuid(const json_t *in, json_t **out, struct error *err)
{
	char uuid[37];
	int r;

	r = appc_uuid_parse(json_string_value(in), uuid, err);
	if (r == 0)
		*out = json_string(uuid);
	return r;
}

static int judge_quantity(const json_t *in, json_t **out, struct error *err)
{
	struct appc_quantity quantity;
	int r;

	r = appc_quantity_read(json_string_value(in), &quantity, err);
	if (r == 0)
		*out = json_pack("{s:I, s:I, s:b, s:b}", "value", (json_int_t)quantity.value,
			"millivalue", (json_int_t)quantity.millivalue, "value exceeds",
			quantity.value_exceeds, "millivalue exceeds", quantity.millivalue_exceeds);
	return r;
}

static int judge_image_name_string(const json_t *in, json_t **out, struct error *err)
{
	struct appc_image_reference reference;
	int r;

	r = appc_image_reference_from_string(json_string_value(in), &reference, err);
	if (r == 0)
		*out = json_pack("{s:s, s:o}", "name", reference.name, "labels",
			json_from_string_map(&reference.labels));
	appc_image_reference_clear(&reference);
	return r;
}

static int judge_mount_point_string(const json_t *in, json_t **out, struct error *err)
{
	struct appc_mount_point point;
	int r;

	r = appc_mount_point_from_string(json_string_value(in), APPC_DECODE, &point, err);
	if (r < 0)
		return r;
	*out = appc_mount_point_json(&point);
	appc_mount_point_clear(&point);
	return 0;
}

static int judge_port_string(const json_t *in, json_t **out, struct error *err)
{
	struct appc_port port;
	int r;

	r = appc_port_from_string(json_string_value(in), APPC_DECODE, &port, err);
	if (r < 0)
		return r;
	*out = appc_port_json(&port);
	appc_port_clear(&port);
	return 0;
}

static int judge_volume_string(const json_t *in, json_t **out, struct error *err)
{
	struct appc_volume volume;
	int r;

	r = appc_volume_from_string(json_string_value(in), APPC_DECODE, &volume, err);
	if (r < 0)
		return r;
	*out = appc_volume_json(&volume);
	appc_volume_clear(&volume);
	return 0;
}

/* ---- canonical forms */

/* A copy without null members, empty arrays and empty objects. */
static json_t *json_without_absent(const json_t *value)
{
	const char *key;
	json_t *member, *copy;
	size_t i;

	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach (value, i, member)
			json_array_append_new(copy, json_without_absent(member));
		return copy;
	}
	if (!json_is_object(value))
		return json_deep_copy(value);
	copy = json_object();
	json_object_foreach ((json_t *)value, key, member) {
		if (json_is_null(member) ||
			(json_is_array(member) && json_array_size(member) == 0) ||
			(json_is_object(member) && json_object_size(member) == 0))
			continue;
		json_object_set_new(copy, key, json_without_absent(member));
	}
	return copy;
}

/*
 * The reference's numbers wrap where the quantity exceeds 64 bits; ours stop at the limit. Its
 * canonical text must mean the same to us as the input.
 */
static bool quantity_matches(const json_t *expected, const json_t *out)
{
	_cleanup_json_ json_t *again = NULL;
	json_t *value = json_object_get(out, "value");
	json_t *millivalue = json_object_get(out, "millivalue");
	struct error err;

	if (judge_quantity(json_object_get(expected, "canonical"), &again, &err) < 0)
		return false;
	if (!json_equal(json_object_get(again, "value"), value) ||
		!json_equal(json_object_get(again, "millivalue"), millivalue))
		return false;
	if (json_is_true(json_object_get(out, "value exceeds"))) {
		if (llabs(json_integer_value(value)) != INT64_MAX)
			return false;
	} else if (!json_equal(json_object_get(expected, "value"), value)) {
		return false;
	}
	if (json_is_true(json_object_get(out, "millivalue exceeds")))
		return llabs(json_integer_value(millivalue)) == INT64_MAX;
	return strtoll(json_string_value(json_object_get(expected, "millivalue")), NULL, 10) ==
		json_integer_value(millivalue);
}

static bool canonical_matches(const char *group, const json_t *vector, const json_t *out)
{
	_cleanup_json_ json_t *expected = NULL, *found = NULL;
	json_t *canonical = json_object_get(vector, "out");

	if (!canonical || !out)
		return true;
	if (strcmp(group, "quantity") == 0)
		return quantity_matches(canonical, out);
	expected = json_without_absent(canonical);
	found = json_without_absent(out);
	/* The reference fills in the count of 1 only where a port comes from JSON. */
	if (strcmp(group, "port_string") == 0 &&
		json_integer_value(json_object_get(expected, "count")) == 0)
		json_object_set_new(expected, "count", json_integer(1));
	return json_equal(expected, found);
}

/* Words of the language's library, beside which ours need not stand. */
static bool error_is_of_library(const char *error)
{
	static const char *const beginnings[] = {"json:", "strconv.", "invalid character",
		"parsing time", "bad Date: parsing time", "encoding/hex", "\nError at line"};

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (!strncmp(error, beginnings[i], strlen(beginnings[i])))
			return true;
	return false;
}

static bool message_matches(const json_t *vector, const char *message)
{
	const char *error = json_string_value(json_object_get(vector, "err"));

	return *message && (!error || error_is_of_library(error) || strstr(message, error));
}

static const struct group {
	const char *name;
	judge_fn *judge;
	bool prints_json; /* what is printed is an input of the same group */
} groups[] = {
	{"acidentifier", judge_identifier, false},
	{"acname", judge_name, false},
	{"annotations_json", judge_annotations, true},
	{"app_json", judge_app, true},
	{"date_json", judge_date, false},
	{"exposedport_json", judge_exposed_port, true},
	{"hash", judge_hash, false},
	{"image_manifest_json", judge_image_manifest, true},
	{"image_name_string", judge_image_name_string, false},
	{"isolator_json", judge_isolator, true},
	{"labels_json", judge_labels, true},
	{"mountpoint_string", judge_mount_point_string, false},
	{"pod_manifest_json", judge_pod_manifest, true},
	{"port_json", judge_port, true},
	{"port_string", judge_port_string, false},
	{"quantity", judge_quantity, false},
	{"sanitize_acidentifier", judge_identifier_sanitise, false},
	{"sanitize_acname", judge_name_sanitise, false},
	{"semver", judge_semver, false},
	{"url", judge_url, false},
	{"uuid", judge_uuid, false},
	{"volume_json", judge_volume, true},
	{"volume_string", judge_volume_string, false},
};

/* The verdicts that were collected, and more that follow from the reference's source. */
static const char *const vector_files[] = {"vectors.json", "more-vectors.json"};
static json_t *vectors[ARRAY_SIZE(vector_files)];

static bool vector_holds(const struct group *group, const json_t *vector)
{
	_cleanup_json_ json_t *out = NULL, *again = NULL;
	_cleanup_free_ char *dump = json_dumps(vector, 0);
	bool expected = json_is_true(json_object_get(vector, "valid"));
	const char *reason = "";
	struct error err = {0};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (differences[i].applies(group->name, vector)) {
			expected = differences[i].valid;
			reason = differences[i].reason;
		}
	}
	r = group->judge(json_object_get(vector, "in"), &out, &err);
	if ((r == 0) != expected) {
		print_error("%s: %s\n  expected %s (%s), found: %s\n", group->name, dump,
			expected ? "valid" : "invalid", reason, r == 0 ? "valid" : err.message);
		return false;
	}
	if (r < 0) {
		if (message_matches(vector, err.message))
			return true;
		print_error("%s: %s\n  message: %s\n", group->name, dump, err.message);
		return false;
	}
	if (!canonical_matches(group->name, vector, out)) {
		_cleanup_free_ char *found = json_dumps(out, JSON_ENCODE_ANY);

		print_error("%s: %s\n  canonical form: %s\n", group->name, dump, found);
		return false;
	}
	if (!group->prints_json)
		return true;
	if (!out || group->judge(out, &again, &err) < 0 || !json_equal(out, again)) {
		print_error("%s: %s\n  what is printed is not read again: %s\n", group->name, dump,
			err.message);
		return false;
	}
	return true;
}

static void reference_verdicts_hold(void **state)
{
	const struct group *group = *state;
	size_t failed = 0, i;
	json_t *vector;

	assert_true(json_array_size(json_object_get(vectors[0], group->name)) > 0);
	for (size_t file = 0; file < ARRAY_SIZE(vectors); file++)
		json_array_foreach (json_object_get(vectors[file], group->name), i, vector)
			failed += !vector_holds(group, vector);
	assert_int_equal(failed, 0);
}

static void groups_have_judges(json_t *file_vectors)
{
	const char *name;
	json_t *list;

	json_object_foreach (file_vectors, name, list) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
			known = known || strcmp(groups[i].name, name) == 0;
		if (!known)
			print_error("no judge for group %s\n", name);
		assert_true(known);
	}
}

static void every_group_has_a_judge(void **state)
{
	(void)state;
	for (size_t file = 0; file < ARRAY_SIZE(vectors); file++)
		groups_have_judges(vectors[file]);
}

static int vectors_load(const char *name, json_t **ret)
{
	const char *directory = getenv("APPC_TEST_DATA");
	_cleanup_free_ char *path = NULL, *data = NULL;
	_cleanup_json_ json_t *file = NULL;
	struct error err;
	size_t length;
	int r;

	if (asprintf(&path, "%s/vectors/%s", directory ? directory : "tests", name) < 0)
		return -ENOMEM;
	r = file_read(AT_FDCWD, path, 16 << 20, &data, &length);
	if (r < 0) {
		fprintf(stderr, "%s: %s (run from the project's root, or set APPC_TEST_DATA)\n",
			path, strerror(-r));
		return r;
	}
	r = json_parse(data, length, path, &file, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.message);
	else
		*ret = json_incref(json_object_get(file, "vectors"));
	return r;
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(groups) + 1];
	int failed;

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		if (vectors_load(vector_files[i], &vectors[i]) < 0)
			return EXIT_FAILURE;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		tests[i] = (struct CMUnitTest){
			.name = groups[i].name,
			.test_func = reference_verdicts_hold,
			.initial_state = (void *)&groups[i],
		};
	tests[ARRAY_SIZE(groups)] = (struct CMUnitTest)cmocka_unit_test(every_group_has_a_judge);
	failed = cmocka_run_group_tests_name("reference_verdicts", tests, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		json_decref(vectors[i]);
	return failed;
}
