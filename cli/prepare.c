// SPDX-License-Identifier: Apache-2.0
/* prepare.c: appc-vm prepare */
#include "cli/launch.h"
#include "cli/pod_flags.h"

#include "base/log.h"
#include "cli/insecure.h"
#include "pod/prepare.h"

struct prepare_flags {
	struct pod_flags pod;
	struct launch_flags launch;
	bool quiet;
};

static void prepare_flags_done(struct prepare_flags *flags)
{
	pod_flags_done(&flags->pod);
	launch_flags_done(&flags->launch);
}

static int parse(struct cli *cli, struct prepare_flags *flags, int argc, char **argv)
{
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"quiet", CLI_FLAG, &flags->quiet, NULL,
			"no messages but warnings and errors; the UUID is printed either way"},
	};
	size_t count = pod_flags_options(&flags->pod, options, 1);
	int r;

	count = launch_machine_options(&flags->launch, options, count);
	r = pod_flags_parse(cli, &flags->pod, options, count, argc, argv);
	if (r < 0)
		return r;
	if (flags->quiet && !cli->debug)
		log_set_level(LOG_LEVEL_WARNING);
	flags->launch.memory = flags->pod.request.machine_memory;
	r = launch_add_ports(cli, &flags->launch, flags->pod.request.port_count);
	return r < 0 ? r : launch_flags_check(cli, &flags->launch);
}

/* Parks the pod's apps, for runs of it to start from. */
static void park(const struct prepare_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved)
{
	_cleanup_(pod_origin_done) struct pod_origin origin = POD_ORIGIN_NONE;

	launch_find_origin(&flags->launch, stores, resolved, &origin);
}

static int prepare(struct cli *cli, const struct prepare_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved)
{
	const struct pod_prepared prepared = {
		.warm = flags->launch.warm,
		.vcpus = flags->launch.resolve.vcpus,
		.memory = flags->launch.resolve.memory,
		.strict_isolators = flags->launch.strict_isolators,
		.exposes_ports = flags->launch.exposes_ports,
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	r = pod_create(stores->pods, &pod, &cli->error);
	if (r < 0)
		return r;
	r = launch_pod_prepare(
		cli, stores, &pod, resolved, flags->pod.text, flags->pod.length, &prepared);
	if (r == 0 && flags->launch.warm)
		park(flags, stores, resolved);
	if (r == 0)
		r = pod_finish_prepare(&pod, &cli->error);
	if (r == 0) {
		printf("%s\n", pod.uuid);
	} else {
		struct error ignored;

		pod_remove(&pod, &ignored); /* gc will, if we cannot */
	}
	return r;
}

int command_prepare(struct cli *cli, int argc, char **argv)
{
	_cleanup_(prepare_flags_done) struct prepare_flags flags = {.launch = LAUNCH_FLAGS_NONE};
	_cleanup_(launch_stores_close) struct launch_stores stores = LAUNCH_STORES_NONE;
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	int r;

	r = parse(cli, &flags, argc, argv);
	if (r == 0)
		r = pod_flags_read(cli, &flags.pod);
	if (r == 0)
		r = flags.launch.warm ? launch_open(cli, &flags.launch, &stores)
				      : launch_open_stores(cli, &stores);
	if (r == 0)
		r = pod_flags_generate(cli, &flags.pod, stores.store);
	if (r == 0)
		r = launch_resolve(
			cli, &flags.launch, &stores, TAKE_PTR(flags.pod.manifest), &resolved);
	if (r == 0 && !(cli->insecure & CLI_INSECURE_ONDISK))
		r = pod_verify_trees(stores.store, resolved, &cli->error);
	return r < 0 ? r : prepare(cli, &flags, &stores, resolved);
}
