// SPDX-License-Identifier: Apache-2.0
/*
 * test_exits.c: how a vCPU's thread serves what KVM_RUN returns with, and how a machine that cannot go on tells why.
 */
#include "tests/unit/bare_machine.h"

#include "base/file.h"
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/xstate_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* KVM_EXIT_MEMORY_FAULT: the header may be older. */
#define EXIT_MEMORY_FAULT 39
#define NOT_PRESENT       11
#define RIP               0x1234u

static struct bare_machine bare;
static int tree_fd;
static char path[] = "/tmp/test-exits-XXXXXX";

/* The exits to come, one after the other; then the machine is told to stop. */
static void (*const *exits)(struct kvm_run *run);
static size_t exit_count, entered;
static int failure; /* of the exit that set it */
static struct kvm_vcpu_events injected;
static struct kvm_xsave restored;

static int enter_guest(void)
{
	struct kvm_run *run = bare.machine->vcpus[0].vcpu.run;
	int r;

	if (run->immediate_exit)
		return -EINTR;
	if (entered == exit_count) {
		machine_end(bare.machine, MACHINE_END_RELEASED, "released");
		run->immediate_exit = 1;
		return -EINTR;
	}
	failure = 0;
	exits[entered++](run);
	r = failure;
	return r;
}

static int kvm(unsigned long request, void *argument)
{
	switch (request) {
	case KVM_RUN:
		return enter_guest();
	case KVM_IRQFD:
		return 0;
	case KVM_GET_REGS:
		*(struct kvm_regs *)argument = (struct kvm_regs){.rip = RIP};
		return 0;
	case KVM_GET_XSAVE:
		memset(argument, 0x5a, sizeof(struct kvm_xsave));
		return 0;
	case KVM_SET_XSAVE:
		memcpy(&restored, argument, sizeof(restored));
		return 0;
	case KVM_GET_VCPU_EVENTS:
		memset(argument, 0, sizeof(injected));
		return 0;
	case KVM_SET_VCPU_EVENTS:
		memcpy(&injected, argument, sizeof(injected));
		return 0;
	default:
		return -EINVAL;
	}
}

static int make_tree(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	bare_kvm = kvm;
	if (!mkdtemp(path))
		return -1;
	tree_fd = directory_open(AT_FDCWD, path);
	return tree_fd < 0 ? -1 : 0;
}

static int remove_tree(void **state)
{
	(void)state;
	close(tree_fd);
	return directory_remove(AT_FDCWD, path);
}

static int make_machine(void **state)
{
	(void)state;
	bare_machine_create(&bare, tree_fd);
	bare.machine->vm.emulated = true;
	bare.machine->vm.xstate_features = 7;
	bare.machine->vm.xstate_size = 832;
	memset(&injected, 0, sizeof(injected));
	return 0;
}

static int free_machine(void **state)
{
	(void)state;
	bare_machine_free(&bare);
	return 0;
}

#define RUN(...)                                                               \
	do {                                                                   \
		static void (*const run_[])(struct kvm_run *) = {__VA_ARGS__}; \
		exits = run_;                                                  \
		exit_count = ARRAY_SIZE(run_);                                 \
		entered = 0;                                                   \
		assert_null(vcpu_thread(&bare.machine->vcpus[0]));             \
	} while (0)

static void expect_end(enum machine_end end, const char *message)
{
	assert_true(bare.machine->ended);
	assert_string_equal(bare.machine->end_error.message, message);
	assert_int_equal(bare.machine->end, end);
}

/* Another exit after this one was served. */
static void expect_all_served(void)
{
	assert_int_equal(entered, exit_count);
	expect_end(MACHINE_END_RELEASED, "released");
}

/* ---- exits */

static void fails_entry(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = 0x80000021;
}

static void fails_inside(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	run->internal.ndata = 3;
}

static void fails_to_emulate(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->internal.ndata = 0;
}

static void fails_to_emulate_bytes(struct kvm_run *run)
{
	static const uint8_t bytes[] = {0x0f, 0xc7, 0x08};

	fails_to_emulate(run);
	run->emulation_failure.ndata = 8;
	run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = sizeof(bytes);
	memcpy(run->emulation_failure.insn_bytes, bytes, sizeof(bytes));
}

static void fails_to_emulate_too_many_bytes(struct kvm_run *run)
{
	fails_to_emulate_bytes(run);
	memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
	run->emulation_failure.insn_size = 0xff;
}

static void goes_off(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
}

static void faults_thrice(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SHUTDOWN;
}

static void leaves_for_nothing_known(struct kvm_run *run)
{
	run->exit_reason = 4711;
}

static void halts(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_HLT;
}

static void waits_for_a_window(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
}

static void is_not_started(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_UNKNOWN;
	failure = -EAGAIN;
}

static void is_interrupted(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTR;
	failure = -EINTR;
}

