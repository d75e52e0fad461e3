// SPDX-License-Identifier: Apache-2.0
/* image_list.c: appc-vm image list */
#include "cli/image.h"

#include "base/json.h"
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum field { FIELD_ID, FIELD_NAME, FIELD_SIZE, FIELD_IMPORT_TIME, FIELD_LAST_USED, FIELD_COUNT };

static const struct {
	const char *name, *title;
} fields[FIELD_COUNT] = {
	[FIELD_ID] = {"id", "ID"},
	[FIELD_NAME] = {"name", "NAME"},
	[FIELD_SIZE] = {"size", "SIZE"},
	[FIELD_IMPORT_TIME] = {"importtime", "IMPORT TIME"},
	[FIELD_LAST_USED] = {"lastused", "LAST USED"},
};

struct field_list {
	enum field items[FIELD_COUNT];
	size_t count;
};

struct sort_order {
	struct field_list fields;
	bool descending;
};

/* In any case, as rkt takes them. */
static int parse_fields(struct cli *cli, const char *flag, const char *text, struct field_list *ret)
{
	for (const char *rest = text; *rest;) {
		size_t length = strcspn(rest, ","), field, i;

		for (field = 0; field < FIELD_COUNT; field++)
			if (strlen(fields[field].name) == length &&
				!strncasecmp(fields[field].name, rest, length))
				break;
		if (field == FIELD_COUNT)
			return cli_usage(cli,
				"--%s: unknown field \"%.*s\"; there are id, name, size, importtime and "
				"lastused",
				flag, (int)length, rest);
		for (i = 0; i < ret->count; i++)
			if (ret->items[i] == (enum field)field)
				return cli_usage(cli, "--%s has field \"%s\" twice", flag,
					fields[field].name);
		ret->items[ret->count++] = (enum field)field;
		rest += length + (rest[length] == ',');
	}
	return ret->count > 0 ? 0 : cli_usage(cli, "--%s needs a field", flag);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_field(const struct store_image *a, const struct store_image *b, enum field field)
{
	int r;

	switch (field) {
	case FIELD_NAME:
		return strcmp(a->manifest->name, b->manifest->name);
	case FIELD_SIZE:
		return compare_numbers(a->size, b->size);
	case FIELD_LAST_USED:
		return compare_numbers((uint64_t)a->last_used, (uint64_t)b->last_used);
	case FIELD_IMPORT_TIME:
		r = compare_numbers((uint64_t)a->import_time, (uint64_t)b->import_time);
		return r ? r : compare_numbers(a->import_nanoseconds, b->import_nanoseconds);
	case FIELD_ID:
	case FIELD_COUNT:
		break;
	}
	return strcmp(a->id, b->id);
}

static int compare_images(const void *left, const void *right, void *context)
{
	const struct sort_order *order = context;
	int r = 0;

	for (size_t i = 0; r == 0 && i < order->fields.count; i++)
		r = compare_field(left, right, order->fields.items[i]);
	return order->descending ? -r : r;
}

/* "name:version". The caller frees it; NULL: out of memory. */
static char *name_text(const struct store_image *image)
{
	const char *version = appc_pairs_get(&image->manifest->labels, "version");
	char *text;

	if (asprintf(&text, "%s%s%s", image->manifest->name, version ? ":" : "",
		    version ? version : "") < 0)
		return NULL;
	return text;
}

static json_t *list_json(const struct store_image *images, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *name = name_text(&images[i]);

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", images[i].id, "name",
				name ? name : "", "import_time", (json_int_t)images[i].import_time,
				"last_used_time", (json_int_t)images[i].last_used, "size",
				(json_int_t)images[i].size));
	}
	return list;
}

static void add_size(struct cli_table *table, uint64_t size, bool full)
{
	static const char units[] = "BKMGT";
	size_t unit = 0;
	double value = (double)size;

	while (!full && value >= 1024 && unit < sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	if (full)
		cli_table_add(table, "%" PRIu64, size);
	else if (unit == 0)
		cli_table_add(table, "%.0fB", value);
	else
		cli_table_add(table, "%.1f%ciB", value, units[unit]);
}

static void add_time(struct cli_table *table, int64_t seconds, bool full)
{
	char text[40];

	if (full)
		cli_format_time(seconds * 1000000000ll, text);
	else
		cli_format_age(seconds, text);
	cli_table_add(table, "%s", text);
}

static void add_cell(
	struct cli_table *table, const struct store_image *image, enum field field, bool full)
{
	_cleanup_free_ char *name = NULL;

	switch (field) {
	case FIELD_ID:
		cli_table_add(table, "%.*s", full ? STORE_IMAGE_ID_SIZE : STORE_IMAGE_ID_LISTED,
			image->id);
		break;
	case FIELD_NAME:
		name = name_text(image);
		cli_table_add(table, "%s", name ? name : "");
		break;
	case FIELD_SIZE:
		add_size(table, image->size, full);
		break;
	case FIELD_IMPORT_TIME:
		add_time(table, image->import_time, full);
		break;
	case FIELD_LAST_USED:
		add_time(table, image->last_used, full);
		break;
	case FIELD_COUNT:
		break;
	}
}

static int print_table(struct cli *cli, const struct store_image *images, size_t count,
	const struct field_list *columns, bool full, bool no_legend)
{
	_cleanup_table_ struct cli_table table = {.columns = columns->count};

	for (size_t i = 0; !no_legend && i < columns->count; i++)
		cli_table_add(&table, "%s", fields[columns->items[i]].title);
	for (size_t i = 0; i < count; i++)
		for (size_t c = 0; c < columns->count; c++)
			add_cell(&table, &images[i], columns->items[c], full);
	return cli_table_print(cli, &table);
}

int image_list(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL, *fields_text = "id,name,size,importtime,lastused";
	const char *sort = "importtime", *order = "asc";
	bool full = false, no_legend = false;
	const struct cli_option options[] = {
		{"fields", CLI_STRING, &fields_text, "LIST",
			"columns: id,name,size,importtime,lastused (the default)"},
		{"sort", CLI_STRING, &sort, "LIST", "fields to sort by (default importtime)"},
		{"order", CLI_STRING, &order, "asc|desc", "direction of sorting (default asc)"},
		{"full", CLI_FLAG, &full, NULL,
			"whole image ids, sizes in bytes, times instead of ages"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of a table"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	struct sort_order sort_order = {0};
	struct field_list columns = {0};
	struct store_image *images = NULL;
	size_t count = 0;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	sort_order.descending = !strcmp(order, "desc");
	if (!sort_order.descending && strcmp(order, "asc"))
		return cli_usage(cli, "--order is asc or desc, not \"%s\"", order);
	r = cli_check_format(cli, format);
	if (r == 0)
		r = parse_fields(cli, "fields", fields_text, &columns);
	if (r == 0)
		r = parse_fields(cli, "sort", sort, &sort_order.fields);
	if (r == 0)
		r = image_store_open(cli, &opened);
	if (r == 0)
		r = store_list(opened.store, &images, &count, &cli->error);
	if (r < 0)
		return r;
	if (count > 0)
		qsort_r(images, count, sizeof(*images), compare_images, &sort_order);
	if (format) {
		_cleanup_json_ json_t *list = list_json(images, count);

		r = cli_print_formatted(cli, format, list);
	} else {
		r = print_table(cli, images, count, &columns, full, no_legend);
	}
	store_images_free(images, count);
	return r;
}
