// SPDX-License-Identifier: Apache-2.0
/*
 * machine.c: puts a VM together, runs it, parks it and makes it go on.
 *
 * Theory of operation: each vCPU has a thread that loops on KVM_RUN and serves the exits: device
 * registers (a notified queue is served inside that very exit), the boot console, and the ways in which
 * a guest can die. The thread that calls machine_run() is the event loop: it feeds the console
 * ports from their sockets and delivers completed file requests. Whoever finds that the machine
 * cannot go on says how it ended (once, machine_end()), and the loop stops; the vCPU threads are then
 * taken out of KVM_RUN by immediate_exit and a signal. A machine that is to be parked ends in the same
 * way, and when no thread but the caller's is left, its state is saved.
 *
 * #syscalls: ioctl tgkill futex exit
 */
#include "vmm/machine.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/log.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"
#include "vmm/boot.h"
#include "vmm/boot_console.h"
#include "vmm/cpu_state.h"
#include "vmm/generation.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"
#include "vmm/loop.h"
#include "vmm/transmit_port.h"
#include "vmm/message_port.h"
#include "vmm/ram.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>

/* Resets: the keyboard controller's command port and the command that pulses the reset line. */
#define RESET_PORT    0x64
#define RESET_COMMAND 0xfe

/* Bounds on what the guest may make the file server hold: an fd each (docs/security.md). */
#define INODES_MAX  (256u << 10)
#define HANDLES_MAX (64u << 10)

/*
 * Where each guest kernel instruction is emulated, a page that is read ahead and never used costs as much
 * as one that is.
 */
#define READAHEAD_EMULATED (32u << 10)

/*
 * Of the window for files. Its struct pages cost the guest 1.6 % of it in memory, and time at boot
 * (docs/performance.md).
 */
#define WINDOW_SIZE (64ull << 20)

#define VCPU_KICK_SIGNAL SIGUSR1

enum { DEVICE_CONSOLE, DEVICE_FS, DEVICE_RNG, DEVICE_BALLOON, DEVICES };

struct machine_vcpu {
	struct machine *machine;
	struct vcpu vcpu;
	pthread_t thread;
	bool started;
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
	struct virtio_mmio mmio[DEVICES];
	int lines[DEVICES]; /* eventfds of the interrupt lines */
	struct boot_console boot_console;
	struct message_port messages;

	struct loop loop;
	struct loop_source port_sources[CONSOLE_PORTS], release_source, file_source, watch_source;
	int release_fd; /* the control socket once more, watched for its other end's shutdown */
	int smaps_fd;   /* /proc/self/smaps, from before the jail */

	int memory_fd;  /* what RAM was mapped from, borrowed; -1: the machine was booted */
	int park_fd;    /* where RAM goes, borrowed; -1: the machine is not to be parked */
	int pagemap_fd; /* /proc/self/pagemap, from before the jail */
	void *state;    /* after the machine was parked */
	struct clock_moment parked_at; /* written by the vCPU that asks for it, before all end */
	size_t state_size;

	atomic_bool stopping;
	pthread_mutex_t lock; /* protects all below */
	bool ended;
	enum machine_end end;
	struct error end_error;
	struct machine_mark marks[MACHINE_EVENTS];
};

static int64_t monotonic_nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static int64_t machine_instructions(const struct machine *machine)
{
	int64_t sum = 0;

	if (!machine->vm.emulated)
		return -1;
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		int64_t count = vcpu_instructions(&machine->vcpus[i].vcpu);

		if (count < 0)
			return -1;
		sum += count;
	}
	return sum;
}

/* Records the first time that an event happens. */
static void machine_record(struct machine *machine, enum machine_event event)
{
	struct machine_mark mark = {
		.nanoseconds = monotonic_nanoseconds(),
		.instructions = machine_instructions(machine),
	};

	pthread_mutex_lock(&machine->lock);
	if (machine->marks[event].nanoseconds == 0)
		machine->marks[event] = mark;
	pthread_mutex_unlock(&machine->lock);
}

void machine_marks(struct machine *machine, struct machine_mark marks[MACHINE_EVENTS])
{
	pthread_mutex_lock(&machine->lock);
	memcpy(marks, machine->marks, sizeof(machine->marks));
	pthread_mutex_unlock(&machine->lock);
	marks[MACHINE_EVENT_NOW] = (struct machine_mark){
		.nanoseconds = monotonic_nanoseconds(),
		.instructions = machine_instructions(machine),
	};
}

