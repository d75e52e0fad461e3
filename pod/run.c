// SPDX-License-Identifier: Apache-2.0
/* run.c: sets a pod up, starts its flavour and hands over to the supervisor's loop (run_loop.c). */
#include "pod/run.h"

#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "pod/configure.h"
#include "pod/record.h"
#include "pod/run_parts.h"
#include "pod/sockets.h"
#include "pod/tree.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

/* How long each message may take when the pod has ended. */
#define LAST_WORDS_MS 2000

/* What the kernel keeps for a file that a process has open: inodes and names of an overlay and below it. */
#define KERNEL_BYTES_PER_FILE 3072ull

static void supervisor_done(struct supervisor *s)
{
	for (size_t i = 0; s->apps && i < s->resolved->app_count; i++)
		free(s->apps[i].message);
	free(s->apps);
	wire_reader_done(&s->control);
	pod_output_done(&s->output);
	pod_attachments_close(&s->attachments);
	pod_network_stop(&s->network);
	pod_metadata_done(&s->metadata);
	free(s->outgoing.data);
	cleanup_close(&s->process.control_fd);
	cleanup_close(&s->process.stream_fd);
	cleanup_close(&s->process.connect_fd);
	cleanup_close(&s->vsock_fd);
	cleanup_close(&s->process.report_fd);
	vmm_log_done(&s->vmm_log);
	cleanup_close(&s->process.pid_fd);
	terminal_restore(&s->terminal);
	cleanup_close(&s->signal_fd);
	cleanup_close(&s->pause_fd);
	pod_requests_close(&s->requests);
	supervisor_apps_done(s);
	/* Nobody is in it any more, neither VMM nor network. */
	pod_cgroup_destroy(&s->vmm_cgroup);
	pod_cgroup_done(&s->vmm_cgroup);
	/* Nobody waits for us any more but who started us; signals stay blocked. */
	log_set_patience(LAST_WORDS_MS);
}

void pod_default_hostname(const struct pod *pod, char *name)
{
	snprintf(name, POD_HOSTNAME_SIZE, "appc-%s", pod->uuid);
}

/* ---- the cgroup */

/* Before anything is made: whoever finds the pod dead reads in its record what is to be removed. */
static void plan_cgroup(struct supervisor *s)
{
	int r = 0;

	if (s->options->flavour == FLAVOUR_CONTAINER) {
		if (pod_cgroup_path(s->pod->uuid, s->cgroup, sizeof(s->cgroup)) < 0)
			*s->cgroup = '\0';
	} else if (!(s->options->omitted_walls & 1u << JAIL_CGROUP)) {
		r = pod_cgroup_plan(s->pod->uuid, &s->vmm_cgroup);
	}
	if (r < 0)
		log_warning("cannot find a cgroup for the VMM: %s", strerror(-r));
}

/*
 * What the machine of this pod can need of the host at most. Memory: its RAM; page tables and KVM's own, a sixteenth
 * of it; the window, the VMM and its caches of files, 192 MiB; and what the kernel keeps for each file that the
 * file server may hold for the guest. CPUs: the apps' limits, where all have one and no others come, else the vCPUs and one for
 * passt, which is a single thread, and no more than the pod's limit; and one for the event loop and for workers of the kernel.
 */
static struct pod_cgroup_limits vmm_limits(const struct supervisor *s)
{
	const struct resolved_pod *resolved = s->resolved;
	const int64_t most = resolved->vcpus * 1000ll;
	int64_t millis = resolved->is_mutable ? INT64_MAX : 0;

	for (size_t i = 0; i < resolved->app_count && millis < INT64_MAX; i++)
		millis = resolved->apps[i].cpu_millis < 0 ? INT64_MAX
							  : millis + resolved->apps[i].cpu_millis;
	if (millis > most)
		millis = most + (s->options->network.mode == NETWORK_USER ? 1000 : 0);
	if (resolved->cpu_millis > 0 && millis > resolved->cpu_millis)
		millis = resolved->cpu_millis;
	return (struct pod_cgroup_limits){
		.memory = resolved->memory + resolved->memory / 16 + (192ull << 20) +
			(MACHINE_INODES_MAX + MACHINE_HANDLES_MAX) * KERNEL_BYTES_PER_FILE,
		.cpu_millis = (unsigned int)millis + 1000,
		.threads = JAIL_THREADS_MAX,
		.disk_bytes = resolved->file_limits.bytes,
		.disk_operations = resolved->file_limits.operations,
		.disk_fd = s->pod->fd,
	};
}

