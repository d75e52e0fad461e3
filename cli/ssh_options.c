// SPDX-License-Identifier: Apache-2.0
/*
 * ssh_options.c: see ssh_options.h.
 *
 * Theory of operation: the connection is what a ProxyCommand makes of its standard input and output, and the host key is what
 * a KnownHostsCommand says: both are this program. So no file of known hosts has to be kept in step with the pods
 * that come and go, and none is believed. The rest says that there is no other way in, and that a pod gets nothing of ours
 * but what it is asked for on the command line.
 */
#include "cli/ssh_options.h"

#include "pod/ssh.h"

#include <limits.h>
#include <string.h>

static const struct {
	const char *keyword, *value;
} fixed[] = {
	{"User", "root"},
	{"IdentitiesOnly", "yes"},
	{"IdentityAgent", "none"},
	{"PreferredAuthentications", "publickey"},
	{"PasswordAuthentication", "no"},
	{"KbdInteractiveAuthentication", "no"},
	{"StrictHostKeyChecking", "yes"},
	{"HostKeyAlgorithms", "ssh-ed25519"},
	{"UserKnownHostsFile", "/dev/null"},
	{"GlobalKnownHostsFile", "/dev/null"},
	{"VerifyHostKeyDNS", "no"},
	{"UpdateHostKeys", "no"},
	{"CheckHostIP", "no"},
	{"CanonicalizeHostname", "no"},
	{"ForwardAgent", "no"},
	{"ForwardX11", "no"},
};

void cli_clear_ssh_options(struct cli_ssh_options *options)
{
	for (size_t i = 0; i < options->count; i++)
		free(options->items[i].value);
	*options = (struct cli_ssh_options){0};
}

/* Takes the value over; NULL means out of memory. */
static int add(struct cli *cli, struct cli_ssh_options *options, const char *keyword, char *value)
{
	if (!value)
		return error_set_errno(&cli->error, -ENOMEM, "options for ssh");
	options->items[options->count].keyword = keyword;
	options->items[options->count].value = value;
	options->count++;
	return 0;
}

/* ssh replaces what follows a percent sign. */
static int escape(struct cli *cli, const char *path, char *escaped, size_t size)
{
	size_t length = 0;

	if (strpbrk(path, "'\"\\\n"))
		return error_set(&cli->error, -EINVAL,
			"ssh cannot be told of \"%s\": no path with quotes, backslashes or line "
			"breaks can",
			path);
	for (; *path && length + 2 < size; path++) {
		if (*path == '%')
			escaped[length++] = '%';
		escaped[length++] = *path;
	}
	escaped[length] = '\0';
	return *path ? error_set(&cli->error, -ENAMETOOLONG, "options for ssh") : 0;
}

static int data_path(struct cli *cli, char *path, size_t size)
{
	_cleanup_free_ char *absolute = NULL;
	char given[PATH_MAX];
	int r = cli_data_path(cli, given, sizeof(given));

	if (r < 0)
		return r;
	absolute = realpath(given, NULL);
	if (!absolute)
		return error_set_errno(&cli->error, -errno, "the data directory \"%s\"", given);
	return escape(cli, absolute, path, size);
}

static int own_path(struct cli *cli, char *path, size_t size)
{
	_cleanup_free_ char *absolute = realpath("/proc/self/exe", NULL);

	if (!absolute)
		return error_set_errno(&cli->error, -errno, "the path of this program");
	return escape(cli, absolute, path, size);
}

static char *print(const char *format, const char *a, const char *b)
{
	char *text;

	return asprintf(&text, format, a, b) < 0 ? NULL : text;
}

int cli_make_ssh_options(struct cli *cli, struct cli_ssh_options *ret)
{
	char data[2 * PATH_MAX], program[2 * PATH_MAX];
	int r;

	_Static_assert(ARRAY_SIZE(fixed) + 3 <= CLI_SSH_OPTIONS_MAX, "there is room for all");
	*ret = (struct cli_ssh_options){0};
	r = data_path(cli, data, sizeof(data));
	if (r == 0)
		r = own_path(cli, program, sizeof(program));
	if (r == 0)
		r = add(cli, ret, "ProxyCommand",
			print("'%s' '--dir=%s' ssh --proxy -- '%%h'", program, data));
	if (r == 0)
		r = add(cli, ret, "KnownHostsCommand",
			print("'%s' '--dir=%s' ssh --known-hosts -- '%%H'", program, data));
	if (r == 0)
		r = add(cli, ret, "IdentityFile", print("\"%s/%s\"", data, POD_SSH_IDENTITY));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fixed); i++)
		r = add(cli, ret, fixed[i].keyword, strdup(fixed[i].value));
	return r;
}