static bool is_in_region(const struct guest_region *region, uintptr_t address)
{
	return address >= (uintptr_t)region->host &&
		address - (uintptr_t)region->host < region->size;
}

/* Whether the mapping of a smaps header line is guest RAM, or files that the guest uses in place. */
static bool is_guest_ram(const struct machine *machine, uintptr_t start)
{
	for (size_t i = 0; i < machine->memory.count; i++)
		if (is_in_region(&machine->memory.regions[i], start))
			return true;
	return is_in_region(&machine->memory.window, start);
}

int64_t machine_resident_kib(const struct machine *machine)
{
	_cleanup_free_ char *text = NULL;
	bool counted = false;
	int64_t sum = 0;
	char *rest;

	if (machine->smaps_fd < 0 || lseek(machine->smaps_fd, 0, SEEK_SET) < 0 ||
		file_read_fd(machine->smaps_fd, 4u << 20, &text, NULL) < 0)
		return -1;
	rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		char *end;
		/* "START-END rwxp ...", then lines like "Rss:   12 kB". */
		unsigned long start = strtoul(line, &end, 16);

		if (end > line && *end == '-')
			counted = !is_guest_ram(machine, start);
		else if (counted && !strncmp(line, "Rss:", 4))
			sum += strtol(line + 4, NULL, 10);
	}
	return sum;
}

/* The first call decides how the machine ended; but a machine that fails while it stops was not parked. */
static void machine_end(struct machine *machine, enum machine_end end, const char *format, ...)
	_printf_(3, 4);

static void machine_end(struct machine *machine, enum machine_end end, const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&machine->lock);
	if (!machine->ended ||
		(machine->end == MACHINE_END_PARKED &&
			(end == MACHINE_END_RESET || end == MACHINE_END_FAILED))) {
		machine->ended = true;
		machine->end = end;
		va_start(arguments, format);
		vsnprintf(machine->end_error.message, sizeof(machine->end_error.message), format,
			arguments);
		va_end(arguments);
	}
	pthread_mutex_unlock(&machine->lock);
	machine->stopping = true;
	loop_stop(&machine->loop);
}

/* ---- exits */

