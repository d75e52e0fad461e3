// SPDX-License-Identifier: Apache-2.0
/*
 * main.c: a guest in ring 0 that does nothing but misbehave.
 *
 * Theory of operation: the program starts it as it starts Linux. Words of the kernel command line say what
 * to do: hostile.group=N or hostile.case=NAME, and hostile.host=yes where the host does its part (CASE_HOST). It tells what came of it as guest-init would, by frames of output
 * and of control, which it sends through the transmit port. When its cases are done it says "done" and
 * waits for the message that stops a pod: so the test can look at the VMM meanwhile.
 *
 * Where a guest kernel is emulated an instruction costs a microsecond, so the code is small rather than clever.
 */
#include "tests/hostile/metal/metal.h"

#include "tests/hostile/cases.h"
#include "tests/hostile/driver.h"

#include <asm/bootparam.h>

#define LAPIC             0xfee00000ull
#define LAPIC_SPURIOUS    0x0f0
#define LAPIC_COMMAND     0x300
#define LAPIC_DESTINATION 0x310
#define COMMAND_INIT      0x4500u
#define COMMAND_START     0x4600u
#define TRAMPOLINE        0x8000u /* entry.S */

/* Text of what failed; told after the case, since telling takes the console. */
#define FAILURES_ROOM 2000u

static uint64_t memory_end;
static char failures[FAILURES_ROOM];
static size_t failures_length;
static unsigned int failed;

/* The second CPU's work. */
static void (*volatile other_task)(void);
static volatile bool other_done;

/* What the compiler calls. */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int byte, size_t length);

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

void *memset(void *to, int byte, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)byte;
	return to;
}

/* ---- the machine, as the cases reach it */

uint64_t guest_memory_end(void)
{
	return memory_end;
}

/*
 * In words where it can be: each instruction counts, and another CPU and the host may read an index of a ring
 * meanwhile, which is whole in memory or not there yet.
 */
static void copy(volatile uint8_t *to, const volatile uint8_t *from, size_t length)
{
	for (; length >= 8; length -= 8, to += 8, from += 8)
		__asm__ volatile("movq (%1), %%rax; movq %%rax, (%0)"
				 :
				 : "r"(to), "r"(from)
				 : "rax", "memory");
	for (; length >= 2; length -= 2, to += 2, from += 2)
		__asm__ volatile("movw (%1), %%ax; movw %%ax, (%0)"
				 :
				 : "r"(to), "r"(from)
				 : "rax", "memory");
	for (; length > 0; length--)
		*to++ = *from++;
}

void guest_store(uint64_t address, const void *data, size_t length)
{
	copy((volatile uint8_t *)address, data, length); /* NOLINT(performance-no-int-to-ptr) */
}

void guest_load(uint64_t address, void *data, size_t length)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	copy(data, (const volatile uint8_t *)address, length);
}

