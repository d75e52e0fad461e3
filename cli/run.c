// SPDX-License-Identifier: Apache-2.0
/* run.c: appc-vm run */
#include "cli/launch.h"
#include "cli/pod_flags.h"

#include "base/file.h"
#include "pod/prepare.h"

#include <fcntl.h>
#include <string.h>

struct run_flags {
	struct pod_flags pod;
	struct launch_flags launch;
	const char *uuid_file;
};

static void run_flags_done(struct run_flags *flags)
{
	pod_flags_done(&flags->pod);
	launch_flags_done(&flags->launch);
}

static int parse(struct cli *cli, struct run_flags *flags, int argc, char **argv)
{
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"uuid-file-save", CLI_STRING, &flags->uuid_file, "FILE",
			"write the pod's UUID to FILE"},
	};
	size_t count = pod_flags_options(&flags->pod, options, 1);
	int r;

	count = launch_run_options(&flags->launch, options, count);
	r = pod_flags_parse(cli, &flags->pod, options, count, argc, argv);
	if (r < 0)
		return r;
	if (flags->pod.request.port_count > 0 && flags->launch.net &&
		(!strcmp(flags->launch.net, "none") || !strcmp(flags->launch.net, "host")))
		return error_set(&cli->error, -EINVAL,
			"--port flag does not work with '%s' networking", flags->launch.net);
	if (flags->launch.interactive && flags->pod.request.image_count > 1)
		return error_set(
			&cli->error, -EINVAL, "interactive option only supports one image");
	flags->launch.memory = flags->pod.request.machine_memory;
	return launch_flags_check(cli, &flags->launch);
}

static int save_uuid(struct cli *cli, const char *path, const char *uuid)
{
	char line[POD_UUID_SIZE + 1];
	int r;

	snprintf(line, sizeof(line), "%s\n", uuid);
	r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0644);
	return r < 0 ? error_set_errno(&cli->error, r, "--uuid-file-save=%s", path) : 0;
}

/* A new pod, ready to be started. */
static int prepare(struct cli *cli, const struct run_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved, struct pod *pod)
{
	int r = pod_create(stores->pods, pod, &cli->error);

	/* Early, so that the pod can be removed even if something goes wrong. */
	if (r == 0 && flags->uuid_file)
		r = save_uuid(cli, flags->uuid_file, pod->uuid);
	if (r == 0)
		r = pod_prepare(pod, resolved, stores->store, flags->pod.text, flags->pod.length,
			NULL, &cli->error);
	return r;
}

static int run_pod(struct cli *cli, const struct run_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved)
{
	_cleanup_(pod_origin_done) struct pod_origin origin = POD_ORIGIN_NONE;
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	launch_find_origin(&flags->launch, stores, resolved, &origin);
	r = prepare(cli, flags, stores, resolved, &pod);
	if (r < 0 && pod.fd >= 0) {
		struct error ignored;

		pod_remove(&pod, &ignored); /* gc will, if we cannot */
	}
	return r < 0 ? r : launch_run(cli, &flags->launch, stores, &pod, resolved, &origin);
}

int command_run(struct cli *cli, int argc, char **argv)
{
	_cleanup_(run_flags_done) struct run_flags flags = {.launch = LAUNCH_FLAGS_NONE};
	_cleanup_(launch_stores_close) struct launch_stores stores = LAUNCH_STORES_NONE;
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	int r;

	r = parse(cli, &flags, argc, argv);
	if (r == 0)
		r = pod_flags_read(cli, &flags.pod);
	if (r == 0)
		r = launch_open(cli, &flags.launch, &stores);
	if (r == 0)
		r = pod_flags_generate(cli, &flags.pod, stores.store);
	if (r == 0)
		r = pod_resolve(stores.store, TAKE_PTR(flags.pod.manifest), &flags.launch.resolve,
			&resolved, &cli->error);
	if (r == 0)
		r = launch_set_interactive(cli, &flags.launch, resolved);
	return r < 0 ? r : run_pod(cli, &flags, &stores, resolved);
}
