/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of one machine share, and nobody else: machine.c puts it together and runs it,
 * machine_devices.c has its devices and what the event loop does for them, machine_vsock.c what its
 * vsock device needs of the host, exits.c its vCPU threads,
 * machine_state.c parks it and makes it go on, machine_order.c has it stand still on request.
 */
#ifndef APPC_VMM_MACHINE_PARTS_H
#define APPC_VMM_MACHINE_PARTS_H

#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "vmm/boot_console.h"
#include "vmm/cpu_state.h"
#include "vmm/filter.h"
#include "vmm/generation.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"
#include "vmm/machine.h"
#include "vmm/message_port.h"
#include "vmm/ram.h"

#include <pthread.h>
#include <stdatomic.h>

/* The last is there in machines with a network only. */
enum {
	DEVICE_CONSOLE,
	DEVICE_FS,
	DEVICE_RNG,
	DEVICE_BALLOON,
	DEVICE_VSOCK,
	DEVICE_NET,
	DEVICES_MAX
};

struct machine_vcpu {
	struct machine *machine;
	struct vcpu vcpu;
	pthread_t thread;
	bool started;
	atomic_int thread_id; /* gettid(); 0: it is not in KVM_RUN yet */
	bool is_over;         /* the guest wants nothing more of it; its own thread's */
};

struct machine {
	struct vm vm;
	struct guest_memory memory;
	struct generation generation;
	struct machine_vcpu vcpus[MACHINE_VCPUS_MAX];
	unsigned int vcpu_count;

	struct virtio_console *console;
	struct virtio_fs *fs;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	struct virtio_vsock *vsock;
	struct virtio_net *net; /* NULL: none */
	unsigned int device_count;
	struct virtio_mmio mmio[DEVICES_MAX];
	int lines[DEVICES_MAX]; /* eventfds of the interrupt lines */
	struct boot_console boot_console;
	struct message_port messages;

	struct loop loop;
	struct loop_source port_sources[CONSOLE_PORTS], release_source, file_source, limit_source,
		net_timer_source, watch_source, net_source;
	struct loop_source vsock_listen_source, vsock_connect_source, vsock_again_source;
	struct loop_source *vsock_sources; /* of connections, by their slots */
	int vsock_connect_fd, vsock_again_fd;
	struct loop_source order_source, place_source;
	unsigned int
		cuts_told; /* warnings about files that were made shorter, up to CUTS_TOLD_MAX */
	int place_fd; /* eventfd: a vCPU tells the loop that the guest has come to where it is saved */
	int save_memory_fd, save_state_fd; /* the loop's: of the order to save; -1: there is none */
	void (*answered)(enum machine_answer answer, const char *why);
	int release_fd; /* the control socket once more, watched for its other end's shutdown */
	int smaps_fd;   /* /proc/self/smaps, from before the jail */

	int memory_fd;  /* what RAM was mapped from, borrowed; -1: the machine was booted */
	int park_fd;    /* where RAM goes, borrowed; -1: the machine is not to be parked */
	int pagemap_fd; /* /proc/self/pagemap, from before the jail */
	void *state;    /* after the machine was parked */
	size_t state_size;

	bool can_save;
	bool filtered; /* system calls are filtered; before the threads start */
	pid_t process_id;
	atomic_bool stopping;
	atomic_bool pausing;       /* no vCPU is to enter the guest; written under the lock */
	pthread_mutex_t lock;      /* protects all below */
	pthread_cond_t shut;       /* ended, or threads_shut has become as it should */
	unsigned int threads_shut; /* that have their filters */
	unsigned int vcpus_still;  /* that execute nothing, and have completed their last exit */
	pthread_cond_t still;      /* vcpus_still or pausing has changed */
	struct clock_moment paused_at;
	bool is_early;   /* other vCPUs went on after that; under the lock */
	bool is_to_save; /* at the guest's next WIRE_PHASE_PARK */
	bool ended;
	enum machine_end end;
	struct error end_error;
	struct clock_moment parked_at; /* by the vCPU that asks for it, before all end */
	struct machine_mark marks[MACHINE_EVENTS];
};

/* CLOCK_MONOTONIC, nanoseconds. */
int64_t machine_now(void);

/* Records the first time that an event happens. Any thread. */
void machine_record(struct machine *machine, enum machine_event event);

/*
 * The first call decides how the machine ended; but a machine that fails while it stops was not parked.
 * Any thread; all threads of the machine end soon after.
 */
void machine_end(struct machine *machine, enum machine_end end, const char *format, ...)
	_printf_(3, 4);

/*
 * What a thread of the machine does first: takes on its filter, and waits for the others to have done so. False:
 * the machine ends before it has run.
 */
bool machine_enter_thread(struct machine *machine, enum filter_thread thread);

/* ---- machine_devices.c */

/* Watches an fd for as long as the machine runs; there may be none (-1). 0 or -errno. */
int machine_watch(struct machine *machine, struct loop_source *source, int fd,
	void (*ready)(struct loop_source *source, uint32_t events));

/* Makes the devices, their interrupt lines, and the sources of the event loop that they need. */
int machine_create_devices(
	struct machine *machine, const struct machine_options *options, struct error *err);

/* Joins a device to its registers and its interrupt line. */
int machine_attach(struct machine *machine, unsigned int index, struct virtio_device *device,
	struct error *err);

/* ---- machine_vsock.c */

/* Makes the vsock device. Takes the fds of options, on failure too. */
int machine_create_vsock(
	struct machine *machine, const struct machine_options *options, struct error *err);
void machine_free_vsock(struct machine *machine);

/* ---- exits.c */

/* Runs a vCPU (struct machine_vcpu) until the machine is stopping. */
void *vcpu_thread(void *argument);

/* ---- machine_order.c */

/* Watches for orders, where the machine takes any. */
int machine_watch_orders(
	struct machine *machine, const struct machine_options *options, struct error *err);
void machine_free_orders(struct machine *machine);

/* Of a vCPU's thread: stands still as long as the machine is paused. */
void machine_stand_still(struct machine_vcpu *self);
/* The thread ends: from now on this vCPU stands still. */
void machine_vcpu_over(struct machine_vcpu *self);
/* The machine ends: who stands still, or waits for that, waits no longer. */
void machine_wake_all(struct machine *machine);

/* The guest is at WIRE_PHASE_PARK, said by this vCPU. Whether the machine is saved there: it is paused then. */
bool machine_at_place(struct machine *machine, const struct vcpu *vcpu);

/* ---- machine_state.c */

/* Every vCPU thread has ended, at the end of an exit, and the event loop too: the machine stands still. */
int machine_park(struct machine *machine, struct error *err);

/*
 * Saves a machine that is paused and goes on afterwards, into save_memory_fd and save_state_fd. -errno with a message:
 * nothing has changed.
 */
int machine_save(struct machine *machine, struct error *err);

/* Lets a machine that was made and has not run go on from where another of its shape was parked. */
int machine_restore(struct machine *machine, const void *state, size_t size, struct error *err);

#endif
