// SPDX-License-Identifier: Apache-2.0
/*
 * app_add.c: appc-vm app add
 *
 * What takes time - to fetch an image, to render its tree - is done here, before the pod is asked.
 */
#include "cli/app.h"
#include "cli/pod_flags.h"

#include "base/json.h"
#include "pod/app_request.h"
#include "store/store.h"

#include <string.h>

struct add_flags {
	struct pod_flags pod;
	struct cli_call call;
	const char *uuid;
};

static void add_flags_done(struct add_flags *flags)
{
	pod_flags_done(&flags->pod);
}

/* ---- the command line */

static int set_mounted_volume(struct cli *cli, const char *name, const char *text, void *context)
{
	struct pod_blueprint *request = &((struct add_flags *)context)->pod.request;
	struct image_blueprint *image = pod_blueprint_last_image(request);
	int r;

	if (!image)
		return cli_usage(cli, "--%s must follow an image", name);
	r = pod_blueprint_add_mounted_volume(request, image, text, &cli->error);
	return r < 0 ? error_prefix(&cli->error, r, "invalid value in --%s flag \"%s\"", name, text)
		     : 0;
}

/* What is the pod's, and cannot change any more. */
static int check_flags(struct cli *cli, const struct pod_flags *flags)
{
	const struct pod_blueprint *request = &flags->request;

	if (flags->manifest_path)
		return cli_usage(cli, "takes an image, not a pod manifest");
	if (request->image_count != 1)
		return cli_usage(cli, "needs the UUID of a pod and one image");
	if (request->port_count > 0)
		return cli_usage(cli, "--port: ports are exposed when the pod starts");
	if (request->machine_memory)
		return cli_usage(cli, "--memory must follow the image: it is the app's limit");
	if (request->annotations.count || request->user_annotations.count ||
		request->user_labels.count)
		return cli_usage(cli,
			"annotations and labels must follow the image: they are the "
			"app's");
	return 0;
}

static int parse(struct cli *cli, struct add_flags *flags, int argc, char **argv)
{
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"mnt-volume", CLI_CALL, &flags->call, "name=NAME,kind=KIND,...,target=PATH",
			"a volume of the app, and where it is mounted"},
	};
	size_t count = pod_flags_options(&flags->pod, options, 1);
	int r;

	flags->call = (struct cli_call){set_mounted_volume, flags};
	flags->pod.first_operand = &flags->uuid;
	r = pod_flags_parse(cli, &flags->pod, options, count, argc, argv);
	return r < 0 ? r : check_flags(cli, &flags->pod);
}

/* ---- the app */

static json_t *find_named(json_t *array, const char *name)
{
	json_t *value;
	size_t i;

	json_array_foreach (array, i, value)
		if (!strcmp(json_string_value(json_object_get(value, "name")), name))
			return value;
	return NULL;
}

static bool is_mounted(json_t *mounts, const char *path)
{
	json_t *mount;
	size_t i;

	json_array_foreach (mounts, i, mount)
		if (!strcmp(json_string_value(json_object_get(mount, "path")), path))
			return true;
	return false;
}

/*
 * The app of a manifest with all that is its own: the volumes go into its mounts, and where a mount point has a
 * volume by its name, that is a mount as well. A new reference.
 */
static json_t *app_of(json_t *manifest)
{
	json_t *app = json_array_get(json_object_get(manifest, "apps"), 0), *mount, *point;
	json_t *volumes = json_object_get(manifest, "volumes");
	json_t *mounts = json_object_get(app, "mounts");
	size_t i;

	if (!mounts) {
		mounts = json_array();
		json_object_set_new(app, "mounts", mounts);
	}
	json_array_foreach (json_object_get(json_object_get(app, "app"), "mountPoints"), i, point) {
		const char *name = json_string_value(json_object_get(point, "name"));
		const char *path = json_string_value(json_object_get(point, "path"));

		if (find_named(volumes, name) && !is_mounted(mounts, path))
			json_array_append_new(
				mounts, json_pack("{s:s, s:s}", "volume", name, "path", path));
	}
	json_array_foreach (mounts, i, mount) {
		const char *name = json_string_value(json_object_get(mount, "volume"));
		json_t *volume = find_named(volumes, name);

		if (volume)
			json_object_set(mount, "appVolume", volume);
	}
	return json_incref(app);
}

/* ret_keep_fd keeps the app's tree until the pod lists it. */
static int make_app(struct cli *cli, struct add_flags *flags, struct store *store, int *ret_keep_fd,
	json_t **ret)
{
	_cleanup_json_ json_t *manifest = NULL;
	char tree_id[STORE_TREE_ID_SIZE];
	int r = pod_flags_generate(cli, &flags->pod, store);

	if (r == 0)
		*ret_keep_fd = r = store_keep_trees(store, &cli->error);
	if (r >= 0)
		r = store_render(
			store, flags->pod.manifest->apps[0].image_id, tree_id, &cli->error);
	if (r == 0)
		r = json_parse(
			flags->pod.text, flags->pod.length, "pod manifest", &manifest, &cli->error);
	if (r == 0)
		*ret = app_of(manifest);
	return r;
}

int app_add(struct cli *cli, int argc, char **argv)
{
	_cleanup_(add_flags_done) struct add_flags flags = {0};
	_cleanup_app_pod_ struct app_pod pod = APP_POD_NONE;
	_cleanup_store_ struct store *store = NULL;
	_cleanup_json_ json_t *app = NULL;
	_cleanup_close_ int keep = -1;
	int r;

	r = parse(cli, &flags, argc, argv);
	if (r == 0)
		r = app_pod_open(cli, flags.uuid, &pod);
	if (r == 0 && pod.pod.state != POD_RUNNING)
		r = error_set(&cli->error, -ESRCH, "pod \"%s\" is not running", pod.pod.uuid);
	if (r == 0)
		r = store_open(pod.data_fd, &store, &cli->error);
	if (r == 0)
		r = make_app(cli, &flags, store, &keep, &app);
	if (r < 0)
		return r;
	r = app_request_ask(&pod.pod, APP_ADD, app, &cli->error);
	if (r < 0) {
		/* Of one that was not added after all, too, an image's files may be there. */
		app_pod_sweep(&pod);
		return r;
	}
	printf("%s\n", flags.pod.manifest->apps[0].name);
	return 0;
}
