// SPDX-License-Identifier: Apache-2.0
/* main.c: finds the command and prints its error. */
#include "cli/cli.h"

#include "base/log.h"

#include <string.h>
#include <time.h>

static const struct cli_command commands[] = {
	{"check", command_check, "", "Say what this host can and cannot do"},
	{"gc", command_gc, "[flags]", "Remove pods that ended a while ago, and what they used"},
	{"image", command_image, "COMMAND [flags]", "Import and list images"},
	{"list", command_list, "[flags]", "List pods"},
	{"rm", command_rm, "UUID...", "Remove pods that have ended"},
	{"run", command_run, "[flags] POD.json", "Run a pod"},
	{"status", command_status, "[flags] UUID", "Show the state of a pod and its apps"},
	{"template", command_template, "COMMAND [flags]", "Make, list and remove templates"},
	{"version", command_version, "", "Print the version"},
};

static void print_help(FILE *stream)
{
	fprintf(stream,
		"appc-vm runs pods of app containers, each in a virtual machine of its own.\n\n"
		"Usage: appc-vm [--dir=DIR] [--debug] COMMAND [flags] [arguments]\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].description);
	fprintf(stream, "\n\"appc-vm COMMAND --help\" describes a command.\n");
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* Options before the command's name. Returns the index of the name, or -1. */
static int parse_global(struct cli *cli, int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--dir") && i + 1 < argc)
			cli->data_directory = argv[++i];
		else if (!strncmp(argv[i], "--dir=", 6))
			cli->data_directory = argv[i] + 6;
		else if (!strcmp(argv[i], "--debug"))
			cli->debug = true;
		else if (!strcmp(argv[i], "--version"))
			argv[i] = (char *)"version";
		else
			return -1;
		if (argv[i][0] != '-' && find_command(argv[i]))
			break;
	}
	return i < argc ? i : -1;
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	struct timespec now;
	int at, r;

	clock_gettime(CLOCK_MONOTONIC, &now);
	cli.start = now.tv_sec * 1000000000ll + now.tv_nsec;
	if (argc >= 2 &&
		(!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") ||
			!strcmp(argv[1], "-h"))) {
		print_help(stdout);
		return 0;
	}
	at = parse_global(&cli, argc, argv);
	if (at < 0) {
		print_help(stderr);
		return CLI_STATUS_ERROR;
	}
	cli.command = find_command(argv[at]);
	if (!cli.command) {
		log_error("unknown command \"%s\"; see \"appc-vm help\"", argv[at]);
		return CLI_STATUS_ERROR;
	}
	r = cli.command->run(&cli, argc - at, argv + at);
	if (r == -ECANCELED)
		return 0;
	if (r >= 0)
		return r;
	if (!*cli.error.message)
		error_set_errno(&cli.error, r, "%s", cli.command->name);
	log_error("%s", cli.error.message);
	return CLI_STATUS_ERROR;
}
