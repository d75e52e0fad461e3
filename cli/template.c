// SPDX-License-Identifier: Apache-2.0
/* template.c: appc-vm template build|list|rm|verify */
#include "cli/launch.h"

#include "base/checked.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/table.h"
#include "pod/resolve.h"
#include "pod/template.h"
#include "pod/tree.h"
#include "vmm/machine.h"

#include <inttypes.h>
#include <string.h>

#define SHORT_KEY 12 /* digits; as many are in error messages */

struct opened {
	int data_fd;
	struct templates *templates;
};

static void opened_close(struct opened *opened)
{
	templates_close(opened->templates);
	cleanup_close(&opened->data_fd);
}
#define _cleanup_opened_ _cleanup_(opened_close)

static int open_templates(struct cli *cli, struct opened *ret)
{
	ret->data_fd = cli_open_data(cli);
	return ret->data_fd < 0 ? ret->data_fd
				: cli_open_templates(cli, ret->data_fd, &ret->templates);
}

/* ---- build */

struct build_flags {
	const char *cpus, *memory, *kernel, *init, *dax;
	bool shared, kernel_messages, force;
};

static int parse_machine(
	struct cli *cli, const struct build_flags *flags, struct template_subject *subject)
{
	struct resolve_options size = {0};
	int r = launch_parse_machine(cli, flags->cpus, flags->memory, &size);

	if (r < 0)
		return r;
	return resolve_default_machine(&size, &subject->vcpus, &subject->memory, &cli->error);
}

static int build(struct cli *cli, const struct build_flags *flags, struct templates *templates,
	const struct template_subject *subject)
{
	char key[TEMPLATE_KEY_SIZE];
	int r = template_key(templates, subject, key, &cli->error);

	if (r == 0 && flags->force) {
		r = templates_remove(templates, key, &cli->error);
		r = r == -ENOENT ? 0 : r;
	}
	if (r == 0)
		r = pod_template_build(templates, subject, &cli->error);
	if (r < 0)
		return r;
	printf("%s\n", key);
	return 0;
}

static int template_build(struct cli *cli, int argc, char **argv)
{
	struct build_flags flags = {0};
	const struct cli_option options[] = {
		{"cpus", CLI_STRING, &flags.cpus, "N",
			"vCPUs (default: those of a pod without isolators)"},
		{"memory", CLI_STRING, &flags.memory, "SIZE",
			"memory of the machine: 256M, or 256 (default: that of a pod with one app and no "
			"isolators)"},
		{"shared", CLI_FLAG, &flags.shared, NULL, "for pods with volumes of the host"},
		{"dax", CLI_STRING, &flags.dax, "auto|never|always", "for runs with --dax"},
		{"kernel-messages", CLI_FLAG, &flags.kernel_messages, NULL,
			"for runs with --kernel-messages"},
		{"kernel", CLI_STRING, &flags.kernel, "FILE",
			"another guest kernel (an ELF vmlinux)"},
		{"init", CLI_STRING, &flags.init, "FILE", "another guest-init"},
		{"force", CLI_FLAG, &flags.force, NULL, "build it again if it is there"},
	};
	struct template_subject subject = {.extra_command_line = cli_kernel_parameters()};
	_cleanup_opened_ struct opened opened = {.data_fd = -1};
	_cleanup_close_ int kernel = -1, init = -1;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	r = parse_machine(cli, &flags, &subject);
	if (r == 0)
		r = cli_parse_dax(cli, flags.dax, &subject.dax);
	if (r < 0)
		return r;
	kernel = cli_open_program_file(cli, flags.kernel, "kernel", "vmlinux");
	if (kernel < 0)
		return kernel;
	init = cli_open_program_file(cli, flags.init, "init", "guest-init");
	if (init < 0)
		return init;
	subject.kernel_fd = kernel;
	subject.init_fd = init;
	subject.shared = flags.shared;
	subject.kernel_messages = flags.kernel_messages;
	r = pod_tree_enter_namespace(&cli->error);
	if (r == 0)
		r = open_templates(cli, &opened);
	return r < 0 ? r : build(cli, &flags, opened.templates, &subject);
}

/* ---- list */

static const char *kind_of(const struct template_info *info)
{
	return info->is_pod ? "pod" : info->shared ? "shared" : info->vcpus ? "plain" : "unknown";
}

static json_t *list_json(const struct template_info *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array,
			json_pack("{s:s, s:i, s:I, s:s, s:b, s:I, s:I, s:I}", "key", list[i].key,
				"vcpus", (int)list[i].vcpus, "memory", (json_int_t)list[i].memory,
				"kind", kind_of(&list[i]), "shared", (int)list[i].shared, "size",
				(json_int_t)list[i].bytes, "created_at",
				(json_int_t)(list[i].created_at / 1000000000), "last_used_at",
				(json_int_t)(list[i].used_at / 1000000000)));
	return array;
}

