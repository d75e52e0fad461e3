// SPDX-License-Identifier: Apache-2.0
/*
 * exits.c: the vCPU threads, and what they do when the guest leaves KVM_RUN: device registers (a notified
 * queue is served inside that very exit), ports, and the ways in which a guest can die.
 *
 * #syscalls:vcpu ioctl(_, KVM_RUN) ioctl(_, KVM_GET_REGS) ioctl(_, KVM_GET_SREGS)
 */
#include "base/checked.h"
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/machine_parts.h"
#include "vmm/transmit_port.h"
#include "vmm/xstate_port.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Resets: the keyboard controller's command port and the command that pulses the reset line. */
#define RESET_PORT    0x64
#define RESET_COMMAND 0xfe

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
 * is reported after two, random input is asked for after half of the machine's age. Where each instruction
 * is emulated it is worth the wait.
 */
static uint8_t machine_rest(struct machine *machine)
{
	const int rest_ms = machine->vm.emulated ? 3400 : 50;

	return machine_will_park(machine) ? (uint8_t)(rest_ms / (WIRE_PHASE_REST_NS / 1000000)) : 0;
}

/*
 * The guest may be parked here. The vCPU that says so must not execute another instruction: it completes
 * this one and leaves KVM_RUN (vcpu_thread()), as do the others where they happen to be.
 */
static void machine_parking_place(struct machine *machine, const struct vcpu *vcpu)
{
	struct clock_moment moment;
	int r;

	machine_record(machine, MACHINE_EVENT_READY);
	if (machine_at_place(machine, vcpu) || !machine_will_park(machine))
		return;
	r = clock_moment_take(&machine->vm, vcpu, &moment);
	if (r < 0) {
		machine_end(machine, MACHINE_END_FAILED, "cannot read the guest's clock: %s",
			strerror(-r));
		return;
	}
	pthread_mutex_lock(&machine->lock);
	machine->parked_at = moment;
	pthread_mutex_unlock(&machine->lock);
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
	else if (phase == WIRE_PHASE_OVER)
		machine->vcpus[vcpu->id].is_over = true;
	else if (phase >= WIRE_PHASE_INIT && phase < ARRAY_SIZE(events))
		machine_record(machine, events[phase]);
}

/* Only all bytes at once are one time. #syscalls:vcpu clock_gettime(CLOCK_REALTIME) */
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

static bool is_xstate_port(const struct machine *machine, const struct kvm_run *run)
{
	return machine->vm.emulated && run->io.direction == KVM_EXIT_IO_OUT &&
		run->io.size == sizeof(uint32_t) && run->io.count == 1 &&
		(run->io.port == XSTATE_SAVE_PORT || run->io.port == XSTATE_RESTORE_PORT);
}

static void serve_xstate_port(struct machine *machine, const struct vcpu *vcpu, const uint8_t *data)
{
	uint32_t value;
	int r;

	memcpy(&value, data, sizeof(value));
	r = xstate_port_write(&machine->vm, vcpu, &machine->memory, vcpu->run->io.port, value);
	if (r < 0)
		machine_end(machine, MACHINE_END_FAILED,
			"vCPU %u: the registers of floating point cannot be %s: %s", vcpu->id,
			vcpu->run->io.port == XSTATE_SAVE_PORT ? "saved" : "restored",
			strerror(-r));
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
	if (is_xstate_port(machine, run)) {
		serve_xstate_port(machine, vcpu, data);
		return;
	}
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
		offset < (uint64_t)machine->device_count * VIRTIO_MMIO_SIZE &&
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

void *vcpu_thread(void *argument)
{
	struct machine_vcpu *self = argument;
	struct machine *machine = self->machine;
	int r;

	self->thread_id = gettid();
	if (!machine_enter_thread(machine, FILTER_VCPU))
		return NULL;
	for (;;) {
		/*
		 * When all stop or pause, the exit that was served last is completed yet: KVM_RUN then ends with
		 * EINTR, before it executes anything, and the vCPU's state is whole.
		 */
		if (machine->stopping || machine->pausing)
			__atomic_store_n(&self->vcpu.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		else if (virtio_fs_go_on(machine->fs))
			continue;
		r = ioctl(self->vcpu.fd, KVM_RUN, 0) < 0 ? -errno : 0;
		if (r == 0) {
			serve_exit(machine, &self->vcpu);
			/* It would only come to rest now, in thousands of instructions. */
			if (self->is_over) {
				machine_vcpu_over(self);
				return NULL;
			}
		} else if (r == -EINTR) {
			if (machine->stopping)
				return NULL;
			if (machine->pausing)
				machine_stand_still(self);
		} else if (r != -EAGAIN &&
			(r != -EFAULT || !serve_window_fault(machine, &self->vcpu))) {
			log_registers(&self->vcpu);
			machine_end(machine, MACHINE_END_FAILED, "KVM_RUN failed on vCPU %u: %s",
				self->vcpu.id, strerror(-r));
			return NULL;
		}
	}
}
