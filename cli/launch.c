// SPDX-License-Identifier: Apache-2.0
/* launch.c: from a pod that is written to disk to its exit status. */
#include "cli/launch.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/insecure.h"
#include "cli/timing.h"
#include "pod/app_log.h"
#include "pod/park.h"
#include "pod/prepare.h"
#include "pod/run.h"
#include "pod/terminal.h"
#include "pod/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define HOSTNAME_MAX 63
#define TERM_MAX     64

#define HOST_RESOLV_CONF "/etc/resolv.conf"
#define HOST_HOSTS       "/etc/hosts"

/* ---- flags */

static const struct {
	const char *name;
	size_t offset; /* of the list in struct launch_flags */
	const char *argument, *help;
} lists[] = {
	{"dns", offsetof(struct launch_flags, names.servers), "IP",
		"name server for the apps' resolv.conf; host is the host's file, none is none"},
	{"dns-search", offsetof(struct launch_flags, names.searches), "DOMAIN",
		"search domain for the apps' resolv.conf"},
	{"dns-opt", offsetof(struct launch_flags, names.options), "OPTION",
		"option for the apps' resolv.conf"},
	{"hosts-entry", offsetof(struct launch_flags, names.hosts), "IP=NAME",
		"line for the apps' hosts file; host is the host's file"},
};

static int add_to_list(struct cli *cli, const char *name, const char *text, void *context)
{
	size_t i = 0;

	while (strcmp(lists[i].name, name) != 0)
		i++;
	if (appc_strings_append((struct appc_strings *)((char *)context + lists[i].offset), text) <
		0)
		return error_set(&cli->error, -ENOMEM, "out of memory");
	return 0;
}

size_t launch_machine_options(struct launch_flags *flags, struct cli_option *options, size_t count)
{
	const struct cli_option own[] = {
		{"cpus", CLI_STRING, &flags->cpus, "N",
			"vCPUs of the pod's machine (default: from the isolators)"},
		{"strict-isolators", CLI_FLAG, &flags->strict_isolators, NULL,
			"refuse a pod with an isolator that cannot be enforced"},
		{"warm", CLI_FLAG, &flags->warm, NULL,
			"start from the pod's own apps, parked at their first instruction by an earlier run "
			"(what such runs share: see the manual)"},
		{"dax", CLI_STRING, &flags->dax_name, "auto|never|always",
			"which files of images the pod uses in the host's memory instead of a copy "
			"(default auto: static programs and large files)"},
		{"kernel-messages", CLI_FLAG, &flags->kernel_messages, NULL,
			"show what the guest kernel prints"},
		{"kernel", CLI_STRING, &flags->kernel, "FILE",
			"another guest kernel (an ELF vmlinux)"},
		{"init", CLI_STRING, &flags->init, "FILE", "another guest-init"},
	};

	memcpy(options + count, own, sizeof(own));
	return count + ARRAY_SIZE(own);
}

size_t launch_run_options(struct launch_flags *flags, struct cli_option *options, size_t count)
{
	const struct cli_option own[] = {
		{"flavour", CLI_STRING, &flags->flavour, "vm|container",
			"the wall around the pod: a virtual machine (default) or namespaces"},
		{"hostname", CLI_STRING, &flags->hostname, "NAME",
			"hostname of the pod (default appc-UUID)"},
		{"net", CLI_OPTIONAL, &flags->net, "none|default|tap[:bridge=NAME]",
			"network of the pod: none, with --net alone or --port through passt, or on a "
			"bridge of the host"},
		{"dns-domain", CLI_STRING, &flags->names.domain, "DOMAIN",
			"domain for the apps' resolv.conf"},
		{"interactive", CLI_FLAG, &flags->interactive, NULL,
			"the app reads this command's standard input, through a terminal of its own where that "
			"is one (a single app only)"},
		{"ipc", CLI_STRING, &flags->ipc, "auto|private",
			"IPC namespace of the pod: always its own"},
		{"mds-register", CLI_FLAG, &flags->mds_register, NULL,
			"accepted: the metadata service is always there"},
		{"log-size", CLI_STRING, &flags->log_size_text, "SIZE",
			"what is kept of each app's output for \"appc-vm logs\" (default 16M; 0: nothing)"},
		{"timing", CLI_OPTIONAL, &flags->timing, "json",
			"at the end, say on standard error where the time went"},
		{"no-template", CLI_FLAG, &flags->no_template, NULL,
			"boot the machine instead of starting it from a template"},
	};

	flags->call = (struct cli_call){add_to_list, flags};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		options[count++] = (struct cli_option){
			lists[i].name, CLI_CALL, &flags->call, lists[i].argument, lists[i].help};
	memcpy(options + count, own, sizeof(own));
	return launch_machine_options(flags, options, count + ARRAY_SIZE(own));
}