static int print_table(
	struct cli *cli, const struct template_info *list, size_t count, bool full, bool no_legend)
{
	static const char *const titles[] = {
		"KEY", "VCPUS", "MEMORY", "KIND", "SIZE", "CREATED", "LAST USED"};
	_cleanup_table_ struct cli_table table = {.columns = ARRAY_SIZE(titles)};

	for (size_t i = 0; !no_legend && i < ARRAY_SIZE(titles); i++)
		cli_table_add(&table, "%s", titles[i]);
	for (size_t i = 0; i < count; i++) {
		const struct template_info *info = &list[i];
		char created[40], used[40];

		cli_format_time(info->created_at, created);
		cli_format_time(info->used_at, used);
		cli_table_add(&table, "%.*s", full ? TEMPLATE_KEY_SIZE : SHORT_KEY, info->key);
		cli_table_add(&table, "%u", info->vcpus);
		cli_table_add(&table, "%" PRIu64 "MiB", info->memory >> 20);
		cli_table_add(&table, "%s", kind_of(info));
		cli_table_add(&table, "%.1fMiB", (double)info->bytes / (1 << 20));
		cli_table_add(&table, "%s", created);
		cli_table_add(&table, "%s", used);
	}
	return cli_table_print(cli, &table);
}

static int template_list(struct cli *cli, int argc, char **argv)
{
	bool full = false, no_legend = false;
	const char *format = NULL;
	const struct cli_option options[] = {
		{"full", CLI_FLAG, &full, NULL, "whole keys"},
		{"no-legend", CLI_FLAG, &no_legend, NULL, "no line of column names"},
		{"format", CLI_STRING, &format, "json|json-pretty", "JSON instead of a table"},
	};
	_cleanup_opened_ struct opened opened = {.data_fd = -1};
	_cleanup_free_ struct template_info *list = NULL;
	size_t count = 0;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	r = cli_check_format(cli, format);
	if (r == 0)
		r = open_templates(cli, &opened);
	if (r == 0)
		r = templates_list(opened.templates, &list, &count, &cli->error);
	if (r < 0)
		return r;
	if (format) {
		_cleanup_json_ json_t *json = list_json(list, count);

		return cli_print_formatted(cli, format, json);
	}
	return print_table(cli, list, count, full, no_legend);
}

/* ---- rm and verify */

/*
 * Goes through the templates that the arguments name, or all of them; what fails does not end it,
 * and the first error is returned.
 */
static int for_each(struct cli *cli, struct templates *templates, bool all, int count, char **names,
	int (*act)(struct templates *templates, const char *key, struct error *err))
{
	_cleanup_free_ struct template_info *list = NULL;
	size_t total = (size_t)count;
	int result = 0;

	if (all) {
		int r = templates_list(templates, &list, &total, &cli->error);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < total; i++) {
		char key[TEMPLATE_KEY_SIZE];
		struct error err = {0};
		int r = all ? 0 : templates_find(templates, names[i], key, &err);

		if (all)
			memcpy(key, list[i].key, sizeof(key));
		if (r == 0)
			r = act(templates, key, &err);
		if (r == -ENOENT && all) /* somebody else was faster */
			continue;
		/* main() prints the first one. */
		if (r < 0 && result < 0)
			log_error("%s", err.message);
		else if (r < 0)
			result = error_set(&cli->error, r, "%s", err.message);
	}
	return result;
}

static int template_rm(struct cli *cli, int argc, char **argv)
{
	bool all = false;
	const struct cli_option options[] = {
		{"all", CLI_FLAG, &all, NULL, "all templates"},
	};
	_cleanup_opened_ struct opened opened = {.data_fd = -1};
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (all == (at < argc))
		return cli_usage(cli, "needs the keys of templates, or --all");
	r = open_templates(cli, &opened);
	return r < 0 ? r
		     : for_each(cli, opened.templates, all, argc - at, argv + at, templates_remove);
}

static int verify_one(struct templates *templates, const char *key, struct error *err)
{
	int r = templates_verify(templates, key, err);

	if (r == 0)
		printf("%.*s\tgood\n", SHORT_KEY, key);
	return r;
}

static int template_verify(struct cli *cli, int argc, char **argv)
{
	_cleanup_opened_ struct opened opened = {.data_fd = -1};
	int at, r;

	at = cli_parse(cli, NULL, 0, argc, argv);
	if (at < 0)
		return at;
	r = open_templates(cli, &opened);
	return r < 0
		? r
		: for_each(cli, opened.templates, at == argc, argc - at, argv + at, verify_one);
}

int command_template(struct cli *cli, int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"template build", template_build, "[flags]",
			"Boot a machine and park it, for pods to start from"},
		{"template list", template_list, "[flags]", "List templates"},
		{"template rm", template_rm, "[flags] KEY...", "Remove templates"},
		{"template verify", template_verify, "[flags] [KEY...]",
			"Read templates from end to end and check them"},
	};

	return cli_run_subcommand(cli, commands, ARRAY_SIZE(commands), argc, argv);
}
