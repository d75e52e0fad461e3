// SPDX-License-Identifier: Apache-2.0
/* trust.c: appc-vm trust */
#include "cli/cli.h"

#include "cli/insecure.h"
#include "store/fetch.h"
#include "store/keyring.h"

#include <string.h>

struct trust_flags {
	const char *prefix; /* NULL: root */
	bool root, skip_review, allow_http;
};

/* "BFF3 13CD AA56 0B16 A898  7B8F 72AB F5F6 799D 33BC", as gpg shows it. */
static void print_fingerprint(const char *fingerprint)
{
	for (size_t i = 0; fingerprint[i]; i++) {
		if (i > 0 && i % 4 == 0)
			fputs(i == OPENPGP_FINGERPRINT_SIZE / 2 ? "  " : " ", stdout);
		putchar(fingerprint[i] >= 'a' ? fingerprint[i] - 'a' + 'A' : fingerprint[i]);
	}
	putchar('\n');
}

/* 0: the person says yes; -EPERM: or not. */
static int review(struct cli *cli, const struct trust_flags *flags, const char *place,
	const struct openpgp_key *key)
{
	char answer[16];

	printf("prefix: \"%s\"\nkey: \"%s\"\ngpg key fingerprint is: ",
		flags->prefix ? flags->prefix : "", place);
	print_fingerprint(key->fingerprint);
	for (size_t i = 0; i < key->user_ids.count; i++)
		printf("\t%s\n", key->user_ids.items[i]);
	if (flags->skip_review) {
		printf("Trusting \"%s\" for prefix \"%s\" without fingerprint review.\n", place,
			flags->prefix ? flags->prefix : "");
		return 0;
	}
	if (!isatty(STDIN_FILENO))
		return error_set(&cli->error, -EPERM,
			"%s: nobody to ask: standard input is not a terminal "
			"(--skip-fingerprint-review trusts without asking)",
			place);
	for (;;) {
		printf("Are you sure you want to trust this key (yes/no)?\n");
		fflush(stdout);
		if (!fgets(answer, sizeof(answer), stdin) || !strcmp(answer, "no\n"))
			return error_set(&cli->error, -EPERM, "%s: not trusted", place);
		if (!strcmp(answer, "yes\n"))
			return 0;
		printf("Please enter 'yes' or 'no'\n");
	}
}

static int trust_one(struct cli *cli, int data, const struct trust_flags *flags, const char *place)
{
	_cleanup_openpgp_key_ struct openpgp_key key = {0};
	_cleanup_free_ char *text = NULL, *path = NULL;
	bool insecure = cli->insecure & CLI_INSECURE_PUBKEY;
	size_t length;
	int r;

	r = store_fetch_key(place, insecure || cli->insecure & CLI_INSECURE_TLS,
		insecure || flags->allow_http, &text, &length, &cli->error);
	if (r == 0)
		r = openpgp_key_parse(text, length, place, &key, &cli->error);
	if (r == 0)
		r = review(cli, flags, place, &key);
	if (r == 0)
		r = keyring_add(data, flags->prefix, &key, &path, &cli->error);
	if (r < 0)
		return r;
	if (flags->prefix)
		printf("Added key for prefix \"%s\" at \"%s\"\n", flags->prefix, path);
	else
		printf("Added root key at \"%s\"\n", path);
	return 0;
}

int command_trust(struct cli *cli, int argc, char **argv)
{
	struct trust_flags flags = {0};
	const struct cli_option options[] = {
		{"prefix", CLI_STRING, &flags.prefix, "NAME",
			"trust the keys for images called NAME or NAME/..."},
		{"root", CLI_FLAG, &flags.root, NULL, "trust the keys for all images"},
		{"skip-fingerprint-review", CLI_FLAG, &flags.skip_review, NULL,
			"trust without being asked"},
		{"insecure-allow-http", CLI_FLAG, &flags.allow_http, NULL,
			"fetch keys over http too"},
	};
	_cleanup_close_ int data = -1;
	int at, r = 0;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (flags.prefix && !*flags.prefix)
		flags.prefix = NULL;
	if (flags.prefix && flags.root)
		return cli_usage(cli, "--root and --prefix usage mutually exclusive");
	if (at == argc && flags.prefix)
		return cli_usage(cli,
			"discovery of the keys of a prefix (meta tags) is not supported: give the keys' "
			"files or URLs");
	if (at == argc)
		return cli_usage(cli, "needs the file or URL of a key");
	if (!flags.prefix && !flags.root)
		return cli_usage(cli, "--root required for non-prefixed (root) keys");
	data = cli_open_data(cli);
	if (data < 0)
		return data;
	for (; r == 0 && at < argc; at++)
		r = trust_one(cli, data, &flags, argv[at]);
	return r;
}
