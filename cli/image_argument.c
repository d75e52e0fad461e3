// SPDX-License-Identifier: Apache-2.0
/* image_argument.c: the image that an argument names, fetched when it must be. */
#include "cli/image_argument.h"

#include "base/checked.h"
#include "base/log.h"
#include "cli/insecure.h"
#include "cli/progress.h"

#include <string.h>

/* What the store can number; memory runs out before. */
#define ENTRIES_MAX (1u << 29)

int cli_parse_pull_policy(struct cli *cli, const struct pull_flags *flags,
	enum pull_policy default_policy, enum pull_policy *ret)
{
	const char *text = flags->policy;

	if (flags->store_only + flags->no_store + (text != NULL) > 1)
		return cli_usage(
			cli, "--pull-policy, --store-only and --no-store exclude each other");
	if (flags->store_only)
		*ret = PULL_NEVER;
	else if (flags->no_store)
		*ret = PULL_UPDATE;
	else if (!text)
		*ret = default_policy;
	else if (!strcmp(text, "new"))
		*ret = PULL_NEW;
	else if (!strcmp(text, "update"))
		*ret = PULL_UPDATE;
	else if (!strcmp(text, "never"))
		*ret = PULL_NEVER;
	else
		return cli_usage(cli, "--pull-policy is new, update or never, not \"%s\"", text);
	return 0;
}

size_t image_limit_options(
	struct image_limit_flags *flags, struct cli_option *options, size_t count)
{
	const struct cli_option own[IMAGE_LIMIT_OPTIONS] = {
		{"max-size", CLI_STRING, &flags->max_size, "SIZE",
			"how large an image may be when uncompressed (default: 64G, and 100 times "
			"its file)"},
		{"max-entries", CLI_STRING, &flags->max_entries, "N",
			"how many files an image may have (default: 4194304)"},
	};

	memcpy(options + count, own, sizeof(own));
	return count + IMAGE_LIMIT_OPTIONS;
}

int image_limits_parse(
	struct cli *cli, const struct image_limit_flags *flags, struct store_limits *ret)
{
	int r;

	*ret = (struct store_limits){0};
	if (flags->max_size) {
		r = cli_parse_size(cli, "max-size", flags->max_size, &ret->archive_bytes);
		if (r < 0)
			return r;
	}
	if (flags->max_entries &&
		(!checked_parse_u64(flags->max_entries, ENTRIES_MAX, &ret->entries) ||
			ret->entries == 0))
		return cli_usage(cli, "--max-entries is a number from 1 to %u, not \"%s\"",
			ENTRIES_MAX, flags->max_entries);
	return 0;
}

int cli_find_image(struct cli *cli, struct store *store, const char *argument,
	const struct image_argument_options *options, char *ret_id)
{
	_cleanup_(configuration_clear) struct configuration configuration = {0};
	struct cli_progress progress;
	const struct store_fetch_options fetch = {
		.policy = options->pull_policy,
		.limits = options->limits,
		.signature = options->signature,
		.allow_unsigned = cli->insecure & CLI_INSECURE_IMAGE,
		.any_certificate = cli->insecure & CLI_INSECURE_TLS,
		.allow_http = cli->insecure & CLI_INSECURE_HTTP,
		.credentials = &configuration.servers,
		.progress = cli_progress_show,
		.progress_context = &progress,
	};
	enum image_argument_kind kind = image_argument_guess(argument);
	int r;

	if (options->signature && kind != IMAGE_ARGUMENT_PATH && kind != IMAGE_ARGUMENT_URL)
		return cli_usage(
			cli, "--signature is for files and URLs, not for \"%s\"", argument);
	if (kind == IMAGE_ARGUMENT_ID || kind == IMAGE_ARGUMENT_NAME) {
		r = store_find_image(store, argument, ret_id, &cli->error);
		if (r == -ENOENT && kind == IMAGE_ARGUMENT_NAME)
			return error_prefix(&cli->error, r,
				"unable to fetch image from name \"%s\": discovery of names (meta tags) is "
				"not supported, give a URL or a file, or import the image",
				argument);
		if (r == 0)
			log_debug("using image from local store for %s %s",
				kind == IMAGE_ARGUMENT_ID ? "image ID" : "image name", argument);
		return r;
	}
	r = kind == IMAGE_ARGUMENT_URL
		? cli_read_configuration(cli, CONFIGURATION_AUTH, &configuration)
		: 0;
	if (r < 0)
		return r;
	cli_progress_begin(&progress, "fetching", argument);
	r = kind == IMAGE_ARGUMENT_URL
		? store_fetch_url(store, argument, &fetch, ret_id, &cli->error)
		: store_fetch_path(store, argument, &fetch, ret_id, &cli->error);
	cli_progress_end(&progress);
	return r;
}
