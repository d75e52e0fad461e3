// SPDX-License-Identifier: Apache-2.0
/*
 * completion.c: appc-vm completion
 *
 * Theory of operation: the script is made of the very tables that the commands parse with. Each command is
 * called with a describer (cli.h) and tells its options or its subcommands, which become branches of a
 * shell's "case". What an option's value or an argument may be follows from how the help text calls it:
 * "FILE" is a file, "UUID" a pod, "a|b" one of these words. The shell functions around them stay as they are.
 */
#include "cli/cli.h"

#include <ctype.h>
#include <string.h>

/* The command that describes itself. */
struct script {
	struct cli cli;
	const char *command;
};

/* ---- what may stand in an argument's place */

/* In the order in which they are looked for; the name of a file may hold the name of another kind. */
static const struct {
	const char *word, *kind;
} argument_kinds[] = {
	{"UUID", "pod"},
	{"CHECKPOINT", "checkpoint"},
	{"KEY", "template"},
	{"IMAGE", "image"},
	{"FILE", "file"},
	{".json", "file"},
	{".aci", "file"},
	{"DIR", "directory"},
};

/* All lower-case words that '|' separates are themselves what may be written. */
static void print_words(const char *text)
{
	for (size_t length; *text; text += length + (text[length] == '|')) {
		length = strcspn(text, "|");
		if (length > 0 && islower((unsigned char)*text) &&
			strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") >= length)
			printf(" %.*s", (int)length, text);
		else if (length == 4 && !strncmp(text, "BOOL", 4))
			printf(" true false");
	}
}

/* Statements that set what may be written there. */
static void print_kinds(const char *text)
{
	printf("kinds='");
	for (size_t i = 0; i < ARRAY_SIZE(argument_kinds); i++)
		if (strstr(text, argument_kinds[i].word))
			printf(" %s", argument_kinds[i].kind);
	printf("' words='");
	print_words(text);
	printf("'");
}

/* ---- the data */

static bool takes_value(const struct cli_option *option)
{
	return option->kind != CLI_FLAG && option->kind != CLI_CALL_FLAG;
}

static void print_options(void *context, const struct cli_option *options, size_t count)
{
	const struct script *script = context;

	printf("\t'%s')\n\t\toptions='", script->command);
	for (size_t i = 0; i < count; i++) {
		if (options[i].kind != CLI_STRING && options[i].kind != CLI_CALL)
			printf(" %s%s", options[i].name[1] ? "--" : "-", options[i].name);
		if (takes_value(&options[i]))
			printf(" --%s=", options[i].name);
	}
	printf("'\n\t\t");
	print_kinds(script->cli.command->arguments);
	printf("\n\t\tcase $option in\n");
	for (size_t i = 0; i < count; i++) {
		if (!takes_value(&options[i]))
			continue;
		printf("\t\t--%s) ", options[i].name);
		print_kinds(options[i].argument);
		printf(" ;;\n");
	}
	printf("\t\t-*) kinds='' words='true false' ;;\n\t\tesac\n\t\t;;\n");
}

static void print_command(const struct cli_command *command);

static void print_subcommands(void *context, const struct cli_command *commands, size_t count)
{
	const struct script *script = context;
	size_t prefix = strlen(script->command) + 1;

	printf("\t'%s')\n\t\tgroup=1 kinds='' options='' words='", script->command);
	for (size_t i = 0; i < count; i++)
		printf(" %s", commands[i].name + prefix);
	printf("'\n\t\t;;\n");
	for (size_t i = 0; i < count; i++)
		print_command(&commands[i]);
}

static void print_command(const struct cli_command *command)
{
	char *arguments[] = {(char *)command->name, NULL};
	struct script script = {.cli = {.command = command}, .command = command->name};
	const struct cli_describer describer = {
		.options = print_options,
		.commands = print_subcommands,
		.context = &script,
	};

	script.cli.describer = &describer;
	command->run(&script.cli, 1, arguments);
}

/* ---- the script */

/* It depends on nothing but bash itself. */
/* clang-format off */
static const char bash_head[] =
	"# bash completion for appc-vm: source it, or install it as\n"
	"# /usr/share/bash-completion/completions/appc-vm\n"
	"\n"
	"# What may be written behind $command, or as the value of its flag $option.\n"
	"_appc_vm_describe()\n"
	"{\n"
	"\tgroup='' options='' kinds='' words=''\n"
	"\tcase $command in\n";

static const char bash_tail[] =
	"\tesac\n"
	"}\n"
	"\n"
	"# Names of things, from the program itself and the data directory that the line names.\n"
	"_appc_vm_names()\n"
	"{\n"
	"\tcase $1 in\n"
	"\tpod) \"${program[@]}\" list --full --no-legend | grep -oE '^[0-9a-f]{8}-[0-9a-f-]{27}' ;;\n"
	"\timage) \"${program[@]}\" image list --full --no-legend | grep -oE '^sha512-[0-9a-f]+' ;;\n"
	"\ttemplate) \"${program[@]}\" template list --no-legend | cut -f1 ;;\n"
	"\tcheckpoint) \"${program[@]}\" checkpoint list --no-legend | cut -f1 ;;\n"
	"\tesac 2>/dev/null\n"
	"}\n"
	"\n"
	"# Whether the flag $1 is followed by its value: it stands in $options with '=' only.\n"
	"_appc_vm_takes_value()\n"
	"{\n"
	"\t[[ \" $options \" == *\" $1= \"* && \" $options \" != *\" $1 \"* ]]\n"
	"}\n"
	"\n"
	"_appc_vm()\n"
	"{\n"
	"\tlocal program=(\"${COMP_WORDS[0]}\") line=() i word current prefix='' waiting=''\n"
	"\tlocal command='' option='' group='' options='' kinds='' words=''\n"
	"\n"
	"\t# bash splits words at '=': put flags and their values together again.\n"
	"\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif ((i > 1)) && [[ ${line[-1]} == --* && ($word == = || ${COMP_WORDS[i - 1]} == =) ]]; then\n"
	"\t\t\tline[-1]+=$word\n"
	"\t\telse\n"
	"\t\t\tline+=(\"$word\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tcurrent=${line[-1]}\n"
	"\tunset 'line[-1]'\n"
	"\t_appc_vm_describe\n"
	"\tfor word in \"${line[@]:1}\"; do\n"
	"\t\tif [[ -n $waiting ]]; then\n"
	"\t\t\t[[ $waiting != --dir ]] || program+=(\"--dir=$word\")\n"
	"\t\t\twaiting=''\n"
	"\t\telif [[ $word == --dir=* ]]; then\n"
	"\t\t\tprogram+=(\"$word\")\n"
	"\t\telif _appc_vm_takes_value \"$word\"; then\n"
	"\t\t\twaiting=$word\n"
	"\t\telif [[ $word != -* && (-z $command || -n $group) ]]; then\n"
	"\t\t\tcommand+=\"${group:+ }$word\"\n"
	"\t\t\t_appc_vm_describe\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif [[ -n $waiting ]]; then\n"
	"\t\toption=$waiting\n"
	"\telif [[ $current == --*=* ]]; then\n"
	"\t\toption=${current%%=*} current=${current#*=}\n"
	"\t\t[[ ${COMP_WORDS[COMP_CWORD]} != --*=* ]] || prefix=$option=\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\twords=$options kinds=''\n"
	"\tfi\n"
	"\t[[ -z $option ]] || _appc_vm_describe\n"
	"\tfor word in $kinds; do\n"
	"\t\twords+=\" $(_appc_vm_names \"$word\")\"\n"
	"\tdone\n"
	"\tmapfile -t COMPREPLY < <(\n"
	"\t\tcompgen -P \"$prefix\" -W \"$words\" -- \"$current\"\n"
	"\t\t[[ \" $kinds \" != *' file '* ]] || compgen -P \"$prefix\" -f -- \"$current\"\n"
	"\t\t[[ \" $kinds \" != *' directory '* ]] || compgen -P \"$prefix\" -d -- \"$current\"\n"
	"\t)\n"
	"\t[[ \" $kinds \" != *' file '* && \" $kinds \" != *' directory '* ]] || compopt -o filenames 2>/dev/null\n"
	"\t[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != --*= ]] || compopt -o nospace 2>/dev/null\n"
	"}\n"
	"complete -F _appc_vm appc-vm\n";
/* clang-format on */

static void print_bash(void)
{
	size_t count;
	const struct cli_command *commands = cli_commands(&count);

	fputs(bash_head, stdout);
	/* The options before the command: main() reads them. */
	printf("\t'')\n\t\tgroup='' options=' --dir= --debug --help' words='");
	for (size_t i = 0; i < count; i++)
		printf(" %s", commands[i].name);
	printf("'\n\t\t[[ $option != --dir ]] || kinds=directory words=''\n\t\t;;\n");
	for (size_t i = 0; i < count; i++)
		print_command(&commands[i]);
	fputs(bash_tail, stdout);
}

int command_completion(struct cli *cli, int argc, char **argv)
{
	int at = cli_parse(cli, NULL, 0, argc, argv);

	if (at < 0)
		return at;
	if (argc - at != 1)
		return cli_usage(cli, "needs the name of a shell");
	if (strcmp(argv[at], "bash"))
		return cli_usage(cli, "\"%s\" is not a shell that is known; bash is", argv[at]);
	print_bash();
	return 0;
}
