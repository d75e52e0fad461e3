// SPDX-License-Identifier: Apache-2.0
/* parse.c: options, and what the commands share in talking to a person. */
#include "cli/cli.h"

#include "appc/manifest.h"
#include "appc/types.h"
#include "base/duration.h"
#include "base/timestamp.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/insecure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define DATA_DIRECTORY_ROOT "/var/lib/appc-vm"

#define SIZE_BYTES_MIN (1 << 20)

/* Of the flags in the help text, characters. */
#define HELP_COLUMN 28

/* rkt's name is honoured too, so that its users' scripts go on working. */
#define ENV_KERNEL_PARAMS     "APPC_VM_EXTRA_KERNEL_PARAMS"
#define ENV_KERNEL_PARAMS_RKT "RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS"

int cli_usage(struct cli *cli, const char *format, ...)
{
	char message[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	if (!*cli->command->name)
		return error_set(&cli->error, -EINVAL, "%s (see \"appc-vm help\")", message);
	return error_set(&cli->error, -EINVAL, "%s: %s (see \"appc-vm %s --help\")",
		cli->command->name, message, cli->command->name);
}

/* A name of one letter has one dash. */
static const char *dashes(const struct cli_option *option)
{
	return option->name[1] ? "--" : "-";
}

static void print_help(const struct cli *cli, const struct cli_option *options, size_t count)
{
	printf("%s.\n\nUsage: appc-vm %s %s\n\nFlags:\n", cli->command->description,
		cli->command->name, cli->command->arguments);
	for (size_t i = 0; i < count; i++) {
		const struct cli_option *option = &options[i];
		char left[80];

		if (option->kind == CLI_FLAG || option->kind == CLI_CALL_FLAG)
			snprintf(left, sizeof(left), "%s%s", dashes(option), option->name);
		else if (option->kind == CLI_OPTIONAL)
			snprintf(left, sizeof(left), "--%s[=%s]", option->name, option->argument);
		else
			snprintf(left, sizeof(left), "--%s=%s", option->name, option->argument);
		/* What is too long for its column has the explanation on the next line. */
		if (strlen(left) > HELP_COLUMN) {
			printf("  %s\n", left);
			left[0] = '\0';
		}
		printf("  %-*s %s\n", HELP_COLUMN, left, option->help);
	}
}

/* What every command takes, and what stands before its name. */
struct everywhere {
	const char *insecure;
	bool help, ignored_flag;
};

struct parser {
	struct cli *cli;
	struct everywhere *everywhere;
	const struct cli_option *options; /* the command's own, then those of every command */
	size_t own_count, count;
	int argc;
	char **argv;
};

static int call_option(
	const struct parser *parser, const struct cli_option *option, const char *text)
{
	const struct cli_call *call = option->value;

	return call->call(parser->cli, option->name, text, call->context);
}

static int parse_flag(
	const struct parser *parser, const struct cli_option *option, const char *text)
{
	bool value = true;

	if (text && appc_bool_parse(text, &value, NULL) < 0)
		return cli_usage(
			parser->cli, "--%s is true or false, not \"%s\"", option->name, text);
	if (option->kind == CLI_CALL_FLAG)
		return call_option(parser, option, value ? "true" : "false");
	*(bool *)option->value = value;
	return 0;
}

/* Whether a word is a flag: "-" stands for standard input, "--" and "---" end something. */
static bool is_flag(const char *word)
{
	return word[0] == '-' && word[1] != '\0' && strcmp(word, "--") != 0 &&
		strcmp(word, "---") != 0;
}

/* The option that a flag names, or NULL. */
static const struct cli_option *find_option(const struct parser *parser, const char *word)
{
	size_t length = strcspn(word, "=");

	for (size_t i = 0; i < parser->count; i++) {
		const char *prefix = dashes(&parser->options[i]), *name = parser->options[i].name;

		if (strlen(prefix) + strlen(name) == length &&
			!strncmp(prefix, word, strlen(prefix)) &&
			!strncmp(name, word + strlen(prefix), strlen(name)))
			return &parser->options[i];
	}
	return NULL;
}

/* Takes the flag at argv[*index], with its value; *index is then at the last word of it. */
static int parse_one(const struct parser *parser, int *index)
{
	const char *word = parser->argv[*index], *text = strchr(word, '=');
	size_t length = text ? (size_t)(text++ - word) : strlen(word);
	const struct cli_option *option = find_option(parser, word);

	if (!strcmp(word, "-h")) {
		parser->everywhere->help = true;
		return 0;
	}
	if (!option)
		return cli_usage(parser->cli, "unknown flag %.*s", (int)length, word);
	if (option->kind == CLI_FLAG || option->kind == CLI_CALL_FLAG)
		return parse_flag(parser, option, text);
	if (!text && option->kind != CLI_OPTIONAL) {
		if (*index + 1 >= parser->argc)
			return cli_usage(parser->cli, "--%s needs a value", option->name);
		text = parser->argv[++*index];
	}
	if (option->kind == CLI_CALL)
		return call_option(parser, option, text);
	*(const char **)option->value = text ? text : "";
	if (option->value != &parser->everywhere->insecure)
		return 0;
	/* Each occurrence adds. */
	return cli_insecure_parse(
		parser->everywhere->insecure, &parser->cli->insecure, &parser->cli->error);
}

/* Flags may stand behind operands: those come last then, and the index of the first is returned. */
static int parse_permuted(const struct parser *parser)
{
	_cleanup_free_ char **operands = calloc((size_t)parser->argc + 1, sizeof(*operands));
	int count = 0;

	if (!operands)
		return -ENOMEM;
	for (int i = 1; i < parser->argc; i++) {
		if (is_flag(parser->argv[i])) {
			int r = parse_one(parser, &i);

			if (r < 0)
				return r;
			continue;
		}
		if (strcmp(parser->argv[i], "--") != 0)
			operands[count++] = parser->argv[i];
		else
			while (++i < parser->argc)
				operands[count++] = parser->argv[i];
	}
	memcpy(parser->argv + parser->argc - count, operands, (size_t)count * sizeof(*operands));
	return parser->argc - count;
}

/*
 * Up to the first operand, which is the command. What is no flag of ours is one of the command's, as in rkt: it is put
 * behind the command. The index of that.
 */
static int parse_leading(const struct parser *parser)
{
	char **argv = parser->argv, *command;
	int i = 1, kept = 0;

	for (; i < parser->argc && is_flag(argv[i]); i++) {
		int r;

		if (!find_option(parser, argv[i]) && strcmp(argv[i], "-h") != 0) {
			argv[1 + kept++] = argv[i];
			continue;
		}
		r = parse_one(parser, &i);
		if (r < 0)
			return r;
	}
	if (kept == 0)
		return i;
	if (i == parser->argc)
		return cli_usage(
			parser->cli, "unknown flag %.*s", (int)strcspn(argv[1], "="), argv[1]);
	command = argv[i];
	memmove(&argv[i - kept + 1], &argv[1], (size_t)kept * sizeof(*argv));
	argv[i - kept] = command;
	return i - kept;
}

/* Which of the command's own options is there. */
static void tell_given(
	const struct parser *parser, const struct cli_sequence *sequence, const char *word)
{
	const struct cli_option *option = find_option(parser, word);

	if (option && option < parser->options + parser->own_count)
		sequence->given(sequence->context, option->name);
}

/* From left to right; who asks for help gets it whatever comes after. */
static int parse_sequence(const struct parser *parser, const struct cli_sequence *sequence)
{
	struct cli *cli = parser->cli;
	char **argv = parser->argv;
	int r = 0;

	for (int i = 1; r == 0 && i < parser->argc && !parser->everywhere->help; i++) {
		if (is_flag(argv[i])) {
			tell_given(parser, sequence, argv[i]);
			r = parse_one(parser, &i);
		} else if (!strcmp(argv[i], "--")) {
			int first = i + 1;

			while (++i < parser->argc && strcmp(argv[i], "---") != 0)
				;
			r = sequence->arguments(
				cli, sequence->context, argv + first, (size_t)(i - first));
		} else if (strcmp(argv[i], "---") != 0) {
			r = sequence->operand(cli, sequence->context, argv[i]);
		}
	}
	return r;
}

static int parse_with_everywhere(struct cli *cli, const struct cli_option *options, size_t count,
	const struct cli_sequence *sequence, bool is_leading, int argc, char **argv, bool *ret_help)
{
	struct everywhere values = {0};
	const struct cli_option everywhere[] = {
		{"dir", CLI_STRING, &cli->data_directory, "DIR", "data directory"},
		{"debug", CLI_FLAG, &cli->debug, NULL, "more messages"},
		{"insecure-options", CLI_STRING, &values.insecure, "LIST",
			"checks to leave out: image, tls, http, pubkey, ondisk, capabilities, paths, "
			"seccomp, all-fetch, all-run, all"},
		{"system-config", CLI_STRING, &cli->system_config, "DIR",
			"configuration files of the system (default " CONFIGURATION_SYSTEM ")"},
		{"local-config", CLI_STRING, &cli->local_config, "DIR",
			"configuration files of this host, which win over those (default " CONFIGURATION_LOCAL
			")"},
		{"user-config", CLI_STRING, &cli->user_config, "DIR",
			"configuration files of a user, which win over both (default: none)"},
		{"trust-keys-from-https", CLI_FLAG, &values.ignored_flag, NULL,
			"accepted: keys are not looked for"},
		{"help", CLI_FLAG, &values.help, NULL, "this text"},
	};
	struct cli_option all[CLI_OPTIONS_MAX];
	size_t total = count + ARRAY_SIZE(everywhere);
	const struct parser parser = {
		.cli = cli,
		.everywhere = &values,
		.options = all,
		.own_count = count,
		.count = total,
		.argc = argc,
		.argv = argv,
	};
	int at;

	if (total > CLI_OPTIONS_MAX)
		return -E2BIG;
	if (count > 0)
		memcpy(all, options, count * sizeof(all[0]));
	memcpy(all + count, everywhere, sizeof(everywhere));
	if (cli->describer) {
		cli->describer->options(cli->describer->context, all, total);
		return -ECANCELED;
	}
	if (cli->help) {
		print_help(cli, all, total);
		return -ECANCELED;
	}
	at = sequence        ? parse_sequence(&parser, sequence)
		: is_leading ? parse_leading(&parser)
			     : parse_permuted(&parser);
	if (cli->debug)
		log_set_level(LOG_LEVEL_DEBUG);
	if (at >= 0 && values.help && ret_help)
		*ret_help = true;
	if (at >= 0 && values.help && !ret_help) {
		print_help(cli, all, total);
		return -ECANCELED;
	}
	return at;
}

int cli_parse(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv)
{
	return parse_with_everywhere(cli, options, count, NULL, false, argc, argv, NULL);
}

int cli_parse_flags(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv)
{
	int at = cli_parse(cli, options, count, argc, argv);

	if (at < 0)
		return at;
	return at < argc ? cli_usage(cli, "takes no arguments") : 0;
}

int cli_parse_leading(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv)
{
	return parse_with_everywhere(cli, options, count, NULL, true, argc, argv, NULL);
}

int cli_parse_sequence(struct cli *cli, const struct cli_option *options, size_t count,
	const struct cli_sequence *sequence, int argc, char **argv)
{
	return parse_with_everywhere(cli, options, count, sequence, false, argc, argv, NULL);
}

int cli_parse_global(struct cli *cli, int argc, char **argv, bool *ret_help, bool *ret_version)
{
	const struct cli_option options[] = {{"version", CLI_FLAG, ret_version, NULL, NULL}};

	return parse_with_everywhere(
		cli, options, ARRAY_SIZE(options), NULL, true, argc, argv, ret_help);
}

int cli_read_configuration(struct cli *cli, enum configuration_part part, struct configuration *ret)
{
	const char *const directories[] = {
		cli->system_config ? cli->system_config : CONFIGURATION_SYSTEM,
		cli->local_config ? cli->local_config : CONFIGURATION_LOCAL,
		cli->user_config && *cli->user_config ? cli->user_config : NULL,
	};
	enum configuration_part first = part == CONFIGURATION_PARTS ? 0 : part;
	enum configuration_part end = part == CONFIGURATION_PARTS ? part : part + 1;
	int r = 0;

	*ret = (struct configuration){0};
	for (part = first; r == 0 && part < end; part++)
		r = configuration_read(part, directories, ret, &cli->error);
	return r;
}

int cli_data_path(struct cli *cli, char *path, size_t size)
{
	_cleanup_(configuration_clear) struct configuration configuration = {0};
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n, r = 0;

	if (!cli->data_directory)
		r = cli_read_configuration(cli, CONFIGURATION_PATHS, &configuration);
	if (cli->data_directory)
		n = snprintf(path, size, "%s", cli->data_directory);
	else if (configuration.data)
		n = snprintf(path, size, "%s", configuration.data);
	else if (geteuid() == 0)
		n = snprintf(path, size, "%s", DATA_DIRECTORY_ROOT);
	else if (xdg && *xdg)
		n = snprintf(path, size, "%s/appc-vm", xdg);
	else
		n = snprintf(path, size, "%s/.local/share/appc-vm", home ? home : "");
	if (n < 0 || (size_t)n >= size)
		return error_set_errno(
			&cli->error, -ENAMETOOLONG, "the path of the data directory");
	return r;
}

int cli_open_data(struct cli *cli)
{
	char path[PATH_MAX];
	int fd, r;

	r = cli_data_path(cli, path, sizeof(path));
	if (r < 0)
		return r;
	r = directory_create_path(AT_FDCWD, path, 0755);
	if (r < 0)
		return error_set_errno(
			&cli->error, r, "cannot create the data directory \"%s\"", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(
			&cli->error, -errno, "cannot open the data directory \"%s\"", path);
	return fd;
}

int cli_open_templates(struct cli *cli, int data_fd, struct templates **ret)
{
	const char *elsewhere = getenv(CLI_ENV_TEMPLATES);

	if (elsewhere && *elsewhere)
		return templates_open(AT_FDCWD, elsewhere, ret, &cli->error);
	return templates_open(data_fd, "templates", ret, &cli->error);
}

int cli_open_program_file(struct cli *cli, const char *given, const char *flag, const char *name)
{
	char executable[PATH_MAX], path[PATH_MAX + 64];
	ssize_t length;
	char *slash;
	int fd;

	if (given) {
		fd = open(given, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(&cli->error, -errno, "--%s=%s", flag, given);
		return fd;
	}
	length = readlink("/proc/self/exe", executable, sizeof(executable) - 1);
	if (length < 0)
		return error_set_errno(&cli->error, -errno, "cannot find my own executable");
	executable[length] = '\0';
	slash = strrchr(executable, '/');
	if (slash)
		*slash = '\0';
	snprintf(path, sizeof(path), "%s/%s", executable, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "%s/../lib/appc-vm/%s", executable, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return error_set(&cli->error, -ENOENT,
		"cannot find %s beside the program or in ../lib/appc-vm; build it (\"make kernel\" makes "
		"vmlinux) or give --%s",
		name, flag);
}

int cli_parse_size(struct cli *cli, const char *flag, const char *text, uint64_t *ret)
{
	size_t length = strlen(text);
	bool decimal = length > 0 && strchr("kKMGT", text[length - 1]);
	char binary[32];
	int64_t value = 0;

	if (length < sizeof(binary) - 1) {
		snprintf(binary, sizeof(binary), "%s%s", text, decimal ? "i" : "");
		if (decimal && binary[length - 1] == 'k')
			binary[length - 1] = 'K';
		if (appc_quantity_parse(binary, &value, NULL, NULL) < 0)
			value = 0;
	}
	if (value <= 0)
		return cli_usage(cli, "--%s: \"%s\" is not a size like \"256Mi\"", flag, text);
	if (value < SIZE_BYTES_MIN)
		value *= SIZE_BYTES_MIN;
	*ret = (uint64_t)value;
	return 0;
}

int cli_parse_since(struct cli *cli, const char *text, int64_t *ret)
{
	int64_t ago;

	if (!text || timestamp_parse(text, strlen(text), ret) == 0)
		return 0;
	if (duration_parse(text, &ago) < 0 || ago < 0)
		return cli_usage(cli,
			"--since: \"%s\" is neither a time like \"2026-11-22T12:00:00Z\" nor a duration "
			"like \"10m\"",
			text);
	*ret = pod_now() - ago;
	return 0;
}

int cli_parse_timeout(struct cli *cli, const char *flag, const char *text, int64_t *ret)
{
	if (duration_parse(text, ret) < 0 || *ret < 0)
		return cli_usage(cli, "--%s: \"%s\" is not a duration like \"1h30m\"", flag, text);
	return 0;
}

int cli_parse_duration(struct cli *cli, const char *flag, const char *text, int64_t *ret)
{
	int r = cli_parse_timeout(cli, flag, text, ret);

	*ret = r == 0 ? *ret / 1000000000 : 0;
	return r;
}

int cli_parse_dax(struct cli *cli, const char *text, enum virtio_fs_dax *ret)
{
	static const char *const names[] = {
		[VIRTIO_FS_DAX_AUTO] = "auto",
		[VIRTIO_FS_DAX_NEVER] = "never",
		[VIRTIO_FS_DAX_ALWAYS] = "always",
	};

	*ret = VIRTIO_FS_DAX_AUTO;
	for (size_t i = 0; text && i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum virtio_fs_dax)i;
			return 0;
		}
	return text ? cli_usage(cli, "--dax is auto, never or always, not \"%s\"", text) : 0;
}

const char *cli_kernel_parameters(void)
{
	const char *extra = getenv(ENV_KERNEL_PARAMS);

	return extra ? extra : getenv(ENV_KERNEL_PARAMS_RKT);
}

int cli_check_format(struct cli *cli, const char *format)
{
	if (!format || !strcmp(format, "json") || !strcmp(format, "json-pretty"))
		return 0;
	return cli_usage(cli, "--format is json or json-pretty, not \"%s\"", format);
}

int cli_print_formatted(struct cli *cli, const char *format, json_t *json)
{
	size_t flags = strcmp(format, "json") ? JSON_INDENT(2) : JSON_COMPACT;

	if (json_failures() > 0)
		return error_set_errno(&cli->error, -ENOMEM, "cannot compose the JSON output");
	if (!json || json_dumpf(json, stdout, flags | JSON_PRESERVE_ORDER) < 0 ||
		putchar('\n') == EOF)
		return error_set(&cli->error, -EIO, "cannot write the JSON output");
	return 0;
}

void cli_format_time(int64_t nanoseconds, char *text)
{
	time_t seconds = nanoseconds / 1000000000ll;
	struct tm tm;

	if (nanoseconds == 0 || !gmtime_r(&seconds, &tm) ||
		strftime(text, 40, "%Y-%m-%d %H:%M:%S +0000 UTC", &tm) == 0)
		snprintf(text, 40, "-");
}

void cli_format_age(int64_t seconds, char *text)
{
	static const struct {
		const char *name;
		int64_t seconds;
	} units[] = {{"year", 365ll * 86400}, {"month", 30ll * 86400}, {"week", 7ll * 86400},
		{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}};
	int64_t age = time(NULL) - seconds;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		int64_t count = age / units[i].seconds;

		if (count <= 0)
			continue;
		snprintf(text, 40, "%" PRId64 " %s%s ago", count, units[i].name,
			count == 1 ? "" : "s");
		return;
	}
	snprintf(text, 40, "now");
}
