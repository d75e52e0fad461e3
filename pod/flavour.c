// SPDX-License-Identifier: Apache-2.0
/* flavour.c: starts the process of a flavour. */
#include "pod/flavour.h"

#include "base/descriptors.h"
#include "base/error.h"
#include "base/log.h"
#include "pod/cgroup.h"
#include "pod/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <link.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void cleanup_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

typedef int fd_pair[2];
#define _cleanup_pair_ _cleanup_(cleanup_pair_of)
static void cleanup_pair_of(fd_pair *pair)
{
	cleanup_pair(*pair);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes every fd but those listed and the standard three. keep is sorted in place. */
static void close_others(int *keep, size_t count)
{
	unsigned int next = STDERR_FILENO + 1;

	qsort(keep, count, sizeof(keep[0]), compare_fds);
	for (size_t i = 0; i < count; i++) {
		unsigned int fd = (unsigned int)keep[i];

		if (keep[i] < 0 || fd < next)
			continue;
		if (fd > next)
			close_range(next, fd - 1, 0);
		next = fd + 1;
	}
	close_range(next, ~0u, 0);
}

/* The memory was written when the machine was parked; the state completes it. */
static int write_parked(
	struct machine *machine, const struct template_builder *park, struct error *err)
{
	_cleanup_free_ void *state = NULL;
	size_t size;

	machine_take_state(machine, &state, &size);
	return template_write_state(park->state_fd, park->memory_fd, park->key, state, size, err);
}

static bool send_report(int report_fd, const struct flavour_report *report)
{
	return write(report_fd, report, sizeof(*report)) == sizeof(*report);
}

static void violation_describe(const struct filter_violation *violation, char *text, size_t size)
{
	char call[POD_SECCOMP_NAME_SIZE];

	pod_seccomp_call_name(violation->number, call);
	snprintf(text, size,
		"the VMM was stopped: its %s thread made the %ssystem call %s, which its filter does not allow",
		filter_thread_name(violation->thread),
		violation->architecture == AUDIT_ARCH_X86_64 ? "" : "32-bit ", call);
}

/* What was sent as one may hold any byte. */
static bool is_truth(const bool *value)
{
	unsigned char byte;

	memcpy(&byte, value, sizeof(byte));
	return byte <= 1;
}

/* A VMM that a guest has taken over says what it likes. */
static bool report_is_sound(const struct flavour_report *report)
{
	bool is_sound = (unsigned int)report->event <= FLAVOUR_ENDED &&
		(unsigned int)report->answer < MACHINE_ANSWERS &&
		(unsigned int)report->end <= MACHINE_END_FAILED && is_truth(&report->started) &&
		is_truth(&report->is_refused) && is_truth(&report->is_violation) &&
		is_truth(&report->counts_instructions) && report->resident_kib >= -1;

	for (size_t i = 0; i < MACHINE_EVENTS; i++)
		is_sound &= report->marks[i].nanoseconds >= 0 &&
			report->marks[i].instructions >= -1;
	return is_sound;
}

int flavour_report_read(int report_fd, struct flavour_report *ret)
{
	ssize_t n = recv(report_fd, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return -errno;
	if (n != sizeof(*ret) || !report_is_sound(ret))
		return -EBADMSG;
	ret->message[sizeof(ret->message) - 1] = '\0';
	if (ret->is_violation)
		violation_describe(&ret->violation, ret->message, sizeof(ret->message));
	return 0;
}

int flavour_order(const struct flavour_process *process, enum machine_order order, const int fds[2])
{
	int32_t number = (int32_t)order;

	return descriptors_send(
		process->report_fd, &number, sizeof(number), fds, fds ? 2 : 0, MSG_DONTWAIT);
}

/* Where the child tells of what has no argument to say so. */
static int child_report_fd = -1;

/* In the event loop. */
static void report_answer(enum machine_answer answer, const char *why)
{
	struct flavour_report report = {.event = FLAVOUR_ANSWERED, .answer = answer};

	snprintf(report.message, sizeof(report.message), "%s", why);
	send_report(child_report_fd, &report);
}

/* In a signal handler. */
static void report_violation(const struct filter_violation *violation)
{
	const struct flavour_report report = {
		.event = FLAVOUR_ENDED,
		.end = MACHINE_END_FAILED,
		.started = true,
		.resident_kib = -1,
		.is_violation = true,
		.violation = *violation,
	};

	_exit(send_report(child_report_fd, &report) ? 0 : 1);
}

/* From now on the process dies with the supervisor, which may have died before: then nobody holds the other end. */
static void die_with_supervisor(int control_fd)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (recv(control_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
}

static void close_cgroup(const struct pod_cgroup *cgroup)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		if (cgroup->hierarchies[i].fd >= 0)
			close(cgroup->hierarchies[i].fd);
		if (cgroup->hierarchies[i].join_fd >= 0)
			close(cgroup->hierarchies[i].join_fd);
	}
}

/* What only the creation of the machine needs. Saving it looks again at the file that its memory came from. */
static void close_sources(const struct flavour_options *options)
{
	if (options->init_fd >= 0)
		close(options->init_fd);
	if (options->kernel_fd >= 0)
		close(options->kernel_fd);
	if (options->template && !options->park && options->net_kind != VIRTIO_NET_NONE)
		close(options->template->memory_fd);
}

/* Whether a machine that could not be made tells of what it was made from: the host may refuse a VM for reasons of its own. */
static bool is_of_sources(int r)
{
	return !error_is_of_host(r) && r != -EPERM && r != -EACCES && r != -EBUSY;
}

/* A machine in its jail: the next step runs the guest. */
static int vm_create_jailed(const struct flavour_options *options,
	struct machine_options *machine_options, int report_fd, struct machine **ret,
	struct flavour_report *report, struct error *err)
{
	int join_fds[POD_CGROUP_HIERARCHIES];
	struct jail_options jail = {
		.omitted = options->omitted_walls,
		.user = options->user,
		.join_fds = join_fds,
		.has_cgroup = options->cgroup,
	};
	int r;

	for (size_t i = 0; options->cgroup && i < options->cgroup->count; i++)
		if (options->cgroup->hierarchies[i].join_fd >= 0)
			join_fds[jail.join_count++] = options->cgroup->hierarchies[i].join_fd;
	r = jail_prepare(&jail, &machine_options->tree_fd, err);
	if (r < 0)
		return r;
	close(options->tree_fd);
	if (options->cgroup)
		close_cgroup(options->cgroup);
	r = machine_create(machine_options, ret, err);
	if (r < 0) {
		report->is_refused = is_of_sources(r);
		return r;
	}
	close_sources(options);
	r = jail_enter(&jail, machine_options->tree_fd, &report->walls, err);
	if (r < 0)
		return r;
	die_with_supervisor(machine_options->control_fd);
	/* The machine does not run without it. */
	if (machine_options->violated)
		report->walls |= 1u << JAIL_SECCOMP;
	report->event = FLAVOUR_JAILED;
	send_report(report_fd, report);
	report->event = FLAVOUR_ENDED;
	return 0;
}

/* Code and constants that nobody wrote to: what is needed again comes back from the page cache. */
static int drop_constant_pages(struct dl_phdr_info *object, size_t size, void *context)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;

	(void)size;
	(void)context;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t start = object->dlpi_addr + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
			/* An address of a mapping. NOLINTNEXTLINE(performance-no-int-to-ptr) */
			madvise((void *)(start & ~page), segment->p_memsz + (start & page),
				MADV_DONTNEED);
	}
	return 0;
}

