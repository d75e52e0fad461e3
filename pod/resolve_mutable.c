// SPDX-License-Identifier: Apache-2.0
/*
 * resolve_mutable.c: an app of a resolved pod becomes another's.
 *
 * Theory of operation: an app is a struct in three arrays - the manifest's apps, the resolved apps, the volumes - and a
 * member of the report; what these own are pointers to memory, and no pointer leads into the arrays. So an app moves
 * by copying the structs, and where it came from has fewer.
 */
#include "pod/resolve.h"

#include "base/json.h"

#include <string.h>

static int grow(void *array, size_t count, size_t size)
{
	void **memory = array, *grown = reallocarray(*memory, count ? count : 1, size);

	if (!grown)
		return -ENOMEM;
	*memory = grown;
	return 0;
}

/* In each of them after its last. */
static int make_room(struct resolved_pod *pod, size_t volume_count)
{
	int r = grow(
		&pod->manifest->apps, pod->manifest->app_count + 1, sizeof(pod->manifest->apps[0]));

	return r < 0
		? r
		: grow(&pod->volumes, pod->volume_count + volume_count, sizeof(pod->volumes[0]));
}

static void take_app(struct resolved_pod *to, struct resolved_pod *from, size_t index)
{
	const size_t left = from->app_count - index - 1;

	to->manifest->apps[to->manifest->app_count++] = from->manifest->apps[index];
	memmove(&from->manifest->apps[index], &from->manifest->apps[index + 1],
		left * sizeof(from->manifest->apps[0]));
	from->manifest->app_count--;
	to->apps[to->app_count++] = from->apps[index];
	memmove(&from->apps[index], &from->apps[index + 1], left * sizeof(from->apps[0]));
	from->app_count--;
}

static void take_volume(struct resolved_pod *to, struct resolved_pod *from, size_t index)
{
	to->volumes[to->volume_count++] = from->volumes[index];
	memmove(&from->volumes[index], &from->volumes[index + 1],
		(from->volume_count - index - 1) * sizeof(from->volumes[0]));
	from->volume_count--;
}

static void take_report(struct resolved_pod *to, struct resolved_pod *from, const char *app)
{
	json_t *apps = json_object_get(from->isolators, "apps");
	json_t *report = json_object_get(apps, app);

	if (report)
		json_object_set(json_object_get(to->isolators, "apps"), app, report);
	json_object_del(apps, app);
}

int resolved_pod_adopt(struct resolved_pod *pod, struct resolved_pod *added)
{
	int r = make_room(pod, added->volume_count);

	if (r < 0)
		return r;
	take_report(pod, added, added->apps[0].name);
	take_app(pod, added, 0);
	while (added->volume_count > 0)
		take_volume(pod, added, 0);
	return 0;
}

bool resolved_app_mounts(const struct resolved_app *app, const char *volume)
{
	for (size_t i = 0; i < app->mount_count; i++)
		if (!strcmp(app->mounts[i].volume, volume))
			return true;
	return false;
}

int resolved_pod_disown(struct resolved_pod *pod, size_t index, struct resolved_pod **ret)
{
	_cleanup_resolved_pod_ struct resolved_pod *gone = calloc(1, sizeof(*gone));
	int r;

	if (!gone)
		return -ENOMEM;
	gone->is_mutable = true;
	gone->input_app = -1;
	gone->manifest = calloc(1, sizeof(*gone->manifest));
	gone->apps = calloc(1, sizeof(gone->apps[0]));
	gone->isolators = json_pack("{s:{}}", "apps");
	if (!gone->manifest || !gone->apps || !gone->isolators)
		return -ENOMEM;
	r = make_room(gone, pod->volume_count);
	if (r < 0)
		return r;
	take_report(gone, pod, pod->apps[index].name);
	take_app(gone, pod, index);
	for (size_t i = pod->volume_count; i > 0; i--)
		if (resolved_app_mounts(&gone->apps[0], pod->volumes[i - 1].name))
			take_volume(gone, pod, i - 1);
	*ret = TAKE_PTR(gone);
	return 0;
}
