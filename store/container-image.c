// SPDX-License-Identifier: Apache-2.0
/* container-image.c: what the readers of both formats share. */
#include "store/container-image.h"

#include "store/digest.h"

#include <string.h>

void container_image_clear(struct container_image *image)
{
	container_identity_clear(&image->identity);
	free(image->config.path);
	free(image->config.digest);
	for (size_t i = 0; i < image->layer_count; i++) {
		free(image->layers[i].path);
		free(image->layers[i].digest);
	}
	free(image->layers);
	*image = (struct container_image){0};
}

char *container_path_digest(const char *path)
{
	const char *algorithm = path + strlen("blobs/"), *slash;
	char *digest;

	if (strncmp(path, "blobs/", strlen("blobs/")))
		return NULL;
	slash = strchr(algorithm, '/');
	if (!slash ||
		asprintf(&digest, "%.*s:%s", (int)(slash - algorithm), algorithm, slash + 1) < 0)
		return NULL;
	if (digest_is_valid(digest))
		return digest;
	free(digest);
	return NULL;
}

void container_list_append(char *list, size_t size, const char *text)
{
	size_t length = strlen(list);

	if (length >= 3 && !strcmp(list + length - 3, "..."))
		return;
	if (length + strlen(text) + strlen(", , ...") >= size)
		text = "...";
	snprintf(list + length, size - length, "%s%s", length > 0 ? ", " : "", text);
}
