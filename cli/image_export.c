// SPDX-License-Identifier: Apache-2.0
/* image_export.c: appc-vm image export */
#include "cli/image.h"

#include "base/file.h"

#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

/* Writes a whole new file, and gives it its name when it is on disk. */
static int write_output(struct cli *cli, int archive, const char *path, bool overwrite)
{
	_cleanup_free_ char *directory = strdup(path), *copy = strdup(path);
	_cleanup_close_ int parent = -1, fd = -1;
	char temporary[48];
	const char *name;
	int r;

	if (!directory || !copy)
		return error_set_errno(&cli->error, -ENOMEM, "%s", path);
	name = basename(copy);
	parent = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return error_set_errno(
			&cli->error, -errno, "unable to open output ACI file \"%s\"", path);
	if (!overwrite && faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(&cli->error, -EEXIST,
			"output ACI file \"%s\" already exists (try --overwrite)", path);
	r = file_make_unique_name(temporary, sizeof(temporary), ".appc-vm-");
	if (r == 0) {
		fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		r = fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return error_set_errno(
			&cli->error, r, "unable to open output ACI file \"%s\"", path);
	r = file_copy(archive, fd, UINT64_MAX);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && overwrite)
		r = renameat(parent, temporary, parent, name) < 0 ? -errno
								  : directory_sync(parent, ".");
	else if (r == 0)
		r = directory_rename_new(parent, temporary, parent, name);
	if (r < 0) {
		unlinkat(parent, temporary, 0);
		return error_set_errno(&cli->error, r, "cannot write output ACI file \"%s\"", path);
	}
	return 0;
}

int image_export(struct cli *cli, int argc, char **argv)
{
	bool overwrite = false;
	const struct cli_option options[] = {
		{"overwrite", CLI_FLAG, &overwrite, NULL, "replace the file if it is there"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	_cleanup_close_ int archive = -1;
	char id[STORE_IMAGE_ID_SIZE];
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 2)
		return cli_usage(cli, "needs an image and a file to write");
	r = image_store_open(cli, &opened);
	if (r == 0)
		r = store_find_image(opened.store, argv[at], id, &cli->error);
	if (r < 0)
		return r;
	archive = store_open_archive(opened.store, id, &cli->error);
	return archive < 0 ? archive : write_output(cli, archive, argv[at + 1], overwrite);
}
