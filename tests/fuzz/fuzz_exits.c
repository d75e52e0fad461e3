// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_exits.c: a vCPU's thread (vmm/exits.c) whose guest leaves KVM_RUN as the input says, in a machine with all its
 * devices but without KVM: ports, registers of devices, every other exit, errors. What KVM is asked on the way (registers,
 * addresses, extended states) the input answers, too. At its end the machine is stopped as the event loop would.
 *
 * It fails where serving an exit writes to anything of struct kvm_run but what that exit is to be answered with; where one
 * that has no place here does not end the machine, or an access does; where the machine ends without a reason for
 * people; and where its log grows without bounds.
 *
 * The input: a byte of choices, then operations, a byte each, with their operands.
 */
#include "tests/fuzz/input.h"
#include "tests/unit/bare_machine.h"

#include "base/file.h"
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/xstate_port.h"

#include <stdio.h>

enum operation {
	OUTPUT, /* ports, of one instruction or a string of them */
	INPUT,
	WRITE, /* addresses that are no memory */
	READ,
	LEAVE, /* any other exit */
	FAIL,  /* KVM_RUN fails */
	AGAIN, /* the last one of those above, up to 255 times more */
	PAUSE, /* the machine is told to stand still, and to go on */
	STORE, /* the guest writes memory */
	START, /* a device is started, with rings over memory */
	OPERATIONS,
};

enum choice {
	EMULATED = 1,
	TO_PARK = 2,
	TO_SAVE = 4,
	SHOW = 8, /* what the kernel prints */
	DEBUG = 16,
	MESSAGES = 32,
};

/* What becomes of the machine by an exit. */
enum outcome { GOES_ON, MAY_END, ENDS };

#define EXITS_MAX 600
/* KVM_EXIT_MEMORY_FAULT: the header may be older. */
#define EXIT_MEMORY_FAULT 39
/* Devices whose driver broke the rules are told of eight times each, and then some that come once. */
#define WARNINGS_MAX (8 * DEVICES_MAX + 8)
#define MSR_TSC      0x10u

static struct play {
	struct bare_machine bare;
	struct input input;
	unsigned int exits;
	const uint8_t *last; /* operands of the last exit */
	unsigned int again;  /* how often it comes again, and what follows then */
	const uint8_t *rest;
	enum operation operation;

	uint8_t before[BARE_RUN_SIZE];
	size_t answer, answer_length; /* what may be written, in the area */
	enum outcome outcome;
	bool all_ones; /* the answer is, since nothing is there */

	size_t shown;
	unsigned int warnings;
} play;

static char path[] = "/tmp/appc-fuzz-XXXXXX";
static int tree_fd;

static struct kvm_run *area(void)
{
	return play.bare.machine->vcpus[0].vcpu.run;
}

/* ---- the log, which a guest must not fill */

