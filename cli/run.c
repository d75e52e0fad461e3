// SPDX-License-Identifier: Apache-2.0
/* run.c: appc-vm run */
#include "cli/cli.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/origin.h"
#include "pod/park.h"
#include "pod/run.h"
#include "pod/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define HOSTNAME_MAX 63

struct run_flags {
	const char *flavour, *pod_manifest, *memory, *cpus, *hostname, *timing, *uuid_file, *kernel,
		*init;
	bool kernel_messages, strict_isolators, no_template, warm;
	enum flavour flavour_kind;
	int kernel_fd, init_fd; /* -1: not opened, or not needed */
};

/* ---- what the pod runs on */

/*
 * Before a mount namespace of our own is entered: the executable stays in the old one, and below a
 * chroot its path there means nothing in the new.
 */
static int open_program_files(struct cli *cli, struct run_flags *flags)
{
	if (flags->flavour_kind == FLAVOUR_VM) {
		flags->kernel_fd = cli_open_program_file(cli, flags->kernel, "kernel", "vmlinux");
		if (flags->kernel_fd < 0)
			return flags->kernel_fd;
	}
	flags->init_fd = cli_open_program_file(cli, flags->init, "init", "guest-init");
	return flags->init_fd < 0 ? flags->init_fd : 0;
}

static void run_flags_done(struct run_flags *flags)
{
	cleanup_close(&flags->kernel_fd);
	cleanup_close(&flags->init_fd);
}

static int parse_resources(
	struct cli *cli, const struct run_flags *flags, struct resolve_options *ret)
{
	uint64_t cpus = 0;
	int r;

	*ret = (struct resolve_options){.strict_isolators = flags->strict_isolators};
	if (flags->memory) {
		r = cli_parse_size(cli, "memory", flags->memory, &ret->memory);
		if (r < 0)
			return r;
	}
	if (flags->cpus && (!checked_parse_u64(flags->cpus, MACHINE_VCPUS_MAX, &cpus) || cpus == 0))
		return cli_usage(
			cli, "--cpus is 1 to %d, not \"%s\"", MACHINE_VCPUS_MAX, flags->cpus);
	ret->vcpus = (unsigned int)cpus;
	return 0;
}

/* One label of hostname(7), or several with dots. */
static int check_hostname(struct cli *cli, const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length > HOSTNAME_MAX ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") !=
			length ||
		name[0] == '-' || name[0] == '.')
		return cli_usage(cli,
			"--hostname: \"%s\" is not a hostname of at most %d characters", name,
			HOSTNAME_MAX);
	return 0;
}

static int read_manifest(struct cli *cli, const char *path, struct appc_pod_manifest **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r;

	if (!strcmp(path, "-"))
		r = file_read_fd(STDIN_FILENO, APPC_MANIFEST_SIZE_MAX, &text, &length);
	else
		r = file_read(AT_FDCWD, path, APPC_MANIFEST_SIZE_MAX, &text, &length);
	if (r == -EFBIG)
		return error_set(&cli->error, r, "pod manifest \"%s\": longer than %u bytes", path,
			APPC_MANIFEST_SIZE_MAX);
	if (r < 0)
		return error_set_errno(&cli->error, r, "error reading pod manifest \"%s\"", path);
	r = appc_pod_manifest_parse(text, length, ret, &cli->error);
	return r < 0 ? error_prefix(&cli->error, r, "pod manifest \"%s\"", path) : 0;
}

/* ---- where the time went */

static json_t *milliseconds_json(int64_t nanoseconds)
{
	int64_t microseconds = nanoseconds / 1000;

	return nanoseconds < 0 ? json_null() : json_real((double)microseconds / 1000.0);
}

static json_t *count_json(int64_t count)
{
	return count < 0 ? json_null() : json_integer(count);
}

