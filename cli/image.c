// SPDX-License-Identifier: Apache-2.0
/* image.c: appc-vm image import|list */
#include "cli/cli.h"

#include "base/json.h"
#include "base/log.h"
#include "cli/progress.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SHORT_ID 19 /* "sha512-" and 12 digits */

static int import_one(struct cli *cli, struct store *store, const char *path)
{
	struct cli_progress progress;
	struct store_import_options options = {
		.limits = STORE_LIMITS_DEFAULT,
		.progress = cli_progress_show,
		.progress_context = &progress,
	};
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int opened = -1;
	int fd = STDIN_FILENO, r;

	if (strcmp(path, "-")) {
		opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (opened < 0)
			return error_set_errno(&cli->error, -errno, "cannot open \"%s\"", path);
		fd = opened;
	}
	cli_progress_begin(&progress, "importing", path);
	r = store_import(store, fd, path, &options, id, &cli->error);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	printf("%s\n", id);
	return 0;
}

static int image_import(struct cli *cli, int argc, char **argv)
{
	_cleanup_store_ struct store *store = NULL;
	_cleanup_close_ int data = -1;
	int at, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(cli, "needs an ACI file, or - for standard input");
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = store_open(data, &store, &cli->error);
	for (; r == 0 && at < argc; at++)
		r = import_one(cli, store, argv[at]);
	return r;
}

static json_t *image_json(const struct store_image *image)
{
	const char *version = appc_pairs_get(&image->manifest->labels, "version");
	json_t *name = version ? json_sprintf("%s:%s", image->manifest->name, version)
			       : json_string(image->manifest->name);

	return json_pack("{s:s, s:o, s:I, s:I, s:I}", "id", image->id, "name", name, "import_time",
		(json_int_t)image->import_time, "last_used_time", (json_int_t)image->last_used,
		"size", (json_int_t)image->size);
}

static void print_size(uint64_t size, char *text, size_t room)
{
	static const char units[] = "BKMGT";
	size_t unit = 0;
	double value = (double)size;

	while (value >= 1024 && unit < sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	snprintf(text, room, unit == 0 ? "%.0f%c" : "%.1f%ciB", value, units[unit]);
}

static int image_list(struct cli *cli, int argc, char **argv)
{
	bool full = false, no_legend = false;
	const char *format = NULL;
	const struct cli_option options[] = {
		{"full", CLI_FLAG, &full, NULL, "whole image ids"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json", "JSON instead of a table"},
	};
	_cleanup_store_ struct store *store = NULL;
	_cleanup_json_ json_t *list = json_array();
	_cleanup_close_ int data = -1;
	struct store_image *images = NULL;
	json_t *image;
	size_t count = 0, i;
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	if (format && strcmp(format, "json"))
		return cli_usage(cli, "--format is json, not \"%s\"", format);
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	r = store_open(data, &store, &cli->error);
	if (r == 0)
		r = store_list(store, &images, &count, &cli->error);
	if (r < 0)
		return r;
	for (i = 0; i < count; i++)
		json_array_append_new(list, image_json(&images[i]));
	store_images_free(images, count);
	if (format)
		return cli_print_json(cli, list);
	if (!no_legend)
		printf("ID\tNAME\tSIZE\tIMPORT TIME\tLAST USED\n");
	json_array_foreach (list, i, image) {
		char size[32], imported[40], used[40];

		print_size((uint64_t)json_integer_value(json_object_get(image, "size")), size,
			sizeof(size));
		cli_format_time(
			json_integer_value(json_object_get(image, "import_time")) * 1000000000ll,
			imported);
		cli_format_time(
			json_integer_value(json_object_get(image, "last_used_time")) * 1000000000ll,
			used);
		printf("%.*s\t%s\t%s\t%s\t%s\n", full ? STORE_IMAGE_ID_SIZE : SHORT_ID,
			json_string_value(json_object_get(image, "id")),
			json_string_value(json_object_get(image, "name")), size, imported, used);
	}
	return 0;
}

int command_image(struct cli *cli, int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"image import", image_import, "[flags] FILE.aci...",
			"Import images (ACI archives: plain, gzip, bzip2 or xz)"},
		{"image list", image_list, "[flags]", "List images"},
	};

	for (size_t i = 0; argc >= 2 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name + strlen("image ")))
			continue;
		cli->command = &commands[i];
		return commands[i].run(cli, argc - 1, argv + 1);
	}
	if (argc >= 2 && strcmp(argv[1], "--help"))
		return cli_usage(cli, "unknown command \"%s\"", argv[1]);
	printf("%s.\n\nUsage: appc-vm image COMMAND [flags]\n\nCommands:\n",
		cli->command->description);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-14s %s\n", commands[i].name, commands[i].description);
	return argc >= 2 ? 0 : CLI_STATUS_ERROR;
}
