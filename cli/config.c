// SPDX-License-Identifier: Apache-2.0
/*
 * config.c: appc-vm config
 *
 * "stage0" has entries as rkt's configuration files and its own command have them; what rkt has no word
 * for stands beside it.
 */
#include "cli/cli.h"

#include "base/json.h"

#include <limits.h>
#include <string.h>

/* The path of an open file, or null. */
static json_t *path_json(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t length;

	if (fd < 0)
		return json_null();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path));
	return length > 0 ? json_stringn(path, (size_t)length) : json_null();
}

/* A file of the program; one that is not there is no error here. */
static json_t *program_file_json(struct cli *cli, const char *name)
{
	_cleanup_close_ int fd = cli_open_program_file(cli, NULL, name, name);

	return path_json(fd);
}

static json_t *config_json(struct cli *cli)
{
	const char *parameters = cli_kernel_parameters(), *templates = getenv(CLI_ENV_TEMPLATES);
	char data[PATH_MAX], below[PATH_MAX + 16];

	cli_data_path(cli, data, sizeof(data));
	snprintf(below, sizeof(below), "%s/templates", data);
	return json_pack("{s:[{s:s, s:s, s:s}], s:{s:s, s:o, s:o, s:s, s:s}}", "stage0",
		"rktVersion", "v1", "rktKind", "paths", "data", data, "appc-vm", "version",
		APPC_VM_VERSION, "kernel", program_file_json(cli, "vmlinux"), "init",
		program_file_json(cli, "guest-init"), "templates",
		templates && *templates ? templates : below, "kernel-parameters",
		parameters ? parameters : "");
}

int command_config(struct cli *cli, int argc, char **argv)
{
	bool pretty = true;
	const struct cli_option options[] = {
		{"pretty-print", CLI_FLAG, &pretty, NULL, "indent the JSON (default true)"},
	};
	_cleanup_json_ json_t *json = NULL;
	int at;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments");
	json = config_json(cli);
	return cli_print_formatted(cli, pretty ? "json-pretty" : "json", json);
}