static void has_no_memory(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_UNKNOWN;
	failure = -EFAULT;
}

static void is_refused(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_UNKNOWN;
	failure = -EINVAL;
}

static void faults_at(struct kvm_run *run, uint64_t address)
{
	const uint64_t fault[] = {0, address, 0x1000};

	run->exit_reason = EXIT_MEMORY_FAULT;
	memcpy(&run->hw, fault, sizeof(fault));
	failure = -EFAULT;
}

static void faults_in_the_window(struct kvm_run *run)
{
	faults_at(run, BARE_WINDOW + BARE_WINDOW_SIZE - 1);
}

static void faults_behind_the_window(struct kvm_run *run)
{
	faults_at(run, BARE_WINDOW + BARE_WINDOW_SIZE);
}

/* The data ends where the area does. */
static void *uses_port(
	struct kvm_run *run, uint8_t direction, uint16_t port, uint8_t size, uint32_t count)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = direction;
	run->io.port = port;
	run->io.size = size;
	run->io.count = count;
	run->io.data_offset = BARE_RUN_SIZE - (uint64_t)size * count;
	return (uint8_t *)run + run->io.data_offset;
}

static void panics(struct kvm_run *run)
{
	static const char text[] = "x\nKernel panic - not syncing: \033no init\n";

	memcpy(uses_port(run, KVM_EXIT_IO_OUT, BOOT_CONSOLE_PORT, 1, sizeof(text) - 1), text,
		sizeof(text) - 1);
}

static void pulses_the_reset_line(struct kvm_run *run)
{
	memset(uses_port(run, KVM_EXIT_IO_OUT, 0x64, 1, 1), 0xfe, 1);
}

static void reads_a_string_from_nowhere(struct kvm_run *run)
{
	memset(run->padding, 0, sizeof(run->padding));
	memset(uses_port(run, KVM_EXIT_IO_IN, 0x1234, 4, BARE_PAGE / 4), 0, BARE_PAGE);
}

static void looks_at_the_string(struct kvm_run *run)
{
	const uint8_t *data = (const uint8_t *)run + run->io.data_offset;

	for (size_t i = 0; i < BARE_PAGE; i++)
		assert_int_equal(data[i], 0xff);
	waits_for_a_window(run);
}

static void uses_xstate_port(struct kvm_run *run, uint16_t port, uint64_t address)
{
	const uint32_t value = (uint32_t)(address / 64);

	memcpy(uses_port(run, KVM_EXIT_IO_OUT, port, sizeof(value), 1), &value, sizeof(value));
}

static void saves_to_the_end(struct kvm_run *run)
{
	uses_xstate_port(run, XSTATE_SAVE_PORT, BARE_MEMORY_SIZE - 832);
}

static void saves_over_the_end(struct kvm_run *run)
{
	uses_xstate_port(run, XSTATE_SAVE_PORT, BARE_MEMORY_SIZE - 64);
}

static void restores_from_the_end(struct kvm_run *run)
{
	uses_xstate_port(run, XSTATE_RESTORE_PORT, BARE_MEMORY_SIZE - 832);
}

static void restores_from_nowhere(struct kvm_run *run)
{
	uses_xstate_port(run, XSTATE_RESTORE_PORT, LAYOUT_DEVICES);
}

/* ---- tests */

static void what_kvm_refuses_to_enter_ends_the_machine(void **state)
{
	(void)state;
	RUN(fails_entry, halts);
	assert_int_equal(entered, 1);
	expect_end(MACHINE_END_FAILED,
		"the CPU refused to run the guest on vCPU 0: hardware reason 0x80000021");
}

static void what_kvm_cannot_do_ends_the_machine(void **state)
{
	(void)state;
	RUN(fails_inside, halts);
	expect_end(MACHINE_END_FAILED, "KVM internal error 3 on vCPU 0 at 0x1234");
}

static void an_instruction_that_kvm_lacks_is_told(void **state)
{
	(void)state;
	RUN(fails_to_emulate_bytes);
	expect_end(MACHINE_END_FAILED,
		"KVM cannot emulate the instruction at 0x1234 on vCPU 0: 0f c7 08");
}

static void no_more_of_an_instruction_is_told_than_there_is(void **state)
{
	(void)state;
	RUN(fails_to_emulate_too_many_bytes);
	expect_end(MACHINE_END_FAILED,
		"KVM cannot emulate the instruction at 0x1234 on vCPU 0: "
		"90 90 90 90 90 90 90 90 90 90 90 90 90 90 90");
}

static void an_instruction_that_kvm_does_not_tell_is_not_told(void **state)
{
	(void)state;
	RUN(fails_to_emulate);
	expect_end(MACHINE_END_FAILED, "KVM cannot emulate the instruction at 0x1234 on vCPU 0");
}