/* The events in their order, as they are called in the output. */
static const struct {
	enum machine_event event;
	const char *name, *title;
} timing_events[] = {
	{MACHINE_EVENT_RUN, "setup", "first guest instruction"},
	{MACHINE_EVENT_INIT, "to_init", "guest-init"},
	{MACHINE_EVENT_READY, "to_ready", "ready for a pod"},
	{MACHINE_EVENT_CONFIGURED, "to_configured", "configured"},
	{MACHINE_EVENT_TREE, "to_tree", "first root filesystem"},
	{MACHINE_EVENT_APP_EXEC, "to_first_app_exec", "first app's exec"},
	{MACHINE_EVENT_OUTPUT, "to_first_output", "first output"},
	{MACHINE_EVENT_NOW, "total", "end"},
};

static json_t *timing_json(const struct pod_timing *timing, const struct pod_origin *origin)
{
	json_t *ms = json_object(), *counts = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(timing_events); i++) {
		enum machine_event event = timing_events[i].event;

		json_object_set_new(
			ms, timing_events[i].name, milliseconds_json(timing->at[event]));
		if (event != MACHINE_EVENT_RUN)
			json_object_set_new(counts, timing_events[i].name,
				count_json(timing->instructions[event]));
	}
	return json_pack("{s:s, s:s*, s:b, s:b, s:i, s:I, s:o, s:o, s:o}", "flavour",
		flavour_name(timing->flavour), "template", *origin->key ? origin->key : NULL,
		"template_built", origin->was_built, "warm", origin->is_warm, "vcpus",
		(int)timing->vcpus, "memory_mib", (json_int_t)(timing->memory >> 20), "ms", ms,
		"guest_kernel_instructions", counts, "vmm_rss_kib",
		count_json(timing->resident_kib));
}

static void print_timing_row(const char *what, int64_t nanoseconds, int64_t instructions)
{
	char ms[32] = "-", count[32] = "-";

	if (nanoseconds >= 0)
		snprintf(ms, sizeof(ms), "%.1f", (double)nanoseconds / 1e6);
	if (instructions >= 0)
		snprintf(count, sizeof(count), "%.1f", (double)instructions / 1e3);
	fprintf(stderr, "  %-24s %10s %14s\n", what, ms, count);
}

static void print_timing(
	const struct pod_timing *timing, const struct pod_origin *origin, bool as_json)
{
	if (as_json) {
		_cleanup_json_ json_t *json = timing_json(timing, origin);

		if (json)
			json_dumpf(json, stderr,
				JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
		fputc('\n', stderr);
		return;
	}
	if (timing->flavour == FLAVOUR_VM)
		fprintf(stderr,
			"%u vCPUs, %" PRIu64 " MiB; %s; the VMM itself takes %" PRId64 " KiB\n",
			timing->vcpus, timing->memory >> 20,
			origin->is_warm        ? "from its own parked state"
				: *origin->key ? "from a template"
					       : "booted",
			timing->resident_kib);
	fprintf(stderr, "  %-24s %10s %14s\n", "from the start to", "ms", "k guest kernel");
	fprintf(stderr, "  %-24s %10s %14s\n", "", "", "instructions");
	for (size_t i = 0; i < ARRAY_SIZE(timing_events); i++)
		print_timing_row(timing_events[i].title, timing->at[timing_events[i].event],
			timing_events[i].event == MACHINE_EVENT_RUN
				? -1
				: timing->instructions[timing_events[i].event]);
}

/* ---- the command */

/* What a run has open of the data directory. */
struct run_stores {
	int data_fd;
	struct store *store;
	struct pods *pods;
	struct templates *templates;
};

static void run_stores_close(struct run_stores *stores)
{
	templates_close(stores->templates);
	cleanup_pods(&stores->pods);
	cleanup_store(&stores->store);
	cleanup_close(&stores->data_fd);
}

static int run_stores_open(struct cli *cli, struct run_stores *ret)
{
	int r;

	ret->data_fd = cli_open_data(cli);
	if (ret->data_fd < 0)
		return ret->data_fd;
	r = store_open(ret->data_fd, &ret->store, &cli->error);
	return r < 0 ? r : pods_open(ret->data_fd, &ret->pods, &cli->error);
}

static int write_manifest(const struct pod *pod, const struct resolved_pod *resolved)
{
	_cleanup_json_ json_t *json = appc_pod_manifest_json(resolved->manifest);

	return json ? pod_write_record(pod, "pod", json) : -ENOMEM;
}

static int save_uuid(struct cli *cli, const char *path, const char *uuid)
{
	char line[POD_UUID_SIZE + 1];
	int r;

	snprintf(line, sizeof(line), "%s\n", uuid);
	r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0644);
	return r < 0 ? error_set_errno(&cli->error, r, "--uuid-file-save=%s", path) : 0;
}

