// SPDX-License-Identifier: Apache-2.0
/* flavour.c: starts the process of a flavour. */
#include "pod/flavour.h"

#include "base/log.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

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

/*
 * The tree as this process's own mount namespace has it: the working directory, see fork_in_tree(). An
 * fd from the supervisor's namespace would still lead to the host's files.
 */
static int open_own_tree(void)
{
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Makes the pod's tree the root of this process, and the only file system it can see. */
static int enter_tree(void)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
		chdir("/") < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
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

/* The life of the VMM process. */
static void vm_child(const struct flavour_options *options, int control_fd, int stream_fd,
	struct flavour_report *report)
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
		.file_limits = options->file_limits,
		.control_fd = control_fd,
		.stream_fd = stream_fd,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
	};
	struct machine *machine;
	struct error err = {0};
	int r;

	machine_options.tree_fd = open_own_tree();
	if (machine_options.tree_fd < 0) {
		snprintf(report->message, sizeof(report->message),
			"cannot set up the VMM's mount namespace: %s",
			strerror(-machine_options.tree_fd));
		return;
	}
	close(options->tree_fd);
	r = machine_create(&machine_options, &machine, &err);
	if (r < 0) {
		memcpy(report->message, err.message, sizeof(err.message));
		return;
	}
	r = enter_tree();
	if (r < 0) {
		snprintf(report->message, sizeof(report->message),
			"cannot shut the VMM into the pod's tree: %s", strerror(-r));
		return;
	}
	report->started = true;
	report->end = machine_run(machine, &err);
	if (report->end == MACHINE_END_PARKED && write_parked(machine, options->park, &err) < 0)
		report->end = MACHINE_END_FAILED;
	memcpy(report->message, err.message, sizeof(err.message));
	machine_marks(machine, report->marks);
	report->counts_instructions = report->marks[MACHINE_EVENT_RUN].instructions >= 0;
	report->resident_kib = machine_resident_kib(machine);
	machine_free(machine);
}

/* In the child: alone with what it needs, and gone when the supervisor is. */
static void child_set_up(const struct flavour_options *options, const fd_pair control,
	const fd_pair stream, int report_fd)
{
	int keep[] = {options->tree_fd, options->lock_fd, options->init_fd, options->kernel_fd,
		control[1], stream[1], report_fd,
		options->template ? options->template->memory_fd : -1,
		options->park ? options->park->memory_fd : -1,
		options->park ? options->park->state_fd : -1};
	sigset_t none;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The supervisor may have died before that call: then nobody holds the other end. */
	close(control[0]);
	if (recv(control[1], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
	/* Signals from the terminal are the supervisor's business. */
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_others(keep, ARRAY_SIZE(keep));
}

/* The whole life of the child. */
static _Noreturn void vm_main(const struct flavour_options *options, const fd_pair control,
	const fd_pair stream, int report_fd)
{
	struct flavour_report report = {.end = MACHINE_END_FAILED, .resident_kib = -1};

	child_set_up(options, control, stream, report_fd);
	signal(SIGPIPE, SIG_IGN);
	vm_child(options, control[1], stream[1], &report);
	_exit(send(report_fd, &report, sizeof(report), MSG_NOSIGNAL) == sizeof(report) ? 0 : 1);
}

static _Noreturn void container_main(
	const struct flavour_options *options, const fd_pair control, const fd_pair stream)
{
	int r;

	child_set_up(options, control, stream, -1);
	signal(SIGPIPE, SIG_DFL);
	r = container_enter(options->init_fd, control[1], stream[1]);
	log_error("cannot enter the container: %s",
		r == -EXDEV
			? "appc-vm runs below a chroot, whose outside the apps would see; use the "
			  "virtual machine"
			: strerror(-r));
	_exit(1);
}

/* fork() into new namespaces; both ends continue. The child's working directory is the tree. */
static pid_t fork_in_tree(int tree_fd, unsigned long namespaces)
{
	struct clone_args arguments = {.flags = namespaces, .exit_signal = SIGCHLD};
	_cleanup_close_ int old = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t pid;

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
	static const unsigned long namespaces[] = {
		[FLAVOUR_VM] = CLONE_NEWNS,
		[FLAVOUR_CONTAINER] = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
			CLONE_NEWNET,
	};
	_cleanup_pair_ fd_pair control = {-1, -1}, stream = {-1, -1}, report = {-1, -1};
	int pid_fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream) < 0 ||
		(flavour == FLAVOUR_VM &&
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0))
		return error_set_errno(err, -errno, "cannot create sockets");
	pid = fork_in_tree(options->tree_fd, namespaces[flavour]);
	if (pid < 0)
		return error_set_errno(err, -errno, "cannot create the pod's process");
	if (pid == 0 && flavour == FLAVOUR_VM)
		vm_main(options, control, stream, report[1]);
	if (pid == 0)
		container_main(options, control, stream);
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid_fd < 0) {
		int r = -errno;

		kill(pid, SIGKILL);
		return error_set_errno(err, r, "cannot watch the pod's process");
	}
	*ret = (struct flavour_process){
		.pid = pid,
		.pid_fd = pid_fd,
		.control_fd = TAKE_FD(control[0]),
		.stream_fd = TAKE_FD(stream[0]),
		.report_fd = TAKE_FD(report[0]),
	};
	return 0;
}
