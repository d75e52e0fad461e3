/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: KVM, memory, vCPUs, devices, and the loop that serves them.
 *
 * The machine knows devices, not pods. It boots a kernel with an initramfs, or goes on from the state of
 * a parked one; serves one file tree; hands the guest the messages that it asks for, one after the
 * other; and joins two ports of the guest's console to two fds of the caller's (wire/wire.h). What
 * crosses them is the caller's business.
 *
 * Parking: where the guest says that it may be parked (WIRE_PHASE_PARK), no vCPU is in the middle of
 * something and no request is in flight. If it has taken all messages and the caller wants it parked, the
 * machine's memory and state are saved there, and it ends. A machine made from them continues at
 * that instruction. What both must have in common is the caller's to know (vmm/template.h).
 *
 * A machine that runs takes orders (enum machine_order): to stand still for a while, and to be saved while it
 * does, from where it goes on itself, too.
 */
#ifndef APPC_VMM_MACHINE_H
#define APPC_VMM_MACHINE_H

#include "base/error.h"
#include "virtio/fs/fs.h"
#include "virtio/net.h"
#include "vmm/filter.h"

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_VCPUS_MAX  8
#define MACHINE_MEMORY_MIN (64ull << 20)
#define MACHINE_MEMORY_MAX (64ull << 30)

/* Bounds on what the guest may make the file server hold: an fd each (docs/security.md). */
#define MACHINE_INODES_MAX  (256u << 10)
#define MACHINE_HANDLES_MAX (64u << 10)

/*
 * A packet on the machine's order_fd is one of these as an int32_t. What becomes of it is told through
 * machine_options.answered.
 */
enum machine_order {
	/* No vCPU executes anything, and the guest's clock stands, until: */
	MACHINE_ORDER_PAUSE,
	/* The machine goes on, whatever it was told before. */
	MACHINE_ORDER_RESUME,
	/*
	 * With two fds (SCM_RIGHTS), of an empty file for its memory and one for its state, the sections without
	 * what template_write_state() puts around them: at its next WIRE_PHASE_PARK the machine is saved. Then it is
	 * paused, saved or not.
	 */
	MACHINE_ORDER_SAVE,
	MACHINE_ORDERS
};

enum machine_answer {
	MACHINE_PAUSED,
	MACHINE_RESUMED,
	MACHINE_WILL_SAVE, /* SAVE was taken: the guest may be asked to come to WIRE_PHASE_PARK */
	MACHINE_SAVED,
	MACHINE_REFUSED, /* it was not saved */
	MACHINE_ANSWERS
};

/* Borrowed until the machine is freed. */
struct machine_message {
	const void *data;
	size_t size; /* at most WIRE_FRAME_MAX_TO_GUEST */
};

struct machine_options {
	int kernel_fd, initramfs_fd; /* vmlinux (ELF) and guest-init's executable; borrowed */
	/* To go on from a parked machine instead: RAM (mapped privately) and state; borrowed, and read
	   again when this machine is parked. */
	int memory_fd; /* -1: boot */
	int park_fd; /* an empty file for the memory of this machine when it is parked; -1: do not park */
	const void *state; /* with memory_fd */
	size_t state_size;
	const struct machine_message *messages; /* for WIRE_MESSAGE_PORT, in order; borrowed */
	size_t message_count;
	unsigned int vcpus; /* 1 to MACHINE_VCPUS_MAX */
	uint64_t memory;    /* bytes, a multiple of 2 MiB */
	int tree_fd;        /* the pod's tree; the machine takes it */
	const struct virtio_fs_export *exports;
	size_t export_count;
	enum virtio_fs_dax dax; /* NEVER: the machine has no window, which is another machine */
	struct fs_throttle_limits file_limits;
	int control_fd, stream_fd; /* non-blocking stream sockets; the machine takes them */
	/*
	 * Of the vsock device; the machine takes them, -1: none. The first listens for clients of the host
	 * (virtio/vsock.h). Through the other, a SOCK_SEQPACKET, the machine asks the caller for sockets of the host
	 * that the guest wants: it opens no path itself.
	 */
	int vsock_listen_fd, vsock_connect_fd;
	/*
	 * Where orders come from, a SOCK_SEQPACKET; borrowed, -1: none. answered is called in the event loop; why is
	 * empty but for MACHINE_REFUSED. A machine with a network device cannot be saved.
	 */
	int order_fd;
	void (*answered)(enum machine_answer answer, const char *why);
	/*
	 * Each thread's system calls are filtered before the guest runs, and this is called where one was not
	 * allowed (vmm/filter.h); NULL: they are not filtered.
	 */
	void (*violated)(const struct filter_violation *violation);
	/* Of the network device, whose kind is part of the machine's shape; the machine takes the fd (virtio/net.h). */
	enum virtio_net_kind net_kind;
	int net_fd;
	uint64_t net_bandwidth; /* bytes per second; 0: no limit */
	uint8_t net_mac[VIRTIO_NET_MAC_SIZE];
	bool has_flat_tree;   /* of the tree: see struct virtio_fs_options */
	bool kernel_messages; /* every kernel message to standard error, from the first on */
	const char *extra_command_line; /* appended to the kernel's command line, may be NULL */
};

