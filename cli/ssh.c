// SPDX-License-Identifier: Apache-2.0
/* ssh.c: appc-vm ssh */
#include "cli/ssh_options.h"

#include "pod/ssh.h"

#include <signal.h>
#include <string.h>

/* The pod's UUID, or its beginning, in a name that may have a domain. uuid has room for POD_UUID_SIZE. */
static int parse_host(struct cli *cli, const char *host, char *uuid)
{
	size_t length = strlen(host), domain = strlen(POD_SSH_DOMAIN);

	if (length > domain && !strcmp(host + length - domain, POD_SSH_DOMAIN))
		length -= domain;
	if (length == 0 || length >= POD_UUID_SIZE)
		return error_set(&cli->error, -EINVAL, "\"%s\" is no name of a pod", host);
	memcpy(uuid, host, length);
	uuid[length] = '\0';
	return 0;
}

struct target {
	int data;
	struct pods *pods;
	struct pod pod;
};
#define TARGET_NONE ((struct target){.data = -1, .pod = POD_NONE})

static void target_close(struct target *target)
{
	pod_close(&target->pod);
	cleanup_pods(&target->pods);
	cleanup_close(&target->data);
}

static int target_open(struct cli *cli, const char *host, struct target *target)
{
	char uuid[POD_UUID_SIZE];
	int r = parse_host(cli, host, uuid);

	if (r == 0)
		r = cli_open_pods(cli, &target->data, &target->pods);
	if (r == 0)
		r = pod_open(target->pods, uuid, &target->pod, &cli->error);
	if (r == 0 && target->pod.state != POD_RUNNING)
		r = error_set(&cli->error, -ESRCH, "pod \"%s\" is not running", target->pod.uuid);
	return r;
}

/* For ssh: a connection to the pod. */
static int proxy(struct cli *cli, const char *host)
{
	_cleanup_(target_close) struct target target = TARGET_NONE;
	int r = target_open(cli, host, &target);

	return r < 0 ? r : pod_ssh(&target.pod, &cli->error);
}

/* For ssh: which host key the pod has. */
static int print_known_hosts(struct cli *cli, const char *host)
{
	_cleanup_(target_close) struct target target = TARGET_NONE;
	_cleanup_free_ char *key = NULL;
	int r = target_open(cli, host, &target);

	if (r == 0)
		r = pod_ssh_host_key(&target.pod, &key, &cli->error);
	if (r == 0)
		printf("%s %s\n", host, key);
	return r;
}

static void words_free(char ***words)
{
	for (size_t i = 0; *words && (*words)[i]; i++)
		free((*words)[i]);
	free(*words);
}

/* The command line: our options, none of a file of the user's, of which some would be for any host; then his. */
static char **make_words(
	const char *uuid, const struct cli_ssh_options *options, char *const *arguments)
{
	_cleanup_(words_free) char **words = NULL;
	size_t count = 0, used = 0;

	while (arguments[count])
		count++;
	words = calloc(options->count + count + 4, sizeof(*words));
	if (!words)
		return NULL;
	words[used++] = strdup("ssh");
	if (words[used - 1])
		words[used++] = strdup("-Fnone");
	for (size_t i = 0; words[used - 1] && i < options->count; i++)
		if (asprintf(&words[used++], "-o%s=%s", options->items[i].keyword,
			    options->items[i].value) < 0)
			words[used - 1] = NULL;
	if (words[used - 1] && asprintf(&words[used++], "%s" POD_SSH_DOMAIN, uuid) < 0)
		words[used - 1] = NULL;
	for (size_t i = 0; words[used - 1] && i < count; i++)
		words[used++] = strdup(arguments[i]);
	return words[used - 1] ? TAKE_PTR(words) : NULL;
}

static int execute(struct cli *cli, const char *uuid, const struct cli_ssh_options *options,
	char *const *arguments)
{
	_cleanup_(words_free) char **words = make_words(uuid, options, arguments);

	if (!words)
		return error_set_errno(&cli->error, -ENOMEM, "ssh");
	signal(SIGXFSZ, SIG_DFL); /* as it was before main() */
	execvp(words[0], words);
	return error_set_errno(&cli->error, -errno,
		"cannot execute ssh (as root: apt-get install openssh-client)");
}

static int log_in(struct cli *cli, const char *host, char *const *arguments)
{
	_cleanup_(cli_clear_ssh_options) struct cli_ssh_options options = {0};
	_cleanup_(target_close) struct target target = TARGET_NONE;
	int r = target_open(cli, host, &target);

	if (r == 0)
		r = pod_ssh_make_identity(target.data, &cli->error);
	if (r == 0)
		r = cli_make_ssh_options(cli, &options);
	return r < 0 ? r : execute(cli, target.pod.uuid, &options, arguments);
}

int command_ssh(struct cli *cli, int argc, char **argv)
{
	bool is_proxy = false, is_known_hosts = false;
	const struct cli_option options[] = {
		{"known-hosts", CLI_FLAG, &is_known_hosts, NULL,
			"print the pod's host key; what ssh uses as KnownHostsCommand"},
		{"proxy", CLI_FLAG, &is_proxy, NULL,
			"connect standard input and output to the pod's ssh server; what ssh uses "
			"as ProxyCommand"},
	};
	int at = cli_parse_pod(cli, options, ARRAY_SIZE(options), argc, argv);

	if (at < 0)
		return at;
	if ((is_proxy || is_known_hosts) && (at + 1 < argc || (is_proxy && is_known_hosts)))
		return cli_usage(cli, "--proxy and --known-hosts take a pod and nothing else");
	if (is_proxy)
		return proxy(cli, argv[at]);
	if (is_known_hosts)
		return print_known_hosts(cli, argv[at]);
	return log_in(cli, argv[at], argv + at + 1);
}