void launch_flags_done(struct launch_flags *flags)
{
	name_service_flags_clear(&flags->names);
	name_service_clear(&flags->name_service);
	cleanup_close(&flags->kernel_fd);
	cleanup_close(&flags->init_fd);
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

static int parse_log_size(struct cli *cli, struct launch_flags *flags)
{
	const char *text = flags->log_size_text;
	int r;

	flags->log_size = text ? 0 : APP_LOG_SIZE_DEFAULT;
	if (!text || !strcmp(text, "0"))
		return 0;
	r = cli_parse_size(cli, "log-size", text, &flags->log_size);
	if (r == 0 && flags->log_size < APP_LOG_SIZE_MIN)
		return cli_usage(cli, "--log-size: at least %lluM, or 0", APP_LOG_SIZE_MIN >> 20);
	return r;
}

/* A network brings its own name server, where no flag says otherwise. */
static int default_name_server(struct launch_flags *flags)
{
	const struct name_service_flags *names = &flags->names;

	if (names->servers.count || names->searches.count || names->options.count || names->domain)
		return 0;
	switch (flags->network.mode) {
	case NETWORK_USER:
		return appc_strings_append(&flags->names.servers, PASST_NAME_SERVER);
	case NETWORK_BRIDGE:
		return name_service_add_reachable(&flags->names.servers, HOST_RESOLV_CONF);
	default:
		return 0;
	}
}

static int check_ipc(struct cli *cli, const char *ipc)
{
	if (!ipc || !*ipc || !strcmp(ipc, "auto") || !strcmp(ipc, "private"))
		return 0;
	if (!strcmp(ipc, "parent"))
		return error_set(&cli->error, -ENOTSUP,
			"--ipc=parent: a pod cannot share the host's IPC namespace, it has its own");
	return cli_usage(cli, "--ipc is auto or private, not \"%s\"", ipc);
}

int launch_parse_machine(
	struct cli *cli, const char *cpus, const char *memory, struct resolve_options *ret)
{
	uint64_t number = 0;

	if (cpus && (!checked_parse_u64(cpus, MACHINE_VCPUS_MAX, &number) || number == 0))
		return cli_usage(cli, "--cpus is 1 to %d, not \"%s\"", MACHINE_VCPUS_MAX, cpus);
	ret->vcpus = (unsigned int)number;
	ret->memory = 0;
	return memory ? cli_parse_size(cli, "memory", memory, &ret->memory) : 0;
}

int launch_parse_dax(struct cli *cli, struct launch_flags *flags)
{
	int r = cli_parse_dax(cli, flags->dax_name, &flags->dax);

	/*
	 * The pages that parked apps need are in the parked memory: a window adds nothing. To a boot for one pod it
	 * adds more than that pod gains.
	 */
	if (r == 0 && !flags->dax_name && (flags->warm || flags->no_template))
		flags->dax = VIRTIO_FS_DAX_NEVER;
	return r;
}

int launch_add_ports(struct cli *cli, struct launch_flags *flags, size_t count)
{
	if (count > 0 && flags->net && (!strcmp(flags->net, "none") || !strcmp(flags->net, "host")))
		return error_set(&cli->error, -EINVAL,
			"--port flag does not work with '%s' networking", flags->net);
	flags->exposes_ports = count > 0;
	return 0;
}

/* Name servers follow from the network. */
static int resolve_network(struct cli *cli, struct launch_flags *flags)
{
	int r = network_choice_parse(flags->net ? flags->net
			: flags->exposes_ports  ? "default"
						: "none",
		&flags->network, &cli->error);

	if (r == 0)
		r = default_name_server(flags);
	name_service_clear(&flags->name_service);
	if (r == 0)
		r = name_service_resolve(&flags->names, HOST_RESOLV_CONF, HOST_HOSTS,
			&flags->name_service, &cli->error);
	flags->resolve.resolv_conf = flags->name_service.resolv_conf;
	flags->resolve.hosts_entries = flags->name_service.hosts_entries;
	return r;
}

int launch_expose_ports(struct cli *cli, struct launch_flags *flags)
{
	flags->exposes_ports = true;
	return flags->net ? 0 : resolve_network(cli, flags);
}

int launch_flags_check(struct cli *cli, struct launch_flags *flags)
{
	struct resolve_options *resolve = &flags->resolve;
	int r;

	if (flags->timing && *flags->timing && strcmp(flags->timing, "json") != 0)
		return cli_usage(cli, "--timing is json or nothing, not \"%s\"", flags->timing);
	if (flags->flavour && flavour_from_name(flags->flavour, &flags->flavour_kind) < 0)
		return cli_usage(cli, "--flavour is vm or container, not \"%s\"", flags->flavour);
	if (flags->warm && (flags->no_template || flags->flavour_kind != FLAVOUR_VM))
		return cli_usage(cli, "--warm needs a virtual machine that starts from a template");
	r = launch_parse_dax(cli, flags);
	if (r == 0 && flags->hostname)
		r = check_hostname(cli, flags->hostname);
	if (r == 0)
		r = parse_log_size(cli, flags);
	if (r == 0)
		r = check_ipc(cli, flags->ipc);
	if (r == 0)
		r = launch_parse_machine(cli, flags->cpus, flags->memory, resolve);
	if (r == 0)
		r = resolve_network(cli, flags);
	if (r < 0)
		return r;
	resolve->strict_isolators = flags->strict_isolators;
	resolve->is_container = flags->flavour_kind == FLAVOUR_CONTAINER;
	resolve->insecure_seccomp = cli->insecure & CLI_INSECURE_SECCOMP;
	resolve->insecure_capabilities = cli->insecure & CLI_INSECURE_CAPABILITIES;
	resolve->insecure_paths = cli->insecure & CLI_INSECURE_PATHS;
	return 0;
}

/* ---- what is open */

/*
 * Before a mount namespace of our own is entered: the executable stays in the old one, and below a
 * chroot its path there means nothing in the new.
 */
static int open_program_files(struct cli *cli, struct launch_flags *flags)
{
	if (flags->flavour_kind == FLAVOUR_VM) {
		flags->kernel_fd = cli_open_program_file(cli, flags->kernel, "kernel", "vmlinux");
		if (flags->kernel_fd < 0)
			return flags->kernel_fd;
	}
	flags->init_fd = cli_open_program_file(cli, flags->init, "init", "guest-init");
	return flags->init_fd < 0 ? flags->init_fd : 0;
}

void launch_stores_close(struct launch_stores *stores)
{
	cleanup_close(&stores->keep_fd);
	templates_close(stores->templates);
	cleanup_pods(&stores->pods);
	cleanup_store(&stores->store);
	cleanup_close(&stores->data_fd);
}

int launch_open_stores(struct cli *cli, struct launch_stores *ret)
{
	int r;

	ret->data_fd = cli_open_data(cli);
	if (ret->data_fd < 0)
		return ret->data_fd;
	r = store_open(ret->data_fd, &ret->store, &cli->error);
	return r < 0 ? r : pods_open(ret->data_fd, &ret->pods, &cli->error);
}

int launch_open(struct cli *cli, struct launch_flags *flags, struct launch_stores *ret)
{
	int r = open_program_files(cli, flags);

	if (r == 0)
		r = pod_tree_enter_namespace(&cli->error);
	if (r == 0)
		r = launch_open_stores(cli, ret);
	if (r == 0 && flags->flavour_kind == FLAVOUR_VM && !flags->no_template)
		r = cli_open_templates(cli, ret->data_fd, &ret->templates);
	return r;
}

/* ---- a new pod's trees */

static int keep_trees(struct cli *cli, struct launch_stores *stores)
{
	stores->keep_fd = store_keep_trees(stores->store, &cli->error);
	return stores->keep_fd < 0 ? stores->keep_fd : 0;
}

int launch_resolve(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	struct appc_pod_manifest *manifest, struct resolved_pod **ret)
{
	int r = keep_trees(cli, stores);

	if (r < 0) {
		appc_pod_manifest_free(manifest);
		return r;
	}
	return pod_resolve(stores->store, manifest, &flags->resolve, ret, &cli->error);
}

int launch_pod_prepare(struct cli *cli, struct launch_stores *stores, const struct pod *pod,
	const struct resolved_pod *resolved, const char *text, size_t length,
	const struct pod_prepared *prepared)
{
	int r = pod_prepare(pod, resolved, stores->store, text, length, prepared, &cli->error);

	fd_close(&stores->keep_fd);
	return r;
}

/* ---- running */

int launch_set_interactive(
	struct cli *cli, const struct launch_flags *flags, struct resolved_pod *resolved)
{
	if (flags->interactive && resolved->app_count > 1)
		return error_set(
			&cli->error, -EINVAL, "interactive option only supports pods with one app");
	if (flags->interactive && resolved->terminal)
		return error_set(&cli->error, -EINVAL,
			"--interactive: app \"%s\" has a terminal already, to attach to",
			resolved->apps[0].name);
	resolved->interactive = flags->interactive;
	if (flags->interactive)
		resolved->input_app = 0;
	/* What is parked has pipes already. */
	if (flags->interactive && !flags->warm && isatty(STDIN_FILENO)) {
		const char *type = getenv("TERM");

		resolved->terminal = type && *type && strlen(type) <= TERM_MAX ? type : "linux";
		for (size_t i = WIRE_STREAM_STDOUT; i < STREAM_MODES; i++)
			resolved->terminal_streams[i] = true;
		terminal_size(STDIN_FILENO, &resolved->terminal_rows, &resolved->terminal_columns);
	}
	return 0;
}

static struct pod_origin_options origin_options(
	const struct launch_flags *flags, const struct launch_stores *stores)
{
	return (struct pod_origin_options){
		.templates = stores->templates,
		.kernel_fd = flags->kernel_fd,
		.init_fd = flags->init_fd,
		.warm = flags->warm,
		.dax = flags->dax,
		.net_kind = network_device_kind(flags->network.mode),
		.kernel_messages = flags->kernel_messages,
		.extra_command_line = cli_kernel_parameters(),
	};
}

void launch_find_origin(const struct launch_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved, struct pod_origin *ret)
{
	const struct pod_origin_options options = origin_options(flags, stores);

	if (stores->templates)
		pod_origin_find(&options, stores->pods, resolved, stores->store, ret);
}

/* From *origin, as far as it is one. -ESTALE: it is not, -EHOSTDOWN: the host failed, and nothing has happened. */
static int run_from(struct cli *cli, struct launch_stores *stores, struct pod *pod,
	const struct resolved_pod *resolved, struct pod_run_options *options,
	const struct pod_origin *origin, int *ret_status, struct pod_timing *timing)
{
	int r = 0;

	options->template = *origin->key ? &origin->template : NULL;
	options->apps_are_parked = origin->is_warm;
	if (origin->is_warm)
		r = pod_park_restore_tree(pod, resolved, &origin->template, &cli->error);
	if (r < 0)
		return r;
	return pod_run(pod, resolved, stores->store, options, ret_status, timing, &cli->error);
}

static struct pod_run_options run_options(const struct cli *cli, const struct launch_flags *flags)
{
	return (struct pod_run_options){
		.flavour = flags->flavour_kind,
		.hostname = flags->hostname,
		.dax = flags->dax,
		.network = flags->network,
		.kernel_messages = flags->kernel_messages,
		.extra_command_line = cli_kernel_parameters(),
		.kernel_fd = flags->kernel_fd,
		.init_fd = flags->init_fd,
		.log_size = flags->log_size,
		.omitted_walls = cli_insecure_walls(cli->insecure),
		.changed = flags->changed,
		.resolve = &flags->resolve,
		.process_start = cli->start,
	};
}

int launch_run(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	struct pod *pod, const struct resolved_pod *resolved, struct pod_origin *origin)
{
	struct pod_run_options options = run_options(cli, flags);
	const struct pod_origin_options origins = origin_options(flags, stores);
	struct pod_timing timing = {.resident_kib = -1};
	int status, r;

	if (flags->network.mode == NETWORK_NONE && resolved->manifest->port_count > 0)
		log_warning("the pod's exposed ports are nobody's: it has no network (--net)");
	/* A prepared pod whose start fails stays as it is; one that has begun to start is spent. */
	r = pod_start(pod, &cli->error);
	if (r < 0)
		return r;
	log_debug("pod %s: %u vCPUs, %" PRIu64 " MiB", pod->uuid, resolved->vcpus,
		resolved->memory >> 20);
	for (;;) {
		r = run_from(cli, stores, pod, resolved, &options, origin, &status, &timing);
		if ((r != -ESTALE && r != -EHOSTDOWN) || !*origin->key)
			break;
		log_warning("the machine starts in another way, since %s: %s",
			r == -ESTALE ? "its template is of no use" : "the host failed",
			cli->error.message);
		pod_origin_fall_back(&origins, resolved, origin, r == -ESTALE);
	}
	if (flags->timing && timing.at[MACHINE_EVENT_NOW] > 0)
		cli_print_timing(&timing, origin, !strcmp(flags->timing, "json"));
	return r < 0 ? r : status;
}

static int save_uuid(struct cli *cli, const char *path, const char *uuid)
{
	char line[POD_UUID_SIZE + 1];
	int r;

	snprintf(line, sizeof(line), "%s\n", uuid);
	r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0644);
	return r < 0 ? error_set_errno(&cli->error, r, "--uuid-file-save=%s", path) : 0;
}

