// SPDX-License-Identifier: Apache-2.0
/* pairs.c: lists of strings and of names with values: labels, annotations, environment. */
#include "appc/parse.h"
#include "appc/types.h"

#include "base/json.h"

#include <string.h>

void appc_strings_clear(struct appc_strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct appc_strings){0};
}

int appc_strings_copy(struct appc_strings *ret, const struct appc_strings *strings)
{
	*ret = (struct appc_strings){0};
	if (strings->count == 0)
		return 0;
	ret->items = calloc(strings->count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < strings->count; i++) {
		ret->items[i] = strdup(strings->items[i]);
		if (!ret->items[i])
			return -ENOMEM;
		ret->count++;
	}
	return 0;
}

int appc_strings_append(struct appc_strings *strings, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char **items;

	if (!copy)
		return -ENOMEM;
	items = reallocarray(strings->items, strings->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	items[strings->count++] = TAKE_PTR(copy);
	strings->items = items;
	return 0;
}

void appc_pairs_clear(struct appc_pairs *pairs)
{
	for (size_t i = 0; i < pairs->count; i++) {
		free(pairs->items[i].name);
		free(pairs->items[i].value);
	}
	free(pairs->items);
	*pairs = (struct appc_pairs){0};
}

int appc_pairs_copy(struct appc_pairs *ret, const struct appc_pairs *pairs)
{
	*ret = (struct appc_pairs){0};
	if (pairs->count == 0)
		return 0;
	ret->items = calloc(pairs->count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < pairs->count; i++) {
		struct appc_pair *pair = &ret->items[ret->count++];

		pair->name = strdup(pairs->items[i].name);
		pair->value = strdup(pairs->items[i].value);
		if (!pair->name || !pair->value)
			return -ENOMEM;
	}
	return 0;
}

const char *appc_pairs_get(const struct appc_pairs *pairs, const char *name)
{
	for (size_t i = 0; i < pairs->count; i++) {
		if (strcmp(pairs->items[i].name, name) == 0)
			return pairs->items[i].value;
	}
	return NULL;
}

int appc_pairs_set(struct appc_pairs *pairs, const char *name, const char *value, bool overwrite)
{
	_cleanup_free_ char *new_name = strdup(name);
	_cleanup_free_ char *new_value = strdup(value);
	struct appc_pair *items;

	if (!new_name || !new_value)
		return -ENOMEM;
	for (size_t i = 0; i < pairs->count; i++) {
		if (strcmp(pairs->items[i].name, name) != 0)
			continue;
		if (overwrite) {
			free(pairs->items[i].value);
			pairs->items[i].value = TAKE_PTR(new_value);
		}
		return 0;
	}
	items = reallocarray(pairs->items, pairs->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	items[pairs->count++] = (struct appc_pair){TAKE_PTR(new_name), TAKE_PTR(new_value)};
	pairs->items = items;
	return 0;
}

static int name_from_json(const struct field *object, const char *key, char **ret,
	int (*check)(const char *text, struct error *err))
{
	struct field field = field_member(object, key);
	int r;

	r = field_read_string(object, key, ret);
	if (r < 0)
		return r;
	if (*ret) {
		r = check(*ret, object->err);
		return r < 0 ? field_prefix(&field, r) : 0;
	}
	r = field_require(&field);
	if (r < 0)
		return r;
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

int appc_name_from_json(const struct field *object, const char *key, char **ret)
{
	return name_from_json(object, key, ret, appc_name_check);
}

int appc_identifier_from_json(const struct field *object, const char *key, char **ret)
{
	return name_from_json(object, key, ret, appc_identifier_check);
}

/* Annotations whose values have a type. */
static int annotation_check(const struct appc_pair *pair, struct error *err)
{
	char date[APPC_DATE_SIZE];

	if (strcmp(pair->name, "created") == 0)
		return appc_date_parse(pair->value, date, err);
	if (strcmp(pair->name, "homepage") == 0 || strcmp(pair->name, "documentation") == 0)
		return appc_url_check(pair->value, err);
	return 0;
}

static int pair_from_json(const struct field *element, enum pair_list list, struct appc_pair *ret)
{
	struct field name = field_member(element, "name");
	struct field value = field_member(element, "value");
	int r;

	r = field_check_object(element);
	if (r < 0)
		return r;
	if (list == PAIR_LIST_ENVIRONMENT) {
		r = field_read_string(element, "name", &ret->name);
		if (r < 0)
			return r;
		if (!ret->name || !*ret->name)
			return field_error(&name, "environment variable name must not be empty");
		if (!appc_environment_name_is_valid(ret->name))
			return field_error(&name,
				"environment variable does not have valid identifier \"%s\"",
				ret->name);
	} else {
		r = appc_identifier_from_json(element, "name", &ret->name);
		if (r < 0)
			return r;
		if (list == PAIR_LIST_LABELS && strcmp(ret->name, "name") == 0)
			return field_error(&name, "invalid label name: \"name\"");
	}
	r = field_read_string(element, "value", &ret->value);
	if (r < 0)
		return r;
	if (!ret->value) {
		ret->value = strdup("");
		if (!ret->value)
			return -ENOMEM;
	}
	if (list == PAIR_LIST_ANNOTATIONS) {
		r = annotation_check(ret, element->err);
		if (r < 0)
			return field_prefix(&value, r);
	}
	return 0;
}

int appc_pairs_from_json(
	const struct field *object, const char *key, enum pair_list list, struct appc_pairs *ret)
{
	static const char *const titles[] = {
		[PAIR_LIST_LABELS] = "labels",
		[PAIR_LIST_ANNOTATIONS] = "annotations",
		[PAIR_LIST_ENVIRONMENT] = "environment variable",
	};
	struct field field = field_member(object, key);
	_cleanup_json_ json_t *seen = json_object();
	size_t count;
	int r;

	*ret = (struct appc_pairs){0};
	if (!seen)
		return -ENOMEM;
	r = field_read_count(&field, &count);
	if (r < 0 || count == 0)
		return r;
	ret->items = calloc(count, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct field element = field_element(&field, i);
		struct appc_pair *pair = &ret->items[ret->count++];
		bool is_new;

		r = pair_from_json(&element, list, pair);
		if (r < 0)
			return r;
		r = field_note_name(seen, pair->name, &is_new);
		if (r < 0)
			return r;
		if (!is_new)
			return field_error(
				&element, "duplicate %s of name \"%s\"", titles[list], pair->name);
	}
	if (list == PAIR_LIST_LABELS) {
		r = appc_platform_check(
			appc_pairs_get(ret, "os"), appc_pairs_get(ret, "arch"), object->err);
		if (r < 0)
			return field_prefix(&field, r);
	}
	return 0;
}

json_t *appc_pairs_json(const struct appc_pairs *pairs)
{
	json_t *array = json_array();
	bool ok = array != NULL;

	for (size_t i = 0; ok && i < pairs->count; i++) {
		const struct appc_pair *pair = &pairs->items[i];
		json_t *object = json_object();
		bool pair_ok = object != NULL;

		if (*pair->name)
			json_put(object, "name", json_string(pair->name), &pair_ok);
		json_put(object, "value", json_string(pair->value), &pair_ok);
		json_append(array, json_finish(object, pair_ok), &ok);
	}
	return json_finish(array, ok);
}