uint64_t guest_register_read(unsigned int slot, uint64_t offset, unsigned int width)
{
	uint64_t address = GUEST_DEVICES + slot * 0x1000ull + offset, value = 0;

	switch (width) {
	case 1:
		__asm__ volatile("movzbl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
		break;
	case 2:
		__asm__ volatile("movzwl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
		break;
	case 4:
		__asm__ volatile("movl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
		break;
	default:
		__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
		break;
	}
	return value;
}

void guest_register_write(unsigned int slot, uint64_t offset, unsigned int width, uint64_t value)
{
	uint64_t address = GUEST_DEVICES + slot * 0x1000ull + offset;

	switch (width) {
	case 1:
		__asm__ volatile("movb %b0, (%1)" : : "r"(value), "r"(address) : "memory");
		break;
	case 2:
		__asm__ volatile("movw %w0, (%1)" : : "r"(value), "r"(address) : "memory");
		break;
	case 4:
		__asm__ volatile("movl %k0, (%1)" : : "r"(value), "r"(address) : "memory");
		break;
	default:
		__asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
		break;
	}
}

uint32_t guest_port_read(uint16_t port, unsigned int width)
{
	uint32_t value = 0;

	switch (width) {
	case 1:
		__asm__ volatile("inb %1, %b0" : "+a"(value) : "Nd"(port) : "memory");
		break;
	case 2:
		__asm__ volatile("inw %1, %w0" : "+a"(value) : "Nd"(port) : "memory");
		break;
	default:
		__asm__ volatile("inl %1, %0" : "+a"(value) : "Nd"(port) : "memory");
		break;
	}
	return value;
}

void guest_port_write(uint16_t port, unsigned int width, uint32_t value)
{
	switch (width) {
	case 1:
		__asm__ volatile("outb %b0, %1" : : "a"(value), "Nd"(port) : "memory");
		break;
	case 2:
		__asm__ volatile("outw %w0, %1" : : "a"(value), "Nd"(port) : "memory");
		break;
	default:
		__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
		break;
	}
}

uint32_t guest_transmit(uint64_t stream, uint64_t address, uint64_t length)
{
	uint32_t taken;

	__asm__ volatile(
		"inl %1, %0"
		: "=a"(taken)
		: "Nd"((uint16_t)GUEST_PORT_TRANSMIT), "D"(stream), "S"(address), "c"(length)
		: "memory");
	return taken;
}

bool guest_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
	return true; /* for all that it knows */
}

uint64_t guest_seconds(void)
{
	uint64_t nanoseconds;
	void *place = &nanoseconds;
	uint64_t count = sizeof(nanoseconds);

	__asm__ volatile("rep insb"
			 : "+D"(place), "+c"(count)
			 : "d"((uint16_t)GUEST_PORT_CLOCK)
			 : "memory");
	return nanoseconds / 1000000000;
}

static void command_other(uint32_t command)
{
	memory_write32(LAPIC + LAPIC_DESTINATION, 1u << 24);
	memory_write32(LAPIC + LAPIC_COMMAND, command);
}

void metal_start_other(void)
{
	/* cppcheck-suppress comparePointers; NOLINTNEXTLINE(performance-no-int-to-ptr) */
	memcpy((void *)(uintptr_t)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
	memory_write32(LAPIC + LAPIC_SPURIOUS, 0x1ff);
	command_other(COMMAND_INIT);
	command_other(COMMAND_START | TRAMPOLINE >> 12);
}

void metal_stop_other(void)
{
	command_other(COMMAND_INIT);
}

void metal_other(void)
{
	other_task();
	other_done = true;
	for (;;)
		guest_pause();
}

bool guest_fork(void (*task)(void))
{
	other_done = false;
	other_task = task;
	metal_start_other();
	return true;
}

void guest_join(void)
{
	while (!other_done)
		guest_pause();
	metal_stop_other();
}

/* ---- telling */

static size_t append(char *to, size_t at, size_t room, const char *text)
{
	while (*text && at + 1 < room)
		to[at++] = *text++;
	to[at] = '\0';
	return at;
}

static size_t append_number(char *to, size_t at, size_t room, uint64_t value)
{
	char digits[] = "0x0000000000000000";

	for (size_t i = sizeof(digits) - 2; i >= 2; i--, value >>= 4)
		digits[i] = "0123456789abcdef"[value & 15];
	return append(to, at, room, digits);
}

void guest_fail(const char *what, uint64_t value)
{
	failed++;
	failures_length = append(failures, failures_length, FAILURES_ROOM, "    ");
	failures_length = append(failures, failures_length, FAILURES_ROOM, what);
	failures_length = append(failures, failures_length, FAILURES_ROOM, " ");
	failures_length = append_number(failures, failures_length, FAILURES_ROOM, value);
	failures_length = append(failures, failures_length, FAILURES_ROOM, "\n");
}

void metal_send(uint64_t stream, const void *data, size_t length)
{
	unsigned int slot = device_find(ID_CONSOLE);
	uint64_t address = (uintptr_t)data;

	if (device_register(slot, VIRTIO_MMIO_STATUS) != STATUS_ALL)
		device_start(slot, 0);
	while (length > 0) {
		uint32_t taken = guest_transmit(stream, address, length > 0x8000 ? 0x8000 : length);

		address += taken;
		length -= taken;
	}
}

void metal_send_frame(const char *text)
{
	uint32_t length = (uint32_t)text_length(text);

	metal_send(GUEST_STREAM_CONTROL, &length, sizeof(length));
	metal_send(GUEST_STREAM_CONTROL, text, length);
}

void metal_print(const char *text)
{
	const struct {
		uint32_t length;
		uint16_t app;
		uint8_t stream, reserved;
	} header = {.length = (uint32_t)text_length(text), .stream = 1};

	if (header.length == 0)
		return;
	metal_send(GUEST_STREAM_OUTPUT, &header, sizeof(header));
	metal_send(GUEST_STREAM_OUTPUT, text, header.length);
}

void metal_send_end(unsigned int status)
{
	static const uint64_t end_of_stream;

	metal_send_frame(status ? "{\"type\":\"exited\",\"app\":\"app\",\"status\":1}"
				: "{\"type\":\"exited\",\"app\":\"app\",\"status\":0}");
	metal_send(GUEST_STREAM_OUTPUT, &end_of_stream, sizeof(end_of_stream));
	metal_send_frame(
		status ? "{\"type\":\"ended\",\"status\":1}" : "{\"type\":\"ended\",\"status\":0}");
}

void metal_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

/* ---- the run */

/* The value of a word of the command line, up to the next blank; NULL when it is not there. */
static const char *find_word(const char *line, const char *name)
{
	size_t length = text_length(name);

	while (*line) {
		size_t i = 0;

		while (i < length && line[i] == name[i])
			i++;
		if (i == length)
			return line + length;
		while (*line && *line != ' ')
			line++;
		while (*line == ' ')
			line++;
	}
	return NULL;
}

static bool is_chosen(
	const struct hostile_case *hostile, const char *group, const char *name, bool with_host)
{
	unsigned int number = 0;
	size_t i = 0;

	if (name) {
		while (hostile->name[i] && hostile->name[i] == name[i])
			i++;
		return !hostile->name[i] && (!name[i] || name[i] == ' ');
	}
	for (; group && *group >= '0' && *group <= '9'; group++)
		number = number * 10 + (unsigned int)(*group - '0');
	/* What ends the machine, or needs another one, is chosen by its name. */
	return number == hostile->group && !(hostile->flags & CASE_ENDS) &&
		(with_host || !(hostile->flags & CASE_HOST));
}

static void run_case(const struct hostile_case *hostile)
{
	unsigned int before = failed;

	failures_length = 0;
	hostile->run();
	expect_alive();
	metal_print(failed == before ? "ok " : "FAILED ");
	metal_print(hostile->name);
	metal_print("\n");
	failures[failures_length] = '\0';
	metal_print(failures);
}

/* A message of the host on the control stream is the one that stops the pod. */
static void wait_for_stop(void)
{
	unsigned int slot = device_find(ID_CONSOLE);
	struct ring *ring = ring_of(slot, CONSOLE_RECEIVE(GUEST_STREAM_CONTROL));

	device_start(slot, 0);
	ring_describe(ring, 0, DATA, 4096, WRITE, 0);
	ring_offer(ring, 0);
	ring_notify(ring);
	while (ring_used(ring) == 0)
		guest_pause();
}

static uint64_t find_memory_end(const uint8_t *zero_page)
{
	const struct boot_params *params = (const void *)zero_page;

	for (unsigned int i = 0; i < params->e820_entries; i++)
		if (params->e820_table[i].addr == 0x100000)
			return params->e820_table[i].addr + params->e820_table[i].size;
	return 0;
}

void metal_main(const uint8_t *zero_page)
{
	const struct boot_params *params = (const void *)zero_page;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	const char *line = (const char *)(uintptr_t)params->hdr.cmd_line_ptr;
	const char *group = find_word(line, "hostile.group="),
		   *name = find_word(line, "hostile.case=");
	bool with_host = find_word(line, "hostile.host=") != NULL;
	unsigned int count = 0;

	memory_end = find_memory_end(zero_page);
	metal_send_frame("{\"type\":\"started\",\"app\":\"app\",\"pid\":1}");
	for (size_t i = 0; i < hostile_case_count; i++) {
		if (!is_chosen(&hostile_cases[i], group, name, with_host))
			continue;
		run_case(&hostile_cases[i]);
		count++;
	}
	metal_print(count ? "done\n" : "no such case\n");
	wait_for_stop();
	metal_send_end(failed > 0 || count == 0);
	metal_halt();
}
