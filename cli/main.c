// SPDX-License-Identifier: Apache-2.0
/* main.c: finds the command and prints its error. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>
#include <string.h>

static const struct cli_command commands[] = {
	{"app", command_app, "COMMAND [flags]",
		"Apps that come and go: a pod for them, and to add, start, stop and remove them"},
	{"attach", command_attach, "[flags] UUID", "Attach to the streams of a running app"},
	{"cat-manifest", command_cat_manifest, "[flags] UUID...", "Print the manifest of a pod"},
	{"check", command_check, "", "Say what this host can and cannot do"},
	{"checkpoint", command_checkpoint, "[flags] UUID|list|rm|verify",
		"Park a running pod on disk, to go on later"},
	{"completion", command_completion, "bash", "Print a completion script for a shell"},
	{"config", command_config, "[flags]", "Print the configuration"},
	{"enter", command_enter, "[flags] UUID [CMD [ARGS...]]",
		"Run a program in an app of a pod"},
	{"events", command_events, "[flags] [UUID...]", "Print what has happened to pods"},
	{"export", command_export, "[flags] UUID OUTPUT.aci",
		"Write the root filesystem of an app that has exited to an image file"},
	{"fetch", command_fetch, "[flags] IMAGE...", "Fetch images from files and URLs"},
	{"gc", command_gc, "[flags]", "Remove pods that ended a while ago, and what they used"},
	{"generate", command_generate, "COMMAND [flags]", "Print what others need to run pods"},
	{"image", command_image, "COMMAND [flags]",
		"Images: import, list, export, extract and remove them"},
	{"list", command_list, "[flags]", "List pods"},
	{"logs", command_logs, "[flags] UUID", "Print what the apps of a pod wrote"},
	{"metrics", command_metrics, "[flags]", "Print what running pods use, for Prometheus"},
	{"pause", command_pause, "[flags] UUID...", "Have pods stand still"},
	{"prepare", command_prepare, "[flags] IMAGE [flags] [-- arguments [---]]... | POD.json",
		"Prepare a pod, to be run later"},
	{"resume", command_resume, "[flags] UUID...", "Have paused pods go on"},
	{"rm", command_rm, "[flags] UUID...", "Remove pods that have ended"},
	{"run", command_run, "[flags] IMAGE [flags] [-- arguments [---]]... | POD.json",
		"Run a pod"},
	{"run-prepared", command_run_prepared, "[flags] UUID", "Run a prepared pod"},
	{"ssh", command_ssh, "[flags] UUID [ARGS...]", "Log into a pod, or run a command in it"},
	{"ssh-config", command_ssh_config, "", "Print what ssh needs to reach pods"},
	{"status", command_status, "[flags] UUID", "Show the state of a pod and its apps"},
	{"stop", command_stop, "[flags] UUID...", "Stop pods"},
	{"template", command_template, "COMMAND [flags]", "Make, list and remove templates"},
	{"top", command_top, "[flags] [UUID...]", "Show what running pods use"},
	{"trust", command_trust, "[flags] PUBKEY...", "Trust keys to sign images"},
	{"version", command_version, "", "Print the version"},
};

/* rkt's that are none here, and why. */
static const struct {
	const char *name, *reason;
} refused[] = {
	{"api-service", "there is no gRPC: use list, status and image list with --format=json"},
	{"metadata-service",
		"there is nothing to start: each pod has a service of its own, always"},
};

/* Until the command is known. */
static const struct cli_command program = {"", NULL, "", ""};
const struct cli_command *cli_commands(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(commands);
	return commands;
}

static void print_help(FILE *stream)
{
	fprintf(stream,
		"appc-vm runs pods of app containers, each in a virtual machine of its own.\n\n"
		"Usage: appc-vm [--dir=DIR] [--debug] COMMAND [flags] [arguments]\n"
		"       appc-vm --version\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stream, "  %-12s %s\n", commands[i].name, commands[i].description);
	fprintf(stream,
		"\n\"appc-vm COMMAND --help\", \"-h\" or \"appc-vm help COMMAND\" describes a command.\n");
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void say_unknown(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		if (strcmp(refused[i].name, name) != 0)
			continue;
		log_error("%s: %s", name, refused[i].reason);
		return;
	}
	log_error("unknown command \"%s\"; see \"appc-vm help\"", name);
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	bool help = false, version = false;
	const char *name;
	int at, r;

	cli.start = clock_monotonic();
	cli.command = &program;
	/* A file that may not grow (RLIMIT_FSIZE) is an error of the write, to be told of; nobody dies of it. */
	signal(SIGXFSZ, SIG_IGN);
	at = cli_parse_global(&cli, argc, argv, &help, &version);
	if (at < 0) {
		log_error("%s", cli.error.message);
		return CLI_STATUS_ERROR;
	}
	name = version ? "version" : at < argc ? argv[at] : NULL;
	if (!help && name && !strcmp(name, "help") && at + 1 < argc && argv[at + 1][0] != '-') {
		cli.help = true;
		name = argv[++at];
	}
	if (help || !name || !strcmp(name, "help")) {
		print_help(help || name ? stdout : stderr);
		return help || name ? 0 : CLI_STATUS_ERROR;
	}
	cli.command = find_command(name);
	if (!cli.command) {
		say_unknown(name);
		return CLI_STATUS_ERROR;
	}
	if (version)
		at = argc - 1;
	r = cli.command->run(&cli, argc - at, argv + at);
	if (r == -ECANCELED)
		r = 0;
	/* What a command prints is its result. */
	if (r >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = error_set_errno(&cli.error, -errno, "cannot write standard output");
	if (r >= 0)
		return r;
	if (!*cli.error.message)
		error_set_errno(&cli.error, r, "%s", cli.command->name);
	log_error("%s", cli.error.message);
	return CLI_STATUS_ERROR;
}
