// SPDX-License-Identifier: Apache-2.0
/*
 * isolator.c: isolators: one table row per name that the specification or rkt gives a meaning, with
 * the function that reads its value. Names that are not in the table are kept as they are written.
 */
#include "appc/parse.h"
#include "appc/types.h"

#include "base/json.h"

#include <string.h>

static int read_memory(const struct field *value, struct appc_isolator *ret);
static int read_cpu(const struct field *value, struct appc_isolator *ret);
static int read_bandwidth(const struct field *value, struct appc_isolator *ret);
static int read_capability_set(const struct field *value, struct appc_isolator *ret);
static int read_system_call_set(const struct field *value, struct appc_isolator *ret);
static int read_flag(const struct field *value, struct appc_isolator *ret);
static int read_number(const struct field *value, struct appc_isolator *ret);
static int read_selinux_context(const struct field *value, struct appc_isolator *ret);
static int read_apparmor_profile(const struct field *value, struct appc_isolator *ret);
static int read_sysctl(const struct field *value, struct appc_isolator *ret);

/* Indexed by kind. */
static const struct isolator_type {
	const char *name;
	int (*read)(const struct field *value, struct appc_isolator *ret);
	bool single;                       /* at most one in an app */
	enum appc_isolator_kind conflicts; /* UNKNOWN: with none */
	const char *conflict;              /* the reason */
	int64_t minimum, maximum;          /* read_number() */
} isolator_types[] = {
	[APPC_ISOLATOR_UNKNOWN] = {.name = ""},
	[APPC_ISOLATOR_MEMORY] = {.name = "resource/memory", .read = read_memory},
	[APPC_ISOLATOR_CPU] = {.name = "resource/cpu", .read = read_cpu},
	[APPC_ISOLATOR_BLOCK_BANDWIDTH] = {.name = "resource/block-bandwidth",
		.read = read_bandwidth},
	[APPC_ISOLATOR_BLOCK_IOPS] = {.name = "resource/block-iops", .read = read_bandwidth},
	[APPC_ISOLATOR_NETWORK_BANDWIDTH] = {.name = "resource/network-bandwidth",
		.read = read_bandwidth},
	[APPC_ISOLATOR_CAPABILITIES_RETAIN] =
		{
			.name = "os/linux/capabilities-retain-set",
			.read = read_capability_set,
			.conflicts = APPC_ISOLATOR_CAPABILITIES_REMOVE,
			.conflict = "cannot have both os/linux/capabilities-retain-set and "
				    "os/linux/capabilities-remove-set",
		},
	[APPC_ISOLATOR_CAPABILITIES_REMOVE] =
		{
			.name = "os/linux/capabilities-remove-set",
			.read = read_capability_set,
			.conflicts = APPC_ISOLATOR_CAPABILITIES_RETAIN,
			.conflict = "cannot have both os/linux/capabilities-retain-set and "
				    "os/linux/capabilities-remove-set",
		},
	[APPC_ISOLATOR_NO_NEW_PRIVILEGES] = {.name = "os/linux/no-new-privileges",
		.read = read_flag},
	[APPC_ISOLATOR_SECCOMP_RETAIN] =
		{
			.name = "os/linux/seccomp-retain-set",
			.read = read_system_call_set,
			.single = true,
			.conflicts = APPC_ISOLATOR_SECCOMP_REMOVE,
			.conflict = "isolators set contains incompatible types",
		},
	[APPC_ISOLATOR_SECCOMP_REMOVE] =
		{
			.name = "os/linux/seccomp-remove-set",
			.read = read_system_call_set,
			.single = true,
			.conflicts = APPC_ISOLATOR_SECCOMP_RETAIN,
			.conflict = "isolators set contains incompatible types",
		},
	[APPC_ISOLATOR_OOM_SCORE_ADJ] =
		{
			.name = "os/linux/oom-score-adj",
			.read = read_number,
			.single = true,
			.minimum = -1000,
			.maximum = 1000,
		},
	[APPC_ISOLATOR_CPU_SHARES] =
		{
			.name = "os/linux/cpu-shares",
			.read = read_number,
			.single = true,
			.minimum = 2,
			.maximum = 262144,
		},
	[APPC_ISOLATOR_SELINUX_CONTEXT] =
		{
			.name = "os/linux/selinux-context",
			.read = read_selinux_context,
			.single = true,
		},
	[APPC_ISOLATOR_APPARMOR_PROFILE] =
		{
			.name = "os/linux/apparmor-profile",
			.read = read_apparmor_profile,
			.single = true,
		},
	[APPC_ISOLATOR_SYSCTL] = {.name = "os/unix/sysctl", .read = read_sysctl, .single = true},
};

