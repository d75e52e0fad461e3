// SPDX-License-Identifier: Apache-2.0
/* manifest.c: see manifest.h. */
#include "pod/manifest.h"

#include "base/file.h"
#include "pod/prepare.h"

#include <string.h>

int pod_manifest_read(const struct pod *pod, struct appc_pod_manifest **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(pod->fd, POD_MANIFEST_RESOLVED, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read its manifest", pod->uuid);
	r = appc_pod_manifest_parse(text, length, ret, err);
	return r < 0 ? error_prefix(err, r, "pod %s: manifest", pod->uuid) : 0;
}

int pod_manifest_find_app(const struct pod *pod, const struct appc_pod_manifest *manifest,
	const char *name, size_t *ret, struct error *err)
{
	if (!name && manifest->app_count != 1)
		return error_set(err, -EINVAL,
			"pod %s has %zu apps; name one of them with --app=NAME", pod->uuid,
			manifest->app_count);
	for (*ret = 0; *ret < manifest->app_count; (*ret)++)
		if (!name || !strcmp(manifest->apps[*ret].name, name))
			return 0;
	return error_set(err, -ENOENT, "pod %s has no app \"%s\"", pod->uuid, name);
}