static void log_registers(const struct vcpu *vcpu)
{
	struct kvm_sregs special;
	struct kvm_regs r;

	if (!log_enabled(LOG_LEVEL_DEBUG) || ioctl(vcpu->fd, KVM_GET_REGS, &r) < 0 ||
		ioctl(vcpu->fd, KVM_GET_SREGS, &special) < 0)
		return;
	log_debug(
		"vCPU %u: rip %016llx rsp %016llx rflags %08llx", vcpu->id, r.rip, r.rsp, r.rflags);
	log_debug("rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx, r.rdx);
	log_debug("rsi %016llx rdi %016llx rbp %016llx r8  %016llx", r.rsi, r.rdi, r.rbp, r.r8);
	log_debug("r9  %016llx r10 %016llx r11 %016llx r12 %016llx", r.r9, r.r10, r.r11, r.r12);
	log_debug("r13 %016llx r14 %016llx r15 %016llx", r.r13, r.r14, r.r15);
	log_debug("cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx cs %04x cpl %u",
		special.cr0, special.cr2, special.cr3, special.cr4, special.efer,
		special.cs.selector, special.ss.dpl);
}

static uint64_t instruction_pointer(const struct vcpu *vcpu)
{
	struct kvm_regs registers;

	return ioctl(vcpu->fd, KVM_GET_REGS, &registers) < 0 ? 0 : registers.rip;
}

/*
 * The guest reset itself: a panic (panic=-1, reboot=k), an init that ended, a triple fault. What the
 * kernel said last explains it better than how it went down.
 */
static void machine_guest_reset(struct machine *machine, const char *how)
{
	char reason[256];

	if (boot_console_reason(&machine->boot_console, reason, sizeof(reason)))
		machine_end(machine, MACHINE_END_RESET, "the guest kernel died: %s", reason);
	else
		machine_end(machine, MACHINE_END_RESET, "the guest %s without a word", how);
}

static bool machine_will_park(struct machine *machine)
{
	return machine->park_fd >= 0 && message_port_is_empty(&machine->messages);
}

/*
 * How long the guest is to rest before it is parked, in units of WIRE_PHASE_REST_NS. What its kernel put off is
 * done within milliseconds, except what has a timer of its own: workers once a second, free memory
 * is reported after two. Where each instruction is emulated it is worth the wait.
 */
static uint8_t machine_rest(struct machine *machine)
{
	const int rest_ms = machine->vm.emulated ? 2300 : 50;

	return machine_will_park(machine) ? (uint8_t)(rest_ms / (WIRE_PHASE_REST_NS / 1000000)) : 0;
}

/*
 * The guest may be parked here. The vCPU that says so must not execute another instruction: it completes
 * this one and leaves KVM_RUN (vcpu_thread()), as do the others where they happen to be.
 */
static void machine_parking_place(struct machine *machine, const struct vcpu *vcpu)
{
	int r;

	machine_record(machine, MACHINE_EVENT_READY);
	if (!machine_will_park(machine))
		return;
	r = clock_moment_take(&machine->vm, vcpu, &machine->parked_at);
	if (r < 0)
		machine_end(machine, MACHINE_END_FAILED, "cannot read the guest's clock: %s",
			strerror(-r));
	else
		machine_end(machine, MACHINE_END_PARKED, "parked");
}

static void machine_phase(struct machine *machine, const struct vcpu *vcpu, uint8_t phase)
{
	static const enum machine_event events[] = {
		[WIRE_PHASE_INIT] = MACHINE_EVENT_INIT,
		[WIRE_PHASE_APP_EXEC] = MACHINE_EVENT_APP_EXEC,
		[WIRE_PHASE_PARK] = MACHINE_EVENT_READY,
		[WIRE_PHASE_CONFIGURED] = MACHINE_EVENT_CONFIGURED,
		[WIRE_PHASE_TREE] = MACHINE_EVENT_TREE,
	};

	if (phase == WIRE_PHASE_PARK)
		machine_parking_place(machine, vcpu);
	else if (phase >= WIRE_PHASE_INIT && phase < ARRAY_SIZE(events))
		machine_record(machine, events[phase]);
}

/* Only all bytes at once are one time. */
static void clock_port_read(uint8_t *data, size_t size, size_t count)
{
	struct timespec now;
	uint64_t nanoseconds;

	memset(data, 0xff, size * count);
	clock_gettime(CLOCK_REALTIME, &now);
	nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (size == 1 && count == sizeof(nanoseconds))
		memcpy(data, &nanoseconds, sizeof(nanoseconds));
}

/* Ports that answer otherwise than byte by byte. Whether this is one. */
static bool serve_port_input(struct machine *machine, const struct vcpu *vcpu, uint8_t *data)
{
	const struct kvm_run *run = vcpu->run;
	uint32_t taken;

	switch (run->io.port) {
	case WIRE_MESSAGE_PORT:
		message_port_read(&machine->messages, data, run->io.size, run->io.count);
		return true;
	case WIRE_CLOCK_PORT:
		clock_port_read(data, run->io.size, run->io.count);
		return true;
	case WIRE_TRANSMIT_PORT:
		if (run->io.size != sizeof(taken) || run->io.count != 1)
			return false;
		taken = transmit_port_read(vcpu, &machine->memory, machine->console);
		memcpy(data, &taken, sizeof(taken));
		return true;
	default:
		return false;
	}
}

static uint8_t port_input(struct machine *machine, uint16_t port)
{
	switch (port) {
	case RESET_PORT:
		return 0; /* the keyboard controller is ready */
	case WIRE_PHASE_PORT:
		return machine_rest(machine);
	default:
		return 0xff; /* nothing is there */
	}
}

static void serve_port(struct machine *machine, const struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint16_t port = run->io.port;
	bool is_console = port >= BOOT_CONSOLE_PORT &&
		port < BOOT_CONSOLE_PORT + BOOT_CONSOLE_PORTS && run->io.size == 1;

	if (run->io.direction == KVM_EXIT_IO_IN && serve_port_input(machine, vcpu, data))
		return;
	/* count is above 1 for string instructions; KVM bounds it by a page of data. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			memset(data, port_input(machine, port), run->io.size);
			if (is_console)
				*data = boot_console_read(
					&machine->boot_console, port - BOOT_CONSOLE_PORT);
		} else if (is_console) {
			boot_console_write(&machine->boot_console, port - BOOT_CONSOLE_PORT, *data);
		} else if (port == WIRE_PHASE_PORT) {
			machine_phase(machine, vcpu, *data);
		} else if (port == RESET_PORT && *data == RESET_COMMAND) {
			machine_guest_reset(machine, "reset itself");
		}
	}
}

static bool is_in_window(const struct machine *machine, uint64_t address)
{
	const struct guest_region *window = &machine->memory.window;

	return address >= window->start && address - window->start < window->size;
}

static void serve_mmio(struct machine *machine, struct kvm_run *run)
{
	uint64_t offset = run->mmio.phys_addr - LAYOUT_DEVICES;
	size_t length = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : 0;

	if (run->mmio.phys_addr >= LAYOUT_DEVICES &&
		offset < (uint64_t)DEVICES * VIRTIO_MMIO_SIZE &&
		checked_range(offset % VIRTIO_MMIO_SIZE, length, VIRTIO_MMIO_SIZE)) {
		struct virtio_mmio *mmio = &machine->mmio[offset / VIRTIO_MMIO_SIZE];

		if (run->mmio.is_write)
			virtio_mmio_write(mmio, offset % VIRTIO_MMIO_SIZE, run->mmio.data, length);
		else
			virtio_mmio_read(mmio, offset % VIRTIO_MMIO_SIZE, run->mmio.data, length);
	} else if (!run->mmio.is_write) {
		/* An emulating KVM comes here for what a file of the window has lost: zeros, as of a hole. */
		memset(run->mmio.data, is_in_window(machine, run->mmio.phys_addr) ? 0 : 0xff,
			sizeof(run->mmio.data));
	}
}

