// SPDX-License-Identifier: Apache-2.0
/* image_import.c: appc-vm image import */
#include "cli/image.h"

#include "cli/image_argument.h"
#include "cli/progress.h"

#include <fcntl.h>
#include <string.h>

static int import_one(struct cli *cli, struct store *store, const char *path,
	const struct store_import_options *given)
{
	struct cli_progress progress;
	struct store_import_options options = *given;
	char id[STORE_IMAGE_ID_SIZE];
	_cleanup_close_ int opened = -1;
	int fd = STDIN_FILENO, r;

	if (strcmp(path, "-")) {
		opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (opened < 0)
			return error_set_errno(&cli->error, -errno, "cannot open \"%s\"", path);
		fd = opened;
	}
	options.progress = cli_progress_show;
	options.progress_context = &progress;
	cli_progress_begin(&progress, "importing", path);
	r = store_import(store, fd, path, &options, id, &cli->error);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	printf("%s\n", id);
	return 0;
}

int image_import(struct cli *cli, int argc, char **argv)
{
	struct store_import_options import = {0};
	struct image_limit_flags limits = {0};
	struct cli_option options[2 + IMAGE_LIMIT_OPTIONS] = {
		{"name", CLI_STRING, &import.name, "NAME[:VERSION]",
			"what to call an OCI or Docker image"},
		{"ref", CLI_STRING, &import.reference, "REF",
			"which of several images of a file: a reference, a tag or a digest"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	int at, r;

	at = cli_parse(cli, options, image_limit_options(&limits, options, 2), argc, argv);
	if (at < 0)
		return at;
	if (at == argc)
		return cli_usage(
			cli, "needs a file, an OCI layout directory, or - for standard input");
	if (import.name && at + 1 < argc)
		return cli_usage(cli, "--name is for one file");
	r = image_limits_parse(cli, &limits, &import.limits);
	if (r == 0)
		r = image_store_open(cli, &opened);
	for (; r == 0 && at < argc; at++)
		r = import_one(cli, opened.store, argv[at], &import);
	return r;
}
