// SPDX-License-Identifier: Apache-2.0
/*
 * extract.c: an image, or a rendered one, as a directory outside the store.
 *
 * Theory of operation. The directory is made under a name of its own beside the wanted one, open to
 * nobody else, and gets the wanted name when it is whole: nobody sees half of it, and nobody can put a
 * symbolic link into it while it grows. How nothing leaves it is render.c's affair. One that exists is
 * exchanged with the new one and removed afterwards. A killed process leaves at most a directory of
 * that other name, ".appc-vm-" and digits.
 */
#include "store/layout.h"

#include "base/file.h"

#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#define OUTPUT_MODE      0755
#define TEMPORARY_PREFIX ".appc-vm-"

struct output {
	const char *path; /* as given, for messages */
	char *name_copy;
	const char *name; /* the last component */
	int parent, directory;
	char temporary[48]; /* empty: nothing to remove */
};

static void cleanup_output(struct output *output)
{
	cleanup_close(&output->directory);
	if (*output->temporary)
		directory_remove(output->parent, output->temporary);
	cleanup_close(&output->parent);
	free(output->name_copy);
}
#define _cleanup_output_ _cleanup_(cleanup_output)

static int output_open(struct output *output, bool overwrite, struct error *err)
{
	_cleanup_free_ char *parent = strdup(output->path);
	struct stat st;
	int r;

	output->name_copy = strdup(output->path);
	if (!parent || !output->name_copy)
		return error_set_errno(err, -ENOMEM, "%s", output->path);
	output->name = basename(output->name_copy);
	if (!file_name_is_safe(output->name))
		return error_set(
			err, -EINVAL, "\"%s\" cannot be an output directory", output->path);
	output->parent = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (output->parent < 0)
		return error_set_errno(
			err, -errno, "cannot open the directory of \"%s\"", output->path);
	if (fstatat(output->parent, output->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!overwrite)
			return error_set(err, -EEXIST,
				"output directory \"%s\" exists (try --overwrite)", output->path);
		if (!S_ISDIR(st.st_mode))
			return error_set(err, -ENOTDIR, "\"%s\" is not a directory", output->path);
	}
	r = file_make_unique_name(output->temporary, sizeof(output->temporary), TEMPORARY_PREFIX);
	if (r == 0 && mkdirat(output->parent, output->temporary, 0700) < 0) {
		r = -errno;
		*output->temporary = '\0';
	}
	if (r == 0)
		output->directory = directory_open(output->parent, output->temporary);
	if (r == 0 && output->directory < 0)
		r = output->directory;
	return r < 0 ? error_set_errno(err, r, "cannot create \"%s\"", output->path) : 0;
}

/* The manifest as it is in the archive. */
static int write_manifest(struct store *store, const char *id, int directory, struct error *err)
{
	_cleanup_close_ int image = image_open(store, id, err);
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r;

	if (image < 0)
		return image;
	r = file_read(image, IMAGE_MANIFEST, APPC_MANIFEST_SIZE_MAX, &text, &length);
	if (r == 0)
		r = file_create_synced(directory, IMAGE_MANIFEST, text, length);
	if (r == 0 && fchmodat(directory, IMAGE_MANIFEST, 0644, 0) < 0)
		r = -errno;
	if (r == 0 && fchmod(directory, OUTPUT_MODE) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "cannot write the manifest of image %s", id) : 0;
}

/* Gives the directory its name. #syscalls: renameat2 syncfs */
static int output_publish(struct output *output, bool overwrite, struct error *err)
{
	int r = 0;

	if (syncfs(output->directory) < 0)
		return error_set_errno(err, -errno, "cannot write \"%s\"", output->path);
	r = directory_rename_new(output->parent, output->temporary, output->parent, output->name);
	if (r == 0) {
		*output->temporary = '\0';
		return 0;
	}
	if (r == -EEXIST && overwrite) {
		/* What was there has the temporary name now, and is removed in its place. */
		r = renameat2(output->parent, output->temporary, output->parent, output->name,
			    RENAME_EXCHANGE) < 0
			? -errno
			: 0;
		if (r == 0)
			r = directory_remove(output->parent, output->temporary);
		if (r == 0)
			*output->temporary = '\0';
	}
	return r < 0 ? error_set_errno(err, r, "cannot write \"%s\"", output->path) : 0;
}

int store_extract(struct store *store, const char *id, const struct store_extract_options *options,
	const char *path, struct error *err)
{
	_cleanup_output_ struct output output = {.path = path, .parent = -1, .directory = -1};
	int r = output_open(&output, options->overwrite, err);

	if (r == 0)
		r = render_into(store, id, options, output.directory, err);
	if (r == 0 && !options->rootfs_only)
		r = write_manifest(store, id, output.directory, err);
	return r < 0 ? r : output_publish(&output, options->overwrite, err);
}