static void serve_internal_error(struct machine *machine, const struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char bytes[64] = "";
	uint32_t count = run->internal.ndata;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		machine_end(machine, MACHINE_END_FAILED,
			"KVM internal error %u on vCPU %u at %#" PRIx64, run->internal.suberror,
			vcpu->id, instruction_pointer(vcpu));
		return;
	}
	/* KVM may tell the instruction: a flag, its size, then its bytes (struct kvm_run). */
	if (count >= 4 &&
		run->emulation_failure.flags &
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
		for (size_t i = 0; i < run->emulation_failure.insn_size && i < 15; i++)
			snprintf(bytes + 3 * i, sizeof(bytes) - 3 * i, " %02x",
				run->emulation_failure.insn_bytes[i]);
	}
	machine_end(machine, MACHINE_END_FAILED,
		"KVM cannot emulate the instruction at %#" PRIx64 " on vCPU %u%s%s",
		instruction_pointer(vcpu), vcpu->id, *bytes ? ":" : "", bytes);
}

/* Serves one exit. */
static void serve_exit(struct machine *machine, struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		serve_mmio(machine, run);
		return;
	case KVM_EXIT_IO:
		serve_port(machine, vcpu);
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return;
	case KVM_EXIT_SHUTDOWN:
		log_registers(vcpu);
		machine_guest_reset(machine, "kernel died of a triple fault");
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		log_registers(vcpu);
		serve_internal_error(machine, vcpu);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		log_registers(vcpu);
		machine_end(machine, MACHINE_END_FAILED,
			"the CPU refused to run the guest on vCPU %u: hardware reason %#llx",
			vcpu->id, run->fail_entry.hardware_entry_failure_reason);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		machine_guest_reset(machine, "powered off");
		return;
	default:
		log_registers(vcpu);
		machine_end(machine, MACHINE_END_FAILED,
			"vCPU %u stopped for a reason that has no place here: KVM exit %u",
			vcpu->id, run->exit_reason);
		return;
	}
}

/*
 * KVM_RUN met memory that the host does not have. In the window that is a file which was made shorter:
 * the end of the program that has it mapped, and of nothing else. Any other memory of the guest is ours
 * to have.
 */
static bool serve_window_fault(struct machine *machine, const struct vcpu *vcpu)
{
	uint64_t address;

	if (vcpu_fault_address(vcpu, &address) ? !is_in_window(machine, address)
					       : !virtio_fs_window_was_cut(machine->fs))
		return false;
	return vcpu_raise_bus_error(vcpu) == 0;
}