/* A question on vsock_connect_fd, and its answer: with an fd (SCM_RIGHTS) where error is 0. */
struct machine_vsock_question {
	uint64_t id;
	uint32_t port, reserved;
};

struct machine_vsock_answer {
	uint64_t id;             /* of the question */
	int32_t error, reserved; /* 0 or -errno */
};

/* Counters at an event; instructions is summed over all vCPUs, -1 where the host cannot count. */
struct machine_mark {
	int64_t nanoseconds; /* CLOCK_MONOTONIC; 0: the event has not happened */
	int64_t instructions;
};

enum machine_event {
	MACHINE_EVENT_RUN,  /* the first KVM_RUN */
	MACHINE_EVENT_INIT, /* WIRE_PHASE_INIT */
	MACHINE_EVENT_READY, /* WIRE_PHASE_PARK, the first; in a machine that was parked, its start */
	MACHINE_EVENT_CONFIGURED, /* WIRE_PHASE_CONFIGURED */
	MACHINE_EVENT_TREE,       /* WIRE_PHASE_TREE, the first */
	MACHINE_EVENT_APP_EXEC,   /* WIRE_PHASE_APP_EXEC, the first */
	MACHINE_EVENT_OUTPUT,     /* the first byte on the stream port */
	MACHINE_EVENT_NOW,        /* the time of the question */
	MACHINE_EVENTS,
};

/* How a machine ended. */
enum machine_end {
	MACHINE_END_RELEASED, /* the caller closed the control fd */
	MACHINE_END_PARKED,   /* saved, as the caller wanted */
	MACHINE_END_RESET,    /* the guest reset itself: the kernel panicked, or init ended */
	MACHINE_END_FAILED,   /* the CPU or a device could not go on: message says why */
};

struct machine;

/*
 * Creates the machine: opens /dev/kvm, loads the kernel, makes the devices. Needs /proc and /dev.
 * After it, no path is opened and no thread made but by machine_run(). The fds that the machine takes are lost when it fails, too.
 */
int machine_create(const struct machine_options *options, struct machine **ret, struct error *err);

/*
 * Runs until the machine ends. For MACHINE_END_RESET and _FAILED the message (never empty) says
 * what happened in plain words; the last kernel messages are part of it where they tell more.
 */
enum machine_end machine_run(struct machine *machine, struct error *err);

/*
 * After MACHINE_END_PARKED: the state that belongs to the memory in park_fd. The caller frees it.
 */
void machine_take_state(struct machine *machine, void **ret, size_t *ret_size);

/*
 * Resident memory of this process beside the guest's RAM, in KiB; -1 when it cannot be read.
 */
int64_t machine_resident_kib(const struct machine *machine);

/* Marks so far. Any thread, at any time after creation. */
void machine_marks(struct machine *machine, struct machine_mark marks[MACHINE_EVENTS]);

void machine_free(struct machine *machine);

#endif