void __wrap_log_message(enum log_level level, const char *format, ...) _printf_(2, 3);
void __wrap_log_message(enum log_level level, const char *format, ...)
{
	static const char kernel[] = "kernel: ";
	char line[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (level <= LOG_LEVEL_WARNING)
		play.warnings++;
	else if (level == LOG_LEVEL_INFO && !strncmp(line, kernel, strlen(kernel)))
		play.shown += strlen(line + strlen(kernel));
	check(play.warnings <= WARNINGS_MAX && play.shown <= BOOT_CONSOLE_SHOW_MAX);
}

/* ---- why the guest leaves */

static void leave(uint32_t reason, enum outcome outcome, size_t answer, size_t answer_length)
{
	area()->exit_reason = reason;
	play.outcome = outcome;
	play.answer = answer;
	play.answer_length = answer_length;
	play.all_ones = false;
}

/* Bytes of the input as often as they fit, which all may be the same. */
static void fill(void *to, size_t length, struct input *input)
{
	const uint8_t *bytes;
	size_t count = take_bytes(input, &bytes);

	for (size_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = count > 0 ? bytes[i % count] : 0;
}

/* Ports of the interrupt controllers are there, but KVM's. */
static bool is_port(uint16_t port, uint8_t size)
{
	switch (port) {
	case 0x64:
	case WIRE_PHASE_PORT:
	case WIRE_MESSAGE_PORT:
	case WIRE_CLOCK_PORT:
	case WIRE_TRANSMIT_PORT:
		return true;
	default:
		return size == 1 && port >= BOOT_CONSOLE_PORT &&
			port < BOOT_CONSOLE_PORT + BOOT_CONSOLE_PORTS;
	}
}

/* Ports by which a guest ends its machine. */
static bool is_end_port(uint16_t port)
{
	return port == 0x64 || port == WIRE_PHASE_PORT || port == XSTATE_SAVE_PORT ||
		port == XSTATE_RESTORE_PORT;
}

static void access_port(bool is_input, struct input *input)
{
	struct kvm_run *run = area();
	uint8_t how = (uint8_t)take(input, 1), size = (uint8_t)(1u << how % 3);
	uint16_t port = (uint16_t)take(input, 2);
	uint32_t count = how & 0x80 ? 1 + (uint32_t)take(input, 2) % (BARE_PAGE / size) : 1;
	size_t length = (size_t)size * count;

	run->io.direction = is_input ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	/* So that it ends where the area does. */
	run->io.data_offset = BARE_RUN_SIZE - length;
	fill((uint8_t *)run + run->io.data_offset, length, input);
	leave(KVM_EXIT_IO, !is_input && is_end_port(port) ? MAY_END : GOES_ON, run->io.data_offset,
		is_input ? length : 0);
	play.all_ones = is_input && !is_port(port, size);
}

/* Where a fault is the guest's own. */
static bool is_in_window(uint64_t address)
{
	return address >= BARE_WINDOW && address - BARE_WINDOW < BARE_WINDOW_SIZE;
}

static void access_address(bool is_write, struct input *input)
{
	static const uint64_t bases[] = {LAYOUT_DEVICES, LAYOUT_DEVICES, BARE_WINDOW, 0};
	const uint64_t end = LAYOUT_DEVICES + (uint64_t)DEVICE_NET * VIRTIO_MMIO_SIZE;
	struct kvm_run *run = area();
	uint8_t how = (uint8_t)take(input, 1);
	uint64_t base = bases[how >> 3 & 3],
		 address = base + (base ? take(input, 3) : take(input, 8));

	run->mmio.phys_addr = address;
	run->mmio.len = 1 + (how & 7u);
	run->mmio.is_write = is_write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (is_write)
		fill(run->mmio.data, run->mmio.len, input);
	leave(KVM_EXIT_MMIO, GOES_ON, offsetof(struct kvm_run, mmio.data),
		is_write ? 0 : sizeof(run->mmio.data));
	play.all_ones = !is_write && (address < LAYOUT_DEVICES || address >= end) &&
		!is_in_window(address);
}

static void leave_otherwise(struct input *input)
{
	uint32_t reason = (uint32_t)take(input, 1);
	const uint8_t *bytes;
	size_t length;

	if (reason == 0xff)
		reason = (uint32_t)take(input, 4);
	/* KVM says of these what it is to say, above. */
	if (reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO)
		reason = KVM_EXIT_UNKNOWN;
	length = take_bytes(input, &bytes);
	memcpy(&area()->hw, bytes, length);
	leave(reason,
		reason == KVM_EXIT_INTR || reason == KVM_EXIT_IRQ_WINDOW_OPEN ? GOES_ON : ENDS, 0,
		0);
}

static int fail(struct input *input)
{
	static const int errors[] = {EINTR, EAGAIN, EFAULT, EFAULT, EIO, ENOMEM, ENOSYS, EBADF};
	struct {
		uint64_t flags, address, size;
	} fault = {0};
	uint8_t how = (uint8_t)take(input, 1);
	int error = errors[how & 7];

	leave(KVM_EXIT_UNKNOWN, error == EINTR || error == EAGAIN ? GOES_ON : ENDS, 0, 0);
	if (error == EFAULT && how & 8) {
		fault.address = how & 16 ? BARE_WINDOW + take(input, 3) : take(input, 8);
		memcpy(&area()->hw, &fault, sizeof(fault));
		leave(EXIT_MEMORY_FAULT, is_in_window(fault.address) ? MAY_END : ENDS, 0, 0);
	}
	return -error;
}

/* ---- what else the guest does */

static void store(struct input *input)
{
	uint64_t address = take(input, 2);
	const uint8_t *bytes;
	size_t length = take_bytes(input, &bytes);

	guest_memory_write(&play.bare.machine->memory, address, bytes, length);
}

static void start(struct input *input)
{
	struct machine *machine = play.bare.machine;
	struct virtio_mmio *mmio = &machine->mmio[take(input, 1) % DEVICE_NET];
	uint64_t places = BARE_MEMORY_SIZE / DRIVER_RING_SPACE;

	driver_negotiate(mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	for (uint32_t i = 0; i < mmio->device->queue_count; i++) {
		struct driver_ring ring =
			driver_ring_at(&machine->memory, i % places * DRIVER_RING_SPACE, 8);

		driver_set_up_queue(mmio, i, &ring);
	}
	driver_run(mmio);
}

static void pause_machine(void)
{
	struct machine *machine = play.bare.machine;

	pthread_mutex_lock(&machine->lock);
	machine->pausing = true;
	pthread_mutex_unlock(&machine->lock);
	area()->immediate_exit = 1;
	leave(KVM_EXIT_INTR, GOES_ON, 0, 0);
}

/* The order to go on comes at once. */
void __real_machine_stand_still(struct machine_vcpu *self);
void __wrap_machine_stand_still(struct machine_vcpu *self);
void __wrap_machine_stand_still(struct machine_vcpu *self)
{
	check(self->machine->pausing && self->vcpu.run->immediate_exit);
	self->machine->pausing = false;
	__real_machine_stand_still(self);
	check(self->machine->vcpus_still == 0);
}

/* ---- what KVM does */

/* What was done about the last exit. */
static void check_served(void)
{
	const struct machine *machine = play.bare.machine;
	const uint8_t *now = (const uint8_t *)area();
	size_t end = play.answer + play.answer_length;

	play.before[offsetof(struct kvm_run, immediate_exit)] = area()->immediate_exit;
	check(!memcmp(now, play.before, play.answer) &&
		!memcmp(now + end, play.before + end, BARE_RUN_SIZE - end));
	for (size_t i = play.answer; play.all_ones && i < end; i++)
		check(now[i] == 0xff);
	check(play.outcome == MAY_END || machine->ended == (play.outcome == ENDS));
	check(machine->ended == machine->stopping);
	play.outcome = machine->ended ? ENDS : GOES_ON;
}

/* One exit, whose operands are next in the input; what KVM_RUN returns. */
static int leave_guest(struct input *input)
{
	switch (play.operation) {
	case OUTPUT:
	case INPUT:
		access_port(play.operation == INPUT, input);
		return 0;
	case WRITE:
	case READ:
		access_address(play.operation == WRITE, input);
		return 0;
	case LEAVE:
		leave_otherwise(input);
		return 0;
	default:
		return fail(input);
	}
}

static int leave_again(void)
{
	play.again--;
	play.input.next = play.last;
	return leave_guest(&play.input);
}

/* What the guest does until it leaves. 1: nothing any more. */
static int enter_guest(void)
{
	struct input *input = &play.input;

	if (play.again > 0)
		return leave_again();
	while (input->next < input->end) {
		enum operation operation = take(input, 1) % OPERATIONS;

		switch (operation) {
		case AGAIN:
			play.again = play.last ? (unsigned int)take(input, 1) : 0;
			play.rest = input->next;
			if (play.again > 0)
				return leave_again();
			break;
		case PAUSE:
			pause_machine();
			return -EINTR;
		case STORE:
			store(input);
			break;
		case START:
			start(input);
			break;
		default:
			play.operation = operation;
			play.last = input->next;
			return leave_guest(input);
		}
	}
	return 1;
}

static int run(void)
{
	struct machine *machine = play.bare.machine;
	int r;

	check_served();
	/* What the last one asked for has been answered. */
	if (play.rest && play.again == 0) {
		play.input.next = play.rest;
		play.rest = NULL;
	}
	if (area()->immediate_exit)
		return -EINTR;
	check(!machine->stopping && !machine->pausing);
	r = play.exits++ < EXITS_MAX ? enter_guest() : 1;
	if (r > 0) {
		/* As the event loop and machine_stop_vcpus() do. */
		machine_end(machine, MACHINE_END_RELEASED, "released");
		area()->immediate_exit = 1;
		leave(KVM_EXIT_INTR, ENDS, 0, 0);
		r = -EINTR;
	}
	memcpy(play.before, area(), BARE_RUN_SIZE);
	return r;
}

/* What KVM refuses: states that the guest does not have, and bits that are reserved. */
static void check_xstate(const struct kvm_xsave *xsave)
{
	const uint8_t *bytes = (const uint8_t *)xsave->region;
	uint64_t features;
	uint32_t mxcsr;

	memcpy(&features, bytes + 512, sizeof(features));
	memcpy(&mxcsr, bytes + 24, sizeof(mxcsr));
	check(!(features & ~(play.bare.machine->vm.xstate_features | 3)) && mxcsr <= 0xffff);
	for (size_t i = 520; i < 576; i++)
		check(bytes[i] == 0);
}

static int translate(struct kvm_translation *translation, uint8_t how)
{
	translation->valid = !(how & 1);
	translation->physical_address = how & 2 ? take(&play.input, 8)
						: translation->linear_address % BARE_MEMORY_SIZE;
	return 0;
}

static int registers(struct kvm_regs *ret)
{
	*ret = (struct kvm_regs){.rip = 0x1000};
	ret->rdi = take(&play.input, 1);
	ret->rsi = take(&play.input, 8);
	ret->rcx = take(&play.input, 3);
	/* More than 32 bits. */
	if (ret->rdi == 0xff)
		ret->rdi = take(&play.input, 8);
	return 0;
}

static int kvm(unsigned long request, void *argument)
{
	struct kvm_vcpu_events *events = argument;
	struct kvm_msrs *msrs = argument;
	uint8_t how;

	if (request == KVM_RUN)
		return run();
	if (request == KVM_IRQFD)
		return 0;
	how = (uint8_t)take(&play.input, 1);
	if (how & 0x80)
		return -EINVAL;
	switch (request) {
	case KVM_GET_REGS:
		return registers(argument);
	case KVM_GET_SREGS:
		memset(argument, 0, sizeof(struct kvm_sregs));
		return 0;
	case KVM_TRANSLATE:
		return translate(argument, how);
	case KVM_GET_XSAVE:
		memset(argument, how, sizeof(struct kvm_xsave));
		return 0;
	case KVM_SET_XSAVE:
		check_xstate(argument);
		return 0;
	case KVM_GET_VCPU_EVENTS:
		memset(events, how, sizeof(*events));
		return 0;
	case KVM_SET_VCPU_EVENTS:
		check(events->exception.injected == 1 && events->exception.nr < 32 &&
			events->flags == 0);
		return 0;
	case KVM_GET_CLOCK:
		memset(argument, how, sizeof(struct kvm_clock_data));
		return 0;
	case KVM_GET_MSRS:
		check(msrs->nmsrs == 1 && msrs->entries[0].index == MSR_TSC);
		msrs->entries[0].data = how;
		return 1;
	default:
		/* Nothing else is asked of it by a vCPU's thread. */
		check(false);
		return -EINVAL;
	}
}

/* ---- */

static void clean(void)
{
	close(tree_fd);
	directory_remove(AT_FDCWD, path);
}

static void begin(void)
{
	if (bare_kvm)
		return;
	check(mkdtemp(path));
	tree_fd = directory_open(AT_FDCWD, path);
	check(tree_fd >= 0);
	bare_kvm = kvm;
	atexit(clean);
}

static void set_up(const uint8_t *data, size_t size)
{
	static const struct machine_message messages[] = {{"a message", 9}, {"", 0}, {"b", 1}};
	struct machine *machine;
	uint64_t choices;

	play = (struct play){.input = {.next = data, .end = data + size}};
	choices = take(&play.input, 1);
	log_set_level(choices & DEBUG ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	bare_machine_create(&play.bare, tree_fd);
	machine = play.bare.machine;
	machine->vm.emulated = choices & EMULATED;
	machine->vm.xstate_features = XSTATE_FEATURES;
	machine->vm.xstate_size = 2696; /* with those of AVX-512 */
	/* It is only asked whether there is one. */
	machine->park_fd = choices & TO_PARK ? tree_fd : -1;
	machine->is_to_save = choices & TO_SAVE;
	machine->boot_console.show = choices & SHOW;
	if (choices & MESSAGES)
		message_port_init(&machine->messages, messages, ARRAY_SIZE(messages));
	memcpy(play.before, area(), BARE_RUN_SIZE);
}

/* The reason is text, and there is always one. */
static void check_end(const struct machine *machine)
{
	const char *reason = machine->end_error.message;

	check(machine->ended && machine->end <= MACHINE_END_FAILED && reason[0] != '\0');
	for (; *reason; reason++)
		check(*reason >= ' ' && *reason < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *machine;
	int first, last;

	begin();
	first = dup(STDERR_FILENO);
	close(first);
	set_up(data, size);
	machine = play.bare.machine;
	check(vcpu_thread(&machine->vcpus[0]) == NULL);
	check_served();
	if (!machine->ended) {
		check(machine->vcpus[0].is_over && machine->vcpus_still == 1);
		machine_end(machine, MACHINE_END_RELEASED, "released");
	}
	check_end(machine);
	/* What it was told of meanwhile. */
	check(loop_run(&machine->loop) == 0);
	bare_machine_free(&play.bare);
	last = dup(STDERR_FILENO);
	close(last);
	check(first == last);
	return 0;
}