static void *vcpu_thread(void *argument)
{
	struct machine_vcpu *self = argument;
	struct machine *machine = self->machine;
	int r;

	for (;;) {
		/*
		 * When all stop, the exit that was served last is completed yet: KVM_RUN then ends with
		 * EINTR, before it executes anything, and the vCPU's state is whole.
		 */
		if (machine->stopping)
			__atomic_store_n(&self->vcpu.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		r = ioctl(self->vcpu.fd, KVM_RUN, 0) < 0 ? -errno : 0;
		if (r == 0) {
			serve_exit(machine, &self->vcpu);
		} else if (r == -EINTR) {
			if (machine->stopping)
				return NULL;
		} else if (r != -EAGAIN &&
			(r != -EFAULT || !serve_window_fault(machine, &self->vcpu))) {
			log_registers(&self->vcpu);
			machine_end(machine, MACHINE_END_FAILED, "KVM_RUN failed on vCPU %u: %s",
				self->vcpu.id, strerror(-r));
			return NULL;
		}
	}
}

/* ---- the event loop's sources */

static void port_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	unsigned int port = (unsigned int)(source - machine->port_sources);

	/* The end of a stream is no event here: release_ready() hears of it. */
	virtio_console_ready(machine->console, port, events);
}

static void port_arm(void *context, unsigned int port, uint32_t events)
{
	struct machine *machine = context;

	loop_arm(&machine->loop, &machine->port_sources[port], events);
}

static void port_first_output(void *context, unsigned int port)
{
	if (port == WIRE_PORT_STREAM)
		machine_record(context, MACHINE_EVENT_OUTPUT);
}

static void release_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	machine_end(source->context, MACHINE_END_RELEASED, "released");
}

static void file_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	uint64_t count;
	ssize_t n = read(source->fd, &count, sizeof(count));

	(void)n; /* only clears the eventfd */
	(void)events;
	virtio_fs_complete(machine->fs);
	loop_arm(&machine->loop, source, EPOLLIN);
}

static void watch_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	(void)events;
	if (virtio_fs_watch(machine->fs))
		log_warning(
			"a file that the pod uses in place was made shorter on the host: programs "
			"that access what is gone are killed");
	loop_arm(&machine->loop, source, EPOLLIN);
}

/* ---- creation */

static void line_raise(void *context)
{
	uint64_t one = 1;
	ssize_t n = write(*(int *)context, &one, sizeof(one));

	(void)n; /* full means: raised already */
}

static int machine_attach(struct machine *machine, unsigned int index, struct virtio_device *device,
	struct error *err)
{
	machine->lines[index] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->lines[index] < 0)
		return error_set_errno(err, -errno, "cannot create an interrupt line");
	virtio_mmio_attach(&machine->mmio[index], device, line_raise, &machine->lines[index]);
	return vm_set_irqfd(&machine->vm, machine->lines[index], LAYOUT_FIRST_LINE + index, err);
}

static int machine_add_window(struct machine *machine, struct error *err)
{
	const struct guest_region *window = &machine->memory.window;
	int r = ram_add_window(&machine->memory, WINDOW_SIZE, err);

	return r < 0 ? r
		     : vm_add_memory(&machine->vm, window->start, window->size, window->host, err);
}

static int machine_create_memory(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	int r;

	r = ram_map(options->memory, options->memory_fd, &machine->memory, err);
	for (size_t i = 0; r == 0 && i < machine->memory.count; i++) {
		const struct guest_region *region = &machine->memory.regions[i];

		r = vm_add_memory(&machine->vm, region->start, region->size, region->host, err);
	}
	if (r == 0 && options->dax != VIRTIO_FS_DAX_NEVER)
		r = machine_add_window(machine, err);
	return r < 0 ? r : generation_create(&machine->vm, &machine->generation, err);
}