static int print_uuid(struct cli *cli, const char *uuid)
{
	return printf("%s\n", uuid) < 0 || fflush(stdout) != 0
		? error_set_errno(&cli->error, -errno, "cannot write standard output")
		: 0;
}

/* A new pod, ready to be started. */
static int prepare_new(struct cli *cli, const struct launch_flags *flags,
	struct launch_stores *stores, const struct resolved_pod *resolved, const char *text,
	size_t length, struct pod *pod)
{
	int r = pod_create(stores->pods, pod, &cli->error);

	/* Early, so that the pod can be removed even if something goes wrong. */
	if (r == 0 && flags->uuid_file)
		r = save_uuid(cli, flags->uuid_file, pod->uuid);
	if (r == 0)
		r = launch_pod_prepare(cli, stores, pod, resolved, text, length, NULL);
	if (r == 0 && flags->prints_uuid)
		r = print_uuid(cli, pod->uuid);
	return r;
}

int launch_new(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved, const char *text, size_t length)
{
	_cleanup_(pod_origin_done) struct pod_origin origin = POD_ORIGIN_NONE;
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	/* First the pod, which keeps its trees: a template may have to be made, and that takes seconds. */
	r = prepare_new(cli, flags, stores, resolved, text, length, &pod);
	if (r < 0) {
		struct error ignored;

		if (pod.fd >= 0)
			pod_remove(&pod, &ignored); /* gc will, if we cannot */
		return r;
	}
	launch_find_origin(flags, stores, resolved, &origin);
	return launch_run(cli, flags, stores, &pod, resolved, &origin);
}

