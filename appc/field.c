// SPDX-License-Identifier: Apache-2.0
/* field.c: JSON values that know their path, and the readers of the simple types. */
#include "appc/field.h"

#include "base/json.h"

#include <stdarg.h>
#include <string.h>

struct field field_root(json_t *value, enum appc_strictness strictness, struct error *err)
{
	return (struct field){
		.value = json_is_null(value) ? NULL : value,
		.strictness = strictness,
		.err = err,
	};
}

struct field field_member(const struct field *object, const char *key)
{
	struct field field =
		field_root(json_object_get(object->value, key), object->strictness, object->err);

	field.parent = object;
	field.key = key;
	return field;
}

struct field field_element(const struct field *array, size_t index)
{
	struct field field =
		field_root(json_array_get(array->value, index), array->strictness, array->err);

	field.parent = array;
	field.index = index;
	return field;
}

/* Appends the path to text, which holds used of its size bytes. A long path is cut. */
static size_t field_path(const struct field *field, char *text, size_t size)
{
	size_t used;
	int n;

	if (!field->parent) {
		text[0] = '\0';
		return 0;
	}
	used = field_path(field->parent, text, size);
	if (!field->key)
		n = snprintf(text + used, size - used, "[%zu]", field->index);
	else
		n = snprintf(text + used, size - used, "%s%s", used > 0 ? "." : "", field->key);
	if (n < 0 || (size_t)n >= size - used)
		return strlen(text);
	return used + (size_t)n;
}

int field_prefix(const struct field *field, int r)
{
	char path[256];

	if (field_path(field, path, sizeof(path)) == 0)
		return r;
	return error_prefix(field->err, r, "%s", path);
}

int field_error(const struct field *field, const char *format, ...)
{
	char message[768];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	return field_prefix(field, error_set(field->err, -EINVAL, "%s", message));
}

static const char *json_type_name(const json_t *value)
{
	if (!value)
		return "null";
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static int field_type_error(const struct field *field, const char *expected)
{
	return field_error(field, "expected %s, found %s", expected, json_type_name(field->value));
}

int field_require(const struct field *field)
{
	if (field->strictness != APPC_COMPLETE)
		return 0;
	if (!field->value ||
		(json_is_string(field->value) && json_string_length(field->value) == 0))
		return field_error(field, "must be set");
	return 0;
}

int field_check_object(const struct field *field)
{
	if (!json_is_object(field->value))
		return field_type_error(field, "an object");
	return 0;
}

int field_read_count(const struct field *field, size_t *ret)
{
	*ret = 0;
	if (!field->value)
		return 0;
	if (!json_is_array(field->value))
		return field_type_error(field, "an array");
	*ret = json_array_size(field->value);
	return 0;
}

static int field_copy_string(const struct field *field, char **ret)
{
	if (!json_is_string(field->value))
		return field_type_error(field, "a string");
	*ret = strdup(json_string_value(field->value));
	return *ret ? 0 : -ENOMEM;
}

int field_read_string(const struct field *object, const char *key, char **ret)
{
	struct field field = field_member(object, key);

	*ret = NULL;
	if (!field.value)
		return 0;
	return field_copy_string(&field, ret);
}

int field_read_required_string(const struct field *object, const char *key, char **ret)
{
	struct field field = field_member(object, key);
	int r = field_require(&field);

	*ret = NULL;
	if (r == 0)
		r = field_read_string(object, key, ret);
	if (r == 0 && !*ret)
		*ret = strdup("");
	return r < 0 || *ret ? r : -ENOMEM;
}

int field_read_bool(const struct field *object, const char *key, bool *ret, bool *ret_present)
{
	struct field field = field_member(object, key);

	*ret = false;
	if (ret_present)
		*ret_present = field.value != NULL;
	if (!field.value)
		return 0;
	if (!json_is_boolean(field.value))
		return field_type_error(&field, "a boolean");
	*ret = json_is_true(field.value);
	return 0;
}

int field_read_integer(const struct field *object, const char *key, int64_t minimum,
	int64_t maximum, int64_t *ret, bool *ret_present)
{
	struct field field = field_member(object, key);

	*ret = 0;
	if (ret_present)
		*ret_present = field.value != NULL;
	if (!field.value)
		return 0;
	if (!json_is_integer(field.value))
		return field_type_error(&field, "an integer");
	*ret = json_integer_value(field.value);
	if (*ret < minimum || *ret > maximum)
		return field_error(&field, "must be between %lld and %lld, got %lld",
			(long long)minimum, (long long)maximum, (long long)*ret);
	return 0;
}

int field_read_strings(const struct field *object, const char *key, struct appc_strings *ret)
{
	struct field field = field_member(object, key);
	size_t count;
	int r;

	*ret = (struct appc_strings){0};
	r = field_read_count(&field, &count);
	if (r < 0 || count == 0)
		return r;
	ret->items = calloc(count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&field, i);

		r = field_copy_string(&element, &ret->items[i]);
		if (r < 0)
			return r;
		ret->count++;
	}
	return 0;
}

int field_read_string_map(const struct field *object, const char *key, struct appc_pairs *ret)
{
	struct field field = field_member(object, key);
	const char *name;
	json_t *value;

	*ret = (struct appc_pairs){0};
	if (!field.value)
		return 0;
	if (!json_is_object(field.value))
		return field_type_error(&field, "an object");
	if (json_object_size(field.value) == 0)
		return 0;
	ret->items = calloc(json_object_size(field.value), sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	json_object_foreach (field.value, name, value) {
		struct field member = field_member(&field, name);
		struct appc_pair *pair = &ret->items[ret->count];
		int r;

		if (!member.value)
			continue;
		ret->count++;
		pair->name = strdup(name);
		if (!pair->name)
			return -ENOMEM;
		r = field_copy_string(&member, &pair->value);
		if (r < 0)
			return r;
	}
	return 0;
}

int field_note_name(json_t *set, const char *name, bool *ret_new)
{
	*ret_new = !json_object_get(set, name);
	if (*ret_new && json_object_set_new(set, name, json_true()) < 0)
		return -ENOMEM;
	return 0;
}

void json_put(json_t *object, const char *key, json_t *value, bool *ok)
{
	if (json_object_set_new(object, key, value) < 0)
		*ok = false;
}

void json_append(json_t *array, json_t *value, bool *ok)
{
	if (json_array_append_new(array, value) < 0)
		*ok = false;
}

json_t *json_finish(json_t *object, bool ok)
{
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

json_t *json_from_strings(const struct appc_strings *strings)
{
	json_t *array = json_array();
	bool ok = array != NULL;

	for (size_t i = 0; ok && i < strings->count; i++)
		json_append(array, json_string(strings->items[i]), &ok);
	return json_finish(array, ok);
}

json_t *json_from_string_map(const struct appc_pairs *pairs)
{
	json_t *object = json_object();
	bool ok = object != NULL;

	for (size_t i = 0; ok && i < pairs->count; i++)
		json_put(object, pairs->items[i].name, json_string(pairs->items[i].value), &ok);
	return json_finish(object, ok);
}
