/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: a table of commands, one file each, and how they parse and print.
 *
 * A command returns the program's exit status, or -errno with the message in cli->error, which main()
 * prints; that and every usage error is exit status 254, as in rkt.
 */
#ifndef APPC_CLI_CLI_H
#define APPC_CLI_CLI_H

#include "base/error.h"
#include "cli/configuration.h"
#include "pod/pod.h"
#include "store/store.h"
#include "vmm/template.h"

#include <stdbool.h>
#include <stdint.h>

#define CLI_STATUS_ERROR 254

struct cli_command;
struct cli_option;

/*
 * Who wants to know what a command takes instead of running it: every command begins with cli_parse() or
 * cli_run_subcommand(), and these hand their table to the describer and return -ECANCELED.
 */
struct cli_describer {
	void (*options)(void *context, const struct cli_option *options, size_t count);
	void (*commands)(void *context, const struct cli_command *commands, size_t count);
	void *context;
};

struct cli {
	const char *data_directory; /* --dir */
	/* --system-config, --local-config, --user-config; NULL: the usual one, or none */
	const char *system_config, *local_config, *user_config;
	bool debug;
	unsigned int insecure; /* --insecure-options: enum cli_insecure */
	int64_t start;         /* CLOCK_MONOTONIC at the beginning of main() */
	const struct cli_command *command;
	const struct cli_describer *describer; /* NULL: commands run */
	bool help; /* "help COMMAND": as with --help, whatever else the words say */
	struct error error;
};

struct cli_command {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *arguments;   /* for the usage line: "[flags] UUID" */
	const char *description; /* one line */
};

enum cli_option_kind {
	CLI_FLAG,     /* bool *: --name or --name=true|false */
	CLI_STRING,   /* const char **: --name=VALUE or --name VALUE */
	CLI_OPTIONAL, /* const char **: --name or --name=VALUE; "" when without */
	/* struct cli_call *, called for each: flags that may stand several times, or whose place matters */
	CLI_CALL,      /* as CLI_STRING */
	CLI_CALL_FLAG, /* as CLI_FLAG; the text is "true" or "false" */
};

struct cli_option {
	const char *name; /* one letter for one dash; those are flags without a value */
	enum cli_option_kind kind;
	void *value;
	const char *argument; /* how the value is called in the help text */
	const char *help;
};

struct cli_call {
	/* 0, or -errno with the message set. text is of argv, or lives for ever. */
	int (*call)(struct cli *cli, const char *name, const char *text, void *context);
	void *context;
};

#define CLI_OPTIONS_MAX 80

/*
 * Parses the command's options and those of every command. Returns the index of the first
 * positional argument; -EINVAL: wrong usage, message set; -ECANCELED: --help was asked for and printed.
 */
int cli_parse(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv);

/* The same for a command that takes no positional argument. 0 or -errno. */
int cli_parse_flags(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv);

/* The same for a command whose first operand ends its flags: what follows may be another program's. */
int cli_parse_leading(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv);

/* All commands, in the order in which help shows them. */
const struct cli_command *cli_commands(size_t *ret_count);

/*
 * The same for a command line that is read from left to right, as rkt's run and prepare do (its flags are
 * about the image before them): operand() is called for each word that is no flag; arguments() for the
 * words between "--" and "---", or the end. A "---" that ends nothing is passed over. given() hears the name of each
 * of the options that is there, before its value is looked at. Returns 0, or -errno as cli_parse(), or as one
 * of the functions.
 */
struct cli_sequence {
	void (*given)(void *context, const char *name);
	int (*operand)(struct cli *cli, void *context, const char *text);
	int (*arguments)(struct cli *cli, void *context, char *const *words, size_t count);
	void *context;
};
int cli_parse_sequence(struct cli *cli, const struct cli_option *options, size_t count,
	const struct cli_sequence *sequence, int argc, char **argv);

/*
 * Parses what stands before the command's name: --version, --help and the options of every command. Other flags
 * there are moved behind the command. The index of the command, or -EINVAL with the message set.
 */
int cli_parse_global(struct cli *cli, int argc, char **argv, bool *ret_help, bool *ret_version);

/* A usage error. */
int cli_usage(struct cli *cli, const char *format, ...) _printf_(2, 3);

/*
 * What the configuration files say of one part, or, with CONFIGURATION_PARTS, of all. The caller clears *ret
 * in any case. -errno with the message set.
 */
int cli_read_configuration(
	struct cli *cli, enum configuration_part part, struct configuration *ret);

/* Where the data directory is; path has room for size bytes. -errno with the message set. */
int cli_data_path(struct cli *cli, char *path, size_t size);

/* Opens the data directory, creating it. The fd, or -errno with the message set. */
int cli_open_data(struct cli *cli);

/* Where templates are, when not below the data directory. */
#define CLI_ENV_TEMPLATES "APPC_VM_TEMPLATES"

/*
 * Opens the directory of templates, creating it: "templates" in the data directory, or the one that
 * CLI_ENV_TEMPLATES names. -errno with the message set.
 */
int cli_open_templates(struct cli *cli, int data_fd, struct templates **ret);

/*
 * Opens a file that belongs to the program: beside the executable (a build tree), or below
 * ../lib/appc-vm (an installation); or the one that was given with --FLAG. The fd, or -errno with the
 * message set. Before a mount namespace of our own is entered: the executable stays in the old one.
 */
