/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flavour is a wall around the same guest-init: a virtual machine, or Linux namespaces. It is one
 * child process of the supervisor, joined to it by sockets: control and stream, and a machine by two more, for reports and
 * orders and for connections that its guest begins; the supervisor is the same for all.
 */
#ifndef APPC_POD_FLAVOUR_H
#define APPC_POD_FLAVOUR_H

#include "base/error.h"
#include "virtio/fs/fs.h"
#include "vmm/jail.h"
#include "vmm/machine.h"
#include "vmm/template.h"

#include <sys/types.h>

struct pod_cgroup;

/*
 * What the child tells on report_fd: when it is in its jail, what became of an order (flavour_order()), and just before
 * it exits.
 */
enum flavour_event { FLAVOUR_JAILED, FLAVOUR_ANSWERED, FLAVOUR_ENDED };

struct flavour_report {
	enum flavour_event event;
	unsigned int walls;         /* that stand (vmm/jail.h) */
	enum machine_answer answer; /* FLAVOUR_ANSWERED */
	char message[sizeof(
		((struct error *)NULL)
			->message)]; /* why that, how it ended, or why it did not start */
	/* FLAVOUR_ENDED: */
	enum machine_end end;
	bool started;      /* the guest ran */
	bool is_refused;   /* it did not, and not since the host failed */
	bool is_violation; /* a thread broke its filter: then violation says how */
	struct filter_violation violation;
	bool counts_instructions;
	int64_t resident_kib; /* beside guest memory; -1: unknown */
	struct machine_mark marks[MACHINE_EVENTS];
};

/* The next report. 0 or -errno; -EBADMSG: it is none. */
int flavour_report_read(int report_fd, struct flavour_report *ret);

enum flavour { FLAVOUR_VM, FLAVOUR_CONTAINER };

struct flavour_process {
	pid_t pid;
	int pid_fd;
	int control_fd, stream_fd; /* wire/wire.h; non-blocking stream sockets */
	int log_fd; /* a VMM's standard error (pod/vmm_log.h); a container's is ours: -1 */
	int connect_fd; /* questions of a machine (pod/sockets.h); seqpacket, non-blocking; a container has none: -1 */
	int report_fd; /* seqpacket socket, for orders to a machine too; a container has none to write: -1 */
};

#define FLAVOUR_PROCESS_NONE                    \
	((struct flavour_process){.pid_fd = -1, \
		.control_fd = -1,               \
		.stream_fd = -1,                \
		.connect_fd = -1,               \
		.report_fd = -1})

struct flavour_options {
	int tree_fd; /* borrowed */
	int lock_fd; /* the pod's lock, which the child keeps; borrowed; -1: none */
	int init_fd; /* guest-init; borrowed; -1, as kernel_fd: the machine is in the template */
	int vsock_fd; /* where the host's clients come in (pod/sockets.h); borrowed; -1: none, in a machine */
	/* The virtual machine's: see struct machine_options */
	int kernel_fd;
	unsigned int vcpus;
	uint64_t memory;
	const struct machine_message *messages;
	size_t message_count;
	/* Where it starts from; NULL: it boots. */
	const struct template *template;
	/* Where it is parked: into this template, and it ends there; NULL: it is not. */
	const struct template_builder *park;
	const struct virtio_fs_export *exports;
	size_t export_count;
	enum virtio_fs_dax dax;
	bool has_flat_tree; /* mounts in it come and go */
	struct fs_throttle_limits file_limits;
	/* The network device's; the fd is borrowed, -1: none. */
	enum virtio_net_kind net_kind;
	int net_fd;
	uint8_t net_mac[VIRTIO_NET_MAC_SIZE];
	uint64_t net_bandwidth;
	/* A container's network namespace; borrowed; -1: a new one. */
	int netns_fd;
	bool kernel_messages;
	const char *extra_command_line;
	unsigned int omitted_walls;      /* of the jail */
	uid_t user;                      /* of the VMM: jail_user() */
	const struct pod_cgroup *cgroup; /* of the VMM; NULL: none of its own */
};

/* Starts the child. It dies with the supervisor. */
int flavour_start(enum flavour flavour, const struct flavour_options *options,
	struct flavour_process *ret, struct error *err);

/*
 * Gives a machine an order; MACHINE_ORDER_SAVE goes with two fds, which stay ours. Its answers come as reports. 0 or
 * -errno: it does not take any.
 */
int flavour_order(
	const struct flavour_process *process, enum machine_order order, const int fds[2]);

/* "vm", "container"; -EINVAL for another name. */
const char *flavour_name(enum flavour flavour);
int flavour_from_name(const char *name, enum flavour *ret);

/*
 * The last step of a container's PID 1: makes a root of its own around the tree, which is the working
 * directory, and executes guest-init. Returns -errno only; -EXDEV: it runs below a chroot.
 */
int container_enter(int init_fd, int control_fd, int stream_fd, int session_fd);

#endif
