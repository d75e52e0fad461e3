// SPDX-License-Identifier: Apache-2.0
/* machine.c: groups 7 and 8, ports, addresses and CPUs. */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"
#include "tests/hostile/metal/metal.h"

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull

/* The console's port 0x3f8 and the ones that the machine has. */
static bool is_known(uint32_t port)
{
	static const uint16_t ranges[][2] = {{0x20, 0x21}, {0xa0, 0xa1}, {0x4d0, 0x4d1},
		{0x64, 0x64}, {0xf1, 0xf1}, {0xf4, 0xfc}, {0x3f8, 0x3ff}};

	for (unsigned int i = 0; i < ARRAY_COUNT(ranges); i++)
		if (port >= ranges[i][0] && port <= ranges[i][1])
			return true;
	return false;
}

void case_ports_unknown(void)
{
	for (uint32_t port = 0; port < 0x600; port++) {
		if (is_known(port))
			continue;
		expect(guest_port_read((uint16_t)port, 1) == 0xff, "a port that is not there",
			port);
		guest_port_write((uint16_t)port, 1, 0);
	}
	for (uint32_t port = 0x600; port < 0x10000; port += 0x101) {
		expect(guest_port_read((uint16_t)port, 2) == 0xffff, "a wide port", port);
		expect(guest_port_read((uint16_t)port, 4) == 0xffffffff, "a wider port", port);
		guest_port_write((uint16_t)port, 2, 0xffff);
		guest_port_write((uint16_t)port, 4, 0xfefefefe);
	}
	guest_port_read(0xffff, 4);
	guest_port_write(0xffff, 4, 0);
}

#define STRING_INPUT(letter, port, count)                  \
	do {                                               \
		uint64_t to_ = DATA, count_ = (count);     \
		__asm__ volatile("rep ins" letter          \
				 : "+D"(to_), "+c"(count_) \
				 : "d"((uint16_t)(port))   \
				 : "memory");              \
	} while (0)
#define STRING_OUTPUT(letter, port, count)                   \
	do {                                                 \
		uint64_t from_ = DATA, count_ = (count);     \
		__asm__ volatile("rep outs" letter           \
				 : "+S"(from_), "+c"(count_) \
				 : "d"((uint16_t)(port))     \
				 : "memory");                \
	} while (0)

void case_ports_strings(void)
{
	static const uint16_t ports[] = {GUEST_PORT_PHASE, GUEST_PORT_MESSAGE, GUEST_PORT_CLOCK,
		GUEST_PORT_TRANSMIT, GUEST_PORT_SERIAL, GUEST_PORT_SERIAL + 5, 0x60, 0x1234,
		0xffff};
	static const uint64_t counts[] = {0, 1, 7, 8, 9, 600};

	STRING_INPUT("b", 0x1234, 5000);
	STRING_OUTPUT("l", 0x1234, 5000);
	for (unsigned int i = 0; i < ARRAY_COUNT(ports); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(counts); j++) {
			STRING_INPUT("b", ports[i], counts[j]);
			STRING_INPUT("w", ports[i], counts[j]);
			STRING_INPUT("l", ports[i], counts[j]);
			STRING_OUTPUT("b", ports[i], counts[j]);
			STRING_OUTPUT("w", ports[i], counts[j]);
			STRING_OUTPUT("l", ports[i], counts[j]);
		}
	}
}

void case_memory_holes(void)
{
	const uint64_t holes[] = {guest_memory_end(), 0xbffff000, 0xc0000000, 0xcfffe000,
		GUEST_DEVICES + GUEST_SLOTS * 0x1000 - 0x1000, GUEST_DEVICES + 0x100000, 0xe0000000,
		0xfec01000, 0xfee01000, 0xffffe000};

	for (unsigned int i = 0; i < ARRAY_COUNT(holes); i++) {
		for (uint64_t offset = 0; offset < 64; offset += 4) {
			memory_write32(holes[i] + offset, 0);
			expect(memory_read32(holes[i] + offset) == 0xffffffff,
				"an address of nothing", holes[i]);
		}
	}
	for (unsigned int i = 0; i < 1000; i++)
		memory_read32(0xc0000000 + i * 0x1000ull);
}

