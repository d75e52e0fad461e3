// SPDX-License-Identifier: Apache-2.0
/* fetch.c: images from files and URLs, with their signatures. */
#include "store/fetch.h"

#include <fcntl.h>
#include <string.h>

int store_fetch_path(struct store *store, const char *path,
	const struct store_fetch_options *options, char *ret_id, struct error *err)
{
	const struct store_import_options import = {
		.progress = options->progress,
		.progress_context = options->progress_context,
	};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return error_set_errno(err, -errno, "cannot open \"%s\"", path);
	if (!options->allow_unsigned)
		return error_set(err, -EKEYREJECTED,
			"%s: no key is trusted; --insecure-options=image takes unsigned images",
			path);
	return store_import(store, fd, path, &import, ret_id, err);
}

int store_fetch_url(struct store *store, const char *url, const struct store_fetch_options *options,
	char *ret_id, struct error *err)
{
	if (strncmp(url, "file:///", 8))
		return error_set(
			err, -EPROTONOSUPPORT, "%s: the URL of an image begins with file:///", url);
	return store_fetch_path(store, url + 7, options, ret_id, err);
}
