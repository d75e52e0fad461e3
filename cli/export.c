// SPDX-License-Identifier: Apache-2.0
/* export.c: appc-vm export */
#include "cli/cli.h"

#include "base/file.h"
#include "pod/export.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define EXTENSION ".aci"

/* The file that is being written, beside the one that it becomes. */
struct output {
	int directory_fd, fd;
	const char *name; /* in the directory */
	char temporary[64];
};

static void output_done(struct output *output)
{
	if (output->fd >= 0)
		unlinkat(output->directory_fd, output->temporary, 0);
	cleanup_close(&output->fd);
	cleanup_close(&output->directory_fd);
}

static int output_open(struct cli *cli, const char *path, bool overwrite, struct output *ret)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];
	int r;

	ret->name = slash ? slash + 1 : path;
	if (slash && (size_t)(slash + 1 - path) >= sizeof(directory))
		return error_set_errno(
			&cli->error, -ENAMETOOLONG, "unable to open target %s", path);
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash + 1 - path) : 1,
		slash ? path : ".");
	ret->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->directory_fd < 0)
		return error_set_errno(&cli->error, -errno, "unable to open target %s", path);
	/* Before the work, and once more at its end. */
	if (!overwrite && faccessat(ret->directory_fd, ret->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(
			&cli->error, -EEXIST, "%s: target file exists (try --overwrite)", path);
	r = file_make_unique_name(ret->temporary, sizeof(ret->temporary), ".appc-vm-export-");
	if (r == 0) {
		ret->fd = openat(ret->directory_fd, ret->temporary,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		r = ret->fd < 0 ? -errno : 0;
	}
	return r < 0 ? error_set_errno(&cli->error, r, "unable to open target %s", path) : 0;
}

/* The image appears whole or not at all. */
static int output_publish(struct cli *cli, struct output *output, const char *path, bool overwrite)
{
	int r = 0;

	if (fsync(output->fd) < 0)
		r = -errno;
	else if (!overwrite)
		r = directory_rename_new(output->directory_fd, output->temporary,
			output->directory_fd, output->name);
	else if (renameat(output->directory_fd, output->temporary, output->directory_fd,
			 output->name) < 0)
		r = -errno;
	else
		r = directory_sync(output->directory_fd, ".");
	if (r == -EEXIST)
		return error_set(&cli->error, r, "%s: target file exists (try --overwrite)", path);
	if (r < 0)
		return error_set_errno(&cli->error, r, "unable to write target %s", path);
	close(TAKE_FD(output->fd));
	return 0;
}

static int export_app(
	struct cli *cli, const char *uuid, const char *app, const char *path, bool overwrite)
{
	_cleanup_(output_done) struct output output = {.directory_fd = -1, .fd = -1};
	_cleanup_close_ int data = -1;
	_cleanup_store_ struct store *store = NULL;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	r = cli_open_pods(cli, &data, &pods);
	if (r == 0)
		r = store_open(data, &store, &cli->error);
	if (r == 0)
		r = pod_open(pods, uuid, &pod, &cli->error);
	if (r == 0)
		r = output_open(cli, path, overwrite, &output);
	if (r == 0)
		r = pod_export(&pod, store, app, output.fd, &cli->error);
	return r < 0 ? r : output_publish(cli, &output, path, overwrite);
}

int command_export(struct cli *cli, int argc, char **argv)
{
	const char *app = NULL;
	bool overwrite = false;
	const struct cli_option options[] = {
		{"app", CLI_STRING, &app, "NAME", "the app, in a pod with several"},
		{"overwrite", CLI_FLAG, &overwrite, NULL, "replace the file if it is there"},
	};
	const char *path;
	size_t length;
	int at;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 2)
		return cli_usage(cli, "needs the UUID of a pod and the name of a file");
	path = argv[at + 1];
	length = strlen(path);
	if (length < strlen(EXTENSION) || strcmp(path + length - strlen(EXTENSION), EXTENSION) != 0)
		return cli_usage(cli, "extension must be " EXTENSION " (given %s)", path);
	return export_app(cli, argv[at], app && *app ? app : NULL, path, overwrite);
}