/* A new pod with all that the saved one had, ready to be started. */
static int prepare_saved(struct cli *cli, const struct launch_flags *flags,
	struct launch_stores *stores, const struct pod_checkpoint *checkpoint,
	const struct resolved_pod *resolved, struct pod *pod)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(
		checkpoint->saved.fd, POD_MANIFEST_GIVEN, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(&cli->error, r, "checkpoint %.12s: cannot read its manifest",
			checkpoint->key);
	r = prepare_new(cli, flags, stores, resolved, text, length, pod);
	return r < 0 ? r : pod_checkpoint_restore_tree(checkpoint, pod, resolved, &cli->error);
}

static int run_saved(struct cli *cli, const struct launch_flags *flags,
	struct launch_stores *stores, struct pod *pod, const struct resolved_pod *resolved,
	const struct pod_checkpoint *checkpoint)
{
	struct pod_run_options options = run_options(cli, flags);
	struct pod_timing timing = {.resident_kib = -1};
	int status, r = pod_start(pod, &cli->error);

	if (r < 0)
		return r;
	options.template = &checkpoint->template;
	options.apps_are_parked = options.continues = true;
	r = pod_run(pod, resolved, stores->store, &options, &status, &timing, &cli->error);
	/* Nothing has happened, and there is no other way to start. */
	if (r == -ESTALE || r == -EHOSTDOWN)
		error_prefix(&cli->error, r, "cannot go on from checkpoint %.12s", checkpoint->key);
	return r < 0 ? r : status;
}