/* Writes the pod's directory, up to the point where it counts as running. */
static int prepare_pod(struct cli *cli, const struct run_flags *flags, struct pod *pod,
	const struct resolved_pod *resolved, const struct pod_origin *origin)
{
	int r;

	r = pod_tree_prepare(pod, resolved, &cli->error);
	if (r == 0 && origin->is_warm)
		r = pod_park_restore_tree(pod, resolved, &origin->template, &cli->error);
	if (r < 0)
		return r;
	r = write_manifest(pod, resolved);
	if (r < 0)
		return error_set_errno(
			&cli->error, r, "pod %s: cannot write its manifest", pod->uuid);
	if (flags->uuid_file && (r = save_uuid(cli, flags->uuid_file, pod->uuid)) < 0)
		return r;
	return pod_start(pod, &cli->error);
}

static int find_origin(struct cli *cli, const struct run_flags *flags, struct run_stores *stores,
	const struct resolved_pod *resolved, struct pod_origin *ret)
{
	struct pod_origin_options options = {
		.kernel_fd = flags->kernel_fd,
		.init_fd = flags->init_fd,
		.warm = flags->warm,
		.kernel_messages = flags->kernel_messages,
		.extra_command_line = cli_kernel_parameters(),
	};
	int r;

	if (flags->flavour_kind != FLAVOUR_VM || flags->no_template)
		return 0;
	r = cli_open_templates(cli, stores->data_fd, &stores->templates);
	if (r < 0)
		return r;
	options.templates = stores->templates;
	pod_origin_find(&options, stores->pods, resolved, stores->store, ret);
	return 0;
}

/* Runs, and if the machine cannot go on from its template, boots instead. */
static int run_from(struct cli *cli, struct run_stores *stores, struct pod *pod,
	const struct resolved_pod *resolved, struct pod_run_options *options,
	struct pod_origin *origin, int *ret_status, struct pod_timing *timing)
{
	struct error ignored;
	int r;

	options->template = *origin->key ? &origin->template : NULL;
	options->apps_are_parked = origin->is_warm;
	r = pod_run(pod, resolved, stores->store, options, ret_status, timing, &cli->error);
	if (r != -ESTALE)
		return r;
	log_warning("the machine boots, since its template is of no use: %s", cli->error.message);
	templates_remove(stores->templates, origin->key, &ignored);
	pod_origin_done(origin);
	options->template = NULL;
	options->apps_are_parked = false;
	return pod_run(pod, resolved, stores->store, options, ret_status, timing, &cli->error);
}

static int run_pod(struct cli *cli, const struct run_flags *flags, struct run_stores *stores,
	const struct resolved_pod *resolved)
{
	struct pod_run_options options = {
		.flavour = flags->flavour_kind,
		.hostname = flags->hostname,
		.kernel_messages = flags->kernel_messages,
		.extra_command_line = cli_kernel_parameters(),
		.kernel_fd = flags->kernel_fd,
		.init_fd = flags->init_fd,
		.process_start = cli->start,
	};
	_cleanup_(pod_origin_done) struct pod_origin origin = POD_ORIGIN_NONE;
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct pod_timing timing = {.resident_kib = -1};
	int status, r;

	r = find_origin(cli, flags, stores, resolved, &origin);
	if (r == 0)
		r = pod_create(stores->pods, &pod, &cli->error);
	if (r < 0)
		return r;
	r = prepare_pod(cli, flags, &pod, resolved, &origin);
	if (r < 0) {
		struct error ignored;

		pod_remove(&pod, &ignored); /* gc will, if we cannot */
		return r;
	}
	log_debug("pod %s: %u vCPUs, %" PRIu64 " MiB", pod.uuid, resolved->vcpus,
		resolved->memory >> 20);
	r = run_from(cli, stores, &pod, resolved, &options, &origin, &status, &timing);
	if (flags->timing && timing.at[MACHINE_EVENT_NOW] > 0)
		print_timing(&timing, &origin, !strcmp(flags->timing, "json"));
	return r < 0 ? r : status;
}