/* The life of the VMM process. */
static void vm_child(const struct flavour_options *options, int control_fd, int stream_fd,
	int connect_fd, int report_fd, struct flavour_report *report)
{
	const struct template *template = options->template;
	struct machine_options machine_options = {
		.kernel_fd = options->kernel_fd,
		.initramfs_fd = options->init_fd,
		.vcpus = options->vcpus,
		.memory = options->memory,
		.memory_fd = template ? template->memory_fd : -1,
		.state = template ? template->state : NULL,
		.state_size = template ? template->state_size : 0,
		.park_fd = options->park ? options->park->memory_fd : -1,
		.messages = options->messages,
		.message_count = options->message_count,
		.exports = options->exports,
		.export_count = options->export_count,
		.dax = options->dax,
		.has_flat_tree = options->has_flat_tree,
		.file_limits = options->file_limits,
		.control_fd = control_fd,
		.stream_fd = stream_fd,
		.vsock_listen_fd = options->vsock_fd,
		.vsock_connect_fd = connect_fd,
		.order_fd = options->park ? -1 : report_fd,
		.answered = report_answer,
		.net_kind = options->net_kind,
		.net_fd = options->net_fd,
		.net_bandwidth = options->net_bandwidth,
		.violated = options->omitted_walls & (1u << JAIL_SECCOMP) ? NULL : report_violation,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
	};
	struct machine *machine;
	struct error err = {0};

	memcpy(machine_options.net_mac, options->net_mac, sizeof(machine_options.net_mac));
	/* What the supervisor needed for a while, to check a template say, is no memory of ours. */
	malloc_trim(0);
	if (vm_create_jailed(options, &machine_options, report_fd, &machine, report, &err) < 0) {
		memcpy(report->message, err.message, sizeof(err.message));
		return;
	}
	/* What only the start needed is no memory of ours either. */
	dl_iterate_phdr(drop_constant_pages, NULL);
	report->started = true;
	report->end = machine_run(machine, &err);
	if (report->end == MACHINE_END_PARKED && options->park &&
		write_parked(machine, options->park, &err) < 0)
		report->end = MACHINE_END_FAILED;
	memcpy(report->message, err.message, sizeof(err.message));
	machine_marks(machine, report->marks);
	report->counts_instructions = report->marks[MACHINE_EVENT_RUN].instructions >= 0;
	report->resident_kib = machine_resident_kib(machine);
	machine_free(machine);
}

