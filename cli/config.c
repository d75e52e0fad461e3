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

/* What we go by in place of what the files say of it. */
static json_t *stage0_json(struct configuration *configuration, const char *data)
{
	free(configuration->data);
	configuration->data = strdup(data);
	return configuration->data ? configuration_json(configuration) : NULL;
}

static int config_json(struct cli *cli, json_t **ret)
{
	_cleanup_(configuration_clear) struct configuration configuration = {0};
	const char *parameters = cli_kernel_parameters(), *templates = getenv(CLI_ENV_TEMPLATES);
	char data[PATH_MAX], below[PATH_MAX + 16];
	int r;

	r = cli_read_configuration(cli, CONFIGURATION_PARTS, &configuration);
	if (r == 0)
		r = cli_data_path(cli, data, sizeof(data));
	if (r < 0)
		return r;
	snprintf(below, sizeof(below), "%s/templates", data);
	*ret = json_pack("{s:o, s:{s:s, s:o, s:o, s:s, s:s}}", "stage0",
		stage0_json(&configuration, data), "appc-vm", "version", APPC_VM_VERSION, "kernel",
		program_file_json(cli, "vmlinux"), "init", program_file_json(cli, "guest-init"),
		"templates", templates && *templates ? templates : below, "kernel-parameters",
		parameters ? parameters : "");
	return *ret ? 0 : -ENOMEM;
}

int command_config(struct cli *cli, int argc, char **argv)
{
	bool pretty = true;
	const struct cli_option options[] = {
		{"pretty-print", CLI_FLAG, &pretty, NULL, "indent the JSON (default true)"},
	};
	_cleanup_json_ json_t *json = NULL;
	int r;

	r = cli_parse_flags(cli, options, ARRAY_SIZE(options), argc, argv);
	if (r < 0)
		return r;
	r = config_json(cli, &json);
	return r < 0 ? r : cli_print_formatted(cli, pretty ? "json-pretty" : "json", json);
}