/* Where the host has no cgroup for it the VMM does without, and status tells. */
static const struct pod_cgroup *create_vmm_cgroup(struct supervisor *s)
{
	struct pod_cgroup_limits limits = vmm_limits(s);
	struct error error;
	int r;

	if (s->vmm_cgroup.count == 0)
		return NULL;
	r = pod_cgroup_create(&s->vmm_cgroup, &limits, &error);
	if (r < 0)
		log_debug("the VMM has no cgroup of its own: %s", error.message);
	return r < 0 ? NULL : &s->vmm_cgroup;
}

/* ---- the start */

/* The frame that tells the guest what to do; it is kept in outgoing. */
static int compose_message(struct supervisor *s, const unsigned int *etc_files, struct error *err)
{
	char default_name[POD_HOSTNAME_SIZE];
	const char *hostname = s->options->hostname;
	_cleanup_json_ json_t *message = NULL, *network = NULL;
	int r;

	pod_default_hostname(s->pod, default_name);
	if (!hostname)
		hostname = default_name;
	message = s->options->apps_are_parked
		? resolved_pod_renew(s->pod->uuid, hostname)
		: resolved_pod_configure(s->resolved, etc_files, s->pod->uuid, hostname, false);
	network = pod_network_configure(&s->network);
	if (network && message)
		json_object_set(message, "network", network);
	r = message ? supervisor_queue_message(s, message) : -ENOMEM;
	return r < 0 ? error_set_errno(err, r, "cannot compose the guest's instructions") : 0;
}

static int start_flavour(
	struct supervisor *s, int tree_fd, const struct pod_cgroup *cgroup, struct error *err)
{
	const struct pod_run_options *options = s->options;
	struct machine_message message = {
		.data = s->outgoing.data + WIRE_FRAME_HEADER_SIZE,
		.size = s->outgoing.length - WIRE_FRAME_HEADER_SIZE,
	};
	struct flavour_options flavour = {
		.tree_fd = tree_fd,
		.lock_fd = s->pod->lock_fd,
		.init_fd = options->init_fd,
		.vsock_fd = s->vsock_fd,
		.kernel_fd = options->kernel_fd,
		.vcpus = s->resolved->vcpus,
		.memory = s->resolved->memory,
		.has_flat_tree = s->resolved->is_mutable,
		.file_limits = s->resolved->file_limits,
		.messages = &message,
		.message_count = 1,
		.template = options->template,
		.dax = options->dax,
		.net_kind = network_device_kind(options->network.mode),
		.net_fd = s->network.fd,
		.net_bandwidth = s->resolved->network_bandwidth,
		.netns_fd = s->network.netns_fd,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
		.omitted_walls = options->omitted_walls,
		.user = jail_user(s->pod->uuid),
		.cgroup = cgroup,
	};
	struct virtio_fs_export *exports = NULL;
	int r;

	r = pod_tree_exports(s->resolved, &exports, &flavour.export_count);
	if (r < 0)
		return error_set_errno(err, r, "cannot list the volumes");
	flavour.exports = exports;
	memcpy(flavour.net_mac, s->network.mac, sizeof(flavour.net_mac));
	r = flavour_start(options->flavour, &flavour, &s->process, err);
	if (r == 0)
		s->vmm_log.fd = s->process.log_fd;
	/* Who comes when the guest has gone is refused. */
	cleanup_close(&s->vsock_fd);
	s->vsock_fd = -1;
	pod_tree_exports_free(exports, flavour.export_count);
	/* A machine takes its message from a port, a container from its socket. */
	if (options->flavour == FLAVOUR_VM)
		s->outgoing.length = 0;
	supervisor_mark(s, MACHINE_EVENT_RUN);
	return r;
}

static int block_signals(int *ret_fd)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	signals_add_wanted(&set, signals, ARRAY_SIZE(signals));
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static void output_attached(
	void *context, const struct wire_stream_header *header, const char *payload)
{
	struct supervisor *s = context;

	pod_attachments_write(&s->attachments, header, payload);
}

/* What had become of the apps when the machine was saved. guest-init says that it goes on, as after a pause. */
static void take_up_apps(struct supervisor *s)
{
	for (size_t i = 0; i < s->resolved->app_count; i++) {
		_cleanup_(pod_app_record_done) struct pod_app_record record = POD_APP_RECORD_NONE;
		struct app_run *app = &s->apps[i];

		if (pod_app_record_read(s->pod, s->resolved->apps[i].name, &record) < 0)
			continue;
		app->started_at = record.started_at;
		app->finished_at = record.finished_at;
		app->out_of_memory = record.out_of_memory;
		app->message = TAKE_PTR(record.message);
		if (record.exit_code >= 0)
			app->status = record.exit_code;
		app->state = record.exit_code >= 0 ? APP_EXITED
			: record.started_at        ? APP_STARTED
						   : APP_WAITING;
	}
	s->pause = PAUSE_ENDING;
}