/* In the child: alone with what it needs, and gone when the supervisor is. */
static void child_set_up(const struct flavour_options *options, const fd_pair control,
	const fd_pair stream, int connect_fd, int report_fd)
{
	const struct pod_cgroup *cgroup = options->cgroup;
	int keep[13 + 2 * POD_CGROUP_HIERARCHIES] = {options->tree_fd, options->lock_fd,
		options->init_fd, options->kernel_fd, options->vsock_fd, control[1], stream[1],
		connect_fd, report_fd, options->template ? options->template->memory_fd : -1,
		options->park ? options->park->memory_fd : -1,
		options->park ? options->park->state_fd : -1,
		options->net_kind == VIRTIO_NET_NONE ? -1 : options->net_fd};
	size_t count = 13;
	sigset_t none;

	for (size_t i = 0; cgroup && i < cgroup->count; i++) {
		keep[count++] = cgroup->hierarchies[i].fd;
		keep[count++] = cgroup->hierarchies[i].join_fd;
	}
	close(control[0]);
	die_with_supervisor(control[1]);
	/* Signals from the terminal are the supervisor's business. */
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_others(keep, count);
}

/* What we were given to read and write is the apps', through the supervisor. A terminal could be read here, too. */
static void change_standard_fds(int log_fd)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		dup2(log_fd, STDERR_FILENO) < 0)
		_exit(1);
}

/*
 * The whole life of the child.
 *
 * #syscalls:vcpu,loop write exit_group
 */
static _Noreturn void vm_main(const struct flavour_options *options, const fd_pair control,
	const fd_pair stream, int connect_fd, int report_fd, int log_fd)
{
	struct flavour_report report = {
		.event = FLAVOUR_ENDED, .end = MACHINE_END_FAILED, .resident_kib = -1};

	/* The other fds that are not to be kept are closed next. */
	change_standard_fds(log_fd);
	/* The supervisor reads it, and the filters allow no poll(2) for it. */
	log_set_patience(-1);
	child_set_up(options, control, stream, connect_fd, report_fd);
	signal(SIGPIPE, SIG_IGN);
	child_report_fd = report_fd;
	vm_child(options, control[1], stream[1], connect_fd, report_fd, &report);
	_exit(send_report(report_fd, &report) ? 0 : 1);
}

