// SPDX-License-Identifier: Apache-2.0
/* parse.c: options, and what the commands share in talking to a person. */
#include "cli/cli.h"

#include "appc/manifest.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/insecure.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define OPTIONS_MAX         64
#define DATA_DIRECTORY_ROOT "/var/lib/appc-vm"

#define SIZE_BYTES_MIN (1 << 20)

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

static void print_help(const struct cli *cli, const struct cli_option *options, size_t count)
{
	printf("%s.\n\nUsage: appc-vm %s %s\n\nFlags:\n", cli->command->description,
		cli->command->name, cli->command->arguments);
	for (size_t i = 0; i < count; i++) {
		const struct cli_option *option = &options[i];
		char left[64];

		if (option->kind == CLI_FLAG)
			snprintf(left, sizeof(left), "--%s", option->name);
		else if (option->kind == CLI_OPTIONAL)
			snprintf(left, sizeof(left), "--%s[=%s]", option->name, option->argument);
		else
			snprintf(left, sizeof(left), "--%s=%s", option->name, option->argument);
		printf("  %-28s %s\n", left, option->help);
	}
}

static int parse_flag(struct cli *cli, const struct cli_option *option, const char *text)
{
	bool *value = option->value;

	if (!text || !strcmp(text, "true") || !strcmp(text, "1"))
		*value = true;
	else if (!strcmp(text, "false") || !strcmp(text, "0"))
		*value = false;
	else
		return cli_usage(cli, "--%s is true or false, not \"%s\"", option->name, text);
	return 0;
}

/* What every command takes, and what stands before its name. */
struct everywhere {
	const char *insecure, *ignored;
	bool help, ignored_flag;
};

static int parse_options(struct cli *cli, struct everywhere *everywhere,
	const struct cli_option *options, size_t count, const char *short_options, int argc,
	char **argv)
{
	struct option long_options[OPTIONS_MAX + 1] = {0};
	int index, c, r;

	for (size_t i = 0; i < count; i++) {
		long_options[i].name = options[i].name;
		long_options[i].has_arg = options[i].kind == CLI_STRING ? required_argument
									: optional_argument;
		long_options[i].val = 1;
	}
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, short_options, long_options, &index)) != -1) {
		if (c == 'h') {
			everywhere->help = true;
			continue;
		}
		if (c == ':')
			return cli_usage(cli, "%s needs a value", argv[optind - 1]);
		if (c != 1)
			return cli_usage(cli, "unknown flag %s", argv[optind - 1]);
		if (options[index].kind == CLI_FLAG) {
			r = parse_flag(cli, &options[index], optarg);
			if (r < 0)
				return r;
		} else {
			*(const char **)options[index].value = optarg ? optarg : "";
		}
		/* Each occurrence adds. */
		r = everywhere->insecure
			? cli_insecure_parse(everywhere->insecure, &cli->insecure, &cli->error)
			: 0;
		if (r < 0)
			return r;
		everywhere->insecure = NULL;
	}
	if (cli->debug)
		log_set_level(LOG_LEVEL_DEBUG);
	return optind;
}

static int parse_with_everywhere(struct cli *cli, const struct cli_option *options, size_t count,
	const char *short_options, int argc, char **argv, bool *ret_help)
{
	struct everywhere values = {0};
	const struct cli_option everywhere[] = {
		{"dir", CLI_STRING, &cli->data_directory, "DIR", "data directory"},
		{"debug", CLI_FLAG, &cli->debug, NULL, "more messages"},
		{"insecure-options", CLI_STRING, &values.insecure, "LIST",
			"checks to leave out: image, tls, http, pubkey, ondisk, capabilities, paths, "
			"seccomp, all-fetch, all-run, all"},
		{"system-config", CLI_STRING, &values.ignored, "DIR", "accepted, not read"},
		{"local-config", CLI_STRING, &values.ignored, "DIR", "accepted, not read"},
		{"user-config", CLI_STRING, &values.ignored, "DIR", "accepted, not read"},
		{"trust-keys-from-https", CLI_FLAG, &values.ignored_flag, NULL,
			"accepted: keys are not looked for"},
		{"help", CLI_FLAG, &values.help, NULL, "this text"},
	};
	struct cli_option all[OPTIONS_MAX];
	size_t total = count + ARRAY_SIZE(everywhere);
	int at;

	if (total > OPTIONS_MAX)
		return -E2BIG;
	if (count > 0)
		memcpy(all, options, count * sizeof(all[0]));
	memcpy(all + count, everywhere, sizeof(everywhere));
	if (cli->describer) {
		cli->describer->options(cli->describer->context, all, total);
		return -ECANCELED;
	}
	at = parse_options(cli, &values, all, total, short_options, argc, argv);
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
	return parse_with_everywhere(cli, options, count, ":h", argc, argv, NULL);
}

int cli_parse_global(struct cli *cli, int argc, char **argv, bool *ret_help, bool *ret_version)
{
	const struct cli_option options[] = {{"version", CLI_FLAG, ret_version, NULL, NULL}};

	return parse_with_everywhere(
		cli, options, ARRAY_SIZE(options), "+:h", argc, argv, ret_help);
}

void cli_data_path(const struct cli *cli, char *path, size_t size)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (cli->data_directory)
		snprintf(path, size, "%s", cli->data_directory);
	else if (geteuid() == 0)
		snprintf(path, size, "%s", DATA_DIRECTORY_ROOT);
	else if (xdg && *xdg)
		snprintf(path, size, "%s/appc-vm", xdg);
	else
		snprintf(path, size, "%s/.local/share/appc-vm", home ? home : "");
}

int cli_open_data(struct cli *cli)
{
	char path[PATH_MAX];
	int fd, r;

	cli_data_path(cli, path, sizeof(path));
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
	int64_t value;

	snprintf(binary, sizeof(binary), "%s%s", text, decimal ? "i" : "");
	if (decimal && binary[length - 1] == 'k')
		binary[length - 1] = 'K';
	if (length >= sizeof(binary) - 1 || appc_quantity_parse(binary, &value, NULL, NULL) < 0 ||
		value <= 0)
		return cli_usage(cli, "--%s: \"%s\" is not a size like \"256Mi\"", flag, text);
	if (value < SIZE_BYTES_MIN)
		value *= SIZE_BYTES_MIN;
	*ret = (uint64_t)value;
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

static int print_json(struct cli *cli, json_t *json, size_t flags)
{
	if (!json || json_dumpf(json, stdout, flags | JSON_PRESERVE_ORDER) < 0 ||
		putchar('\n') == EOF)
		return error_set(&cli->error, -EIO, "cannot write the JSON output");
	return 0;
}

int cli_print_formatted(struct cli *cli, const char *format, json_t *json)
{
	return print_json(cli, json, strcmp(format, "json") ? JSON_INDENT(2) : JSON_COMPACT);
}

int cli_print_json(struct cli *cli, json_t *json)
{
	return print_json(cli, json, JSON_INDENT(2));
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