int pod_run(struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	const struct pod_run_options *options, int *ret_status, struct pod_timing *ret_timing,
	struct error *err)
{
	_cleanup_(supervisor_done) struct supervisor s = {
		.pod = pod,
		.resolved = resolved,
		.options = options,
		.process = FLAVOUR_PROCESS_NONE,
		.signal_fd = -1,
		.vsock_fd = -1,
		.pause_fd = -1,
		.vmm_cgroup = POD_CGROUP_NONE,
		.vmm_log = VMM_LOG_NONE,
		.started_at = pod_now(),
		.terminal = TERMINAL_NONE,
		.metadata =
			{
				.uuid = pod->uuid,
				.resolved = resolved,
				.data_fd = pods_data_fd(pod->pods),
			},
		.mutable =
			{
				.pod = pod,
				.resolved = options->changed,
				.store = store,
				.options = options->resolve,
				.is_vm = options->flavour == FLAVOUR_VM,
			},
	};
	unsigned int etc_files[WIRE_APPS_MAX] = {0};
	_cleanup_(pod_tree_places_close) struct pod_tree_places places = POD_TREE_PLACES_NONE;
	_cleanup_close_ int tree = -1;
	const struct pod_cgroup *cgroup;
	int r;

	s.input.is_open = resolved->input_app >= 0;
	s.output.pod = pod;
	s.output.resolved = resolved;
	s.output.log_size = options->log_size;
	s.output.attached = output_attached;
	s.output.context = &s;
	pod_attachments_init(&s.attachments);
	pod_requests_init(&s.requests);
	s.network = POD_NETWORK_NONE;
	wire_reader_init(&s.control, WIRE_FRAME_MAX_FROM_GUEST);
	supervisor_apps_init(&s);
	s.apps = calloc(resolved_pod_room(resolved), sizeof(s.apps[0]));
	if (!s.apps || pod_output_init(&s.output) < 0)
		return -ENOMEM;
	if (options->continues)
		take_up_apps(&s);
	r = block_signals(&s.signal_fd);
	if (r < 0)
		return error_set_errno(err, r, "cannot take over signals");
	/* Guests have us say things, and whoever reads them may stand still. */
	log_set_patience(0);
	r = pod_requests_open(pod, &s.requests);
	if (r < 0)
		return error_set_errno(err, r, "cannot listen to requests");
	s.vsock_fd = pod_vsock_listen(pod);
	if (s.vsock_fd < 0)
		return error_set_errno(err, s.vsock_fd, "cannot listen to clients of the pod");
	plan_cgroup(&s);
	/* Before there is a cgroup, in which who carries the network is born; and again with its addresses. */
	supervisor_record_run(&s);
	cgroup = create_vmm_cgroup(&s);
	r = pod_network_start(&options->network, options->flavour == FLAVOUR_CONTAINER, resolved,
		pod->uuid, cgroup, &s.network, err);
	if (r == 0 && options->network.mode != NETWORK_NONE)
		supervisor_record_run(&s);
	if (r == 0)
		r = pod_tree_mount(pod, resolved, store, options->flavour == FLAVOUR_VM, &tree,
			etc_files, err);
	if (r == 0 && resolved->is_mutable) {
		r = pod_tree_places_open(tree, &places);
		if (r < 0)
			error_set_errno(err, r, "cannot open the pod's tree");
	}
	if (r == 0)
		r = compose_message(&s, etc_files, err);
	if (r == 0)
		r = pod_network_wait(&s.network, err);
	if (r == 0)
		r = start_flavour(&s, tree, cgroup, err);
	pod_network_handed_over(&s.network);
	if (r < 0) {
		supervisor_record_end(&s, POD_STATUS_ERROR, err->message);
		/* A host volume's, say: of the template nothing has been seen yet. */
		return r == -ESTALE || r == -EHOSTDOWN ? -EIO : r;
	}
	s.mutable.places = places;
	/* Those that were added to a machine that then did not start from its template. */
	for (size_t i = 0; resolved->is_mutable && i < resolved->app_count; i++) {
		s.apps[i].state = APP_CREATED;
		s.mutable.etc_files[i] = etc_files[i];
	}
	r = supervisor_run(&s, ret_status, err);
	supervisor_fill_timing(&s, ret_timing);
	if (r == -ESTALE || r == -EHOSTDOWN)
		pod_tree_unmount(pod);
	return r;
}