static enum appc_isolator_kind isolator_kind_from_name(const char *name)
{
	for (size_t i = APPC_ISOLATOR_UNKNOWN + 1; i < ARRAY_SIZE(isolator_types); i++) {
		if (strcmp(isolator_types[i].name, name) == 0)
			return (enum appc_isolator_kind)i;
	}
	return APPC_ISOLATOR_UNKNOWN;
}

/* A quantity, as a string or as a bare number; -1 when absent. */
static int quantity_from_json(
	const struct field *object, const char *key, bool thousandths, int64_t *ret)
{
	struct field field = field_member(object, key);
	struct appc_quantity quantity;
	char number[32];
	const char *text;
	int r;

	*ret = -1;
	if (!field.value)
		return 0;
	if (json_is_string(field.value)) {
		text = json_string_value(field.value);
	} else if (json_is_number(field.value)) {
		/* 15 digits: 0.1 stays what was written, not its nearest binary fraction. */
		if (json_is_integer(field.value))
			snprintf(number, sizeof(number), "%lld",
				(long long)json_integer_value(field.value));
		else
			snprintf(number, sizeof(number), "%.15g", json_real_value(field.value));
		text = number;
	} else {
		return field_error(&field, "expected a quantity like \"64Mi\" or \"500m\"");
	}
	r = appc_quantity_read(text, &quantity, field.err);
	if (r < 0)
		return field_prefix(&field, r);
	*ret = thousandths ? quantity.millivalue : quantity.value;
	if (*ret < 0 && field.strictness == APPC_COMPLETE)
		return field_error(&field, "must not be negative, got \"%s\"", text);
	return 0;
}

static int read_resource(
	const struct field *value, bool is_default, bool thousandths, struct appc_isolator *ret)
{
	struct field default_field = field_member(value, "default");
	bool flag;
	int r;

	r = field_check_object(value);
	if (r < 0)
		return r;
	r = field_read_bool(value, "default", &flag, NULL);
	if (r < 0)
		return r;
	r = quantity_from_json(value, "request", thousandths, &ret->request);
	if (r < 0)
		return r;
	r = quantity_from_json(value, "limit", thousandths, &ret->limit);
	if (r < 0)
		return r;
	if (flag != is_default)
		return field_error(
			&default_field, "default must be %s", is_default ? "true" : "false");
	return 0;
}

static int read_memory(const struct field *value, struct appc_isolator *ret)
{
	return read_resource(value, false, false, ret);
}

static int read_cpu(const struct field *value, struct appc_isolator *ret)
{
	return read_resource(value, false, true, ret);
}

static int read_bandwidth(const struct field *value, struct appc_isolator *ret)
{
	struct field request = field_member(value, "request");
	int r;

	r = read_resource(value, true, false, ret);
	if (r < 0)
		return r;
	if (request.value)
		return field_error(
			&request, "request not supported by this resource, must be empty");
	return 0;
}

static int read_set(const struct field *value, struct appc_isolator *ret)
{
	struct field set = field_member(value, "set");
	int r;

	r = field_check_object(value);
	if (r < 0)
		return r;
	r = field_read_strings(value, "set", &ret->set);
	if (r < 0)
		return r;
	if (ret->set.count == 0)
		return field_error(&set, "set must be non-empty");
	return 0;
}

static int read_capability_set(const struct field *value, struct appc_isolator *ret)
{
	return read_set(value, ret);
}