static void a_guest_that_goes_off_ends_the_machine(void **state)
{
	(void)state;
	RUN(goes_off);
	expect_end(MACHINE_END_RESET, "the guest powered off without a word");
}

static void a_triple_fault_ends_the_machine(void **state)
{
	(void)state;
	RUN(faults_thrice);
	expect_end(MACHINE_END_RESET, "the guest kernel died of a triple fault without a word");
}

static void a_kernel_that_said_why_is_heard(void **state)
{
	(void)state;
	RUN(panics, pulses_the_reset_line);
	expect_end(MACHINE_END_RESET, "the guest kernel died: Kernel panic - not syncing: no init");
}

static void an_unknown_exit_ends_the_machine(void **state)
{
	(void)state;
	RUN(leaves_for_nothing_known);
	expect_end(MACHINE_END_FAILED,
		"vCPU 0 stopped for a reason that has no place here: KVM exit 4711");
}

static void a_halt_is_kvms_own_and_never_seen_here(void **state)
{
	(void)state;
	RUN(halts);
	expect_end(MACHINE_END_FAILED,
		"vCPU 0 stopped for a reason that has no place here: KVM exit 5");
}

static void a_vcpu_that_is_not_started_is_entered_again(void **state)
{
	(void)state;
	RUN(is_not_started, is_interrupted, waits_for_a_window, is_not_started);
	expect_all_served();
}

static void an_error_of_kvm_ends_the_machine(void **state)
{
	(void)state;
	RUN(is_refused, halts);
	assert_int_equal(entered, 1);
	expect_end(MACHINE_END_FAILED, "KVM_RUN failed on vCPU 0: Invalid argument");
}

static void memory_that_is_not_there_ends_the_machine(void **state)
{
	(void)state;
	RUN(has_no_memory);
	expect_end(MACHINE_END_FAILED, "KVM_RUN failed on vCPU 0: Bad address");
}

static void a_fault_in_the_window_is_the_guests(void **state)
{
	(void)state;
	RUN(faults_in_the_window, waits_for_a_window);
	expect_all_served();
	assert_int_equal(injected.exception.injected, 1);
	assert_int_equal(injected.exception.nr, NOT_PRESENT);
}

static void a_fault_behind_the_window_ends_the_machine(void **state)
{
	(void)state;
	RUN(faults_behind_the_window);
	expect_end(MACHINE_END_FAILED, "KVM_RUN failed on vCPU 0: Bad address");
	assert_int_equal(injected.exception.injected, 0);
}

static void a_string_from_no_port_is_ones(void **state)
{
	(void)state;
	RUN(reads_a_string_from_nowhere, looks_at_the_string);
	expect_all_served();
}

static void extended_states_go_to_memory_and_back(void **state)
{
	const uint8_t *bytes = (const uint8_t *)restored.region;
	uint64_t features;

	(void)state;
	RUN(saves_to_the_end, restores_from_the_end);
	expect_all_served();
	memcpy(&features, bytes + 512, sizeof(features));
	/* What KVM would refuse is gone. */
	assert_int_equal(features, 3);
	assert_int_equal(bytes[831], 0x5a);
	assert_int_equal(bytes[832], 0);
}

static void extended_states_of_no_memory_end_the_machine(void **state)
{
	(void)state;
	RUN(saves_over_the_end);
	expect_end(MACHINE_END_FAILED,
		"vCPU 0: the registers of floating point cannot be saved: Bad address");
}

static void extended_states_from_no_memory_end_the_machine(void **state)
{
	(void)state;
	RUN(restores_from_nowhere);
	expect_end(MACHINE_END_FAILED,
		"vCPU 0: the registers of floating point cannot be restored: Bad address");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_machine, free_machine)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_kvm_refuses_to_enter_ends_the_machine),
		TEST(what_kvm_cannot_do_ends_the_machine),
		TEST(an_instruction_that_kvm_lacks_is_told),
		TEST(no_more_of_an_instruction_is_told_than_there_is),
		TEST(an_instruction_that_kvm_does_not_tell_is_not_told),
		TEST(a_guest_that_goes_off_ends_the_machine),
		TEST(a_triple_fault_ends_the_machine),
		TEST(a_kernel_that_said_why_is_heard),
		TEST(an_unknown_exit_ends_the_machine),
		TEST(a_halt_is_kvms_own_and_never_seen_here),
		TEST(a_vcpu_that_is_not_started_is_entered_again),
		TEST(an_error_of_kvm_ends_the_machine),
		TEST(memory_that_is_not_there_ends_the_machine),
		TEST(a_fault_in_the_window_is_the_guests),
		TEST(a_fault_behind_the_window_ends_the_machine),
		TEST(a_string_from_no_port_is_ones),
		TEST(extended_states_go_to_memory_and_back),
		TEST(extended_states_of_no_memory_end_the_machine),
		TEST(extended_states_from_no_memory_end_the_machine),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
