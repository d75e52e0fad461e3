// SPDX-License-Identifier: Apache-2.0
/* generate.c: appc-vm generate systemd */
#include "cli/cli.h"

#include "cli/systemd_unit.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* What a unit is called, of the manifest's file name: "/srv/my pod.json" is "my-pod". */
static void derive_name(const char *path, char name[NAME_MAX + 1])
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	snprintf(name, NAME_MAX + 1, "%s", base);
	if (strlen(name) > strlen(".json") &&
		!strcmp(name + strlen(name) - strlen(".json"), ".json"))
		name[strlen(name) - strlen(".json")] = '\0';
	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			*c = '-';
}

/* A pod that was prepared, by its UUID. */
static int find_prepared(struct cli *cli, const char *uuid, char *ret)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int r = cli_open_pods(cli, &data, &pods);

	if (r == 0)
		r = pod_open(pods, uuid, &pod, &cli->error);
	if (r < 0)
		return r;
	if (pod.state != POD_PREPARED)
		return error_set(&cli->error, -EINVAL,
			"pod \"%s\" is %s: a unit runs one that is prepared, or a manifest",
			pod.uuid, pod_state_name(pod.state));
	memcpy(ret, pod.uuid, POD_UUID_SIZE);
	return 0;
}

static int print_unit(
	struct cli *cli, const char *pod, const char *name, char *const *flags, size_t flag_count)
{
	char program[PATH_MAX] = "", data[PATH_MAX], path[PATH_MAX], uuid[POD_UUID_SIZE];
	char derived[NAME_MAX + 1], *absolute = NULL;
	struct systemd_unit unit = {
		.program = program, .flags = flags, .flag_count = flag_count, .pod = path};
	_cleanup_free_ char *directory = NULL;
	_cleanup_close_ int data_fd = -1;
	struct stat st;
	int r;

	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		return error_set_errno(&cli->error, -errno, "cannot find this program");
	r = cli_data_path(cli, data, sizeof(data));
	if (r < 0)
		return r;
	/* systemd has another working directory: it is made here, so that it has a path from the root. */
	data_fd = cli_open_data(cli);
	if (data_fd < 0)
		return data_fd;
	directory = realpath(data, NULL);
	if (!directory)
		return error_set_errno(&cli->error, -errno, "data directory %s", data);
	unit.data_directory = directory;
	absolute = stat(pod, &st) == 0 && S_ISREG(st.st_mode) ? realpath(pod, path) : NULL;
	if (!absolute) {
		r = find_prepared(cli, pod, uuid);
		if (r < 0)
			return r;
		unit.pod = uuid;
		unit.is_prepared = true;
	}
	derive_name(unit.pod, derived);
	unit.name = name ? name : derived;
	return systemd_unit_print(&unit, stdout, &cli->error);
}

static bool is_unit_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return false;
	return *name && strlen(name) <= 100;
}

static int generate_systemd(struct cli *cli, int argc, char **argv)
{
	const char *name = NULL;
	const struct cli_option options[] = {
		{"name", CLI_STRING, &name, "NAME",
			"of the pod, for the unit's description and files (default: of the file)"},
	};
	int at = cli_parse_leading(cli, options, ARRAY_SIZE(options), argc, argv), flags;

	if (at < 0)
		return at;
	if (at >= argc)
		return cli_usage(cli, "needs a pod manifest, or the UUID of a prepared pod");
	flags = at + 1;
	if (flags < argc && strcmp(argv[flags], "--") != 0)
		return cli_usage(cli, "flags of the run stand behind \"--\"");
	if (name && !is_unit_name(name))
		return cli_usage(cli, "--name: letters, digits, - and _, not \"%s\"", name);
	flags += flags < argc;
	return print_unit(cli, argv[at], name, argv + flags, (size_t)(argc - flags));
}

static const struct cli_command commands[] = {
	{"generate systemd", generate_systemd, "[flags] POD.json|UUID [-- FLAGS...]",
		"Print a unit of systemd that runs a pod"},
};

int command_generate(struct cli *cli, int argc, char **argv)
{
	return cli_run_subcommand(cli, commands, ARRAY_SIZE(commands), argc, argv);
}
