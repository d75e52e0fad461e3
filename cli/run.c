// SPDX-License-Identifier: Apache-2.0
/* run.c: appc-vm run */
#include "cli/cli.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/run.h"
#include "pod/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* rkt's name is honoured too, so that its users' scripts go on working. */
#define ENV_KERNEL_PARAMS     "APPC_VM_EXTRA_KERNEL_PARAMS"
#define ENV_KERNEL_PARAMS_RKT "RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS"

#define HOSTNAME_MAX 63

#define MEMORY_BYTES_MIN (1 << 20)

struct run_flags {
	const char *flavour, *pod_manifest, *memory, *cpus, *hostname, *timing, *uuid_file, *kernel,
		*init;
	bool kernel_messages, strict_isolators;
	enum flavour flavour_kind;
	int kernel_fd, init_fd; /* -1: not opened, or not needed */
};

/* ---- what the pod runs on */

/*
 * Opens a file that belongs to the program: beside the executable (a build tree), or below ../lib/appc-vm
 * (an installation).
 */
static int open_program_file(struct cli *cli, const char *given, const char *flag, const char *name)
{
	char executable[PATH_MAX], path[PATH_MAX + 64];
	ssize_t length;
	char *slash;
	int fd;

	if (given) {
		fd = open(given, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(&cli->error, -errno, "--%s=%s", flag, given);
		return fd;
	}
	length = readlink("/proc/self/exe", executable, sizeof(executable) - 1);
	if (length < 0)
		return error_set_errno(&cli->error, -errno, "cannot find my own executable");
	executable[length] = '\0';
	slash = strrchr(executable, '/');
	if (slash)
		*slash = '\0';
	snprintf(path, sizeof(path), "%s/%s", executable, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "%s/../lib/appc-vm/%s", executable, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return error_set(&cli->error, -ENOENT,
		"cannot find %s beside the program or in ../lib/appc-vm; build it (\"make kernel\" makes "
		"vmlinux) or give --%s",
		name, flag);
}

/*
 * Before a mount namespace of our own is entered: the executable stays in the old one, and below a
 * chroot its path there means nothing in the new.
 */
static int open_program_files(struct cli *cli, struct run_flags *flags)
{
	if (flags->flavour_kind == FLAVOUR_VM) {
		flags->kernel_fd = open_program_file(cli, flags->kernel, "kernel", "vmlinux");
		if (flags->kernel_fd < 0)
			return flags->kernel_fd;
	}
	flags->init_fd = open_program_file(cli, flags->init, "init", "guest-init");
	return flags->init_fd < 0 ? flags->init_fd : 0;
}

static void run_flags_done(struct run_flags *flags)
{
	cleanup_close(&flags->kernel_fd);
	cleanup_close(&flags->init_fd);
}

/*
 * A quantity as in isolators, but as with every VM runner "128M" is 128 MiB, and so is "128" alone: no
 * machine has so few bytes.
 */
static int parse_memory(struct cli *cli, const char *text, uint64_t *ret)
{
	size_t length = strlen(text);
	bool decimal = length > 0 && strchr("kKMGT", text[length - 1]);
	char binary[32];
	int64_t value;

	snprintf(binary, sizeof(binary), "%s%s", text, decimal ? "i" : "");
	if (decimal && binary[length - 1] == 'k')
		binary[length - 1] = 'K';
	if (length >= sizeof(binary) - 1 || appc_quantity_parse(binary, &value, NULL, NULL) < 0 ||
		value <= 0)
		return cli_usage(cli, "--memory: \"%s\" is not a size like \"256Mi\"", text);
	if (value < MEMORY_BYTES_MIN)
		value *= MEMORY_BYTES_MIN;
	*ret = (uint64_t)value;
	return 0;
}

static int parse_resources(
	struct cli *cli, const struct run_flags *flags, struct resolve_options *ret)
{
	uint64_t cpus = 0;
	int r;

	*ret = (struct resolve_options){.strict_isolators = flags->strict_isolators};
	if (flags->memory) {
		r = parse_memory(cli, flags->memory, &ret->memory);
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

static json_t *timing_json(const struct pod_timing *timing)
{
	const int64_t *count = timing->instructions;

	return json_pack(
		"{s:s, s:n, s:i, s:I, s:{s:o, s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:o}",
		"flavour", flavour_name(timing->flavour), "template", "vcpus", (int)timing->vcpus,
		"memory_mib", (json_int_t)(timing->memory >> 20), "ms", "setup",
		milliseconds_json(timing->setup), "to_init", milliseconds_json(timing->to_init),
		"to_first_app_exec", milliseconds_json(timing->to_app_exec), "to_first_output",
		milliseconds_json(timing->to_output), "total", milliseconds_json(timing->total),
		"guest_kernel_instructions", "to_init", count_json(count[MACHINE_EVENT_INIT]),
		"to_first_app_exec", count_json(count[MACHINE_EVENT_APP_EXEC]), "to_first_output",
		count_json(count[MACHINE_EVENT_OUTPUT]), "total",
		count_json(count[MACHINE_EVENT_NOW]), "vmm_rss_kib",
		count_json(timing->resident_kib));
}

static void print_timing_row(const char *what, int64_t nanoseconds, int64_t instructions)
{
	char ms[32] = "-", count[32] = "-";

	if (nanoseconds >= 0)
		snprintf(ms, sizeof(ms), "%.1f", (double)nanoseconds / 1e6);
	if (instructions >= 0)
		snprintf(count, sizeof(count), "%.3f", (double)instructions / 1e6);
	fprintf(stderr, "  %-22s %10s %14s\n", what, ms, count);
}

static void print_timing(const struct pod_timing *timing, bool as_json)
{
	if (as_json) {
		_cleanup_json_ json_t *json = timing_json(timing);

		if (json)
			json_dumpf(json, stderr,
				JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
		fputc('\n', stderr);
		return;
	}
	if (timing->flavour == FLAVOUR_VM)
		fprintf(stderr, "%u vCPUs, %" PRIu64 " MiB; the VMM itself takes %" PRId64 " KiB\n",
			timing->vcpus, timing->memory >> 20, timing->resident_kib);
	fprintf(stderr, "  %-22s %10s %14s\n", "from the start to", "ms", "M guest kernel");
	fprintf(stderr, "  %-22s %10s %14s\n", "", "", "instructions");
	print_timing_row("first guest instruction", timing->setup, -1);
	print_timing_row("guest-init", timing->to_init, timing->instructions[MACHINE_EVENT_INIT]);
	print_timing_row("first app's exec", timing->to_app_exec,
		timing->instructions[MACHINE_EVENT_APP_EXEC]);
	print_timing_row(
		"first output", timing->to_output, timing->instructions[MACHINE_EVENT_OUTPUT]);
	print_timing_row("end", timing->total, timing->instructions[MACHINE_EVENT_NOW]);
}

/* ---- the command */

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
	const struct resolved_pod *resolved)
{
	int r;

	r = pod_tree_prepare(pod, resolved, &cli->error);
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

static int run_pod(struct cli *cli, const struct run_flags *flags, struct pods *pods,
	struct store *store, const struct resolved_pod *resolved)
{
	const char *extra = getenv(ENV_KERNEL_PARAMS);
	struct pod_run_options options = {
		.flavour = flags->flavour_kind,
		.hostname = flags->hostname,
		.kernel_messages = flags->kernel_messages,
		.extra_command_line = extra ? extra : getenv(ENV_KERNEL_PARAMS_RKT),
		.kernel_fd = flags->kernel_fd,
		.init_fd = flags->init_fd,
		.process_start = cli->start,
	};
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct pod_timing timing = {.resident_kib = -1};
	int status, r;

	r = pod_create(pods, &pod, &cli->error);
	if (r < 0)
		return r;
	r = prepare_pod(cli, flags, &pod, resolved);
	if (r < 0) {
		struct error ignored;

		pod_remove(&pod, &ignored); /* gc will, if we cannot */
		return r;
	}
	log_debug("pod %s: %u vCPUs, %" PRIu64 " MiB", pod.uuid, resolved->vcpus,
		resolved->memory >> 20);
	r = pod_run(&pod, resolved, store, &options, &status, &timing, &cli->error);
	if (flags->timing && timing.total > 0)
		print_timing(&timing, !strcmp(flags->timing, "json"));
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
		{"kernel-messages", CLI_FLAG, &flags.kernel_messages, NULL,
			"show what the guest kernel prints"},
		{"kernel", CLI_STRING, &flags.kernel, "FILE",
			"another guest kernel (an ELF vmlinux)"},
		{"init", CLI_STRING, &flags.init, "FILE", "another guest-init"},
	};
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	struct appc_pod_manifest *manifest = NULL;
	struct resolve_options resolve;
	_cleanup_store_ struct store *store = NULL;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
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
	r = parse_resources(cli, &flags, &resolve);
	if (r < 0)
		return r;
	r = read_manifest(cli, flags.pod_manifest ? flags.pod_manifest : argv[at], &manifest);
	if (r < 0)
		return r;
	r = open_program_files(cli, &flags);
	if (r == 0)
		r = pod_tree_enter_namespace(&cli->error);
	data = r < 0 ? r : cli_open_data(cli);
	r = data < 0 ? data : store_open(data, &store, &cli->error);
	if (r == 0)
		r = pods_open(data, &pods, &cli->error);
	if (r < 0) {
		appc_pod_manifest_free(manifest);
		return r;
	}
	r = pod_resolve(store, manifest, &resolve, &resolved, &cli->error);
	if (r < 0)
		return r;
	return run_pod(cli, &flags, pods, store, resolved);
}