/* The bytes of one access in the registers of two devices. */
void case_memory_crossing(void)
{
	for (unsigned int slot = 0; slot < GUEST_SLOTS; slot++) {
		for (uint64_t offset = 0xff9; offset < 0x1000; offset++) {
			guest_register_read(slot, offset, 8);
			guest_register_write(slot, offset, 8, 0);
			guest_register_read(slot, offset, 4);
			guest_register_write(slot, offset, 4, UINT64_MAX);
			guest_register_read(slot, offset, 2);
			guest_register_write(slot, offset, 2, UINT64_MAX);
		}
	}
	/* And in the generation and the first device, and across the end of RAM. */
	guest_register_read(0, (uint64_t)-4, 8);
	guest_register_write(0, (uint64_t)-1, 4, 0);
	memory_write32(guest_memory_end() - 2, 0);
	memory_read32(guest_memory_end() - 2);
}

void case_serial_flood(void)
{
	guest_store(DATA, "Kernel panic? \033[2J\r\b\377", 20);
	for (unsigned int i = 0; i < 40; i++)
		STRING_OUTPUT("b", GUEST_PORT_SERIAL, 1000);
}

void case_phase_flood(void)
{
	for (unsigned int i = 0; i < 1000; i++) {
		if ((i & 0xff) != GUEST_PHASE_OVER) /* which stops the CPU that says it */
			guest_port_write(GUEST_PORT_PHASE, 1, i);
		guest_port_write(GUEST_PORT_PHASE, 4, 0x03030303);
		guest_port_read(GUEST_PORT_PHASE, i & 1 ? 1 : 4);
		guest_port_read(GUEST_PORT_CLOCK, 1);
	}
}

void case_generation_page(void)
{
	for (uint64_t offset = 0; offset < 0x1000; offset += 4)
		memory_write32(GUEST_DEVICES - 0x1000 + offset, 0xffffffff);
	expect(memory_read32(GUEST_DEVICES - 4) == 0xffffffff, "the generation's page", 0);
}

/* ---- extended states. Where ring 0 is not emulated the ports are not there. */

/* No area is larger; and what of one has registers, with those of AVX-512. */
#define XSTATE_AREA      4096u
#define XSTATE_REGISTERS 2688u
#define XSTATE_MXCSR     24u
#define XSTATE_PRESENT   512u
#define XSTATE_FORMAT    520u /* xcomp_bv */

static void xstate_save(uint64_t address)
{
	guest_port_write(GUEST_PORT_XSTATE_SAVE, 4, (uint32_t)(address / 64));
}

static void xstate_restore(uint64_t address)
{
	guest_port_write(GUEST_PORT_XSTATE_RESTORE, 4, (uint32_t)(address / 64));
}

static uint64_t load64(uint64_t address)
{
	uint64_t value;

	guest_load(address, &value, sizeof(value));
	return value;
}

static void store64(uint64_t address, uint64_t value)
{
	guest_store(address, &value, sizeof(value));
}

/* The same each time. */
static uint64_t noise(void)
{
	static uint64_t number = 0x9e3779b97f4a7c15;

	number ^= number << 13;
	number ^= number >> 7;
	number ^= number << 17;
	return number;
}

/* Noise is restored, with these states said to be there; what is saved then has nothing that is reserved. */
static void restore_noise(uint64_t area, uint64_t present, uint64_t format)
{
	const uint64_t saved = area + XSTATE_AREA;

	for (uint64_t offset = 0; offset < XSTATE_REGISTERS; offset += 8)
		store64(area + offset, noise());
	store64(area + XSTATE_PRESENT, present);
	store64(area + XSTATE_FORMAT, format);
	xstate_restore(area);
	xstate_save(saved);
	expect(load64(saved + XSTATE_PRESENT) >> 63 == 0, "a state that is none", present);
	expect(load64(saved + XSTATE_FORMAT) == 0, "a compacted area", format);
	expect((uint32_t)load64(saved + XSTATE_MXCSR) >> 16 == 0, "reserved bits of MXCSR",
		present);
}

/* Rings that the machine reads, and writes, become states, and the other way round. */
static void spoil_rings(unsigned int slot)
{
	unsigned int queues = device_queues(slot);

	for (unsigned int i = 0; i < queues; i++) {
		const struct ring *ring;

		device_start(slot, 0);
		ring = ring_of(slot, i);
		xstate_save(ring->available);
		ring_notify(ring);
		xstate_save(ring->descriptors);
		ring_notify(ring);
		xstate_restore(ring->used);
	}
	device_reset(slot);
}