static int machine_create_devices(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	struct virtio_console_options console = {
		.fds = {-1, -1, -1},
		.arm = port_arm,
		.first_output = port_first_output,
		.context = machine,
	};
	struct virtio_fs_options fs = {
		.tag = WIRE_SHARE_TAG,
		.tree_fd = options->tree_fd,
		.policy = VIRTIO_FS_EXCLUSIVE,
		.exports = options->exports,
		.export_count = options->export_count,
		.limits = options->file_limits,
		.inodes_max = INODES_MAX,
		.handles_max = HANDLES_MAX,
		.readahead = machine->vm.emulated ? READAHEAD_EMULATED : 0,
		.dax = options->dax,
	};
	int fds[CONSOLE_PORTS] = {
		[WIRE_PORT_CONTROL] = options->control_fd,
		[WIRE_PORT_STREAM] = options->stream_fd,
	};
	int r;

	machine->release_fd = fcntl(options->control_fd, F_DUPFD_CLOEXEC, 0);
	if (machine->release_fd < 0)
		return error_set_errno(err, -errno, "cannot duplicate the control socket");
	memcpy(console.fds, fds, sizeof(fds));
	r = virtio_console_create(&machine->memory, &console, &machine->console);
	if (r < 0)
		return error_set_errno(err, r, "cannot create the console");
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		machine->port_sources[i] =
			(struct loop_source){.fd = fds[i], .ready = port_ready, .context = machine};
		r = loop_add(&machine->loop, &machine->port_sources[i], 0);
		if (r < 0)
			return error_set_errno(err, r, "cannot watch a console port");
	}
	machine->release_source = (struct loop_source){
		.fd = machine->release_fd, .ready = release_ready, .context = machine};
	r = loop_add(&machine->loop, &machine->release_source, EPOLLRDHUP);
	if (r < 0)
		return error_set_errno(err, r, "cannot watch the control socket");
	r = machine_attach(machine, DEVICE_CONSOLE, virtio_console_device(machine->console), err);
	if (r < 0)
		return r;

	r = virtio_fs_create(&machine->memory, &fs, &machine->fs, err);
	if (r < 0)
		return r;
	if (virtio_fs_completion_fd(machine->fs) >= 0) {
		machine->file_source = (struct loop_source){
			.fd = virtio_fs_completion_fd(machine->fs),
			.ready = file_ready,
			.context = machine,
		};
		r = loop_add(&machine->loop, &machine->file_source, EPOLLIN);
		if (r < 0)
			return error_set_errno(err, r, "cannot watch file requests");
	}
	if (virtio_fs_watch_fd(machine->fs) >= 0) {
		machine->watch_source = (struct loop_source){
			.fd = virtio_fs_watch_fd(machine->fs),
			.ready = watch_ready,
			.context = machine,
		};
		r = loop_add(&machine->loop, &machine->watch_source, EPOLLIN);
		if (r < 0)
			return error_set_errno(err, r, "cannot watch files in the window");
	}
	r = machine_attach(machine, DEVICE_FS, virtio_fs_device(machine->fs), err);
	if (r < 0)
		return r;

	virtio_rng_init(&machine->rng, &machine->memory);
	r = machine_attach(machine, DEVICE_RNG, &machine->rng.device, err);
	if (r < 0)
		return r;
	virtio_balloon_init(&machine->balloon, &machine->memory);
	return machine_attach(machine, DEVICE_BALLOON, &machine->balloon.device, err);
}

/* ---- parking */

#define MACHINE_TAG     STATE_TAG('M', 'A', 'C', 'H')
#define MACHINE_VERSION 2

/*
 * What two machines must have in common for one to go on from the other's state. Of one width, so that
 * there is no padding and shapes can be compared as bytes.
 */
struct machine_shape {
	uint64_t memory, window_start, window_size, vcpus, emulated, devices;
	uint64_t device_ids[DEVICES];
	uint8_t cpuid_digest[SHA512_SIZE];
};

static void machine_get_shape(const struct machine *machine, struct machine_shape *ret)
{
	*ret = (struct machine_shape){0};
	ret->vcpus = machine->vcpu_count;
	ret->emulated = machine->vm.emulated;
	ret->devices = DEVICES;
	for (size_t i = 0; i < machine->memory.count; i++)
		ret->memory += machine->memory.regions[i].size;
	ret->window_start = machine->memory.window.start;
	ret->window_size = machine->memory.window.size;
	for (unsigned int i = 0; i < DEVICES; i++)
		ret->device_ids[i] = machine->mmio[i].device->id;
	memcpy(ret->cpuid_digest, machine->vm.cpuid_digest, sizeof(ret->cpuid_digest));
}

static int machine_save_sections(
	struct machine *machine, struct state_writer *writer, struct error *err)
{
	struct machine_shape shape;
	int r;