int cli_open_program_file(struct cli *cli, const char *given, const char *flag, const char *name);

/*
 * A size as in isolators, but as with every VM runner "128M" is 128 MiB, and so is "128" alone: nothing
 * here has so few bytes.
 */
int cli_parse_size(struct cli *cli, const char *flag, const char *text, uint64_t *ret);

/* Durations as Go writes them, in seconds: "30m", "1h30m", "24h0m0s", "0". flag is for messages. */
int cli_parse_duration(struct cli *cli, const char *flag, const char *text, int64_t *ret);

/* The same in nanoseconds. */
int cli_parse_timeout(struct cli *cli, const char *flag, const char *text, int64_t *ret);

/* --since: a timestamp, or a duration: so long ago. Nanoseconds since 1970; unchanged where text is NULL. */
int cli_parse_since(struct cli *cli, const char *text, int64_t *ret);

/* --dax; text may be NULL. */
int cli_parse_dax(struct cli *cli, const char *text, enum virtio_fs_dax *ret);

/* What the person adds to the guest kernel's command line, or NULL. */
const char *cli_kernel_parameters(void);

/* --format: NULL, "json" or "json-pretty"; anything else is a usage error. */
int cli_check_format(struct cli *cli, const char *format);

/* Prints a JSON value in that format, which is not NULL, on standard output, and a newline. */
int cli_print_formatted(struct cli *cli, const char *format, json_t *json);

/* "2026-11-22 10:00:00 +0000 UTC" from nanoseconds; "-" for 0. text has room for 40 bytes. */
void cli_format_time(int64_t nanoseconds, char *text);

/* "now", "1 minute ago", "3 weeks ago" from seconds since 1970. text has room for 40 bytes. */
void cli_format_age(int64_t seconds, char *text);

/*
 * Runs the command that argv[1] names, of a command that has commands: their names begin with its own
 * and a blank. Without one, or with --help, prints what there is.
 */
int cli_run_subcommand(
	struct cli *cli, const struct cli_command *commands, size_t count, int argc, char **argv);

/* ---- commands about pods */

/* Opens the data directory and the pods in it. The caller closes both. */
int cli_open_pods(struct cli *cli, int *ret_data_fd, struct pods **ret);

/* For commands that take "--uuid-file=FILE | UUID...". */
struct cli_uuids {
	char **items; /* the arguments, or the one from the file; not to be freed */
	size_t count;
	char text[64], *from_file; /* the latter is items[0] then */
};

/* The arguments argv[at] to argv[argc - 1], or file's first line; neither or both is a usage error. */
int cli_parse_uuids(
	struct cli *cli, const char *file, int argc, char **argv, int at, struct cli_uuids *ret);

/* The same for a command about one pod. */
int cli_parse_uuid(
	struct cli *cli, const char *file, int argc, char **argv, int at, struct cli_uuids *ret);

/*
 * The whole of a command that does something to each of the pods that are named, and prints its UUID; one that fails does
 * not save the others. The options are the command's own, --uuid-file into *uuid_file among them. The exit status, or
 * -errno with the message set.
 */
int cli_act_on_pods(struct cli *cli, const struct cli_option *options, size_t count,
	const char *const *uuid_file, int argc, char **argv,
	int (*act)(struct pod *pod, void *context, struct error *err), void *context);

/* cli_parse_leading() for a command whose first operand is a pod: its index. A "--" may stand before it. */
int cli_parse_pod(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv);

int command_app(struct cli *cli, int argc, char **argv);
int command_attach(struct cli *cli, int argc, char **argv);
int command_cat_manifest(struct cli *cli, int argc, char **argv);
int command_check(struct cli *cli, int argc, char **argv);
int command_checkpoint(struct cli *cli, int argc, char **argv);
int command_completion(struct cli *cli, int argc, char **argv);
int command_config(struct cli *cli, int argc, char **argv);
int command_enter(struct cli *cli, int argc, char **argv);
int command_events(struct cli *cli, int argc, char **argv);
int command_export(struct cli *cli, int argc, char **argv);
int command_fetch(struct cli *cli, int argc, char **argv);
int command_gc(struct cli *cli, int argc, char **argv);
int command_generate(struct cli *cli, int argc, char **argv);
int command_image(struct cli *cli, int argc, char **argv);
int command_logs(struct cli *cli, int argc, char **argv);
int command_metrics(struct cli *cli, int argc, char **argv);
int command_list(struct cli *cli, int argc, char **argv);
int command_pause(struct cli *cli, int argc, char **argv);
int command_prepare(struct cli *cli, int argc, char **argv);
int command_resume(struct cli *cli, int argc, char **argv);
int command_rm(struct cli *cli, int argc, char **argv);
int command_run(struct cli *cli, int argc, char **argv);
int command_run_prepared(struct cli *cli, int argc, char **argv);
int command_ssh(struct cli *cli, int argc, char **argv);
int command_ssh_config(struct cli *cli, int argc, char **argv);
int command_status(struct cli *cli, int argc, char **argv);
int command_stop(struct cli *cli, int argc, char **argv);
int command_template(struct cli *cli, int argc, char **argv);
int command_top(struct cli *cli, int argc, char **argv);
int command_trust(struct cli *cli, int argc, char **argv);
int command_version(struct cli *cli, int argc, char **argv);

#endif
