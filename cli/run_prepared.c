// SPDX-License-Identifier: Apache-2.0
/* run_prepared.c: appc-vm run-prepared */
#include "cli/launch.h"

#include "pod/prepare.h"

/* What was said when the pod was prepared holds where nothing else is said now. */
static int apply_preparation(struct cli *cli, struct launch_flags *flags, const struct pod *pod)
{
	struct pod_prepared prepared;
	int r = pod_prepared_read(pod, &prepared, &cli->error);

	if (r == 0 && prepared.exposes_ports)
		r = launch_expose_ports(cli, flags);
	if (r < 0)
		return r;
	if (!flags->memory)
		flags->resolve.memory = prepared.memory;
	if (!flags->cpus)
		flags->resolve.vcpus = prepared.vcpus;
	if (prepared.strict_isolators)
		flags->resolve.strict_isolators = true;
	if (prepared.warm && !flags->no_template && flags->flavour_kind == FLAVOUR_VM) {
		flags->warm = true;
		return launch_parse_dax(cli, flags);
	}
	return 0;
}

static int run_prepared(struct cli *cli, struct launch_flags *flags, const char *uuid)
{
	_cleanup_(launch_stores_close) struct launch_stores stores = LAUNCH_STORES_NONE;
	_cleanup_(pod_origin_done) struct pod_origin origin = POD_ORIGIN_NONE;
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	r = launch_open(cli, flags, &stores);
	if (r == 0)
		r = pod_open(stores.pods, uuid, &pod, &cli->error);
	if (r == 0)
		r = pod_take_prepared(&pod, &cli->error);
	if (r == 0)
		r = apply_preparation(cli, flags, &pod);
	if (r == 0)
		r = pod_prepared_resolve(
			&pod, stores.store, &flags->resolve, &resolved, &cli->error);
	if (r == 0)
		r = launch_set_interactive(cli, flags, resolved);
	if (r < 0)
		return r;
	launch_find_origin(flags, &stores, resolved, &origin);
	return launch_run(cli, flags, &stores, &pod, resolved, &origin);
}

int command_run_prepared(struct cli *cli, int argc, char **argv)
{
	_cleanup_(launch_flags_done) struct launch_flags flags = LAUNCH_FLAGS_NONE;
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"memory", CLI_STRING, &flags.memory, "SIZE",
			"memory of the pod's machine (default: as prepared)"},
	};
	size_t count = launch_run_options(&flags, options, 1);
	int at, r;

	at = cli_parse(cli, options, count, argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 1)
		return cli_usage(cli, "needs the UUID of one prepared pod");
	r = launch_flags_check(cli, &flags);
	return r < 0 ? r : run_prepared(cli, &flags, argv[at]);
}