	machine_get_shape(machine, &shape);
	state_begin(writer, MACHINE_TAG, MACHINE_VERSION);
	state_put(writer, &shape, sizeof(shape));
	state_end(writer);
	for (unsigned int i = 0; i < DEVICES; i++) {
		r = virtio_mmio_save(&machine->mmio[i], writer, err);
		if (r < 0)
			return r;
	}
	/* The devices' interrupts are on their way to the controllers; there they are saved. */
	for (unsigned int i = 0; i < DEVICES; i++) {
		r = vm_clear_irqfd(&machine->vm, machine->lines[i], LAYOUT_FIRST_LINE + i, err);
		if (r < 0)
			return r;
	}
	r = interrupt_state_save(&machine->vm, writer, err);
	for (unsigned int i = 0; r == 0 && i < machine->vcpu_count; i++)
		r = vcpu_state_save(
			&machine->vm, &machine->vcpus[i].vcpu, &machine->parked_at, writer, err);
	if (r == 0)
		clock_state_save(&machine->parked_at, writer);
	return r < 0 ? r : writer->error;
}

/*
 * Every vCPU thread has ended, at the end of an exit, and the event loop too: the machine stands still.
 */
static int machine_park(struct machine *machine, struct error *err)
{
	struct state_writer writer = {0};
	int64_t start = monotonic_nanoseconds(), saved;
	int r;

	if (virtio_fs_shared_was_read(machine->fs))
		return error_set(err, -EBUSY,
			"names or contents of a host's volume were read, and may be others when the machine goes on");
	r = machine_save_sections(machine, &writer, err);
	if (r < 0 && r == writer.error)
		error_set_errno(err, r, "cannot save the machine's state");
	saved = monotonic_nanoseconds();
	if (r == 0)
		r = ram_save(&machine->memory, machine->memory_fd, machine->pagemap_fd,
			machine->park_fd, err);
	if (r < 0) {
		state_writer_done(&writer);
		return r;
	}
	log_debug("parked: %zu bytes of state in %" PRId64 " us, memory in %" PRId64 " us",
		writer.length, (saved - start) / 1000, (monotonic_nanoseconds() - saved) / 1000);
	machine->state = writer.data;
	machine->state_size = writer.length;
	return 0;
}

void machine_take_state(struct machine *machine, void **ret, size_t *ret_size)
{
	*ret = TAKE_PTR(machine->state);
	*ret_size = machine->state_size;
	machine->state_size = 0;
}

static int machine_restore_sections(
	struct machine *machine, struct state_reader *reader, struct error *err)
{
	struct machine_shape shape, saved;
	int r;

	r = state_open(reader, MACHINE_TAG, MACHINE_VERSION, err);
	if (r < 0)
		return r;
	state_get(reader, &saved, sizeof(saved));
	r = state_close(reader, err);
	if (r < 0)
		return r;
	machine_get_shape(machine, &shape);
	if (memcmp(&saved, &shape, sizeof(shape)))
		return error_set(err, -EBADMSG,
			"saved state: of another machine (%" PRIu64 " vCPUs, %" PRIu64
			" bytes of memory, %" PRIu64 " devices), or of another host",
			saved.vcpus, saved.memory, saved.devices);
	for (unsigned int i = 0; i < DEVICES; i++) {
		r = virtio_mmio_restore(&machine->mmio[i], reader, err);
		if (r < 0)
			return r;
	}
	r = interrupt_state_restore(&machine->vm, reader, err);
	for (unsigned int i = 0; r == 0 && i < machine->vcpu_count; i++)
		r = vcpu_state_restore(&machine->vm, &machine->vcpus[i].vcpu, reader, err);
	return r < 0 ? r : clock_state_restore(&machine->vm, reader, err);
}

static int machine_restore(
	struct machine *machine, const void *state, size_t size, struct error *err)
{
	struct state_reader reader;
	int r;

	state_reader_init(&reader, state, size);
	r = machine_restore_sections(machine, &reader, err);
	if (r < 0)
		return r;
	if (reader.next != reader.length)
		return error_set(err, -EBADMSG, "saved state: %zu bytes after its end",
			reader.length - reader.next);
	return generation_announce(&machine->vm, DEVICES, err);
}

/* ---- creation, the whole */

static int machine_boot(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct boot_options boot = {
		.kernel_fd = options->kernel_fd,
		.initramfs_fd = options->initramfs_fd,
		.vcpus = options->vcpus,
		.devices = DEVICES,
		.emulated = machine->vm.emulated,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
	};
	uint64_t entry;
	int r;

	r = boot_load(&machine->memory, &boot, &entry, err);
	return r < 0 ? r : boot_set_registers(&machine->vcpus[0].vcpu, entry, err);
}

