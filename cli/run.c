// SPDX-License-Identifier: Apache-2.0
/* run.c: appc-vm run */
#include "cli/launch.h"
#include "cli/pod_flags.h"

#include <string.h>

struct run_flags {
	struct pod_flags pod;
	struct launch_flags launch;
};

static void run_flags_done(struct run_flags *flags)
{
	pod_flags_done(&flags->pod);
	launch_flags_done(&flags->launch);
}

static int parse(struct cli *cli, struct run_flags *flags, int argc, char **argv)
{
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"uuid-file-save", CLI_STRING, &flags->launch.uuid_file, "FILE",
			"write the pod's UUID to FILE"},
		{"from-checkpoint", CLI_STRING, &flags->pod.checkpoint, "CHECKPOINT",
			"go on from a checkpoint, in place of a new pod"},
	};
	size_t count = pod_flags_options(&flags->pod, options, 2);
	int r;

	count = launch_run_options(&flags->launch, options, count);
	r = pod_flags_parse(cli, &flags->pod, options, count, argc, argv);
	if (r < 0)
		return r;
	r = launch_add_ports(cli, &flags->launch, flags->pod.request.port_count);
	if (r < 0)
		return r;
	if (flags->launch.interactive && flags->pod.request.image_count > 1)
		return error_set(
			&cli->error, -EINVAL, "interactive option only supports one image");
	flags->launch.memory = flags->pod.request.machine_memory;
	r = launch_flags_check(cli, &flags->launch);
	if (r == 0 && flags->pod.checkpoint && flags->launch.flavour_kind != FLAVOUR_VM)
		return cli_usage(
			cli, "--from-checkpoint goes on in a virtual machine, not in a container");
	return r;
}

int command_run(struct cli *cli, int argc, char **argv)
{
	_cleanup_(run_flags_done) struct run_flags flags = {.launch = LAUNCH_FLAGS_NONE};
	_cleanup_(launch_stores_close) struct launch_stores stores = LAUNCH_STORES_NONE;
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	int r;

	r = parse(cli, &flags, argc, argv);
	if (r == 0 && flags.pod.checkpoint)
		return launch_checkpoint(cli, &flags.launch, &stores, flags.pod.checkpoint);
	if (r == 0)
		r = pod_flags_read(cli, &flags.pod);
	if (r == 0)
		r = launch_open(cli, &flags.launch, &stores);
	if (r == 0)
		r = pod_flags_generate(cli, &flags.pod, stores.store);
	if (r == 0)
		r = launch_resolve(
			cli, &flags.launch, &stores, TAKE_PTR(flags.pod.manifest), &resolved);
	if (r == 0)
		r = launch_set_interactive(cli, &flags.launch, resolved);
	return r < 0 ? r
		     : launch_new(cli, &flags.launch, &stores, resolved, flags.pod.text,
			       flags.pod.length);
}
