/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without KVM (bare_kvm.h): all devices but the network's, a little memory, and one vCPU, whose thread is the
 * caller's: vcpu_thread(&machine->vcpus[0]). For tests and fuzzers of what is done when a guest leaves KVM_RUN.
 */
#ifndef APPC_TESTS_UNIT_BARE_MACHINE_H
#define APPC_TESTS_UNIT_BARE_MACHINE_H

#include "tests/unit/bare_kvm.h"
#include "tests/unit/virtio_driver.h"

#include "base/cleanup.h"
#include "vmm/machine_parts.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define BARE_MEMORY_SIZE 0x10000ull
#define BARE_WINDOW      (1ull << 32)
#define BARE_WINDOW_SIZE (2ull << 20)
/* A page for struct kvm_run and one for the data of ports; behind them is nothing. */
#define BARE_PAGE     0x1000u
#define BARE_RUN_SIZE (2 * BARE_PAGE)

struct bare_machine {
	struct machine *machine;
	int ends[CONSOLE_PORTS]; /* the host's, of the console's streams */
};

static inline void bare_require(bool condition)
{
	if (!condition)
		abort();
}

static inline void bare_machine_add_vcpu(struct machine *machine)
{
	struct machine_vcpu *self = &machine->vcpus[0];
	uint8_t *run = mmap(NULL, BARE_RUN_SIZE + BARE_PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bare_require(run != MAP_FAILED && mprotect(run + BARE_RUN_SIZE, BARE_PAGE, PROT_NONE) == 0);
	self->machine = machine;
	self->vcpu = (struct vcpu){
		.fd = eventfd(0, EFD_CLOEXEC),
		.run = (struct kvm_run *)run,
		.run_size = BARE_RUN_SIZE + BARE_PAGE,
		.statistics_fd = -1,
		.instructions_offset = -1,
	};
	machine->vcpu_count = 1;
	/* The event loop's thread, which there is not. */
	machine->threads_shut = 1;
}

/* The file tree is that of the directory, which the caller keeps. KVM is asked for interrupt lines. */
static inline void bare_machine_create(struct bare_machine *ret, int tree_fd)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct machine_options options = {
		.tree_fd = fcntl(tree_fd, F_DUPFD_CLOEXEC, 0),
		.vsock_listen_fd = -1,
		.vsock_connect_fd = -1,
		.order_fd = -1,
		.net_fd = -1,
		.dax = VIRTIO_FS_DAX_NEVER,
	};
	int *fds[CONSOLE_PORTS] = {
		[WIRE_PORT_CONTROL] = &options.control_fd,
		[WIRE_PORT_STREAM] = &options.stream_fd,
	};
	struct error err;

	bare_require(machine != NULL && options.tree_fd >= 0);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		bare_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				     pair) == 0);
		*fds[i] = pair[0];
		ret->ends[i] = pair[1];
	}
	machine->vm = (struct vm){.kvm_fd = -1, .vm_fd = eventfd(0, EFD_CLOEXEC), .vcpus = 1};
	machine->release_fd = machine->smaps_fd = machine->pagemap_fd = -1;
	machine->vsock_connect_fd = machine->vsock_again_fd = -1;
	machine->place_fd = machine->save_memory_fd = machine->save_state_fd = -1;
	machine->memory_fd = machine->park_fd = -1;
	machine->device_count = DEVICE_NET;
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		machine->lines[i] = -1;
	pthread_mutex_init(&machine->lock, NULL);
	pthread_cond_init(&machine->shut, NULL);
	pthread_cond_init(&machine->still, NULL);
	boot_console_init(&machine->boot_console, false);
	message_port_init(&machine->messages, NULL, 0);
	driver_memory_create(&machine->memory, BARE_MEMORY_SIZE);
	bare_require(loop_init(&machine->loop) == 0 &&
		machine_create_devices(machine, &options, &err) == 0);
	/* Addresses that no device of this machine uses: only whether a fault is there is asked. */
	machine->memory.window = (struct guest_region){BARE_WINDOW, BARE_WINDOW_SIZE, NULL};
	bare_machine_add_vcpu(machine);
	ret->machine = machine;
}

static inline void bare_machine_free(struct bare_machine *bare)
{
	struct guest_memory memory = bare->machine->memory;

	/* It is no mapping. */
	bare->machine->memory = (struct guest_memory){0};
	machine_free(bare->machine);
	driver_memory_free(&memory);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		cleanup_close(&bare->ends[i]);
}

#endif