static int machine_set_up(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	int r;

	r = loop_init(&machine->loop);
	if (r < 0)
		return error_set_errno(err, r, "cannot create the event loop");
	r = vm_create(options->vcpus, &machine->vm, err);
	if (r < 0)
		return r;
	r = machine_create_memory(machine, options, err);
	if (r < 0)
		return r;
	r = vm_create_interrupt_controllers(&machine->vm, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < options->vcpus; i++) {
		machine->vcpus[i].machine = machine;
		r = vcpu_create(&machine->vm, i, &machine->vcpus[i].vcpu, err);
		if (r < 0)
			return r;
		machine->vcpu_count = i + 1;
	}
	r = machine_create_devices(machine, options, err);
	if (r < 0)
		return r;
	return machine->memory_fd >= 0
		? machine_restore(machine, options->state, options->state_size, err)
		: machine_boot(machine, options, err);
}

int machine_create(const struct machine_options *options, struct machine **ret, struct error *err)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int r;

	if (!machine)
		return -ENOMEM;
	machine->vm.kvm_fd = machine->vm.vm_fd = -1;
	machine->loop.epoll_fd = machine->loop.stop_fd = -1;
	machine->release_fd = machine->pagemap_fd = -1;
	machine->memory_fd = options->memory_fd;
	machine->park_fd = options->park_fd;
	message_port_init(&machine->messages, options->messages, options->message_count);
	for (unsigned int i = 0; i < DEVICES; i++)
		machine->lines[i] = -1;
	pthread_mutex_init(&machine->lock, NULL);
	boot_console_init(&machine->boot_console, options->kernel_messages);
	machine->smaps_fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	if (machine->park_fd >= 0)
		machine->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	r = machine_set_up(machine, options, err);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	*ret = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(&machine->vcpus[i].vcpu);
	virtio_console_free(machine->console);
	if (machine->fs)
		virtio_fs_free(machine->fs);
	for (unsigned int i = 0; i < DEVICES; i++)
		cleanup_close(&machine->lines[i]);
	cleanup_close(&machine->release_fd);
	cleanup_close(&machine->smaps_fd);
	cleanup_close(&machine->pagemap_fd);
	loop_done(&machine->loop);
	vm_destroy(&machine->vm);
	generation_destroy(&machine->generation);
	ram_unmap(&machine->memory);
	message_port_done(&machine->messages);
	free(machine->state);
	free(machine);
}

/* ---- running */

static void kick_handler(int signal)
{
	(void)signal; /* its arrival is what counts: KVM_RUN returns */
}

static int machine_start_vcpus(struct machine *machine, struct error *err)
{
	struct sigaction action = {.sa_handler = kick_handler};

	sigaction(VCPU_KICK_SIGNAL, &action, NULL);
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];
		int r = pthread_create(&self->thread, NULL, vcpu_thread, self);

		if (r != 0)
			return error_set_errno(err, -r, "cannot start the thread of vCPU %u", i);
		self->started = true;
	}
	return 0;
}

static void machine_stop_vcpus(struct machine *machine)
{
	machine->stopping = true;
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];

		if (!self->started)
			continue;
		/* A signal just before KVM_RUN would be lost without the flag. */
		__atomic_store_n(&self->vcpu.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		pthread_kill(self->thread, VCPU_KICK_SIGNAL);
		pthread_join(self->thread, NULL);
		self->started = false;
	}
}

enum machine_end machine_run(struct machine *machine, struct error *err)
{
	int r;

	machine_record(machine, MACHINE_EVENT_RUN);
	if (machine->memory_fd >= 0)
		machine_record(machine, MACHINE_EVENT_READY);
	r = machine_start_vcpus(machine, err);
	if (r == 0) {
		r = loop_run(&machine->loop);
		if (r < 0)
			machine_end(machine, MACHINE_END_FAILED, "the event loop failed: %s",
				strerror(-r));
	} else {
		machine_end(machine, MACHINE_END_FAILED, "%s", err->message);
	}
	machine_stop_vcpus(machine);
	if (machine->end == MACHINE_END_PARKED && machine_park(machine, err) < 0)
		return MACHINE_END_FAILED;
	*err = machine->end_error;
	return machine->end;
}