static int go_on(struct cli *cli, struct launch_flags *flags, struct launch_stores *stores,
	const struct pod_checkpoint *checkpoint)
{
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct error ignored;
	int r;

	flags->resolve.vcpus = checkpoint->info.vcpus;
	flags->resolve.memory = checkpoint->info.memory;
	flags->dax = checkpoint->info.dax;
	if (!flags->hostname && *checkpoint->info.hostname)
		flags->hostname = checkpoint->info.hostname;
	r = pod_prepared_resolve(
		&checkpoint->saved, stores->store, &flags->resolve, &resolved, &cli->error);
	if (r == 0)
		r = prepare_saved(cli, flags, stores, checkpoint, resolved, &pod);
	if (r == 0)
		return run_saved(cli, flags, stores, &pod, resolved, checkpoint);
	if (pod.fd >= 0)
		pod_remove(&pod, &ignored); /* gc will, if we cannot */
	return r;
}

int launch_checkpoint(struct cli *cli, struct launch_flags *flags, struct launch_stores *stores,
	const char *prefix)
{
	_cleanup_(pod_checkpoint_done) struct pod_checkpoint checkpoint = POD_CHECKPOINT_NONE;
	struct templates *checkpoints = NULL;
	int r = pod_tree_enter_namespace(&cli->error);

	if (r == 0)
		r = launch_open_stores(cli, stores);
	if (r == 0)
		r = pod_checkpoints_open(stores->data_fd, &checkpoints, &cli->error);
	/* It may be removed at any time, and its list of trees with it. */
	if (r == 0)
		r = keep_trees(cli, stores);
	if (r == 0)
		r = pod_checkpoint_open(
			stores->pods, checkpoints, prefix, &checkpoint, &cli->error);
	templates_close(checkpoints);
	return r < 0 ? r : go_on(cli, flags, stores, &checkpoint);
}