void case_xstate_garbage(void)
{
	static const uint64_t present[] = {0, 1, 2, 7, 0xe7, 0x300, 1ull << 63, UINT64_MAX};
	const uint64_t good = DATA, area = good + XSTATE_AREA, end = guest_memory_end();

	expect(guest_port_read(GUEST_PORT_XSTATE_SAVE, 4) == UINT32_MAX, "a port to write to", 0);
	store64(good + XSTATE_PRESENT, UINT64_MAX);
	xstate_save(good);
	if (load64(good + XSTATE_PRESENT) == UINT64_MAX)
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(present); i++)
		restore_noise(area, present[i], i & 1 ? noise() : 1ull << 63 | present[i]);
	for (unsigned int slot = 0; slot < GUEST_SLOTS; slot++)
		if (device_id(slot) != 0)
			spoil_rings(slot);
	/* At the ends of memory; and in no form that the ports know. */
	xstate_save(end - XSTATE_AREA);
	xstate_restore(end - XSTATE_AREA);
	guest_port_write(GUEST_PORT_XSTATE_SAVE, 1, UINT32_MAX);
	guest_port_write(GUEST_PORT_XSTATE_RESTORE, 2, UINT32_MAX);
	xstate_restore(good);
}

/* ---- group 8 */

void case_triple_fault(void)
{
	/* There is no interrupt table: the first exception is the last. */
	__asm__ volatile("ud2");
}

void case_reset_line(void)
{
	port_write8(0x64, 0xfe);
	metal_halt();
}

void case_page_tables_nowhere(void)
{
	__asm__ volatile("mov %0, %%cr3; movl (%1), %%eax"
			 :
			 : "r"(GUEST_DEVICES), "r"(0x40000000ull)
			 : "rax", "memory");
}

void case_execute_nothing(void)
{
	__asm__ volatile("jmp *%0" : : "r"(0xc0000000ull));
}

void case_halt_for_ever(void)
{
	metal_print("here\n");
	metal_halt();
}

void case_stand_still(void)
{
	metal_print("here\n");
	for (;;)
		guest_pause();
}

void case_xstate_nowhere(void)
{
	/* It begins in memory. */
	xstate_save(guest_memory_end() - 64);
	metal_halt();
}

static volatile unsigned int started;

static void count_start(void)
{
	started++;
}

void case_init_storm(void)
{
	unsigned int seen = 0;

	for (unsigned int i = 0; i < 30; i++) {
		unsigned int before = started;

		guest_fork(count_start);
		/* In the middle of wherever it is now. */
		for (unsigned int j = 0; j < i * 4; j++)
			guest_pause();
		metal_stop_other();
		metal_stop_other();
		seen += started != before;
	}
	guest_fork(count_start);
	guest_join();
	expect(started > seen, "the other CPU does not start any more", seen);
	for (unsigned int i = 0; i < 2000; i++)
		metal_stop_other();
}

void case_interrupt_storm(void)
{
	/* Every register but those that reset CPUs; what is delivered waits, since interrupts are off. */
	for (uint32_t value = 0x10000; value != 0; value <<= 5) {
		for (uint64_t offset = 0; offset < 0x1000; offset += 0x10)
			if (offset != 0x300 && offset != 0xf0)
				memory_write32(LAPIC + offset,
					offset >= 0x320 && offset <= 0x370 ? value | 0x10000
									   : value);
		for (uint32_t entry = 0; entry < 0x100; entry++) {
			memory_write32(IOAPIC, entry);
			memory_write32(IOAPIC + 0x10, value | 0x10000);
			memory_read32(IOAPIC + 0x10);
		}
	}
	memory_write32(LAPIC + 0xf0, 0x1ff);
	for (uint32_t vector = 0; vector < 256; vector++)
		memory_write32(LAPIC + 0x300, 0x44000 | vector); /* to itself */
	guest_port_write(0x20, 1, 0xff);
	guest_port_write(0x21, 1, 0);
	guest_port_write(0xa1, 1, 0xff);
	guest_port_write(0x4d0, 2, 0xffff);
}