int command_run(struct cli *cli, int argc, char **argv)
{
	_cleanup_(run_flags_done) struct run_flags flags = {.kernel_fd = -1, .init_fd = -1};
	const struct cli_option options[] = {
		{"flavour", CLI_STRING, &flags.flavour, "vm|container",
			"the wall around the pod: a virtual machine (default) or namespaces"},
		{"pod-manifest", CLI_STRING, &flags.pod_manifest, "FILE",
			"the pod manifest; - is standard input"},
		{"memory", CLI_STRING, &flags.memory, "SIZE",
			"memory of the pod's machine: 256M, or 256 (default: from the isolators)"},
		{"cpus", CLI_STRING, &flags.cpus, "N", "vCPUs (default: from the isolators)"},
		{"hostname", CLI_STRING, &flags.hostname, "NAME",
			"hostname of the pod (default appc-UUID)"},
		{"uuid-file-save", CLI_STRING, &flags.uuid_file, "FILE",
			"write the pod's UUID to FILE"},
		{"timing", CLI_OPTIONAL, &flags.timing, "json",
			"at the end, say on standard error where the time went"},
		{"strict-isolators", CLI_FLAG, &flags.strict_isolators, NULL,
			"refuse a pod with an isolator that cannot be enforced"},
		{"no-template", CLI_FLAG, &flags.no_template, NULL,
			"boot the machine instead of starting it from a template"},
		{"warm", CLI_FLAG, &flags.warm, NULL,
			"start from the pod's own apps, parked at their first instruction by an earlier run "
			"(what such runs share: see the manual)"},
		{"kernel-messages", CLI_FLAG, &flags.kernel_messages, NULL,
			"show what the guest kernel prints"},
		{"kernel", CLI_STRING, &flags.kernel, "FILE",
			"another guest kernel (an ELF vmlinux)"},
		{"init", CLI_STRING, &flags.init, "FILE", "another guest-init"},
	};
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	struct appc_pod_manifest *manifest = NULL;
	struct resolve_options resolve;
	_cleanup_(run_stores_close) struct run_stores stores = {.data_fd = -1};
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (flags.pod_manifest && at < argc)
		return cli_usage(cli, "conflicting flags set with --pod-manifest (see --help)");
	if (!flags.pod_manifest && argc - at != 1)
		return cli_usage(cli, "needs one pod manifest");
	if (flags.timing && *flags.timing && strcmp(flags.timing, "json"))
		return cli_usage(cli, "--timing is json or nothing, not \"%s\"", flags.timing);
	if (flags.flavour && flavour_from_name(flags.flavour, &flags.flavour_kind) < 0)
		return cli_usage(cli, "--flavour is vm or container, not \"%s\"", flags.flavour);
	if (flags.hostname && (r = check_hostname(cli, flags.hostname)) < 0)
		return r;
	if (flags.warm && (flags.no_template || flags.flavour_kind != FLAVOUR_VM))
		return cli_usage(cli, "--warm needs a virtual machine that starts from a template");
	r = parse_resources(cli, &flags, &resolve);
	if (r < 0)
		return r;
	r = read_manifest(cli, flags.pod_manifest ? flags.pod_manifest : argv[at], &manifest);
	if (r < 0)
		return r;
	r = open_program_files(cli, &flags);
	if (r == 0)
		r = pod_tree_enter_namespace(&cli->error);
	if (r == 0)
		r = run_stores_open(cli, &stores);
	if (r < 0) {
		appc_pod_manifest_free(manifest);
		return r;
	}
	r = pod_resolve(stores.store, manifest, &resolve, &resolved, &cli->error);
	if (r < 0)
		return r;
	return run_pod(cli, &flags, &stores, resolved);
}