static int read_system_call_set(const struct field *value, struct appc_isolator *ret)
{
	struct field number = field_member(value, "errno");
	int r;

	r = read_set(value, ret);
	if (r < 0)
		return r;
	r = field_read_string(value, "errno", &ret->error_number);
	if (r < 0 || !ret->error_number)
		return r;
	if (!*ret->error_number) {
		free(TAKE_PTR(ret->error_number));
		return 0;
	}
	if (ret->error_number[0] != 'E')
		return field_error(&number, "errno must start with an 'E' character, got %s",
			ret->error_number);
	if (ret->error_number[strspn(ret->error_number, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")])
		return field_error(
			&number, "errno must be an upper case string, got %s", ret->error_number);
	return 0;
}

static int read_flag(const struct field *value, struct appc_isolator *ret)
{
	if (!json_is_boolean(value->value))
		return field_error(value, "expected a boolean");
	ret->flag = json_is_true(value->value);
	return 0;
}

static int read_number(const struct field *value, struct appc_isolator *ret)
{
	const struct isolator_type *type = &isolator_types[ret->kind];

	if (!json_is_integer(value->value))
		return field_error(value, "expected an integer");
	ret->number = json_integer_value(value->value);
	if (ret->number < type->minimum || ret->number > type->maximum)
		return field_error(value, "%s must be between %lld and %lld, got %lld", type->name,
			(long long)type->minimum, (long long)type->maximum, (long long)ret->number);
	return 0;
}

/* A string that is not empty, and has no colon unless that is allowed. */
static int check_label_part(const struct field *value, const char *key, bool colon)
{
	struct field field = field_member(value, key);
	_cleanup_free_ char *text = NULL;
	int r;

	r = field_read_string(value, key, &text);
	if (r < 0)
		return r;
	if (!text || !*text || (!colon && strchr(text, ':')))
		return field_error(&field, "invalid %s value \"%s\"", key, text ? text : "");
	return 0;
}

static int read_selinux_context(const struct field *value, struct appc_isolator *ret)
{
	int r;

	(void)ret;
	r = field_check_object(value);
	if (r == 0)
		r = check_label_part(value, "user", false);
	if (r == 0)
		r = check_label_part(value, "role", false);
	if (r == 0)
		r = check_label_part(value, "type", false);
	if (r == 0)
		r = check_label_part(value, "level", true);
	return r;
}

static int read_apparmor_profile(const struct field *value, struct appc_isolator *ret)
{
	int r;

	(void)ret;
	r = field_check_object(value);
	return r < 0 ? r : check_label_part(value, "profile", true);
}

static int read_sysctl(const struct field *value, struct appc_isolator *ret)
{
	int r;

	r = field_check_object(value);
	if (r < 0)
		return r;
	return field_read_string_map(value->parent, value->key, &ret->sysctls);
}

int appc_isolator_from_json(const struct field *field, struct appc_isolator *ret)
{
	struct field value = field_member(field, "value");
	int r;

	*ret = (struct appc_isolator){.request = -1, .limit = -1};
	r = field_check_object(field);
	if (r < 0)
		return r;
	r = appc_identifier_from_json(field, "name", &ret->name);
	if (r < 0)
		return r;
	ret->value = json_incref(value.value);
	ret->kind = isolator_kind_from_name(ret->name);
	if (!isolator_types[ret->kind].read)
		return 0;
	return isolator_types[ret->kind].read(&value, ret);
}

int appc_isolators_from_json(const struct field *object, const char *key, enum isolator_scope scope,
	struct appc_isolators *ret)
{
	struct field field = field_member(object, key);
	unsigned long seen = 0; /* bit per kind */
	size_t count;
	int r;

	*ret = (struct appc_isolators){0};
	r = field_read_count(&field, &count);
	if (r < 0 || count == 0)
		return r;
	ret->items = calloc(count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&field, i);
		struct appc_isolator *isolator = &ret->items[ret->count++];
		const struct isolator_type *type;

		r = appc_isolator_from_json(&element, isolator);
		if (r < 0)
			return r;
		if (scope != ISOLATOR_SCOPE_APP || isolator->kind == APPC_ISOLATOR_UNKNOWN)
			continue;
		type = &isolator_types[isolator->kind];
		if (type->single && (seen & 1ul << isolator->kind))
			return field_error(&element,
				"isolators set contains too many instances of type %s", type->name);
		if (type->conflicts != APPC_ISOLATOR_UNKNOWN && (seen & 1ul << type->conflicts))
			return field_error(&element, "%s", type->conflict);
		seen |= 1ul << isolator->kind;
	}
	return 0;
}

json_t *appc_isolators_json(const struct appc_isolators *isolators)
{
	json_t *array = json_array();
	bool ok = array != NULL;

	for (size_t i = 0; ok && i < isolators->count; i++) {
		const struct appc_isolator *isolator = &isolators->items[i];
		json_t *object = json_object();
		bool isolator_ok = object != NULL;

		if (*isolator->name)
			json_put(object, "name", json_string(isolator->name), &isolator_ok);
		if (isolator->value)
			json_put(object, "value", json_incref(isolator->value), &isolator_ok);
		json_append(array, json_finish(object, isolator_ok), &ok);
	}
	return json_finish(array, ok);
}

void appc_isolator_clear(struct appc_isolator *isolator)
{
	free(isolator->name);
	json_decref(isolator->value);
	appc_strings_clear(&isolator->set);
	free(isolator->error_number);
	appc_pairs_clear(&isolator->sysctls);
	*isolator = (struct appc_isolator){.request = -1, .limit = -1};
}

void appc_isolators_clear(struct appc_isolators *isolators)
{
	for (size_t i = 0; i < isolators->count; i++)
		appc_isolator_clear(&isolators->items[i]);
	free(isolators->items);
	*isolators = (struct appc_isolators){0};
}

static int isolator_copy(struct appc_isolator *ret, const struct appc_isolator *isolator)
{
	int r;

	*ret = (struct appc_isolator){
		.kind = isolator->kind,
		.value = json_incref(isolator->value),
		.request = isolator->request,
		.limit = isolator->limit,
		.flag = isolator->flag,
		.number = isolator->number,
	};
	ret->name = strdup(isolator->name);
	if (!ret->name)
		return -ENOMEM;
	if (isolator->error_number) {
		ret->error_number = strdup(isolator->error_number);
		if (!ret->error_number)
			return -ENOMEM;
	}
	r = appc_strings_copy(&ret->set, &isolator->set);
	return r < 0 ? r : appc_pairs_copy(&ret->sysctls, &isolator->sysctls);
}

int appc_isolators_copy(struct appc_isolators *ret, const struct appc_isolators *isolators)
{
	*ret = (struct appc_isolators){0};
	if (isolators->count == 0)
		return 0;
	ret->items = calloc(isolators->count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < isolators->count; i++) {
		int r = isolator_copy(&ret->items[ret->count++], &isolators->items[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

int appc_isolators_append(
	struct appc_isolators *isolators, const char *name, json_t *value, struct error *err)
{
	_cleanup_json_ json_t *object = json_pack("{s:s, s:O?}", "name", name, "value", value);
	struct field root = field_root(object, APPC_COMPLETE, err);
	struct appc_isolator *items;
	int r;

	if (!object)
		return error_set(err, -EINVAL, "isolator name is not UTF-8");
	items = reallocarray(isolators->items, isolators->count + 1, sizeof(*items));
	if (!items)
		return error_set(err, -ENOMEM, "out of memory");
	isolators->items = items;
	r = appc_isolator_from_json(&root, &items[isolators->count]);
	if (r < 0) {
		appc_isolator_clear(&items[isolators->count]);
		return r == -ENOMEM ? error_set(err, r, "out of memory")
				    : error_prefix(err, r, "isolator %s", name);
	}
	isolators->count++;
	return 0;
}

void appc_isolators_remove(struct appc_isolators *isolators, enum appc_isolator_kind kind)
{
	size_t kept = 0;

	for (size_t i = 0; i < isolators->count; i++) {
		if (isolators->items[i].kind == kind)
			appc_isolator_clear(&isolators->items[i]);
		else
			isolators->items[kept++] = isolators->items[i];
	}
	isolators->count = kept;
}

const struct appc_isolator *appc_isolators_find(
	const struct appc_isolators *isolators, enum appc_isolator_kind kind)
{
	for (size_t i = isolators->count; i > 0; i--) {
		if (isolators->items[i - 1].kind == kind)
			return &isolators->items[i - 1];
	}
	return NULL;
}