static _Noreturn void container_main(
	const struct flavour_options *options, const fd_pair control, const fd_pair stream)
{
	int r;

	if (options->netns_fd >= 0 && setns(options->netns_fd, CLONE_NEWNET) < 0)
		_exit(1);
	child_set_up(options, control, stream, -1, -1);
	/* What our caller ignores, as a shell does SIGINT for its background jobs, is nothing to the apps. */
	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP)
			signal(i, SIG_DFL);
	r = container_enter(options->init_fd, control[1], stream[1], options->vsock_fd);
	log_error("cannot enter the container: %s",
		r == -EXDEV
			? "appc-vm runs below a chroot, whose outside the apps would see; use the "
			  "virtual machine"
			: strerror(-r));
	_exit(1);
}

/* fork() into new namespaces; both ends continue. The child's working directory is the tree. */
static pid_t fork_in_tree(int tree_fd, unsigned long namespaces, const struct pod_cgroup *cgroup)
{
	struct clone_args arguments = {.flags = namespaces, .exit_signal = SIGCHLD};
	_cleanup_close_ int old = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t pid;

	if (cgroup && cgroup->unified_fd >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)cgroup->unified_fd;
	}
	/* A new mount namespace takes over the working directory; fds stay in the old one. */
	if (old < 0 || fchdir(tree_fd) < 0)
		return -1;
	pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid != 0 && fchdir(old) < 0)
		log_warning("cannot go back to the working directory: %s", strerror(errno));
	return pid;
}

const char *flavour_name(enum flavour flavour)
{
	return flavour == FLAVOUR_CONTAINER ? "container" : "vm";
}

int flavour_from_name(const char *name, enum flavour *ret)
{
	for (enum flavour i = FLAVOUR_VM; i <= FLAVOUR_CONTAINER; i++) {
		if (strcmp(flavour_name(i), name))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

int flavour_start(enum flavour flavour, const struct flavour_options *options,
	struct flavour_process *ret, struct error *err)
{
	const unsigned long namespaces[] = {
		[FLAVOUR_VM] = CLONE_NEWNS | jail_namespaces(options->omitted_walls),
		[FLAVOUR_CONTAINER] = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
			(options->netns_fd < 0 ? CLONE_NEWNET : 0),
	};
	_cleanup_pair_ fd_pair control = {-1, -1}, stream = {-1, -1}, report = {-1, -1},
			       log = {-1, -1}, connect = {-1, -1};
	int pid_fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream) < 0 ||
		(flavour == FLAVOUR_VM &&
			(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0 ||
				socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
					0, connect) < 0 ||
				pipe2(log, O_CLOEXEC) < 0 ||
				fcntl(log[0], F_SETFL, O_NONBLOCK) < 0)))
		return error_set_errno(err, -errno, "cannot create sockets");
	pid = fork_in_tree(options->tree_fd, namespaces[flavour], options->cgroup);
	if (pid < 0)
		return error_set_errno(err, -errno, "cannot create the pod's process");
	if (pid == 0 && flavour == FLAVOUR_VM)
		vm_main(options, control, stream, connect[1], report[1], log[1]);
	if (pid == 0)
		container_main(options, control, stream);
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid_fd < 0) {
		int r = -errno;

		/* It is in the pod's cgroup and mounts, which are taken away next. */
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return error_set_errno(err, r, "cannot watch the pod's process");
	}
	*ret = (struct flavour_process){
		.pid = pid,
		.pid_fd = pid_fd,
		.control_fd = TAKE_FD(control[0]),
		.stream_fd = TAKE_FD(stream[0]),
		.log_fd = TAKE_FD(log[0]),
		.connect_fd = TAKE_FD(connect[0]),
		.report_fd = TAKE_FD(report[0]),
	};
	return 0;
}
